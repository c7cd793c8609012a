/* Which key a page believes marks and statements of its gateway by, and why: one that the panel's trust admits now; where there is no
   trust, the one that this browser saw first. It never changes its mind by itself. */

import { Rejected, Undecided } from "./answers.js";
import { gatewayDocument, panelTrust } from "./panel.js";
import { admits } from "./trust.js";

const SEEN = "holdfast.gateway.key";

function first(id) {
  try {
    const seen = localStorage.getItem(SEEN);
    if (seen === null) localStorage.setItem(SEEN, id);
    return seen ?? id;
  } catch {
    return id;
  }
}

function admitted(trust, document) {
  const node = trust.node(document.id);
  const now = Date.now();
  if (trust.expiresAt <= now) throw new Undecided("trust.expired", "The panel's trust has run out");
  if (!node || !admits(node, now, now) || !node.document.roles.includes("gateway")) throw new Rejected("page.gateway_key", "The panel's trust does not admit the key that the gateway shows");
  return `admitted by this panel's trust, version ${trust.number}, which this browser took on first use`;
}

function pinned(document) {
  if (first(document.id) !== document.id) throw new Rejected("page.gateway_key", "The gateway shows another key than this browser saw first, and there is no trust here that admits it");
  return "the one that this browser saw first; no trust here vouches for it";
}

/** `{document, key, trust, says}`, or it refuses: nothing is asked of a gateway whose answers could not be checked. */
export async function gatewayKey() {
  const [{ trust, refusal }, document] = await Promise.all([panelTrust(), gatewayDocument()]);
  if (refusal) throw refusal;
  if (!document) throw new Undecided("page.gateway_key", "The gateway shows no key document, so its answers could not be checked");
  const key = document.key("statement");
  if (!key) throw new Rejected("page.gateway_key", "The gateway's key document has no key that signs");
  return { document, key, trust, says: trust ? admitted(trust, document) : pinned(document) };
}
