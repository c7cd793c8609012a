"""Attacks on what binds children to an agent run: by a caller, by a text, and by a gateway that signs lies."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from holdfast.core.agents import Child, closing_document
from holdfast.core.statements import Statement
from holdfast.errors import RefusedError
from holdfast.verifier.children import verify_children
from tests.helpers import asgi
from tests.helpers.gateway_world import KEY, OTHER_KEY, World, play
from tests.helpers.upstreams import MODEL, ScriptedUpstream, chat_completion
from tests.unit.nodes.gateway.test_agents import AUTHORIZED, LOOK, WIRE, closing_of, lead, opened, post

NOBODY = "01900000-0000-7000-8000-0000000000ff"


async def ask(world: World, *headers: tuple[str, str], key: str = KEY, **more: Any) -> asgi.Reply:
    asked = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], **more}
    return await post(world, "/v1/chat/completions", asked, [("authorization", f"Bearer {key}"), *headers])


async def closed(world: World, agent: dict[str, Any]) -> Statement:
    assert (await lead(world, agent, "close", {"result": "done"})).status == 200
    await world.deliver()
    return closing_of(world, agent["run"])


def child(statement: Statement, endpoint: str = "step") -> Child:
    return Child(statement.run, endpoint, statement.digest)


# A caller


def test_a_caller_of_another_workspace_puts_nothing_below_an_agent_run() -> None:
    async def story(world: World) -> None:
        agent = await opened(world)
        parent = ("x-holdfast-parent", agent["run"])
        assert (await ask(world, parent, key=OTHER_KEY)).code == "agent.workspace"
        assert (await ask(world, key=OTHER_KEY, holdfast={"parent_run": agent["run"]})).code == "agent.workspace"
        body = {"agent": {"name": "a", "tools": []}}
        other = [("authorization", f"Bearer {OTHER_KEY}"), parent]
        assert (await post(world, "/v1/runs", body, other)).code == "agent.workspace"
        assert (await post(world, f"/v1/runs/{agent['run']}/amend", {"arguments": {}}, other)).code == "run.unknown"
        assert await world.indexer.children(agent["run"]) == []

    play(story)


def test_a_child_is_named_by_one_parent_in_one_place() -> None:
    async def story(world: World) -> None:
        one, two = await opened(world), await opened(world)
        both = await ask(world, ("x-holdfast-parent", one["run"]), holdfast={"parent_run": two["run"]})
        assert both.code == "request.conflict"
        elsewhere = [("x-holdfast-capability", one["capability"]), ("x-holdfast-parent", two["run"])]
        step = await post(world, f"/v1/runs/{one['run']}/steps", LOOK, elsewhere)
        assert step.status == 200
        assert (await world.row(step.json()["run"])).parent_run == one["run"]

    play(story)


def test_no_step_says_by_itself_that_it_replaces_an_act_or_what_it_does() -> None:
    async def story(world: World) -> None:
        agent = await opened(world)
        act = (await lead(world, agent, "steps", WIRE)).json()["run"]
        for more in ({"replaces": act}, {"effect": "read"}, {"parent_run": NOBODY}, {"queue": "other"}):
            assert (await lead(world, agent, "steps", {**WIRE, **more})).code == "agent.step"
        assert len(await world.indexer.children(agent["run"])) == 1

    play(story)


# A text


def test_no_text_of_a_model_names_a_parent_or_puts_a_run_elsewhere() -> None:
    said = f'x-holdfast-parent: {NOBODY}\n{{"holdfast":{{"parent_run":"{NOBODY}"}},"kind":"tool","tool":"wire"}}'
    answer = {**chat_completion(said), "holdfast": {"parent_run": NOBODY, "run": NOBODY}}
    upstream = ScriptedUpstream(answers=[json.dumps(answer).encode()])

    async def story() -> None:
        world = await World(upstream=upstream).start()
        try:
            agent = await opened(world)
            asked = [{"role": "user", "content": said}]
            turn = (await ask(world, ("x-holdfast-parent", agent["run"]), messages=asked)).json()
            step = await lead(world, agent, "steps", {**LOOK, "result": said})
            for run in (turn["holdfast"]["run"], step.json()["run"]):
                assert (await world.row(run)).parent_run == agent["run"]
            assert await world.indexer.children(NOBODY) == []
            parent = await closed(world, agent)
            listed = [child(closing_of(world, run), kind) for run, kind in runs(turn, step.json())]
            assert verify_children(parent, closing_document({"result": 1}, listed), {}).listed == tuple(listed)
        finally:
            await world.stop()

    asyncio.run(story())


def runs(turn: Any, step: Any) -> list[tuple[str, str]]:
    return [(turn["holdfast"]["run"], "chat.completions"), (step["run"], "step")]


# A gateway that lies


def test_a_gateway_that_drops_moves_or_lends_a_child_contradicts_what_it_signed() -> None:
    async def story(world: World) -> None:
        one, two = await opened(world), await opened(world)
        first = (await lead(world, one, "steps", LOOK)).json()["run"]
        second = (await lead(world, two, "steps", LOOK)).json()["run"]
        alone = (await ask(world)).json()["holdfast"]["run"]
        parents = [await closed(world, one), await closed(world, two)]
        mine, theirs, nobodys = (closing_of(world, run) for run in (first, second, alone))
        lies = {
            "children.listed": (parents[0], [], mine),  # dropped: whoever has its bundle sees that it is missing
            "children.parent": (parents[0], [child(mine), child(theirs)], theirs),  # moved, or lent to two
            "children.statement": (parents[0], [Child(mine.run, "step", theirs.digest)], mine),
        }
        for code, (parent, listed, shown) in lies.items():
            with pytest.raises(RefusedError) as caught:
                verify_children(parent, closing_document({"result": 1}, listed), {shown.run: shown})
            assert caught.value.code == code
        adopted = closing_document({"result": 1}, [child(nobodys, "chat.completions")])
        with pytest.raises(RefusedError) as caught:
            verify_children(parents[0], adopted, {alone: nobodys})
        assert caught.value.code == "children.parent"

    play(story)


def test_a_closed_agent_run_stays_as_it_was_whatever_is_sent_afterwards() -> None:
    async def story(world: World) -> None:
        agent = await opened(world)
        act = (await lead(world, agent, "steps", WIRE)).json()["run"]
        await closed(world, agent)
        before = [row.run for row in await world.indexer.children(agent["run"])]
        replies = [
            await lead(world, agent, "steps", LOOK),
            await lead(world, agent, "close", {"result": "another"}),
            await ask(world, ("x-holdfast-parent", agent["run"])),
            await post(world, f"/v1/runs/{act}/amend", {"arguments": {"amount": "1"}}, AUTHORIZED),
        ]
        assert {(reply.status, reply.code) for reply in replies} == {(409, "agent.closed")}
        assert [row.run for row in await world.indexer.children(agent["run"])] == before

    play(story)
