"""Which statements of a bundle are the run's trace, and whether they follow from each other (``spec/trace.md`` §2)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from holdfast.core.artifact_changes import verify_change
from holdfast.core.bundles import ChangeItem, StatementItem
from holdfast.core.statements import Execution, Route, Statement
from holdfast.errors import RefusedError
from holdfast.verifier.checks import CheckPolicy, known_of, refuse_trace
from holdfast.verifier.evidence import SIGNED, CheckedStatement, Evidence, apart_of, refuse_and_note
from holdfast.verifier.transcript import Transcript

_ASIDE = {
    "journal": ("a panel's journal", "statement.md §4.4", "trace.journal"),
    "identity": ("a node's keys", "statement.md §4.5", "trace.identity"),
    "artifact": ("an artifact", "artifacts.md §4", "trace.artifact"),
}
"""Kinds of statements that are about no run: what they tell of, where that is said, and the code of saying so."""


def collect_statements(run: str, items: Iterable[StatementItem], evidence: Evidence, record: Transcript) -> None:
    listed = list(items)
    named = _admissions_named([item.statement for item in listed if item.statement.run == run], listed)
    for item in listed:
        statement = item.statement
        if statement.digest in evidence.changes:
            continue
        if statement.kind == "admission":
            if statement.digest in named:
                evidence.statements.setdefault(statement.digest, CheckedStatement(statement)).copies.append(statement)
            else:
                says = f"Admission {statement.digest[:12]} is one that this run does not name."
                record.note(("inputs",), "trace.md §2(3)", "cannot_tell", says, "trace.admission")
            continue
        if statement.kind in _ASIDE:
            about, spec, code = _ASIDE[statement.kind]
            says = f"Statement {statement.digest[:12]} tells of {about} and of no run."
            record.note(("bytes", "route"), spec, "cannot_tell", says, code)
            continue
        if statement.run != run:
            apart = apart_of(statement)
            told = f"A {statement.kind} statement of another run stands in this trace."
            evidence.refuse(apart or "bytes", "trace.run", told)
            lanes = (apart,) if apart else SIGNED
            says = f"Statement {statement.digest[:12]} is of another run."
            record.note(lanes, "trace.md §2(1)", "no", says, "trace.run")
            continue
        evidence.statements.setdefault(statement.digest, CheckedStatement(statement)).copies.append(statement)
    for checked in evidence.statements.values():
        body = checked.statement.body
        if isinstance(body, Route):
            if evidence.route is not None:
                _refuse_trace(evidence, record, "trace.routes", "The run has two route statements.", "trace.md §2(4)")
            evidence.route = checked
        elif isinstance(body, Execution) and body.closing:
            if evidence.closing is not None:
                _refuse_trace(
                    evidence,
                    record,
                    "trace.closures",
                    "The run has two closing execution statements.",
                    "trace.md §2(7)",
                )
            evidence.closing = checked
        else:
            evidence.follow_ups.append(checked)
    _check_trace(evidence, record)


def _admissions_named(of_run: Iterable[Statement], items: Iterable[StatementItem]) -> set[str]:
    """Digests of the admissions that the routes of a run name, and of those that these combine: they are of no run."""
    parents = {item.statement.digest: item.statement.parents for item in items if item.statement.kind == "admission"}
    named: set[str] = set()
    waiting = [digest for statement in of_run if isinstance(statement.body, Route) for digest in statement.parents]
    while waiting:
        digest = waiting.pop()
        if digest in parents and digest not in named:
            named.add(digest)
            waiting.extend(parents[digest])
    return named


def collect_changes(items: Iterable[object], evidence: Evidence, record: Transcript) -> None:
    """The changes of labels that are shown with what opens them (``lanes.md`` §3.1)."""
    listed = list(items)
    found: dict[str, list[Statement]] = {}
    for item in listed:
        if isinstance(item, StatementItem) and item.statement.kind == "artifact":
            found.setdefault(item.statement.digest, []).append(item.statement)
    for item in dict.fromkeys(each for each in listed if isinstance(each, ChangeItem)):
        copies = found.get(item.digest)
        if copies is None:
            says = f"The change {item.digest[:12]} is not here."
            record.note(("artifact",), "artifacts.md §4", "cannot_tell", says, "artifact_change.unbound")
            continue
        evidence.changes.setdefault(item.digest, CheckedStatement(copies[0], copies))
        try:
            evidence.changed[item.digest] = verify_change(copies[0], item.raw, item.salt)
        except RefusedError as error:
            says = f"What is shown as change {item.digest[:12]} is not what was signed: {error.message}."
            refuse_and_note(evidence, record, "artifact", error.code, says, "artifacts.md §4")
            continue
        says = f"The document of change {item.digest[:12]} is what was signed."
        record.note(("artifact",), "artifacts.md §4", "yes", says)


def note_unmade(evidence: Evidence, bounds: CheckPolicy, at: dt.datetime, record: Transcript) -> None:
    """Which statements had not been made at the time asked about (``lanes.md`` §2.1)."""
    for checked in evidence.checked().values():
        statement = checked.statement
        early_us = (statement.claimed_at - at) // dt.timedelta(microseconds=1)
        checked.not_yet = early_us > bounds.max_skew_s * 1_000_000
        if checked.not_yet:
            says = f"The {statement.kind} statement {statement.digest[:12]} claims a time after the one asked about."
            lanes = {*checked.lanes, checked.settles}
            record.note(lanes, "lanes.md §2.1", "cannot_tell", says, "statement.not_yet")


def _refuse_trace(evidence: Evidence, record: Transcript, code: str, says: str, spec: str) -> None:
    """A rule of the whole trace is broken: nothing that rests on its statements stands."""
    evidence.refuse("bytes", code, says)
    record.note(SIGNED, spec, "no", says, code)


def _check_trace(evidence: Evidence, record: Transcript) -> None:
    """The rules of ``trace.md`` §2: those of the whole trace, and for every statement whose parents are all present."""
    if len({item.statement.nonce for item in evidence.statements.values() if not item.apart} - {None}) > 1:
        says = "The statements of the run answer to two nonces."
        _refuse_trace(evidence, record, "trace.rules", says, "trace.md §2(1)")
    route, closing = evidence.route, evidence.closing
    if route is not None and closing is not None and route.statement.digest not in closing.statement.parents:
        says = "The closing statement does not follow from the route that is shown."
        _refuse_trace(evidence, record, "trace.rules", says, "trace.md §2(4)")
    for checked in evidence.statements.values():
        statement = checked.statement
        parents = [evidence.statements.get(digest) for digest in statement.parents]
        if any(parent is None for parent in parents):
            says = f"A parent of {statement.digest[:12]} is not here."
            record.note(checked.lanes, "trace.md §2", "cannot_tell", says, "trace.parent")
            continue
        known = [known_of(parent.statement, parent.index or 0, "ok") for parent in parents if parent is not None]
        if refuse_trace(statement, known) is not None:
            says = f"The {statement.kind} statement {statement.digest[:12]} does not follow from its parents."
            if checked.apart:
                refuse_and_note(evidence, record, checked.apart, "trace.rules", says, "trace.md §2")
            else:
                _refuse_trace(evidence, record, "trace.rules", says, "trace.md §2")
        else:
            says = f"The {statement.kind} statement {statement.digest[:12]} fits its parents."
            record.note(checked.lanes, "trace.md §2", "yes", says)
