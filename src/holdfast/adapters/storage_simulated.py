"""Storage in memory that loses what a real disk may lose (:mod:`holdfast.ports.storage`).

For tests of crash safety. A :class:`SimulatedDisk` outlives the processes that use it; :meth:`SimulatedDisk.mount`
gives one life a :class:`SimulatedStorage`. Every call that changes something counts as one operation; a crash or a
failure can be planned at the n-th. After a crash every handle of that life raises :class:`SimulatedCrash`, and the next
``mount`` finds what survived, chosen by the disk's seed and by nothing else:

* ``power``: of each file's unsynced writes nothing, everything, a prefix, or any 512-byte sectors survive, later writes
  as likely as earlier ones; a file's unsynced growth may be lost; of a folder's unsynced creations, renames and
  removals any subset survives, each rename as a whole.
* ``kill``: the process dies and the system lives: everything written is still visible, and still not durable, so a
  later power failure may take it.

Not covered: bits that rot after they were synced (tests damage bytes by :meth:`SimulatedDisk.damage`), and reordering
between a file and its folder beyond the above.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from holdfast.adapters import _storage_common as common
from holdfast.errors import ConflictError, UnavailableError, UsageError

SECTOR_BYTES = 512
"""The unit a disk writes as a whole."""

CrashKind = Literal["power", "kill"]


class SimulatedCrash(BaseException):
    """This life is over; a ``BaseException``, so that no ``except Exception`` of the tested code outlives it."""


@dataclass(slots=True)
class _Inode:
    """One file's bytes: as they are on the medium, as they are seen, and the unsynced changes in between."""

    durable: bytearray = field(default_factory=bytearray)
    visible: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)
    """Unsynced changes in order: (offset, bytes) for a write, (size, None) for a truncation."""

    def write(self, offset: int, data: bytes) -> None:
        if offset > len(self.visible):
            self.visible.extend(bytes(offset - len(self.visible)))
        self.visible[offset : offset + len(data)] = data
        self.pending.append((offset, data))

    def truncate(self, size_bytes: int) -> None:
        _resize(self.visible, size_bytes)
        self.pending.append((size_bytes, None))

    def sync(self) -> None:
        if self.pending:
            self.durable = bytearray(self.visible)
            self.pending.clear()

    def lose_power(self, chance: random.Random) -> None:
        """Keep some of the unsynced changes; afterwards what is seen is what is durable."""
        how = chance.choice(("nothing", "everything", "prefix", "sectors"))
        kept = len(self.pending) if how != "prefix" else chance.randint(0, len(self.pending))
        for place, (offset, data) in enumerate(self.pending[:kept] if how != "nothing" else []):
            torn = how == "prefix" and place == kept - 1
            if data is None:
                if how == "everything" or chance.random() < 0.5:
                    _resize(self.durable, offset)
            elif torn:
                self._keep(offset, data[: chance.randint(0, len(data))])
            elif how == "sectors":
                self._keep_sectors(offset, data, chance)
            else:
                self._keep(offset, data)
        self.visible = bytearray(self.durable)
        self.pending.clear()

    def _keep_sectors(self, offset: int, data: bytes, chance: random.Random) -> None:
        begin = 0
        while begin < len(data):
            end = min(len(data), begin + SECTOR_BYTES - (offset + begin) % SECTOR_BYTES)
            if chance.random() < 0.5:
                self._keep(offset + begin, data[begin:end])
            begin = end

    def _keep(self, offset: int, data: bytes) -> None:
        if data and offset > len(self.durable):
            self.durable.extend(bytes(offset - len(self.durable)))
        self.durable[offset : offset + len(data)] = data


def _resize(content: bytearray, size_bytes: int) -> None:
    if size_bytes < len(content):
        del content[size_bytes:]
    else:
        content.extend(bytes(size_bytes - len(content)))


_Change = dict[str, _Inode | None]
"""One unsynced change of names: name to inode, or to ``None`` for a name that goes. A rename is one change."""


class SimulatedDisk:
    """The medium: survives crashes, decides by ``seed`` what an unsynced write is worth."""

    def __init__(self, seed: int = 0) -> None:
        self._chance = random.Random(seed)  # noqa: S311 - it decides what a test's disk loses, no secret
        self._durable: dict[str, _Inode] = {}
        self._visible: dict[str, _Inode] = {}
        self._changes: list[_Change] = []
        self._life = 0
        self._locks: dict[str, int] = {}
        self._tokens = 0
        self.operations = 0
        """How many changing calls there were in all lives."""
        self.crashed = False
        """Whether the current life has crashed."""
        self.on_crash: Callable[[], object] | None = None
        """Called when a life has crashed, for a test that has to end what still waits."""
        self._crash_at: int | None = None
        self._crash_kind: CrashKind = "power"
        self._fail_at: int | None = None
        self._failing = False

    def mount(self) -> SimulatedStorage:
        """Begin a life. Lives that have not crashed go on, as two processes on one disk do."""
        self.crashed = False
        self._crash_at = None
        return SimulatedStorage(self, self._life)

    def crash_after(self, operations: int, kind: CrashKind = "power") -> None:
        """Plan a crash in the ``operations``-th changing call from now (1 is the next one)."""
        self._crash_at = self.operations + operations
        self._crash_kind = kind

    def fail_after(self, operations: int, *, for_good: bool = False) -> None:
        """Plan ``storage.failed`` in the ``operations``-th changing call from now: once, or until the next crash."""
        self._fail_at = self.operations + operations
        self._failing = for_good

    def crash(self, kind: CrashKind = "power") -> None:
        """End the current life now and decide what survives."""
        self._life += 1
        self._locks.clear()
        self.crashed = True
        self._crash_at = self._fail_at = None
        self._failing = False
        if self.on_crash is not None:
            self.on_crash()
        if kind == "kill":
            return
        for change in self._changes:
            if self._chance.random() < 0.5:
                _apply(self._durable, change)
        self._changes.clear()
        # The order of this loop is the order of creation, so one seed always tells one story.
        for inode in {id(inode): inode for inode in (*self._visible.values(), *self._durable.values())}.values():
            inode.lose_power(self._chance)
        self._visible = dict(self._durable)

    def damage(self, name: str, offset: int, data: bytes) -> None:
        """Overwrite durable bytes behind everybody's back, as a failing medium or an intruder would."""
        inode = self._visible[name]
        for content in (inode.visible, inode.durable):
            content[offset : offset + len(data)] = data

    def names(self) -> list[str]:
        """Every visible file name."""
        return sorted(self._visible)

    def content(self, name: str) -> bytes:
        """The visible bytes of one file."""
        return bytes(self._visible[name].visible)

    # Called by the storage of one life

    def check_alive(self, life: int) -> None:
        if life != self._life:
            raise SimulatedCrash

    def operation(self, life: int) -> bool:
        """Count one changing call; returns whether the crash comes right after it was begun."""
        self.check_alive(life)
        self.operations += 1
        if self._fail_at is not None and self.operations >= self._fail_at:
            if not self._failing:
                self._fail_at = None
            raise UnavailableError("storage.failed", "the simulated disk was told to fail")
        return self._crash_at is not None and self.operations >= self._crash_at

    def end_life(self) -> SimulatedCrash:
        self.crash(self._crash_kind)
        return SimulatedCrash()

    def change(self, change: _Change) -> None:
        _apply(self._visible, change)
        self._changes.append(change)

    def sync_folder(self, folder: str) -> None:
        kept: list[_Change] = []
        for change in self._changes:
            if any(common.folder_of(name) == folder for name in change):
                _apply(self._durable, change)
            else:
                kept.append(change)
        self._changes = kept

    @property
    def visible(self) -> Mapping[str, _Inode]:
        return self._visible

    def take_lock(self, name: str) -> int:
        if name in self._locks:
            raise ConflictError("storage.locked", f"another process holds {name}", hint="stop the other process first")
        self._tokens += 1
        self._locks[name] = self._tokens
        return self._tokens

    def release_lock(self, name: str, token: int) -> None:
        if self._locks.get(name) == token:
            del self._locks[name]


def _apply(names: dict[str, _Inode], change: _Change) -> None:
    for name, inode in change.items():
        if inode is None:
            names.pop(name, None)
        else:
            names[name] = inode


class SimulatedFile:
    """An open file of one life; see :class:`holdfast.ports.storage.StorageFile`."""

    def __init__(self, disk: SimulatedDisk, life: int, inode: _Inode) -> None:
        self._disk = disk
        self._life = life
        self._inode = inode

    def read(self, offset: int, size_bytes: int) -> bytes:
        self._disk.check_alive(self._life)
        return bytes(self._inode.visible[offset : offset + size_bytes])

    def write(self, offset: int, data: bytes) -> None:
        crash = self._disk.operation(self._life)
        self._inode.write(offset, data)
        if crash:
            raise self._disk.end_life()

    def sync(self) -> None:
        # A crash in a sync leaves the writes as uncertain as they were.
        if self._disk.operation(self._life):
            raise self._disk.end_life()
        self._inode.sync()

    def truncate(self, size_bytes: int) -> None:
        crash = self._disk.operation(self._life)
        self._inode.truncate(size_bytes)
        if crash:
            raise self._disk.end_life()

    def size(self) -> int:
        self._disk.check_alive(self._life)
        return len(self._inode.visible)

    def close(self) -> None:
        """Nothing to let go of."""


class _SimulatedLock:
    def __init__(self, disk: SimulatedDisk, name: str, token: int) -> None:
        self._disk = disk
        self._name = name
        self._token = token

    def release(self) -> None:
        self._disk.release_lock(self._name, self._token)


class SimulatedStorage:
    """Files of one life; see :class:`holdfast.ports.storage.Storage`."""

    def __init__(self, disk: SimulatedDisk, life: int) -> None:
        self._disk = disk
        self._life = life

    def _inode(self, name: str) -> _Inode:
        inode = self._disk.visible.get(common.check_name(name))
        if inode is None:
            raise UsageError("storage.missing", f"there is no {name}")
        return inode

    def _change(self, change: _Change) -> None:
        crash = self._disk.operation(self._life)
        self._disk.change(change)
        if crash:
            raise self._disk.end_life()

    def create(self, name: str, size_bytes: int = 0) -> SimulatedFile:
        self._disk.check_alive(self._life)
        if common.check_name(name) in self._disk.visible:
            raise UsageError("storage.exists", f"{name} exists already")
        inode = _Inode()
        if size_bytes:
            inode.truncate(size_bytes)
        self._change({name: inode})
        return SimulatedFile(self._disk, self._life, inode)

    def open(self, name: str) -> SimulatedFile:
        self._disk.check_alive(self._life)
        return SimulatedFile(self._disk, self._life, self._inode(name))

    def load(self, name: str) -> bytes | None:
        self._disk.check_alive(self._life)
        inode = self._disk.visible.get(common.check_name(name))
        return None if inode is None else bytes(inode.visible)

    def save(self, name: str, data: bytes) -> None:
        common.save_all(self, {name: data})

    def save_all(self, files: Mapping[str, bytes]) -> None:
        common.save_all(self, files)

    def list_names(self, folder: str = "") -> list[str]:
        self._disk.check_alive(self._life)
        if folder:
            common.check_name(folder)
        return sorted(name.rpartition("/")[2] for name in self._disk.visible if common.folder_of(name) == folder)

    def remove(self, name: str) -> None:
        self._disk.check_alive(self._life)
        if common.check_name(name) in self._disk.visible:
            self._change({name: None})

    def rename(self, old: str, new: str) -> None:
        self._disk.check_alive(self._life)
        inode = self._inode(old)
        self._change({common.check_name(new): inode, old: None} if old != new else {})

    def sync_folder(self, folder: str = "") -> None:
        if folder:
            common.check_name(folder)
        if self._disk.operation(self._life):
            raise self._disk.end_life()
        self._disk.sync_folder(folder)

    def lock(self, name: str) -> _SimulatedLock:
        self._disk.check_alive(self._life)
        return _SimulatedLock(self._disk, name, self._disk.take_lock(common.check_name(name)))
