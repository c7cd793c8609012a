/* The private path of a page: questions are sealed here to the gateway's keys, and go through the panel to a relay.

   The panel and the relay see ciphertext, sizes and times; the panel also sees who is signed in. The gateway sees the text and the
   relay. There is no way back to a direct question (ohttp.md §1(3)): what does not come sealed is an error. */

import { Refusal, Rejected } from "../verify/answers.js";
import { hex, text, utf8 } from "../verify/bytes.js";
import { parse } from "../verify/json.js";
import { panelTrust } from "../verify/panel.js";
import { token } from "../stream.js";
import { readResponse, writeRequest } from "./bhttp.js";
import { AES_128_GCM, drawPair } from "./hpke.js";
import { CHUNKED_RESPONSE, encapsulate, openChunks, openWhole, REQUEST, RESPONSE } from "./ohttp.js";
import { checkKeysProof, readShown } from "./proof.js";
import { usual, vouched } from "./vouching.js";

const RECHECK_MS = 600_000;
const problem = (code, message, hint) => ({ code, message, hint });

export class PrivatePath {
  #checked = null;

  /** `required` says what has to vouch for the keys (vouching.js); null leaves it to trust. */
  constructor(required = null) {
    this.required = required;
  }

  /** What was checked before anything is sealed, as lines; again after ten minutes (client.md §1(3)). Raises a problem of `code`, `message` and `hint`. */
  async check() {
    if (!globalThis.crypto?.subtle) throw problem("private.browser", "This page came without TLS, and the browser gives such pages no cryptography", "Open it over https:// or on the same machine");
    if (this.#checked && Date.now() - this.#checked.at < RECHECK_MS) return this.#checked.says;
    const { trust, refusal } = await panelTrust();
    if (!trust) throw problem(refusal?.code ?? "private.trust", refusal?.message ?? "This panel shows no trust, so nobody can say whose keys these are", "Ask its operator, or use holdfast chat --private");
    const response = await fetch("/private/keys.json");
    if (!response.ok) throw (await refused(response)) ?? problem("private.relay", "The relay does not show the gateway's keys", "Try again later");
    const bytes = new Uint8Array(await response.arrayBuffer());
    const found = await shaped(() => checkKeysProof(bytes, trust, Date.now()));
    const configuration = found.configurations.find((one) => one.suites.includes(AES_128_GCM));
    if (!configuration) throw problem("private.suite", "The gateway offers no suite that a browser has", "Use holdfast chat --private");
    const says = [...found.says, ...(await shaped(() => this.#vouched(found, configuration)))];
    this.#checked = { at: Date.now(), configuration, says };
    return says;
  }

  /* What vouches for proven keys, and that whoever opens what is sealed to them is the node of the proof (client.md §4(2), §4(3)). */
  async #vouched(keys, configuration) {
    const inside = async (path) => {
      const answer = await this.#send(configuration, "GET", path, {});
      return answer.ok ? parse(new Uint8Array(await answer.arrayBuffer())) : null;
    };
    const identity = await inside("/v1/identity");
    if (identity?.node !== keys.document.id) throw new Rejected("identity.ohttp", "Another node than that of the proof opens what is sealed to these keys");
    return vouched(keys, this.required ?? usual(keys.trust), async (nonce) => {
      const made = await inside(`/v1/attestation?nonce=${hex(nonce)}`);
      return made && readShown({ format: made.format, evidence: made.evidence });
    });
  }

  /** Ask the gateway: gives its answer as `fetch` would, with `status`, `headers` and `body`. */
  async ask(method, path, options = {}) {
    await this.check();
    return this.#send(this.#checked.configuration, method, path, options);
  }

  async #send(configuration, method, path, { fields = [], content = new Uint8Array(0), signal = undefined, stream = false }) {
    const dated = [...fields, ["date", new Date().toUTCString()]];
    const message = writeRequest({ method, scheme: "https", authority: "gateway", path, fields: dated, content });
    const { bytes, context } = await encapsulate(configuration, await drawPair(), message);
    const response = await fetch("/private/ohttp", {
      method: "POST",
      headers: { "content-type": REQUEST, accept: stream ? CHUNKED_RESPONSE : RESPONSE, "x-holdfast-token": token(), ...(stream ? { "x-ohttp-stream": "true" } : {}) },
      body: bytes,
      signal,
    });
    const kind = (response.headers.get("content-type") ?? "").split(";", 1)[0];
    if (response.status !== 200 || ![RESPONSE, CHUNKED_RESPONSE].includes(kind)) throw await this.#notSealed(response);
    const opened = kind === RESPONSE ? whole(context, response) : openChunks(context, pieces(response.body));
    const answer = await readResponse(opened);
    return answerOf(answer);
  }

  /* The relay's or the panel's word, never the gateway's (ohttp.md §8). */
  async #notSealed(response) {
    this.#checked = null;
    const said = await refused(response);
    return problem(said?.code ?? "private.refused", `It was not answered by the gateway: ${said?.message ?? `status ${response.status}`}`, "Nothing was asked in the clear. Try again, or ask without the private path");
  }
}

async function* whole(context, response) {
  yield openWhole(context, new Uint8Array(await response.arrayBuffer()));
}

async function* pieces(stream) {
  const reader = stream.getReader();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    yield value;
  }
}

function answerOf(answer) {
  const source = answer.pieces();
  const body = new ReadableStream({
    async pull(control) {
      try {
        const { value, done } = await source.next();
        if (done) control.close();
        else control.enqueue(value);
      } catch (error) {
        control.error(error instanceof Refusal ? problem(error.code, error.message, "What was marked until then stays bound; the rest is not") : error);
      }
    },
  });
  const whole = new Response(body, { status: answer.status, headers: answer.fields.filter(([name]) => name !== "content-length") });
  return whole;
}

async function refused(response) {
  const { error } = await response.json().catch(() => ({}));
  return error?.code ? error : null;
}

async function shaped(check) {
  try {
    return await check();
  } catch (error) {
    if (error instanceof Refusal) throw problem(error.code ?? "private.keys", error.message, "Nothing was asked");
    throw error;
  }
}

/** JSON of an answer's body. */
export const json = async (response) => JSON.parse(text(new Uint8Array(await response.arrayBuffer())));
export const body = (value) => utf8(JSON.stringify(value));
