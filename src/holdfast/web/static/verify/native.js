/* Signatures asked of WebCrypto, which checks them off the page's thread and many times as fast. What it says yes to holds. Where it is
   missing, has not the algorithm, or says no, curves.js decides: so no answer depends on the browser. */

import { hex } from "./bytes.js";
import { holds, isEdwardsPoint, uncompressed } from "./curves.js";

/* By algorithm (statement.md §5): its name there, and how a key's bytes are taken there; null for what is no key. */
const KNOWN = {
  ed25519: [{ name: "Ed25519" }, (bytes) => (isEdwardsPoint(bytes) ? bytes : null)],
  p256: [{ name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" }, uncompressed],
};
const MOST_KEYS = 16;
/* Keys as WebCrypto has them, or null where it has them not. */
const imported = new Map();

async function importKey({ algorithm, bytes }) {
  const [name, spell] = KNOWN[algorithm];
  const spelled = spell(bytes);
  return spelled && crypto.subtle.importKey("raw", spelled, name, false, ["verify"]);
}

function nativeKey(key) {
  if (!globalThis.crypto?.subtle || !Object.hasOwn(KNOWN, key.algorithm)) return null; // missing on a page that came over plain HTTP
  const name = `${key.algorithm} ${hex(key.bytes)}`;
  if (!imported.has(name)) {
    if (imported.size === MOST_KEYS) imported.clear();
    imported.set(name, importKey(key).catch(() => null));
  }
  return imported.get(name);
}

async function nativelyHolds(key, message, signature) {
  const found = await nativeKey(key);
  return found !== null && crypto.subtle.verify(KNOWN[key.algorithm][0], found, signature, message).catch(() => false);
}

/** Whether a signature by this key holds: the answer of `holds` in curves.js. */
export const holdsSoon = async (key, message, signature) =>
  (await nativelyHolds(key, message, signature)) || holds(key.algorithm, key.bytes, message, signature);
