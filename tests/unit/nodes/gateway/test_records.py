"""Records of the write-ahead log: what was written comes back; what is damaged is never taken for something else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import HoldfastError, MalformedError
from holdfast.nodes.gateway.ledger import parse_closing
from holdfast.nodes.gateway.records import decode, encode


@pytest.mark.parametrize("payload", [b"", b"\x00", b"\x00\x00\x00\x05{}", b"\xff\xff\xff\xff{}", b"\x00\x00\x00\x02[]"])
def test_a_damaged_record_is_refused(payload: bytes) -> None:
    with pytest.raises(MalformedError):
        decode(payload)


@given(
    st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.integers(-(2**53), 2**53) | st.none()),
    st.lists(st.binary(max_size=40), max_size=6),
)
def test_a_record_comes_back_as_it_was(header: dict[str, int | None], blobs: list[bytes]) -> None:
    found = decode(encode(header, blobs))
    assert (found.header, list(found.blobs)) == (header, blobs)


@given(st.integers(0, 10_000))
def test_a_record_that_is_cut_is_never_a_closing(place: int) -> None:
    header, blobs = (
        {"run": "r", "closed_at": "t", "outcome": "complete"},
        [b"route", b"exec", b"r", b"e", b"seal", b"p"],
    )
    older, whole = encode(header, blobs), encode(header, [*blobs, b"shown"])
    cut = whole[: place % len(whole)]
    if cut == older:  # whole as it is: the write-ahead log's checksum tells it from a longer one
        return
    with pytest.raises(HoldfastError):
        parse_closing(decode(cut))


def test_a_closing_from_before_parts_were_disclosed_is_read() -> None:
    old = encode({"run": "r"}, [b"route", b"exec", b"r", b"e", b"seal", b"p"])
    assert parse_closing(decode(old)).disclosed == b""


def test_an_entry_that_is_its_envelope_is_stored_once_and_read_as_both() -> None:
    header = {"run": "r", "closed_at": "t", "outcome": "complete"}
    for blobs in ([b"route", b"exec", b"", b"", b"seal", b""], [b"route", b"exec", b"route", b"exec", b"seal", b""]):
        closing = parse_closing(decode(encode(header, blobs)))
        assert closing.entries == closing.envelopes == (b"route", b"exec")
    private = parse_closing(decode(encode(header, [b"route", b"exec", b"r", b"e", b"", b""])))
    assert (private.envelopes, private.entries) == ((b"route", b"exec"), (b"r", b"e"))
