/* The tree of RFC 9162 §2.1, as logs, parts and verdicts have it (log.md §2). */

import { Malformed, Rejected } from "./answers.js";
import { equal, unhex } from "./bytes.js";
import { sha256 } from "./hashes.js";

const LEAF = Uint8Array.of(0);
const NODE = Uint8Array.of(1);

export const leafHash = (entry) => sha256(LEAF, entry);

const node = (left, right) => sha256(NODE, left, right);

/** The root over leaf hashes; over none, SHA-256 of nothing. */
export function root(leaves) {
  if (!leaves.length) return sha256(new Uint8Array());
  /* Pairing from the left and carrying an odd one up gives the tree of RFC 9162, whose left side is always the larger power of two. */
  let level = leaves;
  while (level.length > 1) {
    const above = [];
    for (let at = 0; at < level.length; at += 2) above.push(at + 1 < level.length ? node(level[at], level[at + 1]) : level[at]);
    level = above;
  }
  return level[0];
}

/** The hashes of a proof: each 32 bytes, else refused with `code`. */
export function hashes(proof, code, problem = Rejected) {
  if (!Array.isArray(proof)) throw new Malformed(code, "a proof is a list of hashes");
  try {
    return proof.map((hash) => unhex(hash, 32));
  } catch (error) {
    throw error instanceof Malformed ? new problem(code, "a hash of a proof is 32 bytes of hex") : error;
  }
}

/** Whether a path leads from a leaf hash to a root (RFC 9162 §2.1.3.2). */
export function leads(leaf, index, size, proof, head) {
  if (!(index >= 0 && index < size)) return false;
  let [fn, sn] = [BigInt(index), BigInt(size) - 1n];
  let found = leaf;
  for (const hash of proof) {
    if (sn === 0n) return false;
    if (fn & 1n || fn === sn) {
      found = node(hash, found);
      while (!(fn & 1n) && fn !== 0n) {
        fn >>= 1n;
        sn >>= 1n;
      }
    } else {
      found = node(found, hash);
    }
    fn >>= 1n;
    sn >>= 1n;
  }
  return sn === 0n && equal(found, head);
}

/** Whether a tree extends another (RFC 9162 §2.1.4.2). */
export function extendsTree(oldSize, oldHead, newSize, newHead, proof) {
  if (oldSize > newSize) return false;
  if (oldSize === newSize) return proof.length === 0 && equal(oldHead, newHead);
  if (oldSize === 0) return proof.length === 0 && equal(oldHead, root([]));
  let [fn, sn] = [BigInt(oldSize) - 1n, BigInt(newSize) - 1n];
  while (fn & 1n) {
    fn >>= 1n;
    sn >>= 1n;
  }
  const whole = (BigInt(oldSize) & (BigInt(oldSize) - 1n)) === 0n;
  const path = whole ? [oldHead, ...proof] : proof;
  if (!path.length) return false;
  let [fr, sr] = [path[0], path[0]];
  for (const hash of path.slice(1)) {
    if (sn === 0n) return false;
    if (fn & 1n || fn === sn) {
      fr = node(hash, fr);
      sr = node(hash, sr);
      while (!(fn & 1n) && fn !== 0n) {
        fn >>= 1n;
        sn >>= 1n;
      }
    } else {
      sr = node(sr, hash);
    }
    fn >>= 1n;
    sn >>= 1n;
  }
  return sn === 0n && equal(fr, oldHead) && equal(sr, newHead);
}
