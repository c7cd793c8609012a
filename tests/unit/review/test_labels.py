"""A label that comes to mean another artifact: who is marked, whose approvals stop counting, and what stays."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.core.artifacts import declared_artifact
from holdfast.core.encoding import time_encode
from holdfast.errors import MalformedError, RefusedError, UsageError
from holdfast.review.events import SYSTEM
from tests.helpers.labelled import told
from tests.helpers.network import RUN, at
from tests.helpers.review import APPROVER, AUDITOR, CONSUMER, OWNER, REVIEWER, SECOND, VIEWER, Clinic

OLD, NEW = (declared_artifact("stub", "small-1-2026", print_) for print_ in ("fp_1", "fp_2"))
OTHER = "ab" * 32


def case_of(clinic: Clinic, queue: str, fingerprint: str | None = "fp_1", *, reviewers: int = 0, **more: Any) -> str:
    """A case of the run in a queue of its own, with evidence that names its artifact."""
    clinic.queue(queue, reviewers=reviewers)
    clinic.pass_time(1)
    case = clinic.desk.open(SYSTEM, RUN, queue).id
    clinic.desk.note_bundle(SYSTEM, case, told(fingerprint=fingerprint, exported=exported(clinic), **more))
    return case


def exported(clinic: Clinic) -> float:
    return (clinic.now - at(0)).total_seconds()


def moves(clinic: Clinic) -> list[dict[str, Any]]:
    """Bodies of every move, in order."""
    return [dict(event.body) for event in clinic.desk.journal(AUDITOR, 0, 1000) if event.kind == "label_moved"]


def is_marked(clinic: Clinic, case: str) -> bool:
    return "marked_stale" in clinic.kinds(case)


@pytest.fixture
def clinic() -> Clinic:
    return Clinic()


# --- who may say so ---------------------------------------------------------------------------------------------------


def test_only_the_panel_itself_is_told_what_a_label_means(clinic):
    for actor in (REVIEWER, APPROVER, OWNER, VIEWER, AUDITOR, CONSUMER):
        with pytest.raises(RefusedError, match="may not note label"):
            clinic.desk.note_label(actor, "small-1", OTHER)
    clinic.desk.note_label(SYSTEM, "small-1", OTHER)
    assert [item["to"] for item in moves(clinic)] == [OTHER]


@pytest.mark.parametrize("label", ["", "x" * 257, "a\nb"])
def test_what_is_no_name_is_no_label(clinic, label):
    with pytest.raises(UsageError, match="a label is a name"):
        clinic.desk.note_label(SYSTEM, label, OTHER)


def test_an_artifact_is_a_digest(clinic):
    with pytest.raises(MalformedError):
        clinic.desk.note_label(SYSTEM, "small-1", "gpt-4o")


# --- what does not move -----------------------------------------------------------------------------------------------


def test_the_first_of_a_label_and_the_same_again_move_nothing(clinic):
    first, second = case_of(clinic, "one"), case_of(clinic, "two", seconds=0.6)
    assert moves(clinic) == []
    assert not is_marked(clinic, first)
    assert not is_marked(clinic, second)
    assert clinic.desk.note_label(SYSTEM, "small-1", OLD) == ()
    assert moves(clinic) == []


def test_what_is_not_disclosed_moves_nothing(clinic):
    case = case_of(clinic, "one")
    case_of(clinic, "two", "fp_2", seconds=0.6, shown=False)
    assert moves(clinic) == []
    assert not is_marked(clinic, case)


def test_another_label_moves_nothing(clinic):
    case = case_of(clinic, "one")
    case_of(clinic, "two", "fp_2", seconds=0.6, label="large-1")
    assert moves(clinic) == []
    assert not is_marked(clinic, case)


def test_more_disclosed_of_the_same_answer_is_no_move(clinic):
    clinic.queue("one")
    case = clinic.desk.open(SYSTEM, RUN, "one").id
    for whole in (False, True):
        clinic.pass_time(1)
        clinic.desk.note_bundle(SYSTEM, case, told(whole=whole, exported=exported(clinic)))
    assert moves(clinic) == []


# --- what moves -------------------------------------------------------------------------------------------------------


def test_a_newer_run_with_another_artifact_moves_the_label_and_marks_what_is_open(clinic):
    held, clear = case_of(clinic, "one", stage="logged"), case_of(clinic, "two")
    newer = case_of(clinic, "three", "fp_2", seconds=0.6)
    (move,) = moves(clinic)
    assert (move["label"], move["from"], move["to"], move["case"]) == ("small-1", OLD, NEW, newer)
    assert is_marked(clinic, held)
    assert is_marked(clinic, clear)
    assert not is_marked(clinic, newer)
    assert (clinic.state(held), clinic.state(clear), clinic.state(newer)) == ("HOLD", "CLEAR", "CLEAR")


def test_a_run_that_is_older_than_the_newest_is_marked_itself(clinic):
    newer = case_of(clinic, "one", "fp_2", seconds=0.6)
    older = case_of(clinic, "two", "fp_1", seconds=0.5)
    assert moves(clinic) == []
    assert is_marked(clinic, older)
    assert not is_marked(clinic, newer)


def test_a_mark_is_a_fact_of_the_case_that_is_told(clinic):
    case = case_of(clinic, "one", stage="logged")
    case_of(clinic, "two", "fp_2", seconds=0.6)
    background = clinic.desk.background(SYSTEM, case)
    assert background.moved is not None
    assert (background.moved.label, background.moved.before, background.moved.after) == ("small-1", OLD, NEW)
    assert not background.moved.closed


def test_approvals_from_before_do_not_count_and_the_same_people_may_look_again(clinic):
    case = case_of(clinic, "one", reviewers=2)
    for person in (REVIEWER, SECOND):
        clinic.approve(case, person)
    assert clinic.state(case) == "CLEAR"
    clinic.pass_time(1)
    case_of(clinic, "two", "fp_2", seconds=0.6)
    assert clinic.state(case) == "HOLD"
    assert clinic.reasons(case) == ["gate.label_moved"]
    clinic.pass_time(1)
    for person in (REVIEWER, SECOND):
        clinic.approve(case, person)
    assert clinic.state(case) == "CLEAR"


def test_approvals_in_a_case_that_waits_stop_counting_too(clinic):
    case = case_of(clinic, "one", stage="logged", reviewers=1)
    clinic.approve(case)
    clinic.pass_time(1)
    case_of(clinic, "two", "fp_2", seconds=0.6)
    clinic.desk.tick()
    assert clinic.reasons(case) == ["gate.lane_state", "gate.label_moved"]
    clinic.desk.note_bundle(SYSTEM, case, told(exported=exported(clinic)))
    assert clinic.state(case) == "HOLD"


def test_an_early_release_goes_on_and_is_marked(clinic):
    case = case_of(clinic, "one", stage="logged")
    clinic.release(case)
    case_of(clinic, "two", "fp_2", seconds=0.6)
    assert clinic.state(case) == "PROVISIONAL"
    assert is_marked(clinic, case)


@pytest.mark.parametrize("how", ["handed over", "rejected", "recalled"])
def test_what_is_closed_keeps_what_it_was_given_and_has_the_fact(clinic, how):
    case = case_of(clinic, "one", reviewers=1)
    clinic.approve(case)
    if how == "handed over":
        handed = clinic.desk.hand_out(CONSUMER, "one", "shop").handed
        clinic.desk.acknowledge(CONSUMER, case, "shop", handed.key)
    elif how == "rejected":
        clinic.desk.view(SECOND, case)
        clinic.desk.decide(SECOND, case, "reject", reason="no")
    else:
        (digest, *_) = clinic.desk.cases(SYSTEM)[0].lanes["bytes"].evidence
        clinic.desk.recall(APPROVER, digest, "the key was stolen")
    before = clinic.state(case)
    clinic.pass_time(1)
    case_of(clinic, "two", "fp_2", seconds=0.6)
    clinic.desk.tick()
    assert clinic.state(case) == before
    assert not is_marked(clinic, case)
    background = clinic.desk.background(SYSTEM, case)
    assert background.moved is not None
    assert background.moved.closed


def test_what_is_opened_again_stands_on_its_label_again(clinic):
    case = case_of(clinic, "one")
    clinic.desk.view(REVIEWER, case)
    clinic.desk.decide(REVIEWER, case, "reject", reason="no")
    case_of(clinic, "two", "fp_2", seconds=0.6)
    assert not is_marked(clinic, case)
    clinic.desk.view(APPROVER, case)
    clinic.desk.reopen(APPROVER, case, reason="look again")
    assert is_marked(clinic, case)


def test_what_was_reported_moves_a_label_at_once(clinic):
    case = case_of(clinic, "one", reviewers=1)
    clinic.approve(case)
    assert clinic.state(case) == "CLEAR"
    clinic.pass_time(1)
    assert clinic.desk.note_label(SYSTEM, "small-1", OTHER) == (case,)
    assert clinic.state(case) == "HOLD"
    assert [(item["from"], item["to"], item["case"]) for item in moves(clinic)] == [(OLD, OTHER, None)]


def test_there_and_back_again_is_two_moves(clinic):
    case_of(clinic, "one")
    case_of(clinic, "two", "fp_2", seconds=0.6)
    case_of(clinic, "three", seconds=0.7)
    assert [(item["from"], item["to"]) for item in moves(clinic)] == [(OLD, NEW), (NEW, OLD)]
    with clinic.store.read() as reader:
        assert [(move.before, move.after) for move in reader.label_moves("small-1")] == [(OLD, NEW), (NEW, OLD)]
        head = reader.label("small-1")
    assert (head.artifact, head.at) == (OLD, time_encode(at(0.7)))


def test_the_journal_with_moves_and_marks_is_whole(clinic):
    case_of(clinic, "one", stage="logged")
    case_of(clinic, "two", "fp_2", seconds=0.6)
    clinic.desk.note_label(SYSTEM, "small-1", OTHER)
    assert clinic.desk.audit(AUDITOR).faults == ()
