"""Agent runs for readers: which there are, and one as a tree. What is told says nothing of content."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from holdfast.errors import UnavailableError, UsageError
from tests.helpers import asgi
from tests.helpers.decisions import trust_with_panel
from tests.helpers.gateway_world import KEY, OTHER_KEY, World, play
from tests.helpers.upstreams import MODEL
from tests.unit.nodes.gateway.test_agents import AUTHORIZED, LOOK, TOOLS, WIRE, lead, opened, post, turn


async def get(world: World, path: str, key: str = KEY) -> asgi.Reply:
    return await asgi.request(world.app(), "GET", path, headers=[("authorization", f"Bearer {key}")])


async def tree(world: World, run: str, query: str = "") -> dict[str, Any]:
    reply = await get(world, f"/v1/runs/{run}/tree{query}")
    assert reply.status == 200, reply.body
    value: dict[str, Any] = reply.json()
    return value


async def agents(world: World, query: str = "") -> dict[str, Any]:
    reply = await get(world, f"/v1/agents{query}")
    assert reply.status == 200, reply.body
    value: dict[str, Any] = reply.json()
    return value


# Refusals


def test_only_an_agent_run_of_ones_own_workspace_is_a_tree() -> None:
    async def story(world: World) -> None:
        agent = await opened(world)
        assert (await get(world, f"/v1/runs/{agent['run']}/tree", OTHER_KEY)).code == "run.unknown"
        assert (await get(world, f"/v1/runs/{agent['run']}/tree/events", OTHER_KEY)).code == "run.unknown"
        assert (await get(world, "/v1/agents", OTHER_KEY)).json() == {"agents": [], "next": None}
        chat = (await turn(world, agent["run"])).json()["holdfast"]["run"]
        for path in ("tree", "tree/events"):
            reply = await get(world, f"/v1/runs/{chat}/{path}")
            assert (reply.status, reply.code) == (404, "agent.none")

    play(story)


def test_a_list_is_asked_for_in_one_way() -> None:
    async def story(world: World) -> None:
        for query, code in (
            ("?state=half", "agent.state"),
            ("?limit=0", "request.limit"),
            ("?limit=101", "request.limit"),
            ("?before=-1", "request.before"),
            ("?name=a&name=b", "request.name"),
        ):
            reply = await get(world, f"/v1/agents{query}")
            assert (reply.status, reply.code) == (400, code)

    play(story)


# What is told


def test_a_tree_tells_what_each_child_was_and_nothing_that_was_said() -> None:
    async def story(world: World) -> None:
        agent = await opened(world, goal="Keep the reserve secret-goal")
        run = agent["run"]
        await turn(world, run)
        await lead(world, agent, "steps", {**LOOK, "arguments": {"at": "secret-argument"}, "result": "secret-result"})
        act = (await lead(world, agent, "steps", WIRE)).json()["run"]
        outcome = {"kind": "outcome", "of": act, "error": "secret-error"}
        await lead(world, agent, "steps", outcome)
        await lead(world, agent, "steps", {"kind": "hint", "name": "secret-hint", "attributes": {"a": "secret-span"}})
        below = await opened(world, run)
        await lead(world, below, "steps", LOOK)
        found = await tree(world, run)
        assert (found["name"], found["outcome"], found["next"]) == ("treasurer", None, None)
        assert [tool["name"] for tool in found["tools"]] == ["look", "wire"]
        assert [child["kind"] for child in found["children"]] == ["chat.completions", *["step"] * 4, "agent"]
        steps = [child["step"] for child in found["children"]]
        assert steps == [
            None,
            {"kind": "tool", "tool": "look", "act": False, "of": None},
            {"kind": "tool", "tool": "wire", "act": True, "of": None},
            {"kind": "outcome", "tool": None, "act": False, "of": act},
            {"kind": "hint", "tool": None, "act": False, "of": None},
            None,
        ]
        assert found["children"][2]["queue"] == "treasury"
        assert found["children"][2]["children"] == []
        assert found["children"][0]["rests"]["upstream"] == world.upstream.code
        assert found["children"][1]["rests"] is None
        nested = found["children"][5]
        assert nested["agent"] == {"name": "treasurer", "tools": found["tools"]}
        assert [child["step"]["tool"] for child in nested["children"]] == ["look"]
        for child in [*found["children"], *nested["children"], found]:
            assert len(child["lanes"]) == 11
            assert child["cost"] is None
        assert "secret" not in json.dumps(found) + json.dumps(await agents(world))

    play(story)


def test_what_is_told_to_an_act_stands_below_it() -> None:
    async def story(world: World) -> None:
        agent = await opened(world)
        act = (await lead(world, agent, "steps", WIRE)).json()
        assert (await lead(world, act, "steps", {"kind": "reserved", "of": act["run"]})).status == 200
        (child,) = (await tree(world, agent["run"]))["children"]
        told = {"kind": "reserved", "tool": None, "act": False, "of": act["run"]}
        assert [item["step"] for item in child["children"]] == [told]

    play(story)


def test_what_was_not_looked_at_in_time_has_no_lanes_and_none_are_made_up() -> None:
    async def story(world: World) -> None:
        agent = await opened(world)
        await lead(world, agent, "steps", LOOK)
        at_once = await tree(world, agent["run"], "?within_ms=0")
        assert at_once["lanes"] is None
        assert [child["lanes"] for child in at_once["children"]] == [None]
        whole = await tree(world, agent["run"])
        await lead(world, agent, "steps", LOOK)
        again = await tree(world, agent["run"], "?within_ms=0")
        assert again["children"][0] == whole["children"][0]
        assert again["children"][1]["lanes"] is None

    play(story)


def test_lanes_of_a_child_move_with_its_evidence() -> None:
    async def story(world: World) -> None:
        agent = await opened(world)
        await lead(world, agent, "steps", LOOK)

        async def settlement() -> str:
            state: str = (await tree(world, agent["run"]))["children"][0]["lanes"]["settlement"]["state"]
            return state

        assert await settlement() == "pending"
        await world.deliver()
        await world.cosign(4)
        world.finalise(world.candidate(1))
        await world.follow()
        assert await settlement() == "proven"

    play(story)


def test_a_large_tree_comes_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(world: World) -> None:
        agent = await opened(world)
        made = [(await lead(world, agent, "steps", LOOK)).json()["run"] for _ in range(5)]
        monkeypatch.setattr("holdfast.nodes.gateway.agent_tree.MOST_ROWS", 2)
        found, after = [], ""
        while True:
            part = await tree(world, agent["run"], after)
            found += [child["run"] for child in part["children"]]
            if part["next"] is None:
                break
            after = f"?after={part['next']}"
        assert found == made

    play(story)


def test_what_is_spent_is_told_of_each_agent_run_with_its_limit() -> None:
    async def story(world: World) -> None:
        agent = await opened(world, limits={"spend": "0.5"})
        told = {"unit": "USD", "limit": "0.5", "spent": "0", "held": "0"}
        assert (await tree(world, agent["run"]))["spend"] == told
        assert (await agents(world))["agents"][0]["spend"] == told

    play(story)


def test_what_is_past_its_retention_is_told_without_what_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(world: World) -> None:
        agent = await opened(world)
        old = (await lead(world, agent, "steps", LOOK)).json()["run"]
        other = await opened(world)
        gone = {(await world.row(run)).open_place for run in (old, other["run"])}
        read = world.ledger.read

        def expired(place: int) -> Any:
            if place in gone:
                raise UsageError("run.expired", "gone", status=410)
            return read(place)

        monkeypatch.setattr(world.ledger, "read", expired)
        (child,) = (await tree(world, agent["run"]))["children"]
        assert (child["run"], child["kind"], child["step"], child["lanes"]) == (old, "step", None, None)
        assert [item["run"] for item in (await agents(world))["agents"]] == [agent["run"]]
        reply = await get(world, f"/v1/runs/{other['run']}/tree")
        assert (reply.status, reply.code) == (410, "run.expired")

    play(story)


def test_agent_runs_are_listed_newest_first_and_narrowed_by_name_and_state() -> None:
    async def story(world: World) -> None:
        first, second = await opened(world), await opened(world)
        await lead(world, first, "steps", LOOK)
        other = await opened(world, second["run"])
        await lead(world, first, "close", {"result": 1})
        found = await agents(world)
        assert [item["run"] for item in found["agents"]] == [other["run"], second["run"], first["run"]]
        assert [item["children"] for item in found["agents"]] == [0, 1, 1]
        assert found["agents"][0]["parent_run"] == second["run"]
        assert [item["run"] for item in (await agents(world, "?state=closed"))["agents"]] == [first["run"]]
        assert [item["run"] for item in (await agents(world, "?state=open&limit=1"))["agents"]] == [other["run"]]
        rest = await agents(world, f"?before={(await agents(world, '?limit=1'))['next']}")
        assert [item["run"] for item in rest["agents"]] == [second["run"], first["run"]]
        assert (await agents(world, "?name=somebody"))["agents"] == []
        assert len((await agents(world, "?name=treasurer"))["agents"]) == 3

    play(story)


# Who may read


def test_the_panel_reads_what_is_below_an_agent_run_that_names_a_queue_and_nothing_below_another() -> None:
    async def story(world: World) -> None:
        world.wrap_trust = trust_with_panel(world.network)
        headers = [*AUTHORIZED, ("x-holdfast-queue", "treasury")]
        whole = {"agent": {"name": "treasurer", "tools": TOOLS}}
        read = (await post(world, "/v1/runs", whole, headers)).json()
        closed = await opened(world)
        for agent, status in ((read, 200), (closed, 404)):
            chat = (await turn(world, agent["run"])).json()["holdfast"]["run"]
            look = (await lead(world, agent, "steps", LOOK)).json()["run"]
            below = await opened(world, agent["run"])
            deeper = (await lead(world, below, "steps", LOOK)).json()["run"]
            for run in (chat, look, below["run"], deeper):
                reply = await get(world, f"/v1/runs/{run}/wrap")
                assert reply.status == status, run
        act = (await lead(world, closed, "steps", WIRE)).json()
        told = await lead(world, act, "steps", {"kind": "reserved", "of": act["run"]})
        assert (await get(world, f"/v1/runs/{told.json()['run']}/wrap")).status == 200
        private = [*AUTHORIZED, ("x-holdfast-parent", read["run"]), ("x-settlement-type", "private")]
        asked = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
        hidden = (await post(world, "/v1/chat/completions", asked, private)).json()["holdfast"]["run"]
        assert (await get(world, f"/v1/runs/{hidden}/wrap")).code == "run.wrap"

    play(story)


# Live


def test_a_stream_tells_when_a_tree_is_another_and_not_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.nodes.gateway.agent_tree._PAUSE_S", 0)

    async def story(world: World) -> None:
        agent = await opened(world)
        events = world.desk.trees.events(await world.row(agent["run"]))
        first = await anext(events)
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        await opened(world)  # something else
        world.changes.notify()
        await lead(world, agent, "steps", LOOK)
        assert await waiting not in (first, b"")
        await events.aclose()
        assert world.changes.watchers == 0

    play(story)


def test_streams_of_trees_count_among_those_of_runs() -> None:
    async def story(world: World) -> None:
        agent = await opened(world)
        row = await world.row(agent["run"])
        streams = [world.desk.trees.events(row) for _ in range(9)]
        for stream in streams[:8]:
            await anext(stream)
        with pytest.raises(UnavailableError) as refused:
            await anext(streams[8])
        assert refused.value.code == "gateway.watchers"
        for stream in streams:
            await stream.aclose()

    play(story)
