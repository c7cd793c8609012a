/* The eleven lanes, each judged by itself (lanes.md §2.1, §3). */

import { doesNotSay as ofArtifact, judgeArtifact } from "./lanes/artifact.js";
import { computedOf, doesNotSay as ofComputation, judgeComputation } from "./lanes/computation.js";
import { doesNotSay as ofEnclave, judgeEnclave } from "./lanes/enclave.js";
import { doesNotSay as ofInputs, judgeInputs } from "./lanes/inputs.js";
import { doesNotSay as ofJudgement, judgeJudgement } from "./lanes/judgement.js";
import { doesNotSay as ofMemory, judgeMemory } from "./lanes/memory.js";
import { doesNotSay as ofPayment, judgePayment } from "./lanes/payment.js";
import { doesNotSay as ofPrivacy, judgePrivacy } from "./lanes/privacy.js";
import { doesNotSay as ofSettlement, judgeSettlement } from "./lanes/settlement.js";
import { doesNotSay as ofTurn, judgeBytes, judgeRoute } from "./lanes/turn.js";
import { LANES } from "./policy.js";

const DOES_NOT_SAY = {
  ...ofTurn,
  artifact: ofArtifact,
  computation: ofComputation,
  enclave: ofEnclave,
  inputs: ofInputs,
  judgement: ofJudgement,
  memory: ofMemory,
  payment: ofPayment,
  privacy: ofPrivacy,
  settlement: ofSettlement,
};

/* Lanes that do not rest on trust for as long as it holds (lanes.md §2): of a run that a node computed its word does. */
function outlasts(name, state, { route }) {
  if (name === "artifact" || name === "computation") return state !== "proven";
  return name === "privacy" && !route?.path;
}

/* A statement that a lane rests on, and that had not been made at the time asked about (§2.1). */
function unmade(name, appraisal) {
  const { route, closure } = appraisal;
  if (["inputs", "memory"].includes(name)) return route && appraisal.early(route) ? route : null;
  if (!["artifact", "computation"].includes(name) || !computedOf(appraisal)) return null;
  return [...closure].find(appraisal.early) ?? null;
}

/* What a lane had come to at the time asked about. */
function made(name, lane, appraisal) {
  const missing = lane.state === "refuted" ? null : unmade(name, appraisal);
  return missing ? { ...lane, state: "pending", basis: null, says: `Not made yet at the time asked about: the ${missing.kind} statement` } : lane;
}

const STAYS = ["refuted", "not_applicable"];

function shaped(name, lane, appraisal) {
  const { trust, at } = appraisal;
  const { state, basis, says, evidence, hops } = made(name, lane, appraisal);
  const out = trust && trust.expiresAt <= at && !STAYS.includes(state) && !outlasts(name, state, appraisal);
  const words = out ? `Trust has run out. Before that: ${says}` : says;
  return { state: out ? "expired" : state, basis, says: words, does_not_say: DOES_NOT_SAY[name], evidence, ...(hops ? { hops } : {}) };
}

/* In this order: `privacy` rests on what `enclave` came to. */
const JUDGES = {
  enclave: judgeEnclave,
  privacy: (appraisal, { enclave }) => judgePrivacy(appraisal, enclave),
  judgement: judgeJudgement,
  artifact: judgeArtifact,
  computation: judgeComputation,
  memory: judgeMemory,
  inputs: judgeInputs,
  payment: judgePayment,
  bytes: judgeBytes,
  route: judgeRoute,
  settlement: judgeSettlement,
};

/** Each lane of an appraisal that has checked everything else; pauses between them. */
export function* judgeLanes(appraisal) {
  const found = {};
  for (const [name, judge] of Object.entries(JUDGES)) {
    found[name] = judge(appraisal, found);
    yield;
  }
  return Object.fromEntries(LANES.map((name) => [name, shaped(name, found[name], appraisal)]));
}
