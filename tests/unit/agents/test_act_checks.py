"""What an executor finds out for itself; what it refuses is in ``tests/attacks/test_act_attacks.py``."""

from __future__ import annotations

import asyncio

import pytest

from holdfast.agents.act_checks import parse_hand_out
from holdfast.core import canonical
from holdfast.core.agents import Amendment, act_digest
from holdfast.errors import HoldfastError
from tests.helpers.act_attacker import (
    ACT,
    AGENT,
    AMENDED,
    CASE,
    EXPECTED,
    HANDED,
    HANDED_AMENDED,
    KEY,
    Amending,
    Attacker,
    checks,
    replaced_in,
)


def test_what_the_gate_let_through_is_carried_out() -> None:
    attacker = Attacker()
    found = asyncio.run(checks(attacker).check(HANDED))
    assert (found.run, found.tool.name, found.arguments["to"]) == (ACT, "wire", "0xabc")
    asyncio.run(checks(attacker).held(HANDED))
    asyncio.run(checks(Attacker("declared")).check(HANDED))


@pytest.mark.parametrize("evidence", ["amended-whole", "amended-declared"])
def test_what_a_person_proposed_in_an_acts_place_is_carried_out(evidence: str) -> None:
    attacker = Amending(evidence)
    found = asyncio.run(checks(attacker).check(HANDED_AMENDED))
    assert (found.run, found.agent, found.tool.name, found.arguments["amount"]) == (AMENDED, AGENT, "wire", "0.50")
    assert found.amends == Amendment(ACT, ACT)
    known = asyncio.run(checks(attacker).known(HANDED_AMENDED))
    assert (known.run, known.proposed.run, known.capability) == (AMENDED, ACT, "cd" * 32)
    asyncio.run(checks(attacker).held(HANDED_AMENDED))


def test_what_stands_in_the_place_of_an_amended_act_is_carried_out() -> None:
    attacker = Amending("amended-again")
    between = replaced_in("amended-again")
    attacker.denied = {ACT: attacker.denial(ACT, between), between: attacker.denial(between, AMENDED, by="sam")}
    found = asyncio.run(checks(attacker).check(HANDED_AMENDED))
    assert found.amends == Amendment(between, ACT)
    assert attacker.asked == [ACT, between]


def test_the_capability_of_an_act_comes_with_the_hand_out_or_not_at_all() -> None:
    row = {"case": {"id": CASE, "run": ACT}, "key": KEY, "until": "2026-01-01T00:10:00.000Z"}
    for more, found in (({}, None), ({"capability": None}, None), ({"capability": "ab" * 32}, "ab" * 32)):
        handed = parse_hand_out({"handed": {**row, **more}}, "treasury")
        assert handed is not None
        assert handed.capability == found
    for wrong in ("ab", 1, "AB" * 32):
        with pytest.raises(HoldfastError):
            parse_hand_out({"handed": {**row, "capability": wrong}}, "treasury")


def test_the_digest_of_an_act_is_of_its_tool_and_arguments_in_whatever_order() -> None:
    one = canonical.decode_exact(b'{"kind":"tool","tool":"wire","arguments":{"to":"0xabc","amount":1.50}}')
    two = canonical.decode_exact(b'{"arguments":{"amount":1.50,"to":"0xabc"},"kind":"tool","tool":"wire"}')
    three = canonical.decode_exact(b'{"arguments":{"amount":"1.50","to":"0xabc"},"kind":"tool","tool":"wire"}')
    assert act_digest(one) == act_digest(two) == EXPECTED["digest"] != act_digest(three)
