/* x402 version 2 as a page needs it: reads what a server asks for, makes what a wallet has to sign, and wraps it up
   (spec/payments.md §1 to §4). No keys, no network, no clock: those are handed in. Amounts are BigInt base units. */

const ADDRESS = /^0x[0-9a-fA-F]{40}$/;
const NUMBER = /^(?:0|[1-9][0-9]{0,77})$/;
const NETWORK = /^eip155:([1-9][0-9]{0,17})$/;
const MAX_HEADER = 24_576;
const MAX_WORD = 2n ** 256n - 1n;

export const PERMIT2 = "0x000000000022d473030f116ddee9f6b43ac78ba3";
const SPENDERS = {
  exact: "0x402085c248eea27d92e8b30b2c58ed07f9e20001",
  upto: "0x4020a4f3b7b90cca423b9fabcc0ce57c6c240002",
};
const SPONSORING = "eip2612GasSponsoring";
/* How long before now a signature begins to hold, seconds: clocks differ. */
const EARLIER_S = 600;

/** An answer that has to be paid for first: `required` as `parseRequired` gives it, `error` in the one error shape. */
export class PaymentNeeded extends Error {
  constructor(required, error) {
    super(error?.message ?? "this answer has to be paid for");
    this.required = required;
    this.error = error;
  }
}

function refuse(message) {
  throw { code: "page.payment_required", message: `What the gateway asks to be paid cannot be read: ${message}`, hint: "Nothing was signed" };
}

function parseHeader(text) {
  if (typeof text !== "string" || !text || text.length > MAX_HEADER) refuse("its header is missing or too long");
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.from(atob(text), (c) => c.charCodeAt(0))));
  } catch {
    return refuse("its header is damaged");
  }
}

export function buildHeader(value) {
  const text = btoa(String.fromCharCode(...new TextEncoder().encode(JSON.stringify(value))));
  if (text.length > MAX_HEADER) refuse("the payment would not fit into a header");
  return text;
}

/** A PAYMENT-REQUIRED header: `{resource, extensions, entries}`. Entries that no wallet here could pay are left out; one
    that is damaged makes all of it so, for nobody should pay a server that cannot say what it wants. */
export function parseRequired(header) {
  const value = parseHeader(header);
  if (value?.x402Version !== 2 || !Array.isArray(value.accepts)) refuse("it is not of x402 version 2");
  const entries = value.accepts.map(parseEntry).filter((entry) => entry !== null);
  return { resource: value.resource ?? null, extensions: value.extensions ?? null, entries };
}

function parseEntry(raw) {
  const network = NETWORK.exec(raw?.network ?? "");
  if (!network || !Object.hasOwn(SPENDERS, raw.scheme)) return null;
  if (!ADDRESS.test(raw.asset) || !ADDRESS.test(raw.payTo)) refuse("an address is damaged");
  if (typeof raw.amount !== "string" || !NUMBER.test(raw.amount) || BigInt(raw.amount) > MAX_WORD) refuse("an amount is damaged");
  const timeout = raw.maxTimeoutSeconds;
  if (!Number.isSafeInteger(timeout) || timeout < 0) refuse("a time is damaged");
  const extra = raw.extra ?? {};
  const method = methodOf(raw.scheme, extra);
  return method && { raw, method, scheme: raw.scheme, network: raw.network, chainId: Number(network[1]), asset: raw.asset.toLowerCase(), payTo: raw.payTo.toLowerCase(), amount: BigInt(raw.amount), timeoutS: timeout, extra };
}

/** How the money would move; null where nobody could sign for it. */
function methodOf(scheme, extra) {
  const named = typeof extra.name === "string" && typeof extra.version === "string";
  if (scheme === "upto") return ADDRESS.test(extra.facilitatorAddress) ? "permit2-upto" : null;
  if (extra.assetTransferMethod === "permit2") return "permit2-exact";
  return named ? "eip3009" : null;
}

export const throughPermit2 = (entry) => entry.method !== "eip3009";

/** Whether the gateway would bring an allowance for Permit2 to the chain that the payer signs beside the payment. */
export const sponsors = (required, entry) =>
  throughPermit2(entry) && Boolean(required.extensions?.[SPONSORING]) && typeof entry.extra.name === "string" && typeof entry.extra.version === "string";

const field = (name, type) => ({ name, type });
const fields = (text) => text.split(",").map((each) => field(...each.trim().split(" ").reverse()));
const DOMAIN = fields("string name, string version, uint256 chainId, address verifyingContract");
const PERMIT_DOMAIN = fields("string name, uint256 chainId, address verifyingContract");

const tokenDomain = (entry) => ({ name: entry.extra.name, version: entry.extra.version, chainId: entry.chainId, verifyingContract: entry.asset });

/** What a payer is asked to sign for an entry: `{authorization, typed}`. `now` is in seconds, `nonce` 32 random bytes. */
export function toSign(entry, payer, now, nonce) {
  return throughPermit2(entry) ? permit2(entry, payer, now, nonce) : transfer(entry, payer, now, nonce);
}

function transfer(entry, payer, now, nonce) {
  const authorization = {
    from: payer,
    to: entry.payTo,
    value: String(entry.amount),
    validAfter: String(now - EARLIER_S),
    validBefore: String(now + entry.timeoutS),
    nonce: hex(nonce),
  };
  const types = {
    EIP712Domain: DOMAIN,
    TransferWithAuthorization: fields("address from, address to, uint256 value, uint256 validAfter, uint256 validBefore, bytes32 nonce"),
  };
  return { authorization, typed: { types, primaryType: "TransferWithAuthorization", domain: tokenDomain(entry), message: authorization } };
}

function permit2(entry, payer, now, nonce) {
  const upto = entry.scheme === "upto";
  const facilitator = upto ? { facilitator: entry.extra.facilitatorAddress.toLowerCase() } : {};
  const signed = {
    permitted: { token: entry.asset, amount: String(entry.amount) },
    spender: SPENDERS[entry.scheme],
    nonce: String(BigInt(hex(nonce))),
    deadline: String(now + entry.timeoutS),
    witness: { to: entry.payTo, ...facilitator, validAfter: String(now - EARLIER_S) },
  };
  const types = {
    EIP712Domain: PERMIT_DOMAIN,
    PermitWitnessTransferFrom: fields("TokenPermissions permitted, address spender, uint256 nonce, uint256 deadline, Witness witness"),
    TokenPermissions: fields("address token, uint256 amount"),
    Witness: fields(`address to, ${upto ? "address facilitator, " : ""}uint256 validAfter`),
  };
  const domain = { name: "Permit2", chainId: entry.chainId, verifyingContract: PERMIT2 };
  return { authorization: { from: payer, ...signed }, typed: { types, primaryType: "PermitWitnessTransferFrom", domain, message: signed } };
}

/** The allowance for Permit2 that goes with a payment (EIP-2612); `count` is the token's nonce of the payer. */
export function allowanceToSign(entry, payer, now, count) {
  const message = { owner: payer, spender: PERMIT2, value: String(entry.amount), nonce: String(count), deadline: String(now + entry.timeoutS) };
  const types = { EIP712Domain: DOMAIN, Permit: fields("address owner, address spender, uint256 value, uint256 nonce, uint256 deadline") };
  return { message, typed: { types, primaryType: "Permit", domain: tokenDomain(entry), message } };
}

/** The PAYMENT-SIGNATURE header for an entry that was signed. `allowance` is `{message, signature}` or nothing. */
export function paymentHeader(required, entry, authorization, signature, allowance = null) {
  const name = throughPermit2(entry) ? "permit2Authorization" : "authorization";
  const info = allowance && {
    from: allowance.message.owner,
    asset: entry.asset,
    spender: PERMIT2,
    amount: allowance.message.value,
    nonce: allowance.message.nonce,
    deadline: allowance.message.deadline,
    signature: allowance.signature,
    version: "1",
  };
  const sponsored = info && { [SPONSORING]: { ...required.extensions[SPONSORING], info } };
  return buildHeader({
    x402Version: 2,
    payload: { [name]: authorization, signature },
    accepted: entry.raw,
    ...(required.resource ? { resource: required.resource } : {}),
    ...(sponsored ? { extensions: sponsored } : {}),
  });
}

/** Bytes as 0x and hex digits. */
export const hex = (bytes) => `0x${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;

/** Base units as a decimal of whole tokens, all of them. */
export function whole(amount, decimals) {
  const digits = String(amount).padStart(decimals + 1, "0");
  const rest = decimals ? digits.slice(-decimals).replace(/0+$/, "") : "";
  return (decimals ? digits.slice(0, -decimals) : digits) + (rest && `.${rest}`);
}

/** Base units in US dollars by a rate (`{usd, decimals}`, spec/pricing.md §3), all digits. */
export function inDollars(amount, rate) {
  const [units, rest = ""] = rate.usd.split(".");
  return whole(BigInt(amount) * BigInt(units + rest), rest.length + rate.decimals);
}

/** The reverse of `whole`; null for what is no such decimal. */
export function baseUnits(text, decimals) {
  const match = /^(\d{1,60})(?:[.,](\d{0,36}))?$/.exec(text.trim());
  if (!match || (match[2] ?? "").length > decimals) return null;
  return BigInt(match[1] + (match[2] ?? "").padEnd(decimals, "0"));
}
