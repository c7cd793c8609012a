"""Both sides of a payment, read strictly."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.core.payments import NOT_EVIDENCE_OF
from holdfast.errors import MalformedError
from holdfast.nodes.panel.payment_file import parse_payment_file
from tests.helpers.network import RUN
from tests.helpers.paid_run import COST, payment_view, step

WHOLE = payment_view(RUN, "charged", "captured")
CHECK = WHOLE["checks"][0]


@pytest.mark.parametrize(
    "change",
    [
        {"run": None},
        {"steps": None},
        {"steps": [{**step("charged"), "event": "paid"}]},
        {"steps": [{**step("charged"), "digest": 1}]},
        {"steps": [{**step("charged"), "lines": [1]}]},
        {"offered": []},
        {"offered": {"payee": 1}},
        {"offered": {"rate": "1"}},
        {"offered": {"prices": {"input": 1}}},
        {"signed": "yes"},
        {"signed": {"payload": 1}},
        {"claimed": {"usage": {"prompt_tokens": 4}}},
        {"charged": {}},
        {"charged": {**WHOLE["charged"], "usd": 0}},
        {"captured": {"transaction": 1}},
        {"captured": {"amount": 70}},
        {"captured": {"amount": "-7"}},
        {"refund": [1]},
        {"checks": [{**CHECK, "answer": "maybe"}]},
        {"checks": [{**CHECK, "about": "everybody"}]},
        {"checks": [{**CHECK, "number": "1"}]},
        {"checks": [{**CHECK, "number": True}]},
        {"trouble": 1},
        {"not_evidence_of": None},
    ],
    ids=str,
)
def test_what_is_no_view_of_a_payment_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        parse_payment_file(WHOLE | change)


def test_a_view_says_what_it_cost_in_dollars_and_in_the_asset() -> None:
    file = parse_payment_file(WHOLE)
    assert file.cost == COST
    assert [item.event for item in file.steps] == ["charged", "captured"]
    assert ("Transaction", "0x" + "d4" * 32) in file.captured
    assert file.used == (("prompt_tokens", "4"), ("completion_tokens", "6"))
    assert file.scope == NOT_EVIDENCE_OF


def test_checks_stand_under_whose_artefact_they_are_about() -> None:
    file = parse_payment_file(WHOLE)
    assert [(title, [check.answer for check in checks]) for title, checks in file.sides] == [
        ("Of the seller's artefacts", ["yes", "cannot_tell"]),
        ("Of the payer's artefacts", ["no"]),
        ("Of the chain", ["yes"]),
    ]


def test_nothing_is_made_up_where_a_side_shows_nothing() -> None:
    nothing = dict.fromkeys(("offered", "signed", "captured", "refund", "charged"))
    file = parse_payment_file(WHOLE | nothing | {"claimed": {"usage": None}, "checks": [], "steps": []})
    assert (file.offered, file.signed, file.captured, file.refund, file.used, file.charge) == ((), (), (), (), (), None)
    assert (file.cost, file.sides, file.payload) == ("", (), "")


def test_the_twin_repeats_what_was_told_and_nothing_else() -> None:
    told = parse_payment_file(WHOLE | {"trusted": True}).to_json()
    assert "trusted" not in told
    assert told["steps"] == WHOLE["steps"]
