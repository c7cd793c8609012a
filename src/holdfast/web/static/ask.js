/* The first page: ask, read the answer as it comes, watch its lanes.

   The conversation lives in this tab (sessionStorage) and nowhere else. Of an answer nothing is shown, kept or sent on but what a mark binds
   that was checked here, by the chat page's own rule (`chat/answering.js`). What asks and checks comes after the page stands. */

import { showChecked } from "./chat/checked.js";
import { updateLanes } from "./lanes.js";
import { LiveRuns } from "./live.js";
import { announce, clone, keepTimes, sentence, troubleBox } from "./parts.js";
import { typeset } from "./typeset.js";

const KEY = "holdfast-asked";
const form = document.getElementById("ask");
const prompt = document.getElementById("prompt");
const model = document.getElementById("model");
const send = document.getElementById("send");
const fresh = document.getElementById("new");
const list = document.getElementById("turns");
const turns = [];
let running = null;
let answering = null;

/* The modules that ask and check, once. */
const asking = () => (answering ??= import("./chat/answering.js"));

const live = new LiveRuns(
  (view) => {
    for (const turn of turns) if (turn.run === view.run) showView(turn, view);
  },
  (trouble) => {
    for (const turn of turns) if (trouble.run === null || turn.run === trouble.run) showLiveTrouble(turn, trouble);
  },
);

function save() {
  const kept = turns
    .filter((turn) => turn.question)
    .map(({ question, answer, run, outcome }) => ({ question, answer, run, outcome }));
  try {
    sessionStorage.setItem(KEY, JSON.stringify(kept));
  } catch {
    /* A conversation that does not fit is kept as long as the page. */
  }
}

function restore() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY)) ?? [];
  } catch {
    return [];
  }
}

function addTurn(question) {
  const node = clone("t-turn");
  node.querySelector(".question").textContent = question;
  node.querySelector(".turn-lanes").hidden = true;
  const turn = {
    node,
    question,
    model: model.value,
    answer: "",
    run: null,
    followed: null,
    marks: 0,
    waiting: 0,
    text: node.querySelector(".bound"),
    status: node.querySelector(".turn-status"),
    foot: node.querySelector(".turn-foot"),
  };
  for (const older of turns) fold(older);
  turns.push(turn);
  list.append(node);
  document.body.classList.add("has-turns");
  fresh.hidden = false;
  return turn;
}

/** Older turns show their lanes as a strip; one press opens them again. */
function fold(turn) {
  const lanes = turn.node.querySelector(".turn-lanes");
  if (!lanes.contains(document.activeElement)) lanes.open = false;
}

function showRun(turn) {
  const { run } = turn;
  if (!run || turn.followed === run) return;
  turn.followed = run;
  turn.node.dataset.run = run;
  const link = turn.node.querySelector(".turn-run");
  link.href = `/runs/${run}`;
  link.hidden = false;
  turn.node.querySelector(".turn-lanes").hidden = false;
  live.follow(run);
}

function showView(turn, view) {
  const changes = updateLanes(turn.node, view.lanes, { quiet: !turn.seen });
  if (turn.seen && changes.length) announce(changes.join(". "));
  turn.seen = true;
  const settlement = view.lanes.settlement;
  const says = turn.node.querySelector(".live-says");
  says.hidden = settlement.state !== "pending";
  says.textContent = settlement.says;
}

function showLiveTrouble(turn, trouble) {
  const says = turn.node.querySelector(".live-says");
  says.hidden = false;
  says.textContent = sentence(trouble.says);
}

function showTrouble(turn, error) {
  turn.node.querySelector(".turn-trouble").replaceChildren(troubleBox(error));
}

function conversation() {
  const messages = [];
  for (const turn of turns) {
    messages.push({ role: "user", content: turn.question });
    if (turn.answer && turn !== turns.at(-1)) messages.push({ role: "assistant", content: turn.answer });
  }
  return messages;
}

/** What changed of a turn while its answer comes: `turn.answer` is what marks bind so far. */
function showTurn(turn, status) {
  showRun(turn);
  if (turn.text.dataset.size !== String(turn.answer.length)) typeset(turn.text, turn.answer);
  turn.text.dataset.size = turn.answer.length;
  turn.status.textContent = status;
}

const BROKEN = { message: "The connection broke", hint: "What was marked until then is shown; the rest is not" };

/* A payment is not made from here. */
const refused = (error) => error.error ?? (error.message && error.code !== undefined ? error : BROKEN);

async function ask(question) {
  const turn = addTurn(question);
  const started = performance.now();
  const control = new AbortController();
  const answer = turn.node.querySelector(".answer");
  let first = 0;
  running = control;
  busy(true);
  answer.dataset.busy = "";
  turn.status.textContent = "Waiting for the first word";
  turn.node.scrollIntoView({ block: "start" });
  const moved = () => {
    const follow = inSight(turn);
    if (turn.answer) first ||= performance.now() - started;
    showTurn(turn, turn.marks ? progress(turn) : "Waiting for the first mark");
    if (follow) turn.foot.scrollIntoView({ block: "nearest" });
  };
  try {
    const messages = conversation();
    const module = await asking();
    await module.answer(turn, messages, { signal: control.signal, moved });
    showTurn(turn, `First word after ${seconds(first)}, all after ${seconds(performance.now() - started)}, ${marks(turn)} checked in this page`);
    announce(`Answered: ${turn.answer.slice(0, 600)}`);
  } catch (error) {
    if (control.signal.aborted) {
      showTurn(turn, "You stopped it. The gateway signs that too");
    } else {
      showTurn(turn, turn.answer ? "Broken off" : "");
      showTrouble(turn, refused(error));
    }
  } finally {
    delete answer.dataset.busy;
    running = null;
    busy(false);
    showChecked(turn.node, turn.checked ?? []);
    save();
  }
}

const seconds = (ms) => `${(ms / 1000).toFixed(2)} s`;
const marks = (turn) => (turn.marks === 1 ? "1 mark" : `${turn.marks} marks`);
const progress = (turn) => `Answering, ${marks(turn)}${turn.waiting ? `, ${turn.waiting} characters wait for one` : ""}`;

function busy(on) {
  send.classList.toggle("busy", on);
  send.querySelector(".icon").className = `icon icon-${on ? "stop" : "send"}`;
  send.querySelector(".visually-hidden").textContent = on ? "Stop" : "Ask";
}

/** Whether the end of the answer was on the screen; who has scrolled away is not pulled back. */
const inSight = (turn) => turn.foot.getBoundingClientRect().top < innerHeight;

const scrollToEnd = () => scrollTo({ top: document.documentElement.scrollHeight });

send.addEventListener("click", (event) => {
  if (!running) return;
  event.preventDefault();
  running.abort();
});

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (running) return;
  const question = prompt.value.trim();
  if (!question) return;
  prompt.value = "";
  fit();
  ask(question);
});

prompt.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    if (!running) form.requestSubmit();
  } else if (event.key === "Escape") {
    running?.abort();
  }
});

/** Grows with what is typed, where the browser does not do it by itself. */
function fit() {
  if (CSS.supports("field-sizing", "content")) return;
  prompt.rows = Math.min(12, prompt.value.split("\n").length);
}

prompt.addEventListener("input", fit);

model.addEventListener("change", () => {
  try {
    localStorage.setItem("holdfast-model", model.value);
  } catch {
    /* The choice lasts as long as the page. */
  }
});

fresh.addEventListener("click", () => {
  running?.abort();
  turns.length = 0;
  live.clear();
  sessionStorage.removeItem(KEY);
  location.reload();
});

function begin() {
  try {
    const wanted = localStorage.getItem("holdfast-model");
    if ([...model.options].some((option) => option.value === wanted)) model.value = wanted;
  } catch {
    /* The gateway's first model, then. */
  }
  for (const kept of restore()) {
    const turn = addTurn(kept.question);
    Object.assign(turn, { answer: kept.answer, outcome: kept.outcome, run: kept.run });
    showTurn(turn, "");
  }
  if (turns.length) scrollToEnd();
  keepTimes();
  prompt.focus({ preventScroll: true });
  prompt.addEventListener("input", asking, { once: true });
}

begin();
