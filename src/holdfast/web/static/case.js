/* Moving over the lanes of a case with the keyboard, and into the evidence of one. */

import { bind } from "./keys.js";

const lanes = () => [...document.querySelectorAll("#fresh details.lane")];
const here = () => document.activeElement?.closest("details.lane");

function move(step) {
  const all = lanes();
  const next = all[Math.min(all.length - 1, Math.max(0, all.indexOf(here()) + step))];
  next?.querySelector("summary").focus();
}

/** Open the lane that has the focus, or the first one, and go to the first digest of its evidence. */
function open() {
  const lane = here() ?? lanes()[0];
  if (!lane) return;
  lane.open = true;
  (lane.querySelector(".lane-evidence :is(button, a)") ?? lane.querySelector("summary")).focus();
}

bind({ j: () => move(1), k: () => move(-1), o: open });
