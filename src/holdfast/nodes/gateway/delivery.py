"""Takes steps of payments to the transparency log: at least once, in order, for ever trying.

What the store holds is the outbox: a step was written in the transaction that made it true. A step waits until the
statements of its run are in the log, for its parents have to stand before it (``trace.md`` §4). The cursor moves after
the log has named the indices; what a crash sends again, the log knows by its digest. Steps of runs that are another
gateway's are that gateway's to deliver.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from holdfast.client.log_writer import LogWriter
from holdfast.errors import RefusedError
from holdfast.nodes.gateway.books import Books
from holdfast.nodes.gateway.indexer import Indexer
from holdfast.nodes.gateway.outbox import Outbox
from holdfast.ports.clock import Clock
from holdfast.ports.till_store import StoredStep

_LOG = logging.getLogger("holdfast.gateway.delivery")
_BEFORE = ("offered", "authorised")
"""Events that stand on nothing in the log."""
_AGAIN_S, _SLOWEST_S = 0.25, 5.0
"""How often steps that wait for their runs are looked at, and the longest pause after failures."""


class Delivery:
    """Follows the store and feeds the log. ``attester`` names this gateway's cursor; ``on_logged`` hears of runs."""

    def __init__(
        self,
        books: Books,
        indexer: Indexer,
        outbox: Outbox,
        writer: LogWriter,
        clock: Clock,
        attester: str,
        *,
        batch: int,
        on_logged: Callable[[str], None],
    ) -> None:
        self._books = books
        self._store = books.store
        self._indexer = indexer
        self._outbox = outbox
        self._writer = writer
        self._clock = clock
        self._cursor = f"log:{attester}"
        self._batch = batch
        self._on_logged = on_logged
        self._wake = asyncio.Event()
        self.trouble = ""
        """Why the last delivery failed, or empty."""

    def wake(self) -> None:
        """There are steps."""
        self._wake.set()

    async def work(self) -> None:
        """Deliver, for ever; waits longer after each failure."""
        delay = _AGAIN_S
        while True:
            try:
                while await self.deliver():
                    pass
                self.trouble, delay = "", _AGAIN_S
            except Exception as error:  # noqa: BLE001 - the log or the store: what was not delivered waits on
                self.trouble = str(error)
                _LOG.warning("steps of payments wait: %s", error)
                delay = min(delay * 2, _SLOWEST_S)
            waiter = asyncio.ensure_future(self._wake.wait())
            pause = asyncio.ensure_future(self._clock.sleep(delay))
            try:
                await asyncio.wait({waiter, pause}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiter.cancel()
                pause.cancel()
            self._wake.clear()

    async def deliver(self) -> bool:
        """Send one batch; returns whether there may be more. Raises ``log.*`` or ``http.*``."""
        cursor = await self._books.call(self._store.cursor, self._cursor)
        found = await self._books.call(self._store.steps_after, cursor, self._batch)
        ready: list[StoredStep] = []
        reached = cursor
        for item in found:
            mine = await self._is_ready(item)
            if mine is None:
                break
            reached = item.position
            if mine:
                ready.append(item)
        if reached == cursor:
            return False
        indices = await self._append(ready)
        await self._books.call(self._store.logged, indices, self._cursor, reached)
        for index in indices.values():
            self._indexer.reach(index)
        for run in {item.step.run for item in ready if item.position in indices}:
            self._on_logged(run)
        return len(found) == self._batch and reached == found[-1].position

    async def _is_ready(self, item: StoredStep) -> bool | None:
        """Whether a step is this gateway's to send now: None while it has to wait, False where it never is."""
        row = await self._indexer.run(item.step.run)
        if row is None:
            return False
        if item.step.event in _BEFORE or row.execution_index is not None:
            return True
        if row.close_place is not None and self._outbox.delivered > row.close_place:
            _LOG.error("run %s is not in the log, so neither are the steps of its payment", item.step.run)
            return False
        return None

    async def _append(self, ready: Sequence[StoredStep]) -> dict[int, int]:
        """Hand steps in; the log's indices by their positions. One that the log refuses for good is left behind."""
        if not ready:
            return {}
        indices: dict[int, int] = {}
        answers = await self._writer.append([item.step.entry for item in ready])
        for item, answer in zip(ready, answers, strict=True):
            if answer.index is not None:
                indices[item.position] = answer.index
            elif answer.refusal in ("log.busy", "log.full"):
                raise RefusedError("log.refused", f"the log refused a step of a payment: {answer.refusal}")
            else:
                _LOG.error("the log refused a step of run %s: %s", item.step.run, answer.refusal)
        return indices
