"""Files by their SHA-256, taken in piece by piece (``spec/artifacts.md`` §7), and where they are kept.

Rules: what is there under a digest has that digest; it came in under ``uploads/``, was hashed as it came, synced, and
moved. An upload that broke off goes on where it ended, in this process or another; then it is hashed from the start. A
piece that does not begin where the file ends is refused with the right place. All of it blocks: callers use threads.

Whole files lie in the hub's own folder, or, cut into parts, in a store (``nodes/hub/parts.py``). Files that are in the
folder already stay there and are read from there.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor

from holdfast.client.intake import Intake
from holdfast.core import canonical
from holdfast.core.encoding import hex_decode, time_decode, time_encode
from holdfast.errors import ConflictError, HoldfastError, RefusedError, UsageError
from holdfast.nodes.hub.parts import FileParts
from holdfast.ports.storage import Storage, StorageFile

BLOBS, UPLOADS = "blobs", "uploads"
"""Folders of the storage; the first is laid out as ``adapters/blobs_files.py`` has it."""
SEEN = "uploads.json"
"""How large each upload was when it was last looked at, and since when."""
PIECE_BYTES = 1 << 20
"""What is read at a time."""
THREADS = 4
"""Pieces that are hashed, and uploads that are synced, at once."""
MAX_OPEN = 64
"""Uploads whose running digest is kept in memory."""


class Upload(Intake):
    """An upload under way in this process, and who writes to it."""

    def __init__(self, file: StorageFile, threads: Executor) -> None:
        super().__init__(file, threads)
        self.lock = threading.Lock()


class ModelFiles:
    """Files in a storage."""

    def __init__(self, storage: Storage, file_bytes: int, parts: FileParts | None = None) -> None:
        """``parts`` takes whole files, where they are not to stay in the folder."""
        self._storage = storage
        self._parts = parts
        self._file_bytes = file_bytes
        self._open: dict[str, Upload] = {}
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(THREADS, "holdfast-hub-files")

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Name the loop that a store is asked by."""
        if self._parts is not None:
            self._parts.attach(loop)

    def size(self, digest: str) -> int | None:
        """Bytes of a whole file; None where it is not here."""
        try:
            file = self._storage.open(_blob(digest))
        except UsageError:
            return None if self._parts is None else self._parts.size(digest)
        try:
            return file.size()
        finally:
            file.close()

    def begin(self, digest: str, size: int) -> int:
        """How much of a file is here; from there on it is to be sent. Raises ``hub.file_size``."""
        hex_decode(digest, 32)
        if not 0 <= size <= self._file_bytes:
            raise RefusedError("hub.file_size", f"a file has at most {self._file_bytes} bytes here", status=413)
        whole = self.size(digest)
        if whole is not None:
            return whole
        upload = self._upload(digest)
        with upload.lock:
            return self._finish(digest, upload, size)

    def write(self, digest: str, offset: int, data: bytes, size: int) -> int:
        """Take a piece in and return how far the file is; at ``size`` it is checked and kept. Raises ``hub.offset``,
        ``hub.file_size`` or ``artifact.digest``."""
        whole = self.size(digest)
        if whole is not None:
            return whole
        upload = self._upload(digest)
        with upload.lock:
            if offset != upload.offset:
                raise ConflictError(
                    "hub.offset", f"the file is {upload.offset} bytes long, and the piece begins at {offset}",
                    hint="ask how much is here, and go on from there",
                )  # fmt: skip
            if offset + len(data) > size or size > self._file_bytes:
                raise RefusedError("hub.file_size", "more bytes came than the file has", status=413)
            upload.take(data)
            return self._finish(digest, upload, size)

    def _finish(self, digest: str, upload: Upload, size: int) -> int:
        if upload.offset < size:
            return upload.offset
        found = upload.digest()
        if found != digest:
            self._forget(digest, upload)
            self._storage.remove(_upload(digest))
            says = f"the file that came has SHA-256 {found[:12]}…, and not {digest[:12]}…; all of it is dropped"
            raise RefusedError("artifact.digest", says, param=digest)
        upload.sync()
        self._forget(digest, upload)
        if self._parts is not None:
            self._to_parts(digest, size, self._parts)
            return size
        self._storage.rename(_upload(digest), _blob(digest))
        self._storage.sync_folder(_blob(digest).rpartition("/")[0])
        return size

    def _to_parts(self, digest: str, size: int, parts: FileParts) -> None:
        """Hand a whole upload over; it stays here until the store has all of it."""
        file = self._storage.open(_upload(digest))
        try:
            parts.keep(digest, size, file)
        finally:
            file.close()
        self._storage.remove(_upload(digest))
        self._storage.sync_folder(UPLOADS)

    def _upload(self, digest: str) -> Upload:
        with self._lock:
            found = self._open.get(digest)
            if found is not None:
                return found
            idle = [name for name, upload in self._open.items() if not upload.lock.locked()]
            for name in idle[: max(0, len(self._open) - MAX_OPEN + 1)]:
                self._open.pop(name).close()
            upload = self._open[digest] = self._reopen(digest)
            return upload

    def _reopen(self, digest: str) -> Upload:
        """What is left of an upload from before, hashed again; or a new one."""
        try:
            file = self._storage.open(_upload(digest))
        except UsageError:
            file = self._storage.create(_upload(digest))
        return Upload(file, self._threads)

    def _forget(self, digest: str, upload: Upload) -> None:
        with self._lock:
            self._open.pop(digest, None)
        upload.close()

    def sweep(self, now: dt.datetime, days: int) -> int:
        """Throw away uploads that nobody went on with for so long, and return how many. When each was last seen to
        grow stands in a file, so that it counts over restarts."""
        raw = self._storage.load(SEEN)
        before = {} if raw is None else canonical.decode_object(raw)
        kept: dict[str, canonical.JSON] = {}
        removed = 0
        for name in self._storage.list_names(UPLOADS):
            size, since = self._upload_size(name), time_encode(now)
            known = before.get(name)
            if isinstance(known, list) and known[0] == size:
                since = known[1]
            if now - time_decode(since) >= dt.timedelta(days=days) and self._throw_away(name):
                removed += 1
            else:
                kept[name] = [size, since]
        if kept != before:
            self._storage.save(SEEN, canonical.encode(kept))
        return removed

    def _upload_size(self, digest: str) -> int:
        file = self._storage.open(_upload(digest))
        try:
            return file.size()
        finally:
            file.close()

    def _throw_away(self, digest: str) -> bool:
        """Remove an upload unless somebody is writing it right now."""
        with self._lock:
            open_here = self._open.get(digest)
            if open_here is not None:
                if open_here.lock.locked():
                    return False
                self._open.pop(digest).close()
            self._storage.remove(_upload(digest))
            self._storage.sync_folder(UPLOADS)
        return True

    def read(self, digest: str, offset: int, size: int) -> bytes:
        """Some bytes of a whole file, checked by whoever reads all of it. Raises ``hub.unknown``."""
        if self._in_parts(digest):
            return b"".join(self.pieces(digest, offset, offset + size))
        file = self._file(digest)
        try:
            return file.read(offset, size)
        finally:
            file.close()

    def pieces(self, digest: str, offset: int, end: int) -> Iterator[bytes]:
        """A whole file from ``offset`` up to ``end``, in pieces."""
        if self._parts is not None and self._in_parts(digest):
            yield from self._parts.pieces(digest, offset, end)
            return
        file = self._file(digest)
        try:
            while offset < end:
                data = file.read(offset, min(PIECE_BYTES, end - offset))
                if not data:
                    return
                offset += len(data)
                yield data
        finally:
            file.close()

    def _in_parts(self, digest: str) -> bool:
        return self._parts is not None and self._parts.size(digest) is not None

    def _file(self, digest: str) -> StorageFile:
        try:
            return self._storage.open(_blob(digest))
        except UsageError as error:
            raise UsageError("hub.unknown", f"there is no file {digest[:12]}… here", status=404) from error

    def close(self) -> None:
        """Let go of every upload; they go on from where they are."""
        for upload in list(self._open.values()):
            with contextlib.suppress(HoldfastError):
                upload.close()
        self._open.clear()
        self._threads.shutdown()


def _blob(digest: str) -> str:
    hex_decode(digest, 32)
    return f"{BLOBS}/{digest[:2]}/{digest[2:]}"


def _upload(digest: str) -> str:
    hex_decode(digest, 32)
    return f"{UPLOADS}/{digest}"
