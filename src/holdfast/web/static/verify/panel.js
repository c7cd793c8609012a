/* What a page takes from its panel before it checks anything: the trust file, and the gateway's key document. The panel answers
   for neither. Of trust the newest version that this browser accepted is remembered (trust.md §2.1), so that an older or another
   file is refused afterwards; its first version was taken on first use, and that is said. */

import { Refusal } from "./answers.js";
import { unbase64, utf8 } from "./bytes.js";
import { readKeyDocument } from "./keys.js";
import { readTrust } from "./trust.js";

const ACCEPTED = "holdfast.trust.accepted";

async function ask(path) {
  const response = await fetch(path);
  if (!response.ok) return null;
  return response.json();
}

function remembered() {
  try {
    const value = JSON.parse(localStorage.getItem(ACCEPTED));
    return Number.isSafeInteger(value?.version) && typeof value.digest === "string" ? value : null;
  } catch {
    return null;
  }
}

function remember({ number, digest }) {
  try {
    localStorage.setItem(ACCEPTED, JSON.stringify({ version: number, digest }));
  } catch {
    /* Without storage nothing is remembered, and a rollback is not noticed; the page says which version it has. */
  }
}

/** The panel's trust, `{trust, refusal}`: both null where it has none or does not answer. */
export async function panelTrust() {
  const told = await ask("/verify/trust.json").catch(() => null);
  if (!told?.trust) return { trust: null, refusal: null };
  try {
    const trust = readTrust(utf8(told.trust), { accepted: remembered() });
    remember(trust);
    return { trust, refusal: null };
  } catch (error) {
    if (error instanceof Refusal) return { trust: null, refusal: error };
    throw error;
  }
}

/** The key document that the gateway shows, or null where nobody shows one that can be read. */
export async function gatewayDocument() {
  const told = await ask("/verify/gateway.json").catch(() => null);
  try {
    return told?.key_document ? readKeyDocument(unbase64(told.key_document)) : null;
  } catch (error) {
    if (error instanceof Refusal) return null;
    throw error;
  }
}
