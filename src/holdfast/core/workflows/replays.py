"""A definition put to the journal of an execution again (``spec/workflows.md`` §8).

Nothing is asked of anybody: admissions, answers and what came of acts are as they were written down. What is worked out
again is everything else: which steps are done, what is asked, and what rules give. The same definition and an honest
journal give ``equal`` everywhere.

Not covered: reading an admitted body again (``POST /v1/admissions/{digest}/replay`` at its data node does that), and
checking what was signed (``verifier``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.core import canonical
from holdfast.core.workflows.definitions import Definition, RuleStep, Step
from holdfast.core.workflows.moves import Record, Snapshot, decide_rule, question
from holdfast.core.workflows.values import look_up, ordered
from holdfast.errors import HoldfastError

STATES = ("equal", "differs", "unknown", "not_reached")
"""How a step stands after a replay: as it was; otherwise; not known, since what it stands on is; and never come to."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One step, replayed."""

    step: str
    kind: str
    state: str
    says: str


def replay(definition: Definition, known: Snapshot) -> tuple[Compared, ...]:
    """Step by step what would differ."""
    outputs: dict[str, Any] = {"trigger": known.cause.to_json()}
    found: list[Compared] = []
    ended = ""
    for step in definition.steps:
        record = known.records.get(step.name)
        if ended:
            found.append(Compared(step.name, step.kind, "not_reached", ended))
            continue
        compared, output = _compare(step, record, outputs)
        found.append(compared)
        if compared.state == "unknown":
            ended = f"what {step.name} would give is not known"
        elif output is _ENDS:
            ended = f"{step.name} ends the execution"
        else:
            outputs[step.name] = output
    return tuple(found)


_ENDS = object()
"""In place of an output: nothing comes after it."""


def _compare(step: Step, record: Record | None, outputs: Mapping[str, Any]) -> tuple[Compared, Any]:
    def says(state: str, text: str) -> Compared:
        return Compared(step.name, step.kind, state, text)

    if step.condition is not None and look_up(step.condition, outputs) != [True]:
        if record is not None and record.state == "skipped":
            return says("equal", "skipped, as it was"), None
        return says("differs", "it would be skipped, and was not" if record else "it would be skipped"), None
    if record is not None and record.state == "skipped":
        return says("differs", "it was skipped, and would not be"), _ENDS
    try:
        asked = question(step, outputs)
    except HoldfastError as error:
        if record is not None and (record.state, record.code) == ("failed", error.code):
            return says("equal", f"it could not be asked, as it could not: {error.code}"), _after(step, record)
        return says("differs", f"it could not be asked: {error.code}: {error.message}"), _after(step, None)
    if isinstance(step, RuleStep):
        return _compare_rule(step, record, outputs, says)
    if record is None:
        return says("unknown", "the execution never came to it"), None
    if _same(asked, record.input):
        state = "it waits" if record.state not in ("done", "failed") else f"it is {record.state}, as it was"
        return says("equal", f"the same is asked; {state}"), _after(step, record)
    return says("unknown", "something else would be asked, and what came of that is not known"), None


def _compare_rule(step: RuleStep, record: Record | None, outputs: Mapping[str, Any], says: Any) -> tuple[Compared, Any]:
    try:
        output = decide_rule(step, outputs)
    except HoldfastError as error:
        same = record is not None and (record.state, record.code) == ("failed", error.code)
        return says("equal" if same else "differs", f"it fails: {error.code}"), _after(step, None)
    ends = _ENDS if output is None else output
    told = "no case holds" if output is None else f"it gives {_shown(output['result'])}"
    if record is None or record.state != "done":
        return says("differs", f"{told}; it gave nothing"), ends
    if _same(output, record.output):
        return says("equal", f"{told}, as it did"), ends
    gave = "no case held" if record.output is None else f"it gave {_shown(record.output['result'])}"
    return says("differs", f"{told}; {gave}"), ends


def _after(step: Step, record: Record | None) -> Any:
    """What later steps are given: the output; nothing where it failed and may; the end where it must not."""
    if record is None or record.state == "failed":
        return None if step.optional else _ENDS
    return record.output if record.state == "done" else _ENDS


def _same(first: Any, second: Any) -> bool:
    return canonical.encode_exact(ordered(first)) == canonical.encode_exact(ordered(second))


def _shown(value: Any) -> str:
    text = canonical.encode_exact(value).decode()
    return text if len(text) <= 120 else f"{text[:119]}…"
