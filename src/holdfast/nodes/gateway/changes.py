"""Wakes whoever watches runs, and counts how many do."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from holdfast.errors import UnavailableError


class Changes:
    """What changed at a gateway, without saying what."""

    def __init__(self) -> None:
        self._event: asyncio.Event | None = None
        self.watchers = 0

    def notify(self) -> None:
        """Something changed: everybody who waits looks again."""
        if self._event is not None:
            self._event.set()
            self._event = None

    def waiter(self) -> asyncio.Event:
        """Set at the next change after this call."""
        if self._event is None:
            self._event = asyncio.Event()
        return self._event

    @contextlib.contextmanager
    def watching(self, most: int) -> Iterator[None]:
        """Count one live stream while it lasts. Raises ``gateway.watchers`` where there are ``most`` already."""
        if self.watchers >= most:
            raise UnavailableError("gateway.watchers", "too many live streams are open", hint="poll instead")
        self.watchers += 1
        try:
            yield
        finally:
            self.watchers -= 1
