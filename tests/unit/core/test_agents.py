"""Agent runs and steps as documents: what is refused, and what follows from the declaration alone."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.core import canonical
from holdfast.core.agents import (
    Child,
    Plan,
    closing_document,
    parse_agent_request,
    parse_children,
    parse_plan,
    parse_step,
)
from holdfast.errors import HoldfastError

RUN = "018f5c2e-0000-7000-8000-000000000001"
TOOLS = [{"name": "look", "effect": "read"}, {"name": "wire", "effect": "pay", "queue": "treasury"}]
AGENT: dict[str, Any] = {"name": "treasurer", "goal": "Keep it safe", "tools": TOOLS}


def plan(**changes: Any) -> Plan:
    return parse_plan({**AGENT, **changes})


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"name": "Not A Code"}, "agent.request"),
        ({"goal": "x" * 8193}, "agent.request"),
        ({"goal": 1}, "agent.request"),
        ({"more": 1}, "agent.request"),
        ({"tools": {}}, "agent.tools"),
        ({"tools": [{"name": "look"}]}, "agent.tools"),
        ({"tools": [{"name": "look", "effect": "harmless"}]}, "agent.tools"),
        ({"tools": [{"name": "l k", "effect": "read"}]}, "agent.tools"),
        ({"tools": [{"name": "wire", "effect": "pay"}]}, "agent.tools"),
        ({"tools": [{"name": "look", "effect": "read", "queue": "q"}]}, "agent.tools"),
        ({"tools": [{"name": "wire", "effect": "pay", "queue": "No Queue"}]}, "agent.tools"),
        ({"tools": [TOOLS[0], TOOLS[0]]}, "agent.tools"),
        ({"tools": [{"name": f"t{n}", "effect": "read"} for n in range(65)]}, "agent.tools"),
        ({"limits": {"steps": 0}}, "agent.limits"),
        ({"limits": {"steps": 10_001}}, "agent.limits"),
        ({"limits": {"depth": 17}}, "agent.limits"),
        ({"limits": {"depth": True}}, "agent.limits"),
        ({"limits": {"usd": "1"}}, "agent.limits"),
        ({"limits": {"spend": "1.0"}}, "agent.limits"),
        ({"limits": {"spend": "-1"}}, "agent.limits"),
        ({"limits": {"spend": canonical.NumberText("1")}}, "agent.limits"),
        ({"limits": {"spend": None}}, "agent.limits"),
        ({"limits": []}, "agent.limits"),
    ],
)
def test_what_an_agent_run_may_not_declare(changes: dict[str, Any], code: str) -> None:
    with pytest.raises(HoldfastError) as caught:
        plan(**changes)
    assert caught.value.code == code


@pytest.mark.parametrize("value", [{}, [], {"agent": AGENT, "holdfast": {}}, {"agent": {}}, {"agent": {"name": "a"}}])
def test_a_request_of_an_agent_run_has_one_member(value: Any) -> None:
    with pytest.raises(HoldfastError) as caught:
        parse_agent_request(value)
    assert caught.value.code == "agent.request"


@pytest.mark.parametrize(
    ("step", "code"),
    [
        ({}, "agent.step"),
        ({"kind": "approve"}, "agent.step"),
        ({"kind": "tool", "tool": "look"}, "agent.step"),
        ({"kind": "tool", "tool": "look", "arguments": "x", "result": 1}, "agent.step"),
        ({"kind": "tool", "tool": "look", "arguments": {}}, "agent.step"),
        ({"kind": "tool", "tool": "look", "arguments": {}, "result": 1, "error": "x"}, "agent.step"),
        ({"kind": "tool", "tool": "look", "arguments": {}, "error": ""}, "agent.step"),
        ({"kind": "tool", "tool": "look", "arguments": {}, "result": 1, "effect": "read"}, "agent.step"),
        ({"kind": "tool", "tool": "other", "arguments": {}, "result": 1}, "agent.tool"),
        ({"kind": "tool", "tool": 1, "arguments": {}, "result": 1}, "agent.tool"),
        ({"kind": "tool", "tool": "wire", "arguments": {}, "result": 1}, "agent.act"),
        ({"kind": "tool", "tool": "wire", "arguments": {}, "error": "no"}, "agent.act"),
        ({"kind": "outcome", "of": "it", "result": 1}, "agent.step"),
        ({"kind": "outcome", "of": RUN}, "agent.step"),
        ({"kind": "hint", "name": "span", "attributes": {}, "result": 1}, "agent.step"),
        ({"kind": "hint", "name": "", "attributes": {}}, "agent.step"),
        ({"kind": "hint", "name": "span", "attributes": []}, "agent.step"),
    ],
)
def test_what_is_no_step(step: dict[str, Any], code: str) -> None:
    with pytest.raises(HoldfastError) as caught:
        parse_step(step, plan())
    assert caught.value.code == code


def test_an_effect_is_what_the_agent_run_declared_whatever_the_arguments_say() -> None:
    arguments = {"effect": "read", "queue": "none", "holdfast": {"queue": "other"}}
    found = parse_step({"kind": "tool", "tool": "wire", "arguments": arguments}, plan())
    assert found.act is not None
    assert (found.act.effect, found.act.queue) == ("pay", "treasury")
    assert found.response == {"proposed": True}
    assert parse_step({"kind": "tool", "tool": "look", "arguments": arguments, "result": None}, plan()).act is None


def test_a_plan_reads_back_as_it_was() -> None:
    found = plan(limits=canonical.decode_exact(b'{"steps":7,"depth":2,"spend":"0.25"}'))
    assert (found.steps, found.depth, found.spend) == (7, 2, "0.25")
    assert (found.steps, found.depth) == (7, 2)
    assert parse_plan(found.to_json()) == found


def test_the_answer_of_an_agent_run_lists_each_child_once() -> None:
    child = Child(RUN, "step", "a" * 64)
    document = closing_document({"result": "done"}, [child])
    assert parse_children(document) == (child,)
    for wrong in (
        {**document, "children": [child.to_json(), child.to_json()]},
        {**document, "more": 1},
        {"children": []},
        {"result": 1},
        [],
        {**document, "children": [{**child.to_json(), "statement": "A" * 64}]},
        {**document, "children": [{**child.to_json(), "run": "x"}]},
        {**document, "children": [{"run": RUN}]},
    ):
        with pytest.raises(HoldfastError) as caught:
            parse_children(wrong)
        assert caught.value.code == "agent.children"
