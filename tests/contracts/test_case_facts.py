"""What a case store keeps beside cases: facts, marks, lanes, labels, trust; and the filters over rows."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from holdfast.adapters.case_store_sql import SQLCaseStore
from holdfast.core.artifacts import declared_artifact
from holdfast.ports.case_store import (
    CaseFacts,
    CaseFilter,
    CaseMarks,
    CaseStore,
    LabelHead,
    LabelMove,
    LaneMark,
    LaneSpans,
)
from holdfast.review.statistics import statistics_of
from tests.contracts.test_case_store import case_id, fill, row, store, url
from tests.helpers.labelled import told
from tests.helpers.network import RUN, at
from tests.helpers.review import AUDITOR, SYSTEM, Clinic

__all__ = ["store", "url"]  # fixtures
NOON = "2026-01-01T12:00:00.000Z"
ONE, TWO = "1" * 64, "2" * 64


def facts(number: int, artifact: str | None = ONE, label: str | None = "small", **changes: object) -> CaseFacts:
    given: dict[str, object] = {"queue": "default", "run_at": f"2026-01-01T12:00:{number:02d}.000Z"}
    if artifact is not None:
        given |= {"upstream": "stub", "served": f"model {artifact[0]}", "fingerprint": None}
    return CaseFacts(
        case=case_id(number), opened_seq=number, opened_at=NOON, label=label, artifact=artifact, **(given | changes)
    )


def put(store: CaseStore, *all_facts: CaseFacts) -> None:
    fill(store, *(row(item.opened_seq, queue=item.queue) for item in all_facts))
    with store.write() as writer:
        for item in all_facts:
            writer.put_facts(item)


def found(store: CaseStore, **which: object) -> list[int]:
    with store.read() as reader:
        return [item.opened_seq for item in reader.rows(CaseFilter(**which))]


# --- facts ------------------------------------------------------------------------------------------------------------


def test_nothing_is_known_of_a_case_that_nobody_looked_at(store: CaseStore) -> None:
    fill(store, row(1))
    with store.read() as reader:
        assert reader.facts([case_id(1)]) == {}
        assert reader.marks([case_id(1)]) == {}
        assert reader.lane_marks(case_id(1)) == {}
        assert reader.named(case_id(1)) == set()
        assert (reader.label("small"), reader.label_moves(), reader.totals(None), reader.spans(None)) == (
            None,
            [],
            [],
            [],
        )
        assert reader.trust(ONE) is None


def test_facts_are_replaced_and_what_happened_stays(store: CaseStore) -> None:
    put(store, facts(1, None, None, run_at=None))
    with store.write() as writer:
        writer.put_marks({case_id(1): CaseMarks(cleared=1)})
        writer.put_facts(facts(1))
        assert writer.facts([case_id(1), case_id(2)]) == {case_id(1): facts(1)}
        assert writer.marks([case_id(1)]) == {case_id(1): CaseMarks(cleared=1)}


def test_facts_are_undone_with_their_transaction(store: CaseStore) -> None:
    fill(store, row(1))

    def fail() -> None:
        with store.write() as writer:
            writer.put_facts(facts(1))
            writer.point_label(LabelHead("small", ONE, NOON, None, None))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with store.read() as reader:
        assert reader.facts([case_id(1)]) == {}
        assert reader.label("small") is None


def test_a_trust_document_is_kept_for_good(store: CaseStore) -> None:
    with store.write() as writer:
        for payload in (b"first", b"second"):
            writer.put_trust(ONE, payload)
        assert writer.trust(ONE) == b"first"


def test_cases_that_name_the_same_are_found_the_newest_first(store: CaseStore) -> None:
    put(store, facts(1), facts(2, TWO), facts(3), facts(4, None), facts(5, ONE, "other"))
    with store.write() as writer:
        writer.name(case_id(1), {("source", ONE), ("row", TWO)})
        writer.name(case_id(3), {("source", ONE)})
        writer.name(case_id(3), {("source", TWO)})
    with store.read() as reader:
        named = {
            (kind, value): [item.opened_seq for item in reader.naming(kind, value, 9)]
            for kind, value in (("artifact", ONE), ("label", "small"), ("source", ONE), ("row", TWO), ("row", ONE))
        }
        assert named == {
            ("artifact", ONE): [5, 3, 1],
            ("label", "small"): [4, 3, 2, 1],
            ("source", ONE): [1],
            ("row", TWO): [1],
            ("row", ONE): [],
        }
        assert [item.opened_seq for item in reader.naming("label", "small", 9, ONE)] == [2]
        assert [item.opened_seq for item in reader.naming("artifact", ONE, 2)] == [5, 3]


def test_open_cases_stand_on_their_label_and_closed_ones_do_not(store: CaseStore) -> None:
    put(store, *(facts(number) for number in range(1, 6)), facts(6, TWO))
    with store.write() as writer:
        writer.update_rows([{"case": case_id(2), "stands": "CLEAR"}, {"case": case_id(3), "stands": "RECALLED"}])
        writer.update_rows([{"case": case_id(4), "handed_at": NOON}])
        assert [item.opened_seq for item in writer.standing_on("small", ONE)] == [1, 2, 5]


def test_a_label_means_one_artifact_and_its_moves_stay_in_order(store: CaseStore) -> None:
    with store.write() as writer:
        for head in (LabelHead("small", ONE, NOON, case_id(1), None), LabelHead("small", TWO, NOON, None, 7)):
            writer.point_label(head)
            assert writer.label("small") == head
        for seq, label in ((7, "small"), (9, "other"), (12, "small")):
            writer.add_move(LabelMove(seq, label, NOON, ONE, TWO))
        assert [move.seq for move in writer.label_moves()] == [7, 9, 12]
        assert [move.seq for move in writer.label_moves("small")] == [7, 12]


# --- counting ---------------------------------------------------------------------------------------------------------


def test_counts_are_kept_apart_by_queue_label_and_artifact(store: CaseStore) -> None:
    put(store, facts(1), facts(2), facts(3, TWO), facts(4, None, None, run_at=None), facts(5, queue="other"))
    with store.write() as writer:
        writer.put_marks({case_id(1): CaseMarks(1, 1, 1, 1, 2, 1), case_id(2): CaseMarks(cleared=1)})
        writer.mark_recalled([case_id(2), case_id(1)])
        writer.mark_stale([case_id(3)])
    with store.read() as reader:
        totals = reader.totals(None)
        assert [(item.queue, item.label, item.artifact, item.cases) for item in totals] == [
            ("default", None, None, 1),
            ("default", "small", ONE, 2),
            ("default", "small", TWO, 1),
            ("other", "small", ONE, 1),
        ]
        marks = [(item.cleared, item.released_early, item.recalled, item.stale) for item in totals]
        assert marks == [(0, 0, 0, 0), (2, 1, 2, 1), (0, 0, 0, 1), (0, 0, 0, 0)]
        assert [item.queue for item in reader.totals("other")] == ["other"]
        first = reader.totals("default")[1]
        assert (first.first_at, first.last_at) == ("2026-01-01T12:00:01.000Z", "2026-01-01T12:00:02.000Z")
        assert reader.marks([case_id(1)]) == {case_id(1): CaseMarks(1, 1, 1, 1, 3, 1)}


def test_spans_follow_their_case_into_another_series(store: CaseStore) -> None:
    put(store, facts(1, None, None, run_at=None), facts(2))
    with store.write() as writer:
        for number in (1, 2):
            writer.put_lanes(case_id(number), [LaneMark("bytes", "proven", 1200), LaneMark("settlement", "pending")])
        writer.put_lanes(case_id(2), [LaneMark("settlement", "proven", 5000)])
        assert writer.lane_marks(case_id(2))["settlement"] == LaneMark("settlement", "proven", 5000)
        assert LaneSpans("default", None, None, "bytes", 1200, 1) in writer.spans(None)
        writer.put_facts(facts(1))
        assert writer.spans("default") == [
            LaneSpans("default", "small", ONE, "bytes", 1200, 2),
            LaneSpans("default", "small", ONE, "settlement", 5000, 1),
        ]
        assert writer.spans("other") == []


# --- filters ----------------------------------------------------------------------------------------------------------


def test_rows_are_narrowed_by_lane_and_state(store: CaseStore) -> None:
    put(store, *(facts(number) for number in range(1, 7)), facts(7, queue="other"))
    with store.write() as writer:
        for number in range(1, 8):
            state = "pending" if number % 2 else "proven"
            writer.put_lanes(case_id(number), [LaneMark("settlement", state), LaneMark("bytes", "proven")])
    pending = {"queue": "default", "lane": "settlement", "lane_state": "pending"}
    assert found(store, **pending) == [1, 3, 5]
    assert found(store, **pending, newest_first=True, after=5, limit=1) == [3]
    assert found(store, lane="settlement", lane_state="pending") == [1, 3, 5, 7]
    assert found(store, **{**pending, "lane_state": "refuted"}) == []
    assert found(store, **pending, stands=("CLEAR",)) == []


def test_rows_are_narrowed_by_marks_claims_subject_and_opening(store: CaseStore) -> None:
    put(store, *(facts(number) for number in range(1, 6)))
    with store.write() as writer:
        writer.update_rows([{"case": case_id(1), "released_early": 1}])
        writer.update_rows([{"case": case_id(2), "flags": 2}])
        writer.mark_stale([case_id(3)])
        writer.update_rows(
            [
                {"case": case_id(4), "claimed_by": "rita", "claimed_until": "2026-01-01T12:10:00.000Z"},
                {"case": case_id(5), "claimed_by": "rita", "claimed_until": "2026-01-01T11:00:00.000Z"},
            ]
        )
        subjects = ("Claim 1", "claim 1", "Cl%im 1", "A Claim")
        named = [{"case": case_id(number), "subject": text} for number, text in enumerate(subjects, start=1)]
        writer.update_rows(named)
        writer.update_rows([{"case": case_id(5), "opened_at": NOON}])
    assert found(store, queue="default", released_early=True) == [1]
    assert found(store, queue="default", flagged=True) == [2]
    assert found(store, queue="default", stale=True) == [3]
    assert found(store, claimed_by="rita", claimed_at=NOON) == [4]
    assert found(store, queue="default", subject_prefix="Cl") == [1, 3]
    assert found(store, queue="default", subject_prefix="Cl%") == [3]
    assert found(store, queue="default", opened_since=NOON) == [5]
    assert found(store, queue="default", stale=True, flagged=True) == []


def test_a_database_from_before_gets_what_it_lacks(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path / 'cases.sqlite'}"
    first = SQLCaseStore(address)
    fill(first, row(1))
    with first._engine.begin() as connection:
        for name in ("cases_flagged", "cases_early"):
            connection.execute(sa.text(f"DROP INDEX {name}"))
        for table in ("case_lanes", "case_facts", "case_series", "labels", "label_moves", "trust_documents"):
            connection.execute(sa.text(f"DROP TABLE {table}"))
    first.close()
    again = SQLCaseStore(address)
    put(again, facts(2))
    assert found(again, flagged=True) == []
    indexes = {index["name"] for index in sa.inspect(again._engine).get_indexes("cases")}
    assert {"cases_flagged", "cases_early"} <= indexes
    again.close()


# --- the desk on each of them -----------------------------------------------------------------------------------------


@pytest.fixture
def clinic(store: CaseStore) -> Clinic:
    return Clinic(store)


def test_a_label_splits_its_series_on_every_database(clinic: Clinic) -> None:
    for number, print_ in enumerate(("fp_1", "fp_1", "fp_2")):
        queue = f"queue-{number}"
        clinic.queue(queue)
        case = clinic.desk.open(SYSTEM, RUN, queue).id
        clinic.pass_time(1.5)
        seconds = (clinic.now - at(0)).total_seconds()
        clinic.desk.note_bundle(SYSTEM, case, told(fingerprint=print_, seconds=0.5 + number / 10, exported=seconds))
    with clinic.store.read() as reader:
        all_, one = statistics_of(reader, None), statistics_of(reader, "queue-2")
    first, second = all_.series
    new = declared_artifact("stub", "small-1-2026", "fp_2")
    assert [(item.cases, item.cleared, item.stale) for item in all_.series] == [(2, 2, 2), (1, 1, 0)]
    assert (first.begun, second.artifact, second.begun.after) == (None, new, new)
    assert (first.spans["settlement"].cases, first.spans["settlement"].median_ms) == (2, 1500)
    assert [item.artifact for item in one.series] == [new]
    assert one.series[0].begun == second.begun
    assert one.queues == ("queue-0", "queue-1", "queue-2")
    assert clinic.desk.audit(AUDITOR).faults == ()
