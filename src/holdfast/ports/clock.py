"""Time as an argument: the outside asks a clock, the inside is handed a moment."""

from __future__ import annotations

import datetime as dt
from typing import Protocol


class Clock(Protocol):
    """Wall and monotonic time; tests hand in a fake one."""

    def now(self) -> dt.datetime:
        """The current moment, aware, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait; a fake clock returns when it was moved on."""
        ...
