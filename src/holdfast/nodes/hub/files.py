"""Files by their SHA-256, taken in piece by piece (``spec/artifacts.md`` §7).

Rules: what is there under a digest has that digest; it came in under ``uploads/``, was hashed as it came, synced, and
moved. An upload that broke off goes on where it ended, in this process or another; then it is hashed from the start. A
piece that does not begin where the file ends is refused with the right place. All of it blocks: callers use threads.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from holdfast.core.encoding import hex_decode
from holdfast.errors import ConflictError, HoldfastError, RefusedError, UsageError
from holdfast.ports.storage import Storage, StorageFile

BLOBS, UPLOADS = "blobs", "uploads"
"""Folders of the storage; the first is laid out as ``adapters/blobs_files.py`` has it."""
PIECE_BYTES = 1 << 20
"""What is read at a time."""
SYNC_BYTES = 16 << 20
"""After so many bytes an upload is made durable, while more of it comes."""
MAX_OPEN = 64
"""Uploads whose running digest is kept in memory."""


class Upload:
    """An upload under way in this process: its file, its running digest, how far it is."""

    def __init__(self, file: StorageFile) -> None:
        self.file = file
        self.running = hashlib.sha256()
        self.offset = 0
        self.synced = 0
        self.syncing: Future[None] = Future()
        """The last sync that was begun beside the writing, so that the end of a large file waits for little."""
        self.syncing.set_result(None)
        self.lock = threading.Lock()


class ModelFiles:
    """Files in a storage."""

    def __init__(self, storage: Storage, file_bytes: int) -> None:
        self._storage = storage
        self._file_bytes = file_bytes
        self._open: dict[str, Upload] = {}
        self._lock = threading.Lock()
        self._syncer = ThreadPoolExecutor(2, "holdfast-hub-sync")

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
            upload.file.write(offset, data)
            upload.running.update(data)
            upload.offset += len(data)
            if upload.offset - upload.synced >= SYNC_BYTES and upload.syncing.done():
                upload.syncing.result()
                upload.syncing = self._syncer.submit(upload.file.sync)
                upload.synced = upload.offset
            return self._finish(digest, upload, size)

    def _finish(self, digest: str, upload: Upload, size: int) -> int:
        if upload.offset < size:
            return upload.offset
        upload.syncing.result()
        found = upload.running.hexdigest()
        if found != digest:
            self._forget(digest, upload)
            self._storage.remove(_upload(digest))
            says = f"the file that came has SHA-256 {found[:12]}…, and not {digest[:12]}…; all of it is dropped"
            raise RefusedError("artifact.digest", says, param=digest)
        upload.file.sync()
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
                _close(self._open.pop(name))
            upload = self._open[digest] = self._reopen(digest)
            return upload

    def _reopen(self, digest: str) -> Upload:
        """What is left of an upload from before, hashed again; or a new one."""
        try:
            upload = Upload(self._storage.open(_upload(digest)))
        except UsageError:
            return Upload(self._storage.create(_upload(digest)))
        size = upload.file.size()
        while upload.offset < size:
            data = upload.file.read(upload.offset, PIECE_BYTES)
            upload.running.update(data)
            upload.offset += len(data)
        return upload

    def _forget(self, digest: str, upload: Upload) -> None:
        with self._lock:
            self._open.pop(digest, None)
        upload.file.close()

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
                _close(upload)
        self._open.clear()
        self._syncer.shutdown()


def _close(upload: Upload) -> None:
    """Let go of a file once nothing is synced any more. Raises ``storage.failed``."""
    upload.syncing.result()
    upload.file.close()


def _blob(digest: str) -> str:
    hex_decode(digest, 32)
    return f"{BLOBS}/{digest[:2]}/{digest[2:]}"


def _upload(digest: str) -> str:
    hex_decode(digest, 32)
    return f"{UPLOADS}/{digest}"
