"""Whatever bytes a provider sends, cut anywhere: the client ends in an answer or in one of the named errors."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from holdfast.adapters._http import Origin
from holdfast.adapters._http_direct import DirectClient, _Connection, _DirectExchange
from holdfast.adapters.upstream_openai import OpenAIEvents
from holdfast.ports.upstream import UPSTREAM_ERRORS
from tests.helpers.upstreams import chat_chunks

ORIGIN = Origin("localhost", 1, None, (("host", "localhost"),), 1.0, 1.0, 4)
EVENTS = b"".join(b"data: " + payload + b"\n\n" for payload in chat_chunks("one two")) + b"data: [DONE]\n\n"
STREAM = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    b"%x\r\n%b\r\n0\r\n\r\n" % (len(EVENTS), EVENTS)
)
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 14\r\n\r\n" + b'{"choices":[]}'


class Pipe(asyncio.Transport):
    """A transport that only remembers whether it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.aborted = False

    def write(self, _data: Any) -> None:
        pass

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class OneConnection(DirectClient):
    """A client whose only connection is fed by the test."""

    def __init__(self, pieces: list[bytes]) -> None:
        super().__init__(ORIGIN, max_stream_bytes=1 << 20)
        self._pieces = pieces
        self.pipe = Pipe()

    async def _acquire(self, timeout_s: float) -> _Connection:
        assert timeout_s > 0
        connection = _Connection(self)
        connection.connection_made(self.pipe)
        self._open.add(connection)
        self.loop.call_soon(self._feed, connection, 0)
        return connection

    def _feed(self, connection: _Connection, at: int) -> None:
        if self.pipe.aborted or at == len(self._pieces):
            connection.connection_lost(None)
            return
        connection.data_received(self._pieces[at])
        self.loop.call_soon(self._feed, connection, at + 1)


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> list[bytes]:
    """A good response with some bytes changed, removed or put in, cut into pieces."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        match draw(st.sampled_from(["change", "remove", "insert", "cut"])):
            case "change" if data:
                data[at] = draw(st.integers(0, 255))
            case "remove":
                del data[at : at + draw(st.integers(1, 8))]
            case "insert":
                data[at:at] = draw(st.binary(max_size=8))
            case "cut":
                del data[at:]
    edges = sorted(draw(st.lists(st.integers(0, len(data)), max_size=6)))
    bounds = [0, *edges, len(data)]
    return [bytes(data[start:end]) for start, end in itertools.pairwise(bounds)]


@given(damaged(STREAM))
def test_a_damaged_stream_ends_in_a_named_error_or_in_order(pieces):
    async def main() -> list[bytes]:
        client = OneConnection(pieces)
        events = OpenAIEvents(client, "/x", b"{}", timeout_s=5, idle_timeout_s=5, max_event_bytes=4096)
        got: list[bytes] = []
        try:
            async for payload in events:
                got.append(payload)  # noqa: PERF401
        except UPSTREAM_ERRORS:
            await events.aclose()
        await client.close()
        return got

    got = asyncio.run(main())
    if b"".join(pieces) == STREAM:
        assert got == chat_chunks("one two")


@given(damaged(WHOLE))
def test_a_damaged_answer_is_whole_or_a_named_error(pieces):
    async def main() -> bytes | None:
        client = OneConnection(pieces)
        try:
            response = await client.whole("POST", "/x", b"{}", timeout_s=5, max_bytes=4096, accept="*/*")
        except UPSTREAM_ERRORS:
            return None
        finally:
            await client.close()
        return response.body

    body = asyncio.run(main())
    if b"".join(pieces) == WHOLE:
        assert body == b'{"choices":[]}'


def test_an_exchange_can_be_aborted_twice():
    async def main() -> bool:
        client = OneConnection([STREAM])
        exchange = await client.begin("/x", b"{}", timeout_s=5, idle_timeout_s=5)
        assert isinstance(exchange, _DirectExchange)
        exchange.abort()
        exchange.abort()
        exchange.finish()
        return client.pipe.aborted

    assert asyncio.run(main())
