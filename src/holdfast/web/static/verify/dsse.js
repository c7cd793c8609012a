/* DSSE envelopes (statement.md §1): what is signed is the exact payload behind its pre-authentication encoding. */

import { Malformed } from "./answers.js";
import { concat, hexText, unbase64, utf8 } from "./bytes.js";
import { exactly, object } from "./json.js";

/** The bytes under a signature. */
export function preAuthentication(type, payload) {
  return concat(utf8(`DSSEv1 ${utf8(type).length} ${type} ${payload.length} `), payload);
}

/** `{payload, signatures, message}` of an envelope of this payload type. */
export function readEnvelope(value, type, { fields = "envelope.fields", signatures = "envelope.signatures" } = {}) {
  exactly(object(value), ["payload", "payloadType", "signatures"], fields);
  if (value.payloadType !== type) throw new Malformed(fields, `not an envelope of ${type}`);
  if (!Array.isArray(value.signatures)) throw new Malformed(signatures, "signatures are a list");
  const read = value.signatures.map((signature) => {
    exactly(signature, ["keyid", "sig"], signatures);
    return { keyid: hexText(signature.keyid), sig: unbase64(signature.sig) };
  });
  const payload = unbase64(value.payload);
  return { payload, signatures: read, message: preAuthentication(type, payload) };
}
