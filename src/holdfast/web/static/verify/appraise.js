/* Appraising a bundle (lanes.md): its statements, what settles them, what is disclosed, and then lane by lane.

   There is no result for all lanes. Written from spec/ alone; it shares no code with the implementation that made the bundle. */

import { isFollowUp, lanesOf, ownLane, settlingLanes } from "./about.js";
import { refusalOf, timeProblem } from "./checks.js";
import { Disclosed } from "./disclosed.js";
import { judgeLanes } from "./lanes.js";
import { LANES } from "./policy.js";
import { Settling } from "./settling.js";
import { Shown } from "./shown.js";
import { closes } from "./statements.js";
import { misfit } from "./trace.js";
import { Transcript } from "./transcript.js";

/* Kinds that are of no trace of a run (trace.md §2(8) to §2(10)). */
const OF_NO_RUN = ["artifact", "journal", "identity"];

const nameOf = (statement) => ("event" in statement ? `${statement.kind} (${statement.event})` : statement.kind);

/** A bundle on its way through the checks; lanes read what it has found (`lanes.js`). */
class Appraisal {
  transcript = new Transcript();
  statements = new Map();
  /** The same of another run: that they are here is wrong, and nothing else is read of them. */
  strangers = new Map();
  /** By digest: why a statement is refused, and how its claim lies to when it was first seen; null where nothing is wrong. */
  refusals = new Map();
  dates = new Map();
  /** Statements whose key has run out by `at` while nobody dated them. */
  ranOut = new Set();

  constructor(bundle, trust, policy, at, known) {
    this.journal = bundle.journal.slice(0, known);
    Object.assign(this, { bundle, trust, policy, at });
    for (const { statement } of this.journal.filter((item) => item.kind === "statement")) this.#keep(statement);
    this.changes = new Set(this.of("change").map(({ digest }) => digest));
    this.admissions = this.#admissionsNamed;
  }

  #keep(copy) {
    if (!OF_NO_RUN.includes(copy.kind) && copy.kind !== "admission" && copy.run !== this.bundle.run) {
      this.strangers.set(copy.digest, copy);
      return;
    }
    const shown = this.statements.get(copy.digest);
    if (shown) shown.copies.push(copy);
    else this.statements.set(copy.digest, { statement: copy, copies: [copy] });
  }

  /** Statements that are shown, one each. */
  get all() {
    return [...this.statements.values()].map(({ statement }) => statement);
  }

  shown = (digest) => this.statements.get(digest)?.statement;

  /** Items of a kind. */
  of = (kind) => this.journal.filter((item) => item.kind === kind);

  /* The statements of the turn. */
  get #trace() {
    return this.all.filter((statement) => !OF_NO_RUN.includes(statement.kind) && ownLane(statement) === null);
  }

  /* Those that are of this run, and the admissions that its route names. */
  get #ofTheTurn() {
    return this.#trace.filter((statement) => statement.kind !== "admission" || this.admissions.has(statement.digest));
  }

  *run() {
    this.#trusted();
    this.settling = new Settling(this.journal, this.statements, this);
    yield* this.settling.gather();
    this.#shape();
    for (const statement of this.all) {
      this.#statement(statement);
      yield;
    }
    this.#follows();
    yield* this.#disclosed();
    this.#refutations();
    return this.#result(yield* judgeLanes(this));
  }

  #trusted() {
    const { trust, transcript, at } = this;
    if (!trust) transcript.cannotTell("trust.md §5", "There is no trust here, so nothing that was signed can be judged", ["enclave", "bytes", "route", "settlement", "judgement"], "trust.missing");
    else if (trust.expiresAt <= at) transcript.cannotTell("trust.md §2(6)", "The last version of trust has run out", LANES.filter((lane) => !["artifact", "computation", "privacy"].includes(lane)), "trust.expired");
  }

  /* Which statements are of this run, and that there is one route and one closing statement (trace.md §2(1), §2(7)). */
  #shape() {
    const own = this.#ofTheTurn.filter((statement) => statement.kind !== "admission");
    for (const statement of this.strangers.values()) this.transcript.no("trace.md §2(1)", "A statement is of another run", lanesOf(statement), "trace.run", statement.digest);
    const routes = own.filter((statement) => statement.kind === "route");
    const closings = own.filter(closes);
    if (routes.length > 1) this.transcript.no("trace.md §2(4)", "There are two routes of one run", ["bytes", "route"], "trace.routes");
    if (closings.length > 1) this.transcript.no("trace.md §2(7)", "Two statements close one run", ["bytes", "route"], "trace.closures");
    /* Of two the other lanes read the last; what is said of `bytes` and `route` stands already. */
    this.closing = closings.at(-1) ?? null;
    this.route = routes.at(-1) ?? null;
    if (this.closing && this.route && !this.closing.parents.includes(this.route.digest)) this.transcript.no("trace.md §2(4)", "The closing statement does not follow from the route that is shown", ["bytes", "route"], "trace.rules");
    const nonces = new Set(this.#ofTheTurn.map(({ nonce }) => nonce).filter((nonce) => nonce !== null));
    if (nonces.size > 1) this.transcript.no("trace.md §2(1)", "The statements of the run answer to two nonces", ["bytes", "route"], "trace.rules");
    this.closure = this.#ancestors(this.closing ?? this.route);
  }

  /* A statement and what it follows from, as far as that is shown. */
  #ancestors(statement, found = new Set()) {
    if (!statement || found.has(statement)) return found;
    found.add(statement);
    for (const digest of statement.parents) this.#ancestors(this.shown(digest), found);
    return found;
  }

  #statement(statement) {
    const lanes = this.#lanesOf(statement);
    if (!this.trust || !lanes.length) return;
    const { copies } = this.statements.get(statement.digest);
    const seen = this.settling.trustedTime(statement.digest);
    const why = refusalOf(statement, copies, this.trust, seen ?? statement.claimedAt) ?? this.#suspect(statement, seen);
    this.refusals.set(statement.digest, why);
    if (why) this.transcript.no("statement.md §7(2) to §7(5)", `The ${nameOf(statement)} statement is refused: ${why}`, lanes, `statement.${why}`, statement.digest);
    else this.transcript.yes("statement.md §7(2) to §7(5)", `The ${nameOf(statement)} statement is signed by a node that trust admits for it`, lanes, statement.digest);
    if (!why && seen === null && this.trust.node(statement.attester).until <= this.at) this.ranOut.add(statement);
    this.#dated(statement, seen);
  }

  /* A label's change need not be shown at its first checkpoint, so nothing says that it was backdated (lanes.md §3.1(1)). */
  #dated(statement, seen) {
    const found = seen === null ? null : timeProblem(statement, seen, this.policy);
    const when = statement.kind === "artifact" && found === "backdated" ? null : found;
    this.dates.set(statement.digest, when);
    if (when) this.transcript.no("statement.md §8", `The ${nameOf(statement)} statement is ${when}`, this.settles(statement), `statement.${when}`, statement.digest);
  }

  /* The admissions that the route of this run names, and those that these combine (trace.md §2(3)). */
  get #admissionsNamed() {
    const routes = this.all.filter((statement) => statement.kind === "route");
    const named = new Set();
    const ahead = routes.flatMap((route) => route.parents);
    while (ahead.length) {
      const statement = this.shown(ahead.pop());
      if (statement?.kind !== "admission" || named.has(statement.digest)) continue;
      named.add(statement.digest);
      ahead.push(...statement.parents);
    }
    return named;
  }

  /** Whether a statement says nothing here: a label's change is read where something opens it (lanes.md §3.1), and an admission where
      this run names it. */
  isUnread = (statement) => (statement.kind === "artifact" && !this.changes.has(statement.digest)) || (statement.kind === "admission" && !this.admissions.has(statement.digest));

  #lanesOf = (statement) => (this.isUnread(statement) ? [] : lanesOf(statement));

  /** The lanes that a check of where a statement stands in a log is about. */
  settles = (statement) => (this.isUnread(statement) ? [] : settlingLanes(statement));

  /* Of a key that trust calls suspect an undated statement is refused, whatever the time: only a claim says that it was made before (lanes.md §3). */
  #suspect = (statement, seen) => (seen === null && this.trust.node(statement.attester)?.revoked ? "key-revoked" : null);

  #follows() {
    for (const statement of this.all) {
      const parents = statement.parents.map((digest) => this.shown(digest));
      const shown = parents.filter((parent) => parent !== undefined);
      const lanes = this.#lanesOf(statement);
      if (!lanes.length) continue;
      if (shown.length < parents.length) this.transcript.cannotTell("trace.md §2", `A statement that the ${statement.kind} statement follows from is not shown`, lanes, null, statement.digest);
      else this.#fits(statement, shown, lanes);
      for (const parent of shown) this.#ordered(statement, parent);
    }
  }

  #fits(statement, parents, lanes) {
    /* Of a label's changes only those that are shown have to fit each other (lanes.md §3.1(1)). */
    if (statement.kind === "artifact") return;
    /* That a fact was fresh no longer speaks against it alone: the lane `inputs` says so (lanes.md §3(8)). */
    if (misfit(statement, parents) === "trace") this.transcript.no("trace.md §2", `The ${statement.kind} statement does not follow from those that it names`, lanes, "trace.rules", statement.digest);
    else if (parents.length) this.transcript.yes("trace.md §2", `The ${statement.kind} statement follows from those that it names`, lanes, statement.digest);
  }

  #ordered(child, parent) {
    const [before, after] = [this.settling.index(parent.digest), this.settling.index(child.digest)];
    if (before !== null && after !== null && before >= after) this.transcript.no("trace.md §4", "A statement stands in the log before one that it follows from", this.settles(child), "trace.order", child.digest);
  }

  *#disclosed() {
    const attester = (this.closing ?? this.route)?.attester;
    const key = (attester && this.trust?.node(attester)?.document.key("statement")) || null;
    this.disclosed = new Disclosed(this.journal, { run: this.bundle.run, route: this.route ?? undefined, closing: this.closing ?? undefined, key, transcript: this.transcript });
    yield* this.disclosed.check();
    /** What of it holds, as lanes ask for it. */
    this.turn = new Shown(this.disclosed, this.route);
  }

  /* What final rounds hold against statements of the turn, and against those of one lane each. */
  #refutations() {
    for (const statement of [...this.closure, ...this.all.filter(ownLane)]) {
      const verdict = this.settling.verdicts.get(statement.digest);
      if (verdict?.code.startsWith("refuted:") && this.settles(statement).length) this.transcript.no("round.md §5", `Final round ${verdict.number} says ${verdict.code} of the ${statement.kind} statement`, this.settles(statement), "round.refuted", statement.digest);
    }
  }

  /* --- what lanes ask --- */

  /** Whether a statement had not been made at the time asked about (lanes.md §2.1). */
  early = (statement) => statement.claimedAt > this.at + this.policy.maxSkew;

  /** Whether everything that the closure follows from is shown. */
  get whole() {
    return [...this.closure].every((statement) => statement.parents.every((digest) => this.statements.has(digest)));
  }

  /** The executions that compute a run again or prove it. */
  get followUps() {
    return this.all.filter(isFollowUp);
  }

  #result(lanes) {
    return {
      run: this.bundle.run,
      lanes,
      known: this.journal.length,
      checks: this.transcript.checks,
      disclosed: this.disclosed,
      route: this.route,
      closing: this.closing,
    };
  }
}

/** Appraises with pauses: a generator that returns the result. */
export function appraiseSlowly(bundle, trust, policy, at, known = bundle.journal.length) {
  return new Appraisal(bundle, trust, policy, at, known).run();
}
