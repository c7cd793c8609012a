"""What every reader of event streams keeps (ports/http_stream.py), against servers that misbehave on loopback."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from holdfast.adapters.http_oblivious import ObliviousEvents, RelayRoute
from holdfast.adapters.http_stream_aiohttp import AiohttpEvents
from holdfast.errors import UnavailableError
from holdfast.ports.http_stream import EventAnswer, EventHTTP
from tests.helpers import oblivious

pytestmark = pytest.mark.enable_socket

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


Against = Callable[..., Any]


def run(
    pieces: list[bytes], read: Callable[[EventAnswer], Awaitable[Any]], pause: float, options: Any, *, sealed: bool
) -> Any:
    """Open one answer of a server that sends the pieces, ``pause`` apart; return what ``read`` made of it. ``sealed``:
    the server is a relay with a gateway behind it."""
    served = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            sent = pieces
            if sealed:
                length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                _, context = oblivious.open_request(await reader.readexactly(int(length[0].split(b":")[1])))
                sent = oblivious.answer_pieces(context, pieces)
            for piece in sent:
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
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        route = RelayRoute(f"{url}relay", oblivious.CONFIGURATION)
        client: EventHTTP = ObliviousEvents(route, adapter) if sealed else adapter
        try:
            async with client.open("GET", url, **options) as answer:
                return await read(answer)
        finally:
            await adapter.close()
            await served.wait()
            server.close()

    return asyncio.run(scenario())


@pytest.fixture(params=["aiohttp", "oblivious"])
def against(request: pytest.FixtureRequest) -> Against:
    """Open one answer through one of the adapters."""

    def ask(
        pieces: list[bytes], read: Callable[[EventAnswer], Awaitable[Any]], *, pause: float = 0.0, **options: Any
    ) -> Any:
        return run(pieces, read, pause, options, sealed=request.param == "oblivious")

    return ask


async def events(answer: EventAnswer) -> list[tuple[str, bytes]]:
    return [event async for event in answer.events()]


async def body(answer: EventAnswer) -> tuple[int, bytes]:
    return answer.status, await answer.body()


async def raw(answer: EventAnswer) -> bytes:
    return b"".join([piece async for piece in answer.pieces()])


@pytest.mark.parametrize("pieces", [[b""], [b"not http\r\n\r\n"]], ids=["closes", "not-http"])
def test_no_answer_is_unreachable(against: Against, pieces: list[bytes]) -> None:
    with pytest.raises(UnavailableError) as caught:
        against(pieces, events)
    assert caught.value.code == "http.unreachable"


def test_a_head_that_does_not_come_is_unreachable(against: Against) -> None:
    with pytest.raises(UnavailableError) as caught:
        against([HEAD], events, pause=0.4, timeout_s=0.1)
    assert caught.value.code == "http.unreachable"


def test_a_stream_that_breaks_off_is_unreachable_and_never_an_end(against: Against) -> None:
    with pytest.raises(UnavailableError) as caught:
        against([CHUNKED, chunk(b"data: 1\n\n"), b"5\r\nda"], events)
    assert caught.value.code == "http.unreachable"


def test_silence_in_a_stream_is_unreachable(against: Against) -> None:
    with pytest.raises(UnavailableError) as caught:
        against([CHUNKED, chunk(b"data: 1\n\n"), chunk(b"data: 2\n\n")], events, pause=0.4, idle_timeout_s=0.1)
    assert caught.value.code == "http.unreachable"


def test_an_event_over_the_bound_is_refused(against: Against) -> None:
    with pytest.raises(UnavailableError) as caught:
        against([CHUNKED, *[chunk(b"data: " + b"x" * 500)] * 4], events, max_bytes=1000)
    assert caught.value.code == "http.too_large"


def test_a_body_over_the_bound_is_refused(against: Against) -> None:
    with pytest.raises(UnavailableError) as caught:
        against([b"HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\n", b"x" * 2000], body, max_bytes=1000)
    assert caught.value.code == "http.too_large"


def test_events_come_with_their_names_whatever_the_pieces(against: Against) -> None:
    stream = b": hello\n\nevent: run\ndata: {\ndata: }\n\ndata: plain\n\n"
    pieces = [CHUNKED, *[chunk(stream[at : at + 3]) for at in range(0, len(stream), 3)], b"0\r\n\r\n"]
    assert against(pieces, events) == [("run", b"{\n}"), ("", b"plain")]


def test_pieces_are_the_body_and_their_end_is_its_end(against: Against) -> None:
    assert against([CHUNKED, chunk(b"\x00data"), chunk(b": 1\n"), b"0\r\n\r\n"], raw) == b"\x00data: 1\n"
    with pytest.raises(UnavailableError) as caught:
        against([CHUNKED, chunk(b"data"), b"5\r\nda"], raw)
    assert caught.value.code == "http.unreachable"


def test_a_refusal_is_read_whole(against: Against) -> None:
    head = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\n"
    assert against([head, b"no"], body) == (401, b"no")


def test_a_redirect_is_an_answer_and_is_not_followed(against: Against) -> None:
    head = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"

    async def location(answer: EventAnswer) -> tuple[int, str]:
        return answer.status, answer.headers["location"]

    assert against([head], location) == (302, "http://127.0.0.1:1/")
