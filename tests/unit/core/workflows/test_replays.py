"""Put to its journal again, the same definition is equal everywhere, and another one says where the two part."""

import datetime as dt
from dataclasses import replace

from holdfast.core.workflows.build import Workflow, case, value
from holdfast.core.workflows.moves import Ask, Cause, End, Record, Snapshot, decide_rule, next_move
from holdfast.core.workflows.replays import replay

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
FACT = {"digest": "aa", "source": "rates", "value": {"type": "decimal", "text": "1", "unit": None}, "as_of": None}
GIVEN = {"price": FACT, "pay": {"run": "act", "result": "0xhash"}}


def definition(maximum="2", source="rates", amount="5"):
    below = {"value": "$.price.value.text", "type": "decimal", "maximum": maximum}
    return (
        Workflow("reserve", result=value("pay.result"))
        .tool("wire", "pay", "payments")
        .admission("price", source)
        .cases("choice", case({"amount": amount}, below))
        .action("pay", "wire", {"amount": value("choice.result.amount")})
        .definition()
    )


def journal(made):
    """An execution of a definition, everything answered at once."""
    known = Snapshot("ee", Cause("manual", "00", NOW), dry=False, deadline=NOW + dt.timedelta(1), run="r", begun=True)
    while not isinstance(move := next_move(made, known, NOW), End):
        assert isinstance(move, Ask)
        output = GIVEN.get(move.step.name) or decide_rule(move.step, known.outputs())
        record = replace(move.record, state="done", output=output)
        known = replace(known, records={**known.records, move.step.name: record})
    return known


def states(made, known):
    return [item.state for item in replay(made, known)]


def test_the_same_definition_is_equal_everywhere():
    assert states(definition(), journal(definition())) == ["equal", "equal", "equal"]


def test_a_changed_rule_differs_and_what_it_ends_is_not_reached():
    found = replay(definition(maximum="0.5"), journal(definition()))
    assert [item.state for item in found] == ["equal", "differs", "not_reached"]
    assert "no case holds" in found[1].says


def test_another_amount_makes_another_act_of_which_nothing_is_known():
    assert states(definition(amount="6"), journal(definition())) == ["equal", "differs", "unknown"]


def test_another_question_has_no_known_answer():
    assert states(definition(source="others"), journal(definition())) == ["unknown", "not_reached", "not_reached"]


def test_a_journal_that_was_changed_differs():
    known = journal(definition())
    price = {**FACT, "value": {"type": "decimal", "text": "3", "unit": None}}
    changed = replace(known, records={**known.records, "price": replace(known.records["price"], output=price)})
    assert states(definition(), changed) == ["equal", "differs", "not_reached"]
    rule = replace(known.records["choice"], output={"result": {"amount": "6"}})
    forged = replace(known, records={**known.records, "choice": rule})
    assert states(definition(), forged) == ["equal", "differs", "equal"]


def test_what_was_never_come_to_is_not_known():
    known = journal(definition())
    cut = replace(known, records={name: item for name, item in known.records.items() if name != "pay"})
    assert states(definition(), cut) == ["equal", "equal", "unknown"]


def test_a_failure_that_follows_from_values_is_equal():
    known = journal(definition())
    broken = Record("failed", 1, None, code="workflow.reference", says="nothing stands at it")
    asks_more = (
        Workflow("reserve")
        .admission("price", "rates")
        .admission("more", "rates", parameters={"x": value("price.value.more")})
        .definition()
    )
    records = {"price": known.records["price"], "more": broken}
    assert states(asks_more, replace(known, records=records)) == ["equal", "equal"]


def test_a_skipped_step_is_equal_when_it_would_be_skipped():
    skipping = (
        Workflow("reserve")
        .cases("choice", case(False))
        .admission("price", "rates", condition="$.choice.result")
        .definition()
    )
    choice = Record("done", 1, {}, {"result": False})
    base = replace(journal(definition()), records={"choice": choice, "price": Record("skipped", 0, None)})
    assert states(skipping, base) == ["equal", "equal"]
    assert states(skipping, replace(base, records={"choice": choice, "price": Record("done", 1, {}, FACT)})) == [
        "equal",
        "differs",
    ]
