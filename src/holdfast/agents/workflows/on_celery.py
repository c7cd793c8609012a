"""The same workflows on Celery: it hands out what is due, and the journal says what that is.

Two tasks. ``look``, which Celery's beat sends every second, starts what triggers say, begins what there is room for and
sends ``advance`` for what is due. ``advance`` moves one execution on until it sleeps or ends. A message that is lost or
comes twice changes nothing: what is due is sent again, and a lease keeps two workers from moving one execution. So no
broker has to be durable, and a sleeping execution is no message that one keeps.

Not covered: workers on machines that do not share the journal's file.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from celery import Celery

from holdfast.agents.workflows.engine import Engine
from holdfast.agents.workflows.journal import Journal
from holdfast.agents.workflows.service import Service
from holdfast.ports.clock import Clock

LOOK, ADVANCE = "holdfast.workflow.look", "holdfast.workflow.advance"
EVERY_S = 1.0
"""How often beat has triggers looked at."""
MOST_SENT = 256
"""Executions that are sent in one look."""
_AGAIN_S = 30.0
"""What was sent and is still due after so long, is sent again: its message, or its worker, is gone."""
Result = TypeVar("Result")

Open = Callable[[], contextlib.AbstractAsyncContextManager[tuple[Engine, Service]]]
"""Makes the engine and the service of a process, once, on the loop that they live on."""


class Loop:
    """An event loop in a thread of its own, for tasks that are none of it: connections outlive a task."""

    def __init__(self, open_world: Open) -> None:
        self._open = open_world
        self._lock = threading.Lock()
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._world: tuple[Engine, Service] | None = None
        self._stack = contextlib.AsyncExitStack()

    def run(self, work: Callable[[Engine, Service], Coroutine[Any, Any, Result]]) -> Result:
        """Have something done there, and wait for it."""
        engine, service = self._ready()
        return self._wait(work(engine, service))

    def close(self) -> None:
        """Let go of everything."""
        with self._lock:
            loop, thread, self._closed = self._loop, self._thread, True
        if loop is None or thread is None:
            return
        asyncio.run_coroutine_threadsafe(self._stack.aclose(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

    def _ready(self) -> tuple[Engine, Service]:
        with self._lock:
            if self._closed:
                raise RuntimeError("the worker is stopped")  # a task that its pool still had
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="workflows", daemon=True)
                self._thread.start()
                self._world = self._wait(self._stack.enter_async_context(self._open()))
            if self._world is None:
                raise RuntimeError("the engine could not be made")
            return self._world

    def _wait(self, work: Coroutine[Any, Any, Result]) -> Result:
        if self._loop is None:
            raise RuntimeError("the loop has ended")
        made: Future[Result] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return made.result()


def register(app: Celery, journal: Journal, clock: Clock, open_world: Open) -> Loop:
    """Give an app the two tasks and beat's entry. Whoever stops the worker closes what is returned."""
    loop, sent = Loop(open_world), dict[str, float]()

    def advance(execution: str) -> None:
        loop.run(lambda engine, _: engine.advance(execution))

    def look() -> None:
        loop.run(lambda _, service: _look(service))
        now = clock.monotonic()
        for execution in journal.due(clock.now(), MOST_SENT):
            if now - sent.get(execution, -_AGAIN_S) >= _AGAIN_S:
                sent[execution] = now
                app.send_task(ADVANCE, (execution,))
        for execution in [item for item, at in sent.items() if now - at >= _AGAIN_S]:
            del sent[execution]

    def moved(execution: str) -> None:
        try:
            advance(execution)
        finally:
            sent.pop(execution, None)

    app.task(look, name=LOOK, ignore_result=True)
    app.task(moved, name=ADVANCE, ignore_result=True, acks_late=True)
    app.conf.beat_schedule = {**(app.conf.beat_schedule or {}), LOOK: {"task": LOOK, "schedule": EVERY_S}}
    return loop


async def _look(service: Service) -> None:
    await service.look()
    service.begin()
