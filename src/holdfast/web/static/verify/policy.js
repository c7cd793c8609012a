/* Appraisal policies (lanes.md §4) and requirements (§5). */

import { Malformed } from "./answers.js";
import { hex } from "./bytes.js";
import { sha256 } from "./hashes.js";
import { exactly, isObject, parseCanonical } from "./json.js";
import { isCode } from "./statements.js";

export const LANES = ["enclave", "bytes", "artifact", "computation", "inputs", "memory", "route", "privacy", "payment", "settlement", "judgement"];
const STATES = ["proven", "refuted", "pending", "unknown", "expired", "not_applicable"];
const BASES = ["hardware", "proof", "signature", "observed", "development", "provider_claim", "operator_claim", "human"];

/** The bounds that a page uses that was given no policy. */
export const USUAL = { name: "usual", maxSpan: 600_000, maxSkew: 30_000 };

function names(value, allowed) {
  const good = Array.isArray(value) && value.every((name) => allowed.includes(name)) && new Set(value).size === value.length;
  if (!good) throw new Malformed("policy.require", `expected a list of distinct names among ${allowed.join(", ")}`);
}

/** A policy of its exact bytes. */
export function readPolicy(bytes) {
  const value = exactly(parseCanonical(bytes), ["type", "name", "max_span_s", "max_skew_s", "require"], "policy.fields");
  const bounds = [value.max_span_s, value.max_skew_s].every((bound) => Number.isSafeInteger(bound) && bound >= 0);
  if (value.type !== "urn:holdfast:policy:v1" || !isCode(value.name) || !bounds || !isObject(value.require)) throw new Malformed("policy.fields", "not an appraisal policy");
  for (const lane of Object.keys(value.require)) {
    if (!LANES.includes(lane)) throw new Malformed("policy.require", "unknown lane");
    exactly(value.require[lane], ["states", "bases"], "policy.require");
    names(value.require[lane].states, STATES);
    names(value.require[lane].bases, BASES);
  }
  return { name: value.name, maxSpan: 1000 * value.max_span_s, maxSkew: 1000 * value.max_skew_s, digest: hex(sha256(bytes)) };
}

/** `LANE=STATE[:BASIS]`, or null where it is not one. */
export function readRequirement(written) {
  const cut = /^([a-z]+)=([a-z_]+)(?::([a-z_]+))?$/.exec(written);
  if (!cut || !LANES.includes(cut[1]) || !STATES.includes(cut[2]) || (cut[3] && !BASES.includes(cut[3]))) return null;
  return { lane: cut[1], state: cut[2], basis: cut[3] ?? null };
}
