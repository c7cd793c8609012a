"""Labels that come to mean another artifact (``spec/case.md`` §8(8)).

A label is a pointer. What it newly means is what its newest run was answered by, in the order of the runs' own times,
or what somebody reported. When that becomes another artifact the label has moved: one event says so, and every open
case that stands on the label with the former artifact is marked, in the same transaction. Approvals given before the
mark no longer count (``gate.md`` §4(3)). A case that is closed keeps what it was given; that its label has moved since
is read from what the label means now.

Not covered: what an artifact is (``review.facts``), and asking the gate again (``review.desk``).
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.core.encoding import time_encode
from holdfast.ports.case_store import CaseFacts, CaseReader, CaseRow, LabelHead, LabelMove
from holdfast.review.cases import LET_THROUGH, Case
from holdfast.review.events import GATE, Actor
from holdfast.review.work import Work

OPEN = (*LET_THROUGH, "HOLD")
"""States of a case that still stands on its label, unless it was handed over."""


@dataclass(frozen=True, slots=True)
class Moved:
    """A label that moved away from the artifact of a case, as lists and pages tell it."""

    label: str
    before: str
    after: str
    at: str
    closed: bool
    """Whether the case was decided for good when it is asked: then what it was given stays its own."""


def follow_label(work: Work, case: str, facts: CaseFacts) -> list[str]:
    """Take note of what answered a case, and mark what the label moved away from. Returns the cases that are let
    through and have to be asked about again."""
    if facts.label is None or facts.artifact is None or facts.run_at is None:
        return []
    head = work.writer.label(facts.label)
    here = LabelHead(facts.label, facts.artifact, facts.run_at, case, head.moved_seq if head is not None else None)
    if head is None or (head.case == case and head.artifact != facts.artifact):
        work.writer.point_label(here)  # the first of its name, or the same answer with more of it disclosed
        return []
    newer = (facts.run_at, facts.artifact) > (head.at, head.artifact)
    if head.artifact == facts.artifact:
        if newer:
            work.writer.point_label(here)
        return []
    if newer:
        return move_label(work, GATE, here, head.artifact)
    found = work.case(case)
    if found.label_moved_at is None and is_open(found):
        _mark(work, [work.current_row(case)], facts.label, facts.artifact, head)
        return [case] if found.state in LET_THROUGH else []
    return []


def report_label(work: Work, actor: Actor, label: str, artifact: str) -> list[str]:
    """Somebody says what a label means from now on, whatever answered last. Returns what :func:`follow_label` does."""
    head = work.writer.label(label)
    here = LabelHead(label, artifact, time_encode(work.at), None, head.moved_seq if head is not None else None)
    if head is not None and head.artifact == artifact:
        work.writer.point_label(here)
        return []
    return move_label(work, actor, here, head.artifact if head is not None else None)


def move_label(work: Work, actor: Actor, here: LabelHead, before: str | None) -> list[str]:
    """The label means something else from now on; mark every open case that stands on what it meant ``before``."""
    body = {"label": here.label, "from": before, "to": here.artifact, "case": here.case, "seen_at": here.at}
    event = work.emit("label_moved", actor, case=None, body=body)
    head = LabelHead(here.label, here.artifact, here.at, here.case, event.seq)
    work.writer.point_label(head)
    if before is None:
        return []
    work.writer.add_move(LabelMove(event.seq, here.label, time_encode(event.at), before, here.artifact))
    rows = [work.current(row) for row in work.writer.standing_on(here.label, before)]
    rows = [row for row in rows if row.stands in OPEN and row.handed_at is None]
    _mark(work, rows, here.label, before, head)
    return [row.case for row in rows if row.stands in LET_THROUGH]


def _mark(work: Work, rows: list[CaseRow], label: str, before: str, head: LabelHead) -> None:
    body = {"label": label, "from": before, "to": head.artifact, "moved": head.moved_seq}
    work.emit_alike("marked_stale", rows, [body] * len(rows), "label")


def is_open(case: Case) -> bool:
    """Whether a case still stands on its label."""
    return case.state in OPEN and case.handed_over_at is None


def moved_since(reader: CaseReader, facts: CaseFacts | None, row: CaseRow) -> Moved | None:
    """That the label of a case means another artifact by now than the one that answered it; None where it does not."""
    if facts is None or facts.label is None or facts.artifact is None:
        return None
    head = reader.label(facts.label)
    if head is None or head.artifact == facts.artifact:
        return None
    closed = row.stands not in OPEN or row.handed_at is not None
    return Moved(facts.label, facts.artifact, head.artifact, head.at, closed)
