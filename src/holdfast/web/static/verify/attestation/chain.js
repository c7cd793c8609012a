/* Chains of certificates up to a root that was given (attestation.md §3(2) to §3(8)). */

import { Rejected, Undecided } from "../answers.js";
import { equal } from "../bytes.js";
import { BASIC_CONSTRAINTS, KEY_USAGE, readCertificate, signedWith } from "./certificates.js";

const SIGN = 0;
const SIGN_CERTIFICATES = 5;

export const refuse = (about, says) => {
  throw new Rejected(`attestation.${about}`, says);
};

function understood(certificate) {
  for (const [name, { critical }] of certificate.extensions) {
    if (critical && name !== BASIC_CONSTRAINTS && name !== KEY_USAGE) refuse("critical_extension", "a critical extension is not understood");
  }
}

function issued(certificate, issuer) {
  if (!equal(certificate.issuer, issuer.subject)) refuse("chain", "a certificate names another issuer than the one above it");
  if (!signedWith(issuer.key, certificate.signed)) refuse("chain", "a certificate is not signed by the one above it");
}

/** An authority with so many others between it and the leaf. */
function authority(certificate, below) {
  if (!certificate.authority || (certificate.usage && !certificate.usage[SIGN_CERTIFICATES])) refuse("authority", "a certificate that is no authority stands above another");
  if (certificate.pathLength !== null && below > certificate.pathLength) refuse("path_length", "more authorities stand below a certificate than it allows");
  understood(certificate);
}

/** Verifies a chain, leaf first, whose last certificate has to be one of `roots` (bytes); gives its root and its span. */
export function verifyChain(chain, roots) {
  const root = chain.at(-1);
  if (!roots.length) throw new Undecided("attestation.roots", "no root is admitted for evidence of this format");
  if (!roots.some((bytes) => equal(bytes, root.bytes))) refuse("root", "the chain does not end at an admitted root");
  const authorities = chain.slice(1);
  authorities.forEach((certificate, below) => authority(certificate, below));
  authorities.slice(0, -1).forEach((certificate, at) => issued(certificate, authorities[at + 1]));
  const [leaf, issuer] = chain;
  if (leaf.authority || (leaf.usage && !leaf.usage[SIGN])) refuse("leaf", "the certificate of the key that signed is not one of a signing key");
  understood(leaf);
  if (issuer === undefined) refuse("chain", "nobody issued the leaf");
  issued(leaf, issuer);
  return { leaf, root, span: spanOf(chain) };
}

/** What all of these are valid for; both ends belong to it. */
export const spanOf = (items) => ({ from: Math.max(...items.map(({ from }) => from)), until: Math.min(...items.map(({ until }) => until)) });

/** §3(7) */
export function checkSpan({ from, until }, at) {
  if (at < from) refuse("not_yet_valid", `it is valid from ${new Date(from).toISOString()} on`);
  if (at > until) refuse("expired", `it was valid until ${new Date(until).toISOString()}`);
}

export const readChain = (list) => list.map(readCertificate);
