/* Exact numbers: fractions of integers of any size, and the decimals that they are written as (admission.md §4(1), pricing.md §1). */

/* `under` is above 0. */
const made = (over, under) => ({ over, under });

export const whole = (value) => made(BigInt(value), 1n);

/** The number that a decimal in its one spelling is. */
export function ofDecimal(text) {
  const [left, right = ""] = text.split(".");
  return made(BigInt(left + right), 10n ** BigInt(right.length));
}

export const plus = (left, right) => made(left.over * right.under + right.over * left.under, left.under * right.under);
export const minus = (left, right) => plus(left, made(-right.over, right.under));
export const times = (left, right) => made(left.over * right.over, left.under * right.under);
/** `left` in parts; `right` is above 0. */
export const by = (left, right) => made(left.over * right.under, left.under * right.over);
export const magnitude = ({ over, under }) => made(over < 0n ? -over : over, under);

/** Negative, 0 or positive, as `left` is less than, the same as or more than `right`. */
export function compare(left, right) {
  const apart = left.over * right.under - right.over * left.under;
  return apart < 0n ? -1 : apart > 0n ? 1 : 0;
}

/** The least integer that is not below it. */
export function roundedUp({ over, under }) {
  const cut = over / under;
  return over > 0n && over % under !== 0n ? cut + 1n : cut;
}

/* No number that is written here has more digits behind its point. */
const MOST_DIGITS = 400;

/** The one spelling of a number as a decimal; null where it has none of so many digits. */
export function decimalOf(number) {
  const { over, under } = magnitude(number);
  let [digits, rest] = ["", over % under];
  while (rest && digits.length < MOST_DIGITS) {
    digits += (rest * 10n) / under;
    rest = (rest * 10n) % under;
  }
  if (rest) return null;
  return `${number.over < 0n ? "-" : ""}${over / under}${digits && `.${digits}`}`;
}
