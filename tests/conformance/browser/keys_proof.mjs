/* Answers lines of JSON, `{"proof","trust","at"}` (base64 and milliseconds), with what the page's check of keys comes to. */

import { createInterface } from "node:readline";

import { checkKeysProof } from "../../../src/holdfast/web/static/seal/proof.js";
import { Refusal } from "../../../src/holdfast/web/static/verify/answers.js";
import { hex, unbase64 } from "../../../src/holdfast/web/static/verify/bytes.js";
import { readTrust } from "../../../src/holdfast/web/static/verify/trust.js";

function told({ proof, trust, at }) {
  try {
    const found = checkKeysProof(unbase64(proof), readTrust(unbase64(trust)), at);
    return { document: found.document.id, keys: found.configurations.map((one) => hex(one.bytes)), says: found.says };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return { refused: error.code ?? "undecided" };
  }
}

for await (const line of createInterface({ input: process.stdin })) console.log(JSON.stringify(told(JSON.parse(line))));
