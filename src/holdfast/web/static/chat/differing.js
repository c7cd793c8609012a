/* Over a conversation: lane by lane, which of its turns went otherwise than the one before. Numbers of turns and nothing
   else: no lane is counted against another, and no turn is better for standing in fewer lines. */

import { differences } from "./differences.js";

/** Lane to the numbers (from 1) of the turns on show that differ in it from the one before them. */
export function differing(turns) {
  const found = new Map();
  turns.forEach((turn, index) => {
    for (const lane of new Set(differences(turns[index - 1], turn).map((each) => each.lane)))
      found.set(lane, [...(found.get(lane) ?? []), index + 1]);
  });
  return found;
}

/** Show it in `box`, which is hidden where no turn differs. */
export function showDiffering(box, turns) {
  const found = differing(turns);
  box.hidden = found.size === 0;
  box.querySelector("ul").replaceChildren(
    ...[...found].map(([lane, numbers]) => {
      const line = document.createElement("li");
      line.dataset.about = lane;
      line.textContent = `${lane}: ${numbers.length === 1 ? "turn" : "turns"} ${numbers.join(", ")}`;
      return line;
    }),
  );
}
