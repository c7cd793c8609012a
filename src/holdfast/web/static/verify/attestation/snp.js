/* Attestation reports of AMD SEV-SNP (attestation.md §4.2; AMD document 56860). */

import { Malformed, Undecided } from "../answers.js";
import { equal, hex, integer } from "../bytes.js";
import { signsDigest } from "../curves.js";
import { sha384 } from "../hashes.js";
import { boundByReport, nonceOfReport } from "./binding.js";
import { splitCertificates } from "./certificates.js";
import { readChain, refuse, verifyChain } from "./chain.js";
import { wholly } from "./der.js";

const SIZE = 1184;
const SIGNED = 672;
const malformed = (about, says) => {
  throw new Malformed(`snp.${about}`, says);
};

const MEASURED = { measurement: [0x90, 48], host_data: [0xc0, 32], id_key_digest: [0xe0, 48], author_key_digest: [0x110, 48], family_id: [0x10, 16], image_id: [0x20, 16], report_id: [0x140, 32] };

/** A report in its form. */
export function parseSnp(bytes) {
  if (bytes.length !== SIZE) malformed("size", `a report has ${SIZE} bytes`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const at = ([from, size]) => bytes.slice(from, from + size);
  const version = view.getUint32(0, true);
  if (version < 2 || version > 5) malformed("version", "reports have version 2 to 5");
  const policy = view.getBigUint64(8, true);
  if (!(policy & (1n << 17n)) || view.getUint32(0x34, true) !== 1) malformed("fields", "bit 17 of the policy is one, and signatures are ECDSA P-384");
  const [r, s] = [at([SIGNED, 72]), at([SIGNED + 72, 72])];
  if ([r.slice(48), s.slice(48), at([SIGNED + 144, 368])].some((rest) => rest.some((byte) => byte))) malformed("padding", "what follows r, s and the signature is zero");
  const flags = view.getUint32(0x48, true);
  return {
    guestSvn: view.getUint32(4, true),
    debug: Boolean(policy & (1n << 19n)),
    masked: Boolean(flags & 2),
    signer: (flags >> 2) & 7,
    measurements: Object.fromEntries(Object.entries(MEASURED).map(([name, place]) => [name, hex(at(place))])),
    data: at([0x50, 64]),
    tcb: at([0x180, 8]),
    chip: at([0x1a0, 64]),
    signed: bytes.slice(0, SIGNED),
    r: integer(r.slice(0, 48).reverse()),
    s: integer(s.slice(0, 48).reverse()),
  };
}

/* --- the VCEK's own extensions (AMD document 57230 §3.1) --- */

const AMD = "1.3.6.1.4.1.3704.1";
/* Where each part of a TCB version stands in its eight bytes; Turin has them elsewhere. */
const PARTS = { boot_loader: [`${AMD}.3.1`, 0], tee: [`${AMD}.3.2`, 1], snp: [`${AMD}.3.3`, 6], microcode: [`${AMD}.3.8`, 7] };
const TURIN_PARTS = { fmc: [`${AMD}.3.9`, 0], boot_loader: [`${AMD}.3.1`, 1], tee: [`${AMD}.3.2`, 2], snp: [`${AMD}.3.3`, 3], microcode: [`${AMD}.3.8`, 7] };

function extension(certificate, name) {
  const found = certificate.extensions.get(`${AMD}.${name}`);
  if (!found) malformed("vcek", "the certificate names no product or no chip");
  return found.value;
}

/* A product's name, like `Milan-B0`, is an IA5String. */
const productOf = (certificate) => String.fromCharCode(...wholly(extension(certificate, "2"), (reader) => reader.next(0x16).content)).split("-")[0];

function partsOf(certificate) {
  const parts = productOf(certificate) === "Turin" ? TURIN_PARTS : PARTS;
  const values = Object.entries(parts).map(([name, [oid, place]]) => {
    const found = certificate.extensions.get(oid);
    if (!found) malformed("vcek", "the certificate names no firmware version");
    return { name, place, value: Number(wholly(found.value, (reader) => reader.integer(2))) };
  });
  return values;
}

/* The chip's id stands in the extension as it is, and may be shorter than the field of the report (Turin has eight bytes). */
function ofChip(certificate, chip) {
  const id = extension(certificate, "4");
  return equal(id, chip.slice(0, id.length)) && !chip.slice(id.length).some((byte) => byte) && id.length > 0;
}

/* VCEK, ASK, ARK; the last may be left out where a root has the name of the ASK's issuer. */
function chainOf(collateral, roots) {
  const chain = readChain(splitCertificates(collateral));
  if (chain.length !== 2 && chain.length !== 3) throw new Malformed("certificate.count", "expected VCEK, ASK and ARK");
  if (chain.length === 3) return chain;
  const root = readChain(roots).find((candidate) => equal(candidate.subject, chain[1].issuer));
  return root ? [...chain, root] : refuse("root", "no admitted root has the name of the ASK's issuer");
}

/** What a report says, once signature and chain are known to hold. */
export function verifySnp(report, roots, { collateral, binding, keyDocument }) {
  if (collateral === null) throw new Undecided("attestation.collateral_missing", "the certificates of the chip have to be given as collateral");
  if (report.signer !== 0) throw new Undecided("attestation.signing_key", "the report says that it is by another key than a VCEK, which is not decided");
  if (!roots.length) throw new Undecided("attestation.roots", "no root is admitted for evidence of this format");
  const { leaf, root, span } = verifyChain(chainOf(collateral, roots), roots);
  if (leaf.key.curve !== "p384") refuse("leaf", "a report is signed with P-384");
  if (!signsDigest(leaf.key.point, sha384(report.signed), report.r, report.s)) refuse("signature", "the signature of the report does not verify");
  const parts = partsOf(leaf);
  if (parts.some(({ place, value }) => report.tcb[place] !== value)) refuse("tcb", "the report is of other firmware than its certificate");
  if (!report.masked && !ofChip(leaf, report.chip)) refuse("chip", "the report is of another chip than its certificate");
  return {
    tee: "snp",
    root,
    span,
    measurements: report.measurements,
    debug: report.debug,
    ...boundByReport(report.data, binding, keyDocument),
    nonce: nonceOfReport(report.data),
    versions: { ...Object.fromEntries(parts.map(({ name, value }) => [name, value])), guest_svn: report.guestSvn },
    untold: ["AMD's revocation lists were not looked at", "nothing says when the report was made"],
  };
}
