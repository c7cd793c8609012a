"""Workflows: what a step costs above what it asks, and what executions cost that wait for people.

Everything that ``holdfast workflow run`` loads is loaded; gateway, data node and gate answer at once in this process,
so that what is left is the engine and its journal on this disk; a bare commit beside it says what of that is the disk.
Figures wanted: a step <= 5 ms at the median above the model and tool; 1,000 executions that sleep in < 200 MB, all of
the process counted. No peer: an engine that others run (Celery, Temporal) keeps its state in processes of its own.

``python bench/workflows.py --executions 10000`` puts more of them to sleep.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from figures import at_most, figure  # beside this file

from holdfast.adapters.clock_system import SystemClock
from holdfast.agents.runs import AgentRun, RecordedRun
from holdfast.agents.workflows.engine import Engine, Given, Progress, Waits
from holdfast.agents.workflows.journal import Journal
from holdfast.agents.workflows.service import Service
from holdfast.cli import workflow_running  # noqa: F401 - what the command loads counts
from holdfast.core.workflows.build import Workflow, case, value
from holdfast.core.workflows.definitions import Definition
from holdfast.core.workflows.moves import Cause

FACT = {"digest": "ab" * 32, "source": "rates", "value": {"type": "decimal", "text": "1", "unit": None}, "as_of": None}


class Outside:
    """Answers at once, and remembers nothing."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def _run(self) -> str:
        return f"00000000-0000-4000-8000-{next(self._numbers):012x}"

    async def open(self, *_: Any, **__: Any) -> AgentRun:
        return AgentRun(self._run(), "cc" * 32, "aa", "batch")

    async def step(self, *_: Any, **__: Any) -> RecordedRun:
        return RecordedRun(self._run(), "dd" * 32, {})

    async def close(self, agent: AgentRun, **_: Any) -> RecordedRun:
        return RecordedRun(agent.run, agent.capability, {})

    async def admit(self, *_: Any) -> Given:
        return Given(FACT, shown="x" * 3_000)

    async def infer(self, _step: Any, _question: Any, run: str, _facts: list[Any]) -> Given:
        return Given({"run": run, "text": "y" * 500, "value": None}, run=run, shown="ee" * 32)

    async def opened(self, *_: Any) -> None:
        return None

    async def closed(self, *_: Any) -> None:
        return None

    async def proposed(self, *_: Any) -> None:
        return None

    async def look(self, _agent: AgentRun, act: str, _capability: str) -> Waits:
        return Waits(act)

    async def withdraw(self, *_: Any) -> bool:
        return True


def definition() -> Definition:
    """A fact, an opinion, a decision, an act that waits for a day."""
    limits = {"concurrency": 10_000, "rate": {"executions": 1_000_000, "seconds": 1}}
    return (
        Workflow("bench", limits=limits)
        .tool("wire", "pay", "payments")
        .admission("price", "rates")
        .chat("advice", {"model": "m", "messages": [{"role": "user", "content": "z" * 200}]}, admissions=["price"])
        .cases("choice", case({"amount": value("price.value.text")}))
        .action("pay", "wire", {"amount": value("choice.result.amount")})
        .definition()
    )


def resident_mb() -> float:
    """What this process holds in memory now."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def commits(folder: Path) -> float:
    """Milliseconds of one commit (p50), as the journal makes them."""
    database = sqlite3.connect(folder / "bare.sqlite", isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=FULL"):
        database.execute(f"PRAGMA {pragma}")
    database.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, v TEXT)")
    found = []
    for number in range(300):
        began = time.perf_counter()
        database.execute("BEGIN IMMEDIATE")
        database.execute("INSERT INTO t VALUES (?, ?)", (number, "v" * 1_000))
        database.execute("COMMIT")
        found.append(time.perf_counter() - began)
    database.close()
    return statistics.median(found) * 1e3


async def sleepers(folder: Path, executions: int) -> None:
    """Put executions to sleep, and see what they cost."""
    journal, outside, clock, made = Journal(folder / "journal.sqlite"), Outside(), SystemClock(), definition()
    steps: list[float] = []
    busy: list[float] = []
    last = (0.0, 0.0)

    def watch(told: Progress) -> None:
        nonlocal last
        if told.step is not None and told.state == "asked":
            last = time.perf_counter(), time.process_time()
        elif told.step is not None:
            steps.append(time.perf_counter() - last[0])
            busy.append(time.process_time() - last[1])

    engine = Engine(journal, outside, outside, lambda _: outside, clock, owner="bench", watch=watch)
    service = Service(journal, engine, clock, [made], at_once=1, say=lambda _: None)
    start, before = service.starter(made), resident_mb()
    for number in range(executions):
        start(Cause("manual", f"{number:032x}", clock.now()))
    began = time.perf_counter()
    await service.run(until_idle=True, until_waiting=True)
    spent = time.perf_counter() - began
    asleep = resident_mb()
    figure(
        "a step, from its question to its answer written down (p50)", statistics.median(steps) * 1e3, "ms", at_most(5)
    )
    bare = commits(folder)
    figure("the same in processor time (p50)", statistics.median(busy) * 1e3, "ms")
    figure("a bare commit of SQLite on this disk (p50)", bare, "ms")
    figure("the step in bare commits", statistics.median(steps) * 1e3 / bare, "x")
    figure("executions that came to their act", executions / spent, "/s")
    figure("memory of the process before", before, "MB")
    task = asyncio.ensure_future(service.run())
    used, wall = time.process_time(), time.perf_counter()
    await asyncio.sleep(20)
    share = (time.process_time() - used) / (time.perf_counter() - wall)
    figure(f"memory with {executions:,} asleep, and looked at", max(asleep, resident_mb()), "MB", at_most(200))
    figure(f"processor while {executions:,} sleep", share * 100, "%")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    journal.close()


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--executions", type=int, default=1_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(sleepers(Path(folder), arguments.executions))


if __name__ == "__main__":
    main()
