"""Write-ahead log: checksummed records in preallocated segments, and group commit on top (``spec/log.md`` §7).

A *position* is the offset just past a record in the endless stream of records; it only grows, and it stays the same
when old segments are dropped. A segment file is a header, then records; the header says at which position it begins::

    segment  <folder>/<sequence, 20 digits>.wal
    header   magic "HFWALSEG" | sequence u64 | base position u64 | crc32 u32                      (28 bytes, big-endian)
    record   magic "hRec" | payload bytes u32 | start u64 | durable u64 | kind u8 | crc32 u32 | payload  (29 + payload)

The checksum covers everything else in the header and the payload. ``start`` is where the record itself begins, so bytes
from elsewhere never pass; ``durable`` is how far the log was durable when the record was written.

Rules:

* Recovery reads the newest segment up to the first record that does not check. What follows is a **torn tail** (a
  crash hit unsynced writes; nobody was told they were durable) and is cut, *unless* some later record testifies,
  through its ``durable`` field, that the damaged place had been synced. Then acknowledged bytes are gone and
  ``wal.corrupt`` is raised; nothing is cut. Damage to the very last synced batch cannot be told from a torn one by any
  log without a second copy; an owner that can (the log node has signed checkpoints) compares
  :attr:`WriteAheadLog.end` with what it promised.
* Every opening starts a new segment whose base is the end of the valid records, so bytes that a dead or stale writer
  still has in flight towards the old segment can never become records.
* A segment is zero-filled ahead of the records, one step at a time, so that an ordinary ``sync`` writes no metadata.
* After any failure of the disk the log refuses everything (``wal.stopped``). Retrying a failed ``fsync`` would report
  success for pages the system has already dropped.

:class:`WriteAheadLog` is not thread-safe; :class:`GroupCommit` owns one and is used from one event loop.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import struct
import threading
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from holdfast.errors import MalformedError, UnavailableError, UsageError
from holdfast.ports.storage import RECORD_OVERHEAD_BYTES, Record, Storage, StorageFile

__all__ = ["DEFAULT_SEGMENT_BYTES", "RECORD_OVERHEAD_BYTES", "GroupCommit", "WriteAheadLog"]

_log = logging.getLogger(__name__)

_SEGMENT_MAGIC = b"HFWALSEG"
_SEGMENT = struct.Struct(">8sQQI")
_SEGMENT_BODY = struct.Struct(">8sQQ")
_RECORD_MAGIC = b"hRec"
_RECORD = struct.Struct(">4sIQQBI")
_RECORD_BODY = struct.Struct(">4sIQQB")
_SEQUENCE_DIGITS = 20
"""Digits of a segment's file name: any unsigned 64-bit number, so names sort like numbers."""
DEFAULT_SEGMENT_BYTES = 16 * 1024 * 1024
"""Size of a segment file unless the caller says otherwise."""
_FILL_BYTES = 256 * 1024
"""How far zeros are written ahead of the records at a time; a larger write pays for its own metadata."""
_READ_BYTES = 1024 * 1024
"""How much is read at a time when records are read back."""


@dataclass(slots=True)
class _Segment:
    name: str
    sequence: int
    base: int


def _stopped(why: str) -> UnavailableError:
    return UnavailableError(
        "wal.stopped", f"the write-ahead log stopped: {why}", hint="look at the disk, then restart this node"
    )


def _segment_header(sequence: int, base: int) -> bytes:
    body = _SEGMENT_BODY.pack(_SEGMENT_MAGIC, sequence, base)
    return body + zlib.crc32(body).to_bytes(4)


def _parse_segment_header(raw: bytes, sequence: int) -> int | None:
    """The base position, or ``None`` when the header does not check."""
    if len(raw) != _SEGMENT.size:
        return None
    magic, claimed_sequence, base, checksum = _SEGMENT.unpack(raw)
    if magic != _SEGMENT_MAGIC or claimed_sequence != sequence or zlib.crc32(raw[:-4]) != checksum:
        return None
    return int(base)


def _parse_record(raw: bytes | memoryview, offset: int) -> tuple[int, int, int, bytes] | None:
    """(start, durable, kind, payload) of a record at ``offset`` that checks, or ``None``."""
    if offset + _RECORD.size > len(raw):
        return None
    magic, size, start, durable, kind, checksum = _RECORD.unpack_from(raw, offset)
    begin = offset + _RECORD.size
    if magic != _RECORD_MAGIC or begin + size > len(raw):
        return None
    payload = bytes(raw[begin : begin + size])
    if zlib.crc32(payload, zlib.crc32(raw[offset : begin - 4])) != checksum:
        return None
    return start, durable, kind, payload


def _places(raw: bytes, begin: int) -> Iterator[int]:
    """Every place from ``begin`` on where a record may start."""
    place = raw.find(_RECORD_MAGIC, begin)
    while place >= 0:
        yield place
        place = raw.find(_RECORD_MAGIC, place + 1)


def _find_end(raw: bytes, segment: _Segment) -> int:
    """The position after the last record that checks; ``wal.corrupt`` if a later one says that more was durable."""
    offset, start = _SEGMENT.size, segment.base
    view = memoryview(raw)
    while (record := _parse_record(view, offset)) is not None and record[0] == start:
        offset += _RECORD.size + len(record[3])
        start = segment.base + offset - _SEGMENT.size
    for place in _places(raw, offset):
        later = _parse_record(view, place)
        if later is not None and later[0] == segment.base + place - _SEGMENT.size and later[1] > start:
            raise MalformedError("wal.corrupt", f"{segment.name} is damaged at position {start}, which was durable")
    return start


class WriteAheadLog:
    """An append-only log of records in ``folder`` of a storage; see the module's rules.

    ``segment_bytes`` bounds one segment file and so one record. Opening recovers: it cuts a torn tail, raises
    ``wal.corrupt`` for any other damage, and makes durable whatever it found.
    """

    def __init__(self, storage: Storage, folder: str, segment_bytes: int = DEFAULT_SEGMENT_BYTES) -> None:
        if segment_bytes < _SEGMENT.size + _RECORD.size:
            raise UsageError("wal.segment_size", "a segment holds at least one record")
        self._storage = storage
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._failure: str | None = None
        self._pending: list[bytes] = []
        self._segments: list[_Segment] = []
        self._durable = 0
        self._end = 0
        self._recover()

    @property
    def begin(self) -> int:
        """Position before the oldest record that is still kept."""
        return self._segments[0].base

    @property
    def end(self) -> int:
        """Position of the last record, durable or not; 0 when there was none."""
        return self._end

    @property
    def durable(self) -> int:
        """Position up to which everything is durable."""
        return self._durable

    @property
    def max_payload_bytes(self) -> int:
        """The largest payload one record may have."""
        return self._segment_bytes - _SEGMENT.size - _RECORD.size

    def append(self, kind: int, payload: bytes) -> int:
        """Add a record and return its position; it is durable after :meth:`sync`. Raises ``wal.record_size``."""
        if self._failure is not None:
            raise _stopped(self._failure)
        size = RECORD_OVERHEAD_BYTES + len(payload)
        if size > self._segment_bytes - _SEGMENT.size:
            raise UsageError("wal.record_size", f"a record holds at most {self.max_payload_bytes} bytes")
        if _SEGMENT.size + self._end - self._segments[-1].base + size > self._segment_bytes:
            self.sync()
            full = self._file
            self._begin_segment()
            full.close()
        body = _RECORD_BODY.pack(_RECORD_MAGIC, len(payload), self._end, self._durable, kind)
        self._pending.append(body + zlib.crc32(payload, zlib.crc32(body)).to_bytes(4) + payload)
        self._end += size
        return self._end

    def sync(self) -> None:
        """Write and sync every appended record: one write, one ``fdatasync``. A failure stops the log for good."""
        if self._failure is not None:
            raise _stopped(self._failure)
        if not self._pending:
            return
        data = self._pending[0] if len(self._pending) == 1 else b"".join(self._pending)
        offset = _SEGMENT.size + self._durable - self._segments[-1].base
        try:
            if offset + len(data) > self._filled and len(data) < _FILL_BYTES:
                data = self._fill(offset, data)
            self._file.write(offset, data)
            self._file.sync()
        except UnavailableError as error:
            self._failure = error.message
            raise _stopped(error.message) from error
        self._pending.clear()
        self._durable = self._end

    def records(self, after: int = 0) -> Iterator[Record]:
        """Every durable record with a position above ``after``, in order. Raises ``wal.corrupt``.

        ``after`` is 0 or the position of a record: reading goes on right behind it.

        Reading what :meth:`drop_before` has already forgotten raises ``wal.dropped``: a reader that missed records must
        not think that there were none.
        """
        if after < self._segments[0].base:
            raise UsageError(
                "wal.dropped", f"records after {after} are gone; the oldest begin at {self._segments[0].base}"
            )
        segments = list(self._segments)
        durable = self._durable
        for index, segment in enumerate(segments):
            limit = segments[index + 1].base if index + 1 < len(segments) else durable
            if limit > after:
                yield from self._read_segment(segment, limit, after)

    def drop_before(self, position: int) -> None:
        """Allow records up to and including ``position`` to be forgotten; whole segments go, the newest one stays.

        Each removal is durable before the next, oldest first: a crash in between leaves no hole.
        """
        while len(self._segments) > 1 and self._segments[1].base <= position:
            self._storage.remove(self._segments.pop(0).name)
            self._storage.sync_folder(self._folder)

    def close(self) -> None:
        """Sync what is pending, unless the log has stopped, and let go of the file."""
        try:
            if self._failure is None:
                self.sync()
        finally:
            self._file.close()

    # Writing

    def _fill(self, offset: int, data: bytes) -> bytes:
        """Lengthen ``data`` with zeros up to the next fill step, so that later writes land on written blocks."""
        step = min(_FILL_BYTES, self._segment_bytes)
        filled = min(-(-(offset + len(data)) // step) * step, self._segment_bytes)
        self._filled = filled
        return data + bytes(filled - offset - len(data))

    def _begin_segment(self) -> None:
        """Create the next segment, durable with its header before anything is written to it."""
        sequence = self._segments[-1].sequence + 1 if self._segments else 1
        segment = _Segment(f"{self._folder}/{sequence:0{_SEQUENCE_DIGITS}d}.wal", sequence, self._end)
        try:
            file = self._storage.create(segment.name, self._segment_bytes)
            file.write(0, _segment_header(sequence, segment.base))
            file.sync()
            self._storage.sync_folder(self._folder)
        except UnavailableError as error:
            self._failure = error.message
            raise _stopped(error.message) from error
        self._file: StorageFile = file
        self._filled = _SEGMENT.size
        self._segments.append(segment)

    # Recovery

    def _recover(self) -> None:
        """Find the segments and the end of the valid records, then begin a new segment there."""
        found = self._find_segments()
        if found and self._base_of(*found[-1]) is None:
            self._remove_unused(found.pop()[1])
        for sequence, name in found:
            base = self._base_of(sequence, name)
            if base is None or base < self._end:
                raise MalformedError("wal.corrupt", f"the header of {name} is damaged")
            self._segments.append(_Segment(name, sequence, base))
            self._end = base
        if found:
            self._end = self._recover_end(self._segments[-1])
        self._durable = self._end
        previous = self._segments[-1] if self._segments else None
        self._begin_segment()
        if previous is not None:
            self._tidy(previous)

    def _find_segments(self) -> list[tuple[int, str]]:
        found = []
        for name in self._storage.list_names(self._folder):
            stem, _, suffix = name.partition(".")
            if suffix == "wal" and len(stem) == _SEQUENCE_DIGITS and stem.isdecimal():
                found.append((int(stem), f"{self._folder}/{name}"))
        return sorted(found)

    def _base_of(self, sequence: int, name: str) -> int | None:
        file = self._storage.open(name)
        try:
            return _parse_segment_header(file.read(0, _SEGMENT.size), sequence)
        finally:
            file.close()

    def _remove_unused(self, name: str) -> None:
        """Remove a newest segment that was never finished; a damaged header above records is ``wal.corrupt``."""
        file = self._storage.open(name)
        try:
            raw = file.read(0, file.size())
        finally:
            file.close()
        if any(_parse_record(raw, place) is not None for place in _places(raw, 0)):
            raise MalformedError("wal.corrupt", f"the header of {name} is damaged")
        self._storage.remove(name)
        self._storage.sync_folder(self._folder)

    def _recover_end(self, segment: _Segment) -> int:
        """The position after the last record of the newest segment, made durable.

        A killed process leaves records that are visible but not durable. They count from here on, so they are synced
        before anybody can act on them.
        """
        file = self._storage.open(segment.name)
        try:
            end = _find_end(file.read(0, file.size()), segment)
            file.sync()
        finally:
            file.close()
        return end

    def _tidy(self, previous: _Segment) -> None:
        """Give back the space behind the last record of the segment that was the newest; remove it if it has none."""
        if previous.base == self._end:
            self._storage.remove(previous.name)
            self._segments.remove(previous)
            self._storage.sync_folder(self._folder)
            return
        file = self._storage.open(previous.name)
        try:
            file.truncate(_SEGMENT.size + self._end - previous.base)
        finally:
            file.close()

    # Reading

    def record_at(self, start: int) -> Record:
        """The one durable record that begins at position ``start``. Raises ``wal.dropped`` or ``wal.corrupt``."""
        if start < self._segments[0].base:
            raise UsageError("wal.dropped", f"the record at {start} is gone; the oldest begin at {self.begin}")
        segment = max((item for item in self._segments if item.base <= start), key=lambda item: item.base)
        file = self._storage.open(segment.name)
        try:
            offset = _SEGMENT.size + start - segment.base
            size = self._record_size(file, offset, segment, start, self._durable)
            record = _parse_record(file.read(offset, size), 0)
        finally:
            file.close()
        if record is None or record[0] != start:
            raise MalformedError("wal.corrupt", f"{segment.name} has no record at position {start}")
        return Record(start + _RECORD.size + len(record[3]), record[2], record[3])

    def _read_segment(self, segment: _Segment, limit: int, after: int) -> Iterator[Record]:
        file = self._storage.open(segment.name)
        try:
            position, raw, origin = max(segment.base, after), b"", 0
            while position < limit:
                offset = _SEGMENT.size + position - segment.base
                record = _parse_record(raw, offset - origin) if raw else None
                if record is None:
                    size = self._record_size(file, offset, segment, position, limit)
                    raw, origin = file.read(offset, max(size, _READ_BYTES)), offset
                    record = _parse_record(raw, 0)
                if record is None or record[0] != position:
                    raise MalformedError("wal.corrupt", f"{segment.name} is damaged at position {position}")
                position += _RECORD.size + len(record[3])
                if position > limit:
                    raise MalformedError("wal.corrupt", f"{segment.name} runs past position {limit}")
                yield Record(position, record[2], record[3])
        finally:
            file.close()

    @staticmethod
    def _record_size(file: StorageFile, offset: int, segment: _Segment, position: int, limit: int) -> int:
        head = file.read(offset, _RECORD.size)
        if len(head) == _RECORD.size:
            magic, size, *_ = _RECORD.unpack(head)
            if magic == _RECORD_MAGIC and position + _RECORD.size + size <= limit:
                return int(_RECORD.size + size)
        raise MalformedError("wal.corrupt", f"{segment.name} is damaged at position {position}")


_Item = tuple[list[tuple[int, bytes]], "asyncio.Future[list[int]]"]


class GroupCommit:
    """Commits from many tasks of one event loop, sharing one write and one sync per turn of the loop.

    Everything committed during one turn is written and synced at its end, on the loop's thread: on a disk that syncs in
    tens of microseconds that beats any hand-over to a thread, both in latency alone and in throughput together (the
    numbers are in ``bench/wal_commit.py``). When syncs turn slow (their moving average passes ``inline_limit_us``) the
    work moves to one writer thread, and back when they are fast again, so a slow disk delays commits and nothing else.

    ``mode`` fixes the choice: ``inline``, ``thread`` or ``auto``. A failure of the disk fails everyone who waits and
    every later call with ``wal.stopped``. A cancelled waiter's record may still become durable.
    """

    def __init__(
        self,
        log: WriteAheadLog,
        *,
        mode: Literal["auto", "inline", "thread"] = "auto",
        inline_limit_us: int = 2000,
    ) -> None:
        self._log = log
        self._mode = mode
        self._inline_limit_us = inline_limit_us
        self._items: list[_Item] = []
        self._scheduled = False
        self._busy = False
        self._closed = False
        self._failure: BaseException | None = None
        self._average_us = 0.0
        self._drop_to = 0
        self._drained: asyncio.Future[None] | None = None
        self._queue: queue.SimpleQueue[tuple[asyncio.AbstractEventLoop, list[_Item]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    @property
    def average_us(self) -> float:
        """Moving average of one write and sync, microseconds."""
        return self._average_us

    @property
    def end(self) -> int:
        """Position of the last durable record."""
        return self._log.durable

    async def commit(self, kind: int, payload: bytes) -> int:
        """Append one record; returns its position when it is durable."""
        return (await self._enqueue([(kind, payload)]))[0]

    async def commit_many(self, records: Iterable[tuple[int, bytes]]) -> list[int]:
        """Append records, contiguous and in order; returns their positions when all are durable."""
        return await self._enqueue(list(records))

    def _enqueue(self, batch: list[tuple[int, bytes]]) -> asyncio.Future[list[int]]:
        """Have records written at the end of this turn of the loop; the future is done when they are durable."""
        if self._failure is not None:
            raise _stopped(str(self._failure)) from self._failure
        if self._closed:
            raise UsageError("wal.closed", "the write-ahead log is closed")
        largest = self._log.max_payload_bytes
        for _, payload in batch:
            if len(payload) > largest:
                raise UsageError("wal.record_size", f"a record holds at most {largest} bytes")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[list[int]] = loop.create_future()
        self._items.append((batch, done))
        if not self._scheduled and not self._busy:
            self._scheduled = True
            loop.call_soon(self._flush, loop)
        return done

    def drop_before(self, position: int) -> None:
        """Allow records up to and including ``position`` to be forgotten; it happens with one of the next commits."""
        self._drop_to = max(self._drop_to, position)

    async def close(self) -> None:
        """Wait for what was committed, stop the writer thread and close the log."""
        self._closed = True
        if self._items or self._busy:
            self._drained = asyncio.get_running_loop().create_future()
            await self._drained
        if self._thread is not None:
            self._queue.put(None)
            await asyncio.get_running_loop().run_in_executor(None, self._thread.join)
        self._log.close()

    def _flush(self, loop: asyncio.AbstractEventLoop) -> None:
        """End of a turn: take everything that was committed and write it."""
        self._scheduled = False
        items, self._items = self._items, []
        if not items:
            return
        if self._mode == "inline" or (self._mode == "auto" and self._average_us <= self._inline_limit_us):
            self._resolve(items, *self._write(items))
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="holdfast-wal", daemon=True)
            self._thread.start()
        self._busy = True
        self._queue.put((loop, items))

    def _run(self) -> None:
        """The writer thread; it touches the log only between being handed items and reporting them."""
        while (job := self._queue.get()) is not None:
            loop, items = job
            positions, failure = self._write(items)
            try:
                loop.call_soon_threadsafe(self._after, loop, items, positions, failure)
            except RuntimeError:
                _log.warning("the event loop closed before its commits were reported")
                return

    def _after(
        self,
        loop: asyncio.AbstractEventLoop,
        items: list[_Item],
        positions: list[list[int]],
        failure: BaseException | None,
    ) -> None:
        self._busy = False
        self._resolve(items, positions, failure)
        if self._items and not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._flush, loop)

    def _write(self, items: list[_Item]) -> tuple[list[list[int]], BaseException | None]:
        """Append and sync; the only place that touches the log. Every failure is final."""
        started = time.perf_counter()
        append = self._log.append
        try:
            positions = [[append(kind, payload) for kind, payload in batch] for batch, _ in items]
            self._log.sync()
            if self._drop_to > self._log.begin:
                self._log.drop_before(self._drop_to)
        except BaseException as error:  # noqa: BLE001 - whatever stopped a write must reach everyone who waits for it
            return [], error
        spent_us = (time.perf_counter() - started) * 1e6
        self._average_us += (spent_us - self._average_us) / 16
        return positions, None

    def _resolve(self, items: list[_Item], positions: list[list[int]], failure: BaseException | None) -> None:
        """Tell everyone who waits; a failure also goes to those who came meanwhile."""
        if failure is None:
            for (_, done), result in zip(items, positions, strict=True):
                if not done.done():
                    done.set_result(result)
        else:
            self._failure = failure
            waiting, self._items = self._items, []
            for _, done in (*items, *waiting):
                if not done.done():
                    done.set_exception(failure)
        if self._drained is not None and not self._items and not self._drained.done():
            self._drained.set_result(None)
