"""What panels, gateways and others try who want something done that nobody let through (``spec/acts.md`` §3)."""

from __future__ import annotations

import asyncio
import datetime as dt

import pytest

from holdfast.agents.act_checks import TakenAct
from holdfast.agents.record import ProposedAct, Recorded
from holdfast.core.encoding import time_encode
from tests.helpers.act_attacker import (
    ACT,
    AGENT,
    AT,
    CASE,
    EARLY,
    FILE,
    HANDED,
    KEY,
    RECORD,
    STRICT,
    Attacker,
    checks,
    file_of,
    refused,
)


def test_a_panel_cannot_hand_out_what_its_own_journal_does_not_let_through() -> None:
    for kind, state, code in (("held", "HOLD", "act.held"), ("rejected", "REJECTED", "act.recalled")):
        attacker = Attacker()
        attacker.say_gate(kind)
        assert refused(checks(attacker)) == "act.held"  # it says CLEAR of it, and its events say otherwise
        attacker.state = state
        assert refused(checks(attacker)) == code
        assert refused(checks(attacker), again=True) == code


def test_a_panel_cannot_call_clear_what_the_evidence_here_does_not_clear() -> None:
    assert refused(checks(Attacker(policy=STRICT))) == "act.held"


def test_a_panel_cannot_put_an_easier_policy_under_a_queue_that_its_owner_fixed() -> None:
    assert refused(checks(Attacker(), policies={"treasury": STRICT.digest})) == "act.policy"
    attacker = Attacker()
    attacker.policy = STRICT  # shown beside the words of the other
    assert refused(checks(attacker)) == "act.policy"


def test_a_recall_between_hand_out_and_carrying_out_is_seen() -> None:
    attacker = Attacker()
    checking = checks(attacker)
    asyncio.run(checking.check(HANDED))
    attacker.say_gate("recalled", because="somebody took it back", ordered=None)
    attacker.state = "RECALLED"
    assert refused(checking, again=True) == "act.recalled"


def test_an_early_release_counts_while_it_lasts_and_by_a_person_alone() -> None:
    person = {"kind": "person", "id": "ada"}
    for minutes, role, code in ((30, "approver", None), (0.5, "approver", "act.held"), (30, "viewer", "act.held")):
        attacker = Attacker(policy=EARLY)
        attacker.words = attacker.words[:1]
        until = time_encode(AT - dt.timedelta(minutes=1) + dt.timedelta(minutes=minutes))
        attacker.say("released", person, role=role, reason="it is urgent", until=until, document="{}")
        attacker.say_gate("provisional")
        attacker.hand_out()
        attacker.state = "PROVISIONAL"
        if code is None:
            asyncio.run(checks(attacker).check(HANDED))
        else:
            assert refused(checks(attacker)) == code


@pytest.mark.parametrize(
    ("evidence", "code"),
    [
        ("edited-document_fail", "act.recalled"),
        ("edited-arguments_fail", "act.arguments"),
        ("another-agent_fail", "act.parent"),
        ("a-turn_fail", "act.step"),
        ("no-such-tool_fail", "act.tool"),
        ("not-shown_fail", "act.document"),
        ("declared-otherwise_fail", "act.effect"),
        ("not-a-child_fail", "children.listed"),
    ],
)
def test_neither_panel_nor_gateway_makes_an_act_out_of_something_else(evidence: str, code: str) -> None:
    assert refused(checks(Attacker(evidence))) == code


def test_an_act_that_the_agents_own_record_does_not_have_is_nobodys() -> None:
    nothing = Recorded({}, {}, frozenset())
    theirs = Recorded({}, RECORD.acts, frozenset())
    other = Recorded(RECORD.agents, {ACT: ProposedAct(ACT, "c", AGENT, "00" * 32)}, frozenset())
    assert refused(checks(Attacker(), nothing)) == "act.unknown"
    assert refused(checks(Attacker(), theirs)) == "act.unknown"
    assert refused(checks(Attacker(), other)) == "act.arguments"


def test_an_act_comes_out_of_no_other_queue_and_as_no_other_case() -> None:
    easy = TakenAct(CASE, ACT, "easy", KEY, AT)
    assert refused(checks(Attacker()), easy) == "act.held"
    elsewhere = TakenAct(CASE, AGENT, "treasury", KEY, AT)
    assert refused(checks(Attacker()), elsewhere) == "act.unknown"


def test_a_hand_out_that_is_over_or_anothers_is_not_begun() -> None:
    attacker = Attacker()
    attacker.until = AT + dt.timedelta(seconds=4)
    attacker.hand_out()
    assert refused(checks(attacker), again=True) == "act.lease"
    assert refused(checks(Attacker(), consumer="second"), again=True) == "act.lease"
    replayed = TakenAct(CASE, ACT, "treasury", "cd" * 32, AT)
    assert refused(checks(Attacker()), replayed, again=True) == "act.lease"
    done = Attacker()
    done.say("handed_over", {"kind": "key", "id": "k"}, consumer="first", key=KEY)
    assert refused(checks(done), again=True) == "act.lease"


def test_what_the_owner_does_not_allow_is_not_carried_out_whatever_let_it_through() -> None:
    for allow in ('to = ["0xdef"], amount = "any"', 'to = "any"', 'to = { characters = 3 }, amount = "any"'):
        narrow = file_of(FILE.replace('to = ["0xabc"], amount = "any"', allow))
        assert refused(checks(Attacker(), file=narrow)) == "agent.allow"
