/* Trust documents (trust.md): the only thing that admits. */

import { Malformed, Rejected, Undecided } from "./answers.js";
import { readReference } from "./attestation/reference.js";
import { hex, time, unbase64 } from "./bytes.js";
import { evmAddress } from "./curves.js";
import { readEnvelope } from "./dsse.js";
import { sha256 } from "./hashes.js";
import { exactly, isObject, parse, parseCanonical, plain } from "./json.js";
import { publicKey, readKeyDocument, signedBy } from "./keys.js";
import { COSIGNATURE, LOG, noteKey } from "./notes.js";
import { isOrigin, isQuorum } from "./rounds.js";
import { isCode } from "./statements.js";

const PAYLOAD_TYPE = "application/vnd.holdfast.trust+json";
const LARGEST = 16_777_216;
const MEMBERS = ["type", "version", "issued_at", "expires_at", "development", "root", "nodes", "logs", "epochs", "chains", "enclave_roots", "measurements"];
const KINDS = ["insecure-dev", "aws-nitro", "intel-dcap", "amd-sev-snp", "nvidia"];
const ROLES = ["data", "facilitator", "full", "gateway", "hub", "inference", "log", "memory", "panel", "relay"];

const refuse = (about, says) => {
  throw new Malformed(`trust.${about}`, says);
};

const isCount = (value, least) => Number.isSafeInteger(value) && value >= least;
const isDigest = (value) => typeof value === "string" && /^[0-9a-f]{64}$/.test(value);

function list(value, about, read) {
  if (!Array.isArray(value)) refuse(about, "expected a list");
  return value.map(read);
}

function flag(value, about) {
  if (typeof value !== "boolean") refuse(about, "expected true or false");
  return value;
}

function span(value) {
  const [from, until] = [time(value.valid_from), time(value.valid_until)];
  if (until <= from) refuse("span", "valid_until comes after valid_from");
  return { from, until };
}

function readRoot(value) {
  exactly(value, ["threshold", "keys"], "trust.root");
  const keys = list(value.keys, "root", (key) => {
    exactly(key, ["algorithm", "public"], "trust.root");
    if (key.algorithm !== "ed25519" && key.algorithm !== "p256") refuse("root", "root keys are ed25519 or p256");
    return publicKey(key.algorithm, key.public, "trust.root");
  });
  if (new Set(keys.map((key) => key.id)).size !== keys.length) refuse("root", "a root key occurs once");
  if (!isCount(value.threshold, 1) || value.threshold > keys.length) refuse("root", "the threshold is of the keys there are");
  return { threshold: value.threshold, keys };
}

function readRevocation(value) {
  if (value === null) return null;
  exactly(value, ["at", "suspect_since", "reason"], "trust.revocation");
  if (!isCode(value.reason)) refuse("revocation", "a reason is a code");
  return { at: time(value.at), suspectSince: time(value.suspect_since), reason: value.reason };
}

function readNode(value) {
  exactly(value, ["key_document", "valid_from", "valid_until", "revoked"], "trust.node");
  return { document: readKeyDocument(unbase64(value.key_document)), ...span(value), revoked: readRevocation(value.revoked) };
}

function readLog(value) {
  exactly(value, ["origin", "node", "valid_from", "valid_until"], "trust.log");
  if (!isOrigin(value.origin) || !isDigest(value.node)) refuse("log", "not an origin and a node");
  return { origin: value.origin, node: value.node, ...span(value) };
}

function readEpoch(value) {
  exactly(value, ["origin", "number", "first_round", "stakes", "valid_from", "valid_until"], "trust.epoch");
  if (!isOrigin(value.origin) || !isCount(value.number, 1) || !isCount(value.first_round, 1)) refuse("epoch", "not an epoch of an origin");
  const stakes = list(value.stakes, "epoch", (item) => {
    exactly(item, ["node", "stake"], "trust.epoch");
    if (!isDigest(item.node) || !isCount(item.stake, 1)) refuse("epoch", "a stake is a positive integer of a node");
    return { node: item.node, stake: item.stake };
  });
  if (new Set(stakes.map((item) => item.node)).size !== stakes.length) refuse("epoch", "a node has one stake");
  return { origin: value.origin, number: value.number, firstRound: value.first_round, stakes, ...span(value) };
}

function readChain(value) {
  exactly(value, ["origin", "chain_id", "contract", "finality_depth", "development"], "trust.chain");
  if (!isOrigin(value.origin) || !isCount(value.chain_id, 1) || !isCount(value.finality_depth, 0)) refuse("chain", "not a chain of an origin");
  if (typeof value.contract !== "string" || !/^0x[0-9a-f]{40}$/.test(value.contract)) throw new Malformed("encoding.hex", "an address is 0x and lower-case hex");
  return { origin: value.origin, chainId: value.chain_id, contract: value.contract, development: flag(value.development, "chain") };
}

function readEnclaveRoot(value) {
  exactly(value, ["kind", "certificate", "development"], "trust.enclave_root");
  if (!KINDS.includes(value.kind)) refuse("enclave_root", "unknown kind");
  const development = flag(value.development, "enclave_root");
  if (!development && value.kind === "insecure-dev") refuse("enclave_root", "a simulated enclave is marked as development");
  return { kind: value.kind, bytes: unbase64(value.certificate), development };
}

/** A measurement of a role, with the reference value in it. */
export function readMeasurement(value) {
  exactly(value, ["kind", "role", "value", "valid_from", "valid_until", "debug"], "trust.measurement");
  if (!KINDS.includes(value.kind) || !ROLES.includes(value.role) || !isObject(value.value)) refuse("measurement", "not a measurement of a role");
  return { kind: value.kind, role: value.role, reference: readReference(value.kind, value.value), debug: flag(value.debug, "measurement"), ...span(value) };
}

function ascending(epochs) {
  const last = new Map();
  for (const epoch of epochs) {
    const before = last.get(epoch.origin);
    if (before && (epoch.number <= before.number || epoch.firstRound <= before.firstRound)) refuse("epoch", "epochs of one origin ascend with their first rounds");
    last.set(epoch.origin, epoch);
  }
}

const once = (items, about, key) => {
  if (new Set(items.map(key)).size !== items.length) refuse(about, "it occurs once");
};

/** One version of its exact payload (§1). */
function readVersion(payload) {
  const value = exactly(parseCanonical(payload), MEMBERS, "trust.fields");
  if (value.type !== "urn:holdfast:trust:v1") refuse("fields", "not a trust version");
  if (!isCount(value.version, 1)) refuse("version", "versions count from 1");
  const version = {
    number: value.version,
    issuedAt: time(value.issued_at),
    expiresAt: time(value.expires_at),
    development: flag(value.development, "fields"),
    root: readRoot(value.root),
    nodes: list(value.nodes, "node", readNode),
    logs: list(value.logs, "log", readLog),
    epochs: list(value.epochs, "epoch", readEpoch),
    chains: list(value.chains, "chain", readChain),
    enclaveRoots: list(value.enclave_roots, "enclave_root", readEnclaveRoot),
    measurements: list(value.measurements, "measurement", readMeasurement),
    digest: hex(sha256(payload)),
  };
  if (version.expiresAt <= version.issuedAt) refuse("span", "it expires after it was issued");
  once(version.nodes, "node", (node) => node.document.id);
  once(version.logs, "log", (log) => log.origin);
  once(version.chains, "chain", (chain) => chain.origin);
  ascending(version.epochs);
  return version;
}

/* How many of a root's keys signed an envelope; each counts once (§2(5)). */
const count = (root, envelope) => root.keys.filter((key) => envelope.signatures.some((signature) => signedBy(key, signature, envelope.message))).length;

function checkThreshold(root, envelope, number) {
  const signed = count(root, envelope);
  if (signed < root.threshold) throw new Rejected("trust.threshold", `trust version ${number} has ${signed} of ${root.threshold} root signatures`);
}

/** Walk a trust file (§2). `pin` is the digest that version 1 must have; `accepted` what was accepted before, `{version, digest}`. */
export function readTrust(bytes, { pin = null, accepted = null } = {}) {
  if (bytes.length > LARGEST) refuse("size", `a trust file has at most ${LARGEST} bytes`);
  const file = exactly(plain(parse(bytes)), ["type", "versions"], "trust.fields");
  if (file.type !== "urn:holdfast:trust-chain:v1" || !Array.isArray(file.versions) || !file.versions.length) refuse("fields", "not a trust file");
  const envelopes = file.versions.map((item) => readEnvelope(item, PAYLOAD_TYPE, { fields: "trust.envelope", signatures: "trust.envelope" }));
  const versions = envelopes.map((envelope) => readVersion(envelope.payload));
  if (pin !== null && versions[0].digest !== pin) throw new Rejected("trust.pin", "the first trust version is not the pinned one");
  versions.forEach((version, at) => {
    if (version.number !== at + 1) throw new Rejected("trust.version", `version ${at + 1} is missing`);
    if (at) checkThreshold(versions[at - 1].root, envelopes[at], version.number);
    checkThreshold(version.root, envelopes[at], version.number);
  });
  if (accepted !== null) {
    if (accepted.version > versions.length) throw new Rejected("trust.rollback", `version ${accepted.version} was accepted before; this file ends earlier`);
    if (versions[accepted.version - 1].digest !== accepted.digest) throw new Rejected("trust.fork", `version ${accepted.version} differs from the one accepted before`);
  }
  return new Trust(versions.at(-1), versions[0].digest, pin === null ? "first-use" : "digest");
}

/** The version that decides, with the questions that a verifier asks of it. */
export class Trust {
  constructor(version, first, pin) {
    Object.assign(this, version);
    /** Digest of version 1, and how it was pinned. */
    this.first = first;
    this.pin = pin;
  }

  /** A node's admission by the digest of its key document, or null. */
  node(id) {
    return this.nodes.find((node) => node.document.id === id) ?? null;
  }

  chain(origin) {
    return this.chains.find((chain) => chain.origin === origin) ?? null;
  }

  /** The log of an origin with the note key that signs for it, or null. */
  log(origin) {
    const log = this.logs.find((candidate) => candidate.origin === origin);
    const node = log && this.node(log.node);
    const key = node?.document.key("log");
    return key ? { ...log, node, key: noteKey(origin, LOG, key.bytes) } : null;
  }

  /** The epoch of a round (§4): of that origin, the one with the greatest first round not above its number. */
  epochOf(origin, number) {
    return this.epochs.filter((epoch) => epoch.origin === origin && epoch.firstRound <= number).at(-1) ?? null;
  }

  /** The members of an epoch as round.md §4.3 counts them. A member without a vote key, or revoked, has stake and no voice. */
  members(epoch) {
    return epoch.stakes.map(({ node, stake }) => {
      const admitted = this.node(node);
      const vote = admitted?.document.roles.includes("full") ? admitted.document.key("vote") : null;
      const address = vote && evmAddress(vote.bytes);
      return { node, stake, address: address && `0x${hex(address)}`, counts: Boolean(address) && !admitted.revoked };
    });
  }

  /** Chain and members for a round's messages, or it is undecided. */
  bench(origin, number) {
    const [chain, epoch] = [this.chain(origin), this.epochOf(origin, number)];
    if (!chain || !epoch) throw new Undecided("trust.epoch", "trust names no chain or no epoch for this round");
    return { chain, epoch, members: this.members(epoch) };
  }

  /** Keys of everybody who may cosign for an origin. */
  cosigners(origin) {
    const nodes = new Set(this.epochs.filter((epoch) => epoch.origin === origin).flatMap((epoch) => epoch.stakes.map((item) => item.node)));
    const admitted = [...nodes].map((id) => this.node(id)).filter((node) => node?.document.key("cosignature"));
    return admitted.map((node) => ({ ...noteKey(node.document.name, COSIGNATURE, node.document.key("cosignature").bytes), node }));
  }

  /** The moment (ms) at which cosignatures on a checkpoint of an origin reach a quorum of an epoch's stake (statement.md §8), or null. */
  quorumTime(origin, cosignatures) {
    const times = this.epochs.filter((epoch) => epoch.origin === origin).map((epoch) => quorumOf(epoch, cosignatures));
    return times.filter((at) => at !== null).sort((left, right) => left - right)[0] ?? null;
  }
}

function quorumOf(epoch, cosignatures) {
  const total = epoch.stakes.reduce((sum, item) => sum + item.stake, 0);
  const stake = new Map(epoch.stakes.map((item) => [item.node, item.stake]));
  const counted = new Set();
  let sum = 0;
  for (const { key, time: seconds } of [...cosignatures].sort((left, right) => left.time - right.time)) {
    const at = 1000 * seconds;
    const id = key.node.document.id;
    if (counted.has(id) || !stake.has(id) || !admits(key.node, at, at) || at < epoch.from || at >= epoch.until) continue;
    counted.add(id);
    sum += stake.get(id);
    if (isQuorum(sum, total)) return at;
  }
  return null;
}

/** Whether an admission holds for a whole span (§3). */
export const admits = (node, from, until) => node.from <= from && until < node.until && !(node.revoked && until >= node.revoked.suspectSince);
