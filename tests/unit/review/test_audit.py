"""Whatever is changed in a stored journal, an audit finds it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.adapters.case_store_sql import SQLCaseStore
from holdfast.core import canonical
from holdfast.core.encoding import sha256_hex
from holdfast.ports.case_store import Head
from holdfast.review.audit import AuditReport
from holdfast.review.desk import Desk
from holdfast.review.events import SYSTEM
from tests.helpers.clock import FakeClock
from tests.helpers.review import APPROVER, AUDITOR, CONSUMER, Clinic


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that holds a whole story."""
    found = tmp_path / "cases.sqlite"
    clinic = Clinic(SQLCaseStore(f"sqlite:///{found}"))
    clinic.queue(reviewers=1)
    other = clinic.case("another")
    case = clinic.case(stage="logged")
    clinic.desk.add_dependant(CONSUMER, case, dependant=other)
    clinic.approve(case)
    clinic.release(case)
    clinic.pass_time(1)
    clinic.note(case, "settled")
    handed = clinic.desk.hand_out(CONSUMER, "default", "shop").handed
    assert handed is not None
    clinic.desk.acknowledge(CONSUMER, case, "shop", handed.key)
    clinic.pass_time(1)
    clinic.note(case, "refuted")
    clinic.desk.view(APPROVER, case)
    clinic.store.close()
    return found


def tamper(path: Path, *statements: str) -> None:
    """What somebody who owns the file can do: the guards are theirs to drop."""
    connection = sqlite3.connect(path, isolation_level=None)
    for trigger in ("case_events_no_update", "case_events_no_delete"):
        connection.execute(f"DROP TRIGGER {trigger}")
    for statement in statements:
        connection.execute(statement)
    connection.close()


def audit(path: Path, published: Head | None = None) -> AuditReport:
    store = SQLCaseStore(f"sqlite:///{path}")
    try:
        return Desk(store, FakeClock(), lambda: None).audit(AUDITOR, published)
    finally:
        store.close()


def head(path: Path) -> Head:
    store = SQLCaseStore(f"sqlite:///{path}")
    try:
        return Desk(store, FakeClock(), lambda: None).head(SYSTEM)
    finally:
        store.close()


def codes(report: AuditReport) -> set[str]:
    return {fault.code for fault in report.faults}


def events(path: Path) -> list[tuple[int, str, bytes]]:
    connection = sqlite3.connect(path)
    found = connection.execute("SELECT seq, digest, raw FROM case_events ORDER BY seq").fetchall()
    connection.close()
    return found


def replace(path: Path, seq: int, raw: bytes, *, digest: bool) -> None:
    """Put other bytes in an event's place, with their digest or without."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("DROP TRIGGER IF EXISTS case_events_no_update")
    connection.execute("UPDATE case_events SET raw = ? WHERE seq = ?", (raw, seq))
    if digest:
        connection.execute("UPDATE case_events SET digest = ? WHERE seq = ?", (sha256_hex(raw), seq))
    connection.close()


def test_an_untouched_journal_has_no_fault_and_goes_through_every_head_it_had(path: Path) -> None:
    report = audit(path)
    assert report.faults == ()
    assert report.events == report.head.seq == len(events(path))
    assert report.cases == 2
    for seq, digest, _ in events(path):
        assert audit(path, Head(seq, digest, "")).faults == ()


def test_changing_any_event_is_found(path: Path) -> None:
    for seq, _, raw in events(path):
        value = canonical.decode(raw)
        value["actor"]["id"] += "x"
        replace(path, seq, canonical.encode(value), digest=False)
        assert "audit.digest" in codes(audit(path)), seq
        replace(path, seq, raw, digest=False)
    assert audit(path).faults == ()


def test_changing_an_event_with_its_digest_is_found(path: Path) -> None:
    last = len(events(path))
    for seq, _, raw in events(path):
        value = canonical.decode(raw)
        value["at"] = "2026-01-01T12:00:00.001Z"
        replace(path, seq, canonical.encode(value), digest=True)
        found = codes(audit(path))
        assert ("audit.head" if seq == last else "audit.chain") in found, seq
        assert "audit.place" in found, seq
        replace(path, seq, raw, digest=True)
    assert audit(path).faults == ()


@pytest.mark.parametrize("flipped", [0, 17, 60, -2])
def test_flipping_one_bit_of_any_event_is_found(path: Path, flipped: int) -> None:
    for seq, _, raw in events(path):
        changed = bytearray(raw)
        changed[flipped] ^= 1
        replace(path, seq, bytes(changed), digest=False)
        assert audit(path).faults, seq
        replace(path, seq, raw, digest=False)


def test_removing_any_event_is_found(path: Path) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for trigger in ("case_events_no_update", "case_events_no_delete"):
        connection.execute(f"DROP TRIGGER {trigger}")
    rows = connection.execute('SELECT seq, digest, "case", kind, at, raw FROM case_events ORDER BY seq').fetchall()
    connection.close()
    for row in rows:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("DROP TRIGGER IF EXISTS case_events_no_delete")
        connection.execute("DELETE FROM case_events WHERE seq = ?", (row[0],))
        connection.close()
        found = codes(audit(path))
        assert found & {"audit.gap", "audit.head"}, row[0]
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("INSERT INTO case_events VALUES (?, ?, ?, ?, ?, ?)", row)
        connection.close()
    assert audit(path).faults == ()


def test_two_events_that_change_places_are_found(path: Path) -> None:
    tamper(
        path,
        "UPDATE case_events SET seq = -1 WHERE seq = 5",
        "UPDATE case_events SET seq = 5 WHERE seq = 6",
        "UPDATE case_events SET seq = 6 WHERE seq = -1",
    )
    assert {"audit.chain", "audit.place"} <= codes(audit(path))


def test_events_cut_off_at_the_end_are_found_by_the_head(path: Path) -> None:
    tamper(path, "DELETE FROM case_events WHERE seq > 10")
    assert "audit.head" in codes(audit(path))


def test_events_cut_off_with_the_head_are_found_by_a_head_that_was_published(path: Path) -> None:
    published = head(path)
    digest = events(path)[9][1]
    tamper(path, "DELETE FROM case_events WHERE seq > 10", f"UPDATE case_head SET seq = 10, digest = '{digest}'")
    report = audit(path, published)
    assert "audit.truncated" in codes(report)
    assert "audit.head" not in codes(report)


def test_a_journal_written_anew_is_found_by_a_head_that_was_published(path: Path) -> None:
    seq, _, _ = events(path)[4]
    assert "audit.published" in codes(audit(path, Head(seq, "a" * 64, "")))


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("UPDATE cases SET stands = 'CLEAR'", "audit.row"),
        ("UPDATE cases SET released_early = 0", "audit.row"),
        ("UPDATE cases SET claimed_by = 'mallory'", "audit.row"),
        ("UPDATE cases SET reasons = '[]'", "audit.row"),
        ("UPDATE cases SET handed_at = NULL", "audit.row"),
        ("DELETE FROM cases WHERE opened_seq < 5", "audit.row"),
        ("DELETE FROM case_dependants", "audit.dependants"),
        ("DELETE FROM queues", "audit.queues"),
        ("UPDATE queue_policies SET document = '{}'", "audit.policy"),
        ("DELETE FROM case_outbox", "audit.waiting"),
        ("DELETE FROM case_blobs", "audit.evidence"),
        ("UPDATE case_blobs SET raw = x'00'", "audit.evidence"),
        ("UPDATE case_head SET seq = 3", "audit.head"),
        ('UPDATE case_events SET "case" = NULL WHERE seq = 3', "audit.place"),
        ("UPDATE case_events SET kind = 'cleared' WHERE seq = 3", "audit.place"),
    ],
)
def test_changing_what_follows_from_the_events_is_found(path: Path, statement: str, code: str) -> None:
    tamper(path, statement)
    assert code in codes(audit(path))


def forge(change: Callable[[dict[str, object]], None]) -> Callable[[bytes], bytes]:
    def made(raw: bytes) -> bytes:
        value = canonical.decode(raw)
        change(value)
        return canonical.encode(value)

    return made


@pytest.mark.parametrize(
    "change",
    [
        forge(lambda value: value.update(kind="cleared")),
        forge(lambda value: value.update(kind="cleared", actor={"kind": "person", "id": "mallory"})),
        forge(lambda value: value.update(kind="statement_logged", body={})),
        forge(lambda value: value.update(case="00000000-0000-4000-8000-00000000ffff")),
        forge(lambda value: value.update(body={})),
    ],
)
def test_an_event_added_by_other_rules_is_found_though_the_chain_is_whole(
    path: Path, change: Callable[[bytes], bytes]
) -> None:
    seq, digest, raw = events(path)[-1]
    value = canonical.decode(raw) | {"seq": seq + 1, "previous": digest}
    raw = change(canonical.encode(value))
    value = canonical.decode(raw)
    connection = sqlite3.connect(path, isolation_level=None)
    row = (seq + 1, sha256_hex(raw), value["case"], value["kind"], value["at"], raw)
    connection.execute("INSERT INTO case_events VALUES (?, ?, ?, ?, ?, ?)", row)
    connection.execute("UPDATE case_head SET seq = ?, digest = ?", (seq + 1, sha256_hex(raw)))
    connection.close()
    assert codes(audit(path)) & {"audit.event", "audit.history", "audit.row"}
