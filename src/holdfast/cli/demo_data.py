"""What a development network's data nodes ask: a clock and two exchanges of our own under TLS, and the network's own
chain.

All are demonstrations and say so; the exchanges' prices are made up from the time of day. The certificate comes from an
authority that is made in the state folder, and the definitions believe that authority and pin that key: what is shown
of a session is real, and nobody outside vouches for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.adapters.signer_files import load_or_create_signer
from holdfast.adapters.tls_files import load_or_create_issued, spki_digest
from holdfast.core.encoding import b64_encode, time_encode
from holdfast.core.sources import build_signed_registry, parse_registry_toml, registry_message
from holdfast.errors import UnavailableError

if TYPE_CHECKING:
    from holdfast.cli.development import Layout

DATA = ("data", "data-2")
"""Nodes that fetch facts from outside, where trust admits them: two, for what two have to agree on."""
DEMO_CLOCK = "demo-clock"
"""The source that every development network has."""
SOURCES_TOML, SOURCES_FILE = "sources.toml", "sources.json"
"""What people write, and what the node takes: the same, signed."""
_OURS = "# Written by `holdfast up` at every start. Remove this line to keep what you change here.\n"
_EXCHANGES = {"north": 0, "south": 7}
"""Two that quote a little apart: by so many hundredths of a cent."""
_ZONES = {"utc": 0, "utc+1": 60, "utc-5": -300, "utc+9": 540}
_REQUEST_BYTES = 8192
_IDLE_S = 60.0


def make_sources(layout: Layout, write: Callable[[Path, bytes], None]) -> str:
    """Write the registry unless a person keeps it, sign it, and return the key that signs as settings name it."""
    authority, leaf = _certificates(layout)
    path = layout.state / SOURCES_TOML
    if not path.exists() or path.read_text().startswith(_OURS):
        write(path, _registry(layout, authority, leaf).encode())
    registry = parse_registry_toml(path.read_text())
    owner = load_or_create_signer(layout.key("sources.owner.pem"), "statement")
    signed = build_signed_registry(registry, owner.key, owner.sign(registry_message(registry)))
    write(layout.state / SOURCES_FILE, signed)
    return f"{owner.key.algorithm}:{owner.key.public.hex()}"


def _certificates(layout: Layout) -> tuple[bytes, bytes]:
    """The demonstration's authority and the clock's certificate, DER."""
    return load_or_create_issued(
        layout.key("demo-authority.key"),
        layout.key("demo-authority.pem"),
        layout.key("demo-clock.key"),
        layout.key("demo-clock.pem"),
        ["localhost"],
        dt.datetime.now(dt.UTC),
    )


def _registry(layout: Layout, authority: bytes, leaf: bytes) -> str:
    return f"""{_OURS}
type = "urn:holdfast:sources:v1"
version = 1

[[sources]]
id = "{DEMO_CLOCK}"
version = 1
title = "Demonstration: a clock of this machine's own, under a certificate made for it"
kind = "https"
workspaces = ["*"]

[sources.request]
url = "https://localhost:{layout.port(DEMO_CLOCK)}/clock?zone={{zone}}"
addresses = ["127.0.0.0/8", "::1/128"]
pins = ["{spki_digest(leaf)}"]
roots = ["{b64_encode(authority)}"]

[sources.parameters.zone]
type = "choice"
choices = {json.dumps(list(_ZONES))}
default = "utc"

[sources.extract]
method = "json"
value = "$.now"
time = "$.at"
time_format = "rfc3339"

[sources.expect]
type = "text"
length = 32
fresh_s = 30

{"".join(_exchange(layout, authority, leaf, name) for name in _EXCHANGES)}
[[sources]]
id = "demo-chain"
version = 1
title = "Demonstration: the newest block of this network's own chain, without TLS"
kind = "evm"
workspaces = ["*"]

[sources.request]
url = "{layout.url("chain")}/"
addresses = ["127.0.0.0/8"]
chain_id = {layout.chain_id}
call = "block"
block = "latest"

[sources.extract]
method = "json"
value = "$.block"

[sources.expect]
type = "object"
fresh_s = 60

[sources.expect.members]
number = {{ type = "integer", minimum = "0" }}
hash = {{ type = "hex", length = 66 }}
timestamp = {{ type = "integer", minimum = "0" }}
"""


def _exchange(layout: Layout, authority: bytes, leaf: bytes, name: str) -> str:
    return f"""
[[sources]]
id = "demo-price-{name}"
version = 1
title = "Demonstration: a price that a server of this machine makes up, as the exchange {name.capitalize()}"
kind = "https"
workspaces = ["*"]
unit = "USD"

[sources.request]
url = "https://localhost:{layout.port(DEMO_CLOCK)}/price?exchange={name}"
addresses = ["127.0.0.0/8", "::1/128"]
pins = ["{spki_digest(leaf)}"]
roots = ["{b64_encode(authority)}"]

[sources.extract]
method = "json"
value = "$.price"
time = "$.at"
time_format = "rfc3339"

[sources.expect]
type = "decimal"
minimum = "0.5"
maximum = "2"
fresh_s = 30
"""


def data_table(layout: Layout, name: str, listen: str, signing: str) -> dict[str, Any]:
    """The settings of a data node."""
    state = layout.state.resolve()
    return {
        "listen": listen,
        "state": str(state / name),
        "signing_key": str(state / "keys" / f"{name}.statement.pem"),
        "key_document": str(state / "keys" / f"{name}.json"),
        "hpke_key": str(state / "keys" / f"{name}.hpke.pem"),
        "sources": str(state / SOURCES_FILE),
        "sources_keys": [signing],
        "workspaces": [
            {"name": "development", "key": f"file:{state / 'keys' / 'workspace.token'}"},
            {"name": "gateway", "key": f"file:{state / 'keys' / 'data.token'}", "reads_for_others": True},
        ],
        "log": layout.url("log"),
        "log_token": f"file:{state / 'keys' / 'log.token'}",
        "enclave": "insecure",
        "enclave_root": str(state / "keys" / "insecure-enclave-root.pem"),
    }


class DemoServer:
    """A small HTTPS server that tells the time, and the prices of two exchanges."""

    def __init__(self, host: str, port: int, key: Path, certificate: Path) -> None:
        self._host, self._port = host, port
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_3
        self._context.load_cert_chain(certificate, key)
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.StreamWriter, asyncio.Task[None] | None] = {}

    async def start(self) -> None:
        """Listen; raises ``up.port``."""
        try:
            self._server = await asyncio.start_server(self._serve, self._host, self._port, ssl=self._context)
        except OSError as error:
            raise UnavailableError("up.port", f"the demonstration's server cannot listen: {error.strerror}") from error

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            for writer in self._open:
                writer.transport.abort()
            await asyncio.gather(*filter(None, self._open.values()), return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open[writer] = asyncio.current_task()
        try:
            await serve_questions(reader, writer)
        finally:
            del self._open[writer]


async def serve_questions(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection, as many questions as it has."""
    with contextlib.suppress(ConnectionError, ssl.SSLError, asyncio.IncompleteReadError, TimeoutError, ValueError):
        while True:
            async with asyncio.timeout(_IDLE_S):
                head = await reader.readuntil(b"\r\n\r\n")
            if len(head) > _REQUEST_BYTES:
                break
            writer.write(answer_question(head, dt.datetime.now(dt.UTC)))
            await writer.drain()
    writer.close()
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        await writer.wait_closed()


def answer_question(head: bytes, now: dt.datetime) -> bytes:
    """The whole answer to a request's head: the time in a zone, or what an exchange asks for a euro."""
    line = head.partition(b"\r\n")[0].decode("latin-1").split(" ")
    path, _, query = (line[1] if len(line) == 3 else "").replace("%2B", "+").partition("?")
    name, _, asked = query.partition("=")
    if (path, name) == ("/clock", "zone") and asked in _ZONES:
        local = now.astimezone(dt.timezone(dt.timedelta(minutes=_ZONES[asked])))
        shown = {"now": local.isoformat(timespec="milliseconds"), "zone": asked}
    elif (path, name) == ("/price", "exchange") and asked in _EXCHANGES:
        shown = {"price": _price(asked, now), "exchange": asked}
    else:
        return b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
    body = json.dumps({**shown, "at": time_encode(now), "demonstration": True}).encode()
    date = now.strftime("%a, %d %b %Y %H:%M:%S GMT").encode()
    fields = b"content-type: application/json\r\ndate: %b\r\ncontent-length: %d\r\n" % (date, len(body))
    return b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n" + body


def _price(exchange: str, now: dt.datetime) -> str:
    """Made up: it goes up and down by a cent within an hour."""
    hundredths = 10_800 + (abs(30 - now.minute) - 15) * 6 + _EXCHANGES[exchange]
    return f"{hundredths // 10_000}.{hundredths % 10_000:04d}"
