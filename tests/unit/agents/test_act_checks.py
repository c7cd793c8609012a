"""What an executor finds out for itself; what it refuses is in ``tests/attacks/test_act_attacks.py``."""

from __future__ import annotations

import asyncio

from holdfast.core import canonical
from holdfast.core.agents import act_digest
from tests.helpers.act_attacker import ACT, EXPECTED, HANDED, Attacker, checks


def test_what_the_gate_let_through_is_carried_out() -> None:
    attacker = Attacker()
    found = asyncio.run(checks(attacker).check(HANDED))
    assert (found.run, found.tool.name, found.arguments["to"]) == (ACT, "wire", "0xabc")
    asyncio.run(checks(attacker).held(HANDED))
    asyncio.run(checks(Attacker("declared")).check(HANDED))


def test_the_digest_of_an_act_is_of_its_tool_and_arguments_in_whatever_order() -> None:
    one = canonical.decode_exact(b'{"kind":"tool","tool":"wire","arguments":{"to":"0xabc","amount":1.50}}')
    two = canonical.decode_exact(b'{"arguments":{"amount":1.50,"to":"0xabc"},"kind":"tool","tool":"wire"}')
    three = canonical.decode_exact(b'{"arguments":{"amount":"1.50","to":"0xabc"},"kind":"tool","tool":"wire"}')
    assert act_digest(one) == act_digest(two) == EXPECTED["digest"] != act_digest(three)
