/* Admission documents in their form, held against their statement and against themselves (admission.md §1 to §5). Nothing is fetched: what
   is stale, out of range, led elsewhere or disagreed shows in these bytes alone. */

import { Malformed, Rejected } from "../answers.js";
import { hex, hexText, time, timeText, utf8 } from "../bytes.js";
import { compare } from "../fractions.js";
import { sha256 } from "../hashes.js";
import { exactly, isObject, parseCanonical, spelled } from "../json.js";
import { characters, recordOf } from "../records.js";
import { isCode, isRun } from "../statements.js";
import { MOST_OBSERVATIONS, applied, readDecimal, readRule, readValue, within } from "./quantities.js";

const LARGEST = 262_144;
const MINUTE = 60_000;
const YEAR = 31_622_400;
const MEMBERS = ["type", "run", "event", "at", "attestation", "observation", "quorum", "refusal"];
const OBSERVATION = ["source", "parameters", "request", "credential", "tls", "http", "extraction", "times", "limits"];
const COMBINED = ["statement", "node", "source", "definition", "as_of", "until", "value", "refusal"];
const HEADERS = ["age", "cache-control", "content-type", "date", "etag", "last-modified"];
const CHANNELS = { dns: ["tcp", "udp"], sql: ["file", "socket", "tcp", "tls"] };
const HOST = /^(?:(?=[^:]{1,253}(?::|$))[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?(?::[1-9][0-9]{0,4})?|\[[0-9a-f:.]{2,45}\](?::[1-9][0-9]{0,4})?)$/;

const refuse = (about, says) => {
  throw new Malformed(`admission.${about}`, says);
};

const members = (value, names, code = "fields") => exactly(value, names, `admission.${code}`);
const orNull = (value, read) => (value === null ? null : read(value));
const code = (value) => (isCode(value) ? value : refuse("fields", "expected a code"));
const isHost = (value) => typeof value === "string" && HOST.test(value);
const isCount = (value, least, most = Number.MAX_SAFE_INTEGER) => Number.isSafeInteger(value) && value >= least && value <= most;
const count = (value, least, most) => (isCount(value, least, most) ? value : refuse("fields", "expected an integer within its bounds"));

function sized(value, least, most) {
  if (typeof value !== "string" || characters(value) < least || characters(value) > most) refuse("fields", `a text has ${least} to ${most} characters`);
  return value;
}

/* --- an observation, member by member (§3) --- */

function source(value) {
  members(value, ["id", "version", "definition"]);
  return { id: code(value.id), version: count(value.version, 1), definition: hexText(value.definition) };
}

function parameters(value) {
  if (!isObject(value) || Object.keys(value).length > 32 || !Object.keys(value).every(isCode)) refuse("parameters", "parameters are at most 32 codes and texts");
  for (const name of Object.keys(value)) sized(value[name], 0, 2048);
  return value;
}

function request(value) {
  members(value, ["method", "host", "template", "digest", "size"]);
  if (!["GET", "POST"].includes(value.method) || !isHost(value.host)) refuse("request", "a request is GET or POST to a host, in lower case");
  for (const name of ["template", "digest"]) hexText(value[name]);
  count(value.size, 1);
  return value;
}

function roots(value) {
  members(value, ["store", "anchor"]);
  return { store: code(value.store), anchor: orNull(value.anchor, hexText) };
}

function tls(value) {
  members(value, ["protocol", "cipher", "chain", "certificate", "spki", "roots", "sni", "family"]);
  const { chain, sni } = value;
  if (!["TLSv1.2", "TLSv1.3"].includes(value.protocol) || !["ipv4", "ipv6"].includes(value.family)) refuse("tls", "a session has a protocol and a family");
  if (chain !== null && (!Array.isArray(chain) || chain.length < 1 || chain.length > 16)) refuse("tls", "a chain has 1 to 16 certificates, or is null");
  if (sni !== null && (!isHost(sni) || sni.includes(":"))) refuse("tls", "sni is a host name, or null");
  orNull(value.roots, roots);
  sized(value.cipher, 1, 64);
  for (const digest of [...(chain ?? []), value.certificate, value.spki]) hexText(digest);
  return value;
}

function body(value, least) {
  members(value, ["digest", "size"]);
  return { digest: hexText(value.digest), size: count(value.size, least) };
}

function http(value) {
  members(value, ["status", "headers", "hosts", "body"]);
  if (!isCount(value.status, 100, 599)) refuse("http", "a status is from 100 to 599");
  if (!isObject(value.headers) || !Object.keys(value.headers).every((name) => HEADERS.includes(name))) refuse("http", "headers are any of a few");
  if (!Array.isArray(value.hosts) || value.hosts.length > 8 || !value.hosts.every(isHost)) refuse("http", "hosts are at most 8, in lower case");
  body(value.body, 0);
  for (const name of Object.keys(value.headers)) sized(value.headers[name], 0, 1024);
  return value;
}

function extraction(value) {
  members(value, ["kind", "path", "value"]);
  sized(value.path, 0, 1024);
  return { kind: code(value.kind), path: value.path, value: readValue(value.value) };
}

function times(value) {
  members(value, ["requested", "first_byte", "source"]);
  return { requested: time(value.requested), firstByte: orNull(value.first_byte, (at) => time(at)), source: orNull(value.source, (at) => time(at)) };
}

function range(value) {
  members(value, ["least", "most"]);
  const [least, most] = ["least", "most"].map((name) => orNull(value[name], readDecimal));
  if (least && most && compare(least, most) > 0) refuse("limits", "a range begins before it ends");
  return value;
}

function limits(value) {
  members(value, ["max_age_s", "skew_s", "range", "pins"]);
  orNull(value.range, range);
  if (!Array.isArray(value.pins) || value.pins.length > 32) refuse("limits", "pins are at most 32");
  value.pins.forEach((pin) => hexText(pin));
  if (value.pins.some((pin, at) => at && value.pins[at - 1] >= pin)) refuse("limits", "pins are sorted and distinct");
  for (const name of ["max_age_s", "skew_s"]) count(value[name], 0, YEAR);
  return value;
}

const isFact = ([name, said]) => isCode(name) && typeof said === "string" && said !== "" && characters(said) <= 256;

function exchanged(value) {
  members(value, ["digest", "size"], "exchange");
  if (!isCount(value.size, 1)) refuse("exchange", "a size is a number of bytes");
  hexText(value.digest);
}

/* What went over something else than HTTP (§3(7)). */
function exchange(value) {
  members(value, ["kind", "channel", "template", "request", "answer", "facts"], "exchange");
  const channels = Object.hasOwn(CHANNELS, value.kind) ? CHANNELS[value.kind] : [];
  if (!channels.includes(value.channel)) refuse("exchange", "an exchange is of a kind, over a channel of its own");
  if (!isObject(value.facts) || Object.keys(value.facts).length > 16 || !Object.entries(value.facts).every(isFact)) refuse("exchange", "facts are at most 16 codes and texts");
  exchanged(value.request);
  hexText(value.template);
  orNull(value.answer, exchanged);
  return value;
}

/* What time a value is of (§4(2)): never later than it can be. */
function asOf({ times: { requested, source: told }, http: answer }) {
  const age = answer?.headers.age ?? "";
  return told ?? requested - (/^[0-9]{1,10}$/.test(age) ? 1000 * Number(age) : 0);
}

function observation(value) {
  const over = isObject(value) && "exchange" in value;
  members(value, over ? [...OBSERVATION, "exchange"] : OBSERVATION);
  if (over && [value.request, value.tls, value.http].some((item) => item !== null)) refuse("exchange", "what went over something else than HTTP has no facts of HTTP");
  const seen = {
    source: source(value.source),
    parameters: parameters(value.parameters),
    request: orNull(value.request, request),
    credential: orNull(value.credential, code),
    tls: orNull(value.tls, tls),
    http: orNull(value.http, http),
    extraction: orNull(value.extraction, extraction),
    times: times(value.times),
    limits: limits(value.limits),
    exchange: over ? exchange(value.exchange) : null,
  };
  const from = asOf(seen);
  const answered = over ? seen.exchange.answer !== null : seen.http !== null && seen.request !== null;
  return { ...seen, answered, asOf: from, freshUntil: from + 1000 * seen.limits.max_age_s, template: (seen.exchange ?? seen.request)?.template ?? null };
}

/** Whether the peer's key is one that the definition names (§3(5)). */
export const isPinned = ({ tls: session, limits: { pins } }) => session !== null && pins.includes(session.spki);

/* --- a quorum (§5) --- */

function combined(value) {
  members(value, COMBINED);
  const told = [value.as_of, value.until, value.value].map((item) => item !== null);
  if (told.some((item) => item !== told[0]) || told[0] !== (value.refusal === null)) refuse("quorum", "an observation has a value and its times, or a refusal");
  return {
    statement: hexText(value.statement),
    node: hexText(value.node),
    source: code(value.source),
    definition: hexText(value.definition),
    asOf: orNull(value.as_of, (at) => time(at)),
    until: orNull(value.until, (at) => time(at)),
    value: orNull(value.value, readValue),
    refusal: orNull(value.refusal, code),
  };
}

function quorum(value) {
  members(value, ["rule", "observations", "agreed", "spread", "value"]);
  const listed = value.observations;
  if (!Array.isArray(listed) || listed.length < 1 || listed.length > MOST_OBSERVATIONS) refuse("quorum", "a quorum has 1 to 64 observations");
  const observations = listed.map(combined);
  if (observations.some((row, at) => at && observations[at - 1].statement >= row.statement)) refuse("quorum", "observations are sorted by their statements, each once");
  if (new Set(observations.map((row) => `${row.node} ${row.source} ${row.definition}`)).size < observations.length) refuse("twice", "a source is asked once through one node");
  if (typeof value.agreed !== "boolean" || value.agreed !== (value.value !== null)) refuse("quorum", "exactly those who agree have a value");
  orNull(value.spread, readDecimal);
  const outcome = { agreed: value.agreed, spread: value.spread, value: orNull(value.value, readValue) };
  const counting = observations.filter((row) => row.value !== null);
  return { rule: readRule(value.rule), observations, outcome, counting };
}

function refusal(value) {
  members(value, ["code", "says"]);
  return { code: code(value.code), says: sized(value.says, 1, 1024) };
}

/* --- the document (§2) --- */

/* §2(1): which members an event has. */
function checkEvent({ event, observation: seen, quorum: several, refusal: why }) {
  const isCombined = event === "combined";
  if (isCombined !== (several !== null) || isCombined !== (seen === null)) refuse("event", "exactly what is combined has a quorum, and no observation of its own");
  if ((event === "refused") !== (why !== null)) refuse("event", "exactly what is refused has a refusal");
  if (seen === null) return;
  const came = seen.answered && seen.times.firstByte !== null;
  if (event === "admitted" && (!came || seen.extraction === null)) refuse("event", "what is admitted was asked, came, and was taken from somewhere");
  if (event === "refused" && seen.extraction !== null) refuse("event", "what is refused is not shown as if it were admitted");
}

/* The earliest of some times, or null where there is none. */
const earliest = (times) => (times.length ? Math.min(...times) : null);

/* What was admitted, of when, and until when it is fresh; null of a refusal (§4(3)). */
function comesTo({ event, observation: seen, quorum: several }) {
  if (several) return { value: several.outcome.value, asOf: earliest(several.counting.map((row) => row.asOf)), freshUntil: earliest(several.counting.map((row) => row.until)) };
  if (event === "admitted") return { value: seen.extraction.value, asOf: seen.asOf, freshUntil: seen.freshUntil };
  return { value: null, asOf: null, freshUntil: null };
}

/** A document of its exact bytes. */
export function readAdmission(bytes) {
  if (bytes.length > LARGEST) refuse("size", `an admission document has at most ${LARGEST} bytes`);
  const value = members(parseCanonical(bytes), MEMBERS);
  if (value.type !== "urn:holdfast:admission:v1" || !isRun(value.run) || !["admitted", "refused", "combined"].includes(value.event)) refuse("fields", "not an admission document");
  const document = {
    run: value.run,
    event: value.event,
    at: time(value.at),
    attestation: orNull(value.attestation, hexText),
    observation: orNull(value.observation, observation),
    quorum: orNull(value.quorum, quorum),
    refusal: orNull(value.refusal, refusal),
  };
  checkEvent(document);
  return { ...document, ...comesTo(document) };
}

const coarse = (at) => at - (((at % MINUTE) + MINUTE) % MINUTE);
const roundedUp = (at) => (at === null || coarse(at) === at ? at : coarse(at) + MINUTE);

/** Refuses a document that is not what a statement commits to, or tells of something else (§1(2), §2(2)). */
export function checkAdmission(statement, { document, salt, told }) {
  if (statement.kind !== "admission" || recordOf("admission", salt, document) !== statement.record) throw new Rejected("admission.record", "the record does not commit to this document with this salt");
  const parents = told.quorum ? told.quorum.observations.map((row) => row.statement) : [];
  const same = {
    run: told.run === statement.run,
    event: told.event === statement.event,
    attestation: told.attestation === statement.attestation,
    until: roundedUp(told.freshUntil) === statement.until,
    at: coarse(told.at) === statement.claimedAt,
    parents: spelled(parents) === spelled(statement.parents),
  };
  for (const [name, fine] of Object.entries(same)) if (!fine) throw new Rejected(`admission.${name}`, `statement and document differ in ${name}`);
  return told;
}

/* --- whether it holds (§3(6), §5(4)) --- */

const reject = (about, says) => {
  throw new Rejected(`admission.${about}`, says);
};

/* A host as TLS names it; null for an address, which it does not name. */
const hostName = (host) => (host.startsWith("[") || /^[0-9.]+(?::[0-9]+)?$/.test(host) ? null : host.split(":")[0]);

function checkSession(session, host, { pins }) {
  const vouched = session !== null && session.roots !== null && session.sni === hostName(host);
  if (!vouched) reject("certificate", "nothing vouches for the peer as the host that was asked");
  if (session.chain !== null && session.chain[0] !== session.certificate) reject("certificate", "the peer's chain begins with another certificate than its own");
  if (pins.length && !pins.includes(session.spki)) reject("certificate", "the peer's key is none of those that the definition names");
}

function checkAnswer({ http: { status, hosts }, request: { host }, tls: session, limits: asked }) {
  if (status < 200 || status > 299) reject("status", `the source answered with status ${status}`);
  if (hosts.some((other) => other !== host)) reject("redirected", "the answer came from another host than was asked");
  if (session !== null || asked.pins.length) checkSession(session, host, asked);
}

function checkTimes({ at }, { times: { requested, firstByte, source: told }, limits: asked, freshUntil }) {
  if (requested > firstByte || firstByte > at) reject("times", "what was asked, what came and what was decided are out of order");
  if (told !== null && told - firstByte > 1000 * asked.skew_s) reject("clock_skew", "the source's time lies in the future");
  if (at > freshUntil) reject("stale", "the value was too old when it was admitted");
}

/** Refuses what was admitted against its own rules; `definition` is the text of the source's, or null where it is not shown. */
export function checkObservation(document, definition) {
  const seen = document.observation;
  if (seen === null) return;
  if (definition !== null && hex(sha256(utf8(definition))) !== seen.source.definition) reject("definition", "the definition that is shown is not the one that was used");
  if (document.event !== "admitted") return;
  if (seen.http !== null) checkAnswer(seen);
  else if (seen.limits.pins.length) reject("certificate", "there is no session that could be of a key that is asked for");
  checkTimes(document, seen);
  if (seen.limits.range !== null && !within(seen.extraction.value, seen.limits.range)) reject("range", "the value is no number in the range that the definition allows");
}

/* How a quorum names one admission. */
function namedAs({ statement, document }) {
  const { observation: seen, refusal: why, asOf: from, freshUntil, value } = document;
  if (seen === null) reject("observation", "a quorum combines answers of sources, and no other quorum");
  return { statement: statement.digest, node: statement.attester, source: seen.source.id, definition: seen.source.definition, asOf: from, until: freshUntil, value, refusal: why?.code ?? null };
}

/** Refuses a quorum that its observations do not come to, or one that is not what its own document says; `shown` gives those by statement. */
export function checkQuorum({ quorum: several }, shown) {
  if (several === null) return;
  const { rule, observations, outcome, counting } = several;
  if (spelled(applied(rule, counting.map((row) => row.value))) !== spelled(outcome)) reject("rule", "the observations do not come to this by the rule");
  for (const row of observations) {
    const found = shown.get(row.statement);
    if (found && spelled(namedAs(found)) !== spelled(row)) reject("observation", "an observation is not what its own admission says");
  }
}

/* --- blocks (§8) --- */

const HIDDEN = /[<>&\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e0fff}]/gu;
const BLOCK = /<admission ([0-9a-f]{64})>\n([^\n<>]*)\n<\/admission>/g;
const CITATION = /\[admission:([0-9a-f]{8,64})\]/g;

const escaped = (character) => [...Array(character.length).keys()].map((at) => `\\u${character.charCodeAt(at).toString(16).padStart(4, "0")}`).join("");
const asTime = (at) => (at === null ? null : timeText(at));

function told({ observation: seen, quorum: several, refusal: why, asOf: from, value }) {
  if (why) return { refused: why.code, source: seen.source.id };
  if (!several) return { as_of: asTime(from), source: seen.source.id, value };
  const sources = [...new Set(several.observations.map((row) => row.source))].sort();
  const common = { as_of: asTime(from), rule: several.rule.kind, sources };
  if (several.outcome.agreed) return { ...common, value };
  return { ...common, disagreed: several.counting.map((row) => ({ as_of: asTime(row.asOf), source: row.source, value: row.value })) };
}

/** The block of an admission: what a prompt holds of it, byte by byte. */
export const blockOf = (document, digest) => `<admission ${digest}>\n${spelled(told(document)).replace(HIDDEN, escaped)}\n</admission>`;

/** The blocks of a text: `{digest, text}`. */
export const blocksIn = (text) => [...text.matchAll(BLOCK)].map(([whole, digest]) => ({ digest, text: whole }));

/** What an answer cites of the admissions that are `named`: by the digits of each citation the one that it is of, or null. */
export function citedIn(texts, named) {
  const found = new Map();
  for (const [, digits] of texts.flatMap((text) => [...text.matchAll(CITATION)])) {
    const fits = named.filter((digest) => digest.startsWith(digits));
    found.set(digits, fits.length === 1 ? fits[0] : null);
  }
  return found;
}
