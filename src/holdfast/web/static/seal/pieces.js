/* Bytes that come in pieces of any size, taken in the sizes that a format has. */

import { concat } from "../verify/bytes.js";

const NOTHING = new Uint8Array(0);

export class Pieces {
  #source;
  #broken;
  #have = NOTHING;
  #ended = false;

  /** `broken()` is what is raised where the source ends within something. */
  constructor(source, broken) {
    this.#source = source[Symbol.asyncIterator]?.() ?? source[Symbol.iterator]();
    this.#broken = broken;
  }

  async #more() {
    const { value, done } = await this.#source.next();
    if (done) this.#ended = true;
    else this.#have = concat(this.#have, value);
  }

  /** Whether nothing is left. */
  async done() {
    while (!this.#have.length && !this.#ended) await this.#more();
    return !this.#have.length;
  }

  async take(size) {
    while (this.#have.length < size && !this.#ended) await this.#more();
    if (this.#have.length < size) throw this.#broken();
    const found = this.#have.slice(0, size);
    this.#have = this.#have.slice(size);
    return found;
  }

  /** Whatever is there, at most `size` bytes; empty only at the end. */
  async some(size) {
    if (await this.done()) return NOTHING;
    return this.take(Math.min(size, this.#have.length));
  }

  /** An integer of RFC 9000 §16, in any of its spellings. */
  async varint() {
    const [first] = await this.take(1);
    const rest = await this.take((1 << (first >> 6)) - 1);
    return rest.reduce((value, byte) => value * 256 + byte, first & 0x3f);
  }

  /** Everything that is left; more than `most` bytes end it. */
  async rest(most) {
    while (!this.#ended && this.#have.length <= most) await this.#more();
    return this.take(this.#have.length);
  }
}
