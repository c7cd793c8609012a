"""What an execution does next, by its definition and its journal alone (``spec/workflows.md`` §3, §7).

:func:`next_move` is a function of what was written down and of the time. Whoever carries a move out writes down what
came of it and asks again; after a crash the same journal gives the same move. The journal of a step is one
:class:`Record`, whose state says how far it came:

    asked ──► answered ──► done
      ▲          │  └────► failed        a failed attempt that may be made again is ``trying``
      └ trying ◄─┘
    asked ──► waiting ──► done, failed   an act, between its proposal and what came of it
    skipped

``told`` says whether the agent run has the step: nothing goes on before it has.

Not covered: asking anybody anything (``holdfast.agents.workflows``).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from holdfast.core import canonical
from holdfast.core.encoding import sha256_hex, time_encode
from holdfast.core.workflows.definitions import (
    ActionStep,
    AdmissionStep,
    Definition,
    InferenceStep,
    RuleStep,
    Step,
)
from holdfast.core.workflows.values import fill, look_up, ordered
from holdfast.errors import HoldfastError, MalformedError, UsageError

EXECUTION_DOMAIN = b"urn:holdfast:workflow-execution:v1"
KEY_DOMAIN = b"urn:holdfast:workflow-key:v1"
OVER = ("done", "failed", "skipped")
"""States of a step after which the next one is done."""
_LOOKS_S = (1, 2, 5, 10, 20, 30)
"""Pauses between looks at an act that waits: people take minutes, and a look costs two requests."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One trigger: what started an execution. ``key`` makes it the one that it is (§6)."""

    kind: str
    key: str
    at: dt.datetime
    data: Any = None

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "key": self.key, "at": time_encode(self.at), "data": self.data}


@dataclass(frozen=True, slots=True)
class Record:
    """The journal of one step: its newest attempt."""

    state: str
    attempt: int
    input: Any
    output: Any = None
    code: str | None = None
    says: str | None = None
    """Why it failed."""
    told: bool = True
    next_at: dt.datetime | None = None
    """Before this, a failed attempt is not made again and an act that waits not looked at."""
    until: dt.datetime | None = None
    """When an act has waited for long enough."""
    run: str | None = None
    """The act's, or the inference's, that counts."""
    shown: str | None = None
    """Of an admission, what opens it; of a run, its capability. In no output, and so in no template."""
    looks: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One execution as its journal has it."""

    id: str
    cause: Cause
    dry: bool
    deadline: dt.datetime
    run: str | None = None
    """The agent run, once it is open."""
    begun: bool = False
    """Whether the agent run has its first child."""
    records: Mapping[str, Record] = field(default_factory=dict)

    def outputs(self) -> dict[str, Any]:
        """What paths select in: the trigger, and what steps gave."""
        ended = {name: item.output for name, item in self.records.items() if item.state in OVER}
        return {"trigger": self.cause.to_json(), **ended}


@dataclass(frozen=True, slots=True)
class Open:
    """Open the agent run, and tell it what it is for."""


@dataclass(frozen=True, slots=True)
class Write:
    """Nothing is asked of anybody: this is the step's journal."""

    step: Step
    record: Record


@dataclass(frozen=True, slots=True)
class Ask:
    """Make an attempt. Where ``fresh``, its question has to be written down first."""

    step: Step
    record: Record
    fresh: bool


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell the agent run what came of an attempt."""

    step: Step
    record: Record


@dataclass(frozen=True, slots=True)
class Look:
    """See what became of an act."""

    step: ActionStep
    record: Record


@dataclass(frozen=True, slots=True)
class Sleep:
    """Nothing is to be done before."""

    until: dt.datetime


@dataclass(frozen=True, slots=True)
class End:
    """Close the agent run. ``code`` is None of what is done."""

    result: Any = None
    code: str | None = None
    says: str = ""
    step: str | None = None


Move: TypeAlias = Open | Write | Ask | Tell | Look | Sleep | End


def execution_id(workflow: str, cause: Cause, *, dry: bool) -> str:
    """The id of what a trigger starts (§6(3)), hex."""
    words = (workflow, cause.kind, cause.key, "dry" if dry else "act")
    return sha256_hex(b"\x00".join((EXECUTION_DOMAIN, *(word.encode() for word in words))))


def key_of(execution: str, step: str, attempt: int) -> str:
    """The idempotency key of what is told or proposed (§7(2)), hex."""
    return sha256_hex(b"\x00".join((KEY_DOMAIN, execution.encode(), step.encode(), str(attempt).encode())))


def next_move(definition: Definition, known: Snapshot, now: dt.datetime) -> Move:
    """What is to be done now."""
    outputs = known.outputs()
    if known.run is None or not known.begun:
        return End(code="workflow.deadline", says="it could not be begun in time") if now >= known.deadline else Open()
    for step in definition.steps:
        record = known.records.get(step.name)
        if record is not None and not record.told:
            return Tell(step, record)
        if record is None or record.state not in OVER:
            if now >= known.deadline:
                return End(code="workflow.deadline", says=f"its time was over at {step.name}", step=step.name)
            return _begin(step, outputs) if record is None else _go_on(step, record, known.deadline, now)
        if record.state == "failed" and not step.optional:
            return End(code=record.code, says=record.says or "", step=step.name)
        if isinstance(step, RuleStep) and record.state == "done" and record.output is None:
            return End(step=step.name)
    try:
        return End(result=fill(definition.result, outputs, lenient=True))
    except HoldfastError as error:
        return End(code=error.code, says=error.message)


def _begin(step: Step, outputs: Mapping[str, Any]) -> Move:
    if step.condition is not None and look_up(step.condition, outputs) != [True]:
        return Write(step, Record("skipped", 0, None))
    try:
        return Ask(step, Record("asked", 1, question(step, outputs)), fresh=True)
    except HoldfastError as error:
        return Write(step, Record("failed", 1, None, code=error.code, says=error.message))


def _go_on(step: Step, record: Record, deadline: dt.datetime, now: dt.datetime) -> Move:
    if record.next_at is not None and now < record.next_at:
        ends = [item for item in (record.next_at, record.until, deadline) if item is not None]
        if now < min(ends):
            return Sleep(min(ends))
    if record.state == "trying":
        return Ask(step, Record("asked", record.attempt + 1, record.input), fresh=True)
    if record.state == "waiting" and isinstance(step, ActionStep):
        if record.until is not None and now >= record.until:
            return Write(step, failed(record, "workflow.act_expired", "nobody let the act through in time"))
        return Look(step, record)
    return Ask(step, record, fresh=False)


def question(step: Step, outputs: Mapping[str, Any]) -> Any:
    """What a step asks, filled in; raises ``workflow.reference`` and ``workflow.value``."""
    return ordered(_question(step, outputs))


def _question(step: Step, outputs: Mapping[str, Any]) -> Any:
    filled = {name: fill(item, outputs) for name, item in step.templates().items()}
    match step:
        case AdmissionStep():
            return {"source": step.source, "parameters": filled, "node": step.node}
        case InferenceStep():
            facts = [outputs[name]["digest"] for name in step.admissions if outputs.get(name) is not None]
            return {"endpoint": step.endpoint, "request": filled, "admissions": facts}
        case ActionStep():
            return {"tool": step.tool, "arguments": filled}
        case RuleStep():
            found = {path: look_up(path, outputs) for path in sorted(set(step.names()))}
            return {path: items[0] for path, items in found.items() if items}


def decide_rule(step: RuleStep, outputs: Mapping[str, Any]) -> Any:
    """The output of a rule: ``{"result"}``, or None where no case is the one. Raises ``workflow.*``."""
    made = step.rule.decide(outputs)
    return None if made is None else {"result": made[0]}


def answered(step: Step, record: Record, output: Any, **more: Any) -> Record:
    """The journal of an attempt that gave something."""
    return replace(record, state="done", output=output, told=not tells(step), **more)


def stumbled(step: Step, record: Record, error: HoldfastError, now: dt.datetime) -> Record:
    """The journal of an attempt that failed (§3(2))."""
    made = replace(record, code=error.code, says=error.message[:1000], told=not tells(step))
    if for_good(step, error) or record.attempt >= step.retry.attempts:
        return replace(made, state="failed")
    pause = dt.timedelta(seconds=step.retry.pause_s(record.attempt))
    return replace(made, state="trying", next_at=now + pause)


def for_good(step: Step, error: HoldfastError) -> bool:
    """Whether trying again could not help."""
    if isinstance(step, RuleStep | ActionStep):
        return True
    return isinstance(error, MalformedError | UsageError) or error.code.startswith("agent.")


def failed(record: Record, code: str, says: str) -> Record:
    """The journal of a step that failed for good, and of which there is nothing to tell."""
    return replace(record, state="failed", code=code, says=says, next_at=None)


def proposed(step: ActionStep, record: Record, run: str, now: dt.datetime) -> Record:
    """The journal of an act that waits for the gate."""
    until = now + dt.timedelta(seconds=step.seconds)
    return replace(record, state="waiting", run=run, until=until, next_at=now + dt.timedelta(seconds=_LOOKS_S[0]))


def looked(record: Record, now: dt.datetime) -> Record:
    """The journal of an act that still waits."""
    pause = _LOOKS_S[min(record.looks + 1, len(_LOOKS_S) - 1)]
    return replace(record, looks=record.looks + 1, next_at=now + dt.timedelta(seconds=pause))


def amended(step: ActionStep, record: Record, run: str, now: dt.datetime) -> Record:
    """The journal of an act in whose place a person proposed another, ``run``: that one waits as the first did, for as
    long, from now on. Nothing here opens it."""
    return replace(proposed(step, record, run, now), shown=None, looks=0)


def tells(step: Step) -> bool:
    """Whether the agent run hears of a step by being told: turns and acts are its children by themselves."""
    return isinstance(step, AdmissionStep | RuleStep)


def telling(step: Step, record: Record) -> dict[str, Any]:
    """The body of the step that tells of an attempt (§7(1))."""
    arguments = {"step": step.name, "attempt": record.attempt, "input": record.input}
    own = {"kind": "tool", "tool": step.kind, "arguments": arguments}
    if record.state == "done":
        return {**own, "result": record.output}
    return {**own, "error": f"{record.code}: {record.says}"}


def opening(definition: Definition, known: Snapshot) -> dict[str, Any]:
    """The body of an execution's first child (§7(1))."""
    arguments = {
        "definition": definition.digest,
        "execution": known.id,
        "trigger": known.cause.to_json(),
        "dry_run": known.dry,
    }
    return {"kind": "tool", "tool": "workflow", "arguments": arguments, "result": canonical.decode(definition.document)}


def closing(definition: Definition, known: Snapshot, end: End) -> dict[str, Any]:
    """What an execution's agent run is closed with (§7(5))."""
    if end.code is not None:
        return {"error": f"{end.code}: {end.says}"[:8000]}
    return {"result": {"definition": definition.digest, "execution": known.id, "result": end.result}}
