"""What a memory node keeps opens in its place with its key, and nowhere else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core import memory_sealing as sealing
from holdfast.errors import HoldfastError

KEY, OTHER = b"k" * 32, b"o" * 32
NONCE = b"n" * 12
PLACE = sealing.event_place("usr_a", "mem_1", None)


def code(call, *arguments):
    with pytest.raises(HoldfastError) as caught:
        call(*arguments)
    return caught.value.code


@given(st.binary(max_size=900))
def test_what_was_sealed_opens(data):
    assert sealing.open_sealed(KEY, PLACE, sealing.seal(KEY, NONCE, PLACE, data)) == data


@given(st.binary(max_size=40), st.data())
def test_no_byte_can_be_changed(data, draw):
    sealed = sealing.seal(KEY, NONCE, PLACE, data)
    at = draw.draw(st.integers(0, len(sealed) - 1))
    flipped = sealed[:at] + bytes([sealed[at] ^ (1 << draw.draw(st.integers(0, 7)))]) + sealed[at + 1 :]
    assert code(sealing.open_sealed, KEY, PLACE, flipped) == "memory.sealed"


@pytest.mark.parametrize(
    "place",
    [
        sealing.event_place("usr_b", "mem_1", None),
        sealing.event_place("usr_a", "mem_2", None),
        sealing.event_place("usr_a", "mem_1", "ab" * 32),
        sealing.key_place("usr_a", "mem_1"),
        sealing.beside_place("usr_a", "mem_1", "vector"),
    ],
)
def test_nothing_opens_in_another_place(place):
    assert code(sealing.open_sealed, KEY, place, sealing.seal(KEY, NONCE, PLACE, b"x")) == "memory.sealed"


def test_nothing_opens_with_another_key_or_cut_short():
    sealed = sealing.seal(KEY, NONCE, PLACE, b"x")
    assert code(sealing.open_sealed, OTHER, PLACE, sealed) == "memory.sealed"
    for size in (0, 1, 13, 29, len(sealed) - 1):
        assert code(sealing.open_sealed, KEY, PLACE, sealed[:size]) == "memory.sealed"


def test_lengths_show_by_blocks_only():
    sizes = {len(sealing.seal(KEY, NONCE, PLACE, bytes(size))) for size in range(253)}
    assert sizes == {1 + 12 + 256 + 16}


def test_scopes_and_ends_are_part_of_a_wraps_place():
    place = sealing.wrap_place("usr_a", "w", "api_key", ["b", "a"], None)
    assert place == sealing.wrap_place("usr_a", "w", "api_key", ["a", "b"], None)
    assert (
        len(
            {
                place,
                sealing.wrap_place("usr_a", "w", "api_key", ["a"], None),
                sealing.wrap_place("usr_a", "w", "api_key", ["a", "b"], "2026-01-01T00:00:00.000Z"),
                sealing.wrap_place("usr_a", "w", "passphrase", ["a", "b"], None),
            }
        )
        == 4
    )


@given(st.binary(min_size=32, max_size=32), st.integers(0, 2**64 - 1))
def test_an_api_key_says_its_wrap_and_its_secret(secret, number):
    wrap = f"{number:016x}"
    assert sealing.parse_api_key(sealing.format_api_key(wrap, secret)) == (wrap, secret)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "memsync_sk_live_123",
        sealing.format_api_key("0" * 16, KEY)[:-1],
        sealing.format_api_key("0" * 16, KEY) + "\n",
        sealing.format_api_key("0" * 16, KEY)[:-1] + "B",
        sealing.format_api_key("F" * 16, KEY),
    ],
)
def test_what_is_no_api_key_is_refused(text):
    assert code(sealing.parse_api_key, text) == "memory.api_key"


def test_salts_make_other_wrapping_keys():
    assert sealing.wrapping_key(KEY, b"a" * 16) != sealing.wrapping_key(KEY, b"b" * 16)
