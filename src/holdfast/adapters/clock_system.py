"""The machine's own clock behind ``ports/clock.py``."""

from __future__ import annotations

import asyncio
import datetime as dt
import time


class SystemClock:
    """Wall time in UTC, monotonic time, and real waiting."""

    def now(self) -> dt.datetime:
        """The current moment, aware, UTC."""
        return dt.datetime.now(dt.UTC)

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait; never for less than nothing."""
        await asyncio.sleep(max(0.0, seconds))
