"""Agent runs and their steps as documents (``spec/agents.md``): what may be asked, and what binds children to a parent.

Pure. What a tool's effect is follows from the agent run's own request and from nothing else.

Not covered: opening and closing runs (``nodes/gateway/agents.py``), and checking a parent's children
(``verifier/children.py``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from holdfast.core import canonical, pricing
from holdfast.core.canonical import NumberText
from holdfast.core.encoding import sha256_hex
from holdfast.core.statements import is_code, is_run_id
from holdfast.errors import MalformedError, RefusedError, UsageError

EFFECTS = ("read", "write", "pay", "send")
"""What calling a tool does outside (``agents.md`` §1(4))."""
KINDS = ("tool", "reserved", "outcome", "hint")
"""Of steps (§4(1))."""
ABOUT_ACTS = ("reserved", "outcome")
"""Those that tell of an act."""
CALLER = "caller"
"""The upstream of agent runs and steps: whoever asked did what they tell of (§2(2))."""
MOST_TOOLS, MOST_STEPS, MOST_DEPTH = 64, 10_000, 16
STEPS, DEPTH = 1_000, 4
"""Limits where an agent run names none (§2(1))."""
MAX_GOAL, MAX_NAME, MAX_ERROR = 8_192, 256, 8_192
"""Characters."""

_TOOL = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_INTEGER = re.compile(r"[1-9][0-9]{0,5}\Z")
_SUM = re.compile(r"(?:0|[1-9][0-9]{0,39})(?:\.[0-9]{0,39}[1-9])?\Z")
"""An exact sum of prices: it may have more digits than one of them."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that an agent run declares."""

    name: str
    effect: str
    queue: str | None = None
    """The review queue of its acts; None exactly for what only reads."""

    def to_json(self) -> dict[str, canonical.JSON]:
        own: dict[str, canonical.JSON] = {"name": self.name, "effect": self.effect}
        return own if self.queue is None else {**own, "queue": self.queue}


@dataclass(frozen=True, slots=True)
class Plan:
    """What an agent run may do: its tools by name, and how far it may go."""

    name: str
    tools: Mapping[str, Tool]
    steps: int = STEPS
    depth: int = DEPTH
    spend: str | None = None
    """US dollars that its children may cost, a decimal (``pricing.md`` §1); None for no limit."""

    def to_json(self) -> dict[str, canonical.JSON]:
        """As a gateway keeps it; :func:`parse_plan` reads it back."""
        tools: list[canonical.JSON] = [tool.to_json() for tool in self.tools.values()]
        limits: dict[str, canonical.JSON] = {"steps": self.steps, "depth": self.depth}
        if self.spend is not None:
            limits["spend"] = self.spend
        return {"name": self.name, "tools": tools, "limits": limits}


@dataclass(frozen=True, slots=True)
class StepAsk:
    """One step, parsed: the documents of its run, and what follows from the plan."""

    kind: str
    request: dict[str, Any]
    response: dict[str, Any]
    act: Tool | None = None
    """The tool, where this proposes an act."""
    of: str | None = None
    """The act's run, of an outcome or a reservation."""
    tool: str | None = None
    """The name of the tool, of a call or an act: one that the agent run declared."""


@dataclass(frozen=True, slots=True)
class Amendment:
    """In whose place a person proposed an act (§4(6))."""

    replaces: str
    """The run of the act that it replaces."""
    first: str
    """The run of the act with which that began: one that whoever leads the agent run proposed."""


@dataclass(frozen=True, slots=True)
class Child:
    """One child, as its parent's answer names it (§5(1))."""

    run: str
    endpoint: str
    statement: str
    """Digest (hex) of its closing statement."""

    def to_json(self) -> dict[str, canonical.JSON]:
        return {"run": self.run, "endpoint": self.endpoint, "statement": self.statement}


def parse_plan(value: object) -> Plan:
    """The member ``agent`` of an agent run's request (§2(1)); raises ``agent.request``, ``agent.tools`` and
    ``agent.limits``."""
    if not isinstance(value, dict) or not {"name", "tools"} <= value.keys() <= {"name", "tools", "goal", "limits"}:
        raise MalformedError("agent.request", "agent has name and tools, and may have goal and limits", param="agent")
    if not _is_text(value["name"]) or not is_code(value["name"]):
        raise MalformedError("agent.request", "name is a code", param="agent.name")
    goal = value.get("goal", "")
    if not _is_text(goal) or len(goal) > MAX_GOAL:
        raise MalformedError("agent.request", f"goal is a text of at most {MAX_GOAL} characters", param="agent.goal")
    return Plan(value["name"], _tools(value["tools"]), *_limits(value.get("limits", {})))


def parse_agent_request(value: object) -> Plan:
    """The whole request document of an agent run (§2(1)); raises as :func:`parse_plan`."""
    if not isinstance(value, dict) or value.keys() != {"agent"}:
        raise MalformedError(
            "agent.request", "the request of an agent run has exactly one member, agent", hint="options go into headers"
        )
    return parse_plan(value["agent"])


def parse_step(value: object, plan: Plan) -> StepAsk:
    """The body of a step: its request, and what came of it (§4(1)). Raises ``agent.step``, ``agent.tool`` and
    ``agent.act``."""
    kind = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(value, dict) or kind not in KINDS:
        raise MalformedError("agent.step", f"a step is an object whose kind is one of {', '.join(KINDS)}", param="kind")
    if kind == "tool":
        return _tool_step(value, plan)
    if kind in ABOUT_ACTS:
        return _about_act(value, kind)
    request, response = _cut(value, {"kind", "name", "attributes"})
    if response or not _is_text(request["name"]) or not 0 < len(request["name"]) <= MAX_NAME:
        raise MalformedError("agent.step", f"a hint has a name of 1 to {MAX_NAME} characters, and no result")
    if not isinstance(request["attributes"], dict):
        raise MalformedError("agent.step", "attributes is an object", param="attributes")
    return StepAsk(kind, request, {"recorded": True})


def parse_act_step(value: object, act: str) -> StepAsk:
    """The body of a step that is told to the act ``act`` itself (§4(5)): a reservation or an outcome of it. Raises
    ``agent.step``."""
    asked = parse_step(value, Plan("act", {})) if isinstance(value, dict) and value.get("kind") in ABOUT_ACTS else None
    if asked is None or asked.of != act:
        raise MalformedError("agent.step", f"an act is told {' or '.join(ABOUT_ACTS)} of itself, and nothing else")
    return asked


def parse_amended(value: object, tool: Tool, amends: Amendment) -> StepAsk:
    """The body of a proposal in an act's place (§4(6)): its arguments, and nothing else. Raises ``agent.step``."""
    if not isinstance(value, dict) or value.keys() != {"arguments"} or not isinstance(value["arguments"], dict):
        raise MalformedError("agent.step", "another proposal has exactly arguments, an object", param="arguments")
    request = {"kind": "tool", "tool": tool.name, "arguments": value["arguments"]}
    named = {"replaces": amends.replaces, "first": amends.first}
    return StepAsk("tool", {**request, **named}, {"proposed": True}, act=tool, tool=tool.name)


def amendment_of(document: object) -> Amendment | None:
    """In whose place the act of a request document was proposed; None where it names none. Raises ``act.replaces``
    for one that names it otherwise than a gateway does."""
    named = {name: document[name] for name in ("replaces", "first") if name in document} if _is_object(document) else {}
    if not named:
        return None
    if len(named) < 2 or not all(_is_text(run) and is_run_id(run) for run in named.values()):
        raise RefusedError("act.replaces", "an amended act names the run that it replaces, and the first one")
    return Amendment(**named)


def act_digest(request: Mapping[str, Any]) -> str:
    """Digest (hex) of a proposed act by its request document, as ``decode_exact`` reads it (``acts.md`` §1(3)): the
    same for the same tool and arguments, in whatever order they were written."""
    return sha256_hex(canonical.encode_exact(in_order({name: request[name] for name in ("arguments", "kind", "tool")})))


def in_order(value: Any) -> Any:
    """The value with the members of its objects in the order of their names."""
    if isinstance(value, dict):
        return {name: in_order(value[name]) for name in sorted(value, key=lambda name: name.encode("utf-16-be"))}
    return [in_order(item) for item in value] if isinstance(value, list) else value


def closing_document(value: object, children: Iterable[Child], spent: str | None = None) -> dict[str, Any]:
    """The response document of an agent run that ends with ``value``, an object of ``result`` or ``error`` (§5(1)).
    ``spent`` is what its children cost, where it has a limit of that. Raises ``agent.step``."""
    if not isinstance(value, dict):
        raise MalformedError("agent.step", "an agent run ends with an object of result or error")
    told = {} if spent is None else {"spent": spent}
    return {**_came_of(value), **told, "children": [child.to_json() for child in children]}


def parse_children(document: object) -> tuple[Child, ...]:
    """The children that an agent run's response document names; raises ``agent.children``."""
    listed = document.get("children") if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(listed, list):
        raise MalformedError("agent.children", "the answer of an agent run lists its children")
    if document.keys() - {"spent"} not in ({"children", "result"}, {"children", "error"}):
        raise MalformedError("agent.children", "the answer of an agent run has children, and result or error")
    spent = document.get("spent", "0")
    if not _is_text(spent) or _SUM.match(spent) is None:
        raise MalformedError("agent.children", "spent is a decimal in its only spelling")
    found = tuple(_child(item) for item in listed)
    if len({child.run for child in found}) != len(found):
        raise MalformedError("agent.children", "a child is listed once")
    return found


def _child(value: object) -> Child:
    if not isinstance(value, dict) or value.keys() != {"run", "endpoint", "statement"}:
        raise MalformedError("agent.children", "a child has exactly run, endpoint and statement")
    run, endpoint, statement = value["run"], value["endpoint"], value["statement"]
    if not (_is_text(run) and is_run_id(run) and _is_text(endpoint) and is_code(endpoint)):
        raise MalformedError("agent.children", "a child is a run of an endpoint")
    if not _is_text(statement) or _DIGEST.match(statement) is None:
        raise MalformedError("agent.children", "statement is a digest in hex")
    return Child(run, endpoint, statement)


def _about_act(value: dict[str, Any], kind: str) -> StepAsk:
    request, response = _cut(value, {"kind", "of"})
    if not _is_text(request["of"]) or not is_run_id(request["of"]):
        raise MalformedError("agent.step", "of is the run of an act", param="of")
    if kind == "outcome":
        return StepAsk(kind, request, _came_of(response), of=request["of"])
    if response:
        raise MalformedError("agent.step", "a reservation has no result")
    return StepAsk(kind, request, {"reserved": True}, of=request["of"])


def _tool_step(value: dict[str, Any], plan: Plan) -> StepAsk:
    request, response = _cut(value, {"kind", "tool", "arguments"})
    if not isinstance(request["arguments"], dict):
        raise MalformedError("agent.step", "arguments is an object", param="arguments")
    tool = plan.tools.get(request["tool"]) if _is_text(request["tool"]) else None
    if tool is None:
        names = ", ".join(plan.tools) or "none"
        raise UsageError("agent.tool", "this agent run declares no such tool", param="tool", hint=f"declared: {names}")
    if tool.effect == "read":
        return StepAsk("tool", request, _came_of(response), tool=tool.name)
    if response:
        raise UsageError(
            "agent.act",
            f"{tool.name} does something outside: it is proposed first, and what came of it is told afterwards",
            hint="leave the result out; once its case is let through, tell the outcome",
        )
    return StepAsk("tool", request, {"proposed": True}, act=tool, tool=tool.name)


def _cut(value: dict[str, Any], request: set[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What was asked and what came of it, taken apart."""
    more = value.keys() - request
    if not request <= value.keys() or not more <= {"result", "error"}:
        raise MalformedError("agent.step", f"a step of this kind has {', '.join(sorted(request))}, result or error")
    return {name: item for name, item in value.items() if name in request}, {name: value[name] for name in more}


def _came_of(response: dict[str, Any]) -> dict[str, Any]:
    if response.keys() == {"result"}:
        return response
    error = response.get("error")
    if response.keys() != {"error"} or not isinstance(error, str) or not 0 < len(error) <= MAX_ERROR:
        raise MalformedError("agent.step", "it has exactly one of result (any value) and error (a text)")
    return response


def _tools(value: object) -> dict[str, Tool]:
    if not isinstance(value, list) or len(value) > MOST_TOOLS:
        raise MalformedError("agent.tools", f"tools is a list of at most {MOST_TOOLS}", param="agent.tools")
    found: dict[str, Tool] = {}
    for number, item in enumerate(value):
        tool = _tool(item, f"agent.tools.{number}")
        if tool.name in found:
            raise MalformedError("agent.tools", f"{tool.name} is declared twice", param=f"agent.tools.{number}.name")
        found[tool.name] = tool
    return found


def _tool(value: object, param: str) -> Tool:
    if not isinstance(value, dict) or not {"name", "effect"} <= value.keys() <= {"name", "effect", "queue"}:
        raise MalformedError("agent.tools", "a tool has name and effect, and may have queue", param=param)
    name, effect, queue = value["name"], value["effect"], value.get("queue")
    if not _is_text(name) or _TOOL.match(name) is None:
        raise MalformedError("agent.tools", "a tool's name is 1 to 64 letters, digits, _ or -", param=f"{param}.name")
    if effect not in EFFECTS:
        raise MalformedError("agent.tools", f"effect is one of {', '.join(EFFECTS)}", param=f"{param}.effect")
    if (effect == "read") != ("queue" not in value):
        raise MalformedError(
            "agent.tools", "what does something outside names the queue of its acts, and nothing else does", param=param
        )
    if queue is not None and not (_is_text(queue) and is_code(queue)):
        raise MalformedError("agent.tools", "queue is the name of a review queue: a code", param=f"{param}.queue")
    return Tool(name, effect, queue)


def _limits(value: object) -> tuple[int, int, str | None]:
    if not isinstance(value, dict) or not value.keys() <= {"steps", "depth", "spend"}:
        raise MalformedError("agent.limits", "limits has steps, depth and spend, or less", param="agent.limits")
    steps = _count(value.get("steps", STEPS), MOST_STEPS, "steps")
    return steps, _count(value.get("depth", DEPTH), MOST_DEPTH, "depth"), _spend(value)


def _spend(limits: dict[str, Any]) -> str | None:
    if "spend" not in limits:
        return None
    given = limits["spend"]
    try:
        pricing.parse_decimal(None if isinstance(given, NumberText) else given)
    except MalformedError as error:
        raise MalformedError(
            "agent.limits", "spend is US dollars: a decimal in a string, such as 0.25", param="agent.limits.spend"
        ) from error
    return str(given)


def _count(value: object, most: int, name: str) -> int:
    text = value if isinstance(value, NumberText) else str(value) if type(value) is int else ""
    if _INTEGER.match(text) is None or int(text) > most:
        raise MalformedError("agent.limits", f"{name} is an integer from 1 to {most}", param=f"agent.limits.{name}")
    return int(text)


def _is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and not isinstance(value, NumberText)
