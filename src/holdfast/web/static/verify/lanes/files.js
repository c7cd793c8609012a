/* Files of the caller (files.md §5): whether what stood before the model is what was read in them. What contradicts refutes the lane `inputs`;
   what fits never betters it. */

import { Refusal } from "../answers.js";
import { hex, utf8 } from "../bytes.js";
import { REWRITE as CONTEXT, blocksBefore } from "../documents/context.js";
import { REWRITE, checkBrought, checkSpans, filesIn } from "../documents/file.js";
import { sha256 } from "../hashes.js";
import { isObject } from "../json.js";

const LANE = ["inputs"];
const SPEC = "files.md §5(3)";
const MOST_TOLD = 8;
const LONGEST_NAME = 60;
const ofFiles = (code) => code.startsWith("file_document.");

export class Attached {
  refusals = [];
  documents = new Map();
  /** As the context message has them; null where it is not shown. */
  files = null;

  constructor(appraisal) {
    const rewrites = appraisal.route?.rewrites ?? [];
    const shown = appraisal.of("file");
    Object.assign(this, { appraisal, rewrites, brought: rewrites.includes(REWRITE) });
    if (!this.brought && !shown.length && !rewrites.includes(CONTEXT)) return;
    if (!this.#blocks()) return;
    for (const item of shown) this.#compare(item);
  }

  #no(code, says, about = null) {
    this.refusals.push(says);
    this.appraisal.transcript.no("files.md §5", says, LANE, code, about);
  }

  /* Blocks against each other and the request; false where nothing more can be compared. */
  #blocks() {
    try {
      this.files = this.#shownFiles();
      if (this.files?.length) this.#request();
      return true;
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      /* What cannot be read holds no file; the lane `memory` says what it is. */
      if (this.brought || ofFiles(error.code)) this.#no(ofFiles(error.code) ? error.code : "file_document.blocks", `What went before the model of files does not fit: ${error.message}`);
      return false;
    }
  }

  #shownFiles() {
    const blocks = this.rewrites.includes(CONTEXT) ? blocksBefore(this.appraisal.turn) : [];
    /* In a document of another shape no context message is looked for. */
    const elsewhere = !blocks?.length && this.rewrites.some((code) => code.startsWith("dialect-"));
    if (blocks === null || elsewhere) return null;
    const files = filesIn(blocks);
    if (files.length && !this.brought) throw new Refusal("file_document.request", "there are files, and the route says that none were brought");
    return files;
  }

  #request() {
    const request = this.appraisal.turn.document("request");
    if (!request) return;
    const compared = checkBrought(isObject(request.value) ? request.value.messages : null, this.files);
    if (compared) this.appraisal.transcript.yes("files.md §5(4)", "The files before the model are those that the request brings", LANE);
    else this.appraisal.transcript.cannotTell("files.md §5(4)", "Files were brought by uploads: whether their bytes are those of the blocks is the gateway's word", LANE, "file_document.uploaded");
  }

  #compare({ digest, document, told }) {
    if (hex(sha256(utf8(document))) !== digest) {
      this.#no("file_document.digest", "What is shown as a file document has another digest", digest);
      return;
    }
    const named = this.files?.find(({ block }) => block.attributes.document === digest);
    if (!named) {
      this.appraisal.transcript.cannotTell(SPEC, "No block that is shown here names a file document", LANE, "file_document.unbound", digest);
      return;
    }
    try {
      checkSpans(told, named);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      this.#no(error.code, error.message, digest);
      return;
    }
    this.documents.set(digest, told);
    this.appraisal.transcript.yes(SPEC, `The ${named.spans.length} spans before the model of a file document are what was read in it`, LANE, digest);
  }

  #tell({ block: { attributes, text } }) {
    const document = this.documents.get(attributes.document);
    const name = text.length > LONGEST_NAME ? `${text.slice(0, LONGEST_NAME)}…` : text;
    const read = document ? `read by ${document.extractor.name} ${document.extractor.version}` : "what was read in it is not shown here";
    return `File of the caller ${JSON.stringify(name)} (${attributes.digest.slice(0, 12)}): ${attributes.shown} of ${attributes.chunks} chunks stood before the model; ${read}`;
  }

  /** What the lane says of files; nothing where there were none. */
  told() {
    if (!this.brought) return [];
    if (this.files === null) return ["Files of the caller were attached; what went before the model of them is not shown here"];
    if (!this.files.length) return ["Of the caller's files only images went to the model, as they are"];
    const more = this.files.length > MOST_TOLD ? [`${this.files.length - MOST_TOLD} more files are not told here`] : [];
    return [...this.files.slice(0, MOST_TOLD).map((file) => this.#tell(file)), ...more, "Nobody vouches for what the caller's files say"];
  }
}
