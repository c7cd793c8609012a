"""What everything keeps that hands requests on (ports/forward.py), against servers that misbehave on loopback."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from holdfast.adapters.forward_direct import DirectForwarder, ForwardConfig
from holdfast.errors import UnavailableError, UsageError
from holdfast.ports.forward import Forwarded, Forwarder

pytestmark = pytest.mark.enable_socket

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: message/ohttp-chunked-res\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
HOW: dict[str, Any] = {
    "content_type": "message/ohttp-req",
    "accept": "message/ohttp-res",
    "timeout_s": 5.0,
    "idle_timeout_s": 5.0,
}


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def against(
    pieces: list[bytes],
    read: Callable[[Forwarded], Awaitable[Any]],
    *,
    pause: float = 0.0,
    config: dict[str, Any] | None = None,
    **options: Any,
) -> tuple[Any, bytes]:
    """One request to a server that answers with the pieces, ``pause`` apart: what ``read`` made of the answer, and what
    the server was sent."""
    heard = bytearray()
    served = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            heard.extend(await reader.readuntil(b"\r\n\r\n"))
            heard.extend(await reader.readexactly(4))
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
        port = server.sockets[0].getsockname()[1]
        made = DirectForwarder(ForwardConfig(f"http://127.0.0.1:{port}", token="hf_relay", **(config or {})))
        forwarder: Forwarder = made
        try:
            answer = await forwarder.post("/v1/ohttp", b"body", **{**HOW, **options})
            return await read(answer)
        finally:
            await made.close()
            await served.wait()
            server.close()

    return asyncio.run(scenario()), bytes(heard)


async def whole(answer: Forwarded) -> list[bytes]:
    pieces = []
    while piece := await answer.read():
        pieces.append(piece)
    return pieces


def code_of(pieces: list[bytes], **options: Any) -> str:
    with pytest.raises(UnavailableError) as caught:
        against(pieces, whole, **options)
    return caught.value.code


def test_no_answer_is_unreachable() -> None:
    assert code_of([b""]) == "forward.unreachable"


def test_what_is_not_http_is_no_answer() -> None:
    assert code_of([b"not http\r\n\r\n"]) == "forward.protocol"


def test_an_answer_that_breaks_off_never_ends() -> None:
    assert code_of([CHUNKED, chunk(b"one"), b"5\r\ntw"]) == "forward.protocol"


def test_a_head_that_does_not_come_in_time() -> None:
    assert code_of([HEAD], pause=0.4, timeout_s=0.1) == "forward.timeout"


def test_silence_inside_an_answer() -> None:
    assert code_of([CHUNKED, chunk(b"one"), chunk(b"two")], pause=0.4, idle_timeout_s=0.1) == "forward.timeout"


def test_an_answer_over_the_bound() -> None:
    assert code_of([CHUNKED, *[chunk(b"x" * 500)] * 4], config={"max_bytes": 1000}) == "forward.too_large"


def test_a_compressed_answer_is_other_bytes_than_those_that_were_sealed() -> None:
    assert code_of([HEAD + b"content-encoding: gzip\r\ncontent-length: 0\r\n\r\n"]) == "forward.protocol"


@pytest.mark.parametrize(
    "config",
    [
        {"base_url": "gateway.example"},
        {"base_url": "ftp://gateway.example"},
        {"base_url": "http://127.0.0.1:99999"},
        {"base_url": "https://gateway.example/?key=1"},
        {"base_url": "http://gateway.example", "token": "hf_relay"},
        {"base_url": "https://gateway.example", "tls_ca_file": "/nowhere.pem"},
        {"base_url": "https://gateway.example", "tls_ca_file": __file__},
    ],
)
def test_an_address_that_cannot_be_used_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        DirectForwarder(ForwardConfig(**config))
    assert caught.value.code == "forward.config"
    assert "hf_relay" not in repr(ForwardConfig(**config))


def test_pieces_come_as_they_arrive() -> None:
    pieces = [CHUNKED, chunk(b"one"), chunk(b"two"), b"0\r\n\r\n"]
    found, _ = against(pieces, whole, pause=0.05)
    assert found == [b"one", b"two"]


def test_any_status_is_an_answer_and_no_redirect_is_followed() -> None:
    async def status(answer: Forwarded) -> tuple[int, str]:
        found = answer.status, answer.headers["location"]
        answer.abort()
        return found

    found, _ = against([b"HTTP/1.1 307 X\r\nLocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"], status)
    assert found == (307, "http://127.0.0.1:1/")


def test_what_is_sent_is_what_was_said_and_no_more() -> None:
    head = HEAD + b"content-length: 2\r\n\r\n"
    found, heard = against([head, b"ok"], whole, fields=(("x-ohttp-stream", "true"),))
    assert found == [b"ok"]
    lines = heard.decode().split("\r\n")
    assert lines[0] == "POST /v1/ohttp HTTP/1.1"
    assert lines[-1] == "body"
    named = dict(line.split(": ", 1) for line in lines[1:-2])
    assert named.pop("host").startswith("127.0.0.1:")
    assert named == {
        "authorization": "Bearer hf_relay",
        "accept": "message/ohttp-res",
        "accept-encoding": "identity",
        "x-ohttp-stream": "true",
        "content-type": "message/ohttp-req",
        "content-length": "4",
    }


def test_an_answer_that_is_dropped_is_dropped_at_once() -> None:
    async def drop(answer: Forwarded) -> bytes:
        first = await answer.read()
        answer.abort()
        answer.abort()
        return first

    found, _ = against([CHUNKED, chunk(b"one"), chunk(b"two")], drop, pause=0.05)
    assert found == b"one"
