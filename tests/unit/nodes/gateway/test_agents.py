"""Agent runs at a gateway: what is refused, what is bound, and what outlives the process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from holdfast.core import canonical
from holdfast.core.bundles import parse_bundle
from holdfast.core.statements import Execution, Statement
from holdfast.errors import RefusedError
from holdfast.nodes.gateway.app import create_app
from holdfast.verifier.children import verify_children
from tests.helpers import asgi
from tests.helpers.gateway_world import KEY, World, play
from tests.helpers.upstreams import MODEL

AUTHORIZED = [("authorization", f"Bearer {KEY}")]
TOOLS = [{"name": "look", "effect": "read"}, {"name": "wire", "effect": "pay", "queue": "treasury"}]
LOOK = {"kind": "tool", "tool": "look", "arguments": {"at": "rates"}, "result": {"eur": "1.07"}}
WIRE = {"kind": "tool", "tool": "wire", "arguments": {"to": "0xabc", "amount": "5"}}


async def post(world: World, path: str, value: Any, headers: list[tuple[str, str]] | None = None) -> asgi.Reply:
    return await asgi.request(world.app(), "POST", path, json.dumps(value).encode(), headers or AUTHORIZED)


async def opened(world: World, parent: str | None = None, **agent: Any) -> dict[str, Any]:
    headers = [*AUTHORIZED, *([("x-holdfast-parent", parent)] if parent else [])]
    reply = await post(world, "/v1/runs", {"agent": {"name": "treasurer", "tools": TOOLS, **agent}}, headers)
    assert reply.status == 200, reply.body
    return reply.json()


async def lead(world: World, agent: dict[str, Any], what: str, value: Any) -> asgi.Reply:
    held = [("x-holdfast-capability", agent["capability"])]
    return await post(world, f"/v1/runs/{agent['run']}/{what}", value, held)


async def turn(world: World, parent: str) -> asgi.Reply:
    asked = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
    return await post(world, "/v1/chat/completions", asked, [*AUTHORIZED, ("x-holdfast-parent", parent)])


async def children(world: World, run: str) -> dict[str, Any]:
    reply = await asgi.request(world.app(), "GET", f"/v1/runs/{run}/children", headers=AUTHORIZED)
    assert reply.status == 200
    return reply.json()


def closing_of(world: World, run: str) -> Statement:
    [found] = [item for item in world.log.statements() if item.run == run and isinstance(item.body, Execution)]
    return found


# Refusals


def test_only_a_key_opens_an_agent_run_and_only_its_capability_leads_it() -> None:
    async def story(world: World) -> None:
        assert (await post(world, "/v1/runs", {"agent": {}}, [("x-none", "1")])).code == "auth.missing"
        assert (await post(world, "/v1/runs", {"agent": {}})).code == "agent.request"
        agent, other = await opened(world), await opened(world)
        assert (await post(world, f"/v1/runs/{agent['run']}/steps", LOOK)).code == "auth.capability"
        wrong = {**agent, "capability": other["capability"]}
        for what in ("steps", "close"):
            assert (await lead(world, wrong, what, {})).code == "run.unknown"
        chat = (await turn(world, agent["run"])).json()["holdfast"]
        assert (await lead(world, chat, "steps", LOOK)).code == "agent.none"
        assert (await lead(world, agent, "close", {"result": 1, "children": []})).code == "agent.step"
        headers = [*AUTHORIZED, ("x-holdfast-sealed", "true"), ("x-holdfast-queue", "treasury")]
        assert (await post(world, "/v1/runs", {"agent": {"name": "a", "tools": []}}, headers)).code == "request.sealed"

    play(story)


def test_steps_and_depth_have_limits_that_loops_cannot_pass() -> None:
    async def story(world: World) -> None:
        agent = await opened(world, limits={"steps": 3, "depth": 2})
        assert (await lead(world, agent, "steps", LOOK)).status == 200
        assert (await turn(world, agent["run"])).status == 200
        below = await opened(world, agent["run"], limits={"depth": 16})
        assert (await turn(world, agent["run"])).code == "agent.steps"
        assert (await lead(world, agent, "steps", LOOK)).code == "agent.steps"
        headers = [*AUTHORIZED, ("x-holdfast-parent", below["run"])]
        reply = await post(world, "/v1/runs", {"agent": {"name": "deeper", "tools": []}}, headers)
        assert (reply.status, reply.code) == (429, "agent.depth")
        assert len((await children(world, agent["run"]))["children"]) == 3

    play(story)


def test_a_closed_agent_run_takes_no_child_and_an_open_child_keeps_it_open() -> None:
    async def story(world: World) -> None:
        agent = await opened(world)
        below = await opened(world, agent["run"])
        assert (await lead(world, agent, "close", {"result": 1})).code == "agent.open"
        assert (await lead(world, below, "close", {"error": "gave up"})).status == 200
        assert (await lead(world, agent, "close", {"result": 1})).status == 200
        for reply in (
            await lead(world, agent, "steps", LOOK),
            await lead(world, agent, "close", {"result": 2}),
            await turn(world, agent["run"]),
        ):
            assert (reply.status, reply.code) == (409, "agent.closed")

    play(story)


def test_an_act_is_told_of_once_and_only_what_was_proposed_is_one() -> None:
    async def story(world: World) -> None:
        agent = await opened(world)
        look = (await lead(world, agent, "steps", LOOK)).json()["run"]
        assert (await lead(world, agent, "steps", {**WIRE, "result": "sent"})).code == "agent.act"
        act = (await lead(world, agent, "steps", WIRE)).json()
        assert act["queue"] == "treasury"
        for run in (look, agent["run"]):
            told = await lead(world, agent, "steps", {"kind": "outcome", "of": run, "result": 1})
            assert told.code == "agent.outcome"
        outcome = {"kind": "outcome", "of": act["run"], "result": {"transaction": "0x1"}}
        assert (await lead(world, agent, "steps", outcome)).status == 200
        again = await lead(world, agent, "steps", {**outcome, "result": {"transaction": "0x2"}})
        assert (again.status, again.code) == (409, "agent.outcome")
        other = await opened(world)
        assert (await lead(world, other, "steps", outcome)).code == "agent.outcome"

    play(story)


def test_a_step_too_large_for_a_record_is_refused_and_holds_up_nobody() -> None:
    async def story(world: World) -> None:
        agent = await opened(world)
        told = world.indexer.told
        large = {**LOOK, "result": "x" * (1 << 20)}
        reply = await asgi.request(
            create_app(world.inner(), request_bytes=32 << 20, request_seconds=1.0),
            "POST",
            f"/v1/runs/{agent['run']}/steps",
            json.dumps(large).encode(),
            [("x-holdfast-capability", agent["capability"])],
        )
        assert (reply.status, reply.code) == (413, "agent.size")
        assert (await lead(world, agent, "steps", LOOK)).status == 200
        assert world.indexer.told > told
        assert (await lead(world, agent, "close", {"result": 1})).status == 200

    play(story)


# What is bound


def test_the_answer_of_an_agent_run_binds_every_child_and_each_child_names_it() -> None:
    async def story(world: World) -> None:
        agent = await opened(world)
        first = (await turn(world, agent["run"])).json()["holdfast"]["run"]
        second = (await lead(world, agent, "steps", LOOK)).json()["run"]
        act = (await lead(world, agent, "steps", WIRE)).json()["run"]
        assert (await lead(world, agent, "close", {"result": "done"})).status == 200
        await world.deliver()
        bundle = parse_bundle(
            await world.evidence.bundle(await world.row(agent["run"]), bytes.fromhex(agent["capability"]))
        )
        texts = [
            item
            for item in canonical.decode(
                canonical.encode_known(await world.journal(agent["run"], bytes.fromhex(agent["capability"])))
            )
            if item["kind"] == "document"
        ]
        answer = canonical.decode(next(item["text"] for item in texts if item["document"] == "response").encode())
        assert [item["run"] for item in answer["children"]] == [first, second, act]
        assert [item["endpoint"] for item in answer["children"]] == ["chat.completions", "step", "step"]
        parent = closing_of(world, agent["run"])
        closings = {run: closing_of(world, run) for run in (first, second, act)}
        assert bundle.run == parent.run
        assert verify_children(parent, answer, closings).missing == ()
        found = verify_children(parent, answer, {first: closings[first]})
        assert [child.run for child in found.missing] == [second, act]
        for wrong, code in (
            ({second: closings[first]}, "children.listed"),
            ({parent.run: parent}, "children.listed"),
        ):
            with pytest.raises(RefusedError) as caught:
                verify_children(parent, answer, wrong)
            assert caught.value.code == code
        moved = {**answer, "children": [{**answer["children"][0], "statement": closings[second].digest}]}
        with pytest.raises(RefusedError) as caught:
            verify_children(parent, moved, {first: closings[first]})
        assert caught.value.code == "children.statement"

    play(story)


def test_lanes_of_children_lie_side_by_side_and_none_stands_for_all() -> None:
    async def story(world: World) -> None:
        agent = await opened(world)
        first = (await turn(world, agent["run"])).json()["holdfast"]["run"]
        second = (await lead(world, agent, "steps", LOOK)).json()["run"]
        shown = await children(world, agent["run"])
        assert [child["run"] for child in shown["children"]] == [first, second]
        assert shown["lanes"]["computation"] == [
            {"state": "unknown", "basis": "provider_claim", "runs": [first]},
            {"state": "unknown", "basis": "operator_claim", "runs": [second]},
        ]
        assert "computation" in shown["differing"]
        assert "settlement" not in shown["differing"]
        held = [("x-holdfast-capability", agent["capability"])]
        reply = await asgi.request(world.app(), "GET", f"/v1/runs/{agent['run']}/children", headers=held)
        assert reply.json()["children"] == shown["children"]

    play(story)


def test_what_a_step_tells_is_its_callers_word_and_goes_nowhere() -> None:
    async def story(world: World) -> None:
        agent = await opened(world)
        step = (await lead(world, agent, "steps", LOOK)).json()
        await world.deliver()
        held = [("x-holdfast-capability", step["capability"])]
        lanes = (await asgi.request(world.app(), "GET", f"/v1/runs/{step['run']}", headers=held)).json()["lanes"]
        assert (lanes["computation"]["state"], lanes["computation"]["basis"]) == ("unknown", "operator_claim")
        assert lanes["artifact"]["state"] == "not_applicable"
        assert lanes["bytes"]["state"] == "proven"
        assert [hop["hop"] for hop in lanes["privacy"]["hops"]] == ["client", "gateway", "log", "panel"]

    play(story)


def test_who_opened_an_agent_run_counts_as_who_asks_for_its_acts_also_after_a_restart(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        body = json.dumps({"agent": {"name": "treasurer", "tools": TOOLS}}).encode()
        agent = await world.gateway.agents.open(body, {}, "first", "batch", "ada")
        requesters = []
        for _ in range(2):
            act = (await lead(world, agent, "steps", WIRE)).json()["run"]
            look = (await lead(world, agent, "steps", LOOK)).json()["run"]
            requesters.append(((await world.row(act)).requester, (await world.row(look)).requester))
            await world.stop()
            await world.start()
        assert requesters == [("ada", None), ("ada", None)]

    play(story, tmp_path)


# Restarts


def test_an_agent_run_goes_on_after_its_gateway_was_killed(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        agent = await opened(world, limits={"steps": 4})
        await lead(world, agent, "steps", LOOK)
        act = (await lead(world, agent, "steps", WIRE)).json()["run"]
        await world.stop()
        await world.start()
        outcome = {"kind": "outcome", "of": act, "error": "refused by the bank"}
        assert (await lead(world, agent, "steps", outcome)).status == 200
        assert (await lead(world, agent, "steps", outcome)).code == "agent.outcome"
        await world.stop()
        await world.start()
        assert (await lead(world, agent, "steps", outcome)).code == "agent.outcome"
        assert (await lead(world, agent, "steps", LOOK)).status == 200
        assert (await lead(world, agent, "steps", LOOK)).code == "agent.steps"
        assert (await lead(world, agent, "close", {"result": None})).status == 200
        assert len((await children(world, agent["run"]))["children"]) == 4
        await world.stop()
        await world.start()
        assert (await turn(world, agent["run"])).code == "agent.closed"

    play(story, tmp_path)


def test_what_nobody_closes_is_closed_as_abandoned() -> None:
    async def story(world: World) -> None:
        agent = await opened(world)
        await world.clock.advance(7 * 86_400)
        await world.gateway.agents.sweep()
        assert (await lead(world, agent, "steps", LOOK)).status == 200
        await world.clock.advance(1)
        await world.gateway.agents.sweep()
        assert (await lead(world, agent, "steps", LOOK)).code == "agent.closed"
        await world.deliver()
        body = closing_of(world, agent["run"]).body
        assert isinstance(body, Execution)
        assert (body.event, body.outcome, body.response) == ("interrupted", "agent.abandoned", None)

    play(story)
