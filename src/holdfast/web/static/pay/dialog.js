/* What has to be paid, to whom, for what, and what it is no evidence of: shown before anything is signed. A payment is
   signed once for one question; a server that asks again after it was paid is refused (`chat/page.js`). */

import { sentence, short } from "../parts.js";
import { token } from "../stream.js";
import { limitsOf, note, over, setLimits, spent } from "./limits.js";
import * as wallet from "./wallet.js";
import { PERMIT2, allowanceToSign, baseUnits, paymentHeader, sponsors, throughPermit2, toSign, whole } from "./x402.js";

const dialog = document.getElementById("pay");
const part = (name) => dialog.querySelector(`[data-part="${name}"]`);
const NONE = { code: "page.not_paid", message: "Nothing was paid, and nothing was asked", hint: "" };

/* What is on show while the dialog is open. */
let shown = null;

/** Show what is asked for and have it signed: the PAYMENT-SIGNATURE header and the amount in words. Raises where its
    reader says no. */
export async function pay(needed, question) {
  const { entries } = needed.required;
  if (!entries.length) throw { code: "page.payment_required", message: "The gateway takes no payment that this page can make", hint: "" };
  if (shown) throw NONE;
  return new Promise((resolve, reject) => {
    shown = { needed, entry: null, token: null, account: null, resolve, reject };
    part("why").textContent = sentence(needed.message);
    part("question").textContent = question;
    part("resource").textContent = needed.required.resource?.url ?? "not named";
    const first = cheapest(needed.required);
    part("choices").replaceChildren(...entries.map((entry) => choice(entry, first)));
    say("");
    dialog.showModal();
    look(first);
  });
}

/** What is chosen at first: `exact` takes all that is signed, `upto` what the answer costs, where nothing else stands
    in its way. */
const cheapest = (required) =>
  required.entries.find((entry) => entry.scheme === "upto" && sponsors(required, entry)) ?? required.entries[0];

function choice(entry, first) {
  const label = document.createElement("label");
  const input = document.createElement("input");
  Object.assign(input, { type: "radio", name: "entry", checked: entry === first });
  input.addEventListener("change", () => look(entry));
  label.append(input, CHOICES[entry.method]);
  return label;
}

const CHOICES = {
  eip3009: "Exactly this amount, whatever the answer costs",
  "permit2-exact": "Exactly this amount, through Permit2",
  "permit2-upto": "At most this amount; what is not used lapses (through Permit2)",
};

/** Show one entry; what the token says of itself comes once a wallet is there. */
async function look(entry) {
  shown.entry = entry;
  shown.token = null;
  part("network").textContent = entry.network;
  part("asset").textContent = entry.asset;
  part("payee").textContent = entry.payTo;
  part("payee-known").textContent = knownPayee(entry.payTo);
  part("until").textContent = new Date(Date.now() + entry.timeoutS * 1000).toLocaleTimeString();
  part("faucet").hidden = dialog.dataset.faucet !== entry.network;
  showAmount();
  try {
    shown.account = await wallet.known();
    await lookWithWallet(entry);
  } catch (error) {
    complain(error);
  }
}

/** A development chain is one that the panel has a faucet for. */
const beOn = (entry) => wallet.beOn(entry.chainId, dialog.dataset.faucet === entry.network ? dialog.dataset.rpc : "");

function knownPayee(payee) {
  if (!dialog.dataset.payee) return "the gateway's key document names nobody to be paid";
  return payee === dialog.dataset.payee ? "the address in the gateway's key document" : "not the address in the gateway's key document";
}

async function lookWithWallet(entry) {
  part("connect").hidden = shown.account !== null || !wallet.found();
  part("no-wallet").hidden = wallet.found();
  part("account").textContent = shown.account ?? "none";
  if (!shown.account) return showAmount();
  await beOn(entry);
  const [described, held] = await Promise.all([wallet.describe(entry.asset), wallet.balance(entry.asset, shown.account)]);
  if (shown?.entry !== entry) return undefined;
  shown.token = described;
  part("held").textContent = `${whole(held, described.decimals)} ${described.symbol}`;
  const limits = limitsOf(entry) ?? { each: entry.amount, day: entry.amount * 10n };
  part("each").value = whole(limits.each, described.decimals);
  part("day").value = whole(limits.day, described.decimals);
  return showAmount();
}

function amountOf({ entry, token: described }) {
  if (!described) return `${entry.amount} base units`;
  return `${whole(entry.amount, described.decimals)} ${described.symbol}`;
}

function showAmount() {
  const { entry, token: described } = shown;
  part("amount").textContent = `${entry.scheme === "upto" ? "at most " : ""}${amountOf(shown)}`;
  part("limits").hidden = !described;
  if (described) part("spent").textContent = `${whole(spent(entry), described.decimals)} ${described.symbol}`;
  part("sign").disabled = !described;
}

const say = (text) => {
  part("trouble").textContent = text;
};

const complain = (error) => say([error.message, error.hint].filter(Boolean).map(sentence).join(" "));

/** The limits as they stand in the form, taken over; why not, or nothing. */
function takeLimits() {
  const [each, day] = ["each", "day"].map((name) => baseUnits(part(name).value, shown.token.decimals));
  if (each === null || day === null) return "A limit is a number such as 0.5";
  setLimits(shown.entry, each, day);
  return over(shown.entry);
}

async function signed() {
  const { needed, entry, account } = shown;
  const refused = takeLimits();
  if (refused) throw { message: refused, hint: "Nothing was signed" };
  await beOn(entry);
  const now = Math.floor(Date.now() / 1000);
  const allowance = throughPermit2(entry) ? await allow(needed.required, entry, account, now) : null;
  const { authorization, typed } = toSign(entry, account, now, crypto.getRandomValues(new Uint8Array(32)));
  note(entry);
  const signature = await wallet.sign(account, typed);
  return paymentHeader(needed.required, entry, authorization, signature, allowance);
}

/** Permit2 needs an allowance: there already, or signed here where the gateway brings it to the chain. */
async function allow(required, entry, account, now) {
  if ((await wallet.allowance(entry.asset, account, PERMIT2)) >= entry.amount) return null;
  if (!sponsors(required, entry))
    throw { message: "Permit2 has no allowance of yours for this token", hint: "Give it one with your wallet, or choose a payment that does without" };
  const { message, typed } = allowanceToSign(entry, account, now, await wallet.nonces(entry.asset, account));
  return { message, signature: await wallet.sign(account, typed) };
}

function end(settle) {
  const was = shown;
  shown = null;
  dialog.close();
  if (was) settle(was);
}

/** Do something with the wallet while nothing else can be pressed. */
async function busily(work) {
  dialog.querySelectorAll("button").forEach((button) => (button.disabled = true));
  say("");
  try {
    await work();
  } catch (error) {
    complain(error);
  } finally {
    dialog.querySelectorAll("button").forEach((button) => (button.disabled = false));
    if (shown) part("sign").disabled = !shown.token;
  }
}

async function faucet() {
  shown.account ??= await wallet.connect();
  const response = await fetch("/pay/faucet", {
    method: "POST",
    headers: { "content-type": "application/json", "x-holdfast-token": token() },
    body: JSON.stringify({ address: shown.account }),
  });
  const answer = await response.json();
  if (!response.ok) throw answer.error;
  say(`Transaction ${short(answer.transaction)} gives you test tokens. They are worth nothing.`);
  await lookWithWallet(shown.entry);
}

part("connect").addEventListener("click", () =>
  busily(async () => {
    shown.account = await wallet.connect();
    await lookWithWallet(shown.entry);
  }),
);
part("faucet").addEventListener("click", () => busily(faucet));
part("sign").addEventListener("click", () =>
  busily(async () => {
    const paid = { header: await signed(), amount: part("amount").textContent };
    end(({ resolve }) => resolve(paid));
  }),
);
part("cancel").addEventListener("click", () => end(({ reject }) => reject(NONE)));
dialog.addEventListener("cancel", (event) => {
  event.preventDefault();
  end(({ reject }) => reject(NONE));
});
