/* HPKE in base mode, the sender's side (RFC 9180): DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-128-GCM.

   Keys are WebCrypto's: a private key is drawn for one message and never leaves it. ChaCha20-Poly1305 is not offered, because WebCrypto has none. */

import { Malformed, Rejected } from "../verify/answers.js";
import { concat, utf8 } from "../verify/bytes.js";
import { expand, extract } from "../verify/hashes.js";

export const KEM = 0x0020;
export const KDF = 0x0001;
export const AES_128_GCM = 0x0001;
export const KEY_BYTES = 16;
export const NONCE_BYTES = 12;
export const TAG_BYTES = 16;

export const u16 = (value) => Uint8Array.of(value >> 8, value & 0xff);

const VERSION = utf8("HPKE-v1");
const NOTHING = new Uint8Array(0);
const KEM_SUITE = concat(utf8("KEM"), u16(KEM));
const SUITE = concat(utf8("HPKE"), u16(KEM), u16(KDF), u16(AES_128_GCM));
const X25519 = { name: "X25519" };

const labeledExtract = (suite, salt, label, secret) => extract(salt, concat(VERSION, suite, utf8(label), secret));
const labeledExpand = (suite, prk, label, info, size) => expand(prk, concat(u16(size), VERSION, suite, utf8(label), info), size);

/** A key pair for one message. */
export async function drawPair() {
  const { privateKey, publicKey } = await crypto.subtle.generateKey(X25519, false, ["deriveBits"]);
  return { privateKey, bytes: new Uint8Array(await crypto.subtle.exportKey("raw", publicKey)) };
}

async function shared(pair, recipient) {
  let bits;
  try {
    const key = await crypto.subtle.importKey("raw", recipient, X25519, false, []);
    bits = new Uint8Array(await crypto.subtle.deriveBits({ ...X25519, public: key }, pair.privateKey, 256));
  } catch {
    throw new Malformed("hpke.key", "this public key takes part in no exchange");
  }
  if (bits.every((byte) => byte === 0)) throw new Malformed("hpke.key", "this public key takes part in no exchange");
  const prk = labeledExtract(KEM_SUITE, NOTHING, "eae_prk", bits);
  return labeledExpand(KEM_SUITE, prk, "shared_secret", concat(pair.bytes, recipient), 32);
}

/** One key of AES-128-GCM with a nonce that counts: the n-th message is sealed and opened under the n-th nonce. */
export class Counted {
  #key;
  #base;
  #count = 0;

  constructor(key, base) {
    this.#key = crypto.subtle.importKey("raw", key, "AES-GCM", false, ["encrypt", "decrypt"]);
    this.#base = base;
  }

  #nonce() {
    const nonce = this.#base.slice();
    new DataView(nonce.buffer).setUint32(NONCE_BYTES - 4, new DataView(nonce.buffer).getUint32(NONCE_BYTES - 4) ^ this.#count);
    return nonce;
  }

  async seal(plain, aad = NOTHING) {
    const found = await crypto.subtle.encrypt({ name: "AES-GCM", iv: this.#nonce(), additionalData: aad }, await this.#key, plain);
    this.#count += 1;
    return new Uint8Array(found);
  }

  /** A message that does not open raises `ohttp.open` and does not count. */
  async open(sealed, aad = NOTHING) {
    let found;
    try {
      found = await crypto.subtle.decrypt({ name: "AES-GCM", iv: this.#nonce(), additionalData: aad }, await this.#key, sealed);
    } catch {
      throw new Rejected("ohttp.open", "what came does not open: it was changed, reordered, or is no answer to this request");
    }
    this.#count += 1;
    return new Uint8Array(found);
  }
}

/** A context for one recipient: what goes before the ciphertext (`enc`), and what seals and exports. */
export async function sender(recipient, info, pair) {
  const secret = await shared(pair, recipient);
  const context = concat(Uint8Array.of(0), labeledExtract(SUITE, NOTHING, "psk_id_hash", NOTHING), labeledExtract(SUITE, NOTHING, "info_hash", info));
  const prk = labeledExtract(SUITE, secret, "secret", NOTHING);
  const key = labeledExpand(SUITE, prk, "key", context, KEY_BYTES);
  const nonce = labeledExpand(SUITE, prk, "base_nonce", context, NONCE_BYTES);
  const exporter = labeledExpand(SUITE, prk, "exp", context, 32);
  const counted = new Counted(key, nonce);
  return {
    enc: pair.bytes,
    seal: (plain) => counted.seal(plain),
    export: (label, size) => labeledExpand(SUITE, exporter, "sec", utf8(label), size),
  };
}
