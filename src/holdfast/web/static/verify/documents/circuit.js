/* The circuit of a model: its settings, and numbers as the circuit has them (inference.md §5(2), §5(3)). A float enters as the nearest integer
   multiple of 2^-scale, and leaves as one. */

import { Malformed, Rejected } from "../answers.js";
import { bytesOf, hex, integer, unhex } from "../bytes.js";
import { Numeral, isObject, parse } from "../json.js";

/* The order of the scalar field of BN254. */
const FIELD = 21888242871839275222246405745257275088548364400416034343698204186575808495617n;
const LARGEST = 1_048_576;
const MOST_SCALE = 60;
const MOST_INSTANCES = 65_536;
/* What a circuit must show: inputs and outputs in the open, the weights within the verification key. */
const SHOWS = { input_visibility: "Public", output_visibility: "Public", param_visibility: "Fixed" };

const refuse = (says) => {
  throw new Malformed("circuit.settings", says);
};

const badNumber = (says, Sort = Malformed) => {
  throw new Sort("circuit.number", says);
};

function whole(value, most) {
  const text = value instanceof Numeral ? value.text : "";
  if (!/^[0-9]{1,16}$/.test(text) || Number(text) > most) refuse(`a number of settings is an integer from 0 to ${most}`);
  return Number(text);
}

function scales(value) {
  if (!Array.isArray(value) || value.length > 64) refuse("scales are a list of integers");
  return value.map((item) => whole(item, MOST_SCALE));
}

const sizeOf = (shape) => shape.reduce((all, size) => all * size, 1);

function shapesOf(value) {
  if (!Array.isArray(value) || !value.every((shape) => Array.isArray(shape) && shape.length <= 8)) refuse("shapes are a list of lists of at most 8 dimensions");
  const shapes = value.map((shape) => shape.map((size) => whole(size, 2 ** 26)));
  if (shapes.reduce((all, shape) => all + sizeOf(shape), 0) > MOST_INSTANCES) refuse(`a circuit has at most ${MOST_INSTANCES} public numbers`);
  return shapes;
}

/* A circuit that hides an input, leaves a weight open or does not hold its numbers to their range proves something else than a run of the model. */
function refuseWeak(args, { input_types: inputs, output_types: outputs }) {
  for (const [name, wanted] of Object.entries(SHOWS)) if (args[name] !== wanted) throw new Rejected("circuit.visibility", `${name} of the circuit is not ${wanted}`);
  if (args.ignore_range_check_inputs_outputs !== false) throw new Rejected("circuit.visibility", "the circuit does not check the range of its inputs and outputs");
  const single = (kinds) => Array.isArray(kinds) && kinds.length > 0 && kinds.every((kind) => kind === "F32");
  if (!single(inputs) || !single(outputs)) throw new Rejected("circuit.type", "a circuit is made of a model whose inputs and outputs are float32");
}

/** Settings of their exact bytes: `{bytes, inputs, outputs}`, of each tensor its `scale` and `shape`. */
export function readSettings(bytes) {
  if (bytes.length > LARGEST) refuse(`settings have at most ${LARGEST} bytes`);
  const value = parse(bytes);
  if (!isObject(value) || !isObject(value.run_args)) refuse("settings are an object with run_args");
  refuseWeak(value.run_args, value);
  const [inputs, outputs] = [value.model_input_scales, value.model_output_scales].map(scales);
  const shapes = shapesOf(value.model_instance_shapes);
  if (!inputs.length || !outputs.length || shapes.length !== inputs.length + outputs.length) refuse("settings have a scale and a shape for every input and output");
  if (typeof value.version !== "string" || value.version === "" || [...value.version].length > 64) refuse("settings name the version that made them");
  whole(value.run_args.logrows, 26);
  whole(value.num_rows, 2 ** 48);
  const tensors = [...inputs, ...outputs].map((scale, at) => ({ scale, shape: shapes[at] }));
  return { bytes, inputs: tensors.slice(0, inputs.length), outputs: tensors.slice(inputs.length) };
}

/** An element of the field (32 bytes, little-endian, hex) as the integer nearest to zero that it stands for. */
function numberOf(text) {
  const number = integer(unhex(text, 32).reverse());
  if (number >= FIELD) badNumber("an instance is an element of the circuit's field");
  return number > FIELD / 2n ? number - FIELD : number;
}

/** An integer as an element of the field. */
export const elementOf = (number) => hex(bytesOf(((number % FIELD) + FIELD) % FIELD, 32).reverse());

/** Public numbers tensor by tensor, inputs and then outputs, each in row-major order. */
export function splitInstances({ inputs, outputs }, instances) {
  const tensors = [...inputs, ...outputs];
  const wanted = tensors.reduce((all, { shape }) => all + sizeOf(shape), 0);
  if (instances.length !== wanted) throw new Malformed("circuit.instances", `the circuit has ${wanted} public numbers`);
  const numbers = instances.map(numberOf);
  let place = 0;
  const found = tensors.map(({ shape }) => numbers.slice(place, (place += sizeOf(shape))));
  return { inputs: found.slice(0, inputs.length), outputs: found.slice(inputs.length) };
}

/* A finite double as `over / under`, exactly: `under` is a power of two. */
function ratio(value) {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value);
  const bits = view.getBigUint64(0);
  const exponent = Number((bits >> 52n) & 0x7ffn);
  const fraction = (bits & 0xfffffffffffffn) | (exponent ? 1n << 52n : 0n);
  const power = Math.max(exponent, 1) - 1075;
  return power >= 0 ? [fraction << BigInt(power), 1n] : [fraction, 1n << BigInt(-power)];
}

/** The integer that stands for a float: the nearest to `value · 2^scale`, halves away from zero. */
export function quantised(value, scale) {
  if (!Number.isFinite(value)) badNumber("a circuit has no number that is not finite");
  const [over, under] = ratio(Math.abs(value));
  const found = ((over << BigInt(scale + 1)) + under) / (2n * under);
  if (found >> 62n) badNumber("the number is too large for the circuit's scale");
  return value < 0 ? -found : found;
}

/** The double that an integer of a circuit stands for, exactly. */
export function rescaled(number, scale) {
  if (number >= 2n ** 53n || number <= -(2n ** 53n)) badNumber("an output of the circuit is too large to be written exactly", Rejected);
  return Number(number) / 2 ** scale;
}
