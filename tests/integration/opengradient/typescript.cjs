// What OpenGradient's TypeScript SDK does, with what Node.js brings: it asks the registry's ten-field list, believes
// the certificate in it and no other, and posts to the gateway there. Reads one JSON object from standard input (rpc,
// registry, model, token) and prints one.
"use strict";
const https = require("node:https");

const wanted = JSON.parse(require("node:fs").readFileSync(0, "utf-8"));

async function gateways() {
  const call = { to: wanted.registry, data: "0x4b6014da" + "0".repeat(64) };
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "eth_call", params: [call, "latest"] });
  const answer = await fetch(wanted.rpc, { method: "POST", headers: { "content-type": "application/json" }, body });
  const data = Buffer.from((await answer.json()).result.slice(2), "hex");
  const number = (at) => Number(data.readBigUInt64BE(at + 24));
  const list = number(0) + 32;
  return Array.from({ length: number(list - 32) }, (_, index) => {
    const row = list + number(list + 32 * index);
    const bytes = (place) => {
      const at = row + number(row + 32 * place);
      return data.subarray(at + 32, at + 32 + number(at));
    };
    return { endpoint: bytes(2).toString(), certificate: bytes(4), enabled: number(row + 32 * 7) === 1 };
  });
}

function post(gateway, path, body) {
  const pem = gateway.certificate.toString("base64").match(/.{1,64}/g).join("\n");
  const options = {
    method: "POST",
    ca: `-----BEGIN CERTIFICATE-----\n${pem}\n-----END CERTIFICATE-----\n`,
    checkServerIdentity: () => undefined,
    headers: {
      "content-type": "application/json",
      authorization: `Bearer ${wanted.token}`,
      "X-SETTLEMENT-TYPE": "batch",
    },
  };
  return new Promise((resolve, reject) => {
    const request = https.request(gateway.endpoint + path, options, (answer) => {
      let text = "";
      answer.setEncoding("utf-8").on("data", (piece) => (text += piece));
      answer.on("end", () => resolve({ status: answer.statusCode, text }));
    });
    request.on("error", reject).end(JSON.stringify(body));
  });
}

(async () => {
  const [gateway] = await gateways();
  const ask = { model: wanted.model, messages: [{ role: "user", content: "What is a lane?" }], max_tokens: 100 };
  const whole = JSON.parse((await post(gateway, "/v1/chat/completions", { ...ask, temperature: 0 })).text);
  const lines = (await post(gateway, "/v1/chat/completions", { ...ask, stream: true })).text.split("\n");
  const frames = lines.filter((line) => line.startsWith("data: ") && line !== "data: [DONE]");
  const streamed = frames.map((line) => JSON.parse(line.slice(6)));
  const old = { model: wanted.model, prompt: "A lane is", max_tokens: 20, temperature: 0 };
  const completed = JSON.parse((await post(gateway, "/v1/completions", old)).text);
  console.log(
    JSON.stringify({
      endpoint: gateway.endpoint,
      enabled: gateway.enabled,
      message: whole.choices[0].message,
      signed: "tee_signature" in whole,
      text: streamed.map((frame) => frame.choices[0]?.delta.content ?? "").join(""),
      final: streamed.at(-1).choices[0].finish_reason,
      completion: completed.completion,
    }),
  );
})();
