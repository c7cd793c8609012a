/* Answers lines of JSON, `{"proof","trust","at"}` (base64 and milliseconds), with what the page's check of keys comes to; with `required`,
   `nonce` (hex) and `made` (what the gateway shows for it, or null) also with what vouches for them. */

import { createInterface } from "node:readline";

import { checkKeysProof, readShown } from "../../../src/holdfast/web/static/seal/proof.js";
import { usual, vouched } from "../../../src/holdfast/web/static/seal/vouching.js";
import { Refusal } from "../../../src/holdfast/web/static/verify/answers.js";
import { hex, unbase64, unhex } from "../../../src/holdfast/web/static/verify/bytes.js";
import { readTrust } from "../../../src/holdfast/web/static/verify/trust.js";

async function vouching(found, { required, nonce, made }) {
  if (required === undefined) return [];
  return vouched(found, required ?? usual(found.trust), async () => readShown(made), unhex(nonce));
}

async function told(line) {
  try {
    const found = checkKeysProof(unbase64(line.proof), readTrust(unbase64(line.trust)), line.at);
    const vouches = await vouching(found, line);
    return { document: found.document.id, keys: found.configurations.map((one) => hex(one.bytes)), says: [...found.says, ...vouches] };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return { refused: error.code ?? "undecided" };
  }
}

for await (const line of createInterface({ input: process.stdin })) console.log(JSON.stringify(await told(JSON.parse(line))));
