"""What settings say about selling: what makes no sense is refused when the gateway starts."""

from __future__ import annotations

import dataclasses
import datetime as dt
from fractions import Fraction
from typing import Any

import pytest

from holdfast.adapters.payment_contracts import TEST_TOKEN
from holdfast.core.pricing import MOST, build_price_card
from holdfast.errors import HoldfastError, UnavailableError
from holdfast.nodes.gateway.config import RateSetting
from holdfast.nodes.gateway.prices import Selling, build_selling, most_usage, nano
from holdfast.nodes.gateway.request import parse_ask
from tests.helpers.payments import FACILITATOR, NETWORK, PAYEE
from tests.helpers.till import NOW, PRICES, body, settings
from tests.helpers.upstreams import MODEL

CARD = build_price_card(PRICES).raw


def selling(**changes: Any) -> Selling:
    return build_selling(settings(**changes), CARD, None, NOW)


def asked(endpoint: str = "chat.completions", **more: Any) -> Any:
    return parse_ask(endpoint, body(**more), {}, default_model=None, settlement="batch")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"payment_network": None}, "settings.payments"),
        ({"payment_asset": None}, "settings.payments"),
        ({"pay_to": None}, "settings.payments"),
        ({"rates": ()}, "settings.payments"),
        ({"rates": (RateSetting(TEST_TOKEN, "eip155:1", 18, "1"),)}, "settings.payments"),
        ({"payment_methods": ()}, "settings.payments"),
        ({"payment_methods": ("eip3009", "cash")}, "settings.payments"),
        ({"payment_methods": ("eip3009", "eip3009")}, "settings.payments"),
        ({"payment_network": "solana:mainnet"}, "x402.network"),
        ({"payment_asset": "0x12"}, "evm.address"),
        ({"pay_to": "me"}, "evm.address"),
        ({"rates": (RateSetting(TEST_TOKEN, NETWORK, 18, "0"),)}, "pricing.rate"),
        ({"rates": (RateSetting(TEST_TOKEN, NETWORK, 18, "0.50"),)}, "pricing.decimal"),
        ({"rates": (RateSetting(TEST_TOKEN, NETWORK, 18, "1", "yesterday"),)}, "encoding.time"),
        ({"session_usd": "1.0"}, "pricing.decimal"),
        ({"exposure_usd": "-1"}, "pricing.decimal"),
        ({"free_credit": "lots"}, "pricing.decimal"),
        ({"capture_seconds": 5}, "collection.margins"),
    ],
)
def test_settings_that_sell_nothing_sensible_are_refused(changes: dict[str, Any], code: str) -> None:
    with pytest.raises(HoldfastError) as refused:
        selling(**changes)
    assert refused.value.code == code


def test_a_rate_of_a_moment_gets_old_and_one_without_does_not() -> None:
    dated = selling(
        rates=(RateSetting(TEST_TOKEN, NETWORK, 18, "1", "2026-01-01T00:00:00.000Z"),), rate_seconds=60
    ).token
    assert dated is not None
    at = dt.datetime(2026, 1, 1, 0, 1, tzinfo=dt.UTC)
    assert dated.rate_at(at) == dated.rate
    with pytest.raises(UnavailableError) as refused:
        dated.rate_at(at + dt.timedelta(seconds=1))
    assert refused.value.code == "pricing.stale"
    standing = selling().token
    assert standing is not None
    later = NOW + dt.timedelta(days=400)
    assert standing.rate_at(later) == dataclasses.replace(standing.rate, at=later)


def test_the_key_documents_payment_address_is_paid_where_no_other_is_named() -> None:
    found = build_selling(settings(pay_to=None), CARD, "0x" + "AB" * 20, NOW).token
    assert found is not None
    assert found.pay_to == "0x" + "ab" * 20
    other = build_selling(settings(), CARD, "0x" + "AB" * 20, NOW).token
    assert other is not None
    assert other.pay_to == PAYEE


def test_nobody_is_asked_for_upto_before_its_facilitator_said_who_it_is() -> None:
    sold = selling()
    quote = sold.quote(asked(), MODEL)
    assert list(sold.requirements(quote, NOW, None)) == ["eip3009", "permit2-exact"]
    assert list(sold.requirements(quote, NOW, FACILITATOR.address)) == ["eip3009", "permit2-upto", "permit2-exact"]


def test_what_costs_nothing_is_still_asked_for_one_unit() -> None:
    sold = selling()
    quote = sold.quote(asked(), "free")
    assert {entry.amount for entry in sold.requirements(quote, NOW, None).values()} == {1}


@pytest.mark.parametrize(
    ("more", "tokens"),
    [
        ({"max_tokens": None}, 100),
        ({"max_tokens": 5}, 5),
        ({"max_tokens": 5, "max_completion_tokens": 7}, 7),
        ({"max_tokens": 5, "n": 3}, 15),
        ({"max_tokens": 5, "n": 2, "best_of": 4}, 20),
        ({"max_tokens": 5, "n": 0}, 5),
        ({"max_tokens": 7, "max_completion_tokens": 5}, 7),
        ({"max_tokens": 0}, 100),
        ({"max_tokens": 10**20}, MOST),
        ({"prompt": ["a", "b", "c"], "max_tokens": 5}, 15),
        ({"prompt": "a", "max_tokens": 5}, 5),
    ],
)
def test_the_most_that_a_request_can_use(more: dict[str, Any], tokens: int) -> None:
    ask = asked("completions" if "prompt" in more else "chat.completions", **more)
    found = most_usage(ask, 100, PRICES[MODEL])
    assert (found.input_tokens, found.output_tokens) == (len(ask.text), tokens)


def test_dollars_become_nano_dollars_and_nobody_gets_more_than_was_said() -> None:
    assert nano(Fraction("0.0000000019")) == 1
