"""What every plain HTTP client keeps (ports/http.py), against servers that misbehave on loopback."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest

from holdfast.adapters.http_aiohttp import AiohttpHTTP
from holdfast.adapters.http_oblivious import ObliviousHTTP, RelayRoute
from holdfast.errors import UnavailableError
from holdfast.ports.http import HTTP, Answer
from tests.helpers import oblivious

pytestmark = pytest.mark.enable_socket


Against = Callable[..., tuple[Answer, bytes]]


def run(
    reply: bytes, ask: Callable[[HTTP, str], Awaitable[Answer]], pause: float, *, sealed: bool
) -> tuple[Answer, bytes]:
    """Run one exchange with a server that reads the head and the body, writes ``reply`` and closes. ``sealed``: the
    server is a relay with a gateway behind it."""
    seen: list[bytes] = []
    served = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        body = await reader.readexactly(int(length[0].split(b":")[1])) if length else b""
        if sealed:
            assert head.startswith(b"POST /relay HTTP/1.1\r\n")
            request, context = oblivious.open_request(body)
            assert request.authority == f"127.0.0.1:{writer.get_extra_info('sockname')[1]}"
            seen.append(oblivious.written(request))
            answer = oblivious.answer_bytes(context, reply)
        else:
            seen.append(head + body)
            answer = reply
        await asyncio.sleep(pause)
        writer.write(answer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        served.set()

    async def scenario() -> Answer:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        client = AiohttpHTTP()
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        route = RelayRoute(f"{url}/relay", oblivious.CONFIGURATION)
        try:
            return await ask(ObliviousHTTP(route, client) if sealed else client, url)
        finally:
            await client.close()
            await served.wait()
            server.close()

    return asyncio.run(scenario()), seen[0]


@pytest.fixture(params=["aiohttp", "oblivious"])
def adapter(request: pytest.FixtureRequest) -> str:
    """Which adapter is asked."""
    name: str = request.param
    return name


@pytest.fixture
def against(adapter: str) -> Against:
    """Ask that adapter once."""

    def ask(reply: bytes, ask: Callable[[HTTP, str], Awaitable[Answer]], *, pause: float = 0.0) -> tuple[Answer, bytes]:
        return run(reply, ask, pause, sealed=adapter == "oblivious")

    return ask


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
def test_an_answer_that_is_not_whole_or_too_large_is_refused(against: Against, reply: bytes, code: str) -> None:
    with pytest.raises(UnavailableError) as caught:
        against(reply, lambda client, url: client.request("GET", url, max_bytes=1000))
    assert caught.value.code == code


def test_a_silent_server_is_given_up_on(against: Against) -> None:
    with pytest.raises(UnavailableError) as caught:
        against(head(0), lambda client, url: client.request("GET", url, timeout_s=0.1), pause=0.5)
    assert caught.value.code == "http.unreachable"


def test_a_closed_port_is_unreachable(adapter: str) -> None:
    async def scenario() -> None:
        client = AiohttpHTTP()
        route = RelayRoute("http://127.0.0.1:1/relay", oblivious.CONFIGURATION)
        asked: HTTP = ObliviousHTTP(route, client) if adapter == "oblivious" else client
        try:
            await asked.request("GET", "http://127.0.0.1:1/", timeout_s=1.0)
        finally:
            await client.close()

    with pytest.raises(UnavailableError) as caught:
        asyncio.run(scenario())
    assert caught.value.code == "http.unreachable"


def test_a_redirect_is_an_answer_and_is_not_followed(against: Against) -> None:
    answer, _ = against(
        head(0, "302 Found", "location: http://127.0.0.1:1/\r\n"), lambda client, url: client.request("GET", url)
    )
    assert (answer.status, answer.headers["location"]) == (302, "http://127.0.0.1:1/")


@pytest.mark.parametrize("status", ["404 Not Found", "500 Oops", "204 No Content"])
def test_any_status_is_an_answer(against: Against, status: str) -> None:
    answer, _ = against(head(0, status), lambda client, url: client.request("GET", url))
    assert answer.status == int(status.split(maxsplit=1)[0])


def test_method_headers_and_body_arrive_as_given(against: Against) -> None:
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
