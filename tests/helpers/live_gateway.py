"""A gateway behind a real HTTP server on loopback, in a thread of the test's process; and raw HTTP to attack it with.

It is built by the node's own ``__main__.build`` from keys and trust of a development network, so everything between the
socket and the disk is the product's. Its log does not exist unless a test names one: answers never wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from holdfast.adapters.chain_evm import Deployment
from holdfast.adapters.tls_files import server_context
from holdfast.cli import development
from holdfast.cli.development import Layout
from holdfast.core import canonical
from holdfast.core.encoding import b64_decode
from holdfast.core.rounds import ChainDomain
from holdfast.errors import DevelopmentModeWarning
from holdfast.nodes.gateway.__main__ import build
from holdfast.nodes.gateway.config import GatewayConfig, UpstreamAddress, WorkspaceKey
from holdfast.nodes.server import TLSAddress, make_server
from holdfast.ports.settings import Secret
from tests.helpers.processes import fetch

KEY, OTHER_KEY = "hf_first-workspace", "hf_second-workspace"
MODEL = "holdfast-builtin"
ERROR_MEMBERS = {"message", "type", "param", "code", "hint"}


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP response, read from a socket."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of an error; asserts that it has the one shape."""
        value = self.json()
        assert value.keys() == {"error"}, value
        assert value["error"].keys() == ERROR_MEMBERS, value
        assert self.headers["content-type"] == "application/json"
        return str(value["error"]["code"])


@dataclass
class LiveGateway:
    """A gateway that listens."""

    url: str
    state: Path
    tls_url: str = ""
    """The same under TLS, with the key that its key document names."""

    @property
    def port(self) -> int:
        return int(urlsplit(self.url).port or 0)

    def get(self, path: str, key: str = KEY) -> Any:
        """A JSON answer, or the JSON of an error."""
        return fetch(self.url + path, key=key)

    def get_with(self, run: str, capability: str) -> Any:
        """A run's view, as whoever has its capability reads it."""
        reply = self.send(head("GET", f"/v1/runs/{run}", [f"x-holdfast-capability: {capability}"], key=None))
        return json.loads(reply.body)

    def runs(self, key: str = KEY, limit: int = 200) -> list[dict[str, Any]]:
        """The workspace's runs, newest first."""
        found: list[dict[str, Any]] = self.get(f"/v1/runs?limit={limit}", key)["runs"]
        return found

    def executions(self, run: str, key: str = KEY) -> list[dict[str, Any]]:
        """``event`` and ``outcome`` of a run's execution statements, the closing one first."""
        return [
            {name: payload["predicate"][name] for name in ("event", "outcome", "response", "marks")}
            for payload in self.statements(run, key)
            if payload["predicateType"] == "urn:holdfast:execution:v1"
        ]

    def statements(self, run: str, key: str = KEY) -> list[dict[str, Any]]:
        """The payloads of a run's statements, as its bundle has them."""
        journal = self.get(f"/v1/runs/{run}/bundle", key)["journal"]
        return [
            canonical.decode_object(b64_decode(item["envelope"]["payload"]))
            for item in journal
            if item["kind"] == "statement"
        ]

    def connect(self, timeout_s: float = 30.0) -> socket.socket:
        """A connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout_s)

    def send(self, *pieces: bytes, pause_s: float = 0.0, timeout_s: float = 30.0) -> Reply:
        """Send raw bytes and read one response. A server that answers early and hangs up is listened to."""
        with self.connect(timeout_s) as connection:
            for piece in pieces:
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    connection.sendall(piece)
                if pause_s:
                    time.sleep(pause_s)
            return read_reply(connection)

    def post(self, body: bytes, path: str = "/v1/chat/completions", headers: Sequence[str] = (), **more: Any) -> Reply:
        """POST a body as it is, with the first workspace's key."""
        return self.send(head("POST", path, [f"content-length: {len(body)}", *headers]) + body, **more)


def head(method: str, path: str, headers: Sequence[str] = (), key: str | None = KEY) -> bytes:
    """A request line and headers, with a key unless there is none."""
    lines = [f"{method} {path} HTTP/1.1", "host: gateway", "content-type: application/json", *headers]
    if key is not None:
        lines.append(f"authorization: Bearer {key}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def question(text: str = "What is a lane?", **more: Any) -> bytes:
    """A chat request for the built-in responder."""
    return json.dumps({"model": MODEL, "messages": [{"role": "user", "content": text}], **more}).encode()


def read_head(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and what came after them."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65_536)
        if not more:
            raise EOFError(f"no response: {data!r}")
        data += more
    top, _, rest = data.partition(b"\r\n\r\n")
    lines = top.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    return int(lines[0].split(" ")[1]), headers, rest


def read_reply(connection: socket.socket, rest: bytes = b"") -> Reply:
    """One response: by its length, by its chunks, or to the end of the connection."""
    status, headers, body = read_head(connection)
    if "content-length" in headers:
        while len(body) < int(headers["content-length"]):
            body += connection.recv(65_536) or _ended(body)
        return Reply(status, headers, body)
    while not body.endswith(b"0\r\n\r\n"):
        more = connection.recv(65_536)
        if not more:
            break
        body += more
    return Reply(status, headers, body)


def _ended(body: bytes) -> bytes:
    raise EOFError(f"the connection ended within a body: {body!r}")


def sse(reply: Reply) -> list[str]:
    """The data of each event of a chunked stream."""
    body, text = reply.body, b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        text, body = text + rest[:length], rest[length + 2 :]
    found = []
    for event in text.decode().split("\n\n"):
        lines = event.split("\n")
        if event:
            assert all(line.startswith("data: ") for line in lines), event
            found.append("\n".join(line.removeprefix("data: ") for line in lines))
    return found


def make_state(state: Path) -> Layout:
    """Keys and trust of a development network in a folder, made once."""
    layout = Layout(state, 1)
    keys = development.make_keys(layout)
    if layout.trust.exists():
        return layout
    nowhere = Deployment(ChainDomain(31337, "0x" + "11" * 20), 0)
    development.make_trust(layout, keys, nowhere, dt.datetime.now(dt.UTC))
    return layout


def settings(layout: Layout, **more: Any) -> GatewayConfig:
    """A gateway's settings in that folder: two workspaces, the built-in responder at full speed, no discovery."""
    given: dict[str, Any] = {
        "state": layout.state / "gateway",
        "signing_key": layout.key("gateway.statement.pem"),
        "key_document": layout.key("gateway.json"),
        "enclave": "insecure",
        "enclave_root": layout.key(development.ENCLAVE_ROOT),
        "trust": layout.trust,
        "opengradient_key": layout.key("gateway.opengradient.pem"),
        "ohttp_key": layout.key("gateway.ohttp.pem"),
        "workspaces": (
            WorkspaceKey("first", Secret(KEY, "test")),
            WorkspaceKey("second", Secret(OTHER_KEY, "test")),
        ),
        "builtin_tokens_per_second": 0,
        "discover": False,
        "log": "http://127.0.0.1:9",
    }
    return GatewayConfig(**(given | more))


def upstream(base_url: str, **more: Any) -> UpstreamAddress:
    """An upstream of these settings."""
    return UpstreamAddress(**({"code": "tests", "base_url": base_url} | more))


@contextlib.contextmanager
def serving(state: Path, **more: Any) -> Iterator[LiveGateway]:
    """A gateway that listens until the block ends; ``more`` are its settings."""
    layout = make_state(state)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    with pytest.warns(DevelopmentModeWarning):
        app = build(settings(layout, **more))
    context = server_context(layout.key("gateway.tls.key"), layout.key("gateway.tls.pem"))
    server = make_server(app, host="127.0.0.1", port=0, tls=TLSAddress("127.0.0.1", 0, context))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), name="live-gateway")
    thread.start()
    try:
        deadline = time.monotonic() + 20
        while not server.started or len(server.servers) < 2:
            assert thread.is_alive(), "the gateway did not start"
            assert time.monotonic() < deadline, "the gateway was not ready in time"
            time.sleep(0.01)
        plain, secure = (item.sockets[0].getsockname()[1] for item in server.servers)
        yield LiveGateway(f"http://127.0.0.1:{plain}", state, f"https://127.0.0.1:{secure}")
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()
        assert not thread.is_alive(), "the gateway did not stop"
