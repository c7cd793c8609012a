/* The rounds pages: ask for the same page again while it is looked at, and put its middle in place of the old one.
   XMLHttpRequest, because it hands over a parsed document; nothing here makes HTML from a string. */

import "./parts.js";

const EVERY_MS = 2_500;

function fetchDocument(path) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("GET", path);
    request.responseType = "document";
    request.timeout = 8_000;
    request.onload = () => (request.status === 200 ? resolve(request.response) : reject(request.status));
    request.onerror = request.ontimeout = reject;
    request.send();
  });
}

async function refresh() {
  const shown = document.getElementById("rounds");
  if (document.hidden || shown.contains(document.activeElement) || shown.querySelector("[data-done]")) return;
  try {
    const newer = (await fetchDocument(location.pathname)).getElementById("rounds");
    if (newer && newer.innerHTML !== shown.innerHTML) shown.replaceChildren(...document.importNode(newer, true).childNodes);
  } catch {
    /* The panel is away; what is on the page stays, and the next time tries again. */
  }
}

setInterval(refresh, EVERY_MS);
