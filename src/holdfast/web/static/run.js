/* The page of one run: lanes, time axis and evidence stay current. */

import { updateLanes } from "./lanes.js";
import { LiveRuns } from "./live.js";
import { announce, clone, digest, offset, pause, phrase, sentence } from "./parts.js";

const head = document.getElementById("run");
const axis = document.getElementById("axis");
const evidence = document.getElementById("evidence");
const trouble = document.getElementById("trouble");

function moment(item, settled, next) {
  const node = clone("t-moment");
  node.dataset.kind = item.kind;
  node.dataset.pause = pause(next?.wait_ms ?? 0);
  node.classList.toggle("settled", settled);
  const time = node.querySelector(".offset");
  time.dateTime = time.title = item.at;
  time.textContent = offset(item.offset_ms);
  node.querySelector(".time-kind").textContent = item.time;
  node.querySelector(".moment-code").textContent = phrase(item.code);
  node.querySelector(".ahead").hidden = !item.ahead;
  node.querySelector(".moment-says").textContent = item.says;
  if (item.evidence) node.querySelector(".moment-evidence").append(digest(item.evidence));
  const parts = node.querySelector(".moment-parts");
  parts.hidden = !item.parts;
  parts.querySelector("ol").append(
    ...(item.parts ?? []).map((part) => {
      const line = clone("t-part");
      line.querySelector("time").dateTime = part.at;
      line.querySelector("time").textContent = offset(part.offset_ms);
      line.querySelector("span").textContent = part.says;
      return line;
    }),
  );
  return node;
}

let shown = "";

function showAxis(chronology) {
  const key = JSON.stringify(chronology);
  if (key === shown) return;
  shown = key;
  const open = [...axis.children].map((node) => node.querySelector(".moment-parts").open);
  let settled = false;
  const nodes = chronology.map((item, index) => moment(item, (settled ||= item.final), chronology[index + 1]));
  nodes.forEach((node, index) => (node.querySelector(".moment-parts").open = open[index] ?? false));
  axis.replaceChildren(...nodes);
}

function showEvidence(lanes) {
  const rests = new Map();
  for (const [name, lane] of Object.entries(lanes)) {
    for (const item of lane.evidence) rests.set(item, [...(rests.get(item) ?? []), name]);
  }
  const key = JSON.stringify([...rests]);
  if (evidence.dataset.key === key || !rests.size) return;
  evidence.dataset.key = key;
  let body = evidence.querySelector("tbody");
  if (!body) {
    const table = clone("t-evidence");
    evidence.replaceChildren(table);
    body = table.querySelector("tbody");
  }
  body.replaceChildren(
    ...[...rests].map(([item, names]) => {
      const row = document.createElement("tr");
      const cells = [document.createElement("td"), document.createElement("td")];
      cells[0].dataset.label = "Digest";
      cells[0].append(digest(item));
      cells[1].dataset.label = "Lanes";
      cells[1].textContent = names.join(", ");
      row.append(...cells);
      return row;
    }),
  );
}

let paid = "";

/** What it cost, in place of what stood there before: asked for again when the lane of payment moves. */
function showPayment(lane) {
  const key = `${lane.state} ${lane.says}`;
  if (key === paid || lane.state === "not_applicable") return;
  const first = paid === "";
  paid = key;
  if (first && document.querySelector("#paid section")) return;
  const request = new XMLHttpRequest();
  request.open("GET", location.pathname);
  request.responseType = "document";
  request.onload = () => {
    const newer = request.response?.getElementById("paid");
    const box = document.getElementById("paid");
    if (!newer || box.contains(document.activeElement)) return;
    const open = box.querySelector(".paid-sides")?.open ?? false;
    box.replaceChildren(...document.importNode(newer, true).childNodes);
    const sides = box.querySelector(".paid-sides");
    if (sides) sides.open = open;
  };
  request.send();
}

const live = new LiveRuns(
  (view) => {
    trouble.hidden = true;
    const changes = updateLanes(document, view.lanes);
    if (changes.length) announce(changes.join(". "));
    showPayment(view.lanes.payment);
    showAxis(view.chronology);
    showEvidence(view.lanes);
    document.getElementById("known").textContent = view.known;
    document.getElementById("outcome").textContent = view.outcome ? phrase(view.outcome) : "still open";
  },
  ({ says }) => {
    trouble.className = "trouble trouble-soft section";
    trouble.textContent = `${sentence(says)} What is shown may be older than what is known.`;
    trouble.hidden = false;
  },
);

live.follow(head.dataset.run);
