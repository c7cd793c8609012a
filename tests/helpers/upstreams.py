"""Upstreams that misbehave on purpose, for everybody's tests.

:class:`FaultyServer` is a real HTTP server on loopback whose every answer is a :data:`Behaviour`: an async function of
the request and the writer that returns whether the connection stays open. The functions below make the common ones.

:class:`ScriptedUpstream` implements the upstream port in memory, for tests that open no socket.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from holdfast.core.dialects import Dialect
from holdfast.core.dialects.openai import PLAIN
from holdfast.ports.upstream import ModelInfo, UpstreamAnswer

MODEL = "test-model"


@dataclass(frozen=True)
class Request:
    """What arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


Behaviour = Callable[[Request, asyncio.StreamWriter], Awaitable[bool]]
"""Answers one request; returns whether the connection may serve another."""


class FaultyServer:
    """``async with FaultyServer(behaviour) as server``: every request gets ``behaviour`` unless :meth:`then` queued
    others for the next ones. ``base_url`` ends in ``/v1``."""

    def __init__(self, behaviour: Behaviour | None = None, *, tls: ssl.SSLContext | None = None) -> None:
        self.behaviour = behaviour or chat_server
        self._tls = tls
        self.requests: list[Request] = []
        self.connections = 0
        """Connections accepted so far."""
        self.closed_by_client = asyncio.Event()
        """Set when a client hung up before its answer was whole."""
        self._next: deque[Behaviour] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    def then(self, *behaviours: Behaviour) -> Self:
        """Queue behaviours for the next requests, one each."""
        self._next.extend(behaviours)
        return self

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            while (request := await _read_request(reader)) is not None:
                self.requests.append(request)
                behaviour = self._next.popleft() if self._next else self.behaviour
                answering = asyncio.ensure_future(behaviour(request, writer))
                watching = asyncio.ensure_future(reader.read(1))
                try:
                    await asyncio.wait({answering, watching}, return_when=asyncio.FIRST_COMPLETED)
                    if not answering.done():
                        self.closed_by_client.set()
                        return
                    if not answering.result():
                        return
                    if watching.done():
                        if not watching.result():
                            return
                        raise AssertionError("a test client pipelined")
                finally:
                    for future in (answering, watching):
                        future.cancel()
                    await asyncio.gather(answering, watching, return_exceptions=True)
        except (ConnectionError, asyncio.IncompleteReadError):
            self.closed_by_client.set()
        except asyncio.CancelledError:
            pass
        finally:
            self._tasks.discard(task)
            writer.close()


async def _read_request(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    lines = head.decode("latin-1").split("\r\n")
    method, path, _ = lines[0].split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, path, headers, body)


# Well-formed bodies.


def chat_completion(text: str = "Hello there.", *, finish_reason: str = "stop", **extra: Any) -> dict[str, Any]:
    """An OpenAI chat completion, as a value."""
    return {
        "id": "chatcmpl-test",
        "object": "chat.completion",
        "created": 1_767_225_600,
        "model": MODEL,
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish_reason},
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": len(text.split()), "total_tokens": 3 + len(text.split())},
        **extra,
    }


def chat_chunk(delta: dict[str, Any], *, finish_reason: str | None = None, index: int = 0, **extra: Any) -> bytes:
    """One ``chat.completion.chunk`` payload."""
    return json.dumps(
        {
            "id": "chatcmpl-test",
            "object": "chat.completion.chunk",
            "created": 1_767_225_600,
            "model": MODEL,
            "choices": [{"index": index, "delta": delta, "finish_reason": finish_reason}],
            **extra,
        },
        ensure_ascii=False,
    ).encode()


def chat_chunks(text: str = "Hello there.", *, finish_reason: str = "stop") -> list[bytes]:
    """A whole streamed answer: role, one chunk a word, finish."""
    words = text.split(" ")
    pieces = [word if number == 0 else f" {word}" for number, word in enumerate(words)]
    return [
        chat_chunk({"role": "assistant", "content": ""}),
        *(chat_chunk({"content": piece}) for piece in pieces),
        chat_chunk({}, finish_reason=finish_reason),
    ]


def error_body(message: str = "no", *, code: str | int = "bad") -> bytes:
    """An OpenAI-style error body."""
    return json.dumps({"error": {"message": message, "type": "server_error", "param": None, "code": code}}).encode()


# Behaviours that are right.


def answer(
    body: bytes | dict[str, Any] | None = None,
    *,
    status: int = 200,
    content_type: str = "application/json",
    headers: Sequence[tuple[str, str]] = (),
    delay_s: float = 0.0,
) -> Behaviour:
    """A whole answer with a length, after ``delay_s``."""
    if body is None:
        body = chat_completion()
    data = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def behave(_request: Request, writer: asyncio.StreamWriter) -> bool:
        if delay_s:
            await asyncio.sleep(delay_s)
        extra = "".join(f"{name}: {value}\r\n" for name, value in headers)
        writer.write(
            f"HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\n"
            f"content-length: {len(data)}\r\n{extra}\r\n".encode()
            + data
        )
        await writer.drain()
        return True

    return behave


def events(
    payloads: Iterable[bytes] | None = None,
    *,
    done: bool = True,
    pace_s: float = 0.0,
    line_end: bytes = b"\n",
    first_delay_s: float = 0.0,
) -> Behaviour:
    """A chunked SSE stream of ``data:`` events, then ``[DONE]`` and a clean end."""
    raw = [b"data: " + payload + line_end * 2 for payload in (chat_chunks() if payloads is None else payloads)]
    if done:
        raw.append(b"data: [DONE]" + line_end * 2)
    return raw_stream(raw, pace_s=pace_s, first_delay_s=first_delay_s)


def raw_stream(
    pieces: Iterable[bytes], *, pace_s: float = 0.0, first_delay_s: float = 0.0, clean: bool = True
) -> Behaviour:
    """A chunked ``text/event-stream`` of exactly these bytes; ``clean`` says whether the chunked body is terminated."""
    kept = list(pieces)

    async def behave(_request: Request, writer: asyncio.StreamWriter) -> bool:
        if first_delay_s:
            await asyncio.sleep(first_delay_s)
        _stream_head(writer)
        for piece in kept:
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
            if pace_s:
                await asyncio.sleep(pace_s)
        if clean:
            writer.write(b"0\r\n\r\n")
            await writer.drain()
        return clean

    return behave


async def chat_server(request: Request, writer: asyncio.StreamWriter) -> bool:
    """Well behaved: lists one model; streams when asked to; otherwise answers whole."""
    if request.method == "GET" and request.path == "/v1/models":
        listing = {"object": "list", "data": [{"id": MODEL, "object": "model", "created": 1, "owned_by": "tests"}]}
        return await answer(listing)(request, writer)
    if request.path not in {"/v1/chat/completions", "/v1/completions"}:
        return await answer(error_body("no such path"), status=404)(request, writer)
    return await (events() if request.json().get("stream") else answer())(request, writer)


# Behaviours that are wrong.


def hang() -> Behaviour:
    """Takes the request and never says anything."""

    async def behave(_request: Request, _writer: asyncio.StreamWriter) -> bool:
        await asyncio.Event().wait()
        return False

    return behave


def hang_up() -> Behaviour:
    """Closes the connection without a byte."""

    async def behave(_request: Request, _writer: asyncio.StreamWriter) -> bool:
        return False

    return behave


def reset() -> Behaviour:
    """Resets the connection (RST) without a byte."""

    async def behave(_request: Request, writer: asyncio.StreamWriter) -> bool:
        _reset(writer)
        return False

    return behave


def cut_body(*, sent_bytes: int = 20) -> Behaviour:
    """Promises a whole body and closes after ``sent_bytes`` of it."""
    data = json.dumps(chat_completion()).encode()

    async def behave(_request: Request, writer: asyncio.StreamWriter) -> bool:
        writer.write(
            f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n".encode()
        )
        writer.write(data[:sent_bytes])
        await writer.drain()
        return False

    return behave


def cut_stream(*, after: int = 3, how: str = "close", text: str = "one two three four five six") -> Behaviour:
    """Streams ``after`` events, then ``close`` (no terminator), ``reset``, ``hang``, or ``clean`` (a clean end that is
    too early)."""
    payloads = chat_chunks(text)[:after]

    async def behave(request: Request, writer: asyncio.StreamWriter) -> bool:
        pieces = [b"data: " + payload + b"\n\n" for payload in payloads]
        keep = await raw_stream(pieces, clean=how == "clean")(request, writer)
        if how == "reset":
            await asyncio.sleep(0.02)
            _reset(writer)
        elif how == "hang":
            await asyncio.Event().wait()
        return keep

    return behave


def garbage(data: bytes = b"\x16\x03\x01\x02\x00\x01\x00\x01 this is not HTTP \r\n\r\n") -> Behaviour:
    """Sends bytes that are not HTTP."""

    async def behave(_request: Request, writer: asyncio.StreamWriter) -> bool:
        writer.write(data)
        await writer.drain()
        return False

    return behave


def garbage_event(payload: bytes = b'{"choices": [') -> Behaviour:
    """Streams two good events and then one whose data is not JSON."""
    return events([*chat_chunks()[:2], payload])


def giant_event(size_bytes: int) -> Behaviour:
    """Streams one good event and then one of ``size_bytes``."""
    return events([chat_chunks()[0], chat_chunk({"content": "x" * size_bytes})])


def endless(piece: bytes | None = None, sent: list[None] | None = None) -> Behaviour:
    """Streams the same event for ever, as fast as it is read; ``sent`` grows with every event that went out."""
    event = b"data: " + (piece or chat_chunk({"content": "again "})) + b"\n\n"

    async def behave(_request: Request, writer: asyncio.StreamWriter) -> bool:
        _stream_head(writer)
        while True:
            writer.write(b"%x\r\n%b\r\n" % (len(event), event))
            await writer.drain()
            if sent is not None:
                sent.append(None)

    return behave


def slow_drip(payloads: Iterable[bytes] | None = None, *, byte_s: float = 0.0) -> Behaviour:
    """Streams a good answer one byte at a time."""
    kept = list(chat_chunks() if payloads is None else payloads)
    whole = b"".join(b"data: " + payload + b"\n\n" for payload in kept) + b"data: [DONE]\n\n"
    return raw_stream([whole[at : at + 1] for at in range(len(whole))], pace_s=byte_s)


def refuse(status: int = 500, body: bytes | None = None, *, retry_after: str = "") -> Behaviour:
    """An HTTP error with a body, as providers send them (429 with ``Retry-After``, 500, 400 …)."""
    return answer(
        error_body(f"refused with {status}") if body is None else body,
        status=status,
        headers=[("retry-after", retry_after)] if retry_after else [],
    )


def error_event(*, after: int = 2, code: str | int = 503, named: bool = False) -> Behaviour:
    """Streams ``after`` events, then an error inside the stream, then a clean end without ``[DONE]``."""
    pieces = [b"data: " + payload + b"\n\n" for payload in chat_chunks()[:after]]
    pieces.append((b"event: error\n" if named else b"") + b"data: " + error_body("overloaded", code=code) + b"\n\n")
    return raw_stream(pieces)


def redirect(location: str = "http://127.0.0.1:9/v1/chat/completions") -> Behaviour:
    """A redirect, which no client of ours may follow."""
    return answer(b"{}", status=307, headers=[("location", location)])


def compressed() -> Behaviour:
    """A body marked gzip although identity was asked for."""
    return answer(b"\x1f\x8b\x08\x00", headers=[("content-encoding", "gzip")])


def _stream_head(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Server:
    """An upstream in a thread of its own, for tests that drive a whole gateway: lists models as ``listing`` does, and
    does ``behaviour`` for everything else."""

    def __init__(self, behaviour: Behaviour = chat_server, listing: Behaviour = chat_server) -> None:
        self.behaviour = behaviour
        self.requests: list[Request] = []
        """What it was asked besides its list."""
        self._listing = listing
        self._stop = threading.Event()
        self._ready = threading.Event()
        self.base_url = ""

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, name="upstream")
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        async def main() -> None:
            async with FaultyServer(self._answer) as faulty:
                self.base_url = faulty.base_url
                self._ready.set()
                await asyncio.to_thread(self._stop.wait)

        asyncio.run(main())

    async def _answer(self, request: Request, writer: Any) -> bool:
        if request.method == "GET":
            return await self._listing(request, writer)
        self.requests.append(request)
        return await self.behaviour(request, writer)


# In memory.


@dataclass
class ScriptedUpstream:
    """An upstream without a socket: answers what it was given, in order, the last one for ever.

    An ``Exception`` among the answers is raised; among a stream's payloads it is raised at that place. A float among
    them is a wait in seconds.
    """

    answers: list[bytes | UpstreamAnswer | Exception] = field(default_factory=list)
    streams: list[list[bytes | Exception | float]] = field(default_factory=list)
    offered: list[ModelInfo] = field(default_factory=lambda: [ModelInfo(MODEL, "tests", 1)])
    name: str = "scripted"
    sent: list[tuple[str, bytes]] = field(default_factory=list)
    closed_streams: int = 0
    """Streams that were closed before their end."""
    closed: bool = False
    dialect: Dialect = PLAIN

    @property
    def code(self) -> str:
        return self.name

    async def models(self) -> list[ModelInfo]:
        return list(self.offered)

    async def complete(self, path: str, body: bytes, *, timeout_s: float) -> UpstreamAnswer:
        assert timeout_s > 0
        self.sent.append((path, body))
        scripted: bytes | UpstreamAnswer | Exception = json.dumps(chat_completion()).encode()
        if self.answers:
            scripted = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(scripted, Exception):
            raise scripted
        return scripted if isinstance(scripted, UpstreamAnswer) else UpstreamAnswer(200, "application/json", scripted)

    def stream(self, path: str, body: bytes, *, timeout_s: float, idle_timeout_s: float) -> ScriptedEvents:
        assert timeout_s > 0
        assert idle_timeout_s > 0
        script: list[bytes | Exception | float] = [*chat_chunks()]
        if self.streams:
            script = self.streams.pop(0) if len(self.streams) > 1 else self.streams[0]
        return ScriptedEvents(self, path, body, deque(script))

    async def close(self) -> None:
        self.closed = True


class ScriptedEvents:
    """The stream of a :class:`ScriptedUpstream`."""

    def __init__(
        self, upstream: ScriptedUpstream, path: str, body: bytes, script: deque[bytes | Exception | float]
    ) -> None:
        self._upstream = upstream
        self._request: tuple[str, bytes] | None = (path, body)
        self._script = script
        self._over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._request is not None:
            self._upstream.sent.append(self._request)
            self._request = None
        while self._script and not self._over:
            step = self._script.popleft()
            if isinstance(step, float):
                await asyncio.sleep(step)
            elif isinstance(step, Exception):
                self._over = True
                raise step
            else:
                return step
        self._over = True
        raise StopAsyncIteration

    async def aclose(self) -> None:
        if not self._over:
            self._over = True
            self._upstream.closed_streams += 1
