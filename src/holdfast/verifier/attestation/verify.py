"""``verify_attestation``: evidence of any format, as it travels, to verified claims (``spec/attestation.md`` §1)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from holdfast.core.attestation.binding import Bound, parse_binding
from holdfast.core.attestation.certificates import parse_certificates
from holdfast.core.attestation.dcap import parse_quote
from holdfast.core.attestation.evidence import FORMATS, EvidenceFile, check_sizes
from holdfast.core.attestation.nitro import parse_nitro
from holdfast.core.attestation.nvidia import parse_nvidia
from holdfast.core.attestation.snp import parse_snp
from holdfast.core.encoding import sha256
from holdfast.errors import MalformedError, RefusedError, UndecidedError
from holdfast.verifier.attestation.claims import VerifiedAttestation
from holdfast.verifier.attestation.dcap import verify_dcap
from holdfast.verifier.attestation.insecure import verify_insecure
from holdfast.verifier.attestation.nitro import verify_nitro
from holdfast.verifier.attestation.nvidia import verify_nvidia
from holdfast.verifier.attestation.snp import verify_snp
from holdfast.verifier.transcript import ENCLAVE, Transcript


def verify_attestation(
    form: str,
    file: EvidenceFile,
    roots: Sequence[bytes],
    at: dt.datetime,
    record: Transcript,
    *,
    key_document: str | None = None,
) -> VerifiedAttestation:
    """Parse and verify evidence of a format under the given roots at a given time.

    Raises :class:`MalformedError` for bytes that do not parse, ``attestation.*`` refusals for checks that fail, and
    ``attestation.*`` undecided where roots, collateral or a key document are missing. ``key_document`` (hex digest) is
    what ``insecure-dev`` evidence is about; hardware evidence says itself what it binds.
    """
    if form not in FORMATS:
        raise MalformedError("attestation.format", f"formats are {', '.join(FORMATS)}")
    check_sizes(form, file)
    believed = tuple(roots)
    if form == "insecure-dev":
        return verify_insecure(file.evidence, key_document, believed, record)
    if form == "aws-nitro":
        return verify_nitro(parse_nitro(file.evidence), believed, at, record)
    if form == "intel-dcap":
        quote = parse_quote(file.evidence)
        bound = _bound(quote.body.report_data, file.binding, record)
        collateral = _collateral(file.collateral, "the TCB levels and revocation lists of Intel")
        return verify_dcap(quote, collateral, bound, believed, at, record)
    if form == "amd-sev-snp":
        report = parse_snp(file.evidence)
        bound = _bound(report.report_data, file.binding, record)
        chain = parse_certificates(_collateral(file.collateral, "the certificates of the chip and of AMD"))
        return verify_snp(report, chain, bound, believed, at, record)
    gpu = parse_nvidia(file.evidence)
    chain = parse_certificates(_collateral(file.collateral, "the certificates of the GPU and of NVIDIA"))
    return verify_nvidia(gpu, chain, believed, at, record)


def _collateral(given: bytes | None, what: str) -> bytes:
    if given is None:
        raise UndecidedError("attestation.collateral_missing", f"{what} have to be given as collateral")
    return given


def _bound(report_data: bytes, record_bytes: bytes | None, record: Transcript) -> Bound:
    """What a report binds: the record that came along, when its digest is in the report."""
    if record_bytes is None:
        return Bound()
    bound = parse_binding(record_bytes)
    if sha256(record_bytes) != report_data[:32]:
        raise RefusedError("attestation.binding", "the report holds another digest than that of its binding record")
    record.note(ENCLAVE, "attestation.md §5", "yes", "The report holds the digest of the binding record.")
    return bound
