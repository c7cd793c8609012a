/* What evidence binds (attestation.md §5): a record of three digests, whole or as its own digest. */

import { Malformed, Rejected } from "../answers.js";
import { concat, equal, hex, utf8 } from "../bytes.js";
import { sha256 } from "../hashes.js";

const HEAD = concat(utf8("urn:holdfast:binding:v1"), Uint8Array.of(0));
const SIZE = HEAD.length + 96;
const NOTHING = "0".repeat(64);

export const NOBODY = { keyDocument: null, tls: null, hpke: null };

const orNull = (digest) => (digest === NOTHING ? null : digest);

/** The record of its 120 bytes. */
export function readRecord(bytes) {
  const good = bytes.length === SIZE && equal(bytes.slice(0, HEAD.length), HEAD);
  if (!good) throw new Malformed("attestation.binding_record", `a binding record has ${SIZE} bytes and begins with its name`);
  const [keyDocument, tls, hpke] = [0, 32, 64].map((at) => hex(bytes.slice(HEAD.length + at, HEAD.length + at + 32)));
  if (keyDocument === NOTHING) throw new Malformed("attestation.binding_record", "a binding record names a key document");
  return { keyDocument, tls: orNull(tls), hpke: orNull(hpke) };
}

/** Whether user data mean to be a record. */
export const isRecord = (bytes) => equal(bytes.slice(0, HEAD.length), HEAD);

/** What 64 bytes of report data bind: of the `record` that came along, or of one that names the expected key document and no more. */
export function boundByReport(data, record, expected) {
  const hash = data.slice(0, 32);
  const bytes = record ?? (expected && concat(HEAD, expected, new Uint8Array(64)));
  if (!bytes) return NOBODY;
  const told = readRecord(bytes);
  if (equal(sha256(bytes), hash)) return told;
  if (record) throw new Rejected("attestation.binding", "the binding record is not the one that was attested");
  return NOBODY;
}

/** The digest of a nonce in report data, in hex, or null. */
export const nonceOfReport = (data) => orNull(hex(data.slice(32)));
