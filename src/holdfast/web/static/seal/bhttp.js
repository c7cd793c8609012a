/* Binary HTTP (RFC 9292; ohttp.md §5): requests of known length are written, answers of either framing are read as they come. */

import { Malformed } from "../verify/answers.js";
import { concat, utf8 } from "../verify/bytes.js";
import { Pieces } from "./pieces.js";

const KNOWN_RESPONSE = 1;
const OPEN_ENDED_RESPONSE = 3;
const LARGEST_CONTENT = 20 << 20;
const LARGEST_SECTION = 64 << 10;
const MOST_LINES = 256;
const MOST_EARLY = 16;
const NAME = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;
const BAD_VALUE = /[\0\r\n]|^[ \t]|[ \t]$/;
const OF_A_CONNECTION = ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];
const LATIN = new TextDecoder("latin1");

const cut = () => new Malformed("bhttp.truncated", "the message ends within something");
const large = (what) => new Malformed("bhttp.size", `${what} is too large`);

/** An integer of RFC 9000 §16, in the fewest bytes. */
export function varint(value) {
  if (value < 0x40) return Uint8Array.of(value);
  if (value < 0x4000) return Uint8Array.of(0x40 | (value >> 8), value & 0xff);
  if (value < 0x4000_0000) return Uint8Array.of(0x80 | (value >>> 24), (value >> 16) & 0xff, (value >> 8) & 0xff, value & 0xff);
  throw large("a length");
}

const sized = (bytes) => concat(varint(bytes.length), bytes);

/** A request of known length. `fields` are pairs of lower-case names and values. */
export function writeRequest({ method, scheme, authority, path, fields = [], content = new Uint8Array(0) }) {
  const control = [method, scheme, authority, path].map((word) => sized(utf8(word)));
  const section = concat(...fields.flatMap(([name, value]) => [sized(utf8(name)), sized(utf8(value))]));
  return concat(Uint8Array.of(0), ...control, sized(section), sized(content), Uint8Array.of(0));
}

function checked(name, value) {
  const bad = !NAME.test(name) || BAD_VALUE.test(value) || OF_A_CONNECTION.includes(name) || (name === "te" && value.trim().toLowerCase() !== "trailers");
  if (bad) throw new Malformed("bhttp.field", "a field is none of HTTP");
  return [name, value];
}

/* A field section: `sizes` says whether its length stands before it, else a name of no bytes ends it. */
async function section(pieces, sizes, { left = false } = {}) {
  if (left && (await pieces.done())) return [];
  const source = sizes ? new Pieces([await bounded(pieces)], cut) : pieces;
  const lines = [];
  for (let size = 0; !(sizes && (await source.done())); ) {
    const length = await source.varint();
    if (!length && !sizes) break;
    if (length > LARGEST_SECTION) throw large("a field section");
    const name = LATIN.decode(await source.take(length));
    const room = await source.varint();
    size += length + room;
    if (size > LARGEST_SECTION || lines.length === MOST_LINES) throw large("a field section");
    lines.push(checked(name, LATIN.decode(await source.take(room))));
  }
  return lines;
}

async function bounded(pieces) {
  const size = await pieces.varint();
  if (size > LARGEST_SECTION) throw large("a field section");
  return pieces.take(size);
}

async function* content(pieces, sizes, most) {
  if (await pieces.done()) return;
  for (let total = 0; ; ) {
    let size = await pieces.varint();
    if (!size) return;
    total += size;
    if (total > most) throw large("the content");
    while (size) {
      const piece = await pieces.some(size);
      if (!piece.length) throw cut();
      size -= piece.length;
      yield piece;
    }
    if (sizes) return;
  }
}

async function padding(pieces) {
  while (!(await pieces.done())) if ((await pieces.some(65_536)).some((byte) => byte)) throw new Malformed("bhttp.padding", "padding is zeros");
}

/** An answer as it comes: its head first, then `pieces()` of its content, which end once the message was whole; `trailers` are there by then. */
export async function readResponse(source, most = LARGEST_CONTENT) {
  const bytes = new Pieces(source, cut);
  const framing = await bytes.varint();
  if (framing !== KNOWN_RESPONSE && framing !== OPEN_ENDED_RESPONSE) throw new Malformed("bhttp.framing", "this is no answer");
  const sizes = framing === KNOWN_RESPONSE;
  const early = [];
  for (;;) {
    const status = await bytes.varint();
    if (status < 100 || status > 599) throw new Malformed("bhttp.status", "a status is 100 to 599");
    const fields = await section(bytes, sizes, { left: status >= 200 });
    if (status >= 200) {
      const answer = { status, fields, early, trailers: [] };
      return Object.assign(answer, { pieces: () => body(answer, bytes, sizes, most) });
    }
    if (early.length === MOST_EARLY) throw large("the number of early answers");
    early.push([status, fields]);
  }
}

async function* body(answer, bytes, sizes, most) {
  let total = 0;
  for await (const piece of content(bytes, sizes, most)) {
    total += piece.length;
    yield piece;
  }
  answer.trailers = await section(bytes, sizes, { left: true });
  await padding(bytes);
  const told = answer.fields.filter(([name]) => name === "content-length").map(([, value]) => value);
  const without = answer.status === 204 || answer.status === 304;
  if (told.length && !(without && !total) && told.some((value) => value !== String(total))) throw new Malformed("bhttp.content_length", "the content is of another length than is said");
}
