/* What vouches for the keys that questions are sealed to (client.md §2, §4(2), §4(3)).

   A caller requires `hardware`, `development` or `none`, and each is content with what stands before it. What does not suffice is refused, and
   then nothing is sealed. */

import { Rejected, Undecided } from "../verify/answers.js";
import { judgeAttestation } from "../verify/attestation/judge.js";

/** What is required where nobody said. */
export const usual = (trust) => (trust.development ? "development" : "hardware");

const CONTENT = { hardware: ["hardware"], development: ["hardware", "development"], none: ["hardware", "development", "expired", "undated", "unread", "bad", "nothing"] };

const NOTHING = { answer: "nothing", says: "Nobody attests that an enclave holds these keys", code: null };

/* §2(2): judged for now. */
function judge(shown, { document, trust, at }, nonce = null) {
  if (shown === null) return NOTHING;
  const moment = { start: at, end: at, late: false, doubted: false };
  return judgeAttestation(shown, trust.node(document.id), moment, trust, nonce);
}

/* §2(4): what hardware binds are the keys that the document names, and none where it names none. */
function bindsKeys({ claims }, { document }) {
  if (claims.tls !== document.tls) throw new Rejected("identity.tls", "The enclave binds another TLS key than the gateway's key document names");
  if (claims.hpke !== document.ohttpDigest) throw new Rejected("identity.ohttp", "The enclave binds other keys than those that the gateway's key document names");
}

function suffices(found, required) {
  if (found.answer === "bad" && required !== "none") throw new Rejected(found.code, found.says);
  if (!CONTENT[required].includes(found.answer)) throw new Rejected("identity.attestation", `${required === "hardware" ? "Hardware" : "An enclave, or a stand-in for one,"} has to vouch for these keys. ${found.says}`);
}

const WORDS = {
  hardware: ({ claims }, fresh) => `An enclave (${claims.tee}) with measurements that trust admits holds these keys${fresh ? ", and answered a nonce of this page" : "; when it said so, nothing shows"}.`,
  development: () => "A simulated enclave vouches for these keys: a development stand-in, which keeps nothing from its operator.",
};

/** Judges what vouches for proven keys (`proof.js`): what was shown beside them, and what `ask(nonce)` gives: `{format, evidence}` made for a
    nonce of ours, or null where the gateway makes none. Gives lines of what it comes to; what does not suffice raises. */
export async function vouched(keys, required, ask, nonce = crypto.getRandomValues(new Uint8Array(32))) {
  const beside = judge(keys.attestation, keys);
  if (required === "none") return [(WORDS[beside.answer] ?? (({ says }) => `${says}. Nothing was required.`))(beside, false)];
  suffices(beside, required);
  if (beside.answer === "hardware") bindsKeys(beside, keys);
  const made = await ask(nonce);
  const found = made === null ? beside : judge(made, keys, nonce);
  suffices(found, required);
  if (found.answer === "hardware") bindsKeys(found, keys);
  const fresh = made !== null && found.answer === "hardware";
  if (required === "hardware" && !fresh) throw new Undecided("identity.stale", "The gateway made no evidence for this page's nonce, so nobody can say how old what it shows is");
  return [WORDS[found.answer](found, fresh)];
}
