"""Counts over cases: kept apart, never one figure."""

from __future__ import annotations

import pytest

from holdfast.errors import RefusedError
from holdfast.review.events import SYSTEM, Actor
from holdfast.review.statistics import Span, span_of
from holdfast.web.statistics import WIDTH, span_words
from tests.helpers.labelled import told
from tests.helpers.network import RUN, at
from tests.helpers.review import APPROVER, AUDITOR, SECOND, Clinic


@pytest.mark.parametrize(
    ("counted", "found"),
    [
        ([(5, 1)], Span(1, 5, 5)),
        ([(1, 1), (9, 1)], Span(2, 1, 9)),
        ([(1, 9), (9, 1)], Span(10, 1, 1)),
        ([(1, 8), (9, 2)], Span(10, 1, 9)),
        ([(1, 1), (2, 1), (3, 1), (4, 1), (500, 1)], Span(5, 3, 500)),
    ],
)
def test_half_of_the_cases_lie_within_the_median_and_nine_of_ten_within_the_other(counted, found):
    assert span_of(counted) == found


def test_somebody_without_a_role_counts_nothing():
    with pytest.raises(RefusedError):
        Clinic().desk.statistics(Actor("person", "eve", frozenset()))


def test_overrides_and_recalls_are_counted_each_for_itself():
    clinic = Clinic()

    def case(queue: str, stage: str = "settled") -> str:
        clinic.queue(queue)
        clinic.pass_time(1)
        found = clinic.desk.open(SYSTEM, RUN, queue).id
        exported = (clinic.now - at(0)).total_seconds()
        clinic.desk.note_bundle(SYSTEM, found, told(stage=stage, exported=exported))
        return found

    early, late, clear, held = case("a", "logged"), case("b"), case("c"), case("d", "logged")
    clinic.release(early)
    for rejected in (late, held):
        clinic.desk.view(SECOND, rejected)
        clinic.desk.decide(SECOND, rejected, "reject", reason="no")
    found = clinic.desk.statistics(SYSTEM).series
    (one,) = found
    assert (one.cases, one.cleared, one.released_early) == (4, 2, 1)
    assert (one.rejected, one.rejected_late, one.recalled) == (2, 1, 0)
    (digest, *_) = next(view for view in clinic.desk.cases(SYSTEM) if view.row.case == clear).lanes["bytes"].evidence
    clinic.desk.recall(APPROVER, digest, "the key was stolen")
    (one,) = clinic.desk.statistics(SYSTEM).series
    assert (one.cleared, one.recalled) == (2, 3)
    assert clinic.desk.statistics(SYSTEM, "d").series[0].recalled == 0
    assert clinic.desk.statistics(SYSTEM, "none").series == ()


def test_what_is_not_disclosed_is_a_series_of_its_own():
    clinic = Clinic()
    for number, shown in enumerate((True, False)):
        clinic.queue(f"queue-{number}")
        clinic.pass_time(1)
        case = clinic.desk.open(SYSTEM, RUN, f"queue-{number}").id
        clinic.desk.note_bundle(SYSTEM, case, told(shown=shown, exported=(clinic.now - at(0)).total_seconds()))
    assert [(item.label, item.cases) for item in clinic.desk.statistics(SYSTEM).series] == [("small-1", 1), (None, 1)]


@pytest.mark.parametrize(
    ("span_ms", "words"),
    [(7, "7 ms"), (990, "990 ms"), (1300, "1.3 s"), (59_000, "59 s"), (90_000, "1.5 min"), (99 * 86_400_000, "99 d")],
)
def test_a_span_is_told_with_the_two_digits_that_it_has(span_ms, words):
    assert span_words(span_ms) == words
    assert WIDTH > 0


def test_an_audit_misses_a_count_that_is_not_what_the_events_say():
    clinic = Clinic()
    clinic.queue()
    clinic.case(stage="settled")
    assert clinic.desk.audit(AUDITOR).faults == ()
    with clinic.store._engine.begin() as connection:
        connection.exec_driver_sql("UPDATE case_facts SET recalls = 3")
    assert [fault.code for fault in clinic.desk.audit(AUDITOR).faults] == ["audit.marks"]
