/* One turn on the wire: asks the panel, reads the answer as it comes, and says what of it may be shown as bound.

   `Answer` folds frames into a text. How much of it is bound is for a witness to say: `CountedMarks` believes each mark
   and checks none; whoever checks marks in the page is another witness with the same two methods. */

import { PaymentNeeded, parseRequired } from "../pay/x402.js";
import { urlsOf } from "../picture.js";
import { events, refusal, token } from "../stream.js";
import { heard } from "./attached.js";

/** Counts marks: everything before one is taken to be bound by it. */
export class CountedMarks {
  marks = 0;

  /** How many characters are bound after this frame, of an answer of `length` so far; `was` before it. */
  take(frame, length, was) {
    if (!frame.holdfast?.mark) return was;
    this.marks += 1;
    return length;
  }

  /** The same at the end of an answer that is complete. */
  end(length, was) {
    return this.marks ? length : was;
  }
}

/** Take one frame of a stream into a turn; whether its text or what is bound of it moved. */
export function fold(turn, frame, witness) {
  if (frame.error) throw frame.error;
  turn.run ??= frame.holdfast?.run ?? null;
  heard(turn, frame.holdfast);
  turn.served ||= typeof frame.model === "string" ? frame.model : "";
  const before = turn.answer.length + turn.bound;
  for (const choice of frame.choices ?? []) {
    if (choice.index === 0 && choice.delta?.content) turn.answer += choice.delta.content;
    if (choice.index === 0 && choice.delta?.images) (turn.images ??= []).push(...urlsOf(choice.delta.images));
    if (choice.finish_reason) turn.outcome = "complete";
  }
  turn.bound = witness.take(frame, turn.answer.length, turn.bound);
  turn.marks = witness.marks;
  return turn.answer.length + turn.bound !== before;
}

/* What the gateway says of how an answer is paid, in a few words. */
const PAID = {
  credit: () => "from credit",
  authorised: (amount) => (amount ? `signed ${amount}` : "signed before"),
};

/* What a payment for several turns is known by at the gateway, while it lasts. */
let session = null;

/** Ask and follow one turn to its end. `moved()` hears of every change. `payment` is a signed payment or nothing,
    `memory` whose rows go along, with their key; `path` seals the question and then neither of them goes along; where a payment is asked for, raises `PaymentNeeded`. Raises the panel's error, or what broke the connection. */
export async function answer(turn, messages, { signal, moved, payment = null, memory = null, path = null, witness = new CountedMarks() }) {
  const response = path ? await path.send(turn, messages, signal) : await send(turn, messages, { signal, payment, memory });
  turn.run = response.headers.get("x-holdfast-run") ?? turn.run;
  turn.paid = PAID[response.headers.get("x-holdfast-payment")]?.(turn.paid) ?? turn.paid;
  moved();
  const required = response.headers.get("payment-required");
  if (response.status === 402 && required) throw new PaymentNeeded(parseRequired(required), await refusal(response));
  if (!response.ok) throw await refusal(response);
  for await (const data of events(response.body)) {
    if (data === "[DONE]") continue;
    const frame = JSON.parse(data);
    path?.heard(frame);
    fold(turn, frame, witness);
    moved();
  }
  if (turn.outcome === "complete") turn.bound = witness.end(turn.answer.length, turn.bound);
  else throw { code: "page.incomplete", message: "The answer ended in the middle", hint: "What was marked until then stays bound; the rest is not" };
}

async function send(turn, messages, { signal, payment, memory }) {
  const asked = session;
  const response = await fetch("/ask", {
    method: "POST",
    headers: {
      "content-type": "application/json",
      "x-holdfast-token": token(),
      ...(payment ? { "payment-signature": payment } : {}),
      ...(memory ? { "x-holdfast-memory-key": memory.key } : {}),
      ...(asked && !payment ? { "x-upto-session": asked } : {}),
    },
    body: JSON.stringify({ model: turn.model, messages, ...(memory ? { memory: memory.user } : {}) }),
    signal,
  });
  session = response.headers.get("x-upto-session") ?? (response.status === 402 ? null : session);
  if (response.status !== 402 || !asked || payment) return response;
  return send(turn, messages, { signal, payment: null, memory }); // that payment is used up
}
