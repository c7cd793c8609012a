/* The first page: ask, read the answer as it comes, watch its lanes.

   The conversation lives in this tab (sessionStorage) and nowhere else. Text that no mark covers yet is grey; when the
   mark arrives it turns to ink. The page counts marks and checks none: `holdfast verify` does. */

import { updateLanes } from "./lanes.js";
import { LiveRuns } from "./live.js";
import { announce, clone, keepTimes, sentence, troubleBox } from "./parts.js";
import { events, refusal, token } from "./stream.js";
import { typeset } from "./typeset.js";

const KEY = "holdfast-conversation";
const form = document.getElementById("ask");
const prompt = document.getElementById("prompt");
const model = document.getElementById("model");
const send = document.getElementById("send");
const fresh = document.getElementById("new");
const list = document.getElementById("turns");
const turns = [];
let running = null;

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
    .map(({ question, answer, run, complete }) => ({ question, answer, run, complete }));
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
    answer: "",
    run: null,
    complete: false,
    marks: 0,
    bound: node.querySelector(".bound"),
    tail: node.querySelector(".tail"),
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

function setRun(turn, run) {
  if (!run || turn.run === run) return;
  turn.run = run;
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

/** Everything up to here is covered by a mark. */
function bind(turn) {
  typeset(turn.bound, turn.answer);
  turn.tail.textContent = "";
}

function takeEvent(turn, data) {
  if (data === "[DONE]") return;
  const frame = JSON.parse(data);
  if (frame.error) throw frame.error;
  setRun(turn, frame.holdfast?.run);
  for (const choice of frame.choices ?? []) {
    const text = choice.delta?.content;
    if (choice.index === 0 && text) {
      turn.answer += text;
      turn.tail.textContent += text;
    }
    if (choice.finish_reason) turn.complete = true;
  }
  if (frame.holdfast?.mark) {
    turn.marks += 1;
    bind(turn);
  }
}

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
  try {
    const response = await fetch("/ask", {
      method: "POST",
      headers: { "content-type": "application/json", "x-holdfast-token": token() },
      body: JSON.stringify({ model: model.value, messages: conversation() }),
      signal: control.signal,
    });
    setRun(turn, response.headers.get("x-holdfast-run"));
    if (!response.ok) throw await refusal(response);
    for await (const data of events(response.body)) {
      const follow = inSight(turn);
      first ||= performance.now() - started;
      takeEvent(turn, data);
      turn.status.textContent = status(turn, first, null);
      if (follow) turn.foot.scrollIntoView({ block: "nearest" });
    }
    bindAtEnd(turn);
    turn.status.textContent = status(turn, first, performance.now() - started);
    announce(`Answered: ${turn.answer.slice(0, 600)}`);
  } catch (error) {
    if (control.signal.aborted) {
      turn.status.textContent = "You stopped it. The gateway signs that too";
    } else {
      turn.status.textContent = turn.answer ? "Broken off" : "";
      showTrouble(turn, error.message && error.code !== undefined ? error : { message: "The connection broke", hint: "What was marked until then stays bound; the rest is not" });
    }
  } finally {
    delete answer.dataset.busy;
    running = null;
    busy(false);
    save();
  }
}

/** A finished answer is bound by its closing statement; a stream without marks by nothing the page has seen. */
function bindAtEnd(turn) {
  if (turn.complete && turn.marks) bind(turn);
}

function status(turn, first, whole) {
  const marks = turn.marks === 1 ? "1 mark" : `${turn.marks} marks`;
  if (whole === null) return `Answering, ${marks}`;
  return `First word after ${(first / 1000).toFixed(2)} s, all after ${(whole / 1000).toFixed(2)} s, ${marks}`;
}

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
    Object.assign(turn, { answer: kept.answer, complete: kept.complete });
    typeset(kept.complete ? turn.bound : turn.tail, kept.answer);
    setRun(turn, kept.run);
  }
  if (turns.length) scrollToEnd();
  keepTimes();
  prompt.focus({ preventScroll: true });
}

begin();
