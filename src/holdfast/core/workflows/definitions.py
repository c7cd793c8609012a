"""Workflow definitions: when something starts, and which steps follow each other (``spec/workflows.md`` §2, §3, §6).

People write TOML (:func:`parse_workflow_toml`); it means its canonical JSON form, in which every choice that was left
out stands with the value it then has (:func:`parse_workflow`). Both readers are strict, and what could never be meant
is refused here: an execution meets no definition that is half right.

Not covered: filling templates (``core.workflows.values``), deciding (``core.workflows.rules``), and doing any of it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

from holdfast.core import agents, canonical
from holdfast.core.encoding import sha256_hex
from holdfast.core.expectations import Expectation
from holdfast.core.statements import is_code
from holdfast.core.workflows.rules import Rule, parse_deciding, parse_shape
from holdfast.core.workflows.schedules import MOST_SECONDS, Cron, Every, Schedule, parse_cron
from holdfast.core.workflows.values import parse_reference, parse_template, references, step_of
from holdfast.errors import MalformedError

WORKFLOW_TYPE = "urn:holdfast:workflow:v1"
MAX_BYTES = 65_536
"""Largest definition that is read, in either form."""
MOST_DEFINED = 100
"""Most steps of a definition."""
LONGEST_S = 518_400
"""Six days: a gateway closes agent runs after seven (``agents.md`` §2(3))."""
OWN_TOOLS = ("workflow", "admission", "rule")
"""Tools that every execution's agent run has: they tell what was done, and read."""
ENDPOINTS = ("chat", "infer")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")
_LIMITS: Mapping[str, Any] = {
    "steps": agents.STEPS,
    "depth": agents.DEPTH,
    "seconds": 86_400,
    "concurrency": 1_000,
    "overlap": "wait",
    "rate": {"executions": 60, "seconds": 60},
    "spend": None,
}
_RETRY: Mapping[str, Any] = {"attempts": 3, "first_s": 1, "longest_s": 60}
_WHOLE: Mapping[str, Any] = {
    "goal": "",
    "trigger": {"kind": "manual"},
    "tools": [],
    "limits": {},
    "retry": {},
    "result": None,
}
_TRIGGERS: Mapping[str, Mapping[str, Any]] = {
    "manual": {},
    "schedule": {"every_s": None, "cron": None, "backfill_s": 0},
    "block": {"every": 1, "behind": 0},
    "webhook": {},
    "admission": {"source": None, "node": None},
}
"""Members of triggers by kind, and what they are where they are left out."""
_STEP: Mapping[str, Any] = {"if": None, "optional": False, "retry": None, "seconds": None}
_STEPS: Mapping[str, Mapping[str, Any]] = {
    "admission": {"source": None, "parameters": {}, "node": None},
    "inference": {"endpoint": "chat", "request": None, "admissions": [], "answer": None},
    "rule": {},
    "action": {"tool": None, "arguments": {}},
}
_RULE = ("cases", "agree", "otherwise")


@dataclass(frozen=True, slots=True)
class Retry:
    """How often an attempt is made, and the pauses between."""

    attempts: int
    first_s: int
    longest_s: int

    def pause_s(self, failed: int) -> int:
        """Seconds after so many failures."""
        return int(min(self.first_s * 2 ** min(failed - 1, 20), self.longest_s))

    def to_json(self) -> dict[str, canonical.JSON]:
        return {"attempts": self.attempts, "first_s": self.first_s, "longest_s": self.longest_s}


@dataclass(frozen=True, slots=True)
class Limits:
    """How far an execution may go, and how many there may be."""

    steps: int
    depth: int
    seconds: int
    concurrency: int
    overlap: str
    executions: int
    """So many started at most,"""
    per_s: int
    """in so many seconds."""
    spend: canonical.JSON = None

    def to_json(self) -> dict[str, canonical.JSON]:
        return {
            "steps": self.steps,
            "depth": self.depth,
            "seconds": self.seconds,
            "concurrency": self.concurrency,
            "overlap": self.overlap,
            "rate": {"executions": self.executions, "seconds": self.per_s},
            "spend": self.spend,
        }


@dataclass(frozen=True, slots=True)
class Trigger:
    """Why executions start (§6). Members that a kind has no use for are as they are."""

    kind: str
    schedule: Schedule | None = None
    every_s: int | None = None
    cron: str | None = None
    backfill_s: int = 0
    every: int = 1
    behind: int = 0
    source: str | None = None
    node: str | None = None

    def to_json(self) -> dict[str, canonical.JSON]:
        return {"kind": self.kind, **{name: getattr(self, name) for name in _TRIGGERS[self.kind]}}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    kind: ClassVar[str]
    name: str
    condition: str | None
    """The path that ``if`` names."""
    optional: bool
    retry: Retry
    seconds: int

    def own(self) -> dict[str, canonical.JSON]:
        """The members that this kind has beside those of every step."""
        return {}

    def templates(self) -> Mapping[str, Any]:
        """What is filled in before it is asked, by the names of members."""
        return {}

    def names(self) -> Iterator[str]:
        """Paths that it takes values from."""
        for item in self.templates().values():
            yield from references(item)

    def to_json(self) -> dict[str, canonical.JSON]:
        return {
            "name": self.name,
            "kind": self.kind,
            "if": self.condition,
            "optional": self.optional,
            "retry": self.retry.to_json(),
            "seconds": self.seconds,
            **self.own(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionStep(_Step):
    """A question to a source at a data node."""

    kind: ClassVar[str] = "admission"
    source: str
    parameters: Mapping[str, Any]
    node: str | None

    def own(self) -> dict[str, canonical.JSON]:
        return {"source": self.source, "parameters": dict(self.parameters), "node": self.node}

    def templates(self) -> Mapping[str, Any]:
        return self.parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceStep(_Step):
    """A question to a model under the agent run."""

    kind: ClassVar[str] = "inference"
    endpoint: str
    request: Mapping[str, Any]
    admissions: tuple[str, ...]
    answer: Expectation | None

    def own(self) -> dict[str, canonical.JSON]:
        return {
            "endpoint": self.endpoint,
            "request": dict(self.request),
            "admissions": list(self.admissions),
            "answer": None if self.answer is None else shape_json(self.answer),
        }

    def templates(self) -> Mapping[str, Any]:
        return self.request


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleStep(_Step):
    """Something that follows."""

    kind: ClassVar[str] = "rule"
    rule: Rule

    def own(self) -> dict[str, canonical.JSON]:
        return self.rule.to_json()

    def names(self) -> Iterator[str]:
        yield from self.rule.references()


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionStep(_Step):
    """An act of a declared tool."""

    kind: ClassVar[str] = "action"
    tool: str
    arguments: Mapping[str, Any]

    def own(self) -> dict[str, canonical.JSON]:
        return {"tool": self.tool, "arguments": dict(self.arguments)}

    def templates(self) -> Mapping[str, Any]:
        return self.arguments


Step: TypeAlias = AdmissionStep | InferenceStep | RuleStep | ActionStep


@dataclass(frozen=True, slots=True)
class Definition:
    """A parsed workflow; ``digest`` is the SHA-256 (hex) of ``document``, its canonical JSON form."""

    name: str
    goal: str
    trigger: Trigger
    tools: Mapping[str, agents.Tool]
    limits: Limits
    retry: Retry
    steps: tuple[Step, ...]
    result: Any
    digest: str
    document: bytes

    def agent(self) -> dict[str, canonical.JSON]:
        """The request document of the agent run that an execution opens (§7(1))."""
        own: list[canonical.JSON] = [{"name": name, "effect": "read"} for name in OWN_TOOLS]
        limits: dict[str, canonical.JSON] = {"steps": self.limits.steps, "depth": self.limits.depth}
        if self.limits.spend is not None:
            limits["spend"] = self.limits.spend
        agent: dict[str, canonical.JSON] = {"name": self.name}
        if self.goal:
            agent["goal"] = self.goal
        return {"agent": {**agent, "tools": own + [tool.to_json() for tool in self.tools.values()], "limits": limits}}


def parse_workflow_toml(text: str) -> Definition:
    """TOML, as people write it. Raises ``workflow.*``."""
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise MalformedError("workflow.size", f"a definition has at most {MAX_BYTES} bytes")
    try:
        value: Any = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise MalformedError("workflow.toml", f"not TOML: {error}"[:200]) from error
    return build_definition(value)


def parse_workflow(raw: bytes) -> Definition:
    """The canonical form; any other spelling raises ``workflow.spelling``. Raises ``workflow.*`` and ``json.*``."""
    if len(raw) > MAX_BYTES:
        raise MalformedError("workflow.size", f"a definition has at most {MAX_BYTES} bytes")
    found = build_definition(canonical.decode_signed(raw))
    if found.document != raw:
        raise MalformedError("workflow.spelling", "a canonical definition says everything, also what could be left out")
    return found


def build_definition(value: Any) -> Definition:
    """A definition of plain values, as TOML or a program gives them. Raises ``workflow.*`` and ``agent.*``."""
    whole = _filled(value, _WHOLE, ("type", "name", "steps"), "a definition")
    if whole["type"] != WORKFLOW_TYPE:
        raise MalformedError("workflow.fields", f'type is "{WORKFLOW_TYPE}"', param="type")
    if not isinstance(whole["name"], str) or not is_code(whole["name"]):
        raise MalformedError("workflow.name", "name is a code, such as reserve-watch", param="name")
    limits, tools = _limits(whole["limits"]), _tools(whole)
    retry = _retry(whole["retry"], _RETRY)
    trigger = _trigger(whole["trigger"])
    steps = _steps(whole["steps"], retry, tools)
    _refuse_loop(trigger, steps)
    result = parse_template(whole["result"])
    known = {"trigger", *(step.name for step in steps)}
    _refuse_later(references(result), known, "result")
    document = canonical.encode(
        {
            "type": WORKFLOW_TYPE,
            "name": whole["name"],
            "goal": whole["goal"],
            "trigger": trigger.to_json(),
            "tools": [tool.to_json() for tool in tools.values()],
            "limits": limits.to_json(),
            "retry": retry.to_json(),
            "steps": [step.to_json() for step in steps],
            "result": result,
        }
    )
    if len(document) > MAX_BYTES:
        raise MalformedError("workflow.size", f"a definition has at most {MAX_BYTES} bytes")
    digest = sha256_hex(document)
    found = Definition(whole["name"], whole["goal"], trigger, tools, limits, retry, steps, result, digest, document)
    agents.parse_agent_request(found.agent())  # what its gateway would refuse, is refused here
    return found


def shape_json(shape: Expectation) -> dict[str, canonical.JSON]:
    """An expectation as a definition has it: without times."""
    own = shape.to_json()
    members = {name: shape_json(item) for name, item in shape.members}
    return {
        "type": own["type"],
        "minimum": own["minimum"],
        "maximum": own["maximum"],
        "length": own["length"],
        "members": dict(members) if members else None,
        "item": None if shape.item is None else shape_json(shape.item),
    }


def _filled(value: Any, left_out: Mapping[str, Any], needed: tuple[str, ...], where: str) -> dict[str, Any]:
    """An object of these members and no others, with what was left out. Null counts as left out where that is null."""
    if not isinstance(value, dict):
        raise MalformedError("workflow.fields", f"{where} is a table of names and values", param=where)
    for name in value:
        if name not in left_out and name not in needed:
            known = ", ".join((*needed, *left_out))
            raise MalformedError(
                "workflow.fields", f"{where} does not know {name!r}", hint=f"it knows {known}", param=name
            )
    for name in needed:
        if name not in value:
            raise MalformedError("workflow.fields", f"{where} does not say {name}", param=name)
    return {**left_out, **value}


def _whole(value: object, least: int, most: int, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise MalformedError("workflow.number", f"{where} is a whole number from {least} to {most}", param=where)
    return value


def _code(value: object, where: str) -> str:
    if not isinstance(value, str) or not is_code(value):
        raise MalformedError("workflow.name", f"{where} is a code", param=where)
    return value


def _limits(value: Any) -> Limits:
    whole = _filled(value, _LIMITS, (), "limits")
    rate = _filled(whole["rate"], {}, ("executions", "seconds"), "limits.rate")
    if whole["overlap"] not in ("wait", "skip"):
        raise MalformedError("workflow.number", "overlap is wait or skip", param="overlap")
    return Limits(
        steps=_whole(whole["steps"], 1, agents.MOST_STEPS, "steps"),
        depth=_whole(whole["depth"], 1, agents.MOST_DEPTH, "depth"),
        seconds=_whole(whole["seconds"], 1, LONGEST_S, "seconds"),
        concurrency=_whole(whole["concurrency"], 1, 10_000, "concurrency"),
        overlap=whole["overlap"],
        executions=_whole(rate["executions"], 1, 1_000_000, "rate.executions"),
        per_s=_whole(rate["seconds"], 1, MOST_SECONDS, "rate.seconds"),
        spend=parse_template({"literal": whole["spend"]})["literal"],
    )


def _tools(whole: Mapping[str, Any]) -> Mapping[str, agents.Tool]:
    """The tools that act, as an agent run declares them; raises ``agent.*`` and ``workflow.tool``."""
    plan = agents.parse_plan({"name": whole["name"], "goal": whole["goal"], "tools": whole["tools"]})
    for tool in plan.tools.values():
        if tool.effect == "read" or tool.name in OWN_TOOLS:
            raise MalformedError(
                "workflow.tool", f"{tool.name} is no tool that acts: facts come from admissions, and rules are steps"
            )
    if len(plan.tools) > agents.MOST_TOOLS - len(OWN_TOOLS):
        raise MalformedError("workflow.tool", f"at most {agents.MOST_TOOLS - len(OWN_TOOLS)} tools act")
    return plan.tools


def _retry(value: Any, left_out: Mapping[str, Any]) -> Retry:
    whole = _filled(value, left_out, (), "retry")
    return Retry(
        _whole(whole["attempts"], 1, 100, "attempts"),
        _whole(whole["first_s"], 1, 86_400, "first_s"),
        _whole(whole["longest_s"], 1, 86_400, "longest_s"),
    )


def _trigger(value: Any) -> Trigger:
    kind = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in _TRIGGERS:
        raise MalformedError("workflow.trigger", f"a trigger is one of {', '.join(_TRIGGERS)}", param="trigger")
    whole = _filled(value, _TRIGGERS[kind], ("kind",), "trigger")
    if kind == "schedule":
        return _scheduled(whole)
    if kind == "block":
        every, behind = (_whole(whole[name], least, 1_000_000, name) for name, least in (("every", 1), ("behind", 0)))
        return Trigger(kind, every=every, behind=behind)
    if kind == "admission":
        node = None if whole["node"] is None else _code(whole["node"], "trigger.node")
        return Trigger(kind, source=_code(whole["source"], "trigger.source"), node=node)
    return Trigger(kind)


def _scheduled(whole: Mapping[str, Any]) -> Trigger:
    every, cron = whole["every_s"], whole["cron"]
    if (every is None) == (cron is None):
        raise MalformedError("workflow.trigger", "a schedule has every_s or cron", param="trigger")
    backfill = _whole(whole["backfill_s"], 0, MOST_SECONDS, "backfill_s")
    schedule: Every | Cron = parse_cron(cron) if every is None else Every(_whole(every, 1, MOST_SECONDS, "every_s"))
    return Trigger("schedule", schedule, every, cron, backfill)


def _steps(value: Any, retry: Retry, tools: Mapping[str, agents.Tool]) -> tuple[Step, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_DEFINED:
        raise MalformedError("workflow.steps", f"steps is a list of 1 to {MOST_DEFINED}", param="steps")
    found: dict[str, Step] = {}
    for item in value:
        step = _step(item, retry)
        if step.name in found or step.name == "trigger":
            raise MalformedError("workflow.steps", f"there are two of the name {step.name}", param="name")
        known = {"trigger", *found}
        _refuse_later(step.names(), known, step.name)
        _refuse_later([step.condition] if step.condition else [], known, step.name)
        if isinstance(step, ActionStep) and step.tool not in tools:
            raise MalformedError("workflow.tool", f"{step.name} names a tool that is not declared", param="tool")
        if isinstance(step, InferenceStep):
            _refuse_facts(step, found)
        found[step.name] = step
    return tuple(found.values())


def _step(value: Any, retry: Retry) -> Step:
    kind = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in _STEPS:
        raise MalformedError("workflow.steps", f"a step's kind is one of {', '.join(_STEPS)}", param="kind")
    deciding = {name: value[name] for name in _RULE if name in value} if kind == "rule" else {}
    rest = {name: item for name, item in value.items() if name not in deciding}
    whole = _filled(rest, {**_STEP, **_STEPS[kind]}, ("name", "kind"), "a step")
    if not isinstance(whole["name"], str) or _NAME.match(whole["name"]) is None:
        raise MalformedError("workflow.name", "a step's name is lower-case letters, digits and _", param="name")
    if not isinstance(whole["optional"], bool):
        raise MalformedError("workflow.fields", "optional is true or false", param="optional")
    seconds = (86_400 if kind == "action" else 60) if whole["seconds"] is None else whole["seconds"]
    common: dict[str, Any] = {
        "name": whole["name"],
        "condition": None if whole["if"] is None else parse_reference(whole["if"]),
        "optional": whole["optional"],
        "retry": retry if whole["retry"] is None else _retry(whole["retry"], retry.to_json()),
        "seconds": _whole(seconds, 1, LONGEST_S, "seconds"),
    }
    return _of_kind(kind, whole, deciding, common)


def _of_kind(kind: str, whole: Mapping[str, Any], deciding: Mapping[str, Any], common: dict[str, Any]) -> Step:
    if kind == "admission":
        node = None if whole["node"] is None else _code(whole["node"], "node")
        parameters = _object(whole["parameters"], "parameters")
        return AdmissionStep(source=_code(whole["source"], "source"), parameters=parameters, node=node, **common)
    if kind == "inference":
        return _inference(whole, common)
    if kind == "rule":
        return RuleStep(rule=parse_deciding(deciding), **common)
    if not isinstance(whole["tool"], str):
        raise MalformedError("workflow.tool", "an action names its tool", param="tool")
    return ActionStep(tool=whole["tool"], arguments=_object(whole["arguments"], "arguments"), **common)


def _inference(whole: Mapping[str, Any], common: dict[str, Any]) -> InferenceStep:
    if whole["endpoint"] not in ENDPOINTS:
        raise MalformedError("workflow.steps", "an inference asks chat or infer", param="endpoint")
    request = _object(whole["request"], "request")
    if request.keys() & {"stream", "holdfast"}:
        raise MalformedError("workflow.steps", "stream and holdfast are not the definition's to say", param="request")
    named, answer = whole["admissions"], whole["answer"]
    if not isinstance(named, list) or not all(isinstance(item, str) for item in named) or len(named) > 16:
        raise MalformedError("workflow.steps", "admissions is a list of at most 16 steps", param="admissions")
    if whole["endpoint"] == "infer" and (named or answer is not None):
        raise MalformedError("workflow.steps", "blocks and texts are of a chat", param="endpoint")
    shape = None if answer is None else parse_shape(_without_nulls(answer))
    return InferenceStep(endpoint=whole["endpoint"], request=request, admissions=tuple(named), answer=shape, **common)


def _without_nulls(value: Any) -> Any:
    """An expectation without what is null in its canonical form."""
    if isinstance(value, dict):
        return {name: _without_nulls(item) for name, item in value.items() if item is not None}
    return value


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MalformedError("workflow.fields", f"{where} is a table of names and values", param=where)
    for item in value.values():
        parse_template(item)
    return value


def _refuse_later(paths: Any, known: set[str], where: str) -> None:
    for path in paths:
        if step_of(path) not in known:
            raise MalformedError(
                "workflow.order", f"{where} takes a value of {step_of(path)}, which is no step before it", param=where
            )


def _refuse_facts(step: InferenceStep, found: Mapping[str, Step]) -> None:
    for name in step.admissions:
        if not isinstance(found.get(name), AdmissionStep):
            raise MalformedError("workflow.order", f"{name} is no admission before {step.name}", param="admissions")


def _refuse_loop(trigger: Trigger, steps: tuple[Step, ...]) -> None:
    if trigger.kind == "admission" and any(
        isinstance(step, AdmissionStep) and step.source == trigger.source for step in steps
    ):
        raise MalformedError("workflow.loop", f"each admission of {trigger.source} would make another one")
