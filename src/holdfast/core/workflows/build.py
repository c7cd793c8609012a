"""A definition made in a program: the same document, and the same digest, as its TOML (``spec/workflows.md`` §2).

A builder collects plain values and has them read by the one reader; it knows no rule of its own. ``value("price")`` and
the other small functions write the forms of templates.
"""

from __future__ import annotations

from typing import Any, Self

from holdfast.core.workflows.definitions import WORKFLOW_TYPE, Definition, build_definition


class Workflow:
    """A workflow, step by step: each method adds one thing and returns the same builder."""

    def __init__(self, name: str, *, goal: str = "", result: Any = None, **members: Any) -> None:
        """``members``: ``limits`` and ``retry``, as a definition has them."""
        self._value: dict[str, Any] = {"type": WORKFLOW_TYPE, "name": name, "goal": goal, "result": result, **members}
        self._tools: list[dict[str, Any]] = []
        self._steps: list[dict[str, Any]] = []

    def on(self, kind: str, **members: Any) -> Self:
        """When it starts: ``schedule``, ``block``, ``webhook``, ``admission`` or ``manual``."""
        self._value["trigger"] = {"kind": kind, **members}
        return self

    def tool(self, name: str, effect: str, queue: str) -> Self:
        """A tool that acts, and the queue of its acts."""
        self._tools.append({"name": name, "effect": effect, "queue": queue})
        return self

    def admission(self, name: str, source: str, **members: Any) -> Self:
        """A fact of a source."""
        return self._step(name, "admission", source=source, **members)

    def chat(self, name: str, request: dict[str, Any], **members: Any) -> Self:
        """A question to a chat model; ``request`` is the document that an OpenAI client sends."""
        return self._step(name, "inference", endpoint="chat", request=request, **members)

    def infer(self, name: str, request: dict[str, Any], **members: Any) -> Self:
        """A run of a model of the hub."""
        return self._step(name, "inference", endpoint="infer", request=request, **members)

    def cases(self, name: str, *cases: dict[str, Any], **members: Any) -> Self:
        """A rule: the first case of which everything holds."""
        return self._step(name, "rule", cases=list(cases), **members)

    def agree(self, name: str, values: list[str], rule: dict[str, Any], **members: Any) -> Self:
        """A rule: whether admitted values agree."""
        return self._step(name, "rule", agree={"values": values, "rule": rule}, **members)

    def action(self, name: str, tool: str, arguments: dict[str, Any], **members: Any) -> Self:
        """An act of a declared tool."""
        return self._step(name, "action", tool=tool, arguments=arguments, **members)

    def definition(self) -> Definition:
        """What was built; raises as a file that says the same."""
        return build_definition({**self._value, "tools": self._tools, "steps": self._steps})

    def _step(self, name: str, kind: str, **members: Any) -> Self:
        condition = {"if": members.pop("condition")} if "condition" in members else {}
        self._steps.append({"name": name, "kind": kind, **condition, **members})
        return self


def value(path: str) -> dict[str, Any]:
    """What stands at a path; ``price.value.text`` is short for ``$.price.value.text``."""
    return {"from": path if path.startswith("$") else f"$.{path}"}


def text(*items: Any) -> dict[str, Any]:
    """Its items one after another."""
    return {"text": list(items)}


def number(written: Any) -> dict[str, Any]:
    """A number, in the digits of its text."""
    return {"number": written}


def case(result: Any, *when: dict[str, Any]) -> dict[str, Any]:
    """A result, and the conditions under which it is the one."""
    return {"when": list(when), "result": result}
