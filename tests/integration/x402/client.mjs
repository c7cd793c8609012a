// The TypeScript client of x402's authors as its users call it. Reads the same JSON object as client.py, and prints one.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const wanted = JSON.parse(readFileSync(0, "utf8"));
const require = createRequire(pathToFileURL(`${wanted.modules}/`));
const { wrapFetchWithPayment, x402Client } = require("@x402/fetch");
const { ExactEvmScheme } = require("@x402/evm/exact/client");
const { UptoEvmScheme } = require("@x402/evm/upto/client");
const { toClientEvmSigner } = require("@x402/evm");
const { createPublicClient, http } = require("viem");
const { privateKeyToAccount } = require("viem/accounts");

const account = privateKeyToAccount(wanted.key);
const chain = createPublicClient({ transport: http(wanted.rpc) });
const question = { model: wanted.model, messages: [{ role: "user", content: "What is a lane?" }], max_tokens: 64 };
const told = ["x-holdfast-run", "x-holdfast-capability", "x-holdfast-payment", "x-upto-session", "payment-response"];

function paying(Scheme) {
  const client = new x402Client().register(wanted.network, new Scheme(toClientEvmSigner(account, chain), { rpcUrl: wanted.rpc }));
  client.setSpendControls?.({ allowedAssets: [{ network: wanted.network, asset: wanted.token }], maxAmountPerPayment: false });
  return wrapFetchWithPayment(fetch, client);
}

async function ask(Scheme, more) {
  const answer = await paying(Scheme)(`${wanted.gateway}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ ...question, ...more }),
  });
  const found = { status: answer.status, ...Object.fromEntries(told.map((name) => [name, answer.headers.get(name)])) };
  if (!more.stream) {
    const body = await answer.json();
    return { ...found, text: body.choices?.[0].message.content, refused: body.error?.code, usage: body.usage };
  }
  let [rest, text, pieces] = ["", "", 0];
  for await (const chunk of answer.body.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop();
    for (const line of lines.filter((line) => line.startsWith("data: {"))) {
      pieces += 1;
      for (const choice of JSON.parse(line.slice(6)).choices) text += choice.delta.content ?? "";
    }
  }
  return { ...found, text, pieces };
}

const calls = {
  exact: () => ask(ExactEvmScheme, {}),
  exact_streamed: () => ask(ExactEvmScheme, { stream: true }),
  upto: () => ask(UptoEvmScheme, {}),
  upto_streamed: () => ask(UptoEvmScheme, { stream: true }),
};
const found = {};
for (const name of wanted.calls) {
  try {
    found[name] = await calls[name]();
  } catch (error) {
    found[name] = { error: error.constructor.name, message: String(error.message) };
  }
}
console.log(JSON.stringify(found));
