"""What is outside of a workflow's engine, scripted: a gateway that keeps idempotency keys, data nodes, models, a gate.

Everything may *break* at a count: :class:`Fuse` ends a life between any two lines, before or after what a call did. The
:class:`Outside` outlives it, as a gateway and a panel do.
"""

from __future__ import annotations

import copy
import datetime as dt
import itertools
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from holdfast.agents.runs import AgentRun, RecordedRun
from holdfast.agents.workflows.engine import Came, Engine, Given, Refused, Waits
from holdfast.agents.workflows.journal import Journal
from holdfast.core.workflows.build import Workflow, case, value
from holdfast.core.workflows.definitions import Definition
from holdfast.core.workflows.moves import Cause
from holdfast.errors import RefusedError, UnavailableError, UsageError
from tests.helpers.clock import START, FakeClock

CAUSE = Cause("manual", "00", START, {"limit": "5"})


class Died(BaseException):
    """The process ends here."""


class Fuse:
    """Ends a life at its n-th breath; None burns for ever."""

    def __init__(self, at: int | None = None) -> None:
        self.at = at
        self.breaths = 0

    def breathe(self) -> None:
        self.breaths += 1
        if self.at is not None and self.breaths >= self.at:
            raise Died


class FusedJournal:
    """A journal whose process may end before and after each write."""

    _WRITES = (
        "start",
        "begin",
        "opened",
        "begun",
        "write",
        "sleep",
        "stumble",
        "closing",
        "ended",
        "move_cursor",
        "lease",
    )

    def __init__(self, journal: Journal, fuse: Fuse) -> None:
        self._journal = journal
        self._fuse = fuse

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._journal, name)
        if name not in self._WRITES:
            return found

        def fused(*arguments: Any, **options: Any) -> Any:
            self._fuse.breathe()
            made = found(*arguments, **options)
            self._fuse.breathe()
            return made

        return fused


class Outside:
    """A gateway, data nodes, models and a gate: what they were asked, and what they say."""

    def __init__(self) -> None:
        self.fuse = Fuse()
        self.asked: list[str] = []
        """Names of steps that were asked of data nodes and models, in order."""
        self.children: list[dict[str, Any]] = []
        """What the gateway has, in order: bodies of steps."""
        self.opened = 0
        self.closed: list[dict[str, Any]] = []
        self.gate: dict[str, Any] = {}
        """By act: what :meth:`look` finds. Nothing: it waits."""
        self.begun: set[str] = set()
        """Acts that an executor has begun to carry out."""
        self.amended: dict[str, str] = {}
        """Acts in whose place a person proposed another, and the other."""
        self.withdrawn: list[str] = []
        self.recorded: Counter[str] = Counter()
        """Agent runs that an executor knows of."""
        self.proposed: Counter[str] = Counter()
        """Acts that it knows of."""
        self.silent = 0
        """So many calls of the gateway go unanswered, after they did what they do."""
        self.most_steps = 1_000
        self.answers: dict[str, Any] = {}
        """By step: what it gives, or an error, or a list of these that is used up."""
        self._kept: dict[str, tuple[str, Any]] = {}
        self._numbers = itertools.count(1)

    # A gateway

    async def open(self, agent: Mapping[str, Any], *, idempotency_key: str | None = None) -> AgentRun:
        def make() -> AgentRun:
            self.opened += 1
            return AgentRun(self._run(), "cc" * 32, "aa", "batch")

        return self._once(idempotency_key, dict(agent), make)

    async def step(
        self, agent: AgentRun, body: Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> RecordedRun:
        def make() -> RecordedRun:
            if len(self.children) >= self.most_steps:
                raise RefusedError("agent.steps", "this agent run has as many children as it may", status=429)
            self.children.append(copy.deepcopy(dict(body)))
            return RecordedRun(self._run(), "dd" * 32, {}, "payments")

        return self._once(idempotency_key, {"agent": agent.run, **body}, make)

    async def close(
        self,
        agent: AgentRun,
        *,
        result: Any = None,
        error: str | None = None,
        idempotency_key: str | None = None,
    ) -> RecordedRun:
        told = {"result": result} if error is None else {"error": error}

        def make() -> RecordedRun:
            self.closed.append(told)
            return RecordedRun(agent.run, agent.capability, {})

        return self._once(idempotency_key, told, make)

    def _once(self, key: str | None, asked: Any, make: Any) -> Any:
        self.fuse.breathe()
        assert key is not None
        text = json.dumps(asked, sort_keys=True, default=str)
        if key not in self._kept:
            self._kept[key] = (text, make())
        elif self._kept[key][0] != text:
            raise UsageError("agent.key", "something else was asked under this idempotency key", status=422)
        self.fuse.breathe()
        if self.silent:
            self.silent -= 1
            raise UnavailableError("http.unreachable", "no whole answer came")
        return self._kept[key][1]

    def _run(self) -> str:
        return f"00000000-0000-4000-8000-{next(self._numbers):012x}"

    # Data nodes and models

    async def admit(self, step: Any, question: Any) -> Given:
        value_ = {"type": "decimal", "text": "1", "unit": None}
        output = {"digest": "ab" * 32, "source": question["source"], "value": value_, "as_of": None}
        return self._answer(step.name, Given(output, shown='{"shown":"admission"}'))

    async def infer(self, step: Any, question: Any, run: str, facts: list[Any]) -> Given:
        assert run
        output = {"run": self._run(), "text": "pay", "value": len(facts)}
        return self._answer(step.name, Given(output, run=output["run"], shown="ee" * 32))

    def _answer(self, name: str, usual: Given) -> Given:
        self.fuse.breathe()
        self.asked.append(name)
        said = self.answers.get(name, usual)
        if isinstance(said, list):
            said = said.pop(0) if said else usual
        self.fuse.breathe()
        if isinstance(said, Exception):
            raise said
        return said

    # For tests

    def acts(self) -> list[dict[str, Any]]:
        """The acts that were proposed."""
        return [child for child in self.children if child["tool"] == "wire"]

    def told(self, tool: str) -> list[dict[str, Any]]:
        """The steps of a tool."""
        return [child for child in self.children if child["tool"] == tool]


class Gate:
    """What becomes of acts, as an :class:`Outside` says."""

    def __init__(self, outside: Outside) -> None:
        self._outside = outside

    async def opened(self, agent: AgentRun, plan: Mapping[str, Any]) -> None:
        self._outside.fuse.breathe()
        self._outside.recorded[agent.run] += 1
        assert plan["tools"]

    async def closed(self, agent: AgentRun) -> None:
        self._outside.fuse.breathe()
        assert agent.run in self._outside.recorded

    async def proposed(self, agent: AgentRun, act: RecordedRun, tool: str, arguments: Mapping[str, Any]) -> None:
        self._outside.fuse.breathe()
        assert agent.run in self._outside.recorded
        self._outside.proposed[act.run] += 1

    async def look(self, agent: AgentRun, act: str, capability: str) -> Waits | Came | Refused:
        self._outside.fuse.breathe()
        found = self._outside.gate.get(act, Waits(self._outside.amended.get(act, act)))
        if isinstance(found, Exception):
            raise found
        return found

    async def withdraw(self, agent: AgentRun, act: str, capability: str, why: str) -> bool:
        self._outside.fuse.breathe()
        if act in self._outside.begun or act in self._outside.amended:
            return False
        if act not in self._outside.withdrawn:
            self._outside.withdrawn.append(act)
        return True


def reserve(**changes: Any) -> Definition:
    """A fact, an opinion, a decision, an act."""
    below = {"value": "$.price.value.text", "type": "decimal", "maximum": "2"}
    members = {"retry": {"attempts": 3, "first_s": 1, "longest_s": 4}, "result": value("pay.result"), **changes}
    return (
        Workflow("reserve", **members)
        .tool("wire", "pay", "payments")
        .admission("price", "rates", parameters={"limit": value("trigger.data.limit")})
        .chat("advice", {"model": "m", "messages": []}, admissions=["price"])
        .cases("choice", case({"amount": "5", "pay": True}, below), case({"pay": False}))
        .action("pay", "wire", {"amount": value("choice.result.amount")}, condition="$.choice.result.pay", seconds=100)
        .definition()
    )


def engine_of(journal: Any, outside: Outside, clock: FakeClock, owner: str = "one", watch: Any = None) -> Engine:
    return Engine(journal, outside, outside, lambda _: Gate(outside), clock, owner=owner, watch=watch)


def started(
    journal: Journal, definition: Definition, *, cause: Cause = CAUSE, dry: bool = False, now: dt.datetime = START
) -> str:
    """An execution that has begun."""
    made, _ = journal.start(definition, cause, dry=dry, now=now)
    journal.begin(definition, now)
    return made
