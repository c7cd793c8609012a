"""The log's tree as recomputed from its entries, small in memory and with a past.

A full node must answer "what was the root over the first *n* entries?" for the sizes that candidates and checkpoints
name. It keeps one hash for each complete tile of 256 entries (an eighth of a byte an entry) and the single leaf hashes
from the newest final round on. So it knows the root at every size since then, and before it at every multiple of 256.

Rules: leaves are only added. What was forgotten is answered with None, never guessed.
Not covered: where entries come from (``follow.py``) and who signed a root (``core.notes``).
"""

from __future__ import annotations

from functools import lru_cache

from holdfast.core import merkle
from holdfast.errors import UsageError

TILE = 256
"""Entries of a full tile (C2SP tlog-tiles)."""
_HASH = merkle.HASH_BYTES


class VerifiedTree:
    """A growing tree that remembers roots. Not safe for several threads."""

    def __init__(self) -> None:
        self._range = merkle.CompactRange()
        self._tiles = bytearray()
        self._recent = bytearray()
        self._recent_begin = 0
        self._root_of = lru_cache(maxsize=256)(self._compute)

    @property
    def size(self) -> int:
        """Leaves so far."""
        return self._range.size

    @property
    def known_since(self) -> int:
        """From this size on every root is known."""
        return self._recent_begin

    def root(self) -> bytes:
        """The root over everything."""
        return self._range.root()

    def extended_root(self, leaves: list[bytes]) -> bytes:
        """The root as it would be after ``leaves``; nothing changes."""
        grown = self._range.copy()
        grown.extend(leaves)
        return grown.root()

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash."""
        self._range.append(leaf)
        self._recent += leaf
        if self._range.size % TILE == 0:
            self._tiles += merkle.root(self._leaves(self._range.size - TILE, self._range.size))

    def forget_before(self, size: int) -> None:
        """Let go of single leaf hashes of complete tiles below ``size``."""
        begin = min(size, self.size) // TILE * TILE
        if begin > self._recent_begin:
            del self._recent[: (begin - self._recent_begin) * _HASH]
            self._recent_begin = begin

    def root_at(self, size: int) -> bytes | None:
        """The root over the first ``size`` leaves; None when it is not (or no longer) known."""
        if size == self.size:
            return self.root()
        if size > self.size or (size % TILE and size < self._recent_begin):
            return None
        return self._root_of(size)

    def _compute(self, size: int) -> bytes:
        return self._subtree(0, size)

    def consistency_proof(self, old_size: int, new_size: int) -> list[bytes] | None:
        """The proof that the tree of ``new_size`` extends that of ``old_size``; None when hashes were forgotten."""
        if not 0 <= old_size <= new_size <= self.size:
            raise UsageError("log.index", f"no proof from {old_size} to {new_size} in a tree of {self.size}")
        ranges = merkle.consistency_ranges(old_size, new_size)
        if any(self._first_single_leaf(begin, end) < self._recent_begin for begin, end in ranges):
            return None
        return [self._subtree(begin, end) for begin, end in ranges]

    @staticmethod
    def _first_single_leaf(begin: int, end: int) -> int:
        """The first leaf of a range whose own hash is needed, or its end when whole tiles make it up."""
        return begin if begin % TILE else end // TILE * TILE

    def _subtree(self, begin: int, end: int) -> bytes:
        """Root over leaves ``begin`` to ``end``, a range as RFC 9162 cuts them."""
        if begin // TILE == (end - 1) // TILE and end % TILE:
            return merkle.root(self._leaves(begin, end))
        if begin % TILE:
            return merkle.root(self._leaves(begin, end))
        tiles = [bytes(self._tiles[at * _HASH : (at + 1) * _HASH]) for at in range(begin // TILE, end // TILE)]
        if end % TILE:  # the last, incomplete tile moves up unpaired until it meets its sibling, like any last subtree
            tiles.append(merkle.root(self._leaves(end // TILE * TILE, end)))
        return merkle.root(tiles)

    def _leaves(self, begin: int, end: int) -> list[bytes]:
        first = begin - self._recent_begin
        return [bytes(self._recent[at * _HASH : (at + 1) * _HASH]) for at in range(first, first + end - begin)]
