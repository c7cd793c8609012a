/* The keys that a gateway's questions are sealed to, with proof that everybody is shown the same (relay.md §4).

   What holds is told as lines; what does not raises a refusal, and then nothing is sealed to anybody. */

import { Malformed, Rejected, Undecided } from "../verify/answers.js";
import { unbase64, utf8 } from "../verify/bytes.js";
import { refusalOf } from "../verify/checks.js";
import { exactly, parseCanonical, plain } from "../verify/json.js";
import { readKeyDocument } from "../verify/keys.js";
import { hashes, leads, leafHash } from "../verify/merkle.js";
import { checkCheckpoint } from "../verify/notes.js";
import { readStatement } from "../verify/statements.js";
import { admits } from "../verify/trust.js";
import { listed, readKeys } from "./ohttp.js";

const MEMBERS = ["type", "key_document", "attestation", "statement", "index", "size", "proof", "checkpoint"];

const refuse = (what, says) => {
  throw new Rejected(`keys_proof.${what}`, says);
};

/** Read and check a proof by `trust` at a time (ms). Gives both, the gateway's key document, its configurations, the attestation that
    was shown beside them (`{format, evidence}` or null; `vouching.js` judges it), and lines of what was checked. */
export function checkKeysProof(bytes, trust, at) {
  const value = exactly(plain(parseCanonical(bytes)), MEMBERS, "keys_proof.fields");
  if (value.type !== "urn:holdfast:keys-proof:v1") refuse("fields", "this is no proof of keys");
  const document = readKeyDocument(unbase64(value.key_document));
  const statement = readStatement(unbase64(value.statement));
  if (trust.expiresAt <= at) refuse("attester", "the trust document has run out");
  const node = trust.node(document.id);
  if (!node || !admits(node, at, at)) refuse("attester", `trust does not admit the gateway ${document.name}`);
  if (!document.ohttp) refuse("no_keys", `the gateway ${document.name} has no private path`);
  if (statement.kind !== "identity" || statement.attester !== document.id) refuse("statement", "the statement is not this key document's identity");
  const told = ["ohttp", "tls", "predecessor"].every((name) => (statement[name] ?? null) === ((name === "ohttp" ? document.ohttpDigest : document[name]) ?? null));
  if (!told) refuse("statement", "the identity statement tells of other keys");
  const loggedBy = inLog(value, trust);
  const why = refusalOf(statement, [statement], trust, loggedBy);
  if (why) refuse("statement", `the identity statement is refused: ${why}`);
  const says = [
    `Trust (version ${trust.number}, pinned on first use) admits the gateway ${document.name}, ${document.id.slice(0, 12)}.`,
    `The log holds its identity with these keys at entry ${value.index}, and full nodes with more than two thirds of the stake had cosigned that by ${new Date(loggedBy).toISOString()}: everybody is shown the same keys.`,
  ];
  return { document, trust, at, configurations: readKeys(listed(document.ohttp)), attestation: readShown(value.attestation), says };
}

/** An attestation as a gateway shows it: `{format, evidence}`, or null. */
export function readShown(value) {
  if (value === null) return null;
  exactly(value, ["format", "evidence"], "keys_proof.fields");
  if (typeof value.format !== "string") throw new Malformed("keys_proof.fields", "a format is a text");
  return { format: value.format, evidence: unbase64(value.evidence) };
}

/* When a quorum had cosigned a tree that holds the statement. */
function inLog(value, trust) {
  const note = utf8(value.checkpoint);
  const origin = value.checkpoint.split("\n", 1)[0];
  const log = trust.log(origin);
  if (!log) refuse("log", `trust names no log ${origin}`);
  const found = checkCheckpoint(note, origin, log.key, trust.cosigners(origin));
  if (found.size !== value.size) refuse("log", "the checkpoint is of another size than the proof");
  const quorum = trust.quorumTime(origin, found.cosignatures);
  if (quorum === null) throw new Undecided("keys_proof.quorum", "full nodes have not cosigned the log since the gateway's keys stand in it; ask again in a moment");
  if (!leads(leafHash(unbase64(value.statement)), value.index, value.size, hashes(value.proof, "keys_proof.inclusion"), found.root)) refuse("inclusion", "the log does not hold the identity statement there");
  return quorum;
}
