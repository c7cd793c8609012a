"""What one capture takes: refusals first."""

from __future__ import annotations

import pytest

from holdfast.core.collection import (
    NOTHING_DUE,
    ON_ANSWER,
    ON_PROOF,
    OVER_CAP,
    REFUTED,
    TOO_LATE,
    UNPROVABLE,
    UNPROVED,
    Claim,
    Leave,
    Margins,
    Take,
    Terms,
    Wait,
    decide,
    decides_by,
    is_spent,
    least_lifetime_s,
    serves_until,
)
from holdfast.core.x402 import EXACT, UPTO
from holdfast.errors import UsageError

MARGINS = Margins(finality_s=60, capture_s=30)
PROOF = Terms(ON_PROOF, UPTO, 1000, 10_000)
ANSWER = Terms(ON_ANSWER, UPTO, 1000, 10_000)
FINAL = Claim("final", 100, "final")


def decided(terms=PROOF, *claims, at=9_000, closed=True):
    return decide(terms, claims, MARGINS, at=at, closed=closed)


def test_a_margin_below_what_facilitators_ask_for_is_refused():
    with pytest.raises(UsageError) as refused:
        Margins(60, 5)
    assert refused.value.code == "collection.margins"


def test_nothing_is_ever_taken_for_a_refuted_run():
    refuted = Claim("wrong", 70, "refuted")
    for terms in (PROOF, ANSWER):
        assert decided(terms, refuted) == Leave(REFUTED, (("wrong", REFUTED),), ())
        assert decided(terms, refuted, FINAL) == Take(100, (("final", 100),), (("wrong", REFUTED),), ())


def test_on_proof_takes_nothing_that_is_not_final_when_it_has_to_be_decided():
    pending = Claim("slow", 70, "pending")
    assert decided(PROOF, FINAL, pending) == Wait(9_970)
    assert decided(PROOF, FINAL, pending, at=9_970) == Take(100, (("final", 100),), (("slow", UNPROVED),), ())


def test_on_proof_takes_nothing_for_a_private_run_and_does_not_wait_for_it():
    assert decided(PROOF, Claim("private", 70, "silent")) == Leave(UNPROVABLE, (("private", UNPROVABLE),), ())


def test_on_answer_asks_for_no_proof():
    claims = [Claim("slow", 70, "pending"), Claim("private", 30, "silent")]
    assert decided(ANSWER, *claims) == Take(100, (("slow", 70), ("private", 30)), (), ())


def test_nothing_is_decided_while_it_still_serves():
    assert decided(PROOF, FINAL, closed=False) == Wait(9_910)
    assert decided(PROOF, FINAL, closed=False, at=9_910) == Take(100, (("final", 100),), (), ())
    assert decided(ANSWER, FINAL, closed=False) == Wait(9_970)


def test_a_run_under_way_is_waited_for_and_then_costs_nothing():
    under_way = Claim("long", None, "pending")
    assert decided(ANSWER, FINAL, under_way) == Wait(9_970)
    assert decided(ANSWER, FINAL, under_way, at=9_970) == Take(100, (("final", 100),), (), ("long",))
    assert decided(ANSWER, under_way, at=9_970) == Leave(NOTHING_DUE, (), ("long",))


def test_after_the_deadline_everything_lapses_and_says_so():
    free = Claim("free", 0, "final")
    assert isinstance(decided(PROOF, FINAL, at=9_994), Take)
    assert decided(PROOF, FINAL, free, at=9_995) == Leave(TOO_LATE, (("final", TOO_LATE), ("free", NOTHING_DUE)), ())


def test_a_run_that_costs_nothing_lapses_without_waiting():
    assert decided(PROOF, Claim("free", 0, "pending")) == Leave(NOTHING_DUE, (("free", NOTHING_DUE),), ())
    assert decided(PROOF) == Leave(NOTHING_DUE, (), ())


def test_no_more_is_taken_than_was_signed_whoever_let_the_runs_in():
    claims = [Claim("first", 600, "final"), Claim("second", 600, "final"), Claim("third", 400, "final")]
    assert decided(PROOF, *claims) == Take(1000, (("first", 600), ("third", 400)), (("second", OVER_CAP),), ())


def test_exact_takes_all_that_was_signed_for_one_run_or_nothing():
    exact = Terms(ON_PROOF, EXACT, 1000, 10_000)
    assert decided(exact, FINAL) == Take(1000, (("final", 1000),), (), ())
    assert decided(exact, FINAL, Claim("more", 1, "final")) == Take(1000, (("final", 1000),), (("more", OVER_CAP),), ())
    assert decided(exact, Claim("free", 0, "final")) == Leave(NOTHING_DUE, (("free", NOTHING_DUE),), ())


def test_the_margins_are_the_stated_ones():
    assert (serves_until(PROOF, MARGINS), decides_by(PROOF, MARGINS)) == (9_910, 9_970)
    assert (serves_until(ANSWER, MARGINS), decides_by(ANSWER, MARGINS)) == (9_970, 9_970)
    assert (least_lifetime_s(ON_PROOF, MARGINS), least_lifetime_s(ON_ANSWER, MARGINS)) == (90, 30)


def test_the_reason_of_the_whole_is_the_gravest():
    claims = [Claim("free", 0, "final"), Claim("wrong", 5, "refuted"), Claim("private", 5, "silent")]
    assert decided(PROOF, *claims) == Leave(
        REFUTED, (("free", NOTHING_DUE), ("wrong", REFUTED), ("private", UNPROVABLE)), ()
    )


def test_an_authorization_is_spent_when_it_is_used_up_idle_out_of_time_or_for_one_run():
    serving = {"at": 9_000, "left": 1, "idle_s": 0, "most_idle_s": 90}
    assert not is_spent(PROOF, MARGINS, **serving)
    assert is_spent(PROOF, MARGINS, **serving | {"left": 0})
    assert is_spent(PROOF, MARGINS, **serving | {"idle_s": 90})
    assert is_spent(PROOF, MARGINS, **serving | {"at": 9_910})
    assert is_spent(Terms(ON_PROOF, EXACT, 1000, 10_000), MARGINS, **serving)
