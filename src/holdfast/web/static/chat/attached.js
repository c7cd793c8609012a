/* What a turn has of files: as a message brings them, and as a frame tells of them. No page is touched. */

/** A question as a message has it: a text, or a text and its files. */
export const content = (question, files) =>
  files?.length ? [{ type: "text", text: question }, ...files.map(({ name, data }) => ({ type: "file", file: { filename: name, file_data: data } }))] : question;

/** Take what a frame says of files into its turn. */
export function heard(turn, holdfast) {
  if (!holdfast?.files) return;
  turn.read = holdfast.files;
  turn.quotes = holdfast.quotes ?? [];
}
