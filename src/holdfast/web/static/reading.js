/* The slider over a case's moments. Letting go of it opens the moment; arrow keys do the same after a pause. */

import "./parts.js";

const slider = document.getElementById("stop");
const says = document.getElementById("stop-says");
const stops = [...document.querySelectorAll("#ticks option")];
const base = location.pathname.replace(/[a-z]+\/\d+$/, "");
let timer = 0;

slider.disabled = false;

slider.addEventListener("input", () => {
  const stop = stops[slider.valueAsNumber];
  says.textContent = `${slider.valueAsNumber + 1} of ${stops.length}: ${stop.label}`;
  slider.setAttribute("aria-valuetext", stop.label);
});

slider.addEventListener("change", () => {
  clearTimeout(timer);
  timer = setTimeout(() => location.assign(base + stops[slider.valueAsNumber].dataset.path), 350);
});
