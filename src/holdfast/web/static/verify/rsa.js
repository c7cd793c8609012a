/* RSASSA-PSS, checked and never made (RFC 8017 §8.1.2), with SHA-384, MGF1 of it, and a salt of 48 bytes: how AMD signs its certificates. */

import { bytesOf, concat, equal, integer } from "./bytes.js";
import { sha384 } from "./hashes.js";

const HASH = 48;

/* B.2.1 */
function mask(seed, size) {
  const blocks = [];
  for (let count = 0; count * HASH < size; count += 1) blocks.push(sha384(seed, bytesOf(BigInt(count), 4)));
  return concat(...blocks).slice(0, size);
}

function power(base, exponent, modulus) {
  let result = 1n;
  for (let square = base, rest = exponent; rest > 0n; rest >>= 1n) {
    if (rest & 1n) result = (result * square) % modulus;
    square = (square * square) % modulus;
  }
  return result;
}

/* §9.1.2, of a message of `bits` bits at most. */
function encodes(encoded, digest, bits) {
  const room = encoded.length - HASH - 1;
  if (room < HASH + 1 || encoded.at(-1) !== 0xbc) return false;
  const [masked, hash] = [encoded.slice(0, room), encoded.slice(room, -1)];
  const spare = 8 * encoded.length - bits;
  if (masked[0] >> (8 - spare)) return false;
  const block = mask(hash, room).map((byte, at) => byte ^ masked[at]);
  block[0] &= 0xff >> spare;
  const salt = room - HASH;
  if (block.slice(0, salt - 1).some((byte) => byte) || block[salt - 1] !== 1) return false;
  return equal(hash, sha384(new Uint8Array(8), digest, block.slice(salt)));
}

/** Whether a signature by modulus and exponent holds over `message`. */
export function rsaPss({ modulus, exponent }, message, signature) {
  const bits = modulus.toString(2).length;
  const value = integer(signature);
  if (signature.length !== Math.ceil(bits / 8) || value >= modulus) return false;
  const opened = power(value, exponent, modulus);
  const size = Math.ceil((bits - 1) / 8);
  if (opened >> BigInt(8 * size)) return false;
  return encodes(bytesOf(opened, size), sha384(message), bits - 1);
}
