"""Evidence for tests: the vectors' throw-away vendors, and real documents where they lie beside the project.

Real evidence is data of others and no part of the project. It is looked for in ``../shared/data/attestation`` from the
project's root; :func:`real` skips the test with a sentence where it is not there.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from holdfast.core.attestation.certificates import parse_certificates
from holdfast.core.attestation.evidence import EvidenceFile
from holdfast.core.attestation.roots import vendor_roots
from holdfast.core.encoding import b64_decode
from holdfast.verifier.attestation.claims import VerifiedAttestation
from holdfast.verifier.attestation.verify import verify_attestation
from holdfast.verifier.transcript import Transcript

ROOT = Path(__file__).parents[2]
VECTORS = ROOT / "vectors"
REAL = ROOT.parent / "shared" / "data" / "attestation"
AT = dt.datetime(2026, 1, 1, 0, 10, tzinfo=dt.UTC)
"""When the vectors judge."""
FORMATS = {"nitro": "aws-nitro", "snp": "amd-sev-snp", "dcap": "intel-dcap", "nvidia": "nvidia"}
"""Prefix of the vectors' names to the format."""
_COLLATERAL = {"snp": "snp-chain.pem", "dcap": "dcap-collateral.json", "nvidia": "nvidia-chain.pem"}


def shared(name: str) -> bytes:
    """A file that many vectors use."""
    return (VECTORS / "shared" / name).read_bytes()


def vector(name: str, file: str = "evidence.bin") -> bytes:
    """A file of one case, like ``nitro-document``."""
    return (VECTORS / "attestation" / name / file).read_bytes()


def made(name: str) -> tuple[str, EvidenceFile, tuple[bytes, ...]]:
    """Format, evidence with its usual collateral, and root of one case."""
    vendor = name.partition("-")[0]
    file = EvidenceFile(vector(name), shared(_COLLATERAL[vendor]) if vendor in _COLLATERAL else None)
    return FORMATS[vendor], file, parse_certificates(shared(f"{vendor}-root.pem"))


def verify(
    form: str, file: EvidenceFile, roots: tuple[bytes, ...], at: dt.datetime = AT, record: Transcript | None = None
) -> VerifiedAttestation:
    """``verify_attestation`` for the time of the vectors."""
    return verify_attestation(form, file, roots, at, record or Transcript())


def real(*names: str) -> bytes:
    """Real evidence: the bytes of files one after the other; the test is skipped where they are not."""
    paths = [REAL / name for name in names]
    if not all(path.is_file() for path in paths):
        pytest.skip(
            f"real evidence is not here: it is looked for in {REAL.relative_to(ROOT.parent)} beside the project"
        )
    return b"".join(path.read_bytes() for path in paths)


class Evidence:
    """One real piece of evidence with the time it is from."""

    def __init__(self, form: str, files: str, collateral: str, at: str) -> None:
        self.form, self.files, self.collateral = form, files, collateral
        self.at = dt.datetime.fromisoformat(at)

    def load(self) -> EvidenceFile:
        """Read it, or skip."""
        raw = real(self.files)
        if self.form == "aws-nitro":
            raw = b64_decode(raw.decode().strip())
        elif self.form == "nvidia":
            raw = bytes.fromhex(raw.decode())
        return EvidenceFile(raw, real(*self.collateral.split()) if self.collateral else None)

    def verify(self, file: EvidenceFile | None = None, *, at: dt.datetime | None = None) -> VerifiedAttestation:
        """Under the vendors' own roots."""
        return verify(self.form, file or self.load(), vendor_roots(self.form), at or self.at)


REAL_EVIDENCE = {
    "nitro": Evidence("aws-nitro", "nitro/og-evm-attestation_doc.b64", "", "2026-02-12T17:56:02Z"),
    "nitro-debug": Evidence("aws-nitro", "nitro/evervault-valid-attestation-doc-base64", "", "2023-09-18T15:03:31Z"),
    "tdx": Evidence("intel-dcap", "tdx/tdx_quote", "tdx/tdx_quote_collateral.json", "2025-06-22T00:00:00Z"),
    "snp": Evidence(
        "amd-sev-snp",
        "snp/attestation.bin",
        "snp/kds_vcek.der snp/milan_ask.der snp/milan_ark.der",
        "2026-11-29T00:00:00Z",
    ),
    "nvidia": Evidence(
        "nvidia", "nvidia/hopperAttestationReport.txt", "nvidia/hopperCertChain.txt", "2026-11-29T00:00:00Z"
    ),
}
"""What there is."""
