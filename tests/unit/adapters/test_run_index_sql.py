"""The run index: append-only events, rows that are there once, cursors that move with what they speak of."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.adapters.run_index_sql import SQLRunIndex


@pytest.fixture
def index() -> Iterator[SQLRunIndex]:
    found = SQLRunIndex("sqlite://")
    yield found
    found.close()


def row(number: int, **more: Any) -> dict[str, Any]:
    return {
        "run": f"run-{number:03}",
        "workspace": "first",
        "opened_at": f"2026-01-01T00:00:{number:02}.000Z",
        "endpoint": "completions",
        "open_place": number,
        **more,
    }


def test_a_run_that_is_there_already_stays_as_it_is(index: SQLRunIndex) -> None:
    assert index.put_runs([row(1, outcome="complete")]) == set()
    assert index.put_runs([row(1), row(2)]) == {"run-001"}
    found = index.run("run-001")
    assert found is not None
    assert found.outcome == "complete"
    assert index.run("run-003") is None
    assert index.put_runs([]) == set()


def test_more_runs_than_one_question_can_name_are_put_at_once(index: SQLRunIndex) -> None:
    rows = [{**row(1), "run": f"run-{number}"} for number in range(1200)]
    assert index.put_runs(rows) == set()
    assert len(index.put_runs(rows)) == 1200


def test_rows_and_cursor_move_together(index: SQLRunIndex) -> None:
    index.put_runs([row(1)])
    index.update_runs([{"run": "run-001", "outcome": "complete"}], {"indexed": 7})
    assert index.cursor("indexed") == 7
    assert index.cursor("another") == 0
    with pytest.raises(Exception, match="no_such_member"):
        index.update_runs([{"run": "run-001", "outcome": "x"}, {"run": "run-001", "no_such_member": 1}], {"indexed": 9})
    found = index.run("run-001")
    assert found is not None
    assert (found.outcome, index.cursor("indexed")) == ("complete", 7)


def test_the_time_of_logging_is_the_first_one(index: SQLRunIndex) -> None:
    index.put_runs([row(1)])
    for at in ("2026-01-01T00:00:01.000Z", "2026-01-01T00:00:09.000Z"):
        index.update_runs([{"run": "run-001", "logged_at": at, "execution_index": 4}])
    found = index.run("run-001")
    assert found is not None
    assert found.logged_at == "2026-01-01T00:00:01.000Z"
    assert index.highest_entry() == 4


def test_recent_runs_are_the_workspace_s_own_newest_first(index: SQLRunIndex) -> None:
    index.put_runs([row(number) for number in range(5)])
    index.put_runs([row(9, workspace="second")])
    assert [item.run for item in index.recent("first", 3)] == ["run-004", "run-003", "run-002"]
    assert [item.run for item in index.recent("second", 3)] == ["run-009"]
    assert index.recent("nobody", 3) == []


def test_an_empty_index_knows_nothing(index: SQLRunIndex) -> None:
    assert (index.highest_entry(), index.highest_final(), index.last_event("final")) == (-1, 0, None)
    assert (index.events_of(1), index.events_since("", None, 0), index.superseding(0)) == ([], [], [])
    assert index.first_covering("checkpoint", 0) is None


def test_positions_only_rise_also_over_a_restart(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'runs.sqlite'}"
    positions = []
    for _ in range(3):
        index = SQLRunIndex(url)
        positions += [index.add_event("t", "votes", 1, 1, {}).position for _ in range(3)]
        index.close()
    assert positions == sorted(set(positions))


def test_the_first_event_that_covers_an_entry_is_the_smallest_then_the_oldest(index: SQLRunIndex) -> None:
    for size in (9, 4, 6, 4):
        index.add_event("t", "final", size, size, {})
    covering = [index.first_covering("final", place) for place in (3, 4, 8, 9)]
    assert [item.size if item else None for item in covering] == [4, 6, 9, None]
    assert covering[0] is not None
    assert covering[0].position == 2


def test_events_since_a_time_reach_beyond_an_entry_and_stand_in_order(index: SQLRunIndex) -> None:
    for at, kind, size in (
        ("1", "candidate", 5),
        ("2", "checkpoint", 5),
        ("2", "candidate", 3),
        ("2", "votes", 5),
        ("3", "final", 6),
        ("3", "superseded", 9),
        ("4", "candidate", 9),
        ("4", "silence", 9),
    ):
        index.add_event(at, kind, 1, size, {"kind": kind})
    assert [item.position for item in index.events_since("2", "3", 3)] == [4, 5]
    assert [item.position for item in index.events_since("2", None, 3)] == [4, 5, 7, 8]
    assert [item.position for item in index.events_since("1", "1", 0)] == [1]
    assert [item.position for item in index.superseding(8)] == [6]
    assert index.superseding(9) == []


def test_the_last_event_of_a_kind_may_be_asked_for_one_round(index: SQLRunIndex) -> None:
    for number in (1, 2, 1):
        index.add_event("t", "final", number, number, {"n": number})
    newest, second = index.last_event("final"), index.last_event("final", 2)
    assert newest is not None
    assert second is not None
    assert (newest.position, second.position, second.body) == (3, 2, {"n": 2})
    assert index.highest_final() == 2
    assert [item.position for item in index.events_of(1)] == [1, 3]


def test_a_file_from_before_queues_is_opened_and_keeps_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    old = sqlite3.connect(path)
    old.execute(
        "CREATE TABLE runs (run VARCHAR(36) NOT NULL, workspace VARCHAR(64) NOT NULL, opened_at VARCHAR(24) NOT NULL, "
        "endpoint VARCHAR(32) NOT NULL, outcome VARCHAR(64), closed_at VARCHAR(24), open_place BIGINT NOT NULL, "
        "close_place BIGINT, follow_place BIGINT, route_index BIGINT, execution_index BIGINT, logged_at VARCHAR(24), "
        "PRIMARY KEY (run))"
    )
    old.execute("INSERT INTO runs (run, workspace, opened_at, endpoint, open_place) VALUES ('r', 'first', '', 'x', 7)")
    old.commit()
    old.close()
    for number in range(2):
        index = SQLRunIndex(f"sqlite:///{path}")
        found = index.run("r")
        assert found is not None
        assert (found.open_place, found.queue, found.subject) == (7, None, None)
        index.put_runs([row(10 + number, queue="desk")])
        assert len(index.openings("first", 0, 100, 10)) == number + 1
        index.close()
