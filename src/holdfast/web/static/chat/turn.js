/* One turn on the screen: question, what went otherwise than before, answer, route strip, lanes, and what can be done
   with it. Everything shown is set from the turn's record; nothing is read back from the page. */

import { updateLanes } from "../lanes.js";
import { figures } from "../picture.js";
import { announce, clone, sentence, troubleBox } from "../parts.js";
import { showChecked } from "./checked.js";
import { differences } from "./differences.js";
import { citeAnswer, showFiles } from "./files.js";
import { render } from "./markdown.js";
import { Strip } from "./strip.js";

const OUTCOMES = {
  answering: "Answering",
  complete: "",
  stopped: "You stopped it. The gateway signs that too",
  broken: "Broken off",
  refused: "",
};

export class TurnView {
  #bound = -1;
  #seen = false;
  #route = undefined;

  /** `acts` are `{retry, edit, choose, branch}`, called with the turn; `before` is the turn before it, or nothing. */
  constructor(turn, { before = null, beside = [turn], acts }) {
    this.turn = turn;
    this.before = before;
    this.node = clone("t-talk");
    const find = (selector) => this.node.querySelector(selector);
    this.answer = find(".answer");
    this.foot = find(".talk-foot");
    this.lanes = find(".talk-lanes");
    this.strip = new Strip(find(".route-strip"), this.lanes);
    find(".question").textContent = turn.question;
    find('[data-act="retry"]').addEventListener("click", () => acts.retry(turn));
    find('[data-act="edit"]').addEventListener("click", () => acts.edit(turn));
    find('[data-act="branch"]').addEventListener("click", () => acts.branch(turn));
    find('[data-act="source"]').addEventListener("click", (event) => this.#source(event.currentTarget));
    this.#siblings(beside, acts.choose);
    this.#busy(turn.outcome === "answering");
    this.show();
    if (turn.lanes) this.see(turn.lanes);
  }

  #siblings(beside, choose) {
    const box = this.node.querySelector(".siblings");
    const at = beside.indexOf(this.turn);
    box.hidden = beside.length < 2;
    box.querySelector(".siblings-at").textContent = `${at + 1} of ${beside.length}`;
    for (const [name, step] of [["older", -1], ["newer", 1]]) {
      const button = box.querySelector(`[data-act="${name}"]`);
      button.disabled = beside[at + step] === undefined;
      button.addEventListener("click", () => choose(beside[at + step]));
    }
  }

  /** The answer as the bytes are that were bound, or set in type again. */
  #source(button) {
    const raw = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(raw));
    this.answer.classList.toggle("raw", raw);
    this.#bound = -1;
    this.show();
  }

  #busy(on) {
    this.answer.toggleAttribute("data-busy", on);
    for (const button of this.node.querySelectorAll('[data-act="retry"], [data-act="edit"], [data-act="branch"]')) button.disabled = on;
  }

  /** The answer as far as marks bind it; of the rest only how much is waiting for one. */
  show() {
    const { turn, answer } = this;
    if (turn.bound !== this.#bound) {
      const bound = turn.answer.slice(0, turn.bound);
      if (answer.classList.contains("raw")) answer.replaceChildren(bound);
      else render(answer, bound);
      this.#bound = turn.bound;
    }
    if (!answer.classList.contains("raw")) citeAnswer(answer, turn);
    this.#pictures();
    this.#status();
    showFiles(this.node.querySelector(".talk-files"), turn);
    if (turn.route !== this.#route) {
      this.#route = turn.route;
      this.strip.early(turn);
      this.#differs();
    }
    if (turn.run) this.#run(turn.run);
    showChecked(this.lanes, [...(turn.checked ?? []), turn.logged].filter(Boolean));
  }

  /** Images come into sight at the end, when marks cover the whole of the answer: half of one is none. */
  #pictures() {
    const { turn } = this;
    const box = this.node.querySelector(".pictures");
    const bound = turn.images?.length && turn.outcome === "complete" && turn.marks && turn.bound === turn.answer.length;
    if (!bound || box.childElementCount) return;
    box.replaceChildren(...figures(turn.images, turn.question));
    box.hidden = false;
  }

  #run(run) {
    if (this.node.dataset.run === run) return;
    this.node.dataset.run = run;
    const link = this.node.querySelector(".turn-run");
    link.href = `/runs/${run}`;
    link.hidden = Boolean(this.turn.private); // the panel cannot read it
    this.node.querySelector(".route-strip").hidden = false;
  }

  #status() {
    const marks = this.turn.marks === 1 ? "1 mark" : `${this.turn.marks} marks`;
    const checked = this.turn.marks ? `${marks} checked in this page` : "";
    const waiting = this.turn.outcome === "answering" && this.turn.waiting ? `${this.turn.waiting} characters wait for theirs` : "";
    const words = [OUTCOMES[this.turn.outcome], checked, waiting].filter(Boolean);
    this.node.querySelector(".turn-status").textContent = words.join(", ");
  }

  /** The lanes of the turn's run, as the gateway tells them now. */
  see(lanes) {
    this.turn.lanes = lanes;
    const changes = updateLanes(this.lanes, lanes, { quiet: !this.#seen });
    if (this.#seen && changes.length) announce(changes.join(". "));
    this.#seen = true;
    this.strip.show(lanes, this.turn);
    this.#differs();
  }

  #differs() {
    const found = differences(this.before, this.turn);
    const list = this.node.querySelector(".differs");
    list.hidden = !found.length;
    list.replaceChildren(
      ...found.map(({ lane, says }) => {
        const line = document.createElement("li");
        line.dataset.about = lane;
        line.textContent = says;
        return line;
      }),
    );
  }

  /** It is over, however it went; `error` is why, where it went wrong. */
  end(error = null) {
    this.#busy(false);
    this.show();
    if (this.turn.lanes) this.strip.show(this.turn.lanes, this.turn);
    this.node.querySelector(".turn-trouble").replaceChildren(...(error ? [troubleBox(error)] : []));
  }

  /** The gateway is silent about the run. */
  troubled(says) {
    this.node.querySelector(".live-says").hidden = false;
    this.node.querySelector(".live-says").textContent = sentence(says);
  }
}
