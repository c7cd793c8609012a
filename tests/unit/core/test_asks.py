"""Packed parts and the documents that they are of (onchain.md §2)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core import canonical
from holdfast.core.asks import MAX_DOCUMENT_BYTES, MAX_DOCUMENT_PARTS, document_of, pack_parts, unpack_parts
from holdfast.core.parts import Part, map_parts
from holdfast.errors import MalformedError

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99).map(canonical.NumberText) | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


def refused(code: str, parts: list[Part]) -> None:
    with pytest.raises(MalformedError) as caught:
        document_of(parts)
    assert caught.value.code == code


def test_bytes_that_are_no_packed_parts_are_refused() -> None:
    packed = pack_parts([Part(b"label", b"bytes"), Part(b"other", b"")])
    for wrong in (b"", packed[:-1], packed + b"\x00", packed + b"\x00\x00", packed[1:], b"\xff\xff" + packed):
        with pytest.raises(MalformedError) as caught:
            unpack_parts(wrong)
        assert caught.value.code == "ask.document"
    assert unpack_parts(packed) == (Part(b"label", b"bytes"), Part(b"other", b""))


def test_what_does_not_fit_on_chain_is_refused() -> None:
    for parts in (
        [Part(b"%d" % number, b"") for number in range(MAX_DOCUMENT_PARTS + 1)],
        [Part(b"a", bytes(MAX_DOCUMENT_BYTES))],
        [Part(b"a", bytes(1 << 16))],
    ):
        with pytest.raises(MalformedError) as caught:
            pack_parts(parts)
        assert caught.value.code == "ask.document"


def test_parts_of_no_document_are_refused() -> None:
    model = Part(b"model|-|-|s|/model", b"m")
    for parts in (
        [model, model],
        [model, Part(b"model|-|-|s|/model/x", b"m")],
        [Part(b"field|-|-|s|/model", b"m")],
        [Part(b"model|-|-|n|/model", b"m")],
        [Part(b"model|-|-|q|/model", b"m")],
        [Part(b"model|-|-|l|/model", b"maybe")],
        [Part(b"model|-|-|s|", b"m")],
        [Part(b"model", b"m")],
        [Part(b"\xff|-|-|s|/model", b"m")],
        [Part(b"model|-|-|s|/model", b"\xff")],
        [Part(b"field|-|-|o|/tee_x", b"")],
        [Part(b"field|-|-|o|/x", b"extra")],
        [Part(b"field|-|-|s|" + b"/x" * 4000, b"deeper than anybody reads")],
        [],
    ):
        refused("ask.parts", parts)


@given(st.dictionaries(NAMES.filter(lambda name: not name.startswith("tee_")), VALUES, min_size=1, max_size=4))
def test_a_document_and_its_parts_say_the_same(value: dict[str, object]) -> None:
    parts = map_parts("request", canonical.decode_exact(canonical.encode_exact(value)))
    text = document_of(list(reversed(parts)))
    assert map_parts("request", canonical.decode_exact(text)) == parts
    if len(parts) <= MAX_DOCUMENT_PARTS:
        assert list(unpack_parts(pack_parts(parts))) == parts
