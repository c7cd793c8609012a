/* The lane `privacy` and its hops (lanes.md §3(5)). */

import { hex } from "../bytes.js";
import { sha256 } from "../hashes.js";

const LANE = ["privacy"];
const OWN = ["agent", "step"];
/* RFC 9180 §7.3, with HKDF-SHA256 (§7.2). */
const AEADS = { "aes-128-gcm": 1, "chacha20-poly1305": 3 };

/* Whether a key configuration (RFC 9458 §3.1) offers a suite. */
function offers(configuration, suite) {
  for (let at = 37; at + 4 <= configuration.length; at += 4) {
    const [kdf, aead] = [configuration[at] * 256 + configuration[at + 1], configuration[at + 2] * 256 + configuration[at + 3]];
    if (kdf === 1 && aead === AEADS[suite]) return true;
  }
  return false;
}

export const doesNotSay = "This does not say what the operator of a hop did with what it saw, nor that no two hops are in one hand.";

const unknown = (says, basis = null) => ["unknown", basis, says];

/* The key and the suite that a request was sealed by, against the gateway's key document; why not, or null. */
function sealedWrongly({ transcript, route }, document) {
  const { config, suite } = route.path;
  const used = (document.ohttp ?? []).find((configuration) => hex(sha256(configuration)) === config);
  const no = (says, code) => transcript.no("lanes.md §3(5)", says, LANE, code, route.digest) || says;
  if (!used) return no("The question was sealed to a key that the gateway's key document does not name", "privacy.config");
  if (!offers(used, suite)) return no("The question was sealed by a suite that its key does not offer", "privacy.suite");
  transcript.yes("lanes.md §3(5)", "The question was sealed to a key of the gateway's key document, by a suite that it offers", LANE, route.digest);
  return null;
}

function judged(appraisal, enclave) {
  const { trust, route, transcript, refusals, dates } = appraisal;
  if (!route?.path) return unknown(OWN.includes(route?.endpoint) ? "Its caller told the gateway what it did" : "Nothing was sealed: the gateway saw its caller's connection");
  const node = trust?.node(route.attester);
  if (!node) return unknown("Trust does not admit the gateway, so nobody here can say whose keys these are");
  const wrong = sealedWrongly(appraisal, node.document);
  if (wrong) return ["refuted", null, wrong];
  if (refusals.get(route.digest) || dates.get(route.digest)) return unknown("The route that tells of it is refused");
  if (enclave.basis === "development") return unknown("It was sealed to a simulated enclave, which keeps nothing from its operator", "development");
  if (enclave.state !== "proven") return unknown("It was sealed, and nothing shows that an enclave holds the key");
  const bound = enclave.found.map(({ claims }) => claims.hpke).filter((hpke) => hpke !== null);
  const says = "What was sealed could be opened by the attested enclave alone";
  if (bound.includes(node.document.ohttpDigest)) return transcript.yes("lanes.md §3(5)", "The attestation binds the keys that questions are sealed to", LANE, route.digest) && ["proven", "hardware", says];
  if (!bound.length) return unknown("The attestation binds no key that questions are sealed to");
  transcript.no("lanes.md §3(5)", "The attestation binds other keys than those of the key document", LANE, "privacy.bound", route.digest);
  return ["refuted", null, "The attestation binds other keys than those that the question was sealed to"];
}

/* --- hops --- */

const hop = (name, node, identity, plaintext, sizes, timing = "yes") => ({ hop: name, node, identity, plaintext, sizes, timing });

function upstreams({ attempts, fallbackFrom, upstream }, closed) {
  if (attempts === null) return [...fallbackFrom.map((code) => hop("upstream", code, closed, "unknown", "yes")), hop("upstream", upstream, closed, "yes", "yes")];
  const codes = [...new Set(attempts.map((attempt) => attempt.upstream))];
  const sent = (code) => attempts.some((attempt) => attempt.upstream === code && attempt.sent);
  return codes.map((code) => (sent(code) ? hop("upstream", code, closed, "yes", "yes") : hop("upstream", code, closed, closed, closed)));
}

function hops({ route }, proven) {
  const closed = proven ? "no" : "unknown";
  const all = "individual" === route.settlement ? "yes" : "no";
  return [
    hop("client", null, "yes", "yes", "yes"),
    ...(route.path ? [hop("relay", route.path.relay, "yes", closed, "yes")] : []),
    hop("gateway", route.attester, route.path ? closed : "yes", "yes", "yes"),
    ...(OWN.includes(route.endpoint) ? [] : upstreams(route, closed)),
    hop("log", null, "no", all, route.settlement === "private" ? "no" : "yes"),
    hop("panel", null, "unknown", "unknown", "unknown", "unknown"),
  ];
}

/** The lane; `enclave` is that lane as it was judged. */
export function judgePrivacy(appraisal, enclave) {
  const { route } = appraisal;
  const [state, basis, says] = judged(appraisal, enclave);
  const early = route?.path && state !== "refuted" && appraisal.early(route);
  const evidence = route?.path ? [route.digest, ...(state === "proven" ? enclave.evidence : [])] : [];
  const proven = state === "proven" && !early;
  const told = early ? { state: "pending", basis: null, says: "At the time asked about it had not been asked yet" } : { state, basis, says };
  return { ...told, evidence, ...(route ? { hops: hops(appraisal, proven) } : {}) };
}
