/* The page of a memory: unlock, find, judge, take along, erase. After an act everything shown is asked for again, for
   one row's standing can follow from another's. */

import { announce, troubleBox } from "../parts.js";
import { ask, forget, hold, key, send } from "./node.js";
import { addPasskey, passkeyKey } from "./passkey.js";
import { fill, make } from "./rows.js";

const at = (id) => document.getElementById(id);
const FOUND = 50;
const PAIRS = 20;
let user = "";
let page = 1;
let asked = 0;

function showTrouble(place, error) {
  place.replaceChildren();
  if (error) place.append(troubleBox({ message: error.message ?? String(error), hint: error.hint }));
}

/** Run what an act needs; what goes wrong is shown at `place`. A key that opens nothing any more locks the page. */
async function attempt(place, does) {
  showTrouble(place);
  try {
    await does();
  } catch (error) {
    if (error.status === 401 && !error.code?.startsWith("panel.") && !error.code?.startsWith("people.")) {
      close();
      showTrouble(at("memory-trouble"), error);
    } else showTrouble(place, error);
  }
}

/** Nothing of anybody's rows stays in the page. */
function close() {
  forget();
  user = "";
  asked += 1;
  for (const id of ["rows", "pairs", "keys"]) at(id).replaceChildren();
  for (const form of document.querySelectorAll("#open form")) form.reset();
  for (const id of ["who", "scopes", "erase-who", "found"]) at(id).textContent = "";
  at("pairs-section").hidden = at("open").hidden = true;
  at("locked").hidden = false;
}

async function open() {
  const me = await ask("me");
  user = me.user_id;
  const owner = me.scopes.includes("owner");
  at("who").textContent = at("erase-who").textContent = user;
  at("scopes").textContent = me.scopes.join(", ");
  at("not-owner").hidden = owner;
  at("open").classList.toggle("no-owner", !owner);
  at("locked").hidden = true;
  at("open").hidden = false;
  await show();
  if (owner) await showKeys();
  await showWanted();
}

/** The keys that open these rows, each with a way to end it. */
async function showKeys() {
  const { api_keys: keys } = await ask("keys");
  const mine = key().slice(4, 20);
  at("keys").replaceChildren(
    ...keys.map(({ api_key_id: wrap, name, scopes, created_at: made }) => {
      const item = document.createElement("li");
      const says = document.createElement("span");
      const end = document.createElement("button");
      says.textContent = `${name}: ${scopes.join(", ")}, since ${made.slice(0, 10)}${wrap === mine ? " (in use here)" : ""}`;
      end.className = "button button-quiet";
      end.type = "button";
      end.textContent = "End";
      end.setAttribute("aria-label", `End the key ${name} of ${made.slice(0, 10)}`);
      end.addEventListener("click", () => attempt(at("memory-trouble"), () => endKey(wrap)));
      item.append(says, end);
      return item;
    }),
  );
}

async function endKey(wrap) {
  await ask("end-key", { wrap });
  await showKeys();
  announce("The key has ended");
  at("keys-title").focus();
}

/** The row that the address names, before all others: a case file or a run leads to it. */
async function showWanted() {
  const wanted = location.hash.slice(1);
  if (!/^mem_[0-9a-f]{32}$/.test(wanted)) return;
  const { memory } = await ask("history", { row: wanted });
  document.querySelector(`#rows [data-row="${wanted}"]`)?.remove();
  const node = make(memory);
  at("rows").prepend(node);
  node.open = true;
  node.querySelector("summary").focus();
}

addEventListener("hashchange", () => key() !== null && attempt(at("memory-trouble"), showWanted));

/** Rows that the form asks for: from a search, or listed page by page. */
async function fetchRows() {
  const query = at("query").value.trim();
  const standing = at("standing").value;
  if (query && standing !== "withdrawn") {
    const { memories } = await ask("search", { query, limit: FOUND, include_bio: false, ...(standing ? { standings: [standing] } : {}) });
    return { rows: memories, says: `${memories.length} found, closest first`, more: false };
  }
  const { data, pagination } = await ask(standing ? "standing" : "list", { page, ...(standing ? { standing } : {}) });
  const says = query ? "; withdrawn rows are listed, not searched" : "";
  return { rows: data, says: `${pagination.total_items} in all, newest first${says}`, more: pagination.has_next };
}

async function show() {
  const mine = (asked += 1);
  page = 1;
  const [found, { contradictions }] = await Promise.all([fetchRows(), ask("contradictions")]);
  if (mine !== asked) return;
  at("rows").replaceChildren(...found.rows.map(make));
  at("found").textContent = found.says;
  at("more").hidden = !found.more;
  at("pairs").replaceChildren(...contradictions.slice(0, PAIRS).map(pair));
  at("pairs-more").hidden = contradictions.length <= PAIRS;
  at("pairs-more").textContent = `${PAIRS} of ${contradictions.length}; more come up as these are settled.`;
  at("pairs-section").hidden = contradictions.length === 0;
  if (!found.rows.length) at("found").textContent = "No such rows";
  announce(at("found").textContent);
}

function pair({ slot, memories }) {
  const node = document.createElement("article");
  const title = document.createElement("h3");
  node.className = "memory-pair";
  title.textContent = slot;
  node.append(title, ...memories.map(make));
  return node;
}

async function showMore() {
  const mine = asked;
  page += 1;
  const found = await fetchRows();
  if (mine !== asked) return;
  const nodes = found.rows.map(make);
  at("rows").append(...nodes);
  at("more").hidden = !found.more;
  nodes[0]?.querySelector("summary").focus();
}

/** A row that is opened shows its history and where it was used. */
async function look(node) {
  const { memory, history } = await ask("history", { row: node.dataset.row });
  fill(node, memory, history);
}

const ACTS = {
  confirm: (row) => ask("confirm", { row }),
  withdraw: (row) => ask("withdraw", { row }),
  correct: (row, form) => ask("correct", { row, content: form.elements.content.value }),
  erase: (row) => ask("erase", { row }),
};
const SAID = { confirm: "Confirmed", withdraw: "Withdrawn", correct: "Corrected", erase: "Erased" };

async function act(node, name, form) {
  const place = node.querySelector('[data-part="trouble"]');
  await attempt(place, async () => {
    const answer = await ACTS[name](node.dataset.row, form);
    await show();
    const shown = document.querySelector(`#rows [data-row="${CSS.escape(answer.id ?? "none")}"]`);
    if (shown) shown.open = true;
    (shown?.querySelector("summary") ?? at("rows-title")).focus();
    const left = name === "erase" && !answer.scrubbed ? "; the last bytes go as soon as nobody reads the store" : "";
    announce(`${SAID[name]}${left}`);
  });
}

function save(blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = "memory.json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

const FORMS = {
  "by-key": async () => {
    hold(at("api-key").value.trim(), at("keep").checked);
    at("api-key").value = "";
    await open();
  },
  "by-passphrase": async () => {
    const given = { user_id: at("user-id").value.trim(), passphrase: at("passphrase").value };
    at("passphrase").value = "";
    hold((await ask("unlock", given)).token, at("keep").checked);
    await open();
  },
  "by-passkey": async () => {
    hold(await passkeyKey(), at("keep").checked);
    await open();
  },
  "add-passkey": async () => {
    await ask("passkey", { name: "passkey", scopes: ["owner"], key: await addPasskey(user) });
    await showKeys();
    announce("Passkey added");
  },
  find: show,
  export: async () => {
    const passphrase = at("export-passphrase").value;
    if (passphrase !== at("export-again").value) throw { message: "the two passphrases differ", hint: "write the same one twice" };
    save(await (await send("export", { passphrase })).blob());
    at("export").reset();
    announce("Exported");
  },
  erase: async () => {
    if (at("erase-user").value.trim() !== user) throw { message: "that is not your user id", hint: `write ${user}` };
    const { scrubbed } = await ask("erase-everything", { user_id: user });
    close();
    announce(scrubbed ? "Everything is erased; no byte is left" : "Everything is erased; the last bytes go as soon as nobody reads the store");
    at("unlock-title").focus();
  },
};

document.addEventListener("submit", (event) => {
  const form = event.target;
  const row = form.closest(".memory-row");
  if (!row && !FORMS[form.id]) return;
  event.preventDefault();
  if (row) act(row, form.dataset.act, form);
  else attempt(at("memory-trouble"), FORMS[form.id]);
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-act]");
  if (button) act(button.closest(".memory-row"), button.dataset.act);
});

document.addEventListener("toggle", (event) => {
  const node = event.target;
  if (node.open && node.matches(".memory-row")) attempt(node.querySelector('[data-part="trouble"]'), () => look(node));
}, true);

at("more").addEventListener("click", () => attempt(at("memory-trouble"), showMore));

at("lock").addEventListener("click", async () => {
  // Only a session is ended at the node too: with an API key other programs may be at work.
  await attempt(at("memory-trouble"), async () => key()?.startsWith("hfm_") || ask("lock"));
  close();
  announce("Locked");
  at("unlock-title").focus();
});

if (key() === null) at("locked").hidden = false;
else attempt(at("memory-trouble"), open).then(() => (at("locked").hidden = !at("open").hidden));
