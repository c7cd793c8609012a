"""An AMD SEV-SNP guest: reports by ``sev_guest`` with the certificates that its host keeps (``attestation.md`` §4.2).

The host's certificate table comes as ``auxblob``: the chip's certificate (VCEK), and perhaps AMD's two above it. What
it lacks is taken from ``authorities``: certificates from the chip's or its issuer's up.

Not covered: reports signed by a VLEK, which verifiers do not decide; asking AMD for certificates.
"""

from __future__ import annotations

from holdfast.adapters._tsm import ConfigFS, ReportFiles, fetch_report, report_data_of
from holdfast.core.attestation.certificates import parse_certificates
from holdfast.core.attestation.evidence import EvidenceFile, build_evidence_file
from holdfast.core.attestation.snp import ARK, ASK, VCEK, parse_certificate_table, parse_snp
from holdfast.errors import MalformedError, UnavailableError

PROVIDER = "sev_guest"
"""Name of the kernel's driver."""


class SNPEnclave:
    """``ports/enclave.py`` over the kernel's reports. ``authorities`` is PEM or DER, as collateral is."""

    format = "amd-sev-snp"
    simulated = False

    def __init__(self, authorities: bytes | None = None, files: ReportFiles | None = None) -> None:
        self._authorities = () if authorities is None else parse_certificates(authorities)
        self._files = files or ConfigFS()

    def attest(self, user_data: bytes, nonce: bytes | None) -> bytes:
        """An evidence file with the certificates; ``user_data`` is a binding record."""
        found = self.fetch(report_data_of(user_data, nonce))
        return build_evidence_file(EvidenceFile(found.evidence, found.collateral, user_data))

    def fetch(self, report_data: bytes) -> EvidenceFile:
        """A report over 64 bytes with its certificates, no binding record beside it."""
        report = fetch_report(self._files, PROVIDER, report_data)
        try:
            if parse_snp(report.outblob).report_data != report_data:
                raise UnavailableError("enclave.answer", "the report holds other data than was given")
            table = parse_certificate_table(report.auxblob)
        except MalformedError as error:
            raise UnavailableError("enclave.answer", f"the kernel's report: {error.message}") from error
        chain = tuple(table[name] for name in (VCEK, ASK, ARK) if name in table)
        if len(chain) < 3 or VCEK not in table:
            chain = (table[VCEK], *self._authorities[-2:]) if VCEK in table else self._authorities
        if len(chain) not in (2, 3):
            raise UnavailableError(
                "enclave.collateral",
                "the host gives no certificate of the chip, or none of those above it",
                hint="let the host keep them (snphost import), or name a file of them in enclave_collateral",
            )
        return EvidenceFile(report.outblob, b"".join(chain))
