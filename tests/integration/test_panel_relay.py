"""What a panel passes on to a relay, and what it says where no sealed answer comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest
from aiohttp import web

from holdfast.errors import HoldfastError
from holdfast.nodes.panel.sealed import RelayPass
from holdfast.ports.settings import Secret

pytestmark = pytest.mark.enable_socket
SEALED = b"sealed bytes"


@dataclass
class FakeRelay:
    """Answers with what a test puts in, and keeps what came."""

    status: int = 200
    kind: str = "message/ohttp-chunked-res"
    body: bytes = b"an answer"
    seen: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.Response:
        self.seen.append(({name.lower(): value for name, value in request.headers.items()}, await request.read()))
        return web.Response(status=self.status, body=self.body, headers={"content-type": self.kind})


@asynccontextmanager
async def passing(relay: FakeRelay) -> AsyncIterator[RelayPass]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", relay.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield RelayPass(url, Secret("panel-at-relay", "test"), lambda: http, connect_s=5, silence_s=5)
    await runner.cleanup()


def play(relay: FakeRelay, story: Callable[[RelayPass], Awaitable[None]]) -> None:
    async def main() -> None:
        async with passing(relay) as found:
            await story(found)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("relay", "kind"),
    [
        (
            FakeRelay(status=401, kind="application/json", body=b'{"error":{"code":"auth.wrong","message":"no"}}'),
            "refused",
        ),
        (FakeRelay(status=503, kind="application/json", body=b'{"error":{"code":"relay.credit"}}'), "unavailable"),
        (FakeRelay(status=429, kind="text/html", body=b"<h1>slow down</h1>"), "unavailable"),
        (FakeRelay(status=200, kind="text/event-stream", body=b"data: an answer in the clear"), "refused"),
        (FakeRelay(status=302, kind="text/plain", body=b""), "refused"),
    ],
)
def test_what_is_not_sealed_is_no_answer(relay: FakeRelay, kind: str) -> None:
    async def story(found: RelayPass) -> None:
        with pytest.raises(HoldfastError) as caught:
            async with found.ask(SEALED, "message/ohttp-chunked-res", streamed=True):
                raise AssertionError("there is no answer to read")
        assert (caught.value.code, caught.value.kind) == ("panel.relay", kind)
        assert caught.value.status in (502, 503)

    play(relay, story)


def test_a_relay_that_is_not_there_is_said_to_be_silent() -> None:
    async def main() -> None:
        async with aiohttp.ClientSession() as http:
            relay = RelayPass("http://127.0.0.1:1", None, lambda: http, connect_s=1, silence_s=1)
            with pytest.raises(HoldfastError) as caught:
                await relay.keys()
            assert caught.value.code == "panel.relay"

    asyncio.run(main())


def test_a_relay_gets_the_sealed_bytes_the_panels_key_and_nothing_else() -> None:
    relay = FakeRelay()

    async def story(found: RelayPass) -> None:
        async with found.ask(SEALED, "message/ohttp-chunked-res", streamed=True) as (kind, pieces):
            assert kind == "message/ohttp-chunked-res"
            assert b"".join([piece async for piece in pieces]) == b"an answer"

    play(relay, story)
    [(headers, body)] = relay.seen
    assert body == SEALED
    assert headers.keys() <= {
        "host", "accept", "accept-encoding", "user-agent", "content-length", "content-type", "authorization",
        "x-ohttp-stream", "incremental",
    }  # fmt: skip
    assert headers["authorization"] == "Bearer panel-at-relay"


def test_keys_come_with_their_proof_unchanged_and_bounded() -> None:
    relay = FakeRelay(kind="application/json", body=b'{"type":"urn:holdfast:keys-proof:v1"}')

    async def story(found: RelayPass) -> None:
        assert await found.keys() == relay.body
        relay.body = b" " * ((1 << 20) + 1)
        with pytest.raises(HoldfastError) as caught:
            await found.keys()
        assert caught.value.code == "panel.relay"
        relay.status, relay.body = 404, b"{}"
        with pytest.raises(HoldfastError):
            await found.keys()

    play(relay, story)
    assert "authorization" not in relay.seen[0][0]
