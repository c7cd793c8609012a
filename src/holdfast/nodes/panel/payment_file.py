"""Both sides of a run's payment as pages show them: what it cost, its steps, what each side shows, what was checked.

Made from the dispute view of ``spec/collection.md`` §6, whoever put it together: the gateway for the page of a run, the
panel itself for a case, from the case's own evidence. It takes nobody's side: each row says whose artefact it is.

Parsing is strict about what a page shows and silent about the rest, so a newer gateway can say more.
Not covered: whether any of it is true.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

from holdfast.core.canonical import JSON
from holdfast.core.payments import parse_charge
from holdfast.core.pricing import Charge, Rate, format_decimal, parse_decimal, parse_rate
from holdfast.core.statements import PAYMENT_EVENTS
from holdfast.errors import MalformedError

SIDES = {"seller": "Of the seller's artefacts", "payer": "Of the payer's artefacts", "chain": "Of the chain"}
"""Whose artefact a check is about, as a heading."""
ANSWERS = ("yes", "no", "cannot_tell")
MOST_STEPS, MOST_CHECKS, MOST_LINES = 64, 256, 64
"""What a page shows of each."""
_OFFERED = {
    "model": "Model",
    "timing": "Taken",
    "scheme": "Scheme",
    "network": "Network",
    "asset": "Asset",
    "payee": "Payee",
    "asked": "Asked, base units",
    "deadline": "Holds until",
    "price_card": "Price card",
}
_SIGNED = {"payer": "Payer", "authorised": "Signed for, base units", "digest": "Digest of what was signed"}
_CAPTURED = {"amount": "Taken, base units", "network": "Network", "transaction": "Transaction"}
_REFUND = {
    "owed": "Owed back, base units",
    "reason": "Because of",
    "since": "Since",
    "transaction": "Given back by",
    "paid_at": "Given back at",
}
_MEMBERS = (
    "run",
    "steps",
    "offered",
    "signed",
    "claimed",
    "charged",
    "captured",
    "refund",
    "checks",
    "trouble",
    "not_evidence_of",
)

Rows = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class StepView:
    """One step: one signed statement, and its document's lines where it is shown."""

    event: str
    digest: str
    claimed_at: str
    refusal: str
    """Why its statement is not acceptable, as a code; empty where it is."""
    verdict: str
    """Of a final round; empty where there is none."""
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PaidCheck:
    """One check of the view."""

    number: int
    about: str
    answer: str
    says: str
    spec: str
    code: str


@dataclass(frozen=True, slots=True)
class PaymentFile:
    """A run's payment. Rows are (label, value) as texts; empty where that side shows nothing."""

    run: str
    steps: tuple[StepView, ...]
    offered: Rows
    prices: Rows
    signed: Rows
    payload: str
    """The text of what was signed, where it is at hand."""
    used: Rows
    """What the bound answer itself reports."""
    charge: Charge | None
    rate: Rate | None
    captured: Rows
    taken_units: int | None
    """What was taken, base units; None where nothing was."""
    refund: Rows
    checks: tuple[PaidCheck, ...]
    trouble: str
    scope: tuple[str, ...]
    """What none of it is evidence of."""
    value: Mapping[str, JSON]
    """The members of the view, as they were told."""

    @property
    def sides(self) -> tuple[tuple[str, tuple[PaidCheck, ...]], ...]:
        """Checks under the heading of whose artefact they are about; headings without any are left out."""
        return tuple(
            (title, found)
            for about, title in SIDES.items()
            if (found := tuple(check for check in self.checks if check.about == about))
        )

    @property
    def cost(self) -> str:
        """The charge in words; empty where nothing was charged yet."""
        if self.charge is None:
            return ""
        return f"{self.charge.usd} USD{self._in_asset(self.charge.amount)}"

    @property
    def taken(self) -> str:
        """What was taken in words; empty where nothing was, or nobody says what the asset is worth."""
        if self.taken_units is None or self.rate is None:
            return ""
        usd = parse_decimal(self.rate.usd) * self.taken_units / 10**self.rate.decimals
        return f"{format_decimal(usd)} USD{self._in_asset(self.taken_units)}"

    @property
    def takes_more(self) -> bool:
        """Whether more was taken than it cost: ``exact`` takes all that was signed."""
        return self.taken_units is not None and self.charge is not None and self.taken_units > self.charge.amount

    def _in_asset(self, amount: int) -> str:
        if self.rate is None:
            return ""
        asset = self.rate.asset
        unit = f"{asset[:8]}…{asset[-6:]}" if len(asset) > 20 else asset
        return f": {format_decimal(Fraction(amount, 10**self.rate.decimals))} of {unit}"

    def to_json(self) -> dict[str, JSON]:
        return dict(self.value)


def parse_payment_file(value: object) -> PaymentFile:
    """The dispute view. Raises ``panel.payment``, and what charges and rates raise (``payment_document.charge``,
    ``pricing.*``)."""
    whole = _object(value, "a payment")
    offered, claimed, signed = (_maybe(whole, name) for name in ("offered", "claimed", "signed"))
    rate, charged, captured = offered.get("rate"), whole.get("charged"), _maybe(whole, "captured")
    return PaymentFile(
        run=_text(whole.get("run"), "run"),
        steps=tuple(_step(item) for item in _list(whole.get("steps"), "steps")[:MOST_STEPS]),
        offered=_rows(offered, _OFFERED),
        prices=_texts(offered.get("prices"), "prices"),
        signed=_rows(signed, _SIGNED),
        payload=_text(signed.get("payload") or "", "payload"),
        used=_texts(claimed.get("usage"), "usage"),
        charge=None if charged is None else parse_charge(charged),
        rate=None if rate is None else parse_rate(rate),
        captured=_rows(captured, _CAPTURED),
        taken_units=_amount(captured.get("amount")),
        refund=_rows(_maybe(whole, "refund"), _REFUND),
        checks=tuple(_check(item) for item in _list(whole.get("checks"), "checks")[:MOST_CHECKS]),
        trouble=_text(whole.get("trouble") or "", "trouble"),
        scope=tuple(_text(item, "scope") for item in _list(whole.get("not_evidence_of"), "not_evidence_of")),
        value=cast("Mapping[str, JSON]", {name: whole.get(name) for name in _MEMBERS}),
    )


def _step(value: object) -> StepView:
    step = _object(value, "a step")
    if step.get("event") not in PAYMENT_EVENTS:
        raise _malformed("a step is one of the events of a payment")
    return StepView(
        step["event"],
        _text(step.get("digest"), "digest"),
        _text(step.get("claimed_at"), "claimed_at"),
        _text(step.get("refusal") or "", "refusal"),
        _text(step.get("verdict") or "", "verdict"),
        tuple(_text(line, "a line") for line in _list(step.get("lines"), "lines")[:MOST_LINES]),
    )


def _check(value: object) -> PaidCheck:
    check = _object(value, "a check")
    number = check.get("number")
    if check.get("about") not in SIDES or check.get("answer") not in ANSWERS or type(number) is not int:
        raise _malformed("a check has a number, whose artefact it is about, and one of three answers")
    return PaidCheck(
        number,
        check["about"],
        check["answer"],
        _text(check.get("says"), "says"),
        _text(check.get("spec"), "spec"),
        _text(check.get("code") or "", "code"),
    )


def _rows(value: Mapping[str, Any], labels: Mapping[str, str]) -> Rows:
    """The members that have a label and are there."""
    found = ((label, value.get(name)) for name, label in labels.items())
    return tuple((label, _text(item, label)) for label, item in found if item is not None)


def _texts(value: object, what: str) -> Rows:
    if value is None:
        return ()
    return tuple((name, _text(item, what)) for name, item in _object(value, what).items())


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _malformed(f"{what} is not an object")
    return value


def _maybe(whole: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A member that may be null."""
    value = whole.get(name)
    return {} if value is None else _object(value, name)


def _amount(value: object) -> int | None:
    """Base units in a decimal string, or nothing."""
    if value is None:
        return None
    text = _text(value, "amount")
    if not text.isascii() or not text.isdigit() or len(text) > 78:
        raise _malformed("an amount is a decimal string")
    return int(text)


def _list(value: object, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise _malformed(f"{what} is not a list")
    return value


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise _malformed(f"{what} is not a string")
    return value


def _malformed(message: str) -> MalformedError:
    return MalformedError("panel.payment", message)
