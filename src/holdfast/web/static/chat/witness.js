/* What of a streamed answer may be shown: what a mark binds that holds (parts.md §7), and nothing else. Events are taken as they were
   received, byte for byte; the first that does not fit ends it, and what was bound before stays. */

import { Rejected, Undecided } from "../verify/answers.js";
import { hex, unhex } from "../verify/bytes.js";
import { Fold } from "../verify/fold.js";
import { isObject, parse } from "../verify/json.js";
import { MarkChain } from "../verify/marks.js";
import { isRun } from "../verify/statements.js";

/** Follows one answer. `gateway` is what gatewayKey() gave, `run` and `secret` come with the answer. */
export class Witness {
  #fold = new Fold();
  /** Digests by kind of the statements that the gateway names. */
  named = new Map();

  constructor(gateway, run, secret) {
    if (!isRun(run) || !/^[0-9a-f]{64}$/.test(secret ?? "")) throw new Undecided("page.capability", "The answer came without what its marks are checked with");
    this.run = run;
    this.secret = unhex(secret, 32);
    this.gateway = gateway;
    this.chain = new MarkChain(run, this.secret, gateway.key);
  }

  get marks() {
    return this.chain.seq;
  }

  /** Take the text of one event; resolves to true where a mark in it holds, and rejects where anything does not. Whoever asks waits for
      the answer before the next. */
  async take(text) {
    const event = parse(text);
    const held = await this.chain.add(event);
    this.#fold.add(event);
    const statements = isObject(event.holdfast) ? event.holdfast.statements : null;
    for (const item of Array.isArray(statements) ? statements : []) this.named.set(item?.kind, item?.digest);
    return held;
  }

  /** At the end: refuses events that came after the last mark. */
  end() {
    if (this.chain.covered !== this.chain.received) throw new Rejected("mark.missing", "Events arrived after the last mark");
  }

  /** The response document that the events come to, and the last mark's place. */
  get response() {
    return this.#fold.document();
  }

  get last() {
    return this.chain.seq ? { seq: this.chain.seq, parts: hex(this.chain.parts) } : null;
  }
}
