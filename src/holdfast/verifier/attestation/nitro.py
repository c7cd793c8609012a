"""Verify AWS Nitro documents (``spec/attestation.md`` §4.1)."""

from __future__ import annotations

import datetime as dt

from holdfast.core.attestation.binding import read_user_data
from holdfast.core.attestation.certificates import parse_certificate
from holdfast.core.attestation.nitro import NitroDocument
from holdfast.core.encoding import time_encode
from holdfast.errors import RefusedError
from holdfast.verifier.attestation.chain import note_time, verify_path, verify_raw
from holdfast.verifier.attestation.claims import VerifiedAttestation
from holdfast.verifier.transcript import ENCLAVE, Transcript

MAX_AHEAD_S = 60
"""A document may be so much younger than the time asked about: clocks differ (``attestation.md`` §3.8)."""
_DEBUG_REGISTERS = (0, 1, 2)
"""Image, kernel and application; a debug enclave shows zeros in all of them."""


def verify_nitro(
    document: NitroDocument, roots: tuple[bytes, ...], at: dt.datetime, record: Transcript
) -> VerifiedAttestation:
    """Chain, signature and times of a document (``attestation.md`` §4.1). Raises ``attestation.*``."""
    leaf = parse_certificate(document.certificate)
    span, root = verify_path(leaf, document.authorities, roots, "attestation.md §4.1", record)
    if leaf.key.algorithm != "p384":
        raise RefusedError("attestation.leaf", "Nitro documents are signed with P-384")
    verify_raw("p384", leaf.key.point, document.signed, document.signature, "the document")
    record.note(ENCLAVE, "attestation.md §4.1", "yes", f"The key of {document.module_id} signed the document.")
    made = document.claimed_time
    if not leaf.not_before <= made <= leaf.not_after:
        raise RefusedError("attestation.timestamp", "the document was made when its own certificate was not valid")
    if made > at + dt.timedelta(seconds=MAX_AHEAD_S):
        raise RefusedError(
            "attestation.not_yet_valid", f"it was made at {time_encode(made)}, after the time asked about"
        )
    note_time(span, at, record)
    registers = document.pcrs
    return VerifiedAttestation(
        form="aws-nitro",
        tee="nitro",
        root=root.raw,
        measurements={f"pcr{index}": register for index, register in sorted(registers.items())},
        debug=not any(any(registers.get(index, b"")) for index in _DEBUG_REGISTERS),
        bound=read_user_data(document.user_data),
        valid_from=span.start,
        valid_until=span.end,
        report_data=document.user_data,
        nonce=document.nonce,
        made_at=made,
        details={"module_id": document.module_id}
        | ({} if document.public_key is None else {"public_key": document.public_key.hex()}),
        unchecked=("AWS's certificate revocation lists: they are fetched, not carried.",),
    )
