"""Two runs of one agent beside each other, step by step and lane by lane (``spec/agents.md`` §6).

Children are aligned by what they were, in their order; nothing is drawn together: a pair shows which of its lanes
differ, what each turn stood on, and, where both were read, in which words their outputs differ.

Pure. Not covered: reading outputs (``holdfast.web.agent_diff``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.core.canonical import JSON
from holdfast.core.differences import compare_items
from holdfast.nodes.panel.agents import AgentTree, ChildRun, LaneState, Rests
from holdfast.verifier.lanes import LANES


@dataclass(frozen=True, slots=True)
class Aspect:
    """Something that both sides tell, in words; None where a side does not tell it."""

    name: str
    one: str | None
    other: str | None

    @property
    def told(self) -> str:
        """How the sides compare: ``same``, ``differs`` or ``cannot tell``."""
        if self.one is None or self.other is None:
            return "same" if self.one == self.other else "cannot tell"
        return "same" if self.one == self.other else "differs"

    def to_json(self) -> dict[str, JSON]:
        return {"name": self.name, "one": self.one, "other": self.other, "told": self.told}


@dataclass(frozen=True, slots=True)
class LanePair:
    """One lane on both sides."""

    name: str
    one: LaneState
    other: LaneState


@dataclass(frozen=True, slots=True)
class Pair:
    """A child of one run beside that of the other; None where the other has none like it."""

    one: ChildRun | None
    other: ChildRun | None

    @property
    def differing(self) -> tuple[LanePair, ...]:
        """The lanes in which both were looked at and differ."""
        if self.one is None or self.other is None:
            return ()
        return lanes_apart(self.one.lanes, self.other.lanes)

    @property
    def aspects(self) -> tuple[Aspect, ...]:
        """What each stood on: inputs, memory, artifact and route."""
        if self.one is None or self.other is None or self.one.rests is None or self.other.rests is None:
            return ()
        return tuple(
            Aspect(name, _words(self.one.rests, name), _words(self.other.rests, name))
            for name in ("inputs", "memory", "artifact", "route", "model")
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "one": None if self.one is None else self.one.run,
            "other": None if self.other is None else self.other.run,
            "what": (self.one or self.other or _nobody()).what,
            "differing": {
                pair.name: {"one": pair.one.to_json(), "other": pair.other.to_json()} for pair in self.differing
            },
            "stood_on": [aspect.to_json() for aspect in self.aspects],
        }


def _nobody() -> ChildRun:
    raise ValueError("a pair has a side")


def lanes_apart(one: Sequence[LaneState] | None, other: Sequence[LaneState] | None) -> tuple[LanePair, ...]:
    """The lanes that differ by state or basis; none where a side was not looked at."""
    sides = [{lane.name: lane for lane in side or ()} for side in (one, other)]
    return tuple(
        LanePair(name, sides[0][name], sides[1][name])
        for name in LANES
        if all(name in side for side in sides) and sides[0][name] != sides[1][name]
    )


def align(one: AgentTree, other: AgentTree) -> tuple[Pair, ...]:
    """Both runs' children, at every depth, in their order: those that were alike beside each other. Takes time with
    large trees: not for the event loop."""
    left, right = list(one.every.values()), list(other.every.values())
    pairs: list[Pair] = []
    for what, i, j, k, m in compare_items([_key(child) for child in left], [_key(child) for child in right]):
        if what == "equal":
            pairs += [Pair(a, b) for a, b in zip(left[i:j], right[k:m], strict=True)]
        else:
            pairs += [Pair(child, None) for child in left[i:j]]
            pairs += [Pair(None, child) for child in right[k:m]]
    return tuple(pairs)


def _key(child: ChildRun) -> tuple[str, str]:
    """What makes two children alike; a turn is one whatever model it asked."""
    return child.what, "" if child.what == "turn" else child.title


def _words(rests: Rests, name: str) -> str | None:
    if name == "inputs":
        return ", ".join(digest[:12] for digest in rests.admissions) or "none admitted"
    if name == "memory":
        return "none recalled" if rests.recall is None else f"recall {rests.recall[:12]}"
    if name == "artifact":
        basis = (rests.artifact_basis or "").replace("_", " ")
        return None if rests.artifact is None else f"{rests.artifact[:12]} ({basis})"
    return rests.upstream if name == "route" else rests.label
