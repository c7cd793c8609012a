/* Asking the panel from a page: the session's token, the events of an answer as they come, and why there is none. */

export const token = () => document.querySelector('meta[name="holdfast-token"]').content;

/** The data of each server-sent event of a streamed body, in order. */
export async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const pieces = (rest + value).split(/\r?\n\r?\n/);
      rest = pieces.pop();
      for (const piece of pieces) {
        const data = piece
          .split(/\r?\n/)
          .filter((line) => line.startsWith("data:"))
          .map((line) => line.slice(5).trimStart());
        if (data.length) yield data.join("\n");
      }
    }
  } finally {
    reader.cancel().catch(() => {}); // whoever stops listening wants no more of it
  }
}

/** The error of an answer that is none, in the one error shape. */
export async function refusal(response) {
  const { error } = (await response.json().catch(() => null)) ?? {};
  if (typeof error?.message === "string") return error;
  return { code: "page.status", message: `The panel answered with status ${response.status}`, hint: "" };
}
