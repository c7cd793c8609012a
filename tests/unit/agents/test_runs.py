"""Agent runs as whoever leads them asks for them, against a gateway in this process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from holdfast.agents.runs import AgentRun, AgentRuns
from holdfast.core import canonical
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UsageError
from holdfast.ports.http import Answer
from tests.helpers.gateway_world import KEY, World, play
from tests.helpers.log import AppHTTP

AGENT = {
    "name": "treasurer",
    "tools": [{"name": "look", "effect": "read"}, {"name": "wire", "effect": "pay", "queue": "treasury"}],
}
RUN, CAPABILITY = "018f5c2e-0000-7000-8000-000000000001", "ab" * 32
OPENED = {"run": RUN, "capability": CAPABILITY, "attester": "node", "settlement": "batch"}


class ScriptedHTTP:
    """Answers one thing and keeps what was sent."""

    def __init__(self, value: Any, status: int = 200) -> None:
        self.answer = Answer(status, json.dumps(value).encode())
        self.sent: list[tuple[str, str, bytes, Mapping[str, str]]] = []

    async def request(
        self,
        method: str,
        url: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 10.0,
        max_bytes: int = 1 << 20,
    ) -> Answer:
        self.sent.append((method, url, body, headers or {}))
        return self.answer


def runs_of(world: World, key: str | None = KEY) -> AgentRuns:
    return AgentRuns(AppHTTP({"http://gateway": world.app()}), "http://gateway", key)


@pytest.mark.parametrize(
    "told",
    [
        {},
        {**OPENED, "run": "../steps"},
        {**OPENED, "run": 1},
        {**OPENED, "capability": "open"},
        {**OPENED, "capability": None},
        {**OPENED, "attester": None},
    ],
)
def test_what_no_gateway_answers_opens_nothing(told: dict[str, Any]) -> None:
    with pytest.raises(MalformedError) as caught:
        asyncio.run(AgentRuns(ScriptedHTTP(told), "http://gateway", "k").open(AGENT))
    assert caught.value.code == "agent.answer"


def test_a_step_without_statements_was_not_recorded() -> None:
    agent = AgentRun(RUN, CAPABILITY, "node", "batch")
    for statements in (None, [{}], [{"kind": "route"}], "route"):
        http = ScriptedHTTP({**OPENED, "statements": statements})
        with pytest.raises(MalformedError) as caught:
            asyncio.run(AgentRuns(http, "http://gateway").propose(agent, "wire", {}))
        assert caught.value.code == "agent.answer"


def test_an_error_is_the_error_that_it_was() -> None:
    error = {"message": "no", "type": "refused", "param": None, "code": "agent.steps", "hint": ""}
    with pytest.raises(RefusedError) as caught:
        asyncio.run(AgentRuns(ScriptedHTTP({"error": error}, 429), "http://gateway", "k").open(AGENT))
    assert (caught.value.code, caught.value.status) == ("agent.steps", 429)


def test_keys_and_capabilities_stand_in_headers_and_are_never_shown() -> None:
    http = ScriptedHTTP({**OPENED, "statements": []})
    runs = AgentRuns(http, "http://gateway/", "the-key")
    agent = asyncio.run(runs.open(AGENT, parent=RUN, settlement="private", idempotency_key="once"))
    arguments = {"at": canonical.NumberText("1.50")}
    asyncio.run(runs.call(agent, "look", arguments, error="gone", idempotency_key="twice"))
    (_, opening, _, headers), (_, step, body, led) = http.sent
    assert (opening, step) == ("http://gateway/v1/runs", f"http://gateway/v1/runs/{RUN}/steps")
    assert headers["authorization"] == "Bearer the-key"
    assert (headers["x-holdfast-parent"], headers["idempotency-key"]) == (RUN, "once")
    assert led == {
        "content-type": "application/json",
        "x-holdfast-capability": CAPABILITY,
        "idempotency-key": "twice",
    }
    assert body == b'{"kind":"tool","tool":"look","arguments":{"at":1.50},"error":"gone"}'
    assert CAPABILITY not in repr(agent)


def test_an_agent_run_from_its_opening_to_its_children() -> None:
    async def story(world: World) -> None:
        runs = runs_of(world)
        agent = await runs.open(AGENT)
        looked = await runs.call(agent, "look", {"at": "rates"}, result={"eur": "1.07"})
        act = await runs.propose(agent, "wire", {"to": "0xabc"})
        assert (looked.queue, act.queue) == (None, "treasury")
        told = await runs.outcome(agent, act.run, error="nobody let it through")
        await runs.hint(agent, "span", {"took": "short"})
        with pytest.raises(UsageError) as caught:
            await runs.outcome(agent, act.run, result=1)
        assert caught.value.code == "agent.outcome"
        closed = await runs.close(agent, result="done")
        assert closed.run == agent.run
        shown = await runs.children(agent)
        assert [child["run"] for child in shown["children"]][:3] == [looked.run, act.run, told.run]
        with pytest.raises(HoldfastError) as late:
            await runs.call(agent, "look", {}, result=1)
        assert late.value.code == "agent.closed"

    play(story)


def test_without_a_key_nobody_opens_one() -> None:
    async def story(world: World) -> None:
        with pytest.raises(HoldfastError) as caught:
            await runs_of(world, None).open(AGENT)
        assert caught.value.code == "auth.missing"

    play(story)
