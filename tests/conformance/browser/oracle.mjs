/* Compares the hashes and signatures of the pages' verifier with those of Node.js, over random inputs; prints how many there were and which
   differed. `node oracle.mjs COUNT`. */

import * as node from "node:crypto";

import { hex, integer, utf8 } from "../../../src/holdfast/web/static/verify/bytes.js";
import { ed25519, p256, plainPoint, signsDigest } from "../../../src/holdfast/web/static/verify/curves.js";
import { expand, extract, hmac, sha256, sha384, sha512 } from "../../../src/holdfast/web/static/verify/hashes.js";
import { rsaPss } from "../../../src/holdfast/web/static/verify/rsa.js";

const rounds = Number(process.argv[2]);
const found = { compared: 0, differed: [] };

function compare(what, ours, theirs) {
  found.compared += 1;
  if (ours !== theirs) found.differed.push(what);
}

/* Around the edges of blocks, and anywhere. */
const sizes = [0, 1, 55, 56, 63, 64, 65, 111, 112, 127, 128, 129, ...Array.from({ length: rounds }, () => node.randomInt(5000))];
for (const size of sizes) {
  const bytes = new Uint8Array(node.randomBytes(size));
  const hash = (name) => node.createHash(name).update(bytes).digest("hex");
  compare(`sha256 of ${size}`, hex(sha256(bytes)), hash("sha256"));
  compare(`sha384 of ${size}`, hex(sha384(bytes)), hash("sha384"));
  compare(`sha512 of ${size}`, hex(sha512(bytes)), hash("sha512"));
  compare(`hmac by ${size}`, hex(hmac(bytes, utf8("x"))), node.createHmac("sha256", bytes).update("x").digest("hex"));
  const derived = node.hkdfSync("sha256", bytes, "salt", "info", 1 + (size % 8160));
  compare(`hkdf of ${size}`, hex(expand(extract(utf8("salt"), bytes), utf8("info"), 1 + (size % 8160))), Buffer.from(derived).toString("hex"));
}

const flipped = (bytes) => {
  const copy = Uint8Array.from(bytes);
  copy[node.randomInt(copy.length)] ^= 1 << node.randomInt(8);
  return copy;
};

/* Each true signature, and the same with one bit of key, message or signature the other way. */
function variants(key, message, signature) {
  return [[key, message, signature], [flipped(key), message, signature], [key, flipped(message), signature], [key, message, flipped(signature)]];
}

function edKey(raw) {
  const prefix = Buffer.from("302a300506032b6570032100", "hex");
  return node.createPublicKey({ key: Buffer.concat([prefix, raw]), format: "der", type: "spki" });
}

function theirs(check) {
  try {
    return check();
  } catch {
    return false;
  }
}

for (let round = 0; round < rounds; round += 1) {
  const message = new Uint8Array(node.randomBytes(1 + node.randomInt(200)));
  const pair = node.generateKeyPairSync("ed25519");
  const raw = new Uint8Array(pair.publicKey.export({ format: "der", type: "spki" }).subarray(-32));
  for (const [key, said, signature] of variants(raw, message, new Uint8Array(node.sign(null, message, pair.privateKey)))) {
    compare("ed25519", ed25519(key, said, signature), theirs(() => node.verify(null, said, edKey(key), signature)));
  }
  const again = new Uint8Array(node.sign(null, message, pair.privateKey));
  compare("ed25519 of a key that was seen before", ed25519(raw, message, again), true);
  const other = node.generateKeyPairSync("ec", { namedCurve: "P-256" });
  const spki = other.publicKey.export({ format: "der", type: "spki" });
  const point = new Uint8Array(node.ECDH.convertKey(spki.subarray(-65), "prime256v1", undefined, undefined, "compressed"));
  const ieee = { dsaEncoding: "ieee-p1363" };
  const full = (key) => {
    const head = Buffer.from("3039301306072a8648ce3d020106082a8648ce3d030107032200", "hex");
    return node.createPublicKey({ key: Buffer.concat([head, key]), format: "der", type: "spki" });
  };
  for (const [key, said, signature] of variants(point, message, new Uint8Array(node.sign("sha256", message, { key: other.privateKey, ...ieee })))) {
    compare("p256", p256(key, said, signature), theirs(() => node.verify("sha256", said, { key: full(key), ...ieee }, signature)));
  }
}

/* What certificates and enclaves are signed with: ECDSA by uncompressed points, and RSA-PSS. */
function ecdsa(name, curve, hash, digest) {
  const pair = node.generateKeyPairSync("ec", { namedCurve: curve });
  const spki = pair.publicKey.export({ format: "der", type: "spki" });
  const size = name === "p384" ? 48 : 32;
  const key = new Uint8Array(spki.subarray(-(2 * size + 1)));
  const head = spki.subarray(0, -(2 * size + 1));
  const ieee = { dsaEncoding: "ieee-p1363" };
  const message = new Uint8Array(node.randomBytes(1 + node.randomInt(300)));
  const signature = new Uint8Array(node.sign(hash, message, { key: pair.privateKey, ...ieee }));
  for (const [point, said, signed] of variants(key, message, signature)) {
    const at = plainPoint(name, point);
    const ours = at !== null && signsDigest(at, digest(said), integer(signed.slice(0, size)), integer(signed.slice(size)));
    const open = () => node.createPublicKey({ key: Buffer.concat([head, point]), format: "der", type: "spki" });
    compare(`${name} with ${hash}`, ours, theirs(() => node.verify(hash, said, { key: open(), ...ieee }, signed)));
  }
}

const pairs = [2048, 3072, 4096].map((modulusLength) => node.generateKeyPairSync("rsa", { modulusLength }));
const pss = (key, saltLength = 48) => ({ key, padding: node.constants.RSA_PKCS1_PSS_PADDING, saltLength });

for (let round = 0; round < rounds; round += 1) {
  ecdsa("p256", "prime256v1", "sha256", sha256);
  ecdsa("p384", "secp384r1", "sha384", sha384);
  ecdsa("p384", "secp384r1", "sha256", sha256);
  ecdsa("p256", "prime256v1", "sha384", sha384);
  const { publicKey, privateKey } = pairs[round % pairs.length];
  const { n } = publicKey.export({ format: "jwk" });
  const key = { modulus: integer(new Uint8Array(Buffer.from(n, "base64url"))), exponent: 65537n };
  const message = new Uint8Array(node.randomBytes(100));
  const signature = new Uint8Array(node.sign("sha384", message, pss(privateKey)));
  for (const [said, signed] of [[message, signature], [flipped(message), signature], [message, flipped(signature)], [message, new Uint8Array(node.sign("sha384", message, pss(privateKey, 32)))]]) {
    compare("rsa-pss", rsaPss(key, said, signed), theirs(() => node.verify("sha384", said, pss(publicKey), signed)));
  }
}

console.log(JSON.stringify(found));
