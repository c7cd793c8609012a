/* An appraisal on the screen. Everything is put in as text; a lane is set from itself and from nothing else. */

import { updateLanes } from "../lanes.js";
import { clone, digest, sentence } from "../parts.js";
import { text } from "./bytes.js";
import { attempt } from "./answers.js";

const ANSWERS = { yes: "yes", no: "no", cannot_tell: "cannot tell" };
const BOUND = { yes: "bound as shown", no: "not what was signed", cannot_tell: "cannot be told" };
/* Characters of a document that are put on the page; the rest is in the file. */
const LONGEST = 200_000;
const MOST_LEAVES = 500;

const find = (id) => document.getElementById(id);

function answer(node, given, words = ANSWERS) {
  node.dataset.answer = given;
  node.textContent = words[given];
}

function fact(name, value) {
  const [row, term, what] = ["div", "dt", "dd"].map((tag) => document.createElement(tag));
  term.textContent = name;
  what.append(value);
  row.append(term, what);
  return row;
}

function cut(value) {
  return value.length > LONGEST ? `${value.slice(0, LONGEST)}\n… ${value.length - LONGEST} more characters are in the file` : value;
}

function leafLine(label, bytes, holds = null) {
  const line = document.createElement("li");
  const name = document.createElement("code");
  name.textContent = label;
  const { value } = attempt(() => text(bytes, "parts.bytes"));
  line.append(name, ` ${cut(value ?? `${bytes.length} bytes`)}`);
  if (holds) line.dataset.answer = holds;
  return line;
}

/* The statement whose root a document is held against. */
const binder = (name, { route, closing }) => (name === "response" ? closing : route);

function showDocument({ name, readable, parts, root, holds }, result) {
  const node = clone("t-shown");
  node.querySelector(".verify-name").textContent = `${name} document`;
  answer(node.querySelector(".verify-answer"), holds, BOUND);
  node.querySelector(".verify-text").textContent = cut(readable);
  const binds = node.querySelector(".verify-binds");
  const by = binder(name, result);
  if (root && by) binds.append(`${parts.length} parts come to the root `, digest(root), `. The ${by.kind} statement `, digest(by.digest), holds === "yes" ? " names the same." : " does not name it.");
  else binds.append("No statement that binds it is shown.");
  const leaves = node.querySelector(".verify-leaves");
  leaves.querySelector("summary").textContent = `${parts.length} parts, one by one`;
  leaves.hidden = !parts.length;
  leaves.addEventListener("toggle", () => {
    const list = leaves.querySelector("ul");
    if (list.childElementCount) return;
    list.append(...parts.slice(0, MOST_LEAVES).map((part) => leafLine(part.label, part.bytes)));
    if (parts.length > MOST_LEAVES) list.append(`… and ${parts.length - MOST_LEAVES} more`);
  });
  return node;
}

function showParts(parts) {
  const node = clone("t-shown");
  const refused = parts.filter(({ holds }) => holds !== "yes").length;
  node.querySelector(".verify-name").textContent = `${parts.length} single parts`;
  node.querySelector(".verify-answer").textContent = refused ? `${refused} of them not shown to be bound` : "each under its root";
  node.querySelector(".verify-binds").textContent = "Each with its path to the root that a statement names.";
  node.querySelector(".verify-text").remove();
  const leaves = node.querySelector(".verify-leaves");
  leaves.open = true;
  leaves.querySelector("summary").textContent = "Part by part";
  leaves.querySelector("ul").append(...parts.slice(0, MOST_LEAVES).map(({ part, holds }) => leafLine(part.label, part.bytes, holds)));
  return node;
}

function checkLine(check) {
  const line = clone("t-check");
  answer(line.querySelector(".verify-answer"), check.answer);
  line.querySelector(".verify-says").textContent = sentence(check.says);
  line.querySelector(".verify-where").textContent = [check.spec, `about ${check.lanes.join(", ")}`, check.code].filter(Boolean).join(" · ");
  return line;
}

/* Groups by the file of the specification, in its order of appearance; pauses, since there can be thousands. */
function* showChecks(checks) {
  const groups = new Map();
  for (const check of checks) {
    const name = check.spec.split(" ")[0];
    if (!groups.has(name)) {
      const node = clone("t-group");
      node.querySelector("h3").textContent = name;
      groups.set(name, node.querySelector("ol"));
      find("checks").append(node);
    }
    groups.get(name).append(checkLine(check));
    yield;
  }
}

/** Puts a result on the page, piece by piece. `told` are facts about what was judged. */
export function* report(result, told) {
  find("facts").replaceChildren(...told.map(([name, value]) => fact(name, value)));
  updateLanes(document, result.lanes, { quiet: true });
  const { documents, parts } = result.disclosed;
  const shown = documents.map((item) => showDocument(item, result));
  if (parts.length) shown.push(showParts(parts));
  if (!shown.length) shown.push(sentence("nothing: it holds digests and signatures alone"));
  find("shown").replaceChildren(...shown);
  find("checks").replaceChildren();
  yield* showChecks(result.checks);
}
