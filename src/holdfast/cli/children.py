"""Children of an agent run, for ``holdfast verify --child`` (``agents.md`` §6)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from holdfast.core import canonical
from holdfast.core.agents import Child
from holdfast.core.statements import Statement
from holdfast.errors import HoldfastError, UsageError
from holdfast.verifier.appraisal import Appraisal
from holdfast.verifier.children import side_by_side, verify_children

_SHOWN = 8
"""Runs that a line names one by one."""


@dataclass(frozen=True, slots=True)
class ChildrenFound:
    """Whether the children that were shown are the agent run's, and their lanes side by side."""

    answer: str
    """``yes``, ``no`` or ``cannot_tell``."""
    says: str
    code: str | None
    missing: tuple[Child, ...]
    lanes: Mapping[str, list[dict[str, canonical.JSON]]]

    def to_json(self) -> dict[str, canonical.JSON]:
        return {
            "answer": self.answer,
            "says": self.says,
            "code": self.code,
            "missing": [child.to_json() for child in self.missing],
            "lanes": {name: list(kinds) for name, kinds in self.lanes.items()},
        }


def check_children(parent: Appraisal, children: list[Appraisal]) -> ChildrenFound:
    """Hold the bundles of children against their agent run's; raises ``usage.child`` for two of one run."""
    shown = {child.run: child for child in children}
    if len(shown) != len(children):
        raise UsageError("usage.child", "two files are of one run", param="child")
    lanes = side_by_side({run: child.lanes for run, child in shown.items()})
    answer, closing = parent.evidence.documents.get("response"), parent.evidence.closing
    if answer is None or closing is None:
        says = "The answer of the agent run is not shown, so nobody can say which its children are."
        return ChildrenFound("cannot_tell", says, None, (), lanes)
    closings: dict[str, Statement] = {}
    for run, child in shown.items():
        if child.evidence.closing is None:
            return ChildrenFound("cannot_tell", f"Run {run} has no closing statement here.", None, (), lanes)
        closings[run] = child.evidence.closing.statement
    try:
        found = verify_children(closing.statement, canonical.decode_exact(answer.encode()), closings)
    except HoldfastError as error:
        return ChildrenFound("no", f"{error.message}.", error.code, (), lanes)
    says = f"{len(shown)} of the {len(found.listed)} children that the agent run lists are shown, and are these."
    return ChildrenFound("yes", says, None, found.missing, lanes)


def children_lines(found: ChildrenFound) -> Iterator[str]:
    """The same as text."""
    yield ""
    yield f"children  {found.answer}: {found.says}" + (f" ({found.code})" if found.code else "")
    for child in found.missing:
        yield f"          not shown: {child.run}, {child.endpoint}"
    yield from beside_lines(found.lanes)


def beside_lines(lanes: Mapping[str, list[dict[str, canonical.JSON]]]) -> Iterator[str]:
    """Lanes of several runs side by side: of each lane which states there are, and which runs have them. Where all have
    one, their number says which."""
    for name, kinds in lanes.items():
        for number, kind in enumerate(kinds):
            runs = kind["runs"]
            listed = [str(run) for run in runs] if isinstance(runs, list) else []
            more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
            which = f"all {len(listed)}" if len(kinds) == 1 and len(listed) > 1 else ", ".join(listed[:_SHOWN]) + more
            basis = f" by {kind['basis']}" if kind["basis"] else ""
            yield f"  {name if number == 0 else '':<14}{kind['state']}{basis}: {which}"
