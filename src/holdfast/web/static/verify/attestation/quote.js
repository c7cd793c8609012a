/* Quotes of Intel's SGX and TDX in their form (attestation.md §4.3; Intel's DCAP quote library API, appendix A). */

import { Malformed, Undecided } from "../answers.js";
import { equal, hex, integer, unhex } from "../bytes.js";
import { plainPoint } from "../curves.js";
import { splitCertificates } from "./certificates.js";

const LARGEST = 65_536;
const MOST_ZEROS = 16_384;
const ECDSA_P256 = 2;
const INTEL = unhex("939a7233f79c4ca9940a0db3957f0607");
const [SGX, TDX] = [0, 0x81];
const [PCK_CHAIN, OF_QUOTING_ENCLAVE] = [5, 6];
/* Sizes of what names a platform by an id: plain, and encrypted to keys of 2048 and 3072 bits. */
const IDS = { 1: 36, 2: 276, 3: 404 };
const REPORT = 384;

const malformed = (about, says) => {
  throw new Malformed(`quote.${about}`, says);
};

/* Reads one field after the other, little-endian. */
class Fields {
  #at = 0;

  constructor(bytes) {
    this.bytes = bytes;
  }

  get at() {
    return this.#at;
  }

  take(size) {
    if (size > this.bytes.length - this.#at) malformed("truncated", "the quote ends inside a field");
    this.#at += size;
    return this.bytes.slice(this.#at - size, this.#at);
  }

  number(size) {
    return Number(integer(this.take(size).reverse()));
  }

  rest() {
    return this.take(this.bytes.length - this.#at);
  }
}

const at = (bytes, from, size) => bytes.slice(from, from + size);
const u16 = (bytes, from) => bytes[from] | (bytes[from + 1] << 8);

/** A report of an SGX enclave. */
function sgxReport(bytes) {
  return {
    bytes,
    cpuSvn: at(bytes, 0, 16),
    misc: at(bytes, 16, 4),
    attributes: at(bytes, 48, 16),
    signer: at(bytes, 128, 32),
    product: u16(bytes, 256),
    svn: u16(bytes, 258),
    data: at(bytes, 320, 64),
    measurements: { mr_enclave: hex(at(bytes, 64, 32)), mr_signer: hex(at(bytes, 128, 32)), attributes: hex(at(bytes, 48, 16)) },
    debug: Boolean(bytes[48] & 2),
  };
}

const TD = { mr_td: 136, mr_config_id: 184, mr_owner: 232, mr_owner_config: 280, rt_mr0: 328, rt_mr1: 376, rt_mr2: 424, rt_mr3: 472, mr_seam: 16 };

/* A report of a TDX domain, of TDX 1.0 or, with two fields more, 1.5. */
function tdReport(bytes) {
  const later = bytes.length > 584;
  const registers = Object.fromEntries(Object.entries(TD).map(([name, from]) => [name, hex(at(bytes, from, 48))]));
  const attributes = at(bytes, 120, 8);
  return {
    svn: at(bytes, 0, 16),
    svnNow: later ? at(bytes, 584, 16) : null,
    module: { signer: at(bytes, 64, 48), attributes: at(bytes, 112, 8) },
    attributes,
    data: at(bytes, 520, 64),
    measurements: { ...registers, ...(later ? { mr_service_td: hex(at(bytes, 600, 48)) } : {}), td_attributes: hex(attributes), xfam: hex(at(bytes, 128, 8)) },
    debug: attributes[0] !== 0,
  };
}

/* Bodies by kind: 1 SGX, 2 TDX 1.0, 3 TDX 1.5. */
const BODIES = { 1: [SGX, REPORT, sgxReport], 2: [TDX, 584, tdReport], 3: [TDX, 648, tdReport] };

function readBody(fields, version, tee) {
  const kind = version === 5 ? fields.number(2) : tee === SGX ? 1 : 2;
  const [of, size, read] = BODIES[kind] ?? malformed("body", "no such kind of body");
  if (of !== tee || (version === 5 && fields.number(4) !== size)) malformed("body", "the body is of another kind or size than it says");
  return read(fields.take(size));
}

/* What certifies the quoting enclave: its report, and the platform's chain. */
function readCertification(fields) {
  const report = sgxReport(fields.take(REPORT));
  const signature = fields.take(64);
  const authentication = fields.take(fields.number(2));
  const [kind, size] = [fields.number(2), fields.number(4)];
  if (kind !== PCK_CHAIN && IDS[kind] !== size) malformed("certification", "the certification data are of a kind or size that nobody writes");
  return { report, reportSignature: signature, authentication, kind, data: fields.take(size) };
}

function certificationOf(fields, version) {
  if (version === 3) return readCertification(fields);
  const [kind, size] = [fields.number(2), fields.number(4)];
  if (kind !== OF_QUOTING_ENCLAVE) malformed("certification", "the certification data are of a kind that nobody writes");
  const inner = new Fields(fields.take(size));
  const found = readCertification(inner);
  if (inner.at !== inner.bytes.length) malformed("certification", "the certification data are of another size than they say");
  return found;
}

/* Chains in quotes end in a zero byte where C wrote them. */
const chainBytes = (data) => (data.at(-1) === 0 ? data.slice(0, -1) : data);

/** A quote in its form. */
export function parseQuote(bytes) {
  if (bytes.length > LARGEST) throw new Malformed("attestation.size", `a quote has at most ${LARGEST} bytes`);
  const fields = new Fields(bytes);
  const [version, keyType, tee] = [fields.number(2), fields.number(2), fields.number(4)];
  if (version < 3 || version > 5 || (tee !== SGX && tee !== TDX) || (version === 3 && tee !== SGX)) malformed("version", "quotes of SGX have version 3, 4 or 5, of TDX 4 or 5");
  fields.take(4);
  if (keyType !== ECDSA_P256 || !equal(fields.take(16), INTEL)) malformed("key", "quotes are signed with ECDSA P-256 by Intel's quoting enclave");
  fields.take(20);
  const body = readBody(fields, version, tee);
  const signed = bytes.slice(0, fields.at);
  const signing = new Fields(fields.take(fields.number(4)));
  const [signature, key] = [signing.take(64), signing.take(64)];
  const certification = certificationOf(signing, version);
  if (signing.at !== signing.bytes.length) malformed("certification", "the signature is of another size than it says");
  const zeros = fields.rest();
  if (zeros.length > MOST_ZEROS || zeros.some((byte) => byte)) malformed("trailing", "nothing but zeros follows a quote");
  if (certification.kind !== PCK_CHAIN) throw new Undecided("attestation.platform", "the quote names its platform without the certificate that would vouch for it");
  const point = plainPoint("p256", Uint8Array.of(4, ...key)) ?? malformed("key", "the attestation key is no point of P-256");
  return { tee: tee === SGX ? "sgx" : "tdx", body, signed, signature, key, point, ...certification, chain: splitCertificates(chainBytes(certification.data)) };
}
