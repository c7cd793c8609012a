/* The lane `payment` (lanes.md §3(9)): what was offered, authorised, charged, taken and given back, by whose word. It is fed by payments
   alone, and feeds nothing: paid is not proved. */

import { Refusal } from "../answers.js";
import { checkAmounts, checkBound, checkCaptures, checkPayment, checkTerms, checkUsage } from "../documents/payment.js";
import { isObject } from "../json.js";
import { isPayment } from "../trace.js";

const LANE = ["payment"];
const MOST_TOLD = 16;
/* How far a payment has come; what was taken counts for more than that taking it failed before. */
const ORDER = ["offered", "authorised", "charged", "lapsed", "failed", "captured", "refund_due", "refunded"];
const TOLD = { offered: "Offered", authorised: "Authorised", charged: "Charged", captured: "Taken", lapsed: "Lapsed", failed: "Failed", refund_due: "Owed back", refunded: "Given back" };
const BY_STEP = {
  offered: ["pending", null, "Offered, and not authorised"],
  authorised: ["pending", null, "Authorised; nothing is charged or taken yet"],
  charged: ["pending", null, "Charged; nothing is taken yet"],
  lapsed: ["unknown", "signature", "Nothing was taken: what was authorised lapsed"],
  failed: ["unknown", "signature", "Nothing was taken: taking it failed"],
  refund_due: ["unknown", "signature", "Taken, and owed back; not given back yet"],
  refunded: ["unknown", "signature", "Taken, and given back"],
};

export const doesNotSay = "This does not say that anything was proved.";

/* What the answer itself tells of usage: all of it, or as much as is shown. */
function reportOf({ turn }) {
  const single = turn.singles("response").map(({ label, path, text }) => [label.split("|")[3] === "n" ? /^\/usage\/([^/]*)$/.exec(path)?.[1] : undefined, text]);
  const shown = Object.fromEntries(single.filter(([name]) => name !== undefined));
  const response = turn.document("response")?.value;
  const usage = isObject(response?.usage) ? response.usage : {};
  return { ...(isObject(response) ? response : {}), usage: { ...shown, ...usage } };
}

/* Payments of a run, opened and held against each other and the run. */
class Paid {
  documents = new Map();
  compared = new Set();

  constructor(appraisal) {
    const all = appraisal.all.filter(isPayment);
    const inTime = (left, right) => left.claimedAt - right.claimedAt || (left.digest < right.digest ? -1 : 1);
    Object.assign(this, { appraisal, steps: all.sort(inTime), report: reportOf(appraisal) });
    for (const statement of this.steps) this.#early(statement);
    for (const item of appraisal.of("payment")) this.#open(item);
    for (const [digest, document] of this.documents) this.#holds(digest, document);
    for (const statement of this.steps) this.#follows(statement);
    this.#once();
    this.#captures();
    if (appraisal.trust) for (const statement of this.steps) this.#handedOver(statement);
  }

  #no(spec, says, code, about = null) {
    this.appraisal.transcript.no(spec, says, LANE, code, about);
  }

  #early({ event, claimedAt, digest }) {
    const { closing, policy } = this.appraisal;
    if (!closing || ["offered", "authorised"].includes(event) || closing.claimedAt - claimedAt <= policy.maxSkew) return;
    this.#no("lanes.md §3(9)", "A payment claims a time before the run was closed", "payment_document.early", digest);
  }

  #open(item) {
    const { transcript, bundle } = this.appraisal;
    const statement = this.appraisal.shown(item.digest);
    if (!statement || statement.run !== bundle.run) transcript.cannotTell("statement.md §4.6", "A payment's document is of none that is shown", LANE, "payment_document.unbound", item.digest);
    else if (transcript.attempt("statement.md §4.6", "The document of a payment is what was signed", LANE, () => checkPayment(statement, item), item.digest)) this.documents.set(item.digest, item.told);
  }

  #holds(digest, document) {
    const { transcript, route, closing } = this.appraisal;
    const check = () => {
      checkAmounts(document);
      checkBound(document, route, closing);
      if (checkUsage(document, this.report)) this.compared.add(digest);
    };
    transcript.attempt("statement.md §4.6(5)", "The payment adds up and is for this request", LANE, check, digest);
  }

  /* Each step fits the one before it (§4.6(6)). */
  #follows({ digest, parents }) {
    const document = this.documents.get(digest);
    const before = parents.map((parent) => this.documents.get(parent)).filter(Boolean);
    if (!document) return;
    for (const other of before) this.#refuse("statement.md §4.6(6)", () => checkTerms(document, other), digest);
  }

  /* Notes a refusal, and nothing where there is none. */
  #refuse(spec, check, about = null) {
    try {
      check();
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      this.#no(spec, error.message, error.code, about);
    }
  }

  /* Two nodes may tell of one step where they tell the same; one node tells of it once (§7(11)). */
  #once() {
    const told = new Map();
    for (const statement of this.steps.filter(({ event }) => !["offered", "authorised"].includes(event))) {
      const step = statement.event === "charged" ? statement.run : statement.parents[0] ?? "";
      told.set(step, [...(told.get(step) ?? []), statement]);
    }
    for (const same of told.values()) {
      const nodes = new Set(same.map(({ attester }) => attester)).size;
      const shown = same.map(({ digest }) => this.documents.get(digest)).filter(Boolean);
      const tales = new Set(shown.map(({ event, captured, transaction }) => `${event} ${captured} ${transaction}`)).size;
      if (nodes < same.length || tales > 1) this.#no("statement.md §7(11)", `${same.length} payment statements tell of one step`, "payment_document.twice");
    }
  }

  #captures() {
    const once = new Map([...this.documents.values()].map((document) => [`${document.run} ${document.transaction} ${document.captured}`, document]));
    this.#refuse("statement.md §4.6(8)", () => checkCaptures([...once.values()]));
  }

  /* A payment goes on by the word of who charged, or of a facilitator (§7(11)). */
  #handedOver({ attester, parents, digest }) {
    const { trust } = this.appraisal;
    const facilitates = (node) => trust.node(node)?.document.roles.includes("facilitator");
    const before = parents.map((parent) => this.appraisal.shown(parent)).filter((parent) => parent && isPayment(parent));
    const agreed = (parent) => parent.attester === attester || facilitates(parent.attester) || facilitates(attester);
    if (!before.every(agreed)) this.#no("statement.md §7(11)", "A payment is told by a node that has no part in it", "statement.payment", digest);
  }
}

/* --- in words; names in a document are quoted --- */

function amounts({ event, scheme, asset, network, asked, authorised, captured, charge, transaction, reason }) {
  const of = asset === null ? "" : ` of ${JSON.stringify(asset)} on ${JSON.stringify(network)}`;
  if (!charge) {
    const most = event === "authorised" ? authorised : asked;
    return most === null ? "no amount" : `at most ${most} base units${of}`;
  }
  if (captured !== null) {
    const above = scheme === "exact" ? captured - charge.amount : 0n;
    return `${captured} base units${of}${transaction ? ` by transaction ${transaction}` : ""}${above > 0n ? `, ${above} above the charge (exact takes all that was signed)` : ""}`;
  }
  if (event !== "charged") return `${charge.amount} base units${of}${reason ? ` (${reason})` : ""}`;
  const caps = Object.entries({ asked, authorised }).filter(([, most]) => most !== null).map(([word, most]) => `${most} ${word}`);
  return `${charge.amount} base units${of}${caps.length ? `, of ${caps.join(" and ")} at most` : ""}`;
}

/* Where a payment's claimed time lies relative to the answer's. */
function lies({ claimedAt }, closing) {
  if (!closing) return "with no answer here";
  const apart = claimedAt - closing.claimedAt;
  if (!apart) return closing.claimedAt % 60_000 ? "at the time of the answer" : "in the minute of the answer";
  return `${(Math.abs(apart) / 1000).toFixed(3)} s ${apart > 0 ? "after" : "before"} the answer`;
}

function tell(statement, { documents, appraisal: { trust, closing } }) {
  const who = trust.node(statement.attester)?.document.roles.includes("facilitator") ? "the facilitator" : "the gateway";
  const document = documents.get(statement.digest);
  return `${TOLD[statement.event]}: ${document ? amounts(document) : "amount not shown"}; by ${who}'s word, ${lies(statement, closing)}`;
}

/* State, basis and first sentence, by the newest step. */
function byStep({ event, scheme, network, transaction }, trust) {
  if (event === "charged" && scheme === "credit") return ["proven", "operator_claim", "Paid from credit, by the operator's own account"];
  if (event !== "captured") return BY_STEP[event];
  if (transaction === null) return ["proven", scheme === "credit" ? "operator_claim" : "signature", "Paid, without a transaction"];
  const development = trust.development || trust.chains.some((chain) => chain.development && `eip155:${chain.chainId}` === network);
  return development ? ["proven", "development", "Paid on a development chain, by the word of who signed it"] : ["proven", "signature", "Paid, by the word of who signed it"];
}

function judged(appraisal, paid, made) {
  const { transcript, trust, ranOut } = appraisal;
  const refused = transcript.refused("payment");
  if (refused) return ["refuted", null, refused.says];
  if (!made.length) return ["not_applicable", null, "No payment was offered or asked for this run"];
  if (!trust) return ["unknown", null, "Without trust nobody here can say whose word on this payment it is"];
  if (made.some((statement) => ranOut.has(statement))) return ["expired", null, "The key that tells of this payment has run out, and no quorum dated it"];
  const newest = made.reduce((far, statement) => (ORDER.indexOf(statement.event) > ORDER.indexOf(far.event) ? statement : far));
  const document = paid.documents.get(newest.digest);
  const more = made.length > MOST_TOLD ? [`${made.length - MOST_TOLD} more steps follow`] : [];
  const told = [...made.slice(0, MOST_TOLD).map((statement) => tell(statement, paid)), ...more].join(". ");
  if (made.some(({ parents }) => parents.some((parent) => !appraisal.shown(parent)))) return ["unknown", null, `What this payment follows from is not in this bundle. ${told}`];
  if (!document) return ["unknown", null, `Amounts, payer and transaction are not shown here. ${told}`];
  const [state, basis, says] = byStep(document, trust);
  const compared = paid.compared.has(newest.digest) ? "It charges no more than the answer reports" : "The charge is not compared with what was used: the answer's own report is not shown here, or there is none";
  return [state, basis, `${says}. ${told}. ${compared}`];
}

/** The lane. */
export function judgePayment(appraisal) {
  const paid = new Paid(appraisal);
  const made = paid.steps.filter((statement) => !appraisal.early(statement));
  const [state, basis, says] = judged(appraisal, paid, made);
  return { state, basis, says, evidence: made.map(({ digest }) => digest) };
}
