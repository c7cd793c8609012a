"""The digests of all entries, by which a statement that comes again is recognised, over restarts too.

In memory: 32 bytes an entry and about ten for the index. On disk: one file for every 4096 entries under a signed
checkpoint (``keys/…``). The files are derived data: a missing or short one is made again from the entry bundles, and
the newest entries never have one.
"""

from __future__ import annotations

from holdfast.core import merkle, tiles
from holdfast.core.positions import MAX_POSITION, PositionIndex
from holdfast.errors import UnavailableError
from holdfast.nodes.log.entries import parse_entry
from holdfast.nodes.log.tree import Load, load_bundle

BLOCK = 16 * tiles.WIDTH
"""Entries of one file."""
_BLOCK_BYTES = BLOCK * merkle.HASH_BYTES


def block_name(number: int) -> str:
    """The storage name of one file."""
    return f"keys/{tiles.encode_index(number)}"


class Digests:
    """The digest of every entry, in log order, and where it is."""

    def __init__(self) -> None:
        self._digests = bytearray()
        self._index = PositionIndex(self.at)

    def __len__(self) -> int:
        return len(self._digests) // merkle.HASH_BYTES

    def at(self, index: int) -> bytes:
        """The digest of entry ``index``."""
        begin = index * merkle.HASH_BYTES
        return bytes(self._digests[begin : begin + merkle.HASH_BYTES])

    def find(self, digest: bytes) -> int | None:
        """The index of the entry with this digest."""
        return self._index.find(digest)

    def append(self, digest: bytes) -> int:
        """Add the digest of the next entry; returns its index. Raises ``log.full``."""
        index = len(self)
        if index > MAX_POSITION:
            raise UnavailableError("log.full", "this log is full", hint="start another origin")
        self._digests += digest
        self._index.put(digest, index)
        return index

    def load(self, load: Load, size: int) -> None:
        """Read the digests of a tree of ``size`` entries; ``log.state`` when neither file nor bundle has one."""
        for number in range(size // BLOCK):
            raw = load(block_name(number))
            if raw is not None and len(raw) == _BLOCK_BYTES:
                self._extend(raw)
            else:
                self._load_bundles(load, number * BLOCK, (number + 1) * BLOCK)
        self._load_bundles(load, size // BLOCK * BLOCK, size)

    def _extend(self, raw: bytes) -> None:
        for begin in range(0, len(raw), merkle.HASH_BYTES):
            self.append(raw[begin : begin + merkle.HASH_BYTES])

    def _load_bundles(self, load: Load, begin: int, end: int) -> None:
        for index in range(begin // tiles.WIDTH, -(-end // tiles.WIDTH)):
            for entry in load_bundle(load, index, tiles.width_at(tiles.ENTRIES, index, end)):
                self.append(parse_entry(entry).digest)

    def new_files(self, old_size: int, new_size: int) -> dict[str, bytes]:
        """The files that a tree of ``new_size`` has and one of ``old_size`` has not, by storage name."""
        return {
            block_name(number): bytes(self._digests[number * _BLOCK_BYTES : (number + 1) * _BLOCK_BYTES])
            for number in range(old_size // BLOCK, new_size // BLOCK)
        }
