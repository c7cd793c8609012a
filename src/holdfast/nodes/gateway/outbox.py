"""Delivers what the write-ahead log holds to the transparency log: at least once, in order, for ever trying.

The cursor is stored some time after the log has named the indices, together with them, so a crash sends some entries
again; the log deduplicates them by digest. Order is kept because a route statement must stand before its execution
statement.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from holdfast.client.log_writer import Accepted, LogWriter
from holdfast.core.encoding import time_encode
from holdfast.errors import HoldfastError, RefusedError, UnavailableError
from holdfast.nodes.gateway.indexer import Indexer
from holdfast.nodes.gateway.ledger import Ledger, parse_added, parse_closing
from holdfast.nodes.gateway.records import ADDED, CLOSE, FOLLOW
from holdfast.ports.clock import Clock

_LOG = logging.getLogger("holdfast.gateway.outbox")
CURSOR = "delivered"
"""Name of the cursor: the write-ahead log up to here is in the transparency log."""
_SLOWEST_S = 5.0
_GATHER_S = 0.05
"""How long entries are gathered once one waits: the log makes a checkpoint every 200 ms in any case."""


@dataclass(frozen=True, slots=True)
class _Item:
    run: str
    role: str
    """``route``, ``execution``, ``follow`` or ``added``."""
    entry: bytes
    place: int = 0
    """Of ``added``: where its record begins."""


class Outbox:
    """Follows the ledger and feeds the log."""

    def __init__(
        self,
        ledger: Ledger,
        indexer: Indexer,
        writer: LogWriter,
        clock: Clock,
        *,
        batch: int,
        on_logged: Callable[[str], None],
    ) -> None:
        self._ledger = ledger
        self._indexer = indexer
        self._writer = writer
        self._clock = clock
        self._batch = batch
        self._on_logged = on_logged
        self._wake = asyncio.Event()
        self._sent = 0
        self.trouble = ""
        """Why the last delivery failed, or empty."""

    @property
    def backlog_bytes(self) -> int:
        """How much of the write-ahead log waits to be delivered."""
        return max(0, self._ledger.end - self._sent)

    @property
    def delivered(self) -> int:
        """The write-ahead log up to this position is in the log."""
        return self._sent

    def wake(self) -> None:
        """Something was closed."""
        self._wake.set()

    async def work(self) -> None:
        """Deliver, for ever; waits longer after each failure."""
        self._sent = await self._indexer.call(self._indexer.index.cursor, CURSOR)
        delay = 0.1
        while True:
            try:
                more = await self.deliver()
                self.trouble, delay = "", 0.1
                if not more:
                    await self._wake.wait()
                    self._wake.clear()
                    await self._clock.sleep(_GATHER_S)
            except UnavailableError as error:
                self.trouble = error.message
                _LOG.warning("entries wait: %s", error.message, extra={"code": error.code})
                await self._clock.sleep(delay)
                delay = min(delay * 2, _SLOWEST_S)
            except HoldfastError as error:
                self.trouble = error.message
                _LOG.error("the log does not take our entries: %s", error, extra={"code": error.code})
                await self._clock.sleep(_SLOWEST_S)

    async def deliver(self) -> bool:
        """Send one batch; returns whether there was one."""
        items, blobs, reached = self._next_batch()
        for blob in blobs:
            await self._writer.put_blob(blob)
        if items:
            answers = await self._writer.append([item.entry for item in items])
            await self._note(items, answers)
            self._indexer.move(CURSOR, reached)
        self._sent = reached
        return bool(items)

    def _next_batch(self) -> tuple[list[_Item], list[bytes], int]:
        items: list[_Item] = []
        blobs: list[bytes] = []
        reached = self._sent
        for record in self._ledger.replay(self._sent):
            reached = record.end
            if record.kind == CLOSE:
                closing, run = parse_closing(record.record), record.record.header["run"]
                items += [_Item(run, "route", closing.entries[0]), _Item(run, "execution", closing.entries[1])]
                if closing.published:
                    blobs.append(closing.published)
            elif record.kind == FOLLOW:
                items.append(_Item(record.record.header["run"], "follow", record.record.blobs[1]))
            elif record.kind == ADDED:
                added = parse_added(record.record)
                items.append(_Item(record.record.header["run"], "added", added.entry, record.start))
            if len(items) >= self._batch:
                break
        return items, blobs, reached

    async def _note(self, items: list[_Item], answers: list[Accepted]) -> None:
        """Remember the indices. An entry that the log refuses for good is noted and left behind."""
        now = time_encode(self._clock.now())
        rows: dict[str, dict[str, object]] = {}
        touched: set[str] = set()
        for item, answer in zip(items, answers, strict=True):
            if answer.index is None:
                _LOG.error("the log refused an entry of run %s: %s", item.run, answer.refusal)
                if answer.refusal in ("log.busy", "log.full"):
                    raise RefusedError("log.refused", f"the log refused an entry: {answer.refusal}")
                continue
            if item.role == "added":
                await self._indexer.added(item.run, item.place, answer.index, now)
                self._indexer.reach(answer.index)
                touched.add(item.run)
            elif item.role != "follow":
                rows.setdefault(item.run, {})[f"{item.role}_index"] = answer.index
        for run, values in rows.items():
            self._indexer.changed(run, logged_at=now, **values)
        for run in touched | rows.keys():
            self._on_logged(run)
