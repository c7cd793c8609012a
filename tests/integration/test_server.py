"""The server under every node, over real sockets: slow, oversized and broken requests get the one error shape."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from holdfast.nodes import server as server_module
from holdfast.nodes.edge import Limits, create_app, json_response
from holdfast.nodes.server import MAX_HEADER_BYTES, make_server

pytestmark = pytest.mark.enable_socket


async def size(request: Request) -> Response:
    return json_response({"size": len(await request.body())})


@asynccontextmanager
async def serving(max_connections: int = 16) -> AsyncIterator[int]:
    app = create_app(
        [Route("/size", size, methods=["POST"])],
        readiness=dict,
        limits=Limits(body_bytes=1 << 20, body_seconds=0.5),
    )
    server = make_server(app, max_connections=max_connections)
    server.install_signal_handlers = lambda: None
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 (uvicorn offers no event)
        await asyncio.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await task


async def exchange(port: int, *pieces: bytes, pause: float = 0.0) -> tuple[int, dict[str, object]]:
    """Send the pieces, read until the server closes or a whole response is there; return status and JSON."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def write() -> None:
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(pause)

    writing = asyncio.create_task(write())
    try:
        async with asyncio.timeout(30):
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.lower().split(b"\r\n")
            length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length"))
            body = await reader.readexactly(length)
    finally:
        writing.cancel()
        writer.close()
    return int(head.split()[1]), json.loads(body)


def run(*pieces: bytes, pause: float = 0.0) -> tuple[int, str]:
    async def scenario() -> tuple[int, dict[str, object]]:
        async with serving() as port:
            return await exchange(port, *pieces, pause=pause)

    status, value = asyncio.run(scenario())
    error = value.get("error")
    assert isinstance(error, dict), value
    assert set(error) == {"message", "type", "param", "code", "hint"}
    return status, str(error["code"])


def test_bytes_that_are_not_http_are_refused_in_the_one_shape() -> None:
    assert run(b"\x16\x03\x01 hello\r\n\r\n") == (400, "request.http")


def test_headers_over_the_limit_are_refused() -> None:
    assert run(b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"a" * MAX_HEADER_BYTES + b"\r\n\r\n") == (
        431,
        "request.headers_too_large",
    )


def test_many_small_headers_over_the_limit_are_refused() -> None:
    many = b"".join(b"x-%d: %s\r\n" % (number, b"a" * 20) for number in range(2000))
    assert run(b"GET / HTTP/1.1\r\nhost: x\r\n", many, b"\r\n") == (431, "request.headers_too_large")


def test_headers_that_never_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "HEADER_SECONDS", 0.2)
    assert run(b"GET / HTTP/1.1\r\n", *[b"x: y\r\n"] * 10, pause=0.05) == (408, "request.slow")


def test_a_connection_that_says_nothing_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "HEADER_SECONDS", 0.2)
    assert run() == (408, "request.slow")


def test_a_body_that_never_ends_is_refused() -> None:
    head = b"POST /size HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n"
    assert run(head, *[b"x"] * 12, pause=0.06) == (408, "request.slow")


def test_a_huge_body_is_refused_before_it_is_sent() -> None:
    assert run(b"POST /size HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n") == (413, "request.too_large")


def test_a_huge_chunked_body_is_refused_while_it_comes() -> None:
    head = b"POST /size HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    assert run(head, *[chunk] * 17) == (413, "request.too_large")


def test_connections_over_the_limit_are_told_so() -> None:
    async def scenario() -> tuple[int, dict[str, object]]:
        async with serving(max_connections=2) as port:
            idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
            await asyncio.sleep(0.05)
            try:
                return await exchange(port)
            finally:
                for _, writer in idle:
                    writer.close()

    status, value = asyncio.run(scenario())
    assert status == 503
    assert value["error"]["code"] == "node.busy"  # type: ignore[index]


def test_one_connection_serves_many_requests() -> None:
    async def scenario() -> list[int]:
        async with serving() as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            sizes = []
            for number in range(3):
                writer.write(b"POST /size HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % number + b"x" * number)
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200")
                sizes.append(json.loads(await reader.readuntil(b"}"))["size"])
            writer.close()
            return sizes

    assert asyncio.run(scenario()) == [0, 1, 2]
