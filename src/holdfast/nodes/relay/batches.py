"""Two ways to make times tell less, each at a price (``docs/operate/relay.md``); both are off unless set.

* A :class:`Batch` holds requests until the next tick and lets them go together, in random order: what came in together
  cannot be told apart by its order, and when within the tick something came cannot be told at all.
* A :class:`Tick` lets pieces of an answer go at ticks only, so that a stream's rhythm, which says a lot about what is
  being written, becomes the relay's.

With one caller neither hides anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, MutableSequence
from typing import Any

from holdfast.ports.clock import Clock


class Tick:
    """Multiples of an interval on the monotonic clock; an interval of 0 never waits."""

    def __init__(self, clock: Clock, every_s: float) -> None:
        self._clock = clock
        self.every_s = every_s

    async def wait(self) -> None:
        """Until the next one."""
        if self.every_s:
            await self._clock.sleep(self.left_s())

    def left_s(self) -> float:
        """How long until the next one."""
        return self.every_s - self._clock.monotonic() % self.every_s


class Batch:
    """Requests that leave together."""

    def __init__(self, tick: Tick, shuffle: Callable[[MutableSequence[Any]], None]) -> None:
        self._tick = tick
        self._shuffle = shuffle
        self._waiting: list[asyncio.Future[None]] = []
        self._opener: asyncio.Task[None] | None = None

    async def wait(self) -> None:
        """Until the batch that this request is in leaves; at once where batches are off."""
        if not self._tick.every_s:
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        if self._opener is None:
            self._opener = asyncio.create_task(self._open())
        await turn

    async def _open(self) -> None:
        await self._tick.wait()
        waiting, self._waiting, self._opener = self._waiting, [], None
        self._shuffle(waiting)
        for turn in waiting:
            if not turn.done():
                turn.set_result(None)
