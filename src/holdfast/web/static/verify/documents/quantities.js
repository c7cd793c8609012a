/* Values that data nodes admit, and the rules by which several agree (admission.md §3(3), §4, §5). Disagreement has no value. */

import { Malformed, attempt } from "../answers.js";
import { utf8 } from "../bytes.js";
import { by, compare, decimalOf, magnitude, minus, ofDecimal, plus, times, whole } from "../fractions.js";
import { exactly, parseCanonical } from "../json.js";
import { characters } from "../records.js";

export const MOST_OBSERVATIONS = 64;
const LONGEST = 65_536;
const LONGEST_UNIT = 32;
const DECIMAL = /^(?!-0$)-?(?:0|[1-9][0-9]{0,37})(?:\.[0-9]{0,37}[1-9])?$/;

const refuse = (about, says) => {
  throw new Malformed(`admission.${about}`, says);
};

export const isDecimal = (value) => typeof value === "string" && DECIMAL.test(value);

/** The number of a decimal. */
export const readDecimal = (value) => (isDecimal(value) ? ofDecimal(value) : refuse("decimal", "a decimal is a string such as -0.25, of at most 38 digits on either side of the point"));

const isText = (value, most) => typeof value === "string" && value !== "" && characters(value) <= most;

/* Whether a text is canonical JSON of anything. */
function isCanonical(text) {
  const { value } = attempt(() => parseCanonical(utf8(`{"":${text}}`)));
  return value !== null && Object.keys(value).length === 1;
}

/** A value in its form. */
export function readValue(value) {
  exactly(value, ["type", "text", "unit"], "admission.value");
  if (!["decimal", "text", "json"].includes(value.type) || !isText(value.text, LONGEST)) refuse("value", "a value is a decimal, a text or JSON, of 1 to 65,536 characters");
  if (value.unit !== null && !isText(value.unit, LONGEST_UNIT)) refuse("value", "a unit has 1 to 32 characters, or is null");
  if (value.type === "decimal") readDecimal(value.text);
  if (value.type === "json" && !isCanonical(value.text)) refuse("value", "a value of type json is canonical JSON");
  return value;
}

/** A rule in its form. */
export function readRule(value) {
  exactly(value, ["kind", "least", "spread", "relative"], "admission.rule");
  const { kind, least, spread, relative } = value;
  if (!["exact", "spread", "median"].includes(kind) || !Number.isInteger(least) || least < 1 || least > MOST_OBSERVATIONS) refuse("rule", "a rule is of a kind, and of at least 1 to 64 values");
  if (typeof relative !== "boolean" || (kind === "exact") !== (spread === null) || (kind === "exact" && relative)) refuse("rule", "every rule but exact has a spread, which may be relative");
  if (spread !== null && readDecimal(spread).over < 0n) refuse("rule", "a spread is at least 0");
  return value;
}

/* A number as a decimal, or null where it has more digits than one may have. */
function asDecimal(number) {
  const text = decimalOf(number);
  return isDecimal(text) ? text : null;
}

function median(numbers) {
  const half = numbers.length >> 1;
  return numbers.length % 2 ? numbers[half] : by(plus(numbers[half - 1], numbers[half]), whole(2));
}

/* Whether sorted numbers lie as a rule asks. */
function near({ kind, least, spread, relative }, numbers, middle) {
  const bound = relative ? times(ofDecimal(spread), magnitude(middle)) : ofDecimal(spread);
  const within = (apart) => compare(apart, bound) <= 0;
  if (kind === "spread") return within(minus(numbers.at(-1), numbers[0]));
  return numbers.filter((number) => within(magnitude(minus(number, middle)))).length >= least;
}

/** Whether the values that count agree, how far they lie apart, and on what they agree (§5(1), §5(2)). */
export function applied(rule, values) {
  const alike = new Set(values.map(({ type, unit }) => JSON.stringify([type, unit]))).size === 1;
  const numbers = alike && values[0].type === "decimal" ? values.map(({ text }) => ofDecimal(text)).sort(compare) : [];
  const spread = numbers.length ? asDecimal(minus(numbers.at(-1), numbers[0])) : null;
  const outcome = (value) => ({ agreed: value !== null, spread, value });
  if (!alike || values.length < rule.least) return outcome(null);
  if (rule.kind === "exact") return outcome(values.every(({ text }) => text === values[0].text) ? values[0] : null);
  if (!numbers.length) return outcome(null);
  const middle = median(numbers);
  const text = asDecimal(middle);
  return outcome(text !== null && near(rule, numbers, middle) ? { type: "decimal", text, unit: values[0].unit } : null);
}

/** Whether a value is a number within `range` (decimals or null), both ends included. */
export function within(value, { least, most }) {
  if (value.type !== "decimal") return false;
  const number = ofDecimal(value.text);
  return (least === null || compare(ofDecimal(least), number) <= 0) && (most === null || compare(number, ofDecimal(most)) <= 0);
}
