/* Conversations as trees of turns, kept in this browser. Asking again or otherwise adds a turn beside the first one
   and takes none away; the path shown leads from the beginning to the conversation's head.

   All of it is in memory; IndexedDB keeps it where the browser lets us, and where it does not, it lasts as long as the
   page (`kept` says which). Other tabs are told of every change.
   What goes to a model is made in one place, `messages`; what is searched, exported or attached hangs on a turn. */

import { content } from "./attached.js";

const VERSION = 1;
const OFTEN = 1_000;
/* A browser whose store does not answer by then (another page may hold it) keeps nothing for this page. */
const PATIENCE = 3_000;

const wait = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

function open(name) {
  const request = indexedDB.open(name, VERSION);
  request.onupgradeneeded = () => {
    request.result.createObjectStore("conversations", { keyPath: "id" });
    request.result.createObjectStore("turns", { keyPath: "id" }).createIndex("conversation", "conversation");
  };
  return wait(request);
}

function soon(promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("The browser's store does not answer")), PATIENCE);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

export class Conversations {
  #base = null;
  #all = new Map();
  #turns = new Map();
  #loaded = new Set();
  /* Forgotten, and not out of the browser's store yet. */
  #going = new Map();
  #others;
  /* When each answer on its way was last kept. */
  #reached = new WeakMap();

  /** `owner` keeps people who share a browser apart. `changed(id)` hears of what another tab did. */
  constructor(owner, changed) {
    this.name = `holdfast-chat/${owner}`;
    this.#others = new BroadcastChannel(this.name);
    this.#others.onmessage = async ({ data }) => {
      await this.#again(data);
      changed(data);
    };
  }

  /** Whether they outlive the page. */
  get kept() {
    return this.#base !== null;
  }

  async start() {
    let opening;
    try {
      opening = open(this.name);
      this.#base = await soon(opening);
      for (const conversation of await soon(this.#every("conversations"))) this.#all.set(conversation.id, conversation);
    } catch {
      this.#base = null;
      opening?.then((late) => late.close()).catch(() => {});
    }
  }

  /** Newest first; what is forgotten stays in it until it is gone from the browser. */
  list() {
    return [...this.#all.values(), ...this.#going.values()].sort((a, b) => b.changed - a.changed);
  }

  get(id) {
    return this.#all.get(id);
  }

  /** Read the turns of one. */
  async load(id) {
    if (this.#loaded.has(id) || !this.#base || !this.#all.has(id)) return;
    this.#loaded.add(id);
    for (const turn of await wait(this.#store("turns").index("conversation").getAll(id))) this.#take(turn);
  }

  /** A turn as it is kept. Of an answer on its way this page knows at least as much; a turn on show stays the same one. */
  #take(turn) {
    const known = this.#turns.get(turn.id);
    if (!known) this.#turns.set(turn.id, turn);
    else if (turn.outcome !== "answering") Object.assign(known, turn);
  }

  begin(title) {
    const now = Date.now();
    const conversation = { id: crypto.randomUUID(), title, created: now, changed: now, head: null };
    this.#loaded.add(conversation.id);
    this.#all.set(conversation.id, conversation);
    return conversation;
  }

  /** A new turn under `parent` (null at the beginning), which becomes the head. `again` is the turn whose question it asks anew, or null;
      `sealed` says that it is asked privately, which is kept before anything is sent. */
  add(conversation, parent, question, model, { again = null, sealed = false } = {}) {
    const turn = {
      id: crypto.randomUUID(),
      conversation: conversation.id,
      parent,
      question,
      model,
      answer: "",
      bound: 0,
      marks: 0,
      waiting: 0,
      checked: [],
      logged: null,
      run: null,
      outcome: "answering",
      served: "",
      paid: "",
      lanes: null,
      private: sealed,
      repeats: Boolean(again?.private || again?.repeats),
      at: Date.now(),
    };
    this.#turns.set(turn.id, turn);
    conversation.head = turn.id;
    this.save(conversation, turn);
    return turn;
  }

  /** From the first turn to `turn`. */
  path(turn) {
    const found = [];
    for (let at = this.#turns.get(turn); at; at = this.#turns.get(at.parent)) found.unshift(at);
    return found;
  }

  /** The turns that were asked in the same place, oldest first. */
  beside(turn) {
    return this.#below(turn.conversation, turn.parent);
  }

  /** Show the newest path through this turn. */
  choose(conversation, turn) {
    let head = turn;
    for (let next = this.#below(head.conversation, head.id); next.length; next = this.#below(head.conversation, head.id))
      head = next.at(-1);
    conversation.head = head.id;
    this.save(conversation);
  }

  /** What a model is sent: questions and answers up to this turn, whose own answer is still to come. */
  messages(turn) {
    const messages = [];
    for (const each of this.path(turn.id)) {
      messages.push({ role: "user", content: content(each.question, each.files) });
      if (each.answer && each !== turn) messages.push({ role: "assistant", content: each.answer });
    }
    return messages;
  }

  /** Whether what a model is sent for this turn was sealed before: its own question, or anything that it follows. */
  sealed(turn) {
    return this.path(turn.id).some((each) => each.repeats || (each.private && each !== turn));
  }

  rename(conversation, title) {
    conversation.title = title;
    this.save(conversation);
  }

  /** A new conversation that begins with the path up to this turn; the one it comes from stays as it is. */
  branch(turn) {
    const from = this.#all.get(turn.conversation);
    const copy = this.begin(from.title);
    copy.route = from.route ?? null;
    copy.from = { conversation: from.id, turn: turn.id };
    let parent = null;
    const turns = this.path(turn.id).map((each) => {
      const made = { ...structuredClone(each), id: crypto.randomUUID(), conversation: copy.id, parent };
      this.#turns.set(made.id, made);
      parent = made.id;
      return made;
    });
    copy.head = parent;
    this.#write((base) => turns.forEach((each) => base.objectStore("turns").put(each)), null);
    this.save(copy);
    return copy;
  }

  /** Every turn there is, of every conversation: for looking through. */
  async turns() {
    const kept = this.#base ? await this.#every("turns") : [];
    const found = new Map(kept.map((turn) => [turn.id, turn]));
    for (const turn of this.#turns.values()) found.set(turn.id, turn);
    return [...found.values()].filter((turn) => this.#all.has(turn.conversation));
  }

  save(conversation, turn) {
    if (!this.#all.has(conversation.id)) return; // forgotten meanwhile
    conversation.changed = Date.now();
    this.#write((base) => {
      base.objectStore("conversations").put(conversation);
      if (turn) base.objectStore("turns").put(turn);
    }, conversation.id);
  }

  /** An answer is over. Where its conversation goes on, only who asks or chooses says. */
  end(turn) {
    const conversation = this.#all.get(turn.conversation);
    if (!conversation) return; // forgotten meanwhile
    conversation.changed = Date.now();
    this.#write((base) => {
      const all = base.objectStore("conversations");
      all.get(conversation.id).onsuccess = ({ target }) => {
        if (!target.result) return;
        all.put({ ...target.result, changed: conversation.changed });
        base.objectStore("turns").put(turn);
      };
    }, conversation.id);
  }

  /** What is known of a turn's run moved; nothing was said. What another tab ended or forgot meanwhile stays as it is. */
  keep(turn) {
    this.#write((base) => {
      const turns = base.objectStore("turns");
      turns.get(turn.id).onsuccess = ({ target }) => {
        if (target.result?.outcome === turn.outcome) turns.put(turn);
      };
    }, null);
  }

  /** An answer on its way came further: its run is kept at once, its text once a second, for when the page is left. */
  reached(turn) {
    const { at, run } = this.#reached.get(turn) ?? { at: 0, run: null };
    if (run === turn.run && Date.now() - at < OFTEN) return;
    this.#reached.set(turn, { at: Date.now(), run: turn.run });
    this.keep(turn);
  }

  /** Forget one with all of its turns, also those that were never read here; done when they are gone. */
  async forget(id) {
    const conversation = this.#all.get(id);
    if (!conversation) return;
    this.#drop(id);
    this.#going.set(id, conversation);
    await this.#write((change) => {
      change.objectStore("conversations").delete(id);
      const turns = change.objectStore("turns");
      turns.index("conversation").getAllKeys(id).onsuccess = ({ target }) => {
        for (const key of target.result) turns.delete(key);
      };
    }, id);
    this.#going.delete(id);
  }

  #drop(id) {
    this.#all.delete(id);
    this.#loaded.delete(id);
    for (const turn of [...this.#turns.values()]) if (turn.conversation === id) this.#turns.delete(turn.id);
  }

  #below(conversation, parent) {
    return [...this.#turns.values()]
      .filter((turn) => turn.conversation === conversation && turn.parent === parent)
      .sort((a, b) => a.at - b.at);
  }

  #store(name) {
    return this.#base.transaction(name).objectStore(name);
  }

  #every(name) {
    return wait(this.#store(name).getAll());
  }

  /** Settles when the browser has it, or will not. */
  #write(work, tell) {
    if (!this.#base) return Promise.resolve();
    return new Promise((done) => {
      try {
        const change = this.#base.transaction(["conversations", "turns"], "readwrite");
        work(change);
        change.oncomplete = () => {
          if (tell) this.#others.postMessage(tell);
          done();
        };
        change.onabort = done;
      } catch {
        this.#base = null; // what the browser does not keep lasts as long as the page
        done();
      }
    });
  }

  /** Read one again that another tab changed. Where it went on from what is on show here, that is gone along with;
      where it went elsewhere, this page stays where it is and knows the turns beside. */
  async #again(id) {
    if (!this.#base) return;
    const found = await wait(this.#store("conversations").get(id));
    if (!found) return this.#drop(id);
    if (this.#loaded.delete(id)) await this.load(id);
    const known = this.#all.get(id) ?? found;
    const along = !this.#loaded.has(id) || this.path(found.head).some((turn) => turn.id === known.head);
    this.#all.set(id, Object.assign(known, found, { head: along ? found.head : known.head }));
  }
}
