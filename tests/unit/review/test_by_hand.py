"""Opening a case by hand, and asking what a recall would reach: who may, and that asking moves nothing."""

from __future__ import annotations

import pytest

from holdfast.errors import HoldfastError, MalformedError, RefusedError, UsageError
from holdfast.review.events import SYSTEM, Actor
from tests.helpers.network import RUN
from tests.helpers.review import APPROVER, AUDITOR, CONSUMER, OWNER, REVIEWER, VIEWER, Clinic, policy_text

INTAKE = Actor("key", "key-9", frozenset({"case:open"}))
NOBODY_ELSE = (VIEWER, AUDITOR, OWNER, CONSUMER, Actor("key", "k", frozenset({"case:read", "case:decide"})))


@pytest.fixture
def clinic() -> Clinic:
    found = Clinic()
    found.queue()
    return found


def events(clinic: Clinic) -> int:
    return clinic.desk.head(SYSTEM).seq


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("actor", NOBODY_ELSE)
def test_nobody_else_opens_a_case(clinic: Clinic, actor: Actor) -> None:
    before = events(clinic)
    with pytest.raises(RefusedError) as refused:
        clinic.desk.open_by_hand(actor, RUN, "default")
    assert refused.value.code == "case.role"
    assert events(clinic) == before


@pytest.mark.parametrize(
    ("run", "queue", "subject", "code"),
    [
        (RUN, "nothing", None, "queue.unknown"),
        (RUN, "The Queue", None, "queue.unknown"),
        ("x", "default", None, "case.run"),
        (RUN, "default", "", "case.text"),
        (RUN, "default", "a" * 4001, "case.text"),
        (RUN, "default", "a\x00", "case.text"),
    ],
)
def test_what_makes_no_sense_opens_nothing(
    clinic: Clinic, run: str, queue: str, subject: str | None, code: str
) -> None:
    before = events(clinic)
    with pytest.raises(HoldfastError) as refused:
        clinic.desk.open_by_hand(REVIEWER, run, queue, subject=subject)
    assert refused.value.code == code
    assert events(clinic) == before


@pytest.mark.parametrize("actor", [REVIEWER, VIEWER, AUDITOR, OWNER, CONSUMER, INTAKE])
def test_only_who_may_recall_is_told_what_a_recall_would_reach(clinic: Clinic, actor: Actor) -> None:
    with pytest.raises(RefusedError) as refused:
        clinic.desk.plan_recall(actor, "00" * 32)
    assert refused.value.code == "case.role"


@pytest.mark.parametrize("evidence", ["", "00", "0" * 63, "Z" * 64, "A" * 64])
def test_evidence_is_named_by_its_digest(clinic: Clinic, evidence: str) -> None:
    with pytest.raises(MalformedError):
        clinic.desk.plan_recall(APPROVER, evidence)


@pytest.mark.parametrize("opener", [REVIEWER, APPROVER])
def test_whoever_opens_a_case_of_an_unknown_asker_does_not_decide_it(clinic: Clinic, opener: Actor) -> None:
    case, new = clinic.desk.open_by_hand(opener, RUN, "default")
    assert (new, case.requester) == (True, opener.id)
    clinic.note(case.id, "answered")
    clinic.desk.view(opener, case.id)
    with pytest.raises(RefusedError) as refused:
        clinic.desk.decide(opener, case.id, "reject", reason="no")
    assert refused.value.code == "case.own_run"
    clinic.desk.view(Actor("person", "cleo", frozenset({"reviewer"})), case.id)


def test_a_person_whose_key_opened_a_case_does_not_decide_it(clinic: Clinic) -> None:
    case, _ = clinic.desk.open_by_hand(INTAKE, RUN, "default")
    owner = Actor("person", "rita", frozenset({"reviewer"}), frozenset({INTAKE.id}))
    clinic.desk.view(owner, case.id)
    with pytest.raises(RefusedError) as refused:
        clinic.desk.decide(owner, case.id, "reject", reason="no")
    assert refused.value.code == "case.own_run"


# --- what it does ---------------------------------------------------------------------------------------------------


def test_who_asked_is_taken_from_the_runs_other_cases(clinic: Clinic) -> None:
    clinic.queue("payments")
    clinic.desk.open(SYSTEM, RUN, "payments", requester="rita")
    case, _ = clinic.desk.open_by_hand(APPROVER, RUN, "default")
    assert case.requester == "rita"


def test_opening_again_gives_the_case_that_is_there(clinic: Clinic) -> None:
    first, new = clinic.desk.open_by_hand(REVIEWER, RUN, "default", subject="invoice 2207")
    before = events(clinic)
    again, newer = clinic.desk.open_by_hand(APPROVER, RUN, "default", subject="another")
    assert (again.id, new, newer, events(clinic)) == (first.id, True, False, before)
    (opened, *_) = clinic.desk.case(SYSTEM, first.id).events
    assert opened.actor.to_json() == {"kind": "person", "id": "rita"}
    assert opened.body["subject"] == "invoice 2207"
    assert clinic.desk.audit(SYSTEM).faults == ()


def test_a_plan_reaches_what_the_recall_then_reaches_and_moves_nothing(clinic: Clinic) -> None:
    for name in ("second", "third"):
        clinic.queue(name)
    base, leaning, far = clinic.case(stage="settled"), clinic.case("second", stage="answered"), clinic.case("third")
    clinic.desk.add_dependant(SYSTEM, base, dependant=leaning)
    clinic.desk.add_dependant(SYSTEM, leaning, dependant=far)
    clinic.desk.add_dependant(SYSTEM, far, dependant=base)  # a circle ends where it began
    clinic.desk.add_dependant(SYSTEM, far, reference="invoice 2207")
    evidence = clinic.desk.case(SYSTEM, base).view.lanes["settlement"].evidence[0]
    before = events(clinic)
    plan = clinic.desk.plan_recall(APPROVER, evidence)
    assert events(clinic) == before
    assert [row.case for row in plan.direct] == [base]
    assert [row.case for row in plan.dependants] == [leaning, far]
    done = clinic.desk.recall(APPROVER, evidence, "the finality key was stolen")
    assert done.cases == tuple(row.case for row in (*plan.direct, *plan.dependants))
    assert done.references == plan.references == ((far, "invoice 2207"),)
    after = clinic.desk.plan_recall(APPROVER, evidence)
    assert (after.direct, after.dependants, after.references, after.recalled_already) == ((), (), (), 0)


def test_nothing_relies_on_what_no_lane_names(clinic: Clinic) -> None:
    clinic.case(stage="settled")
    assert clinic.desk.plan_recall(APPROVER, "00" * 32).to_json() == {
        "evidence": "00" * 32,
        "direct": [],
        "dependants": [],
        "references": [],
        "recalled_already": 0,
        "acts": [],
    }


def test_a_policy_that_came_later_takes_a_case_in(clinic: Clinic) -> None:
    with pytest.raises(UsageError):
        clinic.desk.open_by_hand(REVIEWER, RUN, "late")
    clinic.desk.change_policy(SYSTEM, "late", policy_text("late"))
    assert clinic.desk.open_by_hand(REVIEWER, RUN, "late")[1]
