/* Marks of a stream (parts.md §7): a chain over the events as they were received, signed as it grows. */

import { Malformed, Rejected } from "./answers.js";
import { hex, hexText, unbase64, utf8 } from "./bytes.js";
import { holds } from "./curves.js";
import { expand, sha256 } from "./hashes.js";
import { Numeral, canonical, exactly, isObject } from "./json.js";
import { root } from "./merkle.js";
import { holdsSoon } from "./native.js";
import { EventRoots, runKey } from "./parts.js";

const LINK = Uint8Array.of(2);

const link = (previous, window) => sha256(LINK, previous, window);

/** A mark in its form. */
export function readMark(value) {
  exactly(value, ["seq", "previous", "parts", "events", "signature"], "mark.fields");
  const [seq, events] = [value.seq, value.events].map((item) => (item instanceof Numeral ? item.integer : null));
  if (seq === null || seq < 1 || events === null || events < 1) throw new Malformed("mark.fields", "seq and events count from 1");
  return { seq, events, previous: hexText(value.previous), parts: hexText(value.parts), signature: unbase64(value.signature, 64) };
}

/** The bytes under a mark's signature. */
const signed = ({ events, parts, previous, seq }, run) => canonical({ events, parts, previous, run, seq, type: "urn:holdfast:mark:v1" });

const bySomebodyElse = (mark) => new Rejected("mark.signature", `mark ${mark.seq} is not signed by the gateway's key`);

/** Refuses a mark that is not by this statement key. */
export function checkMarkSignature(mark, run, key) {
  if (!holds(key.algorithm, key.bytes, signed(mark, run), mark.signature)) throw bySomebodyElse(mark);
}

/** Follows the events of one run and says up to which of them marks hold. A mark that does not hold rejects, and for good: nothing after it counts. */
export class MarkChain {
  seq = 0;
  /** Events that the last good mark covers, and those received. */
  covered = 0;
  received = 0;
  #window = [];
  #last = Promise.resolve();

  constructor(run, secret, key) {
    this.run = run;
    this.key = key;
    this.salt = expand(runKey(run, secret), utf8("holdfast/salt/v1/mark"), 16);
    this.roots = new EventRoots(this.salt);
    this.parts = sha256(LINK, this.salt);
  }

  /** Take the next event, an object of exact JSON; resolves to true where it carries a mark and that mark holds. Events are taken one
      after another, however they are handed in, and none after one that was refused. */
  add(event) {
    this.#last = this.#last.then(() => this.#take(event));
    return this.#last;
  }

  async #take(event) {
    if (!isObject(event)) throw new Malformed("stream.fold", "an event is a JSON object");
    this.#window.push(this.roots.next(event));
    this.received += 1;
    const value = isObject(event.holdfast) ? event.holdfast.mark : undefined;
    if (value === undefined || value === null) return false;
    const mark = readMark(value);
    const next = link(this.parts, root(this.#window));
    const right = mark.seq === this.seq + 1 && mark.previous === hex(this.parts) && mark.events === this.#window.length && mark.parts === hex(next);
    if (!right) throw new Rejected("mark.chain", `mark ${mark.seq} does not cover the events that were received`);
    if (!(await holdsSoon(this.key, signed(mark, this.run), mark.signature))) throw bySomebodyElse(mark);
    this.seq = mark.seq;
    this.parts = next;
    this.covered = this.received;
    this.#window = [];
    return true;
  }
}
