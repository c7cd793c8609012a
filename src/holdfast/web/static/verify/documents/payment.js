/* Payment documents in their form, held against their statement, against what they say themselves, against the answer and against each other
   (statement.md §4.6, pricing.md §1, §3, §4). Whether a transaction happened is for whoever reads its chain. */

import { Malformed, Rejected } from "../answers.js";
import { hexText, time } from "../bytes.js";
import { by, compare, ofDecimal, plus, roundedUp, times, whole } from "../fractions.js";
import { Numeral, exactly, isObject, parseCanonical, spelled } from "../json.js";
import { characters, recordOf } from "../records.js";
import { PAYMENT_EVENTS, isCode, isRun, readTree } from "../statements.js";

const LARGEST = 65_536;
const MINUTE = 60_000;
const UNDELIVERED = "undelivered";
const MEMBERS = ["type", "run", "event", "at", "timing", "scheme", "network", "asset", "payer", "payee", "asked", "authorised", "captured", "authorisation", "price_card", "rate", "charge", "transaction", "request", "response", "deadline", "reason", "not_evidence_of"];
const NOT_EVIDENCE_OF = ["artifact", "computation", "enclave", "inputs", "judgement", "privacy", "settlement"];
const BEFORE_CHARGE = ["offered", "authorised"];
const MOVED = ["captured", "refund_due", "refunded"];
const WITH_REASON = ["lapsed", "failed", "refund_due"];
/* Members that a later document of the same payment repeats (§4.6(6)). */
const TERMS = ["run", "timing", "scheme", "network", "asset", "payer", "payee", "asked", "authorised", "authorisation", "price_card", "rate", "charge", "request"];
const UNKNOWN_USAGE = "pricing.unknown_usage";
/* What a line can be of, in order, and how many one price is for (pricing.md §4). */
const LINES = { input_tokens: 1_000_000, output_tokens: 1_000_000, images: 1, searches: 1, [UNKNOWN_USAGE]: 1 };
const AMOUNT = /^(?:0|[1-9][0-9]{0,77})$/;
const MOST_AMOUNT = (1n << 256n) - 1n;
const PRICE = /^(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{0,17}[1-9])?$/;

const refuse = (about, says) => {
  throw new Malformed(`payment_document.${about}`, says);
};

const orNull = (value, read) => (value === null ? null : read(value));
const oneOf = (value, words) => (words.includes(value) ? value : refuse("fields", `expected one of ${words.join(", ")}`));

function named(value) {
  if (typeof value !== "string" || value === "" || characters(value) > 128) refuse("fields", "a name has 1 to 128 characters, or is null");
  return value;
}

function amount(value) {
  if (typeof value !== "string" || !AMOUNT.test(value) || BigInt(value) > MOST_AMOUNT) refuse("number", "an amount is a decimal string of an unsigned 256-bit integer");
  return BigInt(value);
}

function price(value) {
  if (typeof value !== "string" || !PRICE.test(value)) throw new Malformed("pricing.decimal", "a price is a decimal in a string, in its only spelling");
  return ofDecimal(value);
}

const badRate = (says) => {
  throw new Malformed("pricing.rate", says);
};

function rate(value) {
  exactly(value, ["asset", "network", "decimals", "usd", "source", "at"], "pricing.rate");
  const { asset, network, decimals } = value;
  if (!Number.isInteger(decimals) || decimals < 0 || decimals > 36) badRate("an asset has 0 to 36 decimals");
  if (![asset, network].every((name) => typeof name === "string" && name !== "")) badRate("a rate names its asset and its network");
  if (!isCode(value.source)) badRate("the source of a rate is a code");
  const usd = price(value.usd);
  if (usd.over === 0n) badRate("an asset that is worth nothing pays for nothing");
  time(value.at);
  return { asset, network, decimals, usd };
}

function line(value) {
  exactly(value, ["what", "quantity", "price", "per", "usd"], "payment_document.charge");
  const { what, quantity, per } = value;
  if (!Object.hasOwn(LINES, what) || per !== LINES[what]) refuse("charge", "a line is of something that is priced, at the price of so many");
  if (!Number.isSafeInteger(quantity) || quantity < 0) refuse("charge", "a quantity is an integer from 0 on");
  return { what, quantity, per, price: price(value.price), usd: price(value.usd) };
}

function charge(value) {
  exactly(value, ["lines", "usd", "amount", "capped"], "payment_document.charge");
  const many = Object.keys(LINES).length;
  if (!Array.isArray(value.lines) || value.lines.length < 1 || value.lines.length > many) refuse("charge", `a charge has 1 to ${many} lines`);
  const lines = value.lines.map(line);
  const usd = price(value.usd);
  if (value.amount === null) refuse("charge", "a charge has an amount");
  return { lines, usd, amount: amount(value.amount), capped: orNull(value.capped, amount) };
}

function transaction(value) {
  if (typeof value !== "string" || !/^0x[0-9a-f]{64}$/.test(value)) refuse("transaction", "a transaction is 0x and 64 lower-case hex digits");
  return value;
}

function address(value) {
  if (!/^0x[0-9a-f]{40}$/.test(value)) throw new Malformed("evm.address", "an address is 0x and 40 lower-case hex digits");
}

/* §4.6(3): which members a scheme has. */
function checkScheme({ event, timing, scheme, network, asset, payer, payee, asked, authorised, authorisation, transaction: moved, deadline, rate: at }) {
  if ((scheme === "credit") !== (timing === "credit")) refuse("scheme", "credit is both the scheme and the timing, or neither");
  if (at && (at.asset.toLowerCase() !== (asset ?? "").toLowerCase() || at.network !== network)) refuse("rate", "the rate is of another asset than the payment");
  if (scheme === "credit") {
    if ([payee, authorised, authorisation, moved, deadline].some((item) => item !== null)) refuse("scheme", "nobody signs for credit, and no chain moves it");
    return;
  }
  if (!/^eip155:[1-9][0-9]{0,17}$/.test(network ?? "")) refuse("scheme", "a network is eip155:<chain id>");
  if ([asset, payee, asked].includes(null)) refuse("scheme", "an offer names an asset, a payee and an amount");
  for (const who of [asset, payee, payer]) if (who !== null) address(who);
  const agreed = [payer, authorised, authorisation].map((item) => item !== null);
  if (agreed.some((is) => is === (event === "offered"))) refuse("scheme", "after the offer a payer, an amount and what was signed are there");
}

/* §4.6(4): which members an event has. */
function checkEvent({ event, scheme, charge: charged, response, captured, reason, transaction: moved }) {
  const before = BEFORE_CHARGE.includes(event);
  if (before !== (charged === null)) refuse("event", "a charge is there from the event charged on");
  if (before && response !== UNDELIVERED) refuse("event", "before a charge nothing was answered");
  if (MOVED.includes(event) !== (captured !== null)) refuse("event", `captured belongs to ${MOVED.join(", ")}`);
  if (WITH_REASON.includes(event) !== (reason !== null)) refuse("event", `a reason belongs to ${WITH_REASON.join(", ")}`);
  if ((scheme !== "credit" && captured !== null && captured !== 0n) !== (moved !== null)) refuse("event", "exactly money that moved on a chain has a transaction");
}

/** A document of its exact bytes; amounts are integers, and `terms` has its members as they stand there. */
export function readPayment(bytes) {
  if (bytes.length > LARGEST) refuse("size", `a payment document has at most ${LARGEST} bytes`);
  const value = exactly(parseCanonical(bytes), MEMBERS, "payment_document.fields");
  if (value.type !== "urn:holdfast:payment:v1") refuse("fields", "not a payment document");
  if (!Array.isArray(value.not_evidence_of) || spelled(value.not_evidence_of) !== spelled(NOT_EVIDENCE_OF)) refuse("scope", "a payment says what it is not evidence of, all of it, sorted");
  if (!isRun(value.run) || !PAYMENT_EVENTS.includes(value.event)) refuse("fields", "run is a run id, and event one of a few");
  const document = {
    run: value.run,
    event: value.event,
    at: time(value.at),
    timing: oneOf(value.timing, ["on_answer", "on_proof", "credit"]),
    scheme: oneOf(value.scheme, ["exact", "upto", "credit"]),
    ...Object.fromEntries(["network", "asset", "payer", "payee"].map((name) => [name, orNull(value[name], named)])),
    ...Object.fromEntries(["asked", "authorised", "captured"].map((name) => [name, orNull(value[name], amount)])),
    authorisation: orNull(value.authorisation, hexText),
    priceCard: orNull(value.price_card, hexText),
    rate: orNull(value.rate, rate),
    charge: orNull(value.charge, charge),
    transaction: orNull(value.transaction, transaction),
    request: readTree(value.request),
    response: value.response === UNDELIVERED ? UNDELIVERED : readTree(value.response),
    deadline: orNull(value.deadline, (at) => time(at)),
    reason: orNull(value.reason, (reason) => (isCode(reason) ? reason : refuse("reason", "a reason is a code"))),
    terms: value,
  };
  checkScheme(document);
  checkEvent(document);
  return document;
}

const reject = (about, says) => {
  throw new Rejected(`payment_document.${about}`, says);
};

const coarse = (at) => at - (((at % MINUTE) + MINUTE) % MINUTE);

/** Refuses a document that is not what a statement commits to, or tells of something else (§4.6(2)). */
export function checkPayment(statement, { document, salt, told }) {
  if (statement.kind !== "payment" || recordOf("payment", salt, document) !== statement.record) reject("record", "the record does not commit to this document with this salt");
  if (told.run !== statement.run) reject("run", "statement and document differ in run");
  if (told.event !== statement.event) reject("event", "statement and document differ in event");
  if (statement.claimedAt < told.at && statement.claimedAt !== coarse(told.at)) reject("at", "statement and document differ in at");
  return told;
}

/* A charge computed again from its own lines (pricing.md §4). */
function checkCharge({ lines, usd, amount: charged, capped }, at) {
  const names = lines.map(({ what }) => what);
  const inOrder = Object.keys(LINES).filter((name) => names.includes(name));
  if (spelled(names) !== spelled(inOrder) || (names.includes(UNKNOWN_USAGE) && (names.length > 1 || charged))) reject("sum", "a charge has each line once and in order, and unknown usage is free");
  let total = whole(0);
  for (const { what, quantity, per, price: each, usd: comes } of lines) {
    const product = by(times(whole(quantity), each), whole(per));
    if (compare(product, comes)) reject("sum", `the line of ${what} is not quantity times price`);
    total = plus(total, product);
  }
  if (compare(total, usd)) reject("sum", "the lines do not add up");
  if (capped !== null && capped <= charged) reject("sum", "a charge that was capped is below what its lines come to");
  if (at === null) return;
  const owed = roundedUp(times(by(total, at.usd), whole(10n ** BigInt(at.decimals))));
  if (owed !== (capped ?? charged)) reject("sum", `at its rate the charge comes to ${owed} base units`);
}

/** Refuses a document that does not add up by itself (§4.6(5)). */
export function checkAmounts({ charge: charged, rate: at, asked, authorised, captured: taken, scheme }) {
  if (charged === null) return;
  checkCharge(charged, at);
  for (const [name, most] of Object.entries({ asked, authorised })) if (most !== null && charged.amount > most) reject("cap", `${charged.amount} is charged, above the ${most} that was ${name}`);
  if (taken === null) return;
  if (authorised !== null && taken > authorised) reject("cap", `${taken} is taken, above the ${authorised} that was authorised`);
  if (scheme === "exact" && taken !== authorised) reject("overcharge", "exact takes the amount that was signed, and no other");
  if (scheme !== "exact" && taken > charged.amount) reject("overcharge", `${taken} is taken, above the charge of ${charged.amount}`);
}

/** Refuses a payment for another request or response than the statements of the turn bind. */
export function checkBound({ request, response }, route, closing) {
  if (route && spelled(request) !== spelled(route.request)) reject("request", "it is for another request");
  if (closing && response !== UNDELIVERED && spelled(response) !== spelled(closing.response)) reject("response", "it is for another response");
}

/* A count as JSON from outside has it: an integer, or the text of one; null for anything else. */
function countOf(value) {
  const text = value instanceof Numeral ? value.text : value;
  return typeof text === "string" && AMOUNT.test(text) ? BigInt(text) : null;
}

/* How many images a response document holds (pricing.md §4(1)). */
function imagesIn({ data, choices }) {
  const made = Array.isArray(data) ? data.filter((item) => isObject(item) && "b64_json" in item).length : 0;
  const shown = (Array.isArray(choices) ? choices : []).map((choice) => (isObject(choice) && isObject(choice.message) ? choice.message.images : null));
  return BigInt(made + shown.reduce((sum, images) => sum + (Array.isArray(images) ? images.length : 0), 0));
}

/* What a response document, or as much of it as is shown, reports by the names of lines. */
function reported(response) {
  const usage = isObject(response.usage) ? response.usage : {};
  const found = new Map();
  for (const [name, member] of [["input_tokens", "prompt_tokens"], ["output_tokens", "completion_tokens"]]) {
    const many = countOf(member in usage ? usage[member] : usage[name]);
    if (many !== null) found.set(name, many);
  }
  if ("data" in response || "choices" in response) found.set("images", imagesIn(response));
  return found;
}

/** Whether a charge was held against what the answer reports of it; refuses more than that (§4.6(7)). */
export function checkUsage({ charge: charged }, response) {
  const found = reported(response);
  const lines = (charged?.lines ?? []).filter(({ what }) => found.has(what));
  for (const { what, quantity } of lines) if (BigInt(quantity) > found.get(what)) reject("overcharge", `${quantity} ${what} are charged, and the answer reports ${found.get(what)}`);
  return lines.length > 0;
}

/** Refuses a document that does not follow another of the same payment (§4.6(6)). */
export function checkTerms(after, before) {
  const same = (name) => spelled(before.terms[name]) === spelled(after.terms[name]);
  for (const name of TERMS) if (before.terms[name] !== null && !same(name)) reject("terms", `${name} is not what it was when it was ${before.event}`);
  if (!BEFORE_CHARGE.includes(before.event) && !same("response")) reject("terms", `response is not what it was when it was ${before.event}`);
  if (MOVED.includes(before.event) && !same("captured")) reject("terms", "what is owed back is what was taken");
  if (after.event === "refund_due" && !same("transaction")) reject("terms", "a debt names the transaction that it is about");
  if (after.at < before.at) reject("terms", `it claims a time before it was ${before.event}`);
}

/** Refuses captures of one authorisation that are of several, of two amounts, of two transactions, or more than was signed (§4.6(8)). */
export function checkCaptures(documents) {
  const taken = documents.filter(({ event }) => event === "captured");
  const several = (list) => new Set(list).size;
  const agreed = taken.map(({ terms }) => spelled(["authorisation", "authorised", "payer", "payee", "asset", "network"].map((name) => terms[name])));
  const moved = taken.map(({ transaction: by }) => by).filter((by) => by !== null);
  if (several(agreed) > 1 || several(moved) > 1 || several(taken.map(({ run }) => run)) < taken.length) reject("authorisation", "one authorisation is captured once, for each run once");
  const total = taken.reduce((sum, { captured }) => sum + captured, 0n);
  const most = taken[0]?.authorised ?? null;
  if (most !== null && total > most) reject("cap", `${total} is taken over all runs, above the ${most} authorised`);
}
