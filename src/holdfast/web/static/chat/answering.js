/* One turn on the wire: asks the panel, reads the answer as it comes, and takes of it only what may be shown as bound.

   Which that is, a witness says (witness.js): text, model and end of an answer count once a mark that holds covers them, and what
   comes after the last good one is dropped. */

import { PaymentNeeded, parseRequired } from "../pay/x402.js";
import { urlsOf } from "../picture.js";
import { events, refusal, token } from "../stream.js";
import { Refusal } from "../verify/answers.js";
import { hex } from "../verify/bytes.js";
import { gatewayKey } from "../verify/gateway_key.js";
import { heard } from "./attached.js";
import { checkClosing } from "./closing.js";
import { asHeader, routeOf } from "./routes.js";
import { Witness } from "./witness.js";

/* What came since the last mark that held: not shown, not kept, not sent on. */
class Window {
  #text = "";
  #images = [];
  #served = "";
  #ended = false;

  get length() {
    return this.#text.length;
  }

  add(frame) {
    if (typeof frame.model === "string") this.#served = frame.model;
    for (const choice of frame.choices ?? []) {
      if ((choice.index ?? 0) !== 0) continue;
      this.#text += choice.delta?.content ?? "";
      if (choice.delta?.images) this.#images.push(...urlsOf(choice.delta.images));
      this.#ended ||= Boolean(choice.finish_reason);
    }
  }

  /** A mark holds: all of it is the turn's. */
  into(turn) {
    turn.answer += this.#text;
    if (this.#images.length) (turn.images ??= []).push(...this.#images);
    turn.served ||= this.#served;
    if (this.#ended) turn.outcome = "complete";
    this.#text = "";
    this.#images = [];
  }
}

/** Take the text of one event into a turn; whether anything that is shown moved. Rejects where a mark does not hold. */
async function take(turn, text, window, witness) {
  const frame = JSON.parse(text);
  if (frame.error) throw frame.error;
  const held = await witness.take(text);
  window.add(frame);
  heard(turn, frame.holdfast);
  turn.route = routeOf(frame) ?? turn.route;
  turn.waiting = window.length;
  if (!held) return false;
  window.into(turn);
  turn.bound = turn.answer.length;
  turn.waiting = 0;
  turn.marks = witness.marks;
  return true;
}

/* What the gateway says of how an answer is paid, in a few words. */
const PAID = {
  credit: () => "from credit",
  authorised: (amount) => (amount ? `signed ${amount}` : "signed before"),
};

/* What a payment for several turns is known by at the gateway, while it lasts. */
let session = null;

const STOPPED = "What is shown was bound by the marks before it. Nothing after it is shown, kept or sent on";

/* A refusal of the verifier as the page's other errors are told; what broke the connection is left as it is. */
const shaped = (error) => (typeof error.code === "string" ? { code: error.code, message: error.message, hint: error.hint || STOPPED } : error);

/* What an end that was none comes to: only what the verifier refused is a no. */
const broken = (error) => (error instanceof Refusal ? { answer: "no", says: error.message } : { answer: "cannot_tell", says: "It ended before the closing statements, so the whole turn is not checked" });

/** Ask and follow one turn to its end. `moved()` hears of every change. `payment` is a signed payment or nothing,
    `memory` whose rows go along, with their key, `route` the conversation's policy; `path` seals the question, and of these the policy alone goes along; where a payment is asked for, raises `PaymentNeeded`. Raises the panel's error, or what
    broke the connection, or why what came does not hold; a gateway whose answers could not be checked is asked nothing. */
export async function answer(turn, messages, { signal, moved, payment = null, memory = null, route = null, path = null }) {
  const gateway = await gatewayKey();
  const nonce = hex(crypto.getRandomValues(new Uint8Array(24)));
  const response = path ? await path.send(turn, messages, { signal, route, nonce }) : await send(turn, messages, { signal, payment, memory, route, nonce });
  turn.run = response.headers.get("x-holdfast-run") ?? turn.run;
  turn.paid = PAID[response.headers.get("x-holdfast-payment")]?.(turn.paid) ?? turn.paid;
  moved();
  const required = response.headers.get("payment-required");
  if (response.status === 402 && required) throw new PaymentNeeded(parseRequired(required), await refusal(response));
  if (!response.ok) throw await refusal(response);
  const witness = new Witness(gateway, turn.run, response.headers.get("x-holdfast-capability"));
  turn.checked = [];
  try {
    await follow(turn, response.body, witness, { moved, path });
    turn.checked = [marked(witness), ...(await checkClosing(witness, { model: turn.model, messages, memory: memory?.user, nonce, told: turn.route }, path?.bundle))];
  } catch (error) {
    turn.waiting = 0;
    if (error instanceof Refusal) turn.route = null; // what it told of its way is bound by nothing any more
    turn.checked = [marked(witness), broken(error)];
    throw shaped(error);
  }
}

async function follow(turn, body, witness, { moved, path }) {
  const window = new Window();
  for await (const data of events(body)) {
    if (data === "[DONE]") continue;
    await take(turn, data, window, witness);
    path?.heard(JSON.parse(data));
    moved();
  }
  if (turn.outcome !== "complete") throw { code: "page.incomplete", message: "The answer ended in the middle" };
  witness.end();
}

function marked({ marks, gateway }) {
  const count = marks === 1 ? "One mark" : `${marks} marks`;
  return { answer: marks ? "yes" : "cannot_tell", says: `${count} held, each over the bytes as they came, signed by key ${gateway.key.id.slice(0, 12)}: ${gateway.says}` };
}

async function send(turn, messages, { signal, payment, memory, route, nonce }) {
  const asked = session;
  const response = await fetch("/ask", {
    method: "POST",
    headers: {
      "content-type": "application/json",
      "x-holdfast-token": token(),
      "x-holdfast-nonce": nonce,
      ...(payment ? { "payment-signature": payment } : {}),
      ...(memory ? { "x-holdfast-memory-key": memory.key } : {}),
      ...(route ? { "x-holdfast-route": asHeader(route) } : {}),
      ...(asked && !payment ? { "x-upto-session": asked } : {}),
    },
    body: JSON.stringify({ model: turn.model, messages, ...(memory ? { memory: memory.user } : {}) }),
    signal,
  });
  session = response.headers.get("x-upto-session") ?? (response.status === 402 ? null : session);
  if (response.status !== 402 || !asked || payment) return response;
  return send(turn, messages, { signal, payment: null, memory, route, nonce }); // that payment is used up
}
