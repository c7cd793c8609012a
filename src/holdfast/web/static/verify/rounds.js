/* Rounds (round.md): candidates, verdicts, votes and finality messages. */

import { Malformed, Rejected, Undecided } from "./answers.js";
import { bytesOf, concat, equal, hex, hexText, text, u64, unhex, utf8 } from "./bytes.js";
import { evmSigner, isEVMSignature } from "./curves.js";
import { keccak256, sha256 } from "./hashes.js";
import { exactly } from "./json.js";
import { hashes, leafHash, leads, root } from "./merkle.js";
import { isCode } from "./statements.js";

const LARGEST_BLOB = 16_777_216;
const CANDIDATE = ["origin", "epoch", "number", "attempt", "previous", "size", "root", "verdict_root", "blob_id"];
const FINALITY = ["origin", "epoch", "number", "content", "signature"];
const VOTE = ["origin", "epoch", "number", "attempt", "content", "signature"];
const LEAST = { epoch: 1, number: 1, attempt: 0, size: 0 };

const refuse = (code, says) => {
  throw new Malformed(code, says);
};

export const isOrigin = (value) => typeof value === "string" && /^[!-~]{1,255}$/.test(value) && !value.includes("+");

/* Members that candidates, votes and finality messages share, each of its form. */
function readMembers(value, names) {
  exactly(value, names, "round.fields");
  if (!isOrigin(value.origin)) refuse("round.origin", "an origin is printable ASCII without space and plus");
  for (const name of names) {
    if (name in LEAST) {
      const most = name === "attempt" ? 2 ** 32 - 1 : Number.MAX_SAFE_INTEGER;
      if (!Number.isSafeInteger(value[name]) || value[name] < LEAST[name] || value[name] > most) refuse("round.fields", `${name} is an integer from ${LEAST[name]}`);
    } else if (name !== "origin" && name !== "signature") hexText(value[name]);
  }
  return { ...value };
}

/** A candidate (§2) of plain JSON, with its `content` digest in hex. */
export function readCandidate(value) {
  const round = readMembers(value, CANDIDATE);
  const hash = (name) => unhex(round[name], 32);
  const content = sha256(utf8("urn:holdfast:round-content:v1"), Uint8Array.of(0), hash("previous"), u64(round.size), hash("root"), hash("verdict_root"), hash("blob_id"));
  return { ...round, content: hex(content) };
}

function readSigned(value, names) {
  const message = readMembers(value, names);
  message.signature = unhex(value.signature, 65);
  if (!isEVMSignature(message.signature)) refuse("evm.signature", "not a signature r, s, v with a low s");
  return message;
}

export const readFinality = (value) => readSigned(value, FINALITY);
export const readVote = (value) => readSigned(value, VOTE);

/* --- EIP-712 (§4) --- */

const word = (value) => bytesOf(BigInt(value), 32);
const typeHash = (type) => keccak256(utf8(type));
const TYPES = {
  Vote: "Vote(string origin,uint64 epoch,uint64 number,uint32 attempt,bytes32 content)",
  Finality: "Finality(string origin,uint64 epoch,uint64 number,bytes32 content)",
};

function domain(chain) {
  const type = typeHash("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
  const contract = concat(new Uint8Array(12), unhex(chain.contract.slice(2), 20));
  return keccak256(type, keccak256(utf8("Holdfast Rounds")), keccak256(utf8("1")), word(chain.chainId), contract);
}

/** The address (`0x` and hex) that signed a vote or a finality message for a chain, or null. */
export function signerOf(message, chain) {
  const name = "attempt" in message ? "Vote" : "Finality";
  const attempt = name === "Vote" ? [word(message.attempt)] : [];
  const struct = keccak256(typeHash(TYPES[name]), keccak256(utf8(message.origin)), word(message.epoch), word(message.number), ...attempt, unhex(message.content, 32));
  const found = evmSigner(keccak256(Uint8Array.of(0x19, 0x01), domain(chain), struct), message.signature);
  return found && `0x${hex(found)}`;
}

/** The member of an epoch who signed; else refused. `members` are `{node, stake, address, counts}`. */
export function memberOf(message, chain, members) {
  const signer = signerOf(message, chain);
  const member = signer && members.find((candidate) => candidate.address === signer);
  if (!member) throw new Rejected("round.signer", "not signed by a full node of this epoch");
  return { ...member, signer };
}

/** More than two thirds (§3(5)). */
export const isQuorum = (stake, total) => 3n * BigInt(stake) > 2n * BigInt(total);

/** §4.3: what messages come to, given a candidate and the number of the epoch it should be of. `{content, stakeFor, stakeTotal, nodes}`, or it is undecided. */
export function checkFinality(round, messages, chain, members, epoch) {
  const about = (message) => ["origin", "epoch", "number", "content"].every((name) => message[name] === round[name]);
  if (!messages.every(about)) throw new Rejected("round.mixed", "the messages are about another content");
  const nodes = new Map();
  for (const message of messages) {
    const member = memberOf(message, chain, members);
    if (member.counts) nodes.set(member.node, member.stake);
  }
  if (round.epoch !== epoch) throw new Rejected("trust.epoch", "the round is of another epoch than its number");
  const sum = (stakes) => stakes.reduce((total, stake) => total + stake, 0);
  const [stakeFor, stakeTotal] = [sum([...nodes.values()]), sum(members.map((member) => member.stake))];
  const found = { content: round.content, stakeFor, stakeTotal, nodes: [...nodes.keys()].sort() };
  if (!isQuorum(stakeFor, stakeTotal)) throw new Undecided("round.quorum", `${stakeFor} of ${stakeTotal} of the stake`);
  return found;
}

/* --- verdicts (§5) --- */

export const isVerdict = (value) =>
  typeof value === "string" && value.length <= 64 && (value === "ok" || value === "cannot_tell" || (value.startsWith("refuted:") && isCode(value.slice(8))));

const verdictLeaf = ({ index, digest, code }) => leafHash(concat(u64(index), unhex(digest, 32), utf8(code)));

/** A verdict with its path (bundle.md §2, without number), in its form. */
export function readVerdict(value) {
  if (!["index", "position", "size"].every((name) => Number.isSafeInteger(value[name]) && value[name] >= 0)) refuse("round.fields", "index, position and size are integers");
  hexText(value.digest);
  if (!isVerdict(value.code)) refuse("round.verdict_code", "a verdict is ok, cannot_tell or refuted:<reason>");
  return value;
}

/** Refuses a verdict that is not under a verdict root (§5.1). */
export function checkVerdict(verdict, verdictRoot) {
  const path = hashes(verdict.proof, "round.verdict_inclusion");
  if (!leads(verdictLeaf(verdict), verdict.position, verdict.size, path, unhex(verdictRoot, 32))) throw new Rejected("round.verdict_inclusion", "the verdict is not under this verdict root");
}

/** The verdicts of a blob (§5.2). */
export function readBlob(bytes) {
  if (bytes.length > LARGEST_BLOB) refuse("round.blob", "a verdict blob has at most 16 MiB");
  const lines = text(bytes, "round.blob").split("\n");
  if (lines.pop() !== "") refuse("round.blob", "every line ends in a newline");
  const verdicts = lines.map((line) => {
    const cut = /^(0|[1-9][0-9]{0,15}) ([0-9a-f]{64}) ([a-z0-9:._-]+)$/.exec(line);
    if (cut === null) refuse("round.blob", "a line is index, digest and code");
    return readVerdict({ index: Number(cut[1]), digest: cut[2], code: cut[3], position: 0, size: 0 });
  });
  if (verdicts.some((verdict, at) => at && verdicts[at - 1].index >= verdict.index)) refuse("round.verdict_order", "verdicts are in strictly increasing log order");
  return verdicts;
}

/** Refuses a candidate whose blob is not its own, or says too little or too much (§2, §5, §1(3)). */
export function checkCandidate(round, blob, previousSize) {
  if (hex(sha256(blob)) !== round.blob_id) throw new Rejected("round.blob_id", "another blob");
  const verdicts = readBlob(blob);
  if (!equal(root(verdicts.map(verdictLeaf)), unhex(round.verdict_root, 32))) throw new Rejected("round.verdict_root", "the verdicts do not hash to the verdict root");
  const added = verdicts.filter((verdict) => verdict.index >= previousSize);
  const whole = round.size >= previousSize && added.length === round.size - previousSize && added.every((verdict, at) => verdict.index === previousSize + at);
  if (!whole || !verdicts.length) throw new Rejected("round.coverage", "a round has exactly one verdict for each entry it covers");
}

/** Whether two messages of one signer are an offence (§7). */
export function isOffence(first, second) {
  const same = (...names) => names.every((name) => first[name] === second[name]);
  if ("attempt" in first) return same("origin", "epoch", "number", "attempt") && first.content !== second.content;
  return same("origin", "number") && (first.epoch !== second.epoch || first.content !== second.content);
}
