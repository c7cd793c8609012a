/* The lane `inputs` (lanes.md §3(8)): which facts from outside went into the request, and through which trust path. The worst of them is the
   lane's state: a good source does not speak for a bad one. Files of the caller can refute it, and never better it. */

import { attempt } from "../answers.js";
import { timeText } from "../bytes.js";
import { blockOf, blocksIn, checkAdmission, checkObservation, checkQuorum, citedIn, isPinned } from "../documents/admission.js";
import { isUnder, readSource } from "../documents/source.js";
import { judgeKey } from "./enclave.js";
import { Attached } from "./files.js";

const LANE = ["inputs"];
/* Worst first. Unknown stands before expired: what is expired was good once. */
const ORDER = ["refuted", "unknown", "expired", "pending", "proven"];
const MOST_TOLD = 16;
const LONGEST = 80;
const TEXT = /^\/messages\/([0-9]+)\/content(?:\/[0-9]+\/(?:text|content(?:\/[0-9]+\/text)?))?$|^\/contents\/([0-9]+)\/parts\/[0-9]+\/(?:text|functionResponse\/response\/content)$/;
const ROLE = /^\/(?:messages|contents)\/([0-9]+)\/role$/;
const SEARCH = /^\/(?:web_search_options|plugins)(?:\/|$)/;
const TOOL = /^\/tools\/[0-9]+\/type$/;
const CITED = /^\/choices\/[0-9]+\/message\/(?:annotations|citations)\/|^\/citations\//;
const ANSWER = /^\/choices\/[0-9]+\/message\/content$/;

export const doesNotSay = "This does not say that a source was right.";

const weakest = (list) => list.reduce((found, item) => (ORDER.indexOf(item.state) < ORDER.indexOf(found.state) ? item : found));
const short = (digest) => digest.slice(0, 12);

/* What opens admissions, held against them, against each other and against what the model was given. */
class Admitted {
  documents = new Map();
  inContext = new Set();
  refusals = [];
  #keys = new Map();

  constructor(appraisal) {
    this.appraisal = appraisal;
    for (const item of appraisal.of("admission")) this.#open(item);
    for (const [digest, opened] of this.documents) this.#quorum(digest, opened.document);
    this.#context();
  }

  #no(spec, says, code, about) {
    this.refusals.push(says);
    this.appraisal.transcript.no(spec, says, LANE, code, about);
  }

  #attempt(spec, says, check, about) {
    const done = this.appraisal.transcript.attempt(spec, says, LANE, check, about);
    if (done === null) this.refusals.push(this.appraisal.transcript.checks.at(-1).says);
    return done !== null;
  }

  #open(item) {
    const { transcript } = this.appraisal;
    const statement = this.appraisal.shown(item.digest);
    if (!statement || this.appraisal.isUnread(statement)) {
      transcript.cannotTell("admission.md §1", "An admission's document is of none of this run", LANE, "admission.unbound", item.digest);
      return;
    }
    if (!this.#attempt("admission.md §2(2)", "The document of an admission is what was signed", () => checkAdmission(statement, item), item.digest)) return;
    this.documents.set(item.digest, { statement, document: item.told });
    const holds = this.#attempt("admission.md §3(6)", "The admission keeps the rules that it was made under", () => checkObservation(item.told, item.definition), item.digest);
    if (holds && item.definition !== null && item.told.observation) this.#defined(item);
  }

  #defined({ digest, told, definition }) {
    const { value, refusal } = attempt(() => readSource(definition));
    if (refusal) this.appraisal.transcript.cannotTell("sources.md §2", "The definition is not one that this reader knows", LANE, "admission.definition", digest);
    else if (isUnder(value, told.observation)) this.appraisal.transcript.yes("sources.md §2", "The admission was made as its definition says", LANE, digest);
    else this.#no("admission.md §3(6)", "An admission was not made as the definition says that it names", "admission.definition", digest);
  }

  #quorum(digest, document) {
    if (!document.quorum) return;
    const holds = this.#attempt("admission.md §5(4)", "The quorum is what the rule makes of its observations", () => checkQuorum(document, this.documents), digest);
    if (holds && !document.quorum.outcome.agreed) this.appraisal.transcript.no("admission.md §5(5)", "What a quorum combines does not agree", LANE, "admission.disagreement", digest);
  }

  /* The admissions that the route names; null where a parent is not shown, so that nobody knows. */
  get #named() {
    const { route } = this.appraisal;
    const parents = route?.parents.map((digest) => this.appraisal.shown(digest)) ?? [undefined];
    return parents.includes(undefined) ? null : parents.filter(({ kind }) => kind === "admission").map(({ digest }) => digest);
  }

  /* Both ways (§8(4)): no block that the route does not name, and no admission without block. */
  #context() {
    const { turn: shown } = this.appraisal;
    const named = this.#named;
    const parts = shown.parts(shown.sent);
    const roles = new Map(parts.map((part) => [ROLE.exec(part.path)?.[1], part.text]));
    for (const part of parts) {
      const place = TEXT.exec(part.path);
      const role = place && (roles.get(place[1] ?? place[2]) ?? "user");
      for (const block of place ? blocksIn(part.text) : []) this.#block(block, role, named);
    }
    if (!shown.document(shown.sent)) return;
    for (const digest of named ?? []) if (!this.inContext.has(digest)) this.#no("admission.md §8(4)", "The route names an admission that the model was not given", "admission.context", digest);
  }

  #block({ digest, text }, role, named) {
    const spec = "admission.md §8(4)";
    if (!["user", "tool"].includes(role)) this.#no(spec, "A block stands where the system speaks", "admission.context", digest);
    else if (named === null) this.appraisal.transcript.cannotTell(spec, "Whether the route names an admission that the model was given is not shown", LANE, "admission.unbound", digest);
    else if (!named.includes(digest)) this.#no(spec, "The model was given an admission that the route does not name", "admission.context", digest);
    else this.#given(digest, text);
  }

  #given(digest, text) {
    this.inContext.add(digest);
    const opened = this.documents.get(digest);
    if (!opened) return;
    if (blockOf(opened.document, digest) === text) this.appraisal.transcript.yes("admission.md §8(1)", "The model was given the admission as it was admitted", LANE, digest);
    else this.#no("admission.md §8(1)", "What the model was given as an admission is not what was admitted", "admission.block", digest);
  }

  /** What stands behind a data node's key, for its own statements of the closure. */
  keyOf(node) {
    if (!this.#keys.has(node)) {
      const own = [...this.appraisal.closure].filter(({ attester }) => attester === node);
      this.#keys.set(node, judgeKey(this.appraisal, node, own, ["enclave", ...LANE]));
    }
    return this.#keys.get(node);
  }
}

/* --- one admission; the first of these that fits decides --- */

const judged = (state, basis, says, evidence = []) => ({ state, basis, says, evidence });

function stands({ trust, ranOut, refusals, dates, settling }, statement, name) {
  if (!trust) return judged("unknown", null, `${name}: without trust nobody here can say who admitted it`);
  if (ranOut.has(statement)) return judged("expired", null, `${name}: the data node's key has run out, and no quorum dated it`);
  const verdict = settling.verdicts.get(statement.digest)?.code ?? "";
  const why = refusals.get(statement.digest) ?? dates.get(statement.digest) ?? (verdict.startsWith("refuted:") ? verdict : null);
  return why && judged("refuted", null, `${name} is not acceptable (${why})`);
}

/* Whether something says that the peer is who the definition means. */
function unpinned({ observation }, told) {
  if (isPinned(observation)) return null;
  const why = observation.exchange ? "nothing says who answered" : observation.tls ? "its definition pins no key: any of those roots could vouch" : "nothing says who answered: there was no TLS";
  return judged("unknown", "signature", `${told}; ${why}`);
}

/* Whether it was fresh when it went into the request, and is shown to have. */
function used({ appraisal, inContext }, { statement, document }, told) {
  const at = appraisal.route.admittedAt;
  if (at === null || document.freshUntil === null || at > document.freshUntil) return judged("expired", "signature", `${told}; it was fresh no longer when it went into the request`);
  return inContext.has(statement.digest) ? null : judged("unknown", null, `${told}; what the model was given is not shown here`);
}

function vouched(admitted, { statement, document }, told) {
  const { state, basis, says, evidence, shown } = admitted.keyOf(statement.attester);
  if (!shown.length) return judged("unknown", "signature", `${told}; no attestation of the data node's key was presented: it is its word`);
  if (state === "proven" && document.attestation !== null && !shown.includes(document.attestation)) return judged("unknown", "signature", `${told}; the attestation that it names is not shown here`);
  return judged(state, basis, `${told}; of the data node's key: ${says}`, state === "proven" ? [statement.attester, ...evidence] : []);
}

function member(admitted, { statement: digest }, told) {
  const { appraisal, documents } = admitted;
  const opened = documents.get(digest);
  if (!opened) return judged("unknown", null, `${told}; not every observation is shown here`);
  const said = `${told}; one is ${fromWhere(opened.document.observation)}`;
  return stands(appraisal, opened.statement, `${told}; observation ${short(digest)}`) ?? unpinned(opened.document, said) ?? vouched(admitted, opened, said);
}

function judge(admitted, statement) {
  const { appraisal, documents } = admitted;
  const name = `Admission ${short(statement.digest)}`;
  const opened = documents.get(statement.digest);
  const wrong = stands(appraisal, statement, name);
  if (wrong) return wrong;
  if (!opened) return judged("unknown", null, `${name}: what was admitted is not shown here`);
  const { document } = opened;
  if (document.event === "refused") return judged("unknown", "signature", `${name}: ${document.observation.source.id} was asked and nothing was admitted (${document.refusal.code}); the model was told so`);
  const told = `${name}: ${tell(document, appraisal.route.admittedAt)}`;
  if (!document.quorum) return unpinned(document, told) ?? used(admitted, opened, told) ?? vouched(admitted, opened, told);
  if (!document.quorum.outcome.agreed) return judged("refuted", "observed", `${told}; they do not agree, and no value stands for them`);
  const own = used(admitted, opened, told) ?? vouched(admitted, opened, told);
  const members = [...document.quorum.counting.map((row) => member(admitted, row, told)), own];
  return { ...weakest(members), evidence: members.flatMap(({ evidence }) => evidence) };
}

/* --- in words; texts from outside are quoted --- */

function valueText({ type, text, unit }) {
  const cut = text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
  return `${type === "decimal" ? cut : JSON.stringify(cut)}${unit === null ? "" : ` ${JSON.stringify(unit)}`}`;
}

function fromWhere({ source: { id, version, definition }, exchange, request, tls }) {
  const name = `from ${id} by definition ${version} (${short(definition)})`;
  if (exchange) return `${name}, asked as ${exchange.kind} over ${exchange.channel}`;
  return `${name} at ${request?.host ?? "nowhere"}, ${tls ? `${tls.protocol} over ${tls.family}, held against the roots ${tls.roots?.store ?? "nothing"}` : "without TLS"}`;
}

function byRule({ rule, observations, outcome }) {
  const [sources, nodes] = ["source", "node"].map((name) => new Set(observations.map((row) => row[name])).size);
  const values = observations.slice(0, 8).map((row) => `${row.source} ${row.value ? valueText(row.value) : `refused (${row.refusal})`}`);
  return `by rule ${rule.kind} of at least ${rule.least} from ${sources} sources through ${nodes} data nodes (${values.join(", ")}${outcome.spread === null ? "" : `; they lie ${outcome.spread} apart`})`;
}

function tell({ value, asOf, quorum, observation }, usedAt) {
  const age = usedAt !== null && asOf !== null ? ` of ${timeText(asOf)}, ${Math.max(usedAt - asOf, 0) / 1000} s old when used` : "";
  const what = `${value ? valueText(value) : "no value"}${age}`;
  return quorum ? `${what}, ${byRule(quorum)}` : `${what} (limit ${observation.limits.max_age_s} s), ${fromWhere(observation)}`;
}

/* --- what the provider looked up, and what the answer cites --- */

function searched({ turn: shown }) {
  const sent = shown.parts(shown.sent);
  const asked = sent.length ? sent : shown.parts("request");
  const cites = shown.parts("response").some(({ path }) => CITED.test(path));
  const free = asked.some(({ path, text }) => SEARCH.test(path) || (TOOL.test(path) && text.includes("web_search")));
  if (!cites && !free) return [];
  return [judged("unknown", "provider_claim", `The provider ${cites ? "cites what it found" : "was free to search the web"} by its own means: outside facts that no data node admitted`)];
}

function citations({ turn: shown }, named) {
  const texts = shown.parts("response").filter(({ path }) => ANSWER.test(path)).map(({ text }) => text);
  if (!named.length || !texts.length) return [];
  const found = [...citedIn(texts, named).values()];
  const astray = found.filter((digest) => digest === null).length;
  const cited = new Set(found.filter((digest) => digest !== null)).size;
  return [`The answer cites ${cited} of ${named.length} admissions`, ...(astray ? [`${astray} of its citations are of none`] : [])];
}

/** The lane. */
export function judgeInputs(appraisal) {
  const { route } = appraisal;
  const admitted = new Admitted(appraisal);
  const files = new Attached(appraisal);
  const parents = route?.parents.map((digest) => appraisal.shown(digest)) ?? [];
  const here = parents.filter((statement) => statement?.kind === "admission");
  const named = here.map(({ digest }) => digest);
  if (!route) return { state: "pending", basis: null, says: "The route of this run is not known yet", evidence: [] };
  const refused = admitted.refusals[0] ?? files.refusals[0];
  if (refused) return { state: "refuted", basis: null, says: refused, evidence: named };
  const found = here.map((statement) => judge(admitted, statement));
  if (parents.includes(undefined)) found.push(judged("unknown", null, "A statement that the route names is not in this bundle"));
  found.push(...searched(appraisal));
  if (!found.length) return { state: "not_applicable", basis: null, says: ["No outside facts were admitted to this run", ...files.told()].join(". "), evidence: [] };
  const decides = weakest(found);
  const rest = found.filter((item) => item !== decides).map(({ says }) => says);
  const more = rest.length >= MOST_TOLD ? [`${rest.length - MOST_TOLD + 1} more are not told here`] : [];
  const told = [decides.says, ...rest.slice(0, MOST_TOLD - 1), ...more, ...citations(appraisal, named), ...files.told()];
  return { state: decides.state, basis: decides.basis, says: told.join(". "), evidence: [...new Set([...named, ...found.flatMap(({ evidence }) => evidence)])] };
}
