/* The lane `enclave`, and the same question about the keys of other nodes (lanes.md §3(4)). */

import { judgeAttestation } from "../attestation/judge.js";
import { hex } from "../bytes.js";
import { sha256 } from "../hashes.js";

const SPEC = "lanes.md §3(4)";

/* What attestations come to, each with the state and basis that it gives; the first that one of them is decides. */
const STATES = {
  bad: ["refuted", null],
  development: ["unknown", "development"],
  hardware: ["proven", "hardware"],
  expired: ["expired", null],
  undated: ["pending", null],
  unread: ["unknown", null],
};
const ORDER = Object.keys(STATES);

/* When the statements of a node were made, as far as anybody knows. */
function momentOf(appraisal, statements) {
  const dated = statements.map((statement) => appraisal.settling.trustedTime(statement.digest));
  const start = Math.min(...statements.map(({ claimedAt }) => claimedAt));
  const end = dated.some((at) => at === null) ? appraisal.at : Math.max(...dated);
  const late = statements.some((statement, at) => dated[at] === null && appraisal.at - statement.claimedAt > appraisal.policy.maxSpan);
  return { start, end: Math.max(start, end), late, doubted: statements.some((statement) => appraisal.refusals.get(statement.digest)) };
}

const ANSWERS = { hardware: "yes", bad: "no" };

/** What the attestations of a node's key come to for `statements` of its own: `{state, basis, says, evidence, found, shown}`, where
    `shown` has the digests of all of them. Checks go to `lanes`. */
export function judgeKey(appraisal, id, statements, lanes) {
  const { trust, transcript, journal } = appraisal;
  const nothing = (says) => ({ state: "unknown", basis: null, says, evidence: [], found: [], shown: [] });
  const node = trust?.node(id);
  const shown = new Map(journal.filter((item) => item.kind === "attestation" && item.node === id).map((item) => [`${item.format} ${hex(sha256(item.evidence))}`, item]));
  if (!trust) return nothing("Without trust nobody here can say who attests what");
  if (!node || !statements.length) return nothing("Trust does not admit the node that signed");
  if (!shown.size) return nothing("No attestation of the signing key was presented");
  const moment = momentOf(appraisal, statements);
  const found = [...shown.values()].map((item) => ({ ...judgeAttestation(item, node, moment, trust), digest: hex(sha256(item.evidence)) }));
  for (const item of found) {
    for (const check of item.told ?? []) transcript.add(check.spec, check.answer, check.says, lanes, check.code, id);
    transcript.add(SPEC, ANSWERS[item.answer] ?? "cannot_tell", item.says, lanes, item.code, id);
  }
  const first = ORDER.find((answer) => found.some((item) => item.answer === answer));
  const deciding = found.filter((item) => item.answer === first);
  const [state, basis] = STATES[first];
  return { state, basis, says: deciding[0].says, evidence: deciding.map(({ digest }) => digest), found: deciding, shown: found.map(({ digest }) => digest) };
}

export const doesNotSay = "This does not say that what was measured is good software, nor that the answer is any good.";

/** The lane. */
export function judgeEnclave(appraisal) {
  const attester = (appraisal.closing ?? appraisal.route)?.attester;
  if (!attester) return { state: "unknown", basis: null, says: "Nothing is signed yet, so nobody's key is asked about", evidence: [], found: [] };
  const own = [...appraisal.closure].filter((statement) => statement.attester === attester);
  return judgeKey(appraisal, attester, own, ["enclave"]);
}
