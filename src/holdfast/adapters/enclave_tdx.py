"""An Intel TDX guest: quotes by ``tdx_guest``, with Intel's collateral out of a file (``attestation.md`` §4.3).

A quote carries its platform's certificates; TCB levels and revocation lists come from Intel, change every month, and
are read from a file each time, so that whatever keeps the file fresh needs no restart here.

Not covered: fetching collateral (``docs/operate/confidential-machines.md``).
"""

from __future__ import annotations

from pathlib import Path

from holdfast.adapters._tsm import ConfigFS, ReportFiles, fetch_report, report_data_of
from holdfast.core.attestation.dcap import parse_collateral, parse_quote
from holdfast.core.attestation.evidence import MAX_COLLATERAL_BYTES, EvidenceFile, build_evidence_file
from holdfast.errors import MalformedError, UnavailableError

PROVIDER = "tdx_guest"
"""Name of the kernel's driver."""


class TDXEnclave:
    """``ports/enclave.py`` over the kernel's quotes. Without ``collateral`` nobody can decide the evidence."""

    format = "intel-dcap"
    simulated = False

    def __init__(self, collateral: Path | None = None, files: ReportFiles | None = None) -> None:
        self._collateral = collateral
        self._files = files or ConfigFS()

    def attest(self, user_data: bytes, nonce: bytes | None) -> bytes:
        """An evidence file with the collateral; ``user_data`` is a binding record."""
        found = self.fetch(report_data_of(user_data, nonce))
        return build_evidence_file(EvidenceFile(found.evidence, found.collateral, user_data))

    def fetch(self, report_data: bytes) -> EvidenceFile:
        """A quote over 64 bytes with its collateral, no binding record beside it."""
        quote = fetch_report(self._files, PROVIDER, report_data).outblob
        try:
            found = parse_quote(quote).body.report_data
        except MalformedError as error:
            raise UnavailableError("enclave.answer", f"the kernel's quote: {error.message}") from error
        if found != report_data:
            raise UnavailableError("enclave.answer", "the quote holds other data than was given")
        return EvidenceFile(quote, self._load_collateral())

    def _load_collateral(self) -> bytes | None:
        if self._collateral is None:
            return None
        try:
            with self._collateral.open("rb") as file:
                raw = file.read(MAX_COLLATERAL_BYTES + 1)
            parse_collateral(raw)
        except OSError as error:
            raise UnavailableError("enclave.collateral", f"cannot read {self._collateral}: {error.strerror}") from error
        except MalformedError as error:
            raise UnavailableError("enclave.collateral", f"{self._collateral}: {error.message}") from error
        return raw
