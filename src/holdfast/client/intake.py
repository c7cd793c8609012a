"""A file that comes piece by piece: written and hashed side by side, and made durable while more of it comes.

Both ends of a transfer take files in this way: a hub that is sent a model, and whoever pulls one
(``spec/artifacts.md`` §7).

Rules: one piece is taken at a time, and blocks; :func:`take_behind` uses threads. A piece that could not be written
leaves digest and place as they were. Not covered: which digest is the right one, and where a whole file goes.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterable, AsyncIterator, Callable
from concurrent.futures import Executor, Future

from holdfast.ports.storage import StorageFile

TAKEN_BYTES = 4 << 20
"""What is taken at a time: worth a thread's while."""
READ_BYTES = 1 << 20
"""What is read at a time of a file that goes on."""
SYNC_BYTES = 16 << 20
"""After so many bytes a file is made durable, while more of it comes."""


class Intake:
    """One file, its running digest, and how far it is. What it holds already is hashed first, and it goes on there."""

    def __init__(self, file: StorageFile, threads: Executor) -> None:
        """``threads`` hash beside the writing, and sync beside both."""
        self._file = file
        self._threads = threads
        self._running = hashlib.sha256()
        self._synced = 0
        self._syncing: Future[None] = Future()
        """The sync that was begun last. A failed one stays, and fails whatever comes after it."""
        self._syncing.set_result(None)
        self.offset = 0
        """Bytes so far."""
        while data := file.read(self.offset, READ_BYTES):
            self._running.update(data)
            self.offset += len(data)

    def take(self, data: bytes) -> None:
        """Put a piece behind what is there. Raises ``storage.failed``."""
        running = self._running.copy()
        hashing = self._threads.submit(running.update, data)
        try:
            self._file.write(self.offset, data)
        finally:
            hashing.result()
        self._running = running
        self.offset += len(data)
        if self.offset - self._synced >= SYNC_BYTES and self._syncing.done():
            self._syncing.result()
            self._syncing = self._threads.submit(self._file.sync)
            self._synced = self.offset

    def digest(self) -> str:
        """SHA-256 (hex) of what is there."""
        return self._running.hexdigest()

    def sync(self) -> None:
        """Make all of it durable. Raises ``storage.failed``."""
        self._syncing.result()
        self._file.sync()

    def close(self) -> None:
        """Let go of the file once nothing is synced any more. Raises ``storage.failed``."""
        try:
            self._syncing.result()
        finally:
            self._file.close()


async def take_behind(pieces: AsyncIterable[bytes], take: Callable[[bytes], object]) -> None:
    """Hand what comes to ``take``, in a thread and in order, while the next of it comes.

    It is called at least once, be it with nothing, and has ended when this ends, however it does.
    """
    taking: asyncio.Task[object] | None = None
    try:
        async for piece in _gathered(pieces):
            if taking is not None:
                await taking
            taking = asyncio.create_task(asyncio.to_thread(take, piece))
        if taking is not None:
            await taking
    finally:
        if taking is not None and not taking.done():
            await asyncio.gather(taking, return_exceptions=True)


async def _gathered(pieces: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in pieces of :data:`TAKEN_BYTES` or more, but for the last one; at least one, be it empty."""
    held: list[bytes] = []
    size = sent = 0
    async for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= TAKEN_BYTES:
            yield b"".join(held)
            held, sent, size = [], sent + 1, 0
    if size or not sent:
        yield b"".join(held)
