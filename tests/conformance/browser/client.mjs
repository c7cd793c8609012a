/* The conformance client of the pages' verifier, under Node.js: `node client.mjs COMMAND …` as PROTOCOL.md says. With
   `--cases` it reads cases as lines of JSON, `{"folder","run"}` or `{"run","files"}` with the files in base64, and answers each with a
   line, so that many need one process. */

import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { createInterface } from "node:readline";

import { Usage, run } from "./commands.mjs";

const EXITS = { accept: 0, malformed: 1, reject: 1, usage: 2, undecided: 3 };

const reader = (folder) => (name) => {
  try {
    return new Uint8Array(readFileSync(resolve(folder, name)));
  } catch {
    throw new Usage("no such file");
  }
};

const given = (files) => (name) => new Uint8Array(Buffer.from(files[name], "base64"));

if (process.argv[2] === "--cases") {
  for await (const line of createInterface({ input: process.stdin })) {
    const { folder, run: words, files } = JSON.parse(line);
    console.log(JSON.stringify(await run(words, files ? given(files) : reader(folder))));
  }
} else {
  const answer = await run(process.argv.slice(2), reader("."));
  console.log(JSON.stringify(answer));
  process.exitCode = EXITS[answer.verdict];
}
