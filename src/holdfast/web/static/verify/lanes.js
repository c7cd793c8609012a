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

/* Lanes that rest on trust where they are proven alone, and so run out with it only then (lanes.md §2). */
const outlasts = (name, state) => ["artifact", "computation", "privacy"].includes(name) && state !== "proven";

/* What a lane rests on, of the statements of the turn (§2.1); `privacy` asks for itself, since its hops do too. */
function restsOn(name, appraisal) {
  if (["inputs", "memory", "route"].includes(name)) return [appraisal.route].filter(Boolean);
  const closure = ["bytes", "settlement"].includes(name) || (["artifact", "computation"].includes(name) && computedOf(appraisal));
  return closure ? [...appraisal.closure] : [];
}

/* What a lane had come to at the time asked about, when a statement that it rests on may not have been made. */
function made(name, lane, appraisal) {
  const missing = lane.state === "refuted" ? undefined : restsOn(name, appraisal).find(appraisal.early);
  return missing ? { ...lane, state: "pending", basis: null, says: `Not made yet at the time asked about: the ${missing.kind} statement` } : lane;
}

const STAYS = ["refuted", "not_applicable"];

/* A hop once what hid something from it is no longer proven; what the log holds stays as it is. */
function doubted(hop) {
  const unknown = ["identity", "plaintext", "sizes"].filter((name) => hop.hop !== "log" && hop[name] === "no");
  return { ...hop, ...Object.fromEntries(unknown.map((name) => [name, "unknown"])) };
}

function shaped(name, lane, appraisal) {
  const { trust, at } = appraisal;
  const { state, basis, says, evidence, hops } = made(name, lane, appraisal);
  const out = trust && trust.expiresAt <= at && !STAYS.includes(state) && !outlasts(name, state);
  const words = out ? `Trust has run out. Before that: ${says}` : says;
  return { state: out ? "expired" : state, basis, says: words, does_not_say: DOES_NOT_SAY[name], evidence, ...(hops ? { hops: out ? hops.map(doubted) : hops } : {}) };
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
