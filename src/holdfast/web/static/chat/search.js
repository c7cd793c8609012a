/* Looking through conversations: every word has to stand in the title or in one turn, question and answer together.
   It is done here, in what this browser keeps; nothing is sent anywhere. */

const AROUND = 40;

const words = (text) => text.toLocaleLowerCase().split(/\s+/).filter(Boolean);

const holds = (text, wanted) => wanted.every((word) => text.includes(word));

/** By conversation: where the words stand, as a few words around the first of them, or "" in the title. Null: nothing
    was looked for. `turns` are all there are. */
export function search(conversations, turns, query) {
  const wanted = words(query);
  if (!wanted.length) return null;
  const found = new Map();
  for (const { id, title } of conversations) if (holds(title.toLocaleLowerCase(), wanted)) found.set(id, "");
  for (const turn of turns) {
    if (found.has(turn.conversation)) continue;
    const text = `${turn.question}\n${turn.answer}`;
    if (holds(text.toLocaleLowerCase(), wanted)) found.set(turn.conversation, around(text, wanted[0]));
  }
  return found;
}

function around(text, word) {
  const at = Math.max(0, text.toLocaleLowerCase().indexOf(word));
  const begin = Math.max(0, at - AROUND);
  const piece = text.slice(begin, at + word.length + AROUND).replace(/\s+/g, " ").trim();
  return `${begin ? "…" : ""}${piece}${at + word.length + AROUND < text.length ? "…" : ""}`;
}

/** A field that looks while somebody writes; `show(found)` hears of what is found, or null where nothing is looked for. */
export class SearchField {
  #asked = 0;

  constructor(field, conversations, show) {
    this.field = field;
    this.conversations = conversations;
    this.show = show;
    field.addEventListener("input", () => this.look());
    field.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !field.value) return;
      event.preventDefault();
      field.value = "";
      this.look();
    });
  }

  async look() {
    const mine = (this.#asked += 1);
    const query = this.field.value;
    const turns = query.trim() ? await this.conversations.turns() : [];
    if (mine === this.#asked) this.show(search(this.conversations.list(), turns, query));
  }
}
