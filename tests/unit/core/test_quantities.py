"""Values and the rules by which several of them agree (``admission.md`` §4, §5)."""

from __future__ import annotations

from fractions import Fraction

import pytest

from holdfast.core.quantities import (
    Outcome,
    Rule,
    Value,
    apply_rule,
    format_decimal,
    in_range,
    median,
    parse_decimal,
    parse_rule,
    parse_value,
)
from holdfast.errors import MalformedError


def euro(text, unit="USD"):
    return Value("decimal", text, unit)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1.",
        ".5",
        "01",
        "1.50",
        "-0",
        "+1",
        "1e3",
        "1,5",
        " 1",
        "1\n",
        "٣",
        "1" * 39,
        "0." + "1" * 39,
        1,
        None,
        True,
    ],
)
def test_a_decimal_has_one_spelling(text):
    with pytest.raises(MalformedError) as caught:
        parse_decimal(text)
    assert caught.value.code == "admission.decimal"


@pytest.mark.parametrize("text", ["0", "-1", "1.0842", "-0.5", "9" * 38, "0." + "0" * 37 + "1"])
def test_a_decimal_is_written_as_it_was_read(text):
    assert format_decimal(parse_decimal(text)) == text


@pytest.mark.parametrize(
    "value",
    [
        None,
        {"type": "decimal", "text": "1"},
        {"type": "float", "text": "1", "unit": None},
        {"type": "text", "text": "", "unit": None},
        {"type": "text", "text": "x" * 65_537, "unit": None},
        {"type": "text", "text": "x", "unit": ""},
        {"type": "text", "text": "x", "unit": "x" * 33},
        {"type": "json", "text": '{"b":1, "a":2}', "unit": None},
        {"type": "json", "text": "1.5", "unit": None},
        {"type": "json", "text": '1,"x":2', "unit": None},
        {"type": "json", "text": "nonsense", "unit": None},
    ],
)
def test_a_malformed_value_does_not_exist(value):
    with pytest.raises(MalformedError) as caught:
        parse_value(value)
    assert caught.value.code == "admission.value"


def test_a_decimal_value_is_a_decimal():
    with pytest.raises(MalformedError) as caught:
        parse_value({"type": "decimal", "text": "1.50", "unit": None})
    assert caught.value.code == "admission.decimal"


@pytest.mark.parametrize("text", ['{"a":2,"b":[1]}', '"x"', "[]", "null", "-1"])
def test_a_value_can_be_canonical_json(text):
    value = parse_value({"type": "json", "text": text, "unit": None})
    assert parse_value(value.to_json()) == value


RULE = {"kind": "spread", "least": 2, "spread": "0.01", "relative": False}


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "mean"},
        {"least": 0},
        {"least": 65},
        {"least": True},
        {"spread": None},
        {"spread": "-1"},
        {"relative": 1},
        {"kind": "exact"},
        {"kind": "exact", "spread": None, "relative": True},
        {"more": 1},
    ],
)
def test_a_malformed_rule_does_not_exist(change):
    with pytest.raises(MalformedError) as caught:
        parse_rule(RULE | change)
    assert caught.value.code == "admission.rule"


@pytest.mark.parametrize("change", [{}, {"kind": "median", "relative": True}, {"kind": "exact", "spread": None}])
def test_a_rule_is_written_as_it_was_read(change):
    assert parse_rule(RULE | change).to_json() == RULE | change


def test_too_few_values_do_not_agree():
    assert apply_rule(Rule("exact", 2), [euro("1")]) == Outcome(agreed=False, spread="0", value=None)


def test_no_value_at_all_is_no_agreement():
    assert apply_rule(Rule("exact", 1), []) == Outcome(agreed=False, spread=None, value=None)


@pytest.mark.parametrize("kind", ["exact", "spread", "median"])
def test_values_of_two_units_do_not_agree(kind):
    rule = Rule(kind, 1, None if kind == "exact" else "100")
    assert apply_rule(rule, [euro("1"), euro("1", "EUR")]) == Outcome(agreed=False, spread=None, value=None)


def test_texts_agree_only_exactly():
    texts = [Value("text", "open"), Value("text", "open")]
    assert apply_rule(Rule("exact", 2), texts) == Outcome(agreed=True, spread=None, value=texts[0])
    assert not apply_rule(Rule("spread", 2, "100"), texts).agreed
    assert not apply_rule(Rule("exact", 2), [texts[0], Value("text", "closed")]).agreed


def test_disagreement_has_a_spread_and_no_value():
    found = apply_rule(Rule("spread", 2, "0.01"), [euro("1.08"), euro("1.1")])
    assert found == Outcome(agreed=False, spread="0.02", value=None)


def test_a_spread_within_the_bound_gives_the_median():
    found = apply_rule(Rule("spread", 2, "0.02"), [euro("1.08"), euro("1.1")])
    assert found == Outcome(agreed=True, spread="0.02", value=euro("1.09"))


def test_a_median_bears_an_outlier_that_a_spread_does_not():
    values = [euro("1.08"), euro("1.09"), euro("7")]
    assert apply_rule(Rule("median", 2, "0.02"), values) == Outcome(agreed=True, spread="5.92", value=euro("1.09"))
    assert not apply_rule(Rule("median", 3, "0.02"), values).agreed
    assert not apply_rule(Rule("spread", 2, "0.02"), values).agreed


def test_a_relative_bound_is_a_share_of_the_median():
    values = [euro("-100"), euro("-101")]
    assert apply_rule(Rule("spread", 2, "0.01", relative=True), values).agreed
    assert not apply_rule(Rule("spread", 2, "0.0099", relative=True), values).agreed


def test_a_median_that_no_decimal_can_hold_is_no_agreement():
    tiny, twice = "0." + "0" * 37 + "1", "0." + "0" * 37 + "2"
    assert not apply_rule(Rule("spread", 2, "1"), [euro(tiny), euro(twice)]).agreed
    wide = [euro("9" * 38), euro("-" + "9" * 38)]
    assert apply_rule(Rule("exact", 2), wide) == Outcome(agreed=False, spread=None, value=None)


def test_the_median_of_an_even_number_is_exact():
    assert median([Fraction(1), Fraction(2), Fraction(4), Fraction(9)]) == 3


@pytest.mark.parametrize(
    ("bounds", "inside"),
    [
        ({"least": "1", "most": "2"}, True),
        ({"least": "1.5", "most": "1.5"}, True),
        ({"least": "1.6", "most": None}, False),
        ({"least": None, "most": "1.4"}, False),
        ({"least": None, "most": None}, True),
    ],
)
def test_a_range_includes_its_ends(bounds, inside):
    assert in_range(Fraction("1.5"), bounds) is inside
