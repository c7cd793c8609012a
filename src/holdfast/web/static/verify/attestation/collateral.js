/* What Intel says of its platforms (attestation.md §4.3): revocation lists, TCB info, and the identity of its quoting enclave, in their form. */

import { Malformed } from "../answers.js";
import { text, unhex, utf8 } from "../bytes.js";
import { Numeral, exactly, isObject, parse } from "../json.js";
import { readSigned, sameAlgorithm, splitCertificates } from "./certificates.js";
import { readChain } from "./chain.js";
import { Der, INTEGER, SEQUENCE, TIME, UTC_TIME, context } from "./der.js";
import { STATUSES } from "./statuses.js";

const LARGEST = 524_288;
const MEMBERS = ["pck_crl_issuer_chain", "root_ca_crl", "pck_crl", "tcb_info_issuer_chain", "tcb_info", "tcb_info_signature", "qe_identity_issuer_chain", "qe_identity", "qe_identity_signature"];

const refuse = (about, says) => {
  throw new Malformed(`collateral.${about}`, says);
};

function member(value, name) {
  if (!isObject(value) || !Object.hasOwn(value, name)) refuse("fields", "a member is missing");
  return value[name];
}

function string(value, name) {
  const found = member(value, name);
  return typeof found === "string" ? found : refuse("fields", "expected a text");
}

function number(value, name, most) {
  const found = member(value, name);
  const read = found instanceof Numeral ? found.integer : null;
  return read !== null && read >= 0 && read <= most ? read : refuse("fields", `expected a number from 0 to ${most}`);
}

function list(value, name) {
  const found = member(value, name);
  return Array.isArray(found) ? found : refuse("fields", "expected a list");
}

/* Intel writes hex in either case. */
const bytesOf = (value, name, size) => unhex(string(value, name).toLowerCase(), size, "collateral.fields");

function moment(value, name) {
  const written = string(value, name);
  const at = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(written) ? Date.parse(written) : NaN;
  if (Number.isNaN(at) || new Date(at).toISOString() !== written.replace("Z", ".000Z")) refuse("time", "times are RFC 3339 in UTC with whole seconds");
  return at;
}

function level(value, read) {
  const status = string(value, "tcbStatus");
  if (!STATUSES.includes(status)) refuse("status", "that is no TCB status");
  moment(value, "tcbDate");
  const advisories = Object.hasOwn(value, "advisoryIDs") ? list(value, "advisoryIDs") : [];
  if (!advisories.every((name) => typeof name === "string")) refuse("fields", "advisories are texts");
  return { status, advisories, ...read(member(value, "tcb")) };
}

const enclaveLevel = (item) => level(item, (tcb) => ({ svn: number(tcb, "isvsvn", 65_535) }));

function components(tcb, name) {
  const found = list(tcb, name).map((item) => number(item, "svn", 255));
  return found.length === 16 ? found : refuse("fields", "a TCB has sixteen components");
}

const moduleOf = (value) => ({ signer: bytesOf(value, "mrsigner", 48), attributes: bytesOf(value, "attributes", 8), mask: bytesOf(value, "attributesMask", 8) });

const spanOf = (value) => ({ from: moment(value, "issueDate"), until: moment(value, "nextUpdate") });

function tcbInfo(written) {
  const value = parse(written);
  const id = string(value, "id");
  if (!["SGX", "TDX"].includes(id) || number(value, "version", 255) !== 3 || number(value, "tcbType", 255) !== 0) refuse("version", "TCB info has version 3, type 0, and is of SGX or TDX");
  const tdx = id === "TDX";
  return {
    tee: id.toLowerCase(),
    ...spanOf(value),
    fmspc: bytesOf(value, "fmspc", 6),
    pceId: bytesOf(value, "pceId", 2),
    module: tdx ? moduleOf(member(value, "tdxModule")) : null,
    modules: tdx && Object.hasOwn(value, "tdxModuleIdentities") ? list(value, "tdxModuleIdentities").map((item) => ({ id: string(item, "id"), ...moduleOf(item), levels: list(item, "tcbLevels").map(enclaveLevel) })) : [],
    levels: list(value, "tcbLevels").map((item) => level(item, (tcb) => ({ sgx: components(tcb, "sgxtcbcomponents"), tdx: tdx ? components(tcb, "tdxtcbcomponents") : null, pceSvn: number(tcb, "pcesvn", 65_535) }))),
  };
}

function identity(written) {
  const value = parse(written);
  const id = string(value, "id");
  if (!["QE", "TD_QE"].includes(id) || number(value, "version", 255) !== 2) refuse("version", "the identity of a quoting enclave has version 2");
  return {
    tee: id === "QE" ? "sgx" : "tdx",
    ...spanOf(value),
    misc: bytesOf(value, "miscselect", 4),
    miscMask: bytesOf(value, "miscselectMask", 4),
    attributes: bytesOf(value, "attributes", 16),
    mask: bytesOf(value, "attributesMask", 16),
    signer: bytesOf(value, "mrsigner", 32),
    product: number(value, "isvprodid", 65_535),
    levels: list(value, "tcbLevels").map(enclaveLevel),
  };
}

/* --- revocation lists (RFC 5280 §5) --- */

const CRL_NUMBER = "2.5.29.20";
const AUTHORITY_KEY = "2.5.29.35";

function revokedSerials(reader) {
  const serials = new Set();
  while (reader.more) {
    const entry = reader.inner();
    serials.add(entry.integer());
    entry.time();
    if (entry.more) entry.next(SEQUENCE);
    entry.end();
  }
  return serials;
}

function understood(reader) {
  const extensions = reader.inner();
  while (extensions.more) {
    const fields = extensions.inner();
    const name = fields.oid();
    const critical = fields.is(0x01) && fields.boolean();
    fields.octets();
    fields.end();
    if (critical && name !== CRL_NUMBER && name !== AUTHORITY_KEY) refuse("fields", "a critical extension of a revocation list is not understood");
  }
}

/** A revocation list of its DER bytes. */
export function readList(bytes) {
  const signed = readSigned(bytes);
  const fields = new Der(signed.tbs.content);
  if (!fields.is(INTEGER) || fields.integer() !== 1n) refuse("version", "revocation lists are of version 2");
  sameAlgorithm(fields.next(SEQUENCE).content, signed.algorithm);
  const issuer = fields.next(SEQUENCE).whole;
  const from = fields.time();
  const until = fields.is(UTC_TIME) || fields.is(TIME) ? fields.time() : refuse("fields", "a revocation list says when the next one comes");
  const serials = fields.is(SEQUENCE) ? revokedSerials(fields.inner()) : new Set();
  if (fields.is(context(0))) understood(fields.inner(context(0)));
  fields.end();
  return { signed, issuer, from, until, serials };
}

const chain = (value, name) => readChain(splitCertificates(utf8(string(value, name))));
const revocations = (value, name) => readList(bytesOf(value, name, null));

/** Collateral in its form. */
export function readCollateral(bytes) {
  if (bytes.length > LARGEST) throw new Malformed("attestation.size", `collateral has at most ${LARGEST} bytes`);
  const value = exactly(parse(text(bytes)), MEMBERS, "collateral.fields", ["pck_certificate_chain"]);
  return {
    rootList: revocations(value, "root_ca_crl"),
    platformList: revocations(value, "pck_crl"),
    platformIssuers: chain(value, "pck_crl_issuer_chain"),
    levels: { written: utf8(string(value, "tcb_info")), signature: bytesOf(value, "tcb_info_signature", 64), chain: chain(value, "tcb_info_issuer_chain"), ...tcbInfo(string(value, "tcb_info")) },
    identity: { written: utf8(string(value, "qe_identity")), signature: bytesOf(value, "qe_identity_signature", 64), chain: chain(value, "qe_identity_issuer_chain"), ...identity(string(value, "qe_identity")) },
  };
}

