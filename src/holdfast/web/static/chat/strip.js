/* The route strip: seven cells under a turn, each of one lane and of nothing else. A cell is set from its own lane; no
   cell, and nothing around them, stands for several. Opening one opens the lanes that it is about. */

import { STATE_WORDS, clone, phrase } from "../parts.js";
import { went } from "./routes.js";

/* Cell by cell: its lane, and the lanes that open with it. */
const OPENS = {
  inputs: ["inputs"],
  memory: ["memory"],
  route: ["route", "artifact"],
  privacy: ["privacy", "enclave"],
  payment: ["payment"],
  computation: ["computation", "enclave", "bytes"],
  settlement: ["settlement"],
};

const READERS = ["relay", "gateway", "upstream", "log"];

/* What a cell shows besides state and basis, where its lane has a short answer. */
const SHORT = {
  inputs: (lane, turn) => [lane.state === "not_applicable" ? "" : facts(lane.says), files(turn)].filter(Boolean).join(", ") || (lane.state === "not_applicable" ? "none" : ""),
  memory: (lane) => (lane.state === "not_applicable" ? "none" : ""),
  route: (lane, turn) => went(turn.route) || turn.served || "",
  privacy: (lane) => readers(lane.hops ?? []),
  payment: (lane, turn) => turn.paid || (lane.state === "not_applicable" ? "nothing" : ""),
  computation: () => "",
  settlement: (lane) => /\b(?:round \d+|logged|cosigned|answered)\b/i.exec(lane.says)?.[0].toLowerCase() ?? "",
};

function facts(says) {
  const named = new Set(says.match(/Admission [0-9a-f]{12}/g) ?? []).size;
  return named ? `${named} ${named === 1 ? "fact" : "facts"}` : "";
}

const files = ({ files: brought }) => (brought?.length ? `files: ${brought.length}` : "");

function readers(hops) {
  const saw = hops.filter((hop) => READERS.includes(hop.hop) && hop.plaintext !== "no").map((hop) => hop.hop);
  return [...new Set(saw)].join(", ");
}

/** Under one turn. `lanes` is the element with the turn's lane cells, which opens and closes here. */
export class Strip {
  #node;
  #lanes;

  constructor(node, lanes) {
    this.#node = node;
    this.#lanes = lanes;
    node.append(clone("t-strip"));
    node.addEventListener("click", (event) => {
      const cell = event.target.closest(".cell");
      if (cell) this.#toggle(cell);
    });
  }

  /** Set every cell from its lane of a run's view. */
  show(lanes, turn) {
    for (const cell of this.#cells()) {
      const lane = lanes[cell.dataset.lane];
      if (!lane) continue;
      const basis = cell.querySelector(".cell-basis");
      cell.dataset.state = lane.state;
      cell.title = lane.says;
      cell.querySelector(".cell-word").textContent = STATE_WORDS[lane.state];
      basis.dataset.basis = lane.basis ?? "";
      basis.textContent = phrase(lane.basis ?? "");
      cell.querySelector(".cell-short").textContent = SHORT[cell.dataset.lane](lane, turn);
    }
  }

  /** What the answer itself says of its route, before any lane is told. */
  early(turn) {
    const says = went(turn.route);
    if (says || !turn.route) this.#node.querySelector('[data-lane="route"] .cell-short').textContent = says;
  }

  #cells() {
    return this.#node.querySelectorAll(".cell");
  }

  #toggle(cell) {
    const opening = cell.getAttribute("aria-expanded") !== "true";
    for (const other of this.#cells()) other.setAttribute("aria-expanded", String(opening && other === cell));
    this.#lanes.hidden = !opening;
    if (!opening) return;
    const wanted = OPENS[cell.dataset.lane];
    for (const lane of this.#lanes.querySelectorAll("details.lane")) lane.open = wanted.includes(lane.dataset.lane);
  }
}
