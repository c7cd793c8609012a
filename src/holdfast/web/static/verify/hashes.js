/* SHA-256, SHA-384, SHA-512, HMAC, HKDF and Keccak-256, each from its standard.

   They are here and not WebCrypto's because a tree of 65,536 leaves is 131,071 digests, and each of WebCrypto's is a
   promise; because WebCrypto is missing on a page that came over plain HTTP; and because Keccak is missing everywhere. Everything that
   is hashed here is public or the reader's own, so nothing depends on how long it takes. */

import { bytesOf, concat } from "./bytes.js";

const PRIMES = (() => {
  const found = [];
  for (let value = 2; found.length < 80; value += 1) if (found.every((prime) => value % prime)) found.push(value);
  return found;
})();

/* floor(2^bits · frac(prime^(1/root))), as FIPS 180-4 §4.2.2, §4.2.3 and §5.3 derive their constants. */
function fraction(prime, root, bits) {
  const wanted = BigInt(prime) << BigInt(bits * root);
  let low = 0n;
  let high = 1n << BigInt(bits + 8);
  while (high - low > 1n) {
    const middle = (low + high) >> 1n;
    if (middle ** BigInt(root) <= wanted) low = middle;
    else high = middle;
  }
  return BigInt.asUintN(bits, low);
}

const START_256 = PRIMES.slice(0, 8).map((prime) => Number(fraction(prime, 2, 32)));
const ROUND_256 = Uint32Array.from(PRIMES.slice(0, 64), (prime) => Number(fraction(prime, 3, 32)));
const START_512 = PRIMES.slice(0, 8).map((prime) => fraction(prime, 2, 64));
const START_384 = PRIMES.slice(8, 16).map((prime) => fraction(prime, 2, 64));
const ROUND_512 = PRIMES.map((prime) => fraction(prime, 3, 64));

/* FIPS 180-4 §5.1: 0x80, zeros, and the length in bits at the end of a block. */
function padded(bytes, block) {
  const room = block / 8;
  const whole = new Uint8Array(Math.ceil((bytes.length + 1 + room) / block) * block);
  whole.set(bytes);
  whole[bytes.length] = 0x80;
  new DataView(whole.buffer).setBigUint64(whole.length - 8, 8n * BigInt(bytes.length));
  return whole;
}

const schedule = new Uint32Array(64);

function block256(state, view, at) {
  for (let t = 0; t < 16; t += 1) schedule[t] = view.getUint32(at + 4 * t);
  for (let t = 16; t < 64; t += 1) {
    const early = schedule[t - 15];
    const late = schedule[t - 2];
    const s0 = ((early >>> 7) | (early << 25)) ^ ((early >>> 18) | (early << 14)) ^ (early >>> 3);
    const s1 = ((late >>> 17) | (late << 15)) ^ ((late >>> 19) | (late << 13)) ^ (late >>> 10);
    schedule[t] = (schedule[t - 16] + s0 + schedule[t - 7] + s1) | 0;
  }
  let [a, b, c, d, e, f, g, h] = state;
  for (let t = 0; t < 64; t += 1) {
    const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
    const one = (h + s1 + ((e & f) ^ (~e & g)) + ROUND_256[t] + schedule[t]) | 0;
    const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
    const two = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    h = g;
    g = f;
    f = e;
    e = (d + one) | 0;
    d = c;
    c = b;
    b = a;
    a = (one + two) | 0;
  }
  [a, b, c, d, e, f, g, h].forEach((value, at) => (state[at] = (state[at] + value) | 0));
}

export function sha256(...pieces) {
  const whole = padded(pieces.length === 1 ? pieces[0] : concat(...pieces), 64);
  const view = new DataView(whole.buffer);
  const state = Int32Array.from(START_256);
  for (let at = 0; at < whole.length; at += 64) block256(state, view, at);
  const digest = new Uint8Array(32);
  const out = new DataView(digest.buffer);
  state.forEach((value, at) => out.setInt32(4 * at, value));
  return digest;
}

const word = (value) => BigInt.asUintN(64, value);
const right = (value, by) => (value >> by) | word(value << (64n - by));

/* Only signatures ask for it, so it may be slow. */
function wide(start, pieces) {
  const whole = padded(concat(...pieces), 128);
  const view = new DataView(whole.buffer);
  const state = [...start];
  const w = [];
  for (let block = 0; block < whole.length; block += 128) {
    for (let t = 0; t < 80; t += 1) {
      if (t < 16) {
        w[t] = view.getBigUint64(block + 8 * t);
        continue;
      }
      const s0 = right(w[t - 15], 1n) ^ right(w[t - 15], 8n) ^ (w[t - 15] >> 7n);
      const s1 = right(w[t - 2], 19n) ^ right(w[t - 2], 61n) ^ (w[t - 2] >> 6n);
      w[t] = word(w[t - 16] + s0 + w[t - 7] + s1);
    }
    let [a, b, c, d, e, f, g, h] = state;
    for (let t = 0; t < 80; t += 1) {
      const one = h + (right(e, 14n) ^ right(e, 18n) ^ right(e, 41n)) + ((e & f) ^ (word(~e) & g)) + ROUND_512[t] + w[t];
      const two = (right(a, 28n) ^ right(a, 34n) ^ right(a, 39n)) + ((a & b) ^ (a & c) ^ (b & c));
      [h, g, f, e, d, c, b, a] = [g, f, e, word(d + one), c, b, a, word(one + two)];
    }
    [a, b, c, d, e, f, g, h].forEach((value, at) => (state[at] = word(state[at] + value)));
  }
  return concat(...state.map((value) => bytesOf(value, 8)));
}

export const sha512 = (...pieces) => wide(START_512, pieces);
export const sha384 = (...pieces) => wide(START_384, pieces).slice(0, 48);

/** RFC 2104. */
export function hmac(key, ...pieces) {
  const block = new Uint8Array(64);
  block.set(key.length > 64 ? sha256(key) : key);
  return sha256(block.map((byte) => byte ^ 0x5c), sha256(block.map((byte) => byte ^ 0x36), ...pieces));
}

/** RFC 5869 §2.2. */
export const extract = (salt, secret) => hmac(salt, secret);

/** RFC 5869 §2.3: `size` is at most 8160. */
export function expand(prk, info, size) {
  const blocks = [];
  let last = new Uint8Array();
  for (let number = 1; blocks.length * 32 < size; number += 1) {
    last = hmac(prk, last, info, Uint8Array.of(number));
    blocks.push(last);
  }
  return concat(...blocks).slice(0, size);
}

/* Keccak-f[1600]: round constants by its shift register, rotations by its walk over the lanes. */
const KECCAK = (() => {
  const rounds = [];
  let register = 1;
  for (let round = 0; round < 24; round += 1) {
    let constant = 0n;
    for (let bit = 0; bit < 7; bit += 1) {
      if (register & 1) constant ^= 1n << ((1n << BigInt(bit)) - 1n);
      register = (register << 1) ^ (register >> 7) * 0x171;
    }
    rounds.push(constant);
  }
  const turns = new Array(25).fill(0n);
  let [x, y] = [1, 0];
  for (let t = 0; t < 24; t += 1) {
    turns[x + 5 * y] = BigInt((((t + 1) * (t + 2)) / 2) % 64);
    [x, y] = [y, (2 * x + 3 * y) % 5];
  }
  return { rounds, turns };
})();

const left = (value, by) => (by ? word(value << by) | (value >> (64n - by)) : value);

function permute(lanes) {
  for (const constant of KECCAK.rounds) {
    const columns = [0, 1, 2, 3, 4].map((x) => lanes[x] ^ lanes[x + 5] ^ lanes[x + 10] ^ lanes[x + 15] ^ lanes[x + 20]);
    const mixed = lanes.map((lane, at) => lane ^ columns[(at + 4) % 5] ^ left(columns[(at + 1) % 5], 1n));
    const moved = [];
    mixed.forEach((lane, at) => {
      const [x, y] = [at % 5, Math.floor(at / 5)];
      moved[y + 5 * ((2 * x + 3 * y) % 5)] = left(lane, KECCAK.turns[at]);
    });
    moved.forEach((lane, at) => {
      const row = 5 * Math.floor(at / 5);
      lanes[at] = lane ^ (word(~moved[row + ((at + 1) % 5)]) & moved[row + ((at + 2) % 5)]);
    });
    lanes[0] ^= constant;
  }
}

/** Keccak-256 with the padding from before FIPS 202, as Ethereum has it. */
export function keccak256(...pieces) {
  const bytes = concat(...pieces);
  const whole = new Uint8Array(Math.ceil((bytes.length + 1) / 136) * 136);
  whole.set(bytes);
  whole[bytes.length] ^= 0x01;
  whole[whole.length - 1] ^= 0x80;
  const view = new DataView(whole.buffer);
  const lanes = new Array(25).fill(0n);
  for (let block = 0; block < whole.length; block += 136) {
    for (let at = 0; at < 17; at += 1) lanes[at] ^= view.getBigUint64(block + 8 * at, true);
    permute(lanes);
  }
  const digest = new Uint8Array(32);
  const out = new DataView(digest.buffer);
  for (let at = 0; at < 4; at += 1) out.setBigUint64(8 * at, lanes[at], true);
  return digest;
}
