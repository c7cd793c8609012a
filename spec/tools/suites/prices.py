"""Prices, rates, charges and caps: pricing.md."""

from __future__ import annotations

from typing import Any

from reference import pricing, text
from reference.cases import Writer

CREDIT = {
    "asset": "credit",
    "network": "account",
    "decimals": 9,
    "usd": "1",
    "source": "configured",
    "at": "2026-01-01T00:00:00.000Z",
}
TOKEN = CREDIT | {"asset": "0x" + "70" * 20, "network": "eip155:31337", "decimals": 18, "usd": "0.1"}
STABLE = CREDIT | {"asset": "0x" + "71" * 20, "network": "eip155:31337", "decimals": 6}
MODELS = {"small": {"input": "0.15", "output": "0.6"}, "painter": {"image": "0.04", "search": "0.01"}}
USED = {"input_tokens": 1234, "output_tokens": 567, "images": 0, "searches": 0}


def card(models: dict[str, Any] = MODELS, **change: Any) -> dict[str, Any]:
    """A price card."""
    return {"type": "urn:holdfast:price-card:v1", "unit": "USD", "models": models, **change}


def jcs(value: Any) -> str:
    """Canonical JSON as a string."""
    return text.jcs(value).decode()


def write(out: Writer) -> None:
    """Write the suite."""
    charges(out)
    cards(out)
    rates(out)
    usages(out)


def _value(**change: Any) -> dict[str, Any]:
    given = {"card": jcs(card()), "model": "small", "rate": CREDIT, "usage": dict(USED), "most": None}
    return {**given, **change}


def charges(out: Writer) -> None:
    """§4 and §5."""

    def case(name: str, why: str, models: dict[str, Any] = MODELS, **change: Any) -> None:
        value = _value(card=jcs(card(models)), **change)
        prices = models.get(value["model"]) or models["*"]
        most = value["most"]
        cap = None
        if most is not None:
            cap = int(pricing.charge(prices, pricing.most(prices, **most), value["rate"], None)["amount"])
        result = {
            "cap": None if cap is None else str(cap),
            "charge": pricing.charge(prices, value["usage"], value["rate"], cap),
        }
        out.case(
            f"pricing/{name}",
            why,
            spec="pricing.md §4",
            run=["charge", "charge.json"],
            result=result,
            files={"charge.json": value},
        )

    case("tokens", "Two lines, in the order of the table, and their sum in nano-dollars.")
    case("token-of-ten-cents", "The same in an asset of 18 decimals that is worth ten cents.", rate=TOKEN)
    case("rounded-up", "A sum that no base unit of the asset equals is rounded up, once, at the end.", rate=STABLE)
    case(
        "rate-without-end",
        "Divided by a rate of three cents the amount has no finite decimals: still rounded up, by less than one unit.",
        rate=TOKEN | {"usd": "0.03"},
    )
    case(
        "nothing-used",
        "An answer that used nothing costs nothing, and says so line by line.",
        usage=dict.fromkeys(USED, 0),
    )
    case(
        "unknown-usage",
        "Usage that nobody reported is not estimated: one line says so, and nothing is owed.",
        usage=None,
    )
    case("images", "What a card leaves out costs nothing and has no line.", model="painter", usage=USED | {"images": 3})
    case("any-model", "The label * is of every model that is not named.", {"*": {"input": "2"}}, model="never heard of")
    case(
        "named-before-any",
        "A model that is named has its own price, whatever * says.",
        {"*": {"input": "2"}, "small": {"input": "0.5"}},
    )
    case("free", "A price of zero has a line.", {"small": {"input": "0", "output": "0.000001"}})
    case(
        "most-decimals",
        "18 digits on both sides of the point: exact, though no float holds it.",
        {"small": {"input": "999999999999999999.123456789012345679"}},
        usage=USED | {"input_tokens": 1_000_003},
    )
    most = {"size": 400, "output": 100, "images": 1}
    case(
        "below-its-cap",
        "A cap is computed from the most that a request can use.",
        most=most | {"size": 4000, "output": 1000},
    )
    case("above-its-cap", "A charge above its cap is charged at the cap, and shows both.", most=most)
    case(
        "cap-of-images", "Images are in the cap of a model that sells them.", model="painter", most=most | {"images": 4}
    )
    case("cap-without-images", "They are in no other model's.", most=most | {"size": 4000, "output": 1000, "images": 4})


def _refusals(out: Writer, section: str, listed: list[tuple[str, str, dict[str, Any], str]], expect: str) -> None:
    for name, why, change, code in listed:
        out.case(
            f"pricing/{name}",
            why,
            spec=f"pricing.md {section}",
            run=["charge", "charge.json"],
            expect=expect,
            code=code,
            bug="SECOND_SPELLING" if code in ("pricing.decimal", "json.spelling") else "OVERCHARGE",
            files={"charge.json": _value(**change)},
        )


def cards(out: Writer) -> None:
    """§1 and §2."""

    def priced(price: Any) -> dict[str, Any]:
        return {"card": jcs(card({"small": {"input": price}}))}

    spellings = (
        ("leading-zero", "00.5"),
        ("trailing-zero", "0.50"),
        ("no-whole", ".5"),
        ("no-fraction", "1."),
        ("sign", "+1"),
        ("negative", "-1"),
        ("exponent", "1e3"),
        ("space", " 1"),
        ("line-break", "1\n"),
        ("other-digits", "١"),
        ("nineteen-digits", "1" + "0" * 18),
        ("nineteen-decimals", "0." + "0" * 18 + "1"),
        ("empty", ""),
    )
    listed = [
        (
            f"price-{name}",
            "A price with a second spelling, or none: two readers may charge two amounts.",
            priced(text),
            "pricing.decimal",
        )
        for name, text in spellings
    ]
    listed += [
        ("price-number", "A price as a JSON number is a float to some readers.", priced(1), "pricing.decimal"),
        ("card-other-unit", "Prices in another unit of account.", {"card": jcs(card(unit="EUR"))}, "pricing.card"),
        (
            "card-other-type",
            "Something else than a price card.",
            {"card": jcs(card(type="urn:holdfast:price-card:v2"))},
            "pricing.card",
        ),
        ("card-more", "A member that this version does not know.", {"card": jcs(card(note="cheap"))}, "pricing.card"),
        ("card-list", "Models are an object.", {"card": jcs(card([]))}, "pricing.card"),
        ("card-no-price", "A model without any price.", {"card": jcs(card({"small": {}}))}, "pricing.card"),
        (
            "card-other-price",
            "A price of something that is not sold.",
            {"card": jcs(card({"small": {"thought": "1"}}))},
            "pricing.card",
        ),
        ("card-no-label", "A model without a label.", {"card": jcs(card({"": {"input": "1"}}))}, "pricing.card"),
        (
            "card-spaced",
            "The same card in other bytes has another digest.",
            {"card": jcs(card()).replace(":", ": ", 1)},
            "json.spelling",
        ),
    ]
    _refusals(out, "§2", listed, "malformed")
    unsold = [
        ("model-without-price", "A model that the card does not name is not sold.", {"model": "large"}, "pricing.model")
    ]
    _refusals(out, "§2", unsold, "reject")


def rates(out: Writer) -> None:
    """§3."""
    listed = [
        (
            "rate-zero",
            "An asset that is worth nothing would pay for nothing.",
            {"rate": TOKEN | {"usd": "0"}},
            "pricing.rate",
        ),
        ("rate-spelling", "A rate with a second spelling.", {"rate": TOKEN | {"usd": "0.10"}}, "pricing.decimal"),
        ("rate-decimals", "More decimals than an asset has.", {"rate": TOKEN | {"decimals": 37}}, "pricing.rate"),
        ("rate-decimals-true", "True is no number.", {"rate": TOKEN | {"decimals": True}}, "pricing.rate"),
        (
            "rate-no-source",
            "Nobody says so.",
            {"rate": {name: item for name, item in TOKEN.items() if name != "source"}},
            "pricing.rate",
        ),
        ("rate-source-words", "A source is a code.", {"rate": TOKEN | {"source": "I said so"}}, "pricing.rate"),
        ("rate-no-asset", "A rate of nothing.", {"rate": TOKEN | {"asset": ""}}, "pricing.rate"),
        ("rate-more", "A member more.", {"rate": TOKEN | {"fee": "1"}}, "pricing.rate"),
        (
            "rate-time",
            "A time with a second spelling.",
            {"rate": TOKEN | {"at": "2026-01-01T00:00:00Z"}},
            "encoding.time",
        ),
    ]
    _refusals(out, "§3", listed, "malformed")


def usages(out: Writer) -> None:
    """§4(1)."""
    listed = [
        (
            "usage-negative",
            "Less than nothing was used: money back for asking.",
            {"usage": USED | {"output_tokens": -1}},
            "pricing.usage",
        ),
        ("usage-too-large", "More than JSON's integers hold.", {"usage": USED | {"images": 2**53}}, "pricing.usage"),
        ("usage-true", "True is no count.", {"usage": USED | {"searches": True}}, "pricing.usage"),
    ]
    _refusals(out, "§4(1)", listed, "malformed")
