/* What this page has checked of a turn, in words, in the lane `bytes` and nowhere else. It changes no lane: lanes are the gateway's
   account, and this is the page's own. */

import { sentence } from "../parts.js";

const WORDS = { yes: "", no: "No: ", cannot_tell: "Cannot tell: " };

function row(lane) {
  let found = lane.querySelector(".checked-here");
  if (found) return found;
  found = document.createElement("div");
  found.className = "checked-here";
  const [term, list] = [document.createElement("dt"), document.createElement("dd")];
  term.textContent = "Checked in this page";
  list.append(document.createElement("ul"));
  found.append(term, list);
  lane.querySelector("dl").prepend(found);
  return found;
}

/** Shows `checked`, a list of `{answer, says}`, among a turn's lanes. */
export function showChecked(lanes, checked) {
  const lane = lanes.querySelector('.lane[data-lane="bytes"]');
  if (!lane || !checked.length) return;
  const items = checked.map(({ answer, says }) => {
    const item = document.createElement("li");
    item.dataset.answer = answer;
    item.textContent = sentence(WORDS[answer] + says);
    return item;
  });
  row(lane).querySelector("ul").replaceChildren(...items);
}
