/* The chat page: the conversation on show, the form, the list of conversations. What a turn looks like is in turn.js,
   what it asks in answering.js, what is kept in conversations.js, what is paid in pay/. */

import { LiveRuns } from "../live.js";
import { announce, clone } from "../parts.js";
import { pay } from "../pay/dialog.js";
import { PaymentNeeded, inDollars } from "../pay/x402.js";
import { answer } from "./answering.js";
import { checkSettled } from "./closing.js";
import { Conversations } from "./conversations.js";
import { showDiffering } from "./differing.js";
import { put, take } from "./files.js";
import { Head } from "./head.js";
import { recalled, remember } from "./memory.js";
import { PolicyControl, chosen } from "./policy.js";
import { privately, watch } from "./private.js";
import { SearchField } from "./search.js";
import { shortcuts } from "./shortcuts.js";
import { TurnView } from "./turn.js";

const find = (id) => document.getElementById(id);
const form = find("ask");
const prompt = find("prompt");
const model = find("model");
const send = find("send");
const talk = find("talk");
const TITLE = 72;

const conversations = new Conversations(document.body.dataset.owner, changed);
let current = null;
let views = [];
let running = null;
/* What is looked for among the conversations, and where; null shows them all. */
let found = null;
/* Where the next question goes: under the head, or beside the turn that is edited. */
let editing = null;

const head = new Head(conversations, list);
const policy = new PolicyControl((route) => {
  if (!current) return; // it is taken in by the conversation that begins
  current.route = route;
  conversations.save(current);
});
const looking = new SearchField(find("look"), conversations, (answer) => {
  found = answer;
  list();
});

const ready = (async () => {
  await conversations.start();
  find("not-kept").hidden = conversations.kept;
  await open(wanted());
})();

const live = new LiveRuns(
  (run) => {
    for (const view of views.filter((each) => each.turn.run === run.run)) {
      const before = view.turn.lanes?.payment.says;
      view.see(run.lanes);
      showDiffering(find("differing"), views.map((each) => each.turn));
      if (run.lanes.payment.says !== before) showCost(view);
      showSettled(view);
      if (view.turn.outcome !== "answering") conversations.keep(view.turn);
    }
  },
  (trouble) => {
    for (const view of views) if (trouble.run === null || view.turn.run === trouble.run) view.troubled(trouble.says);
  },
);

// ---- what is on show ------------------------------------------------------------------------------------------------

function show() {
  const turns = current ? conversations.path(current.head) : [];
  const known = new Map(views.map((view) => [view.turn, view]));
  live.clear();
  views = turns.map((turn, index) => {
    if (turn.outcome === "answering" && running?.turn !== turn) turn.outcome = "broken"; // the page was left
    if (running?.turn === turn && known.has(turn)) return known.get(turn);
    return new TurnView(turn, { before: turns[index - 1], beside: conversations.beside(turn), acts: { retry, edit, choose, branch } });
  });
  talk.replaceChildren(...views.map((view) => view.node));
  document.body.classList.toggle("has-turns", views.length > 0);
  for (const view of views) if (view.turn.run && !view.turn.private) live.follow(view.turn.run);
  head.show(current);
  showDiffering(find("differing"), turns);
  list();
}

function list() {
  const shown = conversations.list().filter(({ id }) => !found || found.has(id));
  const items = shown.map((conversation) => {
    const item = clone("t-conversation");
    const link = item.querySelector("a");
    link.href = `#${conversation.id}`;
    link.textContent = conversation.title;
    if (conversation === current) link.setAttribute("aria-current", "true");
    const around = found?.get(conversation.id);
    item.querySelector(".found").textContent = around ?? "";
    item.querySelector(".found").hidden = !around;
    const button = item.querySelector("button");
    button.setAttribute("aria-label", `Forget ${conversation.title}`);
    button.addEventListener("click", () => forget(conversation.id));
    return item;
  });
  find("conversations").replaceChildren(...items);
  find("no-conversations").hidden = items.length > 0 || found !== null;
  find("nothing-found").hidden = items.length > 0 || found === null;
}

async function open(id) {
  stop();
  await conversations.load(id);
  if (id !== wanted()) return; // somebody went on meanwhile
  current = conversations.get(id) ?? null;
  edit(null);
  policy.show(current);
  show();
  if (views.length) views.at(-1).foot.scrollIntoView({ block: "end" });
}

/** Another tab did something. While an answer comes in here, it is shown at its end. */
function changed(id) {
  if (current?.id !== id) return list();
  if (running) {
    running.missed = true;
    return list();
  }
  current = conversations.get(id) ?? null;
  show();
}

async function forget(id) {
  if (current?.id === id) stop();
  await conversations.forget(id);
  if (current?.id === id) location.hash = "";
  list();
}

// ---- asking ---------------------------------------------------------------------------------------------------------

/** The beginning of a question, cut between words. */
function titleOf(question) {
  const text = question.replace(/\s+/g, " ");
  return text.length <= TITLE ? text : `${text.slice(0, TITLE).replace(/ \S*$/, "")}…`;
}

/** `said`: whether somebody says this now; asking the same again is no saying. */
async function ask(question, parent, said = true, files = take(), again = null) {
  current ??= Object.assign(conversations.begin(titleOf(question)), { route: chosen() });
  policy.show(current);
  if (location.hash !== `#${current.id}`) history.pushState(null, "", `#${current.id}`);
  const turn = conversations.add(current, parent, question, model.value, { again, sealed: privately() !== null });
  if (files.length) turn.files = files;
  const mine = { turn, control: new AbortController(), missed: false };
  const { control } = mine;
  running = mine;
  show();
  const view = views.at(-1);
  view.node.scrollIntoView({ block: "start" });
  busy(true);
  const error = await follow(view, control).catch((problem) => problem);
  if (error) turn.outcome = control.signal.aborted ? "stopped" : turn.answer ? "broken" : "refused";
  if (running?.turn === turn) running = null;
  busy(running !== null);
  if (mine.missed) changed(turn.conversation);
  shown(view).end(error && !control.signal.aborted ? shaped(error, turn) : null);
  if (!error) announce(`Answered${turn.images?.length ? " with an image" : ""}: ${turn.answer.slice(0, 600)}`);
  conversations.end(turn);
  list();
  showCredit();
  if (turn.private) lookAfter(view);
  else if (said && !error) remember(turn);
}

/** A run that was asked privately is followed by what opens it, which this page alone has. */
function lookAfter(view) {
  watch(view.turn.run, (lanes) => {
    view.see(lanes);
    conversations.keep(view.turn);
  });
}

/** The view of a turn that is on show now, where its own was taken down. */
const shown = (view) => views.find((each) => each.turn === view.turn) ?? view;

/** What a turn cost, and once it was taken, what was taken: `exact` takes all that was signed. */
async function showCost(view) {
  if (view.turn.lanes.payment.state === "not_applicable") return;
  const response = await fetch(`/runs/${view.turn.run}/payment.json`);
  const { charged, captured, offered } = response.ok ? await response.json() : {};
  if (captured && offered?.rate) view.turn.paid = `taken ${inDollars(captured.amount, offered.rate)} USD`;
  else if (charged) view.turn.paid = `charged ${charged.usd} USD`;
  else return;
  view.see(view.turn.lanes);
  conversations.keep(view.turn);
}

/** What this page finds in the log of a turn, once there is something. */
async function showSettled(view) {
  if (!(await checkSettled(view.turn))) return;
  view.show();
  if (view.turn.logged.answer === "no") announce(view.turn.logged.says);
  conversations.keep(view.turn);
}

/** What is left of the credit after a turn; as it was where the panel does not say. */
async function showCredit() {
  const box = find("credit");
  if (box.hidden) return;
  const { credit } = await fetch("/chat.json").then((response) => response.json()).catch(() => ({}));
  if (!credit) return;
  for (const name of ["left", "granted"]) box.querySelector(`[data-part="${name}"]`).textContent = credit[name];
}

const SEALED = { code: "page.sealed", message: "What would be sent was sealed before, and this would show it to the panel", hint: "Tick Private path, or begin a new conversation" };

/** Ask, have it paid for where that is asked, and ask again with the payment: once. */
async function follow(view, control) {
  const { turn } = view;
  const messages = conversations.messages(turn);
  const signal = control.signal;
  const moved = () => advance(view);
  const path = privately();
  const route = current?.route ?? null;
  if (path) return answer(turn, messages, { signal, moved, path, route });
  if (conversations.sealed(turn)) throw SEALED;
  const memory = recalled();
  try {
    await answer(turn, messages, { signal, moved, memory, route });
  } catch (needed) {
    if (!(needed instanceof PaymentNeeded)) throw needed;
    const paid = await pay(needed, turn.question);
    turn.paid = paid.amount; // until the gateway says what became of it
    await answer(turn, messages, { signal, moved, memory, route, payment: paid.header }).catch((error) => {
      if (!(error instanceof PaymentNeeded)) throw error;
      throw { code: "page.asked_again", message: `It was not taken: ${error.message}`, hint: "What you signed may be used until it runs out; this page does not sign twice for one question" };
    });
  }
}

function advance(view) {
  const follows = inSight(view);
  view.show();
  conversations.reached(view.turn);
  if (view.turn.run && !view.turn.private) live.follow(view.turn.run);
  if (follows) view.foot.scrollIntoView({ block: "nearest" });
}

/** Whether the end of the answer was on the screen; who has scrolled away is not pulled back. */
const inSight = (view) => view.foot.getBoundingClientRect().top < innerHeight;

/** Why there is no answer, or no more of it, as this page tells it. */
function shaped(error, turn) {
  if (!turn.run && !navigator.onLine) return { message: "This browser is offline", hint: "Ask again when it is back" };
  const told = error instanceof Error ? typeof error.code === "string" : error.code !== undefined;
  if (told && typeof error.message === "string") return { message: error.message, hint: typeof error.hint === "string" ? error.hint : "" };
  if (turn.run) return { message: "The connection broke", hint: "What was marked until then stays bound; the rest is not shown" };
  return { message: "The panel was not reached", hint: "Nothing came back. Ask again when the connection is there" };
}

function retry(turn) {
  if (!running) ask(turn.question, turn.parent, false, turn.files ?? [], turn);
}

/** Write a question anew; null goes back to asking the next one. */
function edit(turn) {
  editing = turn;
  find("editing").hidden = turn === null;
  if (turn) prompt.value = turn.question;
  if (turn) put(turn.files ?? []);
  prompt.focus({ preventScroll: true });
}

/** Go on from a turn in a conversation of its own. */
function branch(turn) {
  if (running) return;
  const copy = conversations.branch(turn);
  location.hash = copy.id;
  announce("A new conversation that begins up to here");
}

function choose(turn) {
  if (running) return;
  conversations.choose(current, turn);
  show();
}

function stop() {
  running?.control.abort();
}

function busy(on) {
  send.classList.toggle("busy", on);
  send.querySelector(".icon").className = `icon icon-${on ? "stop" : "send"}`;
  send.querySelector(".visually-hidden").textContent = on ? "Stop" : "Ask";
}

// ---- the form -------------------------------------------------------------------------------------------------------

send.addEventListener("click", (event) => {
  if (!running) return;
  event.preventDefault();
  stop();
});

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  await ready; // who is quick asks once what is kept is there
  const question = prompt.value.trim();
  if (running || !question || !model.value || policy.wrong) return;
  const again = editing;
  const parent = again ? again.parent : (current?.head ?? null);
  prompt.value = "";
  edit(null);
  ask(question, parent, true, take(), again);
});

prompt.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    if (!running) form.requestSubmit();
  } else if (event.key === "Escape") {
    stop();
    if (editing) prompt.value = "";
    edit(null);
  }
});

for (const button of document.querySelectorAll("[data-try]"))
  button.addEventListener("click", () => {
    prompt.value = button.textContent;
    prompt.focus();
  });

shortcuts({
  compose: () => prompt.focus(),
  look: () => {
    find("list").open = true;
    looking.field.focus();
  },
  begin: () => {
    location.hash = "";
    prompt.focus();
  },
  rename: () => head.rename(),
  save: () => head.export(),
});

find("edit-cancel").addEventListener("click", () => {
  prompt.value = "";
  edit(null);
});

function pick() {
  for (const about of document.querySelectorAll(".model-about [data-model]")) about.hidden = about.dataset.model !== model.value;
  const draws = model.selectedOptions[0]?.dataset.makes === "image";
  prompt.placeholder = draws ? "Say what is to be drawn" : "Ask something";
}

model.addEventListener("change", () => {
  pick();
  try {
    localStorage.setItem("holdfast-model", model.value);
  } catch {
    /* The choice lasts as long as the page. */
  }
});

function restoreModel() {
  try {
    const wanted = localStorage.getItem("holdfast-model");
    if ([...model.options].some((option) => option.value === wanted)) model.value = wanted;
  } catch {
    /* The gateway's first model, then. */
  }
  pick();
}

const wanted = () => location.hash.slice(1);
addEventListener("hashchange", () => wanted() === (current?.id ?? "") || open(wanted()));

find("list").open = !matchMedia("(max-width: 62rem)").matches;
restoreModel();
await ready;
