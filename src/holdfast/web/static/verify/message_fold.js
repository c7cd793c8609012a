/* The events of a message as one response document (parts.md §9). */

import { Malformed } from "./answers.js";
import { Numeral, isObject, parse } from "./json.js";

const MOST = 1023;
/* Which piece grows which member of which block. */
const PIECES = {
  __proto__: null,
  text_delta: ["text", "text"],
  thinking_delta: ["thinking", "thinking"],
  signature_delta: ["thinking", "signature"],
  input_json_delta: ["tool_use", "partial_json"],
};
const FIXED = ["content", "role", "id", "model", "stop_reason", "stop_sequence"];
const STEADY = ["content", "role", "id", "type"];

function demand(holds, says) {
  if (!holds) throw new Malformed("stream.fold", says);
}

const has = (value, ...names) => Object.keys(value).length === names.length && names.every((name) => name in value);
const copy = (value) => Object.assign(Object.create(null), value);

function inputOf(said) {
  let value = null;
  try {
    value = parse(said);
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
  }
  demand(isObject(value), "the input of a call is an object");
  return value;
}

/** Takes events one by one, each an object of exact JSON; `document()` is what they come to so far. */
export class MessageFold {
  #whole = null;
  #open = null;
  #over = false;

  add(event) {
    demand(isObject(event), "an event is a JSON object");
    const shown = Object.create(null);
    for (const name of Object.keys(event)) if (name !== "holdfast" && !name.startsWith("tee_")) shown[name] = event[name];
    if (shown.type === "ping") return demand(has(shown, "type"), "a ping says nothing");
    demand((this.#whole === null) === (shown.type === "message_start") && !this.#over, "a message starts once, and nothing follows its end");
    if (shown.type === "message_start") return this.#start(shown);
    if (shown.type === "message_delta") return this.#change(shown);
    if (shown.type === "message_stop") {
      demand(has(shown, "type") && this.#open === null, "an end stands behind whole blocks");
      this.#over = true;
      return undefined;
    }
    return this.#block(shown);
  }

  #start(event) {
    const { message } = event;
    demand(isObject(message) && Array.isArray(message.content) && !message.content.length, "a message starts empty");
    this.#whole = Object.assign(copy(message), { content: [] });
    this.#beside(event, "type", "message");
  }

  #change(event) {
    const { delta, usage = null } = event;
    demand(this.#open === null && isObject(delta) && (usage === null || isObject(usage)), "a change is an object, and so is its usage");
    demand(!STEADY.some((name) => name in delta), "what a message is does not change");
    Object.assign(this.#whole, delta);
    if (usage !== null) this.#whole.usage = Object.assign(copy(isObject(this.#whole.usage) ? this.#whole.usage : {}), usage);
    this.#beside(event, "type", "delta", "usage");
  }

  #beside(event, ...known) {
    for (const name of Object.keys(event).filter((item) => !known.includes(item))) {
      demand(!FIXED.includes(name), `${name} stands in the message itself`);
      if (event[name] !== null || !(name in this.#whole)) this.#whole[name] = event[name];
    }
  }

  #block(event) {
    const { content } = this.#whole;
    const begins = event.type === "content_block_start";
    const place = content.length - (begins ? 0 : 1);
    demand(event.index instanceof Numeral && event.index.text === String(place) && place <= MOST, "a block names its place");
    demand((this.#open === null) === begins, "blocks come one after the other");
    if (begins) {
      const { content_block: block } = event;
      demand(has(event, "type", "index", "content_block") && isObject(block) && !("partial_json" in block), "a block is an object");
      this.#open = copy(block);
      content.push(this.#open);
    } else if (event.type === "content_block_stop") {
      demand(has(event, "type", "index"), "an end of a block says nothing more");
      this.#close();
    } else {
      demand(event.type === "content_block_delta" && has(event, "type", "index", "delta"), "an event is of a type that is listed");
      this.#grow(event.delta);
    }
  }

  #grow(delta) {
    const [kind, member] = (isObject(delta) && typeof delta.type === "string" && PIECES[delta.type]) || [];
    demand(kind !== undefined && has(delta, "type", member) && this.#open.type === kind, "a piece is of its block's own kind");
    const before = this.#open[member] ?? "";
    demand(typeof delta[member] === "string" && typeof before === "string", "a piece is a string");
    this.#open[member] = before + delta[member];
  }

  #close() {
    const block = this.#open;
    this.#open = null;
    if (block.type !== "tool_use" || !("partial_json" in block)) return;
    if (block.partial_json !== "") block.input = inputOf(block.partial_json);
    delete block.partial_json;
  }

  document() {
    return copy(this.#whole ?? {});
  }
}
