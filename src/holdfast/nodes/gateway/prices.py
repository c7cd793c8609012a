"""What a gateway sells, at which price, and what it asks payers to sign (``payments.md`` §10, ``pricing.md``).

:class:`Selling` says what a request may cost at most (:meth:`Selling.quote`) and which payments cover it
(:meth:`Selling.requirements`). Nothing here waits or writes; the time is handed in.

Not covered: who pays (``till``) and HTTP (``checkout``).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, cast

from holdfast.core import pricing, x402
from holdfast.core.canonical import NumberText
from holdfast.core.collection import Margins, least_lifetime_s
from holdfast.core.encoding import time_decode, time_encode
from holdfast.core.evm import parse_address
from holdfast.core.pricing import PriceCard, Rate, parse_decimal
from holdfast.core.x402 import Method, PaymentRequirements
from holdfast.errors import MalformedError, UsageError
from holdfast.nodes.gateway.config import GatewayConfig
from holdfast.nodes.gateway.request import Ask

NANO = 10**9
"""Nano-dollars in a dollar: what accounts are counted in."""
CREDIT_ASSET, CREDIT_NETWORK = "credit", "account"
"""How a rate names an account's credit."""
METHODS: Mapping[Method, tuple[str, str | None]] = {
    "eip3009": (x402.EXACT, None),
    "permit2-upto": (x402.UPTO, "permit2"),
    "permit2-exact": (x402.EXACT, "permit2"),
}
"""How money may move: the scheme, and what ``extra.assetTransferMethod`` says."""


@dataclass(frozen=True, slots=True)
class Token:
    """An asset that is taken over x402, and on which terms."""

    network: str
    asset: str
    name: str
    version: str
    """Of its EIP-712 domain."""
    pay_to: str
    rate: Rate
    dated: bool
    """Whether the rate is of a moment, and gets old; else it stands for as long as it is configured."""
    rate_s: int
    """How old a dated rate may be."""
    methods: tuple[Method, ...]
    timing: str
    """``on_answer`` or ``on_proof``."""
    session_usd: Fraction
    """What an ``upto`` payment is asked for at least: it covers further requests."""
    exposure_usd: Fraction
    """What one payer may use without having paid."""
    payment_s: int
    """How long a payment is to hold."""
    margins: Margins
    run_s: int
    """How long a run may take that is begun on a payment: one that outlasts what was signed costs nothing."""

    def rate_at(self, at: dt.datetime) -> Rate:
        """The rate that is sold at. Raises ``pricing.stale``."""
        if not self.dated:
            return replace(self.rate, at=at)
        pricing.require_fresh(self.rate, at, dt.timedelta(seconds=self.rate_s))
        return self.rate

    @property
    def least_s(self) -> int:
        """How long a payment has to hold at least when a run begins on it."""
        return self.run_s + least_lifetime_s(self.timing, self.margins)


@dataclass(frozen=True, slots=True)
class Quote:
    """What one request costs at most, and by what that was computed."""

    model: str
    prices: Mapping[str, str]
    most: pricing.Usage

    def cap(self, rate: Rate) -> int:
        """In base units of the rate's asset."""
        return pricing.cap(self.prices, self.most, rate)


@dataclass(frozen=True, slots=True)
class Selling:
    """What is sold and how it is paid."""

    required: bool
    """Whether credit has to be bought: nobody gets any for free."""
    card: PriceCard
    free_credit: int
    """What each workspace gets once, nano-dollars."""
    output_tokens: int
    """What an answer may have where its request names no limit."""
    token: Token | None
    """None: only credit pays."""

    def quote(self, ask: Ask, model: str) -> Quote:
        """What a request for a model may cost. Raises ``pricing.model`` or ``pricing.count``."""
        prices = self.card.prices(model)
        return Quote(model, prices, most_usage(ask, self.output_tokens, prices))

    def requirements(self, quote: Quote, at: dt.datetime, submitter: str | None) -> dict[Method, PaymentRequirements]:
        """What may be signed for a request, by method, in the order in which it is offered. ``submitter`` is the
        facilitator's address, without which no ``upto`` payment can be asked for. Raises ``pricing.stale``."""
        token = self.token
        if token is None:
            return {}
        rate = token.rate_at(at)
        cap = max(1, quote.cap(rate))
        found: dict[Method, PaymentRequirements] = {}
        for method in token.methods:
            scheme, transfer = METHODS[method]
            extra: dict[str, Any] = {"name": token.name, "version": token.version}
            amount = cap
            if transfer is not None:
                extra["assetTransferMethod"] = transfer
            if scheme == x402.UPTO:
                if submitter is None:
                    continue
                extra["facilitatorAddress"] = submitter
                amount = max(cap, base_units(token.session_usd, rate))
            found[method] = PaymentRequirements(
                scheme, token.network, token.asset, amount, token.pay_to, token.payment_s, extra
            )
        return found


def build_selling(config: GatewayConfig, card: bytes, payment_address: str | None, started: dt.datetime) -> Selling:
    """What settings and a price card's bytes say. ``payment_address`` is the key document's. Raises ``pricing.*``,
    ``settings.payments``, ``evm.address``, ``x402.network`` or ``collection.margins``."""
    return Selling(
        required=config.payments == "required",
        card=pricing.parse_price_card(card),
        free_credit=nano(parse_decimal(config.free_credit)),
        output_tokens=config.output_tokens,
        token=None if config.facilitator is None else _token(config, payment_address, started),
    )


def _token(config: GatewayConfig, payment_address: str | None, started: dt.datetime) -> Token:
    network, asset, pay_to = config.payment_network, config.payment_asset, config.pay_to or payment_address
    if network is None or asset is None or pay_to is None:
        raise _unset("a facilitator needs payment_network, payment_asset and pay_to beside it")
    x402.chain_id_of(network)
    asset = parse_address(asset.lower())
    row = next((row for row in config.rates if (row.asset.lower(), row.network) == (asset, network)), None)
    if row is None:
        raise _unset(f"rates has no entry for {asset} on {network}: nobody knows what it is worth")
    methods = tuple(method for method in METHODS if method in config.payment_methods)
    if len(methods) != len(config.payment_methods) or not methods:
        raise _unset(f"payment_methods is a list of any of {', '.join(METHODS)}")
    margins = Margins(config.finality_seconds, config.capture_seconds)
    spare_s = max(0, config.payment_seconds - least_lifetime_s(config.capture, margins))
    listed = cast("tuple[Method, ...]", config.payment_methods)
    at = started if row.at is None else time_decode(row.at)
    value = {
        "asset": asset,
        "network": network,
        "decimals": row.decimals,
        "usd": row.usd,
        "source": "configured",
        "at": time_encode(at),
    }
    return Token(
        network,
        asset,
        config.payment_asset_name,
        config.payment_asset_version,
        parse_address(pay_to.lower()),
        pricing.parse_rate(value),
        row.at is not None,
        config.rate_seconds,
        listed,
        config.capture,
        parse_decimal(config.session_usd),
        parse_decimal(config.exposure_usd),
        config.payment_seconds,
        margins,
        min(config.upstream_seconds, spare_s * 3 // 4),
    )


def _unset(message: str) -> UsageError:
    return UsageError("settings.payments", message, hint="see docs/operate/payments.md", param="payments")


def credit_rate(at: dt.datetime) -> Rate:
    """An account's unit as a rate: a dollar is a dollar."""
    return Rate(CREDIT_ASSET, CREDIT_NETWORK, 9, "1", "configured", at)


def base_units(usd: Fraction, rate: Rate) -> int:
    """So many dollars in base units of an asset, rounded up."""
    exact: Fraction = usd / parse_decimal(rate.usd) * 10**rate.decimals
    return -(-exact.numerator // exact.denominator)


def nano(usd: Fraction) -> int:
    """So many dollars in nano-dollars, rounded down: nobody gets more than was said."""
    return usd.numerator * NANO // usd.denominator


def format_nano(amount: int) -> str:
    """Nano-dollars as a decimal of dollars."""
    return pricing.format_decimal(Fraction(amount, NANO))


def most_usage(ask: Ask, output_tokens: int, prices: Mapping[str, str]) -> pricing.Usage:
    """The most that a request can use (``pricing.md`` §5(1)). Every choice and every prompt is answered by itself.
    Raises ``pricing.count``."""
    value = ask.value
    named = max(_count(value, "max_completion_tokens"), _count(value, "max_tokens"))
    choices = max(1, _count(value, "n"), _count(value, "best_of"))
    prompt = value.get("prompt")
    prompts = len(prompt) if ask.endpoint == "completions" and isinstance(prompt, list) else 1
    most = pricing.most_usage(prices, len(ask.text), 0, images=choices)
    return replace(most, output_tokens=min(pricing.MOST, (named or output_tokens) * choices * prompts))


def _count(value: Mapping[str, Any], name: str) -> int:
    """A count of a request, 0 where it has none. Raises ``pricing.count`` for what is no whole number: an upstream may
    read it as one ("9e9") or as no limit at all (-1), and then answers more than was reckoned with."""
    found = value.get(name)
    if found is None:
        return 0
    if not isinstance(found, NumberText) or not found.isdigit():
        raise MalformedError("pricing.count", f"{name} is a whole number where an answer is paid for", param=name)
    return int(found) if len(found) <= 15 else pricing.MOST


def shown_prices(card: PriceCard, model: str) -> Mapping[str, str] | None:
    """The prices of a model for a list of models; None where it is not sold."""
    found = card.models.get(model) or card.models.get(pricing.ANY_MODEL)
    return None if found is None else dict(found)


def show_token(token: Token, at: dt.datetime) -> dict[str, Any]:
    """What is taken over x402, as ``GET /v1/prices`` says it."""
    rate = token.rate if token.dated else replace(token.rate, at=at)
    return {
        "network": token.network,
        "asset": token.asset,
        "name": token.name,
        "version": token.version,
        "pay_to": token.pay_to,
        "methods": list(token.methods),
        "timing": token.timing,
        "session_usd": pricing.format_decimal(token.session_usd),
        "exposure_usd": pricing.format_decimal(token.exposure_usd),
        "payment_seconds": token.payment_s,
        "least_seconds": token.least_s,
        "rate": rate.to_json(),
        "asked_at": time_encode(at),
    }
