/* What stands over a conversation: its title, which can be changed, and the dialog that makes a file of it. */

import { announce } from "../parts.js";
import { asJSON, asMarkdown, capabilities, fileName, save } from "./export.js";

const at = (id) => document.getElementById(id);
const LONGEST = 200;

export class Head {
  #conversation = null;

  /** `conversations` keeps them; `renamed()` hears of another title. */
  constructor(conversations, renamed) {
    this.conversations = conversations;
    this.renamed = renamed;
    at("rename").addEventListener("click", () => this.rename());
    at("title-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#take();
    });
    at("title-field").addEventListener("keydown", (event) => event.key === "Escape" && this.#leave());
    at("export").addEventListener("click", () => this.export());
    at("export-form").addEventListener("submit", () => this.#save());
  }

  /** Show the head of this conversation, or none. */
  show(conversation) {
    if (conversation !== this.#conversation) this.#editing(false);
    this.#conversation = conversation;
    at("talk-head").hidden = conversation === null;
    at("title").textContent = conversation?.title ?? "";
  }

  rename() {
    if (!this.#conversation) return;
    at("title-field").value = this.#conversation.title;
    this.#editing(true);
    at("title-field").select();
  }

  #editing(on) {
    at("title-form").hidden = !on;
    at("title-line").hidden = on;
  }

  #leave() {
    this.#editing(false);
    at("rename").focus();
  }

  #take() {
    const title = at("title-field").value.replace(/\s+/g, " ").trim().slice(0, LONGEST);
    if (title) {
      this.conversations.rename(this.#conversation, title);
      this.show(this.#conversation);
      this.renamed();
      announce("Renamed");
    }
    this.#leave();
  }

  /** Ask which file is wanted. What opens runs is asked about only where some of it is kept here. */
  async export() {
    if (!this.#conversation) return;
    const kept = capabilities(await this.#turns());
    at("export-secrets").checked = false;
    at("export-secrets-line").hidden = kept === 0;
    at("export-none").hidden = kept > 0;
    at("export-dialog").showModal();
  }

  async #turns() {
    const { id } = this.#conversation;
    return (await this.conversations.turns()).filter((turn) => turn.conversation === id).sort((a, b) => a.at - b.at);
  }

  async #save() {
    if (at("export-dialog").returnValue === "no") return;
    const conversation = this.#conversation;
    if (at("export-form").elements.format.value === "markdown")
      save(asMarkdown(conversation, this.conversations.path(conversation.head)), fileName(conversation.title, "md"), "text/markdown");
    else save(asJSON(conversation, await this.#turns(), { secrets: at("export-secrets").checked }), fileName(conversation.title, "json"), "application/json");
    announce("Exported");
  }
}
