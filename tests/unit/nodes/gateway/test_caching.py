"""Answers that are given again: only to whoever asks the very same, and never as if they were new."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Self

import pytest

from holdfast.adapters.storage_simulated import SimulatedDisk
from holdfast.core.statements import Execution, Route
from holdfast.errors import HoldfastError
from holdfast.nodes.gateway.caching import Cache
from holdfast.nodes.gateway.request import Ask
from holdfast.verifier.routes import describe_route, deviations
from tests.helpers.clock import FakeClock
from tests.helpers.gateway import Assembled, MemoryLog, ask, assemble
from tests.helpers.upstreams import ScriptedUpstream

COLD = {"temperature": 0}


def saying(text: str) -> bytes:
    message = {"role": "assistant", "content": text}
    return json.dumps({"model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()


class Place:
    """A gateway with a cache, its upstream, and what the log got."""

    def __init__(self, answers: list[Any] | None = None, seconds: float = 60, most_bytes: int = 1 << 20) -> None:
        self.clock, self.log = FakeClock(), MemoryLog()
        self.upstream = ScriptedUpstream(answers=answers or [saying(f"answer {number}") for number in range(9)])
        self.parts: Assembled | None = None
        self._cache = Cache(self.clock, seconds=seconds, most_bytes=most_bytes)

    async def __aenter__(self) -> Self:
        self.parts = assemble(SimulatedDisk(1).mount(), self.log, [self.upstream], self.clock, cache=self._cache)
        await self.parts.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self.parts is not None
        await self.parts.deliver()
        await self.parts.indexer.close()

    async def asked(self, request: Ask, workspace: str = "tests") -> tuple[Any, dict[str, Any]]:
        assert self.parts is not None
        run = await self.parts.gateway.open(request, workspace)
        return run, json.loads(await self.parts.gateway.answer(run))

    def routes(self) -> list[Route]:
        return [item.body for item in self.log.statements() if isinstance(item.body, Route)]


def said(answer: dict[str, Any]) -> str:
    return str(answer["choices"][0]["message"]["content"])


def cached(text: str = "hello", **more: Any) -> Ask:
    options = {"cache": True, **more.pop("holdfast", {})}
    return ask(text, holdfast=options, **{**COLD, **more})


def play(story: Any, **more: Any) -> Place:
    async def main() -> Place:
        async with Place(**more) as place:
            await story(place)
        return place

    return asyncio.run(main())


@pytest.mark.parametrize(
    "request_",
    [
        ask(holdfast={"cache": True}),
        ask(holdfast={"cache": True}, temperature=0.1),
        cached(holdfast={"settlement": "private"}),
        cached(holdfast={"sealed": True, "queue": "a"}),
        cached(holdfast={"memory": {"user": "a", "recall": True}}),
        cached(endpoint="completions", prompt="a"),
    ],
    ids=["no word of sameness", "warm", "private", "sealed", "memory", "another endpoint"],
)
def test_what_has_no_answer_to_keep_is_refused_before_anything_is_sent(request_: Ask):
    async def story(place: Place) -> None:
        with pytest.raises(HoldfastError) as caught:
            await place.asked(request_)
        assert (caught.value.code, caught.value.param) == ("request.cache", "holdfast.cache")
        assert place.upstream.sent == []

    play(story)


def test_a_gateway_that_keeps_nothing_says_so():
    async def story(place: Place) -> None:
        with pytest.raises(HoldfastError) as caught:
            await place.asked(cached())
        assert caught.value.code == "request.cache"

    play(story, seconds=0)


def test_cache_is_true_or_false():
    with pytest.raises(HoldfastError) as caught:
        ask(holdfast={"cache": "yes"}, **COLD)
    assert caught.value.code == "request.cache"


def test_the_same_question_gets_the_same_answer_as_a_run_of_its_own_that_says_so():
    async def story(place: Place) -> None:
        first, one = await place.asked(cached())
        second, two = await place.asked(cached())
        assert said(one) == said(two) == "answer 0"
        assert len(place.upstream.sent) == 1
        assert first.id != second.id
        assert two["holdfast"]["route"] == {
            "upstream": "scripted",
            "attempts": [],
            "cached": True,
            "cached_run": first.id,
        }
        assert "cached" not in one["holdfast"]["route"]

    place = play(story)
    one, two = place.routes()
    assert (one.cached, one.cached_run) == (False, None)
    assert two.cached
    assert two.attempts == ()
    assert "cache" in deviations(two)
    assert f"run {two.cached_run} was given" in describe_route(two)
    assert "nobody was turned to" in describe_route(two)
    closings = [item.body for item in place.log.statements() if isinstance(item.body, Execution)]
    assert closings[0].response != closings[1].response


@pytest.mark.parametrize(
    ("other", "workspace"),
    [
        (cached("another"), "tests"),
        (cached(temperature=0, seed=7), "tests"),
        (cached(), "another"),
        (ask("hello", **COLD), "tests"),
        (cached(holdfast={"route": {"cache": "none"}}), "tests"),
    ],
    ids=["another text", "another parameter", "another workspace", "not asked for", "forbidden"],
)
def test_nobody_else_gets_it(other: Ask, workspace: str):
    async def story(place: Place) -> None:
        await place.asked(cached())
        _, found = await place.asked(other, workspace)
        assert said(found) == "answer 1"
        assert "cached" not in found["holdfast"]["route"]

    place = play(story)
    assert [route.cached for route in place.routes()] == [False, False]


def test_what_a_policy_keeps_out_of_the_cache_is_not_in_it():
    async def story(place: Place) -> None:
        await place.asked(cached(holdfast={"route": {"cache": "none"}}))
        _, found = await place.asked(cached())
        assert said(found) == "answer 1"

    play(story)


def test_its_time_runs_out():
    async def story(place: Place) -> None:
        await place.asked(cached())
        await place.clock.advance(61)
        _, found = await place.asked(cached())
        assert said(found) == "answer 1"

    play(story)


def test_the_oldest_answers_make_room():
    async def story(place: Place) -> None:
        for number in range(12):
            await place.asked(cached(f"question {number}"))
        before = len(place.upstream.sent)
        await place.asked(cached("question 11"))
        assert len(place.upstream.sent) == before
        await place.asked(cached("question 0"))
        assert len(place.upstream.sent) == before + 1

    play(story, answers=[saying("x" * 100)], most_bytes=2000)


def test_a_failure_is_not_kept():
    async def story(place: Place) -> None:
        with pytest.raises(HoldfastError):
            await place.asked(cached())
        _, found = await place.asked(cached())
        assert said(found) == "well"

    play(story, answers=[b"no json", saying("well")])


def test_a_stream_gets_what_was_kept_of_a_whole_answer_in_one_event_with_a_mark():
    async def story(place: Place) -> None:
        first, _ = await place.asked(cached())
        assert place.parts is not None
        run = await place.parts.gateway.open(cached(stream=True), "tests")
        frames = [json.loads(frame) async for frame in place.parts.gateway.stream(run)]
        assert "".join(frame["choices"][0]["delta"].get("content", "") for frame in frames) == "answer 0"
        last = frames[-1]["holdfast"]
        assert (last["outcome"], last["mark"]["seq"] > 0) == ("complete", True)
        assert last["route"]["cached_run"] == first.id
        assert len(place.upstream.sent) == 1

    place = play(story)
    assert [(route.cached, route.streamed) for route in place.routes()] == [(False, False), (True, True)]
