/* Attestation evidence of any format (attestation.md §2): parsed, followed up to a root, and held against what is expected of it.

   Three steps with three names, each a function of its arguments. Written from spec/ alone. */

import { Malformed } from "../answers.js";
import { hex, text, unbase64 } from "../bytes.js";
import { sha256 } from "../hashes.js";
import { exactly, parse, plain } from "../json.js";
import { checkSpan, refuse } from "./chain.js";
import { verifyDcap } from "./dcap.js";
import { parseInsecure, verifyInsecure } from "./insecure.js";
import { parseNitro, verifyNitro } from "./nitro.js";
import { parseNvidia, verifyNvidia } from "./nvidia.js";
import { parseQuote } from "./quote.js";
import { fits } from "./reference.js";
import { parseSnp, verifySnp } from "./snp.js";

const FORMATS = {
  "aws-nitro": [parseNitro, verifyNitro],
  "intel-dcap": [parseQuote, verifyDcap],
  "amd-sev-snp": [parseSnp, verifySnp],
  nvidia: [parseNvidia, verifyNvidia],
  "insecure-dev": [parseInsecure, verifyInsecure],
};
export const isFormat = (format) => Object.hasOwn(FORMATS, format);
/* Of these the evidence in a bundle is what the hardware made, and never a file around it. */
const BARE = ["aws-nitro", "insecure-dev"];
const LARGEST_FILE = 1_048_576;
const BRACE = 0x7b;

const part = (value) => (value === null ? null : unbase64(value));

/** Evidence of a bundle: `{evidence, collateral, binding}`, of a file or of what the hardware made. */
export function readEvidence(format, bytes) {
  if (BARE.includes(format) || bytes[0] !== BRACE) return { evidence: bytes, collateral: null, binding: null };
  if (bytes.length > LARGEST_FILE) throw new Malformed("attestation.size", `an evidence file has at most ${LARGEST_FILE} bytes`);
  const value = exactly(plain(parse(text(bytes))), ["type", "evidence", "collateral", "binding"], "attestation.evidence");
  if (value.type !== "urn:holdfast:attestation-evidence:v1") throw new Malformed("attestation.evidence", "not an evidence file");
  return { evidence: unbase64(value.evidence), collateral: part(value.collateral), binding: part(value.binding) };
}

/* --- what never counts as hardware (§10.1) --- */

const VENDORS = {
  "aws-nitro": "641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b",
  "intel-dcap": "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3",
};
const MARK = "INSECURE simulated enclave";

function stands(format, root) {
  const marked = String.fromCharCode(...root.subject).includes(MARK);
  const another = Object.hasOwn(VENDORS, format) && VENDORS[format] !== root.digest;
  return format === "insecure-dev" || marked || another ? "development" : "hardware";
}

/** Parse and verify (§1(1), §1(2)) at a time: what the hardware said. `roots` are certificates in DER, of `insecure-dev` keys. */
export function verifyEvidence(format, { evidence, collateral = null, binding = null }, { roots, at, keyDocument = null }) {
  if (!isFormat(format)) throw new Malformed("attestation.format", `formats are ${Object.keys(FORMATS).join(", ")}`);
  const [read, verify] = FORMATS[format];
  const { span, ahead = 0, root, ...claims } = verify(read(evidence), roots, { collateral, binding, keyDocument });
  const bytes = root.bytes;
  const digest = hex(sha256(bytes));
  checkSpan(span, at);
  if ((claims.madeAt ?? at) > at + ahead) refuse("not_yet_valid", "it was made after the time asked about");
  return { madeAt: null, tcb: null, advisories: [], versions: {}, ...claims, format, span, root: { bytes, digest }, basis: stands(format, { ...root, digest }) };
}

const within = ({ from, until }, start, end) => from <= start && end < until;

function measured(claims, { references, roles, start, end }) {
  const found = references.filter((item) => item.kind === claims.format && item.reference && fits(item.reference, claims) && (!roles || roles.includes(item.role)) && within(item, start, end));
  if (!found.length) refuse("measurement", "no reference value for this role and time has these measurements");
  const best = (item) => 2 * Number(item.reference.tcb.includes(claims.tcb)) + Number(item.debug);
  return found.reduce((left, right) => (best(right) > best(left) ? right : left));
}

/** Appraise (§1(3)) claims by what is expected: raises for the first thing that is wrong, and gives what was compared, as lines with their
    answers. `keyDocument`, `nonce` and `references` are null where nobody gave any. */
export function appraiseEvidence(claims, { keyDocument = null, nonce = null, references = null, roles = null, start, end }) {
  const told = [];
  const say = (spec, answer, says, code = null) => told.push({ spec: `attestation.md ${spec}`, answer, says, code });
  if (keyDocument === null) say("§5", "cannot_tell", "No key document was given to compare with", "attestation.unbound");
  else if (claims.keyDocument === keyDocument) say("§5", "yes", "The attestation binds the key document");
  else refuse("binding", "the attestation binds another key document, or none");
  compareNonce(claims, nonce, say);
  const reference = references === null || claims.format === "insecure-dev" ? null : measured(claims, { references, roles, start, end });
  if (reference) say("§7", "yes", `The measurements are those of a reference value for ${reference.role}`);
  else say("§7", "cannot_tell", "There are no measurements to compare, or nothing to compare them with", "attestation.unmeasured");
  compareMode(claims, reference, say);
  compareFirmware(claims, reference, say);
  if (claims.basis === "development") say("§10.1", "cannot_tell", "It ends at a stand-in's root: it is no hardware's word", "attestation.development");
  for (const untold of claims.untold) say("§9", "cannot_tell", untold, "attestation.offline");
  return { reference, told };
}

function compareNonce(claims, nonce, say) {
  const digested = claims.format === "intel-dcap" || claims.format === "amd-sev-snp";
  if (nonce === null) say("§5", "cannot_tell", "No nonce was given to compare with", "attestation.no_nonce");
  else if (claims.nonce === hex(digested ? sha256(nonce) : nonce)) say("§5", "yes", "The attestation answers the nonce that was given: it is fresh");
  else refuse("nonce", "the attestation answers another nonce, or none");
}

function compareMode({ debug, format }, reference, say) {
  if (debug === null) say("§6", "cannot_tell", "The evidence does not say whether it is in debug mode", "attestation.debug");
  else if (!debug) say("§6", "yes", "It is not in debug mode");
  else if (reference?.debug || format === "insecure-dev") say("§6", "cannot_tell", "Its host can look inside, which was allowed", "attestation.debug");
  else refuse("debug", "it is in debug mode: its host can look inside");
}

function compareFirmware({ tcb, advisories }, reference, say) {
  if (tcb === null) return;
  if (reference ? !reference.reference.tcb.includes(tcb) : tcb.startsWith("OutOfDate")) refuse("tcb", `firmware that is ${tcb} is not admitted`);
  if (tcb === "UpToDate") say("§7", "yes", "The platform's firmware is up to date");
  else say("§7", "cannot_tell", `The platform's firmware is ${tcb}${advisories.length ? ` (${advisories.join(", ")})` : ""}`, "attestation.tcb");
}
