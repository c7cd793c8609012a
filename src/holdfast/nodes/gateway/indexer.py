"""Writes runs to the index behind the answers' back, in batches, from one worker thread.

A run is findable at once: while its rows wait, :class:`Indexer` answers from memory. The index is derived; on start the
write-ahead log is replayed from the last position that was indexed.

A record is durable a moment before its coroutine can say so. :attr:`Indexer.told` is the position below which that
moment is over for every opening: what a reader was told up to there stays complete.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

from holdfast.nodes.gateway.ledger import Ledger
from holdfast.nodes.gateway.records import ADDED, ASKED, CLOSE, FOLLOW, OPEN
from holdfast.nodes.gateway.turn import Opening, parse_opening
from holdfast.ports.run_index import RunIndex, RunRow

Result = TypeVar("Result")
NOBODY = ""
"""Stands for the workspace of a run that no workspace reads."""
CURSOR = "indexed"
"""Name of the cursor: the write-ahead log up to here is in the index."""


class Indexer:
    """Memory in front of :class:`RunIndex`."""

    def __init__(self, index: RunIndex, ledger: Ledger) -> None:
        self._index = index
        self._ledger = ledger
        self._worker = ThreadPoolExecutor(1, "holdfast-index")
        self._opening: dict[str, int] = {}
        """Runs whose opening is being written: how far the ledger was durable when that began, so at most their place.
        In the order in which they began; the least comes first."""
        self._waiting: dict[str, dict[str, Any]] = {}
        """Members of :class:`RunRow` by run: plain values, for each changes some times before anybody reads it."""
        self._fresh: set[str] = set()
        self._changed: dict[str, dict[str, Any]] = {}
        self._writing: list[dict[str, dict[str, Any]]] = []
        """Changes that are being written, oldest first: a row that was read before may lack them."""
        self._cursors: dict[str, int] = {}
        self._highest: int | None = None
        """The greatest log index in the tables when they were first asked; what came since is in :attr:`_reached`."""
        self._reached = -1
        self._wake = asyncio.Event()
        self._adding = asyncio.Lock()

    async def call(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Run one index function on the worker thread."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, function, *arguments)

    @property
    def index(self) -> RunIndex:
        return self._index

    @property
    def told(self) -> int:
        """The position in the write-ahead log below which no opening will yet turn up. It never goes back."""
        return next(iter(self._opening.values()), self._ledger.end)

    def opening(self, run: str) -> None:
        """A run's opening is about to be written. If that is cut off, whether it became durable is known at the next
        start; until then nothing beyond it is told, and the replay begins before it."""
        self._opening[run] = self._ledger.end

    def unopened(self, run: str) -> None:
        """The opening was refused before anything was written."""
        self._opening.pop(run, None)

    def opened(self, opening: Opening, place: int) -> None:
        """A run began; its opening's record begins at ``place``."""
        self._opening.pop(opening.run, None)
        self._waiting[opening.run] = _values_of(opening, place)
        self._fresh.add(opening.run)
        self._wake.set()

    def changed(self, run: str, **values: Any) -> None:
        """Members of a run changed."""
        row = self._waiting.get(run)
        if row is not None:
            logged_at = row["logged_at"]
            row.update(values)
            if logged_at is not None:
                row["logged_at"] = logged_at
        self._changed.setdefault(run, {"run": run}).update(values)
        self.reach(values.get("execution_index", -1))
        self._wake.set()

    async def added(self, run: str, place: int, index: int | None = None, logged_at: str | None = None) -> None:
        """Another node's statement about a run is kept at ``place``; once the log has it, ``index`` says where."""
        async with self._adding:
            row = await self.run(run)
            if row is None:
                return
            known = {item[0]: item for item in row.additions}
            before = known.get(place, (place, None, None))
            known[place] = (place, index, logged_at) if before[1] is None else before
            self.changed(run, added=json.dumps([list(known[item]) for item in sorted(known)]))

    def move(self, name: str, position: int) -> None:
        """A cursor moved; it is stored together with the rows that changed so far, never before them."""
        self._cursors[name] = position
        self._wake.set()

    def reach(self, index: int) -> None:
        """An entry about a run has this log index: it is to settle."""
        self._reached = max(self._reached, index)

    async def highest_entry(self) -> int:
        """The greatest log index of any run; -1 when none is logged."""
        if self._highest is None:
            await self.flush()
            self._highest = await self.call(self._index.highest_entry)
        return max(self._highest, self._reached)

    async def run(self, run: str) -> RunRow | None:
        """A run by its id, with everything that was said of it so far."""
        waiting = self._waiting.get(run)
        if waiting is not None:
            return RunRow(**waiting)
        row = await self.call(self._index.run, run)
        return None if row is None else self._as_of_now(row)

    async def recent(self, workspace: str, limit: int) -> list[RunRow]:
        """A workspace's newest runs."""
        await self.flush()
        return await self.call(self._index.recent, workspace, limit)

    async def children(self, parent: str) -> list[RunRow]:
        """The runs that name a parent, in the order in which they were opened."""
        memory = [RunRow(**row) for row in self._waiting.values() if row["parent_run"] == parent]
        found = {row.run: row for row in memory}
        for row in await self.call(self._index.children, parent):
            found.setdefault(row.run, self._as_of_now(row))
        return sorted(found.values(), key=lambda row: row.open_place)

    async def asked_under(self, retry: str) -> RunRow | None:
        """The run that was opened last of those asked for under an idempotency key."""
        memory = [RunRow(**row) for row in self._waiting.values() if row["retry"] == retry]
        if memory:
            return max(memory, key=lambda row: row.open_place)
        row = await self.call(self._index.asked_under, retry)
        return None if row is None else self._as_of_now(row)

    async def agents(self, workspace: str, before: int, limit: int) -> list[RunRow]:
        """A workspace's agent runs whose openings lie before a place, the newest first."""
        await self.flush()
        return await self.call(self._index.agents, workspace, before, limit)

    async def count_children(self, parents: Collection[str]) -> dict[str, int]:
        """How many children each of these runs has."""
        await self.flush()
        return await self.call(self._index.count_children, parents)

    async def openings(self, workspace: str, after: int, limit: int) -> tuple[list[RunRow], int]:
        """A workspace's runs that name a queue and whose records begin at or behind ``after``, in the order of the
        write-ahead log, and the position to go on from: below it nothing more will appear."""
        end = self.told
        memory = [
            RunRow(**row)
            for row in self._waiting.values()
            if row["workspace"] == workspace and row["queue"] is not None
        ]
        stored = await self.call(self._index.openings, workspace, after, end, limit)
        found = {row.run: row for row in memory if after <= row.open_place < end}
        for row in stored:
            found.setdefault(row.run, self._as_of_now(row))
        listed = sorted(found.values(), key=lambda row: row.open_place)[:limit]
        if len(listed) == limit:
            end = listed[-1].open_place + 1
        return listed, end

    async def work(self, interval_s: float = 2.0) -> None:
        """Write what waits, for ever; seldom enough that it does not disturb answers, and that most runs are written
        once, when they are closed and logged already. After a crash as much is replayed, and sent to the log again."""
        while True:
            await self._wake.wait()
            # Sampled before the sleep: by the flush, every coroutine whose record is below it has told us its row.
            position = self.told
            await asyncio.sleep(interval_s)
            self.move(CURSOR, position)
            await self.flush()

    async def flush(self) -> None:
        """Write what waits, once."""
        self._wake.clear()
        fresh, changed, cursors = self._fresh, self._changed, self._cursors
        if not fresh and not changed and not cursors:
            return
        self._fresh, self._changed, self._cursors = set(), {}, {}
        rows = [dict(self._waiting[run]) for run in fresh]
        self._writing.append(changed)
        try:
            await self.call(self._write, rows, fresh, changed, cursors)
        except BaseException:  # cut off or failed: what was not written waits on, and writing it twice does no harm
            self._fresh |= fresh
            for run, values in changed.items():
                self._changed[run] = {**values, **self._changed.get(run, {})}
            self._cursors = {**cursors, **self._cursors}
            self._wake.set()
            raise
        finally:
            self._writing.remove(changed)
        for run in (*fresh, *changed):
            if run not in self._fresh and run not in self._changed:
                self._waiting.pop(run, None)

    def _as_of_now(self, row: RunRow) -> RunRow:
        """A row that was read, with what was said of it since."""
        for changed in (*self._writing, self._changed):
            row = _changed(row, changed.get(row.run, {}))
        return row

    def _write(
        self,
        rows: list[dict[str, Any]],
        fresh: set[str],
        changed: dict[str, dict[str, Any]],
        cursors: Mapping[str, int],
    ) -> None:
        """Insert and update. A row that is inserted carries its changes; one that was there already needs them."""
        known = self._index.put_runs(rows)
        updates = [values for run, values in changed.items() if run not in fresh or run in known]
        self._index.update_runs(updates, cursors)

    async def rebuild(self) -> None:
        """Index what the write-ahead log holds beyond the cursor. Harmless to repeat."""
        after = await self.call(self._index.cursor, CURSOR)
        for item in self._ledger.replay(min(after, self._ledger.end)):
            header = item.record.header
            if item.kind == OPEN:
                self.opened(parse_opening(header), item.start)
            elif item.kind == CLOSE:
                self.changed(
                    header["run"], outcome=header["outcome"], closed_at=header["closed_at"], close_place=item.start
                )
            elif item.kind == FOLLOW:
                self.changed(header["run"], follow_place=item.start)
            elif item.kind == ASKED:
                self.changed(header["run"], asked_again=header["times"])
            elif item.kind == ADDED:
                stored = await self.call(self._index.run, header["run"])
                known = {} if stored is None else {place: rest for place, *rest in stored.additions}
                await self.added(header["run"], item.start, *known.get(item.start, ()))
        self.move(CURSOR, self._ledger.end)
        await self.flush()

    async def close(self) -> None:
        await self.flush()
        self._worker.shutdown()
        self._index.close()


def _values_of(opening: Opening, place: int) -> dict[str, Any]:
    """Every member of :class:`RunRow`, of a run that just began.

    What came sealed came as the relay's, and the relay must not learn what was asked: a run that names no queue is read
    by its capability alone.
    """
    closed = opening.path is not None and opening.queue is None
    return {
        "run": opening.run,
        "workspace": NOBODY if closed else opening.workspace,
        "opened_at": opening.opened_at,
        "endpoint": opening.endpoint,
        "open_place": place,
        "outcome": None,
        "closed_at": None,
        "close_place": None,
        "follow_place": None,
        "route_index": None,
        "execution_index": None,
        "logged_at": None,
        "queue": opening.queue,
        "requester": opening.requester,
        "subject": opening.subject,
        "added": None,
        "asked_again": None,
        "parent_run": None if closed else opening.parent_run,
        "retry": opening.retry["name"] if opening.retry is not None else None,
    }


def _changed(row: RunRow, values: Mapping[str, Any]) -> RunRow:
    """The row with new values. What is delivered again was logged when it first was, as in the index."""
    if not values:
        return row
    kept = {"logged_at": row.logged_at} if row.logged_at is not None else {}
    return replace(row, **{**values, **kept})
