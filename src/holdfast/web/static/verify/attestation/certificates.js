/* X.509 certificates of enclaves' vendors (attestation.md §2, §3(1)): parsed, and nothing of them believed. */

import { Malformed } from "../answers.js";
import { equal, hex, text } from "../bytes.js";
import { plainPoint, signsDigest } from "../curves.js";
import { sha256, sha384 } from "../hashes.js";
import { rsaPss } from "../rsa.js";
import { BITS, Der, NULL, SEQUENCE, context, wholly } from "./der.js";

const LARGEST = 4096;
export const MOST = 8;

const EC_KEY = "1.2.840.10045.2.1";
const RSA_KEY = "1.2.840.113549.1.1.1";
const CURVES = { "1.2.840.10045.3.1.7": "p256", "1.3.132.0.34": "p384" };
const ECDSA = { "1.2.840.10045.4.3.2": sha256, "1.2.840.10045.4.3.3": sha384 };
const PSS = "1.2.840.113549.1.1.10";
const MGF1 = "1.2.840.113549.1.1.8";
const SHA384 = "2.16.840.1.101.3.4.2.2";
export const BASIC_CONSTRAINTS = "2.5.29.19";
export const KEY_USAGE = "2.5.29.15";

const refuse = (about, says) => {
  throw new Malformed(`certificate.${about}`, says);
};

/* --- algorithms of signatures --- */

function hashOf(reader, name) {
  const algorithm = reader.inner();
  const found = algorithm.oid();
  if (algorithm.is(NULL)) algorithm.next(NULL);
  algorithm.end();
  if (found !== name) refuse("algorithm", "RSA-PSS is with SHA-384 here");
}

/* The parameters of RSA-PSS (RFC 4055 §3.1): SHA-384 in both places, and a salt of 48 bytes. */
function pssParameters(reader) {
  const fields = reader.inner();
  hashOf(fields.inner(context(0)), SHA384);
  const generator = fields.inner(context(1)).inner();
  if (generator.oid() !== MGF1) refuse("algorithm", "RSA-PSS is with MGF1 here");
  hashOf(generator, SHA384);
  const salt = fields.inner(context(2)).integer();
  const trailer = fields.is(context(3)) ? fields.inner(context(3)).integer() : 1n;
  fields.end();
  if (salt !== 48n || trailer !== 1n) refuse("algorithm", "the salt has 48 bytes, and the trailer is the usual one");
}

/* How a signature is checked, of the algorithm's own bytes. */
function algorithmOf(bytes) {
  const fields = new Der(bytes);
  const name = fields.oid();
  if (name === PSS) pssParameters(fields);
  else if (!Object.hasOwn(ECDSA, name)) refuse("algorithm", "signatures are ECDSA with SHA-256 or SHA-384, or RSA-PSS with SHA-384");
  fields.end();
  return name;
}

/** Anything that is signed as certificates are: `{tbs, algorithm, signature}` of its bytes. */
export function readSigned(bytes) {
  return wholly(bytes, (reader) => {
    const fields = reader.inner();
    const tbs = fields.next(SEQUENCE);
    const algorithm = fields.next(SEQUENCE).content;
    const signature = fields.bits();
    fields.end();
    return { tbs, algorithm, signature, method: algorithmOf(algorithm) };
  });
}

/** That what is signed names the same algorithm inside. */
export function sameAlgorithm(inside, outside) {
  if (!equal(inside, outside)) refuse("algorithm", "another algorithm is named inside than outside");
}

/** Whether a key signed something that was read with `readSigned`. */
export function signedWith(key, { tbs, method, signature }) {
  if (method === PSS) return key.kind === "rsa" && rsaPss(key, tbs.whole, signature);
  if (key.kind !== "ec") return false;
  const fields = new Der(signature);
  const [r, s] = wholly(fields.next(SEQUENCE).content, (inner) => [inner.integer(49), inner.integer(49)]);
  fields.end();
  return r > 0n && s > 0n && signsDigest(key.point, ECDSA[method](tbs.whole), r, s);
}

/* --- keys --- */

function rsaKey(bits) {
  const [modulus, exponent] = wholly(bits, (reader) => {
    const fields = reader.inner();
    const found = [fields.integer(513), fields.integer(5)];
    fields.end();
    return found;
  });
  const size = modulus > 0n ? modulus.toString(2).length : 0;
  if (size < 2048 || size > 4096 || exponent !== 65537n) refuse("key", "RSA keys have 2048 to 4096 bits and exponent 65537");
  return { kind: "rsa", modulus, exponent };
}

/* A SubjectPublicKeyInfo. */
function readKey(reader) {
  const algorithm = reader.inner();
  const name = algorithm.oid();
  const curve = name === EC_KEY ? CURVES[algorithm.oid()] : null;
  if (name === RSA_KEY) algorithm.next(NULL);
  algorithm.end();
  const bits = reader.bits();
  reader.end();
  if (name === RSA_KEY) return rsaKey(bits);
  const point = curve ? plainPoint(curve, bits) : null;
  if (point === null) refuse("key", "keys are points of P-256 or P-384, or RSA of 2048 to 4096 bits");
  return { kind: "ec", curve, point };
}

/* --- extensions --- */

function constraints(bytes) {
  return wholly(bytes, (reader) => {
    const fields = reader.inner();
    const authority = fields.more && !fields.is(0x02) ? fields.boolean() : false;
    const length = fields.more ? fields.integer() : null;
    fields.end();
    if (length !== null && (!authority || length < 0n)) refuse("extension", "a path length belongs to an authority and is not negative");
    return { authority, pathLength: length === null ? null : Number(length) };
  });
}

/* The bits of a key usage, the first of them 1 << 0. */
function usages(bytes) {
  return wholly(bytes, (reader) => {
    const { content } = reader.next(BITS);
    if (content.length < 2 || content[0] > 7) refuse("extension", "a key usage has bits");
    return Array.from({ length: 8 }, (_, bit) => (content[1] >> (7 - bit)) & 1);
  });
}

function readExtensions(reader) {
  const found = new Map();
  const list = reader.inner();
  while (list.more) {
    const fields = list.inner();
    const name = fields.oid();
    const critical = fields.is(0x01) ? fields.boolean() : false;
    const value = fields.octets();
    fields.end();
    if (found.has(name)) refuse("extension", "an extension occurs twice");
    found.set(name, { critical, value });
  }
  reader.end();
  return found;
}

/* --- the certificate --- */

/** A certificate of its DER bytes. */
export function readCertificate(bytes) {
  if (bytes.length > LARGEST) refuse("size", `a certificate has at most ${LARGEST} bytes`);
  const signed = readSigned(bytes);
  const fields = new Der(signed.tbs.content);
  if (!fields.is(context(0)) || wholly(fields.next(context(0)).content, (inner) => inner.integer()) !== 2n) refuse("version", "certificates are of version 3");
  const serial = fields.integer();
  sameAlgorithm(fields.next(SEQUENCE).content, signed.algorithm);
  const issuer = fields.next(SEQUENCE).whole;
  const [from, until] = wholly(fields.next(SEQUENCE).content, (inner) => [inner.time(), inner.time()]);
  const subject = fields.next(SEQUENCE).whole;
  const key = readKey(new Der(fields.next(SEQUENCE).content));
  for (const tag of [0x81, 0x82]) if (fields.is(tag)) fields.next(tag);
  const extensions = fields.is(context(3)) ? readExtensions(fields.inner(context(3))) : new Map();
  fields.end();
  const { authority, pathLength } = extensions.has(BASIC_CONSTRAINTS) ? constraints(extensions.get(BASIC_CONSTRAINTS).value) : { authority: false, pathLength: null };
  const usage = extensions.has(KEY_USAGE) ? usages(extensions.get(KEY_USAGE).value) : null;
  return { bytes, signed, serial, issuer, subject, from, until, key, extensions, authority, pathLength, usage, digest: hex(sha256(bytes)) };
}

/* --- several at once --- */

const BEGIN = "-----BEGIN CERTIFICATE-----\n";
const END = "-----END CERTIFICATE-----\n";

/* The last line feed may be missing. */
function fromPem(written) {
  const found = [];
  for (let rest = written.endsWith("\n") ? written : `${written}\n`; rest !== ""; ) {
    const end = rest.indexOf(END);
    if (!rest.startsWith(BEGIN) || end < 0) refuse("pem", "PEM begins and ends in its lines, with nothing between");
    found.push(body(rest.slice(BEGIN.length, end)));
    rest = rest.slice(end + END.length);
  }
  return found;
}

function body(lines) {
  const rows = lines.split("\n");
  if (rows.pop() !== "" || !rows.length) refuse("pem", "there is no certificate");
  const whole = rows.slice(0, -1).every((row) => row.length === 64) && rows.at(-1).length >= 1 && rows.at(-1).length <= 64;
  const letters = rows.join("");
  if (!whole || letters.length % 4 || !/^[A-Za-z0-9+/]*={0,2}$/.test(letters)) refuse("pem", "lines have 64 letters of base64");
  const bytes = Uint8Array.from(atob(letters), (letter) => letter.charCodeAt(0));
  if (btoa(String.fromCharCode(...bytes)) !== letters) refuse("pem", "base64 has one spelling");
  return bytes;
}

function fromDer(bytes) {
  const reader = new Der(bytes);
  const found = [];
  while (reader.more) found.push(reader.next(SEQUENCE).whole);
  return found;
}

/** The bytes of each certificate of PEM, or of DER one after the other (§2). */
export function splitCertificates(bytes) {
  const found = bytes[0] === SEQUENCE ? fromDer(bytes) : fromPem(text(bytes, "certificate.pem"));
  if (!found.length) refuse("pem", "there is no certificate");
  if (found.length > MOST) refuse("count", `expected 1 to ${MOST} certificates`);
  return found;
}
