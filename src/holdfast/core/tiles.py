"""Tiles of a log as C2SP tlog-tiles lays them out (``spec/log.md`` §4): paths, hash tiles, entry bundles, proof plans.

A tile is up to 256 consecutive hashes of one level: level 0 holds leaf hashes, and each hash of level *l + 1* is the
root of one full tile of level *l*. An entry bundle holds the entries under one level-0 tile. Full tiles never change;
the rightmost one of a level is *partial* and its width is part of its path, so no path ever changes its content.

Rules: one spelling of every path; a bundle or tile has exactly the width its path says; entries have at most 65,535
bytes.

Proofs from tiles: plan the ranges (``core.merkle``), ask :func:`tiles_for` which tiles hold them in a tree of a given
size, fetch those, and let :func:`hashes_from` fold them. What comes out is checked against a signed root by the caller.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from holdfast.core import merkle
from holdfast.errors import MalformedError, UsageError

HEIGHT = 8
"""Levels of the Merkle tree inside one tile."""
WIDTH = 1 << HEIGHT
"""Hashes in a full tile, entries in a full bundle."""
MAX_ENTRY_BYTES = 65_535
"""Largest entry: bundles carry 16-bit lengths."""
MAX_BUNDLE_BYTES = WIDTH * (2 + MAX_ENTRY_BYTES)
"""Largest entry bundle."""
MAX_LEVEL = 63
"""Highest level a path may name (tlog-tiles)."""
ENTRIES = -1
"""The ``level`` of an entry bundle."""

_PATH = re.compile(r"tile/(entries|0|[1-9]\d?)/((?:x\d{3}/)*\d{3})(?:\.p/([1-9]\d{0,2}))?\Z", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """Which tile: its level (:data:`ENTRIES` for a bundle), its index within the level, and its width (1 to 256)."""

    level: int
    index: int
    width: int = WIDTH

    @property
    def path(self) -> str:
        """The path below the log's URL prefix, for example ``tile/0/x001/067.p/12``."""
        kind = "entries" if self.level == ENTRIES else str(self.level)
        suffix = "" if self.width == WIDTH else f".p/{self.width}"
        return f"tile/{kind}/{encode_index(self.index)}{suffix}"


def encode_index(index: int) -> str:
    """Groups of three digits, all but the last behind an ``x``: 1234067 is ``x001/x234/067``."""
    groups = [f"{index % 1000:03d}"]
    while index >= 1000:
        index //= 1000
        groups.append(f"x{index % 1000:03d}")
    return "/".join(reversed(groups))


def parse_path(path: str) -> Tile:
    """A path to its :class:`Tile`; any other spelling raises ``tile.path``."""
    match = _PATH.match(path)
    if match is None:
        raise MalformedError("tile.path", "not the path of a tile")
    kind, groups, width = match.groups()
    index = int(groups.replace("x", "").replace("/", ""))
    tile = Tile(ENTRIES if kind == "entries" else int(kind), index, WIDTH if width is None else int(width))
    if tile.path != path or tile.level > MAX_LEVEL or tile.width > WIDTH or index > merkle.MAX_SIZE:
        raise MalformedError("tile.path", "not the path of a tile")
    return tile


def width_at(level: int, index: int, size: int) -> int:
    """How wide tile ``index`` of ``level`` is in a tree of ``size`` entries; 0 when there is no such tile."""
    shift = 0 if level == ENTRIES else level * HEIGHT
    return max(0, min(WIDTH, (size >> shift) - index * WIDTH))


def new_tiles(old_size: int, new_size: int) -> list[Tile]:
    """Every tile of the tree of ``new_size`` that the tree of ``old_size`` does not have, bundles first."""
    tiles: list[Tile] = []
    for level in (ENTRIES, *range(MAX_LEVEL + 1)):
        shift = 0 if level == ENTRIES else level * HEIGHT
        before, after = old_size >> shift, new_size >> shift
        if after == 0:
            break
        if after > before:
            indices = range(before // WIDTH, -(-after // WIDTH))
            tiles.extend(Tile(level, index, width_at(level, index, new_size)) for index in indices)
    return tiles


def encode_bundle(entries: Iterable[bytes]) -> bytes:
    """Entries behind their big-endian 16-bit lengths; raises ``log.entry_size``."""
    parts = []
    for entry in entries:
        if len(entry) > MAX_ENTRY_BYTES:
            raise MalformedError("log.entry_size", f"a log entry has at most {MAX_ENTRY_BYTES} bytes")
        parts.append(len(entry).to_bytes(2))
        parts.append(entry)
    return b"".join(parts)


def parse_bundle(raw: bytes, width: int) -> list[bytes]:
    """An entry bundle to its ``width`` entries; raises ``tile.bundle``."""
    entries, place, end = [], 0, len(raw)
    while place < end:
        begin = place + 2
        place = begin + int.from_bytes(raw[place:begin])
        if begin > end or place > end:
            raise MalformedError("tile.bundle", "an entry bundle ends inside an entry")
        entries.append(raw[begin:place])
    if len(entries) != width:
        raise MalformedError("tile.bundle", f"expected {width} entries, found {len(entries)}")
    return entries


def parse_hashes(raw: bytes, width: int) -> list[bytes]:
    """A hash tile to its ``width`` hashes; raises ``tile.hashes``."""
    if len(raw) != width * merkle.HASH_BYTES:
        raise MalformedError("tile.hashes", f"a tile of {width} hashes has {width * merkle.HASH_BYTES} bytes")
    return [raw[place : place + merkle.HASH_BYTES] for place in range(0, len(raw), merkle.HASH_BYTES)]


def _tile_of(level: int, index: int, size: int) -> tuple[Tile, int]:
    """The tile that holds the node (``level``, ``index``) of a tree of ``size``, and where in it the node begins."""
    tile_level, height = divmod(level, HEIGHT)
    first = index << height
    tile = Tile(tile_level, first // WIDTH, width_at(tile_level, first // WIDTH, size))
    if first % WIDTH + (1 << height) > tile.width:
        raise UsageError("log.index", f"a tree of {size} has no node {index} at level {level}")
    return tile, first % WIDTH


def tiles_for(ranges: Iterable[tuple[int, int]], size: int) -> list[Tile]:
    """The tiles of a tree of ``size`` that hold the hashes of these ranges, each once."""
    needed: dict[Tile, None] = {}
    for begin, end in ranges:
        for level, index in merkle.range_nodes(begin, end):
            needed[_tile_of(level, index, size)[0]] = None
    return list(needed)


def hashes_from(ranges: Iterable[tuple[int, int]], size: int, tiles: Mapping[Tile, Sequence[bytes]]) -> list[bytes]:
    """The hash of each range, from the hashes of the tiles that :func:`tiles_for` named."""
    found = []
    for begin, end in ranges:
        parts = []
        for level, index in merkle.range_nodes(begin, end):
            tile, first = _tile_of(level, index, size)
            parts.append(merkle.root(tiles[tile][first : first + (1 << level % HEIGHT)]))
        found.append(merkle.fold(parts))
    return found
