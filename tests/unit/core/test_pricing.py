"""Prices: one spelling, exact sums, one rounding, never above the cap."""

from __future__ import annotations

import datetime as dt
from decimal import ROUND_CEILING, Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core import canonical
from holdfast.core.pricing import (
    KINDS,
    MAX_CARD_BYTES,
    MOST,
    PRICE_CARD_TYPE,
    UNKNOWN_USAGE,
    Rate,
    Usage,
    build_price_card,
    cap,
    charge,
    format_decimal,
    most_usage,
    parse_decimal,
    parse_price_card,
    parse_rate,
    require_fresh,
)
from holdfast.errors import MalformedError, RefusedError, UnavailableError

AT = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
RATE = Rate("0x" + "ab" * 20, "eip155:31337", 18, "0.1", "configured", AT)
CARD = build_price_card({"small": {"input": "0.25", "output": "2"}, "draw": {"image": "0.05"}, "free": {"input": "0"}})


def code(call, *arguments, **more):
    with pytest.raises((MalformedError, RefusedError, UnavailableError)) as caught:
        call(*arguments, **more)
    return caught.value.code


@pytest.mark.parametrize(
    "value",
    ["", "01", "1.", ".5", "1.0", "0.10", "-1", "+1", "1e3", "1_000", "1,5", " 1", "1\n", "0." + "0" * 18 + "1",
     "1" * 19, "NaN", "Infinity", 1, 1.5, None, True, ["1"], "١"],
)  # fmt: skip
def test_a_decimal_has_one_spelling(value):
    assert code(parse_decimal, value) == "pricing.decimal"


@given(st.integers(0, 10**18 - 1), st.integers(0, 10**18 - 1))
def test_a_decimal_reads_as_it_was_written(whole, fraction):
    text = f"{whole}.{fraction:018d}".rstrip("0").rstrip(".")
    assert format_decimal(parse_decimal(text)) == text


@pytest.mark.parametrize(
    "change",
    [
        {"type": "urn:holdfast:price-card:v2"},
        {"unit": "EUR"},
        {"models": []},
        {"models": {"": {"input": "1"}}},
        {"models": {"m": {}}},
        {"models": {"m": {"tokens": "1"}}},
        {"models": {"m": "1"}},
        {"more": 1},
    ],
)
def test_a_price_card_has_exactly_its_members(change):
    value = {"type": PRICE_CARD_TYPE, "unit": "USD", "models": {"m": {"input": "1"}}, **change}
    assert code(parse_price_card, canonical.encode(value)) == "pricing.card"


def test_a_price_is_a_decimal_and_a_card_is_not_endless():
    assert code(build_price_card, {"m": {"input": "1.0"}}) == "pricing.decimal"
    assert code(parse_price_card, b" " * (MAX_CARD_BYTES + 1)) == "pricing.card"


def test_what_has_no_price_is_not_sold():
    assert code(CARD.prices, "large") == "pricing.model"


@pytest.mark.parametrize(
    "change",
    [
        {"decimals": 37},
        {"decimals": -1},
        {"decimals": True},
        {"asset": ""},
        {"network": 1},
        {"source": "my own word"},
        {"usd": "0"},
        {"more": 1},
    ],
)
def test_a_rate_says_what_whose_and_since_when(change):
    assert code(parse_rate, {**RATE.to_json(), **change}) == "pricing.rate"


def test_a_rate_reads_as_it_was_written():
    assert parse_rate(RATE.to_json()) == RATE


def test_nothing_is_sold_at_a_price_that_is_too_old():
    most = dt.timedelta(hours=4)
    require_fresh(RATE, AT + most, most)
    assert code(require_fresh, RATE, AT + most + dt.timedelta(seconds=1), most) == "pricing.stale"


@pytest.mark.parametrize("quantity", [-1, MOST + 1, 1.0, True, "1"])
def test_usage_is_counted_in_whole_numbers(quantity):
    assert code(Usage, input_tokens=quantity) == "pricing.usage"


def test_a_charge_is_explained_line_by_line():
    made = charge(CARD.prices("small"), Usage(1000, 500), RATE)
    assert [line.to_json() for line in made.lines] == [
        {"what": "input_tokens", "quantity": 1000, "price": "0.25", "per": 1_000_000, "usd": "0.00025"},
        {"what": "output_tokens", "quantity": 500, "price": "2", "per": 1_000_000, "usd": "0.001"},
    ]
    assert (made.usd, made.amount, made.capped) == ("0.00125", 12_500_000_000_000_000, None)


def test_what_a_card_leaves_out_costs_nothing():
    assert charge(CARD.prices("draw"), Usage(10**6, 10**6, images=2), RATE).usd == "0.1"
    assert charge(CARD.prices("free"), Usage(10**6), RATE).amount == 0


def test_usage_that_nobody_reported_costs_nothing_and_says_so():
    made = charge(CARD.prices("small"), None, RATE)
    assert (made.amount, [line.what for line in made.lines]) == (0, [UNKNOWN_USAGE])


def test_a_charge_is_never_above_its_cap_and_shows_both():
    made = charge(CARD.prices("small"), Usage(1000, 500), RATE, at_most=10)
    assert (made.amount, made.capped) == (10, 12_500_000_000_000_000)
    assert made.to_json()["capped"] == "12500000000000000"


decimals = st.builds(
    lambda digits, places: format_decimal(parse_decimal(str(digits)) / 10**places),
    st.integers(0, 10**12),
    st.integers(0, 12),
)
rates = st.builds(
    lambda usd, places: Rate("a", "n", places, usd, "configured", AT),
    decimals.filter(lambda text: text != "0"),
    st.integers(0, 18),
)
usages = st.builds(Usage, *[st.integers(0, 10**9)] * 4)
price_lists = st.dictionaries(st.sampled_from(sorted(KINDS)), decimals, min_size=1)


@given(price_lists, usages, rates)
def test_the_only_rounding_is_up_and_less_than_one_unit(prices, usage, rate):
    made = charge(prices, usage, rate)
    with localcontext() as context:
        context.prec = 200
        exact = sum(
            (
                Decimal(getattr(usage, name)) * Decimal(prices[kind]) / per
                for kind, (name, per) in KINDS.items()
                if kind in prices
            ),
            Decimal(0),
        )
        assert Decimal(made.usd) == exact
        # Multiplied out, so that no division is rounded before the comparison.
        whole, worth = exact * 10**rate.decimals, Decimal(rate.usd)
        assert (made.amount - 1) * worth < whole <= made.amount * worth
        assert made.amount - (whole / worth).to_integral_value(ROUND_CEILING) in (0, 1)


@given(price_lists, usages, usages, rates)
def test_more_usage_never_costs_less_and_a_cap_holds_all_below_it(prices, used, spare, rate):
    most = Usage(*(getattr(used, name) + getattr(spare, name) for name, _ in KINDS.values()))
    assert charge(prices, used, rate).amount <= cap(prices, most, rate)


def test_the_most_that_a_request_can_use():
    assert most_usage({"input": "1"}, 2_000, 100) == Usage(2_000, 100)
    assert most_usage({"image": "1"}, 2_000, 100, images=3) == Usage(2_000, 100, 3)
