/* Documents of the Nitro security module (attestation.md §4.1). */

import { Malformed } from "../answers.js";
import { equal, hex, integer, utf8, concat } from "../bytes.js";
import { signsDigest } from "../curves.js";
import { sha384 } from "../hashes.js";
import { NOBODY, isRecord, readRecord } from "./binding.js";
import { readCbor } from "./cbor.js";
import { readChain, refuse, verifyChain } from "./chain.js";

const LARGEST = 32_768;
const PROTECTED = Uint8Array.of(0xa1, 0x01, 0x38, 0x22);
const MEMBERS = ["module_id", "digest", "timestamp", "pcrs", "certificate", "cabundle"];
const OPTIONAL = { public_key: 1024, user_data: 512, nonce: 512 };
const LONGEST_BUNDLE = 7;
const LAST_MOMENT = Date.parse("9999-12-31T23:59:59.999Z");
const AHEAD_MS = 60_000;

const malformed = (about, says) => {
  throw new Malformed(`nitro.${about}`, says);
};

function bytesOf(value, most, least = 1) {
  if (!(value instanceof Uint8Array) || value.length < least || value.length > most) malformed("fields", `a member is a byte string of ${least} to ${most} bytes`);
  return value;
}

function readRegisters(pcrs) {
  if (!(pcrs instanceof Map) || !pcrs.size || pcrs.size > 32) malformed("pcrs", "pcrs is a map of 1 to 32 registers");
  const found = {};
  for (const [number, value] of pcrs) {
    if (!Number.isInteger(number) || number < 0 || number > 31 || !(value instanceof Uint8Array) || value.length !== 48) malformed("pcrs", "a register has a number up to 31 and 48 bytes");
    found[`pcr${number}`] = hex(value);
  }
  return found;
}

function readPayload(bytes) {
  const value = readCbor(bytes, { indefiniteMap: true });
  if (!(value instanceof Map) || !MEMBERS.every((name) => value.has(name)) || [...value.keys()].some((name) => !MEMBERS.includes(name) && !Object.hasOwn(OPTIONAL, name))) malformed("fields", "the payload has other members than a document has");
  const moment = value.get("timestamp");
  if (typeof value.get("module_id") !== "string" || !value.get("module_id") || value.get("digest") !== "SHA384") malformed("fields", "module and digest are texts");
  if (!Number.isSafeInteger(moment) || moment < 1 || moment > LAST_MOMENT) malformed("fields", "the time is in milliseconds since 1970");
  const bundle = value.get("cabundle");
  if (!Array.isArray(bundle) || !bundle.length || bundle.length > LONGEST_BUNDLE) malformed("fields", `cabundle has 1 to ${LONGEST_BUNDLE} certificates`);
  const optional = Object.entries(OPTIONAL).map(([name, most]) => [name, (value.get(name) ?? null) === null ? null : bytesOf(value.get(name), most, 0)]);
  return {
    registers: readRegisters(value.get("pcrs")),
    madeAt: moment,
    chain: [value.get("certificate"), ...bundle.toReversed()].map((certificate) => bytesOf(certificate, 4096)),
    ...Object.fromEntries(optional),
  };
}

/** A document in its form. */
export function parseNitro(bytes) {
  if (bytes.length > LARGEST) throw new Malformed("attestation.size", `a document has at most ${LARGEST} bytes`);
  const items = readCbor(bytes);
  if (!Array.isArray(items) || items.length !== 4) malformed("cose", "a COSE_Sign1 has four items");
  const [guarded, open, payload, signature] = items;
  if (!(guarded instanceof Uint8Array) || !equal(guarded, PROTECTED)) malformed("cose", "the protected header says ES384 and nothing else");
  if (!(open instanceof Map) || open.size) malformed("cose", "the other header is an empty map");
  if (!(payload instanceof Uint8Array) || !(signature instanceof Uint8Array) || signature.length !== 96) malformed("cose", "payload and signature are byte strings, the latter of 96 bytes");
  const document = readPayload(payload);
  return { ...document, payload, signature, chain: readChain(document.chain), bound: document.user_data && isRecord(document.user_data) ? readRecord(document.user_data) : NOBODY };
}

/* The head of a byte string in CBOR. */
function head({ length }) {
  if (length < 24) return Uint8Array.of(0x40 | length);
  return length < 256 ? Uint8Array.of(0x58, length) : Uint8Array.of(0x59, length >> 8, length & 255);
}

/* RFC 9052 §4.4 */
const signedBytes = (payload) => concat(Uint8Array.of(0x84), Uint8Array.of(0x6a), utf8("Signature1"), head(PROTECTED), PROTECTED, Uint8Array.of(0x40), head(payload), payload);

const DEBUG = ["pcr0", "pcr1", "pcr2"];
const ZEROS = "0".repeat(96);

/** What a document says, once signature and chain are known to hold. */
export function verifyNitro(document, roots) {
  const { leaf, root, span } = verifyChain(document.chain, roots);
  if (leaf.key.curve !== "p384") refuse("leaf", "a document is signed with P-384");
  const [r, s] = [integer(document.signature.slice(0, 48)), integer(document.signature.slice(48))];
  if (!signsDigest(leaf.key.point, sha384(signedBytes(document.payload)), r, s)) refuse("signature", "the signature of the document does not verify");
  if (document.madeAt < leaf.from || document.madeAt > leaf.until) refuse("timestamp", "the document was made when its own certificate was not valid");
  return {
    tee: "nitro",
    root,
    span,
    measurements: document.registers,
    debug: DEBUG.every((name) => document.registers[name] === ZEROS),
    ...document.bound,
    nonce: document.nonce ? hex(document.nonce) : null,
    madeAt: document.madeAt,
    ahead: AHEAD_MS,
    untold: ["AWS's revocation lists were not looked at"],
  };
}
