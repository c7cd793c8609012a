"""Encodings, strict JSON and key documents: encode and decode agree, and whatever parses is its one spelling."""

from __future__ import annotations

import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from holdfast.core import canonical, encoding
from holdfast.core.keys import (
    ALGORITHM_SIZES,
    ALGORITHMS_BY_USE,
    ROLES,
    PublicKey,
    build_key_document,
    parse_key_document,
)
from holdfast.errors import MalformedError
from tests.helpers.network import FullNode

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SCALARS = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXT
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4))
TIMES = st.datetimes(timezones=st.just(dt.UTC)).map(
    lambda time: time.replace(microsecond=time.microsecond // 1000 * 1000)
)
VOTE = FullNode("codec").vote.key.public
RSA_FRAME = (
    bytes.fromhex("30820122300d06092a864886f70d01010105000382010f003082010a0282010100"),
    bytes.fromhex("0203010001"),
)
"""What stands around the modulus in the SubjectPublicKeyInfo of an RSA-2048 key with exponent 65537."""


def parses(function, given):
    """What ``function`` makes of its input, or None when it refuses it."""
    try:
        return function(given)
    except MalformedError:
        return None


@given(st.binary(max_size=64))
def test_bytes_survive_hex_and_base64(value):
    assert encoding.hex_decode(value.hex(), len(value)) == value
    assert encoding.b64_decode(encoding.b64_encode(value), len(value)) == value


@given(TIMES)
def test_times_survive(value):
    assert encoding.time_decode(encoding.time_encode(value)) == value


ALPHABET = st.sampled_from("0aAfF9+/=-_TZ:.\n é٣")
NEARLY = st.text(ALPHABET, max_size=12) | TIMES.flatmap(
    lambda time: st.tuples(st.integers(0, 23), ALPHABET).map(
        lambda change: encoding.time_encode(time)[: change[0]] + change[1] + encoding.time_encode(time)[change[0] + 1 :]
    )
)


@given(NEARLY)
def test_whatever_text_decodes_is_the_one_spelling_of_its_value(text):
    as_hex, as_base64, as_time = (
        parses(decode, text) for decode in (encoding.hex_decode, encoding.b64_decode, encoding.time_decode)
    )
    assert as_hex is None or as_hex.hex() == text
    assert as_base64 is None or encoding.b64_encode(as_base64) == text
    assert as_time is None or encoding.time_encode(as_time) == text


@given(st.dictionaries(TEXT, VALUES, max_size=5))
def test_signed_json_survives_in_one_spelling(value):
    raw = canonical.encode(value)
    assert canonical.decode_signed(raw) == canonical.decode(raw) == value
    assert canonical.encode(canonical.decode_signed(raw)) == raw


@given(st.dictionaries(TEXT, VALUES, min_size=1, max_size=3), st.data())
def test_a_changed_byte_is_another_value_or_none(value, data):
    raw = bytearray(canonical.encode(value))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    changed = parses(canonical.decode_signed, bytes(raw))
    assert changed is None or canonical.encode(changed) == bytes(raw)
    assert changed is None or repr(changed) != repr(value)


@given(VALUES)
def test_exact_json_keeps_every_byte_of_its_compact_form(value):
    raw = canonical.encode(value)
    assert canonical.encode_exact(canonical.decode_exact(raw)) == raw


@given(st.dictionaries(TEXT, VALUES, max_size=4))
def test_the_fast_encoder_is_the_strict_one_for_names_in_ascii(value):
    if all(name.isascii() for name in value):
        flat = {name: item for name, item in value.items() if not isinstance(item, dict | list)}
        assert canonical.encode_known(flat) == canonical.encode(flat)


def _key(use, algorithm, data):
    if algorithm == "rsa2048":  # the frame of any such key around some odd modulus of 2,048 bits
        modulus = b"\x80" + data * 7 + bytes(23) + b"\x01"
        return PublicKey(use, algorithm, RSA_FRAME[0] + modulus + RSA_FRAME[1])
    return PublicKey(use, algorithm, VOTE if use == "vote" else data[: ALGORITHM_SIZES[algorithm]])


KEYS = (
    st.lists(st.sampled_from(sorted(ALGORITHMS_BY_USE)), min_size=1, unique=True)
    .flatmap(
        lambda uses: st.tuples(
            *(
                st.builds(
                    _key, st.just(use), st.sampled_from(ALGORITHMS_BY_USE[use]), st.binary(min_size=33, max_size=33)
                )
                for use in uses
            )
        )
    )
    .filter(lambda keys: len({key.key_id for key in keys}) == len(keys))
)


@given(
    st.from_regex(r"[a-z0-9](?:[a-z0-9.-]{0,20}[a-z0-9])?\Z", fullmatch=True),
    st.lists(st.sampled_from(ROLES), min_size=1, max_size=4),
    TEXT,
    KEYS,
)
def test_key_documents_survive(name, roles, software, keys):
    made = build_key_document(name, roles, software, list(keys))
    assert made == parse_key_document(made.raw)
    assert made.keys == keys
    for key in keys:
        assert made.key_for(key.use) == made.key_by_id(key.key_id) == key


@given(st.data())
def test_a_changed_byte_of_a_key_document_is_another_node_or_none(data):
    document = FullNode("codec").document
    raw = bytearray(document.raw)
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    changed = parses(parse_key_document, bytes(raw))
    assert changed is None or changed.digest != document.digest


@given(st.binary(max_size=120) | st.text('{}[]":,0e.\\ud8null', max_size=40).map(str.encode))
def test_whatever_comes_is_refused_with_a_code_or_decoded(raw):
    for decode in (canonical.decode, canonical.decode_exact, canonical.decode_object, canonical.decode_signed):
        parses(decode, raw)
