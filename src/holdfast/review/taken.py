"""Acts that somebody took before they were recalled: what they did outside is not undone (``spec/case.md`` §8(9)).

What came of one is its outcome's to say, a step of its agent run; here is how far its hand-out went.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.ports.case_store import CaseReader, CaseRow


@dataclass(frozen=True, slots=True)
class TakenAct:
    """An act that was handed to somebody before it was recalled: what it did outside, a recall does not undo."""

    case: str
    queue: str
    run: str
    tool: str
    effect: str
    taken: str
    """``handed_over`` (its consumer is done with it) or ``handed_out`` (its consumer may be doing it)."""

    def to_json(self) -> dict[str, Any]:
        return {
            "case": self.case,
            "queue": self.queue,
            "run": self.run,
            "tool": self.tool,
            "effect": self.effect,
            "taken": self.taken,
        }


def taken_acts(reader: CaseReader, rows: Mapping[str, CaseRow]) -> tuple[TakenAct, ...]:
    """Those of these cases that are acts which somebody took, in the order of the rows."""
    acts = reader.acts_of(rows.keys())
    return tuple(
        TakenAct(row.case, row.queue, row.run, acts[row.case].tool, acts[row.case].effect, taken)
        for row in rows.values()
        if row.case in acts and (taken := taken_as(row)) is not None
    )


def taken_as(row: CaseRow) -> str | None:
    """Whether somebody took a case, and how far; None where nobody did."""
    if row.handed_at is not None:
        return "handed_over"
    return "handed_out" if row.consumer is not None else None
