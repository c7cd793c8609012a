"""DER in one spelling."""

import contextlib
import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.attestation import der
from holdfast.errors import MalformedError


def code(function, *arguments):
    with pytest.raises(MalformedError) as error:
        function(*arguments)
    return error.value.code


def element(hexed):
    (found,) = der.elements(bytes.fromhex(hexed))
    return found


@pytest.mark.parametrize(
    ("hexed", "expected"),
    [
        ("", "der.truncated"),
        ("30", "der.truncated"),
        ("30 01", "der.truncated"),
        ("30 82 01", "der.truncated"),
        ("30 80 00 00", "der.length"),
        ("30 81 7f", "der.length"),
        ("30 82 00 ff", "der.length"),
        ("30 84 01 00 00 00", "der.length"),
        ("30 ff", "der.length"),
        ("1f 01 00", "der.tag"),
        ("00 00", "der.tag"),
        ("30 00 00", "der.trailing"),
        ("31 00", "der.tag"),
    ],
)
def test_an_element_has_one_spelling(hexed, expected):
    assert code(der.single, bytes.fromhex(hexed), der.SEQUENCE) == expected


def test_long_lengths_are_read():
    raw = b"\x04\x81\x80" + bytes(128)
    assert der.octets(der.single(raw, der.OCTET_STRING)) == bytes(128)
    raw = b"\x04\x82\x01\x00" + bytes(256)
    assert der.single(raw, der.OCTET_STRING).raw == raw


@pytest.mark.parametrize(
    ("function", "hexed", "expected"),
    [
        (der.integer, "02 00", "der.integer"),
        (der.integer, "02 02 00 7f", "der.integer"),
        (der.integer, "02 02 ff 80", "der.integer"),
        (der.integer, "04 01 00", "der.tag"),
        (der.boolean, "01 01 01", "der.boolean"),
        (der.boolean, "01 00", "der.boolean"),
        (der.bits, "03 00", "der.bits"),
        (der.bits, "03 02 01 80", "der.bits"),
        (der.named_bits, "03 00", "der.bits"),
        (der.named_bits, "03 01 00", "der.bits"),
        (der.named_bits, "03 02 08 80", "der.bits"),
        (der.named_bits, "03 02 01 81", "der.bits"),
        (der.identifier, "06 00", "der.identifier"),
        (der.identifier, "06 02 2a 80", "der.identifier"),
        (der.identifier, "06 03 2a 80 01", "der.identifier"),
        (der.identifier, "06 0b 2a ff ff ff ff ff ff ff ff ff 7f", "der.identifier"),
        (der.time, "17 0b 3236303130313030303030", "der.time"),
        (der.time, "17 0d 3236313330313030303030305a", "der.time"),
        (der.time, "18 0d 3236303130313030303030305a", "der.time"),
        (der.time, "04 0d 3236303130313030303030305a", "der.time"),
        (der.sequence, "31 00", "der.tag"),
    ],
)
def test_a_value_has_one_spelling(function, hexed, expected):
    assert code(function, element(hexed)) == expected


def test_an_integer_is_not_endless():
    assert code(der.integer_content, b"\x01" * (der.MAX_INTEGER_BYTES + 1)) == "der.integer"


@given(st.integers(-(1 << 256), 1 << 256))
def test_minimal_integers_come_back(number):
    size = (number.bit_length() if number >= 0 else (number + 1).bit_length()) // 8 + 1
    assert der.integer_content(number.to_bytes(size, "big", signed=True)) == number


def test_values_are_read():
    assert der.boolean(element("01 01 ff")) is True
    assert der.boolean(element("01 01 00")) is False
    assert der.bits(element("03 02 00 80")) == b"\x80"
    assert der.named_bits(element("03 02 05 a0")) == {0, 2}
    assert der.named_bits(element("03 03 07 06 80")) == {5, 6, 8}
    assert der.named_bits(element("03 02 01 04")) == {5}
    assert der.identifier(element("06 03 55 1d 13")) == "2.5.29.19"
    assert der.identifier(element("06 08 2a 86 48 ce 3d 04 03 03")) == "1.2.840.10045.4.3.3"
    assert der.identifier(element("06 01 27")) == "0.39"
    assert der.time(element("17 0d 3236303130313030303030305a")) == dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    assert der.time(element("17 0d 3530303130313030303030305a")).year == 1950
    assert der.time(element("18 0f 39393939313233313233353935395a")).year == 9999


def test_a_sequence_has_as_many_elements_as_it_should():
    pair = element("30 06 02 01 01 02 01 02")
    assert [der.integer(item) for item in der.sequence(pair, 2, 2)] == [1, 2]
    assert code(der.sequence, pair, 3) == "der.count"
    assert code(der.sequence, pair, 0, 1) == "der.count"


@given(st.binary(min_size=1, max_size=80))
def test_nothing_but_our_own_errors_comes_out(data):
    for function in (der.integer, der.boolean, der.bits, der.named_bits, der.identifier, der.time, der.sequence):
        with contextlib.suppress(MalformedError):
            function(der.elements(data)[0])
