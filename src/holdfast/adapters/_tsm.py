"""Reports of a confidential machine's kernel through configfs.

Linux ``Documentation/ABI/testing/configfs-tsm-report``: a report is a folder below :data:`FOLDER`. It is made, given 64
bytes (``inblob``), read (``outblob``, perhaps ``auxblob``), and removed. Every folder is one caller's alone, and
``generation``, which counts writes, is read before and after: a report that somebody else wrote to is not used.

Not covered: what is in a report (``enclave_snp``, ``enclave_tdx``), and privilege levels (``privlevel``).
"""

from __future__ import annotations

import contextlib
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from holdfast.core.attestation.binding import REPORT_DATA_BYTES, build_report_data, parse_binding
from holdfast.errors import MalformedError, UnavailableError, UsageError

FOLDER = Path("/sys/kernel/config/tsm/report")
"""Where configfs is mounted by custom, and the kernel's folder of reports."""
_MAX_BLOB_BYTES = 1024 * 1024
"""Nothing larger is read; the kernel's own limit of ``outblob`` is 32 KiB."""
_NUMBER = re.compile(rb"[0-9]{1,19}\n?\Z")


class ReportFiles(Protocol):
    """The file operations of configfs that are needed; each raises :class:`OSError`."""

    def make(self, name: str) -> None:
        """Make a report's folder."""
        ...

    def write(self, name: str, attribute: str, data: bytes) -> None:
        """Write an attribute of it in one go."""
        ...

    def read(self, name: str, attribute: str) -> bytes:
        """Read an attribute to its end."""
        ...

    def remove(self, name: str) -> None:
        """Remove the folder; its attributes go with it."""
        ...


class ConfigFS:
    """The kernel's folder."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder

    def make(self, name: str) -> None:
        """As the protocol says."""
        (self._folder / name).mkdir()

    def write(self, name: str, attribute: str, data: bytes) -> None:
        """As the protocol says; unbuffered, since the kernel takes one write as one value."""
        with (self._folder / name / attribute).open("wb", buffering=0) as file:
            if file.write(data) != len(data):
                raise OSError(5, "the kernel took a part only")

    def read(self, name: str, attribute: str) -> bytes:
        """As the protocol says."""
        with (self._folder / name / attribute).open("rb") as file:
            return file.read(_MAX_BLOB_BYTES)

    def remove(self, name: str) -> None:
        """As the protocol says."""
        (self._folder / name).rmdir()


@dataclass(frozen=True, slots=True)
class Report:
    """What the kernel gave."""

    outblob: bytes
    auxblob: bytes
    """Empty where the provider has none."""


def fetch_report(files: ReportFiles, provider: str, report_data: bytes) -> Report:
    """A report by one provider over 64 bytes. Raises ``enclave.device`` and ``enclave.race`` (unavailable)."""
    if len(report_data) != REPORT_DATA_BYTES:
        raise UsageError("enclave.input", f"a report holds {REPORT_DATA_BYTES} bytes of its caller's")
    name = f"holdfast-{secrets.token_hex(8)}"
    try:
        files.make(name)
        try:
            return _fetch(files, name, provider, report_data)
        finally:
            with contextlib.suppress(OSError):  # what was read is good; a folder left behind costs a few bytes
                files.remove(name)
    except OSError as error:
        raise UnavailableError(
            "enclave.device",
            f"the kernel makes no report: {error.strerror}",
            hint="mount configfs and load sev-guest or tdx-guest; the process needs root's rights there",
        ) from error


def _fetch(files: ReportFiles, name: str, provider: str, report_data: bytes) -> Report:
    found = files.read(name, "provider").strip().decode("ascii", "replace")
    if found != provider:
        raise UnavailableError("enclave.device", f"reports here are made by {found}, not by {provider}")
    before = _generation(files, name)
    files.write(name, "inblob", report_data)
    outblob = files.read(name, "outblob")
    auxblob = b""
    with contextlib.suppress(FileNotFoundError):
        auxblob = files.read(name, "auxblob")
    if _generation(files, name) != before + 1:
        raise UnavailableError("enclave.race", "somebody else wrote to the report meanwhile", hint="try again")
    if not outblob:
        raise UnavailableError("enclave.answer", "the kernel's report is empty")
    return Report(outblob, auxblob)


def _generation(files: ReportFiles, name: str) -> int:
    raw = files.read(name, "generation")
    if _NUMBER.match(raw) is None:
        raise UnavailableError("enclave.answer", "the generation of a report is no number")
    return int(raw)


def report_data_of(user_data: bytes, nonce: bytes | None) -> bytes:
    """The 64 bytes for a binding record and a nonce (``attestation.md`` §5). Raises ``enclave.input``."""
    try:
        parse_binding(user_data)
    except MalformedError as error:
        raise UsageError("enclave.input", f"a report binds a binding record: {error.message}") from error
    return build_report_data(user_data, nonce)
