"""Both sides of a payment in one document: what was offered, signed, claimed, charged and taken, and what checking it
gave (``spec/collection.md`` §6).

It is made from a bundle's evidence, the exact payload that the payer signed, the seller's price card, and what a reader
of the chain says; each of these may be missing, and then the checks that need it say so. It decides nothing: who is
right about a dispute is for people, and what a payment is not evidence of stands at its end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.core import canonical, x402
from holdfast.core.encoding import sha256_hex, time_encode
from holdfast.core.payments import NOT_EVIDENCE_OF, PaymentDocument, explain, verify_prices
from holdfast.core.pricing import PriceCard
from holdfast.core.statements import PAYMENT_EVENTS, PaymentBody
from holdfast.errors import HoldfastError, RefusedError
from holdfast.verifier.appraisal import Appraisal
from holdfast.verifier.evidence import CheckedStatement
from holdfast.verifier.transcript import Answer

PAYER, SELLER, CHAIN = "payer", "seller", "chain"
"""Whose artefact a check is about."""


@dataclass(frozen=True, slots=True)
class ChainWord:
    """What a reader of the chain found about a transaction: ``yes`` the transfer is there, ``no`` it is not,
    ``cannot_tell`` nobody looked or the chain was silent."""

    answer: Answer
    says: str


@dataclass(frozen=True, slots=True)
class Artefacts:
    """What stands beside a run's bundle. None where it is not at hand."""

    payload: bytes | None = None
    """The exact payment payload, JSON."""
    card: PriceCard | None = None
    model: str | None = None
    """The model label that was sold."""
    receipt: Mapping[str, Any] | None = None
    """x402's signed receipt for the capture."""
    chain: ChainWord | None = None
    trouble: str = ""
    """What keeps the capture from ending, in words."""
    open: bool = False
    """Whether money may still be taken with the payload: then it is checked and not shown."""


def dispute(appraisal: Appraisal, beside: Artefacts) -> dict[str, Any]:
    """The view as JSON values. Everything in it is somebody's word, named as such."""
    evidence = appraisal.evidence
    found = sorted(evidence.payments(), key=_place)
    documents = [evidence.paid[item.statement.digest] for item in found if item.statement.digest in evidence.paid]
    newest = documents[-1] if documents else None
    by_event = {document.event: document for document in documents}
    checks = [
        {**check.to_json(), "about": SELLER} for check in appraisal.transcript if check.lanes == ("payment",)
    ] + _checks(newest, by_event.get("captured"), beside)
    for number, check in enumerate(checks, 1):
        check["number"] = number
    return {
        "run": appraisal.run,
        "lane": appraisal.lanes["payment"].to_json(),
        "steps": [_step(item, evidence.paid.get(item.statement.digest)) for item in found],
        "offered": _offered(newest, beside),
        "signed": _signed(newest, None if beside.open else beside.payload),
        "claimed": {"usage": _reported(evidence.reported()), "by": "the answer that the run's statements bind"},
        "charged": newest.charge.to_json() if newest is not None and newest.charge is not None else None,
        "captured": _captured(by_event.get("captured"), beside),
        "refund": _refund(by_event),
        "checks": checks,
        "trouble": beside.trouble,
        "not_evidence_of": list(NOT_EVIDENCE_OF),
    }


def _place(item: CheckedStatement) -> int:
    body = item.statement.body
    return PAYMENT_EVENTS.index(body.event) if isinstance(body, PaymentBody) else 0


def _step(item: CheckedStatement, document: PaymentDocument | None) -> dict[str, Any]:
    body = item.statement.body
    return {
        "event": body.event if isinstance(body, PaymentBody) else None,
        "digest": item.statement.digest,
        "attester": item.statement.attester,
        "claimed_at": time_encode(item.statement.claimed_at),
        "trusted_at": time_encode(item.trusted_time) if item.trusted_time is not None else None,
        "refusal": item.refusal,
        "verdict": item.verdict,
        "document": document.to_json() if document is not None else None,
        "lines": explain(document) if document is not None else [],
    }


def _offered(document: PaymentDocument | None, beside: Artefacts) -> dict[str, Any] | None:
    if document is None:
        return None
    whole = document.to_json()
    names = ("timing", "scheme", "network", "asset", "payee", "asked", "price_card", "rate", "deadline")
    return {**{name: whole[name] for name in names}, "model": beside.model, "prices": _prices(beside)}


def _prices(beside: Artefacts) -> dict[str, str] | None:
    if beside.card is None or beside.model is None:
        return None
    try:
        return dict(beside.card.prices(beside.model))
    except HoldfastError:
        return None


def _signed(document: PaymentDocument | None, payload: bytes | None) -> dict[str, Any] | None:
    if document is None or document.authorisation is None:
        return None
    return {
        "payer": document.payer,
        "authorised": None if document.authorised is None else str(document.authorised),
        "digest": document.authorisation,
        "payload": None if payload is None else payload.decode(errors="replace"),
    }


def _reported(response: Mapping[str, Any]) -> dict[str, Any] | None:
    usage = response.get("usage")
    return {name: str(value) for name, value in usage.items()} if isinstance(usage, Mapping) else None


def _captured(document: PaymentDocument | None, beside: Artefacts) -> dict[str, Any] | None:
    if document is None:
        return None
    return {
        "amount": str(document.captured),
        "transaction": document.transaction,
        "network": document.network,
        "receipt": None if beside.receipt is None else dict(beside.receipt),
    }


def _refund(by_event: Mapping[str, PaymentDocument]) -> dict[str, Any] | None:
    owed, paid = by_event.get("refund_due"), by_event.get("refunded")
    if owed is None:
        return None
    return {
        "owed": str(owed.captured),
        "reason": owed.reason,
        "since": time_encode(owed.at),
        "transaction": paid.transaction if paid is not None else None,
        "paid_at": time_encode(paid.at) if paid is not None else None,
    }


# --- checks that a bundle alone does not allow ------------------------------------------------------------------------


def _checks(
    newest: PaymentDocument | None, captured: PaymentDocument | None, beside: Artefacts
) -> list[dict[str, Any]]:
    if newest is None:
        return []
    found = [_check_prices(newest, beside)]
    if newest.authorisation is not None:
        found += _check_payload(newest, beside.payload)
    if captured is not None and captured.transaction is not None:
        word = beside.chain or ChainWord("cannot_tell", "Nobody looked at the chain: whose word it is stands above.")
        found.append(_check(CHAIN, "payments.md §6(2)", word.answer, word.says))
    return found


def _check(about: str, spec: str, answer: Answer, says: str, code: str | None = None) -> dict[str, Any]:
    return {
        "number": 0,
        "spec": spec,
        "answer": answer,
        "says": says,
        "code": code,
        "lanes": ["payment"],
        "about": about,
    }


def _check_prices(document: PaymentDocument, beside: Artefacts) -> dict[str, Any]:
    spec = "statement.md §4.6(7)"
    if beside.card is None or beside.model is None or document.charge is None:
        return _check(SELLER, spec, "cannot_tell", "The price card that the charge names is not at hand.")
    try:
        verify_prices(document, beside.card, beside.model)
    except HoldfastError as error:
        return _check(SELLER, spec, "no", f"The charge is not by its price card: {error.message}.", error.code)
    return _check(SELLER, spec, "yes", "The charge's prices are those of the price card that it names.")


def _check_payload(document: PaymentDocument, raw: bytes | None) -> list[dict[str, Any]]:
    spec = "payments.md §5"
    if raw is None:
        return [_check(PAYER, spec, "cannot_tell", "What the payer signed is not at hand.")]
    if sha256_hex(raw) != document.authorisation:
        says = "What is shown as signed is not what the seller's documents name."
        return [_check(SELLER, "statement.md §4.6(1)", "no", says, "payment_document.authorisation")]
    named = _check(SELLER, "statement.md §4.6(1)", "yes", "What is shown as signed is what the documents name.")
    try:
        _verify_signed(document, raw)
    except HoldfastError as error:
        return [
            named,
            _check(PAYER, spec, "no", f"It is not the payer's signature to these terms: {error.message}.", error.code),
        ]
    says = f"{document.payer} signed for at most {document.authorised} base units to {document.payee}."
    return [named, _check(PAYER, spec, "yes", says)]


def _verify_signed(document: PaymentDocument, raw: bytes) -> None:
    """Whether the payer that a document names signed for its amount, receiver and asset; when is not asked."""
    payload = x402.parse_payload(canonical.decode_object(raw))
    authorization = payload.authorization
    asked = x402.PaymentRequirements(
        document.scheme,
        document.network or "",
        document.asset or "",
        document.authorised or 0,
        document.payee or "",
        payload.accepted.max_timeout_s,
        payload.accepted.extra,
    )
    facilitator = getattr(authorization, "facilitator", None) or ""
    x402.verify_payment(payload, asked, at=authorization.valid_after, facilitator=facilitator)
    if authorization.payer != document.payer:
        raise RefusedError("payment.payer", "somebody else signed it than the documents name")
