/* What a hub says of artifacts: documents of changes in their form, and a label's changes as one history (artifacts.md §3 to §5). */

import { Malformed, Rejected } from "../answers.js";
import { concat, hex, hexText, time, unhex, utf8 } from "../bytes.js";
import { sha256 } from "../hashes.js";
import { canonical, exactly, parseCanonical, spelled } from "../json.js";
import { characters, recordOf } from "../records.js";
import { CONTINUITIES, isCode } from "../statements.js";

const LARGEST = 65_536;
const MEMBERS = ["type", "event", "at", "artifact", "manifest", "version", "declared", "label", "before", "continuity", "by", "reason"];
const DERIVATIONS = ["converted", "distilled", "fine_tuned", "merged", "pruned", "quantised"];
/* Kinds of continuity that nobody can know of a model whose bytes are not shown. */
const WITH_BYTES = ["byte_identical", "derivative", "compared"];
const LABEL = /^[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?\/[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?:[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?$/;
const PRINTABLE = /^(?:[^\p{C}\p{Z}]| )+$/u;

const refuse = (about, says) => {
  throw new Malformed(`artifact_change.${about}`, says);
};

const orNull = (value, read) => (value === null ? null : read(value));

function named(value, most) {
  if (typeof value !== "string" || characters(value) > most || !PRINTABLE.test(value)) refuse("text", `a text has 1 to ${most} printable characters`);
  return value;
}

/* The digest that stands for what a provider says it ran (§3). */
function declaredArtifact({ upstream, model, system_fingerprint: fingerprint }) {
  return hex(sha256(canonical({ type: "urn:holdfast:declared-artifact:v1", upstream, model, system_fingerprint: fingerprint })));
}

function declared(value) {
  exactly(value, ["upstream", "model", "system_fingerprint", "first_seen", "last_seen"], "artifact_change.declared");
  if (!isCode(value.upstream)) refuse("declared", "upstream is a code");
  named(value.model, 256);
  orNull(value.system_fingerprint, (fingerprint) => named(fingerprint, 256));
  if (time(value.first_seen) > time(value.last_seen)) refuse("declared", "it was last seen before it was first seen");
  return { ...value, artifact: declaredArtifact(value) };
}

/* A label by its whole name, and its number in the log (§4(3)). */
function label(value) {
  exactly(value, ["name", "salt"], "artifact_change.label");
  if (typeof value.name !== "string" || !LABEL.test(value.name)) refuse("label", "a label is organisation/model:label, and has a salt");
  const salt = unhex(value.salt, 32);
  return { name: value.name, salt: value.salt, id: hex(sha256(concat(utf8("urn:holdfast:label:v1"), Uint8Array.of(0), salt, utf8(value.name)))) };
}

function continuity(value) {
  exactly(value, ["kind", "of", "how", "evaluation"], "artifact_change.continuity");
  for (const name of ["of", "evaluation"]) orNull(value[name], hexText);
  const [derived, compared] = [value.kind === "derivative", value.kind === "compared"];
  if (!CONTINUITIES.includes(value.kind) || (value.of !== null) !== derived || DERIVATIONS.includes(value.how) !== derived) refuse("continuity", "exactly a derivative says of what it was made, and how");
  if ((value.how !== null) !== derived || (value.evaluation !== null) !== compared) refuse("continuity", "exactly what was compared names an evaluation");
  return value;
}

/* §4(4): which members an event has. */
function checkEvent({ event, manifest, version, label: name, continuity: how, before, declared: said, artifact }) {
  const [published, labelled] = [event === "published", event === "labelled"];
  if ([manifest, version].some((item) => (item !== null) !== published)) refuse("event", "exactly what is published has a manifest and a version");
  if ([name, how].some((item) => (item !== null) !== labelled)) refuse("event", "exactly a label that is set has a name and a continuity");
  if (before !== null && !labelled) refuse("event", "only a label meant something before");
  if (event === "declared" && said === null) refuse("event", "what is declared says what a provider calls it");
  if (said !== null && (published || said.artifact !== artifact)) refuse("declared", "what is declared names another artifact, or has a manifest");
}

/* §4(5): no more continuity than there can be. */
function checkContinuity({ continuity: how, before, artifact, declared: said }) {
  if (how === null) return;
  if ((how.kind === "first") !== (before === null)) refuse("continuity", "exactly a label's first change follows nothing");
  if (said === null && (how.kind === "byte_identical") !== (before === artifact)) refuse("continuity", "bytes are identical exactly where the artifact is the same");
  if (said !== null && WITH_BYTES.includes(how.kind)) refuse("continuity", "of a model whose bytes are not shown there is only its provider's claim");
  if (how.kind === "provider_claim" && said === null) refuse("continuity", "nothing was claimed by a provider");
}

/** A document of its exact bytes. */
export function readChange(bytes) {
  if (bytes.length > LARGEST) refuse("size", `a change has at most ${LARGEST} bytes`);
  const value = exactly(parseCanonical(bytes), MEMBERS, "artifact_change.fields");
  if (value.type !== "urn:holdfast:artifact-change:v1" || !["published", "declared", "labelled", "revoked"].includes(value.event)) refuse("fields", "not a change");
  const change = {
    event: value.event,
    at: time(value.at),
    artifact: hexText(value.artifact),
    by: named(value.by, 128),
    reason: named(value.reason, 2000),
    manifest: orNull(value.manifest, hexText),
    version: orNull(value.version, (version) => named(version, 256)),
    declared: orNull(value.declared, declared),
    label: orNull(value.label, label),
    before: orNull(value.before, hexText),
    continuity: orNull(value.continuity, continuity),
  };
  checkEvent(change);
  checkContinuity(change);
  return change;
}

/** Refuses a document that is not what a statement commits to, or tells of something else (§4(2)). */
export function checkChange(statement, { document, salt, told }) {
  if (statement.kind !== "artifact" || recordOf("artifact", salt, document) !== statement.record) throw new Rejected("artifact_change.record", "the record does not commit to this document with this salt");
  const same = told.event === statement.event && (told.label?.id ?? null) === statement.label && (told.continuity?.kind ?? null) === statement.continuity;
  if (!same || statement.claimedAt < told.at) throw new Rejected("artifact_change.said", "statement and document differ in event, label, continuity or time");
  return told;
}

/** Refuses changes, each `{statement, change}`, that are not all those of one label from the first of them on, in their order (§5(1)). */
export function checkHistory(list) {
  const reject = (says) => {
    throw new Rejected("artifact_change.history", says);
  };
  for (const [at, { statement, change }] of list.entries()) {
    if (!at) continue;
    const { statement: earlier, change: before } = list[at - 1];
    if (statement.parents.join() !== earlier.digest || statement.attester !== earlier.attester) reject("a change of the label follows another than the one shown");
    if (spelled(change.label) !== spelled(before.label) || change.before !== before.artifact || change.at < before.at) reject("a change says of the label what the one before did not say");
  }
  if (list.some(({ change }) => change.event !== "labelled")) reject("a label's history is made of its own changes");
}

/** A sentence about how far a label's artifact is the one before. */
export function explained({ continuity: how }) {
  if (how === null) return "nothing is said about what came before";
  return {
    first: "it is the first that the label means",
    byte_identical: "it is the same bytes as before",
    derivative: `it is declared to be ${(how.how ?? "").replaceAll("_", "-")} from ${how.of?.slice(0, 12)}; nobody checked that`,
    compared: `its behaviour was compared with what was before: evaluation ${how.evaluation?.slice(0, 12)}`,
    same_name: "it has the name of what came before, and nothing else is known of how the two are related",
    provider_claim: "that it continues what came before is only its provider's claim",
  }[how.kind];
}
