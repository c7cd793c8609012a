/* What the owner of a wallet lets this page sign for, per asset and chain: at most so much for one answer, at most so
   much in a day. Kept in this browser. Where nothing is set, nothing is signed: empty means no.

   What counts as spent is what was signed for: a signature can be used up to its amount whatever is charged for. */

const KEY = "holdfast-limits";
const DAY_MS = 24 * 3600 * 1000;

function load() {
  try {
    return JSON.parse(localStorage.getItem(KEY)) ?? {};
  } catch {
    return {};
  }
}

const nameOf = (entry) => `${entry.network}/${entry.asset}`;

/** `{each, day}` in base units, or null where nothing is set. */
export function limitsOf(entry) {
  const found = load()[nameOf(entry)];
  return found ? { each: BigInt(found.each), day: BigInt(found.day) } : null;
}

export function setLimits(entry, each, day) {
  const all = load();
  all[nameOf(entry)] = { ...all[nameOf(entry)], each: String(each), day: String(day) };
  localStorage.setItem(KEY, JSON.stringify(all));
}

/** What was signed for in the last day. */
export function spent(entry, now = Date.now()) {
  const signed = load()[nameOf(entry)]?.signed ?? [];
  return signed.filter(([at]) => now - at < DAY_MS).reduce((sum, [, amount]) => sum + BigInt(amount), 0n);
}

/** Write down a signature before it is asked for; a browser that cannot keep it raises, and nothing is signed. */
export function note(entry, now = Date.now()) {
  const all = load();
  const signed = (all[nameOf(entry)]?.signed ?? []).filter(([at]) => now - at < DAY_MS);
  all[nameOf(entry)] = { ...all[nameOf(entry)], signed: [...signed, [now, String(entry.amount)]] };
  localStorage.setItem(KEY, JSON.stringify(all));
}

/** Why this must not be signed, or nothing. */
export function over(entry, now = Date.now()) {
  const limits = limitsOf(entry);
  if (!limits) return "You have set no limits for this token";
  if (entry.amount > limits.each) return "This is more than you let one answer cost";
  if (spent(entry, now) + entry.amount > limits.day) return "This would be more than you let a day cost";
  return "";
}
