"""The time axis of a case: one order for the run and the case, and what was ahead of its proof."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.core.encoding import time_encode
from holdfast.review.events import Actor, Event, build_event
from holdfast.web.axis import axis_of, step_json
from tests.helpers.network import at

CASE = "00000000-0000-4000-8000-000000000001"


def moment(code: str, seconds: float) -> dict[str, Any]:
    return {"at": time_encode(at(seconds)), "code": code, "says": f"{code}.", "evidence": None, "time": "observed"}


def event(kind: str, seconds: float, seq: int = 1) -> Event:
    return build_event(seq, "0" * 64, at(seconds), kind, Actor("person", "rita"), case=CASE, body={})


def told(moments, events):
    return [(step.moment.code, step.moment.ahead, step.moment.final) for step in axis_of(moments, events)]


def test_a_case_without_a_story_has_its_events():
    assert axis_of([], []) == ()
    assert told([], [event("viewed", 1)]) == [("viewed", True, False)]


def test_the_run_and_the_case_are_told_in_one_order():
    moments = [moment("answered", 0), moment("final", 4), moment("logged", 1)]
    events = [event("opened", 0.5), event("decided", 2, 2), event("handed_out", 4, 3), event("viewed", 6, 4)]
    assert told(moments, events) == [
        ("answered", True, False),
        ("opened", False, False),
        ("logged", False, False),
        ("decided", True, False),
        ("final", False, True),
        ("handed_out", False, True),
        ("viewed", False, True),
    ]


@pytest.mark.parametrize(
    "kind", ["viewed", "decided", "released", "provisional", "cleared", "handed_out", "handed_over"]
)
def test_what_moves_before_the_round_is_final_is_ahead_of_its_proof(kind):
    assert told([moment("final", 4)], [event(kind, 3.999)])[0] == (kind, True, False)
    assert told([moment("final", 4)], [event(kind, 4)])[1] == (kind, False, True)


@pytest.mark.parametrize("kind", ["opened", "appraised", "claimed", "held", "commented", "flagged", "marked_stale"])
def test_what_moves_nothing_is_ahead_of_nothing(kind):
    assert told([moment("final", 4)], [event(kind, 1)])[0] == (kind, False, False)


def test_a_payment_before_the_final_round_is_ahead_of_its_proof():
    assert told([moment("payment", 1), moment("final", 2)], []) == [("payment", True, False), ("final", False, True)]


def test_offsets_are_counted_from_the_first_and_waits_from_the_one_before():
    steps = axis_of([moment("asked", 0), moment("final", 4)], [event("viewed", 1.25)])
    assert [(step.moment.offset_ms, step.moment.wait_ms) for step in steps] == [(0, 0), (1250, 1250), (4000, 2750)]


def test_marks_in_a_row_are_one_line_and_events_never_are():
    moments = [moment("marked", number / 10) for number in range(5)]
    events = [event("viewed", 1 + number / 10, number + 1) for number in range(4)]
    steps = axis_of(moments, events)
    assert [step.moment.code for step in steps] == ["marked", *["viewed"] * 4]
    assert len(steps[0].moment.parts) == 5
    assert [step_json(step)["event"] for step in steps] == [None, 1, 2, 3, 4]
    assert len(step_json(steps[0])["parts"]) == 5
