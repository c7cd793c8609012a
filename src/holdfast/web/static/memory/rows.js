/* One row of memory as a node of the page: how it stands, whose words, where from, where used, what happened to it.
   What rows say comes from outside: it is put in as text and nothing else. */

import { clone, digest } from "../parts.js";

const RUN = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

export const words = await fetch("/memory.json").then((response) => response.json());

const day = (time) => `${time.slice(0, 10)} ${time.slice(11, 16)} UTC`;

function text(tag, value) {
  const node = document.createElement(tag);
  node.textContent = value;
  return node;
}

function run(id) {
  if (!RUN.test(id)) return text("span", id);
  const node = text("a", `run ${id.slice(0, 8)}…${id.slice(-6)}`);
  node.href = `/runs/${id}`;
  return node;
}

function fact(name, value) {
  const node = clone("t-fact");
  node.querySelector("dt").textContent = name;
  node.querySelector("dd").append(value);
  return node;
}

function item(...parts) {
  const node = document.createElement("li");
  node.append(...parts);
  return node;
}

function facts(row) {
  const found = [
    ["Whose words", words.writers[row.writer] ?? row.writer],
    ["Speaks with", row.authority === row.writer ? "the same authority" : `less: ${words.writers[row.authority] ?? row.authority}`],
    ["Kind", row.type === "episodic" ? "episodic: tied to what went on then" : "semantic: a lasting fact"],
    ["About", row.categories.join(", ") || "no category"],
    ["Kept since", day(row.created_at)],
    ["Last earned", row.earned_at ? day(row.earned_at) : "never"],
  ];
  if (row.slot) found.push(["Has one value", row.slot]);
  if (row.expires_at) found.push(["Expires", day(row.expires_at)]);
  for (const [name, value] of [["Client", row.agent_id], ["Thread", row.thread_id], ["Kept by", row.source]]) if (value) found.push([name, value]);
  const nodes = found.map(([name, value]) => fact(name, value));
  return [...nodes, fact("Row", text("code", row.id)), fact("Head of its history", digest(row.head))];
}

function source(one) {
  const whose = `, ${words.writers[one.lane] ?? one.lane}`;
  if (one.kind === "run") return item(run(one.id), whose);
  const node = item(words.sources[one.kind] ?? one.kind);
  if (one.kind === "row") node.append(" ", text("code", one.id));
  else if (one.id) node.append(" ", digest(one.id));
  if (one.kind !== "owner") node.append(whose);
  return node;
}

function used(row, history) {
  if (!row.used) return [item("nowhere yet")];
  const found = history.filter((event) => event.type === "used").reverse();
  return found.map((event) => item(day(event.at), ": ", event.run ? run(event.run) : "no run was named"));
}

/** What an event says beyond its name. */
function detail(event) {
  if (event.type === "used") return event.run ? [": ", run(event.run)] : [];
  if (event.type === "agreed") return [": ", event.source.kind === "run" ? run(event.source.id) : words.sources[event.source.kind]];
  if (event.other) return [": ", text("code", event.other)];
  return event.by ? [` by its ${event.by === "user" ? "owner" : event.by}`] : [];
}

/** The row again, as the node shows it now, with its history where that was fetched. */
export function fill(node, row, history = []) {
  const part = (name) => node.querySelector(`[data-part="${name}"]`);
  node.dataset.row = row.id;
  node.dataset.standing = row.standing;
  node.querySelector(".memory-word").textContent = row.standing;
  node.querySelector(".memory-claim").textContent = row.memory;
  node.querySelector(".memory-means").textContent = words.standings[row.standing] ?? "";
  node.querySelector(".memory-facts").replaceChildren(...facts(row));
  part("sources").replaceChildren(...row.sources.map(source));
  part("used").replaceChildren(...used(row, history));
  part("against-box").hidden = row.contradicted_by.length === 0;
  part("against").replaceChildren(
    ...row.contradicted_by.map((other) => item(text("code", other.id), `, ${words.writers[other.authority] ?? other.authority}`)),
  );
  part("history").replaceChildren(...history.map((event) => item(day(event.at), " ", words.events[event.type] ?? event.type, ...detail(event))));
  const ended = row.standing === "withdrawn";
  for (const act of ["confirm", "withdraw", "correct-box"]) node.querySelector(`[data-act="${act}"]`).hidden = ended;
}

/** A new node for a row. */
export function make(row) {
  const node = clone("t-row");
  fill(node, row);
  node.querySelector("textarea").value = row.memory;
  return node;
}
