"""Idempotency keys at a gateway: the same request again is the same run, and another is refused."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from holdfast.nodes.gateway.ledger import Ledger
from tests.helpers import asgi
from tests.helpers.gateway_world import KEY, OTHER_KEY, World, play

TOOLS = [{"name": "look", "effect": "read"}, {"name": "wire", "effect": "pay", "queue": "treasury"}]
AGENT = {"agent": {"name": "treasurer", "tools": TOOLS}}
LOOK = {"kind": "tool", "tool": "look", "arguments": {"at": "rates"}, "result": {"eur": "1.07"}}
WIRE = {"kind": "tool", "tool": "wire", "arguments": {"to": "0xabc", "amount": "5"}}
NAME = "8e03978e-40d5-43dd-bc93-6894a57f9324"


async def post(world: World, path: str, value: Any, *headers: tuple[str, str]) -> asgi.Reply:
    return await asgi.request(world.app(), "POST", path, json.dumps(value).encode(), list(headers))


async def open_run(world: World, value: Any = AGENT, key: str = NAME, of: str = KEY, *more: tuple[str, str]) -> Any:
    return await post(world, "/v1/runs", value, ("authorization", f"Bearer {of}"), ("idempotency-key", key), *more)


async def lead(world: World, agent: Any, what: str, value: Any, key: str = NAME) -> asgi.Reply:
    held = ("x-holdfast-capability", agent["capability"])
    return await post(world, f"/v1/runs/{agent['run']}/{what}", value, held, ("idempotency-key", key))


async def count(world: World, run: str) -> int:
    return len(await world.indexer.children(run))


@pytest.mark.parametrize("key", ["", '""', " a", "a ", "a\x7f", "x" * 256])
def test_a_key_that_is_no_text_is_refused(key: str) -> None:
    async def story(world: World) -> None:
        reply = await open_run(world, key=key)
        assert (reply.status, reply.code) == (400, "request.idempotency")

    play(story)


def test_another_request_under_a_key_is_refused_and_opens_nothing() -> None:
    async def story(world: World) -> None:
        agent = (await open_run(world)).json()
        other = {"agent": {"name": "treasurer", "tools": []}}
        for reply in (
            await open_run(world, other),
            await open_run(world, AGENT, NAME, KEY, ("x-holdfast-settlement", "private")),
            await open_run(world, AGENT, NAME, KEY, ("x-holdfast-parent", agent["run"])),
        ):
            assert (reply.status, reply.code) == (422, "agent.key")
        assert (await lead(world, agent, "steps", WIRE)).status == 200
        reply = await lead(world, agent, "steps", {**WIRE, "arguments": {"to": "0xabc", "amount": "6"}})
        assert (reply.status, reply.code) == (422, "agent.key")
        assert await count(world, agent["run"]) == 1
        assert (await lead(world, agent, "close", {"result": 1})).status == 200
        reply = await lead(world, agent, "close", {"result": 2})
        assert (reply.status, reply.code) == (422, "agent.key")
        assert (await lead(world, agent, "close", {"result": 1}, "another")).code == "agent.closed"

    play(story)


def test_the_same_request_under_a_key_is_the_same_run_also_after_a_restart_and_after_the_end(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        agent = await open_run(world)
        first, act = agent.json(), await lead(world, agent.json(), "steps", WIRE)
        outcome = {"kind": "outcome", "of": act.json()["run"], "result": {"transaction": "0x1"}}
        told = await lead(world, first, "steps", outcome, "outcome")
        end = await lead(world, first, "close", {"result": 1})
        for _ in range(2):
            assert (await open_run(world)).body == agent.body
            assert (await open_run(world, key=f'"{NAME}"')).body == agent.body
            assert (await lead(world, first, "steps", WIRE)).body == act.body
            assert (await lead(world, first, "steps", outcome, "outcome")).body == told.body
            assert (await lead(world, first, "close", {"result": 1})).body == end.body
            await world.stop()
            await world.start()
        assert await count(world, first["run"]) == 2
        assert act.json()["queue"] == "treasury"
        assert len(end.json()["statements"]) == 2

    play(story, tmp_path)


def test_a_key_is_its_senders_own() -> None:
    async def story(world: World) -> None:
        mine, theirs = (await open_run(world)).json(), (await open_run(world, of=OTHER_KEY)).json()
        assert mine["run"] != theirs["run"]
        second = (await open_run(world, key="another")).json()
        runs = {(await lead(world, agent, "steps", LOOK)).json()["run"] for agent in (mine, second)}
        assert len(runs) == 2

    play(story)


def test_what_is_refused_leaves_its_key_free() -> None:
    async def story(world: World) -> None:
        assert (await open_run(world, {"agent": {}})).code == "agent.request"
        agent = (await open_run(world)).json()
        assert (await lead(world, agent, "steps", {**WIRE, "tool": "none"})).code == "agent.tool"
        assert (await lead(world, agent, "steps", WIRE)).status == 200

    play(story)


def test_requests_at_once_under_one_key_come_to_one_run() -> None:
    async def story(world: World) -> None:
        replies = await asyncio.gather(*(open_run(world) for _ in range(5)))
        assert len({reply.body for reply in replies}) == 1
        agent = replies[0].json()
        acts = await asyncio.gather(*(lead(world, agent, "steps", WIRE) for _ in range(5)))
        assert len({reply.body for reply in acts}) == 1
        assert await count(world, agent["run"]) == 1
        ends = await asyncio.gather(*(lead(world, agent, "close", {"result": 1}) for _ in range(3)))
        assert len({reply.body for reply in ends}) == 1

    play(story)


def test_a_caller_that_is_cut_off_finds_what_it_asked_for_under_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(world: World) -> None:
        reached, go_on = asyncio.Event(), asyncio.Event()
        write = Ledger.open_run

        async def slowly(*given: Any, **named: Any) -> Any:
            reached.set()
            await go_on.wait()
            return await write(*given, **named)

        monkeypatch.setattr(Ledger, "open_run", slowly)
        asked = asyncio.ensure_future(open_run(world))
        await reached.wait()
        asked.cancel()
        again = asyncio.ensure_future(open_run(world))
        go_on.set()
        agent = (await again).json()
        assert (await lead(world, agent, "steps", LOOK)).status == 200
        assert len(await world.indexer.recent("first", 10)) == 2

    play(story)


def test_the_capability_is_not_in_what_the_gateway_keeps() -> None:
    async def story(world: World) -> None:
        agent = (await open_run(world)).json()
        act = (await lead(world, agent, "steps", WIRE)).json()
        kept = b"".join(item.payload for item in world.ledger.replay())
        for secret in (agent["capability"], act["capability"]):
            assert bytes.fromhex(secret) not in kept
            assert secret.encode() not in kept
        assert NAME.encode() not in kept

    play(story)
