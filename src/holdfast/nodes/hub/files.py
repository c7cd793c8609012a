"""Files by their SHA-256, taken in piece by piece (``spec/artifacts.md`` §7).

Rules: what is there under a digest has that digest; it came in under ``uploads/``, was hashed as it came, synced, and
moved. An upload that broke off goes on where it ended, in this process or another; then it is hashed from the start. A
piece that does not begin where the file ends is refused with the right place. All of it blocks: callers use threads.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor

from holdfast.client.intake import Intake
from holdfast.core.encoding import hex_decode
from holdfast.errors import ConflictError, HoldfastError, RefusedError, UsageError
from holdfast.ports.storage import Storage, StorageFile

BLOBS, UPLOADS = "blobs", "uploads"
"""Folders of the storage; the first is laid out as ``adapters/blobs_files.py`` has it."""
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

    def __init__(self, storage: Storage, file_bytes: int) -> None:
        self._storage = storage
        self._file_bytes = file_bytes
        self._open: dict[str, Upload] = {}
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(THREADS, "holdfast-hub-files")

    def size(self, digest: str) -> int | None:
        """Bytes of a whole file; None where it is not here."""
        try:
            file = self._storage.open(_blob(digest))
        except UsageError:
            return None
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
        if size == 0:
            return self._finish(digest, self._upload(digest), 0)
        return self._upload(digest).offset

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
        self._storage.rename(_upload(digest), _blob(digest))
        self._storage.sync_folder(_blob(digest).rpartition("/")[0])
        return size

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

    def read(self, digest: str, offset: int, size: int) -> bytes:
        """Some bytes of a whole file, checked by whoever reads all of it. Raises ``hub.unknown``."""
        file = self._file(digest)
        try:
            return file.read(offset, size)
        finally:
            file.close()

    def pieces(self, digest: str, offset: int, end: int) -> Iterator[bytes]:
        """A whole file from ``offset`` up to ``end``, in pieces."""
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
