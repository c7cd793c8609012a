"""The pattern that recognises envelopes accepts exactly what the parser accepts, with the same digest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core import statements
from holdfast.core.encoding import sha256
from holdfast.errors import HoldfastError
from holdfast.nodes.log.entries import parse_entry

ENVELOPE = statements.build_envelope(b'{"a":"payload"}', "ab" * 32, bytes(range(64)))


def parsed(raw: bytes) -> bytes | None:
    """The digest that the parser gives, or None where it refuses."""
    try:
        return sha256(statements.parse_envelope(raw).payload)
    except HoldfastError:
        return None


def check(raw: bytes) -> None:
    expected = parsed(raw)
    if expected is None:
        with pytest.raises(HoldfastError):
            parse_entry(raw)
    else:
        assert parse_entry(raw).digest == expected


@given(st.binary(max_size=200), st.binary(max_size=80), st.binary(min_size=32, max_size=32))
def test_every_built_envelope_is_an_entry(payload: bytes, signature: bytes, key: bytes) -> None:
    raw = statements.build_envelope(payload, key.hex(), signature)
    assert parse_entry(raw).digest == sha256(payload) == parsed(raw)


@given(st.integers(0, len(ENVELOPE) - 1), st.integers(0, 255))
def test_a_changed_byte_is_judged_as_the_parser_judges_it(place: int, value: int) -> None:
    check(ENVELOPE[:place] + bytes([value]) + ENVELOPE[place + 1 :])


@given(st.integers(0, len(ENVELOPE)), st.integers(0, len(ENVELOPE)), st.binary(max_size=4))
def test_a_replaced_piece_is_judged_as_the_parser_judges_it(first: int, second: int, piece: bytes) -> None:
    begin, end = sorted((first, second))
    check(ENVELOPE[:begin] + piece + ENVELOPE[end:])


@given(st.text(alphabet="ABab01+/=", max_size=12), st.text(alphabet="ABab01+/=", max_size=12))
def test_every_spelling_of_base64_is_judged_as_the_parser_judges_it(payload: str, signature: str) -> None:
    check(
        b'{"payload":"%s","payloadType":"%s","signatures":[{"keyid":"%s","sig":"%s"}]}'
        % (payload.encode(), statements.PAYLOAD_TYPE.encode(), b"ab" * 32, signature.encode())
    )
