"""Walrus blob ids: refusals first, then ids that the official encoder gave, then both ways of doing the work."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core import _planes, reed_solomon, walrus
from holdfast.errors import MalformedError, RefusedError, UsageError

KNOWN = {
    (4, 0): "CmzciFdWJP1IIM-rD3cqXlVBXYM0fpAfHahZBvkaZUI",
    (4, 1024): "StFKfMBFAcDtLMR4257ozbubwboeUxE9b7bL0pfTprY",
    (7, 1): "MzAf4tJaMeh4ixMBmokMa8HfEJUvYvlvTVQUGEBMHnE",
    (10, 0): "gLzpD29smKZiYJIWwKatudKr76kEprQeMPyAhuMbWd4",
    (10, 1024): "TtreJtLI5nPyO_NZmCWU59ASTveBzsjm7g__Ig9bHbo",
    (100, 1): "2WDYAcEYGvFRfNdmIJXqXs4LQiSJq-igkMRObMLsOtU",
    (100, 1 << 20): "Wx5qZzOWXsQtrAVLbOMvJ99pK0wgGHXGi2_hz61s4cI",
    (1000, 1024): "9hmVqn3VdygDfm3tYlYOc1doESOuUgDt2zda4k3pa2E",
}
"""By the official WebAssembly, version 0.3.0, over the first bytes of SHAKE128("walrus" and the size in decimals)."""


def sample(size: int) -> bytes:
    return hashlib.shake_128(f"walrus{size}".encode()).digest(size)


@pytest.mark.parametrize("shards", [-1, 0, 3, 1001])
def test_a_network_of_another_size_is_refused(shards: int) -> None:
    with pytest.raises(UsageError) as caught:
        walrus.blob_id(b"", shards)
    assert caught.value.code == "walrus.shards"


def test_a_blob_that_does_not_fit_is_refused_before_anything_is_computed() -> None:
    encoding = walrus.encoding_of(4)
    assert encoding.symbol_bytes(encoding.max_blob_bytes) == walrus.MAX_SYMBOL_BYTES
    with pytest.raises(UsageError) as caught:
        encoding.symbol_bytes(encoding.max_blob_bytes + 1)
    assert caught.value.code == "walrus.size"
    assert caught.value.status == 413


@pytest.mark.parametrize("text", ["", "A" * 42, "A" * 44, "A" * 42 + "B", "A" * 42 + "+", "A" * 42 + "\n", None, 7])
def test_another_spelling_of_an_id_is_refused(text: object) -> None:
    with pytest.raises(MalformedError) as caught:
        walrus.parse_id(text)
    assert caught.value.code == "walrus.id"


def test_bytes_of_another_id_are_refused() -> None:
    identifier = walrus.blob_id(b"content", 10)
    assert walrus.verify_blob(b"content", identifier, 10) == b"content"
    for data, shards in ((b"c0ntent", 10), (b"content\x00", 10), (b"content", 13)):
        with pytest.raises(RefusedError) as caught:
            walrus.verify_blob(data, identifier, shards)
        assert caught.value.code == "walrus.mismatch"


@pytest.mark.parametrize(("shards", "size"), KNOWN)
def test_ids_are_those_of_the_official_encoder(shards: int, size: int) -> None:
    assert walrus.encode_id(walrus.blob_id(sample(size), shards)) == KNOWN[shards, size]


def test_text_and_bytes_of_an_id_agree() -> None:
    for text in KNOWN.values():
        assert walrus.encode_id(walrus.parse_id(text)) == text


def test_what_a_blob_takes_on_all_shards_is_what_walrus_says() -> None:
    assert walrus.encoding_of(1000).encoded_bytes(17) == 66_034_000


@given(st.integers(1, 40), st.integers(1, 100), st.randoms(use_true_random=False))
def test_both_ways_of_splitting_merge_to_the_same_symbols(count: int, half: int, chance) -> None:
    size = 2 * half
    symbols = chance.randbytes(count * size)
    spaced = b"".join(b"\x00" + symbols[at : at + size] for at in range(0, len(symbols), size))
    assert _planes.merge_slices(*_planes.split_slices(symbols, size), size) == spaced
    assert _planes.merge_arrays(*_planes.split_arrays(symbols, size), size) == spaced


@given(st.integers(1, 100), st.integers(0, 65_535), st.sampled_from(["", "target", "work"]), st.data())
def test_both_ways_of_adding_and_multiplying_agree(size: int, constant: int, zeros: str, choose) -> None:
    planes = st.binary(min_size=size, max_size=size)
    target, work = (choose.draw(st.tuples(planes, planes)) for _ in range(2))
    tables = reed_solomon._tables(constant)
    found = []
    for way in (_planes.Integers(size), _planes.Arrays(size)):
        start = way.zero if zeros == "target" else way.load(target)
        other = way.zero if zeros == "work" else way.load(work)
        kept = way.copy(start)
        total = way.add_scaled(way.add(start, other), other, tables)
        found.append(tuple(map(bytes, (*way.show(total), *way.show(kept)))))
    assert found[0] == found[1]
    if zeros != "target":
        assert found[0][2:] == target, "a copy does not change with what it was made of"


@pytest.mark.parametrize("size", [0, 1, 57, 300, 30_000, 200_000])
def test_the_base_install_computes_the_same_ids(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    expected = walrus.blob_id(sample(size), 13)
    monkeypatch.setattr(_planes, "FAST", False)
    assert walrus.blob_id(sample(size), 13) == expected


@settings(max_examples=20)
@given(st.binary(min_size=1, max_size=120), st.data())
def test_one_changed_bit_is_another_id(data: bytes, choose) -> None:
    changed = bytearray(data)
    changed[choose.draw(st.integers(0, len(data) - 1))] ^= 1 << choose.draw(st.integers(0, 7))
    assert walrus.blob_id(data, 7) != walrus.blob_id(bytes(changed), 7)
