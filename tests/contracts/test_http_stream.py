"""What every reader of event streams keeps (ports/http_stream.py), against servers that misbehave on loopback."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from holdfast.adapters.http_stream_aiohttp import AiohttpEvents
from holdfast.errors import UnavailableError
from holdfast.ports.http_stream import EventAnswer, EventHTTP

pytestmark = pytest.mark.enable_socket

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def against(
    pieces: list[bytes], read: Callable[[EventAnswer], Awaitable[Any]], *, pause: float = 0.0, **options: Any
) -> Any:
    """Open one answer of a server that sends the pieces, ``pause`` apart; return what ``read`` made of it."""
    served = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            for piece in pieces:
                await asyncio.sleep(pause)
                writer.write(piece)
                await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        served.set()

    async def scenario() -> Any:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        adapter = AiohttpEvents()
        client: EventHTTP = adapter
        try:
            async with client.open(
                "GET", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", **options
            ) as answer:
                return await read(answer)
        finally:
            await adapter.close()
            await served.wait()
            server.close()

    return asyncio.run(scenario())


async def events(answer: EventAnswer) -> list[tuple[str, bytes]]:
    return [event async for event in answer.events()]


async def body(answer: EventAnswer) -> tuple[int, bytes]:
    return answer.status, await answer.body()


@pytest.mark.parametrize("pieces", [[b""], [b"not http\r\n\r\n"]], ids=["closes", "not-http"])
def test_no_answer_is_unreachable(pieces: list[bytes]) -> None:
    with pytest.raises(UnavailableError) as caught:
        against(pieces, events)
    assert caught.value.code == "http.unreachable"


def test_a_head_that_does_not_come_is_unreachable() -> None:
    with pytest.raises(UnavailableError) as caught:
        against([HEAD], events, pause=0.4, timeout_s=0.1)
    assert caught.value.code == "http.unreachable"


def test_a_stream_that_breaks_off_is_unreachable_and_never_an_end() -> None:
    with pytest.raises(UnavailableError) as caught:
        against([CHUNKED, chunk(b"data: 1\n\n"), b"5\r\nda"], events)
    assert caught.value.code == "http.unreachable"


def test_silence_in_a_stream_is_unreachable() -> None:
    with pytest.raises(UnavailableError) as caught:
        against([CHUNKED, chunk(b"data: 1\n\n"), chunk(b"data: 2\n\n")], events, pause=0.4, idle_timeout_s=0.1)
    assert caught.value.code == "http.unreachable"


def test_an_event_over_the_bound_is_refused() -> None:
    with pytest.raises(UnavailableError) as caught:
        against([CHUNKED, *[chunk(b"data: " + b"x" * 500)] * 4], events, max_bytes=1000)
    assert caught.value.code == "http.too_large"


def test_a_body_over_the_bound_is_refused() -> None:
    with pytest.raises(UnavailableError) as caught:
        against([b"HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\n", b"x" * 2000], body, max_bytes=1000)
    assert caught.value.code == "http.too_large"


def test_events_come_with_their_names_whatever_the_pieces() -> None:
    stream = b": hello\n\nevent: run\ndata: {\ndata: }\n\ndata: plain\n\n"
    pieces = [CHUNKED, *[chunk(stream[at : at + 3]) for at in range(0, len(stream), 3)], b"0\r\n\r\n"]
    assert against(pieces, events) == [("run", b"{\n}"), ("", b"plain")]


def test_a_refusal_is_read_whole() -> None:
    head = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\n"
    assert against([head, b"no"], body) == (401, b"no")


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    head = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"

    async def location(answer: EventAnswer) -> tuple[int, str]:
        return answer.status, answer.headers["location"]

    assert against([head], location) == (302, "http://127.0.0.1:1/")
