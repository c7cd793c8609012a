/* The tree of an agent run: the keyboard as the ARIA practices have it for trees, and the chosen child beside it where
   there is room. What is folded up, chosen and shown stays so when the page asks for itself again. */

import "./keys.js";
import { announce } from "./parts.js";

const page = document.querySelector(".agent-page");
const place = document.getElementById("detail-place");
const fresh = document.getElementById("fresh");
const wide = matchMedia("(min-width: 68rem)");

const tree = () => document.getElementById("tree");
const folded = new Set();
let current = decodeURIComponent(location.hash.slice(1)); // id of the tree item that has the focus in it
let shown = "";

const items = () => [...(tree()?.querySelectorAll("[role=treeitem]") ?? [])];
const visible = () => items().filter((item) => !item.parentElement.closest('[aria-expanded="false"]'));
const above = (item) => item.parentElement.closest("[role=treeitem]");
const itemOf = (node) => node.closest?.("[role=treeitem]");

/** One item is in the order of the Tab key: the one that had the focus, or the first. */
function settle() {
  const all = items();
  for (const item of all) {
    item.tabIndex = -1;
    if (item.hasAttribute("aria-expanded")) item.setAttribute("aria-expanded", String(!folded.has(item.id)));
    item.setAttribute("aria-selected", String(item.id === shown));
  }
  const here = all.find((item) => item.id === current && !item.parentElement.closest('[aria-expanded="false"]'));
  const first = here ?? all[0];
  if (first) first.tabIndex = 0;
}

function go(item) {
  if (!item) return;
  current = item.id;
  settle();
  item.focus({ preventScroll: true });
  item.querySelector(".tree-row").scrollIntoView({ block: "nearest" });
}

function fold(item, closed) {
  if (closed) folded.add(item.id);
  else folded.delete(item.id);
  settle();
}

/** The child's own page, as a document: nothing here makes HTML from a string. */
function load(path) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("GET", path);
    request.responseType = "document";
    request.timeout = 8_000;
    request.onload = () => (request.status === 200 ? resolve(request.response) : reject(new Error(`${request.status}`)));
    request.onerror = request.ontimeout = () => reject(new Error("the panel does not answer"));
    request.send();
  });
}

/** Open what was said, where it is. */
function read(event, item) {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  show(item, event.currentTarget.href);
}

async function show(item, path = item.querySelector(".tree-link").href) {
  const link = item.querySelector(".tree-link");
  if (!wide.matches) {
    location.href = link.href;
    return;
  }
  shown = item.id;
  settle();
  try {
    const found = (await load(path)).getElementById("detail");
    if (shown !== item.id || !found) return;
    const detail = document.importNode(found, true);
    for (const offer of detail.querySelectorAll("[data-read]")) offer.addEventListener("click", (event) => read(event, item));
    for (const node of detail.querySelectorAll("[id]")) node.removeAttribute("id");
    for (const node of detail.querySelectorAll(".lanes-wide")) node.classList.remove("lanes-wide");
    const open = document.createElement("p");
    const whole = document.createElement("a");
    whole.href = link.href;
    whole.textContent = "Open this child by itself";
    open.append(whole);
    place.replaceChildren(detail, open);
    place.hidden = false;
    page.classList.add("has-detail");
    announce(`${detail.querySelector("h1").textContent} is shown beside the tree`);
  } catch {
    location.href = link.href;
  }
}

const KEYS = {
  ArrowDown: (item) => go(visible()[visible().indexOf(item) + 1]),
  ArrowUp: (item) => go(visible()[visible().indexOf(item) - 1]),
  Home: () => go(visible()[0]),
  End: () => go(visible().at(-1)),
  ArrowRight: (item) => {
    if (item.getAttribute("aria-expanded") === "false") fold(item, false);
    else go(item.querySelector("[role=treeitem]"));
  },
  ArrowLeft: (item) => {
    if (item.getAttribute("aria-expanded") === "true") fold(item, true);
    else go(above(item));
  },
  Enter: show,
  " ": show,
  "*": (item) => {
    for (const other of item.parentElement.children) if (other.hasAttribute("aria-expanded")) fold(other, false);
  },
};

fresh.addEventListener("keydown", (event) => {
  const item = itemOf(event.target);
  if (!item || event.ctrlKey || event.metaKey || event.altKey) return;
  const link = event.target !== item; // a link in it has the focus: Enter is the link's
  if (link && (event.key === "Enter" || event.key === " ")) return;
  const act = KEYS[event.key];
  if (act) {
    event.preventDefault();
    act(item);
  }
});

fresh.addEventListener("click", (event) => {
  const item = itemOf(event.target);
  if (!item || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  const link = event.target.closest("a");
  if (link && !link.matches(".tree-link")) return;
  if (event.target.closest(".tree-fold") && item.hasAttribute("aria-expanded")) {
    fold(item, !folded.has(item.id));
    return;
  }
  if (!event.target.closest(".tree-row") || itemOf(event.target.closest(".tree-row")) !== item) return;
  event.preventDefault();
  go(item);
  show(item);
});

/* What a cell says stands in the label of its line; it becomes the cell's own title when somebody points at it. */
fresh.addEventListener("pointerover", (event) => {
  const cells = event.target.closest(".tree-cells[aria-label]");
  if (!cells || cells.dataset.titled) return;
  cells.dataset.titled = "true";
  const says = cells.getAttribute("aria-label").split("; ");
  for (const [number, cell] of [...cells.children].entries()) cell.title = says[number];
});

fresh.addEventListener("focusin", (event) => {
  const item = itemOf(event.target);
  if (!item || item.id === current) return;
  current = item.id;
  settle();
});

fresh.addEventListener("fresh", settle);
addEventListener("hashchange", () => go(document.getElementById(decodeURIComponent(location.hash.slice(1)))));
settle();
