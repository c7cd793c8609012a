"""What waits leaves together and in another order; what does not wait is not held up."""

from __future__ import annotations

import asyncio

from holdfast.nodes.relay.batches import Batch, Tick
from tests.helpers.clock import FakeClock, settle


def test_nothing_waits_where_batches_are_off() -> None:
    async def story() -> None:
        await Batch(Tick(FakeClock(), 0.0), lambda items: items.clear()).wait()

    asyncio.run(story())


def test_requests_of_one_tick_leave_together_and_in_another_order() -> None:
    async def story() -> None:
        clock, left = FakeClock(), []
        batch = Batch(Tick(clock, 0.1), lambda items: items.reverse())

        async def ask(name: str) -> None:
            await batch.wait()
            left.append(name)

        await clock.advance(0.02)
        tasks = [asyncio.create_task(ask(name)) for name in "abc"]
        await clock.advance(0.07)
        assert left == []
        await clock.advance(0.011)
        assert left == ["c", "b", "a"]
        await asyncio.gather(*tasks)

    asyncio.run(story())


def test_a_caller_that_went_away_holds_up_nobody() -> None:
    async def story() -> None:
        clock, left = FakeClock(), []
        batch = Batch(Tick(clock, 0.1), lambda items: None)

        async def ask(name: str) -> None:
            await batch.wait()
            left.append(name)

        gone, other = asyncio.create_task(ask("gone")), asyncio.create_task(ask("other"))
        await settle()
        gone.cancel()
        await clock.advance(0.1)
        assert left == ["other"]
        await asyncio.gather(gone, other, return_exceptions=True)

    asyncio.run(story())


def test_a_later_request_waits_for_the_next_tick() -> None:
    async def story() -> None:
        clock, left = FakeClock(), []
        batch = Batch(Tick(clock, 0.1), lambda items: None)

        async def ask(name: str) -> None:
            await batch.wait()
            left.append(name)

        first = asyncio.create_task(ask("first"))
        await settle()
        await clock.advance(0.1)
        second = asyncio.create_task(ask("second"))
        await settle()
        assert left == ["first"]
        await clock.advance(0.1)
        assert left == ["first", "second"]
        await asyncio.gather(first, second)

    asyncio.run(story())
