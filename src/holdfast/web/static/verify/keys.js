/* Key documents (statement.md §5): who a node is and with which keys. */

import { Malformed } from "./answers.js";
import { hex, unbase64, utf8 } from "./bytes.js";
import { holds, isPoint } from "./curves.js";
import { sha256 } from "./hashes.js";
import { exactly, parseCanonical } from "./json.js";

const ROLES = ["data", "facilitator", "full", "gateway", "hub", "inference", "log", "memory", "panel", "relay"];
const USES = {
  statement: ["ed25519", "p256"],
  log: ["ed25519"],
  cosignature: ["ed25519"],
  vote: ["secp256k1"],
  hpke: ["x25519"],
  opengradient: ["rsa2048"],
};
const SIZES = { ed25519: 32, x25519: 32, p256: 33, secp256k1: 33, rsa2048: 294 };
const LARGEST = 8192;
const ZERO = Uint8Array.of(0);

const refuse = (code, says) => {
  throw new Malformed(code, says);
};

/** A public key: `algorithm`, raw `bytes`, and its `id` in hex. */
export function publicKey(algorithm, encoded, code = "keys.algorithm") {
  if (!(algorithm in SIZES)) refuse(code, "unknown algorithm");
  const bytes = unbase64(encoded, SIZES[algorithm]);
  if (!isPoint(algorithm, bytes)) refuse("keys.public", "not a point of the curve");
  return { algorithm, bytes, id: hex(sha256(utf8(algorithm), ZERO, bytes)) };
}

/** Whether one of a DSSE envelope's signatures is by this key and holds over `message`. */
export const signedBy = (key, { keyid, sig }, message) => keyid === key.id && holds(key.algorithm, key.bytes, message, sig);

const DIGEST = /^[0-9a-f]{64}$/;

/* The fixed beginning of one key configuration (RFC 9458 §3.1): key id, KEM, public key, length of the list of suites. */
function configurationId(bytes) {
  const kem = bytes.length > 2 ? bytes[1] * 256 + bytes[2] : 0;
  const suites = bytes.length > 36 ? bytes[35] * 256 + bytes[36] : 0;
  if (kem !== 0x20 || !suites || suites % 4 || bytes.length !== 37 + suites) refuse("keys.ohttp", "not a key configuration");
  return bytes[0];
}

function configurations(list) {
  if (!Array.isArray(list) || list.length < 1 || list.length > 8) refuse("keys.ohttp", "ohttp is a list of 1 to 8 key configurations");
  const found = list.map((encoded) => unbase64(encoded));
  if (new Set(found.map(configurationId)).size !== found.length) refuse("keys.ohttp", "two configurations of one key id");
  return found;
}

const OPTIONAL = {
  tls: (value) => DIGEST.test(value) || refuse("keys.tls", "expected a SHA-256 digest"),
  predecessor: (value) => DIGEST.test(value) || refuse("keys.predecessor", "expected a SHA-256 digest"),
  payment: (value) => /^0x[0-9a-f]{40}$/.test(value) || refuse("keys.payment", "expected an EVM address in lower case"),
  ohttp: configurations,
};

function readKey(value) {
  exactly(value, ["use", "algorithm", "public"], "keys.fields");
  if (!(value.use in USES)) refuse("keys.use", "unknown use");
  if (!(value.algorithm in SIZES)) refuse("keys.algorithm", "unknown algorithm");
  if (!USES[value.use].includes(value.algorithm)) refuse("keys.use", "not an algorithm of this use");
  return { use: value.use, ...publicKey(value.algorithm, value.public) };
}

/** A key document of its exact bytes; `id` is the node's. */
export function readKeyDocument(bytes) {
  if (bytes.length > LARGEST) refuse("keys.size", `a key document has at most ${LARGEST} bytes`);
  const value = exactly(parseCanonical(bytes), ["type", "name", "roles", "software", "keys"], "keys.fields", Object.keys(OPTIONAL));
  if (value.type !== "urn:holdfast:key-document:v1" || !Array.isArray(value.keys) || !value.keys.length) refuse("keys.fields", "not a key document");
  if (Object.keys(OPTIONAL).some((name) => value[name] === null)) refuse("keys.fields", "what there is nothing to say of is left out");
  if (typeof value.name !== "string" || !/^[a-z0-9.-]{1,63}$/.test(value.name)) refuse("keys.name", "not a node name");
  const roles = value.roles;
  if (!Array.isArray(roles) || !roles.length || roles.some((role, at) => !ROLES.includes(role) || (at && roles[at - 1] >= role))) refuse("keys.roles", "roles are a sorted, non-empty list of known roles");
  if (typeof value.software !== "string" || [...value.software].length > 128) refuse("keys.software", "software is a string of at most 128 characters");
  const keys = value.keys.map(readKey);
  if (new Set(keys.map((key) => key.use)).size !== keys.length || new Set(keys.map((key) => key.id)).size !== keys.length) refuse("keys.use", "one key per use, and no key twice");
  const document = { id: hex(sha256(bytes)), bytes, name: value.name, roles, software: value.software };
  document.key = (use) => keys.find((key) => key.use === use) ?? null;
  for (const name of Object.keys(OPTIONAL)) {
    const read = name in value ? OPTIONAL[name](value[name]) : null;
    document[name] = name in value ? (name === "ohttp" ? read : value[name]) : null;
  }
  document.ohttpDigest = document.ohttp && hex(sha256(...document.ohttp.flatMap((item) => [Uint8Array.of(item.length >> 8, item.length & 255), item])));
  return document;
}

