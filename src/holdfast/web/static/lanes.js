/* Lane cells: brings the server's markup up to date with a newer view of the run. Cells keep their order, their focus
   and whether they are open. A lane is only ever set from its own entry. */

import { STATE_WORDS, digest, phrase } from "./parts.js";

/** Set every lane cell and strip shape under `root`; returns what changed, as sentences. */
export function updateLanes(root, lanes, { quiet = false } = {}) {
  const changes = [];
  for (const cell of root.querySelectorAll("details.lane")) {
    const lane = lanes[cell.dataset.lane];
    if (!lane) continue;
    const basis = lane.basis ?? "";
    const basisNode = cell.querySelector(".lane-basis");
    if (cell.dataset.state !== lane.state || basisNode.dataset.basis !== basis) {
      changes.push(`${cell.dataset.lane}: ${STATE_WORDS[lane.state]}${basis ? `, ${phrase(basis)}` : ""}`);
      cell.dataset.state = lane.state;
      cell.querySelector(".lane-word").textContent = STATE_WORDS[lane.state];
      basisNode.dataset.basis = basis;
      basisNode.textContent = phrase(basis);
      if (!quiet) mark(cell);
    }
    setText(cell.querySelector(".lane-brief"), lane.says);
    setText(cell.querySelector(".lane-says"), lane.says || "Nothing.");
    setText(cell.querySelector(".lane-does-not-say"), lane.does_not_say || "Nothing more.");
    setEvidence(cell.querySelector(".lane-evidence"), lane.evidence);
    setHops(cell.querySelector(".lane-hops"), lane.hops ?? []);
  }
  for (const shape of root.querySelectorAll(".strip .shape")) {
    const lane = lanes[shape.dataset.lane];
    if (lane) shape.dataset.state = lane.state;
  }
  return changes;
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function setEvidence(node, digests) {
  const key = digests.join(" ");
  if (node.dataset.key === key) return;
  node.dataset.key = key;
  node.replaceChildren(...(digests.length ? digests.map(digest) : ["None."]));
}

/** The rows of the small table of a lane that tells what each hop could see. */
function setHops(node, hops) {
  if (!node) return;
  node.hidden = hops.length === 0;
  const key = JSON.stringify(hops);
  if (node.dataset.key === key) return;
  node.dataset.key = key;
  node.querySelector("tbody").replaceChildren(...hops.map(hopRow));
}

function hopRow(hop) {
  const row = document.createElement("tr");
  const head = document.createElement("th");
  head.scope = "row";
  head.dataset.label = "Hop";
  head.textContent = hop.node ? `${hop.hop} ` : hop.hop;
  if (hop.node) {
    const node = document.createElement("code");
    node.textContent = hop.node.slice(0, 12);
    head.append(node);
  }
  row.append(head);
  for (const what of ["identity", "plaintext", "sizes", "timing"]) {
    const cell = document.createElement("td");
    cell.dataset.label = what;
    cell.textContent = hop[what];
    row.append(cell);
  }
  return row;
}

function mark(cell) {
  cell.classList.remove("changed");
  void cell.offsetWidth;
  cell.classList.add("changed");
}
