"""Sources for tests: real TLS servers on loopback that answer as they are told, definitions, and a data node."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holdfast.adapters.clock_system import SystemClock
from holdfast.adapters.fetch_dns import DNSFetcher
from holdfast.adapters.fetch_https import HTTPSFetcher
from holdfast.adapters.fetch_sql import SQLFetcher
from holdfast.adapters.metrics_memory import MemoryMetrics
from holdfast.adapters.storage_files import FileStorage
from holdfast.adapters.wal import GroupCommit, WriteAheadLog
from holdfast.core import canonical
from holdfast.core.encoding import b64_encode, time_encode
from holdfast.core.keys import build_key_document
from holdfast.core.sources import Definition, Registry, parse_registry
from holdfast.nodes.data.bodies import Bodies
from holdfast.nodes.data.fetchers import FetcherByKind
from holdfast.nodes.data.keeping import Kept
from holdfast.nodes.data.limits import Windows
from holdfast.nodes.data.peers import Peers
from holdfast.nodes.data.service import DataService
from holdfast.nodes.witness import EnclaveWitness
from holdfast.ports.settings import Secret
from tests.helpers.network import ed25519_signer
from tests.helpers.tls import Certificate, certificate

Handler = Callable[["SourceServer", bytes, asyncio.StreamWriter], Awaitable[None]]
LOOPBACK = ["127.0.0.0/8", "::1/128"]


def whole(body: bytes, *, status: str = "200 OK", date: dt.datetime | None = None, **fields: str) -> bytes:
    """A whole answer with the fields an honest source sends; a field of None is left out."""
    moment = date or dt.datetime.now(dt.UTC)
    given: dict[str, str | None] = {
        "content-type": "application/json",
        "date": moment.strftime("%a, %d %b %Y %H:%M:%S GMT"),
        "content-length": str(len(body)),
        **{name.replace("_", "-"): value for name, value in fields.items()},
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in given.items() if value is not None)
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


def rate_body(rate: str = "1.25", age_s: float = 0.0) -> bytes:
    """What an honest source of rates answers."""
    at = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=age_s)
    return json.dumps({"rate": rate, "at": time_encode(at)}).encode()


@dataclass
class SourceServer:
    """One server; ``answer`` can be changed between questions, ``shows`` between connections."""

    shows: Certificate
    folder: Path
    answer: Callable[[], bytes] = lambda: whole(rate_body())
    handler: Handler | None = None
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    open: dict[asyncio.StreamWriter, asyncio.Task[Any] | None] = field(default_factory=dict)
    port: int = 0
    protocol: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open[writer] = asyncio.current_task()
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.requests.append(head)
                if self.handler is not None:
                    await self.handler(self, head, writer)
                    break
                writer.write(self.answer())
                await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncGenerator[SourceServer]:
        """Until the block ends."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self.context())
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for writer in self.open:
                writer.transport.abort()
            await asyncio.gather(*(task for task in self.open.values() if task), return_exceptions=True)

    def context(self) -> ssl.SSLContext:
        """What it shows; a session callback would change certificates, a new server is simpler."""
        context = self.shows.context(self.folder)
        context.minimum_version = context.maximum_version = self.protocol
        return context


def authority() -> Certificate:
    """A local authority."""
    return certificate(authority=True, name="authority")


def definition_of(server: SourceServer, root: Certificate | None, **change: Any) -> Definition:
    """A definition of a server. ``change`` replaces members of the definition; ``request`` and ``expect`` are added to
    what stands there."""
    request = {
        "url": f"https://localhost:{server.port}/rate/{{pair}}",
        "addresses": LOOPBACK,
        "roots": [] if root is None else [b64_encode(root.raw)],
        **change.pop("request", {}),
    }
    return _defined(
        "rates",
        "https",
        request,
        {
            "parameters": {"pair": {"type": "word", "default": "EUR-USD"}},
            "extract": {"method": "json", "value": "$.rate", "time": "$.at", "time_format": "rfc3339"},
            **change,
        },
    )


def _defined(name: str, kind: str, request: dict[str, Any], change: dict[str, Any]) -> Definition:
    """A definition of a decimal; ``expect`` of ``change`` is added to what stands there."""
    expect = {"type": "decimal", "minimum": "0", "maximum": "10", "fresh_s": 30, **change.pop("expect", {})}
    given = {
        "type": "urn:holdfast:source:v1",
        "id": name,
        "version": 1,
        "title": name.title(),
        "kind": kind,
        "workspaces": ["*"],
        "request": request,
        "expect": expect,
        **change,
    }
    return registry_of(given).find(given["id"])


def registry_of(*definitions: dict[str, Any] | Definition) -> Registry:
    """A registry of definitions, in its canonical form."""
    from holdfast.core import sources  # noqa: PLC0415

    found = [item if isinstance(item, Definition) else sources._source(item) for item in definitions]
    listed: Any = [canonical.decode(item.raw) for item in sorted(found, key=lambda item: item.id)]
    return parse_registry(canonical.encode({"type": "urn:holdfast:sources:v1", "version": 1, "sources": listed}))


@dataclass
class DataWorld:
    """A data node's service over a folder, asking with a real fetcher."""

    service: DataService
    fetcher: FetcherByKind
    committer: GroupCommit
    metrics: MemoryMetrics
    document: Any

    async def close(self) -> None:
        await self.fetcher.close()
        await self.committer.close()


def data_world(
    folder: Path,
    registry: Registry,
    *,
    name: str = "data",
    peers: Peers | None = None,
    credentials: Mapping[str, Secret] | None = None,
) -> DataWorld:
    """A data node in this process."""
    clock, metrics = SystemClock(), MemoryMetrics()
    signer = ed25519_signer(name, "statement")
    document = build_key_document(f"{name}.test", ["data"], "holdfast/test", [signer.key])
    storage = FileStorage(folder)
    records = WriteAheadLog(storage, "wal", 1 << 20)
    committer = GroupCommit(records)
    kept = Kept(records, committer, Bodies(storage, clock, 1), clock, days=1)
    fetcher = FetcherByKind(HTTPSFetcher(clock), {"dns": DNSFetcher(clock), "sql": SQLFetcher(clock)})
    count = iter(range(1, 1 << 20))
    service = DataService(
        document.digest,
        signer,
        registry,
        fetcher,
        kept,
        peers or Peers(None, {}),  # type: ignore[arg-type]
        Windows(clock, 1_000_000),
        EnclaveWitness(document, None, clock, reattest_s=3600),
        clock,
        metrics,
        credentials=credentials or {},
        random=lambda size: next(count).to_bytes(size, "big"),
        at_once=64,
        on_kept=lambda: None,
    )
    return DataWorld(service, fetcher, committer, metrics, document)


def sql_definition(dialect: str, select: str, **change: Any) -> Definition:
    """A definition of a database that the secret ``books`` names. ``change`` replaces members; ``request`` and
    ``expect`` are added to what stands there."""
    request = {"dialect": dialect, "secret": "books", "select": select, **change.pop("request", {})}
    return _defined("books", "sql", request, {"extract": {"method": "json", "value": "$[0].rate"}, **change})


def dns_definition(port: int, **change: Any) -> Definition:
    """A definition of the first address of a name at a resolver on loopback; ``request`` is added to what it has."""
    name = {"resolver": f"127.0.0.1:{port}", "name": "www.{zone}.example", "record": "A", "seconds": 3}
    text = {"type": "text", "minimum": None, "maximum": None}
    given = {"parameters": {"zone": {"type": "word", "default": "a"}}, "expect": text}
    extract = {"method": "json", "value": "$.values[0]"}
    return _defined("names", "dns", name | change.pop("request", {}), {**given, "extract": extract, **change})
