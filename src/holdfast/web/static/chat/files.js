/* Files of a question: chosen, dropped or pasted, shown until it is asked, and what the gateway read in them shown
   beside the answer. Names and texts come from anywhere: they are only ever set as text. */

import { announce } from "../parts.js";
import { cite } from "./cited.js";

const MOST = 16;
const MOST_BYTES = 5 << 20; // in base64, with a conversation, this is what a panel passes on
const find = (id) => document.getElementById(id);
const list = find("attached");
let waiting = [];

const plural = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;
const sized = (bytes) => (bytes < 1024 ? plural(bytes, "byte") : bytes < 1 << 20 ? `${Math.round(bytes / 1024)} kB` : `${(bytes / (1 << 20)).toFixed(1)} MB`);

/** Files for the question that is asked now; they are no longer waiting. */
export function take() {
  const taken = waiting;
  waiting = [];
  draw();
  return taken;
}

/** Put files of an earlier question back, to be asked anew with. */
export function put(files) {
  waiting = [...files];
  draw();
}

function say(trouble) {
  find("attach-trouble").textContent = trouble;
  find("attach-trouble").hidden = !trouble;
}

async function add(files) {
  say("");
  for (const file of files) {
    const all = waiting.reduce((sum, each) => sum + each.size, file.size);
    if (waiting.length >= MOST) say(`A question brings at most ${MOST} files.`);
    else if (all > MOST_BYTES) say(`${file.name} is too large: a question brings at most ${sized(MOST_BYTES)} of files.`);
    else if (!file.size) say(`There is nothing in ${file.name}.`);
    else waiting.push({ name: file.name || "pasted", size: file.size, data: await read(file) });
  }
  draw();
}

const read = (file) =>
  new Promise((done, failed) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result);
    reader.onerror = () => failed(reader.error);
    reader.readAsDataURL(file);
  });

function draw() {
  list.hidden = !waiting.length;
  list.replaceChildren(
    ...waiting.map((file) => {
      const item = document.createElement("li");
      const remove = document.createElement("button");
      remove.type = "button";
      remove.className = "button button-quiet";
      remove.textContent = "Remove";
      remove.setAttribute("aria-label", `Remove ${file.name}`);
      remove.addEventListener("click", () => {
        waiting = waiting.filter((each) => each !== file);
        draw();
        announce(`${file.name} is removed`);
      });
      item.append(`${file.name}, ${sized(file.size)} `, remove);
      return item;
    }),
  );
}

const extracted = (file) => {
  const whole = [file.pages ? plural(file.pages, "page") : "", plural(file.characters, "character")].filter(Boolean).join(", ");
  const shown = file.left_out ? `${file.shown.length} of ${file.chunks} chunks stood before the model` : "all of it stood before the model";
  return [`${file.name}: ${whole} read by ${file.extractor.name} ${file.extractor.version}, ${shown}`, ...file.notes.map((note) => note.replaceAll("-", " "))].join("; ");
};

/** Quotes of a whole answer as links in it: bound by marks to its end, and told by its last frame. */
export function citeAnswer(answer, turn) {
  const told = (turn.quotes ?? []).filter((quote) => turn.read?.[quote.file - 1]);
  if (!told.length || turn.bound !== turn.answer.length || answer.querySelector(".cite")) return;
  const label = (quote) => where(turn.read[quote.file - 1], quote);
  cite(answer, turn.answer, told, { label, open: (quote) => openQuote(turn.read[quote.file - 1], quote) });
}

/** What came of a turn's files, and what its answer repeats of them. */
export function showFiles(box, turn) {
  const names = (turn.files ?? []).map((file) => `${file.name}, ${sized(file.size)}`);
  const lines = (turn.read?.length ? turn.read.map(extracted) : names).map((text) => {
    const line = document.createElement("li");
    line.textContent = text;
    return line;
  });
  const quotes = (turn.quotes ?? []).map((quote) => {
    const line = document.createElement("li");
    const link = document.createElement("button");
    link.type = "button";
    link.className = "quote-link";
    link.textContent = `\u201c${quote.text.length > 70 ? `${quote.text.slice(0, 70)}…` : quote.text}\u201d`;
    link.addEventListener("click", () => openQuote(turn.read[quote.file - 1], quote));
    line.append(link, ` ${where(turn.read[quote.file - 1], quote)}`);
    return line;
  });
  box.hidden = !lines.length;
  box.querySelector(".files-read").replaceChildren(...lines);
  box.querySelector(".files-quotes").replaceChildren(...quotes);
  box.querySelector(".files-quoted").hidden = !quotes.length;
}

const where = (file, quote) => `${file.name}${quote.page ? `, page ${quote.page}` : ""}, characters ${quote.file_start.toLocaleString("en")} to ${quote.file_end.toLocaleString("en")}`;

function openQuote(file, quote) {
  const dialog = find("quote");
  dialog.querySelector(".quote-where").textContent = where(file, quote);
  const mark = document.createElement("mark");
  mark.textContent = quote.text;
  dialog.querySelector(".quote-text").replaceChildren(quote.before, mark, quote.after);
  dialog.showModal();
}

const input = find("attach-input");
find("attach").addEventListener("click", () => input.click());
input.addEventListener("change", async () => {
  await add([...input.files]);
  input.value = "";
});
find("quote-close").addEventListener("click", () => find("quote").close());
find("prompt").addEventListener("paste", (event) => {
  if (!event.clipboardData.files.length) return;
  event.preventDefault();
  add([...event.clipboardData.files]);
});
const form = find("ask");
for (const name of ["dragover", "dragleave", "drop"])
  form.addEventListener(name, (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    form.classList.toggle("dropping", name === "dragover");
    if (name === "drop") add([...event.dataTransfer.files]);
  });
