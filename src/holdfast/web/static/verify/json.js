/* JSON as conventions.md §3 has it: strict from outside, and in one spelling where something is signed or hashed.

   Objects have no prototype, so a member may be called anything. A number from outside is a `Numeral`, which keeps the
   text it was written in: a part is made of that text (parts.md §3(4)). */

import { Malformed } from "./answers.js";
import { compare, equal, text, utf8 } from "./bytes.js";

const DEEPEST = 64;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const PLAIN = /[^"\\\u0000-\u001f]*/y;
const SPACE = /[ \t\n\r]*/y;
const WORDS = { true: true, false: false, null: null };
const SHORT = { '"': '"', "\\": "\\", "/": "/", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t" };

/** A number as it was written. */
export class Numeral {
  constructor(written) {
    this.text = written;
  }

  /** Its value where it is written as an integer that JSON can hold exactly, else null. */
  get integer() {
    return /^-?(?:0|[1-9]\d*)$/.test(this.text) && Number.isSafeInteger(Number(this.text)) ? Number(this.text) : null;
  }
}

class Reader {
  #at = 0;
  #deep = 0;

  constructor(source) {
    this.source = source;
  }

  whole() {
    const value = this.#value();
    this.#space();
    if (this.#at < this.source.length) this.#syntax();
    return value;
  }

  #syntax() {
    throw new Malformed("json.syntax", `not JSON at character ${this.#at}`);
  }

  #match(pattern) {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.source)?.[0];
    if (found === undefined) return null;
    this.#at += found.length;
    return found;
  }

  #space() {
    this.#match(SPACE);
  }

  #take(character) {
    if (this.source[this.#at] !== character) return false;
    this.#at += 1;
    return true;
  }

  #expect(character) {
    if (!this.#take(character)) this.#syntax();
  }

  #value() {
    this.#space();
    const first = this.source[this.#at];
    if (first === "{") return this.#nested(() => this.#object());
    if (first === "[") return this.#nested(() => this.#array());
    if (first === '"') return this.#string();
    return this.#scalar();
  }

  #nested(read) {
    this.#deep += 1;
    if (this.#deep > DEEPEST) throw new Malformed("json.depth", `nested deeper than ${DEEPEST} levels`);
    this.#at += 1;
    const value = read();
    this.#deep -= 1;
    return value;
  }

  #object() {
    const value = Object.create(null);
    this.#space();
    if (this.#take("}")) return value;
    do {
      this.#space();
      const name = this.#string();
      if (name in value) throw new Malformed("json.duplicate_key", "a member appears twice in one object");
      this.#space();
      this.#expect(":");
      value[name] = this.#value();
      this.#space();
    } while (this.#take(","));
    this.#expect("}");
    return value;
  }

  #array() {
    const value = [];
    this.#space();
    if (this.#take("]")) return value;
    do {
      value.push(this.#value());
      this.#space();
    } while (this.#take(","));
    this.#expect("]");
    return value;
  }

  #string() {
    this.#expect('"');
    let value = "";
    for (;;) {
      value += this.#match(PLAIN);
      if (this.#take('"')) break;
      if (!this.#take("\\")) this.#syntax();
      value += this.#escape();
    }
    if (!value.isWellFormed()) throw new Malformed("json.surrogate", "a string holds a lone surrogate");
    return value;
  }

  #escape() {
    const letter = this.source[this.#at];
    this.#at += 1;
    if (letter in SHORT) return SHORT[letter];
    const digits = this.source.slice(this.#at, this.#at + 4);
    if (letter !== "u" || !/^[0-9a-fA-F]{4}$/.test(digits)) this.#syntax();
    this.#at += 4;
    return String.fromCharCode(parseInt(digits, 16));
  }

  #scalar() {
    for (const word of Object.keys(WORDS)) {
      if (!this.source.startsWith(word, this.#at)) continue;
      this.#at += word.length;
      return WORDS[word];
    }
    for (const word of ["NaN", "Infinity", "-Infinity"]) {
      if (this.source.startsWith(word, this.#at)) throw new Malformed("json.number", `${word} is not JSON`);
    }
    const number = this.#match(NUMBER);
    if (number === null) this.#syntax();
    return new Numeral(number);
  }
}

/** The value of strict JSON (§3(1)) of bytes or a string. */
export function parse(source) {
  const read = typeof source === "string" ? source : text(source);
  if (!read.isWellFormed()) throw new Malformed("json.surrogate", "a string holds a lone surrogate");
  return new Reader(read).whole();
}

/** The same without numerals where JSON is ours and no text of a number matters: integers become numbers, others are refused. */
export function plain(value) {
  if (value instanceof Numeral) return signedInteger(value);
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== "object") return value;
  const copy = Object.create(null);
  for (const name of Object.keys(value)) copy[name] = plain(value[name]);
  return copy;
}

/* An integer that may be signed (§3(2)). */
function signedInteger(number) {
  if (/[.eE]/.test(number.text)) throw new Malformed("json.float", "signed JSON holds no floats");
  if (number.integer === null || number.text === "-0") throw new Malformed("json.number", "beyond the integers that signed JSON holds");
  return number.integer;
}

/** The one spelling (RFC 8785) of a value without floats. */
export function spelled(value) {
  if (Array.isArray(value)) return `[${value.map(spelled).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const members = Object.keys(value).sort();
  return `{${members.map((name) => `${JSON.stringify(name)}:${spelled(value[name])}`).join(",")}}`;
}

/** The bytes that are signed or hashed of a value. */
export const canonical = (value) => utf8(spelled(value));

/** The value of canonical JSON (§3(3)); any other spelling is refused. */
export function parseCanonical(bytes) {
  const value = plain(parse(bytes));
  if (!equal(canonical(value), bytes)) throw new Malformed("json.spelling", "signed JSON has one spelling (RFC 8785)");
  return value;
}

export const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value) && !(value instanceof Numeral);

/** An object, or refused. */
export function object(value, code = "json.object") {
  if (!isObject(value)) throw new Malformed(code, "expected a JSON object");
  return value;
}

/** An object with exactly these members, any of `optional` besides. */
export function exactly(value, names, code, optional = []) {
  object(value, code);
  const unknown = Object.keys(value).find((name) => !names.includes(name) && !optional.includes(name));
  if (unknown !== undefined || !names.every((name) => name in value)) throw new Malformed(code, `expected exactly: ${names.join(", ")}`);
  return value;
}

/** Text made of a value from outside, every number as it was written; to read, not to hash. */
export function written(value, indent = "") {
  if (value instanceof Numeral) return value.text;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const inner = `${indent}  `;
  const lines = Array.isArray(value)
    ? value.map((item) => inner + written(item, inner))
    : Object.keys(value).map((name) => `${inner}${JSON.stringify(name)}: ${written(value[name], inner)}`);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  return lines.length ? `${open}\n${lines.join(",\n")}\n${indent}${close}` : open + close;
}

export const byBytes = (left, right) => compare(utf8(left), utf8(right));
