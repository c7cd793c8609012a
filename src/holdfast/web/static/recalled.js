/* The rows that went before a run's model, on its page and in its case file: asking again without them where one
   stands, and a row's history where its owner's key is in this tab. Answers stand below each other; none is kept. */

import { ask, key } from "./memory/node.js";
import { announce, phrase, troubleBox } from "./parts.js";

const place = document.getElementById("influences");

/** The page that a form answers with, as a document. XMLHttpRequest, because it hands one over without making HTML. */
function submit(form) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", form.action);
    request.setRequestHeader("accept", "text/html");
    request.responseType = "document";
    request.onload = () => resolve(request.response);
    request.onerror = () => reject(new Error("the panel does not answer"));
    request.send(new URLSearchParams(new FormData(form)));
  });
}

async function again(form) {
  const button = form.querySelector("button");
  const says = button.textContent;
  for (const other of document.querySelectorAll("[data-influence] button")) other.disabled = true;
  button.textContent = "Asking";
  announce("Asking the model twice");
  try {
    const answered = await submit(form);
    const found = answered?.getElementById("influence");
    const shown = found ? document.importNode(found, true) : troubleBox(said(answered));
    shown.removeAttribute("id");
    place.prepend(shown);
    shown.scrollIntoView({ block: "nearest" });
    if (found) announce(shown.querySelector(".trouble").textContent);
  } catch (error) {
    place.prepend(troubleBox(error));
  } finally {
    button.textContent = says;
    for (const other of document.querySelectorAll("[data-influence] button")) other.disabled = false;
  }
}

/** What an error's page says. */
const said = (page) => ({
  message: page?.querySelector("main h1")?.textContent ?? "that did not work",
  hint: [...(page?.querySelectorAll("main p") ?? [])].map((line) => line.textContent.trim()).join(" "),
});

/** What happened to a row until now, as the memory node tells whoever has a key. */
async function history(row) {
  const list = row.querySelector(".memory-history");
  try {
    const { history: events } = await ask("history", { row: row.dataset.row });
    list.replaceChildren(
      ...events.map((event) => {
        const line = document.createElement("li");
        line.textContent = `${event.at.slice(0, 10)} ${event.at.slice(11, 16)} UTC ${phrase(event.type)}`;
        return line;
      }),
    );
  } catch (error) {
    const line = document.createElement("li");
    line.textContent = error.status === 404 ? "No row of the key in this tab" : error.message;
    list.replaceChildren(line);
  }
  list.hidden = false;
}

document.addEventListener("submit", (event) => {
  if (!event.target.matches("[data-influence]")) return;
  event.preventDefault();
  again(event.target);
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-history]");
  if (button) history(button.closest("[data-row]"));
});

if (key() !== null) for (const button of document.querySelectorAll("[data-history]")) button.hidden = false;
