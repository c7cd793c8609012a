"""Payment documents: what a payment was for, and the commitment to it in the log (``spec/statement.md`` §4.6).

``build_payment_document`` makes one and ``parse_payment_document`` reads one; neither lets a malformed one exist.
``payment_record`` commits to its bytes and ``verify_payment_document`` opens the record of a ``payment`` statement.
``verify_amounts`` adds its charge up again, ``verify_usage`` holds it against what the answer says was used, and
``verify_terms`` against the document it follows: an overcharge shows in these bytes alone. ``explain`` tells it in
lines.

Rules: amounts, payers and transactions never go into the log; the salt that opens a record is kept with its document.
A payment document lists what it is not evidence of, and is refused where it does not.

Not covered: who signed the statement (``verifier.checks``), whether a transaction happened (``nodes/facilitator``).
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any, Final, Literal

from holdfast.core import canonical, pricing
from holdfast.core.encoding import hex_decode, sha256, time_decode, time_encode
from holdfast.core.evm import parse_address
from holdfast.core.images import count_images
from holdfast.core.pricing import Charge, Line, Rate, parse_decimal, parse_rate
from holdfast.core.statements import (
    PAYMENT_EVENTS,
    PaymentBody,
    Statement,
    Tree,
    is_code,
    is_run_id,
    parse_tree,
)
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UsageError

PAYMENT_TYPE = "urn:holdfast:payment:v1"
"""``type`` of a payment document (``statement.md`` §4.6(1))."""
RECORD_DOMAIN = b"urn:holdfast:payment-record:v1\x00"
"""What the preimage of a record begins with (``statement.md`` §4.6(2))."""
SALT_BYTES = 32
"""Size of a record's salt."""
MAX_DOCUMENT_BYTES = 65_536
"""Larger documents are refused unread."""
TIMINGS = ("on_answer", "on_proof", "credit")
"""When money is taken: after the answer, after the run's final round, or from an account at once."""
SCHEMES = ("exact", "upto", "credit")
"""The whole signed amount, any amount up to it, or an account's credit."""
UNDELIVERED: Final = "undelivered"
"""``response`` where nothing was answered (yet)."""
NOT_EVIDENCE_OF = ("artifact", "computation", "enclave", "inputs", "judgement", "privacy", "settlement")
"""What nobody may read a payment as: the closed list that every document carries."""
BEFORE_CHARGE = ("offered", "authorised")
"""Events before anything is owed."""
MOVED = ("captured", "refund_due", "refunded")
"""Events that tell of money that moved."""
WITH_REASON = ("lapsed", "failed", "refund_due")
"""Events that give a reason."""
TERMS = (
    "run",
    "timing",
    "scheme",
    "network",
    "asset",
    "payer",
    "payee",
    "asked",
    "authorised",
    "authorisation",
    "price_card",
    "rate",
    "charge",
    "request",
)
"""Members that a later document of the same payment repeats (``statement.md`` §4.6(6))."""
MAX_TEXT = 128
"""Most characters of the name of an asset, a network or an account."""

_AMOUNT = re.compile(r"(?:0|[1-9][0-9]{0,77})\Z")
_TRANSACTION = re.compile(r"0x[0-9a-f]{64}\Z")
_NETWORK = re.compile(r"eip155:[1-9][0-9]{0,17}\Z")
_MOST_AMOUNT = 2**256 - 1
_LINES = dict(pricing.KINDS.values()) | {pricing.UNKNOWN_USAGE: 1}


@dataclass(frozen=True, slots=True)
class PaymentDocument:
    """One step of one payment for one run. Amounts are in base units of the asset; digests are hex; None where there
    is nothing to say (``statement.md`` §4.6(1))."""

    run: str
    event: str
    at: dt.datetime
    timing: str
    scheme: str
    network: str | None
    asset: str | None
    payer: str | None
    """An address; of ``credit``, the account's name where it may be told."""
    payee: str | None
    asked: int | None
    """The cap of this run that was offered."""
    authorised: int | None
    """What the payer signed for: of an authorisation for several runs, all of it."""
    captured: int | None
    """What was taken for this run, and of ``refunded`` given back."""
    authorisation: str | None
    """SHA-256 of the exact payment payload that the payer signed."""
    price_card: str | None
    rate: Rate | None
    charge: Charge | None
    transaction: str | None
    request: Tree
    response: Tree | Literal["undelivered"]
    deadline: dt.datetime | None
    reason: str | None

    @property
    def raw(self) -> bytes:
        """The document's canonical bytes: what a record commits to."""
        return canonical.encode(self.to_json())

    def to_json(self) -> dict[str, canonical.JSON]:
        return {
            "type": PAYMENT_TYPE,
            "run": self.run,
            "event": self.event,
            "at": time_encode(self.at),
            "timing": self.timing,
            "scheme": self.scheme,
            "network": self.network,
            "asset": self.asset,
            "payer": self.payer,
            "payee": self.payee,
            "asked": _decimal(self.asked),
            "authorised": _decimal(self.authorised),
            "captured": _decimal(self.captured),
            "authorisation": self.authorisation,
            "price_card": self.price_card,
            "rate": self.rate.to_json() if self.rate else None,
            "charge": self.charge.to_json() if self.charge else None,
            "transaction": self.transaction,
            "request": self.request.to_json(),
            "response": self.response.to_json() if isinstance(self.response, Tree) else UNDELIVERED,
            "deadline": time_encode(self.deadline) if self.deadline else None,
            "reason": self.reason,
            "not_evidence_of": list(NOT_EVIDENCE_OF),
        }


_MEMBERS = frozenset({"type", "not_evidence_of"} | {item.name for item in fields(PaymentDocument)})


def _decimal(amount: int | None) -> str | None:
    return None if amount is None else str(amount)


# --- parsing ----------------------------------------------------------------------------------------------------------


def parse_payment_document(raw: bytes) -> PaymentDocument:
    """Bytes to a :class:`PaymentDocument`. What it says is consistent in form; whether it adds up asks
    :func:`verify_amounts`. Raises ``payment_document.*``, ``pricing.*``, ``statement.tree``, ``json.*``,
    ``encoding.*`` or ``evm.address``."""
    if len(raw) > MAX_DOCUMENT_BYTES:
        raise MalformedError("payment_document.size", f"a payment document has at most {MAX_DOCUMENT_BYTES} bytes")
    value = canonical.decode_signed(raw)
    if value.keys() != _MEMBERS or value["type"] != PAYMENT_TYPE:
        raise MalformedError("payment_document.fields", f"not the members of a {PAYMENT_TYPE}")
    if value["not_evidence_of"] != list(NOT_EVIDENCE_OF):
        raise MalformedError("payment_document.scope", "a payment says what it is not evidence of, all of it, sorted")
    if not is_run_id(value["run"]) or value["event"] not in PAYMENT_EVENTS:
        raise MalformedError("payment_document.fields", f"run is a run id, and event one of {len(PAYMENT_EVENTS)}")
    document = PaymentDocument(
        run=value["run"],
        event=value["event"],
        at=time_decode(value["at"]),
        timing=_one_of(value, "timing", TIMINGS),
        scheme=_one_of(value, "scheme", SCHEMES),
        network=_text(value, "network"),
        asset=_text(value, "asset"),
        payer=_text(value, "payer"),
        payee=_text(value, "payee"),
        asked=_amount(value, "asked"),
        authorised=_amount(value, "authorised"),
        captured=_amount(value, "captured"),
        authorisation=_digest(value, "authorisation"),
        price_card=_digest(value, "price_card"),
        rate=None if value["rate"] is None else parse_rate(value["rate"]),
        charge=None if value["charge"] is None else parse_charge(value["charge"]),
        transaction=_transaction(value),
        request=parse_tree(value["request"]),
        response=UNDELIVERED if value["response"] == UNDELIVERED else parse_tree(value["response"]),
        deadline=None if value["deadline"] is None else time_decode(value["deadline"]),
        reason=_reason(value),
    )
    _check_scheme(document)
    _check_event(document)
    return document


def build_payment_document(
    event: str,
    *,
    run: str,
    at: dt.datetime,
    timing: str,
    scheme: str,
    request: Tree,
    network: str | None = None,
    asset: str | None = None,
    payer: str | None = None,
    payee: str | None = None,
    asked: int | None = None,
    authorised: int | None = None,
    captured: int | None = None,
    authorisation: str | None = None,
    price_card: str | None = None,
    rate: Rate | None = None,
    charge: Charge | None = None,
    transaction: str | None = None,
    response: Tree | None = None,
    deadline: dt.datetime | None = None,
    reason: str | None = None,
) -> PaymentDocument:
    """Make a document; the result parses. Addresses are taken in either case; ``response`` None is undelivered. Raises
    what :func:`parse_payment_document` raises."""
    lower = scheme != "credit"
    made = PaymentDocument(
        run=run,
        event=event,
        at=at,
        timing=timing,
        scheme=scheme,
        network=network,
        asset=asset.lower() if asset is not None and lower else asset,
        payer=payer.lower() if payer is not None and lower else payer,
        payee=payee.lower() if payee is not None and lower else payee,
        asked=asked,
        authorised=authorised,
        captured=captured,
        authorisation=authorisation,
        price_card=price_card,
        rate=rate,
        charge=charge,
        transaction=transaction,
        request=request,
        response=UNDELIVERED if response is None else response,
        deadline=deadline,
        reason=reason,
    )
    return parse_payment_document(made.raw)


def parse_charge(value: object) -> Charge:
    """A charge (``pricing.md`` §4) from its JSON object; raises ``payment_document.charge`` or ``pricing.decimal``.
    Whether it adds up is :func:`verify_charge`'s question."""
    if not isinstance(value, dict) or value.keys() != {"lines", "usd", "amount", "capped"}:
        raise MalformedError("payment_document.charge", "a charge has exactly lines, usd, amount and capped")
    listed = value["lines"]
    if not isinstance(listed, list) or not 1 <= len(listed) <= len(_LINES):
        raise MalformedError("payment_document.charge", f"a charge has 1 to {len(_LINES)} lines")
    lines = tuple(_line(item) for item in listed)
    parse_decimal(value["usd"])
    amount = _amount(value, "amount")
    if amount is None:
        raise MalformedError("payment_document.charge", "a charge has an amount")
    return Charge(lines, value["usd"], amount, _amount(value, "capped"))


def _line(value: object) -> Line:
    if not isinstance(value, dict) or value.keys() != {"what", "quantity", "price", "per", "usd"}:
        raise MalformedError("payment_document.charge", "a line has exactly what, quantity, price, per and usd")
    quantity, per = value["quantity"], value["per"]
    if value["what"] not in _LINES or type(per) is not int or per != _LINES[value["what"]]:
        raise MalformedError("payment_document.charge", f"a line is of {', '.join(_LINES)}, at the price of so many")
    if type(quantity) is not int or not 0 <= quantity <= pricing.MOST:
        raise MalformedError("payment_document.charge", f"a quantity is an integer from 0 to {pricing.MOST}")
    for name in ("price", "usd"):
        parse_decimal(value[name])
    return Line(value["what"], quantity, value["price"], per, value["usd"])


def _one_of(value: Mapping[str, Any], name: str, known: Sequence[str]) -> str:
    found = value[name]
    if found not in known:
        raise MalformedError("payment_document.fields", f"{name} is one of {', '.join(known)}")
    return str(found)


def _text(value: Mapping[str, Any], name: str) -> str | None:
    found = value[name]
    if found is None:
        return None
    if not isinstance(found, str) or not 1 <= len(found) <= MAX_TEXT:
        raise MalformedError("payment_document.fields", f"{name} has 1 to {MAX_TEXT} characters, or is null")
    return found


def _amount(value: Mapping[str, Any], name: str) -> int | None:
    found = value[name]
    if found is None:
        return None
    if not isinstance(found, str) or _AMOUNT.match(found) is None or int(found) > _MOST_AMOUNT:
        raise MalformedError("payment_document.number", f"{name} is a decimal string of an unsigned 256-bit integer")
    return int(found)


def _digest(value: Mapping[str, Any], name: str) -> str | None:
    return None if value[name] is None else hex_decode(value[name], 32).hex()


def _transaction(value: Mapping[str, Any]) -> str | None:
    found = value["transaction"]
    if found is None:
        return None
    if not isinstance(found, str) or _TRANSACTION.match(found) is None:
        raise MalformedError("payment_document.transaction", "a transaction is 0x and 64 lower-case hex digits")
    return found


def _reason(value: Mapping[str, Any]) -> str | None:
    found = value["reason"]
    if found is None:
        return None
    if not is_code(found):
        raise MalformedError("payment_document.reason", "a reason is a code")
    return str(found)


def _check_scheme(document: PaymentDocument) -> None:
    """§4.6(3): which members a scheme has."""
    if (document.scheme == "credit") != (document.timing == "credit"):
        raise MalformedError("payment_document.scheme", "credit is both the scheme and the timing, or neither")
    rate = document.rate
    if rate is not None and (rate.asset.lower(), rate.network) != ((document.asset or "").lower(), document.network):
        raise MalformedError("payment_document.rate", "the rate is of another asset than the payment")
    if document.scheme == "credit":
        signed = (document.payee, document.authorised, document.authorisation, document.transaction, document.deadline)
        if any(item is not None for item in signed):
            raise MalformedError("payment_document.scheme", "nobody signs for credit, and no chain moves it")
        return
    if document.network is None or _NETWORK.match(document.network) is None:
        raise MalformedError("payment_document.scheme", "a network is eip155:<chain id>")
    if document.asset is None or document.payee is None or document.asked is None:
        raise MalformedError("payment_document.scheme", "an offer names an asset, a payee and an amount")
    for address in (document.asset, document.payee, document.payer):
        if address is not None:
            parse_address(address)
    agreed = (document.payer, document.authorised, document.authorisation)
    if (document.event == "offered") != all(item is None for item in agreed) or (
        document.event != "offered" and any(item is None for item in agreed)
    ):
        raise MalformedError(
            "payment_document.scheme", "after the offer a payer, an amount and what was signed are there"
        )


def _check_event(document: PaymentDocument) -> None:
    """§4.6(4): which members an event has."""
    before = document.event in BEFORE_CHARGE
    if before != (document.charge is None):
        raise MalformedError("payment_document.event", "a charge is there from the event charged on")
    if before and document.response != UNDELIVERED:
        raise MalformedError("payment_document.event", "before a charge nothing was answered")
    if (document.event in MOVED) != (document.captured is not None):
        raise MalformedError("payment_document.event", f"captured belongs to {', '.join(MOVED)}")
    if (document.event in WITH_REASON) != (document.reason is not None):
        raise MalformedError("payment_document.event", f"a reason belongs to {', '.join(WITH_REASON)}")
    moved = document.scheme != "credit" and document.captured not in (None, 0)
    if moved != (document.transaction is not None):
        raise MalformedError("payment_document.event", "exactly money that moved on a chain has a transaction")


# --- the record -------------------------------------------------------------------------------------------------------


def payment_record(document: bytes, salt: bytes) -> bytes:
    """The commitment to a document's exact bytes (``statement.md`` §4.6(2)), 32 bytes."""
    if len(salt) != SALT_BYTES:
        raise UsageError("payment_document.salt", f"the salt of a record has {SALT_BYTES} bytes")
    return sha256(RECORD_DOMAIN + salt + document)


def claimed_time(at: dt.datetime, *, coarse: bool) -> dt.datetime:
    """``claimed_at`` of the statement that is signed at once: where the run came sealed or is private, the minute."""
    return at.replace(second=0, microsecond=0) if coarse else at


def verify_payment_document(statement: Statement, document: bytes, salt: bytes) -> PaymentDocument:
    """Open the record of a ``payment`` statement with the document and salt that are shown for it.

    Raises ``payment_document.record`` when the record commits to something else, and ``payment_document.run``,
    ``.event`` or ``.at`` when the document tells of something else than the statement.
    """
    body = statement.body
    if not isinstance(body, PaymentBody):
        raise RefusedError("payment_document.record", f"a {statement.kind} statement commits to no payment document")
    if payment_record(document, salt) != body.record:
        raise RefusedError("payment_document.record", "the record does not commit to this document with this salt")
    found = parse_payment_document(document)
    if found.run != statement.run:
        raise RefusedError("payment_document.run", "statement and document differ in run")
    if found.event != body.event:
        raise RefusedError("payment_document.event", "statement and document differ in event")
    if statement.claimed_at < found.at and statement.claimed_at != claimed_time(found.at, coarse=True):
        raise RefusedError("payment_document.at", "statement and document differ in at")
    return found


# --- does it add up? --------------------------------------------------------------------------------------------------


def verify_charge(charge: Charge, rate: Rate | None) -> None:
    """Compute a charge again from its own lines (``pricing.md`` §4). Raises ``payment_document.sum``."""
    names = [line.what for line in charge.lines]
    known = [name for name in _LINES if name in names]
    if names != known or (pricing.UNKNOWN_USAGE in names and (len(names) > 1 or charge.amount)):
        raise RefusedError(
            "payment_document.sum", "a charge has each line once and in order, and unknown usage is free"
        )
    total = Fraction(0)
    for line in charge.lines:
        product = line.quantity * parse_decimal(line.price) / line.per
        if product != parse_decimal(line.usd):
            raise RefusedError("payment_document.sum", f"the line of {line.what} is not quantity times price")
        total += product
    if total != parse_decimal(charge.usd):
        raise RefusedError("payment_document.sum", "the lines do not add up")
    if charge.capped is not None and charge.capped <= charge.amount:
        raise RefusedError("payment_document.sum", "a charge that was capped is below what its lines come to")
    if rate is None:
        return
    exact = total / parse_decimal(rate.usd) * 10**rate.decimals
    owed = -(-exact.numerator // exact.denominator)
    if owed != (charge.amount if charge.capped is None else charge.capped):
        raise RefusedError("payment_document.sum", f"at its rate the charge comes to {owed} base units")


def verify_amounts(document: PaymentDocument) -> None:
    """Whether a document adds up by itself (``statement.md`` §4.6(5)).

    Raises ``payment_document.sum`` where the charge does not, ``payment_document.cap`` where more was charged or taken
    than was offered or authorised, and ``payment_document.overcharge`` where more was taken than was charged (of
    ``exact``: another amount than was signed).
    """
    charge = document.charge
    if charge is None:
        return
    verify_charge(charge, document.rate)
    for name, most in (("asked", document.asked), ("authorised", document.authorised)):
        if most is not None and charge.amount > most:
            raise RefusedError("payment_document.cap", f"{charge.amount} is charged, above the {most} that was {name}")
    taken = document.captured
    if taken is None:
        return
    if document.authorised is not None and taken > document.authorised:
        says = f"{taken} is taken, above the {document.authorised} that was authorised"
        raise RefusedError("payment_document.cap", says)
    if document.scheme == "exact":
        if taken != document.authorised:
            raise RefusedError("payment_document.overcharge", "exact takes the amount that was signed, and no other")
    elif taken > charge.amount:
        raise RefusedError("payment_document.overcharge", f"{taken} is taken, above the charge of {charge.amount}")


def verify_usage(document: PaymentDocument, response: Mapping[str, Any]) -> bool:
    """Hold the charged tokens against the usage that the answer itself reports (``statement.md`` §4.6(7)).

    ``response`` is the response document, or as much of it as is shown. Raises ``payment_document.overcharge`` where
    more is charged than it reports. False where it reports nothing that a line is of: then nothing was compared.
    """
    used = reported_usage(response)
    compared = False
    for line in document.charge.lines if document.charge else ():
        if line.what not in used:
            continue
        compared = True
        if line.quantity > used[line.what]:
            says = f"{line.quantity} {line.what} are charged, and the answer reports {used[line.what]}"
            raise RefusedError("payment_document.overcharge", says)
    return compared


def reported_usage(response: Mapping[str, Any]) -> dict[str, int]:
    """What a response document reports of tokens, and how many images it holds, by the names of a charge's lines; what
    is no count is left out, and so are images where neither ``data`` nor ``choices`` is shown."""
    usage = response.get("usage")
    found: dict[str, int] = {}
    for name, member in (("input_tokens", "prompt_tokens"), ("output_tokens", "completion_tokens")):
        count = _whole(usage.get(member, usage.get(name))) if isinstance(usage, Mapping) else None
        if count is not None:
            found[name] = count
    if "data" in response or "choices" in response:
        found["images"] = count_images(response)
    return found


def _whole(value: object) -> int | None:
    """A count from JSON as it is decoded either way: an integer, or the text of one."""
    if isinstance(value, str) and _AMOUNT.match(value):
        return int(value)
    return value if type(value) is int and value >= 0 else None


def verify_prices(document: PaymentDocument, card: pricing.PriceCard, model: str) -> None:
    """Compare the prices of a charge's lines with the price card that the document names (``statement.md`` §4.6(7)).

    Raises ``payment_document.price_card`` where it is another card, ``pricing.model`` where the card has no such model,
    and ``payment_document.overcharge`` where a line's price is not the card's.
    """
    if document.price_card != card.digest:
        raise RefusedError("payment_document.price_card", "the document names another price card")
    prices = card.prices(model)
    listed = {name: prices.get(kind, "0") for kind, (name, _) in pricing.KINDS.items()}
    for line in document.charge.lines if document.charge else ():
        if line.what in listed and line.price != listed[line.what]:
            says = f"{line.what} cost {line.price}, and the card says {listed[line.what]}"
            raise RefusedError("payment_document.overcharge", says)


def verify_terms(document: PaymentDocument, before: PaymentDocument) -> None:
    """Check that a document follows another of the same payment (``statement.md`` §4.6(6)): what was fixed stays.
    Raises ``payment_document.terms``."""
    for name in TERMS:
        fixed = getattr(before, name)
        if fixed is not None and fixed != getattr(document, name):
            raise RefusedError("payment_document.terms", f"{name} is not what it was when it was {before.event}")
    if before.event not in BEFORE_CHARGE and document.response != before.response:
        raise RefusedError("payment_document.terms", f"response is not what it was when it was {before.event}")
    if before.event in MOVED and document.captured != before.captured:
        raise RefusedError("payment_document.terms", "what is owed back is what was taken")
    if document.event == "refund_due" and document.transaction != before.transaction:
        raise RefusedError("payment_document.terms", "a debt names the transaction that it is about")
    if document.at < before.at:
        raise RefusedError("payment_document.terms", f"it claims a time before it was {before.event}")


def verify_authorisation(documents: Iterable[PaymentDocument]) -> int:
    """Check the captures of one authorisation against each other, over as many runs as are shown; returns what was
    taken in all. Raises ``payment_document.authorisation`` where they are of several authorisations, of two amounts,
    of two transactions, or of one run twice, and ``payment_document.cap`` where they come to more than was signed
    (``statement.md`` §4.6(8))."""
    taken = [item for item in documents if item.event == "captured"]
    terms = {(item.authorisation, item.authorised, item.payer, item.payee, item.asset, item.network) for item in taken}
    transactions = {item.transaction for item in taken if item.transaction is not None}
    if len(terms) > 1 or len(transactions) > 1 or len({item.run for item in taken}) != len(taken):
        raise RefusedError("payment_document.authorisation", "one authorisation is captured once, for each run once")
    total = sum(item.captured or 0 for item in taken)
    most = next((item.authorised for item in taken), None)
    if most is not None and total > most:
        raise RefusedError("payment_document.cap", f"{total} is taken over all runs, above the {most} authorised")
    return total


# --- for a person -----------------------------------------------------------------------------------------------------


def explain(document: PaymentDocument) -> list[str]:
    """A document as lines for a person: what was offered, authorised, charged and taken, line by line, and what none
    of it shows. Where it does not add up, a line says so. Pure."""
    lines = [f"{document.event.replace('_', ' ').capitalize()} at {time_encode(document.at)}, for run {document.run}."]
    if document.scheme == "credit":
        lines.append("Paid from an account's credit; no chain is involved.")
    else:
        lines.append(f"Scheme {document.scheme} on {document.network}: asset {document.asset}, to {document.payee}.")
    if document.asked is not None:
        lines.append(f"Asked: {'' if document.scheme == 'exact' else 'at most '}{_money(document.asked, document)}.")
    if document.authorised is not None:
        lines.append(f"Authorised: {_money(document.authorised, document)}, by {document.payer}.")
    lines.extend(_explain_charge(document))
    if document.captured is not None:
        lines.append(_explain_moved(document))
    if document.reason is not None:
        lines.append(f"Reason: {document.reason}.")
    if document.deadline is not None:
        lines.append(f"What was signed holds until {time_encode(document.deadline)}.")
    lines.append(_TIMED[document.timing])
    if document.response == UNDELIVERED:
        lines.append("No answer is bound by it.")
    try:
        verify_amounts(document)
    except HoldfastError as error:
        lines.append(f"This does not add up: {error.message}.")
    lines.append(f"It is no evidence of: {', '.join(NOT_EVIDENCE_OF)}.")
    return lines


_TIMED = {
    "on_answer": "Money is taken after the answer, proved or not.",
    "on_proof": "Money is taken only for a run that is final and not refuted.",
    "credit": "Credit is taken at once.",
}


def _money(amount: int, document: PaymentDocument) -> str:
    rate = document.rate
    if rate is None:
        return f"{amount} base units"
    whole = pricing.format_decimal(Fraction(amount, 10**rate.decimals))
    return f"{amount} base units ({whole} of {rate.asset})"


def _explain_charge(document: PaymentDocument) -> list[str]:
    charge = document.charge
    if charge is None:
        return []
    if charge.lines[0].what == pricing.UNKNOWN_USAGE:
        return ["Charged: nothing, for nobody reported what was used."]
    lines = [
        f"  {line.quantity} {line.what.replace('_', ' ')} at {line.price} USD for {line.per}: {line.usd} USD"
        for line in charge.lines
    ]
    rate = document.rate
    if rate is not None:
        lines.append(f"  one {rate.asset} is {rate.usd} USD by {rate.source}, at {time_encode(rate.at)}")
    capped = "" if charge.capped is None else f"; the cap, for the lines come to {charge.capped}"
    return [f"Charged: {_money(charge.amount, document)}, {charge.usd} USD{capped}.", *lines]


def _explain_moved(document: PaymentDocument) -> str:
    taken = document.captured or 0
    word = {"captured": "Taken", "refund_due": "Owed back", "refunded": "Given back"}[document.event]
    by = f" by transaction {document.transaction}" if document.transaction else ""
    above = taken - document.charge.amount if document.charge and document.scheme == "exact" else 0
    more = f"; {above} above the charge, for exact takes all that was signed" if above > 0 else ""
    return f"{word}: {_money(taken, document)}{by}{more}."
