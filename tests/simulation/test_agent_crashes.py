"""Agent runs over crashes at every write: who asks again under a key is answered as before, and nothing comes twice."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import pytest

from holdfast.nodes.gateway.agents import INTERRUPTED
from holdfast.nodes.gateway.ledger import Ledger
from holdfast.nodes.gateway.records import CLOSE, OPEN
from holdfast.ports.storage import Storage
from tests.helpers import asgi, crashes
from tests.helpers.gateway_world import KEY, World

TOOLS = [{"name": "look", "effect": "read"}, {"name": "wire", "effect": "pay", "queue": "treasury"}]


class Leader:
    """Leads one agent run from its beginning to its end, in every life anew, under the same keys."""

    def __init__(self) -> None:
        self.told: dict[str, bytes] = {}
        """Key to what was answered under it first."""

    async def lead(self, world: World) -> None:
        agent = await self._post(world, "open", "/v1/runs", {"agent": {"name": "a", "tools": TOOLS}})
        for number in range(2):
            look = {"kind": "tool", "tool": "look", "arguments": {"at": str(number)}, "result": number}
            wire = {"kind": "tool", "tool": "wire", "arguments": {"amount": str(number)}}
            _, act = await asyncio.gather(
                self._step(world, agent, f"look {number}", look), self._step(world, agent, f"wire {number}", wire)
            )
            outcome = {"kind": "outcome", "of": act["run"], "result": number}
            await asyncio.gather(*(self._step(world, agent, f"outcome {number}", outcome) for _ in range(2)))
        await self._post(world, "close", f"/v1/runs/{agent['run']}/close", {"result": 1}, agent)

    async def _step(self, world: World, agent: Any, key: str, value: Any) -> Any:
        return await self._post(world, key, f"/v1/runs/{agent['run']}/steps", value, agent)

    async def _post(self, world: World, key: str, path: str, value: Any, agent: Any = None) -> Any:
        held = ("authorization", f"Bearer {KEY}")
        if agent is not None:
            held = ("x-holdfast-capability", agent["capability"])
        body = json.dumps(value).encode()
        reply = await asgi.request(world.app(), "POST", path, body, [held, ("idempotency-key", key)])
        assert reply.status == 200, reply.body
        assert self.told.setdefault(key, reply.body) == reply.body
        return reply.json()


def steps_of(ledger: Ledger) -> Counter[str]:
    """What was told in steps that are whole, and how often."""
    ended = {item.record.header["run"]: item.record.header["outcome"] for item in ledger.replay() if item.kind == CLOSE}
    openings = [item.record.header for item in ledger.replay() if item.kind == OPEN]
    return Counter(item["retry"]["name"] for item in openings if ended[item["run"]] != INTERRUPTED)


@pytest.mark.parametrize("seed", crashes.seeds())
def test_nothing_is_told_twice_and_every_key_keeps_its_answer(seed: int) -> None:
    story, leader = crashes.Story(seed), Leader()
    lives = 0

    async def life(_storage: Storage) -> None:
        nonlocal lives
        lives += 1
        world = World()
        world.disk, world._life = story.disk, lives
        await world.start()
        await leader.lead(world)
        counted = steps_of(world.ledger)
        assert set(counted.values()) == {1}
        assert len(counted) == len(leader.told) - 1 == 7  # closing opens nothing
        await world.stop()

    for _ in range(3):
        story.live(life)
    story.live(life, crash=False)
