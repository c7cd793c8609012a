/* Appraising a bundle (lanes.md) in the lanes that this implementation judges: `bytes`, `route` and `settlement`.

   The other lanes are named and answered by nothing: what is not judged is neither yes nor no, and nobody may read it as either. There is
   no result for all lanes. Written from spec/ alone; it shares no code with the implementation that made the bundle. */

import { refusalOf, timeProblem } from "./checks.js";
import { Disclosed } from "./disclosed.js";
import { LANES } from "./policy.js";
import { Settling } from "./settling.js";
import { closes } from "./statements.js";
import { misfit } from "./trace.js";
import { Transcript } from "./transcript.js";

export const JUDGED = ["bytes", "route", "settlement"];

/** Why a lane is not judged here; told to whoever reads the result. */
export const NOT_JUDGED = {
  enclave: "Attestation evidence is not read here: quotes, vendor certificates and reference values.",
  artifact: "Which model ran is not followed here: manifests, labels and their histories are not read.",
  computation: "Proofs of computation and re-executions are not read here.",
  inputs: "Admitted facts are not replayed here: their documents and blocks are not read.",
  memory: "Recalled rows are not compared here with what went before the model.",
  privacy: "What was sealed to whom is not followed here.",
  payment: "Payment statements and their documents are not added up here.",
  judgement: "Decisions and their documents are not opened here.",
};

const DOES_NOT_SAY = {
  bytes: "This does not say that the bytes are true.",
  route: "This does not say that another route would agree; it is the gateway's account of its own routing.",
  settlement: "This does not say that waiting is failing.",
};

/* Kinds that are of no trace of a run (trace.md §2(8) to §2(10)), and those of lanes that are not judged here. */
const OF_NO_RUN = ["artifact", "journal", "identity"];
const OF_OTHER_LANES = ["payment", "decision"];
const isFollowUp = ({ kind, event }) => kind === "execution" && (event === "proved" || event === "recomputed");

const ABOUT = { route: ["bytes", "route"], execution: ["bytes", "route"], admission: ["bytes", "inputs"], recall: ["bytes", "memory"] };

class Appraisal {
  transcript = new Transcript();
  statements = new Map();
  /** Statements of the closure whose key has run out by `at` while nobody dated them. */
  ranOut = new Set();

  constructor(bundle, trust, policy, at, known) {
    this.journal = bundle.journal.slice(0, known);
    Object.assign(this, { bundle, trust, policy, at });
    for (const { statement } of this.journal.filter((item) => item.kind === "statement")) this.#keep(statement);
  }

  #keep(copy) {
    const shown = this.statements.get(copy.digest);
    if (shown) shown.copies.push(copy);
    else this.statements.set(copy.digest, { statement: copy, copies: [copy] });
  }

  /** The statements that this is about, one each. */
  get #trace() {
    return [...this.statements.values()].map(({ statement }) => statement).filter((statement) => !OF_NO_RUN.includes(statement.kind) && !OF_OTHER_LANES.includes(statement.kind) && !isFollowUp(statement));
  }

  *run() {
    this.#trusted();
    this.settling = new Settling(this.journal, this.statements, this);
    yield* this.settling.gather();
    this.#shape();
    for (const statement of this.#trace) {
      this.#statement(statement);
      yield;
    }
    this.#follows();
    yield* this.#disclosed();
    this.#refutations();
    return this.#result();
  }

  #trusted() {
    const { trust, transcript, at } = this;
    if (!trust) transcript.cannotTell("trust.md §5", "There is no trust here, so nothing that was signed can be judged", ["enclave", "bytes", "route", "settlement", "judgement"], "trust.missing");
    else if (trust.expiresAt <= at) transcript.cannotTell("trust.md §2(6)", "The last version of trust has run out", LANES.filter((lane) => !["artifact", "computation", "privacy"].includes(lane)), "trust.expired");
  }

  /* Which statements are of this run, and that there is one route and one closing statement (trace.md §2(1), §2(7)). */
  #shape() {
    const own = this.#trace.filter((statement) => statement.kind !== "admission");
    for (const statement of own.filter((item) => item.run !== this.bundle.run)) {
      this.transcript.no("trace.md §2(1)", "A statement is of another run", ABOUT[statement.kind], "trace.run", statement.digest);
    }
    const routes = own.filter((statement) => statement.kind === "route");
    const closings = own.filter(closes);
    if (routes.length > 1) this.transcript.no("trace.md §2(4)", "There are two routes of one run", ["bytes", "route"], "trace.routes");
    if (closings.length > 1) this.transcript.no("trace.md §2(7)", "Two statements close one run", ["bytes", "route"], "trace.closures");
    this.closing = closings[0] ?? null;
    this.route = routes.find((statement) => this.closing?.parents.includes(statement.digest)) ?? routes[0] ?? null;
    this.closure = this.#ancestors(this.closing ?? this.route);
  }

  /* A statement and what it follows from, as far as that is shown. */
  #ancestors(statement, found = new Set()) {
    if (!statement || found.has(statement)) return found;
    found.add(statement);
    for (const digest of statement.parents) this.#ancestors(this.statements.get(digest)?.statement, found);
    return found;
  }

  #statement(statement) {
    if (!this.trust) return;
    const { copies } = this.statements.get(statement.digest);
    const seen = this.settling.trustedTime(statement.digest);
    const lanes = ABOUT[statement.kind];
    const name = statement.kind === "execution" ? `execution (${statement.event})` : statement.kind;
    const why = refusalOf(statement, copies, this.trust, seen ?? statement.claimedAt) ?? this.#suspect(statement, seen);
    if (why) this.transcript.no("statement.md §7(2) to §7(5)", `The ${name} statement is refused: ${why}`, lanes, `statement.${why}`, statement.digest);
    else this.transcript.yes("statement.md §7(2) to §7(5)", `The ${name} statement is signed by a node that trust admits for it`, lanes, statement.digest);
    if (!why && seen === null && this.trust.node(statement.attester).until <= this.at) this.ranOut.add(statement);
    const when = seen === null ? null : timeProblem(statement, seen, this.policy);
    if (when) this.transcript.no("statement.md §8", `The ${name} statement is ${when}`, ["settlement"], `statement.${when}`, statement.digest);
  }

  /* Of a key that trust calls suspect an undated statement is refused, whatever the time: only a claim says that it was made before (lanes.md §3). */
  #suspect = (statement, seen) => (seen === null && this.trust.node(statement.attester)?.revoked ? "key-revoked" : null);

  #follows() {
    for (const statement of this.#trace) {
      const parents = statement.parents.map((digest) => this.statements.get(digest)?.statement);
      const shown = parents.filter((parent) => parent !== undefined);
      const lanes = ABOUT[statement.kind];
      if (shown.length < parents.length) this.transcript.cannotTell("trace.md §2", `A statement that the ${statement.kind} statement follows from is not shown`, lanes, null, statement.digest);
      else this.#fits(statement, shown, lanes);
      for (const parent of shown) this.#ordered(statement, parent);
    }
  }

  #fits(statement, parents, lanes) {
    const why = misfit(statement, parents);
    const code = { trace: "trace.rules", stale: "statement.stale" }[why];
    if (why) this.transcript.no("trace.md §2", `The ${statement.kind} statement does not follow from those that it names`, lanes, code, statement.digest);
    else if (parents.length) this.transcript.yes("trace.md §2", `The ${statement.kind} statement follows from those that it names`, lanes, statement.digest);
  }

  #ordered(child, parent) {
    const [before, after] = [this.settling.index(parent.digest), this.settling.index(child.digest)];
    if (before !== null && after !== null && before >= after) this.transcript.no("trace.md §4", "A statement stands in the log before one that it follows from", ["settlement"], "trace.order", child.digest);
  }

  *#disclosed() {
    const attester = (this.closing ?? this.route)?.attester;
    const key = (attester && this.trust?.node(attester)?.document.key("statement")) || null;
    this.disclosed = new Disclosed(this.journal, { run: this.bundle.run, route: this.route ?? undefined, closing: this.closing ?? undefined, key, transcript: this.transcript });
    yield* this.disclosed.check();
  }

  #refutations() {
    for (const statement of this.closure) {
      const verdict = this.settling.verdicts.get(statement.digest);
      if (verdict?.code.startsWith("refuted:")) this.transcript.no("round.md §5", `Final round ${verdict.number} says ${verdict.code} of the ${statement.kind} statement`, ["settlement"], "round.refuted", statement.digest);
    }
  }

  /* --- the lanes --- */

  #early = (statement) => statement.claimedAt > this.at + this.policy.maxSkew;

  get #whole() {
    return [...this.closure].every((statement) => statement.parents.every((digest) => this.statements.has(digest)));
  }

  #lane(name, [state, basis, says], evidence) {
    const out = this.trust && this.trust.expiresAt <= this.at && state !== "refuted";
    const words = out ? `Trust has run out. Before that: ${says}` : says;
    return { state: out ? "expired" : state, basis, says: words, does_not_say: DOES_NOT_SAY[name], evidence: evidence.map((statement) => statement.digest) };
  }

  #bytes() {
    const refused = this.transcript.refused("bytes");
    if (refused) return ["refuted", null, refused.says];
    if (!this.trust) return ["unknown", null, "Without trust nobody here can say whose signatures these are"];
    if (!this.closing) return ["pending", null, "No statement closes the run yet"];
    if ([...this.closure].some(this.#early)) return ["pending", null, "At the time asked about not all of it had been made yet"];
    if (!this.#whole || !this.route) return ["unknown", null, "A statement that the run rests on is not shown"];
    if ([...this.closure].some((statement) => this.ranOut.has(statement))) return ["expired", null, "A key has run out, and no quorum dated what it signed"];
    const { documents, parts } = this.disclosed;
    const shown = documents.length + parts.length ? `${documents.length} documents and ${parts.length} single parts that are shown are those` : "nothing of it is shown here";
    return ["proven", "signature", `Route and closing statement bind request and answer; ${shown}`];
  }

  #routed() {
    const refused = this.#contradicted();
    if (refused) return ["refuted", null, refused.says];
    if (!this.trust) return ["unknown", null, "Without trust nobody here can say who tells this route"];
    if (!this.route) return ["pending", null, "No route is told yet"];
    if (this.#early(this.route)) return ["pending", null, "At the time asked about the route had not been told yet"];
    if (this.ranOut.has(this.route)) return ["expired", null, "The key has run out, and no quorum dated what it signed"];
    return ["proven", "signature", this.#told()];
  }

  /* What speaks against the route: the statement itself, or that the closing one contradicts it. */
  #contradicted() {
    const about = [this.route?.digest, this.closing?.digest];
    return this.transcript.checks.find((check) => check.answer === "no" && check.lanes.includes("route") && (check.about === about[0] || check.about === null || (check.about === about[1] && check.code === "trace.rules" && !this.#sameNonceOnly())));
  }

  /* A closing statement with another nonce is of another trace, and says nothing against its route. */
  #sameNonceOnly() {
    return this.closing.upstream === this.route?.upstream && this.closing.attester === this.route?.attester;
  }

  #told() {
    const { upstream, rewrites, fallbackFrom, cached, endpoint } = this.route;
    const how = [cached ? "from a cache" : "", fallbackFrom.length ? `after ${fallbackFrom.join(", ")} failed` : "", rewrites.length ? `rewritten (${rewrites.join(", ")})` : "not rewritten"].filter(Boolean);
    return `The gateway says: ${endpoint} by ${upstream}, ${how.join(", ")}`;
  }

  #settled() {
    const refused = this.transcript.refused("settlement");
    const development = (chain) => (this.trust?.development || chain?.development ? "development" : "proof");
    const verdicts = [...this.closure].map((statement) => this.settling.verdicts.get(statement.digest));
    if (refused) return ["refuted", refused.code === "round.refuted" ? development(verdicts.find((verdict) => verdict?.code.startsWith("refuted:")).chain) : null, refused.says];
    if (!this.trust) return ["unknown", null, "Without trust nobody here can say who settled it"];
    if (!this.closing || [...this.closure].some(this.#early)) return ["pending", null, "Not all of it had been made yet"];
    const included = [...this.closure].filter((statement) => this.settling.included.has(statement.digest));
    const whole = this.#whole && included.length === this.closure.size;
    if (whole && this.route?.settlement === "private" && included.every((statement) => this.settling.committed.has(statement.digest))) return ["unknown", null, "The log holds commitments alone; nobody will say more"];
    if (whole && verdicts.every((verdict) => verdict?.code === "ok")) return ["proven", development(verdicts[0].chain), `Final round ${Math.max(...verdicts.map((verdict) => verdict.number))} holds the verdict ok for every statement of the run`];
    if (whole && verdicts.every((verdict) => verdict) && verdicts.some((verdict) => verdict.code === "cannot_tell")) return ["unknown", null, "Full nodes could not tell"];
    return ["pending", null, whole ? "It is in the log, and not all of it has a verdict of a final round" : `${included.length} of ${this.closure.size} statements are shown to be in the log`];
  }

  #result() {
    const closure = [...this.closure];
    const answers = { bytes: [this.#bytes(), closure], route: [this.#routed(), this.route ? [this.route] : []], settlement: [this.#settled(), closure] };
    const judged = (name) => this.#lane(name, ...answers[name]);
    return {
      run: this.bundle.run,
      lanes: Object.fromEntries(LANES.map((name) => [name, JUDGED.includes(name) ? judged(name) : { judged: false, says: NOT_JUDGED[name] }])),
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
