"""A map from fixed-size keys to small numbers that costs about ten bytes an entry.

A log has to recognise every statement it ever sequenced, and a full node every statement and run it ever saw. A Python
dictionary of digests takes some 200 bytes each; here a slot holds only the position of the entry (four bytes), and the
key is read back from where it is stored anyway. The table is cut into 256 parts by the key's first byte, so that
growing one never holds anybody up for long.

Rules: keys are uniformly distributed (digests, or ids hashed by the caller); nothing is ever removed.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable

_PARTS = 256
_FIRST_SLOTS = 8
"""Slots of an empty part; a power of two."""
MAX_POSITION = 2**32 - 2
"""Positions are kept plus one in 32 bits."""


class PositionIndex:
    """Key bytes (at least nine) to the position at which the owner keeps the full key."""

    __slots__ = ("_counts", "_key_at", "_parts")

    def __init__(self, key_at: Callable[[int], bytes]) -> None:
        self._key_at = key_at
        """Reads a stored key back; it must stay the same for ever."""
        self._parts = [array("I", bytes(4 * _FIRST_SLOTS)) for _ in range(_PARTS)]
        self._counts = array("I", bytes(4 * _PARTS))

    def find(self, key: bytes) -> int | None:
        """The position stored for ``key``."""
        part = self._parts[key[0]]
        mask = len(part) - 1
        slot = int.from_bytes(key[1:9]) & mask
        while position := part[slot]:
            if self._key_at(position - 1) == key:
                return position - 1
            slot = (slot + 1) & mask
        return None

    def put(self, key: bytes, position: int) -> None:
        """Store ``position`` for ``key``, replacing what was there."""
        part = self._parts[key[0]]
        mask = len(part) - 1
        slot = int.from_bytes(key[1:9]) & mask
        while found := part[slot]:
            if self._key_at(found - 1) == key:
                part[slot] = position + 1
                return
            slot = (slot + 1) & mask
        part[slot] = position + 1
        self._counts[key[0]] += 1
        if 3 * self._counts[key[0]] > 2 * len(part):
            self._grow(key[0])

    def _grow(self, number: int) -> None:
        old = self._parts[number]
        part = array("I", bytes(8 * len(old)))
        mask = len(part) - 1
        for position in old:
            if position:
                slot = int.from_bytes(self._key_at(position - 1)[1:9]) & mask
                while part[slot]:
                    slot = (slot + 1) & mask
                part[slot] = position
        self._parts[number] = part
