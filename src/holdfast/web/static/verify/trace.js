/* How statements of one run follow from each other (trace.md §2). */

import { closes, sameTree } from "./statements.js";

const is = (kind, ...events) => (statement) => statement.kind === kind && (!events.length || events.includes(statement.event));
const isAdmission = is("admission");
const isRecall = is("recall");
const isRoute = is("route");
const isComputed = is("execution", "computed");
export const isPayment = is("payment");

const only = (parents, ...sorts) => parents.every((parent) => sorts.some((sort) => sort(parent)));
const count = (parents, sort) => parents.filter(sort).length;

/* Of a route: what went into the request (3), and when (statement.md §4.1(4)). */
function routeFits(statement, parents) {
  const admissions = parents.filter(isAdmission);
  const computed = parents.filter(isComputed);
  if (!only(parents, isAdmission, isRecall, isComputed) || count(parents, isRecall) > 1 || computed.length > 1) return "trace";
  if ((statement.admittedAt !== null) !== admissions.length > 0) return "trace";
  if (admissions.some((parent) => parent.claimedAt > statement.admittedAt)) return "trace";
  if (computed.some((parent) => !sameTree(parent.computation.request, statement.sent))) return "trace";
  return admissions.some((parent) => parent.until !== null && statement.admittedAt > parent.until) ? "stale" : null;
}

function closingFits(statement, parents) {
  const routes = parents.filter(isRoute);
  const computed = parents.filter(isComputed);
  if (!only(parents, isRoute, isComputed, isRecall) || routes.length !== 1 || computed.length > 1) return false;
  if (routes[0].upstream !== statement.upstream || routes[0].attester !== statement.attester) return false;
  if (statement.outcome === "complete" && unserved(routes[0])) return false;
  return computed.every((parent) => sameTree(parent.response, statement.response));
}

/* Whether a route's attempts say that nobody served, and it came from no cache either (4). */
const unserved = ({ attempts, cached }) => attempts !== null && !cached && attempts.at(-1)?.end !== "served";

/* Of `proved` and `recomputed` (12). */
function fromComputed(statement, parents) {
  if (parents.length !== 1 || !isComputed(parents[0])) return false;
  const [computed] = parents;
  const same = sameTree(computed.response, statement.response);
  if (!sameTree(computed.computation.request, statement.computation.request)) return false;
  if (statement.event === "proved") return computed.attester === statement.attester && same;
  return computed.attester !== statement.attester && same === (statement.comparison === "equal");
}

function executionFits(statement, parents) {
  if (closes(statement)) return closingFits(statement, parents);
  if (statement.event === "computed") return parents.length === 0;
  if (statement.event === "disconnected") return parents.length === 1 && closes(parents[0]) && parents[0].attester === statement.attester;
  return fromComputed(statement, parents);
}

const AFTER = { captured: "charged", lapsed: "charged", failed: "charged", refund_due: "captured", refunded: "refund_due" };

function paymentFits(statement, parents) {
  if (statement.event === "offered") return parents.length === 0;
  if (statement.event === "authorised") return parents.length <= 1 && only(parents, is("payment", "offered"));
  if (statement.event === "charged") {
    const closing = parents.filter(closes);
    const rest = parents.filter((parent) => !closes(parent));
    return closing.length === 1 && closing[0].attester === statement.attester && rest.length <= 1 && only(rest, is("payment", "authorised"));
  }
  return parents.length === 1 && only(parents, is("payment", AFTER[statement.event]));
}

function artifactFits(statement, parents) {
  const after = {
    published: () => parents.length === 0,
    declared: () => parents.length === 0,
    labelled: () => parents.length <= 1 && parents.every((parent) => is("artifact", "labelled")(parent) && parent.label === statement.label),
    revoked: () => parents.length === 1 && only(parents, is("artifact", "published", "declared")),
  };
  return after[statement.event]() && parents.every((parent) => parent.attester === statement.attester);
}

const FITS = {
  admission: (statement, parents) => statement.event !== "combined" || parents.every((parent) => isAdmission(parent) && parent.event !== "combined"),
  recall: (statement, parents) => only(parents, isRecall),
  execution: executionFits,
  payment: paymentFits,
  decision: (statement, parents) => count(parents, closes) === 1,
  artifact: artifactFits,
  journal: () => true,
  identity: () => true,
};

const ofOneRun = (statement, parent) =>
  isAdmission(parent) || parent.kind === "artifact" || (parent.run === statement.run && (parent.nonce === null || statement.nonce === null || parent.nonce === statement.nonce));

/** Why a statement does not follow from its parents, all of which are given: `trace`, `stale`, or null where it does. */
export function misfit(statement, parents) {
  if (!parents.every((parent) => ofOneRun(statement, parent))) return "trace";
  if (isRoute(statement)) return routeFits(statement, parents);
  return FITS[statement.kind](statement, parents) ? null : "trace";
}

