"""A clock that stands still until a test moves it."""

from __future__ import annotations

import asyncio
import datetime as dt

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


class FakeClock:
    """``ports/clock.py`` by hand: :meth:`advance` moves time on and wakes whoever waits for it."""

    def __init__(self, start: dt.datetime = START) -> None:
        self._start = start
        self._elapsed = 0.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now(self) -> dt.datetime:
        """The moment, aware, UTC."""
        return self._start + dt.timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        """Seconds since the start."""
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        """Wait until :meth:`advance` has moved the clock that far."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._elapsed + seconds, done))
        await done

    async def advance(self, seconds: float) -> None:
        """Move on and let everybody who was waiting run."""
        self._elapsed += seconds
        due = [done for at, done in self._sleepers if at <= self._elapsed]
        self._sleepers = [item for item in self._sleepers if item[0] > self._elapsed]
        for done in due:
            if not done.done():
                done.set_result(None)
        await settle()


async def settle(turns: int = 20) -> None:
    """Give every ready task a few turns of the loop."""
    for _ in range(turns):
        await asyncio.sleep(0)
