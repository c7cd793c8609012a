/* The lane `computation` (lanes.md §3(7)): whether the output follows from artifact and input, only as far as the run's mode can say. */

import { checkProof } from "../documents/proof.js";
import { judgeKey } from "./enclave.js";

const LANE = ["computation"];
const MODES = { VANILLA: "signed, and nothing else", TEE: "by a key that an enclave attests", ZKML: "with a proof" };

export const doesNotSay = "This does not say more than its mode can.";

/** Whether nothing was sent to anybody: an agent run, or a step of one (agents.md). */
export const isOwn = ({ route }) => ["agent", "step"].includes(route?.endpoint);

/** The statement of the inference node whose answer the closing statement names; undefined for other runs. */
export const computedOf = (appraisal) => appraisal.closing?.parents.map((digest) => appraisal.shown(digest)).find((parent) => parent?.kind === "execution" && parent.event === "computed");

/** What a lane comes to whose `computed` statement does not stand; null where it does. */
export function unacceptable({ trust, ranOut, refusals, dates, settling }, statement) {
  if (!trust) return ["unknown", null, "Without trust nobody here can say who computed this"];
  if (ranOut.has(statement)) return ["expired", null, "The node's key has run out, and no quorum dated its statement"];
  const verdict = settling.verdicts.get(statement.digest)?.code ?? "";
  const why = refusals.get(statement.digest) ?? dates.get(statement.digest) ?? (verdict.startsWith("refuted:") ? verdict : null);
  return why && ["refuted", null, `What the inference node signed is not acceptable (${why})`];
}

/* Holds what opens proofs against the statements; the proof itself full nodes verify (inference.md §5(5)). */
function checkProofs(appraisal) {
  const { transcript } = appraisal;
  for (const item of appraisal.of("proof")) {
    const proved = appraisal.shown(item.digest);
    const computed = proved?.parents.map((digest) => appraisal.shown(digest)).find(Boolean);
    if (!computed) transcript.cannotTell("inference.md §5(5)", "What a document proves is not here", LANE, "proof.unbound", item.digest);
    else transcript.attempt("inference.md §5(5)", "The proof's document is about this request and this response; whether the proof verifies is another check", LANE, () => checkProof(proved, computed, item), item.digest);
  }
}

/* What speaks against the lane. That one who looked again is not to be believed, or is refuted, leaves it as it is. */
const contradicted = ({ transcript }) => transcript.checks.find(({ answer, lanes, spec, code }) => answer === "no" && lanes.includes("computation") && spec !== "statement.md §7(2) to §7(5)" && code !== "round.refuted");

/* Acceptable statements of those who looked again, in order of the times they claim. */
function followUps(appraisal, event) {
  const { refusals, ranOut, dates, settling } = appraisal;
  const refuted = ({ digest }) => settling.verdicts.get(digest)?.code.startsWith("refuted:");
  const fits = (statement) => statement.event === event && !appraisal.early(statement) && !refusals.get(statement.digest) && !ranOut.has(statement) && !dates.get(statement.digest);
  const found = appraisal.followUps.filter((statement) => fits(statement) && (event === "proved" || !refuted(statement)));
  return found.sort((left, right) => left.claimedAt - right.claimedAt || (left.digest < right.digest ? -1 : 1));
}

const said = ({ mode, runtime, version, optimisation, threads, instructions }) => `Mode ${mode}: ${MODES[mode]}; run by ${runtime} ${version}, optimisation ${optimisation}, threads ${threads}, ${instructions}`;

function compared({ attester, comparison, computation: { instructions } }) {
  const who = `inference node ${attester.slice(0, 12)} (${instructions}) ran it again`;
  return { equal: `${who}: every bit is equal`, within: `${who}: equal within the tolerance, not in every bit`, different: `${who} and got another answer` }[comparison];
}

function byProof(appraisal, { computation: how }, told) {
  const proofs = followUps(appraisal, "proved");
  const shown = proofs.map(({ digest }) => digest);
  if (!proofs.length) return ["pending", null, `${told}; the proof is not here yet`, shown];
  const own = how.circuit.srs === "development";
  const srs = own ? "; the reference string is the node's own: whoever made it could forge proofs" : "";
  const verdict = appraisal.settling.verdicts.get(proofs[0].digest)?.code;
  if (!verdict) return ["pending", null, `${told}; the proof is signed, and no final round has a verdict on it yet${srs}`, shown];
  if (verdict === "ok") return ["proven", own || appraisal.trust.development ? "development" : "proof", `${told}; full nodes checked the proof, and it holds${srs}`, shown];
  if (verdict === "cannot_tell") return ["unknown", null, `${told}; full nodes could not verify the proof: they cannot get at it, or have no verifier${srs}`, shown];
  return ["refuted", "proof", `${told}; full nodes refused the proof (${verdict})`, shown];
}

function byEnclave(appraisal, { attester }, told) {
  const own = [...appraisal.closure].filter((statement) => statement.attester === attester);
  const { state, basis, says, evidence } = judgeKey(appraisal, attester, own, ["enclave", ...LANE]);
  return [state, basis, `${told}; of the node's key: ${says}`, [attester, ...(state === "proven" ? evidence : [])]];
}

function byMode(appraisal, computed, told, again) {
  if (computed.computation.mode === "ZKML") return byProof(appraisal, computed, told);
  if (computed.computation.mode === "TEE") return byEnclave(appraisal, computed, told);
  return again.length ? ["proven", "observed", told, []] : ["unknown", "signature", `${told}; it is the node's word: nobody else has run it`, []];
}

function judged(appraisal, computed) {
  const wrong = unacceptable(appraisal, computed);
  if (wrong) return [...wrong, []];
  const refused = contradicted(appraisal);
  if (refused) return ["refuted", null, refused.says, []];
  const told = said(computed.computation);
  const again = followUps(appraisal, "recomputed");
  const other = again.find(({ comparison }) => comparison === "different");
  if (other) {
    appraisal.transcript.no("lanes.md §3(7)", "Another node ran the same again and got another answer", LANE, null, other.digest);
    return ["refuted", "observed", `${told}; ${compared(other)}: one of the two is wrong`, [other.digest]];
  }
  const [state, basis, says, shown] = byMode(appraisal, computed, told, again);
  return [state, basis, [says, ...again.map(compared)].join("; "), [...shown, ...again.map(({ digest }) => digest)]];
}

/** The lane. */
export function judgeComputation(appraisal) {
  checkProofs(appraisal);
  const { closing } = appraisal;
  const computed = computedOf(appraisal);
  if (!closing) return { state: "unknown", basis: null, says: "Nothing has been computed that could be checked", evidence: [] };
  if (computed) {
    const [state, basis, says, shown] = judged(appraisal, computed);
    return { state, basis, says, evidence: [computed.digest, ...shown] };
  }
  const own = isOwn(appraisal);
  const says = own ? "What was done here is the word of whoever ran it; the gateway signed that it was told so, and when" : "The gateway signed what its upstream returned; nothing here shows how the upstream made it";
  return { state: "unknown", basis: own ? "operator_claim" : "provider_claim", says, evidence: [closing.digest] };
}
