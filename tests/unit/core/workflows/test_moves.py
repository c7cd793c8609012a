"""What an execution does next follows from its journal and the time, and nothing is done twice."""

import datetime as dt
from dataclasses import replace

import pytest

from holdfast.core.workflows import moves
from holdfast.core.workflows.build import Workflow, case, value
from holdfast.core.workflows.moves import Ask, Cause, End, Look, Open, Record, Sleep, Snapshot, Tell, Write, next_move
from holdfast.errors import RefusedError, UnavailableError, UsageError

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
CAUSE = Cause("manual", "00", NOW, {"limit": "5"})
FACT = {"digest": "aa", "source": "rates", "value": {"type": "decimal", "text": "1", "unit": None}, "as_of": None}


def definition(**changes):
    below = {"value": "$.price.value.text", "type": "decimal", "maximum": "2"}
    return (
        Workflow("reserve", retry={"attempts": 3, "first_s": 2, "longest_s": 3}, result=value("pay.result"), **changes)
        .tool("wire", "pay", "payments")
        .admission("price", "rates", parameters={"limit": value("trigger.data.limit")})
        .cases("choice", case({"amount": "5"}, below))
        .action("pay", "wire", {"amount": value("choice.result.amount")}, seconds=100)
        .definition()
    )


def snapshot(**records):
    begun = Snapshot("ee", CAUSE, dry=False, deadline=NOW + dt.timedelta(hours=1), run="run", begun=True)
    return replace(begun, records=records)


def later(seconds):
    return NOW + dt.timedelta(seconds=seconds)


DONE = Record("done", 1, {}, FACT)
CHOSEN = Record("done", 1, {}, {"result": {"amount": "5"}})


def test_an_execution_begins_with_its_agent_run():
    fresh = replace(snapshot(), run=None, begun=False)
    assert next_move(definition(), fresh, NOW) == Open()
    assert next_move(definition(), replace(fresh, run="run"), NOW) == Open()
    ended = next_move(definition(), fresh, later(3600))
    assert isinstance(ended, End)
    assert ended.code == "workflow.deadline"


def test_a_question_is_written_down_before_it_is_asked_and_asked_again_as_it_was():
    move = next_move(definition(), snapshot(), NOW)
    assert isinstance(move, Ask)
    assert move.fresh
    assert move.record.input == {"node": None, "parameters": {"limit": "5"}, "source": "rates"}
    again = next_move(definition(), snapshot(price=move.record), NOW)
    assert again == Ask(move.step, move.record, fresh=False)


def test_nothing_goes_on_before_the_agent_run_has_heard_of_it():
    step = definition().steps[0]
    record = moves.answered(step, Record("asked", 1, {}), FACT)
    assert next_move(definition(), snapshot(price=record), NOW) == Tell(step, record)


def test_attempts_wait_longer_each_time_and_have_an_end():
    step = definition().steps[0]
    silent = UnavailableError("http.unreachable", "nobody is there")
    first = moves.stumbled(step, Record("asked", 1, {}), silent, NOW)
    assert (first.state, first.next_at) == ("trying", later(2))
    first = replace(first, told=True)
    assert next_move(definition(), snapshot(price=first), later(1)) == Sleep(later(2))
    second = next_move(definition(), snapshot(price=first), later(2))
    assert isinstance(second, Ask)
    assert (second.record.attempt, second.fresh) == (2, True)
    assert moves.stumbled(step, second.record, silent, NOW).next_at == later(3)
    assert moves.stumbled(step, replace(second.record, attempt=3), silent, NOW).state == "failed"


@pytest.mark.parametrize("error", [UsageError("sources.unknown", "no"), RefusedError("agent.steps", "no")])
def test_what_refuses_for_good_is_not_tried_again(error):
    assert moves.stumbled(definition().steps[0], Record("asked", 1, {}), error, NOW).state == "failed"


def test_an_act_is_not_tried_again():
    silent = UnavailableError("http.unreachable", "nobody is there")
    assert moves.stumbled(definition().steps[2], Record("asked", 1, {}), silent, NOW).state == "failed"


def test_a_step_that_failed_ends_the_execution_unless_it_may_fail():
    record = Record("failed", 3, {}, code="http.unreachable", says="nobody is there")
    ended = next_move(definition(), snapshot(price=record), NOW)
    assert ended == End(code="http.unreachable", says="nobody is there", step="price")
    step = replace(definition().steps[0], optional=True)
    spared = replace(definition(), steps=(step, *definition().steps[1:]))
    move = next_move(spared, snapshot(price=record), NOW)
    assert isinstance(move, Ask)
    assert move.step.name == "choice"


def test_a_rule_without_a_case_ends_the_execution_with_nothing():
    record = Record("done", 1, {}, None)
    assert next_move(definition(), snapshot(price=DONE, choice=record), NOW) == End(step="choice")


def test_a_step_whose_condition_is_not_true_is_skipped():
    step = replace(definition().steps[2], condition="$.choice.result.amount")
    conditional = replace(definition(), steps=(*definition().steps[:2], step))
    move = next_move(conditional, snapshot(price=DONE, choice=CHOSEN), NOW)
    assert move == Write(step, Record("skipped", 0, None))


def test_an_act_waits_and_is_looked_at_less_and_less_until_its_time_is_over():
    step = definition().steps[2]
    asked = next_move(definition(), snapshot(price=DONE, choice=CHOSEN), NOW)
    assert isinstance(asked, Ask)
    assert asked.record.input == {"arguments": {"amount": "5"}, "tool": "wire"}
    waiting = moves.proposed(step, asked.record, "act", NOW)
    assert next_move(definition(), snapshot(price=DONE, choice=CHOSEN, pay=waiting), NOW) == Sleep(later(1))
    look = next_move(definition(), snapshot(price=DONE, choice=CHOSEN, pay=waiting), later(1))
    assert look == Look(step, waiting)
    pauses = []
    for _ in range(7):
        waiting = moves.looked(waiting, NOW)
        pauses.append((waiting.next_at - NOW).total_seconds())
    assert pauses == [2, 5, 10, 20, 30, 30, 30]
    over = next_move(definition(), snapshot(price=DONE, choice=CHOSEN, pay=waiting), later(100))
    assert isinstance(over, Write)
    assert (over.record.state, over.record.code) == ("failed", "workflow.act_expired")


def test_an_amended_act_waits_anew_and_nothing_of_ours_opens_it():
    step = definition().steps[2]
    waiting = moves.looked(replace(moves.proposed(step, Record("asked", 1, {}), "act", NOW), shown="aa"), NOW)
    amended = moves.amended(step, waiting, "other", later(90))
    assert (amended.state, amended.run, amended.shown, amended.looks) == ("waiting", "other", None, 0)
    assert (amended.until, amended.next_at) == (later(190), later(91))
    known = snapshot(price=DONE, choice=CHOSEN, pay=amended)
    assert next_move(definition(), known, later(100)) == Look(step, amended)
    over = next_move(definition(), known, later(190))
    assert isinstance(over, Write)
    assert over.record.code == "workflow.act_expired"


def test_a_sleep_ends_where_the_execution_does():
    waiting = replace(moves.proposed(definition().steps[2], Record("asked", 1, {}), "act", NOW), next_at=later(50))
    known = replace(snapshot(price=DONE, choice=CHOSEN, pay=waiting), deadline=later(20))
    assert next_move(definition(), known, NOW) == Sleep(later(20))
    ended = next_move(definition(), known, later(20))
    assert isinstance(ended, End)
    assert ended.code == "workflow.deadline"


def test_a_value_that_is_not_there_fails_its_step():
    move = next_move(definition(), snapshot(price=DONE, choice=Record("done", 1, {}, {"result": "x"})), NOW)
    assert isinstance(move, Write)
    assert move.record.code == "workflow.reference"


def test_an_execution_that_is_done_says_its_result():
    paid = Record("done", 1, {}, {"run": "act", "result": "0xhash"})
    assert next_move(definition(), snapshot(price=DONE, choice=CHOSEN, pay=paid), NOW) == End(result="0xhash")
    nothing = Record("skipped", 0, None)
    assert next_move(definition(), snapshot(price=DONE, choice=CHOSEN, pay=nothing), NOW) == End(result=None)


def test_what_is_told_of_a_failed_attempt_is_its_error():
    step = definition().steps[0]
    record = moves.stumbled(step, Record("asked", 1, {"source": "rates"}), UnavailableError("x.y", "why"), NOW)
    assert moves.telling(step, record)["error"] == "x.y: why"


def test_the_same_trigger_is_the_same_execution_and_a_dry_one_is_another():
    again = replace(CAUSE, at=later(5), data=None)
    assert moves.execution_id("w", CAUSE, dry=False) == moves.execution_id("w", again, dry=False)
    assert moves.execution_id("w", CAUSE, dry=False) != moves.execution_id("w", CAUSE, dry=True)
    assert moves.execution_id("w", CAUSE, dry=False) != moves.execution_id("v", CAUSE, dry=False)


def test_no_output_holds_what_opens_an_admission():
    known = snapshot(price=replace(DONE, shown="secret"))
    assert "secret" not in repr(known.outputs())
