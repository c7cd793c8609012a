"""Hands every statement to the log: at least once, in order, for ever trying.

The cursor is stored after the log has named the indices, so a crash sends some again; the log knows them by digest.
"""

from __future__ import annotations

import asyncio
import logging

from holdfast.client.log_writer import LogWriter
from holdfast.errors import HoldfastError, UnavailableError
from holdfast.nodes.data.keeping import Kept, parse_record
from holdfast.ports.clock import Clock
from holdfast.ports.metrics import Metrics
from holdfast.ports.storage import RecordLog, Storage

_LOG = logging.getLogger("holdfast.data.delivery")
CURSOR = "delivered"
BATCH = 256
_SLOWEST_S = 5.0
_GATHER_S = 0.05
_TIDY_S = 300.0
_LATER = ("log.busy", "log.full")


class Delivery:
    """Follows the write-ahead log and feeds the log of the network."""

    def __init__(
        self, records: RecordLog, storage: Storage, kept: Kept, writer: LogWriter | None, clock: Clock, metrics: Metrics
    ) -> None:
        self._records = records
        self._storage = storage
        self._kept = kept
        self._writer = writer
        self._clock = clock
        self._metrics = metrics
        self._wake = asyncio.Event()
        stored = storage.load(CURSOR)
        self.delivered = max(records.begin, int(stored) if stored else 0)
        """The write-ahead log up to here is in the log."""
        self.trouble = ""
        """Why the last delivery failed, or empty."""

    def wake(self) -> None:
        """Something was kept."""
        self._wake.set()

    async def work(self) -> None:
        """Deliver and tidy, for ever."""
        delay, tidied = 0.1, self._clock.monotonic()
        while True:
            try:
                more = await self.deliver()
                self.trouble, delay = "", 0.1
            except HoldfastError as error:
                self.trouble, more = error.message, True
                _LOG.warning("statements wait: %s", error.message, extra={"code": error.code})
                await self._clock.sleep(delay)
                delay = min(delay * 2, _SLOWEST_S)
            if self._clock.monotonic() - tidied > _TIDY_S:
                self._kept.tidy(self.delivered if self._writer else self._records.durable)
                tidied = self._clock.monotonic()
            if not more:
                self._wake.clear()
                try:
                    async with asyncio.timeout(_TIDY_S):
                        await self._wake.wait()
                    await self._clock.sleep(_GATHER_S)
                except TimeoutError:
                    continue

    async def deliver(self) -> bool:
        """Send one batch; whether there was one."""
        if self._writer is None or self.delivered >= self._records.durable:
            self._metrics.level("holdfast_data_waiting", 0)
            return False
        entries: list[bytes] = []
        reached = self.delivered
        for record in self._records.records(self.delivered):
            entries.append(parse_record(record.payload)[1].envelope)
            reached = record.position
            if len(entries) == BATCH:
                break
        self._metrics.level("holdfast_data_waiting", len(entries))
        for answer in await self._writer.append(entries):
            if answer.refusal in _LATER:
                raise UnavailableError("log.unavailable", f"it takes nothing now: {answer.refusal}")
            if answer.refusal is not None:
                _LOG.error("the log refused a statement: %s", answer.refusal)
        self._storage.save(CURSOR, str(reached).encode())
        self.delivered = reached
        return True
