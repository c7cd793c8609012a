/* The stand-in for an enclave (attestation.md §4.5): a signature by a throw-away root over a key document's digest. It is nobody's hardware. */

import { Malformed, Undecided } from "../answers.js";
import { concat, hex, utf8 } from "../bytes.js";
import { ed25519 } from "../curves.js";
import { refuse } from "./chain.js";

const SIZE = 64;
const HEAD = concat(utf8("urn:holdfast:insecure-dev:v1"), Uint8Array.of(0));

/** A signature in its form. */
export function parseInsecure(bytes) {
  if (bytes.length !== SIZE) throw new Malformed("attestation.size", `the signature has ${SIZE} bytes`);
  return { signature: bytes };
}

/** What the signature says, once it is known to be by one of the roots, which are keys here. */
export function verifyInsecure({ signature }, roots, { keyDocument }) {
  if (!roots.length) throw new Undecided("attestation.roots", "no root is admitted for evidence of this format");
  if (!keyDocument) throw new Undecided("attestation.key_document", "the signature is over a key document, and none was given");
  const root = roots.find((key) => ed25519(key, concat(HEAD, keyDocument), signature));
  if (!root) refuse("signature", "the signature is by no admitted root");
  return {
    tee: "software",
    root: { bytes: root, subject: new Uint8Array(0) },
    span: { from: -Infinity, until: Infinity },
    measurements: {},
    debug: true,
    keyDocument: hex(keyDocument),
    tls: null,
    hpke: null,
    nonce: null,
    untold: ["it is a simulated enclave, and no hardware vouches for anything"],
  };
}
