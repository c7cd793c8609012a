"""Durable storage under one root: what the write-ahead log, the tiles and every state file stand on.

Rules an adapter keeps and a caller may rely on:

* Names are relative, ``/``-separated, of the characters ``A-Z a-z 0-9 . _ -``; folders come into being by themselves.
* Nothing is durable until it was synced: bytes by :meth:`StorageFile.sync`, the *name* of a new, renamed or removed
  file by :meth:`Storage.sync_folder` of its folder. :meth:`Storage.save` does all of it for small files.
* A failed write or sync leaves unknown bytes behind; whoever sees ``storage.failed`` stops and recovers by reopening.
* Methods block. They are cheap (tens of microseconds) on a local disk; the asynchronous facade is :class:`Committer`.

Errors: ``storage.missing``, ``storage.exists``, ``storage.name`` (usage), ``storage.locked`` (conflict),
``storage.failed`` (unavailable: the disk said no).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol


class StorageFile(Protocol):
    """An open file, read and written at explicit offsets."""

    def read(self, offset: int, size_bytes: int) -> bytes:
        """Up to ``size_bytes`` from ``offset``; fewer at the end of the file."""
        ...

    def write(self, offset: int, data: bytes) -> None:
        """Put ``data`` at ``offset``, growing the file if needed. Durable only after :meth:`sync`."""
        ...

    def sync(self) -> None:
        """Make every byte written so far durable (``fdatasync``)."""
        ...

    def truncate(self, size_bytes: int) -> None:
        """Cut or extend (with zeros) the file. Durable only after :meth:`sync`."""
        ...

    def size(self) -> int:
        """The size in bytes."""
        ...

    def close(self) -> None:
        """Let go of the file; further calls are an error. Syncs nothing."""
        ...


class Lock(Protocol):
    """An exclusive lock, given up by :meth:`release` or with the process."""

    def release(self) -> None:
        """Give the lock up; doing so twice is allowed."""
        ...


class Storage(Protocol):
    """Files under one root."""

    def create(self, name: str, size_bytes: int = 0) -> StorageFile:
        """Open a new file of ``size_bytes`` zeros, its space reserved; ``storage.exists`` if there is one."""
        ...

    def open(self, name: str) -> StorageFile:
        """Open a file that exists; ``storage.missing`` if it does not."""
        ...

    def load(self, name: str) -> bytes | None:
        """The whole content, or ``None`` when there is no such file."""
        ...

    def save(self, name: str, data: bytes) -> None:
        """Replace a file as a whole, atomically and durably: after a crash it holds the old bytes or the new ones."""
        ...

    def save_all(self, files: Mapping[str, bytes]) -> None:
        """As :meth:`save` for several files in the mapping's order, with fewer folder syncs. Each file is atomic, the
        set is not: after a crash any of the files may still hold its old bytes; after the return, none does."""
        ...

    def list_names(self, folder: str = "") -> list[str]:
        """Names (without the folder) of the files directly in ``folder``, sorted; none for a missing folder."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file; none is fine. Durable only after :meth:`sync_folder`."""
        ...

    def rename(self, old: str, new: str) -> None:
        """Move ``old`` over ``new`` atomically. Durable only after :meth:`sync_folder` of both folders."""
        ...

    def sync_folder(self, folder: str = "") -> None:
        """Make the names in ``folder`` durable."""
        ...

    def lock(self, name: str) -> Lock:
        """Take the exclusive lock ``name`` at once, or raise ``storage.locked``."""
        ...


RECORD_OVERHEAD_BYTES = 29
"""What a record costs beside its payload: it starts at its position less this and the payload's size."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a write-ahead log."""

    position: int
    """Where the record ends in the stream of records, in bytes; strictly growing, the first is above 0."""
    kind: int
    """What the payload is, 0 to 255; the owner of the log decides."""
    payload: bytes


class RecordLog(Protocol):
    """An append-only log of checksummed records (``adapters/wal.py``)."""

    def append(self, kind: int, payload: bytes) -> int:
        """Add a record and return its position. Not durable before :meth:`sync`."""
        ...

    def sync(self) -> None:
        """Make every appended record durable."""
        ...

    def records(self, after: int = 0) -> Iterator[Record]:
        """Every durable record behind ``after``, in order; ``after`` is 0 or the position of a record."""
        ...

    def record_at(self, start: int) -> Record:
        """The durable record that begins at ``start``: the position of the record before it."""
        ...

    def drop_before(self, position: int) -> None:
        """Allow everything up to and including ``position`` to be forgotten."""
        ...

    @property
    def begin(self) -> int:
        """The position before the oldest record that is still kept."""
        ...

    @property
    def end(self) -> int:
        """The position of the last record, 0 when there was none."""
        ...

    @property
    def durable(self) -> int:
        """The position up to which everything is durable."""
        ...

    def close(self) -> None:
        """Sync and let go."""
        ...


class Committer(Protocol):
    """Commits records from many tasks at once, sharing syncs. A failure of the disk fails every later call too."""

    @property
    def average_us(self) -> float:
        """Moving average of one write and sync, microseconds."""
        ...

    async def commit(self, kind: int, payload: bytes) -> int:
        """Append one record and return its position when it is durable."""
        ...

    async def commit_many(self, records: Iterable[tuple[int, bytes]]) -> list[int]:
        """Append records in order and return their positions when all are durable.

        Without records it waits until everything committed before is durable.
        """
        ...

    def drop_before(self, position: int) -> None:
        """Allow records up to and including ``position`` to be forgotten, some time later."""
        ...

    async def close(self) -> None:
        """Wait for what was committed, then close the log underneath."""
        ...
