"""The till's store behind one worker thread: holds and charges of many runs share a commit.

While one commit is under way, what comes next gathers and goes into the next one. A run therefore waits for at most
two, however many there are. What was handed over is written whether or not whoever asked is still there to hear of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

from holdfast.errors import HoldfastError
from holdfast.ports.till_store import Hold, NewCharge, NewHold, StoredStep, TillStore

MOST = 256
"""Most orders in one transaction."""
Order = TypeVar("Order")
Result = TypeVar("Result")


class Books:
    """One gateway's hand in the store."""

    def __init__(self, store: TillStore) -> None:
        self.store = store
        self._worker = ThreadPoolExecutor(1, "holdfast-till")
        self._syncer = ThreadPoolExecutor(1, "holdfast-till-sync")
        self._syncing: asyncio.Task[None] | None = None
        self._next_sync: asyncio.Task[None] | None = None
        self._holds: _Gathered[NewHold, Hold] = _Gathered(self, store.hold)
        self._charges: _Gathered[NewCharge, bool] = _Gathered(self, store.charge)

    async def call(self, function: Callable[..., Result], *arguments: Any, **named: Any) -> Result:
        """Run one function of the store on the worker thread."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, lambda: function(*arguments, **named))

    async def steps_of(self, run: str) -> list[StoredStep]:
        """What was told of a run's payment, in order."""
        return await self.call(self.store.steps_of, run)

    async def hold(self, order: NewHold) -> Hold:
        """Set an amount aside; it is durable after :meth:`sync`. Raises what the store refused it with. Whoever is
        cancelled meanwhile has to take it that it was set aside."""
        return await self._holds.add(order)

    async def sync(self) -> None:
        """Wait until every hold that was answered so far is durable. Whoever comes while one wait is under way shares
        the next one."""
        if self._next_sync is None:
            self._next_sync = asyncio.create_task(self._sync(self._syncing))
        await asyncio.shield(self._next_sync)

    async def _sync(self, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        self._syncing, self._next_sync = self._next_sync, None
        await asyncio.get_running_loop().run_in_executor(self._syncer, self.store.sync)

    async def charge(self, charge: NewCharge) -> bool:
        """Turn a hold into a charge. Raises what the store refused it with."""
        return await self._charges.add(charge)

    def close(self) -> None:
        """Finish what was begun and let go of the store."""
        self._worker.shutdown()
        self._syncer.shutdown()
        self.store.close()


class _Gathered(Generic[Order, Result]):
    """Orders of one kind on their way into the store."""

    def __init__(self, books: Books, write: Callable[[Sequence[Order]], list[Result | HoldfastError]]) -> None:
        self._books = books
        self._write = write
        self._waiting: list[tuple[Order, asyncio.Future[Result]]] = []
        self._task: asyncio.Task[None] | None = None

    async def add(self, order: Order) -> Result:
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((order, answer))
        if self._task is None:
            self._task = asyncio.create_task(self._work())
        return await answer

    async def _work(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
                await self._write_batch(batch)
        finally:
            self._task = None

    async def _write_batch(self, batch: list[tuple[Order, asyncio.Future[Result]]]) -> None:
        try:
            found = await self._books.call(self._write, [order for order, _ in batch])
        except Exception as error:  # noqa: BLE001 - a store that fails fails all of them, each with the reason
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(error)
            return
        for (_, answer), result in zip(batch, found, strict=True):
            if answer.done():
                continue
            if isinstance(result, HoldfastError):
                answer.set_exception(result)
            else:
                answer.set_result(result)
