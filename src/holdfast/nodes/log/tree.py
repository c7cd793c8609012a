"""The log's tree while it grows: the open tile of every level, and the files that a new size needs.

Only the rightmost, still open tile of each level is in memory, with the entries of the open bundle. :meth:`append` adds
an entry; :meth:`take_files` hands out what has to be written before a checkpoint of the new size may be signed.
"""

from __future__ import annotations

from collections.abc import Callable

from holdfast.core import merkle, tiles
from holdfast.core.tiles import ENTRIES, Tile
from holdfast.errors import MalformedError

PUBLIC = "public"
"""Folder of what readers may fetch; everything in it could be served by any file server."""

Load = Callable[[str], bytes | None]
"""Reads a file of the storage."""


def public_name(tile: Tile) -> str:
    """The storage name of a tile."""
    return f"{PUBLIC}/{tile.path}"


def _damaged(tile: Tile, why: str) -> MalformedError:
    return MalformedError("log.state", f"{tile.path} {why}", hint="restore the log's state from a copy")


def load_bundle(load: Load, index: int, width: int) -> list[bytes]:
    """The entries of a stored bundle; ``log.state`` when it is missing or damaged."""
    tile = Tile(ENTRIES, index, width)
    raw = load(public_name(tile))
    if raw is None:
        raise _damaged(tile, "is missing")
    return tiles.parse_bundle(raw, width)


class LogTree:
    """The growing right edge of the tree. Owned by the sequencer; not for several threads."""

    def __init__(self) -> None:
        self.size = 0
        self._levels: list[list[bytes]] = [[]]
        """The open tile of each level: fewer than 256 hashes."""
        self._entries: list[bytes] = []
        """The open bundle."""
        self._files: dict[str, bytes] = {}
        """Full tiles that were not handed out yet."""
        self._grown: set[int] = set()
        """Levels whose open tile has grown since files were handed out last."""

    @classmethod
    def load(cls, load: Load, size: int) -> LogTree:
        """The tree of ``size`` from its stored tiles. Whether it is the right one, its root tells."""
        tree = cls()
        tree.size = size
        tree._levels = []
        for level in range(tiles.MAX_LEVEL + 1):
            width = (size >> level * tiles.HEIGHT) % tiles.WIDTH
            hashes: list[bytes] = []
            if width:
                tile = Tile(level, size >> (level + 1) * tiles.HEIGHT, width)
                raw = load(public_name(tile))
                if raw is None:
                    raise _damaged(tile, "is missing")
                hashes = tiles.parse_hashes(raw, width)
            tree._levels.append(hashes)
            if size >> (level + 1) * tiles.HEIGHT == 0:
                break
        if size % tiles.WIDTH:
            bundle = load_bundle(load, size // tiles.WIDTH, size % tiles.WIDTH)
            tree._entries = bundle
            leaves = [merkle.leaf_hash(entry) for entry in bundle]
            if leaves != tree._levels[0]:
                raise _damaged(Tile(ENTRIES, size // tiles.WIDTH, size % tiles.WIDTH), "is not what was hashed")
        return tree

    def append(self, entry: bytes, leaf: bytes) -> None:
        """Add one entry and its leaf hash."""
        self._entries.append(entry)
        self.size += 1
        if len(self._entries) == tiles.WIDTH:
            index = self.size // tiles.WIDTH - 1
            bundle = tiles.encode_bundle(self._entries)
            self._files[public_name(Tile(ENTRIES, index))] = bundle
            self._entries = []
        level, value = 0, leaf
        while True:
            if level == len(self._levels):
                self._levels.append([])
            hashes = self._levels[level]
            hashes.append(value)
            self._grown.add(level)
            if len(hashes) < tiles.WIDTH:
                return
            index = (self.size >> (level + 1) * tiles.HEIGHT) - 1
            self._files[public_name(Tile(level, index))] = b"".join(hashes)
            value = merkle.root(hashes)
            self._levels[level] = []
            level += 1

    def root(self) -> bytes:
        """The root over everything appended."""
        peaks = []
        for hashes in reversed(self._levels):
            for height, index in merkle.range_nodes(0, len(hashes)):
                peaks.append(merkle.root(hashes[index << height : (index + 1) << height]))
        return merkle.fold(peaks)

    def take_files(self) -> dict[str, bytes]:
        """Every file that the tree of this size needs and the last one did not, by storage name; once."""
        files, self._files = self._files, {}
        if self._entries:
            tile = Tile(ENTRIES, self.size // tiles.WIDTH, len(self._entries))
            files[public_name(tile)] = tiles.encode_bundle(self._entries)
        for level in sorted(self._grown):
            hashes = self._levels[level]
            if hashes:
                index = self.size >> (level + 1) * tiles.HEIGHT
                files[public_name(Tile(level, index, len(hashes)))] = b"".join(hashes)
        self._grown.clear()
        return files
