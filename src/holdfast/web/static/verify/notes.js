/* Signed notes, checkpoints and cosignatures (checkpoint.md). */

import { Malformed, Rejected } from "./answers.js";
import { equal, hex, integer, text, unbase64, utf8 } from "./bytes.js";
import { ed25519 } from "./curves.js";
import { sha256 } from "./hashes.js";
import { extendsTree, hashes, root } from "./merkle.js";

const LARGEST = 262_144;
const MOST_LINES = 100;
const LARGEST_TREE = 2n ** 63n - 1n;
export const LOG = 1;
export const COSIGNATURE = 4;

const refuse = (code, says) => {
  throw new Malformed(code, says);
};

const isName = (name) => name !== "" && !/[\s+]/u.test(name);

/** A verifier key: who may sign a note, with what (§1(2)). */
export function noteKey(name, type, bytes) {
  if (!isName(name)) refuse("note.key_name", "a key name has no spaces and no plus");
  if (type !== LOG && type !== COSIGNATURE) refuse("note.key_type", "a type that is not read here");
  if (bytes.length !== 32) refuse("note.key", "an Ed25519 key has 32 bytes");
  return { name, type, bytes, id: hex(sha256(utf8(name), Uint8Array.of(10, type), bytes).slice(0, 4)) };
}

/** The same of its written form, `name+id+base64` (§1(3)). */
export function readNoteKey(written) {
  const cut = /^([^+]*)\+([0-9a-f]{8})\+(.*)$/s.exec(written);
  if (cut === null) refuse("note.vkey", "a verifier key is name+id+base64");
  const bytes = unbase64(cut[3]);
  if (!bytes.length) refuse("note.key", "a key has a type");
  const key = noteKey(cut[1], bytes[0], bytes.slice(1));
  if (key.id !== cut[2]) refuse("note.vkey", "the id is not that of name and key");
  return key;
}

/** A note in its form (§1(1)): `text` and its signature lines. */
export function readNote(bytes) {
  if (bytes.length > LARGEST) refuse("note.size", `a note has at most ${LARGEST} bytes`);
  const whole = text(bytes, "note.utf8");
  if (/[\u0000-\u0009\u000b-\u001f\u007f]/.test(whole)) refuse("note.control", "a note holds no control characters but newlines");
  const cut = whole.lastIndexOf("\n\n");
  if (cut < 0) refuse("note.structure", "a note is text, an empty line and signatures");
  const tail = whole.slice(cut + 2);
  if (!tail.endsWith("\n")) refuse("note.signature_line", "there is at least one signature line, and each ends in a newline");
  const lines = tail.slice(0, -1).split("\n");
  if (lines.length > MOST_LINES) refuse("note.size", `a note has at most ${MOST_LINES} signatures`);
  return { text: whole.slice(0, cut + 1), signatures: lines.map(readLine) };
}

function readLine(line) {
  const cut = /^— (\S+) (\S+)$/.exec(line);
  if (cut === null || !isName(cut[1])) refuse("note.signature_line", "not a signature line");
  const bytes = unbase64(cut[2]);
  if (bytes.length < 5) refuse("note.signature_line", "a signature follows the key id");
  return { name: cut[1], id: hex(bytes.slice(0, 4)), bytes: bytes.slice(4) };
}

/* The time of a cosignature and what it signs (§3), or null where the bytes are none. */
function cosigned(bytes, body) {
  if (bytes.length !== 72) return null;
  const time = integer(bytes.slice(0, 8));
  if (time > LARGEST_TREE) return null;
  return { time: Number(time), message: utf8(`cosignature/v1\ntime ${time}\n${body}`), signature: bytes.slice(8) };
}

function check(line, key, body) {
  const made = key.type === COSIGNATURE ? cosigned(line.bytes, body) : { time: null, message: utf8(body), signature: line.bytes };
  if (made === null || !ed25519(key.bytes, made.message, made.signature)) throw new Rejected("note.signature", `the signature of ${key.name} does not verify`);
  return { key, time: made.time };
}

/** The signatures of a note by these keys (§1(4)): one that does not verify refuses the note. */
export function checkNote(note, keys) {
  const found = [];
  for (const line of note.signatures) {
    const key = keys.find((candidate) => candidate.name === line.name && candidate.id === line.id);
    if (key) found.push(check(line, key, note.text));
  }
  if (!found.length) throw new Rejected("note.unsigned", "no known key signed this note");
  return found;
}

/** What a note's text says as a checkpoint (§2). */
export function readCheckpoint(body) {
  const lines = body.split("\n");
  if (lines.pop() !== "" || lines.length < 3 || lines.some((line) => line === "")) refuse("checkpoint.lines", "a checkpoint has at least three lines, none of them empty");
  const [origin, size, head] = lines;
  if (!/^(?:0|[1-9][0-9]*)$/.test(size) || BigInt(size) > LARGEST_TREE) refuse("checkpoint.size", "a tree size is a decimal number without leading zeroes");
  const hash = unbase64(head, 32);
  if (size === "0" && !equal(hash, root([]))) refuse("checkpoint.root", "the tree without entries has one root only");
  return { origin, size: Number(size), root: hash };
}

/** A checkpoint of a log: its note is signed by `key`, under the origin as its name. Cosignatures by `cosigners` come along. */
export function checkCheckpoint(bytes, origin, key, cosigners = []) {
  const note = readNote(bytes);
  const checkpoint = readCheckpoint(note.text);
  if (checkpoint.origin !== origin) throw new Rejected("checkpoint.origin", `a checkpoint of ${checkpoint.origin}, not of ${origin}`);
  const found = checkNote(note, [key, ...cosigners]);
  if (!found.some((signature) => signature.key === key)) throw new Rejected("note.unsigned", "the log's key did not sign this note");
  const cosignatures = found.filter((signature) => signature.time !== null);
  return { ...checkpoint, cosignatures };
}

/** Refuses two checkpoints of one origin of which neither is the other's past (§2(3)). */
export function checkExtension(older, newer, proof) {
  if (older.size === newer.size && !equal(older.root, newer.root)) throw new Rejected("log.equivocation", "one log signed two trees of one size");
  const path = hashes(proof, "log.consistency");
  if (!extendsTree(older.size, older.root, newer.size, newer.root, path)) throw new Rejected("log.consistency", `a tree of ${newer.size} does not extend one of ${older.size}`);
}

