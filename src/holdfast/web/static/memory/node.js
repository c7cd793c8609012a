/* The memory node, asked through the panel with a key that stays here: in this page, or, where its owner ticks so, in
   this tab's sessionStorage. It is given to one path of our own origin and to nothing else. */

import { refusal, token } from "../stream.js";

const NAME = "holdfast-memory-key";
let held = null;

/** Storage of this tab, where a browser keeps things at all. */
function kept(does) {
  try {
    return does(sessionStorage);
  } catch {
    return null;
  }
}

const owner = () => document.body.dataset.owner;

/** The key, or null. What somebody else left in this tab is forgotten. */
export function key() {
  if (held !== null) return held;
  const found = kept((store) => JSON.parse(store.getItem(NAME)));
  if (found && found.owner === owner() && typeof found.key === "string") return found.key;
  if (found) forget();
  return null;
}

export function hold(value, keep) {
  held = value;
  if (keep) kept((store) => store.setItem(NAME, JSON.stringify({ owner: owner(), key: value })));
}

export function forget() {
  held = null;
  kept((store) => store.removeItem(NAME));
}

/** The whole answer to an act. Throws an error in the one shape, with its `status`. */
export async function send(act, body = {}) {
  const headers = { "content-type": "application/json", "x-holdfast-token": token() };
  if (key() !== null) headers["x-holdfast-memory-key"] = key();
  let response;
  try {
    response = await fetch(`/memory/acts/${act}`, { method: "POST", headers, body: JSON.stringify(body) });
  } catch {
    throw { code: "panel.silent", message: "the panel does not answer", hint: "try again in a moment", status: 0 };
  }
  if (!response.ok) throw { ...(await refusal(response)), status: response.status };
  return response;
}

/** The JSON of the answer to an act. */
export const ask = async (act, body) => (await send(act, body)).json();
