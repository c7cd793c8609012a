"""Recalls: everything that relied on what turned out wrong, at any remove, in one transaction (``spec/case.md`` §8).

What a recall would reach can be asked before it is ordered; between the two more may come to rely on it, and is reached
all the same.

A recall is ordered once, for all cases that it reaches: one event with one decision document, followed by one
``recalled`` event per case, in a row. Which cases it reaches follows from the store's index of evidence and from what
people and programs said relied on what; a circle of cases ends where it began.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.core.decisions import DecisionDocument, batch_of
from holdfast.core.encoding import time_encode
from holdfast.core.trust import Trust
from holdfast.ports.case_store import CaseReader, CaseRow
from holdfast.review.cases import LET_THROUGH
from holdfast.review.events import GATE, SYSTEM, Actor
from holdfast.review.taken import TakenAct, taken_acts
from holdfast.review.work import Work, rows_by_id
from holdfast.verifier.reliance import OPEN, withdrawn

MOST_NAMED = 1_000_000
"""Cases of one artifact that a recall looks at."""
MOST_SAID = 500
"""Characters of a cause that each recalled case repeats; the order holds all of it."""


@dataclass(frozen=True, slots=True)
class Recalled:
    """What a recall reached: cases, in the order in which they were opened, and what stands outside."""

    cases: tuple[str, ...] = ()
    references: tuple[tuple[str, str], ...] = ()
    """(case, outside reference): who outside has to be told."""
    seq: int | None = None
    """Number of the order in the journal; None when nothing relied on it."""
    acts: tuple[TakenAct, ...] = ()
    """Acts among the cases that somebody took before: what they did outside is not undone."""


@dataclass(frozen=True, slots=True)
class RecallPlan:
    """What a recall for some evidence would reach if it were ordered now; nothing is changed by asking."""

    evidence: str
    direct: tuple[CaseRow, ...] = ()
    """Cases that were let through on it, oldest first."""
    dependants: tuple[CaseRow, ...] = ()
    """Cases that relied on those, at any remove, oldest first."""
    references: tuple[tuple[str, str], ...] = ()
    """(case, outside reference) of what would have to be told outside."""
    recalled_already: int = 0
    """Cases on the way that stand recalled, and stay so."""
    acts: tuple[TakenAct, ...] = ()
    """Acts among the cases that somebody took: what they did outside is not undone."""

    def to_json(self) -> dict[str, Any]:
        """The plan as programs see it; each case with the state that it stands in before the recall."""
        return {
            "evidence": self.evidence,
            "direct": [_planned(row) for row in self.direct],
            "dependants": [_planned(row) for row in self.dependants],
            "references": [{"case": case, "reference": reference} for case, reference in self.references],
            "recalled_already": self.recalled_already,
            "acts": [act.to_json() for act in self.acts],
        }


def plan_recall(reader: CaseReader, evidence: str) -> RecallPlan:
    """What :func:`order_recall` would reach for this evidence (digest, hex), in the order in which it would."""
    direct = standing_on(reader, evidence)
    rows = sorted(rows_by_id(reader, {*direct, *reader.reach(direct)}).values(), key=lambda row: row.opened_seq)
    standing = [row for row in rows if row.stands != "RECALLED"]
    return RecallPlan(
        evidence,
        tuple(row for row in standing if row.case in direct),
        tuple(row for row in standing if row.case not in direct),
        tuple(reader.references([row.case for row in standing])),
        len(rows) - len(standing),
        taken_acts(reader, {row.case: row for row in standing}),
    )


def standing_on(reader: CaseReader, evidence: str) -> set[str]:
    """Cases that were let through on some evidence (digest, hex): a lane named it, they rest on it in trust, or it is
    the artifact that answered them."""
    answered = reader.naming("artifact", evidence, MOST_NAMED)
    named = {row.case for row in answered if row.stands in LET_THROUGH}
    return {*reader.relying([evidence]), *reader.resting(evidence, ""), *named}


def order_recall(
    work: Work,
    actor: Actor,
    role: str | None,
    direct: Collection[str],
    because: str,
    *,
    evidence: str | None,
    bodies: Mapping[str, Mapping[str, Any]] | None = None,
) -> Recalled:
    """Recall these cases and all that relied on them, as far as they are not recalled already.

    ``because`` is a sentence without a full stop. ``bodies`` gives the event bodies of cases whose recall the gate has
    worded itself. ``actor`` is a person in a ``role``, the panel, or the gate.
    """
    direct = frozenset(direct)
    if evidence is not None:
        work.writer.note_recalled([evidence])
    reached = work.writer.reach(direct)
    rows = map(work.current, rows_by_id(work.writer, {*direct, *reached}).values())
    standing = [row for row in rows if row.stands != "RECALLED"]
    standing.sort(key=lambda row: (row.case not in direct, row.opened_seq))  # what it began with leads
    if not standing:
        return Recalled()
    lead, cases = standing[0], [row.case for row in standing]
    person = actor.id if actor.kind == "person" else None
    document = DecisionDocument(
        lead.case, lead.queue, lead.run, person, role, "recall", because, None, None, None, None, work.at
    )
    batch = batch_of(cases)
    ordered = work.emit(
        "recall_ordered",
        actor,
        case=None,
        cause=None if evidence is None else "evidence",
        lanes=lead.vector,
        policy=lead.policy or None,
        body={
            "evidence": evidence,
            "because": because,
            "lead": lead.case,
            "cases": batch.to_json(),
            "document": document.raw.decode(),
        },
    )
    given = bodies or {}
    said = because if len(because) <= MOST_SAID else because[: MOST_SAID - 1] + "…"
    through = f"it relied on case {lead.case}, which was recalled: {said}"
    alike = {  # thousands of cases share these four
        (began, early): _body(said if began else through, early) | {"ordered": ordered.seq}
        for began in (True, False)
        for early in (True, False)
    }
    written = [
        {**given[row.case], "ordered": ordered.seq}
        if row.case in given
        else alike[row.case in direct, bool(row.released_early)]
        for row in standing
    ]
    work.emit_alike("recalled", standing, written, "recall")
    acts = taken_acts(work.writer, {row.case: row for row in standing})
    return Recalled(tuple(cases), tuple(work.writer.references(cases)), ordered.seq, acts)


def recall_withdrawn(work: Work, trust: Trust) -> list[Recalled]:
    """Recall every case that was let through on something that trust no longer stands behind (``case.md`` §8(5)): one
    order for each cause. What merely ran out is left to the gate."""
    causes: dict[tuple[str, str], set[str]] = {}
    for name, document in work.writer.reliances().items():
        lost = withdrawn(document, trust)
        if lost is None:
            continue
        before = time_encode(OPEN) if lost.dated_only else None
        resting = work.writer.resting(name, time_encode(lost.since), before)
        causes.setdefault((lost.evidence, lost.says), set()).update(resting)
    found: list[Recalled] = []
    done: set[str] = set()
    for (evidence, says), cases in causes.items():
        recalled = order_recall(work, SYSTEM, None, cases - done, says, evidence=evidence)
        if recalled.cases:
            found.append(recalled)
            done.update(recalled.cases)
    return found


def recall_overturned(work: Work, contents: Collection[str], says: str) -> None:
    """Recall every case whose lanes named one of two contents of a round that were both called final."""
    order_recall(work, GATE, None, work.writer.relying(contents), says.rstrip("."), evidence=min(contents))


def flag_dependants(work: Work, base: str, cause: str) -> None:
    """Mark everything that relied on a case that is no longer let through. ``cause`` is a code."""
    rows = [row for case, row in rows_by_id(work.writer, work.writer.reach([base])).items() if case != base]
    fresh = [row for row in rows if base not in work.case(row.case).flags]
    work.emit_alike("flagged", fresh, [{"base": base} for _ in fresh], cause)


def _planned(row: CaseRow) -> dict[str, Any]:
    return {"case": row.case, "queue": row.queue, "run": row.run, "subject": row.subject, "state": row.stands}


def _body(because: str, early: bool) -> dict[str, Any]:
    return {
        "because": because,
        "reasons": [{"code": "gate.recalled", "lane": None, "says": f"Recalled: {because}."}],
        "clear_until": None,
        "released_early": early,
    }
