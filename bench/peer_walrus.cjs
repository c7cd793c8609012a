// Walrus' own WebAssembly: reads "SHARDS FILE" lines, answers each with one line of JSON: the id, and milliseconds of processor time.
"use strict";
const { readFileSync } = require("fs");
const { BlobEncoder } = require(`${process.argv[2]}/@mysten/walrus-wasm`);

for (const line of readFileSync(0, "utf8").trim().split("\n")) {
  const [shards, file, runs] = line.split(" ");
  const data = new Uint8Array(readFileSync(file));
  let best = Infinity;
  let id = "";
  for (let run = 0; run < Number(runs); run += 1) {
    const encoder = new BlobEncoder(Number(shards));
    const began = process.cpuUsage();
    id = Buffer.from(encoder.compute_metadata(data)[0]).toString("base64url");
    const used = process.cpuUsage(began);
    best = Math.min(best, (used.user + used.system) / 1000);
    encoder.free();
  }
  console.log(JSON.stringify({ id, ms: best }));
}
