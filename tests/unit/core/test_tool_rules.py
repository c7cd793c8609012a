"""Rules for arguments: what nobody named is refused, whatever a model writes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.tool_rules import Rule, parse_call, parse_rules, parse_schema, read_number, refuse_call
from holdfast.errors import HoldfastError, MalformedError, RefusedError

SCHEMA = parse_schema(
    {
        "type": "object",
        "properties": {
            "pair": {"type": "string", "description": "Which one"},
            "amount": {"type": "string"},
            "deep": {"type": "object"},
        },
        "required": ["pair"],
    }
)
NAMES = st.text(min_size=1, max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(NAMES, JSON, max_size=4))
def test_nothing_passes_where_nothing_is_allowed(arguments: dict[str, object]) -> None:
    with pytest.raises(HoldfastError):
        refuse_call(arguments, {}, SCHEMA)


@given(JSON)
def test_only_what_is_named_passes_a_list(value: object) -> None:
    rules = parse_rules({"pair": ["EUR/USD", "EUR/CHF"]}, "allow")
    if type(value) is str and value in ("EUR/USD", "EUR/CHF"):
        refuse_call({"pair": value}, rules, SCHEMA)
        return
    with pytest.raises(RefusedError) as caught:
        refuse_call({"pair": value}, rules, SCHEMA)
    assert caught.value.code == "agent.allow"


@given(st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-10, max_value=10))
def test_bounds_hold_for_every_decimal(number: object) -> None:
    rules = parse_rules({"pair": "any", "amount": {"least": "0.5", "most": "2.25"}}, "allow")
    inside = 0.5 <= number <= 2.25
    try:
        refuse_call({"pair": "x", "amount": f"{number:f}"}, rules, SCHEMA)
    except RefusedError:
        assert not inside
    else:
        assert inside


@pytest.mark.parametrize("text", ["1e3", "+1", "01", ".5", "1.", "NaN", "0x1", "1_000", " 1", "1\n", "٣", "1" * 79])
def test_what_is_no_decimal_is_never_compared(text: str) -> None:
    assert read_number(text) is None
    assert Rule(most=read_number(10**9)).refuses(text) == "is no number that can be compared"


def test_a_url_stays_below_its_prefix() -> None:
    with pytest.raises(MalformedError):
        parse_rules({"url": {"prefix": "https://shop.example"}}, "allow")
    rules = parse_rules({"url": {"prefix": "https://shop.example/tea/"}}, "allow")
    schema = parse_schema({"type": "object", "properties": {"url": {"type": "string"}}})
    for path in ("green", "a..b", "..a/b.", "green?of=/../x", "green#/../x"):
        refuse_call({"url": f"https://shop.example/tea/{path}"}, rules, schema)
    for url in (
        "https://shop.example.evil.test/tea/",
        "https://shop.example@evil.test/tea/",
        "https://shop.example/tea/../admin",
        "https://shop.example/tea/..",
        "https://shop.example/tea/%2e%2E/admin",
        "https://shop.example/tea/.%2e/admin",
        "https://shop.example/tea/x/..\\admin",
        "https://shop.example/tea/./x",
    ):
        with pytest.raises(RefusedError) as caught:
            refuse_call({"url": url}, rules, schema)
        assert caught.value.code == "agent.allow", url


def test_a_prefix_and_a_length_are_of_texts_alone() -> None:
    rule = parse_rules({"to": {"prefix": "0x", "characters": 4}}, "allow")["to"]
    assert rule.refuses("0xab") is None
    for value in ("0xabc", "1x", 0, None, ["0x"], {"0x": 1}):
        assert rule.refuses(value)


def test_a_model_is_shown_the_arguments_that_it_may_give_and_no_others() -> None:
    shown = SCHEMA.narrowed(parse_rules({"pair": ["EUR/USD"]}, "allow"))
    assert shown == {
        "type": "object",
        "properties": {"pair": {"type": "string", "description": "Which one", "enum": ["EUR/USD"]}},
        "required": ["pair"],
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    "schema",
    [
        None,
        [],
        {"type": "array"},
        {"type": "object", "properties": {"a": {"$ref": "#/x"}}},
        {"type": "object", "properties": {"a": {"pattern": "(a+)+"}}},
        {"type": "object", "properties": {"a": {"type": "text"}}},
        {"type": "object", "properties": {"a": {"type": ["string", ["null"]]}}},
        {"type": "object", "properties": []},
        {"type": "object", "properties": {"a": {"maxLength": "9"}}},
        {"type": "object", "properties": {"a": {"minimum": True}}},
        {"type": "object", "properties": {"a": {"items": {"not": {}}}}},
        {"type": "object", "required": ["a", 1]},
        {"type": "object", "properties": {"a": {"anyOf": [{"if": {}}]}}},
    ],
)
def test_a_schema_that_cannot_be_held_is_none(schema: object) -> None:
    with pytest.raises(MalformedError) as caught:
        parse_schema(schema)
    assert caught.value.code == "agent.schema"


@pytest.mark.parametrize(
    "text", [None, 1, "", "[]", "null", '{"a":1,"a":2}', '{"a":"\\ud800"}', "{" + " " * 65_536 + "}"]
)
def test_arguments_are_one_json_object(text: object) -> None:
    with pytest.raises(MalformedError) as caught:
        parse_call(text)
    assert caught.value.code == "agent.arguments"


def test_what_the_schema_leaves_open_stays_open() -> None:
    rules = parse_rules({"pair": "any", "deep": "any"}, "allow")
    refuse_call(parse_call('{"pair":"x","deep":{"anything":[1,2.5e3]}}'), rules, SCHEMA)
