"""What opens the records of decisions, payments and proofs, held against what was signed (``spec/statement.md`` §4)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from holdfast.core.bundles import DecisionItem, PaymentItem, ProofItem
from holdfast.core.decisions import verify_decision
from holdfast.core.payments import (
    UNDELIVERED,
    PaymentDocument,
    verify_amounts,
    verify_authorisation,
    verify_payment_document,
    verify_terms,
    verify_usage,
)
from holdfast.core.proofs import verify_proof_document
from holdfast.core.statements import Execution, PaymentBody, Route
from holdfast.core.trust import Trust
from holdfast.errors import HoldfastError, RefusedError
from holdfast.verifier.checks import CheckPolicy, refuse_hand_over, step_of
from holdfast.verifier.evidence import CheckedStatement, Evidence, refuse_and_note
from holdfast.verifier.transcript import Transcript


def check_decisions(items: Iterable[DecisionItem], evidence: Evidence, bounds: CheckPolicy, record: Transcript) -> None:
    """Open the records of decisions, and refuse a decision that is older than what it judges (``lanes.md`` §3(10))."""
    closing = evidence.closing.statement if evidence.closing else None
    for checked in evidence.decisions():
        statement = checked.statement
        if closing is None:
            continue
        early_us = (closing.claimed_at - statement.claimed_at) // dt.timedelta(microseconds=1)
        if early_us <= bounds.max_skew_s * 1_000_000:
            continue
        says = f"Decision {statement.digest[:12]} claims a time before the run was closed."
        refuse_and_note(evidence, record, "judgement", "decision.early", says, "lanes.md §3(10)")
    for item in dict.fromkeys(items):
        found = evidence.statements.get(item.digest)
        if found is None:
            says = f"Decision {item.digest[:12]} is not here."
            record.note(("judgement",), "statement.md §4.3", "cannot_tell", says, "decision.unbound")
            continue
        try:
            document = verify_decision(found.statement, item.raw, item.salt, item.path)
        except RefusedError as error:
            says = f"What is shown as decision {item.digest[:12]} is not what was signed: {error.message}."
            refuse_and_note(evidence, record, "judgement", error.code, says, "statement.md §4.3")
            continue
        evidence.opened[item.digest] = document
        if item.path is not None:
            evidence.in_batch.add(item.digest)
        says = f"The document of decision {item.digest[:12]} is what was signed."
        record.note(("judgement",), "statement.md §4.3", "yes", says)


def check_payments(items: Iterable[PaymentItem], evidence: Evidence, bounds: CheckPolicy, record: Transcript) -> None:
    """Open the records of payments, and hold what they say against each other and the run (``lanes.md`` §3(9))."""
    closing = evidence.closing.statement if evidence.closing else None
    for checked in evidence.payments():
        statement, body = checked.statement, checked.statement.body
        if closing is None or not isinstance(body, PaymentBody) or body.event in ("offered", "authorised"):
            continue
        early_us = (closing.claimed_at - statement.claimed_at) // dt.timedelta(microseconds=1)
        if early_us > bounds.max_skew_s * 1_000_000:
            says = f"Payment {statement.digest[:12]} claims a time before the run was closed."
            refuse_and_note(evidence, record, "payment", "payment_document.early", says, "lanes.md §3(9)")
    for item in dict.fromkeys(items):
        found = evidence.statements.get(item.digest)
        if found is None:
            says = f"Payment {item.digest[:12]} is not here."
            record.note(("payment",), "statement.md §4.6", "cannot_tell", says, "payment_document.unbound")
            continue
        try:
            document = verify_payment_document(found.statement, item.raw, item.salt)
        except RefusedError as error:
            says = f"What is shown as payment {item.digest[:12]} is not what was signed: {error.message}."
            refuse_and_note(evidence, record, "payment", error.code, says, "statement.md §4.6")
            continue
        evidence.paid[item.digest] = document
        says = f"The document of payment {item.digest[:12]} is what was signed."
        record.note(("payment",), "statement.md §4.6", "yes", says)
    for digest, document in evidence.paid.items():
        try:
            verify_amounts(document)
            _verify_bound(document, evidence)
            if verify_usage(document, evidence.reported()):
                evidence.usage_compared.add(digest)
        except RefusedError as error:
            says = f"Payment {digest[:12]} does not hold: {error.message}."
            refuse_and_note(evidence, record, "payment", error.code, says, "statement.md §4.6")
            continue
        compared = ", and charges no more than the answer reports" if digest in evidence.usage_compared else ""
        says = f"Payment {digest[:12]} adds up and is for this request{compared}."
        record.note(("payment",), "statement.md §4.6(5)", "yes", says)
    _check_steps(evidence, record)


def _verify_bound(document: PaymentDocument, evidence: Evidence) -> None:
    """Whether a payment is for the request and the response that the run's statements bind."""
    route = evidence.route.statement.body if evidence.route else None
    closing = evidence.closing.statement.body if evidence.closing else None
    if isinstance(route, Route) and document.request != route.request:
        raise RefusedError("payment_document.request", "it is for another request")
    if isinstance(closing, Execution) and document.response not in (UNDELIVERED, closing.response):
        raise RefusedError("payment_document.response", "it is for another response")


def _check_steps(evidence: Evidence, record: Transcript) -> None:
    """Each step fits the one before it, and none is told in two ways (``statement.md`` §4.6(6), (8), §7(11))."""
    told: dict[str, list[CheckedStatement]] = {}
    for checked in evidence.payments():
        step, document = step_of(checked.statement), evidence.paid.get(checked.statement.digest)
        if step is not None:
            told.setdefault(step, []).append(checked)
        for digest in checked.statement.parents:
            before = evidence.paid.get(digest)
            if document is None or before is None:
                continue
            try:
                verify_terms(document, before)
            except RefusedError as error:
                says = f"Payment {checked.statement.digest[:12]} does not follow: {error.message}."
                refuse_and_note(evidence, record, "payment", error.code, says, "statement.md §4.6(6)")
    for same in told.values():
        _check_told_once(same, evidence, record)
    try:
        captures = {(item.run, item.transaction, item.captured): item for item in evidence.paid.values()}
        verify_authorisation(captures.values())
    except RefusedError as error:
        refuse_and_note(
            evidence, record, "payment", error.code, f"{error.message.capitalize()}.", "statement.md §4.6(8)"
        )


def _check_told_once(same: list[CheckedStatement], evidence: Evidence, record: Transcript) -> None:
    """Two attesters may tell of one step where they tell the same; one attester tells of it once."""
    attesters = {checked.statement.attester for checked in same}
    shown = [evidence.paid[checked.statement.digest] for checked in same if checked.statement.digest in evidence.paid]
    if len(attesters) == len(same) and len({(item.event, item.captured, item.transaction) for item in shown}) <= 1:
        return
    says = f"{len(same)} payment statements tell of one step."
    refuse_and_note(evidence, record, "payment", "payment_document.twice", says, "statement.md §7(11)")


def check_payers_side(evidence: Evidence, trust: Trust, record: Transcript) -> None:
    """A payment goes on by the word of who charged or of a facilitator (``statement.md`` §7(11))."""
    for checked in evidence.payments():
        parents = [evidence.statements[digest] for digest in checked.statement.parents if digest in evidence.statements]
        nodes = [parent.statement.attester for parent in parents if parent.statement.kind == "payment"]
        if refuse_hand_over(checked.statement.attester, nodes, trust) is not None:
            says = f"Payment {checked.statement.digest[:12]} is told by a node that has no part in it."
            refuse_and_note(evidence, record, "payment", "statement.payment", says, "statement.md §7(11)")


def check_proofs(items: Iterable[ProofItem], evidence: Evidence, record: Transcript) -> None:
    """Open the records of proofs, and hold what they prove against the documents that were signed (``inference.md``
    §5(5)). Whether a proof verifies is for whoever has a verifier: full nodes do, and their verdict counts."""
    for item in dict.fromkeys(items):
        proved = evidence.statements.get(item.digest)
        parents = proved.statement.parents if proved is not None else ()
        computed = next((evidence.statements[digest] for digest in parents if digest in evidence.statements), None)
        if proved is None or computed is None:
            says = f"What is proved by document {item.digest[:12]} is not here."
            record.note(("computation",), "inference.md §5(5)", "cannot_tell", says, "proof.unbound")
            continue
        try:
            document = verify_proof_document(proved.statement, computed.statement, item.raw, item.salt)
        except HoldfastError as error:
            says = f"What is shown as proof {item.digest[:12]} does not hold: {error.message}."
            refuse_and_note(evidence, record, "computation", error.code, says, "inference.md §5(5)")
            continue
        evidence.proofs[item.digest] = document
        says = (
            f"Proof {item.digest[:12]} is about this request and this response; whether it verifies is another check."
        )
        record.note(("computation",), "inference.md §5(5)", "yes", says)
