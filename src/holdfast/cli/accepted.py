"""What a caller of ``holdfast verify`` remembers: the newest trust version it has accepted (``trust.md`` §2.1).

Rules:

1. A trust file that ends before the remembered version, or holds another one in its place, is refused.
2. A newer one is remembered when its whole chain has been walked, before the bundle is read: what is accepted is
   trust, whatever the bundle says.
3. The file is replaced as a whole, and reading, walking and replacing happen under a lock of its folder: of two calls
   at once neither takes the other one's memory back.
4. A file that cannot be read as one of ours is an error, never an empty memory.

Not covered: whoever may write the file may take the memory back.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from holdfast.core import canonical
from holdfast.core.encoding import hex_decode
from holdfast.core.trust import Trust
from holdfast.errors import HoldfastError, MalformedError, UnavailableError, UsageError

ACCEPTED_TYPE = "urn:holdfast:accepted-trust:v1"
"""``type`` of the file (``trust.md`` §2.1)."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """A trust document, and the version that was accepted before it: None the first time."""

    trust: Trust
    before: int | None


def open_remembered(path: Path, walk: Callable[[tuple[int, str] | None], Trust]) -> Remembered:
    """Walk a trust file with what was accepted before, and remember it when it is newer.

    ``walk`` takes the (version, digest) accepted before and raises ``trust.rollback`` or ``trust.fork``. Raises
    ``accepted.file`` for a memory that cannot be read and ``output.file`` when it cannot be written.
    """
    with _locked(path):
        before = read_accepted(path)
        trust = walk(before)
        if before is None or trust.version > before[0]:
            _replace(path, build_accepted(trust.version, trust.digest))
    return Remembered(trust, before[0] if before else None)


def read_accepted(path: Path) -> tuple[int, str] | None:
    """The version and digest that were accepted before; None when there is no file yet. Raises ``accepted.file``."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError("usage.file", f"cannot read {path}: {error.strerror}") from error
    try:
        return parse_accepted(raw)
    except HoldfastError as error:
        raise MalformedError(
            "accepted.file",
            f"{path} does not say which trust was accepted before: {error.message}",
            hint="restore it; or compare the trust document over another way, then remove the file to begin anew",
        ) from error


def parse_accepted(raw: bytes) -> tuple[int, str]:
    """Bytes to (version, digest); raises ``accepted.file`` and what JSON and hex raise."""
    value = canonical.decode_object(raw)
    version, digest = value.get("version"), value.get("digest")
    if value.keys() != {"type", "version", "digest"} or value["type"] != ACCEPTED_TYPE:
        raise MalformedError("accepted.file", f"not a {ACCEPTED_TYPE}")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1 or not isinstance(digest, str):
        raise MalformedError("accepted.file", "a version is an integer from 1 on, and a digest is hex")
    hex_decode(digest, 32)
    return version, digest


def build_accepted(version: int, digest: str) -> bytes:
    """The inverse of :func:`parse_accepted`."""
    return canonical.encode({"type": ACCEPTED_TYPE, "version": version, "digest": digest}) + b"\n"


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the folder of a file: one call at a time reads and replaces what lies in it."""
    try:
        folder = os.open(path.parent, os.O_RDONLY)
    except OSError as error:
        raise UsageError("usage.file", f"cannot open the folder of {path}: {error.strerror}") from error
    try:
        with contextlib.suppress(ModuleNotFoundError):  # where there is no such lock, two calls at once may race
            import fcntl  # noqa: PLC0415

            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UnavailableError("output.file", f"cannot write {path}: {error.strerror}") from error
