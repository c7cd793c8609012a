/* The lane `artifact` (lanes.md §3(6), §3.1): which bytes ran, by whose word, and what their label meant then. */

import { timeText } from "../bytes.js";
import { checkChange, checkHistory, explained } from "../documents/change.js";
import { isObject } from "../json.js";
import { admits } from "../trust.js";
import { computedOf, isOwn, unacceptable } from "./computation.js";

const LANE = ["artifact"];
const SPEC = "lanes.md §3.1";
const MINUTE = 60_000;

export const doesNotSay = "This does not say that a same name is a same model.";

/* A top-level member of a document that names a model, where it is shown and is what was signed; null where not. */
function named({ turn }, document, member) {
  const single = turn.singles(document).find(({ label }) => label === `model|-|-|s|/${member}`);
  const value = turn.document(document)?.value;
  return single?.text ?? (isObject(value) && typeof value[member] === "string" ? value[member] : null);
}

/* --- changes of labels, as histories (§3.1(1)) --- */

/* Each behind the one that it names; by their times where that says nothing. */
function inOrder(items) {
  const waiting = items.sort((left, right) => left.change.at - right.change.at || (left.statement.digest < right.statement.digest ? -1 : 1));
  const digests = new Set(items.map(({ statement }) => statement.digest));
  const ordered = waiting.filter(({ statement }) => !statement.parents.some((parent) => digests.has(parent))).slice(0, 1);
  while (ordered.length) {
    const { digest } = ordered.at(-1).statement;
    const next = waiting.find(({ statement }) => statement.parents.join() === digest);
    if (!next || ordered.includes(next)) break;
    ordered.push(next);
  }
  return [...ordered, ...waiting.filter((item) => !ordered.includes(item))];
}

/* The changes that are shown, opened, had been made, and those of one label and hub together. */
function historiesOf(appraisal) {
  const { transcript } = appraisal;
  const found = new Map();
  for (const item of appraisal.of("change")) {
    const statement = appraisal.shown(item.digest);
    if (statement?.kind !== "artifact") {
      transcript.cannotTell("artifacts.md §4", "A change is not here", LANE, "artifact_change.unbound", item.digest);
      continue;
    }
    const opened = transcript.attempt("artifacts.md §4", "The document of a change is what was signed", LANE, () => checkChange(statement, item), item.digest);
    if (opened && !appraisal.early(statement)) found.set(item.digest, { statement, change: item.told });
  }
  const groups = new Map();
  for (const entry of found.values()) {
    const name = `${entry.statement.attester} ${entry.change.label?.id ?? entry.change.event}`;
    groups.set(name, [...(groups.get(name) ?? []), entry]);
  }
  const histories = [...groups.values()].map(inOrder);
  for (const history of histories) transcript.attempt(SPEC, "What is shown of a label's changes is without a gap or a fork", LANE, () => checkHistory(history) ?? true);
  return histories;
}

/* --- what the label meant (§3.1(3)) --- */

/* Whether a change stands behind the run in the log, as far as both places are shown. */
function isBehind(appraisal, { statement }, computed) {
  const [change, run] = [statement, computed].map(({ digest }) => appraisal.settling.index(digest));
  return change !== null && run !== null && change > run;
}

/* Until when a run can have been computed: a whole minute is one that was rounded down. */
const endOf = ({ claimedAt }) => (claimedAt % MINUTE ? claimedAt : claimedAt + MINUTE);

/* What a label can have meant, and whether no change can have been left out between. */
function meaning(appraisal, history, computed) {
  const skew = appraisal.policy.maxSkew;
  const end = endOf(computed) + skew;
  const before = history.filter((item) => item.change.at <= computed.claimedAt - skew && !isBehind(appraisal, item, computed));
  const near = history.filter((item) => !before.includes(item) && item.change.at <= end);
  const possible = new Set([...before.slice(-1), ...near].map(({ change }) => change.artifact));
  const oldest = history[0].change;
  if (!before.length && oldest.before !== null) possible.add(oldest.before);
  return { possible, closed: history.some(({ change }) => change.at > end) || (!before.length && oldest.before === null) };
}

const anotherHub = ({ trust }, hub, at) => trust.nodes.some((node) => node.document.id !== hub && node.document.roles.includes("hub") && admits(node, at, at));

/* Where the label went since. */
function moved(moves) {
  if (!moves.length) return "no later move of the label is shown";
  const [first, last] = [moves[0].change, moves.at(-1).change];
  const more = moves.length > 1 ? `; ${moves.length} moves are shown, and by the last, at ${timeText(last.at)}, it means ${last.artifact.slice(0, 12)}` : "";
  return `the label has moved since, at ${timeText(first.at)}, to artifact ${first.artifact.slice(0, 12)}: ${explained(first)}${more}`;
}

/* The label can have meant what ran: since when, and where it went. */
function same(appraisal, lane, history, computed, name) {
  const { artifact } = computed.computation;
  const hub = history[0].statement.attester.slice(0, 12);
  const meant = history.filter(({ change }) => change.artifact === artifact);
  const since = meant.findLast(({ change }) => change.at <= endOf(computed)) ?? meant[0];
  const later = since ? history.slice(history.indexOf(since) + 1) : history;
  const moves = later.filter(({ change }) => change.artifact !== change.before);
  const place = since && appraisal.settling.index(since.statement.digest);
  const where = place === null ? "its place in the log is not shown" : `entry ${place} of the log${appraisal.settling.verdicts.get(since?.statement.digest)?.code === "ok" ? ", which full nodes accepted" : ""}`;
  const told = since
    ? `label ${JSON.stringify(name)} means it since ${timeText(since.change.at)}, by the word of hub ${hub} (${where}); ${explained(since.change)}`
    : `label ${JSON.stringify(name)} meant it before the first change that is shown, by the word of hub ${hub}`;
  const shown = [...(since ? [since] : []), ...moves.slice(0, 1), ...moves.slice(-1)].map(({ statement }) => statement.digest);
  return { ...lane, says: `${lane.says}; ${told}; ${moved(moves)}`, evidence: [...new Set([...lane.evidence, ...shown])] };
}

function another(appraisal, lane, history, computed, name) {
  const { possible, closed } = meaning(appraisal, history, computed);
  const hub = history[0].statement.attester;
  const meant = [...possible].sort().map((artifact) => `artifact ${artifact.slice(0, 12)}`).join(" or ") || "nothing yet";
  const told = `Label ${JSON.stringify(name)} meant ${meant} then, by the word of hub ${hub.slice(0, 12)}, and not what ran`;
  const evidence = [...lane.evidence, ...history.map(({ statement }) => statement.digest)];
  if (closed && !anotherHub(appraisal, hub, computed.claimedAt)) {
    appraisal.transcript.no(SPEC, told, LANE, "artifact_change.meant");
    return { state: "refuted", basis: null, says: `${told}. ${lane.says}`, evidence };
  }
  appraisal.transcript.cannotTell(SPEC, told, LANE, "artifact_change.meant");
  const why = closed ? "another hub may have been asked" : "a later change may be missing here";
  return { state: "unknown", basis: "signature", says: `${told}. It is open: ${why}. ${lane.says}`, evidence };
}

/* The lane, with what the label meant. */
function withHistory(appraisal, lane, histories) {
  const { transcript, ranOut } = appraisal;
  const changes = appraisal.of("change").filter(({ digest }) => appraisal.shown(digest)?.kind === "artifact");
  if (!changes.length) return lane;
  const wrong = transcript.refused("artifact");
  if (wrong) return { state: "refuted", basis: null, says: wrong.says, evidence: [...lane.evidence, ...changes.map(({ digest }) => digest)] };
  const computed = computedOf(appraisal);
  if (!computed || lane.state !== "proven") return { ...lane, says: `${lane.says}; what a label meant is shown, and nothing here to compare it with` };
  const asked = named(appraisal, "response", "model") || named(appraisal, "request", "model");
  if (!asked) return { ...lane, says: `${lane.says}; the history of a label is shown, and which was asked for is not` };
  const name = asked.includes(":") ? asked : `${asked}:latest`;
  const own = histories.filter((history) => history[0].change.label?.name === name).map((history) => history.filter(({ statement }) => !ranOut.has(statement))).filter((history) => history.length);
  if (!own.length) return { ...lane, says: `${lane.says}; of the label that was asked for, ${JSON.stringify(name)}, no history is shown that counts` };
  const fitting = own.find((history) => meaning(appraisal, history, computed).possible.has(computed.computation.artifact));
  if (!fitting) return another(appraisal, lane, own[0], computed, name);
  transcript.yes(SPEC, `Label ${JSON.stringify(name)} meant the artifact that ran`, LANE);
  return same(appraisal, lane, fitting, computed, name);
}

/* Which bytes ran (§3(6)). */
function ran(appraisal) {
  const { closing } = appraisal;
  const computed = computedOf(appraisal);
  if (!closing) return { state: "unknown", basis: null, says: "Nothing has been answered, so no model is claimed", evidence: [] };
  if (computed) {
    const { artifact, runtime, version } = computed.computation;
    const says = `By the account of inference node ${computed.attester.slice(0, 12)}, the artifact ${artifact.slice(0, 12)} was in memory and ran, under ${runtime} ${version}`;
    const [state, basis, told] = unacceptable(appraisal, computed) ?? ["proven", "signature", says];
    return { state, basis, says: told, evidence: [computed.digest, artifact] };
  }
  if (isOwn(appraisal)) return { state: "not_applicable", basis: null, says: "No model ran in this run: its caller tells what it did", evidence: [] };
  const model = named(appraisal, "response", "model");
  const asked = named(appraisal, "sent", "model") || named(appraisal, "request", "model");
  const calls = model ? `the answer calls it ${JSON.stringify(model)}${asked && asked !== model ? `, and ${JSON.stringify(asked)} was asked for` : ""}` : "what the answer calls it has not been disclosed here";
  return { state: "unknown", basis: "provider_claim", says: `Which model bytes ran is only the provider's word: ${calls}`, evidence: [closing.digest] };
}

/** The lane. */
export function judgeArtifact(appraisal) {
  const histories = historiesOf(appraisal);
  return withHistory(appraisal, ran(appraisal), histories);
}
