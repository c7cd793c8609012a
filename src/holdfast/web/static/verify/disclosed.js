/* What a bundle discloses of the turn, against the roots that were signed (bundle.md §3(4), parts.md §4, §7, §8). */

import { Refusal, Rejected, attempt } from "./answers.js";
import { text } from "./bytes.js";
import { parse, written } from "./json.js";
import { checkMarkSignature } from "./marks.js";
import { checkPart, runKey, treeSlowly } from "./parts.js";
import { sameTree } from "./statements.js";

const LANE = ["bytes"];

/** Which tree a document's root is, by the route or the closing statement; undefined where that is not shown, and of what was
   sent where nothing was rewritten: then it is the request. */
const bound = { request: ({ route }) => route?.request, sent: ({ route }) => (route?.rewrites.length ? route.sent : undefined), response: ({ closing }) => closing?.response };

export class Disclosed {
  /** Documents that were shown: `{name, text, value, secret, parts, holds}`, and parts: `{part, holds}`; `holds` is an answer of three. */
  documents = [];
  parts = [];

  constructor(journal, { run, route, closing, key, transcript }) {
    Object.assign(this, { journal, run, route, closing, key, transcript });
  }

  /** The text of a leaf that is bound as it is shown, in its document or by itself, by its label; null where none is. */
  held(name, label) {
    const whole = this.documents.find((document) => document.name === name && document.holds === "yes")?.parts.find((part) => part.label === label);
    const single = this.parts.find(({ part, holds }) => holds === "yes" && part.document === name && part.label === label)?.part;
    const { bytes } = whole ?? single ?? {};
    return bytes === undefined ? null : text(bytes, "parts.bytes");
  }

  *check() {
    for (const item of this.journal) {
      if (item.kind === "document") yield* this.#document(item);
      if (item.kind === "parts") for (const part of item.parts) this.#part(part);
      if (item.kind === "mark") this.#mark(item.mark);
      yield;
    }
  }

  *#document({ document: name, text, secret }) {
    const { found, refusal } = yield* this.#read(name, text, secret);
    const signed = bound[name](this);
    const answer = this.#compare(name, found, signed, refusal);
    this.documents.push({ name, text, secret, value: found?.value, readable: found ? written(found.value) : text, parts: found?.parts ?? [], root: found?.root ?? null, holds: answer });
  }

  *#read(name, text, secret) {
    const { value, refusal } = attempt(() => parse(text));
    if (refusal) return { found: null, refusal };
    try {
      return { found: { value, ...(yield* treeSlowly(value, name, runKey(this.run, secret))) }, refusal: null };
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      return { found: null, refusal: error };
    }
  }

  #compare(name, found, signed, refusal) {
    const spec = "parts.md §3, §4";
    if (refusal) this.transcript.no(spec, `The ${name} document is not of the form that parts are made of: ${refusal.message}`, LANE, refusal.code, name);
    else if (signed === undefined) this.transcript.cannotTell(spec, `The statement that binds the ${name} document is not shown`, LANE, null, name);
    else if (sameTree(found, signed)) this.transcript.yes(spec, `Every part of the ${name} document, ${found.size} of them, is under the root that was signed`, LANE, name);
    else this.transcript.no(spec, `The ${name} document is not what was signed`, LANE, "parts.root", name);
    return this.transcript.checks.at(-1).answer;
  }

  #part(part) {
    const signed = bound[part.document](this);
    const says = `Part ${part.position} of the ${part.document} document is under the root that was signed`;
    const check = () => {
      if (signed === null) throw new Rejected("parts.root", "there is no such document");
      checkPart(part, signed.root, signed.size);
    };
    if (signed === undefined) this.transcript.cannotTell("parts.md §8", `The statement that binds part ${part.position} is not shown`, LANE, null, part.document);
    else this.transcript.attempt("parts.md §8", says, LANE, check, part.document);
    this.parts.push({ part, holds: this.transcript.checks.at(-1).answer });
  }

  #mark(mark) {
    if (this.closing) {
      const last = this.closing.marks;
      const right = last !== null && mark.seq <= last.seq && (mark.seq < last.seq || mark.parts === last.parts);
      if (!right) this.transcript.no("bundle.md §2", "The mark is not one of those that lead to the closing statement", LANE, "mark.chain", `mark ${mark.seq}`);
    }
    if (!this.key) this.transcript.cannotTell("parts.md §7", "Nobody here knows the key that marks are signed with", LANE, null, `mark ${mark.seq}`);
    else this.transcript.attempt("parts.md §7", `Mark ${mark.seq} is signed by the gateway's key`, LANE, () => checkMarkSignature(mark, this.run, this.key), `mark ${mark.seq}`);
  }
}
