"""CBOR in one spelling: what RFC 8949 gives as examples, and everything that is refused."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.attestation import cbor
from holdfast.errors import MalformedError


def refused(data, **options):
    with pytest.raises(MalformedError) as error:
        cbor.decode(data, **options)
    return error.value.code


@pytest.mark.parametrize(
    ("hexed", "code"),
    [
        ("", "cbor.truncated"),
        ("18", "cbor.truncated"),
        ("19 01", "cbor.truncated"),
        ("42 00", "cbor.truncated"),
        ("82 00", "cbor.truncated"),
        ("a1 00", "cbor.truncated"),
        ("18 17", "cbor.spelling"),
        ("19 00ff", "cbor.spelling"),
        ("1a 0000ffff", "cbor.spelling"),
        ("1b 00000000ffffffff", "cbor.spelling"),
        ("58 01 00", "cbor.spelling"),
        ("00 00", "cbor.trailing"),
        ("a2 00 00 00 01", "cbor.duplicate_key"),
        ("a1 40 00", "cbor.type"),
        ("a1 f6 00", "cbor.type"),
        ("1c", "cbor.type"),
        ("1f", "cbor.type"),
        ("5f 41 00 ff", "cbor.type"),
        ("9f 00 ff", "cbor.type"),
        ("bf 00 00 ff", "cbor.type"),
        ("c0 00", "cbor.type"),
        ("d2 80", "cbor.type"),
        ("f4", "cbor.type"),
        ("f7", "cbor.type"),
        ("f9 0000", "cbor.type"),
        ("ff", "cbor.type"),
        ("61 ff", "cbor.utf8"),
        ("81 81 81 81 81 00", "cbor.depth"),
        ("a1 00 a1 00 a1 00 a1 00 a1 00 00", "cbor.depth"),
    ],
)
def test_what_has_a_second_spelling_or_no_place_here_is_refused(hexed, code):
    assert refused(bytes.fromhex(hexed)) == code


@pytest.mark.parametrize(
    ("hexed", "code"),
    [("bf", "cbor.truncated"), ("bf 00", "cbor.truncated"), ("bf 00 00 00 00 ff", "cbor.duplicate_key"),
     ("bf 00 bf ff ff", "cbor.type"), ("bf ff 00", "cbor.trailing"), ("9f ff", "cbor.type")],
)  # fmt: skip
def test_only_a_map_at_the_top_may_be_of_indefinite_length(hexed, code):
    assert refused(bytes.fromhex(hexed), indefinite=True) == code


@pytest.mark.parametrize(
    ("hexed", "value"),
    [
        ("00", 0), ("17", 23), ("1818", 24), ("190100", 256), ("1a00010000", 65536), ("1b0000000100000000", 1 << 32),
        ("1bffffffffffffffff", (1 << 64) - 1), ("20", -1), ("3822", -35), ("3bffffffffffffffff", -(1 << 64)),
        ("40", b""), ("4401020304", bytes([1, 2, 3, 4])), ("60", ""), ("62c3bc", "\u00fc"),
        ("80", []), ("83010203", [1, 2, 3]), ("a0", {}), ("a201020304", {1: 2, 3: 4}), ("f6", None),
        ("a26161016162820203", {"a": 1, "b": [2, 3]}),
    ],
)  # fmt: skip
def test_examples_of_the_standard_are_read(hexed, value):
    assert cbor.decode(bytes.fromhex(hexed)) == value
    assert cbor.decode(bytes.fromhex(hexed), indefinite=True) == value


def test_a_map_of_indefinite_length_is_read_where_it_is_allowed():
    assert cbor.decode(bytes.fromhex("bf616101ff"), indefinite=True) == {"a": 1}
    assert cbor.decode(bytes.fromhex("bfff"), indefinite=True) == {}


@given(st.integers(0, 5), st.integers(0, (1 << 64) - 1))
def test_heads_are_as_short_as_they_can_be(major, number):
    head = cbor.encode_head(major, number)
    assert head[0] >> 5 == major
    width = next(
        width for bound, width in ((24, 0), (1 << 8, 1), (1 << 16, 2), (1 << 32, 4), (1 << 64, 8)) if number < bound
    )
    assert len(head) == 1 + width
    if major == 0:
        assert cbor.decode(head) == number


@given(st.binary(max_size=300), st.text(max_size=100))
def test_strings_come_back(raw, text):
    assert cbor.decode(cbor.encode_bytes(raw)) == raw
    assert cbor.decode(cbor.encode_text(text)) == text


@given(st.binary(max_size=64))
def test_nothing_but_our_own_errors_comes_out(data):
    for indefinite in (False, True):
        with contextlib.suppress(MalformedError):
            cbor.decode(data, indefinite=indefinite)
