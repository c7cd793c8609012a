"""What every JSON-RPC client keeps (ports/json_rpc.py): over HTTP against bad servers, and in one process."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from holdfast.adapters import json_rpc_aiohttp
from holdfast.adapters.json_rpc_aiohttp import BatchingJSONRPC
from holdfast.errors import UnavailableError
from holdfast.ports.json_rpc import JSONRPC, AnsweredError
from tests.helpers.facilitator import DirectRPC

pytestmark = pytest.mark.enable_socket
Answer = Callable[[dict[str, Any]], dict[str, Any]]


def echo(request: dict[str, Any]) -> dict[str, Any]:
    return {"result": [request["method"], *request["params"]]}


class _Rpc:
    """Stands where a chain's JSON-RPC would."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def answer(self, body: bytes) -> Any:
        request = json.loads(body)
        return {"jsonrpc": "2.0", "id": request["id"], **self._answer(request)}


class Server:
    """An endpoint on loopback: answers each request of a body by ``answer``; ``shape`` may spoil the whole."""

    def __init__(self, answer: Answer, shape: Callable[[bytes, int], bytes | None] | None = None) -> None:
        self.answer = answer
        self.shape = shape or (lambda body, _: body)
        self.exchanges: list[Any] = []
        self.connections = 0
        self.open = 0
        self.closed = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.open += 1
        self.closed.clear()
        try:
            await self._serve(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            self.open -= 1
            if not self.open:
                self.closed.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                break
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            asked = json.loads(await reader.readexactly(int(length.split(b":")[1])))
            self.exchanges.append(asked)
            answers = [{"jsonrpc": "2.0", "id": each["id"], **self.answer(each)} for each in asked]
            body = self.shape(json.dumps(answers).encode(), len(self.exchanges))
            if body is None:
                break
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)


def over_http(answer: Answer, ask: Callable[[JSONRPC], Awaitable[Any]], **options: Any) -> tuple[Any, Server]:
    shape = options.pop("shape", None)

    async def scenario() -> tuple[Any, Server]:
        made = Server(answer, shape)
        server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
        client = BatchingJSONRPC(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", **options)
        try:
            return await ask(client), made
        finally:
            await client.close()
            server.close()
            if made.open:
                await made.closed.wait()

    return asyncio.run(scenario())


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_rpc_aiohttp, "RETRY_PAUSES_S", (0.0, 0.0, 0.0))


@pytest.fixture(params=["http", "direct"])
def ask(request: pytest.FixtureRequest) -> Callable[[Answer, Callable[[JSONRPC], Awaitable[Any]]], Any]:
    if request.param == "http":
        return lambda answer, call: over_http(answer, call)[0]
    return lambda answer, call: asyncio.run(call(DirectRPC(_Rpc(answer))))  # type: ignore[arg-type,no-any-return]


def test_an_error_is_an_answer_and_not_silence(ask):
    def refuse(_):
        return {"error": {"code": 3, "message": "execution reverted: no", "data": "0x08c379a0"}}

    with pytest.raises(AnsweredError) as caught:
        ask(refuse, lambda rpc: rpc.request("eth_call", {}))
    assert (caught.value.code, caught.value.number) == ("chain.rpc", 3)
    assert caught.value.revert_data() == bytes.fromhex("08c379a0")


def test_many_who_ask_at_once_each_get_their_own_answer(ask):
    async def many(rpc):
        return await asyncio.gather(*(rpc.request("echo", number) for number in range(250)))

    assert ask(echo, many) == [["echo", number] for number in range(250)]


def test_one_error_among_many_is_one_callers(ask):
    def answer(request):
        return {"error": {"code": -32000, "message": "no"}} if request["params"] == [1] else echo(request)

    async def many(rpc):
        return await asyncio.gather(*(rpc.request("echo", number) for number in range(3)), return_exceptions=True)

    first, second, third = ask(answer, many)
    assert (first, third) == (["echo", 0], ["echo", 2])
    assert isinstance(second, AnsweredError)


@pytest.mark.parametrize(
    ("number", "text", "data", "found"),
    [
        (3, "execution reverted", "0x1234", b"\x12\x34"),
        (3, "execution reverted", None, b""),
        (-32000, "execution reverted: why", None, b""),
        (3, "execution reverted", "0x123", b""),
        (-32000, "nonce too low", None, None),
        (-32603, "busy", {"code": "x"}, None),
    ],
)
def test_a_revert_is_told_from_other_errors(number, text, data, found):
    assert AnsweredError(number, text, data).revert_data() == found


# --- over HTTP --------------------------------------------------------------------------------------------------------


def test_what_is_asked_together_travels_together_on_kept_connections():
    async def many(rpc):
        for _ in range(3):
            await asyncio.gather(*(rpc.request("echo", number) for number in range(50)))

    _, server = over_http(echo, many)
    assert [len(exchange) for exchange in server.exchanges] == [50, 50, 50]
    assert server.connections == 1


@pytest.mark.parametrize("spoiled", [None, b"", b"no json", b"<html>", b'"text"', b"{"])
def test_an_exchange_without_an_answer_is_tried_again(spoiled):
    answer, server = over_http(
        echo, lambda rpc: rpc.request("echo"), shape=lambda body, number: spoiled if number < 3 else body
    )
    assert answer == ["echo"]
    assert len(server.exchanges) == 3


def test_an_endpoint_that_stays_silent_is_unreachable():
    with pytest.raises(UnavailableError) as caught:
        over_http(echo, lambda rpc: rpc.request("echo"), shape=lambda *_: None)
    assert caught.value.code == "chain.unreachable"


def test_an_answer_that_is_left_out_is_unreachable():
    async def many(rpc):
        return await asyncio.gather(rpc.request("echo", 1), rpc.request("echo", 2), return_exceptions=True)

    def first(body, _):
        return json.dumps(json.loads(body)[:1]).encode()

    found, _ = over_http(echo, many, shape=first)
    assert found[0] == ["echo", 1]
    assert found[1].code == "chain.unreachable"


def test_an_endpoint_without_batches_is_asked_one_by_one():
    def single(body, _):
        answers = json.loads(body)
        if len(answers) > 1:
            return b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"no batches"}}'
        return json.dumps(answers[0]).encode()

    async def many(rpc):
        first = await asyncio.gather(*(rpc.request("echo", number) for number in range(3)))
        return first, await asyncio.gather(*(rpc.request("echo", number) for number in range(2)))

    found, server = over_http(echo, many, shape=single)
    assert found == ([["echo", 0], ["echo", 1], ["echo", 2]], [["echo", 0], ["echo", 1]])
    assert [len(exchange) for exchange in server.exchanges] == [3, 1, 1, 1, 1, 1]


def test_closing_tells_whoever_waits():
    async def close_at_once(rpc):
        waiting = asyncio.ensure_future(rpc.request("echo"))
        for _ in range(3):
            await asyncio.sleep(0)
        await rpc.close()
        with pytest.raises(UnavailableError) as caught:
            await waiting
        return caught.value.code

    assert over_http(echo, close_at_once)[0] == "chain.unreachable"
