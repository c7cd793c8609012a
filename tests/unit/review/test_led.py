"""A recall reaches what came after it in an agent run, and says what it cannot undo."""

from __future__ import annotations

import pytest

from holdfast.errors import ConflictError, RefusedError
from holdfast.ports.case_store import LedAct, LedChild
from holdfast.review.events import SYSTEM, Event
from holdfast.review.led import Led
from holdfast.review.webhooks import Told, build_body
from tests.helpers.network import RUN
from tests.helpers.review import APPROVER, AUDITOR, CONSUMER, Clinic

AGENT = "01900000-0000-7000-8000-0000000000aa"
TURN = "01900000-0000-7000-8000-0000000000bb"
OTHER = "01900000-0000-7000-8000-0000000000cc"
SEEN, UNSEEN = "d" * 64, "e" * 64
LED = Led(
    ((AGENT, 40),),
    (LedChild(TURN, (AGENT,), 20, (SEEN,)), LedChild(OTHER, (AGENT,), 50, (UNSEEN,))),
    LedAct("wire", "pay"),
)


@pytest.fixture
def clinic() -> Clinic:
    found = Clinic()
    found.queue()
    return found


def test_only_the_panel_says_what_a_case_came_after(clinic: Clinic) -> None:
    clinic.case(stage="settled")
    with pytest.raises(RefusedError) as caught:
        clinic.desk.note_led(APPROVER, RUN, LED)
    assert caught.value.code == "case.role"


def test_an_act_is_recalled_with_what_it_came_after_and_with_nothing_else(clinic: Clinic) -> None:
    act = clinic.case(stage="answered")
    clinic.desk.note_led(SYSTEM, RUN, LED)
    assert clinic.desk.plan_recall(APPROVER, UNSEEN).direct == ()
    assert [row.case for row in clinic.desk.plan_recall(APPROVER, SEEN).direct] == [act]
    done = clinic.desk.recall(APPROVER, SEEN, "the page it read was forged")
    assert (done.cases, done.acts) == ((act,), ())
    assert clinic.state(act) == "RECALLED"
    assert clinic.desk.audit(AUDITOR).faults == ()


def test_a_recall_lists_acts_that_somebody_took(clinic: Clinic) -> None:
    act = clinic.case(stage="settled")
    clinic.desk.note_led(SYSTEM, RUN, LED)
    for taken in ("handed_out", "handed_over"):
        if taken == "handed_out":
            handed = clinic.desk.hand_out(CONSUMER, "default", "wallet").handed
            assert handed is not None
        else:
            clinic.desk.acknowledge(CONSUMER, act, "wallet", handed.key)
        (found,) = clinic.desk.plan_recall(APPROVER, SEEN).to_json()["acts"]
        assert (found["case"], found["tool"], found["effect"], found["taken"]) == (act, "wire", "pay", taken)
    (undone,) = clinic.desk.recall(APPROVER, SEEN, "the page it read was forged").acts
    assert undone.taken == "handed_over"
    event = next(item for item in clinic.desk.case(SYSTEM, act).events if item.kind == "recalled")
    assert told(event, undone) == b'"act":{"effect":"pay","taken":"handed_over","tool":"wire"}'
    assert told(event, None) == b'"act":null'


def told(event: Event, act: object) -> bytes:
    body = build_body(Told(event, "RECALLED", "CLEAR"), "d", "default", RUN, None, act)  # type: ignore[arg-type]
    return body[: body.index(b',"at"')].removeprefix(b"{")


def test_what_was_recalled_before_recalls_what_comes_after_it_at_once(clinic: Clinic) -> None:
    clinic.desk.recall(APPROVER, SEEN, "the page it read was forged")
    act = clinic.case(stage="settled")
    assert clinic.state(act) == "CLEAR"
    clinic.desk.note_led(SYSTEM, RUN, LED)
    assert clinic.state(act) == "RECALLED"
    assert "it came after run" in clinic.desk.case(SYSTEM, act).case.recalled[0]


def test_it_is_said_once_and_kept_over_a_restart(clinic: Clinic) -> None:
    act = clinic.case(stage="settled")
    for _ in range(2):
        clinic.desk.note_led(SYSTEM, RUN, LED)
        clinic.reopen()
    assert clinic.kinds(act).count("led") == 1
    found = clinic.desk.case(SYSTEM, act).case
    assert found.act == ("wire", "pay")
    assert clinic.desk.led_place(AGENT) == 50


def test_an_act_is_not_reopened_while_what_it_came_after_stands_recalled(clinic: Clinic) -> None:
    turn, act = clinic.case(stage="settled"), clinic.desk.open(SYSTEM, OTHER, "default").id
    clinic.desk.note_led(SYSTEM, OTHER, Led(((AGENT, 40),), (LedChild(RUN, (AGENT,), 20, (SEEN,)),), None))
    clinic.desk.recall(APPROVER, SEEN, "forged")
    lane = clinic.desk.case(SYSTEM, turn).view.lanes["settlement"].evidence[0]
    clinic.desk.recall(APPROVER, lane, "forged")
    assert [clinic.state(case) for case in (turn, act)] == ["RECALLED", "RECALLED"]
    clinic.desk.view(APPROVER, act)
    with pytest.raises(ConflictError) as caught:
        clinic.desk.reopen(APPROVER, act, reason="it was fine")
    assert caught.value.code == "case.base_recalled"


def test_a_recalled_turn_recalls_the_act_though_nothing_names_its_evidence(clinic: Clinic) -> None:
    turn, act = clinic.case(stage="settled"), clinic.desk.open(SYSTEM, OTHER, "default").id
    clinic.desk.note_led(SYSTEM, OTHER, Led(((AGENT, 40),), (LedChild(RUN, (AGENT,), 20, ()),), None))
    clinic.note(turn, "refuted")
    assert [clinic.state(case) for case in (turn, act)] == ["RECALLED", "RECALLED"]
