"""What agent runs spend: nothing is sent that could come past a limit, whatever runs at once, below or again."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from holdfast.core import canonical
from holdfast.core.agents import parse_children
from holdfast.core.parts import pseudo_random_key
from holdfast.core.sealing import open_document
from holdfast.nodes.gateway.ledger import parse_closing
from holdfast.ports.upstream import UpstreamAnswer, UpstreamUnreachableError
from tests.helpers import asgi
from tests.helpers.gateway_world import World
from tests.helpers.gateway_world import play as play_free
from tests.helpers.till import AUTHORIZED, PaidWorld, body, play
from tests.helpers.upstreams import ScriptedUpstream

CAP = (len(body()) * 1 + 20 * 10) / 10**6
"""Dollars that a request can cost, at 1 and 10 micro-dollars a token."""
COST = "0.000023"
"""What the scripted answer costs: three tokens in, two out."""


async def opened(world: World, spend: str | None = None, parent: str | None = None) -> dict[str, Any]:
    limits = {} if spend is None else {"spend": spend}
    asked = {"agent": {"name": "treasurer", "tools": [], "limits": limits}}
    headers = [AUTHORIZED, *([("x-holdfast-parent", parent)] if parent else [])]
    reply = await asgi.request(world.app(), "POST", "/v1/runs", json.dumps(asked).encode(), headers)
    assert reply.status == 200, reply.body
    return reply.json()


async def turn(world: World, parent: str, **more: Any) -> asgi.Reply:
    headers = [AUTHORIZED, ("x-holdfast-parent", parent)]
    return await asgi.request(world.app(), "POST", "/v1/chat/completions", body(**more), headers)


async def close(world: World, agent: dict[str, Any], code: str | None = None) -> asgi.Reply:
    headers = [("x-holdfast-capability", agent["capability"])]
    reply = await asgi.request(world.app(), "POST", f"/v1/runs/{agent['run']}/close", b'{"result":1}', headers)
    assert reply.status == 200 or reply.code == code
    return reply


async def spending(world: World, run: str) -> Any:
    reply = await asgi.request(world.app(), "GET", f"/v1/runs/{run}/children", headers=[AUTHORIZED])
    return reply.json()["spend"]


def sent(world: World) -> int:
    assert isinstance(world.upstream, ScriptedUpstream)
    return len(world.upstream.sent)


class Waiting(ScriptedUpstream):
    """Answers once it is let go on."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = asyncio.Event()
        self.reached = asyncio.Semaphore(0)

    async def complete(self, path: str, body: bytes, *, timeout_s: float) -> UpstreamAnswer:
        self.reached.release()
        await self.go_on.wait()
        return await super().complete(path, body, timeout_s=timeout_s)


def test_what_could_come_past_the_limit_is_not_sent_and_not_paid_for() -> None:
    async def story(world: PaidWorld) -> None:
        agent = await opened(world, "0.0003")
        reply = await turn(world, agent["run"], max_tokens=40)
        assert (reply.status, reply.code) == (429, "agent.spend")
        assert reply.header("payment-required") is None
        assert sent(world) == 0
        assert await world.charged() == []
        assert await spending(world, agent["run"]) == {"unit": "USD", "limit": "0.0003", "spent": "0", "held": "0"}
        assert (await turn(world, agent["run"])).status == 200
        assert (await spending(world, agent["run"]))["spent"] == COST
        assert (await turn(world, agent["run"])).code == "agent.spend"
        assert sent(world) == 1

    play(story)


def test_a_loop_ends_at_its_limit_and_never_behind_it() -> None:
    async def story(world: PaidWorld) -> None:
        agent = await opened(world, "0.0005")
        done = 0
        while (await turn(world, agent["run"])).status == 200:
            done += 1
        told = await spending(world, agent["run"])
        assert 0 < float(told["spent"]) <= 0.0005
        assert round(done * float(COST), 9) == float(told["spent"])
        assert told["held"] == "0"
        assert float(told["spent"]) + CAP > 0.0005

    play(story)


def test_children_at_once_hold_together_no_more_than_the_limit() -> None:
    upstream = Waiting()

    async def story(world: PaidWorld) -> None:
        agent = await opened(world, "0.0006")
        asked = [asyncio.ensure_future(turn(world, agent["run"])) for _ in range(5)]
        for _ in range(2):
            await upstream.reached.acquire()
        assert float((await spending(world, agent["run"]))["held"]) == round(2 * CAP, 9)
        upstream.go_on.set()
        codes = sorted([(await task).status for task in asked])
        assert codes == [200, 200, 429, 429, 429]
        assert (await spending(world, agent["run"])) == {
            "unit": "USD",
            "limit": "0.0006",
            "spent": "0.000046",
            "held": "0",
        }

    play(story, upstream=upstream)


def test_what_is_spent_below_counts_towards_every_agent_run_above() -> None:
    async def story(world: PaidWorld) -> None:
        top = await opened(world, "0.0003")
        middle = await opened(world, None, top["run"])
        low = await opened(world, "1", middle["run"])
        assert (await turn(world, low["run"])).status == 200
        assert (await turn(world, low["run"])).code == "agent.spend"
        assert (await turn(world, middle["run"])).code == "agent.spend"
        for agent in (low, middle):
            await close(world, agent)
        assert (await turn(world, top["run"])).code == "agent.spend"
        for agent in (top, middle, low):
            assert (await spending(world, agent["run"]))["spent"] == COST
        aside = await opened(world, "0.0003")
        assert (await turn(world, aside["run"])).status == 200

    play(story)


def test_a_run_that_fails_is_let_go_of_again() -> None:
    async def story(world: PaidWorld) -> None:
        agent = await opened(world, "0.0003")
        assert isinstance(world.upstream, ScriptedUpstream)
        world.upstream.answers = [UpstreamUnreachableError("gone")]
        for _ in range(3):
            assert (await turn(world, agent["run"])).status == 502
        assert await spending(world, agent["run"]) == {"unit": "USD", "limit": "0.0003", "spent": "0", "held": "0"}
        assert (await turn(world, agent["run"], model="nobody-sells-it")).status == 404
        refused = await asgi.request(
            world.app(), "POST", "/v1/chat/completions", body(), [("x-holdfast-parent", agent["run"])]
        )
        assert refused.status in (402, 404)
        assert (await spending(world, agent["run"]))["held"] == "0"

    play(story)


def test_what_was_spent_and_what_was_cut_off_is_known_after_a_restart(tmp_path: Path) -> None:
    upstream = Waiting()

    async def story(world: PaidWorld) -> None:
        upstream.go_on.set()
        top = await opened(world, "0.0006")
        low = await opened(world, None, top["run"])
        assert (await turn(world, low["run"])).status == 200
        await upstream.reached.acquire()
        await close(world, low)
        other = await opened(world, None, top["run"])
        upstream.go_on.clear()
        cut = asyncio.ensure_future(turn(world, other["run"]))
        await upstream.reached.acquire()
        before = await spending(world, top["run"])
        assert before["spent"] == COST
        cut.cancel()
        await asyncio.gather(cut, return_exceptions=True)
        await world.charged()
        await world.stop()
        await world.start()
        after = await spending(world, top["run"])
        assert after == {**before, "held": "0"}
        upstream.go_on.set()
        assert (await turn(world, other["run"])).status == 200
        assert (await turn(world, other["run"])).status == 200
        assert (await spending(world, top["run"]))["spent"] == "0.000069"

    play(story, tmp_path, upstream)


def test_the_closing_answer_binds_what_was_spent_where_there_is_a_limit() -> None:
    async def story(world: PaidWorld) -> None:
        for spend, told in (("0.5", COST), (None, None)):
            agent = await opened(world, spend)
            assert (await turn(world, agent["run"])).status == 200
            await close(world, agent)
            answer = await answer_of(world, agent)
            assert answer.get("spent") == told
            assert len(parse_children(answer)) == 1
            assert (await spending(world, agent["run"]))["spent"] == COST

    play(story)


def test_where_nothing_costs_anything_nothing_is_spent() -> None:
    async def story(world: World) -> None:
        agent = await opened(world, "0")
        assert (await turn(world, agent["run"])).status == 200
        assert await spending(world, agent["run"]) == {"unit": "USD", "limit": "0", "spent": "0", "held": "0"}
        chat = (await turn(world, agent["run"])).json()["holdfast"]["run"]
        assert await spending(world, chat) is None

    play_free(story)


async def answer_of(world: World, agent: dict[str, Any]) -> Any:
    row = await world.row(agent["run"])
    closing = parse_closing(world.ledger.read(row.close_place).record)
    key = pseudo_random_key(agent["run"], bytes.fromhex(agent["capability"]))
    return canonical.decode(open_document(key, "response", closing.sealed))
