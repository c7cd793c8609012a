/* DER (X.690), as far as certificates and revocation lists of enclaves' vendors use it: minimal lengths and integers, one value for true,
   no element left over. */

import { Malformed } from "../answers.js";
import { integer } from "../bytes.js";

export const BOOLEAN = 0x01;
export const INTEGER = 0x02;
export const BITS = 0x03;
export const OCTETS = 0x04;
export const NULL = 0x05;
export const OID = 0x06;
export const ENUMERATED = 0x0a;
export const UTC_TIME = 0x17;
export const TIME = 0x18;
export const SEQUENCE = 0x30;
export const context = (number) => 0xa0 | number;

const LARGEST = 2 ** 24;

const refuse = (about, says) => {
  throw new Malformed(`der.${about}`, says);
};

/** Elements one after the other, each read once; `end()` says that none is left over. */
export class Der {
  #at = 0;

  constructor(bytes) {
    this.bytes = bytes;
  }

  get more() {
    return this.#at < this.bytes.length;
  }

  /** Whether the next element has this tag. */
  is = (tag) => this.more && this.bytes[this.#at] === tag;

  end() {
    if (this.more) refuse("trailing", "bytes follow the element");
  }

  #byte() {
    if (!this.more) refuse("truncated", "the bytes end inside an element");
    this.#at += 1;
    return this.bytes[this.#at - 1];
  }

  #length() {
    const first = this.#byte();
    if (first < 0x80) return first;
    const count = first & 0x7f;
    if (count < 1 || count > 3) refuse("length", "a length is definite and below 2^24");
    let length = 0;
    for (let at = 0; at < count; at += 1) length = length * 256 + this.#byte();
    if (length < 0x80 || length < 256 ** (count - 1) || length >= LARGEST) refuse("length", "a length is written longer than it needs to be");
    return length;
  }

  /** The content of the next element, which has one of these tags; `whole` is all of it. */
  next(...tags) {
    const from = this.#at;
    const tag = this.#byte();
    if (!tags.includes(tag)) refuse("tag", "another element is expected here");
    const size = this.#length();
    if (size > this.bytes.length - this.#at) refuse("truncated", "the bytes end inside an element");
    this.#at += size;
    return { tag, content: this.bytes.slice(this.#at - size, this.#at), whole: this.bytes.slice(from, this.#at) };
  }

  /** The next element read as one made of others. */
  inner(tag = SEQUENCE) {
    return new Der(this.next(tag).content);
  }

  boolean() {
    const { content } = this.next(BOOLEAN);
    if (content.length !== 1 || (content[0] && content[0] !== 0xff)) refuse("boolean", "a boolean is 0x00 or 0xff");
    return content[0] === 0xff;
  }

  /** A bigint of at most `most` bytes. */
  integer(most = 21, tag = INTEGER) {
    const { content } = this.next(tag);
    const padded = content.length > 1 && ((content[0] === 0 && content[1] < 0x80) || (content[0] === 0xff && content[1] >= 0x80));
    if (!content.length || content.length > most || padded) refuse("integer", `an integer has 1 to ${most} bytes and no more than it needs`);
    return BigInt.asIntN(8 * content.length, integer(content));
  }

  /** A bit string of whole bytes. */
  bits() {
    const { content } = this.next(BITS);
    if (content.length < 1 || content[0]) refuse("bits", "a bit string has whole bytes here");
    return content.slice(1);
  }

  octets() {
    return this.next(OCTETS).content;
  }

  /** An object identifier in dots. */
  oid() {
    const { content } = this.next(OID);
    const arcs = [];
    let value = 0;
    if (!content.length || content.at(-1) >= 0x80) refuse("identifier", "an object identifier ends inside an arc");
    for (const byte of content) {
      if (byte === 0x80 && !value) refuse("identifier", "an arc is written longer than it needs to be");
      value = value * 128 + (byte & 0x7f);
      if (value > Number.MAX_SAFE_INTEGER / 256) refuse("identifier", "an arc is too large");
      if (byte >= 0x80) continue;
      arcs.push(value);
      value = 0;
    }
    const root = Math.min(2, Math.floor(arcs[0] / 40));
    return [root, arcs[0] - 40 * root, ...arcs.slice(1)].join(".");
  }

  /** A time of certificates, as milliseconds since 1970. */
  time() {
    const { tag, content } = this.next(UTC_TIME, TIME);
    const written = String.fromCharCode(...content);
    const shape = (tag === UTC_TIME ? /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/ : /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/).exec(written);
    if (!shape) refuse("time", "a time has seconds and ends in Z");
    const [, year, ...rest] = shape;
    const full = tag === UTC_TIME ? (year < "50" ? `20${year}` : `19${year}`) : year;
    const [month, day, hour, minute, second] = rest;
    const found = `${full}-${month}-${day}T${hour}:${minute}:${second}.000Z`;
    const at = Date.parse(found);
    if (Number.isNaN(at) || new Date(at).toISOString() !== found) refuse("time", "there is no such time");
    return at;
  }
}

/** What `read` makes of the one element that these bytes are. */
export function wholly(bytes, read) {
  const reader = new Der(bytes);
  const value = read(reader);
  reader.end();
  return value;
}
