/* The end of a turn, checked in the page: the statements that close it, against what was sent and what was shown; and later
   the proof that a log holds them. Each answer is of three; what cannot be told is said as that. */

import { Refusal, Rejected } from "../verify/answers.js";
import { hex } from "../verify/bytes.js";
import { parse } from "../verify/json.js";
import { signedBy } from "../verify/keys.js";
import { panelTrust } from "../verify/panel.js";
import { runKey, tree } from "../verify/parts.js";
import { inSlices } from "../verify/pauses.js";
import { USUAL } from "../verify/policy.js";
import { closes, sameTree } from "../verify/statements.js";
import { misfit } from "../verify/trace.js";

/* What the panel makes of a question on its way to the gateway (nodes/panel/service.py). */
function requestOf({ model, messages, memory }) {
  const asked = { model, messages, stream: true, ...(memory ? { holdfast: { memory: { user: memory, recall: true } } } : {}) };
  return parse(JSON.stringify(asked));
}

/* Asked of the panel, which knows the run from asking. */
const ofPanel = (run) => fetch(`/runs/${run}/bundle`);

async function bundleOf(run, capability = "", ask = ofPanel) {
  const response = await ask(run, capability);
  if (!response.ok) return null;
  const { readBundleSlowly } = await import("../verify/bundle.js");
  return inSlices(readBundleSlowly(new Uint8Array(await response.arrayBuffer())));
}

/* The gateway's own statement of a kind about this run, signed by the key that is believed. */
function own(bundle, witness, fits) {
  const { document, key } = witness.gateway;
  const found = bundle.journal
    .filter((item) => item.kind === "statement")
    .map((item) => item.statement)
    .filter((statement) => fits(statement) && statement.run === witness.run && statement.attester === document.id);
  return found.find((statement) => signedBy(key, statement.signature, statement.message)) ?? null;
}

const told = (answer, says) => ({ answer, says });

function check(says, fine, otherwise) {
  if (!fine) throw new Rejected("page.closing", otherwise);
  return told("yes", says);
}

/* Whether the way that the answer told before anything was signed is the one that the route statement says. */
function sameWay(told, route) {
  const same = ({ upstream, why, end, sent }, at) => upstream === at?.upstream && why === at.why && sent === at.sent && (end === null || end === at.end);
  const attempts = told.attempts ?? [];
  const failed = [...new Set(attempts.map((item) => item.upstream))].filter((code) => code !== route.upstream);
  const listed = route.attempts === null || (attempts.length === route.attempts.length && attempts.every((item, at) => same(item, route.attempts[at])));
  const came = (told.cached === true) === route.cached && (told.cached_run ?? null) === route.cachedRun;
  return told.upstream === route.upstream && failed.join() === route.fallbackFrom.join() && listed && came;
}

/** Holds the closing statements against the turn, in the bundle that `ask` gives; a list of `{answer, says}`, or it refuses. Without them here nothing can be told. */
export async function checkClosing(witness, asked, ask = ofPanel) {
  const bundle = await bundleOf(witness.run, hex(witness.secret), ask).catch((error) => {
    if (error instanceof Refusal) throw error;
    return null;
  });
  const route = bundle && own(bundle, witness, (statement) => statement.kind === "route");
  const closing = bundle && own(bundle, witness, closes);
  if (!route || !closing) return [told("cannot_tell", "The closing statements were not handed out yet, so what binds the whole turn is not checked")];
  const key = runKey(witness.run, witness.secret);
  const names = ({ kind, digest }) => !witness.named.has(kind) || witness.named.get(kind) === digest;
  return [
    check("Route and closing statement are signed by the gateway's key", names(route) && names(closing), "The gateway hands out other statements than the answer named"),
    check("Both answer the nonce that was drawn here for this question", route.nonce === asked.nonce && closing.nonce === asked.nonce, "The statements answer another question: their nonce is not the one that was drawn here"),
    check("What was asked is what the route binds", sameTree(tree(requestOf(asked), "request", key), route.request), "The route binds another question than was asked here"),
    ...(asked.told ? [check("What the answer told of its way is what the route statement says", sameWay(asked.told, route), "The answer told of another way than the route statement says")] : []),
    check("What is shown is what the closing statement binds", sameTree(tree(witness.response, "response", key), closing.response), "The closing statement binds another answer than is shown here"),
    check("The closing statement calls the answer whole", closing.outcome === "complete", "The closing statement does not call the answer whole"),
    check("The last mark is the one that the closing statement names", closing.marks?.seq === witness.last.seq && closing.marks.parts === witness.last.parts, "The closing statement names another last mark"),
    check("The closing statement follows from the route", closing.parents.includes(route.digest) && misfit(closing, [route]) === null, "The closing statement does not follow from the route"),
  ];
}

/* Turns of which the log is being looked at, and what of their settlement was looked at last. */
const looking = new Map();

/** Looks whether a log holds a turn by now, once for each thing that its settlement says; true where the turn has something new. Of a
    turn that was sealed nothing is asked of the panel, which does not know of it. */
export async function checkSettled(turn) {
  const says = turn.lanes?.settlement.says ?? "";
  if (turn.private || turn.outcome !== "complete" || turn.logged || looking.get(turn.id) === says) return false;
  looking.set(turn.id, says);
  const found = await settled(turn.run);
  turn.logged = found;
  return found !== null;
}

/* What a log holds of a run, as far as the panel's trust lets it be judged; null while that cannot be told. */
async function settled(run) {
  const { trust } = await panelTrust();
  const bundle = trust && (await bundleOf(run).catch(() => null));
  if (!bundle) return null;
  const { appraiseSlowly } = await import("../verify/appraise.js");
  const result = await inSlices(appraiseSlowly(bundle, trust, USUAL, Date.now()));
  const refused = result.checks.find((item) => item.answer === "no" && item.lanes.includes("settlement"));
  if (refused) return told("no", `Of the log: ${refused.says}`);
  const held = result.checks.filter((item) => item.answer === "yes" && item.spec === "log.md §2").map((item) => item.about);
  const both = [result.route, result.closing].every((statement) => statement && held.includes(statement.digest));
  return both ? told("yes", `The log holds route and closing statement: their paths lead to a root that it signed. ${result.lanes.settlement.says}`) : null;
}
