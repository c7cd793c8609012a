"""Prices and charges, from pricing.md alone. Numbers are whole numbers of the 36th decimal place: nothing is rounded."""

from __future__ import annotations

from typing import Any

PLACES = 36
LINES = (
    ("input", "input_tokens", 1_000_000),
    ("output", "output_tokens", 1_000_000),
    ("image", "images", 1),
    ("search", "searches", 1),
)


def scaled(text: str) -> int:
    """A decimal as a whole number of its 36th place."""
    whole, _, rest = text.partition(".")
    return int(whole + rest.ljust(PLACES, "0"))


def shown(value: int, places: int = PLACES) -> str:
    """Such a number as a decimal in its one spelling."""
    digits = str(value).rjust(places + 1, "0")
    whole, rest = digits[:-places], digits[-places:].rstrip("0")
    return f"{whole}.{rest}" if rest else whole


def charge(
    prices: dict[str, str], usage: dict[str, int] | None, rate: dict[str, Any], cap: int | None
) -> dict[str, Any]:
    """§4 and §5(2)."""
    if usage is None:
        line = {"what": "pricing.unknown_usage", "quantity": 0, "price": "0", "per": 1, "usd": "0"}
        return {"lines": [line], "usd": "0", "amount": "0", "capped": None}
    lines, total = [], 0
    for kind, what, per in LINES:
        if kind in prices:
            quantity = usage.get(what, 0)
            product = quantity * scaled(prices[kind]) // per
            lines.append({"what": what, "quantity": quantity, "price": prices[kind], "per": per, "usd": shown(product)})
            total += product
    above, below = total * 10 ** rate["decimals"], scaled(rate["usd"])
    amount = (above + below - 1) // below
    taken = amount if cap is None else min(amount, cap)
    return {
        "lines": lines,
        "usd": shown(total),
        "amount": str(taken),
        "capped": None if taken == amount else str(amount),
    }


def most(prices: dict[str, str], size: int, output: int, images: int) -> dict[str, int]:
    """§5(1)."""
    return {"input_tokens": size, "output_tokens": output, "images": images if "image" in prices else 0, "searches": 0}
