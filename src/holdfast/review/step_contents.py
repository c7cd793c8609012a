"""What a step or an agent run says of itself (``spec/agents.md`` §2, §4): its documents, cut into what was asked and
what came of it. All of it is the word of whoever ran it, and text: arguments and results are shown and never read.

Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.core import canonical
from holdfast.core.canonical import NumberText

MOST_TEXT = 65_536
"""Characters of one document's side that are shown; the parts below hold the rest."""


@dataclass(frozen=True, slots=True)
class StepContent:
    """One step, or an agent run."""

    kind: str
    """``tool``, ``reserved``, ``outcome``, ``hint`` or ``agent``."""
    name: str | None
    """Of the tool, the hint or the agent."""
    asked_as: str
    """What ``asked`` is: arguments, attributes, a goal."""
    asked: str
    came_as: str
    """What ``came`` is: a result, an error, or what the step is recorded as; empty while there is nothing."""
    came: str
    replaces: str | None = None
    """Of an act that a person proposed in the place of another: the run of that one."""

    def to_json(self) -> dict[str, canonical.JSON]:
        return {
            "kind": self.kind,
            "name": self.name,
            "asked_as": self.asked_as,
            "asked": self.asked,
            "came_as": self.came_as,
            "came": self.came,
            "replaces": self.replaces,
        }


def step_content(request: str, response: str | None) -> StepContent | None:
    """What the documents of a run whose endpoint is ``agent`` or ``step`` say; None where they are none of these."""
    asked = canonical.decode_exact(request.encode())
    came = None if response is None else canonical.decode_exact(response.encode())
    if not isinstance(asked, dict):
        return None
    came_as, told = _came(came)
    if isinstance(asked.get("agent"), dict):
        agent = asked["agent"]
        return StepContent("agent", _text(agent.get("name")), "goal", _text(agent.get("goal")) or "", came_as, told)
    kind = _text(asked.get("kind"))
    if kind is None:
        return None
    name, asked_as = _text(asked.get("tool")) or _text(asked.get("name")), "act"
    for member in ("arguments", "attributes"):
        if member in asked:
            text = _cut(indented(asked[member]))
            return StepContent(kind, name, member, text, came_as, told, _text(asked.get("replaces")))
    return StepContent(kind, name, asked_as, _text(asked.get("of")) or "", came_as, told)


def indented(value: Any, before: str = "") -> str:
    """JSON to read, a member a line, with every number as it was written."""
    inner = before + "  "
    if isinstance(value, dict) and value:
        lines = [f"{inner}{_plain(name)}: {indented(item, inner)}" for name, item in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{before}}}"
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(f"{inner}{indented(item, inner)}" for item in value) + f"\n{before}]"
    return _plain(value)


def _plain(value: Any) -> str:
    return canonical.encode_exact(value).decode()


def _came(came: Mapping[str, Any] | None) -> tuple[str, str]:
    if not isinstance(came, dict):
        return "", ""
    if "error" in came:
        return "error", _cut(_text(came["error"]) or "")
    if "result" in came:
        result = came["result"]
        return "result", _cut(_text(result) or indented(result))
    return next(iter(came), ""), ""


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and not isinstance(value, NumberText) else None


def _cut(text: str) -> str:
    return text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]}…"
