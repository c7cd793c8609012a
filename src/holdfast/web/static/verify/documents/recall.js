/* Recall documents in their form, held against their statement and against what stood before the model (recall.md §1, §3, §4). */

import { Malformed, Rejected } from "../answers.js";
import { concat, hex, hexText, time, unhex, utf8 } from "../bytes.js";
import { expand, sha256 } from "../hashes.js";
import { exactly, isObject, parseCanonical } from "../json.js";
import { runKey } from "../parts.js";
import { characters, recordOf } from "../records.js";
import { isRun } from "../statements.js";

const LARGEST = 262_144;
const MINUTE = 60_000;
const DAY = 86_400;
const MOST_ROWS = 64;
const LONGEST_QUERY = 8192;
const MEMBERS = ["type", "run", "at", "query", "index", "policy", "found", "rows", "kept_out", "not_evidence_of"];
const ROW = ["row", "claim", "head", "standing", "authority", "sources", "age_s", "earned_s", "rank", "scores", "path"];
const SCORES = ["vector", "words", "time", "standing", "total"];
const FACTS = ["aging", "earned"];
/** How a row can stand, best first, and whose word one can be, weakest first (memory.md §1). */
const STANDINGS = ["earned", "aging", "background", "contradicted", "withdrawn"];
const WRITERS = ["imported", "model_inferred", "tool_returned", "data_admitted", "user_said"];
const SOURCES = ["admission", "import", "messages", "owner", "row", "run"];
const PATHS = ["hop", "vector", "words"];
const NOT_EVIDENCE_OF = ["artifact", "computation", "enclave", "inputs", "judgement", "payment", "settlement"];

const refuse = (about, says) => {
  throw new Malformed(`recall_document.${about}`, says);
};

const members = (value, names) => exactly(value, names, "recall_document.fields");
const oneOf = (value, words) => (words.includes(value) ? value : refuse("fields", `expected one of ${words.join(", ")}`));

function count(value, least = 0, most = Number.MAX_SAFE_INTEGER) {
  if (!Number.isSafeInteger(value) || value < least || value > most) refuse("fields", "a number is a whole one within its bounds");
  return value;
}

function list(value, most) {
  if (!Array.isArray(value) || value.length > most) refuse("fields", `there are at most ${most} of these`);
  return value;
}

/* Sorted words, each once, at least one. */
function some(value, words) {
  const good = Array.isArray(value) && value.length && value.every((item, at) => words.includes(item) && (!at || value[at - 1] < item));
  if (!good) refuse("fields", "expected sorted words, each once");
  return value;
}

const rowId = (value) => (typeof value === "string" && /^mem_[0-9a-f]{32}$/.test(value) ? value : refuse("fields", "row is a row's id"));

function index(value) {
  members(value, ["version", "model", "rows"]);
  return { version: hexText(value.version), model: hexText(value.model), rows: count(value.rows) };
}

function policy(value) {
  members(value, ["standings", "most", "most_bytes"]);
  return { standings: some(value.standings, FACTS), most: count(value.most, 1, MOST_ROWS), mostBytes: count(value.most_bytes, 1, 262_144) };
}

function carried(value) {
  members(value, ROW);
  members(value.scores, SCORES);
  for (const name of SCORES) count(value.scores[name], 0, 1_000_000);
  oneOf(value.authority, WRITERS);
  some(value.sources, SOURCES);
  some(value.path, PATHS);
  rowId(value.row);
  for (const name of ["claim", "head"]) hexText(value[name]);
  oneOf(value.standing, STANDINGS);
  for (const name of ["age_s", "rank"]) count(value[name]);
  if (value.earned_s !== null) count(value.earned_s);
  return value;
}

function keptOut(value) {
  members(value, ["row", "standing", "age_s", "rank", "why"]);
  oneOf(value.why, ["room", "standing"]);
  rowId(value.row);
  oneOf(value.standing, STANDINGS);
  for (const name of ["age_s", "rank"]) count(value[name]);
  return value;
}

const rises = (list) => list.every((item, at) => !at || list[at - 1] <= item);

/* §3(4): nothing between two ranks is left unsaid. */
function checkOrder({ rows, kept, found }) {
  const [carriedAt, keptAt] = [rows, kept].map((items) => items.map(({ rank }) => rank));
  if (!rises(carriedAt) || !rises(keptAt)) refuse("order", "rows stand in the order of their ranks");
  const ranks = [...carriedAt, ...keptAt].sort((left, right) => left - right);
  const ids = new Set([...rows, ...kept].map(({ row }) => row));
  if (ranks.some((rank, at) => rank !== at + 1) || ids.size < ranks.length || ranks.length > found) refuse("order", "each rank from 1 on is one row's, and each row has one");
  if (ranks.length < found && kept.length < MOST_ROWS) refuse("order", "a row that was found is told, while there is room to tell");
  if (!rises(rows.map(({ scores }) => -scores.total))) refuse("order", "what scores more comes first");
}

/* §3(5). */
function checkPolicy({ rows, kept, policy: { standings, most } }) {
  if (rows.some(({ standing }) => !standings.includes(standing)) || rows.length > most) refuse("policy", "a row was carried in that the policy keeps out");
  if (kept.some(({ why, standing }) => (why === "room") !== standings.includes(standing))) refuse("policy", "a row is kept out by its standing or for want of room");
}

/** A document of its exact bytes. */
export function readRecall(bytes) {
  if (bytes.length > LARGEST) refuse("size", `a recall document has at most ${LARGEST} bytes`);
  const value = members(parseCanonical(bytes), MEMBERS);
  if (value.type !== "urn:holdfast:recall:v1" || !isRun(value.run)) refuse("fields", "not a recall document");
  if (!Array.isArray(value.not_evidence_of) || value.not_evidence_of.join() !== NOT_EVIDENCE_OF.join()) refuse("fields", "a recall says what it is not evidence of, all of it, sorted");
  const document = {
    run: value.run,
    at: time(value.at),
    query: hexText(value.query),
    index: index(value.index),
    policy: policy(value.policy),
    found: count(value.found),
    rows: list(value.rows, MOST_ROWS).map(carried),
    kept: list(value.kept_out, MOST_ROWS).map(keptOut),
  };
  checkOrder(document);
  checkPolicy(document);
  return document;
}

const reject = (about, says) => {
  throw new Rejected(`recall_document.${about}`, says);
};

const minuteOf = (at) => at - (((at % MINUTE) + MINUTE) % MINUTE);

/** Refuses a document that is not what a statement commits to, or tells of something else (§3(6)). */
export function checkRecall(statement, { document, salt, told }) {
  if (statement.kind !== "recall" || recordOf("recall", salt, document) !== statement.record) reject("record", "the statement commits to another document");
  if (told.run !== statement.run) reject("run", "the document is of another run");
  if (told.index.model !== statement.model) reject("model", "the document names another model");
  const coarse = minuteOf(statement.claimedAt) === statement.claimedAt;
  if (statement.claimedAt < (coarse ? minuteOf(told.at) : told.at)) reject("at", "the statement claims a time before the search");
  return told;
}

/* --- salted digests (§3(1)) --- */

const salt = (key, name) => expand(key, utf8(`holdfast/salt/v1/${name}`), 32);
const salted = (key, name, kind, text) => hex(sha256(concat(utf8(`urn:holdfast:recall-${kind}:v1`), Uint8Array.of(0), salt(key, name), utf8(text))));

/** What salts the digests of a recall, of a run and its secret. */
export const recallKey = (run, secret) => salt(runKey(run, secret), "recall");

function textOf(content) {
  if (typeof content === "string") return content;
  const parts = Array.isArray(content) ? content.filter((part) => isObject(part) && typeof part.text === "string") : [];
  return parts.map(({ text }) => text).join("\n");
}

/* What a memory is searched for on behalf of a request (§3(2)); empty where it asks nothing. */
function queryOf(request) {
  const messages = isObject(request) && Array.isArray(request.messages) ? request.messages : [];
  const asked = messages.findLast((message) => isObject(message) && message.role === "user");
  const text = asked ? textOf(asked.content) : "";
  return characters(text) > LONGEST_QUERY ? [...text].slice(-LONGEST_QUERY).join("") : text;
}

/** Refuses a document of a search for something else than the request asks. */
export function checkQuery({ query }, request, key) {
  const asked = queryOf(request);
  if (asked === "" || salted(key, "query", "query", asked) !== query) reject("query", "memory was searched for something else than the request asks");
}

/* The attributes of a row's block (§4(1)). */
const marksOf = ({ age_s: age, authority, row, standing }) => ({ age_days: `${Math.floor(age / DAY)}`, authority, row, standing });
const inOrder = (attributes) => JSON.stringify(Object.entries(attributes).sort(([left], [right]) => (left < right ? -1 : 1)));

/** Refuses blocks that are not those of the rows, both ways; with the key of `recallKey` also what each says (§4(2)). */
export function checkRows({ rows }, blocks, key) {
  const shown = blocks.filter(({ kind }) => kind === "memory");
  if (shown.length !== rows.length || rows.some((row, at) => inOrder(marksOf(row)) !== inOrder(shown[at].attributes))) reject("context", "the rows before the model are not those of the recall");
  for (const [at, { row, claim }] of rows.entries()) if (key !== null && salted(key, `row/${row}`, "claim", shown[at].text) !== claim) reject("claim", "a row before the model says something else than the recall's");
}

/** The row that stands worst, of these the one by the weakest writer, of these the oldest; undefined where there is none. */
export function weakestOf({ rows }) {
  const weakness = ({ standing, authority, age_s: age }) => [STANDINGS.indexOf(standing), -WRITERS.indexOf(authority), age];
  const worse = (left, right) => {
    const [one, other] = [weakness(left), weakness(right)];
    const at = one.findIndex((item, place) => item !== other[place]);
    return at >= 0 && one[at] > other[at];
  };
  return rows.reduce((weakest, row) => (weakest && !worse(row, weakest) ? weakest : row), undefined);
}
