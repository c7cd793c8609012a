"""Verify AMD SEV-SNP reports (``spec/attestation.md`` §4.2)."""

from __future__ import annotations

import datetime as dt

from holdfast.core.attestation.binding import Bound
from holdfast.core.attestation.certificates import parse_certificate
from holdfast.core.attestation.snp import SNPReport, parse_vcek, read_tcb
from holdfast.errors import MalformedError, RefusedError, UndecidedError
from holdfast.verifier.attestation.chain import note_time, verify_path, verify_raw
from holdfast.verifier.attestation.claims import VerifiedAttestation
from holdfast.verifier.transcript import ENCLAVE, Transcript

_SPEC = "attestation.md §4.2"


def verify_snp(
    report: SNPReport,
    chain: tuple[bytes, ...],
    bound: Bound,
    roots: tuple[bytes, ...],
    at: dt.datetime,
    record: Transcript,
) -> VerifiedAttestation:
    """Chain, signature, chip and firmware of a report (``attestation.md`` §4.2). Raises ``attestation.*``.

    ``chain`` is VCEK, ASK, ARK; the ARK may be left out when one of the roots issued the ASK.
    """
    if len(chain) not in (2, 3):
        raise MalformedError("certificate.count", "the chain is VCEK, ASK and ARK, in this order")
    leaf = parse_certificate(chain[0])
    above = chain[1:] if len(chain) == 3 else _completed(chain[1], roots)
    span, root = verify_path(leaf, above, roots, _SPEC, record)
    if leaf.key.algorithm != "p384":
        raise RefusedError("attestation.leaf", "SEV-SNP reports are signed with P-384")
    verify_raw("p384", leaf.key.point, report.signed, report.signature, "the report")
    record.note(ENCLAVE, _SPEC, "yes", "The chip's key signed the report.")
    if report.signing_key != 0:
        raise UndecidedError("attestation.signing_key", "the report says that it is by a VLEK, which is not decided")
    identity = parse_vcek(leaf)
    reported = read_tcb(report.reported_tcb, identity.product)
    if any(identity.tcb.get(name) != number for name, number in reported.items()):
        raise RefusedError("attestation.tcb", "the chip's key is of another firmware than the report says")
    if not report.masked_chip and report.chip_id[: len(identity.chip_id)] != identity.chip_id:
        raise RefusedError("attestation.chip", "the report is of another chip than its certificate")
    record.note(ENCLAVE, _SPEC, "yes", f"Chip and firmware are those of the certificate ({identity.product}).")
    note_time(span, at, record)
    return VerifiedAttestation(
        form="amd-sev-snp",
        tee="snp",
        root=root.raw,
        measurements={"measurement": report.measurement, **report.fields},
        debug=report.debug,
        bound=bound,
        valid_from=span.start,
        valid_until=span.end,
        report_data=report.report_data,
        nonce=report.report_data[32:],
        nonce_is_digest=True,
        versions={**reported, "guest_svn": report.guest_svn},
        details={
            "product": identity.product,
            "policy": f"{report.policy:#x}",
            "vmpl": str(report.vmpl),
            "chip_id": report.chip_id.hex(),
        },
        unchecked=(
            "AMD's revocation lists: they are fetched, not carried.",
            "When the report was made: it carries no time. A nonce shows that it is fresh.",
        ),
    )


def _completed(issuer: bytes, roots: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """The ASK and the root whose name it gives as its issuer."""
    name = parse_certificate(issuer).issuer
    found = next((root for root in roots if parse_certificate(root).subject == name), None)
    if found is None:
        raise RefusedError("attestation.root", "no admitted root has the name of the issuer")
    return (issuer, found)
