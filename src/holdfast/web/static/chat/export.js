/* One conversation as a file: JSON with every turn, also those beside the path on show, or Markdown of that path. What
   opens a run's parts is in it only where this browser has it and its reader ticked so. */

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

const quoted = (text) => text.split("\n").map((line) => `> ${line}`).join("\n");

/** The path on show as Markdown: questions are quoted, answers stand as they were written. */
export function asMarkdown(conversation, path) {
  const parts = [`# ${conversation.title.replace(/\s+/g, " ")}`];
  for (const turn of path) {
    parts.push(quoted(turn.question), turn.answer || "*No answer.*");
    const told = [turn.served || turn.model, new Date(turn.at).toISOString(), turn.run ? `run ${turn.run}` : "no run"];
    parts.push(`*${told.join(", ")}*`);
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
