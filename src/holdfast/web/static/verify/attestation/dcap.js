/* Verifying a quote of SGX or TDX with Intel's collateral (attestation.md §4.3(1) to §4.3(6)). */

import { Malformed, Undecided } from "../answers.js";
import { concat, equal, integer } from "../bytes.js";
import { signsDigest } from "../curves.js";
import { sha256 } from "../hashes.js";
import { boundByReport, nonceOfReport } from "./binding.js";
import { readChain, refuse, spanOf, verifyChain } from "./chain.js";
import { signedWith } from "./certificates.js";
import { readCollateral } from "./collateral.js";
import { wholly } from "./der.js";
import { STATUSES } from "./statuses.js";

const SGX_EXTENSION = "1.2.840.113741.1.13.1";

const signs = (point, message, signature) => signsDigest(point, sha256(message), integer(signature.slice(0, 32)), integer(signature.slice(32)));

const masked = (bytes, mask) => bytes.map((byte, at) => byte & mask[at]);

/* --- the platform's certificate (Intel's PCK certificate profile) --- */

/* The elements of an SGX extension: `name` to a reader of its value. */
function named(reader) {
  const found = new Map();
  while (reader.more) {
    const fields = reader.inner();
    const name = fields.oid().slice(SGX_EXTENSION.length + 1);
    if (found.has(name)) throw new Malformed("quote.pck", "an element of the SGX extension occurs twice");
    found.set(name, fields);
  }
  return found;
}

function readPlatform(certificate) {
  const extension = certificate.extensions.get(SGX_EXTENSION);
  if (!extension) throw new Malformed("quote.pck", "the platform's certificate has no SGX extension");
  const elements = wholly(extension.value, (reader) => named(reader.inner()));
  const take = (from, name, read) => {
    const fields = from.get(name) ?? missing();
    const value = read(fields);
    fields.end();
    return value;
  };
  const tcb = take(elements, "2", (fields) => named(fields.inner()));
  const numbers = Array.from({ length: 17 }, (_, at) => take(tcb, `2.${at + 1}`, (fields) => Number(fields.integer(3))));
  return { components: numbers.slice(0, 16), pceSvn: numbers[16], pceId: take(elements, "3", (fields) => fields.octets()), fmspc: take(elements, "4", (fields) => fields.octets()) };
}

function missing() {
  throw new Malformed("quote.pck", "the SGX extension lacks an element");
}

/* --- collateral --- */

/* A document of Intel's: its chain, that its signer is on no list, and its signature (1). */
function verifyDocument(document, rootList, roots) {
  if (document.chain.length < 2) throw new Malformed("certificate.count", "a chain has a signer and a root");
  const { leaf, root, span } = verifyChain(document.chain, roots);
  if (document.chain.slice(0, -1).some(({ serial }) => rootList.serials.has(serial))) refuse("revoked", "the certificate that signed the collateral is revoked");
  if (leaf.key.curve !== "p256" || !signs(leaf.key.point, document.written, document.signature)) refuse("signature", "the signature of a document of Intel's does not verify");
  return { root, span: spanOf([span, document]) };
}

function signedList(list, issuer) {
  if (!equal(list.issuer, issuer.subject) || !signedWith(issuer.key, list.signed)) refuse("chain", "a revocation list is not signed by the authority that it is shown with");
}

/** Every span that the collateral has, and the root that all of it ends at. */
function verifyCollateral({ rootList, platformList, platformIssuers, levels, identity }, roots) {
  const documents = [levels, identity].map((document) => verifyDocument(document, rootList, roots));
  const [{ root }] = documents;
  const ends = [documents[1].root, platformIssuers.at(-1)];
  if (!ends.every((end) => equal(end.bytes, root.bytes))) refuse("collateral", "the collateral ends at several roots");
  signedList(rootList, root);
  signedList(platformList, platformIssuers[0]);
  return { root, span: spanOf([...documents.map(({ span }) => span), rootList, platformList, ...platformIssuers]) };
}

/* --- levels (6) --- */

const reached = (levels, svn, what) => levels.find((level) => level.svn <= svn) ?? refuse("tcb", `the ${what} is older than every level that Intel lists`);
const worse = (left, right) => (STATUSES.indexOf(left.status) >= STATUSES.indexOf(right.status) ? left : right);

function platformLevel(levels, platform, svn, from) {
  const fits = (level) =>
    level.sgx.every((least, at) => platform.components[at] >= least) && platform.pceSvn >= level.pceSvn && (svn === null || level.tdx.every((least, at) => at < from || svn[at] >= least));
  return levels.find(fits) ?? refuse("tcb", "the platform reaches no level that Intel lists");
}

/* The module's own version by its first two components; the level of one that has an identity of its own. */
function moduleLevel(info, { signer, attributes }, svn) {
  const [least, version] = svn;
  const own = version ? info.modules.find(({ id }) => id === `TDX_${version.toString(16).toUpperCase().padStart(2, "0")}`) : info.module;
  if (!own || !equal(own.signer, signer) || !equal(masked(attributes, own.mask), own.attributes)) refuse("tdx_module", "the TDX module is not one that Intel describes");
  return version ? reached(own.levels, least, "TDX module") : null;
}

const STALE = { UpToDate: "OutOfDate", SWHardeningNeeded: "OutOfDate", ConfigurationNeeded: "OutOfDateConfigurationNeeded", ConfigurationAndSWHardeningNeeded: "OutOfDateConfigurationNeeded" };

/* A platform's level with those of what runs on it. */
function together(platform, others) {
  if ([platform, ...others].some(({ status }) => status === "Revoked")) refuse("tcb", "Intel has revoked a level of it");
  const stale = others.some(({ status }) => status.startsWith("OutOfDate"));
  return { status: stale ? (STALE[platform.status] ?? platform.status) : platform.status, advisories: [...new Set([platform, ...others].flatMap(({ advisories }) => advisories))].sort() };
}

function judge(info, body, platform, enclave) {
  if (info.tee === "sgx") return together(platformLevel(info.levels, platform, null, 0), [enclave]);
  const each = [body.svn, body.svnNow].filter((svn) => svn !== null).map((svn) => {
    const module = moduleLevel(info, body.module, svn);
    return together(platformLevel(info.levels, platform, svn, module ? 2 : 0), module ? [enclave, module] : [enclave]);
  });
  const found = each.reduce(worse);
  return { ...found, advisories: [...new Set(each.flatMap(({ advisories }) => advisories))].sort() };
}

/* --- the quote --- */

/* (4): who signed what, from the platform's key to the body. */
function verifySignatures(quote, leaf) {
  if (leaf.key.curve !== "p256") refuse("leaf", "a platform's key is of P-256");
  const data = concat(sha256(quote.key, quote.authentication), new Uint8Array(32));
  const held = signs(leaf.key.point, quote.report.bytes, quote.reportSignature) && equal(quote.report.data, data) && signs(quote.point, quote.signed, quote.signature);
  if (!held) refuse("signature", "the signature of the quote does not verify");
}

function verifyEnclave(identity, report) {
  const right =
    equal(masked(report.misc, identity.miscMask), identity.misc) && equal(masked(report.attributes, identity.mask), identity.attributes) && equal(report.signer, identity.signer) && report.product === identity.product && !report.debug;
  if (!right) refuse("quoting_enclave", "the quoting enclave is not the one that Intel describes");
}

const SEPT_VE_DISABLE = 0x10;

/** What a quote says, once signatures, chains and levels are known to hold. */
export function verifyDcap(quote, roots, { collateral, binding, keyDocument }) {
  const chain = readChain(quote.chain);
  if (collateral === null) throw new Undecided("attestation.collateral_missing", "Intel's answers have to be given as collateral");
  const told = readCollateral(collateral);
  const platform = readPlatform(chain[0]);
  const vouched = verifyCollateral(told, roots);
  const { leaf, root, span } = verifyChain(chain, roots);
  if (chain.length !== 3) throw new Malformed("certificate.count", "the chain is the platform's, its issuer's and the root's");
  if (!equal(root.bytes, vouched.root.bytes) || !equal(chain[1].bytes, told.platformIssuers[0].bytes)) refuse("collateral", "the collateral is of another authority than the platform");
  if (told.platformList.serials.has(leaf.serial) || told.rootList.serials.has(chain[1].serial)) refuse("revoked", "the certificate of the platform is revoked");
  verifySignatures(quote, leaf);
  const { levels, identity } = told;
  if (levels.tee !== quote.tee || identity.tee !== quote.tee) refuse("collateral", "the collateral is of another TEE");
  verifyEnclave(identity, quote.report);
  if (quote.tee === "tdx" && !(quote.body.attributes[3] & SEPT_VE_DISABLE)) refuse("td_attributes", "the domain lets its host raise exceptions in it");
  if (!equal(levels.fmspc, platform.fmspc) || !equal(levels.pceId, platform.pceId)) refuse("collateral", "the collateral is of another platform");
  const tcb = judge(levels, quote.body, platform, reached(identity.levels, quote.report.svn, "quoting enclave"));
  return {
    tee: quote.tee,
    root,
    span: spanOf([span, vouched.span]),
    measurements: quote.body.measurements,
    debug: quote.body.debug,
    ...boundByReport(quote.body.data, binding, keyDocument),
    nonce: nonceOfReport(quote.body.data),
    tcb: tcb.status,
    advisories: tcb.advisories,
    versions: quote.tee === "sgx" ? { isv_prod_id: quote.body.product, isv_svn: quote.body.svn } : {},
    untold: ["nothing says when the quote was made"],
  };
}
