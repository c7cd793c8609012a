/* A page that stays current: asks for itself again while it is looked at and puts its middle in place of the old one.
   What is open stays open, what has the focus keeps it. XMLHttpRequest, because it hands over a parsed document; nothing
   here makes HTML from a string. */

import { announce, keepTimes } from "./parts.js";

const shown = document.getElementById("fresh");

function fetchDocument(path) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("GET", path);
    request.setRequestHeader("x-holdfast-fresh", "1"); // nobody opened anything
    request.responseType = "document";
    request.timeout = 8_000;
    request.onload = () => (request.status === 200 ? resolve(request.response) : reject(request.status));
    request.onerror = request.ontimeout = reject;
    request.send();
  });
}

const word = (root) => root.querySelector(".case-word .stands")?.dataset.stands;

/** Elements that a person opened, by the lane or place they belong to. */
const opened = (root) =>
  new Set([...root.querySelectorAll("details[open]:is([data-lane], [data-keep])")].map(label));
const label = (node) => node.dataset.lane ?? `act ${node.dataset.keep}`;

/** Whether somebody has begun to write: then what they write about stays as it is. */
const writing = (root) => [...root.querySelectorAll("textarea, input")].some((field) => field.value !== field.defaultValue);

function put(newer) {
  const open = opened(shown);
  const before = word(shown);
  shown.replaceChildren(...document.importNode(newer, true).childNodes);
  for (const node of shown.querySelectorAll("details:is([data-lane], [data-keep])")) node.open = open.has(label(node));
  const after = word(shown);
  if (after && before !== after) announce(`The case is ${after}`);
  shown.dispatchEvent(new CustomEvent("fresh"));
}

let last = "";

/** Where the focus is, as a selector that finds the same place again; "" outside, null where there is no such place. */
function place() {
  const active = document.activeElement;
  if (active === shown || !shown.contains(active)) return "";
  if (active.matches("input, textarea, select, button")) return null;
  const lane = active.closest("details[data-lane]");
  if (lane) return `details[data-lane="${lane.dataset.lane}"] > summary`;
  const act = active.closest("details[data-keep]");
  if (act) return `details[data-keep="${act.dataset.keep}"] > summary`;
  const named = active.closest("#fresh [id]");
  return named ? `[id="${named.id}"] a` : null;
}

async function refresh() {
  if (document.hidden || place() === null || shown.querySelector("[data-done]") || writing(shown)) return;
  try {
    const newer = (await fetchDocument(location.pathname + location.search)).getElementById("fresh");
    const focus = place();
    if (!newer || newer.innerHTML === last || focus === null) return;
    last = newer.innerHTML;
    put(newer);
    if (focus) shown.querySelector(focus)?.focus({ preventScroll: true });
  } catch {
    /* The panel is away; what is on the page stays, and the next time tries again. */
  }
}

last = shown.innerHTML;
if (Number(shown.dataset.every)) setInterval(refresh, Number(shown.dataset.every));
keepTimes();
