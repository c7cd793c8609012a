"""Merkle trees straight from the recursive definitions of RFC 9162 §2.1 (log.md §2, parts.md §4)."""

from __future__ import annotations

from collections.abc import Sequence

from .text import sha


def leaf(entry: bytes) -> bytes:
    """Hash of one entry."""
    return sha(b"\x00" + entry)


def node(left: bytes, right: bytes) -> bytes:
    """Hash of two subtrees."""
    return sha(b"\x01" + left + right)


def _half(count: int) -> int:
    half = 1
    while half * 2 < count:
        half *= 2
    return half


def head(leaves: Sequence[bytes]) -> bytes:
    """MTH(D[n]) over leaf hashes."""
    if not leaves:
        return sha(b"")
    if len(leaves) == 1:
        return leaves[0]
    half = _half(len(leaves))
    return node(head(leaves[:half]), head(leaves[half:]))


def inclusion(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """PATH(m, D[n])."""
    if len(leaves) <= 1:
        return []
    half = _half(len(leaves))
    if index < half:
        return [*inclusion(leaves[:half], index), head(leaves[half:])]
    return [*inclusion(leaves[half:], index - half), head(leaves[:half])]


def consistency(leaves: Sequence[bytes], old: int) -> list[bytes]:
    """PROOF(m, D[n])."""
    if old == 0:
        return []
    return _subproof(leaves, old, complete=True)


def _subproof(leaves: Sequence[bytes], old: int, *, complete: bool) -> list[bytes]:
    if old == len(leaves):
        return [] if complete else [head(leaves)]
    half = _half(len(leaves))
    if old <= half:
        return [*_subproof(leaves[:half], old, complete=complete), head(leaves[half:])]
    return [*_subproof(leaves[half:], old - half, complete=False), head(leaves[:half])]
