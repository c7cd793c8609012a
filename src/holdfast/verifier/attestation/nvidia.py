"""Verify NVIDIA GPU reports: signature and chain only (``spec/attestation.md`` §4.4)."""

from __future__ import annotations

import datetime as dt

from holdfast.core.attestation.binding import Bound
from holdfast.core.attestation.certificates import parse_certificate
from holdfast.core.attestation.nvidia import NVIDIAReport
from holdfast.errors import MalformedError, RefusedError
from holdfast.verifier.attestation.chain import note_time, verify_path, verify_raw
from holdfast.verifier.attestation.claims import VerifiedAttestation
from holdfast.verifier.transcript import ENCLAVE, Transcript

_SPEC = "attestation.md §4.4"
UNCHECKED = (
    "Whether the measurements are the right ones: NVIDIA publishes them as signed files (RIM) that are fetched.",
    "Whether a certificate was revoked: NVIDIA answers that online (OCSP).",
    "Whether the GPU is in debug mode, and which node it belongs to: the report does not say.",
    "When the report was made: it carries no time. A nonce shows that it is fresh.",
)
"""What stays open (``attestation.md`` §9)."""


def verify_nvidia(
    report: NVIDIAReport, chain: tuple[bytes, ...], roots: tuple[bytes, ...], at: dt.datetime, record: Transcript
) -> VerifiedAttestation:
    """Chain and signature of a report (``attestation.md`` §4.4). Raises ``attestation.*``."""
    if len(chain) < 2:
        raise MalformedError("certificate.count", "the chain goes from the GPU's certificate to the root")
    leaf = parse_certificate(chain[0])
    span, root = verify_path(leaf, chain[1:], roots, _SPEC, record)
    if leaf.key.algorithm != "p384":
        raise RefusedError("attestation.leaf", "GPU reports are signed with P-384")
    verify_raw("p384", leaf.key.point, report.signed, report.signature, "the report")
    record.note(
        ENCLAVE, _SPEC, "yes", f"The GPU's key signed request and response, {len(report.measurements)} measurements."
    )
    note_time(span, at, record)
    versions = {"driver": report.driver_version, "vbios": report.vbios_version}
    return VerifiedAttestation(
        form="nvidia",
        tee="nvidia",
        root=root.raw,
        measurements={f"measurement{index}": value for index, value in sorted(report.measurements.items())},
        debug=None,
        bound=Bound(),
        valid_from=span.start,
        valid_until=span.end,
        nonce=report.nonce,
        details={name: value for name, value in versions.items() if value is not None},
        unchecked=UNCHECKED,
    )
