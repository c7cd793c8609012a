"""The desk on a thread of its own, the queues' policy files, and what the panel does by itself with cases.

Rules:

* One worker thread owns the store: commands come one after the other, and the event loop never waits for a disk.
* A policy file says what a queue's policy is when the file is new or has changed since it was last taken in; what a
  person changed through the panel meanwhile stays until then. A file that goes away leaves the queue as it is.
* A file that cannot be read keeps the panel from starting. Later it leaves the policy in force as it is, and is shown.
* Time, trust and policies move cases without anybody asking: the desk looks at what is due several times a second.

Not covered: what the gateway has to say (``follower``), and HTTP (``cases``).
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from holdfast.core import canonical
from holdfast.core.encoding import sha256_hex
from holdfast.errors import HoldfastError, MalformedError, UnavailableError, UsageError
from holdfast.nodes.panel.contents import Contents
from holdfast.ports.case_store import CaseStore
from holdfast.ports.clock import Clock
from holdfast.ports.metrics import Metrics
from holdfast.ports.storage import Storage
from holdfast.review.desk import Desk
from holdfast.review.events import SYSTEM
from holdfast.verifier.queue_policy import MAX_POLICY_BYTES

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
_LOG = logging.getLogger("holdfast.panel.review")
TAKEN_FILE = "queues.json"
"""Digest (hex) of each policy file as it was last taken in."""
TURN_S = 0.25
"""How often the desk looks at what is due: a revocation recalls within a second."""
TURN_CASES = 20
"""Cases of one such turn. Between turns whoever waits for the desk gets it."""
FILES_S = 1.0
"""How often the folder of policies is looked at."""


@dataclass(frozen=True, slots=True)
class _PolicyFile:
    """A file as it was last seen."""

    stamp: tuple[int, int]
    queue: str
    text: str | None
    """None where it could not be read; ``trouble`` says why."""
    trouble: str = ""


Send = Callable[[str, str, bytes | None, Mapping[str, str]], Awaitable[bytes]]
"""Method, path, body and headers to the answer's body."""


class Review:
    """The desk for code that runs on the event loop. ``store`` is closed at the end."""

    def __init__(
        self, desk: Desk, store: CaseStore, storage: Storage, queues: Path, clock: Clock, metrics: Metrics
    ) -> None:
        self.desk = desk
        """Call its methods through :meth:`call` alone."""
        self.metrics = metrics
        self.store = store
        """Its methods block too: through :meth:`call` alone."""
        self._storage = storage
        self._queues = queues
        self._clock = clock
        self._worker = ThreadPoolExecutor(1, "holdfast-desk")
        self._files: dict[str, _PolicyFile] = {}
        self._waiting: dict[str, str] = {"cases": "the desk is starting"}
        self._tasks: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {}
        self._ends: list[Callable[[], Awaitable[None] | None]] = []
        self.contents: Contents | None = None
        """What reads runs for people who open their cases; None where nothing does."""
        self.find_run: Callable[[str], Awaitable[None]] = _no_gateway
        """Raises where the gateway has no such run (``run.unknown``) or is silent. Whatever follows the gateway sets
        this, and what comes next."""
        self.fetch_run: Callable[[str], None] = lambda _: None
        """Has the evidence of a run fetched soon, for the cases of it."""
        self.ask_gateway: Send = _no_gateway_to_ask
        """Asks the gateway with this panel's key: method, path, body, headers. Raises what it refuses."""
        self.decisions_wait = ""
        """Why decisions wait for the log, or empty; for the pages."""
        self.changed = asyncio.Event()
        """Set and replaced whenever a case may have moved: see :meth:`notify`."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watches: dict[str, set[asyncio.Event]] = {}
        desk.on_moved = self._moved

    async def call(
        self, function: Callable[Parameters, Result], *arguments: Parameters.args, **named: Parameters.kwargs
    ) -> Result:
        """Run something on the desk's thread."""
        self._loop = asyncio.get_running_loop()
        return await asyncio.get_running_loop().run_in_executor(self._worker, partial(function, *arguments, **named))

    def add_task(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Have something run for as long as the panel does."""
        self._tasks[name] = work

    def at_end(self, act: Callable[[], Awaitable[None] | None]) -> None:
        """Have something done once everything has stopped."""
        self._ends.append(act)

    def readiness(self) -> Mapping[str, str]:
        """What stands in the way of reviewing. A silent gateway does not."""
        return self._waiting

    def trouble(self) -> dict[str, str]:
        """Policy files that are not in force as they stand, and why."""
        return {item.queue: item.trouble for item in self._files.values() if item.trouble}

    def now(self) -> dt.datetime:
        """The time of the panel's clock."""
        return self._clock.now()

    def notify(self) -> None:
        """A case may have moved: whoever waits looks again."""
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()

    @contextlib.contextmanager
    def watching(self, *names: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever a case (by its id) moved, or one of a queue (``queue NAME``). Whoever waits
        clears it."""
        moved = asyncio.Event()
        for what in names:
            self._watches.setdefault(what, set()).add(moved)
        try:
            yield moved
        finally:
            for what in set(names):
                self._watches[what].discard(moved)
                if not self._watches[what]:
                    del self._watches[what]

    def _moved(self, moved: Collection[tuple[str, str]]) -> None:
        """The desk has committed something, on its thread: tell whoever watches, on theirs."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and with it everybody who watched
                self._loop.call_soon_threadsafe(self._tell, moved)

    def _tell(self, moved: Collection[tuple[str, str]]) -> None:
        self.notify()
        for what in {name for case, queue in moved for name in (case, f"queue {queue}")} & self._watches.keys():
            for event in self._watches[what]:
                event.set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Take the policies in and start everything; stop everything. Raises what is wrong with a policy file."""
        try:
            await self.call(self._read_policies, True)
            work = {"turns": self._take_turns, "policies": self._watch_policies, **self._tasks}
            tasks = [self._start(name, function()) for name, function in work.items()]
            self._waiting.pop("cases")
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            await self.call(self.store.close)
            self._worker.shutdown()
            for act in self._ends:
                waiting = act()
                if waiting is not None:
                    await waiting

    def _start(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=f"panel-{name}")

        def ended(done: asyncio.Task[None]) -> None:
            if not done.cancelled():
                self._waiting[name] = "it stopped; see the log of this node"
                _LOG.error("the %s task stopped", name, exc_info=done.exception())

        task.add_done_callback(ended)
        return task

    # What moves by itself

    async def _take_turns(self) -> None:
        """Look at what time, trust or a policy may have moved, for ever."""
        while True:
            tick = await self.call(self.desk.tick, SYSTEM, limit=TURN_CASES)
            for case, before, after in tick.moved:
                _LOG.info("case %s: %s is %s now", case, before, after)
            for recalled in tick.recalled:
                _LOG.warning("%d cases are recalled: see event %s", len(recalled.cases), recalled.seq)
            if tick.moved or tick.recalled:
                self.notify()
            await self._clock.sleep(0.0 if tick.more else TURN_S)

    # Policies

    async def _watch_policies(self) -> None:
        while True:
            await self._clock.sleep(FILES_S)
            if await self.call(self._read_policies, False):
                self.notify()

    def _read_policies(self, strict: bool) -> bool:
        """Take in policy files that are new or have changed; returns whether a policy did. ``strict`` raises what is
        wrong with one."""
        try:
            paths = sorted(path for path in self._queues.iterdir() if path.suffix == ".toml")
        except OSError as error:
            if strict:
                hint = "make it, with one TOML file for each queue; or set review = false"
                raise UsageError(
                    "panel.queues", f"cannot read {self._queues}: {error.strerror}", hint=hint, param="queues"
                ) from error
            return False
        moved = False
        for path in paths:
            seen = self._files.get(path.name)
            found = _look(path, seen)
            if found is seen:
                continue
            self._files[path.name] = found
            try:
                moved = self._take_in(found) or moved
            except HoldfastError as error:
                if strict:
                    raise UsageError("panel.queues", f"{path}: {error}", param="queues") from error
                _LOG.error("%s is not taken in: %s", path, error, extra={"code": error.code})
                self._files[path.name] = _PolicyFile(found.stamp, found.queue, found.text, str(error))
        return moved

    def _take_in(self, file: _PolicyFile) -> bool:
        if file.text is None:
            raise UsageError("panel.queues", file.trouble)
        taken = _parse_taken(self._storage.load(TAKEN_FILE))
        digest = sha256_hex(file.text.encode())
        if taken.get(file.queue) == digest and any(
            queue.name == file.queue and queue.authored for queue in self.desk.queues(SYSTEM)
        ):
            return False
        change = self.desk.change_policy(SYSTEM, file.queue, file.text)
        self._storage.save(TAKEN_FILE, json.dumps({**taken, file.queue: digest}, sort_keys=True).encode())
        if change.digest != change.before:
            _LOG.info("queue %s has policy %s now", file.queue, change.digest)
        return change.digest != change.before


async def _no_gateway_to_ask(_method: str, _path: str, _body: bytes | None, _headers: Mapping[str, str]) -> bytes:
    raise UnavailableError("panel.no_gateway", "this panel follows no gateway")


async def _no_gateway(_: str) -> None:
    raise UnavailableError(
        "panel.silent", "this panel follows no gateway, so it cannot tell whether there is such a run"
    )


def _look(path: Path, seen: _PolicyFile | None) -> _PolicyFile:
    """The file as it is now; what was seen already when it is the same."""
    queue = path.stem
    try:
        found = path.stat()
        stamp = (found.st_mtime_ns, found.st_size)
        if seen is not None and seen.stamp == stamp:
            return seen
        if found.st_size > MAX_POLICY_BYTES:
            return _PolicyFile(stamp, queue, None, f"a policy has at most {MAX_POLICY_BYTES} bytes")
        return _PolicyFile(stamp, queue, path.read_text("utf-8"))
    except OSError as error:
        return _unreadable(seen, queue, f"it cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        return _unreadable(seen, queue, "it is not UTF-8")


def _unreadable(seen: _PolicyFile | None, queue: str, why: str) -> _PolicyFile:
    return seen if seen is not None and seen.trouble == why else _PolicyFile((0, 0), queue, None, why)


def _parse_taken(raw: bytes | None) -> dict[str, str]:
    """Which files were taken in as what; raises ``panel.queues``."""
    value = canonical.decode_object(raw) if raw is not None else {}
    if any(not isinstance(digest, str) for digest in value.values()):
        raise MalformedError("panel.queues", f"{TAKEN_FILE} is damaged: it says which policy files were taken in")
    return {name: str(digest) for name, digest in value.items()}
