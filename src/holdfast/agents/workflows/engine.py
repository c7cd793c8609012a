"""Moves one execution on until it sleeps or ends (``spec/workflows.md`` §7).

What to do next is ``core.workflows.moves``' to say; here it is done, and what came of it written down before anything
else is. So an execution can be stopped between any two lines: another engine over the same journal goes on where this
one was. What is told to the gateway is told under a key of the execution and the step, and is told once.

A gateway that is silent stops an execution and fails none: it is asked again, less and less often, until it answers.

Not covered: when an execution is due (``service``), asking data nodes and models (``asking``), what becomes of an act
(``acts``).
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from holdfast.agents.runs import AgentRun, RecordedRun
from holdfast.agents.workflows.journal import Journal
from holdfast.core.workflows import moves
from holdfast.core.workflows.definitions import (
    ActionStep,
    AdmissionStep,
    Definition,
    InferenceStep,
    RuleStep,
    Step,
)
from holdfast.core.workflows.moves import Ask, End, Look, Move, Open, Record, Sleep, Snapshot, Tell, Write
from holdfast.errors import HoldfastError, UnavailableError
from holdfast.ports.clock import Clock

_LOG = logging.getLogger(__name__)
LEASE_S = 120
"""How long an execution is held at first, and beyond what a longer step may take."""
_MARGIN_S = 45
"""What is left of a lease while something is asked, beside the step's own seconds: calls of the gateway take 30."""
_PAUSES_S = (1, 2, 5, 10, 30, 60)
"""Between tries to reach a gateway that is silent."""
_BUSY = (429, 500, 502, 503, 504)
"""Statuses of what may be asked again."""
OPENING, FIRST, CLOSING = 0, 1, 2
"""Attempts in the keys of what belongs to no step (§7(2))."""


class Runs(Protocol):
    """Agent runs at a gateway (``agents.runs.AgentRuns``)."""

    async def open(self, agent: Mapping[str, Any], *, idempotency_key: str | None = None) -> AgentRun: ...

    async def step(
        self, agent: AgentRun, body: Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> RecordedRun: ...

    async def close(
        self,
        agent: AgentRun,
        *,
        result: Any = None,
        error: str | None = None,
        idempotency_key: str | None = None,
    ) -> RecordedRun: ...


@dataclass(frozen=True, slots=True)
class Given:
    """What an attempt gave: the output, and what only the journal keeps."""

    output: Any
    run: str | None = None
    shown: str | None = None


class Asker(Protocol):
    """Asks data nodes and models. Raises what the other end answers, or why there was no answer."""

    async def admit(self, step: AdmissionStep, question: Any) -> Given: ...

    async def infer(self, step: InferenceStep, question: Any, run: str, facts: list[Any]) -> Given:
        """``facts`` are the presented admissions whose blocks go before the model."""
        ...


@dataclass(frozen=True, slots=True)
class Waits:
    """Nothing came of an act yet. ``run`` is the act that is waited for: another one where it was amended."""

    run: str


@dataclass(frozen=True, slots=True)
class Came:
    """What came of an act: exactly one of a result and an error."""

    run: str
    result: Any = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """An act that will not be carried out, and why: ``workflow.act_…``."""

    code: str
    says: str


class Acts(Protocol):
    """What becomes of acts. Raises where nobody could be asked."""

    async def opened(self, agent: AgentRun, plan: Mapping[str, Any]) -> None:
        """An agent run is open; ``plan`` is the member ``agent`` of its request. Told again where that is not
        certain, as the other two are."""
        ...

    async def closed(self, agent: AgentRun) -> None:
        """An agent run is closed."""
        ...

    async def proposed(self, agent: AgentRun, act: RecordedRun, tool: str, arguments: Mapping[str, Any]) -> None:
        """An act is proposed."""
        ...

    async def look(self, agent: AgentRun, act: str, capability: str) -> Waits | Came | Refused:
        """How an act stands; ``capability`` is empty where it is not ours."""
        ...

    async def withdraw(self, agent: AgentRun, act: str, capability: str, why: str) -> bool:
        """Whether nobody can carry the act out any more; False where somebody has begun to."""
        ...


@dataclass(frozen=True, slots=True)
class Progress:
    """Something happened to an execution, for people who look."""

    execution: str
    workflow: str
    step: str | None
    state: str
    says: str = ""


class _LostError(Exception):
    """Another process moves the execution now."""


class Engine:
    """One journal, one gateway. ``acts_of`` says what becomes of the acts of a workflow, by its name; ``owner`` names
    this process in leases."""

    def __init__(
        self,
        journal: Journal,
        runs: Runs,
        asker: Asker,
        acts_of: Callable[[str], Acts],
        clock: Clock,
        *,
        owner: str,
        watch: Callable[[Progress], None] | None = None,
    ) -> None:
        self._journal = journal
        self._runs = runs
        self._asker = asker
        self._acts_of = acts_of
        self._clock = clock
        self._owner = owner
        self._watch = watch or _nobody

    async def advance(self, execution: str) -> dt.datetime | None:
        """Move an execution on as far as it goes now. When it has something to do again; None where it ended, or
        another engine moves it."""
        now = self._clock.now()
        until = now + dt.timedelta(seconds=LEASE_S)
        if not self._journal.lease(execution, self._owner, now, until):
            return None
        try:
            return await self._move_on(execution, until)
        except _LostError:
            return None
        except HoldfastError as error:
            return self._stumble(execution, error)
        finally:
            self._journal.release(execution, self._owner)

    async def _move_on(self, execution: str, held: dt.datetime) -> dt.datetime | None:
        while True:
            ending = self._journal.ending(execution)
            definition, known = self._journal.load(execution)
            if ending is not None:
                await self._close(definition, known, ending)
                return None
            now = self._clock.now()
            move = moves.next_move(definition, known, now)
            if isinstance(move, Sleep):
                self._journal.sleep(execution, move.until, self._owner)
                return move.until
            if isinstance(move, End) and await self._held_by_act(definition, known, move):
                continue
            held = self._hold(execution, move, now, held)
            await self._do(definition, known, move)

    def _hold(self, execution: str, move: Move, now: dt.datetime, held: dt.datetime) -> dt.datetime:
        """Keep the lease for longer where the move may take longer than it lasts; until when it is held."""
        seconds = move.step.seconds if isinstance(move, Ask) and not isinstance(move.step, ActionStep) else 0
        needed = now + dt.timedelta(seconds=seconds + _MARGIN_S)
        if needed <= held:
            return held
        until = needed + dt.timedelta(seconds=LEASE_S)
        if not self._journal.lease(execution, self._owner, now, until):
            raise _LostError
        return until

    async def _do(self, definition: Definition, known: Snapshot, move: Move) -> None:
        match move:
            case Open():
                await self._open(definition, known)
            case Ask():
                if move.fresh and not isinstance(move.step, RuleStep):  # a rule asks nobody
                    self._write_down(known.id, move.step.name, move.record)
                await self._ask(definition, known, move.step, move.record)
            case Tell():
                await self._tell(known, move.step, move.record)
            case Write():
                await self._write(definition, known, move.step, move.record)
            case Look():
                await self._look(definition, known, move.step, move.record)
            case End():
                self._decide_end(known.id, move)
            case Sleep():
                self._journal.sleep(known.id, move.until, self._owner)

    def _write_down(self, execution: str, step: str, record: Record) -> None:
        """Raises :class:`_LostError` where another process moves the execution by now: what it wrote stands."""
        if not self._journal.write(execution, step, record, self._owner):
            raise _LostError

    def _decide_end(self, execution: str, end: End) -> None:
        """As :meth:`_write_down`."""
        if not self._journal.closing(execution, end, self._owner):
            raise _LostError

    # Beginning and ending

    def _agent(self, known: Snapshot) -> AgentRun:
        return AgentRun(known.run or "", self._journal.capability(known.id), "", "")

    async def _open(self, definition: Definition, known: Snapshot) -> None:
        if known.run is None:
            key = moves.key_of(known.id, "", OPENING)
            agent: Any = definition.agent()["agent"]
            try:
                opened = await self._runs.open(agent, idempotency_key=key)
            except HoldfastError as error:
                if _silent(error):
                    raise
                self._over(definition, known, End(code=error.code, says=error.message))
                return
            await self._acts_of(definition.name).opened(opened, agent)
            self._journal.opened(known.id, opened.run, opened.capability)
            self._say(definition, known, None, "open", f"agent run {opened.run}")
            return
        key = moves.key_of(known.id, "", FIRST)
        try:
            await self._runs.step(self._agent(known), moves.opening(definition, known), idempotency_key=key)
        except HoldfastError as error:
            if _silent(error):
                raise
            self._decide_end(known.id, End(code=error.code, says=error.message))
            return
        self._journal.begun(known.id)

    async def _close(self, definition: Definition, known: Snapshot, end: End) -> None:
        if known.run is not None:
            key = moves.key_of(known.id, "", CLOSING)
            told = moves.closing(definition, known, end)
            try:
                await self._runs.close(
                    self._agent(known), result=told.get("result"), error=told.get("error"), idempotency_key=key
                )
            except HoldfastError as error:
                if _silent(error) or error.code == "agent.open":
                    raise  # a turn of a process that died is open until its gateway notices
                _LOG.warning("execution %s could not be closed: %s", known.id[:16], error)
            await self._acts_of(definition.name).closed(self._agent(known))
        self._over(definition, known, end)

    def _over(self, definition: Definition, known: Snapshot, end: End) -> None:
        self._journal.ended(known.id, end, self._clock.now())
        says = f"{end.code}: {end.says}" if end.code else ""
        self._say(definition, known, None, "done" if end.code is None else "failed", says)

    async def _held_by_act(self, definition: Definition, known: Snapshot, end: End) -> bool:
        """Whether the end has to wait: an act that nobody waits for any more is taken back first, and one that somebody
        has begun to carry out is waited for."""
        for step in definition.steps:
            record = known.records.get(step.name)
            if isinstance(step, ActionStep) and record is not None and record.state == "waiting":
                return not await self._take_back(definition, known, step, record, end.code or "", end.says)
        return False

    # Steps

    async def _ask(self, definition: Definition, known: Snapshot, step: Step, record: Record) -> None:
        self._say(definition, known, step, "asked", f"attempt {record.attempt}" if record.attempt > 1 else "")
        try:
            made = await self._attempt(definition, known, step, record)
        except HoldfastError as error:
            if isinstance(step, ActionStep) and _silent(error):
                raise  # whether it was proposed is asked again under the same key
            made = moves.stumbled(step, record, error, self._clock.now())
        self._write_down(known.id, step.name, made)
        self._say(definition, known, step, made.state, f"{made.code}: {made.says}" if made.code else "")

    async def _tell(self, known: Snapshot, step: Step, record: Record) -> None:
        key = moves.key_of(known.id, step.name, record.attempt)
        made = replace(record, told=True)
        try:
            await self._runs.step(self._agent(known), moves.telling(step, record), idempotency_key=key)
        except HoldfastError as error:
            if _silent(error):
                raise
            made = moves.failed(made, error.code, error.message)  # what the agent run does not have does not count
        self._write_down(known.id, step.name, made)

    async def _attempt(self, definition: Definition, known: Snapshot, step: Step, record: Record) -> Record:
        if isinstance(step, RuleStep):
            return moves.answered(step, record, moves.decide_rule(step, known.outputs()))
        if isinstance(step, ActionStep):
            return await self._propose(definition, known, step, record)
        if isinstance(step, AdmissionStep):
            asking = self._asker.admit(step, record.input)
        else:
            shown = [known.records[name].shown for name in step.admissions if name in known.records]
            facts = [item for item in shown if item is not None]
            asking = self._asker.infer(step, record.input, known.run or "", facts)
        given = await self._in_time(step, asking)
        return moves.answered(step, record, given.output, run=given.run, shown=given.shown)

    @staticmethod
    async def _in_time(step: Step, asking: Coroutine[Any, Any, Given]) -> Given:
        try:
            async with asyncio.timeout(step.seconds):
                return await asking
        except TimeoutError as error:
            raise UnavailableError("workflow.timeout", f"no answer came within {step.seconds} s") from error

    async def _propose(self, definition: Definition, known: Snapshot, step: ActionStep, record: Record) -> Record:
        if known.dry:
            return moves.answered(step, record, {"run": None, "result": None})
        agent, arguments = self._agent(known), record.input["arguments"]
        body = {"kind": "tool", "tool": step.tool, "arguments": arguments}
        act = await self._runs.step(agent, body, idempotency_key=moves.key_of(known.id, step.name, 0))
        await self._acts_of(definition.name).proposed(agent, act, step.tool, arguments)
        return replace(moves.proposed(step, record, act.run, self._clock.now()), shown=act.capability)

    async def _look(self, definition: Definition, known: Snapshot, step: ActionStep, record: Record) -> None:
        acts = self._acts_of(definition.name)
        found = await acts.look(self._agent(known), record.run or "", record.shown or "")
        if isinstance(found, Waits):
            self._write_down(known.id, step.name, self._waited(step, record, found.run))
            return
        made = _became(record, found)
        self._write_down(known.id, step.name, made)
        self._say(definition, known, step, made.state, f"{made.code}: {made.says}" if made.code else "")

    def _waited(self, step: ActionStep, record: Record, run: str) -> Record:
        now = self._clock.now()
        return moves.looked(record, now) if run == record.run else moves.amended(step, record, run, now)

    async def _write(self, definition: Definition, known: Snapshot, step: Step, record: Record) -> None:
        waited = known.records.get(step.name)
        if isinstance(step, ActionStep) and waited is not None and waited.state == "waiting":
            await self._take_back(definition, known, step, waited, record.code or "", record.says or "")
            return
        self._write_down(known.id, step.name, record)
        self._say(definition, known, step, record.state, f"{record.code}: {record.says}" if record.code else "")

    async def _take_back(
        self, definition: Definition, known: Snapshot, step: ActionStep, record: Record, code: str, says: str
    ) -> bool:
        """Take an act back that is waited for no longer. False where somebody carries it out: what comes of it is then
        waited for, whatever the time."""
        why = f"{code}: {says}"
        acts = self._acts_of(definition.name)
        if not await acts.withdraw(self._agent(known), record.run or "", record.shown or "", why):
            await self._look(definition, known, step, record)
            _, again = self._journal.load(known.id)
            waits = again.records[step.name]
            if (waits.state, waits.run) == ("waiting", record.run):
                raise UnavailableError(
                    "workflow.act_begun", "the act is being carried out: what comes of it is awaited"
                )
            return False
        made = moves.failed(record, code, says)
        self._write_down(known.id, step.name, made)
        self._say(definition, known, step, "failed", why)
        return True

    # When somebody is silent

    def _stumble(self, execution: str, error: HoldfastError) -> dt.datetime:
        count = self._journal.stumble(execution, str(error)[:500])
        until = self._clock.now() + dt.timedelta(seconds=_PAUSES_S[min(count, len(_PAUSES_S)) - 1])
        self._journal.sleep(execution, until, self._owner)
        _LOG.info("execution %s waits: %s", execution[:16], error)
        return until

    def _say(self, definition: Definition, known: Snapshot, step: Step | None, state: str, says: str) -> None:
        self._watch(Progress(known.id, definition.name, None if step is None else step.name, state, says))


def _became(record: Record, found: Came | Refused) -> Record:
    if isinstance(found, Refused):
        return moves.failed(record, found.code, found.says)
    if found.error is not None:
        return moves.failed(replace(record, run=found.run), "workflow.act_failed", found.error[:1000])
    output = {"run": found.run, "result": found.result}
    return replace(record, state="done", run=found.run, output=output, next_at=None)


def _silent(error: HoldfastError) -> bool:
    """Whether nobody said anything: what a gateway refuses, it refuses again."""
    return isinstance(error, UnavailableError) or (error.status in _BUSY and not error.code.startswith("agent."))


def _nobody(_: Progress) -> None:
    """Nobody looks."""
