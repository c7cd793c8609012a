"""Every case store keeps the promises of its port, on SQLite and on PostgreSQL."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from holdfast.adapters.case_store_sql import SQLCaseStore
from holdfast.core.encoding import sha256_hex
from holdfast.errors import ConflictError, UnavailableError
from holdfast.ports.case_store import CaseFilter, CaseRow, CaseStore, Head, LedAct, LedChild, StoredEvent
from holdfast.review.cases import LET_THROUGH
from tests.helpers.network import RUN
from tests.helpers.review import AUDITOR, CONSUMER, Clinic


def emptied(url: str) -> str:
    """A database without tables, and so without the guards that refuse to empty one."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP SCHEMA public CASCADE"))
        connection.execute(sa.text("CREATE SCHEMA public"))
    engine.dispose()
    return url


@pytest.fixture(params=["sqlite-memory", "sqlite-file", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    urls = {"sqlite-memory": "sqlite://", "sqlite-file": f"sqlite:///{tmp_path / 'cases.sqlite'}"}
    return urls.get(request.param) or emptied(request.getfixturevalue("postgresql_url"))


@pytest.fixture
def store(url: str) -> Iterator[CaseStore]:
    found = SQLCaseStore(url)
    yield found
    found.close()


def case_id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def event(seq: int, case: str | None = None) -> StoredEvent:
    raw = b'{"seq":%d}' % seq
    return StoredEvent(
        seq, sha256_hex(raw), case, "held", f"2026-01-01T00:{seq // 60 % 60:02d}:{seq % 60:02d}.000Z", raw
    )


def row(number: int, stands: str = "HOLD", **changes: object) -> CaseRow:
    found = CaseRow(
        case=case_id(number),
        opened_seq=number,
        last_seq=number,
        queue="default",
        run=f"01900000-0000-7000-8000-{number:012d}",
        subject=None,
        requester=None,
        opened_at="2026-01-01T00:00:00.000Z",
        changed_at="2026-01-01T00:00:00.000Z",
        stands=stands,
        reasons="[]",
        policy="a" * 64,
        vector=None,
        trust="b" * 64,
        bundle=None,
        clear_until=None,
        released_early=0,
        relied=int(stands in LET_THROUGH),
        claimed_by=None,
        claimed_until=None,
        consumer=None,
        handed_until=None,
        handed_at=None,
        flags=0,
        due_at=None,
    )
    return dataclasses.replace(found, **changes)  # type: ignore[arg-type]


def fill(store: CaseStore, *rows: CaseRow) -> None:
    with store.write() as writer:
        seq = writer.head().seq
        writer.append([event(seq + 1 + place, item.case) for place, item in enumerate(rows)])
        writer.put_rows(rows)


# --- refusals -------------------------------------------------------------------------------------------------------


def test_events_that_do_not_follow_on_the_head_are_refused(store: CaseStore) -> None:
    with store.write() as writer:
        writer.append([event(1), event(2)])
    for wrong in ([event(2)], [event(4)], [event(3), event(5)], [event(4), event(3)]):
        with pytest.raises(ConflictError) as caught, store.write() as writer:
            writer.append(wrong)
        assert caught.value.code == "case_store.head"
    with store.read() as reader:
        assert reader.head() == Head(2, event(2).digest, event(2).at)


@pytest.mark.parametrize("statement", ["UPDATE case_events SET raw = ''", "DELETE FROM case_events"])
def test_an_event_is_never_changed_or_removed(store: SQLCaseStore, statement: str) -> None:
    with store.write() as writer:
        writer.append([event(1)])
    with pytest.raises(sa.exc.DBAPIError, match="append-only"), store._engine.begin() as connection:
        connection.execute(sa.text(statement))
    with store.read() as reader:
        assert reader.events(0, 10) == [event(1)]


def test_a_run_has_one_case_in_a_queue(store: CaseStore) -> None:
    fill(store, row(1))
    twice = row(2, run=row(1).run)
    with pytest.raises(sa.exc.IntegrityError), store.write() as writer:
        writer.put_rows([twice])
    fill(store, dataclasses.replace(twice, queue="another"))


def test_what_fails_leaves_nothing_behind(store: CaseStore) -> None:
    fill(store, row(1))

    def fail() -> None:
        with store.write() as writer:
            writer.append([event(2, case_id(2))])
            writer.put_rows([row(2)])
            writer.put_blobs([(case_id(1), "c" * 64, b"evidence")])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with store.read() as reader:
        assert reader.head().seq == 1
        assert reader.row(case_id(2)) is None
        assert reader.blob(case_id(1), "c" * 64) is None


def test_a_database_that_is_locked_is_a_silent_world(tmp_path: Path) -> None:
    path = tmp_path / "cases.sqlite"
    first = SQLCaseStore(f"sqlite:///{path}?timeout=0.05")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(UnavailableError) as caught, first.write():
        pass
    assert caught.value.code == "case_store.database"
    other.execute("ROLLBACK")
    other.close()
    fill(first, row(1))
    first.close()


# --- what is there --------------------------------------------------------------------------------------------------


def test_an_empty_store_knows_nothing(store: CaseStore) -> None:
    with store.read() as reader:
        assert reader.head() == Head(0, "0" * 64, "")
        assert reader.row(case_id(1)) is None
        assert reader.rows(CaseFilter()) == []
        assert reader.next_of("default", "2026") is None
        assert reader.queue("default") is None
        assert (reader.queues(), reader.counts(), reader.waiting(9), reader.events(0, 9)) == ({}, {}, [], [])


def test_what_was_committed_is_there_after_a_restart(url: str) -> None:
    if url == "sqlite://":
        pytest.skip("memory ends with its process")
    first = SQLCaseStore(url)
    fill(first, row(1))
    first.close()
    again = SQLCaseStore(url)
    with again.read() as reader:
        assert reader.row(case_id(1)) == row(1)
        assert reader.head().seq == 1
    again.close()


def test_pages_follow_on_one_another_in_both_directions(store: CaseStore) -> None:
    fill(store, *(row(number, "CLEAR" if number % 2 else "HOLD") for number in range(1, 8)))
    with store.read() as reader:
        first = reader.rows(CaseFilter(queue="default", stands=("CLEAR",), limit=2))
        then = reader.rows(CaseFilter(queue="default", stands=("CLEAR",), limit=2, after=first[-1].opened_seq))
        assert [item.opened_seq for item in first + then] == [1, 3, 5, 7]
        newest = reader.rows(CaseFilter(limit=3, newest_first=True))
        before = reader.rows(CaseFilter(limit=3, newest_first=True, after=newest[-1].opened_seq))
        assert [item.opened_seq for item in newest + before] == [7, 6, 5, 4, 3, 2]
        assert reader.rows(CaseFilter(run=row(4).run)) == [row(4)]
        assert reader.rows(CaseFilter(queue="another")) == []


def test_more_cases_than_one_question_can_name_are_found(store: CaseStore) -> None:
    fill(store, *(row(number) for number in range(1, 1203)))
    with store.read() as reader:
        assert len(reader.rows_of([case_id(number) for number in range(1, 1300)])) == 1202


def test_the_oldest_free_case_that_is_let_through_is_next(store: CaseStore) -> None:
    fill(
        store,
        row(1, "HOLD"),
        row(2, "CLEAR", handed_at="2026-01-01T00:00:01.000Z"),
        row(3, "PROVISIONAL", consumer="shop", handed_until="2026-01-01T00:00:09.000Z"),
        row(4, "CLEAR"),
        row(5, "CLEAR", queue="another"),
        row(6, "RECALLED"),
    )
    with store.read() as reader:
        found = [reader.next_of("default", f"2026-01-01T00:00:0{second}.000Z") for second in (8, 9)]
    assert [item and item.opened_seq for item in found] == [4, 3]


def test_due_are_those_whose_time_has_come_and_those_of_another_trust(store: CaseStore) -> None:
    fill(
        store,
        row(1, due_at="2026-01-01T00:00:05.000Z"),
        row(2, due_at="2026-01-01T00:00:06.000Z"),
        row(3, trust="c" * 64),
        row(4, "CLEAR", trust="c" * 64),
        row(5, "REJECTED", trust="c" * 64),
        row(6, trust=None),
        row(7),
    )
    with store.read() as reader:
        at = "2026-01-01T00:00:05.000Z"
        assert [item.opened_seq for item in reader.due(at, "b" * 64, 10)] == [1, 4, 3, 6]
        assert [item.opened_seq for item in reader.due(at, "b" * 64, 2)] == [1, 4]
        assert [item.opened_seq for item in reader.due("2025", None, 10)] == [4, 1, 2, 3, 7]


def test_evidence_leads_to_the_cases_that_relied_on_it(store: CaseStore) -> None:
    fill(store, row(1, "CLEAR"), row(2, "HOLD"), row(3, "PROVISIONAL"))
    with store.write() as writer:
        writer.index_evidence([(case_id(number), name * 64) for number in (1, 2, 3) for name in "de"])
        writer.index_evidence([(case_id(1), "e" * 64), (case_id(1), "f" * 64)])
        writer.index_evidence([(case_id(3), "f" * 64)], {case_id(3)})
    with store.read() as reader:
        first, third = (item.case for item in reader.rows(CaseFilter()) if item.opened_seq in (1, 3))
        assert reader.relying(["d" * 64]) == [first]
        assert reader.relying(["f" * 64, "d" * 64]) == [first, third]
        assert reader.relying(["0" * 64]) == reader.relying([]) == []


def test_recalled_cases_come_last_where_trust_is_another(store: CaseStore) -> None:
    fill(store, row(1, "RECALLED", trust="c" * 64), row(2, trust="c" * 64))
    with store.read() as reader:
        assert [item.opened_seq for item in reader.due("2025", "b" * 64, 10)] == [2, 1]


def test_a_case_that_somebody_claimed_is_not_the_next_one_while_that_lasts(store: CaseStore) -> None:
    fill(store, row(1, "CLEAR", claimed_by="rita", claimed_until="2026-01-01T00:00:09.000Z"))
    with store.read() as reader:
        found = [reader.next_of("default", f"2026-01-01T00:00:0{second}.000Z") for second in (8, 9)]
    assert [item is not None for item in found] == [False, True]


def test_what_a_case_rests_on_leads_to_it_until_the_moment_it_had_to_be_good(store: CaseStore) -> None:
    fill(store, row(1, "CLEAR"), row(2, "CLEAR"), row(3, "HOLD"), row(4, "RECALLED", relied=1))
    early, late, end = "2026-01-01T00:00:01.000Z", "2026-01-01T00:00:02.000Z", "9999-12-31T23:59:59.999Z"
    with store.write() as writer:
        until = {1: early, 2: end, 3: end, 4: end}
        writer.rest({"a" * 64: b"a", "b" * 64: b"b"}, {case_id(place): {"a" * 64: end} for place in until})
        writer.rest({"a" * 64: b"a"}, {case_id(place): {"a" * 64: moment} for place, moment in until.items()})
        writer.rest({}, {case_id(2): {"a" * 64: end}})
    with store.read() as reader:
        assert reader.reliances() == {"a" * 64: b"a", "b" * 64: b"b"}
        assert reader.resting("a" * 64, early) == [case_id(1), case_id(2)]
        assert reader.resting("a" * 64, late) == [case_id(2)]
        assert reader.resting("a" * 64, "", end) == [case_id(1)]
        assert reader.resting("b" * 64, "") == []
    with store.write() as writer:
        writer.rest({}, {case_id(1): {}})
    with store.read() as reader:
        assert reader.resting("a" * 64, "") == [case_id(2)]


def test_what_relied_on_a_case_is_found_at_any_remove_and_circles_end(store: CaseStore) -> None:
    fill(store, *(row(number) for number in range(1, 6)))
    with store.write() as writer:
        for base, target in ((1, 2), (2, 3), (3, 1), (4, 5)):
            assert writer.add_dependant(case_id(base), "case", case_id(target))
        assert writer.add_dependant(case_id(3), "reference", "order 7")
        assert not writer.add_dependant(case_id(3), "reference", "order 7")
    with store.read() as reader:
        assert reader.reach([case_id(1)]) == {case_id(number) for number in (1, 2, 3)}
        assert reader.reach([case_id(4), case_id(5)]) == {case_id(5)}
        assert reader.references([case_id(number) for number in range(1, 6)]) == [(case_id(3), "order 7")]
        assert reader.dependants(case_id(3)) == [("case", case_id(1)), ("reference", "order 7")]
        assert reader.bases(case_id(3)) == [case_id(2)]


def test_what_came_after_a_run_is_found_by_its_evidence_and_by_its_case(store: CaseStore) -> None:
    runs = [f"01900000-0000-7000-8000-{number:012d}" for number in range(20)]
    top, low = runs[18], runs[19]
    fill(store, *(row(number) for number in range(1, 7)), row(7, "RECALLED"))
    children = [
        LedChild(runs[1], (top,), 10, ("d" * 64,)),  # a turn with a case of its own
        LedChild(runs[2], (top, low), 30, ("e" * 64,)),  # an act below the lower one
        LedChild(runs[7], (top,), 60, ("f" * 64,)),
    ]
    with store.write() as writer:
        writer.lead(case_id(2), LedAct("wire", "pay"), [(low, 30), (top, 20)], children[:1])
        writer.lead(case_id(3), LedAct("wire", "pay"), [(top, 40)], children[1:2])
        writer.lead(case_id(4), None, [(low, 50), (top, 20)], [])
        writer.lead(case_id(5), LedAct("post", "send"), [(top, 70)], children[2:])
        writer.lead(case_id(6), LedAct("post", "send"), [(top, 10)], children[2:])
        assert writer.led_by_recalled(case_id(5)) == runs[7]
        assert writer.led_by_recalled(case_id(3)) is None
        writer.note_recalled(["e" * 64])
        writer.note_recalled(["e" * 64])
        assert writer.led_by_recalled(case_id(3)) == runs[2]
        assert writer.led_by_recalled(case_id(6)) is None
    with store.read() as reader:
        assert reader.relying(["d" * 64]) == [case_id(number) for number in (2, 3, 4, 5)]
        assert reader.relying(["e" * 64]) == [case_id(number) for number in (3, 4, 5)]
        assert reader.reach([case_id(1)]) == {case_id(number) for number in (2, 3, 4, 5)}
        assert reader.reach([case_id(2)]) == {case_id(number) for number in (3, 4, 5)}
        assert reader.bases(case_id(3)) == [case_id(1), case_id(2)]
        assert reader.led_place(top) == 60
        assert reader.led_place(runs[0]) == 0
        assert reader.acts_of([case_id(number) for number in range(1, 5)]) == {
            case_id(2): LedAct("wire", "pay"),
            case_id(3): LedAct("wire", "pay"),
        }


def test_what_waits_waits_until_it_is_done(store: CaseStore) -> None:
    with store.write() as writer:
        writer.append([event(number) for number in (1, 2, 3)])
        writer.wait([1, 3])
    with store.write() as writer:
        assert [item.seq for item in writer.waiting(10)] == [1, 3]
        assert writer.done(1)
        assert not writer.done(1)
        assert [item.seq for item in writer.waiting(10)] == [3]


def test_policies_stay_and_queues_change_theirs(store: CaseStore) -> None:
    fill(store, row(1), row(2, "CLEAR"), row(3, policy="c" * 64), row(4, "REJECTED"))
    with store.write() as writer:
        for name in ("c", "d"):
            writer.put_policy(name * 64, name.encode())
            writer.put_policy(name * 64, name.encode())
            writer.set_queue("default", name * 64)
        writer.mark_due("default", "2026-01-01T00:00:00.000Z", "c" * 64)
    with store.read() as reader:
        assert reader.queues() == {"default": "d" * 64}
        assert reader.policy("c" * 64) == b"c"
        assert {item.opened_seq for item in reader.due("2026-01-01T00:00:00.000Z", "b" * 64, 9)} == {1, 2}
        assert [item.opened_seq for item in reader.open_of_queue("default", ["HOLD"], 9, "c" * 64)] == [1]
        assert reader.counts() == {("default", "HOLD"): 2, ("default", "CLEAR"): 1, ("default", "REJECTED"): 1}


def test_evidence_is_kept_once_and_let_go_of_when_asked(store: CaseStore) -> None:
    fill(store, row(1))
    with store.write() as writer:
        for _ in range(2):
            writer.put_blobs([(case_id(1), "c" * 64, b"bundle")])
            writer.show({case_id(1): '{"lanes":{}}'})
        assert writer.blob(case_id(1), "c" * 64) == b"bundle"
        assert writer.shown([case_id(1), case_id(2)]) == {case_id(1): '{"lanes":{}}'}
        writer.drop_blob(case_id(1), "c" * 64)
        assert writer.blob(case_id(1), "c" * 64) is None


# --- the desk on each of them ---------------------------------------------------------------------------------------


def test_a_case_goes_its_way_on_every_database(store: CaseStore) -> None:
    clinic = Clinic(store)
    clinic.queue(max_age_s=600)
    other = clinic.case("another")
    case = clinic.case()
    clinic.desk.add_dependant(CONSUMER, case, dependant=other)
    for stage in ("asked", "answered", "logged", "settled"):
        clinic.pass_time(1)
        clinic.note(case, stage)
    handed = clinic.desk.hand_out(CONSUMER, "default", "shop").handed
    assert handed is not None
    assert handed.view.row.run == RUN
    clinic.pass_time(600)
    assert [item[1:] for item in clinic.desk.tick().moved] == [("CLEAR", "HOLD")]
    clinic.note(case, "refuted")
    assert [clinic.state(item) for item in (case, other)] == ["RECALLED", "RECALLED"]
    assert clinic.desk.audit(AUDITOR).faults == ()
