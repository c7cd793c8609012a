/* The tree of RFC 9162 §2.1, as logs, parts and verdicts have it (log.md §2). */

import { Malformed, Rejected } from "./answers.js";
import { equal, unhex } from "./bytes.js";
import { sha256 } from "./hashes.js";

const LEAF = Uint8Array.of(0);
const NODE = Uint8Array.of(1);

export const leafHash = (entry) => sha256(LEAF, entry);

const node = (left, right) => sha256(NODE, left, right);

/** All levels over leaf hashes, the leaves first and the root's last; over none, the root is SHA-256 of nothing. A node whose two sides are
    those that stand at its place in `before`, the levels of another tree, is taken from there. */
export function levels(leaves, before = []) {
  if (!leaves.length) return [[sha256(new Uint8Array())]];
  /* Pairing from the left and carrying an odd one up gives the tree of RFC 9162, whose left side is always the larger power of two. */
  const found = [leaves];
  while (found.at(-1).length > 1) {
    const level = found.at(-1);
    const [same, over] = [before[found.length - 1] ?? [], before[found.length] ?? []];
    const above = [];
    for (let at = 0; at < level.length; at += 2) {
      const [left, right] = [level[at], level[at + 1]];
      if (right === undefined) above.push(left);
      else above.push(left === same[at] && right === same[at + 1] ? over[at / 2] : node(left, right));
    }
    found.push(above);
  }
  return found;
}

/** The root over leaf hashes. */
export const root = (leaves) => levels(leaves).at(-1)[0];

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
