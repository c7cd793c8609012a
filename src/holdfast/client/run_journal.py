"""A file of runs and their capabilities, so that whoever asked can export what they saw (``spec/client.md`` §7(6)).

One JSON object a line, appended whole: ``began`` with run, capability and who answered; ``ended`` with the code it was
refused with, null where it was handed on. The file belongs to its owner alone, since a capability reads its run's
texts; one that others may read is refused.

Not covered: deleting old lines, which is its owner's to do.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from holdfast.core import canonical
from holdfast.core.canonical import JSON
from holdfast.errors import HoldfastError, RefusedError, UsageError

MODE = 0o600
"""For its owner alone."""


class RunJournal:
    """Appends to one file. Raises ``journal.file`` and ``journal.mode``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._file = os.open(path, flags, MODE)
        except OSError as error:
            raise UsageError("journal.file", f"cannot write {path}: {error.strerror}") from error
        try:
            _refuse_open_to_others(self._file, path)
        except BaseException:
            os.close(self._file)
            raise

    def began(self, at: str, run: str, capability: str, **about: str | None) -> None:
        """A run has an id: from now on its evidence can be asked for."""
        self._append({"event": "began", "at": at, "run": run, "capability": capability, **about})

    def ended(self, at: str, run: str, refused: str | None) -> None:
        """What became of it here."""
        self._append({"event": "ended", "at": at, "run": run, "refused": refused})

    def _append(self, line: dict[str, JSON]) -> None:
        os.write(self._file, canonical.encode(line) + b"\n")

    def close(self) -> None:
        os.close(self._file)


def _refuse_open_to_others(file: int, path: Path) -> None:
    found = os.fstat(file)
    if not stat.S_ISREG(found.st_mode) or found.st_mode & 0o077 or found.st_uid != os.geteuid():
        raise RefusedError(
            "journal.mode",
            f"{path} holds capabilities and is not for its owner alone",
            hint=f"chmod 600 {path}, or name another file",
        )


def find_capability(path: Path, run: str) -> str:
    """The capability of a run in a journal; raises ``journal.file`` or ``journal.run``."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise UsageError("journal.file", f"cannot read {path}: {error.strerror}") from error
    for line in lines:
        try:
            value = canonical.decode_object(line)
        except HoldfastError:
            continue  # a line that a full disk cut off
        if value.get("run") == run and isinstance(value.get("capability"), str):
            return str(value["capability"])
    raise UsageError("journal.run", f"{path} has no run {run}", status=404)
