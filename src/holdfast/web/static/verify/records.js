/* What opens a record: a document in its one spelling and a salt, against the commitment that a statement holds. */

import { concat, hex, utf8 } from "./bytes.js";
import { sha256 } from "./hashes.js";

/** The commitment of a kind (`decision`, `payment`, …) to a document (text). */
export const recordOf = (kind, salt, document) => hex(sha256(concat(utf8(`urn:holdfast:${kind}-record:v1`), Uint8Array.of(0), salt, utf8(document))));

/** Characters of a text, as people count them. */
export const characters = (text) => [...text].length;
