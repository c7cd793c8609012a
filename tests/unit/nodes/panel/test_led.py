"""A panel learns from its gateway what an act came after, before it lets the act through."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from holdfast.client.run_views import parse_led
from holdfast.errors import HoldfastError, MalformedError
from holdfast.nodes.panel.follower import REFUSED_PAUSE_S
from holdfast.ports.http import Answer
from holdfast.review.events import SYSTEM
from tests.helpers import asgi
from tests.helpers.case_world import CaseWorld, play_cases
from tests.helpers.gateway_world import KEY
from tests.helpers.upstreams import MODEL

AUTHORIZED = ("authorization", f"Bearer {KEY}")
TOOLS = [{"name": "look", "effect": "read"}, {"name": "wire", "effect": "pay", "queue": "default"}]
LOOK = {"kind": "tool", "tool": "look", "arguments": {"at": "rates"}, "result": 1}
WIRE = {"kind": "tool", "tool": "wire", "arguments": {"amount": "5"}}


async def post(world: CaseWorld, path: str, value: Any, *headers: tuple[str, str]) -> Any:
    reply = await asgi.request(world.world.app(), "POST", path, json.dumps(value).encode(), [*headers])
    assert reply.status == 200, reply.body
    return reply.json()


async def opened(world: CaseWorld, *headers: tuple[str, str]) -> Any:
    return await post(world, "/v1/runs", {"agent": {"name": "a", "tools": TOOLS}}, AUTHORIZED, *headers)


async def step(world: CaseWorld, agent: Any, value: Any, what: str = "steps") -> Any:
    return await post(world, f"/v1/runs/{agent['run']}/{what}", value, ("x-holdfast-capability", agent["capability"]))


async def turn(world: CaseWorld, agent: Any) -> str:
    asked = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
    told = await post(world, "/v1/chat/completions", asked, AUTHORIZED, ("x-holdfast-parent", agent["run"]))
    return str(told["holdfast"]["run"])


async def led(world: CaseWorld, run: str, after: int = 0) -> Any:
    reply = await asgi.request(world.world.app(), "GET", f"/v1/runs/{run}/led?after={after}", headers=[AUTHORIZED])
    assert reply.status == 200, reply.body
    return reply.json()


async def evidence_of(world: CaseWorld, run: str) -> str:
    return str((await world.world.lane(run, "bytes"))["evidence"][0])


@pytest.mark.parametrize(
    "change",
    [
        {"more": 1},
        {"run": "another"},
        {"under": None},
        {"under": [{"run": "x", "before": 1}]},
        {"children": [{"run": "x"}]},
        {"act": {"tool": "wire", "effect": "harmless"}},
        {"act": {"tool": "", "effect": "pay"}},
    ],
)
def test_an_answer_of_another_shape_is_refused(change: dict[str, Any]) -> None:
    good: dict[str, Any] = {"run": "r", "act": None, "under": [], "children": [], "more": False}
    parse_led("r", good)
    with pytest.raises(MalformedError):
        parse_led("r", {**good, **change})


def test_order_says_what_an_act_came_after_in_the_agent_runs_above_it(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        top = await opened(world)
        first = await turn(world, top)
        low = await opened(world, ("x-holdfast-parent", top["run"]))
        beside = await turn(world, top)
        second = await turn(world, low)
        act = (await step(world, low, WIRE))["run"]
        later = await turn(world, low)
        found = await led(world, act)
        assert found["act"] == {"tool": "wire", "effect": "pay"}
        assert [item["run"] for item in found["under"]] == [low["run"], top["run"]]
        assert [item["run"] for item in found["children"]] == [first, beside, second]
        places = {item["run"]: item["place"] for item in found["children"]}
        assert places[first] < found["under"][1]["before"] < places[beside]  # so it came after the first alone there
        assert found["children"][2]["under"] == [top["run"], low["run"]]
        assert await evidence_of(world, second) in found["children"][2]["evidence"]
        assert (await led(world, act, places[beside]))["children"] == found["children"][2:]
        assert (await led(world, low["run"]))["under"] == [found["under"][1]]  # it is open
        await step(world, low, {"result": 1}, "close")
        closed = await led(world, low["run"])
        assert [item["run"] for item in closed["children"]] == [first, beside, second, act, later]
        assert closed["act"] is None
        assert (await led(world, first))["under"] == []

    play_cases(story, tmp_path)


def test_an_act_is_recalled_with_a_turn_that_it_came_after_and_not_with_one_that_came_later(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        agent = await opened(world, ("x-holdfast-queue", "default"))
        seen = await turn(world, agent)
        one = (await step(world, agent, WIRE))["run"]
        between = await turn(world, agent)
        two = (await step(world, agent, WIRE))["run"]
        later = await turn(world, agent)
        await step(world, agent, {"result": 1}, "close")
        await world.pull()
        await world.settle()
        await world.look_at_all()
        desk, review = world.desk, world.review

        async def reached(run: str) -> set[str]:
            plan = await review.call(desk.plan_recall, SYSTEM, await evidence_of(world, run))
            return {row.run for row in (*plan.direct, *plan.dependants)}

        assert await reached(seen) == {one, two, agent["run"]}
        assert await reached(between) == {two, agent["run"]}
        assert await reached(later) == {agent["run"]}
        assert await reached(one) >= {two, agent["run"]}
        await review.call(desk.recall, SYSTEM, await evidence_of(world, between), "the page was forged")
        assert [(await world.case(run))["state"] == "RECALLED" for run in (one, two, agent["run"])] == [
            False,
            True,
            True,
        ]

    play_cases(story, tmp_path)


def test_no_case_of_an_act_is_looked_at_before_it_is_known_what_it_came_after(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        agent = await opened(world)
        await turn(world, agent)
        act = (await step(world, agent, WIRE))["run"]
        world.http.altered[f"/v1/runs/{act}/led"] = Answer(200, b"{}")
        with pytest.raises(HoldfastError):
            await world.follower.pull_once()
        assert await world.look_at_all() == 0
        world.http.altered.clear()
        await world.pull()
        case = await world.case(act)
        assert [event["kind"] for event in case["events"]][:4] == ["opened", "appraised", "held", "led"]

    play_cases(story, tmp_path)


@pytest.mark.parametrize(
    ("children", "code"),
    [([], "led.page"), ([{"place": 2**62}], "led.order"), ([{"under": []}], "led.under")],
)
def test_a_gateway_that_tells_no_order_is_not_believed_and_not_asked_for_ever(
    tmp_path: Path, children: list[dict[str, Any]], code: str
) -> None:
    async def story(world: CaseWorld) -> None:
        agent = await opened(world)
        await turn(world, agent)
        act = (await step(world, agent, WIRE))["run"]
        told = await led(world, act)
        told["children"] = [{**told["children"][0], **changed} for changed in children]
        told["more"] = True
        world.http.altered[f"/v1/runs/{act}/led"] = Answer(200, json.dumps(told).encode())
        with pytest.raises(HoldfastError, match=code):
            await world.follower.pull_once()

    play_cases(story, tmp_path)


def test_of_many_acts_each_tells_the_panel_only_what_is_new(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        agent = await opened(world)
        acts = []
        for _ in range(4):
            await step(world, agent, LOOK)
            acts.append((await step(world, agent, WIRE))["run"])
        await world.pull()
        kept = []
        for run in acts:
            case = await world.case(run)
            digest = next(event["body"]["children"] for event in case["events"] if event["kind"] == "led")
            with world.desk._store.read() as reader:
                kept.append(len(json.loads(reader.blob(case["id"], digest) or b"{}")["children"]))
        assert kept == [1, 2, 2, 2]

    play_cases(story, tmp_path)


def test_what_an_agent_run_came_after_is_asked_for_until_it_is_told(tmp_path: Path) -> None:
    async def story(world: CaseWorld) -> None:
        agent = await opened(world, ("x-holdfast-queue", "default"))
        await turn(world, agent)
        await step(world, agent, {"result": 1}, "close")
        await world.settle()
        world.http.altered[f"/v1/runs/{agent['run']}/led"] = Answer(200, b"{}")
        await world.pull()
        await world.look_at_all()
        assert "led" not in [event["kind"] for event in (await world.case(agent["run"]))["events"]]
        world.http.altered.clear()
        await world.world.clock.advance(REFUSED_PAUSE_S)
        await world.look_at_all()
        assert "led" in [event["kind"] for event in (await world.case(agent["run"]))["events"]]

    play_cases(story, tmp_path)
