/* Requests to models: tensors as JSON, strictly (inference.md §1, §2). A tensor's bytes are its elements in row-major order, little-endian. */

import { Malformed } from "../answers.js";
import { unbase64 } from "../bytes.js";
import { Numeral, isObject } from "../json.js";
import { characters } from "../records.js";

const MODES = ["VANILLA", "TEE", "ZKML"];
const MEMBERS = ["model", "inputs", "mode", "outputs", "encoding", "holdfast"];
const MOST_ITEMS = 256;
const MOST_TENSORS = 64;
const MOST_DIMENSIONS = 8;
const MOST_ELEMENTS = 2 ** 26;
/* Bytes of an element; of integers their least and most follow. */
const SIZES = { bool: 1, float16: 2, float32: 4, float64: 8, int8: 1, int16: 2, int32: 4, int64: 8, uint8: 1, uint16: 2, uint32: 4, uint64: 8 };
/** What an element can be, and has bytes. */
export const DTYPES = Object.keys(SIZES);
const STRING = "string";
const NOT_FINITE = { NaN, Infinity, "-Infinity": -Infinity };

const refuse = (about, says) => {
  throw new Malformed(`infer.${about}`, says);
};

const isName = (value) => typeof value === "string" && value !== "" && characters(value) <= 256;
const product = (shape) => shape.reduce((all, size) => all * size, 1);

function shapeOf(value) {
  if (!Array.isArray(value) || value.length > MOST_DIMENSIONS) refuse("shape", `shape is a list of at most ${MOST_DIMENSIONS} dimensions`);
  const found = value.map((item) => (item instanceof Numeral && /^[0-9]{1,9}$/.test(item.text) ? Number(item.text) : refuse("shape", "a dimension is an integer from 0 on")));
  if (product(found) > MOST_ELEMENTS) refuse("shape", `a tensor has at most ${MOST_ELEMENTS} elements`);
  return found;
}

function typed(value) {
  const names = Object.keys(value).sort().join();
  if (names !== "data,dtype,shape" && names !== "base64,dtype,shape") refuse("tensor", "a tensor has dtype, shape and either data or base64");
  const { dtype, data } = value;
  if (typeof dtype !== "string" || !(Object.hasOwn(SIZES, dtype) || dtype === STRING)) refuse("dtype", "unknown dtype");
  const shape = shapeOf(value.shape);
  const size = product(shape);
  if ("base64" in value) {
    if (dtype === STRING || typeof value.base64 !== "string") refuse("tensor", "base64 is a string, and strings have no bytes");
    const bytes = unbase64(value.base64);
    if (bytes.length !== size * SIZES[dtype]) refuse("shape", `${bytes.length} bytes are not ${size} of ${dtype}`);
    if (dtype === "bool" && bytes.some((byte) => byte > 1)) refuse("element", "a bool is a byte 0 or 1");
    return { dtype, shape, bytes };
  }
  if (!Array.isArray(data) || data.length !== size) refuse("shape", `data is a flat list of the ${size} elements of the shape`);
  if (data.some((item) => Array.isArray(item) || isObject(item))) refuse("element", "data holds no lists and no objects");
  return { dtype, shape, elements: data };
}

/* Nested lists to their shape and elements; a scalar has no dimensions. */
function nested(value) {
  const shape = [];
  let level = [value];
  while (level.some(Array.isArray)) {
    if (shape.length === MOST_DIMENSIONS) refuse("shape", `nested deeper than ${MOST_DIMENSIONS} lists`);
    const length = level[0].length;
    if (!level.every((item) => Array.isArray(item) && item.length === length)) refuse("shape", "the lists of a value are not all of one length");
    shape.push(length);
    level = level.flat();
  }
  if (level.some(isObject)) refuse("element", "an element is a number, a boolean or a string");
  return { dtype: null, shape, elements: level };
}

const given = (value) => (isObject(value) ? typed(value) : nested(value));

function item(value) {
  const names = isObject(value) ? Object.keys(value) : [];
  if (!names.length || names.length > MOST_TENSORS) refuse("inputs", `inputs are an object of 1 to ${MOST_TENSORS} named values`);
  return new Map(names.map((name) => [isName(name) ? name : refuse("inputs", "a name has 1 to 256 characters"), given(value[name])]));
}

function itemsOf(value) {
  if (!Array.isArray(value)) return [item(value)];
  if (!value.length || value.length > MOST_ITEMS) refuse("batch", `a batch has 1 to ${MOST_ITEMS} items`);
  return value.map(item);
}

function checkOutputs(value) {
  if (value === null || value === undefined) return;
  if (!Array.isArray(value) || !value.length || value.length > MOST_TENSORS || !value.every(isName)) refuse("outputs", "outputs is a list of names of the model's outputs");
  if (new Set(value).size < value.length) refuse("outputs", "an output is named twice");
}

/** A request: `{model, mode, items}`, an item a map from names to what was given. */
export function readInference(value) {
  if (!isObject(value)) refuse("object", "a request is a JSON object");
  if (!Object.keys(value).every((name) => MEMBERS.includes(name))) refuse("member", "a request has other members");
  const { model, mode = "VANILLA", encoding = "json" } = value;
  if (!isName(model)) refuse("model", "model is a string of 1 to 256 characters");
  if (!MODES.includes(mode)) refuse("mode", `mode is one of ${MODES.join(", ")}`);
  if (!["json", "base64"].includes(encoding)) refuse("encoding", "encoding is json or base64");
  const items = itemsOf(value.inputs ?? null);
  checkOutputs(value.outputs);
  return { model, mode, items };
}

/* --- elements as bytes --- */

const badElement = (says) => refuse("element", says);

function float(element) {
  if (element instanceof Numeral) {
    const value = Number(element.text);
    return Number.isFinite(value) ? value : badElement("a number is beyond every float");
  }
  return typeof element === "string" && Object.hasOwn(NOT_FINITE, element) ? NOT_FINITE[element] : badElement("this input takes numbers");
}

function integer(element, dtype) {
  const text = element instanceof Numeral ? element.text : "";
  if (!/^-?[0-9]+$/.test(text) || text.length > 20) badElement("this input takes integers, written as such");
  const [value, bits] = [BigInt(text), BigInt(8 * SIZES[dtype])];
  const [least, most] = dtype.startsWith("u") ? [0n, 1n << bits] : [-(1n << (bits - 1n)), 1n << (bits - 1n)];
  if (value < least || value >= most) badElement(`a number does not fit into ${dtype}`);
  return value;
}

/* From here on a number is beyond every half-precision float. */
const BEYOND_HALF = 65_520;

/* The bits of a double as the nearest half-precision float, ties to even; null where it is beyond all of them. */
function half(value) {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (Number.isNaN(value)) return 0x7e00;
  if (size === Infinity) return sign | 0x7c00;
  if (size >= BEYOND_HALF) return null;
  let power = -14;
  while (size >= 2 ** (power + 1)) power += 1;
  const units = size / 2 ** (power - 10);
  const down = Math.floor(units);
  const up = units - down > 0.5 || (units - down === 0.5 && down % 2);
  return sign | ((power + 14) * 1024 + down + (up ? 1 : 0));
}

function put(view, at, dtype, element) {
  if (dtype === "bool") return view.setUint8(at, typeof element === "boolean" ? Number(element) : badElement("this input takes true and false"));
  if (!dtype.startsWith("float")) {
    const value = BigInt.asUintN(64, integer(element, dtype));
    for (let byte = 0; byte < SIZES[dtype]; byte += 1) view.setUint8(at + byte, Number((value >> BigInt(8 * byte)) & 0xffn));
    return undefined;
  }
  const value = float(element);
  const [bits, narrow] = [dtype === "float16" ? half(value) : 0, dtype === "float32" ? Math.fround(value) : value];
  if (bits === null || Number.isFinite(narrow) !== Number.isFinite(value)) badElement(`a number does not fit into ${dtype}`);
  if (dtype === "float16") return view.setUint16(at, bits, true);
  return dtype === "float32" ? view.setFloat32(at, narrow, true) : view.setFloat64(at, value, true);
}

/** What was given as a tensor of the declared type: `{dtype, shape, bytes}`, of strings `strings` instead. */
export function tensorOf({ dtype: said, shape, elements, bytes }, dtype) {
  if (said !== null && said !== dtype) refuse("dtype", `the model declares ${dtype}, not ${said}`);
  if (bytes) return { dtype, shape, bytes };
  if (dtype === STRING) {
    if (!elements.every((element) => typeof element === "string")) badElement("this input takes strings");
    return { dtype, shape, strings: elements };
  }
  const made = new Uint8Array(elements.length * SIZES[dtype]);
  const view = new DataView(made.buffer);
  elements.forEach((element, at) => put(view, at * SIZES[dtype], dtype, element));
  return { dtype, shape, bytes: made };
}
