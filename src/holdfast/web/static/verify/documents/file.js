/* File documents in their form, their chunks, and the blocks that stand for them before a model (files.md §3 to §5). */

import { Malformed, Rejected } from "../answers.js";
import { hex, hexText, utf8 } from "../bytes.js";
import { sha256 } from "../hashes.js";
import { exactly, isObject, parseCanonical } from "../json.js";
import { isCode } from "../statements.js";

export const REWRITE = "files";
const LARGEST = 8_388_608;
const LARGEST_TEXT = 2_097_152;
const LONGEST_NAME = 255;
/* A chunk has at most so many characters, and where its page goes on at least so many (§4(1)). */
const CHUNK = 2000;
const LEAST = 1000;
const MEMBERS = ["type", "name", "media_type", "bytes", "extractor", "notes", "pages", "text"];
const MEDIA_TYPE = /^[a-z0-9][a-z0-9!#$&^_.+-]{0,63}\/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}$/;
const CONTROL = /[\0-\x1f\x7f-\x9f]/;
const AROUND = /^[ \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]|[ \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]$/;

const refuse = (says) => {
  throw new Malformed("file_document.fields", says);
};

const isCount = (value) => Number.isSafeInteger(value) && value >= 0;
const isName = (value) => typeof value === "string" && value !== "" && [...value].length <= LONGEST_NAME && !CONTROL.test(value) && !AROUND.test(value);
const isWord = (value) => typeof value === "string" && /^[\x21-\x7e]{1,64}$/.test(value);
const ascends = (list) => list.every((item, at) => !at || list[at - 1] < item);

function checkPages(pages, length) {
  if (!Array.isArray(pages) || pages.length > 10_000 || !pages.every(isCount)) refuse("pages is a list of at most 10,000 offsets");
  if (pages.length && (pages[0] !== 0 || pages.some((at, place) => place && pages[place - 1] > at) || pages.at(-1) > length)) refuse("pages begin at offsets of the text, ascending, the first at 0");
}

/** A document of its exact bytes; `characters` is its text by code points, in which offsets count. */
export function readFile(bytes) {
  if (bytes.length > LARGEST) throw new Malformed("file_document.size", `a file document has at most ${LARGEST} bytes`);
  const value = exactly(parseCanonical(bytes), MEMBERS, "file_document.fields");
  if (value.type !== "urn:holdfast:file:v1") refuse("not a file document");
  exactly(value.bytes, ["digest", "size"], "file_document.fields");
  exactly(value.extractor, ["name", "version"], "file_document.fields");
  if (!isName(value.name)) refuse("a name has 1 to 255 characters and no control character");
  if (typeof value.media_type !== "string" || !MEDIA_TYPE.test(value.media_type)) refuse("media_type is one, in lower case");
  if (!isWord(value.extractor.name) || !isWord(value.extractor.version)) refuse("an extractor has a name and a version of plain characters");
  const { notes, text } = value;
  if (!Array.isArray(notes) || notes.length > 16 || !notes.every(isCode) || !ascends(notes)) refuse("notes are at most 16 codes, sorted, each once");
  if (typeof text !== "string" || text === "" || utf8(text).length > LARGEST_TEXT) refuse(`text has 1 to ${LARGEST_TEXT} bytes`);
  hexText(value.bytes.digest);
  if (!isCount(value.bytes.size)) refuse("a size is a number of bytes");
  const characters = [...text];
  checkPages(value.pages, characters.length);
  return { ...value, characters };
}

/* --- chunks (§4) --- */

/* Behind the last of some characters in a stretch, or -1. */
function behindLast(characters, mark, from, to) {
  for (let at = to - mark.length; at >= from; at -= 1) if ([...mark].every((one, more) => characters[at + more] === one)) return at + mark.length;
  return -1;
}

/* Where a chunk ends whose page goes on: behind an empty line, a line, a word. */
function endOf(characters, start) {
  for (const mark of ["\n\n", "\n", " "]) {
    const end = behindLast(characters, mark, start + LEAST + 1 - mark.length, start + CHUNK);
    if (end >= 0) return end;
  }
  return start + CHUNK;
}

/** A document's chunks: `{number, page, start, end}`, `page` null where the kind has none. */
export function chunksOf({ characters, pages }) {
  const found = [];
  const starts = pages.length ? pages : [0];
  for (const [at, begin] of starts.entries()) {
    const stop = starts[at + 1] ?? characters.length;
    for (let start = begin, end; start < stop; start = end) {
      end = stop - start > CHUNK ? endOf(characters, start) : stop;
      found.push({ number: found.length + 1, page: pages.length ? at + 1 : null, start, end });
    }
  }
  return found;
}

/* --- blocks (§5) --- */

const FILE = ["characters", "chunks", "digest", "document", "file", "shown"];
const SPAN = ["chunk", "end", "file", "start"];

const reject = (about, says) => {
  throw new Rejected(`file_document.${about}`, says);
};

/* Whether a block has exactly its attributes, the optional one or not. */
const says = ({ attributes }, needed, may) =>
  Object.keys(attributes)
    .filter((name) => name !== may)
    .sort()
    .join() === needed.join();

function numberOf(text) {
  if (!/^[1-9][0-9]{0,8}$/.test(text)) reject("blocks", "a chunk has a number from 1");
  return Number(text);
}

function placed(block, found) {
  if (block.kind === "file") {
    if (!says(block, FILE, "pages") || block.attributes.file !== String(found.length + 1)) reject("blocks", "files are numbered from 1, and each says what it is");
    found.push({ block, spans: [] });
  } else if (block.kind === "span") {
    if (!found.length || !says(block, SPAN, "page") || block.attributes.file !== String(found.length)) reject("blocks", "a span stands behind the file that it is of");
    found.at(-1).spans.push(block);
  } else if (found.length) reject("blocks", "what is not of files stands before them");
}

/** The files among a context message's blocks: `{block, spans}`; refuses those that do not fit together (§5(3)). */
export function filesIn(blocks) {
  const found = [];
  for (const block of blocks) placed(block, found);
  if (new Set(found.map(({ block }) => block.attributes.document)).size < found.length) reject("blocks", "a file stands there twice");
  for (const { block, spans } of found) {
    const numbers = spans.map((span) => numberOf(span.attributes.chunk));
    if (block.attributes.shown !== String(numbers.length) || !ascends(numbers)) reject("blocks", "a file has the spans that it says, in order, each once");
  }
  return found;
}

const same = (left, right) => left.length === right.length && left.every(([name, value], at) => name === right[at][0] && value === right[at][1]);
const sorted = (attributes) => Object.entries(attributes).sort(([left], [right]) => (left < right ? -1 : 1));
const isBlock = ({ attributes, text }, wanted, content) => text === content && same(sorted(attributes), sorted(wanted));

/** Refuses blocks of a file that are not those of its document. */
export function checkSpans(document, { block, spans }) {
  const chunks = chunksOf(document);
  const { file, document: digest } = block.attributes;
  const { bytes, characters, pages } = document;
  const head = { characters: `${characters.length}`, chunks: `${chunks.length}`, digest: bytes.digest, document: digest, file, shown: `${spans.length}`, ...(pages.length ? { pages: `${pages.length}` } : {}) };
  if (!isBlock(block, head, document.name)) reject("span", "what stands before the model of this file is not what was read");
  for (const span of spans) {
    const chunk = chunks[Number(span.attributes.chunk) - 1];
    if (!chunk) reject("span", "a span before the model is no chunk of its file");
    const { number, page, start, end } = chunk;
    const wanted = { chunk: `${number}`, end: `${end}`, file, start: `${start}`, ...(page === null ? {} : { page: `${page}` }) };
    if (!isBlock(span, wanted, characters.slice(start, end).join(""))) reject("span", "a span before the model is no chunk of its file");
  }
}

/* --- the request that brought them (§5(4)) --- */

const IMAGE = /^(?:\x89PNG\r\n\x1a\n|\xff\xd8\xff|GIF8[79]a|RIFF[^]{4}WEBP)/;

/* The characters of a `file_data` member: a data URL in base64, or base64 alone; null where it is neither. */
function dataOf(text) {
  const head = /^data:[^;,]{0,127}(?:;[^;,]{0,127}){0,4};base64,/.exec(text)?.[0] ?? "";
  const rest = text.slice(head.length);
  return rest.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(rest) ? atob(rest) : null;
}

/* The `file` members of a request's file parts. */
function* partsOf(messages) {
  for (const message of Array.isArray(messages) ? messages : []) {
    const content = isObject(message) ? message.content : null;
    for (const part of Array.isArray(content) ? content : []) if (isObject(part) && part.type === "file" && isObject(part.file)) yield part.file;
  }
}

/** Whether the bytes of every file that stands before the model are compared with those that a request brings; refuses where they differ. */
export function checkBrought(messages, shown) {
  const parts = [...partsOf(messages)];
  const inline = parts.filter((part) => typeof part.file_data === "string").map((part) => dataOf(part.file_data));
  const files = inline.filter((data) => data !== null && !IMAGE.test(data));
  const brought = new Set(files.map((data) => hex(sha256(Uint8Array.from(data, (character) => character.charCodeAt(0))))));
  const named = new Set(shown.map(({ block }) => block.attributes.digest));
  const uploads = parts.length - inline.length;
  if (![...brought].every((digest) => named.has(digest))) reject("request", "the request brings a file that does not stand before the model");
  if ([...named].filter((digest) => !brought.has(digest)).length > uploads) reject("request", "a file stands before the model that the request does not bring");
  return uploads === 0;
}
