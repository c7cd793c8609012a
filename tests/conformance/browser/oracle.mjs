/* Compares the hashes and signatures of the pages' verifier with those of Node.js, over random inputs; prints how many there were and which
   differed. `node oracle.mjs COUNT`. */

import * as node from "node:crypto";

import { hex, integer, utf8 } from "../../../src/holdfast/web/static/verify/bytes.js";
import { ed25519, holds, p256, plainPoint, signsDigest } from "../../../src/holdfast/web/static/verify/curves.js";
import { expand, extract, hmac, sha256, sha384, sha512 } from "../../../src/holdfast/web/static/verify/hashes.js";
import { Rejected } from "../../../src/holdfast/web/static/verify/answers.js";
import { Numeral, canonical, parse } from "../../../src/holdfast/web/static/verify/json.js";
import { MarkChain } from "../../../src/holdfast/web/static/verify/marks.js";
import { root } from "../../../src/holdfast/web/static/verify/merkle.js";
import { holdsSoon } from "../../../src/holdfast/web/static/verify/native.js";
import { EventRoots, leaf, mapParts } from "../../../src/holdfast/web/static/verify/parts.js";
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

/* What WebCrypto is asked first comes to the answers that there are without it. */
async function bothWays(key, message, signature) {
  const name = `${key.algorithm} by WebCrypto`;
  compare(name, await holdsSoon(key, message, signature), holds(key.algorithm, key.bytes, message, signature));
}

/* Keys and signatures in spellings that RFC 8032 does not have, and of points that sign everything. */
const small = [new Uint8Array(32), Uint8Array.of(1, ...new Uint8Array(31)), Uint8Array.of(0xee, ...new Uint8Array(30).fill(0xff), 0x7f), Uint8Array.of(1, ...new Uint8Array(30), 0x80)];
for (const bytes of small) for (const R of small) await bothWays({ algorithm: "ed25519", bytes }, utf8("x"), Uint8Array.of(...R, ...new Uint8Array(32)));

for (let round = 0; round < rounds; round += 1) {
  const message = new Uint8Array(node.randomBytes(1 + node.randomInt(200)));
  const pair = node.generateKeyPairSync("ed25519");
  const raw = new Uint8Array(pair.publicKey.export({ format: "der", type: "spki" }).subarray(-32));
  for (const [key, said, signature] of variants(raw, message, new Uint8Array(node.sign(null, message, pair.privateKey)))) {
    compare("ed25519", ed25519(key, said, signature), theirs(() => node.verify(null, said, edKey(key), signature)));
    await bothWays({ algorithm: "ed25519", bytes: key }, said, signature);
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
    await bothWays({ algorithm: "p256", bytes: key }, said, signature);
  }
}

/* Roots of events that are made from those of the event before are those that are made anew. */
const salt = new Uint8Array(node.randomBytes(16));
const roots = new EventRoots(salt);
const texts = ["", " word", "\u00e9\u{1f600}", "1"];
const values = [null, true, [], [{ "~a/b": "" }], new Numeral("1"), new Numeral("1.0"), ...texts];
const any = (list) => list[node.randomInt(list.length)];
for (let round = 0; round < 4 * rounds; round += 1) {
  const event = { id: "x", model: any(texts), choices: Array.from({ length: node.randomInt(4) }, () => ({ delta: { content: any(values), ...(node.randomInt(3) ? {} : { "\uffff": "", "\u{10000}": "" }) } })) };
  compare("a root from the one before", hex(roots.next(event)), hex(root(mapParts(event, "response").map((part) => leaf(part.key, salt, part.bytes)))));
}

/* A chain takes events one after another, also where nobody waits; after one that was refused, none. */
const signer = node.generateKeyPairSync("ed25519");
const run = "019b76da-a800-7066-b131-656264626562";
const secret = new Uint8Array(node.randomBytes(32));
const gateway = { algorithm: "ed25519", bytes: new Uint8Array(signer.publicKey.export({ format: "der", type: "spki" }).subarray(-32)) };
const begun = new MarkChain(run, secret, gateway);
let parts = begun.parts;
const stream = Array.from({ length: 6 }, (_, number) => {
  const event = { choices: [{ delta: { content: `piece ${number}` } }] };
  const window = root([new EventRoots(begun.salt).next(event)]);
  const [previous, next] = [parts, sha256(Uint8Array.of(2), parts, window)];
  const bound = { events: 1, parts: hex(next), previous: hex(previous), seq: number + 1 };
  const signature = node.sign(null, canonical({ ...bound, run, type: "urn:holdfast:mark:v1" }), signer.privateKey).toString("base64");
  parts = next;
  return JSON.stringify({ ...event, holdfast: { mark: { ...bound, signature } } });
});
const taken = async (events) => {
  const chain = new MarkChain(run, secret, gateway);
  const told = await Promise.allSettled(events.map((text) => chain.add(parse(text))));
  return [chain.covered, ...told.map(({ status, reason }) => (status === "fulfilled" ? "held" : reason instanceof Rejected && reason.code))].join(" ");
};
const forged = stream.map((text, at) => (at === 2 ? text.replace(/"signature":"./, (found) => `${found.slice(0, -1)}${found.endsWith("A") ? "B" : "A"}`) : text));
const refused = (count, code) => Array(count).fill(code).join(" ");
compare("a stream at once", await taken(stream), `6 ${refused(6, "held")}`);
compare("a forged mark", await taken(forged), `2 held held ${refused(4, "mark.signature")}`);
compare("a mark left out", await taken(stream.toSpliced(3, 1)), `3 held held held ${refused(2, "mark.chain")}`);
compare("marks in another order", await taken([stream[0], stream[2], stream[1]]), `1 held ${refused(2, "mark.chain")}`);

/* The same on a page that came over plain HTTP, where there is no WebCrypto. */
const webCrypto = Object.getOwnPropertyDescriptor(globalThis, "crypto");
Object.defineProperty(globalThis, "crypto", { value: {}, configurable: true });
compare("a stream without WebCrypto", await taken(stream), `6 ${refused(6, "held")}`);
compare("a forged mark without WebCrypto", await taken(forged), `2 held held ${refused(4, "mark.signature")}`);
Object.defineProperty(globalThis, "crypto", webCrypto);

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
    /* OpenSSL also takes a point in its hybrid spelling (6 or 7 in front), which RFC 5480 §2.2 has not. */
    compare(`${name} with ${hash}`, ours, point[0] === 4 && theirs(() => node.verify(hash, said, { key: open(), ...ieee }, signed)));
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
