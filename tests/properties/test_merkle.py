"""Properties of the tree: every honest proof verifies, any other leaf, index or root does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core import merkle
from holdfast.errors import RefusedError

HASHES = [merkle.leaf_hash(count.to_bytes(4)) for count in range(300)]


@given(st.integers(1, 300), st.data())
def test_inclusion_holds_for_one_index_only(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    other = data.draw(st.integers(0, size - 1))
    proof = merkle.inclusion_proof(HASHES[:size], index)
    root = merkle.root(HASHES[:size])
    merkle.verify_inclusion(HASHES[index], index, size, proof, root)
    if other != index:
        for leaf, claimed in ((HASHES[index], other), (HASHES[other], index)):
            with pytest.raises(RefusedError, match=r"log\.inclusion"):
                merkle.verify_inclusion(leaf, claimed, size, proof, root)


@given(st.integers(0, 300), st.integers(0, 300), st.binary(min_size=32, max_size=32))
def test_consistency_holds_for_one_old_root_only(first: int, second: int, forged: bytes) -> None:
    old, new = sorted((first, second))
    proof = merkle.consistency_proof(HASHES[:new], old)
    old_root, new_root = merkle.root(HASHES[:old]), merkle.root(HASHES[:new])
    merkle.verify_consistency(old, old_root, new, new_root, proof)
    with pytest.raises(RefusedError, match=r"log\.consistency"):
        merkle.verify_consistency(old, forged, new, new_root, proof)


@given(st.lists(st.integers(0, 40), max_size=8))
def test_a_compact_range_grows_in_any_steps(steps: list[int]) -> None:
    tree = merkle.CompactRange()
    total = 0
    for step in steps:
        tree.extend(merkle.leaf_hash(count.to_bytes(4)) for count in range(total, total + step))
        total += step
        assert tree.root() == merkle.root([merkle.leaf_hash(count.to_bytes(4)) for count in range(total)])
