"""Sources, whatever comes: no parameter leaves its place, no byte changes unseen, no body breaks a reader."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.admissions import verify_admission
from holdfast.core.expectations import admit_value, parse_expectation
from holdfast.core.extraction import extract, parse_extraction
from holdfast.core.sources import locate, parse_registry, parse_registry_toml, resolve
from holdfast.core.statements import parse_envelope, parse_statement
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UsageError
from tests.helpers.admissions import DataNode, admitted
from tests.unit.core.test_sources import REGISTRY

SOURCE = parse_registry_toml(REGISTRY).find("rates")
SIGNED = DataNode().sign(admitted())


@given(st.text(max_size=40), st.text(max_size=40))
def test_whatever_a_caller_says_the_request_stays_where_the_definition_put_it(pair, at):
    try:
        asked = resolve(SOURCE, {"pair": pair, "at": at})
    except UsageError:
        return
    where = locate(asked.url)
    assert (where.scheme, where.host, where.port) == ("https", "rates.example", 443)
    assert where.target.startswith("/v1/")
    assert where.target.count("/") == 2
    assert where.target.count("?") == where.target.count("=") == 1
    assert asked.url.isascii()
    assert not any(letter.isspace() for letter in asked.url)


@given(st.data())
def test_a_flipped_byte_of_a_registry_is_another_registry_or_none(data):
    raw = bytearray(parse_registry_toml(REGISTRY).raw)
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= data.draw(st.integers(1, 255))
    try:
        found = parse_registry(bytes(raw))
    except HoldfastError:
        return
    assert found.digest != parse_registry_toml(REGISTRY).digest


@given(st.data())
def test_a_flipped_byte_of_a_document_or_its_salt_is_caught(data):
    parts = {"document": bytearray(SIGNED.document.raw), "salt": bytearray(SIGNED.salt)}
    chosen = parts[data.draw(st.sampled_from(sorted(parts)))]
    chosen[data.draw(st.integers(0, len(chosen) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(HoldfastError):
        verify_admission(SIGNED.statement, bytes(parts["document"]), bytes(parts["salt"]))


@given(st.data())
def test_a_flipped_byte_of_an_envelope_is_another_statement_or_none(data):
    raw = bytearray(SIGNED.envelope)
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        envelope = parse_envelope(bytes(raw))
        statement = parse_statement(envelope)
    except HoldfastError:
        return
    changed = (envelope.payload, envelope.signature, envelope.key_id)
    first = parse_envelope(SIGNED.envelope)
    assert changed != (first.payload, first.signature, first.key_id)
    assert dataclasses.is_dataclass(statement)


RULES = [
    {"method": "json", "value": "$.a[0].b", "time": "$.t", "time_format": "unix_ms"},
    {"method": "feed", "items": 3, "time": "newest"},
    {"method": "css", "selector": "div > p.x", "attribute": None},
    {"method": "text"},
]
BODIES = st.one_of(
    st.binary(max_size=200),
    st.text(alphabet='<>/="ap div!-[]&;{}:,0123.', max_size=200).map(str.encode),
    st.recursive(st.none() | st.booleans() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)).map(
        lambda value: repr(value).encode("utf-8", "replace")
    ),
)


@given(st.sampled_from(RULES), BODIES)
def test_no_body_breaks_a_reader_and_the_same_body_gives_the_same(rules, body):
    parsed = parse_extraction(rules)
    try:
        found = extract(parsed, body)
    except RefusedError:
        return
    assert extract(parsed, body) == found


@given(st.one_of(st.text(max_size=60), st.integers(), st.none(), st.booleans(), st.decimals().map(str)))
def test_a_number_that_is_admitted_has_one_spelling_and_the_same_value(value):
    expect = parse_expectation({"type": "decimal"})
    try:
        once = admit_value(expect, value)
    except (RefusedError, MalformedError):
        return
    assert admit_value(expect, once) == once
