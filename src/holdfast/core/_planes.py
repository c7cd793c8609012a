"""Symbols of Walrus' code as planes of bytes, and sums and products of them: what every byte costs (``spec/walrus.md``
§2(2)).

All of it is here twice, with numpy and with nothing but the standard library, and says the same: numpy is a few times
as fast where there is much, and the base install does without it. :func:`way_of`, :func:`split` and :func:`merge`
choose.

The elements of a shard may stand in any order, as long as it is the same in all shards of a code; the two ways to split
choose different ones.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

try:
    import numpy as np
except ModuleNotFoundError:  # the base install: the same results, slower
    np = None  # type: ignore[assignment]

Plane = bytes | bytearray
"""One byte of each element of a shard."""
FAST = np is not None
"""Whether numpy is here."""
SMALL_PLANE, SMALL_SHARD = 1024, 64
"""Bytes of a plane, and slices of a shard, up to which arrays cost more to make than they save."""
Shard = tuple[Plane, Plane]
"""The low bytes of all elements, and their high bytes."""
Tables = tuple[bytes, bytes, bytes, bytes]
"""Products of a constant with each byte: low to low, low to high, high to low, high to high."""
Work = TypeVar("Work")
"""A shard that is worked on. ``None`` or 0 is zeros."""
BLOCK_BYTES = 64
"""The elements of a symbol stand in blocks: 32 low bytes, then their 32 high bytes. The last block may be shorter."""


class Way(Protocol[Work]):
    """How shards are added and multiplied. A target may be changed in place, and what is given back takes its place."""

    zero: Work

    def load(self, shard: Shard) -> Work:
        """A shard to work on."""
        ...

    def show(self, work: Work) -> Shard:
        """What was worked on."""
        ...

    def copy(self, work: Work) -> Work:
        """The same, to be changed by itself."""
        ...

    def add(self, target: Work, work: Work) -> Work:
        """``target`` + ``work``."""
        ...

    def add_scaled(self, target: Work, work: Work, tables: Tables) -> Work:
        """``target`` + the constant of ``tables`` · ``work``."""
        ...


class Integers:
    """A shard is one integer: its low bytes, then its high bytes. Sums are exclusive ors."""

    zero = 0

    def __init__(self, size: int) -> None:
        """``size`` is the length of a plane."""
        self._size = size

    def load(self, shard: Shard) -> int:
        """See :class:`Way`."""
        return int.from_bytes(shard[0] + shard[1])

    def show(self, work: int) -> Shard:
        """See :class:`Way`."""
        planes = work.to_bytes(2 * self._size)
        return planes[: self._size], planes[self._size :]

    def copy(self, work: int) -> int:
        """See :class:`Way`."""
        return work

    def add(self, target: int, work: int) -> int:
        """See :class:`Way`."""
        return target ^ work

    def add_scaled(self, target: int, work: int, tables: Tables) -> int:
        """See :class:`Way`."""
        if not work:
            return target
        size = self._size
        planes = work.to_bytes(2 * size)
        low, high = planes[:size], planes[size:]
        of_low = int.from_bytes(low.translate(tables[0]) + low.translate(tables[1]))
        return target ^ of_low ^ int.from_bytes(high.translate(tables[2]) + high.translate(tables[3]))


class Arrays:
    """A shard is two arrays of bytes that are changed in place."""

    zero = None

    def __init__(self, size: int) -> None:
        """``size`` is the length of a plane."""
        self._size = size

    def load(self, shard: Shard) -> tuple[bytearray, bytearray] | None:
        """See :class:`Way`."""
        return bytearray(shard[0]), bytearray(shard[1])

    def show(self, work: tuple[bytearray, bytearray] | None) -> Shard:
        """See :class:`Way`."""
        return (bytes(self._size), bytes(self._size)) if work is None else work

    def copy(self, work: tuple[bytearray, bytearray] | None) -> tuple[bytearray, bytearray] | None:
        """See :class:`Way`."""
        return None if work is None else self.load(work)

    def add(
        self, target: tuple[bytearray, bytearray] | None, work: tuple[bytearray, bytearray] | None
    ) -> tuple[bytearray, bytearray] | None:
        """See :class:`Way`."""
        if work is None:
            return target
        if target is None:
            return self.load(work)
        _add_array(target[0], work[0])
        _add_array(target[1], work[1])
        return target

    def add_scaled(
        self, target: tuple[bytearray, bytearray] | None, work: tuple[bytearray, bytearray] | None, tables: Tables
    ) -> tuple[bytearray, bytearray] | None:
        """See :class:`Way`."""
        if work is None:
            return target
        low, high = work
        if target is None:
            target = low.translate(tables[0]), low.translate(tables[1])
        else:
            _add_array(target[0], low.translate(tables[0]))
            _add_array(target[1], low.translate(tables[1]))
        _add_array(target[0], high.translate(tables[2]))
        _add_array(target[1], high.translate(tables[3]))
        return target


def _add_array(target: bytearray, plane: Plane) -> None:
    """``target`` ^= ``plane``."""
    view = np.frombuffer(target, np.uint8)
    np.bitwise_xor(view, np.frombuffer(plane, np.uint8), out=view)


def split_slices(symbols: bytes, size: int) -> tuple[Plane, Plane]:
    """Low and high bytes of symbols of ``size`` bytes that stand one after the other, by slices."""
    whole = size - size % BLOCK_BYTES
    middle = (whole + size) // 2
    low, high = [], []
    for at in range(0, len(symbols), size):
        for block in range(at, at + whole, BLOCK_BYTES):
            low.append(symbols[block : block + 32])
            high.append(symbols[block + 32 : block + 64])
        low.append(symbols[at + whole : at + middle])
        high.append(symbols[at + middle : at + size])
    return b"".join(low), b"".join(high)


def split_arrays(symbols: bytes, size: int) -> tuple[Plane, Plane]:
    """The same by arrays."""
    lines = np.frombuffer(symbols, np.uint8).reshape(-1, size)
    whole = size - size % BLOCK_BYTES
    middle = (whole + size) // 2
    blocks = lines[:, :whole].reshape(len(lines), -1, 2, 32)
    return (
        blocks[:, :, 0].tobytes() + lines[:, whole:middle].tobytes(),
        blocks[:, :, 1].tobytes() + lines[:, middle:].tobytes(),
    )


def merge_slices(low: Plane, high: Plane, size: int) -> bytes:
    """The symbols of two planes that were split the same way, with a byte of zero before each, as leaves are hashed."""
    half = size // 2
    parts: list[Plane] = []
    for at in range(0, len(low), half):
        end = at + half
        parts.append(b"\x00")
        while end - at > 32:
            parts += (low[at : at + 32], high[at : at + 32])
            at += 32  # noqa: PLW2901 (on to the next block of this symbol)
        parts += (low[at:end], high[at:end])
    return b"".join(parts)


def merge_arrays(low: Plane, high: Plane, size: int) -> bytes:
    """The same by arrays."""
    count = 2 * len(low) // size
    whole = size - size % BLOCK_BYTES
    middle = (whole + size) // 2
    lines = np.zeros((count, size + 1), np.uint8)
    blocks = lines[:, 1 : whole + 1].reshape(count, whole // BLOCK_BYTES, 2, 32, copy=False)
    planes = np.frombuffer(low, np.uint8), np.frombuffer(high, np.uint8)
    rest = count * whole // 2
    for index, (plane, begin, end) in enumerate(zip(planes, (whole, middle), (middle, size), strict=True)):
        blocks[:, :, index] = plane[:rest].reshape(count, -1, 32)
        lines[:, begin + 1 : end + 1] = plane[rest:].reshape(count, -1)
    return lines.tobytes()


def way_of(size: int) -> Way[Any]:
    """The faster way for planes of ``size`` bytes."""
    return Arrays(size) if FAST and size > SMALL_PLANE else Integers(size)


def split(symbols: bytes, size: int) -> tuple[Plane, Plane]:
    """Low and high bytes, the faster way: which one is the same for all shards of a code, for they have one length."""
    return (split_arrays if _by_arrays(len(symbols), size) else split_slices)(symbols, size)


def merge(low: Plane, high: Plane, size: int) -> bytes:
    """The other way, for planes of :func:`split`."""
    return (merge_arrays if _by_arrays(2 * len(low), size) else merge_slices)(low, high, size)


def _by_arrays(length: int, size: int) -> bool:
    """Whether arrays are there, and this is more than a few dozen slices."""
    return FAST and length // size + length // BLOCK_BYTES > SMALL_SHARD
