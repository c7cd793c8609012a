"""The gateway over crashes at every write: nothing acknowledged is lost or doubled, and every run is closed once.

Acknowledged means that a mark or the terminal frame has left the process (``statement.md`` §4, ``parts.md`` §7).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from holdfast.core.statements import Execution, Route, Statement
from holdfast.errors import HoldfastError
from holdfast.nodes.gateway.ledger import Ledger
from holdfast.nodes.gateway.records import OPEN
from holdfast.ports.storage import Storage
from holdfast.ports.upstream import UpstreamAnswer, UpstreamProtocolError, UpstreamUnreachableError
from tests.helpers import crashes
from tests.helpers.clock import FakeClock
from tests.helpers.gateway import Assembled, MemoryLog, ask, assemble
from tests.helpers.upstreams import ScriptedUpstream, chat_chunks, chat_completion


@dataclass
class Promises:
    """What left the process, noted at the moment it left."""

    log: MemoryLog = field(default_factory=MemoryLog)
    marks: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Run to the last mark that left."""
    closed: dict[str, list[str]] = field(default_factory=dict)
    """Run to the statement digests that its terminal frame named."""
    called: set[str] = field(default_factory=set)
    """Questions that reached the upstream."""
    asked: dict[str, str] = field(default_factory=dict)
    """Question to its nonce."""
    turned: set[tuple[str, str]] = field(default_factory=set)
    """Questions and the upstreams that they reached."""

    def note(self, payload: bytes) -> None:
        holdfast = json.loads(payload).get("holdfast")
        if holdfast is None:
            return
        if "mark" in holdfast:
            self.marks[holdfast["run"]] = holdfast["mark"]
        if "statements" in holdfast:
            self.closed[holdfast["run"]] = [item["digest"] for item in holdfast["statements"]]

    def check(self, ledger: Ledger) -> None:
        """After recovery and delivery: the log holds each run's closure exactly once, and what was promised of it."""
        statements = self.log.statements()
        by_digest = {statement.digest: statement for statement in statements}
        assert len(by_digest) == len(statements), "a statement was logged twice"
        closing: dict[str, Statement] = {}
        routes: dict[str, int] = {}
        for statement in statements:
            if statement.kind == "route":
                routes[statement.run] = routes.get(statement.run, 0) + 1
            elif isinstance(statement.body, Execution) and statement.body.closing:
                assert statement.run not in closing, "a run was closed twice"
                closing[statement.run] = statement
                assert all(parent in by_digest for parent in statement.parents)
        assert all(count == 1 for count in routes.values())
        self.check_turned(statements)
        for run, digests in self.closed.items():
            assert set(digests) <= by_digest.keys(), f"the closing of {run} was acknowledged and is lost"
            assert closing[run].digest in digests
        for run, mark in self.marks.items():
            _check_mark(closing[run].body, mark)
        nonces = {item.record.header["nonce"] for item in ledger.replay() if item.kind == OPEN}
        for question in self.called:
            assert self.asked[question] in nonces, "the upstream was called before the run was durable"
        assert {statement.run for statement in closing.values()} == set(_opened(ledger)), "an opened run is not closed"

    def check_turned(self, statements: list[Statement]) -> None:
        """Every upstream that a question reached is named by its route, whatever became of the process."""
        told = {item.nonce: item.body for item in statements if isinstance(item.body, Route)}
        for question, upstream in self.turned:
            body = told[self.asked[question]]
            assert upstream in {attempt.upstream for attempt in body.attempts or ()}, (question, upstream)


def _check_mark(body: object, mark: dict[str, Any]) -> None:
    assert isinstance(body, Execution)
    assert body.marks is not None, "a mark was acknowledged and is lost"
    assert body.marks.seq >= mark["seq"]
    if body.marks.seq == mark["seq"]:
        assert body.marks.parts.hex() == mark["parts"]


def _opened(ledger: Ledger) -> list[str]:
    return [item.record.header["run"] for item in ledger.replay() if item.kind == OPEN]


class NotingUpstream(ScriptedUpstream):
    """Notes each question that reaches it."""

    def __init__(self, promises: Promises, name: str = "scripted") -> None:
        super().__init__(name=name)
        self.promises = promises

    def _note(self, body: bytes) -> None:
        question = json.loads(body)["messages"][-1]["content"]
        self.promises.called.add(question)
        self.promises.turned.add((question, self.name))

    async def complete(self, path: str, body: bytes, *, timeout_s: float) -> UpstreamAnswer:
        self._note(body)
        return await super().complete(path, body, timeout_s=timeout_s)

    def stream(self, path: str, body: bytes, *, timeout_s: float, idle_timeout_s: float) -> Any:
        self._note(body)
        return super().stream(path, body, timeout_s=timeout_s, idle_timeout_s=idle_timeout_s)


class Callers:
    """Callers that ask, some at once, some going away early; one story's worth."""

    def __init__(self, story: crashes.Story, promises: Promises) -> None:
        self._chance = story.chance
        self._promises = promises
        self._count = 0

    def upstream(self) -> NotingUpstream:
        found = NotingUpstream(self._promises)
        broken: list[Any] = [*chat_chunks()[:2], UpstreamProtocolError("cut")]
        unreached: list[Any] = [UpstreamUnreachableError("gone")]
        found.streams = [self._chance.choice(([*chat_chunks()], broken, unreached)) for _ in range(40)]
        answer = json.dumps(chat_completion()).encode()
        found.answers = [self._chance.choice((answer, UpstreamUnreachableError("gone"))) for _ in range(40)]
        return found

    def upstreams(self) -> tuple[list[NotingUpstream], dict[str, str]]:
        """One that fails now and then, one that takes its place, and the settings that say so."""
        return [self.upstream(), NotingUpstream(self._promises, "second")], {"scripted": "second"}

    async def one(self, parts: Assembled) -> None:
        self._count += 1
        question, nonce = f"question {self._count}", f"nonce-{self._count:010d}-abcdef"
        self._promises.asked[question] = nonce
        streamed = self._chance.random() < 0.6
        request = ask(question, stream=streamed, holdfast={"nonce": nonce})
        run = await parts.gateway.open(request, "tests")
        if not streamed:
            with contextlib.suppress(HoldfastError):  # nobody answered, or the disk is gone
                self._promises.note(await parts.gateway.answer(run))
            return
        leave_after = self._chance.choice((1, 2, 100, 100, 100))
        events = parts.gateway.stream(run)
        try:
            async for payload in events:
                self._promises.note(payload)
                leave_after -= 1
                if leave_after == 0:
                    break
        except HoldfastError:
            return
        finally:
            await events.aclose()  # type: ignore[attr-defined]

    async def work(self, parts: Assembled) -> None:
        for _ in range(self._chance.randint(1, 5)):
            await asyncio.gather(*(self.one(parts) for _ in range(self._chance.randint(1, 4))))
            if self._chance.random() < 0.4:
                await parts.deliver()


@pytest.mark.parametrize("seed", crashes.seeds())
def test_no_acknowledged_mark_or_answer_is_lost_and_every_run_is_closed_once(seed: int) -> None:
    story, promises = crashes.Story(seed), Promises()
    callers = Callers(story, promises)

    def start(storage: Storage, number: int) -> Assembled:
        upstreams, fallbacks = callers.upstreams()
        return assemble(
            storage,
            promises.log,
            upstreams,
            FakeClock(),
            seed=seed * 10 + number,
            segment_bytes=8192,
            fallbacks=fallbacks,
        )

    def life(number: int) -> crashes.Life:
        async def lived(storage: Storage) -> None:
            parts = start(storage, number)
            await parts.start()
            await callers.work(parts)

        return lived

    async def last(storage: Storage) -> None:
        parts = start(storage, 9)
        await parts.start()
        await callers.work(parts)
        await parts.deliver()
        promises.check(parts.ledger)
        await parts.indexer.close()

    cut_short = [story.live(life(number)) for number in range(3)]
    while not any(cut_short) and len(cut_short) < 20:
        cut_short.append(story.live(life(len(cut_short))))
    story.live(last, crash=False)
    assert any(cut_short), "no life ended in its middle: the schedule showed nothing"


@pytest.mark.parametrize("kind", ["power", "kill"])
def test_a_crash_at_every_single_write_of_one_life(kind: crashes.CrashKind) -> None:
    """One fixed life, cut at its first, second, … write until it is not cut any more; few schedules take steps."""
    step = crashes.stride(120)
    at, cuts = 1, 0
    while True:
        story, promises = crashes.Story(at), Promises()
        cut_short = story.live(_fixed_life(promises), at=at, kind=kind)
        story.live(_checking_life(promises), crash=False)
        if not cut_short:
            break
        at, cuts = at + step, cuts + 1
    assert at > 40, "the life has fewer writes than answers, marks, ends and their delivery need"
    assert cuts == (at - 1) // step
    assert promises.marks
    assert promises.closed


def _fixed_life(promises: Promises) -> crashes.Life:
    """Whole answers and streams: to their end, broken upstream, left by the caller; delivered in between."""

    async def life(storage: Storage) -> None:
        upstream = NotingUpstream(promises)
        upstream.streams = [[*chat_chunks()], [*chat_chunks()[:2], UpstreamProtocolError("cut")], [*chat_chunks()]]
        parts = assemble(storage, promises.log, [upstream], FakeClock(), seed=1, segment_bytes=8192)
        await parts.start()
        try:
            await talk(parts)
        except HoldfastError as error:
            assert error.code == "wal.stopped"  # noqa: PT017

    async def talk(parts: Assembled) -> None:
        for number, leave_after in enumerate((0, 100, 100, 2, 0)):
            question, nonce = f"question {number}", f"nonce-{number:010d}-abcdef"
            promises.asked[question] = nonce
            run = await parts.gateway.open(ask(question, stream=leave_after > 0, holdfast={"nonce": nonce}), "tests")
            if leave_after == 0:
                promises.note(await parts.gateway.answer(run))
            else:
                await _read(parts, run, promises, leave_after)
            await parts.deliver()

    return life


async def _read(parts: Assembled, run: Any, promises: Promises, leave_after: int) -> None:
    events = parts.gateway.stream(run)
    try:
        async for payload in events:
            promises.note(payload)
            leave_after -= 1
            if leave_after == 0:
                break
    except HoldfastError as error:
        if error.code != "upstream.protocol":
            raise
    finally:
        await events.aclose()  # type: ignore[attr-defined]


def _checking_life(promises: Promises) -> crashes.Life:
    async def life(storage: Storage) -> None:
        parts = assemble(storage, promises.log, [NotingUpstream(promises)], FakeClock(), seed=2, segment_bytes=8192)
        await parts.start()
        await parts.deliver()
        promises.check(parts.ledger)
        await parts.indexer.close()

    return life


@pytest.mark.parametrize("seed", range(8))
def test_a_disk_that_fails_stops_the_gateway_and_costs_nothing_acknowledged(seed: int) -> None:
    story, promises = crashes.Story(seed), Promises()
    callers = Callers(story, promises)

    async def failing(storage: Storage) -> None:
        parts = assemble(storage, promises.log, [callers.upstream()], FakeClock(), seed=seed)
        await parts.start()
        story.disk.fail_after(story.chance.randint(1, 30))
        try:
            await callers.work(parts)
        except HoldfastError as error:
            assert error.code in {"wal.stopped", "storage.failed"}  # noqa: PT017

    async def last(storage: Storage) -> None:
        parts = assemble(storage, promises.log, [callers.upstream()], FakeClock(), seed=seed + 100)
        await parts.start()
        await parts.deliver()
        promises.check(parts.ledger)
        await parts.indexer.close()

    story.live(failing)
    story.live(last, crash=False)
