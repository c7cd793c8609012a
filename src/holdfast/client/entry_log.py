"""The log as a worker thread uses it: asks and hands in one entry at a time, and waits for the answer. And what a
bundle has to hold of an entry (:func:`logged_items`).

The calls themselves run on the event loop that owns the connections; only the waiting is done here. Never call this
from that loop's own thread: it would wait for itself.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

from holdfast.client.log import LogClient
from holdfast.client.log_writer import LogWriter
from holdfast.core.encoding import time_encode
from holdfast.core.merkle import leaf_hash
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


async def logged_items(log: LogClient, entry: bytes, digest: str, at: dt.datetime) -> list[dict[str, Any]]:
    """What a bundle shows of an entry in the log, known since ``at`` (``bundle.md`` §2): its place, the verified path
    to the newest checkpoint, and that checkpoint with its cosignatures. Empty while no checkpoint covers it. Raises
    ``log.inclusion`` when the log holds something else there."""
    index, checkpoint = await log.index_of(digest), await log.latest()
    if index is None or index >= checkpoint.size:
        return []
    found = await log.inclusion(index, checkpoint)
    if found.leaf != leaf_hash(entry):
        raise RefusedError("log.inclusion", "the log holds another entry where it says this one is")
    moment = time_encode(at)
    path = {"size": found.size, "proof": [step.hex() for step in found.proof]}
    return [
        {"kind": "entry", "at": moment, "digest": digest, "index": index},
        {"kind": "inclusion", "at": moment, "digest": digest, "index": index, **path},
        {"kind": "checkpoint", "at": moment, "note": checkpoint.raw.decode()},
    ]
