/* Rows of memory for a conversation: whose key is at hand, whether rows are recalled for a question, and whether what
   was asked is handed to the memory node after the answer. The key is never part of a turn: turns are kept. */

import { ask, forget, hold, key } from "../memory/node.js";
import { announce, sentence } from "../parts.js";

const at = (id) => document.getElementById(`carry-${id}`);
const here = document.getElementById("carry") !== null;
let user = null;

/** What goes along with a question: whose rows, and the key. Null where nothing does. */
export const recalled = () => (user !== null && key() !== null && at("recall").checked ? { user, key: key() } : null);

/** Hand over what was said in a turn that was answered. Its run is named, so that it cannot vouch for what was recalled
    into it. */
export async function remember(turn) {
  if (user === null || !at("remember").checked || !turn.run) return;
  const messages = [{ role: "user", content: turn.question }];
  await attempt(async () => {
    const { memories, renewed } = await ask("remember", { messages, source: "chat", metadata: { run: turn.run } });
    const kept = `${memories.length} ${memories.length === 1 ? "claim" : "claims"} kept, ${renewed.length} renewed`;
    at("says").textContent = `${says()}; ${kept}`;
    announce(kept);
  });
}

const says = () => (user === null || !at("recall").checked ? "no rows go along" : "your rows are recalled");

function show() {
  at("locked").hidden = user !== null;
  at("open").hidden = user === null;
  at("who").textContent = user ?? "";
  at("says").textContent = says();
}

async function attempt(does) {
  at("trouble").hidden = true;
  try {
    await does();
  } catch (error) {
    at("trouble").textContent = sentence(error.message ?? String(error));
    at("trouble").hidden = false;
    at("says").textContent = "look here";
    if (error.status === 401) leave();
  }
}

function leave() {
  forget();
  user = null;
  at("recall").checked = at("remember").checked = false;
  show();
}

async function open() {
  user = (await ask("me")).user_id;
  show();
}

const unlock = () =>
  attempt(async () => {
    hold(at("key").value.trim(), false);
    at("key").value = "";
    await open();
    at("recall").checked = true;
    show();
  });

if (here) {
  at("unlock").addEventListener("click", unlock);
  at("key").addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    unlock();
  });
  at("forget").addEventListener("click", leave);
  at("recall").addEventListener("change", show);
  if (key() !== null) attempt(open);
}
