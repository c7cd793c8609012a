/* Bundles in their form (bundle.md §1, §2), within their limits. */

import { Malformed } from "./answers.js";
import { hex, hexText, text, time, unbase64, unhex, utf8 } from "./bytes.js";
import { readDecision } from "./decisions.js";
import { readAdmission } from "./documents/admission.js";
import { readChange } from "./documents/change.js";
import { readFile } from "./documents/file.js";
import { readPayment } from "./documents/payment.js";
import { readProof } from "./documents/proof.js";
import { readRecall } from "./documents/recall.js";
import { sha256 } from "./hashes.js";
import { Numeral, canonical, exactly, object, parse, plain } from "./json.js";
import { readMark } from "./marks.js";
import { DOCUMENTS, readPart } from "./parts.js";
import { atOnce } from "./pauses.js";
import { readCandidate, readFinality, readVerdict } from "./rounds.js";
import { isCode, isRun, readCommitment, readStatement } from "./statements.js";

export const LARGEST = 67_108_864;
const MOST_ITEMS = 65_536;
const MOST = {
  statement: 1024,
  checkpoint: 1024,
  commitment: 1024,
  decision: 1024,
  payment: 1024,
  admission: 1024,
  recall: 16,
  file: 16,
  policy: 4,
  candidate: 4096,
  finality: 256,
  attestation: 64,
  change: 64,
  document: 16,
  proof: 4,
};
const MOST_MESSAGES = 64;
const LONGEST_PATH = 64;

const refuse = (about, says) => {
  throw new Malformed(`bundle.${about}`, says);
};

function number(value, least = 0) {
  const found = value instanceof Numeral ? value.integer : null;
  if (found === null || found < least) refuse("number", `expected an integer of at least ${least}`);
  return found;
}

function string(value) {
  if (typeof value !== "string") refuse("text", "expected a string");
  return value;
}

function array(value) {
  if (!Array.isArray(value)) refuse("array", "expected an array");
  return value;
}

function path(value, code = "bundle.proof") {
  if (!Array.isArray(value) || value.length > LONGEST_PATH) throw new Malformed(code, `a path has at most ${LONGEST_PATH} hashes`);
  return value.map((hash) => hexText(hash));
}

function address(value) {
  if (typeof value !== "string" || !value.startsWith("0x")) throw new Malformed("encoding.hex", "an address is 0x and lower-case hex");
  hexText(value.slice(2), 20);
}

function batchPath(value) {
  if (value === null) return null;
  exactly(value, ["index", "proof"], "decision.path");
  const index = value.index instanceof Numeral ? value.index.integer : null;
  if (index === null || index < 0) throw new Malformed("decision.path", "an index counts from 0");
  return { index, proof: path(value.proof, "decision.path") };
}

/* What opens a record: a document, what it tells once it is read, and its salt. */
function opening(item, read) {
  const document = string(item.document);
  const told = read(utf8(document));
  return { digest: hexText(item.digest), document, told, salt: unhex(item.salt, 32) };
}

function silence(item) {
  const silent = array(item.silent);
  const asked = number(item.asked, 1);
  if (!silent.every(isCode) || silent.some((name, at) => at && silent[at - 1] >= name)) refuse("fields", "names are codes, ascending, each once");
  if (asked > 64 || silent.length > asked) refuse("count", "more are silent than were asked, or too many were asked");
  return { silent, asked };
}

const OPENING = ["digest", "document", "salt"];

/* Kind by kind: members besides kind and at, and how they are read. */
const KINDS = {
  statement: [["envelope"], (item) => ({ statement: readStatement(canonical(plain(item.envelope))) })],
  parts: [["parts"], (item) => ({ parts: array(item.parts).map(readPart) })],
  document: [
    ["document", "text", "secret"],
    (item) => {
      if (!DOCUMENTS.includes(item.document)) refuse("fields", "a document is request, sent or response");
      return { document: item.document, text: string(item.text), secret: unhex(item.secret, 32) };
    },
  ],
  mark: [["mark"], (item) => ({ mark: readMark(item.mark) })],
  attestation: [
    ["node", "format", "evidence"],
    (item) => {
      if (!isCode(item.format)) refuse("fields", "a format is a code");
      return { node: hexText(item.node), format: item.format, evidence: unbase64(item.evidence) };
    },
  ],
  entry: [["digest", "index"], (item) => ({ digest: hexText(item.digest), index: number(item.index) })],
  inclusion: [
    ["digest", "index", "size", "proof"],
    (item) => ({ digest: hexText(item.digest), index: number(item.index), size: number(item.size), proof: path(item.proof) }),
  ],
  checkpoint: [["note"], (item) => ({ note: utf8(string(item.note)) })],
  commitment: [
    ["entry", "salt"],
    (item) => {
      const entry = unbase64(item.entry);
      const commitment = readCommitment(entry);
      if (commitment === null) throw new Malformed("commitment.fields", "not a commitment");
      return { entry, commitment, digest: hex(sha256(entry)), salt: unhex(item.salt, 32) };
    },
  ],
  candidate: [["round"], (item) => ({ round: readCandidate(plain(object(item.round, "round.fields"))) })],
  votes: [
    ["number", "attempt", "voters"],
    (item) => {
      const voters = array(item.voters);
      if (voters.length > MOST_MESSAGES) refuse("count", "an epoch has at most 64 members");
      voters.forEach(address);
      return { number: number(item.number, 1), attempt: number(item.attempt), voters };
    },
  ],
  verdict: [
    ["number", "index", "digest", "code", "position", "size", "proof"],
    (item) => ({
      number: number(item.number, 1),
      ...readVerdict({ digest: item.digest, code: item.code, index: number(item.index), position: number(item.position), size: number(item.size), proof: path(item.proof) }),
    }),
  ],
  finality: [
    ["round", "messages"],
    (item) => {
      const messages = array(item.messages);
      if (messages.length > MOST_MESSAGES) refuse("count", "an epoch has at most 64 members");
      return { round: readCandidate(plain(object(item.round, "round.fields"))), messages: messages.map((message) => readFinality(plain(object(message, "round.fields")))) };
    },
  ],
  decision: [[...OPENING, "path"], (item) => ({ ...opening(item, readDecision), path: batchPath(item.path) })],
  payment: [OPENING, (item) => opening(item, readPayment)],
  admission: [[...OPENING, "definition"], (item) => ({ ...opening(item, readAdmission), definition: item.definition === null ? null : string(item.definition) })],
  proof: [OPENING, (item) => opening(item, readProof)],
  change: [OPENING, (item) => opening(item, readChange)],
  recall: [OPENING, (item) => opening(item, readRecall)],
  policy: [OPENING, (item) => opening(item, () => null)],
  file: [
    ["digest", "document"],
    (item) => {
      const document = string(item.document);
      return { digest: hexText(item.digest), document, told: readFile(utf8(document)) };
    },
  ],
  silence: [["silent", "asked"], silence],
  note: [
    ["code"],
    (item) => {
      if (!isCode(item.code)) refuse("fields", "a note is a code");
      return { code: item.code };
    },
  ],
};

function readItem(value, counts) {
  object(value, "bundle.fields");
  if (!Object.hasOwn(KINDS, value.kind ?? "")) refuse("kind", "unknown kind of evidence");
  const { kind } = value;
  const [members, read] = KINDS[kind];
  exactly(value, ["kind", "at", ...members], "bundle.fields");
  counts[kind] = (counts[kind] ?? 0) + 1;
  if (counts[kind] > (MOST[kind] ?? MOST_ITEMS)) refuse("count", `a journal has at most ${MOST[kind]} items of kind ${kind}`);
  return { kind, at: time(value.at), ...read(value) };
}

/** Reads a bundle item by item, so that whoever reads a large one can pause in between; returns it at the end. */
export function* readBundleSlowly(bytes) {
  if (bytes.length > LARGEST) refuse("size", `a bundle has at most ${LARGEST} bytes`);
  const value = exactly(parse(text(bytes)), ["type", "run", "exported_at", "journal"], "bundle.fields");
  if (value.type !== "urn:holdfast:bundle:v1") refuse("fields", "not a bundle");
  if (!isRun(value.run)) refuse("run", "run is a run id");
  const exportedAt = time(value.exported_at);
  if (array(value.journal).length > MOST_ITEMS) refuse("count", `a journal has at most ${MOST_ITEMS} items`);
  const counts = {};
  const journal = [];
  for (const item of value.journal) {
    journal.push(readItem(item, counts));
    yield journal.length;
  }
  return { run: value.run, exportedAt, journal, digest: hex(sha256(bytes)), size: bytes.length };
}

export const readBundle = (bytes) => atOnce(readBundleSlowly(bytes));
