/* Decision documents in their form, and held against their statement (statement.md §4.3). */

import { Malformed, Rejected } from "./answers.js";
import { time, unhex, utf8 } from "./bytes.js";
import { exactly, parseCanonical } from "./json.js";
import { leads, leafHash } from "./merkle.js";
import { characters, recordOf } from "./records.js";
import { isCode, isRun } from "./statements.js";

const LARGEST = 262_144;
const MEMBERS = ["type", "case", "run", "act", "queue", "person", "role", "reason", "until", "rule", "threshold", "framing", "at"];
const ACTS = ["approve", "reject", "release", "reopen", "recall"];
/** What a decision is made by, as it was recorded. */
export const RECORDED = ["rule", "threshold", "framing"];
const MINUTE = 60_000;

const refuse = (about, says) => {
  throw new Malformed(`decision.${about}`, says);
};

function sized(value, least, most, about = "text") {
  if (typeof value !== "string" || characters(value) < least || characters(value) > most) refuse(about, `a text has ${least} to ${most} characters`);
}

/** A document of its exact bytes. */
export function readDecision(bytes) {
  if (bytes.length > LARGEST) refuse("size", `a decision document has at most ${LARGEST} bytes`);
  const value = exactly(parseCanonical(bytes), MEMBERS, "decision.fields");
  if (value.type !== "urn:holdfast:decision:v1" || !isRun(value.case) || !isRun(value.run) || !ACTS.includes(value.act) || !isCode(value.queue)) refuse("fields", "not a decision document");
  if ((value.person === null) !== (value.role === null) || (value.person === null && value.act !== "recall")) refuse("person", "a person has a name and a role, and nobody does nothing but recall");
  if (value.person !== null) {
    sized(value.person, 1, 256, "person");
    if (!isCode(value.role)) refuse("person", "a role is a code");
  }
  sized(value.reason, 0, 8192);
  for (const name of RECORDED) if (value[name] !== null) sized(value[name], 1, 8192);
  const at = time(value.at);
  if ((value.act === "release") !== (value.until !== null)) refuse("until", "exactly a release has an end");
  if (value.until !== null && time(value.until) <= at) refuse("until", "a release ends after it begins");
  return { ...value, at };
}

/** Refuses a document that is not what a statement commits to, or tells of something else. `coarse` where times are whole minutes. */
export function checkDecision(statement, { salt, document }, { coarse }) {
  if (recordOf("decision", salt, document) !== statement.record) throw new Rejected("decision.record", "The document is not the one that the statement commits to");
  const told = readDecision(utf8(document));
  for (const name of ["case", "run", "act"]) if (told[name] !== statement[name]) throw new Rejected(`decision.${name}`, `Statement and document differ in ${name}`);
  if (statement.claimedAt < (coarse ? told.at - (told.at % MINUTE) : told.at)) throw new Rejected("decision.at", "The statement claims an earlier time than that of the decision");
  return told;
}

/** Refuses a path that does not lead from the statement's case to those that were recalled with it (§4.3(3)). */
export function checkBatch({ cases, case: own }, { index, proof }) {
  const path = proof.map((hash) => unhex(hash, 32));
  if (cases === null || !leads(leafHash(utf8(own)), index, cases.size, path, unhex(cases.root, 32))) throw new Rejected("decision.batch", "The case is not among those that were recalled together");
}
