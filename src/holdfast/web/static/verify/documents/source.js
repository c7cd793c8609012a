/* What a source's definition says of each question that is asked under it, as far as an admission says the same (sources.md §2, §4, §7). The
   rest of a definition is for whoever fetches by it, and is not read here. */

import { Malformed } from "../answers.js";
import { hex, hexText, utf8 } from "../bytes.js";
import { sha256 } from "../hashes.js";
import { canonical, exactly, isObject, parseCanonical } from "../json.js";
import { isCode } from "../statements.js";
import { isDecimal } from "./quantities.js";

const LARGEST = 32_768;
const MEMBERS = ["type", "id", "version", "title", "kind", "workspaces", "unit", "parameters", "request", "extract", "expect", "rate"];
const OVER_HTTP = ["url", "headers", "secret", "content_types", "redirects", "seconds", "bytes", "addresses", "pins", "roots"];
const REQUEST = {
  https: OVER_HTTP,
  evm: [...OVER_HTTP, "chain_id", "call", "address", "data", "topics", "block"],
  sql: ["dialect", "secret", "select", "rows", "seconds", "bytes"],
  dns: ["resolver", "name", "record", "seconds"],
};
const EXPECT = ["type", "minimum", "maximum", "length", "members", "item", "fresh_s", "skew_s"];

const refuse = (about, says) => {
  throw new Malformed(`sources.${about}`, says);
};

function bound(value) {
  if (value !== null && !isDecimal(value)) refuse("decimal", "a bound is a decimal, or null");
  return value;
}

function seconds(value, most) {
  if (!Number.isInteger(value) || value < 0 || value > most) refuse("expect", "how fresh and how far ahead are whole seconds");
  return value;
}

function pinned(list) {
  if (!Array.isArray(list) || list.length > 16) refuse("fields", "pins are a list of at most 16");
  list.forEach((pin) => hexText(pin));
  if (list.some((pin, at) => at && list[at - 1] >= pin)) refuse("spelling", "pins are sorted, each once");
  return list;
}

/** A definition of its text: `over` is the kind of exchange that a question is, null over HTTP. */
export function readSource(text) {
  const bytes = utf8(text);
  if (bytes.length > LARGEST) refuse("size", `a definition has at most ${LARGEST} bytes`);
  const value = exactly(parseCanonical(bytes), MEMBERS, "sources.fields");
  const { id, version, kind, request, expect } = value;
  if (value.type !== "urn:holdfast:source:v1" || !isCode(id) || !Object.hasOwn(REQUEST, kind)) refuse("fields", "not a definition of a source");
  if (!Number.isSafeInteger(version) || version < 1) refuse("number", "definitions count from 1");
  exactly(request, REQUEST[kind], "sources.fields");
  exactly(expect, EXPECT, "sources.expect");
  for (const name of ["parameters", "extract", "rate"]) if (!isObject(value[name])) refuse("fields", `${name} is an object`);
  return {
    id,
    version,
    over: ["sql", "dns"].includes(kind) ? kind : null,
    template: hex(sha256(canonical(request))),
    pins: pinned(request.pins ?? []),
    range: { least: bound(expect.minimum), most: bound(expect.maximum) },
    maxAge: seconds(expect.fresh_s, 31_622_400),
    skew: seconds(expect.skew_s, 86_400),
  };
}

/** Whether an observation is of a question that this definition asks, and asks of the answer what it does (admission.md §3(6), §3(7)). */
export function isUnder(definition, { source, template, exchange, request, tls, http, limits }) {
  const bounds = limits.range ?? { least: null, most: null };
  const over = exchange ? exchange.kind === definition.over : definition.over === null || [request, tls, http].every((item) => item === null);
  return (
    over &&
    source.id === definition.id &&
    source.version === definition.version &&
    (template === null || template === definition.template) &&
    limits.max_age_s === definition.maxAge &&
    limits.skew_s === definition.skew &&
    limits.pins.join() === definition.pins.join() &&
    ["least", "most"].every((end) => bounds[end] === definition.range[end])
  );
}
