"""Quilts: refusals first, then that what was built is what is read."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core import quilt
from holdfast.core.quilt import Patch
from holdfast.errors import MalformedError, UsageError

SHARDS = 10
PATCHES = [Patch("b", b"second" * 20), Patch("a", b"first", {"kind": "card"}), Patch("c", b"")]


def refused(code: str, patches: list[Patch], shards: int = SHARDS) -> None:
    with pytest.raises(UsageError) as caught:
        quilt.build_quilt(patches, shards)
    assert caught.value.code == code


def test_a_quilt_without_patches_or_with_more_than_columns_is_refused() -> None:
    refused("walrus.patches", [])
    refused("walrus.patches", [Patch(str(number), b"") for number in range(7)])


def test_two_patches_of_one_name_are_refused() -> None:
    refused("walrus.patches", [Patch("a", b"1"), Patch("a", b"2")])


def test_texts_that_need_more_than_two_bytes_of_length_are_refused() -> None:
    refused("walrus.patches", [Patch("a" * 70_000, b"")])
    refused("walrus.patches", [Patch("a", b"", {"k": "v" * 70_000})])


def test_what_does_not_fit_is_refused() -> None:
    refused("walrus.quilt_size", [Patch("a", bytes(3 * 4 * 65_534)), Patch("b", bytes(4 * 4 * 65_534))])


def test_a_quilt_cut_anywhere_is_refused() -> None:
    raw, _ = quilt.build_quilt(PATCHES, SHARDS)
    for size in (0, 1, len(raw) // 2, len(raw) - 1):
        with pytest.raises(MalformedError) as caught:
            quilt.parse_quilt(raw[:size], SHARDS)
        assert caught.value.code == "walrus.quilt"


@given(st.data())
def test_noise_is_refused_or_read_and_nothing_else(choose) -> None:
    raw = bytearray(quilt.build_quilt(PATCHES, SHARDS)[0])
    for _ in range(choose.draw(st.integers(1, 3))):
        raw[choose.draw(st.integers(0, len(raw) - 1))] = choose.draw(st.integers(0, 255))
    code = None
    try:
        quilt.parse_quilt(bytes(raw), SHARDS)
    except MalformedError as error:
        code = error.code
    assert code in {None, "walrus.quilt"}


@pytest.mark.parametrize("text", ["", "A" * 50, "A" * 49, "A" * 43 + "/" * 7, None])
def test_what_is_no_patch_id_is_refused(text: object) -> None:
    with pytest.raises(MalformedError) as caught:
        quilt.parse_patch_id(text)
    assert caught.value.code == "walrus.patch_id"


def test_patches_stand_in_order_each_in_columns_of_its_own() -> None:
    raw, placed = quilt.build_quilt(PATCHES, SHARDS)
    assert [item.patch.identifier for item in placed] == ["a", "b", "c"]
    assert all(first.end == second.start for first, second in itertools.pairwise(placed))
    assert quilt.parse_quilt(raw, SHARDS) == placed


def test_the_order_of_patches_makes_no_difference() -> None:
    assert quilt.build_quilt(PATCHES, SHARDS) == quilt.build_quilt(PATCHES[::-1], SHARDS)


def test_ids_of_patches_are_read_as_they_were_written() -> None:
    text = quilt.encode_patch_id(bytes(range(32)), 3, 700)
    assert quilt.parse_patch_id(text) == (bytes(range(32)), 3, 700)


@given(
    st.sampled_from([4, 7, 13, 20]),
    st.dictionaries(
        st.text(max_size=9),
        st.tuples(st.binary(max_size=300), st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2)),
        min_size=1,
        max_size=2,
    ),
)
def test_what_is_built_is_read(shards: int, contents) -> None:
    patches = [Patch(name, data, tags) for name, (data, tags) in contents.items()]
    raw, placed = quilt.build_quilt(patches, shards)
    assert quilt.parse_quilt(raw, shards) == placed
    assert {item.patch.identifier: item.patch for item in placed} == {patch.identifier: patch for patch in patches}
