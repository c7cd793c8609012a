"""What the gateway does beside answering: recover, deliver, follow, index, forget; started and stopped as one."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from typing import Any

from holdfast.core.encoding import time_decode
from holdfast.nodes.gateway.config import GatewayConfig
from holdfast.nodes.gateway.indexer import Indexer
from holdfast.nodes.gateway.ledger import Ledger
from holdfast.nodes.gateway.outbox import Outbox
from holdfast.nodes.gateway.records import OPEN
from holdfast.nodes.gateway.service import Gateway
from holdfast.nodes.gateway.settlement import Settlement
from holdfast.ports.clock import Clock
from holdfast.ports.metrics import Metrics

_LOG = logging.getLogger("holdfast.gateway")
_HOUR_S = 3600.0


class Background:
    """The node's tasks. A task that ends with an error stops the node from being ready and is logged.

    ``beside`` names further ones: whatever runs until it is cancelled.
    """

    def __init__(
        self,
        config: GatewayConfig,
        gateway: Gateway,
        ledger: Ledger,
        indexer: Indexer,
        outbox: Outbox,
        settlement: Settlement,
        commit_us: Callable[[], float],
        metrics: Metrics,
        clock: Clock,
        *,
        beside: Mapping[str, Callable[[], Coroutine[Any, Any, None]]] | None = None,
    ) -> None:
        self._config = config
        self._gateway = gateway
        self._ledger = ledger
        self._indexer = indexer
        self._outbox = outbox
        self._settlement = settlement
        self._commit_us = commit_us
        self._metrics = metrics
        self._clock = clock
        self._beside = beside or {}
        self._waiting: dict[str, str] = {"start": "the node is starting"}

    def readiness(self) -> Mapping[str, str]:
        """What stands in the way of answering. A silent log or full node does not: answers never wait for them."""
        return self._waiting

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Recover, start everything; stop everything."""
        await self._gateway.recover()
        await self._indexer.rebuild()
        await self._gateway.catalog.refresh()
        tasks = [
            self._task("outbox", self._outbox.work()),
            self._task("settlement", self._settlement.work()),
            self._task("index", self._indexer.work()),
            self._task("retention", self._forget()),
            self._task("levels", self._levels()),
            self._task("agents", self._gateway.agents.work()),
            *(self._task(name, work()) for name, work in self._beside.items()),
        ]
        del self._waiting["start"]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._gateway.catalog.close()
            await self._gateway.computing.close()
            await self._indexer.close()
            await self._ledger.close()

    def _task(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=f"gateway-{name}")

        def ended(done: asyncio.Task[None]) -> None:
            if done.cancelled():
                return
            error = done.exception()
            self._waiting[name] = "it stopped; see the log of this node"
            _LOG.error("the %s task stopped", name, exc_info=error)

        task.add_done_callback(ended)
        return task

    async def _levels(self) -> None:
        while True:
            self._metrics.level("holdfast_gateway_runs_open", self._gateway.under_way)
            self._metrics.level("holdfast_gateway_outbox_bytes", self._outbox.backlog_bytes)
            self._metrics.level("holdfast_gateway_commit_seconds", self._commit_us() / 1e6)
            self._metrics.level("holdfast_gateway_silent_full_nodes", len(self._settlement.silent))
            await self._clock.sleep(1.0)

    async def _forget(self) -> None:
        """Give up what is past its retention, once an hour."""
        while True:
            horizon = self._clock.now() - dt.timedelta(days=self._config.retention_days)
            await asyncio.to_thread(self._drop_before, horizon)
            await self._clock.sleep(_HOUR_S)

    def _drop_before(self, horizon: dt.datetime) -> None:
        """Drop what lies before the first run opened after ``horizon``; never what was not delivered yet."""
        delivered = self._outbox.delivered
        place = 0
        for item in self._ledger.replay():
            if item.start >= delivered:
                break
            if item.kind == OPEN and time_decode(item.record.header["opened_at"]) >= horizon:
                break
            place = item.start
        if place:
            self._ledger.drop_before(place)
