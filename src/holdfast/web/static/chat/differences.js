/* In what a turn went otherwise than the one before it. Lane by lane, in words; nothing is counted or ranked. */

import { detours } from "./routes.js";

const WATCHED = {
  route: "Routed otherwise",
  privacy: "Seen otherwise",
  enclave: "Another kind of enclave",
  artifact: "Another model behind it",
  payment: "Paid otherwise",
};

/* Round numbers, times and digests move with every turn and say nothing of how it went. */
const settled = (text) => text.replace(/\b(?:0x)?[0-9a-f]{8,}\b|\d+(?:\.\d+)?/gi, "#");

/** Sentences, each with the lane it is about: who failed, as soon as the answer says so, then what differs. `before` and `now` have `lanes`, `served` and `model`. */
export function differences(before, now) {
  const found = detours(now.route);
  if (!before?.lanes || !now.lanes) return found;
  if (before.served && now.served && before.served !== now.served)
    found.push({ lane: "route", says: `The answer names ${now.served}; the one before named ${before.served}.` });
  for (const [lane, words] of Object.entries(WATCHED)) {
    const [was, is] = [before.lanes[lane], now.lanes[lane]];
    if (!was || !is || is.state === "pending" || was.state === "pending") continue;
    if (was.state !== is.state || was.basis !== is.basis)
      found.push({ lane, says: `${words}: ${lane} is ${word(is)}; in the turn before it was ${word(was)}.` });
    else if (lane === "route" && settled(was.says) !== settled(is.says)) found.push({ lane, says: `${words}: ${is.says}` });
  }
  return found;
}

const word = (lane) => `${lane.state.replaceAll("_", " ")}${lane.basis ? ` (${lane.basis.replaceAll("_", " ")})` : ""}`;
