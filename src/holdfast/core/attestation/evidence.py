"""Evidence as it travels: what a bundle or a file holds for each format (``spec/attestation.md`` §2).

Nitro documents and ``insecure-dev`` signatures stand alone. The others need more than the hardware signed (certificate
chains, TCB collateral, what the report's digest stands for): those travel as an *evidence file*, strict JSON.

Not covered: what is inside; see the module of each format.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.core import canonical
from holdfast.core.encoding import b64_decode, b64_encode
from holdfast.errors import MalformedError

EVIDENCE_TYPE = "urn:holdfast:attestation-evidence:v1"
"""``type`` of an evidence file (``attestation.md`` §2)."""
FORMATS = ("insecure-dev", "aws-nitro", "intel-dcap", "amd-sev-snp", "nvidia")
"""Formats, which are also the kinds of enclave roots and measurements (``attestation.md`` §2, ``trust.md`` §1)."""
MAX_EVIDENCE_BYTES = {
    "insecure-dev": 64,
    "aws-nitro": 32 * 1024,
    "intel-dcap": 64 * 1024,
    "amd-sev-snp": 1184,
    "nvidia": 64 * 1024,
}
"""What the hardware made, by format; larger is refused unread (``attestation.md`` §2)."""
MAX_COLLATERAL_BYTES = 512 * 1024
"""Larger collateral is refused unread."""
MAX_FILE_BYTES = 1024 * 1024
"""Larger evidence files are refused unread."""
_ALONE = ("insecure-dev", "aws-nitro")


@dataclass(frozen=True, slots=True)
class EvidenceFile:
    """What the hardware made, and what has to be at hand to check it."""

    evidence: bytes
    collateral: bytes | None = None
    binding: bytes | None = None
    """The binding record (``attestation.md`` §5) whose digest the report holds, where there is one."""


def _optional(value: Mapping[str, Any], name: str) -> bytes | None:
    return None if value[name] is None else b64_decode(value[name])


def parse_evidence_file(raw: bytes) -> EvidenceFile:
    """An evidence file to its parts. Raises ``attestation.evidence`` or ``json.*``."""
    if len(raw) > MAX_FILE_BYTES:
        raise MalformedError("attestation.size", f"an evidence file has at most {MAX_FILE_BYTES} bytes")
    value = canonical.decode_object(raw)
    if value.keys() != {"type", "evidence", "collateral", "binding"} or value["type"] != EVIDENCE_TYPE:
        raise MalformedError("attestation.evidence", f"not a {EVIDENCE_TYPE}")
    return EvidenceFile(b64_decode(value["evidence"]), _optional(value, "collateral"), _optional(value, "binding"))


def build_evidence_file(file: EvidenceFile) -> bytes:
    """Make an evidence file; the result parses."""
    value: dict[str, canonical.JSON] = {
        "type": EVIDENCE_TYPE,
        "evidence": b64_encode(file.evidence),
        "collateral": None if file.collateral is None else b64_encode(file.collateral),
        "binding": None if file.binding is None else b64_encode(file.binding),
    }
    return canonical.encode(value)


def parse_evidence(form: str, raw: bytes) -> EvidenceFile:
    """What a bundle holds as ``evidence`` of a format to its parts: an evidence file, or the evidence alone.

    Raises ``attestation.format`` for a format that is none, ``attestation.evidence`` and ``json.*``.
    """
    if form not in FORMATS:
        raise MalformedError("attestation.format", f"formats are {', '.join(FORMATS)}")
    return EvidenceFile(raw) if form in _ALONE or not raw.startswith(b"{") else parse_evidence_file(raw)


def check_sizes(form: str, file: EvidenceFile) -> None:
    """Refuse what is too large to be read; raises ``attestation.size``."""
    if len(file.evidence) > MAX_EVIDENCE_BYTES[form]:
        raise MalformedError("attestation.size", f"{form} evidence has at most {MAX_EVIDENCE_BYTES[form]} bytes")
    if file.collateral is not None and len(file.collateral) > MAX_COLLATERAL_BYTES:
        raise MalformedError("attestation.size", f"collateral has at most {MAX_COLLATERAL_BYTES} bytes")
