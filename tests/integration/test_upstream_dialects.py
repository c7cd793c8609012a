"""Anthropic's and Google's APIs over real sockets, and what they do when they do not answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from holdfast.adapters._upstream import OpenAIUpstreamConfig
from holdfast.adapters._upstream_dialect import DialectUpstream
from holdfast.adapters.upstream_anthropic import AnthropicUpstream
from holdfast.adapters.upstream_gemini import GeminiUpstream
from holdfast.core import canonical
from holdfast.errors import HoldfastError, UsageError
from holdfast.ports.upstream import UpstreamProtocolError, UpstreamStatusError
from tests.helpers import providers as theirs
from tests.helpers.clock import FakeClock
from tests.helpers.upstreams import Behaviour, FaultyServer, answer, hang_up, raw_stream

pytestmark = pytest.mark.enable_socket
KINDS: list[tuple[type[Any], Behaviour, str]] = [
    (AnthropicUpstream, theirs.claude_server, theirs.CLAUDE),
    (GeminiUpstream, theirs.gemini_server, theirs.GEMINI),
]


def run(
    kind: tuple[type[Any], Behaviour, str],
    behaviour: Behaviour,
    story: Callable[[DialectUpstream, FaultyServer], Awaitable[Any]],
    **more: Any,
) -> Any:
    """Play a story on an upstream whose server answers so."""

    async def main() -> Any:
        async with FaultyServer(behaviour) as server, asyncio.timeout(20):
            upstream = kind[0](OpenAIUpstreamConfig("u", server.base_url, api_key="sk-secret", **more), FakeClock())
            try:
                return await story(upstream, server)
            finally:
                await upstream.close()

    return asyncio.run(main())


def body(upstream: DialectUpstream, model: str, **more: Any) -> tuple[str, bytes]:
    value = {"model": model, "messages": [{"role": "user", "content": "Hello"}], **more}
    prepared = upstream.dialect.prepare("chat.completions", value)
    return prepared.path, canonical.encode_exact(prepared.document)


async def collect(upstream: DialectUpstream, model: str) -> tuple[list[Any], HoldfastError | None]:
    """The chunks of a stream, and how it failed if it did."""
    found: list[Any] = []
    try:
        async for payload in upstream.stream(*body(upstream, model, stream=True), timeout_s=10, idle_timeout_s=5):
            found.append(json.loads(payload))  # noqa: PERF401 - what came before an error stays
    except HoldfastError as error:
        return found, error
    return found, None


@pytest.mark.parametrize("kind", KINDS, ids=["anthropic", "gemini"])
def test_the_body_leaves_as_it_is_with_the_key_in_the_providers_own_field(kind):
    async def story(upstream: DialectUpstream, server: FaultyServer) -> Any:
        path, text = body(upstream, kind[2], temperature=canonical.NumberText("0.10"))
        await upstream.complete(path, text, timeout_s=10)
        return text, server.requests[-1]

    text, request = run(kind, kind[1], story)
    assert request.body == text
    assert b"0.10" in text
    name = "x-api-key" if kind[0] is AnthropicUpstream else "x-goog-api-key"
    assert request.headers[name] == "sk-secret"
    assert "authorization" not in request.headers
    assert "sk-secret" not in request.path


@pytest.mark.parametrize("kind", KINDS, ids=["anthropic", "gemini"])
@pytest.mark.parametrize("path", ["/chat/completions", "/../admin", "/models/x:generateContent?key=1", "/messages?x=1"])
def test_a_body_goes_nowhere_else(kind, path):
    async def story(upstream: DialectUpstream, server: FaultyServer) -> Any:
        with pytest.raises(UsageError, match="dialect"):
            await upstream.complete(path, b"{}", timeout_s=10)
        with pytest.raises(UsageError, match="dialect"):
            upstream.stream(path, b"{}", timeout_s=10, idle_timeout_s=5)
        return server.requests

    assert run(kind, kind[1], story) == []


@pytest.mark.parametrize("kind", KINDS, ids=["anthropic", "gemini"])
@pytest.mark.parametrize(("status", "passed_on"), [(401, 502), (429, 429), (400, 400), (529, 502)])
def test_refusals_keep_their_status_and_body_whole_and_streamed(kind, status, passed_on):
    refusal = (
        theirs.claude_error(status, "some_error", retry_after="7")
        if kind[0] is AnthropicUpstream
        else theirs.gemini_error(status, "SOME_ERROR")
    )

    async def story(upstream: DialectUpstream, _server: FaultyServer) -> Any:
        with pytest.raises(UpstreamStatusError) as whole:
            await upstream.complete(*body(upstream, kind[2]), timeout_s=10)
        return whole.value, (await collect(upstream, kind[2]))[1]

    for error in run(kind, refusal, story):
        assert (error.provider_status, error.status) == (status, passed_on)
        assert b"error" in error.body
        assert error.retry_after_s == (7.0 if kind[0] is AnthropicUpstream else None)
        assert "sk-secret" not in repr(error) + str(error)


def test_an_error_inside_a_stream_is_the_providers_refusal():
    events = theirs.claude_events()[:4]
    overloaded = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}

    async def story(upstream: DialectUpstream, _server: FaultyServer) -> Any:
        return await collect(upstream, theirs.CLAUDE)

    found, error = run(KINDS[0], theirs.claude_stream([*events, overloaded]), story)
    assert [chunk["choices"][0]["delta"] for chunk in found] == [
        {"role": "assistant", "content": None},
        {"content": "Hello"},
    ]
    assert isinstance(error, UpstreamStatusError)
    assert (error.provider_status, b"overloaded_error" in error.body) == (529, True)


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize("kept", [1, 3, 6])
def test_a_stream_that_is_cut_keeps_what_came_and_is_no_answer(kept, clean):
    async def story(upstream: DialectUpstream, _server: FaultyServer) -> Any:
        return await collect(upstream, theirs.CLAUDE)

    found, error = run(KINDS[0], theirs.claude_stream(theirs.claude_events()[:kept], clean=clean), story)
    assert error is not None
    assert error.code == "upstream.protocol"
    assert not any(chunk["choices"][0]["finish_reason"] for chunk in found)


def test_googles_stream_ends_with_its_connection_and_not_before():
    async def story(upstream: DialectUpstream, _server: FaultyServer) -> Any:
        return await collect(upstream, theirs.GEMINI)

    found, error = run(KINDS[1], theirs.gemini_stream(), story)
    assert error is None
    assert found[-1]["choices"][0]["finish_reason"] == "stop"
    for behaviour in (
        theirs.gemini_stream(clean=False),
        theirs.gemini_stream(theirs.gemini_events()[:1]),
        raw_stream([b'data: {"candidates":[{"finishReason":"STOP"}]}\r\n\r\ndata: {"cand']),
    ):
        assert run(KINDS[1], behaviour, story)[1].code == "upstream.protocol"


@pytest.mark.parametrize("kind", KINDS, ids=["anthropic", "gemini"])
@pytest.mark.parametrize("whole", [b"[]", b"{", b"\xff", b'{"content":[{"type":"hologram"}]}', b'{"a":1,"a":2}', b"{}"])
def test_an_answer_that_cannot_be_shaped_is_refused_and_named(kind, whole):
    async def story(upstream: DialectUpstream, _server: FaultyServer) -> Any:
        with pytest.raises(UpstreamProtocolError, match="cannot be shaped"):
            await upstream.complete(*body(upstream, kind[2]), timeout_s=10)
        return await collect(upstream, kind[2])

    found, error = run(kind, answer(whole), story)
    assert found == []
    assert error is not None


@pytest.mark.parametrize("kind", KINDS, ids=["anthropic", "gemini"])
def test_a_server_that_hangs_up_is_unreachable(kind):
    async def story(upstream: DialectUpstream, _server: FaultyServer) -> Any:
        return (await collect(upstream, kind[2]))[1]

    assert run(kind, hang_up(), story).code == "upstream.unreachable"


@pytest.mark.parametrize("kind", KINDS, ids=["anthropic", "gemini"])
def test_models_are_offered_as_configured_or_as_listed(kind):
    async def story(upstream: DialectUpstream, _server: FaultyServer) -> Any:
        return [(model.id, model.provider_id) for model in await upstream.models()]

    assert run(kind, kind[1], story) == [(kind[2], "")]
    assert run(kind, kind[1], story, models={"best": kind[2], "gone": "x"}) == [("best", kind[2])]


@pytest.mark.parametrize("kind", KINDS, ids=["anthropic", "gemini"])
def test_a_list_of_another_shape_is_refused(kind):
    async def story(upstream: DialectUpstream, _server: FaultyServer) -> Any:
        with pytest.raises(HoldfastError) as refusal:
            await upstream.models()
        return refusal.value.code

    assert run(kind, answer(b'{"data":1,"models":2}'), story) == "upstream.protocol"
    assert run(kind, answer(b"{}", status=401), story) == "upstream.status"


def test_googles_models_are_read_page_by_page():
    async def pages(request: Any, writer: Any) -> bool:
        first = "pageToken" not in request.path
        listing: dict[str, Any] = {"models": [{"name": "models/" + ("one" if first else "two")}]}
        if first:
            listing["nextPageToken"] = "a/b=="
        else:
            assert request.path.endswith("pageToken=a%2Fb%3D%3D")
        return await answer(listing)(request, writer)

    async def story(upstream: DialectUpstream, _server: FaultyServer) -> Any:
        return [model.id for model in await upstream.models()]

    assert run(KINDS[1], pages, story) == ["one", "two"]
