"""Storage in a folder of the local disk (:mod:`holdfast.ports.storage`).

Rules: writes go to explicit offsets; ``sync`` is ``fdatasync`` (``F_FULLFSYNC`` where the system has it, because there
``fsync`` does not reach the medium); new folders are made durable in their parent at once; locks are ``flock``, so they
end with the process however it ends. Every failure of the system is ``storage.failed``.

Not covered: network file systems, whose ``flock`` and ``fsync`` promise less.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from holdfast.adapters import _storage_common as common
from holdfast.errors import ConflictError, UnavailableError, UsageError

_FULL_SYNC = getattr(fcntl, "F_FULLFSYNC", None)
_reserve = getattr(os, "posix_fallocate", None)
_PARALLEL_SYNCS = 8
"""Files synced at once; more gain little."""
_PARALLEL_FROM = 4
"""Fewer files are synced in turn."""
_FILE_MODE = 0o600
_FOLDER_MODE = 0o700


@contextlib.contextmanager
def _disk(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        hint = "free some space" if error.errno in {errno.ENOSPC, errno.EDQUOT} else "look at the disk, then restart"
        raise UnavailableError("storage.failed", f"{what}: {error.strerror or error}", hint=hint) from error


def _sync_descriptor(descriptor: int) -> None:
    if _FULL_SYNC is not None:
        fcntl.fcntl(descriptor, _FULL_SYNC)
    else:
        os.fdatasync(descriptor)


def _at_once(action: Callable[[str], None], items: Sequence[str], /) -> None:
    """Work on several files at once: a journalling file system syncs them together, some ten times faster than in turn.

    Raises the first failure, when none is at work any more.
    """
    if len(items) < _PARALLEL_FROM:
        common.in_order(action, items)
        return
    with ThreadPoolExecutor(min(_PARALLEL_SYNCS, len(items)), "holdfast-sync") as pool:
        waiting = [pool.submit(action, item) for item in items]
    for done in waiting:
        done.result()


class LocalFile:
    """One open file; see :class:`holdfast.ports.storage.StorageFile`."""

    __slots__ = ("_descriptor", "_name")

    def __init__(self, descriptor: int, name: str) -> None:
        self._descriptor = descriptor
        self._name = name

    def read(self, offset: int, size_bytes: int) -> bytes:
        with _disk(f"reading {self._name}"):
            parts = []
            while size_bytes > 0:
                part = os.pread(self._descriptor, size_bytes, offset)
                if not part:
                    break
                parts.append(part)
                offset += len(part)
                size_bytes -= len(part)
            return parts[0] if len(parts) == 1 else b"".join(parts)

    def write(self, offset: int, data: bytes) -> None:
        try:
            written = os.pwrite(self._descriptor, data, offset)
            while written < len(data):
                written += os.pwrite(self._descriptor, data[written:], offset + written)
        except OSError as error:
            raise UnavailableError("storage.failed", f"writing {self._name}: {error.strerror}") from error

    def sync(self) -> None:
        try:
            _sync_descriptor(self._descriptor)
        except OSError as error:
            raise UnavailableError("storage.failed", f"syncing {self._name}: {error.strerror}") from error

    def truncate(self, size_bytes: int) -> None:
        with _disk(f"truncating {self._name}"):
            os.ftruncate(self._descriptor, size_bytes)

    def size(self) -> int:
        with _disk(f"reading {self._name}"):
            return os.fstat(self._descriptor).st_size

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with _disk(f"closing {self._name}"):
                os.close(descriptor)


def open_file(path: Path) -> LocalFile:
    """A file by its path, made where there is none. Raises ``storage.failed``."""
    with _disk(f"opening {path.name}"):
        return LocalFile(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666), path.name)


class _FlockLock:
    """A held ``flock``."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class FileStorage:
    """Files under one folder; see :class:`holdfast.ports.storage.Storage`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        with _disk(f"opening {root}"):
            root.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        self._folders = {""}

    def _path(self, name: str) -> str:
        return f"{self._root}/{common.check_name(name)}"

    def _make_folder(self, folder: str) -> None:
        """Make a folder and every one above it, each durable in its parent, once."""
        if folder in self._folders:
            return
        parent = common.folder_of(folder)
        self._make_folder(parent)
        path = self._root / folder
        if not path.is_dir():
            path.mkdir(mode=_FOLDER_MODE, exist_ok=True)
            self._sync_path(self._root / parent)
        self._folders.add(folder)

    @staticmethod
    def _sync_path(path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def create(self, name: str, size_bytes: int = 0) -> LocalFile:
        path = self._path(name)
        with _disk(f"creating {name}"):
            self._make_folder(common.folder_of(name))
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE_MODE)
            except FileExistsError as error:
                raise UsageError("storage.exists", f"{name} exists already") from error
            try:
                if size_bytes and _reserve is not None:
                    _reserve(descriptor, 0, size_bytes)
                elif size_bytes:
                    os.ftruncate(descriptor, size_bytes)
            except OSError:
                os.close(descriptor)
                Path(path).unlink()
                raise
        return LocalFile(descriptor, name)

    def open(self, name: str) -> LocalFile:
        path = self._path(name)
        with _disk(f"opening {name}"):
            try:
                return LocalFile(os.open(path, os.O_RDWR | os.O_CLOEXEC), name)
            except FileNotFoundError as error:
                raise UsageError("storage.missing", f"there is no {name}") from error

    def load(self, name: str) -> bytes | None:
        path = self._path(name)
        with _disk(f"reading {name}"):
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return None
        file = LocalFile(descriptor, name)
        try:
            return file.read(0, file.size())
        finally:
            file.close()

    def save(self, name: str, data: bytes) -> None:
        common.save_all(self, {name: data})

    def save_all(self, files: Mapping[str, bytes]) -> None:
        for folder in dict.fromkeys(common.folder_of(common.check_name(name)) for name in files):
            with _disk(f"creating {folder}"):
                self._make_folder(folder)
        common.save_all(self, files, _at_once)

    def list_names(self, folder: str = "") -> list[str]:
        path = self._path(folder) if folder else str(self._root)
        with _disk(f"listing {folder or 'the root'}"):
            try:
                with os.scandir(path) as entries:
                    return sorted(entry.name for entry in entries if entry.is_file(follow_symlinks=False))
            except (FileNotFoundError, NotADirectoryError):
                return []

    def remove(self, name: str) -> None:
        with _disk(f"removing {name}"), contextlib.suppress(FileNotFoundError):
            Path(self._path(name)).unlink()

    def rename(self, old: str, new: str) -> None:
        with _disk(f"renaming {old}"):
            self._make_folder(common.folder_of(new))
            try:
                Path(self._path(old)).rename(self._path(new))
            except FileNotFoundError as error:
                raise UsageError("storage.missing", f"there is no {old}") from error

    def sync_folder(self, folder: str = "") -> None:
        path = Path(self._path(folder)) if folder else self._root
        with _disk(f"syncing {folder or 'the root'}"), contextlib.suppress(FileNotFoundError):
            self._sync_path(path)

    def lock(self, name: str) -> _FlockLock:
        path = self._path(name)
        with _disk(f"locking {name}"):
            self._make_folder(common.folder_of(name))
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _FILE_MODE)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                os.close(descriptor)
                raise ConflictError(
                    "storage.locked", f"another process holds {name}", hint="stop the other process first"
                ) from error
            except OSError:
                os.close(descriptor)
                raise
        return _FlockLock(descriptor)
