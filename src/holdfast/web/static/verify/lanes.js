/* The lanes that are judged here, each by itself, and why the others are not (lanes.md §3). */

import { doesNotSay as ofEnclave, judgeEnclave } from "./lanes/enclave.js";
import { doesNotSay as ofJudgement, judgeJudgement } from "./lanes/judgement.js";
import { doesNotSay as ofPrivacy, judgePrivacy } from "./lanes/privacy.js";
import { doesNotSay as ofSettlement, judgeSettlement } from "./lanes/settlement.js";
import { doesNotSay as ofTurn, judgeBytes, judgeRoute } from "./lanes/turn.js";

export const JUDGED = ["enclave", "bytes", "route", "privacy", "settlement", "judgement"];

/** Why a lane is not judged here; told to whoever reads the result. */
export const NOT_JUDGED = {
  artifact: "Which model ran is not followed here: manifests, labels and their histories are not read.",
  computation: "Proofs of computation and re-executions are not read here.",
  inputs: "Admitted facts are not replayed here: their documents and blocks are not read.",
  memory: "Recalled rows are not compared here with what went before the model.",
  payment: "Payment statements and their documents are not added up here.",
};

const DOES_NOT_SAY = { ...ofTurn, enclave: ofEnclave, judgement: ofJudgement, privacy: ofPrivacy, settlement: ofSettlement };

/* Lanes that do not rest on trust for as long as it holds (lanes.md §2). */
const outlasts = (name, { route }) => name === "artifact" || name === "computation" || (name === "privacy" && !route?.path);

function shaped(name, { state, basis, says, evidence, ...more }, appraisal) {
  const { trust, at } = appraisal;
  const out = trust && trust.expiresAt <= at && state !== "refuted" && !outlasts(name, appraisal);
  const words = out ? `Trust has run out. Before that: ${says}` : says;
  return { state: out ? "expired" : state, basis, says: words, does_not_say: DOES_NOT_SAY[name], evidence, ...(more.hops ? { hops: more.hops } : {}) };
}

/** Each lane of `JUDGED` of an appraisal that has checked everything else; pauses between them. */
export function* judgeLanes(appraisal) {
  const enclave = judgeEnclave(appraisal);
  yield;
  const privacy = judgePrivacy(appraisal, enclave);
  yield;
  const judgement = judgeJudgement(appraisal);
  yield;
  const found = { enclave, privacy, judgement, bytes: judgeBytes(appraisal), route: judgeRoute(appraisal), settlement: judgeSettlement(appraisal) };
  return Object.fromEntries(JUDGED.map((name) => [name, shaped(name, found[name], appraisal)]));
}
