"""What panels, gateways and others try who want something done that nobody let through (``spec/acts.md`` §3)."""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools

import pytest

from holdfast.adapters.storage_simulated import SimulatedDisk
from holdfast.agents.act_checks import HandedAct
from holdfast.agents.record import OpenedAgent, ProposedAct, Recorded
from holdfast.core.encoding import time_encode
from tests.helpers.act_attacker import (
    ACT,
    AGENT,
    AMENDED,
    AT,
    CASE,
    EARLY,
    FILE,
    HANDED,
    HANDED_AMENDED,
    KEY,
    RECORD,
    STRICT,
    Amending,
    Attacker,
    checks,
    file_of,
    refused,
    replaced_in,
)
from tests.helpers.acting import ActCase, ActingWorld, run_of, start


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
    easy = HandedAct(CASE, ACT, "easy", KEY, AT)
    assert refused(checks(Attacker()), easy) == "act.held"
    elsewhere = HandedAct(CASE, AGENT, "treasury", KEY, AT)
    assert refused(checks(Attacker()), elsewhere) == "act.unknown"


def test_a_hand_out_that_is_over_or_anothers_is_not_begun() -> None:
    attacker = Attacker()
    attacker.until = AT + dt.timedelta(seconds=4)
    attacker.hand_out()
    assert refused(checks(attacker), again=True) == "act.lease"
    assert refused(checks(Attacker(), consumer="second"), again=True) == "act.lease"
    replayed = HandedAct(CASE, ACT, "treasury", "cd" * 32, AT)
    assert refused(checks(Attacker()), replayed, again=True) == "act.lease"
    done = Attacker()
    done.say("handed_over", {"kind": "key", "id": "k"}, consumer="first", key=KEY)
    assert refused(checks(done), again=True) == "act.lease"


def test_what_the_owner_does_not_allow_is_not_carried_out_whatever_let_it_through() -> None:
    for allow in ('to = ["0xdef"], amount = "any"', 'to = "any"', 'to = { characters = 3 }, amount = "any"'):
        narrow = file_of(FILE.replace('to = ["0xabc"], amount = "any"', allow))
        assert refused(checks(Attacker(), file=narrow)) == "agent.allow"


# What a person is said to have proposed in an act's place


@pytest.mark.parametrize(
    ("evidence", "code"),
    [
        ("amended-another-tool_fail", "act.tool"),
        ("amended-no-such-tool_fail", "act.tool"),
        ("amended-only-reads_fail", "act.tool"),
        ("amended-itself_fail", "act.replaces"),
        ("amended-first-itself_fail", "act.unknown"),
        ("amended-another-first_fail", "act.unknown"),
        ("amended-nothing_fail", "act.unknown"),
        ("amended-no-first_fail", "act.replaces"),
        ("amended-another-agent_fail", "act.unknown"),
        ("amended-a-turn_fail", "act.step"),
        ("amended-not-shown_fail", "act.document"),
        ("amended-first-edited_fail", "act.arguments"),
        ("amended-first-another-agents_fail", "act.parent"),
        ("amended-not-a-child_fail", "children.listed"),
        ("amended-first-not-a-child_fail", "children.listed"),
    ],
)
def test_neither_panel_nor_gateway_makes_up_what_a_person_proposed(evidence: str, code: str) -> None:
    assert refused(checks(Amending(evidence)), HANDED_AMENDED) == code


def test_another_tool_or_a_higher_effect_stands_in_no_acts_place_even_where_the_owner_has_that_tool() -> None:
    drain = "[[tools]]" + FILE.partition("[[tools]]")[2].replace('name = "wire"', 'name = "drain"')
    less = FILE.replace('kind = "send"\neffect = "send"', 'kind = "mcp"\neffect = "write"')
    for file in (file_of(FILE + drain), file_of(less + drain)):
        assert refused(checks(Amending("amended-another-tool_fail"), file=file), HANDED_AMENDED) == "act.replaces"


def test_arguments_that_are_shown_and_were_not_signed_are_no_amended_act() -> None:
    attacker = Amending()
    signed = attacker.bundle

    async def forged(run: str, capability: str | None = None) -> bytes:
        return (await signed(run, capability)).replace(b"0.50", b"9.50")

    attacker.bundle = forged  # type: ignore[method-assign]
    assert refused(checks(attacker), HANDED_AMENDED) in ("act.bytes", "act.recalled")


def test_an_amended_act_takes_the_word_of_the_panels_journal_on_each_that_was_denied() -> None:
    def told(change: str) -> Amending:
        attacker = Amending()
        case = attacker.denied[ACT]
        if change == "no case":
            attacker.denied = {}
        elif change == "not denied":
            case["state"], case["events"] = "HOLD", case["events"][:2]
        elif change == "said to be denied":
            case["events"] = case["events"][:2]
        elif change == "denied, and nothing in its place":
            case["events"] = case["events"][:4]
        elif change == "another in its place":
            attacker.denied = {ACT: attacker.denial(ACT, AGENT)}
        elif change == "by nobody":
            attacker.denied = {ACT: attacker.denial(ACT, AMENDED, kind="system")}
        elif change == "the case of another act":
            attacker.denied = {ACT: attacker.denial(AGENT, AMENDED)}
        elif change == "in another queue":
            case["events"][0]["body"]["queue"] = "easy"
        elif change == "let through after all":
            gated = {**case["events"][3], "seq": 6, "kind": "cleared"}
            case["state"], case["events"] = "CLEAR", [*case["events"], gated]
        return attacker

    for change in (
        "no case",
        "not denied",
        "said to be denied",
        "denied, and nothing in its place",
        "another in its place",
        "by nobody",
        "the case of another act",
        "in another queue",
        "let through after all",
    ):
        assert refused(checks(told(change)), HANDED_AMENDED) == "act.replaces", change
        assert refused(checks(told(change)), HANDED_AMENDED, again=True) == "act.replaces", change


def test_cases_that_lead_in_a_circle_around_or_past_an_act_lead_nowhere() -> None:
    between = replaced_in("amended-again")
    looping = Amending("amended-again")
    looping.denied = {ACT: looping.denial(ACT, between), between: looping.denial(between, ACT)}
    assert refused(checks(looping), HANDED_AMENDED) == "act.replaces"
    assert looping.asked == [ACT, between]
    past = Amending("amended-again")  # the act says that another stood in between
    assert refused(checks(past), HANDED_AMENDED) == "act.replaces"
    endless = Amending()
    runs = [ACT, *(f"01890000-0000-7000-8000-{number:012x}" for number in range(40))]
    endless.denied = {run: endless.denial(run, after) for run, after in itertools.pairwise(runs)}
    assert refused(checks(endless), HANDED_AMENDED) == "act.replaces"
    assert len(endless.asked) == 16


def test_an_amended_act_is_carried_out_on_clear_alone_and_not_by_whoever_asked_for_it() -> None:
    early = Amending(policy=EARLY)
    early.words = early.words[:1]
    until = time_encode(AT + dt.timedelta(minutes=10))
    early.say("released", {"kind": "person", "id": "ada"}, role="approver", reason="urgent", until=until, document="{}")
    early.say_gate("provisional")
    early.hand_out()
    early.state = "PROVISIONAL"
    assert refused(checks(early), HANDED_AMENDED) == "act.held"
    for name, code in (("rita", "act.held"), ("ada", None)):
        approved = Amending()
        said = {"act": "approve", "role": "approver", "reason": "fine", "document": "{}"}
        approved.say("decided", {"kind": "person", "id": name}, **said)
        if code is None:
            asyncio.run(checks(approved).check(HANDED_AMENDED))
        else:
            assert refused(checks(approved), HANDED_AMENDED) == code


def test_a_denial_that_is_taken_back_between_hand_out_and_carrying_out_is_seen() -> None:
    attacker = Amending()
    checking = checks(attacker)
    asyncio.run(checking.check(HANDED_AMENDED))
    case = attacker.denied[ACT]
    again = {**case["events"][2], "seq": 6, "body": {**case["events"][2]["body"], "act": "reopen"}}
    case["state"], case["events"] = "HOLD", [*case["events"], again, {**case["events"][3], "seq": 7, "kind": "held"}]
    assert refused(checking, HANDED_AMENDED, again=True) == "act.replaces"


def test_an_amended_act_is_nobodys_without_a_capability_or_where_the_owner_wants_none_or_its_agent_is_not_there() -> (
    None
):
    bare = HandedAct(CASE, AMENDED, "treasury", KEY, AT)
    assert refused(checks(Amending()), bare) == "act.unknown"
    assert refused(checks(Amending(), amended=False), HANDED_AMENDED) == "act.unknown"
    for record in (Recorded({}, RECORD.acts, frozenset()), Recorded(RECORD.agents, {}, frozenset())):
        assert refused(checks(Amending(), record), HANDED_AMENDED) == "act.unknown"
    elsewhere = Recorded(
        {**RECORD.agents, AMENDED: OpenedAgent(AMENDED, "c", "http://gateway", {})},
        {ACT: ProposedAct(ACT, "c", AMENDED, RECORD.acts[ACT].digest)},
        frozenset(),
    )
    assert refused(checks(Amending(), elsewhere), HANDED_AMENDED) == "act.unknown"


def test_the_owners_rules_hold_for_what_a_person_proposed() -> None:
    attacker = Amending("amended-elsewhere")
    assert refused(checks(attacker), HANDED_AMENDED) == "agent.allow"
    wide = file_of(FILE.replace('to = ["0xabc"]', 'to = ["0xabc", "0xdef"]'))
    asyncio.run(checks(attacker, file=wide).check(HANDED_AMENDED))


def test_a_gateway_that_lets_a_denied_act_and_the_one_in_its_place_be_reserved_gets_one_of_them_carried_out() -> None:
    for first in (True, False):
        world, disk = ActingWorld([ActCase(run_of(1), "keyed")]), SimulatedDisk(1)
        other = world.amend(world.cases[run_of(1)], "HOLD" if first else "CLEAR")
        assert other is not None
        world.forgets = True
        if first:
            world.cases[run_of(1)].state = "CLEAR"
        running = start(world, disk, disk.mount())
        asyncio.run(running.executor.round())
        world.cases[run_of(1)].state = other.state = "CLEAR"  # a panel that lies hands both out
        asyncio.run(running.executor.round())
        assert world.effects() == {run_of(1) if first else other.run: 1}
        refused_as = running.journal.state(other.run if first else run_of(1)).dropped
        assert refused_as["code"] == "act.replaced"
        running.journal.close()
