"""Price cards, rates, charges and caps (``spec/pricing.md``).

Exact arithmetic on decimals in strings; the only rounding is up, to one base unit of the asset, at the end.
``parse_price_card`` and ``parse_rate`` read what a seller says; ``charge`` and ``cap`` compute what follows from it,
line by line, so that a buyer can compute it again.

Not covered: who holds which credit, and moving money.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from holdfast.core import canonical
from holdfast.core.encoding import sha256_hex, time_decode, time_encode
from holdfast.core.statements import is_code
from holdfast.errors import MalformedError, RefusedError, UnavailableError

PRICE_CARD_TYPE = "urn:holdfast:price-card:v1"
"""``type`` of a price card (``pricing.md`` §2)."""
UNIT = "USD"
"""The unit of account."""
MAX_CARD_BYTES = 262_144
"""Larger price cards are refused unread."""
MOST = 2**53 - 1
"""The largest quantity (``pricing.md`` §4)."""
KINDS = {
    "input": ("input_tokens", 1_000_000),
    "output": ("output_tokens", 1_000_000),
    "image": ("images", 1),
    "search": ("searches", 1),
}
"""What a card prices: the name of the quantity, and how many of it one price is for; in the order of a charge."""
ANY_MODEL = "*"
"""The label in a card under which every model is sold that it does not name."""
UNKNOWN_USAGE = "pricing.unknown_usage"
"""``what`` of the line of a charge whose usage nobody reported."""
_DECIMAL = re.compile(r"(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{0,17}[1-9])?\Z")


@dataclass(frozen=True, slots=True)
class PriceCard:
    """Prices by model label; a price is a decimal in a string. ``digest`` is the SHA-256 of the card's bytes, hex."""

    raw: bytes
    digest: str
    models: Mapping[str, Mapping[str, str]]

    def prices(self, model: str) -> Mapping[str, str]:
        """The prices of a model; raises ``pricing.model`` where it is not sold."""
        found = self.models.get(model) or self.models.get(ANY_MODEL)
        if found is None:
            raise RefusedError(
                "pricing.model", f"{model!r} has no price here", status=404, hint="GET /v1/models lists what is sold"
            )
        return found


@dataclass(frozen=True, slots=True)
class Rate:
    """What one whole unit of an asset is worth in US dollars, who says so, and when."""

    asset: str
    network: str
    decimals: int
    usd: str
    source: str
    at: dt.datetime

    def to_json(self) -> dict[str, canonical.JSON]:
        return {
            "asset": self.asset,
            "network": self.network,
            "decimals": self.decimals,
            "usd": self.usd,
            "source": self.source,
            "at": time_encode(self.at),
        }


@dataclass(frozen=True, slots=True)
class Usage:
    """What a run used."""

    input_tokens: int = 0
    output_tokens: int = 0
    images: int = 0
    searches: int = 0

    def __post_init__(self) -> None:
        for name, _ in KINDS.values():
            quantity = getattr(self, name)
            if not isinstance(quantity, int) or isinstance(quantity, bool) or not 0 <= quantity <= MOST:
                raise MalformedError("pricing.usage", f"{name} is an integer from 0 to {MOST}")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a charge: ``quantity`` of ``what`` at ``price`` for ``per`` of them comes to ``usd``."""

    what: str
    quantity: int
    price: str
    per: int
    usd: str

    def to_json(self) -> dict[str, canonical.JSON]:
        return {
            "what": self.what,
            "quantity": self.quantity,
            "price": self.price,
            "per": self.per,
            "usd": self.usd,
        }


@dataclass(frozen=True, slots=True)
class Charge:
    """What a run costs. ``amount`` is in base units of the rate's asset."""

    lines: tuple[Line, ...]
    usd: str
    amount: int
    capped: int | None = None
    """The amount that the lines come to, where the cap is below it."""

    def to_json(self) -> dict[str, canonical.JSON]:
        """Amounts are decimal strings: base units outgrow the integers of JSON."""
        return {
            "lines": [line.to_json() for line in self.lines],
            "usd": self.usd,
            "amount": str(self.amount),
            "capped": None if self.capped is None else str(self.capped),
        }


def parse_decimal(value: object) -> Fraction:
    """A decimal in its one spelling (``pricing.md`` §1); raises ``pricing.decimal``."""
    if not isinstance(value, str) or _DECIMAL.match(value) is None:
        raise MalformedError("pricing.decimal", "a price is a decimal in a string, such as 0.25, in its only spelling")
    return Fraction(value)


def format_decimal(value: Fraction) -> str:
    """The one spelling of a number that has a finite decimal expansion. Exact."""
    whole, rest = divmod(value.numerator, value.denominator)
    digits = []
    while rest:
        digit, rest = divmod(rest * 10, value.denominator)
        digits.append(str(digit))
    return f"{whole}.{''.join(digits)}" if digits else str(whole)


def parse_price_card(raw: bytes) -> PriceCard:
    """Exact bytes to a :class:`PriceCard`. Raises ``pricing.*`` or ``json.*``."""
    if len(raw) > MAX_CARD_BYTES:
        raise MalformedError("pricing.card", f"a price card has at most {MAX_CARD_BYTES} bytes")
    value = canonical.decode_signed(raw)
    if value.keys() != {"type", "unit", "models"} or (value["type"], value["unit"]) != (PRICE_CARD_TYPE, UNIT):
        raise MalformedError("pricing.card", f"not a {PRICE_CARD_TYPE} in {UNIT}")
    models = value["models"]
    if not isinstance(models, dict):
        raise MalformedError("pricing.card", "models is an object of model labels")
    for label, prices in models.items():
        if not label or not isinstance(prices, dict) or not prices or not prices.keys() <= KINDS.keys():
            raise MalformedError("pricing.card", f"a model has one or more of the prices {', '.join(KINDS)}")
        for price in prices.values():
            parse_decimal(price)
    return PriceCard(raw, sha256_hex(raw), models)


def build_price_card(models: Mapping[str, Mapping[str, str]]) -> PriceCard:
    """Make a price card; the result parses."""
    value: dict[str, canonical.JSON] = {
        "type": PRICE_CARD_TYPE,
        "unit": UNIT,
        "models": {label: dict(prices) for label, prices in models.items()},
    }
    return parse_price_card(canonical.encode(value))


def parse_rate(value: object) -> Rate:
    """A rate from its JSON object; raises ``pricing.rate`` or ``pricing.decimal``."""
    if not isinstance(value, dict) or value.keys() != {"asset", "network", "decimals", "usd", "source", "at"}:
        raise MalformedError("pricing.rate", "a rate has exactly asset, network, decimals, usd, source, at")
    decimals = value["decimals"]
    if not isinstance(decimals, int) or isinstance(decimals, bool) or not 0 <= decimals <= 36:
        raise MalformedError("pricing.rate", "an asset has 0 to 36 decimals")
    if not all(isinstance(value[name], str) and value[name] for name in ("asset", "network")):
        raise MalformedError("pricing.rate", "a rate names its asset and its network")
    if not is_code(value["source"]):
        raise MalformedError("pricing.rate", "the source of a rate is a code")
    if not parse_decimal(value["usd"]):
        raise MalformedError("pricing.rate", "an asset that is worth nothing pays for nothing")
    return Rate(value["asset"], value["network"], decimals, value["usd"], value["source"], time_decode(value["at"]))


def require_fresh(rate: Rate, at: dt.datetime, most: dt.timedelta) -> None:
    """Raises ``pricing.stale`` for a rate older than ``most`` at ``at`` (``pricing.md`` §3)."""
    if at - rate.at > most:
        raise UnavailableError(
            "pricing.stale",
            f"the price of {rate.asset} is of {time_encode(rate.at)}: too old to sell at",
            hint="try again when the seller has asked its source again",
        )


def charge(prices: Mapping[str, str], usage: Usage | None, rate: Rate, *, at_most: int | None = None) -> Charge:
    """What ``usage`` costs, in US dollars and in base units (``pricing.md`` §4).

    ``at_most`` is the cap that was offered, in base units; None for a usage that nobody reported costs nothing.
    """
    if usage is None:
        return Charge((Line(UNKNOWN_USAGE, 0, "0", 1, "0"),), "0", 0)
    lines, total = [], Fraction(0)
    for kind, (name, per) in KINDS.items():
        if kind not in prices:
            continue
        quantity = getattr(usage, name)
        product = _product(prices[kind], quantity, per)
        total += product
        lines.append(Line(name, quantity, prices[kind], per, format_decimal(product)))
    exact = total / parse_decimal(rate.usd) * 10**rate.decimals
    amount = -(-exact.numerator // exact.denominator)
    if at_most is not None and amount > at_most:
        return Charge(tuple(lines), format_decimal(total), at_most, capped=amount)
    return Charge(tuple(lines), format_decimal(total), amount)


def worth(prices: Mapping[str, str], usage: Usage) -> Fraction:
    """What ``usage`` costs in US dollars, exactly (``pricing.md`` §4(3))."""
    found = (_product(prices[kind], getattr(usage, name), per) for kind, (name, per) in KINDS.items() if kind in prices)
    return sum(found, Fraction(0))


def _product(price: str, quantity: int, per: int) -> Fraction:
    return quantity * parse_decimal(price) / per


def most_usage(prices: Mapping[str, str], request_bytes: int, output_tokens: int, images: int = 1) -> Usage:
    """The most that a request can use (``pricing.md`` §5(1)). Tokens of images that it carries are not foreseen by
    their bytes alone; a seller's limit for the model covers them."""
    return Usage(request_bytes, output_tokens, images if "image" in prices else 0, 0)


def cap(prices: Mapping[str, str], most: Usage, rate: Rate) -> int:
    """The cap of a request in base units: the charge for the most that it can use."""
    return charge(prices, most, rate).amount
