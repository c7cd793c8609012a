"""What every plain HTTP client keeps (ports/http.py), against servers that misbehave on loopback."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest

from holdfast.adapters.http_aiohttp import AiohttpHTTP
from holdfast.errors import UnavailableError
from holdfast.ports.http import HTTP, Answer

pytestmark = pytest.mark.enable_socket


def against(reply: bytes, ask: Callable[[HTTP, str], Awaitable[Answer]], *, pause: float = 0.0) -> tuple[Answer, bytes]:
    """Run one exchange with a server that reads the head and the body, writes ``reply`` and closes."""
    seen: list[bytes] = []
    served = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        seen.append(head + (await reader.readexactly(int(length[0].split(b":")[1])) if length else b""))
        await asyncio.sleep(pause)
        writer.write(reply)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        served.set()

    async def scenario() -> Answer:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        client = AiohttpHTTP()
        try:
            return await ask(client, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        finally:
            await client.close()
            await served.wait()
            server.close()

    return asyncio.run(scenario()), seen[0]


def head(size: int, status: str = "200 OK", more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: {size}\r\n{more}\r\n".encode()


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (b"", "http.unreachable"),
        (b"not http\r\n\r\n", "http.unreachable"),
        (head(10) + b"short", "http.unreachable"),
        (head(2000) + b"x" * 2000, "http.too_large"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 2000, "http.too_large"),
    ],
    ids=["closes", "not-http", "cut", "too-large", "endless"],
)
def test_an_answer_that_is_not_whole_or_too_large_is_refused(reply: bytes, code: str) -> None:
    with pytest.raises(UnavailableError) as caught:
        against(reply, lambda client, url: client.request("GET", url, max_bytes=1000))
    assert caught.value.code == code


def test_a_silent_server_is_given_up_on() -> None:
    with pytest.raises(UnavailableError) as caught:
        against(head(0), lambda client, url: client.request("GET", url, timeout_s=0.1), pause=0.5)
    assert caught.value.code == "http.unreachable"


def test_a_closed_port_is_unreachable() -> None:
    async def scenario() -> None:
        client = AiohttpHTTP()
        try:
            await client.request("GET", "http://127.0.0.1:1/", timeout_s=1.0)
        finally:
            await client.close()

    with pytest.raises(UnavailableError) as caught:
        asyncio.run(scenario())
    assert caught.value.code == "http.unreachable"


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    answer, _ = against(
        head(0, "302 Found", "location: http://127.0.0.1:1/\r\n"), lambda client, url: client.request("GET", url)
    )
    assert (answer.status, answer.headers["location"]) == (302, "http://127.0.0.1:1/")


@pytest.mark.parametrize("status", ["404 Not Found", "500 Oops", "204 No Content"])
def test_any_status_is_an_answer(status: str) -> None:
    answer, _ = against(head(0, status), lambda client, url: client.request("GET", url))
    assert answer.status == int(status.split(maxsplit=1)[0])


def test_method_headers_and_body_arrive_as_given() -> None:
    answer, seen = against(
        head(2, more="X-Seen: Yes\r\n") + b"ok",
        lambda client, url: client.request("PUT", url + "/v1/x?y=1", body=b"\x00body", headers={"x-ask": "1"}),
    )
    assert answer.body == b"ok"
    assert answer.headers["x-seen"] == "Yes"
    assert seen.startswith(b"PUT /v1/x?y=1 HTTP/1.1\r\n")
    assert b"x-ask: 1\r\n" in seen
    assert seen.endswith(b"\r\n\r\n\x00body")
    assert b"cookie" not in seen.lower()
