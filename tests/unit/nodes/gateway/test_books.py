"""The till's store behind one thread: what comes at once shares a commit, and each gets its own answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from holdfast.adapters.till_store_sql import SQLTillStore
from holdfast.errors import HoldfastError, RefusedError
from holdfast.nodes.gateway.books import Books
from holdfast.ports.till_store import Hold, NewCharge, NewHold
from tests.contracts.test_till_store import at, on_account, run_id


class CountingStore(SQLTillStore):
    """Counts transactions and syncs, and can be slow or broken."""

    def __init__(self) -> None:
        super().__init__("sqlite://")
        self.sizes: list[int] = []
        self.syncs = 0
        self.gate: threading.Event | None = None
        self.broken = False

    def hold(self, orders: Sequence[NewHold]) -> list[Hold | HoldfastError]:
        self.sizes.append(len(orders))
        if self.broken:
            raise OSError("the disk is gone")
        if self.gate is not None:
            self.gate.wait(5)
        return super().hold(orders)

    def sync(self) -> None:
        self.syncs += 1


async def begun(store: CountingStore) -> None:
    """Until the worker thread is at its first transaction."""
    for _ in range(5000):
        if store.sizes:
            return
        await asyncio.sleep(0.001)
    raise AssertionError("nothing was held")


def play(story: Any) -> None:
    async def main() -> None:
        store = CountingStore()
        store.grant("acme", 1000, "first", at(0))
        books = Books(store)
        try:
            await story(books, store)
        finally:
            books.close()

    asyncio.run(main())


def test_a_store_that_fails_fails_all_that_wait_and_none_that_come_later() -> None:
    async def story(books: Books, store: CountingStore) -> None:
        store.broken = True
        answers = await asyncio.gather(*(books.hold(on_account(run)) for run in range(3)), return_exceptions=True)
        assert [type(answer) for answer in answers] == [OSError] * 3
        store.broken = False
        assert (await books.hold(on_account(9))).stands == "held"

    play(story)


def test_what_comes_while_a_commit_is_under_way_shares_the_next_one() -> None:
    async def story(books: Books, store: CountingStore) -> None:
        store.gate = threading.Event()
        first = asyncio.create_task(books.hold(on_account(0)))
        await begun(store)
        others = [asyncio.create_task(books.hold(on_account(run))) for run in range(1, 15)]
        await asyncio.sleep(0)
        store.gate.set()
        answers = await asyncio.gather(first, *others, return_exceptions=True)
        assert store.sizes == [1, 14]
        assert sum(isinstance(answer, Hold) for answer in answers) == 10
        refused = [answer for answer in answers if isinstance(answer, RefusedError)]
        assert {answer.code for answer in refused} == {"payment.credit"}
        assert len(refused) == 5

    play(story)


def test_whoever_goes_away_takes_nobody_along() -> None:
    async def story(books: Books, store: CountingStore) -> None:
        store.gate = threading.Event()
        first = asyncio.create_task(books.hold(on_account(0)))
        await begun(store)
        gone, stays = asyncio.create_task(books.hold(on_account(1))), asyncio.create_task(books.hold(on_account(2)))
        await asyncio.sleep(0)
        gone.cancel()
        store.gate.set()
        await first
        assert (await stays).run == run_id(2)
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert [hold.run for hold in await books.call(store.held)] == [run_id(run) for run in range(3)]

    play(story)


def test_a_sync_covers_what_was_held_before_and_is_shared() -> None:
    async def story(books: Books, store: CountingStore) -> None:
        await asyncio.gather(*(books.sync() for _ in range(5)))
        assert store.syncs == 1
        await books.sync()
        assert store.syncs == 2

    play(story)


def test_charges_gather_too() -> None:
    async def story(books: Books, _store: CountingStore) -> None:
        await asyncio.gather(*(books.hold(on_account(run)) for run in range(3)))
        charges = [books.charge(NewCharge(run_id(run), 1, at(1))) for run in (0, 1, 1)]
        assert sorted(await asyncio.gather(*charges)) == [False, True, True]
        with pytest.raises(HoldfastError) as refused:
            await books.charge(NewCharge(run_id(2), 101, at(1)))
        assert refused.value.code == "till.cap"

    play(story)
