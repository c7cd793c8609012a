/* Small things every page uses: digests with a copy button, times, announcements. No HTML is ever made from a string. */

export const STATE_WORDS = {
  proven: "proven",
  refuted: "refuted",
  pending: "pending",
  unknown: "unknown",
  expired: "expired",
  not_applicable: "n/a",
};

export const clone = (id) => document.getElementById(id).content.firstElementChild.cloneNode(true);

export const short = (text) => (text.length > 20 ? `${text.slice(0, 8)}…${text.slice(-6)}` : text);

export const offset = (ms) => (ms < 60_000 ? `+${(ms / 1000).toFixed(3)} s` : `+${Math.floor(ms / 60_000)} min ${Math.floor((ms % 60_000) / 1000)} s`);

export const pause = (ms) => [100, 1_000, 5_000, 30_000].filter((step) => ms >= step).length;

export const phrase = (code) => code.replace(/[._-]+/g, " ");

export const sentence = (text) => (/[.!?…]$/.test(text) ? text : `${text}.`).replace(/^./, (first) => first.toUpperCase());

/** A digest, shortened, with its copy button. */
export function digest(value) {
  const node = clone("t-digest");
  node.title = value;
  node.querySelector("code").textContent = short(value);
  const button = node.querySelector("button");
  button.dataset.copy = value;
  button.setAttribute("aria-label", `Copy digest ${short(value)}`);
  return node;
}

/** Tell people who listen instead of looking. */
export function announce(text) {
  document.getElementById("announce").textContent = text;
}

/** What went wrong and what to do next, as a box that people who listen hear of. */
export function troubleBox({ message, hint }) {
  const box = document.createElement("div");
  const lines = document.createElement("div");
  box.className = "trouble";
  box.setAttribute("role", "alert");
  for (const line of [message, hint]) {
    if (!line) continue;
    const paragraph = document.createElement("p");
    paragraph.textContent = sentence(line);
    lines.append(paragraph);
  }
  box.append(lines);
  return box;
}

async function write(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "visually-hidden";
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  await write(button.dataset.copy);
  const icon = button.querySelector(".icon");
  icon.className = "icon icon-copied";
  button.dataset.done = "";
  announce("Copied");
  setTimeout(() => {
    icon.className = "icon icon-copy";
    delete button.dataset.done;
  }, 1400);
});

const STEPS = [
  [60, "second"],
  [60, "minute"],
  [24, "hour"],
  [Infinity, "day"],
];

function ago(date) {
  let value = (Date.now() - date) / 1000;
  if (value < 5) return "just now";
  for (const [size, unit] of STEPS) {
    if (value < size) {
      const whole = Math.floor(value);
      return `${whole} ${unit}${whole === 1 ? "" : "s"} ago`;
    }
    value /= size;
  }
  return "";
}

/** Times written as distances, kept current; the exact time stays in the title. */
export function keepTimes() {
  const show = () => {
    for (const node of document.querySelectorAll("time[data-ago]")) {
      node.title = node.dateTime;
      node.textContent = ago(Date.parse(node.dateTime));
    }
  };
  show();
  setInterval(() => document.hidden || show(), 5_000);
}
