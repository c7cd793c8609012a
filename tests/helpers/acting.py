"""A panel, a gateway and receivers around executors, in one process: they keep their own rules strictly, answer or lose
their answers, and die with the executor at any point.

An :class:`ActingWorld` outlives executors. Each question and each effect is two *points*, before and after it: at each
the life may end (it counts as an operation of the disk), the answer may be lost, and people may take cases back.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from holdfast.adapters.storage_simulated import SimulatedDisk
from holdfast.agents.act_checks import HandedAct, KnownAct
from holdfast.agents.act_journal import ActJournal
from holdfast.agents.acting import Executor, Tooling
from holdfast.agents.record import ProposedAct
from holdfast.agents.runs import AgentRun, RecordedRun
from holdfast.agents.tool import Act, Fate, Happened, ToolError
from holdfast.core.agents import Tool
from holdfast.errors import ConflictError, RefusedError, UnavailableError, UsageError
from holdfast.ports.storage import Storage
from holdfast.verifier.acts import VerifiedAct
from tests.helpers.chains import ManualClock

LEASE_S = 60
AGENT = "01890000-0000-7000-8000-00000000aaaa"
LET_THROUGH = ("CLEAR", "PROVISIONAL")


def run_of(number: int) -> str:
    """The run of the act with this number."""
    return f"01890000-0000-7000-8000-{number:012x}"


@dataclass
class ActCase:
    """One act's case, as it really is."""

    run: str
    tool: str
    state: str = "CLEAR"
    ours: bool = True
    """Whether our agent proposed it, or the one with which it began."""
    first: str | None = None
    """Of an amended act, the one with which it began."""
    consumer: str | None = None
    until: float = 0.0
    over: bool = False

    @property
    def let_through(self) -> bool:
        return self.state in LET_THROUGH

    @property
    def may_be_done(self) -> bool:
        """Whether the gate lets an executor carry it out: what was amended, on CLEAR alone."""
        return self.state == "CLEAR" if self.first else self.let_through

    @property
    def queue(self) -> str:
        return f"queue-{self.tool}"

    @property
    def key(self) -> str:
        return f"key-{self.run}"


@dataclass
class Receiver:
    """What is outside: counts what it did for each act, and remembers the bytes it was sent."""

    tool: str
    effects: Counter[str] = field(default_factory=Counter)
    sent: dict[str, set[bytes]] = field(default_factory=dict)


class ActingWorld:
    """See the module. ``chance`` decides what happens; a world without it does nothing by itself."""

    def __init__(self, acts: list[ActCase], chance: random.Random | None = None, *, lies: bool = False) -> None:
        self.cases = {case.run: case for case in acts}
        self.chance = chance
        self.clock = ManualClock()
        self.closed = False
        """Whether the agent run is closed."""
        self.lies = lies
        """Whether the panel hands out what it must not."""
        self.forgets = False
        """Whether the gateway lets what is reserved or replaced be reserved again."""
        self.replaced: dict[str, str] = {}
        """Acts in whose place another was proposed, and the other."""
        self.reserved: dict[str, str] = {}
        self.outcomes: dict[str, dict[str, Any]] = {}
        self.told: dict[str, str] = {}
        """Run of each step by its idempotency key."""
        self.receivers = {tool: Receiver(tool) for tool in ("keyed", "blind", "bytes")}
        self.said: list[str] = []
        self.window: set[str] = set()
        """Acts between the last look and what they do: a span in which nobody can be seen to take them back."""
        self.broken: list[str] = []
        """What happened that must not: kept here, since whoever carries out catches what its tool raises."""

    def change(self) -> None:
        """People decide something, time goes on."""
        if self.chance is None:
            return
        what, case = self.chance.random(), self.chance.choice(list(self.cases.values()))
        if what < 0.04 and case.let_through and case.run not in self.window:
            case.state = self.chance.choice(("RECALLED", "HOLD"))
        elif what < 0.08 and case.state == "HOLD" and case.run not in self.effects():
            case.state = self.chance.choice(("CLEAR", "PROVISIONAL", "REJECTED"))
        elif what < 0.11:
            self.closed = True
        elif what < 0.3:
            self.clock.time += self.chance.choice((1, 10, LEASE_S + 1))
        elif what < 0.35:
            self.amend(case, self.chance.choice(("HOLD", "CLEAR", "CLEAR", "PROVISIONAL")))

    def amend(self, case: ActCase, state: str) -> ActCase | None:
        """Somebody denies an act and proposes another in its place, where panel and gateway let them."""
        if case.state in ("RECALLED", "REJECTED") or case.over or self.closed or case.run in self.window:
            return None
        case.state = "REJECTED"
        if case.run in self.reserved or case.run in self.outcomes or case.run in self.replaced:
            return None
        other = ActCase(run_of(1_000 + len(self.replaced)), case.tool, state, case.ours, case.first or case.run)
        self.replaced[case.run], self.cases[other.run] = other.run, other
        return other

    def begun_with(self, run: str) -> str:
        """The act with which an act began."""
        return self.cases[run].first or run

    def effects(self) -> dict[str, int]:
        """How often each act really happened."""
        found: Counter[str] = Counter()
        for receiver in self.receivers.values():
            found += receiver.effects
        return dict(found)

    def calm(self) -> None:
        """From here on nothing happens by itself, and the panel tells the truth."""
        self.chance, self.lies = None, False


class Wire:
    """One executor's way to everybody, in one life."""

    def __init__(self, world: ActingWorld, disk: SimulatedDisk) -> None:
        self.world = world
        self._disk = disk
        self._life = disk._life

    async def point(self, *, change: bool = True) -> None:
        """A point at which the life may end and others may act."""
        await asyncio.sleep(0)
        if self._disk.operation(self._life):
            raise self._disk.end_life()
        if change:
            self.world.change()

    async def answer(self) -> None:
        """The way back: the answer may be lost."""
        await self.point()
        if self.world.chance is not None and self.world.chance.random() < 0.05:
            raise UnavailableError("http.unreachable", "no whole answer came")


class FakePanel(Wire):
    """Hands out as ``case.md`` §5 says, or lies."""

    async def next(self, queue: str, consumer: str, *, include_hold: bool, lease_s: int | None) -> dict[str, Any]:
        del include_hold
        await self.point()
        now = self.world.clock.time
        waiting = [case for case in self.world.cases.values() if case.queue == queue]
        if self.world.lies and self.world.chance is not None and self.world.chance.random() < 0.3:
            found = self.world.chance.choice(waiting) if waiting else None
        else:
            free = (case for case in waiting if case.let_through and not case.over and case.until <= now)
            found = next(free, None)
        if found is not None and (found.let_through or not self.world.lies):
            found.consumer, found.until = consumer, now + (lease_s or LEASE_S)
        await self.answer()
        if found is None:
            return {"handed": None}
        until = dt.datetime.fromtimestamp(now + (lease_s or LEASE_S), dt.UTC)
        stamp = until.strftime("%Y-%m-%dT%H:%M:%S.000Z")
        row = {"id": f"case-{found.run}", "run": found.run}
        handed = {"case": row, "consumer": consumer, "key": found.key, "until": stamp, "capability": "ab" * 32}
        return {"handed": handed}

    async def case(self, case: str) -> dict[str, Any]:
        await self.point()
        return {"state": self.world.cases[case.removeprefix("case-")].state}

    async def bundle(self, run: str) -> bytes:
        raise NotImplementedError

    async def cases(self, states: Sequence[str] = (), **query: str | int | None) -> dict[str, Any]:
        raise NotImplementedError

    async def end_lease(self, case: str, act: str, consumer: str, key: str) -> dict[str, Any]:
        await self.point()
        found = self.world.cases[case.removeprefix("case-")]
        if found.consumer != consumer or found.key != key:
            raise ConflictError("case.lease", f"{consumer} does not hold this case")
        if act == "done":
            found.over = True
        else:
            found.until = 0.0
        await self.answer()
        return {"state": found.state}


class FakeChecks(Wire):
    """Finds out what is so: the truth of the world, as the real checks do by evidence."""

    def __init__(self, world: ActingWorld, disk: SimulatedDisk, consumer: str) -> None:
        super().__init__(world, disk)
        self._consumer = consumer

    async def known(self, handed: HandedAct) -> KnownAct:
        await self.point()
        case = self.world.cases[handed.run]
        if not case.ours:
            raise RefusedError("act.unknown", "the agent's own record has no such act")
        first = self.world.begun_with(case.run)
        own = ProposedAct(first, f"capability-{first}", AGENT, "digest")
        return KnownAct(case.run, f"capability-{case.run}", own)

    def agent_capability(self, agent: str) -> str | None:
        return f"capability-{agent}"

    async def check(self, handed: HandedAct) -> VerifiedAct:
        await self.point()
        case = self.world.cases[handed.run]
        self._gate(case)
        return VerifiedAct(case.run, AGENT, Tool(case.tool, "send", case.queue), {"to": case.run}, "digest")

    async def held(self, handed: HandedAct, *, begun: bool = False) -> None:
        await self.point()
        case = self.world.cases[handed.run]
        if not begun and (case.consumer != self._consumer or case.until < self.world.clock.time + 5):
            raise RefusedError("act.lease", "the hand-out is over")
        self._gate(case)
        self.world.window.add(case.run)

    @staticmethod
    def _gate(case: ActCase) -> None:
        if case.state in ("RECALLED", "REJECTED"):
            raise RefusedError("act.recalled", f"it is {case.state}")
        if not case.may_be_done:
            raise RefusedError("act.held", f"it is {case.state}")


class FakeSteps(Wire):
    """The gateway's part: each reservation and outcome once, the same key again is answered as before."""

    async def step(
        self, agent: AgentRun, body: Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> RecordedRun:
        await self.point()
        world, act, key = self.world, str(body["of"]), f"{agent.run}/{idempotency_key}"
        if key not in world.told:
            if agent.run == AGENT and world.closed:
                raise UsageError("agent.closed", "this agent run is closed", status=409)
            if act in world.outcomes:
                raise UsageError("agent.outcome", "it was told already", status=409)
            if body["kind"] == "reserved":
                if act in world.replaced and not world.forgets:
                    raise UsageError("agent.replaced", "another stands in its place", status=409)
                if act in world.reserved and not world.forgets:
                    raise UsageError("agent.reserved", "somebody has taken it on", status=409)
                world.reserved[act] = key
            else:
                world.outcomes[act] = {name: body[name] for name in ("result", "error") if name in body}
            world.told[key] = f"step-{len(world.told)}"
        await self.answer()
        return RecordedRun(world.told[key], "capability", {})


class FakeTool(Wire):
    """A tool of one of three kinds. ``keyed``: its receiver knows a key. ``blind``: nobody can tell afterwards.
    ``bytes``: the same bytes do nothing twice, and can be found."""

    description, parameters, effect = "", {}, "send"

    def __init__(self, world: ActingWorld, disk: SimulatedDisk, kind: str) -> None:
        super().__init__(world, disk)
        self.name = kind
        self.spends = f"account of {kind}"
        self._receiver = world.receivers[kind]

    async def prepare(self, act: Act) -> bytes:
        await self.point()
        chance = self.world.chance
        if chance is not None and chance.random() < 0.03:
            raise UnavailableError("chain.unreachable", "no answer")
        drawn = chance.randrange(10**9) if chance is not None else 0
        return f"{act.run}/{drawn}".encode()

    async def carry_out(self, act: Act, prepared: bytes) -> Any:
        try:
            await self.point(change=False)
            chance = self.world.chance
            if chance is not None and chance.random() < 0.05:
                raise ToolError("the receiver refused")
            if chance is not None and chance.random() < 0.05:
                raise UnavailableError("http.unreachable", "it never got there")
            self._arrive(act.run, prepared)
        finally:
            self.world.window.discard(act.run)
        await self.answer()
        return {"done": act.run}

    def _arrive(self, run: str, prepared: bytes) -> None:
        case = self.world.cases[run]
        if not case.may_be_done or not case.ours:
            self.world.broken.append(f"{run} was carried out while it was {case.state}, ours: {case.ours}")
        if run in self.world.replaced and not self.world.forgets:
            self.world.broken.append(f"{run} was carried out, and {self.world.replaced[run]} stands in its place")
        seen = self._receiver.sent.setdefault(run, set())
        if self.name == "blind" or not seen:
            self._receiver.effects[run] += 1
        seen.add(prepared)
        if len(seen) > 1:
            self.world.broken.append(f"{run} was sent as two different things")

    async def look(self, act: Act, prepared: bytes) -> Happened | Fate:
        await self.point()
        seen = prepared in self._receiver.sent.get(act.run, set())
        if self.name == "blind":
            return Fate.UNKNOWN
        if self.name == "bytes":
            return Happened({"done": act.run}) if seen else Fate.NOT_YET
        return Fate.NOT_YET


@dataclass
class Running:
    """An executor in one life, with its journal."""

    executor: Executor
    journal: ActJournal


def start(
    world: ActingWorld, disk: SimulatedDisk, storage: Storage, consumer: str = "first", *, at_once: int = 3
) -> Running:
    """An executor on this storage, alone or beside others that live as long."""
    journal = ActJournal(storage, lambda size: consumer.encode().ljust(size, b"-")[:size])
    tools = {kind: Tooling(FakeTool(world, disk, kind), f"queue-{kind}") for kind in world.receivers}
    executor = Executor(
        FakePanel(world, disk),
        FakeSteps(world, disk),  # type: ignore[arg-type] - it has what an executor asks of it
        FakeChecks(world, disk, consumer),
        journal,
        tools,
        world.clock,
        consumer=consumer,
        lease_s=LEASE_S,
        at_once=at_once,
        tell=lambda told: world.said.append(f"{consumer} {told.act} {told.word} {told.says}"),
    )
    return Running(executor, journal)
