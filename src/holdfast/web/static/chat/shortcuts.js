/* Single keys of the chat page (keys.js has the rules and the list): none fires while somebody writes. */

import { bind } from "../keys.js";

const turns = () => [...document.querySelectorAll(".talk")];
const here = () => document.activeElement?.closest(".talk");

function move(step) {
  const all = turns();
  const now = here();
  const next = now ? all[Math.min(all.length - 1, Math.max(0, all.indexOf(now) + step))] : all.at(step < 0 ? -1 : 0);
  next?.focus();
  next?.scrollIntoView({ block: "start" });
}

/** Press a button of the turn that has the focus, or of the last one. */
const press = (act) => (here() ?? turns().at(-1))?.querySelector(`[data-act="${act}"]`)?.click();

export function shortcuts({ compose, look, begin, rename, save }) {
  bind({
    i: compose,
    "/": look,
    n: begin,
    t: rename,
    x: save,
    j: () => move(1),
    k: () => move(-1),
    r: () => press("retry"),
    e: () => press("edit"),
    b: () => press("branch"),
    w: () => press("source"),
  });
}
