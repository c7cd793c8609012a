/* Questions that are sealed in this page (seal/path.js), where somebody ticks so: whether the next one is, what was checked
   before, and how a run is followed that only its capability opens. The modules that seal come when they are first needed. */

import { announce, sentence } from "../parts.js";

const at = (id) => document.getElementById(`private-${id}`);
const here = document.getElementById("private") !== null;
const POLL_MS = 2_000;
const LONGEST_MS = 120_000;
/* What opens the runs that were asked in this page. It is kept nowhere. */
const capabilities = new Map();
let path = null;
/* Done once what was last ticked is checked, or is not there. */
let turning = Promise.resolve();

/** The path of the next question, or null where it goes directly: a box that is ticked is meant, also while it is being checked. */
export const privately = () => (here && at("on").checked ? { send, heard, bundle } : null);

/* The answer to a turn's question, as `fetch` would give it. A route policy and a nonce are sealed in with it. */
async function send(turn, messages, { signal, route, nonce }) {
  turn.private = true;
  await turning;
  if (path === null) throw { code: "private.off", message: "The private path is not there", hint: "Nothing was asked. What is wrong stands under Private path" };
  const { body } = await import("../seal/path.js");
  const content = body({ model: turn.model, messages, stream: true, ...(route ? { holdfast: { route } } : {}) });
  return path.ask("POST", "/v1/chat/completions", { fields: [["content-type", "application/json"], ["x-holdfast-nonce", nonce]], content, signal, stream: true });
}

/* What opens the run came with a frame. */
function heard(frame) {
  const { run, capability } = frame.holdfast ?? {};
  if (run && capability) capabilities.set(run, capability);
}

/* A private run's bundle, asked for as the question was: the panel does not learn which run it is. */
const bundle = (run, capability) => path.ask("GET", `/v1/runs/${run}/bundle`, { fields: [["x-holdfast-capability", capability]] });

/** Ask for a private run's lanes, sealed, until it has settled or for two minutes; `seen(lanes)` hears of each. */
export async function watch(run, seen) {
  const capability = capabilities.get(run);
  if (!capability || path === null) return;
  const { json } = await import("../seal/path.js");
  for (const until = Date.now() + LONGEST_MS; Date.now() < until; ) {
    const answer = await path.ask("GET", `/v1/runs/${run}`, { fields: [["x-holdfast-capability", capability]] }).catch(() => null);
    if (answer?.ok) {
      const { lanes } = await json(answer);
      seen(lanes);
      if (lanes.settlement.state !== "pending") return;
    }
    await new Promise((woken) => setTimeout(woken, POLL_MS));
  }
}

async function turnOn() {
  at("trouble").hidden = true;
  at("says").textContent = "the gateway's keys are being checked";
  try {
    const { PrivatePath } = await import("../seal/path.js");
    const required = at("require").value || null;
    if (path?.required !== required) path = new PrivatePath(required);
    const lines = await path.check();
    if (!at("on").checked || path.required !== required) return;
    at("checked").replaceChildren(...lines.map((line) => Object.assign(document.createElement("li"), { textContent: line })));
    at("checked").hidden = false;
    at("says").textContent = "questions are sealed in this page";
    announce("Questions are sealed in this page");
  } catch (error) {
    path = null;
    at("on").checked = false;
    off();
    at("trouble").textContent = [error.message ?? "It did not work", error.hint].filter(Boolean).map(sentence).join(" ");
    at("trouble").hidden = false;
  }
}

function off() {
  at("checked").hidden = true;
  at("says").textContent = "questions go to the gateway directly";
}

if (here) {
  const turn = () => (turning = at("on").checked ? turnOn() : Promise.resolve(off()));
  if (at("on").checked) turn();
  at("on").addEventListener("change", turn);
  at("require").addEventListener("change", () => at("on").checked && turn());
}
