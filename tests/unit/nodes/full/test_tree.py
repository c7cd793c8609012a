"""Roots of the past, against the plain tree."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core import merkle
from holdfast.errors import UsageError
from holdfast.nodes.full.tree import TILE, VerifiedTree

LEAVES = [merkle.leaf_hash(b"%d" % number) for number in range(4 * TILE + 7)]


def grown(size: int) -> VerifiedTree:
    tree = VerifiedTree()
    for leaf in LEAVES[:size]:
        tree.append(leaf)
    return tree


WHOLE = grown(len(LEAVES))


@given(st.integers(0, len(LEAVES)))
def test_the_root_at_any_size_is_that_of_the_plain_tree(size):
    assert WHOLE.root_at(size) == merkle.root(LEAVES[:size])


@given(st.integers(0, len(LEAVES)), st.integers(0, len(LEAVES)))
def test_a_consistency_proof_between_any_two_sizes_verifies(one, other):
    old, new = sorted((one, other))
    proof = WHOLE.consistency_proof(old, new)
    assert proof == merkle.consistency_proof(LEAVES[:new], old)


def test_what_was_forgotten_is_unknown_and_never_guessed():
    tree = grown(len(LEAVES))
    tree.forget_before(2 * TILE + 9)
    assert tree.known_since == 2 * TILE
    assert tree.root_at(TILE + 1) is None
    assert tree.root_at(TILE) == merkle.root(LEAVES[:TILE])
    assert tree.root_at(2 * TILE + 1) == merkle.root(LEAVES[: 2 * TILE + 1])
    assert tree.consistency_proof(TILE + 1, 3 * TILE) is None
    old, new = 2 * TILE + 3, len(LEAVES)
    assert tree.consistency_proof(old, new) == merkle.consistency_proof(LEAVES, old)


def test_a_larger_size_than_there_is_has_no_root():
    assert grown(5).root_at(6) is None
    with pytest.raises(UsageError, match=r"log\.index"):
        grown(5).consistency_proof(3, 6)


def test_a_look_ahead_changes_nothing():
    tree = grown(300)
    assert tree.extended_root(LEAVES[300:305]) == merkle.root(LEAVES[:305])
    assert tree.root() == merkle.root(LEAVES[:300])
