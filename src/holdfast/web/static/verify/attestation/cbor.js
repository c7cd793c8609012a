/* CBOR in one spelling (attestation.md §4.1): numbers and lengths as short as they can be, definite lengths, keys once, at most four
   levels, no tags, floats, or simple values other than null.

   Maps come as `Map`, byte strings as `Uint8Array`, texts as strings, numbers as numbers (those beyond what a number holds are bigints). */

import { Malformed } from "../answers.js";
import { text } from "../bytes.js";

const DEEPEST = 4;
const BREAK = 0xff;

const refuse = (about, says) => {
  throw new Malformed(`cbor.${about}`, says);
};

class Reader {
  #at = 0;
  #deep = 0;

  constructor(bytes, { indefiniteMap }) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.indefiniteMap = indefiniteMap;
  }

  whole() {
    const value = this.#value();
    if (this.#at < this.bytes.length) refuse("trailing", "bytes follow the value");
    return value;
  }

  #take(size) {
    if (size > this.bytes.length - this.#at) refuse("truncated", "the bytes end inside a value");
    this.#at += size;
    return this.#at - size;
  }

  /* The argument of an item's head, or null of one without a definite length. */
  #argument(low) {
    if (low < 24) return low;
    if (low === 31) return null;
    if (low > 27) refuse("type", "a head that nobody writes");
    const size = 2 ** (low - 24);
    const at = this.#take(size);
    const value = { 1: () => this.view.getUint8(at), 2: () => this.view.getUint16(at), 4: () => this.view.getUint32(at), 8: () => this.view.getBigUint64(at) }[size]();
    const least = { 1: 24, 2: 2 ** 8, 4: 2 ** 16, 8: 2 ** 32 }[size];
    if (value < least) refuse("spelling", "a number is written longer than it needs to be");
    return value <= Number.MAX_SAFE_INTEGER ? Number(value) : value;
  }

  #value() {
    const head = this.bytes[this.#take(1)];
    const [major, low] = [head >> 5, head & 31];
    if (major === 6) refuse("type", "tags do not occur here");
    if (major === 7) return head === 0xf6 ? null : refuse("type", "no simple value but null occurs here, and no float");
    const argument = this.#argument(low);
    if (argument === null) return this.#open(major);
    return [(value) => value, (value) => (typeof value === "bigint" ? -1n - value : -1 - value), this.#bytes, this.#text, this.#list, this.#map][major].call(this, argument);
  }

  /* Something without a definite length: the outermost map alone, where that is let in. */
  #open(major) {
    if (major !== 5 || this.#deep || !this.indefiniteMap) refuse("type", "lengths are definite");
    return this.#map(null);
  }

  #bytes(size) {
    const at = this.#take(size);
    return this.bytes.slice(at, at + Number(size));
  }

  #text(size) {
    return text(this.#bytes(size), "cbor.utf8");
  }

  #nested(read) {
    this.#deep += 1;
    if (this.#deep > DEEPEST) refuse("depth", `nested deeper than ${DEEPEST} levels`);
    const value = read();
    this.#deep -= 1;
    return value;
  }

  /* Every item has at least a byte, so a count beyond the bytes that are left ends in `truncated` soon. */
  #list(count) {
    return this.#nested(() => {
      const items = [];
      while (items.length < count) items.push(this.#value());
      return items;
    });
  }

  #map(count) {
    return this.#nested(() => {
      const found = new Map();
      while (count === null ? !this.#ended() : found.size < count) {
        const key = this.#value();
        if (typeof key !== "string" && typeof key !== "number") refuse("type", "a key is a text or a number");
        if (found.has(key)) refuse("duplicate_key", "a key appears twice in one map");
        found.set(key, this.#value());
      }
      return found;
    });
  }

  #ended() {
    if (this.bytes[this.#at] !== BREAK) return false;
    this.#at += 1;
    return true;
  }
}

/** The one value of these bytes. */
export const readCbor = (bytes, { indefiniteMap = false } = {}) => new Reader(bytes, { indefiniteMap }).whole();
