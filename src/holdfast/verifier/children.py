"""An agent run and its children: which they are, and how their lanes lie side by side (``spec/agents.md`` §6).

Pure. Children are bound by their parent's answer, which names each closing statement; each of these names the parent.
Lanes are put side by side and never reduced.

Not covered: what each child's own evidence comes to (``appraise``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from holdfast.core import canonical
from holdfast.core.agents import Child, parse_children
from holdfast.core.statements import Statement
from holdfast.errors import RefusedError
from holdfast.verifier.lanes import LANES, Lane


@dataclass(frozen=True, slots=True)
class CheckedChildren:
    """What :func:`verify_children` found."""

    listed: tuple[Child, ...]
    missing: tuple[Child, ...]
    """Children of which no bundle was shown: nothing is said of these."""


def verify_children(parent: Statement, answer: object, closings: Mapping[str, Statement]) -> CheckedChildren:
    """Hold the closing statements of children against what their parent's answer lists (§6). ``answer`` is the
    response document of the agent run, which was held against ``parent``, its closing statement; ``closings`` are by
    the run of the bundle that showed them. Raises ``children.listed``, ``children.statement``, ``children.parent``,
    ``children.attester`` and ``agent.children``."""
    listed = parse_children(answer)
    known = {child.run: child for child in listed}
    for run, closing in closings.items():
        child = known.get(run)
        if child is None or closing.run != run:
            raise RefusedError("children.listed", f"run {run} is no child that the agent run lists")
        if closing.digest != child.statement:
            raise RefusedError("children.statement", f"run {run} was closed by another statement than is listed")
        if closing.parent_run != parent.run:
            raise RefusedError("children.parent", f"run {run} does not name the agent run as its parent")
        if closing.attester != parent.attester:
            raise RefusedError("children.attester", f"run {run} was closed by another node than the agent run")
    return CheckedChildren(listed, tuple(child for child in listed if child.run not in closings))


def side_by_side(lanes: Mapping[str, Mapping[str, Lane]]) -> dict[str, list[dict[str, canonical.JSON]]]:
    """Lanes of several runs (by run, then by lane), lane by lane: each state and basis that there is, in the order in
    which it came first, with its runs. No state stands for another."""
    found: dict[str, list[dict[str, canonical.JSON]]] = {}
    for name in LANES:
        kinds: dict[tuple[str, str | None], list[canonical.JSON]] = {}
        for run, vector in lanes.items():
            kinds.setdefault((vector[name].state, vector[name].basis), []).append(run)
        found[name] = [{"state": state, "basis": basis, "runs": runs} for (state, basis), runs in kinds.items()]
    return found


def differing(lanes: Sequence[Mapping[str, Lane]]) -> tuple[str, ...]:
    """The lanes in which runs differ by state or basis."""
    return tuple(name for name in LANES if len({(vector[name].state, vector[name].basis) for vector in lanes}) > 1)
