/* The lane `judgement` (lanes.md §3(10)): who decided what. It is fed by decisions alone, and feeds nothing. */

import { checkBatch, checkDecision, RECORDED } from "../decisions.js";

const LANE = ["judgement"];
const SPEC = "statement.md §4.3";

export const doesNotSay = "This does not say anything about the machinery, nor whether a decision was right.";

/* The documents that are shown of a decision, each held against it. */
function* opened(appraisal, statement) {
  const { transcript, route } = appraisal;
  const coarse = route?.settlement === "private";
  for (const item of appraisal.of("decision").filter(({ digest }) => digest === statement.digest)) {
    const told = transcript.attempt(SPEC, "The document of a decision is the one that its statement commits to", LANE, () => checkDecision(statement, item, { coarse }), statement.digest);
    const led = item.path !== null && transcript.attempt(SPEC, "The case is among those that were recalled together", LANE, () => checkBatch(statement, item.path) ?? true, statement.digest);
    if (told) yield { ...told, whole: statement.cases === null || Boolean(led) };
  }
}

/* What a decision was made by: as it says, or else as the request does (statement.md §4.3(5)). */
function recorded(appraisal, document) {
  const said = (name) => document[name] ?? appraisal.disclosed.held("request", `holdfast|-|-|s|/holdfast/decision_rule/${name}`);
  return Object.fromEntries(RECORDED.map((name) => [name, said(name)]));
}

function sentence(appraisal, { statement, document }) {
  if (!document) return `Somebody decided (${statement.act}); the document is not shown`;
  const { rule, threshold, framing } = recorded(appraisal, document);
  const by = [rule && `by the rule “${rule}”`, threshold && `threshold ${threshold}`, framing ? `asked as “${framing}”` : "no framing was recorded"].filter(Boolean).join(", ");
  const who = document.person === null ? "The panel by itself" : `${document.person} (${document.role})`;
  return `${who}: ${document.act} at ${new Date(document.at).toISOString()}, ${by}, having seen the lanes ${statement.lanes.slice(0, 12)} under the policy ${statement.policy.slice(0, 12)}`;
}

function early(appraisal, statement) {
  const { closing, policy, transcript } = appraisal;
  if (!closing || statement.claimedAt >= closing.claimedAt - policy.maxSkew) return;
  transcript.no(SPEC, "The decision claims a time before that of the closing statement", LANE, "decision.early", statement.digest);
}

function judged(appraisal, decisions) {
  const { transcript, trust, ranOut } = appraisal;
  const refused = transcript.refused("judgement");
  const told = decisions.map((item) => sentence(appraisal, item)).join("; ");
  if (refused) return ["refuted", null, refused.says];
  if (!decisions.length) return ["not_applicable", null, "Nobody has decided anything"];
  if (decisions.some(({ statement }) => ranOut.has(statement))) return ["expired", null, `The panel's key has run out, and no quorum dated what it signed. ${told}`];
  if (!trust) return ["unknown", null, "Without trust nobody here can say who decided"];
  if (!decisions.every(({ statement }) => statement.parents.every((digest) => appraisal.shown(digest)?.run === appraisal.bundle.run))) return ["unknown", null, `What was decided on is not shown. ${told}`];
  if (decisions.some(({ document }) => !document?.whole)) return ["unknown", null, told];
  const people = decisions.filter(({ document }) => document.person !== null);
  if (people.some(({ document }) => recorded(appraisal, document).framing === null)) return ["unknown", "human", told];
  return people.length ? ["proven", "human", told] : ["unknown", "operator_claim", told];
}

/** The lane. */
export function judgeJudgement(appraisal) {
  const made = [];
  for (const statement of appraisal.all.filter(({ kind }) => kind === "decision")) {
    early(appraisal, statement);
    const documents = [...opened(appraisal, statement)];
    if (!appraisal.early(statement)) made.push({ statement, document: documents.find(({ whole }) => whole) ?? documents[0] ?? null });
  }
  const decisions = made.sort((left, right) => left.statement.claimedAt - right.statement.claimedAt);
  const [state, basis, says] = judged(appraisal, decisions);
  return { state, basis, says, evidence: decisions.map(({ statement }) => statement.digest) };
}
