/* The events of a stream as one response document (parts.md §6). */

import { Malformed } from "./answers.js";
import { Numeral, isObject } from "./json.js";

/* Of these the last string that is not empty wins; of the first two it must not change. */
const NAMES = ["role", "name", "id", "type"];
const STEADY = ["role", "name"];
const MOST = 1023;

const refuse = (says) => {
  throw new Malformed("stream.fold", says);
};

/** Elements that are merged by their member `index`. */
class Indexed {
  items = new Map();

  finished() {
    return [...this.items.keys()].sort((left, right) => left - right).map((index) => finished(this.items.get(index)));
  }
}

function kindOf(value) {
  if (value instanceof Indexed || Array.isArray(value)) return "array";
  if (value instanceof Numeral) return "number";
  return isObject(value) ? "object" : typeof value;
}

function indexOf(value) {
  const index = value instanceof Numeral ? value.integer : null;
  if (index === null || index < 0 || index > MOST) refuse(`an index is an integer from 0 to ${MOST}`);
  return index;
}

function named(before, value, name) {
  if (value === "") return before;
  if (before !== "" && before !== value && STEADY.includes(name)) refuse(`${name} changes in the middle`);
  return value;
}

function mergeArray(before, value) {
  if (!value.length) return before;
  const byIndex = value.every((item) => isObject(item) && "index" in item);
  const empty = Array.isArray(before) && !before.length;
  if (!empty && before instanceof Indexed !== byIndex) refuse("one array goes by index and the other does not");
  if (!byIndex) return [...before, ...value];
  const into = empty ? new Indexed() : before;
  for (const item of value) {
    const index = indexOf(item.index);
    into.items.set(index, mergeObject(into.items.get(index) ?? Object.create(null), item));
  }
  return into;
}

function mergeObject(into, value) {
  for (const name of Object.keys(value)) into[name] = merge(into[name], value[name], name);
  return into;
}

/* What a value becomes when another is added to it (§6(3)); `before` is undefined where there was none. */
function merge(before, value, name) {
  if (value === null) return before ?? null;
  const kind = kindOf(value);
  if (before !== undefined && before !== null && kindOf(before) !== kind) refuse("two kinds of one value");
  if (kind === "object") return mergeObject(before ?? Object.create(null), value);
  if (kind === "array") return mergeArray(before ?? [], value);
  if (kind !== "string") return value;
  if (NAMES.includes(name)) return before === null && value === "" ? null : named(before ?? "", value, name);
  return (before ?? "") + value;
}

function finished(value) {
  if (value instanceof Indexed) return value.finished();
  if (Array.isArray(value)) return value.map(finished);
  if (!isObject(value)) return value;
  const copy = Object.create(null);
  for (const name of Object.keys(value)) copy[name] = finished(value[name]);
  return copy;
}

const last = (before, value) => (value === null ? before ?? null : value);

/** Takes events one by one, each an object of exact JSON; `document()` is what they come to so far. */
export class Fold {
  #top = Object.create(null);
  #choices = null;

  add(event) {
    if (!isObject(event)) refuse("an event is a JSON object");
    for (const name of Object.keys(event)) {
      if (name === "holdfast" || name.startsWith("tee_")) continue;
      if (name === "choices") this.#choose(event.choices);
      else this.#top[name] = last(this.#top[name], event[name]);
    }
  }

  #choose(choices) {
    if (!Array.isArray(choices) || !choices.every(isObject)) refuse("choices are an array of objects");
    this.#choices ??= new Map();
    for (const choice of choices) {
      const index = "index" in choice ? indexOf(choice.index) : 0;
      if (!this.#choices.has(index)) this.#choices.set(index, { members: Object.create(null), message: null, whole: false });
      this.#mergeChoice(this.#choices.get(index), choice);
    }
  }

  #mergeChoice(into, choice) {
    for (const name of Object.keys(choice)) {
      if (name === "index" || (name === "delta" && choice.delta === null)) continue;
      if (name === "delta") {
        if (!isObject(choice.delta)) refuse("a delta is an object");
        into.message = mergeObject(into.message ?? Object.create(null), choice.delta);
      } else if (name === "text" || name === "logprobs") {
        into.members[name] = merge(into.members[name], choice[name], name);
      } else {
        into.members[name] = last(into.members[name], choice[name]);
        into.whole ||= name === "message" && choice.message !== null;
      }
    }
    if (into.message !== null && into.whole) refuse("a choice has both a delta and a message");
  }

  document() {
    const whole = Object.create(null);
    for (const name of Object.keys(this.#top)) whole[name] = this.#top[name];
    if (whole.object === "chat.completion.chunk") whole.object = "chat.completion";
    if (this.#choices === null) return whole;
    whole.choices = [...this.#choices.keys()]
      .sort((left, right) => left - right)
      .map((index) => {
        const { members, message } = this.#choices.get(index);
        const choice = finished(members);
        if (message !== null) choice.message = finished(message);
        choice.index = new Numeral(String(index));
        return choice;
      });
    return whole;
  }
}
