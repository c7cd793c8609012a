"""Files read in a worker process each, which contains them (``spec/files.md`` §2).

PDF is read by pypdf, office documents by a reader of our own (``_office_reader``): pure Python both, so that what is
malformed breaks a rule of ours and not the memory of a process. A worker that answers too late, or says more than it
may, is killed; one that ends without an answer has broken a bound.

Not covered: text in pictures, and layout beyond the order of lines.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

from holdfast import __version__
from holdfast.core.files import MAX_PAGES, MAX_TEXT_BYTES
from holdfast.errors import MalformedError, RefusedError, UnavailableError
from holdfast.ports.extractor import Extracted

WORKER = Path(__file__).with_name("_file_worker.py")
MAX_ANSWER_BYTES = 8 * MAX_TEXT_BYTES
"""Largest answer that is taken from a worker: JSON writes a character in at most six bytes."""


_READERS = {"pdf": "pypdf", "office": "holdfast"}
"""Which package reads a kind."""


class WorkerExtractor:
    """Implements :class:`holdfast.ports.extractor.Extractor`."""

    def __init__(
        self, *, memory_bytes: int = 512 << 20, cpu_s: int = 20, timeout_s: float = 30.0, at_once: int = 2
    ) -> None:
        """``memory_bytes`` and ``cpu_s`` bound each worker beside what its program itself takes; ``timeout_s`` is for
        one file from its turn on, of which ``at_once`` are read at the same time."""
        self._bounds = {"memory_bytes": memory_bytes, "cpu_s": cpu_s, "pages": MAX_PAGES, "text_bytes": MAX_TEXT_BYTES}
        self._timeout_s = timeout_s
        self._turns = asyncio.Semaphore(at_once)

    async def extract(self, kind: str, data: bytes) -> Extracted:
        reader = _READERS.get(kind)
        if reader is None:
            raise RefusedError("file.type", f"nothing here reads {kind}", status=415)
        version = _version(reader)
        async with self._turns:
            answer = await self._ask(kind, data)
        if "code" in answer:
            raise _refused(answer["code"], str(answer["message"])[:200])
        return Extracted(
            tuple(answer["pages"]),
            answer["paged"],
            answer["media_type"],
            reader,
            version,
            tuple(answer["notes"]),
        )

    async def _ask(self, kind: str, data: bytes) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="holdfast-file-") as folder:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                str(WORKER),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env={},
                cwd=folder,
            )
            head = json.dumps({"kind": kind, **self._bounds}).encode()
            try:
                async with asyncio.timeout(self._timeout_s):
                    _, raw = await asyncio.gather(_hand(process, head + b"\n" + data), _take(process))
                    ended = await process.wait()
            except TimeoutError as error:
                raise _refused("file.time", "reading the file took too long") from error
            finally:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await asyncio.shield(process.wait())
        try:
            found = json.loads(raw)
        except ValueError as error:
            if ended in (-signal.SIGXCPU, -signal.SIGKILL):
                raise _refused("file.time", "reading the file took too long") from error
            raise _refused("file.too_large", "reading the file takes too much memory") from error
        return found if isinstance(found, dict) else {}


def _version(package: str) -> str:
    if package == "holdfast":
        return __version__
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError as error:
        raise UnavailableError(
            "file.no_reader", f"{package} is not installed", hint="pip install 'holdfast[node]'"
        ) from error


async def _hand(process: asyncio.subprocess.Process, data: bytes) -> None:
    if process.stdin is None:
        return
    with contextlib.suppress(ConnectionError):  # it has ended already: its answer, or its end, says why
        process.stdin.write(data)
        await process.stdin.drain()
    process.stdin.close()


async def _take(process: asyncio.subprocess.Process) -> bytes:
    """What a worker answers, as far as anybody takes it."""
    pieces, room = [], MAX_ANSWER_BYTES
    while process.stdout is not None and (piece := await process.stdout.read(1 << 16)):
        pieces.append(piece)
        room -= len(piece)
        if room < 0:
            raise _refused("file.too_large", "there is too much in the file")
    return b"".join(pieces)


def _refused(code: str, message: str) -> RefusedError | MalformedError:
    if code == "file.malformed":
        return MalformedError("file.malformed", message, hint="save it anew with another program")
    if code == "file.encrypted":
        return RefusedError("file.encrypted", message, hint="take the password off first", status=422)
    if code == "file.type":
        return RefusedError("file.type", message, hint="send PDF, docx, xlsx, pptx, text or an image", status=415)
    if code == "file.time":
        return RefusedError("file.time", message, hint="attach the part that matters", status=422)
    return RefusedError("file.too_large", message, hint="attach the part that matters", status=413)
