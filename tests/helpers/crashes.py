"""Crash schedules: run a node's life on a disk that forgets, end it anywhere, and live again on what survived.

A *story* is one seed. It owns a :class:`SimulatedDisk` and a random source, and tells lives one after another::

    @pytest.mark.parametrize("seed", crashes.seeds())
    def test_nothing_is_lost(seed: int) -> None:
        story = crashes.Story(seed)
        for _ in range(4):
            story.live(life)          # crashes somewhere, or at its end
        story.live(last_life, crash=False)

``life`` is a coroutine function that gets a fresh :class:`Storage`. It ends by returning, or is cut short by
:class:`SimulatedCrash` in whatever task touched the disk; tasks that still wait are cancelled, as a dead process leaves
nothing behind. What a life promised to the outside (acknowledged, published, signed, released) has to be noted outside
of it, at the moment the promise was made; the test then checks every promise against what later lives find.

How many: ``HOLDFAST_SCHEDULES`` seeds (default 24), ``HOLDFAST_KILLS`` real kills (default 3).
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from holdfast.adapters.storage_simulated import CrashKind, SimulatedCrash, SimulatedDisk
from holdfast.ports.storage import Storage

Life = Callable[[Storage], Coroutine[Any, Any, None]]
"""One life of a node on a freshly mounted storage."""
LIFE_SECONDS = 30.0
"""A life that hangs longer than this is a failure."""


def schedules() -> int:
    """How many schedules are tried in this run."""
    return int(os.environ.get("HOLDFAST_SCHEDULES", "24"))


def seeds() -> range:
    """The seeds of this run."""
    return range(schedules())


def stride(operations: int) -> int:
    """From which operation to which a story of about so many goes on that is cut at every one: few schedules take
    steps, and with as many schedules as operations it is 1."""
    return max(1, operations // schedules())


def kills() -> int:
    """How often real processes are killed in this run."""
    return int(os.environ.get("HOLDFAST_KILLS", "3"))


_KINDS: tuple[CrashKind, ...] = ("power", "power", "kill")


class Story:
    """One seed: a disk and the lives on it."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(f"story {seed}")
        """The story's own randomness; lives draw what they do from it."""
        self.disk = SimulatedDisk(seed)
        self.span = 8
        """Operations of the longest life so far: crashes are planned within it."""

    def live(self, life: Life, *, crash: bool = True, at: int | None = None, kind: CrashKind | None = None) -> bool:
        """Run one life. With ``crash`` it ends at a chosen operation (``at`` fixes which), or right after its end.

        Returns whether it was cut short.
        """
        chosen: CrashKind = self.chance.choice(_KINDS) if kind is None else kind
        before = self.disk.operations
        storage = self.disk.mount()
        if crash:
            self.disk.crash_after(at or self._choose(), chosen)
        cut_short = asyncio.run(self._run(life(storage)))
        self.span = max(self.span, self.disk.operations - before)
        if crash and not cut_short:
            self.disk.crash(chosen)
        return cut_short

    def _choose(self) -> int:
        """An operation: early ones (recovery) as likely as all the later ones together."""
        limit = max(2, self.span * 5 // 4)
        return self.chance.randint(1, self.chance.choice((min(limit, 12), limit)))

    async def _run(self, life: Awaitable[None]) -> bool:
        task = asyncio.ensure_future(life)
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_quiet)
        self.disk.on_crash = lambda: loop.call_soon(task.cancel)
        try:
            async with asyncio.timeout(LIFE_SECONDS):
                await task
        except (SimulatedCrash, asyncio.CancelledError):
            if not self.disk.crashed:
                raise
            return True
        finally:
            self.disk.on_crash = None
        return self.disk.crashed


def _quiet(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Tasks of a dead process die of its crash; anything else is told as usual."""
    if not isinstance(context.get("exception"), SimulatedCrash):
        loop.default_exception_handler(context)
