"""The Merkle tree of RFC 9162 §2.1: roots, inclusion and consistency proofs (``spec/log.md`` §2).

Rules: SHA-256; a leaf is hashed behind 0x00 and a node behind 0x01, so no entry can pass for a subtree; the tree over
no leaves is SHA-256 of nothing. A proof is a list of 32-byte hashes, from the leaves upwards. Every loop runs over the
height of the tree; nothing here recurses, so a hostile size costs at most 64 steps.

Names of nodes: a *range* ``(begin, end)`` is the subtree over leaves ``begin`` up to, not including, ``end``; a *node*
``(level, index)`` is the complete subtree over leaves ``index << level`` up to ``(index + 1) << level``. Proofs are
planned as ranges (:func:`inclusion_ranges`, :func:`consistency_ranges`), so that one plan serves hashes in memory and
hashes in tiles.

Not covered: where hashes are stored (``core.tiles``), who signed a root (``core.notes``).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence

from holdfast.errors import RefusedError, UsageError

HASH_BYTES = 32
"""Size of every hash here (SHA-256)."""
EMPTY_ROOT = hashlib.sha256(b"").digest()
"""Root of the tree over no leaves (RFC 9162 §2.1.1)."""
MAX_SIZE = 2**63 - 1
"""Largest tree size (C2SP tlog-checkpoint: sizes fit a signed 64-bit integer)."""

_sha256 = hashlib.sha256


def leaf_hash(data: bytes) -> bytes:
    """SHA-256(0x00 ‖ data): the hash of one entry."""
    return _sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 ‖ left ‖ right): the hash of an inner node."""
    return _sha256(b"\x01" + left + right).digest()


def _next_level(hashes: Sequence[bytes]) -> list[bytes]:
    """One level up: neighbours are paired, a last one without a neighbour moves up as it is."""
    sha256 = _sha256
    pairs = iter(hashes)
    above = [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=False)]
    if len(hashes) % 2:
        above.append(hashes[-1])
    return above


def levels(leaf_hashes: Sequence[bytes]) -> list[Sequence[bytes]]:
    """All levels, leaves first; entry ``i`` of level ``l`` covers leaves from ``i << l`` as far as there are any."""
    found: list[Sequence[bytes]] = [leaf_hashes]
    while len(found[-1]) > 1:
        found.append(_next_level(found[-1]))
    return found


def root(leaf_hashes: Sequence[bytes]) -> bytes:
    """Root over leaf hashes (RFC 9162 §2.1.1); :data:`EMPTY_ROOT` for none."""
    if not leaf_hashes:
        return EMPTY_ROOT
    level = leaf_hashes
    while len(level) > 1:
        level = _next_level(level)
    return level[0]


def _split(count: int) -> int:
    """The largest power of two smaller than ``count`` (``count`` > 1)."""
    return 1 << ((count - 1).bit_length() - 1)


def inclusion_ranges(index: int, size: int) -> list[tuple[int, int]]:
    """The subtrees whose hashes prove that leaf ``index`` is in the tree of ``size`` leaves, in proof order."""
    if not 0 <= index < size:
        raise UsageError("log.index", f"there is no entry {index} in a tree of {size}")
    ranges = []
    begin, end = 0, size
    while end - begin > 1:
        middle = begin + _split(end - begin)
        if index < middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((begin, middle))
            begin = middle
    ranges.reverse()
    return ranges


def consistency_ranges(old_size: int, new_size: int) -> list[tuple[int, int]]:
    """The subtrees whose hashes prove that the tree of ``new_size`` extends the one of ``old_size``, in proof order."""
    if not 0 <= old_size <= new_size:
        raise UsageError("log.index", f"a tree of {new_size} does not extend one of {old_size}")
    if old_size == 0:
        return []
    ranges = []
    begin, end, whole = 0, new_size, True
    while end != old_size:
        middle = begin + _split(end - begin)
        if old_size <= middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((begin, middle))
            begin, whole = middle, False
    if not whole:
        ranges.append((begin, end))
    ranges.reverse()
    return ranges


def range_nodes(begin: int, end: int) -> list[tuple[int, int]]:
    """A range as the complete subtrees it is made of, left to right; hash them together with :func:`fold`.

    ``begin`` is a multiple of the power of two that the range fills or begins to fill, as in every planned range.
    """
    nodes = []
    while begin < end:
        level = (end - begin).bit_length() - 1
        nodes.append((level, begin >> level))
        begin += 1 << level
    return nodes


def fold(hashes: Sequence[bytes]) -> bytes:
    """The root over complete subtrees of falling size, left to right; :data:`EMPTY_ROOT` for none."""
    if not hashes:
        return EMPTY_ROOT
    value = hashes[-1]
    for left in reversed(hashes[:-1]):
        value = node_hash(left, value)
    return value


def _lookup(levels: Sequence[Sequence[bytes]], ranges: Iterable[tuple[int, int]]) -> list[bytes]:
    proof = []
    for begin, end in ranges:
        level = (end - begin - 1).bit_length()
        proof.append(levels[level][begin >> level])
    return proof


def inclusion_proof(leaf_hashes: Sequence[bytes], index: int) -> list[bytes]:
    """The proof that leaf ``index`` is in the tree over ``leaf_hashes`` (RFC 9162 §2.1.3.1)."""
    return path(levels(leaf_hashes), index)


def path(made: Sequence[Sequence[bytes]], index: int) -> list[bytes]:
    """The same proof from the tree's :func:`levels`, for whoever proves many of its leaves."""
    return _lookup(made, inclusion_ranges(index, len(made[0])))


def consistency_proof(leaf_hashes: Sequence[bytes], old_size: int) -> list[bytes]:
    """The proof that the tree over ``leaf_hashes`` extends its first ``old_size`` leaves (RFC 9162 §2.1.4.1)."""
    ranges = consistency_ranges(old_size, len(leaf_hashes))
    return _lookup(levels(leaf_hashes), ranges)


def root_from_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """The root that ``proof`` leads to from leaf hash ``leaf`` (RFC 9162 §2.1.3.2); raises ``log.inclusion``.

    It proves nothing until it is compared with a root that is already believed.
    """
    if not 0 <= index < size <= MAX_SIZE:
        raise RefusedError("log.inclusion", f"there is no entry {index} in a tree of {size}")
    _refuse_odd_hashes("log.inclusion", [leaf, *proof])
    position, last, value = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise RefusedError("log.inclusion", "the proof is longer than the tree is high")
        if position & 1 or position == last:
            value = node_hash(sibling, value)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            value = node_hash(value, sibling)
        position >>= 1
        last >>= 1
    if last != 0:
        raise RefusedError("log.inclusion", "the proof is shorter than the tree is high")
    return value


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that leaf hash ``leaf`` is entry ``index`` of the tree (``size``, ``root``); raises ``log.inclusion``."""
    if not hmac.compare_digest(root_from_inclusion(leaf, index, size, proof), root):
        raise RefusedError("log.inclusion", f"entry {index} is not under this root of {size} entries")


def verify_consistency(old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Check that one tree extends another; raises ``log.consistency``.

    RFC 9162 §2.1.4.2. The cases with an empty proof are spelled out: equal sizes need equal roots, and every tree
    extends the empty one.
    """
    if not 0 <= old_size <= new_size <= MAX_SIZE:
        raise RefusedError("log.consistency", f"a tree of {new_size} does not extend one of {old_size}")
    _refuse_odd_hashes("log.consistency", [old_root, new_root, *proof])
    if old_size in {0, new_size}:
        expected = EMPTY_ROOT if old_size == 0 else new_root
        if proof or old_root != expected or (new_size == 0 and new_root != EMPTY_ROOT):
            raise RefusedError("log.consistency", f"two different trees of {old_size} entries, or a proof too many")
        return
    position, last, path = old_size - 1, new_size - 1, list(proof)
    while position & 1:
        position >>= 1
        last >>= 1
    if position:
        if not path:
            raise RefusedError("log.consistency", "the proof is empty")
        old_value = path.pop(0)
    else:
        old_value = old_root
    new_value = old_value
    for sibling in path:
        if last == 0:
            raise RefusedError("log.consistency", "the proof is longer than the tree is high")
        if position & 1 or position == last:
            old_value = node_hash(sibling, old_value)
            new_value = node_hash(sibling, new_value)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            new_value = node_hash(new_value, sibling)
        position >>= 1
        last >>= 1
    if last != 0:
        raise RefusedError("log.consistency", "the proof is shorter than the tree is high")
    if not (hmac.compare_digest(old_value, old_root) and hmac.compare_digest(new_value, new_root)):
        raise RefusedError("log.consistency", f"the tree of {new_size} entries does not extend the one of {old_size}")


def _refuse_odd_hashes(code: str, hashes: Iterable[bytes]) -> None:
    if any(len(value) != HASH_BYTES for value in hashes):
        raise RefusedError(code, f"every hash of a proof has {HASH_BYTES} bytes")


class CompactRange:
    """A growing tree kept as the roots of its complete subtrees: append in amortised two hashes, root in log(size).

    ``size`` leaves are represented by one hash for each set bit of ``size``, largest subtree first. Not safe for use
    from several threads; whoever appends owns it.
    """

    __slots__ = ("_peaks", "size")

    def __init__(self, size: int = 0, peaks: Sequence[bytes] = ()) -> None:
        if size < 0 or len(peaks) != size.bit_count() or any(len(peak) != HASH_BYTES for peak in peaks):
            raise UsageError("log.compact_range", f"a tree of {size} leaves has {size.bit_count()} complete subtrees")
        self.size = size
        self._peaks = list(peaks)

    @property
    def peaks(self) -> tuple[bytes, ...]:
        """The hashes of the complete subtrees, left to right; with ``size`` they restore the range."""
        return tuple(self._peaks)

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash."""
        peaks, count, sha256 = self._peaks, self.size, _sha256
        while count & 1:
            leaf = sha256(b"\x01" + peaks.pop() + leaf).digest()
            count >>= 1
        peaks.append(leaf)
        self.size += 1

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Add leaf hashes in order."""
        for leaf in leaves:
            self.append(leaf)

    def root(self) -> bytes:
        """The root of the tree so far."""
        return fold(self._peaks)

    def copy(self) -> CompactRange:
        """An independent range of the same tree."""
        return CompactRange(self.size, self._peaks)
