"""A node that serves TLS itself, over real sockets: one app and one lifespan behind two addresses, pinned as
OpenGradient's clients pin, and refused where the settings make no sense."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from holdfast.adapters.http_aiohttp import AiohttpHTTP
from holdfast.adapters.tls_files import load_certificate, load_or_create_certificate, spki_digest
from holdfast.core.encoding import b64_decode
from holdfast.core.keys import parse_key_document
from holdfast.errors import HoldfastError
from holdfast.nodes.edge import create_app, json_response
from holdfast.nodes.gateway.config import GatewayConfig
from holdfast.nodes.panel.config import PanelConfig
from holdfast.nodes.process import tls_of
from holdfast.nodes.server import TLSAddress, make_server
from tests.helpers.live_gateway import make_state
from tests.helpers.node_process import Process
from tests.helpers.ports import free_ports

pytestmark = pytest.mark.enable_socket
NOW = dt.datetime.now(dt.UTC)


def made(folder: Path, name: str = "tls") -> GatewayConfig:
    key, certificate = folder / f"{name}.key", folder / f"{name}.pem"
    load_or_create_certificate(key, certificate, ["127.0.0.1"], NOW)
    return GatewayConfig(listen_tls="127.0.0.1:0", tls_certificate=certificate, tls_key=key)


def address(config: GatewayConfig) -> TLSAddress:
    found = tls_of(config)
    assert found is not None
    return found


def pinned(config: GatewayConfig) -> ssl.SSLContext:
    """What their client does: this one certificate is the root, and no name is compared."""
    assert config.tls_certificate is not None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=config.tls_certificate.read_text())
    return context


@contextlib.asynccontextmanager
async def serving(tls: TLSAddress, events: list[str]) -> AsyncIterator[tuple[int, int]]:
    """The ports of a server: plain, TLS."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        events.append("start")
        yield
        events.append("stop")

    async def scheme(request: Request) -> Response:
        await asyncio.sleep(float(request.query_params.get("wait", "0")))
        events.append("answer")
        return json_response({"scheme": request.url.scheme})

    app = create_app([Route("/", scheme)], readiness=dict, lifespan=lifespan)
    server = make_server(app, tls=tls)
    task = asyncio.create_task(server.serve())
    while len(server.servers if server.started else []) < 2:  # uvicorn offers no event
        if task.done():
            await task
        await asyncio.sleep(0.01)
    plain, secure = (item.sockets[0].getsockname()[1] for item in server.servers)
    try:
        yield plain, secure
    finally:
        server.should_exit = True
        await task


async def fetch(port: int, context: ssl.SSLContext | None = None, path: str = "/", line: bytes = b"") -> Any:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    writer.write(line or f"GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n".encode())
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.read()
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()
    return int(head.split()[1]), json.loads(body)


def test_whoever_pins_another_certificate_does_not_connect(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(address(made(tmp_path)), []) as (_, secure):
            with pytest.raises(ssl.SSLCertVerificationError):
                await fetch(secure, pinned(made(tmp_path, "other")))

    asyncio.run(main())


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_an_older_protocol_is_refused(tmp_path: Path) -> None:
    config = made(tmp_path)

    async def main() -> None:
        async with serving(address(config), []) as (_, secure):
            old = pinned(config)
            old.minimum_version = ssl.TLSVersion.TLSv1
            old.maximum_version = ssl.TLSVersion.TLSv1_1
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await fetch(secure, old)

    asyncio.run(main())


def test_what_is_no_tls_or_no_http_is_dropped_and_the_others_are_served(tmp_path: Path) -> None:
    config = made(tmp_path)

    async def main() -> None:
        async with serving(address(config), []) as (_, secure):
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await fetch(secure)
            status, value = await fetch(secure, pinned(config), line=b"no http\r\n\r\n")
            assert (status, value["error"]["code"]) == (400, "request.http")
            assert (await fetch(secure, pinned(config)))[0] == 200

    asyncio.run(main())


def test_one_app_starts_once_and_answers_at_both_addresses(tmp_path: Path) -> None:
    config, events = made(tmp_path), list[str]()

    async def main() -> None:
        async with serving(address(config), events) as (plain, secure):
            assert await fetch(plain) == (200, {"scheme": "http"})
            assert await fetch(secure, pinned(config)) == (200, {"scheme": "https"})

    asyncio.run(main())
    assert events == ["start", "answer", "answer", "stop"]


def test_an_answer_under_way_is_finished_before_the_app_stops(tmp_path: Path) -> None:
    config, events = made(tmp_path), list[str]()

    async def main() -> None:
        async with serving(address(config), events) as (_, secure):
            answer = asyncio.create_task(fetch(secure, pinned(config), "/?wait=0.3"))
            await asyncio.sleep(0.1)
        assert (await answer)[0] == 200

    asyncio.run(main())
    assert events == ["start", "answer", "stop"]


def test_an_address_that_is_taken_ends_the_node_in_order(tmp_path: Path) -> None:
    config, events = made(tmp_path), list[str]()

    async def main() -> None:
        async with serving(address(config), []) as (_, secure):
            taken = TLSAddress("127.0.0.1", secure, address(config).context)
            with pytest.raises(HoldfastError, match=f"cannot listen on 127.0.0.1:{secure}") as refused:
                async with serving(taken, events):
                    raise AssertionError("it listens")
            assert refused.value.code == "node.listen"

    asyncio.run(main())
    assert events == ["start", "stop"]


def test_settings_without_the_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(HoldfastError, match="needs tls_certificate and tls_key") as refused:
        tls_of(GatewayConfig(listen_tls="127.0.0.1:0", tls_key=tmp_path / "tls.key"))
    assert refused.value.code == "settings.tls"
    assert tls_of(GatewayConfig()) is None
    assert tls_of(PanelConfig()) is None


def gateway_alone(folder: Path, plain: int, secure: int) -> Process:
    """``python -m holdfast.nodes.gateway`` with a TLS address, over keys of a development network."""
    layout = make_state(folder)
    files = {
        "state": folder / "gateway",
        "signing_key": layout.key("gateway.statement.pem"),
        "key_document": layout.key("gateway.json"),
        "trust": layout.trust,
        "opengradient_key": layout.key("gateway.opengradient.pem"),
        "tls_certificate": layout.key("gateway.tls.pem"),
        "tls_key": layout.key("gateway.tls.key"),
    }
    lines = [f'{name} = "{path}"' for name, path in files.items()]
    lines += [f'listen = "127.0.0.1:{plain}"', f'listen_tls = "127.0.0.1:{secure}"', "discover = false"]
    config = folder / "gateway.toml"
    config.write_text("\n".join(["[gateway]", *lines, ""]))
    return Process("holdfast.nodes.gateway", config, f"http://127.0.0.1:{plain}")


def test_a_gateway_alone_serves_tls_and_its_key_document_names_the_key(tmp_path: Path) -> None:
    async def main() -> None:
        http, secure = AiohttpHTTP(), free_ports()
        gateway = gateway_alone(tmp_path, free_ports(), secure)
        try:
            await gateway.ready(http)
            pin = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            pin.check_hostname = False
            pin.load_verify_locations(cadata=(tmp_path / "keys" / "gateway.tls.pem").read_text())
            assert (await fetch(secure, pin, "/health"))[1]["status"] == "OK"
            _, identity = await fetch(secure, pin, "/v1/identity")
        finally:
            await http.close()
            gateway.stop()
        document = parse_key_document(b64_decode(identity["key_document"]))
        assert document.tls == spki_digest(load_certificate(tmp_path / "keys" / "gateway.tls.pem"))

    asyncio.run(main())


def test_a_gateway_alone_whose_tls_address_is_taken_says_so_and_ends(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        secure = taken.getsockname()[1]
        gateway = gateway_alone(tmp_path, free_ports(), secure)
        assert gateway.wait() == 2
    assert f"node.listen: cannot listen on 127.0.0.1:{secure}" in gateway.output()
    assert "Traceback" not in gateway.output()
