/* Quotes as links in an answer: where its text stands word for word in a file, a number leads to that place.

   What a frame tells of quotes is bound by nothing, so a quote is linked only where its words are found in the answer
   that is shown, evened as spec/files.md says. Texts are looked for in text nodes and stay there. */

const SPACE = /[ \t\n\r\u00a0]/;
const BLOCKS = "p, li, td, th, pre, blockquote, h1, h2, h3, h4, h5, h6";
const even = (text) => text.replace(/[ \t\n\r\u00a0]+/g, " ");

/** The text of a node, evened, and the place of each of its characters. */
function plain(node) {
  const walker = document.createTreeWalker(node, NodeFilter.SHOW_TEXT);
  const places = [];
  let text = "";
  let block = null;
  while (walker.nextNode()) {
    const at = walker.currentNode;
    const here = at.parentElement.closest(BLOCKS);
    if (block && here !== block && !text.endsWith(" ")) {
      text += " ";
      places.push(null);
    }
    block = here ?? block;
    for (let offset = 0; offset < at.data.length; offset += 1) {
      const space = SPACE.test(at.data[offset]);
      if (space && text.endsWith(" ")) continue;
      text += space ? " " : at.data[offset];
      places.push({ at, offset });
    }
  }
  return { text, places };
}

/** The pieces of text nodes that a stretch of places covers. */
function pieces(places) {
  const found = [];
  for (const place of places) {
    const last = found.at(-1);
    if (!place) continue;
    if (last?.at === place.at) last.end = place.offset + 1;
    else found.push({ at: place.at, start: place.offset, end: place.offset + 1 });
  }
  return found;
}

function wrap({ at, start, end }) {
  const range = document.createRange();
  range.setStart(at, start);
  range.setEnd(at, end);
  const span = document.createElement("span");
  span.className = "cited";
  range.surroundContents(span);
  return span;
}

/** Link each quote of an answer that is found in it. `open` is called with the quote; `label` says what it leads to. */
export function cite(node, answer, quotes, { open, label }) {
  const said = [...answer];
  const { text, places } = plain(node);
  const stretches = [];
  let from = 0;
  for (const [number, quote] of quotes.entries()) {
    const words = even(said.slice(quote.start, quote.end).join(""));
    if (!words.trim() || words !== even(quote.text)) continue;
    const start = text.indexOf(words, from);
    if (start < 0) continue;
    from = start + words.length;
    stretches.push({ number, quote, found: pieces(places.slice(start, from)) });
  }
  for (const { number, quote, found } of stretches.reverse()) {
    const spans = found.reverse().map(wrap);
    const button = document.createElement("button");
    button.type = "button";
    button.className = "cite";
    button.textContent = String(number + 1);
    button.setAttribute("aria-label", `Quote ${number + 1}: ${label(quote)}`);
    button.addEventListener("click", () => open(quote));
    spans[0]?.after(button);
  }
}
