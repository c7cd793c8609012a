"""The tree of RFC 9162 §2.1, refusals first, against the known roots of the Certificate Transparency test tree."""

import hashlib

import pytest

from holdfast.core import merkle
from holdfast.errors import RefusedError, UsageError

LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
HASHES = [merkle.leaf_hash(leaf) for leaf in LEAVES]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def recursive_root(hashes: list[bytes]) -> bytes:
    """The definition of RFC 9162 §2.1.1 word for word: the second opinion of this file."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    left, right = recursive_root(hashes[:split]), recursive_root(hashes[split:])
    return hashlib.sha256(b"\x01" + left + right).digest()


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 0), (5, 2**63)])
def test_inclusion_outside_the_tree_is_refused(index: int, size: int) -> None:
    with pytest.raises(RefusedError) as caught:
        merkle.verify_inclusion(HASHES[0], index, size, [], HASHES[0])
    assert caught.value.code == "log.inclusion"


def test_every_altered_inclusion_proof_is_refused() -> None:
    size = 7
    hashes = HASHES[:size]
    root = merkle.root(hashes)
    for index in range(size):
        proof = merkle.inclusion_proof(hashes, index)
        merkle.verify_inclusion(hashes[index], index, size, proof, root)
        altered = [
            [*proof, HASHES[7]],
            proof[:-1],
            [bytes([step[0] ^ 1]) + step[1:] if place == 0 else step for place, step in enumerate(proof)],
            [step[:31] for step in proof],
        ]
        for wrong in altered:
            with pytest.raises(RefusedError, match=r"log\.inclusion"):
                merkle.verify_inclusion(hashes[index], index, size, wrong, root)
        with pytest.raises(RefusedError, match=r"log\.inclusion"):
            merkle.verify_inclusion(hashes[index], (index + 1) % size, size, proof, root)
        with pytest.raises(RefusedError, match=r"log\.inclusion"):
            merkle.verify_inclusion(HASHES[7], index, size, proof, root)


def test_a_tree_never_extends_a_larger_one() -> None:
    with pytest.raises(RefusedError) as caught:
        merkle.verify_consistency(4, HASHES[0], 3, HASHES[1], [])
    assert caught.value.code == "log.consistency"


def test_two_roots_for_one_size_are_inconsistent() -> None:
    with pytest.raises(RefusedError, match=r"log\.consistency"):
        merkle.verify_consistency(3, HASHES[0], 3, HASHES[1], [])


def test_equal_sizes_take_no_proof() -> None:
    merkle.verify_consistency(3, HASHES[0], 3, HASHES[0], [])
    with pytest.raises(RefusedError, match=r"log\.consistency"):
        merkle.verify_consistency(3, HASHES[0], 3, HASHES[0], [HASHES[1]])


def test_the_empty_tree_has_one_root() -> None:
    merkle.verify_consistency(0, merkle.EMPTY_ROOT, 3, HASHES[0], [])
    merkle.verify_consistency(0, merkle.EMPTY_ROOT, 0, merkle.EMPTY_ROOT, [])
    with pytest.raises(RefusedError, match=r"log\.consistency"):
        merkle.verify_consistency(0, HASHES[1], 3, HASHES[0], [])
    with pytest.raises(RefusedError, match=r"log\.consistency"):
        merkle.verify_consistency(0, HASHES[1], 0, HASHES[1], [])


def test_every_altered_consistency_proof_is_refused() -> None:
    for new in range(2, 9):
        for old in range(1, new):
            old_root, new_root = merkle.root(HASHES[:old]), merkle.root(HASHES[:new])
            proof = merkle.consistency_proof(HASHES[:new], old)
            merkle.verify_consistency(old, old_root, new, new_root, proof)
            wrong = [proof[:-1], [*proof, HASHES[0]], [], [bytes(32), *proof[1:]], [step[:-1] for step in proof]]
            for altered in wrong:
                with pytest.raises(RefusedError, match=r"log\.consistency"):
                    merkle.verify_consistency(old, old_root, new, new_root, altered)
            with pytest.raises(RefusedError, match=r"log\.consistency"):
                merkle.verify_consistency(old, new_root, new, new_root, proof)
            with pytest.raises(RefusedError, match=r"log\.consistency"):
                merkle.verify_consistency(old, old_root, new, old_root, proof)


def test_a_proof_is_not_planned_outside_the_tree() -> None:
    with pytest.raises(UsageError, match=r"log\.index"):
        merkle.inclusion_proof(HASHES, 8)
    with pytest.raises(UsageError, match=r"log\.index"):
        merkle.consistency_proof(HASHES, 9)


def test_a_compact_range_with_a_wrong_number_of_peaks_is_refused() -> None:
    with pytest.raises(UsageError, match=r"log\.compact_range"):
        merkle.CompactRange(3, [HASHES[0]])
    with pytest.raises(UsageError, match=r"log\.compact_range"):
        merkle.CompactRange(1, [b"short"])


def test_roots_equal_the_certificate_transparency_test_tree() -> None:
    assert merkle.root([]) == merkle.EMPTY_ROOT
    for count, expected in enumerate(ROOTS, start=1):
        assert merkle.root(HASHES[:count]).hex() == expected


def test_roots_equal_the_recursive_definition() -> None:
    hashes = [merkle.leaf_hash(bytes([count])) for count in range(70)]
    for count in range(len(hashes) + 1):
        assert merkle.root(hashes[:count]) == recursive_root(hashes[:count])


def test_ranges_fold_to_the_hash_of_their_subtree() -> None:
    hashes = [merkle.leaf_hash(bytes([count])) for count in range(37)]
    for new in range(1, 38):
        ranges = {planned for old in range(new + 1) for planned in merkle.consistency_ranges(old, new)}
        ranges |= {planned for index in range(new) for planned in merkle.inclusion_ranges(index, new)}
        for begin, end in ranges:
            nodes = [
                merkle.root(hashes[index << level : (index + 1) << level])
                for level, index in merkle.range_nodes(begin, end)
            ]
            assert merkle.fold(nodes) == recursive_root(hashes[begin:end])
    assert merkle.fold([]) == merkle.EMPTY_ROOT


def test_a_compact_range_has_the_root_of_its_leaves() -> None:
    tree = merkle.CompactRange()
    assert tree.root() == merkle.EMPTY_ROOT
    for count, hashed in enumerate(HASHES, start=1):
        before = tree.copy()
        tree.append(hashed)
        assert (before.size, tree.size) == (count - 1, count)
        assert tree.root().hex() == ROOTS[count - 1]
        again = merkle.CompactRange(tree.size, tree.peaks)
        again.extend(HASHES[count:])
        assert again.root().hex() == ROOTS[-1]
