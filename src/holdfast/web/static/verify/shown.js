/* What is shown of a turn and is what was signed, as lanes ask for it: whole documents, and parts by their paths. */

import { text } from "./bytes.js";
import { attempt } from "./answers.js";

/** The path of a label (parts.md §3). */
const pathOf = (label) => label.split("|").slice(4).join("|");

const told = ({ label, bytes }) => ({ label, path: pathOf(label), text: attempt(() => text(bytes, "parts.bytes")).value ?? "" });

export class Shown {
  #parts = new Map();

  /** `sent` names the document that went to the upstream: what was asked, where nothing was rewritten. */
  constructor({ documents, parts }, route) {
    Object.assign(this, { documents, single: parts, sent: route?.rewrites.length ? "sent" : "request" });
  }

  /** A document that is shown whole: `{value, secret, …}`, or undefined. */
  document = (name) => this.documents.findLast((document) => document.name === name && document.holds === "yes");

  /** Parts of a document that is not shown whole, one by one: `{label, path, text}`. */
  singles = (name) => this.single.filter(({ part, holds }) => holds === "yes" && part.document === name).map(({ part }) => told(part));

  /** The parts that are shown of a document. */
  parts(name) {
    if (!this.#parts.has(name)) this.#parts.set(name, this.document(name)?.parts.map(told) ?? this.singles(name));
    return this.#parts.get(name);
  }
}
