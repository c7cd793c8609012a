/* A page that stays current: asks for itself again when it hears that something moved, and puts its middle in place of
   the old one. What is open stays open, what has the focus keeps it. Where no stream can be had it asks now and then.
   XMLHttpRequest, because it hands over a parsed document; nothing here makes HTML from a string. */

import { announce, keepTimes } from "./parts.js";

const shown = document.getElementById("fresh");
const every = Number(shown.dataset.every);
/* Without a stream: how often to ask, and when to try for one again. */
const SLOW_MS = 15_000;
const AGAIN_MS = 5_000;

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

/** What fields hold of what the reader opened: in a page that was only asked for again they are empty. */
const given = (root) => [...root.querySelectorAll("textarea[data-given]")].map((field) => [field.id, field.defaultValue]);

function put(newer) {
  const open = opened(shown);
  const kept = given(shown);
  const before = word(shown);
  shown.replaceChildren(...document.importNode(newer, true).childNodes);
  for (const node of shown.querySelectorAll("details:is([data-lane], [data-keep])")) node.open = open.has(label(node));
  for (const [id, text] of kept) {
    const field = document.getElementById(id);
    if (field && !field.defaultValue) field.defaultValue = text;
  }
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
  if (active.matches("[role=treeitem]")) return `[id="${active.id}"]`;
  const named = active.closest("#fresh [id]");
  return named ? `[id="${named.id}"] a` : null;
}

let wanted = false; // something moved that the page does not show yet
let asking = false;

async function refresh() {
  if (document.hidden || asking || place() === null || shown.querySelector("[data-done]") || writing(shown)) return;
  asking = true;
  wanted = false;
  try {
    const newer = (await fetchDocument(location.pathname + location.search)).getElementById("fresh");
    const focus = place();
    if (focus === null) wanted = true;
    if (!newer || newer.innerHTML === last || focus === null) return;
    last = newer.innerHTML;
    put(newer);
    if (focus) shown.querySelector(focus)?.focus({ preventScroll: true });
  } catch {
    wanted = true; // The panel is away; what is on the page stays, and the next time tries again.
  } finally {
    asking = false;
  }
}

function want() {
  wanted = true;
  refresh();
}

/* One stream while the page is looked at. It says that something moved; the page asks for the rest. */

let source = null;
let slow = 0;
let timer = 0;

function listen() {
  if (source || document.hidden) return;
  clearTimeout(timer);
  source = new EventSource(shown.dataset.live);
  source.addEventListener("open", () => {
    clearInterval(slow);
    slow = 0;
    want(); // what moved before the stream was there
  });
  source.addEventListener("moved", want);
  source.addEventListener("over", () => {
    hush();
    want();
    timer = setTimeout(listen, AGAIN_MS); // as whoever looks at it now
  });
  source.addEventListener("error", () => {
    slow ||= setInterval(want, SLOW_MS);
    if (source?.readyState !== EventSource.CLOSED) return;
    hush();
    timer = setTimeout(listen, AGAIN_MS);
  });
}

function hush() {
  clearTimeout(timer);
  source?.close();
  source = null;
}

last = shown.innerHTML;
if (shown.dataset.live && every) {
  requestAnimationFrame(() => setTimeout(listen)); // once the page is painted: nobody waits for what may move
  setInterval(() => wanted && refresh(), every);
  document.addEventListener("visibilitychange", () => (document.hidden ? hush() : listen()));
  addEventListener("pagehide", hush);
} else if (every) setInterval(refresh, every);
keepTimes();
