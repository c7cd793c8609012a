"""A panel's desk behind the panel's own HTTP side, in memory: what the command line asks when it asks a panel.

The app, desk, store and people are the product's; only the sockets are missing. Bundles, which a panel fetches from its
gateway, are handed out from :attr:`PanelDesk.bundles`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from holdfast.adapters.case_store_sql import SQLCaseStore
from holdfast.adapters.metrics_memory import MemoryMetrics
from holdfast.adapters.storage_files import FileStorage
from holdfast.adapters.webhooks_sql import SQLWebhookStore
from holdfast.errors import UnavailableError, UsageError
from holdfast.nodes.panel.app import create_app
from holdfast.nodes.panel.config import PanelConfig
from holdfast.nodes.panel.people import PanelPeople
from holdfast.nodes.panel.review import Review
from holdfast.nodes.panel.service import PanelService
from holdfast.nodes.panel.webhooks import Webhooks
from holdfast.ports.http import Answer
from holdfast.review.webhooks import Limits
from tests.helpers import asgi
from tests.helpers.network import RUN
from tests.helpers.people import House
from tests.helpers.review import Clinic
from tests.helpers.webhooks import Receivers, hook

URL = "http://127.0.0.1:8700"
Result = TypeVar("Result")


class PanelDesk:
    """A panel at :data:`URL`. ``asked`` keeps every request: method, path and headers."""

    def __init__(self, folder: Path, *, database: bool = False) -> None:
        store = SQLCaseStore(f"sqlite:///{folder / 'cases.sqlite'}") if database else None
        self.folder = folder
        self.clinic = Clinic(store)
        self.house = House()
        review = Review(
            self.clinic.desk,
            self.clinic.store,
            FileStorage(folder / "state"),
            folder / "queues",
            self.clinic.clock,
            MemoryMetrics(),
        )
        people = PanelPeople(self.house.door, self.house.store)
        self.service = PanelService(PanelConfig(), self.clinic.clock, MemoryMetrics(), review, people)
        self.app = create_app(self.service)
        self.bundles: dict[str, bytes] = {}
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.answers: dict[str, Answer] = {}
        """Given instead of the panel's own, by path."""
        self.silent = False
        self.webhooks: Webhooks | None = None
        self._review = review
        review.find_run = self._find_run

    def add_webhooks(self) -> Receivers:
        """Tell one endpoint of the default queue from now on; returns who receives it. Steps are taken by hand:
        :meth:`deliver`."""
        receivers = Receivers()
        store = SQLWebhookStore(f"sqlite:///{self.folder / 'webhooks.sqlite'}")
        limits = Limits(first_retry_s=15.0, longest_retry_s=15.0, give_up_s=10.0)
        self.webhooks = Webhooks(
            self._review, self.clinic.store, store, (hook(),), receivers, self.clinic.clock, limits, lambda: 1.0
        )
        self.service.webhooks = self.webhooks
        self.app = create_app(self.service)
        asyncio.run(self.webhooks.start())
        return receivers

    def deliver(self) -> None:
        """Follow the journal and make every attempt that is due."""

        webhooks = self.webhooks
        assert webhooks is not None

        async def work() -> None:
            while await webhooks.follow_once():
                pass
            for known in webhooks._hooks:
                outcomes = [await task for task in await webhooks.begin(known)]
                await webhooks.settle(known, outcomes)

        asyncio.run(work())

    def close(self) -> None:
        """End its threads and let go of its databases."""
        self._review._worker.shutdown()
        if self.webhooks is not None:
            asyncio.run(self.webhooks.close())
        self.clinic.store.close()
        self.house.close()

    def with_http(self, work: Callable[[Any], Awaitable[Result]]) -> Result:
        """What the command line runs its questions with (``cli.network.with_http``)."""

        async def run() -> Result:
            return await work(self)

        return asyncio.run(run())

    async def _find_run(self, run: str) -> None:
        if run != RUN:
            raise UsageError("run.unknown", "there is no such run", status=404)

    async def request(
        self,
        method: str,
        url: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 10.0,
        max_bytes: int = 1 << 20,
    ) -> Answer:
        """Implements ``ports.http.HTTP``."""
        path = url.removeprefix(URL)
        self.asked.append((method, path, dict(headers or {})))
        if self.silent:
            raise UnavailableError("http.unreachable", f"{method} {url}: nobody there")
        bare = path.partition("?")[0]
        if bare in self.answers:
            return self.answers[bare]
        if bare.startswith("/runs/") and bare.endswith("/bundle"):
            found = self.bundles.get(bare.split("/")[2])
            return Answer(404, b"{}") if found is None else Answer(200, found)
        sent = [("host", "127.0.0.1:8700"), *(headers or {}).items()]
        reply = await asgi.request(self.app, method, path, body, sent)
        assert len(reply.body) <= max_bytes
        return Answer(reply.status, reply.body, {name.lower(): value for name, value in reply.headers})
