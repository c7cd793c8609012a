"""The log as a worker thread uses it: asks and hands in one entry at a time, and waits for the answer.

The calls themselves run on the event loop that owns the connections; only the waiting is done here. Never call this
from that loop's own thread: it would wait for itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

from holdfast.client.log_writer import LogWriter
from holdfast.errors import RefusedError, UnavailableError

_T = TypeVar("_T")
_LATER = frozenset({"log.busy", "log.full"})
"""Refusals of a log that mean: not now."""


class Positions(Protocol):
    """Where a log holds what (``client.log.LogReader``)."""

    async def index_of(self, digest: str) -> int | None:
        """Where the log holds an entry, by its deduplication digest (hex)."""
        ...


class BlockingEntryLog:
    """Implements ``review.decisions.EntryLog`` over the clients of a log node."""

    def __init__(
        self, writer: LogWriter, reader: Positions, loop: asyncio.AbstractEventLoop, *, timeout_s: float = 30.0
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._loop = loop
        self._timeout_s = timeout_s

    def index_of(self, digest: str) -> int | None:
        """Where the log holds an entry, by its deduplication digest (hex). Raises ``http.*`` or ``log.*``."""
        return self._wait(self._reader.index_of(digest))

    def append(self, entry: bytes) -> int:
        """Hand in one entry; returns its index once it is durably sequenced. Raises ``http.*`` or ``log.*``."""
        answer = self._wait(self._writer.append([entry]))[0]
        if answer.index is not None:
            return answer.index
        if answer.refusal in _LATER:
            raise UnavailableError("log.unavailable", f"the log takes nothing now: {answer.refusal}")
        raise RefusedError("log.refused", f"the log refused the entry: {answer.refusal}")

    def _wait(self, call: Coroutine[Any, Any, _T]) -> _T:
        waiting = asyncio.run_coroutine_threadsafe(call, self._loop)
        try:
            return waiting.result(self._timeout_s)
        except TimeoutError as error:
            waiting.cancel()
            raise UnavailableError("log.unavailable", "the log gave no answer in time") from error
