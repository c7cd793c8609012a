/* Reference values (attestation.md §7): what a measurement may be. */

import { Malformed } from "../answers.js";
import { STATUSES } from "./statuses.js";

const HEX_48 = /^[0-9a-f]{96}$/;
const sized = (bytes) => new RegExp(`^[0-9a-f]{${2 * bytes}}$`);
const registers = (bytes, ...names) => Object.fromEntries(names.map((name) => [name, sized(bytes)]));

const PCRS = Object.fromEntries(Array.from({ length: 32 }, (_, number) => [`pcr${number}`, HEX_48]));
const TDX = { ...registers(48, "mr_td", "rt_mr0", "rt_mr1", "rt_mr2", "rt_mr3", "mr_seam", "mr_config_id", "mr_owner", "mr_owner_config", "mr_service_td"), ...registers(8, "td_attributes", "xfam") };
const SGX = { ...registers(32, "mr_enclave", "mr_signer"), ...registers(16, "attributes") };
const SNP = { ...registers(48, "measurement", "id_key_digest", "author_key_digest"), ...registers(32, "host_data"), ...registers(16, "family_id", "image_id") };
const GPU = Object.fromEntries(Array.from({ length: 255 }, (_, at) => [`measurement${at + 1}`, HEX_48]));

/* By format, and of Intel's by TEE: registers and what they hold, those that have to be named, and security versions. */
const FORMS = {
  "aws-nitro": { tee: "nitro", known: PCRS, needed: ["pcr0"], versions: [] },
  "amd-sev-snp": { tee: "snp", known: SNP, needed: ["measurement"], versions: ["boot_loader", "tee", "snp", "microcode", "fmc", "guest_svn"] },
  nvidia: { tee: "nvidia", known: GPU, needed: [], versions: [] },
  tdx: { tee: "tdx", known: TDX, needed: ["mr_td", "rt_mr1", "rt_mr2"], versions: [] },
  sgx: { tee: "sgx", known: SGX, needed: ["mr_enclave"], versions: ["isv_svn"] },
};

function refuse(says) {
  throw new Malformed("attestation.reference", says);
}

function formOf(kind, { tee }) {
  if (kind !== "intel-dcap") return FORMS[kind];
  return tee === "sgx" || tee === "tdx" ? FORMS[tee] : refuse("a measurement of intel-dcap says whether tee is sgx or tdx");
}

function readStatuses(list) {
  const good = Array.isArray(list) && list.length && list.every((status) => STATUSES.includes(status) && status !== "Revoked") && new Set(list).size === list.length;
  return good ? list : refuse("tcb is a list of statuses, and Revoked is none of them");
}

function readLeast(least, versions) {
  const good = least !== null && typeof least === "object" && Object.entries(least).every(([name, number]) => versions.includes(name) && Number.isSafeInteger(number) && number >= 0);
  return good ? least : refuse("least asks for versions that the format has");
}

/** What `value` of a measurement of this kind asks for; null where it is not read. */
export function readReference(kind, value) {
  if (kind === "insecure-dev") return null;
  const { tee, known, needed, versions } = formOf(kind, value);
  const { least = {}, tcb = ["UpToDate"], ...rest } = value;
  if (kind === "intel-dcap") delete rest.tee;
  else if ("tcb" in value) refuse("only Intel's platforms have a status");
  const names = Object.keys(rest);
  const right = names.length && needed.every((name) => names.includes(name)) && names.every((name) => Object.hasOwn(known, name) && typeof rest[name] === "string" && known[name].test(rest[name]));
  if (!right) refuse("it names registers of its format in hex, and those that have to be named");
  return { tee, registers: rest, least: readLeast(least, versions), tcb: readStatuses(tcb) };
}

/** Whether claims are what a reference value asks for. */
export const fits = ({ tee, registers: asked, least }, claims) =>
  tee === claims.tee && Object.entries(asked).every(([name, held]) => claims.measurements[name] === held) && Object.entries(least).every(([name, number]) => (claims.versions?.[name] ?? -1) >= number);
