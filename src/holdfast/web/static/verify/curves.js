/* Signatures, checked and never made: Ed25519 (RFC 8032 §5.1.7), ECDSA over P-256 and P-384 (FIPS 186-5 §6.4.2), and the
   signer of an Ethereum signature over secp256k1 (SEC 1 §4.1.6).

   Not WebCrypto's alone (native.js), which has neither secp256k1 nor compressed points, has Ed25519 in recent browsers only, and is missing
   on a page that came over plain HTTP: what a reader can check must not depend on that. No secret is
   ever here, so nothing has to take the same time. */

import { bytesOf, concat, integer } from "./bytes.js";
import { keccak256, sha256, sha512 } from "./hashes.js";

const mod = (value, modulus) => {
  const rest = value % modulus;
  return rest < 0n ? rest + modulus : rest;
};

function power(base, exponent, modulus) {
  let result = 1n;
  for (let square = mod(base, modulus), rest = exponent; rest > 0n; rest >>= 1n) {
    if (rest & 1n) result = (result * square) % modulus;
    square = (square * square) % modulus;
  }
  return result;
}

const inverse = (value, prime) => power(value, prime - 2n, prime);

/* `a·P + b·Q` by one walk over the bits of both (Shamir's trick). */
function combine(group, a, P, b, Q) {
  const both = group.add(P, Q);
  let sum = group.zero;
  for (let bit = Math.max(a.toString(2).length, b.toString(2).length) - 1; bit >= 0; bit -= 1) {
    sum = group.double(sum);
    const at = BigInt(bit);
    const [first, second] = [(a >> at) & 1n, (b >> at) & 1n];
    if (first && second) sum = group.add(sum, both);
    else if (first) sum = group.add(sum, P);
    else if (second) sum = group.add(sum, Q);
  }
  return sum;
}

/* --- edwards25519, in extended coordinates [X, Y, Z, T] (RFC 8032 §5.1.4) --- */

const p = 2n ** 255n - 19n;
const L = 2n ** 252n + 27742317777372353535851937790883648493n;
const d = mod(-121665n * inverse(121666n, p), p);
const ROOT = power(2n, (p - 1n) / 4n, p);

const EDWARDS = {
  zero: [0n, 1n, 1n, 0n],
  add([X1, Y1, Z1, T1], [X2, Y2, Z2, T2]) {
    const A = ((Y1 - X1) * (Y2 - X2)) % p;
    const B = ((Y1 + X1) * (Y2 + X2)) % p;
    const C = (2n * d * T1 * T2) % p;
    const D = (2n * Z1 * Z2) % p;
    const [E, F, G, H] = [B - A, D - C, D + C, B + A];
    return [mod(E * F, p), mod(G * H, p), mod(F * G, p), mod(E * H, p)];
  },
  double([X, Y, Z]) {
    const A = (X * X) % p;
    const B = (Y * Y) % p;
    const H = A + B;
    const E = H - (X + Y) ** 2n;
    const G = A - B;
    const F = 2n * Z * Z + G;
    return [mod(E * F, p), mod(G * H, p), mod(F * G, p), mod(E * H, p)];
  },
};

/* A point of its 32 bytes, or null (§5.1.3): no other spelling of one is taken. */
function decompress(bytes) {
  const encoded = integer(bytes.slice().reverse());
  const sign = encoded >> 255n;
  const y = encoded & (2n ** 255n - 1n);
  if (y >= p) return null;
  const u = mod(y * y - 1n, p);
  const v = mod(d * y * y + 1n, p);
  let x = (u * v ** 3n * power(u * v ** 7n, (p - 5n) / 8n, p)) % p;
  if (mod(v * x * x, p) === mod(-u, p)) x = (x * ROOT) % p;
  else if (mod(v * x * x, p) !== u) return null;
  if (x === 0n && sign) return null;
  if ((x & 1n) !== sign) x = p - x;
  return [x, y, 1n, (x * y) % p];
}

function compress([X, Y, Z]) {
  const z = inverse(Z, p);
  const [x, y] = [(X * z) % p, (Y * z) % p];
  return bytesOf(y | ((x & 1n) << 255n), 32).reverse();
}

const BASE = decompress(bytesOf(mod(4n * inverse(5n, p), p), 32).reverse());

/* Every multiple of a point by four bits at each of their places: what is used again and again is then added up without doubling. */
function multiples(point) {
  const places = [];
  for (let at = point; places.length < 64; at = EDWARDS.add(places.at(-1)[15], at)) {
    const row = [EDWARDS.zero];
    while (row.length < 16) row.push(EDWARDS.add(row.at(-1), at));
    places.push(row);
  }
  return places;
}

const times = (places, factor) => places.reduce((sum, row, at) => EDWARDS.add(sum, row[Number((factor >> BigInt(4 * at)) & 15n)]), EDWARDS.zero);

/** Whether 32 bytes are a point of edwards25519 in its one spelling. */
export const isEdwardsPoint = (bytes) => bytes.length === 32 && decompress(bytes) !== null;

const MOST_KEYS = 16;
let ofBase = null;
/* By key: the negated point, and its multiples from the second time on. */
const keys = new Map();

function opened(key) {
  const name = integer(key);
  const known = keys.get(name);
  if (known) {
    ofBase ??= multiples(BASE);
    known.places ??= multiples(known.minus);
    return known;
  }
  const A = decompress(key);
  if (A === null) return null;
  if (keys.size >= MOST_KEYS) keys.delete(keys.keys().next().value);
  const found = { minus: [mod(-A[0], p), A[1], 1n, mod(-A[3], p)], places: null };
  keys.set(name, found);
  return found;
}

export function ed25519(key, message, signature) {
  if (key.length !== 32 || signature.length !== 64) return false;
  const A = opened(key);
  const R = signature.slice(0, 32);
  const s = integer(signature.slice(32).reverse());
  if (A === null || s >= L) return false;
  const k = mod(integer(sha512(R, key, message).reverse()), L);
  const found = compress(A.places ? EDWARDS.add(times(ofBase, s), times(A.places, k)) : combine(EDWARDS, s, BASE, k, A.minus));
  return found.every((byte, at) => byte === R[at]);
}

/* --- short Weierstrass curves, in Jacobian coordinates [X, Y, Z], zero where Z is 0 --- */

function weierstrass({ prime, a, b, order, x, y }) {
  const m = (value) => mod(value, prime);
  const group = {
    zero: [1n, 1n, 0n],
    double([X, Y, Z]) {
      if (!Z || !Y) return group.zero;
      const YY = m(Y * Y);
      const S = m(4n * X * YY);
      const M = m(3n * X * X + a * Z ** 4n);
      const X3 = m(M * M - 2n * S);
      return [X3, m(M * (S - X3) - 8n * YY * YY), m(2n * Y * Z)];
    },
    add(P, Q) {
      if (!P[2]) return Q;
      if (!Q[2]) return P;
      const [ZP, ZQ] = [m(P[2] * P[2]), m(Q[2] * Q[2])];
      const [U1, U2] = [m(P[0] * ZQ), m(Q[0] * ZP)];
      const [S1, S2] = [m(P[1] * ZQ * Q[2]), m(Q[1] * ZP * P[2])];
      if (U1 === U2) return S1 === S2 ? group.double(P) : group.zero;
      const H = m(U2 - U1);
      const R = m(S2 - S1);
      const [HH, HHH] = [m(H * H), m(H * H * H)];
      const X3 = m(R * R - HHH - 2n * U1 * HH);
      return [X3, m(R * (U1 * HH - X3) - S1 * HHH), m(H * P[2] * Q[2])];
    },
  };
  return {
    ...group,
    order,
    prime,
    base: [x, y, 1n],
    size: prime.toString(16).length / 2,
    /** Whether a point in plain coordinates is on the curve. */
    has: ([x, y]) => x < prime && y < prime && m(y * y) === m(x ** 3n + a * x + b),
    /** All primes here are 3 modulo 4, so a root is a power. */
    lift(at, odd) {
      const square = m(at ** 3n + a * at + b);
      const root = power(square, (prime + 1n) / 4n, prime);
      if (at >= prime || m(root * root) !== square) return null;
      return [at, (root & 1n) === (odd ? 1n : 0n) ? root : prime - root, 1n];
    },
    flat([X, Y, Z]) {
      if (!Z) return null;
      const z = inverse(Z, prime);
      return [m(X * z * z), m(Y * z * z * z)];
    },
  };
}

const P256 = weierstrass({
  prime: 2n ** 256n - 2n ** 224n + 2n ** 192n + 2n ** 96n - 1n,
  a: -3n,
  b: 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604bn,
  order: 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n,
  x: 0x6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296n,
  y: 0x4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5n,
});

const P384 = weierstrass({
  prime: 2n ** 384n - 2n ** 128n - 2n ** 96n + 2n ** 32n - 1n,
  a: -3n,
  b: 0xb3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aefn,
  order: 0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n,
  x: 0xaa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab7n,
  y: 0x3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5fn,
});

const SECP256K1 = weierstrass({
  prime: 2n ** 256n - 2n ** 32n - 977n,
  a: 0n,
  b: 7n,
  order: 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n,
  x: 0x79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798n,
  y: 0x483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8n,
});

/* The point of a compressed key, or null. */
const point = (curve, key) => (key.length === 33 && (key[0] === 2 || key[0] === 3) ? curve.lift(integer(key.slice(1)), key[0] === 3) : null);

/** Whether 33 bytes are a point of the curve of this algorithm; of others nothing is asked. */
export const isPoint = (algorithm, key) =>
  algorithm === "p256" ? point(P256, key) !== null : algorithm === "secp256k1" ? point(SECP256K1, key) !== null : true;

/** A compressed P-256 key with both its coordinates (SEC 1 §2.3.3), or null. */
export function uncompressed(key) {
  const found = point(P256, key);
  return found && concat(Uint8Array.of(4), bytesOf(found[0], 32), bytesOf(found[1], 32));
}

/* FIPS 186-5 §6.4.2, from the leftmost bits of a digest on. */
function ecdsa(curve, Q, digest, r, s) {
  const { order, size } = curve;
  if (!r || !s || r >= order || s >= order) return false;
  const w = inverse(s, order);
  const e = integer(digest.slice(0, size));
  const found = curve.flat(combine(curve, (e * w) % order, curve.base, (r * w) % order, Q));
  return found !== null && found[0] % order === r;
}

/** ECDSA with SHA-256, the key compressed and the signature `r ‖ s` (statement.md §5). */
export function p256(key, message, signature) {
  const Q = point(P256, key);
  return Q !== null && signature.length === 64 && ecdsa(P256, Q, sha256(message), integer(signature.slice(0, 32)), integer(signature.slice(32)));
}

const NAMED = { p256: P256, p384: P384 };

/** The uncompressed point of a named curve (SEC 1 §2.3.4), or null. */
export function plainPoint(name, bytes) {
  const curve = NAMED[name];
  const { size } = curve;
  if (bytes.length !== 2 * size + 1 || bytes[0] !== 4) return null;
  const found = [integer(bytes.slice(1, size + 1)), integer(bytes.slice(size + 1))];
  return curve.has(found) ? { curve: name, x: found[0], y: found[1] } : null;
}

/** Whether `r` and `s` sign a digest by the key that is this point. */
export const signsDigest = ({ curve, x, y }, digest, r, s) => ecdsa(NAMED[curve], [x, y, 1n], digest, r, s);

const addressOf = ([x, y]) => keccak256(bytesOf(x, 32), bytesOf(y, 32)).slice(12);

/** The 20 bytes of the address of a compressed secp256k1 key (round.md §4), or null. */
export function evmAddress(key) {
  const found = point(SECP256K1, key);
  return found && addressOf(found);
}

/** The address that signed a digest with `r ‖ s ‖ v`, or null where nobody can have. */
export function evmSigner(digest, signature) {
  const { order } = SECP256K1;
  const [r, s] = [integer(signature.slice(0, 32)), integer(signature.slice(32, 64))];
  const R = SECP256K1.lift(r, signature[64] === 28);
  if (R === null) return null;
  const w = inverse(r, order);
  const z = integer(digest) % order;
  const found = SECP256K1.flat(combine(SECP256K1, mod(-z * w, order), SECP256K1.base, (s * w) % order, R));
  return found && addressOf(found);
}

/** Whether an `r ‖ s ‖ v` is of the form that round.md §4 gives it: in range, low `s`, `v` 27 or 28. */
export function isEVMSignature(signature) {
  const [r, s] = [integer(signature.slice(0, 32)), integer(signature.slice(32, 64))];
  const { order } = SECP256K1;
  return r > 0n && r < order && s > 0n && s <= order / 2n && (signature[64] === 27 || signature[64] === 28);
}

/** Whether a signature by a key of this algorithm holds. */
export function holds(algorithm, key, message, signature) {
  if (algorithm === "ed25519") return ed25519(key, message, signature);
  return algorithm === "p256" && p256(key, message, signature);
}

