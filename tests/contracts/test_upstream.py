"""What every upstream adapter promises: the port's rules, run against each of them over real sockets or in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from holdfast.adapters.clock_system import SystemClock
from holdfast.adapters.upstream_anthropic import AnthropicUpstream
from holdfast.adapters.upstream_builtin import BuiltinUpstream
from holdfast.adapters.upstream_gemini import GeminiUpstream
from holdfast.adapters.upstream_openai import OpenAIUpstream, OpenAIUpstreamConfig
from holdfast.adapters.upstream_renderer import RendererUpstream
from holdfast.adapters.upstream_tiny import TinyUpstream
from holdfast.core import canonical
from holdfast.ports.upstream import Upstream, UpstreamStatusError
from tests.helpers.providers import claude_server, gemini_server
from tests.helpers.upstreams import FaultyServer, ScriptedUpstream, chat_server

pytestmark = pytest.mark.enable_socket


@asynccontextmanager
async def direct() -> AsyncIterator[Upstream]:
    async with FaultyServer(chat_server) as server:
        upstream = OpenAIUpstream(OpenAIUpstreamConfig("direct", server.base_url))
        yield upstream
        await upstream.close()


@asynccontextmanager
async def over_aiohttp() -> AsyncIterator[Upstream]:
    async with FaultyServer(chat_server) as server:
        upstream = OpenAIUpstream(OpenAIUpstreamConfig("aiohttp", server.base_url, http_client="aiohttp"))
        yield upstream
        await upstream.close()


@asynccontextmanager
async def scripted() -> AsyncIterator[Upstream]:
    yield ScriptedUpstream()


@asynccontextmanager
async def builtin() -> AsyncIterator[Upstream]:
    yield BuiltinUpstream(SystemClock(), lambda: "1", pace_tokens_s=10_000)


@asynccontextmanager
async def tiny() -> AsyncIterator[Upstream]:
    yield TinyUpstream(SystemClock(), lambda: "1", pace_tokens_s=10_000)


@asynccontextmanager
async def renderer() -> AsyncIterator[Upstream]:
    yield RendererUpstream(SystemClock(), lambda: "1")


@asynccontextmanager
async def anthropic() -> AsyncIterator[Upstream]:
    async with FaultyServer(claude_server) as server:
        upstream = AnthropicUpstream(OpenAIUpstreamConfig("anthropic", server.base_url), SystemClock())
        yield upstream
        await upstream.close()


@asynccontextmanager
async def gemini() -> AsyncIterator[Upstream]:
    async with FaultyServer(gemini_server) as server:
        upstream = GeminiUpstream(OpenAIUpstreamConfig("gemini", server.base_url), SystemClock())
        yield upstream
        await upstream.close()


@asynccontextmanager
async def gemini_over_aiohttp() -> AsyncIterator[Upstream]:
    async with FaultyServer(gemini_server) as server:
        config = OpenAIUpstreamConfig("gemini", server.base_url, http_client="aiohttp")
        upstream = GeminiUpstream(config, SystemClock())
        yield upstream
        await upstream.close()


ADAPTERS = [direct, over_aiohttp, anthropic, gemini, gemini_over_aiohttp, builtin, tiny, renderer, scripted]


@pytest.fixture(params=ADAPTERS, ids=lambda make: make.__name__)
def run(request: pytest.FixtureRequest) -> Callable[[Callable[[Upstream], Awaitable[Any]]], Any]:
    """Runs an async function of an upstream in its own loop."""

    def runner(test: Callable[[Upstream], Awaitable[Any]]) -> Any:
        async def main() -> Any:
            async with request.param() as upstream, asyncio.timeout(20):
                return await test(upstream)

        return asyncio.run(main())

    return runner


async def _chat(upstream: Upstream, **more: Any) -> tuple[str, bytes]:
    """Where a chat goes, and its body, as the upstream wants to be asked."""
    model = (await upstream.models())[0].id
    value = {"model": model, "messages": [{"role": "user", "content": "Hello"}], **more}
    prepared = upstream.dialect.prepare("chat.completions", value)
    return prepared.path, canonical.encode_exact(prepared.document)


def test_an_upstream_has_a_short_code(run):
    async def code(upstream: Upstream) -> str:
        return upstream.code

    assert 1 <= len(run(code)) <= 32


def test_models_are_listed(run):
    async def listed(upstream: Upstream) -> Any:
        return await upstream.models()

    models = run(listed)
    assert models
    assert all(model.id for model in models)


def test_a_whole_answer_is_a_json_object_with_a_2xx_status(run):
    async def ask(upstream: Upstream) -> Any:
        return await upstream.complete(*await _chat(upstream), timeout_s=10)

    answer = run(ask)
    value = json.loads(answer.body)
    assert answer.status == 200
    assert answer.content_type.startswith("application/json")
    assert value["choices"][0]["message"]["content"]
    assert value["choices"][0]["finish_reason"]


def test_a_stream_yields_payloads_in_order_and_ends_after_a_finish_reason(run):
    async def ask(upstream: Upstream) -> list[bytes]:
        path, body = await _chat(upstream, stream=True)
        return [payload async for payload in upstream.stream(path, body, timeout_s=10, idle_timeout_s=10)]

    frames = [json.loads(payload) for payload in run(ask)]
    assert "".join(frame["choices"][0]["delta"].get("content") or "" for frame in frames)
    assert [frame["choices"][0]["finish_reason"] for frame in frames[:-1]] == [None] * (len(frames) - 1)
    assert frames[-1]["choices"][0]["finish_reason"]


def test_a_stream_sends_nothing_before_it_is_read_and_can_be_closed_unread(run):
    async def ask(upstream: Upstream) -> bool:
        events = upstream.stream(*await _chat(upstream, stream=True), timeout_s=9, idle_timeout_s=9)
        await events.aclose()
        await events.aclose()
        return [payload async for payload in events] == []

    assert run(ask)


def test_a_stream_closed_in_the_middle_stays_closed_and_the_upstream_goes_on(run):
    async def ask(upstream: Upstream) -> Any:
        path, body = await _chat(upstream, stream=True)
        events = upstream.stream(path, body, timeout_s=10, idle_timeout_s=10)
        first = await anext(events)
        await events.aclose()
        rest = [payload async for payload in events]
        again = await upstream.complete(*await _chat(upstream), timeout_s=10)
        return first, rest, again.status

    first, rest, status = run(ask)
    assert json.loads(first)
    assert rest == []
    assert status == 200


def test_many_calls_at_once_do_not_mix(run):
    async def ask(upstream: Upstream) -> list[int]:
        path, body = await _chat(upstream)
        answers = await asyncio.gather(*(upstream.complete(path, body, timeout_s=10) for _ in range(40)))
        return [answer.status for answer in answers]

    assert run(ask) == [200] * 40


def test_closing_twice_is_fine(run):
    async def close(upstream: Upstream) -> None:
        await upstream.close()
        await upstream.close()

    run(close)


def test_a_status_error_says_what_the_caller_may_see():
    assert UpstreamStatusError("no", provider_status=429).status == 429
    assert UpstreamStatusError("no", provider_status=401).status == 502
    assert UpstreamStatusError("no", provider_status=500).status == 502
