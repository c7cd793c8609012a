"""What is told to an act itself: that it is reserved, and its outcome where its agent run cannot take it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import asgi
from tests.helpers.gateway_world import World, play
from tests.unit.nodes.gateway.test_agents import LOOK, WIRE, children, closing_of, lead, opened, post


async def proposed(world: World, **agent: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    found = await opened(world, **agent)
    return found, (await lead(world, found, "steps", WIRE)).json()


def reserved(act: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "reserved", "of": act["run"]}


def outcome(act: dict[str, Any], result: Any = 1) -> dict[str, Any]:
    return {"kind": "outcome", "of": act["run"], "result": result}


async def under(world: World, act: dict[str, Any], value: Any, key: str) -> asgi.Reply:
    headers = [("x-holdfast-capability", act["capability"]), ("idempotency-key", key)]
    return await post(world, f"/v1/runs/{act['run']}/steps", value, headers)


# Refusals


def test_only_reservation_and_outcome_of_itself_are_told_to_an_act() -> None:
    async def story(world: World) -> None:
        agent, act = await proposed(world)
        _, other = await proposed(world)
        look = (await lead(world, agent, "steps", LOOK)).json()
        for value in (LOOK, WIRE, reserved(other), outcome(other), {"kind": "hint", "name": "a", "attributes": {}}):
            assert (await lead(world, act, "steps", value)).code == "agent.step"
        assert (await lead(world, act, "steps", {**reserved(act), "result": 1})).code == "agent.step"
        assert (await lead(world, agent, "steps", reserved(act))).code == "agent.step"
        wrong = {**act, "capability": other["capability"]}
        assert (await lead(world, wrong, "steps", reserved(act))).status == 404
        assert (await lead(world, {**act, "capability": agent["capability"]}, "close", {"result": 1})).status == 404
        assert (await lead(world, look, "steps", {"kind": "reserved", "of": look["run"]})).code == "agent.none"
        queued = [("x-holdfast-capability", act["capability"]), ("x-holdfast-queue", "treasury")]
        assert (await post(world, f"/v1/runs/{act['run']}/steps", reserved(act), queued)).code == "agent.step"

    play(story)


def test_an_act_is_reserved_once_whoever_asks_and_the_same_key_is_answered_again(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        _, act = await proposed(world)
        first = await under(world, act, reserved(act), "executor-1")
        assert first.status == 200
        for _ in range(2):
            second = await under(world, act, reserved(act), "executor-2")
            assert (second.status, second.code) == (409, "agent.reserved")
            assert (await lead(world, act, "steps", reserved(act))).code == "agent.reserved"
            again = await under(world, act, reserved(act), "executor-1")
            assert again.json() == first.json()
            await world.stop()
            await world.start()

    play(story, tmp_path)


def by_its_agent(agent: dict[str, Any], act: dict[str, Any]) -> dict[str, Any]:
    """An act, led by the capability of its agent run."""
    return {"run": act["run"], "capability": agent["capability"]}


@pytest.mark.parametrize("closed", [False, True])
def test_who_leads_an_agent_run_tells_of_its_acts_whether_it_is_open_or_not(closed: bool) -> None:
    async def story(world: World) -> None:
        agent, act = await proposed(world)
        elsewhere, other = await proposed(world)
        if closed:
            assert (await lead(world, agent, "close", {"result": 1})).status == 200
        assert (await lead(world, by_its_agent(agent, act), "steps", reserved(act))).status == 200
        assert (await lead(world, act, "steps", reserved(act))).code == "agent.reserved"
        assert (await lead(world, by_its_agent(agent, act), "steps", outcome(act))).status == 200
        assert (await lead(world, act, "steps", outcome(act))).code == "agent.outcome"
        [one, two] = (await children(world, act["run"]))["children"]
        assert (one["kind"], two["kind"]) == ("step", "step")
        for whose in (by_its_agent(agent, other), by_its_agent(elsewhere, act)):
            reply = await lead(world, whose, "steps", reserved(other))
            assert (reply.status, reply.code) == (404, "run.unknown")

    play(story)


def test_an_agent_runs_capability_leads_its_acts_alone_and_reads_none_of_them() -> None:
    async def story(world: World) -> None:
        agent, act = await proposed(world)
        look = (await lead(world, agent, "steps", LOOK)).json()
        assert (await lead(world, by_its_agent(agent, look), "steps", reserved(look))).code == "agent.none"
        below = await opened(world, agent["run"])
        under_it = (await lead(world, below, "steps", WIRE)).json()
        assert (await lead(world, by_its_agent(agent, below), "steps", LOOK)).status == 404
        assert (await lead(world, by_its_agent(agent, under_it), "steps", reserved(under_it))).status == 404
        told = (await lead(world, act, "steps", reserved(act))).json()
        assert (await lead(world, by_its_agent(agent, told), "steps", outcome(told))).status == 404
        held = [("x-holdfast-capability", agent["capability"])]
        for what in ("bundle", "wrap", "payment"):
            reply = await asgi.request(world.app(), "GET", f"/v1/runs/{act['run']}/{what}", headers=held)
            assert reply.status == 404

    play(story)


def test_of_reservations_that_come_at_once_one_is_taken() -> None:
    async def story(world: World) -> None:
        _, act = await proposed(world)
        replies = await asyncio.gather(*(under(world, act, reserved(act), f"executor-{n}") for n in range(5)))
        assert sorted(reply.status for reply in replies) == [200, 409, 409, 409, 409]
        assert len((await children(world, act["run"]))["children"]) == 1

    play(story)


@pytest.mark.parametrize("closed", [False, True])
def test_an_outcome_is_told_once_over_the_act_and_its_agent_run(tmp_path: Path, closed: bool) -> None:
    async def story(world: World) -> None:
        agent, first = await proposed(world)
        second = (await lead(world, agent, "steps", WIRE)).json()
        assert (await lead(world, agent, "steps", outcome(first))).status == 200
        if closed:
            assert (await lead(world, agent, "close", {"result": 1})).status == 200
        for _ in range(2):
            assert (await lead(world, first, "steps", outcome(first, 2))).code == "agent.outcome"
            assert (await lead(world, first, "steps", reserved(first))).code == "agent.outcome"
            await world.stop()
            await world.start()
        assert (await lead(world, second, "steps", reserved(second))).status == 200
        assert (await lead(world, second, "steps", outcome(second))).status == 200
        for _ in range(2):
            assert (await lead(world, second, "steps", outcome(second, 2))).code == "agent.outcome"
            above = await lead(world, agent, "steps", outcome(second))
            assert above.code == ("agent.closed" if closed else "agent.outcome")
            await world.stop()
            await world.start()

    play(story, tmp_path)


# What is bound


def test_what_is_told_to_an_act_names_it_as_parent_and_is_no_child_of_the_agent_run() -> None:
    async def story(world: World) -> None:
        agent, act = await proposed(world, limits={"steps": 1})
        assert (await lead(world, agent, "steps", outcome(act))).code == "agent.steps"
        held = (await lead(world, act, "steps", reserved(act))).json()["run"]
        came = (await lead(world, act, "steps", outcome(act))).json()["run"]
        assert (await lead(world, agent, "close", {"result": "done"})).status == 200
        await world.deliver()
        assert [closing_of(world, run).parent_run for run in (held, came)] == [act["run"]] * 2
        assert closing_of(world, act["run"]).parent_run == agent["run"]
        assert [child["run"] for child in (await children(world, agent["run"]))["children"]] == [act["run"]]
        assert [child["run"] for child in (await children(world, act["run"]))["children"]] == [held, came]

    play(story)


def test_an_outcome_told_to_an_act_of_an_open_agent_run_stays_told_after_a_restart(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        agent, act = await proposed(world)
        assert (await lead(world, act, "steps", outcome(act))).status == 200
        await world.stop()
        await world.start()
        assert (await lead(world, agent, "steps", outcome(act))).code == "agent.outcome"

    play(story, tmp_path)
