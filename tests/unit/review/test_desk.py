"""What the desk does: cases move on proof, stay marked, and go back when the proof does."""

from __future__ import annotations

import datetime as dt

import pytest

from holdfast.core import canonical
from holdfast.core.bundles import build_bundle, parse_bundle
from holdfast.core.decisions import parse_decision_document
from holdfast.core.encoding import sha256_hex
from holdfast.core.statements import Execution
from holdfast.errors import HoldfastError
from holdfast.ports.case_store import CaseFilter
from holdfast.review.events import SYSTEM
from holdfast.review.intake import Opening
from holdfast.review.outbox import WaitingAct
from holdfast.verifier.appraisal import appraise
from holdfast.verifier.lanes import LANES
from holdfast.verifier.policy import DEFAULT_POLICY, parse_policy
from tests.helpers.network import RUN, Network, at
from tests.helpers.review import (
    APPROVER,
    AUDITOR,
    CONSUMER,
    OWNER,
    REVIEWER,
    SECOND,
    VIEWER,
    Clinic,
    evidence,
    policy_text,
    trust,
)
from tests.helpers.stories import RUNS, evidence_of


@pytest.fixture
def clinic() -> Clinic:
    found = Clinic()
    found.queue()
    return found


# --- evidence moves cases -------------------------------------------------------------------------------------------


def test_a_case_is_held_until_the_moment_its_proof_is_whole(clinic: Clinic) -> None:
    case = clinic.case()
    states = []
    for stage in ("asked", "answered", "logged", "settled"):
        clinic.pass_time(1)
        states.append(clinic.note(case, stage).state)
    assert states == ["HOLD", "HOLD", "HOLD", "CLEAR"]
    cleared = clinic.desk.case(SYSTEM, case).events[-1]
    assert (cleared.kind, cleared.actor.kind, cleared.cause) == ("cleared", "gate", "evidence")


def journal_until(kind: str) -> list[dict[str, object]]:
    """What is known of the run until the last item of a kind, that one included."""
    journal = Network().journal(finality=0)
    return journal[: max(place for place, item in enumerate(journal) if item["kind"] == kind) + 1]


def note_until(clinic: Clinic, case: str, kind: str) -> None:
    clinic.pass_time(1)
    clinic.desk.note_bundle(SYSTEM, case, build_bundle(RUN, clinic.now, journal_until(kind)))


def test_reasons_are_told_in_the_words_of_now_and_the_event_keeps_those_of_then(clinic: Clinic) -> None:
    case = clinic.case(stage="answered")
    held = clinic.desk.case(SYSTEM, case).events[-1]
    told = []
    for kind in ("entry", "checkpoint", "candidate", "votes"):
        note_until(clinic, case, kind)
        (reason,) = clinic.desk.cases(SYSTEM)[0].reasons
        told.append(reason.says)
    logged = "answered and logged as entry 3"
    waits = "waiting for a final round that covers execution and route."
    round_1 = "settlement is pending: in round 1, {} of 4 full nodes have voted, not yet {}, by the gateway's account; "
    assert told == [
        f"settlement is pending: {logged}; {waits}",
        f"settlement is pending: {logged}; cosigned by 4 full nodes; {waits}",
        round_1.format(0, "full-1, full-2, full-3, full-4") + f"{logged}; cosigned by 4 full nodes.",
        round_1.format(3, "full-4") + f"{logged}; cosigned by 4 full nodes.",
    ]
    assert clinic.desk.case(SYSTEM, case).view.to_json()["reasons"][0]["says"] == told[-1]
    shown = clinic.desk.hand_out(CONSUMER, "default", "shop", include_hold=True).held[0]
    assert shown.reasons[0].says == told[-1]
    assert held.body["reasons"][0]["says"] == "settlement is pending: answered; not in the log yet."
    words = [event for event in clinic.desk.case(SYSTEM, case).events if event.kind == "held"]
    assert words[-1] == held, "no event for words alone"


def test_a_reading_of_the_past_tells_the_words_of_then(clinic: Clinic) -> None:
    case = clinic.case(stage="answered")
    note_until(clinic, case, "candidate")
    clinic.desk.view(REVIEWER, case)
    seen = clinic.desk.case(SYSTEM, case).events[-1].seq
    note_until(clinic, case, "votes")
    reading = clinic.desk.reading(AUDITOR, case, seen)
    assert reading.retold
    assert reading.reasons[0].says.startswith("settlement is pending: in round 1, 0 of 4 full nodes have voted")
    assert clinic.desk.cases(SYSTEM)[0].reasons[0].says.startswith("settlement is pending: in round 1, 3 of 4")


def test_whoever_opens_a_case_has_the_evidence_before_them_named_once(clinic: Clinic) -> None:
    case = clinic.case(stage="logged")
    note_until(clinic, case, "candidate")
    before = clinic.kinds(case)
    clinic.desk.view(REVIEWER, case)
    clinic.desk.view(REVIEWER, case)
    assert clinic.kinds(case) == [*before, "appraised", "viewed", "viewed"]
    file = clinic.desk.case(SYSTEM, case)
    assert file.case.bundle == file.view.row.bundle


def test_what_is_told_of_a_recall_is_the_recall_and_not_what_was_told_before(clinic: Clinic) -> None:
    case, dependant = clinic.case(stage="settled"), clinic.case("another", "logged")
    clinic.desk.add_dependant(CONSUMER, case, dependant=dependant)
    clinic.pass_time(1)
    clinic.note(case, "refuted")
    view = next(view for view in clinic.desk.cases(SYSTEM) if view.row.case == dependant)
    assert [reason.code for reason in view.reasons] == ["gate.recalled"]


def test_a_held_case_says_why_in_the_words_of_its_lanes(clinic: Clinic) -> None:
    case = clinic.case(stage="logged")
    reasons = clinic.desk.case(SYSTEM, case).case.reasons
    assert [(reason.code, reason.lane) for reason in reasons] == [("gate.lane_state", "settlement")]
    assert "3 of 4 full nodes" in reasons[0].says


def test_the_same_evidence_again_adds_nothing(clinic: Clinic) -> None:
    case = clinic.case(stage="settled")
    before = clinic.desk.head(SYSTEM)
    for seconds in (10, 11, 500):
        clinic.note(case, "settled", seconds)
    assert clinic.desk.head(SYSTEM) == before


def test_evidence_that_was_exported_earlier_changes_nothing(clinic: Clinic) -> None:
    case = clinic.case()
    clinic.note(case, "settled", 20)
    assert clinic.note(case, "refuted", 19).state == "CLEAR"
    assert clinic.note(case, "refuted", 20).state == "RECALLED"


def test_opening_a_case_again_opens_no_second_one(clinic: Clinic) -> None:
    first = clinic.desk.open(SYSTEM, RUN, "default", subject="a loan", requester="key-9")
    before = clinic.desk.head(SYSTEM)
    again = clinic.desk.open_many(SYSTEM, [Opening(RUN, "default"), Opening(RUN, "default", "another subject")])
    assert [case.id for case in again] == [first.id, first.id]
    assert clinic.desk.head(SYSTEM) == before
    assert clinic.desk.open(SYSTEM, RUN, "another").id != first.id


def test_two_openings_of_one_run_in_one_go_open_one_case(clinic: Clinic) -> None:
    first, second = clinic.desk.open_many(SYSTEM, [Opening(RUN, "default"), Opening(RUN, "default")])
    assert first.id == second.id


def test_a_queue_that_nobody_wrote_a_policy_for_refuses_and_says_so(clinic: Clinic) -> None:
    case = clinic.case("nobody-knows", "settled")
    assert clinic.state(case) == "HOLD"
    assert clinic.reasons(case) == ["gate.policy_empty"]
    (queue,) = [queue for queue in clinic.desk.queues(SYSTEM) if queue.name == "nobody-knows"]
    assert not queue.authored
    assert queue.counts == {"HOLD": 1}


def test_without_trust_nothing_is_let_through(clinic: Clinic) -> None:
    clinic.trusted = None
    case = clinic.case(stage="settled")
    assert clinic.state(case) == "HOLD"
    clinic.trusted = trust()
    assert clinic.desk.tick().moved == ((case, "HOLD", "CLEAR"),)


def test_evidence_is_kept_while_an_event_names_it_or_it_is_the_newest(clinic: Clinic) -> None:
    case = clinic.case()
    journal = Network().journal(finality=0)
    votes = next(item for item in journal if item["kind"] == "votes")
    raws = []
    for number in (3, 2, 1, 0):  # the same lanes, told in other words
        counted = votes | {"voters": votes["voters"][:number]}
        items = [counted if item is votes else item for item in journal]
        raws.append(build_bundle(RUN, at(20 - number), items))
        clinic.desk.note_bundle(SYSTEM, case, raws[-1])
    cited = clinic.desk.case(SYSTEM, case).case.cited
    with clinic.store.read() as reader:
        kept = [reader.blob(case, sha256_hex(raw)) is not None for raw in raws]
        row = reader.row(case)
    assert sha256_hex(raws[0]) in cited
    assert kept == [True, False, False, True]
    assert row is not None
    assert row.bundle == sha256_hex(raws[3])
    shown = clinic.desk.cases(SYSTEM)[0].lanes["settlement"].says
    assert "0 of 4 full nodes" in shown


# --- time -----------------------------------------------------------------------------------------------------------


def test_a_clearance_runs_out_and_the_case_is_held_again(clinic: Clinic) -> None:
    clinic.queue(max_age_s=600)
    case = clinic.case(stage="settled")
    until = clinic.desk.case(SYSTEM, case).case.clear_until
    assert until is not None
    clinic.pass_time((until - clinic.now).total_seconds() - 0.001)
    assert clinic.desk.tick().seen == 0
    clinic.pass_time(0.001)
    assert clinic.desk.tick().moved == ((case, "CLEAR", "HOLD"),)
    assert clinic.reasons(case) == ["gate.lane_age"]


def test_freshness_applies_again_at_the_moment_of_handing_out(clinic: Clinic) -> None:
    clinic.queue(max_age_s=600)
    case = clinic.case(stage="settled")
    clinic.pass_time(700)  # and no turn was taken
    assert clinic.desk.hand_out(CONSUMER, "default", "shop").handed is None
    assert clinic.state(case) == "HOLD"


def test_trust_that_runs_out_holds_what_it_let_through(clinic: Clinic) -> None:
    clinic.trusted = Network(expires_at=at(5000)).trust()
    case = clinic.case(stage="settled")
    clinic.pass_time(5000)
    assert clinic.desk.tick().moved == ((case, "CLEAR", "HOLD"),)


def test_the_journal_does_not_go_back_when_the_clock_does(clinic: Clinic) -> None:
    case = clinic.case(stage="asked")
    clinic.pass_time(-3600)
    clinic.desk.comment(REVIEWER, case, "what time is it?")
    times = [event.at for event in clinic.desk.case(SYSTEM, case).events]
    assert times == sorted(times)


# --- people ---------------------------------------------------------------------------------------------------------


def test_opening_a_case_says_who_had_which_lanes_and_policy_before_them(clinic: Clinic) -> None:
    case = clinic.case(stage="logged")
    found = clinic.desk.view(VIEWER, case)
    assert found.bundle == evidence("logged")
    viewed = found.events[-1]
    assert (viewed.kind, viewed.actor.id) == ("viewed", "vera")
    assert (viewed.lanes, viewed.policy) == (found.view.row.vector, found.policy.digest)
    document = clinic.desk.lanes_then(REVIEWER, case, viewed.lanes or "")
    assert sha256_hex(document) == viewed.lanes
    assert canonical.decode(document)["lanes"]["settlement"]["state"] == "pending"


def test_two_people_and_the_proof_clear_what_asks_for_both(clinic: Clinic) -> None:
    clinic.queue(reviewers=2)
    case = clinic.case(stage="logged")
    assert clinic.approve(case).state == "HOLD"
    clinic.pass_time(1)
    clinic.note(case, "settled")
    assert clinic.reasons(case) == ["gate.reviewers"]
    assert clinic.approve(case, SECOND).state == "CLEAR"
    decided = [event for event in clinic.desk.case(SYSTEM, case).events if event.kind == "decided"]
    assert decided[0].lanes != decided[1].lanes


def test_a_rejection_ends_it_until_somebody_reopens(clinic: Clinic) -> None:
    case = clinic.case(stage="asked")
    clinic.desk.view(REVIEWER, case)
    assert clinic.desk.decide(REVIEWER, case, "reject", reason="not as agreed").state == "REJECTED"
    clinic.pass_time(1)
    assert clinic.note(case, "settled").state == "REJECTED"
    clinic.desk.view(APPROVER, case)
    assert clinic.desk.reopen(APPROVER, case, reason="a mistake").state == "CLEAR"


def test_a_claim_is_renewed_given_back_and_runs_out(clinic: Clinic) -> None:
    case = clinic.case(stage="asked")
    first = clinic.desk.claim(REVIEWER, case, lease_s=60)
    clinic.pass_time(30)
    renewed = clinic.desk.claim(REVIEWER, case, lease_s=60)
    assert (first.claimed_until or at(0)) < (renewed.claimed_until or at(0))
    assert clinic.desk.let_go(SECOND, case).claimed_by == "rita"
    assert clinic.desk.let_go(REVIEWER, case).claimed_by is None
    assert clinic.desk.let_go(REVIEWER, case).claimed_by is None
    assert clinic.kinds(case).count("let_go") == 1
    shown = clinic.desk.cases(REVIEWER, CaseFilter(claimed_by="rita"))
    assert shown == []


def test_roles_are_those_of_the_moment() -> None:
    clinic = Clinic(roles=True)
    clinic.queue()
    case = clinic.case(stage="asked")
    clinic.held["rita"] = {"reviewer"}
    clinic.desk.view(REVIEWER, case)
    assert clinic.desk.decide(REVIEWER, case, "approve", reason="fine").decisions[0].role == "reviewer"


# --- early release --------------------------------------------------------------------------------------------------


def test_an_early_release_that_is_proved_is_clear_and_marked_for_good(clinic: Clinic) -> None:
    case = clinic.case(stage="logged")
    released = clinic.release(case)
    assert (released.state, released.released_early) == ("PROVISIONAL", True)
    clinic.pass_time(1)
    assert clinic.note(case, "settled").state == "CLEAR"
    (view,) = clinic.desk.cases(SYSTEM)
    assert view.row.released_early == 1
    assert view.to_json()["released_early"] is True


def test_an_early_release_that_is_refuted_is_recalled_with_everything_that_relied_on_it(clinic: Clinic) -> None:
    case, other = clinic.case(stage="logged"), clinic.case("another")
    clinic.release(case)
    clinic.desk.add_dependant(CONSUMER, case, dependant=other)
    clinic.pass_time(1)
    assert clinic.note(case, "refuted").state == "RECALLED"
    assert clinic.state(other) == "RECALLED"


def test_an_early_release_that_runs_out_is_held_and_flags_what_relied_on_it(clinic: Clinic) -> None:
    case, other, third = clinic.case(stage="logged"), clinic.case("another"), clinic.case("third")
    clinic.release(case, 60)
    clinic.desk.add_dependant(CONSUMER, case, dependant=other)
    clinic.desk.add_dependant(CONSUMER, other, dependant=third)
    clinic.pass_time(60)
    assert clinic.desk.tick().moved == ((case, "PROVISIONAL", "HOLD"),)
    assert "gate.release_over" in clinic.reasons(case)
    for dependant in (other, third):
        found = clinic.desk.case(SYSTEM, dependant)
        assert found.case.flags == (case,)
        assert found.view.row.flags == 1
        assert found.case.state == "HOLD"
    assert clinic.desk.case(SYSTEM, case).case.released_early


def test_rejecting_what_was_let_through_flags_what_relied_on_it(clinic: Clinic) -> None:
    case, other = clinic.case(stage="settled"), clinic.case("another")
    clinic.desk.add_dependant(CONSUMER, case, dependant=other)
    clinic.desk.view(REVIEWER, case)
    assert clinic.desk.decide(REVIEWER, case, "reject", reason="not as agreed").state == "REJECTED"
    assert clinic.desk.case(SYSTEM, other).case.flags == (case,)


def test_an_early_release_that_ran_out_still_clears_when_its_proof_comes(clinic: Clinic) -> None:
    case = clinic.case(stage="logged")
    clinic.release(case, 60)
    clinic.pass_time(61)
    clinic.desk.tick()
    assert clinic.note(case, "settled").state == "CLEAR"


# --- handing out ----------------------------------------------------------------------------------------------------


def test_the_same_case_is_not_handed_to_two_consumers(clinic: Clinic) -> None:
    clinic.case(stage="settled")
    first = clinic.desk.hand_out(CONSUMER, "default", "shop").handed
    assert first is not None
    assert first.bundle == evidence("settled")
    assert clinic.desk.hand_out(CONSUMER, "default", "bank").handed is None


def test_a_lease_that_ran_out_frees_the_case_under_the_same_key(clinic: Clinic) -> None:
    case = clinic.case(stage="settled")
    first = clinic.desk.hand_out(CONSUMER, "default", "shop", lease_s=60).handed
    clinic.pass_time(60)
    second = clinic.desk.hand_out(CONSUMER, "default", "bank", lease_s=60).handed
    assert first is not None
    assert second is not None
    assert (second.key, second.consumer) == (first.key, "bank")
    assert clinic.desk.acknowledge(CONSUMER, case, "bank", second.key).handed_over_at is not None


def test_a_case_that_was_given_back_is_free_at_once(clinic: Clinic) -> None:
    case = clinic.case(stage="settled")
    first = clinic.desk.hand_out(CONSUMER, "default", "shop").handed
    assert first is not None
    clinic.desk.give_back(CONSUMER, case, "shop", first.key)
    assert clinic.desk.hand_out(CONSUMER, "default", "bank").handed is not None


def test_an_acknowledged_case_is_handed_over_once(clinic: Clinic) -> None:
    case = clinic.case(stage="settled")
    handed = clinic.desk.hand_out(CONSUMER, "default", "shop").handed
    assert handed is not None
    for _ in range(2):
        clinic.desk.acknowledge(CONSUMER, case, "shop", handed.key)
    assert clinic.kinds(case).count("handed_over") == 1
    clinic.pass_time(3600)
    assert clinic.desk.hand_out(CONSUMER, "default", "shop").handed is None


def test_a_consumer_that_is_done_after_a_recall_is_told_of_it(clinic: Clinic) -> None:
    case = clinic.case(stage="settled")
    handed = clinic.desk.hand_out(CONSUMER, "default", "shop").handed
    assert handed is not None
    clinic.pass_time(1)
    clinic.note(case, "refuted")
    found = clinic.desk.acknowledge(CONSUMER, case, "shop", handed.key)
    assert (found.state, found.handed_over_at is not None) == ("RECALLED", True)


def test_what_was_reopened_and_clears_again_is_handed_out_under_another_key(clinic: Clinic) -> None:
    case = clinic.case(stage="settled")
    first = clinic.desk.hand_out(CONSUMER, "default", "shop").handed
    assert first is not None
    clinic.desk.acknowledge(CONSUMER, case, "shop", first.key)
    clinic.pass_time(1)
    clinic.note(case, "refuted")
    clinic.desk.view(APPROVER, case)
    clinic.desk.reopen(APPROVER, case, reason="the round was overturned")
    clinic.pass_time(1)
    clinic.note(case, "settled")
    second = clinic.desk.hand_out(CONSUMER, "default", "shop").handed
    assert second is not None
    assert second.key != first.key


def test_held_cases_are_shown_apart_and_only_when_asked_for(clinic: Clinic) -> None:
    clear = clinic.case(stage="settled")
    held = [clinic.case("another"), clinic.desk.open(SYSTEM, "01900000-0000-7000-8000-000000000001", "default").id]
    first = clinic.desk.hand_out(CONSUMER, "default", "shop", include_hold=True)
    assert first.handed is not None
    assert first.handed.view.row.case == clear
    assert [view.row.case for view in first.held] == [held[1]]
    assert clinic.desk.hand_out(CONSUMER, "default", "shop").held == ()


def test_the_oldest_comes_first_and_a_released_one_says_what_it_is(clinic: Clinic) -> None:
    case = clinic.case(stage="logged")
    clinic.release(case)
    handed = clinic.desk.hand_out(CONSUMER, "default", "shop").handed
    assert handed is not None
    assert handed.view.to_json()["state"] == "PROVISIONAL"


# --- policies -------------------------------------------------------------------------------------------------------


def test_a_stricter_policy_holds_in_the_same_transaction_what_the_old_one_let_through(clinic: Clinic) -> None:
    case = clinic.case(stage="settled")
    text = policy_text(reviewers=1)
    told = clinic.desk.what_if(VIEWER, "default", text)
    assert clinic.state(case) == "CLEAR"
    done = clinic.desk.change_policy(OWNER, "default", text)
    assert told.moves == done.moves
    (move,) = done.moves
    assert (move.case, move.before, move.after) == (case, "CLEAR", "HOLD")
    assert [reason.code for reason in move.reasons] == ["gate.reviewers"]
    assert (told.seen, told.left, done.seen, done.left) == (1, 0, 1, 0)


def test_a_policy_for_a_queue_that_had_none_clears_what_waited(clinic: Clinic) -> None:
    case = clinic.case("another", "settled")
    moves = clinic.desk.change_policy(OWNER, "another", policy_text("another")).moves
    assert [(move.before, move.after) for move in moves] == [("HOLD", "CLEAR")]
    assert clinic.state(case) == "CLEAR"


def test_the_same_policy_again_adds_nothing(clinic: Clinic) -> None:
    before = clinic.desk.head(SYSTEM)
    clinic.desk.change_policy(OWNER, "default", "# a comment changes nothing\n" + policy_text())
    assert clinic.desk.head(SYSTEM) == before


def test_an_approval_under_another_policy_does_not_count(clinic: Clinic) -> None:
    clinic.queue(reviewers=1)
    case = clinic.case(stage="settled")
    assert clinic.approve(case).state == "CLEAR"
    clinic.queue(reviewers=1, max_age_s=86_400)
    assert clinic.reasons(case) == ["gate.reviewers"]
    assert clinic.approve(case).state == "CLEAR"


def test_a_case_that_was_handed_over_keeps_its_policy(clinic: Clinic) -> None:
    case = clinic.case(stage="settled")
    handed = clinic.desk.hand_out(CONSUMER, "default", "shop").handed
    assert handed is not None
    clinic.desk.acknowledge(CONSUMER, case, "shop", handed.key)
    assert clinic.desk.change_policy(OWNER, "default", policy_text(reviewers=1)).moves == ()
    clinic.desk.tick()
    assert clinic.state(case) == "CLEAR"


def test_held_cases_beyond_what_one_change_looks_at_follow_in_the_next_turns(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.review.desk.MAX_LOOKED_AT", 1)
    runs = [f"01900000-0000-7000-8000-{number:012d}" for number in range(3)]
    cases = [clinic.desk.open(SYSTEM, run, "default").id for run in runs]
    done = clinic.desk.change_policy(OWNER, "default", policy_text(reviewers=1))
    assert (done.seen, done.left) == (1, 2)
    assert clinic.desk.tick(limit=1).more
    clinic.desk.tick()
    assert {clinic.desk.case(SYSTEM, case).case.policy for case in cases} == {done.digest}


# --- evidence of many runs ------------------------------------------------------------------------------------------


def test_evidence_of_many_runs_is_taken_in_together_and_a_bad_bundle_stops_no_other(clinic: Clinic) -> None:
    first, other = RUNS[0], RUNS[1]
    cases = [clinic.desk.open(SYSTEM, run, "default").id for run in RUNS]
    clinic.pass_time(10)
    taken = clinic.desk.take_in(
        SYSTEM,
        [
            (first, evidence_of(first, "settled", 20.0)),
            (other, b"no bundle"),
            (other, evidence_of(first, "settled", 20.0)),
            (RUNS[2], evidence_of(RUNS[2], "logged", 20.0)),
            ("019b7651-c000-7000-8000-0123456789ff", evidence_of(first, "settled", 20.0)),
        ],
    )
    assert [(item.pending, item.trouble and item.trouble.code) for item in taken] == [
        ((), None),
        ((), "json.syntax"),
        ((), "case.other_run"),
        (("settlement",), None),
        ((), "case.other_run"),
    ]
    assert [clinic.state(case) for case in cases] == ["CLEAR", "HOLD", "HOLD"]
    ats = {event.at for event in clinic.store_events()[-3:]}
    assert len(ats) == 1


def test_evidence_that_was_exported_earlier_changes_nothing_however_it_comes(clinic: Clinic) -> None:
    case = clinic.desk.open(SYSTEM, RUNS[0], "default").id
    clinic.pass_time(10)
    clinic.desk.take_in(SYSTEM, [(RUNS[0], evidence_of(RUNS[0], "settled", 20.0))])
    head = clinic.desk.head(SYSTEM)
    clinic.desk.take_in(SYSTEM, [(RUNS[0], evidence_of(RUNS[0], "refuted", 19.0))])
    assert (clinic.state(case), clinic.desk.head(SYSTEM)) == ("CLEAR", head)


def test_the_next_transaction_goes_by_the_journal_and_not_by_what_one_that_failed_left(clinic: Clinic) -> None:
    """Cases are kept folded between transactions; what was never committed is not."""
    case = clinic.case(stage="settled")
    with pytest.raises(HoldfastError):
        clinic.desk.reopen(APPROVER, case, reason="it is not recalled")
    clinic.desk.comment(REVIEWER, case, "still here")
    assert clinic.desk.audit(AUDITOR).faults == ()
    assert clinic.reopen().case(SYSTEM, case).case == clinic.desk.case(SYSTEM, case).case


# --- two desks ------------------------------------------------------------------------------------------------------


def test_a_claimed_case_is_not_handed_out_until_the_claim_ends(clinic: Clinic) -> None:
    case = clinic.case(stage="settled")
    clinic.desk.claim(REVIEWER, case, lease_s=600)
    assert clinic.desk.hand_out(CONSUMER, "default", "shop").handed is None
    clinic.pass_time(600)
    handed = clinic.desk.hand_out(CONSUMER, "default", "shop").handed
    assert handed is not None
    assert handed.view.row.case == case


def test_a_claim_that_is_given_back_lets_the_case_be_handed_out(clinic: Clinic) -> None:
    case = clinic.case(stage="settled")
    clinic.desk.claim(REVIEWER, case)
    clinic.desk.let_go(REVIEWER, case)
    assert clinic.desk.hand_out(CONSUMER, "default", "shop").handed is not None


def test_a_claimed_case_does_not_stand_in_the_way_of_the_next_one(clinic: Clinic) -> None:
    clinic.desk.claim(REVIEWER, clinic.case(stage="settled"))
    run = "01900000-0000-7000-8000-000000000001"
    clinic.desk.open(SYSTEM, run, "default")
    assert clinic.desk.hand_out(CONSUMER, "default", "shop").handed is None


def test_a_handed_out_case_can_be_claimed_and_decided_once_its_lease_is_over(clinic: Clinic) -> None:
    case = clinic.case(stage="settled")
    assert clinic.desk.hand_out(CONSUMER, "default", "shop", lease_s=60).handed is not None
    clinic.pass_time(60)
    assert clinic.desk.claim(SECOND, case).claimed_by == SECOND.id
    clinic.desk.view(SECOND, case)
    assert clinic.desk.decide(SECOND, case, "reject", reason="not this one").state == "REJECTED"


# --- recalls --------------------------------------------------------------------------------------------------------


def test_a_revoked_key_recalls_what_stood_on_it(clinic: Clinic) -> None:
    case = clinic.case(stage="settled")
    network, moment = Network(), "2025-12-31T00:00:00.000Z"
    nodes = canonical.decode(network.trust_version())["nodes"]
    nodes[0]["revoked"] = {"at": moment, "suspect_since": moment, "reason": "stolen"}
    clinic.trusted = network.trust(nodes=nodes)
    (recalled,) = clinic.desk.tick().recalled
    assert recalled.cases == (case,)


def test_a_recall_by_evidence_reaches_those_that_relied_on_it_and_no_other(clinic: Clinic) -> None:
    relied, other = clinic.case(stage="settled"), clinic.case("another", "settled")
    digest = clinic.desk.cases(SYSTEM)[0].lanes["settlement"].evidence[0]
    found = clinic.desk.recall(APPROVER, digest, "the log was split.")
    assert found.cases == (relied,)
    assert clinic.state(other) == "HOLD"
    reasons = clinic.desk.case(SYSTEM, relied).case.reasons
    assert [reason.says for reason in reasons] == ["Recalled: the log was split."]
    assert clinic.desk.recall(APPROVER, digest, "again").cases == ()


def test_a_recall_goes_round_in_circles_once_and_tells_who_is_outside(clinic: Clinic) -> None:
    cases = [clinic.case(stage="settled"), *(clinic.case(f"queue-{number}") for number in range(3))]
    for base, dependant in zip(cases, [*cases[1:], cases[0]], strict=True):
        clinic.desk.add_dependant(CONSUMER, base, dependant=dependant)
    clinic.desk.add_dependant(CONSUMER, cases[2], reference="order 7")
    digest = clinic.desk.cases(SYSTEM, CaseFilter(queue="default"))[0].lanes["bytes"].evidence[0]
    found = clinic.desk.recall(APPROVER, digest, "stolen key")
    assert found.cases == tuple(cases)
    assert found.references == ((cases[2], "order 7"),)
    assert {clinic.state(case) for case in cases} == {"RECALLED"}
    assert all(clinic.kinds(case).count("recalled") == 1 for case in cases)


def test_what_is_added_to_a_recalled_case_is_recalled(clinic: Clinic) -> None:
    base, other, third = clinic.case(stage="settled"), clinic.case("another"), clinic.case("third")
    clinic.desk.add_dependant(CONSUMER, other, dependant=third)
    clinic.pass_time(1)
    clinic.note(base, "refuted")
    clinic.desk.add_dependant(CONSUMER, base, dependant=other)
    assert [clinic.state(case) for case in (other, third)] == ["RECALLED", "RECALLED"]


def test_a_recall_is_for_good_until_somebody_reopens(clinic: Clinic) -> None:
    case = clinic.case(stage="settled")
    clinic.pass_time(1)
    clinic.note(case, "refuted")
    clinic.pass_time(1)
    assert clinic.note(case, "settled").state == "RECALLED"
    clinic.desk.view(APPROVER, case)
    assert clinic.desk.reopen(APPROVER, case, reason="the round was overturned").state == "CLEAR"


def test_after_reopening_only_what_is_relied_on_now_recalls(clinic: Clinic) -> None:
    case = clinic.case(stage="settled")
    digest = clinic.desk.cases(SYSTEM)[0].lanes["settlement"].evidence[-1]
    clinic.desk.recall(APPROVER, digest, "stolen key")
    clinic.pass_time(1)
    clinic.note(case, "answered")
    clinic.desk.view(APPROVER, case)
    clinic.desk.reopen(APPROVER, case, reason="again")
    clinic.release(case)
    assert clinic.desk.recall(APPROVER, digest, "stolen key").cases == ()
    assert clinic.state(case) == "PROVISIONAL"


# --- decisions on their way into the log ----------------------------------------------------------------------------


class Log:
    """A decision log that takes acts while it is ``up``."""

    def __init__(self) -> None:
        self.up = True
        self.acts: list[WaitingAct] = []

    def record(self, act: WaitingAct) -> str | None:
        if not self.up:
            return None
        self.acts.append(act)
        return act.event


def test_every_act_waits_until_a_statement_stands_for_it(clinic: Clinic) -> None:
    log, case = Log(), clinic.case(stage="logged")
    clinic.approve(case)
    clinic.release(case)
    other = clinic.case("another")
    clinic.desk.add_dependant(CONSUMER, case, dependant=other)
    clinic.pass_time(1)
    clinic.note(case, "refuted")
    log.up = False
    assert clinic.desk.log_decisions(log) == 0
    log.up = True
    assert clinic.desk.log_decisions(log, limit=2) == 2
    clinic.reopen()
    assert clinic.desk.log_decisions(log) == 1
    assert clinic.desk.log_decisions(log) == 0
    documents = [parse_decision_document(act.document) for act in log.acts]
    assert [document.act for document in documents] == ["approve", "release", "recall"]
    assert [document.person for document in documents] == ["rita", "ada", None]
    assert documents[1].until is not None
    assert log.acts[2].cases == (case, other)
    assert log.acts[0].cases == ()
    logged = [event for event in clinic.desk.case(SYSTEM, case).events if event.kind == "statement_logged"]
    assert [event.body["statement"] for event in logged] == [act.event for act in log.acts]


def test_a_decision_document_says_by_which_rule(clinic: Clinic) -> None:
    clinic.queue(reviewers=1)
    case = clinic.case(stage="settled", requester="key-9")
    clinic.approve(case)
    (act,) = clinic.desk.waiting()
    document = parse_decision_document(act.document)
    assert (document.rule, document.threshold, document.role) == ("pay what was agreed", None, "reviewer")
    assert (document.case, document.run, document.queue, document.reason) == (case, RUN, "default", "it is as agreed")
    assert act.bundle is not None
    closing = [
        entry.item.statement  # type: ignore[union-attr]
        for entry in parse_bundle(act.bundle).journal
        if isinstance(getattr(getattr(entry.item, "statement", None), "body", None), Execution)
    ]
    assert len(closing) == 1


def test_an_act_is_logged_again_when_the_process_ended_in_between(clinic: Clinic) -> None:
    case = clinic.case(stage="asked")
    clinic.approve(case)
    (act,) = clinic.desk.waiting()
    again = clinic.reopen().waiting()
    assert again == [act]
    for _ in range(2):
        clinic.desk.note_statement(act.seq, "a" * 64)
    clinic.desk.note_statement(10_000, "a" * 64)
    assert clinic.kinds(case).count("statement_logged") == 1


# --- lists ----------------------------------------------------------------------------------------------------------


def test_pages_follow_on_one_another(clinic: Clinic) -> None:
    runs = [f"01900000-0000-7000-8000-{number:012d}" for number in range(5)]
    cases = [case.id for case in clinic.desk.open_many(SYSTEM, [Opening(run, "default") for run in runs])]
    found: list[str] = []
    after = None
    while page := clinic.desk.cases(SYSTEM, CaseFilter(after=after, limit=2)):
        found += [view.row.case for view in page]
        after = page[-1].row.opened_seq
    assert found == cases


def test_a_list_shows_each_lane_by_itself(clinic: Clinic) -> None:
    clinic.case(stage="logged", subject="a loan", requester="key-9")
    (view,) = clinic.desk.cases(VIEWER)
    shown = view.to_json()
    assert list(shown["lanes"]) == list(LANES)
    assert len(shown["lanes"]) == 11
    assert shown["lanes"]["settlement"]["state"] == "pending"
    assert (shown["state"], shown["queue"], shown["subject"]) == ("HOLD", "default", "a loan")
    assert shown["reasons"][0]["lane"] == "settlement"
    assert clinic.now - dt.timedelta(days=1) < at(10)


def test_a_case_tells_of_every_hop_what_its_appraisal_told(clinic: Clinic) -> None:
    case = clinic.case(stage="settled")
    found = appraise(parse_bundle(evidence("settled")), trust(), parse_policy(DEFAULT_POLICY), clinic.now)
    assert found.lanes["privacy"].hops
    assert clinic.desk.case(SYSTEM, case).view.lanes["privacy"] == found.lanes["privacy"]
    (listed,) = clinic.desk.cases(SYSTEM, CaseFilter())
    assert listed.lanes["privacy"].hops == found.lanes["privacy"].hops
