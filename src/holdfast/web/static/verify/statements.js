/* Statements in their form (statement.md §1 to §4, §9; admission.md §1, recall.md §1, artifacts.md §4, inference.md §4). Whether one holds,
   checks.js says. */

import { Malformed } from "./answers.js";
import { equal, hex, hexText, time, unhex, utf8 } from "./bytes.js";
import { readEnvelope } from "./dsse.js";
import { sha256 } from "./hashes.js";
import { exactly, isObject, object, parseCanonical } from "./json.js";

export const PAYLOAD_TYPE = "application/vnd.in-toto+json";
const LARGEST = 65_535;
const MINUTE = 60_000;
const CODE = /^[a-z0-9]+(?:[._-][a-z0-9]+)*$/;
const RUN = /^[0-9a-f]{8}-[0-9a-f]{4}-[47][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const COMMITMENT_TYPE = "urn:holdfast:commitment:v1";

const refuse = (about, says) => {
  throw new Malformed(`statement.${about}`, says);
};

export const isCode = (value) => typeof value === "string" && value.length <= 64 && CODE.test(value);
export const isRun = (value) => typeof value === "string" && RUN.test(value);
const isCount = (value, least = 1, most = Number.MAX_SAFE_INTEGER) => Number.isSafeInteger(value) && value >= least && value <= most;
const version = (run) => run[14];

function code(value) {
  if (!isCode(value)) refuse("code", "expected a code");
  return value;
}

function codes(value, { sorted = false } = {}) {
  if (!Array.isArray(value) || !value.every(isCode)) refuse("code", "expected a list of codes");
  if (sorted && value.some((item, at) => at && value[at - 1] >= item)) refuse("code", "the codes are not sorted, or one is there twice");
  return value;
}

function oneOf(value, names, about) {
  if (!names.includes(value)) refuse(about, `expected one of ${names.join(", ")}`);
  return value;
}

const orNull = (read) => (value) => (value === null ? null : read(value));

/** Root and size of a document's parts. */
export function readTree(value) {
  exactly(value, ["root", "size"], "statement.tree");
  if (!isCount(value.size)) refuse("tree", "a document has at least one part");
  return { root: hexText(value.root), size: value.size };
}

export const sameTree = (left, right) => left !== null && right !== null && left.root === right.root && left.size === right.size;

function flag(value) {
  if (typeof value !== "boolean") refuse("predicate", "expected true or false");
  return value;
}

/* --- what stands in a predicate besides the common members, kind by kind --- */

const PATH_SUITES = ["aes-128-gcm", "chacha20-poly1305"];

function path(value, common) {
  exactly(value, ["config", "suite", "profile", "relay"], "statement.path");
  hexText(value.config);
  oneOf(value.suite, PATH_SUITES, "path");
  oneOf(value.profile, ["binary-http", "json"], "path");
  if (value.relay !== null) hexText(value.relay);
  if (version(common.run) !== "4" || common.claimedAt % MINUTE) refuse("path", "on the private path the id is random and a time is a whole minute");
  return value;
}

const WHY = ["first", "balance", "retry", "fallback", "next"];
const MOST_ATTEMPTS = 32;

function attempt(value) {
  exactly(value, ["upstream", "why", "end", "sent"], "statement.attempts");
  oneOf(value.why, WHY, "attempts");
  if (!isCode(value.upstream) || !isCode(value.end) || typeof value.sent !== "boolean") refuse("attempts", "an attempt has codes, and whether anything was sent");
  return value;
}

/* Which upstreams were turned to (5); `fallback` is what the route says of those that failed. */
function attempts(list, upstream, fallback) {
  if (!Array.isArray(list) || list.length > MOST_ATTEMPTS) refuse("attempts", `attempts are a list of at most ${MOST_ATTEMPTS}`);
  const found = list.map(attempt);
  const begins = ({ why }) => why === "first" || why === "balance";
  const ordered = found.every((item, at) => begins(item) === (at === 0) && followsFrom(item, found, at));
  const others = found.map((item) => item.upstream).filter((name) => name !== upstream);
  const told = [...new Set(others)];
  const whose = found.every((item) => (item.end !== "served" || item.sent) && (item.upstream === upstream || item.end !== "served"));
  const last = !found.length || found.at(-1).upstream === upstream;
  const same = told.length === fallback.length && told.every((name, at) => name === fallback[at]);
  if (!ordered || !whose || !last || !same) refuse("attempts", "the attempts do not fit together, or not with the route");
  return found;
}

/* Whether an attempt says rightly why it was made after the one before it. */
function followsFrom({ upstream, why }, list, at) {
  if (!at) return true;
  const before = list[at - 1];
  const known = list.slice(0, at).some((item) => item.upstream === upstream);
  if (why === "retry") return before.upstream === upstream && before.end !== "served";
  if (why === "fallback") return !known && before.end !== "served";
  return why === "next" && before.upstream === upstream && before.end === "served";
}

const ENDPOINTS = ["chat.completions", "completions", "messages", "images.generations", "inference", "embeddings", "classifications", "agent", "step"];
/* Nothing is sent to anybody at these: §4.1, `endpoint`. */
const OWN = ["agent", "step"];
const ROUTE = ["request", "sent", "endpoint", "upstream", "rewrites", "fallback_from", "cached", "settlement", "streamed"];

function route(value, common) {
  const body = {
    request: readTree(value.request),
    sent: readTree(value.sent),
    endpoint: oneOf(value.endpoint, ENDPOINTS, "endpoint"),
    upstream: code(value.upstream),
    rewrites: codes(value.rewrites, { sorted: true }),
    fallbackFrom: codes(value.fallback_from),
    cached: flag(value.cached),
    settlement: oneOf(value.settlement, ["batch", "individual", "private"], "settlement"),
    streamed: flag(value.streamed),
    path: "path" in value ? path(value.path, common) : null,
    admittedAt: "admitted_at" in value ? time(value.admitted_at) : null,
    ignored: "ignored" in value ? codes(value.ignored, { sorted: true }) : [],
    policy: "policy" in value ? hexText(value.policy) : null,
    cachedRun: value.cached_run ?? null,
  };
  if (new Set(body.fallbackFrom).size !== body.fallbackFrom.length) refuse("code", "an upstream is named twice");
  if ("ignored" in value && !body.ignored.length) refuse("code", "what is ignored is left out where there is nothing");
  body.attempts = "attempts" in value ? attempts(value.attempts, body.upstream, body.fallbackFrom) : null;
  if (OWN.includes(body.endpoint) && (body.upstream !== "caller" || body.rewrites.length || body.fallbackFrom.length || body.streamed || body.cached || "attempts" in value || "ignored" in value)) refuse("endpoint", "what is sent to nobody is neither rewritten nor served by anybody");
  if (!body.rewrites.length && !sameTree(body.request, body.sent)) refuse("sent", "what was sent differs from the request, yet no rewrite is named");
  if ("cached_run" in value) {
    if (!isRun(value.cached_run) || value.cached_run === value.run) refuse("cached", "what is given again was another run's answer");
    if (!body.cached || body.fallbackFrom.length || body.attempts?.length !== 0) refuse("cached", "an answer from a cache is one that nobody was turned to for");
  }
  if (body.admittedAt !== null && (!common.parents.length || body.admittedAt > common.claimedAt || (body.path && body.admittedAt % MINUTE))) refuse("admitted_at", "what was admitted was there before the route");
  return { ...body, subject: ["request", "holdfast-parts-v1", body.request.root] };
}

function lastMark(value) {
  exactly(value, ["seq", "parts"], "statement.marks");
  if (!isCount(value.seq)) refuse("marks", "marks count from 1");
  return { seq: value.seq, parts: hexText(value.parts) };
}

const COMPUTATION = ["artifact", "mode", "runtime", "version", "optimisation", "threads", "instructions", "batch", "request", "circuit"];

function circuit(value) {
  exactly(value, ["settings", "verification_key", "srs"], "statement.computation");
  hexText(value.settings);
  hexText(value.verification_key);
  return oneOf(value.srs, ["development", "ceremony"], "computation") && value;
}

function computation(value) {
  exactly(value, COMPUTATION, "statement.computation");
  hexText(value.artifact);
  oneOf(value.mode, ["VANILLA", "TEE", "ZKML"], "computation");
  oneOf(value.optimisation, ["none", "basic", "extended", "all"], "computation");
  if (![value.runtime, value.version, value.instructions].every(isCode)) refuse("computation", "runtime, version and instructions are codes");
  if (!isCount(value.threads, 1, 1024) || !isCount(value.batch, 1, 256)) refuse("computation", "threads and batch are counts");
  if ((value.mode === "ZKML") !== (value.circuit !== null)) refuse("computation", "exactly a run in mode ZKML has a circuit");
  return { ...value, request: readTree(value.request), circuit: orNull(circuit)(value.circuit) };
}

const COMPUTED = ["computed", "proved", "recomputed"];
export const CLOSING = ["generated", "failed", "interrupted"];
const EXECUTION = ["event", "outcome", "response", "marks", "upstream"];

function executionMembers(value) {
  const more = { proved: ["proof"], recomputed: ["comparison"] }[value.event] ?? [];
  return [...EXECUTION, ...(COMPUTED.includes(value.event) ? ["computation"] : []), ...more];
}

function execution(value) {
  const event = oneOf(value.event, [...CLOSING, "disconnected", ...COMPUTED], "event");
  const body = {
    event,
    outcome: code(value.outcome),
    response: orNull(readTree)(value.response),
    marks: orNull(lastMark)(value.marks),
    upstream: code(value.upstream),
    computation: "computation" in value ? computation(value.computation) : null,
    proof: "proof" in value ? hexText(value.proof) : null,
    comparison: "comparison" in value ? oneOf(value.comparison, ["equal", "within", "different"], "comparison") : null,
  };
  const answers = event === "generated" || COMPUTED.includes(event);
  if (answers !== (body.response !== null)) refuse("response", "exactly what was generated or computed has a response");
  if (COMPUTED.includes(event) && body.marks !== null) refuse("marks", "what is computed is not streamed");
  if (event === "proved" && body.computation.mode !== "ZKML") refuse("computation", "only a run in mode ZKML is proved");
  return { ...body, subject: body.response ? ["response", "holdfast-parts-v1", body.response.root] : ["request", "holdfast-parts-v1", null] };
}

const record = (name, digest) => [name, "holdfast-record-v1", digest];

function decision(value) {
  const body = {
    act: oneOf(value.act, ["approve", "reject", "release", "reopen", "recall"], "act"),
    case: isRun(value.case) ? value.case : refuse("case", "a case is a UUID of version 4 or 7"),
    lanes: hexText(value.lanes),
    policy: hexText(value.policy),
    record: hexText(value.record),
    cases: orNull(readTree)(value.cases),
  };
  if (body.cases && body.act !== "recall") refuse("cases", "only a recall is of several cases");
  return { ...body, subject: record("decision", body.record) };
}

export const PAYMENT_EVENTS = ["offered", "authorised", "charged", "captured", "lapsed", "failed", "refund_due", "refunded"];

function payment(value) {
  const body = { event: oneOf(value.event, PAYMENT_EVENTS, "payment"), record: hexText(value.record) };
  return { ...body, subject: record("payment", body.record) };
}

/* A run that is made of a digest, for statements that are about none (statement.md §4.4(1)). */
function runOf(name, attester) {
  const bytes = sha256(utf8(`urn:holdfast:${name}-run:v1`), Uint8Array.of(0), unhex(attester, 32)).slice(0, 16);
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  return hex(bytes).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

function aboutNoRun(name, common, { parents = false } = {}) {
  if (common.nonce !== null || common.parentRun !== null || (!parents && common.parents.length)) refuse("predicate", "it is about no run and follows nothing");
  if (common.run !== runOf(name, common.attester)) refuse("run", "it is about no run, so its id is made of its attester");
}

/** How far what a label means can be what it meant before (artifacts.md §4(5)). */
export const CONTINUITIES = ["first", "byte_identical", "derivative", "compared", "same_name", "provider_claim"];

function artifact(value, common) {
  const event = oneOf(value.event, ["published", "declared", "labelled", "revoked"], "artifact");
  const labelled = event === "labelled";
  if (labelled !== (value.label !== null) || labelled !== (value.continuity !== null)) refuse("artifact", "exactly a label's change names label and continuity");
  const body = { event, label: orNull(hexText)(value.label), continuity: value.continuity, record: hexText(value.record) };
  if (labelled) oneOf(body.continuity, CONTINUITIES, "artifact");
  aboutNoRun("artifact", common, { parents: true });
  return { ...body, subject: record("artifact", body.record) };
}

function admission(value, common) {
  const event = oneOf(value.event, ["admitted", "refused", "combined"], "admission");
  const body = { event, record: hexText(value.record), until: orNull(time)(value.until), attestation: orNull(hexText)(value.attestation) };
  const spans = { admitted: [true], refused: [false], combined: [true, false] }[event];
  if (!spans.includes(body.until !== null) || (body.until ?? 0) % MINUTE) refuse("admission", "until is a whole minute, and there where something was admitted");
  if (common.nonce !== null || common.parentRun !== null || version(common.run) !== "4" || common.claimedAt % MINUTE) refuse("admission", "an admission tells of no run, and of the minute alone");
  if ((event === "combined") !== common.parents.length > 0 || common.parents.length > 64) refuse("admission", "exactly what is combined follows observations");
  return { ...body, subject: record("admission", body.record) };
}

const recall = (value) => ({ model: hexText(value.model), record: hexText(value.record), subject: record("recall", value.record) });

function journal(value, common, subject) {
  const body = { journal: oneOf(value.journal, ["cases", "people"], "journal"), seq: value.seq };
  if (!isCount(body.seq)) refuse("journal", "numbers of events count from 1");
  aboutNoRun("journal", common);
  return { ...body, subject: ["head", "holdfast-journal-v1", subject] };
}

function identity(value, common) {
  const body = { ohttp: orNull(hexText)(value.ohttp), tls: orNull(hexText)(value.tls), predecessor: orNull(hexText)(value.predecessor) };
  aboutNoRun("identity", common);
  return { ...body, subject: ["key_document", "sha256", common.attester] };
}

const KINDS = {
  admission: [["event", "record", "until", "attestation"], admission],
  recall: [["model", "record"], recall],
  route: [ROUTE, route, ["path", "admitted_at", "attempts", "ignored", "policy", "cached_run"]],
  execution: [executionMembers, execution],
  payment: [["event", "record"], payment],
  decision: [["act", "case", "lanes", "policy", "record", "cases"], decision],
  artifact: [["event", "label", "continuity", "record"], artifact],
  journal: [["journal", "seq"], journal],
  identity: [["ohttp", "tls", "predecessor"], identity],
};

function readCommon(value) {
  if (!isRun(value.run)) refuse("run", "a run id is a UUID of version 4 or 7");
  const parents = value.parents;
  if (!Array.isArray(parents) || parents.length > 256) refuse("parents", "parents are a list of at most 256 digests");
  parents.forEach((parent) => hexText(parent));
  if (parents.some((parent, at) => at && parents[at - 1] >= parent)) refuse("parents", "parents are sorted and distinct");
  if ("nonce" in value && !/^[A-Za-z0-9_-]{16,64}$/.test(typeof value.nonce === "string" ? value.nonce : "")) refuse("nonce", "not a nonce");
  if ("parent_run" in value && !isRun(value.parent_run)) refuse("parent_run", "a parent run is a run id");
  return {
    run: value.run,
    attester: hexText(value.attester),
    claimedAt: time(value.claimed_at),
    parents,
    nonce: value.nonce ?? null,
    parentRun: value.parent_run ?? null,
  };
}

function readSubject(list) {
  const subject = Array.isArray(list) && list.length === 1 ? list[0] : refuse("subject", "there is one subject");
  exactly(subject, ["name", "digest"], "statement.subject");
  const names = Object.keys(object(subject.digest, "statement.subject"));
  if (names.length !== 1) refuse("subject", "the subject has one digest");
  return [subject.name, names[0], subject.digest[names[0]]];
}

/** A statement of its exact payload: the common members, `kind`, `digest` and what its kind adds. */
export function readPayload(payload) {
  const value = exactly(parseCanonical(payload), ["_type", "subject", "predicateType", "predicate"], "statement.fields");
  if (value._type !== "https://in-toto.io/Statement/v1") refuse("fields", "not an in-toto Statement v1");
  const kind = /^urn:holdfast:([a-z]+):v1$/.exec(typeof value.predicateType === "string" ? value.predicateType : "")?.[1];
  if (!Object.hasOwn(KINDS, kind ?? "")) refuse("kind", "unknown predicateType");
  const [name, algorithm, digest] = readSubject(value.subject);
  const predicate = object(value.predicate, "statement.predicate");
  const [members, read, optional = []] = KINDS[kind];
  if (kind === "execution") oneOf(predicate.event ?? refuse("predicate", "event is missing"), [...CLOSING, "disconnected", ...COMPUTED], "event");
  const own = typeof members === "function" ? members(predicate) : members;
  exactly(predicate, ["run", "attester", "claimed_at", "parents", ...own], "statement.predicate", ["nonce", "parent_run", ...optional]);
  const common = readCommon(predicate);
  const body = read(predicate, common, digest);
  const [wantedName, wantedAlgorithm, wanted] = body.subject;
  if (name !== wantedName || algorithm !== wantedAlgorithm || hexText(digest) !== (wanted ?? digest)) refuse("subject", "the subject is not what the statement is about");
  return { ...common, ...body, kind, subject: digest, digest: hex(sha256(payload)), payload };
}

/** One envelope of a statement: the statement with `entry` (the bytes that a log holds), `signature` and `message`. */
export function readStatement(bytes) {
  if (bytes.length > LARGEST) throw new Malformed("envelope.size", `an envelope has at most ${LARGEST} bytes`);
  const envelope = readEnvelope(parseCanonical(bytes), PAYLOAD_TYPE);
  if (envelope.signatures.length !== 1) throw new Malformed("envelope.signatures", "a statement envelope has exactly one signature");
  return { ...readPayload(envelope.payload), entry: bytes, signature: envelope.signatures[0], message: envelope.message };
}

export const closes = (statement) => statement.kind === "execution" && CLOSING.includes(statement.event);

/** A commitment (§9) of a log entry, or null where the entry is none. */
export function readCommitment(bytes) {
  const value = parseCanonical(bytes);
  if (!isObject(value) || !("commitment" in value)) return null;
  exactly(value, ["commitment", "type"], "commitment.fields");
  if (value.type !== COMMITMENT_TYPE) throw new Malformed("commitment.fields", "not a commitment");
  return hexText(value.commitment);
}

/** Whether salt and statement digest are what a commitment commits to. */
export const opens = (commitment, salt, digest) => equal(sha256(salt, unhex(digest, 32)), unhex(commitment, 32));

