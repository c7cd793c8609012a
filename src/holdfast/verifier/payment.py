"""The ``payment`` lane: what was offered, authorised, charged, taken and given back (``spec/lanes.md`` §3(9)).

Fed by ``payment`` statements and the documents that open them, as ``verifier.evidence`` has checked them, and by
nothing else; it feeds no other lane. It says that money moved or is owed. That anything was proved it never says.
"""

from __future__ import annotations

import datetime as dt

from holdfast.core.payments import PaymentDocument
from holdfast.core.statements import PaymentBody, Statement
from holdfast.core.trust import Trust
from holdfast.verifier.evidence import CheckedStatement, Evidence
from holdfast.verifier.lanes import Lane

MOST_TOLD = 16
"""Steps that the lane tells one by one; the transcript holds all of them."""
_ORDER = ("offered", "authorised", "charged", "lapsed", "failed", "captured", "refund_due", "refunded")
"""How far a payment has come; what was taken counts for more than that taking it failed before."""
_TOLD = {
    "offered": "Offered",
    "authorised": "Authorised",
    "charged": "Charged",
    "captured": "Taken",
    "lapsed": "Lapsed",
    "failed": "Failed",
    "refund_due": "Owed back",
    "refunded": "Given back",
}


def payment(evidence: Evidence, trust: Trust | None) -> Lane:
    """The lane (``lanes.md`` §3(9))."""
    found = evidence.payments()
    digests = tuple(item.statement.digest for item in found)
    refusals = [says for _, says in evidence.refusals["payment"]] + [
        says for says in map(_refusal, found) if says is not None
    ]
    if refusals:
        return Lane("payment", "refuted", None, refusals[0], digests)
    made = [item for item in found if not item.not_yet]
    if not made:
        says = "No payment was offered or asked for this run"
        return Lane("payment", "not_applicable", None, f"{says} at the time asked about." if found else f"{says}.")
    digests = tuple(item.statement.digest for item in made)
    if trust is None:
        says = "Without a trust document nobody can say whose word on this payment it is."
        return Lane("payment", "unknown", None, says, digests)
    if any(item.ran_out for item in made):
        says = "The key that tells of this payment has run out and no quorum dated it in time."
        return Lane("payment", "expired", None, says, digests)
    newest = max(made, key=lambda item: _ORDER.index(_event(item)))
    document = evidence.paid.get(newest.statement.digest)
    told = " ".join(_tell(item, evidence, trust) for item in made[:MOST_TOLD])
    if len(made) > MOST_TOLD:
        told += f" {len(made) - MOST_TOLD} more steps follow."
    if any(parent not in evidence.statements for item in made for parent in item.statement.parents):
        return Lane(
            "payment", "unknown", None, f"What this payment follows from is not in this bundle. {told}", digests
        )
    if document is None:
        return Lane("payment", "unknown", None, f"Amounts, payer and transaction are not shown here. {told}", digests)
    state, basis, says = _state(document, trust)
    return Lane("payment", state, basis, f"{says} {told} {_compared(newest, evidence)}", digests)


def paid_at(evidence: Evidence) -> dt.datetime | None:
    """What the lane is dated by (``gate.md`` §1): the newest payment statement that is not refused and whose document
    is shown; None while there is none."""
    moments = [
        item.trusted_time or item.statement.claimed_at
        for item in evidence.payments()
        if item.refusal is None and item.statement.digest in evidence.paid
    ]
    return max(moments, default=None)


def lies(statement: Statement, closing: Statement | None) -> str:
    """Where a payment's claimed time lies relative to the answer's, in words without a full stop."""
    if closing is None:
        return "with no answer here"
    apart = statement.claimed_at - closing.claimed_at
    if not apart:
        coarse = not closing.claimed_at.second and not closing.claimed_at.microsecond
        return "in the minute of the answer" if coarse else "at the time of the answer"
    return f"{abs(apart).total_seconds():.3f} s {'after' if apart > dt.timedelta() else 'before'} the answer"


def _event(item: CheckedStatement) -> str:
    body = item.statement.body
    return body.event if isinstance(body, PaymentBody) else _ORDER[0]  # a payment has one; this is for the type checker


def _refusal(item: CheckedStatement) -> str | None:
    name = f"payment {item.statement.digest[:12]}"
    if item.refusal is not None and not item.ran_out:
        return f"Not acceptable: {name} is refused ({item.refusal})."
    if item.verdict is not None and item.verdict.startswith("refuted:"):
        return f"Final round {item.verdict_round} refuted {name}: {item.verdict}."
    return None


def _state(document: PaymentDocument, trust: Trust) -> tuple[str, str | None, str]:
    """State, basis and first sentence, by the newest step."""
    if document.event == "captured":
        if document.transaction is None:
            basis = "operator_claim" if document.scheme == "credit" else "signature"
            return "proven", basis, "Paid, without a transaction."
        if trust.development or document.network in _development_networks(trust):
            return "proven", "development", "Paid on a development chain, by the word of who signed it."
        return "proven", "signature", "Paid, by the word of who signed it."
    if document.event == "charged" and document.scheme == "credit":
        return "proven", "operator_claim", "Paid from credit, by the operator's own account."
    return {
        "offered": ("pending", None, "Offered, and not authorised."),
        "authorised": ("pending", None, "Authorised; nothing is charged or taken yet."),
        "charged": ("pending", None, "Charged; nothing is taken yet."),
        "lapsed": ("unknown", "signature", "Nothing was taken: what was authorised lapsed."),
        "failed": ("unknown", "signature", "Nothing was taken: taking it failed."),
        "refund_due": ("unknown", "signature", "Taken, and owed back; not given back yet."),
        "refunded": ("unknown", "signature", "Taken, and given back."),
    }[document.event]


def _development_networks(trust: Trust) -> set[str]:
    return {f"eip155:{chain.chain_id}" for chain in trust.current.chains if chain.development}


def _tell(item: CheckedStatement, evidence: Evidence, trust: Trust) -> str:
    statement, event = item.statement, _event(item)
    admission = trust.admission(statement.attester)
    roles = admission.key_document.roles if admission is not None else ()
    who = "the facilitator" if "facilitator" in roles else "the gateway"
    closing = evidence.closing.statement if evidence.closing else None
    when = f"by {who}'s word, {lies(statement, closing)}"
    document = evidence.paid.get(statement.digest)
    if document is None:
        return f"{_TOLD[event]}: amount not shown; {when}."
    return f"{_TOLD[event]}: {_amounts(document)}; {when}."


def _amounts(document: PaymentDocument) -> str:
    """What a document says was moved, owed or agreed, in base units. The texts in it are quoted."""
    asset = "" if document.asset is None else f" of {document.asset!r} on {document.network!r}"
    charge = document.charge
    if charge is None:
        agreed = document.authorised if document.event == "authorised" else document.asked
        return f"at most {agreed} base units{asset}" if agreed is not None else "no amount"
    if document.captured is not None:
        by = f" by transaction {document.transaction}" if document.transaction is not None else ""
        above = document.captured - charge.amount
        more = f", {above} above the charge (exact takes all that was signed)" if above > 0 else ""
        return f"{document.captured} base units{asset}{by}{more}"
    why = f" ({document.reason})" if document.reason is not None else ""
    if document.event != "charged":
        return f"{charge.amount} base units{asset}{why}"
    caps = [
        f"{amount} {word}"
        for word, amount in (("asked", document.asked), ("authorised", document.authorised))
        if amount is not None
    ]
    return f"{charge.amount} base units{asset}" + (f", of {' and '.join(caps)} at most" if caps else "")


def _compared(newest: CheckedStatement, evidence: Evidence) -> str:
    if newest.statement.digest in evidence.usage_compared:
        return "It charges no more tokens than the answer reports."
    return "The charge is not compared with what was used: the answer's own report is not shown here, or there is none."
