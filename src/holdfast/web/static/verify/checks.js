/* Checking statements (statement.md §7, §8): one by itself, and entries of a log in their order. */

import { attempt } from "./answers.js";
import { signedBy } from "./keys.js";
import { readCommitment, readStatement, closes } from "./statements.js";
import { isPayment, misfit } from "./trace.js";
import { admits } from "./trust.js";

/* §6: who may make which kind. */
const ROLES = {
  route: ["gateway"],
  admission: ["data"],
  recall: ["memory"],
  payment: ["facilitator", "gateway"],
  decision: ["panel"],
  artifact: ["hub"],
  journal: ["panel"],
  identity: ["data", "gateway", "inference", "memory"],
};

const rolesFor = (statement) => (statement.kind === "execution" ? [closes(statement) || statement.event === "disconnected" ? "gateway" : "inference"] : ROLES[statement.kind]);

function keyProblem(node, from, until) {
  if (from < node.from) return "key-not-yet-valid";
  if (until >= node.until) return "key-expired";
  return admits(node, from, until) ? null : "key-revoked";
}

/** §7(2) to §7(5), for a span that begins with the claim and ends at `until`: why it is refused, or null. `copies` are its envelopes. */
export function refusalOf(statement, copies, trust, until) {
  const node = trust.node(statement.attester);
  if (node === null) return "unknown-key";
  const problem = keyProblem(node, statement.claimedAt, Math.max(statement.claimedAt, until));
  if (problem) return problem;
  if (!rolesFor(statement).some((role) => node.document.roles.includes(role))) return "role";
  const key = node.document.key("statement");
  return key && copies.some((copy) => signedBy(key, copy.signature, copy.message)) ? null : "signature";
}

/** §7(6): how the claimed time lies to the time it was first seen. */
export function timeProblem(statement, seen, policy) {
  if (seen - statement.claimedAt > policy.maxSpan) return "backdated";
  return statement.claimedAt - seen > policy.maxSkew ? "future" : null;
}

/** §7(2) to §7(6) of one envelope that was first seen at `seen`. */
export const refusalAt = (statement, trust, policy, seen) => refusalOf(statement, [statement], trust, seen) ?? timeProblem(statement, seen, policy);

/* Kinds whose parents may be refuted (§7(7)). */
const UNSHAKEN = ["decision", "payment"];

/** The verdicts of a log's entries from index 0, each first seen at `seen`. */
export class Entries {
  #seen = new Map();
  #first = new Map();
  #heads = new Map();

  constructor(trust, policy, seen) {
    Object.assign(this, { trust, policy, at: seen });
  }

  verdict(entry) {
    const { value, refusal } = attempt(() => (readCommitment(entry) === null ? readStatement(entry) : "commitment"));
    if (refusal) return "refuted:malformed";
    if (value === "commitment") return "cannot_tell";
    const why = refusalAt(value, this.trust, this.policy, this.at) ?? this.#parents(value) ?? this.#order(value);
    if (!this.#seen.has(value.digest)) this.#seen.set(value.digest, { statement: value, why });
    if (why) return `refuted:${why}`;
    return value.kind === "execution" && value.event === "proved" ? "cannot_tell" : "ok";
  }

  #parents(statement) {
    const parents = statement.parents.map((digest) => this.#seen.get(digest));
    if (parents.some((parent) => parent === undefined)) return "parent";
    if (!UNSHAKEN.includes(statement.kind) && parents.some((parent) => parent.why)) return "parent-refuted";
    return misfit(statement, parents.map((parent) => parent.statement));
  }

  /* §7(8) to §7(12): what only the first of several may do. */
  #order(statement) {
    if (closes(statement)) return this.#only(`closure ${statement.attester} ${statement.run}`, statement, "duplicate-closure");
    if (statement.kind === "journal") return this.#head(statement);
    if (statement.kind === "identity") return this.#identity(statement);
    if (statement.kind === "payment") return this.#payment(statement);
    return statement.kind === "artifact" ? this.#artifact(statement) : null;
  }

  #only(place, statement, why) {
    const first = this.#first.get(place);
    if (first !== undefined) return first === statement.digest ? null : why;
    this.#first.set(place, statement.digest);
    return null;
  }

  #head(statement) {
    const place = `${statement.attester} ${statement.journal}`;
    const heads = this.#heads.get(place) ?? [];
    if (heads.some((head) => head.digest === statement.digest)) return null;
    if (heads.some((head) => head.seq >= statement.seq)) return "head-order";
    this.#heads.set(place, [...heads, statement]);
    return null;
  }

  #identity(statement) {
    const { document } = this.trust.node(statement.attester);
    const same = statement.ohttp === document.ohttpDigest && statement.tls === document.tls && statement.predecessor === document.predecessor;
    return same ? null : "identity";
  }

  #payment(statement) {
    const facilitates = (attester) => this.trust.node(attester)?.document.roles.includes("facilitator");
    const before = statement.parents.map((digest) => this.#seen.get(digest).statement).filter(isPayment);
    const agreed = (parent) => parent.attester === statement.attester || facilitates(parent.attester) || facilitates(statement.attester);
    if (!before.every(agreed)) return "payment";
    if (statement.event === "offered" || statement.event === "authorised") return null;
    const place = statement.event === "charged" ? `charged ${statement.run}` : `after ${statement.parents[0]}`;
    return this.#only(`payment ${statement.attester} ${place}`, statement, "duplicate-payment");
  }

  #artifact(statement) {
    if (statement.event !== "labelled" && statement.event !== "revoked") return null;
    const place = `artifact ${statement.attester} ${statement.event} ${statement.label} ${statement.parents[0] ?? "none"}`;
    return this.#only(place, statement, "duplicate-artifact");
  }
}
