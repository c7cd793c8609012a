"""Symbols of Walrus' code as planes of bytes, and sums of planes: what every byte costs (``spec/walrus.md`` §2(2)).

Each of the three functions is here twice, with numpy and with nothing but the standard library, and says the same:
numpy is a few times as fast, and the base install does without it. :func:`add`,
:func:`split` and :func:`merge` choose.

The elements of a shard may stand in any order, as long as it is the same in all shards of a code; the two ways to split
choose different ones.
"""

from __future__ import annotations

try:
    import numpy as np
except ModuleNotFoundError:  # the base install: the same results, slower
    np = None  # type: ignore[assignment]

Plane = bytes | bytearray
"""One byte of each element of a shard."""
FAST = np is not None
"""Whether numpy is here."""
SMALL_PLANE, SMALL_SHARD = 256, 64
"""Bytes of a plane, and slices of a shard, up to which arrays cost more to make than they save."""
BLOCK_BYTES = 64
"""The elements of a symbol stand in blocks: 32 low bytes, then their 32 high bytes. The last block may be shorter."""


def add_integers(target: bytearray, *planes: Plane) -> None:
    """``target`` ^= each of ``planes``, as integers."""
    total = int.from_bytes(target)
    for plane in planes:
        total ^= int.from_bytes(plane)
    target[:] = total.to_bytes(len(target))


def add_arrays(target: bytearray, *planes: Plane) -> None:
    """``target`` ^= each of ``planes``, as arrays."""
    view = np.frombuffer(target, np.uint8)
    for plane in planes:
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


def add(target: bytearray, *planes: Plane) -> None:
    """``target`` ^= each of ``planes``, the faster way."""
    if FAST and len(target) > SMALL_PLANE:
        add_arrays(target, *planes)
    else:
        add_integers(target, *planes)


def split(symbols: bytes, size: int) -> tuple[Plane, Plane]:
    """Low and high bytes, the faster way: which one is the same for all shards of a code, for they have one length."""
    return (split_arrays if _by_arrays(len(symbols), size) else split_slices)(symbols, size)


def merge(low: Plane, high: Plane, size: int) -> bytes:
    """The other way, for planes of :func:`split`."""
    return (merge_arrays if _by_arrays(2 * len(low), size) else merge_slices)(low, high, size)


def _by_arrays(length: int, size: int) -> bool:
    """Whether arrays are there, and this is more than a few dozen slices."""
    return FAST and length // size + length // BLOCK_BYTES > SMALL_SHARD
