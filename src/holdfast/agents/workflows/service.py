"""Runs workflows until it is told to stop: looks for triggers, begins what there is room for, moves on what is due.

A sleeping execution is a row; at most ``at_once`` are moved at a time. Whoever stops this between any two lines loses
nothing: everything that it knows lies in the journal.

Not covered: one execution (``engine``); whether anybody else works on the same journal (leases keep them apart).
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Callable, Sequence

from holdfast.agents.workflows.engine import Engine
from holdfast.agents.workflows.journal import Journal
from holdfast.agents.workflows.triggers import Trigger
from holdfast.core.workflows.definitions import Definition
from holdfast.core.workflows.moves import Cause
from holdfast.errors import HoldfastError
from holdfast.ports.clock import Clock

_LOG = logging.getLogger(__name__)
AT_ONCE = 8
"""Executions that are moved at one time, unless it is said otherwise."""
_LONGEST_S = 5.0
"""Longest pause: another process may have put something into the journal."""
_SHORTEST_S = 0.01
"""Shortest one: what was handed to the engine takes its lease meanwhile."""
_AFTER_TROUBLE_S = 10.0
"""Before a trigger that could not be asked is asked again."""


class Service:
    """Some workflows over one journal."""

    def __init__(
        self,
        journal: Journal,
        engine: Engine,
        clock: Clock,
        definitions: Sequence[Definition],
        *,
        dry: bool = False,
        at_once: int = AT_ONCE,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self._journal = journal
        self._engine = engine
        self._clock = clock
        self._definitions = {item.name: item for item in definitions}
        self._dry = dry
        self._at_once = at_once
        self._say = say or _LOG.info
        self._triggers: dict[Trigger, dt.datetime] = {}
        self._moving: dict[str, asyncio.Task[dt.datetime | None]] = {}
        self._woken = asyncio.Event()
        self.told: set[str] = set()
        """Executions that were asked for here, also where they had been started before."""
        for item in definitions:
            journal.keep(item)

    def follow(self, trigger: Trigger) -> None:
        """Look for what it starts, from now on."""
        self._triggers[trigger] = self._clock.now()

    def starter(self, definition: Definition) -> Callable[[Cause], None]:
        """What starts executions of a workflow."""

        def start(cause: Cause) -> None:
            made, new = self._journal.start(definition, cause, dry=self._dry, now=self._clock.now())
            self.told.add(made)
            if new:
                self._say(f"{definition.name} {made[:16]} is started by {cause.kind} {cause.key}")
            self._woken.set()

        return start

    async def run(self, *, until_idle: bool = False, until_waiting: bool = False) -> None:
        """Go on for ever. Where ``until_idle``, follow no trigger and end once every execution of these workflows has
        ended, or, where ``until_waiting`` too, does nothing but wait for the gate."""
        try:
            while True:
                if not until_idle:
                    await self.look()
                self.begin()
                self._move()
                if until_idle and not self._moving and not self._left(but_waiting=until_waiting):
                    return
                await self._pause()
        finally:
            for task in self._moving.values():
                task.cancel()
            await asyncio.gather(*self._moving.values(), return_exceptions=True)

    def _left(self, *, but_waiting: bool) -> int:
        return sum(self._journal.live(name, but_waiting=but_waiting) for name in self._definitions)

    async def look(self) -> None:
        """Start what came of every trigger that it is time to look at."""
        now = self._clock.now()
        for trigger, at in list(self._triggers.items()):
            if at > now:
                continue
            try:
                self._triggers[trigger] = await trigger.look(now)
            except HoldfastError as error:
                self._say(f"a trigger cannot be asked: {error}")
                self._triggers[trigger] = now + dt.timedelta(seconds=_AFTER_TROUBLE_S)

    def begin(self) -> None:
        """Begin what there is room for."""
        for definition in self._definitions.values():
            _, skipped = self._journal.begin(definition, self._clock.now())
            for execution in skipped:
                self._say(f"{definition.name} {execution[:16]} is skipped: as many as may be there at once are there")

    def _move(self) -> None:
        """Hand what is due to the engine, as much at a time as is allowed."""
        for execution, task in list(self._moving.items()):
            if task.done():
                del self._moving[execution]
                task.result()  # what is no error of the outside is ours
        room = self._at_once - len(self._moving)
        if room <= 0:
            return
        for execution in self._journal.due(self._clock.now(), self._at_once + room):
            if execution not in self._moving and len(self._moving) < self._at_once:
                task = asyncio.ensure_future(self._engine.advance(execution))
                task.add_done_callback(lambda _: self._woken.set())
                self._moving[execution] = task

    async def _pause(self) -> None:
        """Until something is due, ends or starts."""
        now = self._clock.now()
        due = [*self._triggers.values()]
        following = self._journal.next_due(now) if len(self._moving) < self._at_once else None
        due += [following] if following is not None else []
        longest = min([_LONGEST_S, *((at - now).total_seconds() for at in due)])
        waiter = asyncio.ensure_future(self._woken.wait())
        sleeper = asyncio.ensure_future(self._clock.sleep(max(longest, _SHORTEST_S)))
        try:
            await asyncio.wait({waiter, sleeper}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (waiter, sleeper):
                task.cancel()
            await asyncio.gather(waiter, sleeper, return_exceptions=True)
        self._woken.clear()
