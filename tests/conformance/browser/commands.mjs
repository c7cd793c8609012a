/* The commands of PROTOCOL.md that the verifier of the pages can answer: words and files in, an answer out.

   `read(name)` gives the bytes of a file. It runs wherever the modules run: under Node.js (client.mjs) and in a browser. A command
   that is not here is a wrong command line, never an answer. */

import { readResponse } from "../../../src/holdfast/web/static/seal/bhttp.js";
import { encapsulate, openChunks, openWhole, readConfiguration, readKeys, suiteName } from "../../../src/holdfast/web/static/seal/ohttp.js";
import { Malformed, Refusal, Rejected, Undecided } from "../../../src/holdfast/web/static/verify/answers.js";
import { appraiseSlowly } from "../../../src/holdfast/web/static/verify/appraise.js";
import { readBundle } from "../../../src/holdfast/web/static/verify/bundle.js";
import { splitCertificates } from "../../../src/holdfast/web/static/verify/attestation/certificates.js";
import { appraiseEvidence, verifyEvidence } from "../../../src/holdfast/web/static/verify/attestation/evidence.js";
import { base64, concat, equal, hex, text, time, timeText, unbase64, unhex } from "../../../src/holdfast/web/static/verify/bytes.js";
import { Entries, refusalAt } from "../../../src/holdfast/web/static/verify/checks.js";
import { readDecision } from "../../../src/holdfast/web/static/verify/decisions.js";
import { checkObservation, checkQuorum, readAdmission } from "../../../src/holdfast/web/static/verify/documents/admission.js";
import { checkChange, checkHistory, readChange } from "../../../src/holdfast/web/static/verify/documents/change.js";
import { elementOf, quantised } from "../../../src/holdfast/web/static/verify/documents/circuit.js";
import { readContext } from "../../../src/holdfast/web/static/verify/documents/context.js";
import { chunksOf, readFile } from "../../../src/holdfast/web/static/verify/documents/file.js";
import { readInference, tensorOf } from "../../../src/holdfast/web/static/verify/documents/inference.js";
import { checkAmounts, readPayment } from "../../../src/holdfast/web/static/verify/documents/payment.js";
import { checkProof, readProof } from "../../../src/holdfast/web/static/verify/documents/proof.js";
import { readRecall } from "../../../src/holdfast/web/static/verify/documents/recall.js";
import { Fold } from "../../../src/holdfast/web/static/verify/fold.js";
import { sha256 } from "../../../src/holdfast/web/static/verify/hashes.js";
import { exactly, parse, parseCanonical, plain } from "../../../src/holdfast/web/static/verify/json.js";
import { readKeyDocument } from "../../../src/holdfast/web/static/verify/keys.js";
import { MessageFold } from "../../../src/holdfast/web/static/verify/message_fold.js";
import { MarkChain } from "../../../src/holdfast/web/static/verify/marks.js";
import { extendsTree, hashes, leafHash, leads } from "../../../src/holdfast/web/static/verify/merkle.js";
import { checkCheckpoint, checkExtension, readNoteKey } from "../../../src/holdfast/web/static/verify/notes.js";
import { DOCUMENTS, checkPart, mapParts, readPart, runKey, tree } from "../../../src/holdfast/web/static/verify/parts.js";
import { atOnce } from "../../../src/holdfast/web/static/verify/pauses.js";
import { LANES, readPolicy, readRequirement } from "../../../src/holdfast/web/static/verify/policy.js";
import { checkCandidate, checkFinality, checkVerdict, isOffence, memberOf, readCandidate, readFinality, readVerdict, readVote } from "../../../src/holdfast/web/static/verify/rounds.js";
import { isRun, readStatement } from "../../../src/holdfast/web/static/verify/statements.js";
import { readMeasurement, readTrust } from "../../../src/holdfast/web/static/verify/trust.js";

export class Usage extends Error {}

const fail = (says) => {
  throw new Usage(says);
};

/* Options come before files; `many` are those that may be said again. */
function options(words, known, many = []) {
  const found = {};
  let at = 0;
  while (words[at]?.startsWith("--")) {
    const name = words[at].slice(2);
    if (!known.includes(name) || words[at + 1] === undefined || (name in found && !many.includes(name))) fail(`--${name}`);
    if (many.includes(name)) found[name] = [...(found[name] ?? []), words[at + 1]];
    else found[name] = words[at + 1];
    at += 2;
  }
  return [found, words.slice(at)];
}

const need = (found, ...names) => names.every((name) => name in found) || fail(`needs ${names.join(", ")}`);
const one = (files) => (files.length === 1 ? files[0] : fail("one file"));
const json = (bytes, names, code = "json.object") => exactly(plain(parse(bytes)), names, code);
const lines = (bytes) => text(bytes).split("\n").filter((line) => line !== "");
const shown = (parts) => parts.map((part) => [part.label, text(part.bytes)]);

/* The trust file that was walked last: cases in a row mostly share one. */
let walked = { bytes: null, trust: null };

function trustOf(found, read) {
  const bytes = read(found.trust);
  if (walked.bytes === null || !equal(walked.bytes, bytes)) walked = { bytes, trust: readTrust(bytes) };
  return walked.trust;
}

/* A key pair of WebCrypto's, of a private key in hex: for these cases alone. */
async function pairOf(secret) {
  const pkcs8 = concat(unhex("302e020100300506032b656e04220420"), unhex(secret, 32));
  const privateKey = await crypto.subtle.importKey("pkcs8", pkcs8, { name: "X25519" }, true, ["deriveBits"]);
  const { x } = await crypto.subtle.exportKey("jwk", privateKey);
  return { privateKey, bytes: unbase64(`${x.replaceAll("-", "+").replaceAll("_", "/")}=`, 32) };
}

const all = async (source) => {
  const found = [];
  for await (const piece of source) found.push(piece);
  return found;
};
const uncoded = (name) => name === "aes-128-gcm" || fail("a page has AES-128-GCM alone");

/* A document by itself: what it says, and whether it holds. */
function admitted(bytes) {
  const document = readAdmission(bytes);
  checkObservation(document, null);
  checkQuorum(document, new Map());
}

const DECODE = {
  "admission-document": admitted,
  "artifact-change": readChange,
  context: (bytes) => readContext(text(bytes)),
  "decision-document": readDecision,
  "file-document": readFile,
  "payment-document": (bytes) => checkAmounts(readPayment(bytes)),
  "proof-document": readProof,
  "recall-document": readRecall,
  hex: (bytes) => unhex(text(bytes)),
  base64: (bytes) => unbase64(text(bytes)),
  time: (bytes) => time(text(bytes)),
  json: (bytes) => parse(bytes),
  canonical: (bytes) => parseCanonical(bytes),
  vkey: (bytes) => readNoteKey(text(bytes)),
  "key-document": (bytes) => readKeyDocument(bytes),
};

const COMMANDS = {
  "read-ohttp-keys"(words, read) {
    const found = readKeys(read(one(words)));
    return { keys: found.map((item) => [item.id, hex(item.key), suiteName(item)]) };
  },

  async "seal-ohttp-request"(words, read) {
    const [found, files] = options(words, ["suite", "ephemeral", "configuration"]);
    need(found, "suite", "ephemeral", "configuration");
    uncoded(found.suite);
    const { bytes } = await encapsulate(readConfiguration(read(found.configuration)), await pairOf(found.ephemeral), read(one(files)));
    return { message: base64(bytes) };
  },

  async "open-ohttp-response"(words, read) {
    const [found, files] = options(words, ["suite", "ephemeral", "configuration", "request", "form"]);
    need(found, "suite", "ephemeral", "configuration", "request", "form");
    uncoded(found.suite);
    if (found.request !== "single") fail("a page asks in one piece");
    const { context } = await encapsulate(readConfiguration(read(found.configuration)), await pairOf(found.ephemeral), new Uint8Array(0));
    const sealed = read(one(files));
    const chunks = found.form === "chunked" ? await all(openChunks(context, [sealed])) : [await openWhole(context, sealed)];
    return { chunks: chunks.map(base64) };
  },

  async "read-binary-http"(words, read) {
    const [kind, name] = words;
    if (kind !== "response") fail("a page reads answers");
    const found = await readResponse([read(name)]);
    const pieces = await all(found.pieces());
    return { status: found.status, fields: found.fields, informational: found.early, trailers: found.trailers, content: base64(concat(...pieces)) };
  },

  decode(words, read) {
    const [kind, name, more] = words;
    if (!Object.hasOwn(DECODE, kind ?? "") || name === undefined || more !== undefined) fail("decode KIND FILE");
    DECODE[kind](read(name));
    return {};
  },

  "map-parts"(words, read) {
    const [found, files] = options(words, ["document", "run", "secret"]);
    need(found, "document", "run", "secret");
    if (!DOCUMENTS.includes(found.document) || !isRun(found.run)) fail("--document, --run");
    const { root, size, parts } = tree(parse(read(one(files))), found.document, runKey(found.run, unhex(found.secret, 32)));
    return { root, size, parts: shown(parts) };
  },

  "verify-part"(words, read) {
    const [found, files] = options(words, ["root", "size"]);
    need(found, "root", "size");
    const part = readPart(parse(read(one(files))));
    checkPart(part, found.root, Number(found.size));
    return { label: part.label };
  },

  fold(words, read) {
    const [found, files] = options(words, ["endpoint"]);
    const fold = found.endpoint === "messages" ? new MessageFold() : new Fold();
    for (const line of lines(read(one(files)))) fold.add(parse(line));
    return { parts: shown(mapParts(fold.document(), "response")) };
  },

  async "verify-marks"(words, read) {
    const [found, files] = options(words, ["run", "secret", "key-document"]);
    need(found, "run", "secret", "key-document");
    const key = readKeyDocument(read(found["key-document"])).key("statement");
    const chain = new MarkChain(found.run, unhex(found.secret, 32), key);
    for (const line of lines(read(one(files)))) await chain.add(parse(line));
    return { seq: chain.seq, parts: hex(chain.parts), covered: chain.covered };
  },

  "parse-statement"(words, read) {
    const { kind, digest, run, attester } = readStatement(read(one(words)));
    return { kind, digest, run, attester };
  },

  "file-chunks"(words, read) {
    return { chunks: chunksOf(readFile(read(one(words)))).map(({ page, start, end }) => [page, start, end]) };
  },

  "read-inference"(words, read) {
    const [found, files] = options(words, ["input"], ["input"]);
    const declared = new Map((found.input ?? []).map((item) => item.split("=")));
    const { model, mode, items } = readInference(parse(read(one(files))));
    const shownAs = ({ dtype, shape, bytes, strings }) => [dtype, shape, strings ?? hex(bytes)];
    const typeOf = (name) => declared.get(name) ?? fail("an input that is not declared");
    return { model, mode, inputs: items.map((item) => Object.fromEntries([...item].map(([name, given]) => [name, shownAs(tensorOf(given, typeOf(name)))]))) };
  },

  "circuit-numbers"(words, read) {
    const [found, files] = options(words, ["scale"]);
    need(found, "scale");
    return { instances: parse(read(one(files))).map((number) => elementOf(quantised(Number(number.text), Number(found.scale)))) };
  },

  "verify-proof"(words, read) {
    const [found, files] = options(words, ["computed", "proved", "salt"]);
    need(found, "computed", "proved", "salt");
    const bytes = read(one(files));
    const [computed, proved] = [found.computed, found.proved].map((name) => readStatement(read(name)));
    const { instances, inputs } = checkProof(proved, computed, { document: text(bytes), salt: unhex(found.salt, 32), told: readProof(bytes) });
    return { instances: instances.length, inputs };
  },

  "verify-history"(words, read) {
    const { changes } = json(read(one(words)), ["changes"]);
    const list = changes.map(({ envelope, document, salt }) => {
      const [statement, bytes] = [readStatement(unbase64(envelope)), unbase64(document)];
      return { statement, change: checkChange(statement, { document: text(bytes), salt: unhex(salt, 32), told: readChange(bytes) }) };
    });
    checkHistory(list);
    const { change } = list.at(-1);
    return { label: change.label.name, artifact: change.artifact };
  },

  "verify-statement"(words, read) {
    const [found, files] = options(words, ["policy", "at", "trust"]);
    need(found, "policy", "at");
    const statement = readStatement(read(one(files)));
    if (!("trust" in found)) throw new Undecided("trust.missing");
    const why = refusalAt(statement, trustOf(found, read), readPolicy(read(found.policy)), time(found.at));
    if (why) throw new Rejected(`statement.${why}`);
    return {};
  },

  "verify-entries"(words, read) {
    const [found, files] = options(words, ["policy", "at", "trust"]);
    need(found, "policy", "at", "trust");
    const entries = new Entries(trustOf(found, read), readPolicy(read(found.policy)), time(found.at));
    const verdicts = lines(read(one(files))).map((line) => entries.verdict(new TextEncoder().encode(line)));
    const refuted = verdicts.find((verdict) => verdict.startsWith("refuted:"));
    return { verdicts, ...(refuted ? { refused: `statement.${refuted.slice(8)}` } : {}) };
  },

  "verify-trust"(words, read) {
    const [found, files] = options(words, ["pin", "accepted"]);
    const before = "accepted" in found ? readTrust(read(found.accepted)) : null;
    const accepted = before && { version: before.number, digest: before.digest };
    const trust = readTrust(read(one(files)), { pin: found.pin ?? null, accepted });
    return { version: trust.number, digest: trust.digest, pin: trust.pin, development: trust.development };
  },

  "verify-inclusion"(words, read) {
    const value = json(read(one(words)), ["entry", "index", "size", "proof", "root"]);
    const path = hashes(value.proof, "log.inclusion");
    if (!leads(leafHash(unbase64(value.entry)), value.index, value.size, path, unhex(value.root, 32))) throw new Rejected("log.inclusion");
    return {};
  },

  "verify-consistency"(words, read) {
    const value = json(read(one(words)), ["old_size", "old_root", "new_size", "new_root", "proof"]);
    const path = hashes(value.proof, "log.consistency");
    if (!extendsTree(value.old_size, unhex(value.old_root, 32), value.new_size, unhex(value.new_root, 32), path)) throw new Rejected("log.consistency");
    return {};
  },

  "verify-checkpoint"(words, read) {
    const [found, files] = options(words, ["origin", "key", "cosigner"], ["cosigner"]);
    need(found, "origin", "key");
    const cosigners = (found.cosigner ?? []).map(readNoteKey);
    const { size, root, cosignatures } = checkCheckpoint(read(one(files)), found.origin, readNoteKey(found.key), cosigners);
    const listed = cosignatures.map(({ key, time: seconds }) => [key.name, seconds]);
    return { size, root: hex(root), cosignatures: listed.sort(([left], [right]) => (left < right ? -1 : 1)) };
  },

  "verify-extension"(words, read) {
    const [found, files] = options(words, ["origin", "key", "old", "proof"]);
    need(found, "origin", "key", "old", "proof");
    const key = readNoteKey(found.key);
    const [older, newer] = [found.old, one(files)].map((name) => checkCheckpoint(read(name), found.origin, key));
    checkExtension(older, newer, plain(parse(read(found.proof))));
    return { size: newer.size };
  },

  "verify-candidate"(words, read) {
    const [found, files] = options(words, ["previous-size", "blob"]);
    need(found, "previous-size", "blob");
    const round = readCandidate(plain(parse(read(one(files)))));
    checkCandidate(round, read(found.blob), Number(found["previous-size"]));
    return { content: round.content };
  },

  "verify-vote"(words, read) {
    const [found, files] = options(words, ["trust"]);
    const vote = readVote(plain(parse(read(one(files)))));
    const { chain, members } = trustOf(found, read).bench(vote.origin, vote.number);
    return { signer: memberOf(vote, chain, members).signer };
  },

  "verify-verdict"(words, read) {
    const value = json(read(one(words)), ["index", "digest", "code", "position", "size", "proof", "verdict_root"]);
    checkVerdict(readVerdict(value), value.verdict_root);
    return {};
  },

  "verify-finality"(words, read) {
    const [found, files] = options(words, ["trust"]);
    const value = json(read(one(files)), ["round", "messages"]);
    const [round, messages] = [readCandidate(value.round), value.messages.map(readFinality)];
    const { chain, epoch, members } = trustOf(found, read).bench(round.origin, round.number);
    const { content, stakeFor, stakeTotal } = checkFinality(round, messages, chain, members, epoch.number);
    return { content, stake_for: stakeFor, stake_total: stakeTotal };
  },

  "verify-offence"(words, read) {
    const [found, files] = options(words, ["trust"]);
    const value = json(read(one(files)), ["offence", "first", "second"]);
    const form = { vote: readVote, finality: readFinality }[value.offence] ?? fail("offence");
    const [first, second] = [form(value.first), form(value.second)];
    const trust = trustOf(found, read);
    const [one_, other] = [first, second].map((message) => {
      const { chain, members } = trust.bench(message.origin, message.number);
      return memberOf(message, chain, members).signer;
    });
    if (one_ !== other || !isOffence(first, second)) throw new Rejected("round.no_offence");
    return { signer: one_ };
  },

  "verify-quote"(words, read) {
    const [found, files] = options(words, ["at", "roots", "collateral", "binding", "key-document", "nonce", "references"]);
    need(found, "at");
    const [format, name, more] = files;
    if (name === undefined || more !== undefined) fail("FORMAT FILE");
    const given = (option) => (option in found ? read(found[option]) : null);
    const roots = "roots" in found ? rootsOf(format, read(found.roots)) : [];
    const document = given("key-document");
    const key = document && readKeyDocument(document);
    const at = time(found.at);
    const references = "references" in found ? plain(parse(read(found.references))).map(readMeasurement) : null;
    const keyDocument = key && unhex(key.id);
    const claims = verifyEvidence(format, { evidence: read(name), collateral: given("collateral"), binding: given("binding") }, { roots, at, keyDocument });
    const nonce = "nonce" in found ? unhex(found.nonce) : null;
    const { told } = appraiseEvidence(claims, { keyDocument: key && key.id, nonce, references, roles: key && key.roles, start: at, end: at });
    return { ...claimed(claims), checks: told };
  },

  "check-policy"(words, read) {
    const { name, digest } = readPolicy(read(one(words)));
    return { name, digest };
  },

  "verify-bundle"(words, read) {
    const [found, files] = options(words, ["policy", "at", "trust", "known", "require"], ["require"]);
    need(found, "policy", "at");
    const required = (found.require ?? []).map((written) => readRequirement(written) ?? fail("--require"));
    const policy = readPolicy(read(found.policy));
    const bundle = readBundle(read(one(files)));
    const trust = "trust" in found ? trustOf(found, read) : null;
    const known = "known" in found ? Number(found.known) : bundle.journal.length;
    const result = atOnce(appraiseSlowly(bundle, trust, policy, time(found.at), known));
    return { ...end(result, trust, required), known: result.known, checks: result.checks, lanes: told(result.lanes) };
  },
};

/* Roots of a file: certificates, of a simulated enclave a key in base64. */
const rootsOf = (format, bytes) => (format === "insecure-dev" ? [unbase64(text(bytes).trim(), 32)] : splitCertificates(bytes));

/* Claims as the protocol names them. */
function claimed({ tee, root, debug, keyDocument, tls, hpke, nonce, madeAt, tcb, span, measurements }) {
  const moment = (at) => (at === null || !Number.isFinite(at) ? null : timeText(at));
  return { tee, root: root.digest, debug, key_document: keyDocument, tls_spki: tls, hpke, nonce, made_at: moment(madeAt), tcb, valid_from: moment(span.from), valid_until: moment(span.until), measurements };
}

const told = (lanes) => Object.fromEntries(LANES.map((name) => [name, [lanes[name].state, lanes[name].basis]]));

/* lanes.md §5. */
function end(result, trust, required) {
  const refuted = LANES.filter((name) => result.lanes[name].state === "refuted");
  if (refuted.length) return { refused: result.checks.find((check) => check.answer === "no" && check.code && check.lanes.some((name) => refuted.includes(name)))?.code ?? `lane.${refuted[0]}` };
  if (!trust) return { undecided: true };
  const open = required.filter(({ lane, state, basis }) => result.lanes[lane].state !== state || (basis && result.lanes[lane].basis !== basis));
  const contradicted = open.find(({ lane }) => !["pending", "unknown"].includes(result.lanes[lane].state));
  if (contradicted) return { refused: `require.${contradicted.lane}` };
  return open.length ? { undecided: true } : {};
}

function answered({ refused = null, undecided = false, ...rest }) {
  const verdict = refused ? "reject" : undecided ? "undecided" : "accept";
  return { verdict, code: refused, checks: [], ...rest };
}

const VERDICTS = [[Usage, "usage"], [Malformed, "malformed"], [Rejected, "reject"], [Undecided, "undecided"]];

/** The answer to one command line. */
export async function run(words, read) {
  try {
    const [name, ...rest] = words;
    if (!Object.hasOwn(COMMANDS, name ?? "")) fail("no such command here");
    return answered(await COMMANDS[name](rest, read));
  } catch (error) {
    if (!(error instanceof Usage || error instanceof Refusal)) throw error;
    const verdict = VERDICTS.find(([sort]) => error instanceof sort)[1];
    return { verdict, code: verdict === "undecided" ? null : error.code ?? null, checks: [], says: error.message };
  }
}
