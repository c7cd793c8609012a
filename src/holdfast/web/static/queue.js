/* Moving through a queue with the keyboard. */

import { bind } from "./keys.js";

const shown = document.getElementById("fresh");
const links = () => [...shown.querySelectorAll(".case-link")];

function move(step) {
  const all = links();
  if (!all.length) return;
  const here = all.indexOf(document.activeElement?.closest(".case")?.querySelector(".case-link"));
  const next = all[Math.min(all.length - 1, Math.max(0, here + step))];
  next.focus();
  next.closest(".case").scrollIntoView({ block: "nearest" });
}

bind({
  j: () => move(1),
  k: () => move(-1),
  "/": () => shown.querySelector(".filters :is(a, input, select)")?.focus(),
});
