"""Commands of workflows: definitions, rules, schedules and ids."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from holdfast.cli.conformance.arguments import Answer, Arguments, fields_of, integer
from holdfast.core import canonical
from holdfast.core.encoding import time_decode, time_encode
from holdfast.core.workflows.definitions import RuleStep, build_definition, parse_workflow, parse_workflow_toml
from holdfast.core.workflows.moves import Cause, decide_rule, execution_id, key_of
from holdfast.errors import UsageError


def _parse_workflow(arguments: Arguments) -> Answer:
    """``workflows.md`` §2, §3, §6: a definition in either form."""
    form, raw = arguments.one("form"), arguments.file()
    found = parse_workflow_toml(raw.decode("utf-8", "replace")) if form == "toml" else parse_workflow(raw)
    return {"digest": found.digest, "document": found.document.decode(), "agent": found.agent()}


def _decide_rule(arguments: Arguments) -> Answer:
    """``workflows.md`` §4, §5: the output of a definition's last step, a rule, over the outputs before it."""
    value = canonical.decode_exact(arguments.file())
    if not isinstance(value, dict) or value.keys() != {"definition", "outputs"}:
        raise UsageError("usage.file", "expected exactly definition and outputs")
    step = build_definition(canonical.decode(canonical.encode_exact(value["definition"]))).steps[-1]
    if not isinstance(step, RuleStep):
        raise UsageError("usage.file", "the last step is a rule")
    return {"output": decide_rule(step, value["outputs"])}


def _schedule_times(arguments: Arguments) -> Answer:
    """``workflows.md`` §6(1): the next times of a definition's schedule."""
    after, count = time_decode(arguments.one("after")), integer(arguments.one("count"))
    schedule = build_definition(canonical.decode(arguments.file())).trigger.schedule
    if schedule is None:
        raise UsageError("usage.file", "the definition has no schedule")
    times: list[str] = []
    while len(times) < count and (following := schedule.after(after)) is not None:
        times.append(time_encode(following))
        after = following
    return {"times": times}


def _workflow_keys(arguments: Arguments) -> Answer:
    """``workflows.md`` §6(3), §7(2): the id of an execution, and an idempotency key of it."""
    value = fields_of(arguments.file(), "name", "kind", "key", "dry", "step", "attempt")
    cause = Cause(value["kind"], value["key"], time_decode("2026-01-01T00:00:00.000Z"))
    made = execution_id(value["name"], cause, dry=value["dry"])
    return {"execution": made, "key": key_of(made, value["step"], value["attempt"])}


COMMANDS: Mapping[str, Callable[[Arguments], Answer]] = {
    "parse-workflow": _parse_workflow,
    "decide-rule": _decide_rule,
    "schedule-times": _schedule_times,
    "workflow-keys": _workflow_keys,
}
