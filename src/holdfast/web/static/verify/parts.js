/* What can be seen of a turn as salted leaves (parts.md §1 to §5, §8): labels, salts, roots, disclosed parts. */

import { Malformed, Rejected } from "./answers.js";
import { compare, hex, hexText, text, unbase64, unhex, utf8 } from "./bytes.js";
import { expand, extract, sha256 } from "./hashes.js";
import { Numeral, exactly, isObject } from "./json.js";
import { hashes, leads, levels, root } from "./merkle.js";
import { atOnce } from "./pauses.js";

export const DOCUMENTS = ["request", "sent", "response"];
const MOST_PARTS = 65_536;
const MOST_LABELS = 16_777_216;
const ZERO = Uint8Array.of(0);
const DECIMAL = /^(?:0|[1-9][0-9]*)$/;
const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;
/* Salts of one expansion: 8160 bytes are the most that HKDF gives (§4). */
const SALTS = 510;

/* §5, row by row; the first that matches gives the type. */
const TYPES = [
  ["finish_reason", "/choices/*/finish_reason", "/stop_reason", "/stop_sequence"],
  ["text", "/choices/*/message/content", "/choices/*/text", "/messages/*/content", "/prompt", "/prompt/*", "/data/*/revised_prompt", "/content/*/text", "/system", "/system/*/text"],
  ["reasoning", "/choices/*/message/reasoning_content", "/choices/*/message/reasoning", "/choices/*/message/reasoning/**", "/choices/*/message/reasoning_details/**", "/content/*/thinking", "/content/*/signature", "/content/*/data"],
  ["refusal", "/choices/*/message/refusal"],
  ["tool_call", "/choices/*/message/tool_calls/**", "/choices/*/message/function_call/**", "/messages/*/tool_calls/**", "/messages/*/function_call/**", "/content/*/id", "/content/*/name", "/content/*/input/**", "/messages/*/content/*/input/**"],
  ["tool_result", "/messages/*/tool_call_id", "/messages/*/content/*/tool_use_id"],
  ["citation", "/choices/*/message/citations/**", "/choices/*/message/annotations/**", "/citations/**"],
  ["image", "/choices/*/message/images/**", "/data/*/b64_json", "/images/**", "/messages/*/content/*/image_url/**", "/messages/*/content/*/source/**"],
  ["audio", "/choices/*/message/audio/**", "/messages/*/content/*/input_audio/**"],
  ["file", "/messages/*/content/*/file/**"],
  ["content_part", "/choices/*/message/content/**", "/messages/*/content/**", "/content/**", "/system/**"],
  ["role", "/choices/*/message/role", "/messages/*/role", "/role", "/messages/*/name"],
  ["logprobs", "/choices/*/logprobs/**"],
  ["usage", "/usage/**"],
  ["model", "/model", "/system_fingerprint"],
  ["tool", "/tools/**", "/tool_choice/**", "/functions/**", "/function_call/**"],
  ["format", "/response_format/**"],
  ["holdfast", "/holdfast/**"],
  ["input", "/inputs/**", "/input/**"],
  ["output", "/outputs/**"],
  ["artifact", "/artifact"],
].map(([type, ...patterns]) => [type, patterns.map((pattern) => pattern.split("/").slice(1))]);

function fits(pattern, path) {
  const open = pattern.at(-1) === "**";
  const fixed = open ? pattern.slice(0, -1) : pattern;
  if (open ? path.length < fixed.length : path.length !== fixed.length) return false;
  return fixed.every((segment, at) => segment === "*" || segment === path[at]);
}

const typeOf = (path) => TYPES.find(([, patterns]) => patterns.some((pattern) => fits(pattern, path)))?.[0] ?? "field";

/* Type, choice and index are functions of the path alone (§3(5), §3(6)). */
function placed(path) {
  const choice = path[0] === "choices" && DECIMAL.test(path[1] ?? "") ? path[1] : "-";
  const index = path.slice(choice === "-" ? 0 : 2).find((segment) => DECIMAL.test(segment)) ?? "-";
  return `${typeOf(path)}|${choice}|${index}`;
}

const escaped = (segment) => (/[~/]/.test(segment) ? segment.replaceAll("~", "~0").replaceAll("/", "~1") : segment);

/* The segments of a JSON Pointer (RFC 6901 §3), or null. */
function segments(path) {
  if (path === "") return [];
  if (!path.startsWith("/") || /~(?![01])/.test(path)) return null;
  return path.slice(1).split("/").map((segment) => segment.replaceAll("~1", "/").replaceAll("~0", "~"));
}

/* The letter of a value's kind, and the text whose UTF-8 its bytes are (§3(3), §3(4)). */
function leafOf(value) {
  if (typeof value === "string") return ["s", value];
  if (value instanceof Numeral) return ["n", value.text];
  if (Array.isArray(value)) return ["a", ""];
  if (isObject(value)) return ["o", ""];
  return ["l", String(value)];
}

/* §2: from the top level only, and a request keeps `holdfast`. */
function withoutCarriers(document, name) {
  const kept = Object.create(null);
  for (const member of Object.keys(document)) {
    if (member.startsWith("tee_") || (member === "holdfast" && name !== "request")) continue;
    kept[member] = document[member];
  }
  return kept;
}

/* Labels by kind and pointer, with their bytes: events of a stream have the same ones again and again. */
const MOST_KNOWN = 1024;
const known = new Map();

function labelOf(kind, path) {
  const name = kind + path;
  const found = known.get(name);
  if (found) return found;
  const label = `${placed(segments(path))}|${kind}|${path}`;
  if (label.includes("\u0000")) throw new Malformed("parts.label", "a label holds no zero byte");
  const made = { label, key: utf8(label) };
  if (known.size === MOST_KNOWN) known.clear();
  known.set(name, made);
  return made;
}

/* Labels are ordered by their bytes; where each character is one byte, texts compare alike and faster. */
const ascii = ({ label, key }) => label.length === key.length;
const byLabel = (left, right) => (ascii(left) && ascii(right) ? (left.label < right.label ? -1 : 1) : compare(left.key, right.key));

/* The parts of a document in label order: `label`, the label's bytes as `key`, and the text whose bytes it has. */
function textsOf(document, name) {
  if (!isObject(document)) throw new Malformed("parts.document", "a document is a JSON object");
  const found = [];
  let labels = 0;
  const leaf = (value, path) => {
    const [kind, text] = leafOf(value);
    const { label, key } = labelOf(kind, path);
    labels += key.length;
    if (labels > MOST_LABELS) throw new Malformed("parts.labels", `the labels of a document have together at most ${MOST_LABELS} bytes`);
    if (found.length === MOST_PARTS) throw new Malformed("parts.count", `a document has at most ${MOST_PARTS} parts`);
    found.push({ label, key, text });
  };
  const walk = (value, path) => {
    const names = Array.isArray(value) || isObject(value) ? Object.keys(value) : [];
    for (const segment of names) walk(value[segment], `${path}/${escaped(segment)}`);
    if (!names.length) leaf(value, path);
  };
  walk(withoutCarriers(document, name), "");
  return found.sort(byLabel);
}

/** The parts of a document in label order: `label`, the label's bytes as `key`, and `bytes` (§3). */
export const mapParts = (document, name) => textsOf(document, name).map(({ label, key, text }) => ({ label, key, bytes: utf8(text) }));

/** The pseudo-random key of a run (§4). */
export const runKey = (run, secret) => extract(unhex(run.replaceAll("-", ""), 16), secret);

/** The salt of every part of a document, in label order. */
function* salts(key, name) {
  for (let block = 0; ; block += 1) {
    const whole = expand(key, utf8(`holdfast/salt/v1/${name}/${block}`), 16 * SALTS);
    for (let at = 0; at < SALTS; at += 1) yield whole.subarray(16 * at, 16 * at + 16);
  }
}

export const leaf = (key, salt, bytes) => sha256(ZERO, key, ZERO, salt, bytes);

/* Leaves that are hashed between two pauses. */
const AT_ONCE = 1024;

/** `{root, size, parts}` of a document under the key of its run; pauses, since a document can have 65,536 parts. */
export function* treeSlowly(document, name, key) {
  const parts = mapParts(document, name);
  const salt = salts(key, name);
  const leaves = [];
  for (const part of parts) {
    leaves.push(leaf(part.key, salt.next().value, part.bytes));
    if (leaves.length % AT_ONCE === 0) yield;
  }
  return { root: hex(root(leaves)), size: parts.length, parts };
}

/** The same at once. */
export const tree = (document, name, key) => atOnce(treeSlowly(document, name, key));

/** Roots over the parts of streamed events, one after another, each part under one salt (§7). What stands in an event as it stood in the
    one before is not hashed again: of most events that is all but a few characters of text. */
export class EventRoots {
  #leaves = new Map();
  #levels = [];

  constructor(salt) {
    this.salt = salt;
  }

  /** The root of the next event. */
  next(event) {
    const before = this.#leaves;
    this.#leaves = new Map();
    const hashes = textsOf(event, "response").map(({ label, key, text }) => {
      const same = before.get(label);
      const found = same?.text === text ? same : { text, hash: leaf(key, this.salt, utf8(text)) };
      this.#leaves.set(label, found);
      return found.hash;
    });
    this.#levels = levels(hashes, this.#levels);
    return this.#levels.at(-1)[0];
  }
}

function checkBytes(kind, bytes) {
  const good = {
    s: () => text(bytes, "parts.bytes") !== null,
    n: () => NUMBER.test(text(bytes, "parts.bytes")),
    l: () => ["true", "false", "null"].includes(text(bytes, "parts.bytes")),
    o: () => bytes.length === 0,
    a: () => bytes.length === 0,
  };
  let right = false;
  try {
    right = good[kind]();
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
  }
  if (!right) throw new Rejected("parts.bytes", "the bytes are not of the kind that the label names");
}

/** A disclosed part (§8) in its form. */
export function readPart(value) {
  exactly(value, ["document", "position", "label", "salt", "bytes", "proof"], "parts.disclosure");
  const position = value.position instanceof Numeral ? value.position.integer : null;
  if (!DOCUMENTS.includes(value.document) || position === null || position < 0) throw new Malformed("parts.disclosure", "no place in a document");
  const cut = typeof value.label === "string" ? /^([^|]*\|[^|]*\|[^|]*)\|([snloa])\|(.*)$/s.exec(value.label) : null;
  if (cut === null || value.label.includes("\u0000")) throw new Malformed("parts.label", "a label is type|choice|index|kind|path");
  const path = segments(cut[3]);
  if (path === null) throw new Malformed("parts.label", "the path of a label is a JSON Pointer");
  return {
    document: value.document,
    position,
    label: value.label,
    place: cut[1],
    kind: cut[2],
    path,
    salt: unbase64(value.salt, 16),
    bytes: unbase64(value.bytes),
    proof: hashes(value.proof, "encoding.hex", Malformed),
  };
}

/** Whether a disclosed part is under a root; says why not. */
export function checkPart(part, head, size) {
  if (placed(part.path) !== part.place) throw new Rejected("parts.label", "type, choice or index are not those of the path");
  checkBytes(part.kind, part.bytes);
  const hash = leaf(utf8(part.label), part.salt, part.bytes);
  if (!leads(hash, part.position, size, part.proof, unhex(hexText(head), 32))) throw new Rejected("parts.root", "the part is not what was signed");
}

