"""Rules: what follows from values that are here, and from nothing else (``spec/workflows.md`` §5).

Two languages that stand elsewhere are taken as they are: what a value is like is an expectation of a source
(``core.expectations``), and whether values agree is the rule of a quorum (``core.quantities``). Arithmetic is exact.

Not covered: what becomes of a result (``core.workflows.moves``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from holdfast.core import canonical
from holdfast.core.expectations import Expectation, admit_value, parse_expectation
from holdfast.core.quantities import Rule as Agreement
from holdfast.core.quantities import apply_rule, parse_rule, parse_value
from holdfast.core.workflows.values import fill, look_up, parse_reference, parse_template, references
from holdfast.errors import HoldfastError, MalformedError, RefusedError

MOST_CASES, MOST_CONDITIONS, MOST_VALUES = 64, 16, 64
_CONDITION = ("type", "minimum", "maximum", "length")
_COMPARED = ("boolean", "decimal", "hex", "integer", "text")


@dataclass(frozen=True, slots=True)
class Condition:
    """What has to be so of the value at one path (§5(2))."""

    value: str
    expect: Expectation
    choices: tuple[str, ...] | None = None

    def holds(self, outputs: Mapping[str, Any]) -> bool:
        """Whether something stands there that is of the type, within bounds, and one of the choices."""
        found = look_up(self.value, outputs)
        if not found:
            return False
        try:
            value = admit_value(self.expect, found[0])
        except RefusedError:
            return False
        text = ("true" if value else "false") if isinstance(value, bool) else str(value)
        return self.choices is None or text in self.choices

    def to_json(self) -> dict[str, canonical.JSON]:
        shape = self.expect.to_json()
        choices: canonical.JSON = None if self.choices is None else list(self.choices)
        return {"value": self.value, **{name: shape[name] for name in _CONDITION}, "choices": choices}


@dataclass(frozen=True, slots=True)
class Case:
    """A result, and when it is the one."""

    when: tuple[Condition, ...]
    result: Any

    def to_json(self) -> dict[str, canonical.JSON]:
        return {"when": [item.to_json() for item in self.when], "result": self.result}


@dataclass(frozen=True, slots=True)
class Cases:
    """The first case of which everything holds."""

    cases: tuple[Case, ...]
    otherwise: tuple[Any] | None = None
    """The template, in a tuple of one; None where the execution ends instead."""

    def decide(self, outputs: Mapping[str, Any]) -> tuple[Any] | None:
        """The result, in a tuple of one; None where no case is the one."""
        for case in self.cases:
            if all(condition.holds(outputs) for condition in case.when):
                return (fill(case.result, outputs),)
        return None if self.otherwise is None else (fill(self.otherwise[0], outputs),)

    def references(self) -> Iterator[str]:
        for case in self.cases:
            yield from (condition.value for condition in case.when)
            yield from references(case.result)
        yield from references(self.otherwise[0] if self.otherwise else None)

    def to_json(self) -> dict[str, canonical.JSON]:
        own: dict[str, canonical.JSON] = {"cases": [case.to_json() for case in self.cases]}
        return own if self.otherwise is None else {**own, "otherwise": self.otherwise[0]}


@dataclass(frozen=True, slots=True)
class Agree:
    """Whether admitted values agree, and on what (§5(3))."""

    values: tuple[str, ...]
    rule: Agreement

    def decide(self, outputs: Mapping[str, Any]) -> tuple[Any]:
        """The result, in a tuple of one; raises ``workflow.reference`` where something else than a value stands."""
        found = [item for path in self.values for item in look_up(path, outputs) if item is not None]
        try:
            outcome = apply_rule(self.rule, [parse_value(item) for item in found])
        except HoldfastError as error:
            raise RefusedError(
                "workflow.reference", f"what has to agree is no admitted value: {error.message}"
            ) from error
        value = None if outcome.value is None else outcome.value.to_json()
        return ({"agreed": outcome.agreed, "spread": outcome.spread, "value": value},)

    def references(self) -> Iterator[str]:
        yield from self.values

    def to_json(self) -> dict[str, canonical.JSON]:
        return {"agree": {"values": list(self.values), "rule": self.rule.to_json()}}


Rule: TypeAlias = Cases | Agree


def parse_deciding(value: Mapping[str, Any]) -> Rule:
    """The members of a rule step beside those of every step (§5). Raises ``workflow.rule`` and what its parts raise."""
    if ("cases" in value) == ("agree" in value) or ("agree" in value and "otherwise" in value):
        raise MalformedError("workflow.rule", "a rule has cases, which may have an otherwise, or agree")
    if "agree" in value:
        return _agree(value["agree"])
    listed = value["cases"]
    if not isinstance(listed, list) or not 1 <= len(listed) <= MOST_CASES:
        raise MalformedError("workflow.rule", f"cases is a list of 1 to {MOST_CASES}")
    otherwise = (parse_template(value["otherwise"]),) if "otherwise" in value else None
    return Cases(tuple(_case(item) for item in listed), otherwise)


def _case(value: Any) -> Case:
    if not isinstance(value, dict) or not {"result"} <= value.keys() <= {"when", "result"}:
        raise MalformedError("workflow.rule", "a case has a result, and when it is the one")
    when = value.get("when", [])
    if not isinstance(when, list) or len(when) > MOST_CONDITIONS:
        raise MalformedError("workflow.rule", f"when is a list of at most {MOST_CONDITIONS} conditions")
    return Case(tuple(_condition(item) for item in when), parse_template(value["result"]))


def _condition(value: Any) -> Condition:
    known = {"value", *_CONDITION, "choices"}
    if not isinstance(value, dict) or not {"value", "type"} <= value.keys() <= known:
        raise MalformedError(
            "workflow.condition", "a condition has value (a path) and type, and may have bounds and choices"
        )
    if value["type"] not in _COMPARED:
        raise MalformedError("workflow.condition", f"a condition is about one of {', '.join(_COMPARED)}")
    expect = parse_shape({name: value[name] for name in _CONDITION if value.get(name) is not None})
    choices = value.get("choices")
    if choices is not None and (
        not isinstance(choices, list)
        or not 1 <= len(choices) <= 256
        or not all(isinstance(item, str) for item in choices)
    ):
        raise MalformedError("workflow.condition", "choices is a list of 1 to 256 texts")
    return Condition(parse_reference(value["value"]), expect, None if choices is None else tuple(choices))


def parse_shape(value: Any) -> Expectation:
    """An expectation without times (``sources.md`` §7(1)); raises ``workflow.condition``."""
    if isinstance(value, dict) and value.keys() & {"fresh_s", "skew_s"}:
        raise MalformedError("workflow.condition", "how fresh a value is, its source says")
    try:
        return parse_expectation(value)
    except MalformedError as error:
        raise MalformedError("workflow.condition", error.message) from error


def _agree(value: Any) -> Agree:
    if not isinstance(value, dict) or value.keys() != {"values", "rule"} or not isinstance(value["rule"], dict):
        raise MalformedError("workflow.rule", "agree has exactly values and rule")
    paths = value["values"]
    if not isinstance(paths, list) or not 1 <= len(paths) <= MOST_VALUES:
        raise MalformedError("workflow.rule", f"values is a list of 1 to {MOST_VALUES} paths")
    try:
        rule = parse_rule({"spread": None, "relative": False, **value["rule"]})
    except MalformedError as error:
        raise MalformedError("workflow.rule", error.message) from error
    return Agree(tuple(parse_reference(item) for item in paths), rule)
