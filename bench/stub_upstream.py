"""A local OpenAI-compatible server that costs almost nothing, so that a bench measures what stands in front of it.

It answers every ``POST …/chat/completions`` and ``…/completions`` at once with fixed bytes: whole, or as server-sent
events when the request's body says ``"stream": true``. How many events, how far apart, how large the answer and how
long until the first byte are options. ``GET …/models`` lists one model, ``stub``. Nothing is parsed but the request
line, the length and the stream flag. Pipelining is answered in order; the rest of HTTP is left out on purpose.

Run: ``python bench/stub_upstream.py --port 9001``; it prints one line ``{"ready": true, "url": …}``. Port 0 picks one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
from dataclasses import dataclass
from typing import cast

import httptools
import uvloop

_STREAM = re.compile(rb'"stream"\s*:\s*true')
_MODEL = "stub"
_CREATED = 1_767_225_600


@dataclass(frozen=True, slots=True)
class Plan:
    """What every answer is."""

    whole: bytes
    """A complete response with its head."""
    head: bytes
    """The head of a streamed response (chunked)."""
    events: tuple[bytes, ...]
    """Each a complete HTTP chunk; the last carries ``[DONE]`` and the end of the body."""
    pace_s: float
    """Between two events; 0 sends them all in one write."""
    delay_s: float
    """Before the first byte."""
    models: bytes


def make_plan(*, tokens: int, words: int, pace_ms: float, delay_ms: float) -> Plan:
    """``words`` of text in a whole answer; ``tokens`` content events in a stream."""
    text = " ".join(["word"] * words)
    whole = _json(
        {
            "id": "chatcmpl-stub",
            "object": "chat.completion",
            "created": _CREATED,
            "model": _MODEL,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text},
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 9, "completion_tokens": words, "total_tokens": 9 + words},
            "system_fingerprint": "fp_stub",
        }
    )
    deltas = [({"role": "assistant", "content": ""}, None), *(({"content": " word"}, None) for _ in range(tokens))]
    frames = [_event(_chunk(delta, finish)) for delta, finish in [*deltas, ({}, "stop")]]
    frames.append(_event(b"[DONE]") + b"0\r\n\r\n")
    models = _json({"object": "list", "data": [{"id": _MODEL, "object": "model", "created": 1, "owned_by": "bench"}]})
    return Plan(
        whole=_response(whole),
        head=b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
        events=tuple(frames),
        pace_s=pace_ms / 1000,
        delay_s=delay_ms / 1000,
        models=_response(models),
    )


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _response(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def _chunk(delta: dict[str, str], finish_reason: str | None) -> bytes:
    return _json(
        {
            "id": "chatcmpl-stub",
            "object": "chat.completion.chunk",
            "created": _CREATED,
            "model": _MODEL,
            "system_fingerprint": "fp_stub",
            "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}],
        }
    )


def _event(payload: bytes) -> bytes:
    event = b"data: " + payload + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(event), event)


class Connection(asyncio.Protocol):
    """One client connection."""

    __slots__ = ("_body", "_busy", "_loop", "_parser", "_plan", "_transport", "_url", "_waiting")

    def __init__(self, plan: Plan, loop: asyncio.AbstractEventLoop) -> None:
        self._plan = plan
        self._loop = loop
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._url = b""
        self._body = b""
        self._busy = False
        self._waiting: list[bool] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._transport = None

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            if self._transport is not None:
                self._transport.close()

    def on_url(self, url: bytes) -> None:
        self._url = url
        self._body = b""

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if self._url.endswith(b"/models"):
            self._write(self._plan.models)
            return
        stream = _STREAM.search(self._body) is not None
        if self._busy:
            self._waiting.append(stream)
        else:
            self._answer(stream)

    def _answer(self, stream: bool) -> None:
        if self._plan.delay_s:
            self._busy = True
            self._loop.call_later(self._plan.delay_s, self._begin, stream)
        else:
            self._begin(stream)

    def _begin(self, stream: bool) -> None:
        plan = self._plan
        if not stream:
            self._write(plan.whole)
            self._end()
        elif not plan.pace_s:
            self._write(plan.head + b"".join(plan.events))
            self._end()
        else:
            self._busy = True
            self._write(plan.head + plan.events[0])
            self._loop.call_later(plan.pace_s, self._next, 1, self._loop.time() + plan.pace_s)

    def _next(self, at: int, due: float) -> None:
        """Send event ``at``; the next is due one pace after this one was, not after it was sent."""
        if self._transport is None:
            return
        events = self._plan.events
        if at >= len(events) - 2:
            self._write(events[at] + events[-1])
            self._end()
            return
        self._write(events[at])
        self._loop.call_at(due + self._plan.pace_s, self._next, at + 1, due + self._plan.pace_s)

    def _end(self) -> None:
        self._busy = False
        if self._waiting:
            self._answer(self._waiting.pop(0))

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


async def start(plan: Plan, port: int = 0, host: str = "127.0.0.1") -> tuple[asyncio.AbstractServer, str]:
    """Listen; returns the server and the base URL for an upstream (ending in ``/v1``)."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(plan, loop), host, port, backlog=2048)
    return server, f"http://{host}:{server.sockets[0].getsockname()[1]}/v1"


async def _main(options: argparse.Namespace) -> None:
    plan = make_plan(tokens=options.tokens, words=options.words, pace_ms=options.pace_ms, delay_ms=options.delay_ms)
    server, url = await start(plan, options.port, options.host)
    print(json.dumps({"ready": True, "url": url, "model": _MODEL}), flush=True)
    async with server:
        await server.serve_forever()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one (default)")
    parser.add_argument("--tokens", type=int, default=50, help="content events in a streamed answer (default 50)")
    parser.add_argument("--words", type=int, default=50, help="words in a whole answer (default 50)")
    parser.add_argument("--pace-ms", type=float, default=0.0, help="between two events; 0 sends all at once (default)")
    parser.add_argument("--delay-ms", type=float, default=0.0, help="before the first byte (default 0)")
    options = parser.parse_args()
    try:
        uvloop.run(_main(options))
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()
