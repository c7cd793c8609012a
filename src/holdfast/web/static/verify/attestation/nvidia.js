/* Reports of NVIDIA's GPUs: an SPDM 1.1 request for measurements and its signed response (attestation.md §4.4; DMTF DSP0274 §10.11). */

import { Malformed, Undecided } from "../answers.js";
import { hex, integer } from "../bytes.js";
import { signsDigest } from "../curves.js";
import { sha384 } from "../hashes.js";
import { NOBODY } from "./binding.js";
import { splitCertificates } from "./certificates.js";
import { readChain, refuse, verifyChain } from "./chain.js";

const LARGEST = 65_536;
const REQUEST = 37;
const SIGNATURE = 96;
const malformed = (about, says) => {
  throw new Malformed(`nvidia.${about}`, says);
};

const u16 = (bytes, at) => bytes[at] | (bytes[at + 1] << 8);

/* Blocks of a record: index, specification, size; in it kind, size and value (DSP0274 table 53). */
function readMeasurements(record, count) {
  const found = {};
  let at = 0;
  for (let number = 0; number < count; number += 1) {
    const size = u16(record, at + 2);
    if (at + 7 > record.length || at + 4 + size > record.length) malformed("measurements", "measurements are longer than their record");
    if (record[at + 1] !== 1 || u16(record, at + 5) !== size - 3 || size < 4) malformed("measurements", "a measurement is of another form than DMTF's");
    const name = `measurement${record[at]}`;
    if (Object.hasOwn(found, name)) malformed("measurements", "a measurement occurs twice");
    found[name] = hex(record.slice(at + 7, at + 4 + size));
    at += 4 + size;
  }
  if (at !== record.length || !count) malformed("measurements", "measurements are shorter than their record");
  return found;
}

function checkOpaque(bytes) {
  for (let at = 0; at < bytes.length; at += 4 + u16(bytes, at + 2)) if (at + 4 > bytes.length || at + 4 + u16(bytes, at + 2) > bytes.length) malformed("opaque", "a field of the opaque data ends early");
}

/** Request and response in their form. */
export function parseNvidia(bytes) {
  if (bytes.length > LARGEST) throw new Malformed("attestation.size", `a report has at most ${LARGEST} bytes`);
  const answer = bytes.slice(REQUEST);
  const good = bytes[0] === 0x11 && bytes[1] === 0xe0 && answer[0] === 0x11 && answer[1] === 0x60;
  if (bytes.length < REQUEST + 8 + 34 + SIGNATURE || !good) malformed("spdm", "expected an SPDM 1.1 measurement request and its signed response");
  const size = u16(answer, 5) | (answer[7] << 16);
  const rest = 8 + size;
  const opaque = u16(answer, rest + 32);
  if (answer.length < rest + 34 || rest + 34 + opaque + SIGNATURE !== answer.length) malformed("spdm", "the response is of another size than it says");
  checkOpaque(answer.slice(rest + 34, rest + 34 + opaque));
  return { measurements: readMeasurements(answer.slice(8, rest), answer[4]), nonce: hex(bytes.slice(4, 36)), signed: bytes.slice(0, -SIGNATURE), signature: bytes.slice(-SIGNATURE) };
}

/** What a report says, once signature and chain are known to hold. */
export function verifyNvidia(report, roots, { collateral }) {
  if (collateral === null) throw new Undecided("attestation.collateral_missing", "the certificates of the GPU have to be given as collateral");
  const { leaf, root, span } = verifyChain(readChain(splitCertificates(collateral)), roots);
  if (leaf.key.curve !== "p384") refuse("leaf", "a report is signed with P-384");
  const [r, s] = [integer(report.signature.slice(0, 48)), integer(report.signature.slice(48))];
  if (!signsDigest(leaf.key.point, sha384(report.signed), r, s)) refuse("signature", "the signature of the report does not verify");
  return {
    tee: "nvidia",
    root,
    span,
    measurements: report.measurements,
    debug: null,
    ...NOBODY,
    nonce: report.nonce,
    untold: ["whether the measurements are the right ones, and whether a certificate was revoked, was not looked at", "nothing says when the report was made"],
  };
}
