"""Verify ``insecure-dev`` evidence: a throw-away root vouches for a software key (``spec/lanes.md`` §3(4)).

There is no enclave. Whatever comes out of this is development, and no setting makes it anything else.
"""

from __future__ import annotations

import datetime as dt

from holdfast.core.attestation.binding import Bound
from holdfast.core.encoding import hex_decode
from holdfast.core.keys import PublicKey, verify_signature
from holdfast.errors import RefusedError, UndecidedError
from holdfast.verifier.attestation.claims import VerifiedAttestation
from holdfast.verifier.transcript import ENCLAVE, Transcript

INSECURE_ATTESTATION_DOMAIN = b"urn:holdfast:insecure-dev:v1\x00"
"""What the throw-away root signs before the 32-byte key document digest (``lanes.md`` §3(4))."""
_ALWAYS = (dt.datetime(1970, 1, 1, tzinfo=dt.UTC), dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC))


def verify_insecure(
    evidence: bytes, key_document: str | None, roots: tuple[bytes, ...], record: Transcript
) -> VerifiedAttestation:
    """A signature by one of the throw-away roots (Ed25519 keys) over a key document's digest (hex)."""
    if key_document is None:
        raise UndecidedError("attestation.key_document", "the signature is over a key document, and none was given")
    keys = [root for root in roots if len(root) == 32]
    if not keys:
        raise UndecidedError("attestation.roots", "no root is admitted for evidence of this format")
    message = INSECURE_ATTESTATION_DOMAIN + hex_decode(key_document, 32)
    for key in keys:
        try:
            verify_signature(PublicKey("root", "ed25519", key), message, evidence)
        except RefusedError:
            continue
        record.note(
            ENCLAVE,
            "attestation.md §4.5",
            "yes",
            "A throw-away development root signed the key document: there is no enclave.",
        )
        return VerifiedAttestation(
            form="insecure-dev",
            tee="software",
            root=key,
            measurements={},
            debug=True,
            bound=Bound(key_document=key_document),
            valid_from=_ALWAYS[0],
            valid_until=_ALWAYS[1],
            unchecked=("Where the key lives: it is a software key.",),
        )
    raise RefusedError("attestation.signature", "no admitted throw-away root signed this key document")
