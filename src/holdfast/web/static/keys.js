/* Single keys. An element with data-key is what its key leads to: a fold opens and its first field has the focus, a
   button is pressed. Nothing fires while somebody types, with a modifier held, while a key repeats, or over an open
   dialog; the list of keys can switch them off, for people whose speech or hands make keys by accident. */

const SWITCH = "holdfast-keys";
const ACTED = "holdfast-acted";
const dialog = document.getElementById("keys");
const typing = (node) => node.closest("input, textarea, select, [contenteditable]");
const more = new Map();

/** Further keys of a page: `does()` for a key, by its name. */
export function bind(keys) {
  for (const [key, does] of Object.entries(keys)) more.set(key, does);
}

/** What is kept is kept where a browser keeps things at all: `does(store)`, or null. */
function kept(name, does) {
  try {
    return does(globalThis[name]);
  } catch {
    return null;
  }
}

const isOn = () => kept("localStorage", (store) => store.getItem(SWITCH)) !== "off";

function lead(target) {
  if (target.matches("details")) {
    target.open = true;
    (target.querySelector(":scope > form :is(select, textarea, input:not([type=hidden]))") ?? target.firstElementChild).focus();
  } else target.click();
}

/** Fold up what the focus is in, and stay where it was. */
function foldUp(node) {
  const open = node.closest("details[open]:is(.act, .lane)");
  if (!open) return false;
  open.open = false;
  open.querySelector(":scope > summary").focus();
  return true;
}

function list() {
  for (const row of dialog.querySelectorAll("[data-for]"))
    row.hidden = !document.querySelector(`[data-key="${row.dataset.for}"]`);
  document.getElementById("keys-on").checked = isOn();
  dialog.showModal();
}

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.isComposing || dialog.open) return;
  if (event.key === "Escape") {
    if (foldUp(event.target)) event.preventDefault();
    return;
  }
  if (typing(event.target)) return;
  if (event.key === "?") {
    event.preventDefault();
    list();
    return;
  }
  if (!isOn()) return;
  const target = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
  if (!target && !more.has(event.key)) return;
  event.preventDefault();
  if (target) lead(target);
  else more.get(event.key)();
}

/** After an act the page is a new one: the focus goes to what can be done next, or to what stood in the way. */
function comeBack() {
  const acts = document.querySelector(".acts");
  const acted = kept("sessionStorage", (store) => store.getItem(ACTED));
  kept("sessionStorage", (store) => store.removeItem(ACTED));
  if (!acts || acted === null || !location.pathname.startsWith(acted)) return;
  const place = acts.querySelector(".trouble") ?? acts.querySelector("h2");
  place.tabIndex = -1;
  place.focus();
}

document.addEventListener("keydown", press);
document.addEventListener("submit", (event) => {
  if (event.target.closest(".acts")) {
    const path = new URL(event.target.action).pathname;
    kept("sessionStorage", (store) => store.setItem(ACTED, path.slice(0, path.lastIndexOf("/"))));
  }
});
for (const button of document.querySelectorAll("[data-keys]")) {
  button.hidden = false;
  button.addEventListener("click", list);
}
document.getElementById("keys-on").addEventListener("change", (event) => {
  kept("localStorage", (store) => store.setItem(SWITCH, event.target.checked ? "on" : "off"));
});
comeBack();
