"""What lies beside a case so that others like it, and counts over all, are found fast (``spec/case.md`` §6).

All of it follows from the journal and the evidence that it names, is written in the transaction that appraised that
evidence, and can be made again: facts, the lanes as last appraised, and how long it took until each was first proven.

Not covered: rows and the index of evidence (``review.work``).
"""

from __future__ import annotations

import datetime as dt

from holdfast.core import canonical
from holdfast.core.encoding import time_encode
from holdfast.ports.case_store import CaseFacts, LaneMark
from holdfast.review.cases import Case
from holdfast.review.facts import KINDS, Facts, facts_of, rounded
from holdfast.review.labels import follow_label
from holdfast.review.work import Work
from holdfast.verifier.appraisal import Appraisal


def note_appraisal(work: Work, case: Case, appraisal: Appraisal) -> list[str]:
    """Note what an appraisal of a case's evidence names and says. Returns cases that are let through and have to be
    asked about again, for their label has moved."""
    facts, shown = facts_of(appraisal), work.shown(case.id)
    row, before = _row(case, facts), None if shown is None else work.writer.facts([case.id]).get(case.id)
    if row != before:
        work.writer.put_facts(row)
    lanes = canonical.decode(shown.encode())["seen"]["lanes"] if shown is not None and before is not None else {}
    if any(set(lanes.get(name, {}).get("evidence", ())) != set(appraisal.lanes[name].evidence) for name in KINDS):
        work.writer.name(case.id, facts.named)
    span_ms = rounded((work.at - case.opened_at) // dt.timedelta(milliseconds=1))
    work.writer.put_lanes(
        case.id,
        [
            LaneMark(name, lane.state, span_ms if lane.state == "proven" else None)
            for name, lane in appraisal.lanes.items()
            if lanes.get(name, {}).get("state") != lane.state
        ],
    )
    return follow_label(work, case.id, row) if row != before else []


def _row(case: Case, facts: Facts) -> CaseFacts:
    """What is declared of the artifact stands there whole or not at all; of one that a node computed with, nothing is
    declared."""
    told = (facts.artifact, facts.upstream, facts.served, facts.fingerprint) if facts.artifact else (None,) * 4
    if facts.computed is not None:
        told = (facts.computed, None, None, None)
    return CaseFacts(
        case.id, case.queue, case.opened_seq, time_encode(case.opened_at), facts.run_at, facts.label, *told
    )
