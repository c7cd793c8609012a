/* The lane `settlement` (lanes.md §3(3)): how far the run has settled. */

export const doesNotSay = "This does not say that waiting is failing.";

const refutes = (verdict) => verdict?.code.startsWith("refuted:");

function settled(appraisal) {
  const { transcript, trust, closing, route, settling } = appraisal;
  const closure = [...appraisal.closure];
  const refused = transcript.refused("settlement");
  const basis = (chain) => (trust?.development || chain?.development ? "development" : "proof");
  const verdicts = closure.map((statement) => settling.verdicts.get(statement.digest));
  if (!trust) return closure.length ? ["unknown", null, "Without trust nobody here can say who settled it"] : ["pending", null, "It is not answered yet"];
  const against = verdicts.find(refutes);
  if (against) return ["refuted", basis(against.chain), `Final round ${against.number} says ${against.code} of a statement of the run`];
  if (refused) return ["refuted", null, refused.says];
  if (!closing) return ["pending", null, "It is not answered yet"];
  const included = closure.filter((statement) => settling.included.has(statement.digest));
  const whole = appraisal.whole && included.length === closure.length;
  const committed = whole && included.every((statement) => settling.committed.has(statement.digest));
  if (committed && route?.settlement === "private") return ["unknown", null, "The log holds commitments alone; nobody will say more"];
  if (verdicts.some((verdict) => verdict?.code === "cannot_tell")) return ["unknown", null, "Full nodes could not tell"];
  const final = whole && closure.every(({ digest }) => settling.isFinal(digest));
  if (final && verdicts.every((verdict) => verdict?.code === "ok")) return ["proven", basis(verdicts[0].chain), `Final round ${Math.max(...verdicts.map((verdict) => verdict.number))} holds the verdict ok for every statement of the run`];
  return ["pending", null, whole ? "It is in the log, and not all of it has a verdict of a final round" : `${included.length} of ${closure.length} statements are shown to be in the log`];
}

/** The lane. */
export function judgeSettlement(appraisal) {
  const [state, basis, says] = settled(appraisal);
  return { state, basis, says, evidence: [...appraisal.closure].map(({ digest }) => digest) };
}
