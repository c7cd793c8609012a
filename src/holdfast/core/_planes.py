"""Symbols of Walrus' code as planes of bytes, and sums of planes: what every byte costs (``spec/walrus.md`` §2(2)).

Each of the three functions is here twice, with numpy and with nothing but the standard library, and says the same:
numpy is a few times as fast, and the base install does without it. :data:`FAST` says which are used.

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
BLOCK_BYTES = 64
"""The elements of a symbol stand in blocks: 32 low bytes, then their 32 high bytes. The last block may be shorter."""


def add_integers(target: bytearray, plane: Plane) -> None:
    """``target`` ^= ``plane``, as integers."""
    total = int.from_bytes(target, "little") ^ int.from_bytes(plane, "little")
    target[:] = total.to_bytes(len(target), "little")


def add_arrays(target: bytearray, plane: Plane) -> None:
    """``target`` ^= ``plane``, as arrays."""
    view = np.frombuffer(target, np.uint8)
    np.bitwise_xor(view, np.frombuffer(plane, np.uint8), out=view)


def split_slices(symbols: bytes, size: int) -> tuple[Plane, Plane]:
    """Low and high bytes of symbols of ``size`` bytes that stand one after the other, by slices."""
    whole = size - size % BLOCK_BYTES
    half = (size - whole) // 2
    blocks = [at + block for at in range(0, len(symbols), size) for block in range(0, whole, BLOCK_BYTES)]
    low = [symbols[at : at + 32] for at in blocks] + [symbols[at::size] for at in range(whole, whole + half)]
    high = [symbols[at + 32 : at + 64] for at in blocks] + [symbols[at::size] for at in range(whole + half, size)]
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
    count = 2 * len(low) // size
    whole = size - size % BLOCK_BYTES
    half = (size - whole) // 2
    lines = bytearray(count * (size + 1))
    place = 0
    for at in range(1, len(lines), size + 1):
        for block in range(at, at + whole, BLOCK_BYTES):
            lines[block : block + 32] = low[place : place + 32]
            lines[block + 32 : block + 64] = high[place : place + 32]
            place += 32
    for at in range(whole + 1, whole + 1 + half):
        lines[at :: size + 1] = low[place : place + count]
        lines[at + half :: size + 1] = high[place : place + count]
        place += count
    return bytes(lines)


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


add = add_arrays if FAST else add_integers
split = split_arrays if FAST else split_slices
merge = merge_arrays if FAST else merge_slices
