"""An audit asks the gate again: a word that let a case through and that it could not have said is found."""

from __future__ import annotations

import dataclasses

import pytest

from holdfast.core import canonical
from holdfast.ports.case_store import Head, StoredEvent
from holdfast.review.audit import audit_journal, audit_store
from holdfast.review.events import GATE, Event, build_event, parse_event
from holdfast.review.export import Export, audit_export, export_case, parse_export
from tests.helpers.network import at
from tests.helpers.review import REVIEWER, SYSTEM, Clinic


def cleared() -> tuple[Clinic, str]:
    clinic = Clinic()
    clinic.queue(max_age_s=3600)
    case = clinic.case(stage="settled")
    assert clinic.state(case) == "CLEAR"
    return clinic, case


def exported(clinic: Clinic, case: str) -> Export:
    with clinic.store.read() as reader:
        return parse_export(canonical.encode(export_case(reader, case, clinic.now)))


def journal(clinic: Clinic) -> list[StoredEvent]:
    with clinic.store.read() as reader:
        return reader.events(0, 1000)


def forge(clinic: Clinic, case: str, kind: str = "cleared", **changes: object) -> Event:
    """An event of the gate that the gate did not say, in a chain that is whole."""
    last = parse_event(journal(clinic)[-1].raw)
    found = clinic.desk.case(SYSTEM, case).case
    values: dict[str, object] = {"lanes": found.lanes, "policy": found.policy, **changes}
    body = {"reasons": [], "clear_until": None, "released_early": False}
    event = build_event(last.seq + 1, last.digest, clinic.now, kind, GATE, case=case, body=body, **values)  # type: ignore[arg-type]
    with clinic.store.write() as writer:
        writer.append([event.stored])
    return event


def codes(clinic: Clinic) -> set[str]:
    with clinic.store.read() as reader:
        return {fault.code for fault in audit_store(reader).faults}


@pytest.mark.parametrize("kind", ["cleared", "provisional"])
def test_a_word_that_the_gate_would_not_say_is_found_in_a_whole_chain(kind: str) -> None:
    clinic = Clinic()
    clinic.queue()
    case = clinic.case(stage="answered")
    forge(clinic, case, kind)
    with clinic.store.read() as reader:
        faults = [fault for fault in audit_store(reader).faults if fault.code == "audit.gate"]
    assert len(faults) == 1
    assert "and by what it names the gate says HOLD" in faults[0].says
    report = audit_export(exported(clinic, case))
    assert [fault.code for fault in report.faults] == ["audit.gate"]


def test_a_case_let_through_under_a_policy_that_no_queue_had_is_found() -> None:
    clinic, case = cleared()
    forge(clinic, case, policy="ab" * 32)
    assert "audit.gate" in codes(clinic)


def test_a_case_of_a_queue_without_a_policy_is_let_through_by_nobody() -> None:
    clinic = Clinic()
    case = clinic.case(stage="settled")
    assert clinic.state(case) == "HOLD"
    forge(clinic, case)
    assert "audit.gate" in codes(clinic)


def test_what_the_gate_said_is_what_it_says_again() -> None:
    clinic, case = cleared()
    assert codes(clinic) == set()
    report = audit_export(exported(clinic, case))
    assert (report.faults, report.state, report.gaps) == ((), "CLEAR", 0)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda told: {"events": (told.events[0].replace(b"held", b"hold"), *told.events[1:])}, "audit.chain"),
        (lambda told: {"events": (*told.events[:2], told.events[1], *told.events[2:])}, "audit.place"),
        (lambda told: {"events": told.events[1:]}, "audit.history"),
        (lambda told: {"events": (b"{}", *told.events)}, "audit.event"),
        (lambda told: {"case": "00000000-0000-4000-8000-00000000ffff"}, "audit.place"),
        (lambda told: {"policies": {}}, "audit.evidence"),
        (lambda told: {"lanes": dict.fromkeys(told.lanes, b"{}")}, "audit.evidence"),
        (lambda told: {"head": Head(1, told.head.digest, "")}, "audit.head"),
        (lambda told: {"head": Head(told.head.seq, "00" * 32, "")}, "audit.head"),
        (lambda told: {"bundle": b"{}"}, "audit.bundle"),
    ],
)
def test_an_exported_case_that_was_changed_is_found_out(change: object, code: str) -> None:
    clinic, case = cleared()
    told = exported(clinic, case)
    events = told.events
    if code == "audit.chain":
        middle = canonical.decode(events[1])
        assert isinstance(middle, dict)
        altered = canonical.encode({**middle, "cause": "other"})
        spoiled = dataclasses.replace(told, events=(events[0], altered, *events[2:]))
    else:
        spoiled = dataclasses.replace(told, **change(told))  # type: ignore[operator]
    assert code in {fault.code for fault in audit_export(spoiled).faults}


def test_an_approval_that_was_left_out_of_an_export_is_missed() -> None:
    clinic = Clinic()
    clinic.queue(reviewers=1)
    case = clinic.case(stage="settled")
    clinic.approve(case)
    assert clinic.state(case) == "CLEAR"
    told = exported(clinic, case)
    report = audit_export(told)
    assert (report.faults, report.gaps) == ((), 0)
    kept = tuple(raw for raw in told.events if b'"kind":"decided"' not in raw)
    report = audit_export(dataclasses.replace(told, events=kept))
    assert [fault.code for fault in report.faults] == ["audit.gate"]
    assert report.gaps == 1
    assert "0 of 1" in report.faults[0].says


def test_the_journal_alone_shows_what_its_events_show() -> None:
    clinic, case = cleared()
    clinic.desk.comment(REVIEWER, case, "as agreed")
    stored = journal(clinic)
    report = audit_journal(stored)
    assert (report.faults, report.events, report.cases) == ((), len(stored), 1)
    assert report.head.digest == stored[-1].digest
    assert [fault.code for fault in audit_journal(stored[:-1], report.head).faults] == ["audit.truncated"]
    assert [fault.code for fault in audit_journal(stored[1:]).faults][:2] == ["audit.gap", "audit.chain"]
    swapped = [stored[0], stored[2], stored[1], *stored[3:]]
    assert {"audit.gap", "audit.chain"} <= {fault.code for fault in audit_journal(swapped).faults}


def test_the_vectors_of_an_export_date_nothing() -> None:
    """What is not known is taken in the gate's favour, so an age alone makes no finding."""
    clinic, case = cleared()
    clinic.pass_time(7200)
    clinic.desk.tick()
    assert clinic.state(case) == "HOLD"
    forge(clinic, case)
    assert not [fault for fault in audit_export(exported(clinic, case)).faults if fault.code == "audit.gate"]
    assert at(0) < clinic.now


def test_a_case_whose_proof_grew_old_and_that_was_released_early_is_as_the_gate_said() -> None:
    clinic = Clinic()
    clinic.queue(max_age_s=3600)
    case = clinic.case(stage="settled")
    clinic.pass_time(7200)
    assert clinic.release(case).state == "PROVISIONAL"
    assert codes(clinic) == set()
