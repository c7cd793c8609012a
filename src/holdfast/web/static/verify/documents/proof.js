/* Proof documents in their form, and held against the statements that they are about (inference.md §5(3), §5(5)): the same documents, the same
   circuit, and its public numbers those of the documents. Whether the proof verifies is for full nodes, and their verdict counts. */

import { Malformed, Refusal, Rejected } from "../answers.js";
import { equal, hex, hexText, unbase64, unhex, utf8 } from "../bytes.js";
import { sha256 } from "../hashes.js";
import { exactly, isObject, parse, parseCanonical, spelled } from "../json.js";
import { tree } from "../parts.js";
import { characters, recordOf } from "../records.js";
import { isRun, sameTree } from "../statements.js";
import { quantised, readSettings, rescaled, splitInstances } from "./circuit.js";
import { readInference, tensorOf } from "./inference.js";

const LARGEST = 16_777_216;
const MEMBERS = ["type", "run", "system", "version", "proof", "instances", "inputs", "outputs", "settings", "verification_key", "srs", "document", "request", "response", "key"];

const refuse = (says) => {
  throw new Malformed("proof.fields", says);
};

function names(value, tensors) {
  if (!Array.isArray(value) || !value.every((name) => typeof name === "string")) refuse("inputs and outputs are lists of names");
  if (value.length !== tensors.length || new Set(value).size < value.length || value.length > 64) refuse("every input and output of the circuit has a name of its own");
  return value;
}

/** A document of its exact bytes. */
export function readProof(bytes) {
  if (bytes.length > LARGEST) throw new Malformed("proof.size", `a proof document has at most ${LARGEST} bytes`);
  const value = exactly(parseCanonical(bytes), MEMBERS, "proof.fields");
  if (value.type !== "urn:holdfast:proof:v1" || !isRun(value.run) || !["request", "sent"].includes(value.document) || value.system !== "ezkl") refuse("not a proof document");
  if (!["version", "proof", "request", "response"].every((name) => typeof value[name] === "string") || value.version === "" || characters(value.version) > 64) refuse("version, proof, request and response are strings");
  const settings = readSettings(unbase64(value.settings));
  if (!Array.isArray(value.instances)) refuse("instances are a list");
  const numbers = splitInstances(settings, value.instances);
  unhex(value.proof);
  return {
    run: value.run,
    document: value.document,
    request: value.request,
    response: value.response,
    instances: value.instances,
    inputs: names(value.inputs, settings.inputs),
    outputs: names(value.outputs, settings.outputs),
    settings,
    numbers,
    verificationKey: unbase64(value.verification_key),
    srs: hexText(value.srs),
    key: unhex(value.key, 32),
  };
}

const reject = (about, says) => {
  throw new Rejected(`proof.${about}`, says);
};

/* The numbers that a circuit is given for a request: one item, one tensor for every input, of its exact shape. */
function publicInputs({ inputs, settings }, request) {
  const { mode, items } = readInference(request);
  const [only] = items;
  if (mode !== "ZKML" || items.length !== 1) throw new Malformed("infer.batch", "mode ZKML takes one item");
  if (only.size !== inputs.length || !inputs.every((name) => only.has(name))) throw new Malformed("infer.inputs", "the circuit takes other inputs");
  return inputs.map((name, at) => {
    const { scale, shape } = settings.inputs[at];
    if (spelled(only.get(name).shape) !== spelled(shape)) throw new Malformed("infer.shape", "the circuit takes another shape");
    const { bytes } = tensorOf(only.get(name), "float32");
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    return Array.from({ length: bytes.length / 4 }, (_, place) => quantised(view.getFloat32(4 * place, true), scale));
  });
}

/* Outputs by name, as a response in mode ZKML shows them. */
function shownOutputs(response, artifact) {
  const value = parse(response);
  const outputs = isObject(value) ? value.outputs : null;
  const item = Array.isArray(outputs) && outputs.length === 1 ? outputs[0] : outputs;
  if (!isObject(item) || value.mode !== "ZKML" || value.artifact !== artifact) reject("outputs", "the response is of another mode or artifact");
  const shown = readInference(Object.assign(Object.create(null), { model: "outputs", inputs: item })).items[0];
  return new Map([...shown].map(([name, given]) => [name, tensorOf(given, "float64")]));
}

/* What a step gives, with whatever it refuses told as `about`. */
function within(about, says, step) {
  try {
    return step();
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    throw new Rejected(`proof.${about}`, says);
  }
}

function doubles(numbers, scale) {
  const view = new DataView(new ArrayBuffer(8 * numbers.length));
  numbers.forEach((number, at) => view.setFloat64(8 * at, rescaled(number, scale), true));
  return new Uint8Array(view.buffer);
}

/* The circuit's public numbers are the inputs of the request and the outputs of the response, at the scales of its settings. */
function checkNumbers(told, artifact) {
  const { settings, numbers, outputs } = told;
  const given = within("inputs", "the request is none for this circuit", () => publicInputs(told, parse(told.request)));
  if (given.some((tensor, at) => tensor.some((number, place) => number !== numbers.inputs[at][place]) || tensor.length !== numbers.inputs[at].length)) reject("inputs", "what was proved is about other inputs");
  const shown = within("outputs", "the response holds no outputs that can be read", () => shownOutputs(told.response, artifact));
  if (!shown.size || ![...shown.keys()].every((name) => outputs.includes(name))) reject("outputs", "the response shows no outputs of the circuit");
  for (const [at, name] of outputs.entries()) {
    const tensor = shown.get(name);
    const { scale, shape } = settings.outputs[at];
    if (tensor && (spelled(tensor.shape) !== spelled(shape) || !equal(tensor.bytes, doubles(numbers.outputs[at], scale)))) reject("outputs", "what was proved is about other outputs");
  }
}

/** Refuses a document that is not what `proved` commits to, or does not hold against `computed`; all but the proof itself (§5(5)). */
export function checkProof(proved, computed, { document, salt, told }) {
  const how = computed.computation;
  if (proved.kind !== "execution" || computed.kind !== "execution" || !how) reject("statement", "it is about no computation");
  if (proved.proof !== recordOf("proof", salt, document)) reject("record", "the document is not what the statement commits to");
  if (spelled(proved.computation) !== spelled(how) || proved.run !== computed.run) reject("statement", "it tells of another computation than the one that it follows");
  if (told.run !== proved.run) reject("statement", "the document is of another run");
  const digests = [told.settings.bytes, told.verificationKey].map((bytes) => hex(sha256(bytes)));
  if (how.circuit === null || digests[0] !== how.circuit.settings || digests[1] !== how.circuit.verification_key) reject("circuit", "the circuit in the document is not the one that was computed with");
  if (!sameTree(tree(parse(utf8(told.request)), told.document, told.key), how.request)) reject("request", "the request in the document is not the one that was computed");
  if (!sameTree(tree(parse(utf8(told.response)), "response", told.key), computed.response)) reject("response", "the response in the document is not the one that was given");
  checkNumbers(told, how.artifact);
  return told;
}
