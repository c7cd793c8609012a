"""Handing over what a user said: only when asked, only after the end, never a word of anybody else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from holdfast.adapters.memory_node_http import HTTPMemoryNode
from holdfast.core.encoding import sha256_hex
from holdfast.errors import HoldfastError, UnavailableError
from holdfast.nodes.gateway.remembering import Remembering
from tests.helpers.gateway_world import World, play
from tests.helpers.memory import MemoryWorld
from tests.helpers.memory_pages import NodeHTTP
from tests.helpers.recalls import USER, USER_KEY
from tests.helpers.upstreams import ScriptedUpstream
from tests.unit.nodes.gateway.test_recalling import ANSWER, STREAM, asked, remembering, upstream

REMEMBER = {"user": USER, "remember": True}
BOTH = {"user": USER, "recall": True, "remember": True}
SAID = [{"role": "user", "content": "I live in Oslo. Where do I live?"}]


async def told(world: World, **more: Any) -> Any:
    """``holdfast`` of an answer."""
    run = await world.gateway.open(asked(**{"memory": REMEMBER, "messages": SAID, **more}), "first")
    if more.get("stream"):
        events = [json.loads(event) async for event in world.gateway.stream(run)]
        return events[-1]["holdfast"]
    return json.loads(await world.gateway.answer(run))["holdfast"]


@pytest.mark.parametrize(
    "memory",
    [
        {"user": USER},
        {"user": USER, "remember": False},
        {"user": USER, "remember": 1},
        {"user": USER, "recall": False, "remember": True},
        {"user": USER, "remember": True, "forget": True},
        {"remember": True},
    ],
)
def test_what_asks_for_it_has_one_form(memory: Any) -> None:
    with pytest.raises(HoldfastError) as caught:
        asked(memory)
    assert caught.value.code == "request.memory"


def test_what_is_published_is_not_remembered() -> None:
    with pytest.raises(HoldfastError) as caught:
        asked(REMEMBER, settlement="individual")
    assert caught.value.code == "request.memory"


def test_without_a_key_nothing_is_asked_of_anybody() -> None:
    async def story(world: World) -> None:
        with pytest.raises(HoldfastError) as caught:
            await world.gateway.open(asked(REMEMBER, key=None), "first")
        assert (caught.value.code, caught.value.status) == ("request.memory", 401)
        assert (world.upstream.sent, world.memory.said) == ([], [])

    play(story, upstream=upstream())


def test_nothing_is_handed_over_where_nobody_asked() -> None:
    async def story(world: World) -> None:
        remembering(world)
        found = await told(world, memory={"user": USER, "recall": True})
        assert "memory" not in found
        assert world.memory.said == []

    play(story, upstream=upstream())


@pytest.mark.parametrize("stream", [False, True])
def test_what_the_user_said_is_handed_over_with_its_run_after_the_end(stream: bool) -> None:
    async def story(world: World) -> None:
        more = {"stream": True} if stream else {}
        before = [{"role": "user", "content": "I live in Rome."}, {"role": "assistant", "content": "I live in Paris."}]
        found = await told(world, messages=[*before, *SAID], **more)
        [saying] = world.memory.said
        assert (saying.run, saying.user, saying.said) == (found["run"], USER, (SAID[0]["content"],))
        assert found["memory"] == {"remembered": True, "added": 1, "renewed": 0}
        assert world.memory.orders == []  # nothing was recalled

    play(story, upstream=upstream())


def test_a_run_recalls_and_remembers_under_one_name() -> None:
    async def story(world: World) -> None:
        remembering(world)
        found = await told(world, memory=BOTH)
        assert world.memory.orders[0].run == world.memory.said[0].run == found["run"]

    play(story, upstream=upstream())


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": "> I live in Oslo.\n> I like maps."}],
        [
            {"role": "user", "content": "Read the page."},
            {"role": "assistant", "content": None, "tool_calls": []},
            {"role": "tool", "tool_call_id": "1", "content": "I live in Oslo."},
        ],
        [{"role": "system", "content": "I live in Oslo."}, {"role": "user", "content": "```\nI live in Oslo.\n```"}],
    ],
)
def test_a_pages_text_does_not_become_its_readers_word(messages: Any) -> None:
    async def story(world: World) -> None:
        found = await told(world, messages=messages)
        assert found["memory"] == {"remembered": False, "why": "said.nothing"}
        assert world.memory.said == []

    play(story, upstream=upstream())


def test_an_answer_that_failed_hands_nothing_over() -> None:
    async def story(world: World) -> None:
        run = await world.gateway.open(asked(REMEMBER, messages=SAID, stream=True), "first")
        events = [json.loads(event) async for event in world.gateway.stream(run)]
        assert events[-1]["holdfast"]["memory"] == {"remembered": False, "why": "said.unanswered"}
        assert world.memory.said == []

    broken = UnavailableError("upstream.broken", "it broke")
    play(story, upstream=ScriptedUpstream(answers=[ANSWER], streams=[[STREAM[0], broken]]))


def test_a_memory_node_that_is_away_costs_the_answer_nothing() -> None:
    async def story(world: World) -> None:
        world.memory.failure = UnavailableError("memory_node.unreachable", "silent")
        found = await told(world)
        assert found["memory"] == {"remembered": False, "why": "memory_node.unreachable"}
        assert found["outcome"] == "complete"

    play(story, upstream=upstream())


def test_a_private_run_hands_over_what_it_asks_for_and_keeps_no_key() -> None:
    async def story(world: World) -> None:
        before = world.ledger.end
        found = await told(world, settlement="private")
        assert found["memory"]["remembered"] is True
        kept = b"".join(item.payload for item in world.ledger.replay(before))
        assert USER_KEY.encode() not in kept
        assert b"Oslo" not in kept

    play(story, upstream=upstream())


def test_a_memory_node_keeps_it_with_the_run_and_the_span_as_its_source(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        memory = MemoryWorld(tmp_path)
        try:
            user = await memory.user()
            node = HTTPMemoryNode("https://memory.test", NodeHTTP(memory))
            world.gateway._remembering = Remembering(node)
            asks = asked({"user": user.id, "remember": True}, key=user.key, messages=SAID)
            run = await world.gateway.open(asks, "first")
            found = json.loads(await world.gateway.answer(run))["holdfast"]
            assert found["memory"] == {"remembered": True, "added": 1, "renewed": 0}
            [row] = (await user.ask("GET", "/v1/memories"))["data"]
            span = sha256_hex(b"I live in Oslo.")
            assert row["memory"] == "Lives in Oslo."
            assert row["sources"] == [{"kind": "run", "id": run.id, "lane": "user_said", "spans": [span]}]
            other = asked({"user": "usr_other", "remember": True}, key=user.key, messages=SAID)
            answer = await world.gateway.answer(await world.gateway.open(other, "first"))
            assert json.loads(answer)["holdfast"]["memory"] == {"remembered": False, "why": "memory.owner"}
        finally:
            memory.close()

    play(story, upstream=upstream())
