/* What an attestation of a node's key comes to under trust (lanes.md §3(4)): the same question for lanes, and before anything is sealed. */

import { Malformed, Undecided, attempt } from "../answers.js";
import { hex, unhex } from "../bytes.js";
import { sha256 } from "../hashes.js";
import { appraiseEvidence, isFormat, readEvidence, verifyEvidence } from "./evidence.js";

/* Codes that say of genuine evidence that it is of another time. */
const OTHER_TIMES = { "attestation.expired": ["expired", "had run out before the statements were made"], "attestation.not_yet_valid": ["unread", "is younger than the statements"] };

/** One attestation `{format, evidence}` of a node that trust admits: `{answer, says, code, told, claims}`, where the answer is one of

    `hardware`: it verifies, binds the key document, and trust admits its root and its measurements;
    `development`: the same of a simulated enclave, of a root or trust that is marked so, or in debug mode;
    `bad`: something is wrong with it;
    `expired`, `undated`: it holds for another time, or for times that nobody vouches for;
    `unread`: nobody here can tell.

    `moment` has `start` and `end` of what the key signed, whether it is `late`, and whether a statement is `doubted`. With a `nonce` it has to answer that. */
export function judgeAttestation(item, node, moment, trust, nonce = null) {
  const roots = trust.enclaveRoots.filter(({ kind }) => kind === item.format);
  if (!isFormat(item.format)) return { answer: "unread", says: `${item.format} evidence is not read here`, code: "enclave.format" };
  if (item.format === "insecure-dev") return simulated(item, node, roots);
  if (!roots.length) return { answer: "unread", says: `${item.format} evidence was presented, and trust admits no root that it could end at`, code: "enclave.not_judged" };
  const keyDocument = node.document.id;
  const { value, refusal } = attempt(() => {
    const claims = verifyEvidence(item.format, readEvidence(item.format, item.evidence), { roots: roots.map(({ bytes }) => bytes), at: moment.start, keyDocument: unhex(keyDocument) });
    if (item.format === "nvidia") return { claims, told: [] };
    const expected = { keyDocument, nonce, references: trust.measurements, roles: node.document.roles, start: moment.start, end: moment.end };
    return { claims, ...appraiseEvidence(claims, expected) };
  });
  return refusal ? refused(item.format, refusal) : { ...value, ...conclude(value, roots, moment, trust) };
}

function simulated(item, node, roots) {
  const check = () => verifyEvidence(item.format, { evidence: item.evidence }, { roots: roots.map(({ bytes }) => bytes), at: 0, keyDocument: unhex(node.document.id) });
  const { refusal } = attempt(check);
  if (refusal) return { answer: "bad", says: "The attestation of the key does not verify", code: "enclave.attestation" };
  return { answer: "development", says: "A simulated enclave vouches for the key: a throw-away root, and no hardware", code: "enclave.development" };
}

function refused(format, refusal) {
  if (refusal instanceof Undecided) return { answer: "unread", says: `${format} evidence was presented, and cannot be decided: ${refusal.message}`, code: refusal.code };
  const time = refusal instanceof Malformed ? undefined : OTHER_TIMES[refusal.code];
  if (time) return { answer: time[0], says: `${format} evidence ${time[1]}: ${refusal.message}`, code: time[0] === "expired" ? "enclave.expired" : "enclave.not_yet" };
  return { answer: "bad", says: `${format} evidence does not hold: ${refusal.message}`, code: refusal.code };
}

/* What a good attestation comes to by its root, its mode and the times of the statements. */
function conclude({ claims }, roots, moment, trust) {
  if (claims.format === "nvidia") return { answer: "unread", says: "A GPU's report holds. It binds no key, so it says nothing of this one", code: "attestation.offline" };
  const marked = roots.some(({ bytes, development }) => development && hex(sha256(bytes)) === claims.root.digest);
  if (claims.basis === "development" || marked || trust.development || claims.debug !== false) {
    const why = claims.debug !== false ? "in debug mode" : "simulated, or stands under a root or trust that is marked as development";
    return { answer: "development", says: `The key was held by an enclave (${claims.tee}) that is ${why}: not by a real one`, code: "enclave.development" };
  }
  if (moment.doubted) return { answer: "unread", says: "The attestation holds and does not help: a statement of its key is refused", code: "enclave.doubt" };
  if (moment.end > claims.span.until) return { answer: "expired", says: "The attestation ran out before a quorum had dated the statements", code: "enclave.expired" };
  if (moment.late) return { answer: "undated", says: "The attestation holds for what the statements claim, and no quorum dated them in time", code: "enclave.undated" };
  return { answer: "hardware", says: `The key was held by an enclave (${claims.tee}) with admitted measurements when the statements were made`, code: null };
}
