/* Oblivious HTTP, the client's side (ohttp.md §2 to §4; RFC 9458; draft-ietf-ohai-chunked-ohttp): key configurations, requests in
   one piece, answers in one piece or in chunks. Of suites the page has AES-128-GCM. */

import { Malformed, Rejected } from "../verify/answers.js";
import { concat, utf8 } from "../verify/bytes.js";
import { expand, extract } from "../verify/hashes.js";
import { AES_128_GCM, Counted, KDF, KEM, KEY_BYTES, NONCE_BYTES, sender, TAG_BYTES, u16 } from "./hpke.js";
import { Pieces } from "./pieces.js";

export const REQUEST = "message/ohttp-req";
export const RESPONSE = "message/ohttp-res";
export const CHUNKED_RESPONSE = "message/ohttp-chunked-res";
const LABELS = { request: "message/bhttp request", single: "message/bhttp response", chunked: "message/bhttp chunked response" };
const LONGEST_CONFIGURATION = 4096;
const LARGEST_CHUNK = 1 << 20;
const LARGEST = 2 ** 30;
const CHACHA20_POLY1305 = 0x0003;
const KNOWN = [AES_128_GCM, CHACHA20_POLY1305];
const FINAL = utf8("final");

const bad = (says) => new Malformed("ohttp.key_config", says);

/* One configuration (§3(1)); null where its KEM or all of its suites are unknown (§3(3)). */
function configuration(bytes) {
  if (bytes.length > LONGEST_CONFIGURATION || bytes.length < 3) throw bad("a configuration has 3 to 4,096 bytes");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (view.getUint16(1) !== KEM) return null;
  if (bytes.length < 37) throw bad("a configuration ends early");
  const size = view.getUint16(35);
  if (!size || size % 4 || bytes.length !== 37 + size) throw bad("a configuration is its suites long");
  const suites = Array.from({ length: size / 4 }, (_, at) => [view.getUint16(37 + 4 * at), view.getUint16(39 + 4 * at)]);
  if (new Set(suites.map(String)).size !== suites.length) throw bad("a suite is listed twice");
  const known = suites.filter(([kdf, aead]) => kdf === KDF && KNOWN.includes(aead)).map(([, aead]) => aead);
  return known.length ? { id: bytes[0], key: bytes.slice(3, 35), suites: known, bytes } : null;
}

/** `application/ohttp-keys` (§3(3)): the configurations that somebody here could use. */
export function readKeys(bytes) {
  const found = [];
  const ids = new Set();
  for (let at = 0; at < bytes.length; ) {
    if (at + 2 > bytes.length) throw bad("a list ends within a length");
    const size = (bytes[at] << 8) | bytes[at + 1];
    const one = bytes.slice(at + 2, at + 2 + size);
    if (one.length !== size) throw bad("a list ends within a configuration");
    const read = configuration(one);
    if (ids.has(one[0])) throw bad("one id is used twice");
    ids.add(one[0]);
    if (read) found.push(read);
    at += 2 + size;
  }
  if (!found.length) throw new Rejected("ohttp.suite", "no configuration here can be used");
  return found;
}

/** One configuration by itself. */
export function readConfiguration(bytes) {
  const found = configuration(bytes);
  if (!found) throw new Rejected("ohttp.suite", "this configuration offers nothing that is known here");
  return found;
}

/** The digest of configurations (§3(4)) is over these bytes. */
export const listed = (configurations) => concat(...configurations.map((one) => concat(u16(one.length), one)));

/** A message sealed to a configuration, and what opens its answer. `pair` was drawn for it alone. */
export async function encapsulate(found, pair, message) {
  if (!found.suites.includes(AES_128_GCM)) throw new Rejected("ohttp.suite", "this configuration does not offer AES-128-GCM");
  const head = concat(Uint8Array.of(found.id), u16(KEM), u16(KDF), u16(AES_128_GCM));
  const context = await sender(found.key, concat(utf8(LABELS.request), Uint8Array.of(0), head), pair);
  const sealed = await context.seal(message);
  return { bytes: concat(head, context.enc, sealed), context };
}

function opener(context, form, nonce) {
  const secret = context.export(LABELS[form], KEY_BYTES);
  const prk = extract(concat(context.enc, nonce), secret);
  return new Counted(expand(prk, utf8("key"), KEY_BYTES), expand(prk, utf8("nonce"), NONCE_BYTES));
}

/** An answer in one piece. */
export async function openWhole(context, bytes) {
  if (bytes.length < KEY_BYTES + TAG_BYTES) throw new Malformed("ohttp.truncated", "an answer that is shorter than its nonce and tag");
  return opener(context, "single", bytes.slice(0, KEY_BYTES)).open(bytes.slice(KEY_BYTES));
}

/** An answer in chunks, opened as they come; `source` gives bytes in pieces of any size. It ends only after the last chunk. */
export async function* openChunks(context, source) {
  const pieces = new Pieces(source, () => new Malformed("ohttp.truncated", "the sealed answer ends before its last chunk"));
  const counted = opener(context, "chunked", await pieces.take(KEY_BYTES));
  for (let total = 0; ; ) {
    const size = await pieces.varint();
    if (!size) break;
    if (size < TAG_BYTES || size > LARGEST_CHUNK) throw new Malformed(size < TAG_BYTES ? "ohttp.chunk" : "ohttp.size", "no sealed chunk has this length");
    total += size;
    if (total > LARGEST) throw new Malformed("ohttp.size", "the answer is too large");
    yield counted.open(await pieces.take(size));
  }
  const last = await pieces.rest(LARGEST_CHUNK);
  if (last.length < TAG_BYTES) throw new Malformed("ohttp.truncated", "the last chunk is cut off");
  yield counted.open(last, FINAL);
}

export const suiteName = (found) => found.suites.map((aead) => (aead === AES_128_GCM ? "aes-128-gcm" : "chacha20-poly1305"));
