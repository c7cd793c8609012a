/* Bytes and their one spelling as text (conventions.md §2). */

import { Malformed } from "./answers.js";

const ENCODER = new TextEncoder();
const HEX = Array.from({ length: 256 }, (_, value) => value.toString(16).padStart(2, "0"));
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

export const utf8 = (text) => ENCODER.encode(text);

/** Text of bytes; anything but UTF-8 is refused with `code`. A byte-order mark stays a character. */
export function text(bytes, code = "json.utf8") {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new Malformed(code, "not UTF-8");
  }
}

export function concat(...pieces) {
  const whole = new Uint8Array(pieces.reduce((size, piece) => size + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

/** Negative, 0 or positive, as the bytes of `left` stand before, on or behind those of `right`. */
export function compare(left, right) {
  const size = Math.min(left.length, right.length);
  for (let at = 0; at < size; at += 1) if (left[at] !== right[at]) return left[at] - right[at];
  return left.length - right.length;
}

export const equal = (left, right) => left.length === right.length && compare(left, right) === 0;

export const hex = (bytes) => Array.from(bytes, (byte) => HEX[byte]).join("");

/** Bytes of lower-case hex (§2(1)); `size` is how many there have to be. */
export function unhex(value, size = null, code = "encoding.hex") {
  const good = typeof value === "string" && /^(?:[0-9a-f]{2})*$/.test(value) && !value.endsWith("\n");
  if (!good || (size !== null && value.length !== 2 * size)) throw new Malformed(code, "expected lower-case hex");
  return Uint8Array.from({ length: value.length / 2 }, (_, at) => parseInt(value.slice(2 * at, 2 * at + 2), 16));
}

/** The same text, once it is known to be lower-case hex of so many bytes. */
export function hexText(value, size = 32, code = "encoding.hex") {
  unhex(value, size, code);
  return value;
}

export function base64(bytes) {
  let binary = "";
  for (let at = 0; at < bytes.length; at += 8192) binary += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(binary);
}

/** Bytes of standard base64 with padding, in its one spelling (§2(2)). */
export function unbase64(value, size = null, code = "encoding.base64") {
  const shaped = typeof value === "string" && value.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(value);
  if (!shaped) throw new Malformed(code, "expected standard base64 with padding");
  let bytes;
  try {
    bytes = Uint8Array.from(atob(value), (character) => character.charCodeAt(0));
  } catch {
    throw new Malformed(code, "expected standard base64 with padding");
  }
  if (base64(bytes) !== value || (size !== null && bytes.length !== size)) throw new Malformed(code, "not its one spelling, or of another length");
  return bytes;
}

/** A time (§2(3)) as milliseconds since 1970. */
export function time(value, code = "encoding.time") {
  const at = typeof value === "string" && TIME.test(value) ? Date.parse(value) : NaN;
  if (Number.isNaN(at) || new Date(at).toISOString() !== value) throw new Malformed(code, "expected an RFC 3339 time in UTC with milliseconds");
  return at;
}

export const timeText = (at) => new Date(at).toISOString();

/** Eight bytes, big-endian. */
export function u64(value) {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value));
  return bytes;
}

/** An integer of bytes, big-endian. */
export const integer = (bytes) => BigInt(`0x${hex(bytes) || "0"}`);

/** The `size` bytes of an integer, big-endian. */
export const bytesOf = (value, size) => unhex(value.toString(16).padStart(2 * size, "0"), size);
