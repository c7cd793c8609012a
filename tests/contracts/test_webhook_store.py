"""Every store of webhooks keeps the promises of its port, on SQLite and on PostgreSQL."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from holdfast.adapters.webhooks_sql import SQLWebhookStore
from holdfast.errors import ConflictError
from holdfast.ports.webhook_store import Cursor, Delivery, HookRow, NewDelivery, Outcome, Stands, WebhookStore

HOOK, OTHER = "a" * 64, "b" * 64
LATE = "2026-01-09T00:00:00.000Z"


@pytest.fixture(params=["sqlite-memory", "sqlite-file", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    urls = {"sqlite-memory": "sqlite://", "sqlite-file": f"sqlite:///{tmp_path / 'webhooks.sqlite'}"}
    if request.param in urls:
        return urls[request.param]
    found: str = request.getfixturevalue("postgresql_url")
    engine = sa.create_engine(found)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP SCHEMA public CASCADE"))
        connection.execute(sa.text("CREATE SCHEMA public"))
    engine.dispose()
    return found


@pytest.fixture
def store(url: str) -> Iterator[WebhookStore]:
    found = SQLWebhookStore(url)
    yield found
    found.close()


def at(second: int) -> str:
    return f"2026-01-01T00:{second // 60:02d}:{second % 60:02d}.000Z"


def case_id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def new(seq: int, case: int = 1, state: str = "CLEAR", hook: str = HOOK) -> NewDelivery:
    through = state in ("CLEAR", "PROVISIONAL")
    return NewDelivery(f"{seq:063d}{hook[0]}", hook, case_id(case), seq, state, through, at(seq), b"{}")


def cursor(seq: int) -> Cursor:
    return Cursor(seq, f"{seq:064d}") if seq else Cursor()


def add(store: WebhookStore, *deliveries: NewDelivery, second: int = 0) -> None:
    before = store.cursor()
    last = max((item.seq for item in deliveries), default=before.seq + 1)
    store.add(before, cursor(last), deliveries, {}, at(second), LATE)


def end(item: Delivery, stands: Stands, second: int = 0, **changes: object) -> Outcome:
    given = {"attempts": 1, "next_at": item.next_at, "ended_at": at(second), "note": "so"} | changes
    return Outcome(item.number, stands, **given)  # type: ignore[arg-type]


# --- refusals -------------------------------------------------------------------------------------------------------


def test_a_cursor_that_somebody_else_moved_is_refused_and_nothing_is_written(store: WebhookStore) -> None:
    add(store, new(5))
    with pytest.raises(ConflictError) as refused:
        store.add(Cursor(), cursor(9), [new(9)], {case_id(9): "CLEAR"}, at(0), LATE)
    assert refused.value.code == "webhook_store.cursor"
    assert store.cursor() == cursor(5)
    assert store.told([case_id(9)]) == {}
    assert [item.seq for item in store.listed("waiting", 0, 9)] == [5]


@pytest.mark.parametrize("twice", [new(5), dataclasses.replace(new(5), delivery="c" * 64)])
def test_one_event_is_told_to_an_endpoint_once_and_a_failed_write_leaves_nothing(
    store: WebhookStore, twice: NewDelivery
) -> None:
    add(store, new(5))
    with pytest.raises(sa.exc.IntegrityError):
        store.add(store.cursor(), cursor(6), [new(6), twice], {case_id(1): "HOLD"}, at(0), LATE)
    assert store.cursor() == cursor(5)
    assert store.told([case_id(1)]) == {}
    assert len(store.listed("waiting", 0, 9)) == 1
    add(store, new(5, hook=OTHER), second=1)


@pytest.mark.parametrize("stands", ["waiting", "delivered", "dropped"])
def test_only_what_is_dead_is_replayed_or_dropped(store: WebhookStore, stands: Stands) -> None:
    add(store, new(1))
    (item,) = store.due(HOOK, at(0), 9)
    store.settle([end(item, stands)])
    assert not store.replay(item.delivery, at(1), LATE, "by ada")
    assert not store.replay("f" * 64, at(1), LATE, "by ada")
    assert not store.drop(item.delivery, at(1), "by ada")
    assert not store.drop("f" * 64, at(1), "by ada")
    found = store.delivery(item.delivery)
    assert found is not None
    assert found.stands == stands


def test_an_endpoint_that_was_not_disabled_is_not_enabled(store: WebhookStore) -> None:
    assert not store.enable(HOOK)
    store.register(HOOK, 3)
    assert not store.enable(HOOK)


# --- what is there --------------------------------------------------------------------------------------------------


def test_an_empty_store_knows_nothing(store: WebhookStore) -> None:
    assert store.cursor() == Cursor()
    assert store.told([case_id(1)]) == {}
    assert store.due(HOOK, LATE, 9) == []
    assert store.next_at(HOOK, at(0)) is None
    assert store.delivery("0" * 64) is None
    assert store.counts() == {}
    assert store.prune(LATE, 9) == 0
    assert not store.overtaken(1)


def test_what_was_committed_is_there_after_a_restart(url: str) -> None:
    if url == "sqlite://":
        pytest.skip("memory ends with its process")
    first = SQLWebhookStore(url)
    first.register(HOOK, 4)
    first.add(Cursor(), cursor(5), [new(5)], {case_id(1): "CLEAR"}, at(0), LATE)
    first.disable(HOOK, at(1), "gone")
    first.close()
    again = SQLWebhookStore(url)
    assert again.cursor() == cursor(5)
    assert again.told([case_id(1), case_id(2)]) == {case_id(1): "CLEAR"}
    assert again.register(HOOK, 99) == HookRow(HOOK, 4, at(1), "gone")
    assert [item.body for item in again.due(HOOK, at(0), 9)] == [b"{}"]
    again.close()


def test_what_was_told_is_replaced_and_forgotten(store: WebhookStore) -> None:
    store.add(Cursor(), cursor(1), [], {case_id(1): "CLEAR", case_id(2): "CLEAR"}, at(0), LATE)
    store.add(cursor(1), cursor(2), [], {case_id(1): "RECALLED", case_id(2): None}, at(0), LATE)
    assert store.told([case_id(1), case_id(2)]) == {case_id(1): "RECALLED"}


def test_of_each_case_only_the_oldest_that_waits_is_due(store: WebhookStore) -> None:
    add(store, new(1), new(2, state="RECALLED"), new(3, case=2), new(4, hook=OTHER))
    assert [item.seq for item in store.due(HOOK, at(0), 9)] == [1, 3]
    assert [item.seq for item in store.due(HOOK, at(0), 1)] == [1]
    assert [item.seq for item in store.due(OTHER, at(0), 9)] == [4]
    (first, _) = store.due(HOOK, at(0), 9)
    store.settle([end(first, "waiting", next_at=at(60), ended_at=None)])
    assert [item.seq for item in store.due(HOOK, at(0), 9)] == [3]
    assert store.next_at(HOOK, at(0)) == at(60)
    assert [item.seq for item in store.due(HOOK, at(60), 9)] == [3, 1]
    store.settle([end(first, "dead")])
    assert [item.seq for item in store.due(HOOK, at(60), 9)] == [2, 3]


def test_what_takes_back_makes_what_waits_of_the_same_case_due(store: WebhookStore) -> None:
    add(store, new(1), new(2, case=2), new(3, hook=OTHER))
    for hook in (HOOK, OTHER):
        store.settle([end(item, "waiting", next_at=at(900), ended_at=None) for item in store.due(hook, at(0), 9)])
    add(store, new(4, state="RECALLED"), second=10)
    assert [(item.seq, item.next_at) for item in store.due(HOOK, at(10), 9)] == [(1, at(10))]
    assert store.due(OTHER, at(10), 9) == []


def test_outcomes_are_kept_with_their_words(store: WebhookStore) -> None:
    add(store, new(1), new(2, case=2))
    first, second = store.due(HOOK, at(0), 9)
    store.settle([end(first, "delivered", 7, attempts=3, note="answered 200"), end(second, "dead", 8)])
    store.settle([])
    found = store.delivery(first.delivery)
    assert found == dataclasses.replace(first, stands="delivered", attempts=3, ended_at=at(7), note="answered 200")
    assert store.counts() == {(HOOK, "delivered"): 1, (HOOK, "dead"): 1}
    assert [item.seq for item in store.listed("dead", 0, 9)] == [2]
    assert store.listed("dead", second.number, 9) == []


def test_a_replay_begins_again(store: WebhookStore) -> None:
    add(store, new(1))
    (item,) = store.due(HOOK, at(0), 9)
    store.settle([end(item, "dead", 5, attempts=9)])
    assert store.replay(item.delivery, at(6), at(600), "by ada")
    (again,) = store.due(HOOK, at(6), 9)
    assert again == dataclasses.replace(item, next_at=at(6), give_up_at=at(600), note="by ada")


def test_what_is_dropped_is_sent_no_more_and_is_pruned_in_its_time(store: WebhookStore) -> None:
    add(store, new(1))
    (item,) = store.due(HOOK, at(0), 9)
    store.settle([end(item, "dead", 5, attempts=9)])
    assert store.drop(item.delivery, at(6), "by ada")
    (dropped,) = store.listed("dropped", 0, 9)
    assert (dropped.ended_at, dropped.note, dropped.attempts) == (at(6), "by ada", 9)
    assert store.listed("dead", 0, 9) == store.due(HOOK, LATE, 9) == []
    assert store.prune(at(6), 9) == 0
    assert store.prune(at(7), 9) == 1


def test_something_later_of_the_same_case_overtakes(store: WebhookStore) -> None:
    add(store, new(1), new(2, state="HOLD"), new(3, case=2), new(4, hook=OTHER))
    numbers = {item.seq: item for item in store.listed("waiting", 0, 9)}
    store.settle([end(numbers[1], "dead"), end(numbers[3], "delivered"), end(numbers[4], "delivered")])
    assert not store.overtaken(numbers[1].number)
    store.settle([end(numbers[2], "delivered")])
    assert store.overtaken(numbers[1].number)
    assert not store.overtaken(numbers[2].number)


def test_an_endpoint_is_disabled_and_enabled(store: WebhookStore) -> None:
    assert store.register(HOOK, 3) == HookRow(HOOK, 3)
    store.disable(HOOK, at(1), "it is gone")
    assert store.register(HOOK, 9) == HookRow(HOOK, 3, at(1), "it is gone")
    assert store.enable(HOOK)
    assert store.register(HOOK, 9) == HookRow(HOOK, 3)


def test_what_is_dead_or_waits_is_never_pruned(store: WebhookStore) -> None:
    add(store, *(new(seq, case=seq) for seq in range(1, 6)))
    items = store.due(HOOK, at(0), 9)
    for item, stands in zip(items, ("delivered", "dropped", "dead", "delivered"), strict=False):
        store.settle([end(item, stands, item.seq)])  # type: ignore[arg-type]
    assert store.prune(at(4), 9) == 2
    assert store.prune(at(4), 9) == 0
    assert {item.seq for stands in ("waiting", "delivered", "dead") for item in store.listed(stands, 0, 9)} == {3, 4, 5}  # type: ignore[arg-type]


def test_more_cases_than_a_question_holds(store: WebhookStore) -> None:
    many = {case_id(number): "CLEAR" for number in range(1, 1_203)}
    store.add(Cursor(), cursor(1), [], many, at(0), LATE)
    assert store.told(list(many)) == many
