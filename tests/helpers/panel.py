"""The panel on real sockets, in front of fake nodes, for tests of pages and streams.

async with open_panel(FakeGateway()) as panel:
    page = await panel.get("/")
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from starlette.applications import Starlette
from starlette.routing import Mount

from holdfast.adapters.clock_system import SystemClock
from holdfast.adapters.metrics_prometheus import PrometheusMetrics
from holdfast.nodes.panel.config import FullNodeAddress, PanelConfig
from holdfast.nodes.panel.metrics import METRICS
from holdfast.nodes.panel.service import PanelService
from holdfast.nodes.server import make_server
from holdfast.ports.settings import Secret
from holdfast.web.app import create_app
from tests.helpers.fake_gateway import KEY, FakeFullNode, FakeGateway, FakeLog

TOKEN = re.compile(r'<meta name="holdfast-token" content="([0-9a-f]{64})">')


class ManualClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> dt.datetime:
        """A fixed day, moved on."""
        return dt.datetime(2026, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        """Move on at once."""
        self.seconds += seconds


@contextlib.asynccontextmanager
async def serving(app: Any, **options: Any) -> AsyncIterator[str]:
    """An ASGI app on a free loopback port; yields its base URL."""
    server = make_server(app, timeout_graceful_shutdown=2, **options)
    server.install_signal_handlers = lambda: None
    task = asyncio.create_task(server.serve())
    while not server.started:
        if task.done():
            task.result()
        await asyncio.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


@dataclass
class PanelWorld:
    """A panel, its fakes and an HTTP client with a cookie jar, as a browser has."""

    url: str
    http: aiohttp.ClientSession
    service: PanelService
    gateway: FakeGateway
    nodes: list[FakeFullNode] = field(default_factory=list)

    async def get(self, path: str, *, accept: str = "text/html", **options: Any) -> tuple[int, str]:
        """Status and text of a GET, as a browser sends it."""
        headers = {"accept": accept, **options.pop("headers", {})}
        async with self.http.get(self.url + path, headers=headers, allow_redirects=False, **options) as response:
            return response.status, await response.text()

    async def token(self) -> str:
        """The token of the session, from the first page."""
        found = TOKEN.search((await self.get("/"))[1])
        assert found is not None
        return found[1]

    async def change_headers(self) -> dict[str, str]:
        """What the page's script sends along with a change."""
        return {"origin": self.url, "sec-fetch-site": "same-origin", "x-holdfast-token": await self.token()}


@contextlib.asynccontextmanager
async def open_panel(
    gateway: FakeGateway | None = None, nodes: list[FakeFullNode] | None = None, **config: Any
) -> AsyncIterator[PanelWorld]:
    """A running panel over running fakes; ``config`` goes into :class:`PanelConfig`."""
    gateway, nodes = gateway or FakeGateway(), nodes or []
    fakes = [Mount("/gateway", gateway.app()), Mount("/log", FakeLog().app())]
    fakes += [Mount(f"/{node.name}", node.app()) for node in nodes]
    async with serving(Starlette(routes=fakes), lifespan="off") as base:
        values: dict[str, Any] = {
            "listen": "127.0.0.1:0",
            "gateway": f"{base}/gateway",
            "log": f"{base}/log",
            "workspace_key": Secret(KEY, "env:TEST_KEY"),
            "full_nodes": tuple(FullNodeAddress(node.name, f"{base}/{node.name}") for node in nodes),
            "models_cache_ms": 0,
            **config,
        }
        service = PanelService(PanelConfig(**values), SystemClock(), PrometheusMetrics(METRICS))
        async with (
            serving(create_app(service)) as url,
            aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http,
        ):
            yield PanelWorld(url, http, service, gateway, nodes)
