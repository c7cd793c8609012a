"""Steps of payments: what is signed opens, follows and tells no more than it may."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from holdfast.core.encoding import sha256, sha256_hex, time_encode
from holdfast.core.payments import verify_payment_document
from holdfast.core.statements import PaymentBody, build_commitment, parse_envelope, parse_statement
from holdfast.errors import RefusedError
from holdfast.nodes.gateway.steps import StepSigner
from holdfast.nodes.gateway.turn import Opening
from holdfast.ports.till_store import Step
from tests.helpers.gateway import IDENTITY
from tests.helpers.network import RUN, at
from tests.helpers.payment_documents import CREDIT, REFUND, TRANSACTION, document

CLOSING = sha256_hex(b"the closing statement")


def signer() -> StepSigner:
    return StepSigner(IDENTITY, random.Random(1).randbytes)


def opening(**change: Any) -> Opening:
    found = document()
    given = {
        "run": RUN,
        "opened_at": time_encode(at(0)),
        "workspace": "tests",
        "endpoint": "chat.completions",
        "streamed": False,
        "settlement": "batch",
        "nonce": "nonce-0123456789abcdef",
        "parent_run": None,
        "request": found.request,
        "sent": found.request,
        "rewrites": (),
        "upstream": "stub",
        "reader": "00" * 32,
    }
    return Opening(**(given | change))


def charged(**change: Any) -> Step:
    return signer().sign(document(), opening(**change), [CLOSING])


def opened(step: Step) -> Any:
    """The document and statement of a step, once they fit each other."""
    statement = parse_statement(parse_envelope(step.envelope))
    found = verify_payment_document(statement, step.document, step.salt)
    assert statement.digest == step.digest
    assert (found.run, found.event) == (step.run, step.event)
    return found, statement


def test_an_overcharge_is_never_signed():
    with pytest.raises(RefusedError) as refused:
        signer().sign(document(asked=1), opening(), [CLOSING])
    assert refused.value.code == "payment_document.cap"
    with pytest.raises(RefusedError) as refused:
        signer().follow(charged(), "captured", at=at(3), captured=71, transaction=TRANSACTION)
    assert refused.value.code == "payment_document.overcharge"


def test_a_debt_of_another_amount_than_was_taken_is_never_signed():
    taken = signer().follow(charged(), "captured", at=at(3), captured=70, transaction=TRANSACTION)
    with pytest.raises(RefusedError) as refused:
        signer().follow(taken, "refund_due", at=at(4), captured=69, reason="payment.refuted")
    assert refused.value.code == "payment_document.terms"


def test_a_step_opens_and_stands_on_the_run():
    step = charged()
    found, statement = opened(step)
    assert found == document()
    assert statement.parents == (CLOSING,)
    assert statement.nonce == "nonce-0123456789abcdef"
    assert statement.claimed_at == found.at
    assert step.entry == step.envelope


def test_every_step_follows_the_one_before():
    steps = [charged()]
    steps.append(signer().follow(steps[-1], "captured", at=at(3), captured=70, transaction=TRANSACTION))
    steps.append(signer().follow(steps[-1], "refund_due", at=at(4), reason="payment.refuted"))
    steps.append(signer().follow(steps[-1], "refunded", at=at(5), transaction=REFUND))
    for before, step in itertools.pairwise(steps):
        found, statement = opened(step)
        assert statement.parents == (before.digest,)
        assert isinstance(statement.body, PaymentBody)
        assert found.captured == 70
    assert [opened(step)[0].transaction for step in steps] == [None, TRANSACTION, TRANSACTION, REFUND]
    assert [opened(step)[0].reason for step in steps] == [None, None, "payment.refuted", None]


def test_nothing_taken_has_a_reason_and_no_transaction():
    for event in ("lapsed", "failed"):
        found, _ = opened(signer().follow(charged(), event, at=at(3), reason="payment.balance"))
        assert (found.captured, found.transaction, found.reason) == (None, None, "payment.balance")


def test_credit_is_taken_and_given_back_without_a_chain():
    taken = signer().sign(document(**CREDIT), opening(), [CLOSING])
    taken = signer().follow(taken, "captured", at=at(3), captured=70)
    owed = signer().follow(taken, "refund_due", at=at(4), reason="payment.refuted")
    found, _ = opened(signer().follow(owed, "refunded", at=at(5)))
    assert (found.captured, found.transaction) == (70, None)


def test_a_private_run_shows_the_log_a_commitment_alone():
    steps = signer()
    step = steps.sign(document(), opening(settlement="private"), [CLOSING])
    later = steps.follow(step, "lapsed", at=at(3), reason="payment.unprovable")
    for each in (step, later):
        assert each.commitment_salt is not None
        assert each.entry == build_commitment(each.digest, each.commitment_salt)
        assert each.envelope not in each.entry
    assert step.commitment_salt != later.commitment_salt
    _, statement = opened(later)
    assert statement.claimed_at.second == 0


def test_a_time_never_goes_back_nor_tells_more_than_the_first_step():
    early = signer().follow(charged(), "captured", at=at(-30), captured=70, transaction=TRANSACTION)
    assert opened(early)[0].at == document().at
    minute = at(2).replace(second=0, microsecond=0)
    first = signer().sign(document(at=minute), opening(settlement="private"), [CLOSING])
    found, statement = opened(signer().follow(first, "lapsed", at=at(95), reason="payment.unproved"))
    assert found.at == statement.claimed_at == at(95).replace(second=0, microsecond=0)


def test_salts_are_drawn_anew():
    steps = signer()
    first, second = (steps.sign(document(), opening(), [CLOSING]) for _ in range(2))
    assert first.salt != second.salt
    assert sha256(first.envelope) != sha256(second.envelope)
