/* The lane `memory` (lanes.md §3(8)): which rows went before the model, and how the weakest of them stands. Rows and blocks are compared both
   ways; the lane feeds no other. */

import { Refusal, Rejected } from "../answers.js";
import { REWRITE, blocksBefore } from "../documents/context.js";
import { REWRITE as FILES } from "../documents/file.js";
import { checkQuery, checkRecall, checkRows, recallKey, weakestOf } from "../documents/recall.js";

const LANE = ["memory"];
const DAY = 86_400;
const WORD_OF = {
  imported: "another system kept it",
  model_inferred: "a model said it",
  tool_returned: "a tool returned it",
  data_admitted: "a data node admitted it",
  user_said: "its owner said it",
};

export const doesNotSay = "This does not say that a kept row is still true.";

/* What the recall that the route names comes to. */
class Recalled {
  document = null;
  refusals = [];
  /** Whether the rows were held against what went before the model, and whether what each says was, too. */
  compared = false;
  said = false;

  constructor(appraisal) {
    const parents = appraisal.route?.parents.map((digest) => appraisal.shown(digest)) ?? [];
    Object.assign(this, { appraisal, parents, statement: parents.find((parent) => parent?.kind === "recall") ?? null });
    for (const item of appraisal.of("recall")) this.#open(item);
    if (appraisal.route) this.#compare();
  }

  #no(spec, { code, message }, about = null) {
    this.refusals.push(message);
    this.appraisal.transcript.no(spec, message, LANE, code, about);
  }

  /* What a check refuses, or null. */
  #refused(check) {
    try {
      check();
      return null;
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      return error;
    }
  }

  #open(item) {
    const { transcript } = this.appraisal;
    if (item.digest !== this.statement?.digest) {
      transcript.cannotTell("recall.md §1", "A recall's document is of none that the route names", LANE, "recall_document.unbound", item.digest);
      return;
    }
    const refused = this.#refused(() => checkRecall(this.statement, item));
    if (refused) this.#no("recall.md §3", refused, item.digest);
    else {
      this.document = item.told;
      transcript.yes("recall.md §1", "The document of the recall is what was signed", LANE, item.digest);
    }
  }

  #compare() {
    const { transcript, route } = this.appraisal;
    const carried = route.rewrites.includes(REWRITE);
    const unnamed = !this.statement && !this.parents.includes(undefined);
    if (!this.document && !(carried && unnamed)) return;
    const refused = this.#refused(() => this.#hold(carried));
    if (refused) this.#no("recall.md §4", refused instanceof Rejected ? refused : { code: "recall_document.context", message: refused.message });
    else if (this.compared) transcript.yes("recall.md §4", `${this.document.rows.length} rows of the recall are those before the model, and no others`, LANE);
  }

  #hold(carried) {
    const { transcript, route, turn } = this.appraisal;
    const blocks = carried ? blocksBefore(turn)?.filter(({ kind }) => kind === "memory") ?? null : [];
    if (!this.document) {
      if (blocks?.length) throw new Rejected("recall_document.context", "What went before the model holds rows, and the route names no recall");
      return;
    }
    const { rows } = this.document;
    if (rows.length > 0 !== carried && (rows.length || !route.rewrites.includes(FILES))) throw new Rejected("recall_document.context", "Rows were carried in exactly where the route says so");
    const key = this.#key();
    const request = turn.document("request");
    if (key && request) checkQuery(this.document, request.value, key);
    if (blocks === null) {
      transcript.cannotTell("recall.md §4", "What went before the model is not shown here", LANE, "recall_document.unshown");
      return;
    }
    checkRows(this.document, blocks, key);
    Object.assign(this, { compared: true, said: key !== null });
  }

  /* The key of the run's salted digests, where a document was disclosed whole and is what was signed. */
  #key() {
    const { turn, route } = this.appraisal;
    const whole = ["request", "sent", "response"].map((name) => turn.document(name)).find(Boolean);
    return whole ? recallKey(route.run, whole.secret) : null;
  }
}

function daysOf(seconds) {
  const days = Math.floor(seconds / DAY);
  if (!days) return "less than a day";
  return days === 1 ? "1 day" : `${days} days`;
}

function told({ rows, kept, found, ...document }) {
  const why = new Map();
  for (const { why: reason, standing } of kept) {
    const word = reason === "room" ? "no room" : standing;
    why.set(word, (why.get(word) ?? 0) + 1);
  }
  const further = found - rows.length - kept.length;
  const out = [...why].sort(([left], [right]) => (left < right ? -1 : 1)).map(([word, many]) => `${many} ${word}`);
  const left = out.length ? `; kept out: ${out.join(", ")}${further ? `, ${further} further down` : ""}` : "";
  const weakest = weakestOf({ rows, ...document });
  if (!weakest) return `Memory was searched, and no row was carried in${left}`;
  const { standing, authority, age_s: age, earned_s: earned, rank } = weakest;
  const many = rows.length === 1 ? "One row was carried in" : `${rows.length} rows were carried in`;
  return `${many}; the weakest is ${standing}: ${WORD_OF[authority]}, ${daysOf(age)} old, ${earned === null ? "never earned" : `last earned ${daysOf(earned)} before`}, rank ${rank}${left}`;
}

/* What speaks against the statement itself. */
function unacceptable({ refusals, dates, settling }, { digest }) {
  const verdict = settling.verdicts.get(digest)?.code ?? "";
  const why = refusals.get(digest) ?? dates.get(digest) ?? (verdict.startsWith("refuted:") ? verdict : null);
  return why && `The recall statement is not acceptable (${why})`;
}

function judged(appraisal, { statement, parents, document, refusals, compared, said }) {
  const { trust, ranOut, route } = appraisal;
  if (!route) return ["pending", null, "The route of this run is not known yet"];
  const refused = (statement && unacceptable(appraisal, statement)) ?? refusals[0];
  if (refused) return ["refuted", null, refused];
  if (parents.includes(undefined)) return ["unknown", null, "A statement that the route names is not in this bundle"];
  if (!statement) return ["not_applicable", null, "No memory was carried into this run"];
  if (!trust) return ["unknown", null, "Without trust nobody here can say whose word on these rows it is"];
  if (ranOut.has(statement)) return ["expired", null, "The key of the memory node has run out, and no quorum dated its statement"];
  if (!document) return ["unknown", "signature", "A memory node signed what it gave for this run; which rows those were is not shown here"];
  if (!compared) return ["unknown", "signature", `${told(document)}. What went before the model is not shown here, so nobody can say that it was these rows`];
  return ["proven", "signature", `${told(document)}${said || !document.rows.length ? "" : ". What each row says is not compared"}`];
}

/** The lane. */
export function judgeMemory(appraisal) {
  const recalled = new Recalled(appraisal);
  const [state, basis, says] = judged(appraisal, recalled);
  return { state, basis, says, evidence: recalled.statement ? [recalled.statement.digest] : [] };
}
