"""The OpenAI-compatible upstream against servers that misbehave, over real sockets, through both HTTP clients."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import ssl
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from holdfast.adapters.upstream_openai import OpenAIUpstream, OpenAIUpstreamConfig
from holdfast.errors import HoldfastError, UsageError
from holdfast.ports.upstream import (
    UPSTREAM_ERRORS,
    ModelInfo,
    UpstreamProtocolError,
    UpstreamStatusError,
    UpstreamTimeoutError,
    UpstreamTooLargeError,
    UpstreamUnreachableError,
    may_have_sent,
)
from tests.helpers import upstreams as fake
from tests.helpers.upstreams import FaultyServer

pytestmark = pytest.mark.enable_socket

BODY = json.dumps({"model": fake.MODEL, "messages": []}).encode()
STREAM = json.dumps({"model": fake.MODEL, "messages": [], "stream": True}).encode()
CLIENTS = ("direct", "direct-uvloop", "aiohttp")


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> str:
    return request.param


def run(
    client: str,
    behaviour: fake.Behaviour,
    test: Callable[[OpenAIUpstream, FaultyServer], Awaitable[Any]],
    **settings: Any,
) -> Any:
    async def main() -> Any:
        async with FaultyServer(behaviour) as server, asyncio.timeout(20):
            upstream = _upstream(client, server.base_url, **settings)
            try:
                return await test(upstream, server)
            finally:
                await upstream.close()

    return run_loop(client, main())


def run_loop(client: str, main: Coroutine[Any, Any, Any]) -> Any:
    """In the loop that the client's name asks for."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if client == "direct-uvloop" else None) as runner:
        return runner.run(main)


def _upstream(client: str, base_url: str, **settings: Any) -> OpenAIUpstream:
    http_client = "aiohttp" if client == "aiohttp" else "direct"
    return OpenAIUpstream(OpenAIUpstreamConfig("up", base_url, http_client=http_client, **settings))


async def complete(upstream: OpenAIUpstream, *_: Any, timeout_s: float = 5) -> Any:
    return await upstream.complete("/chat/completions", BODY, timeout_s=timeout_s)


def failing_stream(timeout_s: float = 5, idle_timeout_s: float = 5) -> Callable[..., Awaitable[Any]]:
    """Reads a stream to its end; returns the payloads and the error."""

    async def read(upstream: OpenAIUpstream, *_: Any) -> tuple[list[bytes], HoldfastError | None]:
        got: list[bytes] = []
        try:
            async for payload in upstream.stream(
                "/chat/completions", STREAM, timeout_s=timeout_s, idle_timeout_s=idle_timeout_s
            ):
                got.append(payload)  # noqa: PERF401
        except UPSTREAM_ERRORS as error:
            return got, error
        return got, None

    return read


# Refusals of whole answers.


@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        (fake.hang_up(), UpstreamUnreachableError),
        (fake.reset(), UpstreamUnreachableError),
        (fake.cut_body(), UpstreamProtocolError),
        (fake.garbage(), UpstreamProtocolError),
        (fake.compressed(), UpstreamProtocolError),
        (fake.answer(b'{"choices": ['), UpstreamProtocolError),
        (fake.answer(b"[]"), UpstreamProtocolError),
        (fake.answer(b'{"a": "\xff"}'), UpstreamProtocolError),
        (fake.answer(b"<html>"), UpstreamProtocolError),
        (fake.answer(headers=[("x-big", "y" * 9000)] * 9), UpstreamProtocolError),
        (fake.refuse(500), UpstreamStatusError),
        (fake.redirect(), UpstreamStatusError),
    ],
    ids=lambda value: getattr(value, "__name__", None) or "behaviour",
)
def test_a_broken_answer_is_refused_by_name(client, behaviour, kind):
    with pytest.raises(kind):
        run(client, behaviour, complete)


def test_a_server_that_hung_up_may_have_read_what_was_asked(client):
    with pytest.raises(UpstreamUnreachableError) as caught:
        run(client, fake.hang_up(), complete)
    assert may_have_sent(caught.value)


def test_nobody_listening_is_unreachable(client):
    async def main() -> None:
        async with FaultyServer() as server:
            base_url = server.base_url
        upstream = _upstream(client, base_url)
        try:
            with pytest.raises(UpstreamUnreachableError) as caught:
                await complete(upstream)
            assert caught.value.code == "upstream.unreachable"
            assert "127.0.0.1" not in str(caught.value)
            assert not may_have_sent(caught.value)
        finally:
            await upstream.close()

    run_loop(client, main())


def test_a_silent_server_is_a_timeout(client):
    with pytest.raises(UpstreamTimeoutError) as caught:
        run(client, fake.hang(), lambda upstream, _: complete(upstream, timeout_s=0.15))
    assert caught.value.phase == "first_byte"
    assert caught.value.status == 504


def test_an_answer_over_the_limit_is_too_large(client):
    with pytest.raises(UpstreamTooLargeError):
        run(client, fake.answer(fake.chat_completion("x" * 5000)), complete, max_answer_bytes=4096)


def test_a_refusal_carries_the_provider_status_body_and_retry_after(client):
    with pytest.raises(UpstreamStatusError) as caught:
        run(client, fake.refuse(429, retry_after="7"), complete)
    error = caught.value
    assert (error.code, error.provider_status, error.status, error.retry_after_s) == ("upstream.status", 429, 429, 7.0)
    assert json.loads(error.body)["error"]["message"] == "refused with 429"


def test_a_redirect_is_never_followed_with_the_credential(client):
    async def main() -> None:
        async with FaultyServer() as other:
            target = f"{other.base_url}/chat/completions"
            async with FaultyServer(fake.redirect(target)) as server:
                upstream = _upstream(client, server.base_url, api_key="sk-secret")
                with pytest.raises(UpstreamStatusError):
                    await complete(upstream)
                await upstream.close()
            assert other.requests == []

    run_loop(client, main())


def test_a_post_is_never_sent_twice(client):
    """Also when a kept connection turns out to be dead: the same prompt must not run twice."""

    async def ask(upstream: OpenAIUpstream, server: FaultyServer) -> int:
        await complete(upstream)
        server.then(fake.hang_up())
        with pytest.raises(UpstreamUnreachableError):
            await complete(upstream)
        return len(server.requests)

    assert run(client, fake.chat_server, ask) == 2


# Refusals of streams.


@pytest.mark.parametrize("how", ["close", "reset", "clean"])
def test_a_stream_cut_short_keeps_what_came_and_then_fails(client, how):
    got, error = run(client, fake.cut_stream(after=3, how=how), failing_stream())
    assert got == fake.chat_chunks("one two three four five six")[:3]
    assert isinstance(error, UpstreamProtocolError)


def test_a_stream_that_stops_talking_is_an_idle_timeout(client):
    got, error = run(client, fake.cut_stream(after=3, how="hang"), failing_stream(idle_timeout_s=0.2))
    assert len(got) == 3
    assert isinstance(error, UpstreamTimeoutError)
    assert error.phase == "idle"


def test_a_stream_without_end_meets_the_total_timeout(client):
    got, error = run(client, fake.events([*fake.chat_chunks() * 200], pace_s=0.02), failing_stream(timeout_s=0.4))
    assert got
    assert isinstance(error, UpstreamTimeoutError)
    assert error.phase == "total"


def test_a_stream_without_a_first_byte_is_a_timeout(client):
    got, error = run(client, fake.hang(), failing_stream(idle_timeout_s=0.15))
    assert got == []
    assert isinstance(error, UpstreamTimeoutError)
    assert error.phase == "first_byte"


def test_a_stream_that_is_not_json_fails_at_that_event(client):
    got, error = run(client, fake.garbage_event(), failing_stream())
    assert got == fake.chat_chunks()[:2]
    assert isinstance(error, UpstreamProtocolError)


def test_an_event_over_the_limit_is_refused(client):
    got, error = run(client, fake.giant_event(100_000), failing_stream(), max_event_bytes=65_536)
    assert len(got) == 1
    assert isinstance(error, UpstreamProtocolError)


def test_an_endless_stream_is_too_large(client):
    got, error = run(client, fake.endless(), failing_stream(), max_answer_bytes=300_000)
    assert got
    assert isinstance(error, UpstreamTooLargeError)


@pytest.mark.parametrize("named", [False, True])
def test_an_error_event_is_the_providers_refusal(client, named):
    got, error = run(client, fake.error_event(named=named), failing_stream())
    assert len(got) == 2
    assert isinstance(error, UpstreamStatusError)
    assert error.provider_status == 503
    assert b"overloaded" in error.body


def test_a_refused_stream_carries_the_body(client):
    got, error = run(client, fake.refuse(400), failing_stream())
    assert got == []
    assert isinstance(error, UpstreamStatusError)
    assert error.status == 400
    assert b"refused with 400" in error.body


def test_a_refused_stream_with_half_a_body_keeps_the_half(client):
    head = b"HTTP/1.1 503 Busy\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n"
    got, error = run(client, fake.garbage(head + b'{"error": "half'), failing_stream())
    assert got == []
    assert isinstance(error, UpstreamStatusError)
    assert (error.provider_status, error.body) == (503, b'{"error": "half')


def test_a_compressed_stream_is_refused(client):
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: br\r\ncontent-length: 3\r\n\r\nabc"
    got, error = run(client, fake.garbage(head), failing_stream())
    assert got == []
    assert isinstance(error, UpstreamProtocolError)


def test_an_error_event_need_not_be_json(client):
    got, error = run(client, fake.raw_stream([b"event: error\ndata: out of memory\n\n"]), failing_stream())
    assert got == []
    assert isinstance(error, UpstreamStatusError)
    assert (error.provider_status, error.body) == (500, b"out of memory")


def test_a_server_that_does_not_stream_is_refused(client):
    got, error = run(client, fake.answer(), failing_stream())
    assert got == []
    assert isinstance(error, UpstreamProtocolError)


# Right answers, whatever their framing.


def test_bytes_are_sent_and_returned_exactly(client):
    body = b'{ "model" : "test-model","messages":[] , "x": 1.0e0 }'
    reply = b'{ "b" : 2, "a": "\xc3\xa9\\u00e9" , "choices": [] }\n'

    async def ask(upstream: OpenAIUpstream, server: FaultyServer) -> Any:
        answer = await upstream.complete("/chat/completions", body, timeout_s=5)
        return answer.body, server.requests[0]

    got, request = run(client, fake.answer(reply), ask, api_key="sk-test", headers=(("X-Project", "p1"),))
    assert got == reply
    assert request.body == body
    assert request.path == "/v1/chat/completions"
    assert request.headers["authorization"] == "Bearer sk-test"
    assert request.headers["x-project"] == "p1"
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["content-type"] == "application/json"


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_a_stream_is_read_whatever_its_line_ends(client, line_end):
    got, error = run(client, fake.events(line_end=line_end), failing_stream())
    assert error is None
    assert got == fake.chat_chunks()


def test_a_stream_is_read_one_byte_at_a_time(client):
    payloads = fake.chat_chunks("naïve 日本語 🙂")
    got, error = run(client, fake.slow_drip(payloads), failing_stream())
    assert error is None
    assert got == payloads


def test_a_stream_may_end_without_done_after_every_choice_finished(client):
    got, error = run(client, fake.events(done=False), failing_stream())
    assert error is None
    assert got == fake.chat_chunks()


def test_a_stream_with_an_unfinished_second_choice_is_cut_short(client):
    payloads = [*fake.chat_chunks(), fake.chat_chunk({"content": "x"}, index=1)]
    got, error = run(client, fake.events(payloads, done=False), failing_stream())
    assert got == payloads
    assert isinstance(error, UpstreamProtocolError)


def test_done_without_its_blank_line_still_counts(client):
    pieces = [b"data: " + payload + b"\n\n" for payload in fake.chat_chunks()[:2]] + [b"data: [DONE]\n"]
    got, error = run(client, fake.raw_stream(pieces), failing_stream())
    assert error is None
    assert len(got) == 2


def test_comments_and_extra_fields_are_not_payloads(client):
    pieces = [
        b": ping\n\n",
        b"retry: 10\n\n",
        b"id: 1\nevent: message\ndata:",
        b'{"choices":[]}\n\n',
        b"data: [DONE]\n\n",
    ]
    got, error = run(client, fake.raw_stream(pieces), failing_stream())
    assert error is None
    assert got == [b'{"choices":[]}']


def test_a_body_that_ends_with_its_connection_is_whole(client):
    data = json.dumps(fake.chat_completion()).encode()
    raw = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n" + data
    assert run(client, fake.garbage(raw), complete).body == data


def test_an_interim_response_is_skipped():
    data = json.dumps(fake.chat_completion()).encode()
    raw = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (
        len(data),
        data,
    )
    assert run("direct", fake.garbage(raw), complete).body == data


# Connections.


def test_connections_are_reused(client):
    async def ask(upstream: OpenAIUpstream, server: FaultyServer) -> int:
        for _ in range(5):
            await complete(upstream)
            _, error = await failing_stream()(upstream)
            assert error is None
            await asyncio.sleep(0.01)
        return server.connections

    assert run(client, fake.chat_server, ask) == 1


def test_at_most_the_configured_number_of_connections_is_opened(client):
    async def ask(upstream: OpenAIUpstream, server: FaultyServer) -> int:
        await asyncio.gather(*(complete(upstream) for _ in range(30)))
        return server.connections

    assert run(client, fake.answer(delay_s=0.01), ask, max_connections=3) == 3


def test_waiting_for_a_connection_times_out(client):
    async def ask(upstream: OpenAIUpstream, _: FaultyServer) -> Any:
        holder = asyncio.ensure_future(complete(upstream))
        await asyncio.sleep(0.05)
        with pytest.raises(UpstreamTimeoutError) as caught:
            await complete(upstream)
        holder.cancel()
        await asyncio.gather(holder, return_exceptions=True)
        return caught.value.phase

    assert run(client, fake.hang(), ask, max_connections=1, connect_timeout_s=0.15) == "connect"


def test_cancelling_a_reader_hangs_up_on_the_provider(client):
    async def ask(upstream: OpenAIUpstream, server: FaultyServer) -> bool:
        reader = asyncio.ensure_future(failing_stream()(upstream))
        await asyncio.sleep(0.1)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        await asyncio.wait_for(server.closed_by_client.wait(), 2)
        return True

    assert run(client, fake.cut_stream(after=2, how="hang"), ask)


def test_closing_a_stream_hangs_up_on_the_provider(client):
    async def ask(upstream: OpenAIUpstream, server: FaultyServer) -> bool:
        events = upstream.stream("/chat/completions", STREAM, timeout_s=5, idle_timeout_s=5)
        await anext(events)
        await events.aclose()
        await asyncio.wait_for(server.closed_by_client.wait(), 2)
        return True

    assert run(client, fake.events([*fake.chat_chunks() * 50], pace_s=0.02), ask)


def test_a_slow_reader_holds_the_provider_back_and_loses_nothing(client):
    payload = fake.chat_chunk({"content": "y" * 60_000})
    payloads = [payload] * 60 + [fake.chat_chunk({}, finish_reason="stop")]

    async def ask(upstream: OpenAIUpstream, _: FaultyServer) -> int:
        count = 0
        async for got in upstream.stream("/chat/completions", STREAM, timeout_s=10, idle_timeout_s=0.3):
            if count in {0, 20}:
                await asyncio.sleep(0.5)
            assert got == payloads[count]
            count += 1
        return count

    assert run(client, fake.events(payloads), ask) == 61


def test_cancelling_before_the_first_byte_hangs_up_on_the_provider(client):
    async def ask(upstream: OpenAIUpstream, server: FaultyServer) -> bool:
        reader = asyncio.ensure_future(failing_stream()(upstream))
        await asyncio.sleep(0.1)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        await asyncio.wait_for(server.closed_by_client.wait(), 2)
        return True

    assert run(client, fake.hang(), ask)


def test_closing_the_upstream_ends_calls_that_wait_for_a_connection():
    async def ask(upstream: OpenAIUpstream, _: FaultyServer) -> list[str]:
        calls = [asyncio.ensure_future(complete(upstream)) for _ in range(3)]
        await asyncio.sleep(0.05)
        await upstream.close()
        done = await asyncio.gather(*calls, return_exceptions=True)
        return [type(item).__name__ for item in done]

    assert run("direct", fake.hang(), ask, max_connections=1) == ["UpstreamUnreachableError"] * 3


def test_closing_the_upstream_ends_calls_under_way():
    async def ask(upstream: OpenAIUpstream, _: FaultyServer) -> Any:
        call = asyncio.ensure_future(complete(upstream))
        await asyncio.sleep(0.05)
        await upstream.close()
        with pytest.raises(UpstreamUnreachableError):
            await call
        with pytest.raises(UpstreamUnreachableError):
            await complete(upstream)

    run("direct", fake.hang(), ask)


@pytest.fixture(params=["direct", "direct-uvloop"])
def loop_client(request: pytest.FixtureRequest) -> str:
    return request.param


def test_a_free_connection_is_closed_when_it_grew_old(loop_client):
    async def ask(upstream: OpenAIUpstream, server: FaultyServer) -> Any:
        await asyncio.gather(complete(upstream), complete(upstream))
        await asyncio.sleep(0.35)
        after = len(upstream._client._open)
        await complete(upstream)
        return after, server.connections

    assert run(loop_client, fake.answer(delay_s=0.02), ask, keepalive_s=0.1) == (0, 3)


def test_a_connection_that_the_server_closed_is_not_reused(loop_client):
    closing = fake.answer(headers=[("connection", "close")])

    async def ask(upstream: OpenAIUpstream, server: FaultyServer) -> int:
        for _ in range(3):
            await complete(upstream)
            await asyncio.sleep(0.01)
        return server.connections

    assert run(loop_client, closing, ask) == 3


def test_bytes_that_nobody_asked_for_end_a_free_connection(loop_client):
    async def chatty(request: fake.Request, writer: asyncio.StreamWriter) -> bool:
        await fake.answer()(request, writer)
        await asyncio.sleep(0.03)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        return True

    async def ask(upstream: OpenAIUpstream, server: FaultyServer) -> Any:
        first = await complete(upstream)
        await asyncio.sleep(0.1)
        second = await complete(upstream)
        return first.body == second.body, server.connections

    assert run(loop_client, chatty, ask) == (True, 2)


def test_bytes_after_an_answer_do_not_become_the_next_one(loop_client):
    body = json.dumps(fake.chat_completion()).encode()
    split = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body)
    forged = b"HTTP/1.1 200 OK\r\ncontent-length: 17\r\n\r\n" + b'{"forged": true} '

    async def smuggle(_request: fake.Request, writer: asyncio.StreamWriter) -> bool:
        writer.write(split + body + forged)
        await writer.drain()
        return True

    async def ask(upstream: OpenAIUpstream, _: FaultyServer) -> Any:
        answers = []
        for _ in range(2):
            try:
                answers.append((await complete(upstream)).body)
            except UPSTREAM_ERRORS as error:
                answers.append(error.code)
        return answers

    for answer in run(loop_client, smuggle, ask):
        assert answer in {body, "upstream.protocol"}


def test_a_cancelled_wait_for_a_connection_gives_its_place_on(loop_client):
    async def ask(upstream: OpenAIUpstream, server: FaultyServer) -> Any:
        first = asyncio.ensure_future(complete(upstream))
        await asyncio.sleep(0.02)
        second = asyncio.ensure_future(complete(upstream))
        third = asyncio.ensure_future(complete(upstream))
        await asyncio.sleep(0.02)
        second.cancel()
        done = await asyncio.gather(first, second, third, return_exceptions=True)
        return [type(item).__name__ for item in done], server.connections

    names, connections = run(loop_client, fake.answer(delay_s=0.1), ask, max_connections=1)
    assert names == ["UpstreamAnswer", "CancelledError", "UpstreamAnswer"]
    assert connections == 1


def test_a_cancelled_call_gives_its_place_on_with_a_fresh_connection(loop_client):
    async def ask(upstream: OpenAIUpstream, server: FaultyServer) -> Any:
        server.then(fake.hang())
        first = asyncio.ensure_future(complete(upstream))
        await asyncio.sleep(0.02)
        second = asyncio.ensure_future(complete(upstream))
        await asyncio.sleep(0.02)
        first.cancel()
        answer = await second
        return answer.status, server.connections

    assert run(loop_client, fake.answer(), ask, max_connections=1) == (200, 2)


def test_a_stream_that_does_not_end_after_done_does_not_keep_its_connection(loop_client):
    async def lingering(_request: fake.Request, writer: asyncio.StreamWriter) -> bool:
        await fake.raw_stream([b"data: [DONE]\n\n"], clean=False)(_request, writer)
        await asyncio.Event().wait()
        return False

    async def ask(upstream: OpenAIUpstream, _: FaultyServer) -> Any:
        started = asyncio.get_running_loop().time()
        got, error = await failing_stream()(upstream)
        took = asyncio.get_running_loop().time() - started
        open_at_once = len(upstream._client._open)
        await asyncio.sleep(1.2)
        return got, error, took < 0.5, open_at_once, len(upstream._client._open)

    assert run(loop_client, lingering, ask) == ([], None, True, 1, 0)


def test_a_switch_of_protocols_is_refused(loop_client):
    raw = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"
    with pytest.raises(UpstreamProtocolError):
        run(loop_client, fake.garbage(raw), complete)


def test_tls_is_checked_against_the_configured_roots(client, tmp_path):
    certificate, key = _certificate(tmp_path)
    server_tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_tls.load_cert_chain(certificate, key)

    async def main() -> Any:
        async with FaultyServer(fake.chat_server, tls=server_tls) as server:
            url = f"https://localhost:{server.port}/v1"
            trusting = _upstream(client, url, tls_ca_file=str(certificate), api_key="sk-1")
            doubting = _upstream(client, url)
            try:
                answer = await complete(trusting)
                payloads, error = await failing_stream()(trusting)
                with pytest.raises(UpstreamUnreachableError):
                    await complete(doubting)
                return answer.status, len(payloads), error
            finally:
                await trusting.close()
                await doubting.close()

    assert run_loop(client, main()) == (200, len(fake.chat_chunks()), None)


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for localhost, valid for the coming day."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, secret = folder / "cert.pem", folder / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate, secret


def test_a_proxy_is_used_only_when_named(monkeypatch):
    """Also not when the environment names one."""

    async def main() -> Any:
        async with FaultyServer(fake.answer(b'{"from": "proxy"}')) as proxy, FaultyServer(fake.chat_server) as server:
            address = f"http://127.0.0.1:{proxy.port}"
            for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
                monkeypatch.setenv(name, address)
            direct = OpenAIUpstream(OpenAIUpstreamConfig("up", server.base_url))
            named = OpenAIUpstream(OpenAIUpstreamConfig("up", server.base_url, proxy=address))
            first = await direct.complete("/chat/completions", BODY, timeout_s=5)
            untouched = len(proxy.requests)
            second = await named.complete("/chat/completions", BODY, timeout_s=5)
            await direct.close()
            await named.close()
            return (
                first.body != second.body,
                untouched,
                second.body,
                proxy.requests[0].path == server.base_url + "/chat/completions",
            )

    assert asyncio.run(main()) == (True, 0, b'{"from": "proxy"}', True)


# Models.


def test_models_are_the_providers_own_unless_mapped(client):
    async def listed(upstream: OpenAIUpstream, _: FaultyServer) -> list[ModelInfo]:
        return await upstream.models()

    assert run(client, fake.chat_server, listed) == [ModelInfo(fake.MODEL, "tests", 1)]
    labels = {"small": fake.MODEL, "gone": "not-there"}
    assert run(client, fake.chat_server, listed, models=labels) == [ModelInfo("small", "tests", 1, fake.MODEL)]


def test_mapped_models_stand_when_the_provider_lists_none(client):
    async def listed(upstream: OpenAIUpstream, _: FaultyServer) -> list[ModelInfo]:
        return await upstream.models()

    got = run(client, fake.refuse(404), listed, models={"a": "a", "b": "c"})
    assert got == [ModelInfo("a", "", 0), ModelInfo("b", "", 0, "c")]


def test_a_listing_that_is_not_one_is_refused(client):
    async def listed(upstream: OpenAIUpstream, _: FaultyServer) -> list[ModelInfo]:
        return await upstream.models()

    with pytest.raises(UpstreamProtocolError):
        run(client, fake.answer(b'{"models": []}'), listed)


# Configuration: no connection is made for any of these.


@pytest.mark.parametrize(
    "settings",
    [
        {"base_url": "ftp://x/v1"},
        {"base_url": "http:///v1"},
        {"base_url": "https://user:pw@example.com/v1"},
        {"base_url": "https://example.com/v1?key=1"},
        {"base_url": "https://example.com:99999/v1"},
        {"base_url": "https://example.com/v1\r\nx: y"},
        {"base_url": "http://example.com/v1", "api_key": "sk-1"},
        {"api_key": "sk-1\r\nx: y"},
        {"headers": (("authorization", "Bearer x"),)},
        {"headers": (("x y", "z"),)},
        {"headers": (("x-y", "z\n"),)},
        {"code": "Bad Code"},
    ],
)
def test_a_wrong_configuration_is_refused_before_any_connection(settings):
    whole = {"code": "up", "base_url": "https://example.com/v1", **settings}
    with pytest.raises(UsageError) as caught:
        OpenAIUpstream(OpenAIUpstreamConfig(**whole))
    assert caught.value.code == "upstream.config"
    assert "sk-1" not in str(caught.value)


def test_only_the_two_paths_take_a_body():
    upstream = OpenAIUpstream(OpenAIUpstreamConfig("up", "https://example.com/v1"))
    with pytest.raises(UsageError):
        upstream.stream("/models", b"{}", timeout_s=1, idle_timeout_s=1)


def test_no_repr_shows_the_credential():
    config = OpenAIUpstreamConfig("up", "https://example.com/v1", api_key="sk-secret", headers=(("x-key", "hidden"),))
    upstream = OpenAIUpstream(config)
    for shown in (config, upstream, upstream._client, upstream._origin):
        assert "sk-secret" not in repr(shown)
        assert "hidden" not in repr(shown)
