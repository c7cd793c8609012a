"""Every run index keeps the promises of its port, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from holdfast.adapters.run_index_sql import SQLRunIndex
from holdfast.ports.run_index import RunIndex


@pytest.fixture(params=["sqlite-memory", "sqlite-file", "postgresql"])
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunIndex]:
    urls = {"sqlite-memory": "sqlite://", "sqlite-file": f"sqlite:///{tmp_path / 'runs.sqlite'}"}
    url = urls.get(request.param) or request.getfixturevalue("postgresql_url")
    found = SQLRunIndex(url)
    found.forget()
    yield found
    found.close()


def row(number: int, workspace: str = "w", queue: str | None = None) -> dict[str, object]:
    return {
        "run": f"01900000-0000-7000-8000-{number:012d}",
        "workspace": workspace,
        "opened_at": f"2026-01-01T00:00:{number:02d}.000Z",
        "endpoint": "completions",
        "open_place": number,
        "queue": queue,
    }


def test_a_run_that_was_never_put_is_not_there(index: RunIndex) -> None:
    assert index.run("01900000-0000-7000-8000-000000000001") is None
    assert index.cursor("indexed") == 0
    assert index.highest_entry() == -1
    assert index.highest_final() == 0
    assert index.last_event("final") is None


def test_putting_a_run_again_changes_nothing_and_says_so(index: RunIndex) -> None:
    first = row(1)
    assert index.put_runs([first]) == set()
    index.update_runs([{"run": first["run"], "outcome": "complete"}])
    assert index.put_runs([first, row(2)]) == {first["run"]}
    found = index.run(str(first["run"]))
    assert found is not None
    assert found.outcome == "complete"


def test_a_cursor_moves_with_its_updates(index: RunIndex) -> None:
    index.put_runs([row(1)])
    index.update_runs([{"run": row(1)["run"], "execution_index": 7}], {"delivered": 40, "indexed": 3})
    index.update_runs([], {"delivered": 50})
    assert index.cursor("delivered") == 50
    assert index.cursor("indexed") == 3
    assert index.highest_entry() == 7


def test_a_workspace_sees_its_own_runs_newest_first(index: RunIndex) -> None:
    index.put_runs([row(1), row(2), row(3, "other"), row(4)])
    assert [found.open_place for found in index.recent("w", 2)] == [4, 2]


def test_events_only_grow_and_keep_their_positions(index: RunIndex) -> None:
    first = index.add_event("2026-01-01T00:00:00.000Z", "candidate", 1, 10, {"a": 1})
    second = index.add_event("2026-01-01T00:00:00.000Z", "final", 1, 10, {"b": [2]})
    third = index.add_event("2026-01-01T00:00:00.000Z", "final", 2, 20, {})
    assert first.position < second.position < third.position
    assert index.events_of(1) == [first, second]
    assert index.last_event("final") == third
    assert index.last_event("final", 1) == second
    assert index.first_covering("final", 9) == second
    assert index.first_covering("final", 10) == third
    assert index.first_covering("final", 20) is None
    assert index.highest_final() == 2


def test_when_a_run_was_logged_is_set_once(index: RunIndex) -> None:
    index.put_runs([row(1), row(2)])
    for moment in ("2026-01-01T00:00:01.000Z", "2026-01-01T00:00:02.000Z"):
        index.update_runs([{"run": row(number)["run"], "logged_at": moment} for number in (1, 2)])
    found = index.run(str(row(2)["run"]))
    assert found is not None
    assert found.logged_at == "2026-01-01T00:00:01.000Z"


def test_openings_are_those_that_name_a_queue_in_the_order_of_their_places(index: RunIndex) -> None:
    rows = [row(40, queue="b"), row(10, queue="a"), row(20), row(30, "other", "a"), row(50, queue="a")]
    index.put_runs(rows)

    def places(begin: int, end: int, limit: int) -> list[tuple[int, str | None]]:
        return [(found.open_place, found.queue) for found in index.openings("w", begin, end, limit)]

    assert places(0, 100, 10) == [(10, "a"), (40, "b"), (50, "a")]
    assert places(0, 100, 2) == [(10, "a"), (40, "b")]
    assert places(10, 50, 10) == [(10, "a"), (40, "b")]
    assert places(11, 40, 10) == []
    assert [found.open_place for found in index.openings("other", 0, 100, 10)] == [30]


def test_children_are_those_that_name_a_parent_in_the_order_of_their_places(index: RunIndex) -> None:
    parent, other = str(row(1)["run"]), str(row(2)["run"])
    named = [row(number) | {"parent_run": above} for number, above in ((9, parent), (4, parent), (5, other))]
    index.put_runs([row(1), row(2)])
    index.put_runs(named)
    assert [found.open_place for found in index.children(parent)] == [4, 9]
    assert [found.open_place for found in index.children(other)] == [5]
    assert index.children(str(row(3)["run"])) == []


def test_the_run_of_a_key_is_the_one_that_was_opened_last_under_it(index: RunIndex) -> None:
    name, other = "aa" * 32, "bb" * 32
    index.put_runs([row(1)])
    index.put_runs([row(number) | {"retry": of} for number, of in ((3, name), (5, name), (9, other))])
    found = index.asked_under(name)
    assert found is not None
    assert (found.open_place, found.retry) == (5, name)
    assert index.asked_under("cc" * 32) is None


def test_agent_runs_are_a_workspaces_own_before_a_place_and_newest_first(index: RunIndex) -> None:
    of_agents = [row(number) | {"endpoint": "agent"} for number in (3, 7, 9)]
    index.put_runs([row(1), *of_agents, row(8, "other") | {"endpoint": "agent"}])
    assert [found.open_place for found in index.agents("w", 10, 9)] == [9, 7, 3]
    assert [found.open_place for found in index.agents("w", 10, 2)] == [9, 7]
    assert [found.open_place for found in index.agents("w", 7, 9)] == [3]
    assert [found.open_place for found in index.agents("other", 10, 9)] == [8]


def test_children_are_counted_by_their_parents(index: RunIndex) -> None:
    parent, other, alone = (str(row(number)["run"]) for number in (1, 2, 3))
    index.put_runs([row(1), row(2), row(3)])
    index.put_runs([row(number) | {"parent_run": above} for number, above in ((9, parent), (4, parent), (5, other))])
    assert index.count_children([parent, alone]) == {parent: 2}
    assert index.count_children([]) == {}


def test_tables_from_before_queues_get_the_column_and_keep_their_rows(index: SQLRunIndex) -> None:
    index.put_runs([row(1)])
    with index._engine.begin() as connection:
        connection.execute(sa.text("DROP INDEX runs_queued"))
        connection.execute(sa.text("ALTER TABLE runs DROP COLUMN queue"))
        connection.execute(sa.text("ALTER TABLE runs DROP COLUMN requester"))
        connection.execute(sa.text("ALTER TABLE runs DROP COLUMN subject"))
        connection.execute(sa.text("DROP INDEX runs_by_parent"))
        connection.execute(sa.text("ALTER TABLE runs DROP COLUMN parent_run"))
        connection.execute(sa.text("DROP INDEX runs_by_retry"))
        connection.execute(sa.text("ALTER TABLE runs DROP COLUMN retry"))
    for _ in range(2):  # the second time there is nothing to do
        index._add_columns()
    index.put_runs([row(2, queue="a") | {"requester": "ada", "subject": "Claim 204"}])
    assert [found.requester for found in index.recent("w", 5)] == ["ada", None]
    assert [found.subject for found in index.recent("w", 5)] == ["Claim 204", None]
    assert [found.queue for found in index.recent("w", 5)] == ["a", None]
    assert [found.open_place for found in index.openings("w", 0, 100, 10)] == [2]
    assert "runs_queued" in {found["name"] for found in sa.inspect(index._engine).get_indexes("runs")}
