"""What a capture takes, over any runs at any time: never above what was signed, never for what is refuted, each run
once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.collection import (
    LAPSES,
    ON_ANSWER,
    ON_PROOF,
    Claim,
    Leave,
    Margins,
    Take,
    Terms,
    Wait,
    decide,
    decides_by,
    serves_until,
)
from holdfast.core.x402 import DEADLINE_MARGIN_S, EXACT, UPTO

MARGINS = st.builds(Margins, st.integers(0, 1000), st.integers(DEADLINE_MARGIN_S, 500))
TERMS = st.builds(
    Terms, st.sampled_from([ON_ANSWER, ON_PROOF]), st.sampled_from([EXACT, UPTO]), st.integers(0, 500), st.just(10_000)
)
STANDINGS = st.sampled_from(["pending", "final", "refuted", "silent"])
CLAIMS = st.lists(st.tuples(st.none() | st.integers(0, 200), STANDINGS), max_size=6).map(
    lambda found: [Claim(f"run {number}", charge, standing) for number, (charge, standing) in enumerate(found)]
)


@given(TERMS, CLAIMS, MARGINS, st.integers(7_000, 11_000), st.booleans())
def test_each_run_is_taken_once_or_lapses_once_and_says_why(terms, claims, margins, at, closed):
    found = decide(terms, claims, margins, at=at, closed=closed)
    if isinstance(found, Wait):
        assert at < found.until <= decides_by(terms, margins)
        return
    taken = dict(found.taken) if isinstance(found, Take) else {}
    lapsed = dict(found.lapsed)
    assert sorted([*taken, *lapsed, *found.cut_off]) == sorted(claim.run for claim in claims)
    assert set(lapsed.values()) <= set(LAPSES)
    assert set(found.cut_off) == {claim.run for claim in claims if claim.charge is None}


@given(TERMS, CLAIMS, MARGINS, st.integers(7_000, 11_000), st.booleans())
def test_nothing_is_taken_above_the_cap_nor_for_a_refuted_run_nor_unproved_on_proof(terms, claims, margins, at, closed):
    found = decide(terms, claims, margins, at=at, closed=closed)
    if not isinstance(found, Take):
        return
    by_run = {claim.run: claim for claim in claims}
    assert found.amount == sum(amount for _, amount in found.taken) <= terms.cap
    assert at <= terms.deadline - DEADLINE_MARGIN_S
    for run, amount in found.taken:
        claim = by_run[run]
        assert claim.charge
        assert claim.standing != "refuted"
        assert terms.timing == ON_ANSWER or claim.standing == "final"
        assert amount == (terms.cap if terms.scheme == EXACT else claim.charge)
    assert terms.scheme != EXACT or len(found.taken) == 1


@given(TERMS, CLAIMS, MARGINS, st.integers(7_000, 11_000))
def test_what_is_final_and_fits_is_taken_whatever_else_lapses(terms, claims, margins, at):
    found = decide(terms, claims, margins, at=at, closed=True)
    if not isinstance(found, Leave) or at > terms.deadline - DEADLINE_MARGIN_S:
        return
    for claim in claims:
        good = claim.standing == "final" or (terms.timing == ON_ANSWER and claim.standing != "refuted")
        cost = terms.cap if terms.scheme == EXACT else claim.charge
        assert not claim.charge or not good or cost > terms.cap


@given(TERMS, CLAIMS, MARGINS, st.integers(0, 20_000), st.booleans())
def test_a_decision_is_due_when_its_time_has_come_and_not_before(terms, claims, margins, at, closed):
    found = decide(terms, claims, margins, at=at, closed=closed)
    if at >= decides_by(terms, margins):
        assert not isinstance(found, Wait)
    elif not closed and at < serves_until(terms, margins):
        assert found == Wait(serves_until(terms, margins))


@given(TERMS, CLAIMS, MARGINS, st.integers(0, 20_000))
def test_waiting_ends_by_itself(terms, claims, margins, at):
    """Whoever looks again at the time that is named gets on."""
    for _ in range(3):
        found = decide(terms, claims, margins, at=at, closed=False)
        if not isinstance(found, Wait):
            return
        at = found.until
    raise AssertionError("still waiting")
