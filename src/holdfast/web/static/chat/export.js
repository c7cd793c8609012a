/* One conversation as a file: JSON with every turn, also those beside the path on show, or Markdown of that path. What
   opens a run's parts is in it only where this browser has it and its reader ticked so.

   Nothing in a Markdown file is active, whatever reads it: texts stand in fences, as they were written, and what stands
   outside of them is escaped. */

const FORMAT = "urn:holdfast:conversation:v1";

/** What opens a turn's run, where it is kept here. */
export const capabilities = (turns) => turns.filter((turn) => turn.capability).length;

/** Every turn of a conversation as JSON. Lanes are as this browser last heard of them, each by itself. */
export function asJSON(conversation, turns, { secrets }) {
  const value = {
    type: FORMAT,
    title: conversation.title,
    created: new Date(conversation.created).toISOString(),
    exported: new Date().toISOString(),
    says: "Written by a browser and signed by nobody. What a run proves stands in its bundle.",
    head: conversation.head,
    turns: turns.map((turn) => ({
      id: turn.id,
      parent: turn.parent,
      at: new Date(turn.at).toISOString(),
      model: turn.model,
      served: turn.served,
      question: turn.question,
      answer: turn.answer,
      bound: turn.bound,
      outcome: turn.outcome,
      run: turn.run,
      ...(secrets && turn.capability ? { capability: turn.capability } : {}),
      lanes: turn.lanes && Object.fromEntries(Object.entries(turn.lanes).map(([name, { state, basis, says }]) => [name, { state, basis, says }])),
    })),
  };
  return JSON.stringify(value, null, 2);
}

/** A text as it was written, between fences that are longer than any in it. */
function fenced(text) {
  let fence = "```";
  for (const [run] of text.matchAll(/`{3,}/g)) if (run.length >= fence.length) fence = `${run}\``;
  return `${fence}text\n${text}\n${fence}`;
}

/** One line of text that says nothing to whoever reads Markdown. */
const escaped = (text) => text.replace(/\s+/g, " ").replace(/[!-+./:-@[-`{-~]/g, "\\$&");

/** The path on show as Markdown: questions and answers stand as they were written. */
export function asMarkdown(conversation, path) {
  const parts = [`# ${escaped(conversation.title)}`];
  for (const turn of path) {
    parts.push("## Asked", fenced(turn.question), "## Answered", turn.answer ? fenced(turn.answer) : "*No answer.*");
    const told = [escaped(turn.served || turn.model), new Date(turn.at).toISOString(), turn.run ? `run ${escaped(turn.run)}` : "no run"];
    parts.push(told.join(", "));
  }
  return `${parts.join("\n\n")}\n`;
}

/** Hand a text to the browser as a file. */
export function save(text, name, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** A title as the name of a file. */
export const fileName = (title, ending) => `${title.normalize("NFKD").replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-+|-+$/g, "").slice(0, 60) || "conversation"}.${ending}`;
