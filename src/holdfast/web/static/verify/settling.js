/* How far a run's statements have settled (bundle.md §3, round.md, checkpoint.md): which trees hold them, since when a
   quorum says so, and what final rounds say of them. What is about a payment, a decision, a label or a proof goes to the lane of that. */

import { equal, unhex } from "./bytes.js";
import { leafHash, leads } from "./merkle.js";
import { checkCheckpoint, readCheckpoint, readNote } from "./notes.js";
import { checkFinality, checkVerdict } from "./rounds.js";
import { opens } from "./statements.js";
import { admits } from "./trust.js";

const LANE = ["settlement"];

export class Settling {
  /** Trees that are believed: `{size, root, origin, quorumAt, final}`; of a final round `quorumAt` is null. */
  trees = [];
  /** By number: final rounds, and all that were proposed. */
  finals = new Map();
  /** By statement digest: `{index, at, final}` of inclusions that hold (`at` when a quorum had cosigned, or null). */
  included = new Map();
  /** By statement digest: what the newest final round says of it, `{number, code, digest}`. */
  verdicts = new Map();
  /** By statement digest: the commitment that stands for it in the log. */
  committed = new Map();

  /** `settles(statement)` names the lanes that a check of its place in a log is about, none where it is of no lane. */
  constructor(journal, statements, { trust, at, transcript, settles }) {
    Object.assign(this, { journal, statements, trust, at, transcript, settles });
  }

  of = (kind) => this.journal.filter((item) => item.kind === kind);

  /** Everything that does not need the dates of others; pauses between items. */
  *gather() {
    this.#commitments();
    for (const item of this.of("checkpoint")) {
      this.#checkpoint(item);
      yield;
    }
    this.#origins();
    this.#equivocations();
    for (const item of this.of("finality")) {
      this.#finality(item);
      yield;
    }
    for (const item of this.of("inclusion")) {
      this.#inclusion(item);
      yield;
    }
    for (const item of this.of("verdict")) {
      this.#verdict(item);
      yield;
    }
  }

  /** When the tree that holds a statement was first cosigned by a quorum, or null. */
  trustedTime(digest) {
    const times = (this.included.get(digest) ?? []).map((place) => place.at).filter((at) => at !== null);
    return times.length ? Math.min(...times) : null;
  }

  /** Whether a statement is in the tree of a final round. */
  isFinal = (digest) => (this.included.get(digest) ?? []).some((place) => place.final);

  /** Where the log put a statement, as far as a path shows it: what an exporter says of it alone proves nothing. */
  index = (digest) => this.included.get(digest)?.[0].index ?? null;

  #commitments() {
    for (const item of this.of("commitment")) {
      const digest = [...this.statements.keys()].find((candidate) => this.#lanes(candidate).length && opens(item.commitment, item.salt, candidate));
      const lanes = digest ? this.#lanes(digest) : LANE;
      const says = digest ? `The commitment in the log opens to statement ${digest.slice(0, 12)}` : "A commitment opens to no statement that is shown";
      if (digest) this.committed.set(digest, item);
      this.transcript.add("statement.md §9", digest ? "yes" : "no", says, lanes, digest ? null : "commitment.opening", digest ?? item.digest);
    }
  }

  #origins() {
    if (!this.trust) return;
    const origins = new Set([...this.of("candidate"), ...this.of("finality")].map((item) => item.round.origin));
    for (const tree of this.trees) origins.add(tree.origin);
    if (origins.size > 1) this.transcript.no("bundle.md §3", "A bundle speaks of one log; this one speaks of several", LANE, "bundle.origins");
  }

  #checkpoint({ note }) {
    if (!this.trust) return;
    const read = this.transcript.attempt("checkpoint.md §1, §2", "What is shown as a checkpoint is one", LANE, () => readCheckpoint(readNote(note).text));
    if (read === null) return;
    const { origin, size } = read;
    const about = `checkpoint of ${size} entries`;
    const log = this.trust.log(origin);
    if (!log) {
      this.transcript.cannotTell("trust.md §1", `Trust names no log ${origin}`, LANE, "trust.log", about);
      return;
    }
    const check = () => checkCheckpoint(note, origin, log.key, this.trust.cosigners(origin));
    const found = this.transcript.attempt("checkpoint.md §1, §3", `The log signed a tree of ${size} entries, and every known cosignature on it verifies`, LANE, check, about);
    if (found === null) return;
    const quorumAt = this.trust.quorumTime(origin, found.cosignatures);
    const moment = quorumAt ?? this.at;
    if (!admits(log.node, moment, moment) || moment < log.from || moment >= log.until) {
      this.transcript.cannotTell("bundle.md §3", "Trust did not admit the log at that time", LANE, "trust.log", about);
      return;
    }
    const says = quorumAt === null ? `Full nodes with more than two thirds of the stake have not cosigned a tree of ${size}` : `Full nodes with more than two thirds of the stake had cosigned a tree of ${size} by ${new Date(quorumAt).toISOString()}`;
    this.transcript.add("statement.md §8", quorumAt === null ? "cannot_tell" : "yes", says, LANE, null, about);
    this.trees.push({ size, root: found.root, origin, quorumAt, final: false });
  }

  #equivocations() {
    for (const [at, tree] of this.trees.entries()) {
      const other = this.trees.slice(0, at).find((earlier) => earlier.size === tree.size && earlier.origin === tree.origin && !equal(earlier.root, tree.root));
      if (other) this.transcript.no("checkpoint.md §2(3)", `The log signed two trees of ${tree.size} entries`, LANE, "log.equivocation");
    }
  }

  #finality({ round, messages }) {
    if (!this.trust) return;
    const about = `round ${round.number}`;
    const found = this.transcript.attempt("round.md §4.3", `Round ${round.number} is final by the messages of full nodes`, LANE, () => this.#final(round, messages), about);
    if (found === null) return;
    const other = this.finals.get(round.number);
    if (other && other.content !== round.content) {
      this.transcript.no("bundle.md §3", `Round ${round.number} has two final contents`, LANE, "round.equivocation", about);
      return;
    }
    this.finals.set(round.number, { ...round, chain: this.trust.chain(round.origin), stakes: found });
    this.trees.push({ size: round.size, root: unhex(round.root, 32), origin: round.origin, quorumAt: null, final: true });
  }

  #final(round, messages) {
    const { chain, epoch, members } = this.trust.bench(round.origin, round.number);
    return checkFinality(round, messages, chain, members, epoch.number);
  }

  /* The leaves that may stand for a digest in the log: of an envelope each copy that is shown. */
  #leaves(digest) {
    const committed = [...this.committed].find(([, item]) => item.digest === digest);
    if (committed) return { owner: committed[0], leaves: [leafHash(committed[1].entry)] };
    const shown = this.statements.get(digest);
    return shown && this.#lanes(digest).length ? { owner: digest, leaves: shown.copies.map((copy) => leafHash(copy.entry)) } : null;
  }

  #lanes = (digest) => this.settles(this.statements.get(digest).statement);

  #inclusion(item) {
    const found = this.#leaves(item.digest);
    if (!found) return;
    const lanes = this.#lanes(found.owner);
    const trees = this.trees.filter((tree) => tree.size === item.size);
    const about = found.owner;
    if (!trees.length) {
      if (this.trust) this.transcript.cannotTell("log.md §2", `No tree of ${item.size} entries is shown that can be believed`, lanes, null, about);
      return;
    }
    const path = item.proof.map((hash) => unhex(hash, 32));
    const holds = (tree) => found.leaves.some((leaf) => leads(leaf, item.index, item.size, path, tree.root));
    if (!trees.every(holds)) {
      this.transcript.no("log.md §2", `A tree of ${item.size} entries does not hold the statement at ${item.index}`, lanes, "log.inclusion", about);
      return;
    }
    this.transcript.yes("log.md §2", `The log holds the statement at ${item.index}, in a tree of ${item.size}`, lanes, about);
    const places = trees.map((tree) => ({ index: item.index, at: tree.quorumAt, final: tree.final }));
    this.included.set(found.owner, [...(this.included.get(found.owner) ?? []), ...places]);
  }

  #verdict(item) {
    const found = this.#leaves(item.digest);
    const lanes = found ? this.#lanes(found.owner) : LANE;
    const about = found?.owner ?? item.digest;
    const round = this.finals.get(item.number);
    if (!round) {
      this.transcript.cannotTell("round.md §5", `Round ${item.number}, which a verdict is of, is not shown to be final`, lanes, null, about);
      return;
    }
    if (this.transcript.attempt("round.md §5.1", `Final round ${item.number} says ${item.code} of the statement`, lanes, () => checkVerdict(item, round.verdict_root), about) === null) return;
    const index = found && this.index(found.owner);
    if (index !== null && index !== item.index) {
      this.transcript.no("round.md §5", "The verdict names another place in the log", lanes, "round.verdict_index", about);
      return;
    }
    const before = this.verdicts.get(about);
    if (!before || before.number <= item.number) this.verdicts.set(about, { number: item.number, code: item.code, chain: round.chain });
  }
}
