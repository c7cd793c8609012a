"""Variable-length integers (RFC 9000 §16 and its examples in appendix A.1)."""

import pytest

from holdfast.core.varint import MAX_VARINT, encode_varint, read_varint
from holdfast.errors import UsageError

EXAMPLES = [
    ("c2197c5eff14e88c", 151_288_809_941_952_652),
    ("9d7f3e7d", 494_878_333),
    ("7bbd", 15_293),
    ("25", 37),
]


@pytest.mark.parametrize("number", [-1, MAX_VARINT + 1])
def test_a_number_that_does_not_fit_is_refused(number):
    with pytest.raises(UsageError) as caught:
        encode_varint(number)
    assert caught.value.code == "varint.range"


@pytest.mark.parametrize(("text", "number"), EXAMPLES)
def test_the_examples_of_the_rfc(text, number):
    assert encode_varint(number) == bytes.fromhex(text)
    assert read_varint(bytes.fromhex(text), 0) == (number, len(text) // 2)


def test_a_longer_spelling_is_read():
    assert read_varint(bytes.fromhex("4025"), 0) == (37, 2)


@pytest.mark.parametrize("number", [0, 63, 64, 16383, 16384, (1 << 30) - 1, 1 << 30, MAX_VARINT])
def test_every_width_comes_back_and_is_missed_when_a_byte_is_missing(number):
    text = encode_varint(number)
    assert read_varint(b"\xff" + text + b"\xff", 1) == (number, 1 + len(text))
    for size in range(len(text)):
        assert read_varint(text[:size], 0) is None
