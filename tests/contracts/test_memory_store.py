"""Every store of a memory node keeps the promises of its port, on SQLite and on PostgreSQL."""

from __future__ import annotations

import dataclasses
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

import pytest
import sqlalchemy as sa

from holdfast.adapters.memory_store_sql import SQLMemoryStore
from holdfast.errors import ConflictError, HoldfastError, UnavailableError, UsageError
from holdfast.ports.memory_store import Beside, Loaded, MemoryStore, SealedEvent, SealedRow, Version, Wrap

ANNA, BEN = "usr_anna", "usr_ben"
AT = "2026-01-01T00:00:00.000Z"


@pytest.fixture(params=["sqlite-memory", "sqlite-file", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    urls = {"sqlite-memory": "sqlite://", "sqlite-file": f"sqlite:///{tmp_path / 'memory.sqlite'}"}
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
def shared_url(url: str) -> str:
    """Of a store that several nodes can have open."""
    if url == "sqlite://":
        pytest.skip("a database in memory is one connection's, and ends with it")
    return url


@pytest.fixture
def store(url: str) -> Iterator[MemoryStore]:
    found = SQLMemoryStore(url)
    found.create_user(ANNA, [a_wrap(ANNA, 1)], AT)
    yield found
    found.close()


def a_wrap(user: str, number: int, **change: object) -> Wrap:
    usual = Wrap(
        id=f"{number:016x}",
        user=user,
        kind="api_key",
        name="mine",
        scopes=("owner", "search"),
        verifier="ab" * 32,
        salt=b"s" * 16,
        memory_kib=0,
        passes=0,
        threads=0,
        sealed=b"sealed-wrap",
        created_at=AT,
        expires_at=None,
    )
    return dataclasses.replace(usual, **change)


def row_id(number: int) -> str:
    return f"mem_{number:032x}"


def a_row(number: int, sealed: bytes = b"key") -> SealedRow:
    return SealedRow(row_id(number), sealed)


def an_event(number: int, sealed: bytes = b"event") -> SealedEvent:
    return SealedEvent(row_id(number), sealed)


def code_of(call: object, *arguments: object) -> str:
    with pytest.raises((ConflictError, UsageError)) as caught:
        call(*arguments)  # type: ignore[operator]
    return caught.value.code


def everything(store: MemoryStore, user: str = ANNA) -> Loaded:
    return store.load(user, Version())


def test_a_user_is_begun_once(store: MemoryStore) -> None:
    assert code_of(store.create_user, ANNA, [a_wrap(ANNA, 2)], AT) == "memory_store.user"
    assert [wrap.id for wrap in store.wraps(ANNA)] == [f"{1:016x}"]
    assert store.users() == 1


def test_who_is_not_there_has_nothing(store: MemoryStore) -> None:
    assert store.version(BEN) is None
    assert store.wrap("f" * 16) is None
    assert code_of(store.load, BEN, Version()) == "memory_store.user"
    assert code_of(store.append, BEN, Version(), [], [an_event(1)]) == "memory_store.user"
    assert code_of(store.add_wrap, a_wrap(BEN, 9), Version()) == "memory_store.user"
    assert not store.erase_user(BEN)


def test_a_wrap_comes_back_as_it_was(store: MemoryStore) -> None:
    wrap = a_wrap(ANNA, 2, kind="passphrase", memory_kib=64, passes=3, threads=1, expires_at=AT, scopes=())
    store.add_wrap(wrap, Version())
    assert store.wrap(wrap.id) == wrap
    assert store.wraps(ANNA) == [a_wrap(ANNA, 1), wrap]
    assert store.remove_wrap(ANNA, wrap.id)
    assert not store.remove_wrap(ANNA, wrap.id)
    assert not store.remove_wrap(BEN, f"{1:016x}")


def test_events_come_back_in_order(store: MemoryStore) -> None:
    first = store.append(ANNA, Version(), [a_row(1)], [an_event(1, b"one"), an_event(1, b"two")])
    second = store.append(ANNA, first, [a_row(2)], [an_event(2, b"three"), an_event(1, b"four")])
    found = everything(store)
    assert found.version == second == Version(4, 0)
    assert [event.sealed for event in found.events] == [b"one", b"two", b"three", b"four"]
    assert found.rows == (a_row(1), a_row(2))
    later = store.load(ANNA, first)
    assert (later.rows, [event.sealed for event in later.events]) == ((a_row(2),), [b"three", b"four"])


def test_an_append_from_another_state_adds_nothing(store: MemoryStore) -> None:
    store.append(ANNA, Version(), [a_row(1)], [an_event(1)])
    for before in (Version(), Version(2, 0), Version(1, 1)):
        assert code_of(store.append, ANNA, before, [a_row(2)], [an_event(2)]) == "memory_store.version"
    assert len(everything(store).events) == 1


def test_a_row_that_is_there_is_not_begun_again(store: MemoryStore) -> None:
    version = store.append(ANNA, Version(), [a_row(1)], [an_event(1)])
    assert code_of(store.append, ANNA, version, [a_row(2), a_row(1)], [an_event(2)]) == "memory_store.version"
    assert everything(store).rows == (a_row(1),)
    assert store.version(ANNA) == version


def test_users_have_rows_of_their_own(store: MemoryStore) -> None:
    store.create_user(BEN, [a_wrap(BEN, 7)], AT)
    store.append(ANNA, Version(), [a_row(1)], [an_event(1, b"anna's")])
    store.append(BEN, Version(), [a_row(1)], [an_event(1, b"ben's")])
    assert [event.sealed for event in everything(store, BEN).events] == [b"ben's"]
    store.erase(BEN, Version(1, 0), [row_id(1)])
    assert [event.sealed for event in everything(store).events] == [b"anna's"]
    assert store.erase_user(BEN)
    assert [event.sealed for event in everything(store).events] == [b"anna's"]
    assert store.wrap(f"{7:016x}") is None
    assert store.users() == 1


def test_what_is_kept_beside_a_row_is_of_that_row(store: MemoryStore) -> None:
    store.append(ANNA, Version(), [a_row(1), a_row(2)], [an_event(1), an_event(2)])
    store.put_beside(ANNA, Version(), [Beside(row_id(1), "vector", b"old"), Beside(row_id(3), "vector", b"of nobody")])
    store.put_beside(ANNA, Version(), [Beside(row_id(1), "vector", b"new"), Beside(row_id(2), "other", b"x")])
    assert store.beside(ANNA, "vector") == {row_id(1): b"new"}
    assert store.beside(BEN, "vector") == {}


def test_nothing_is_kept_beside_rows_whose_keys_may_be_others_by_now(store: MemoryStore) -> None:
    before = store.append(ANNA, Version(), [a_row(1)], [an_event(1)])
    store.put_beside(ANNA, before, [Beside(row_id(1), "vector", b"kept")])
    after = store.replace(ANNA, before, [a_wrap(ANNA, 5)], [a_row(1, b"another key")], [an_event(1)])
    store.put_beside(ANNA, before, [Beside(row_id(1), "vector", b"sealed with the old key")])
    assert store.beside(ANNA, "vector") == {}
    store.put_beside(ANNA, after, [Beside(row_id(1), "vector", b"new")])
    assert store.beside(ANNA, "vector") == {row_id(1): b"new"}
    store.erase_user(ANNA)
    store.put_beside(ANNA, after, [Beside(row_id(1), "vector", b"of nobody")])
    assert store.beside(ANNA, "vector") == {}


def test_an_erased_row_is_gone_and_its_id_does_not_come_back(store: MemoryStore) -> None:
    version = store.append(ANNA, Version(), [a_row(1), a_row(2)], [an_event(1), an_event(2), an_event(1)])
    store.put_beside(ANNA, Version(), [Beside(row_id(1), "vector", b"v")])
    assert code_of(store.erase, ANNA, Version(), [row_id(1)]) == "memory_store.version"
    after = store.erase(ANNA, version, [row_id(1)])
    found = store.load(ANNA, version)
    assert (found.version, found.rows, len(found.events)) == (after, (a_row(2),), 1)
    assert store.beside(ANNA, "vector") == {}
    assert store.erased(ANNA) == {row_id(1)}
    assert code_of(store.append, ANNA, after, [a_row(1)], [an_event(1)]) == "memory_store.erased"
    assert store.version(ANNA) == after
    assert store.erase(ANNA, after, [row_id(1)]) == Version(after.seq, after.epoch + 1)


def test_a_replacement_is_whole_or_not_at_all(store: MemoryStore) -> None:
    version = store.append(ANNA, Version(), [a_row(1)], [an_event(1), an_event(1)])
    store.put_beside(ANNA, Version(), [Beside(row_id(1), "vector", b"v")])
    new = ([a_wrap(ANNA, 5)], [a_row(1, b"k2")], [an_event(1, b"e2")])
    assert code_of(store.replace, ANNA, Version(), *new) == "memory_store.version"
    assert everything(store).rows == (a_row(1),)
    after = store.replace(ANNA, version, *new)
    found = store.load(ANNA, version)
    assert found == Loaded(after, (a_row(1, b"k2"),), (an_event(1, b"e2"),))
    assert store.beside(ANNA, "vector") == {}
    assert [wrap.id for wrap in store.wraps(ANNA)] == [f"{5:016x}"]
    assert code_of(store.add_wrap, a_wrap(ANNA, 6), version) == "memory_store.version"


def test_of_writers_from_one_state_one_wins(shared_url: str) -> None:
    first = SQLMemoryStore(shared_url)
    first.create_user(ANNA, [a_wrap(ANNA, 1)], AT)
    first.close()
    outcomes: list[str] = []

    def write(number: int) -> None:
        mine = SQLMemoryStore(shared_url)
        try:
            mine.append(ANNA, Version(), [a_row(number)], [an_event(number)])
            outcomes.append("won")
        except ConflictError as error:
            outcomes.append(error.code)
        finally:
            mine.close()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["memory_store.version"] * 3 + ["won"]


def in_step(*calls: Callable[[], object]) -> list[object]:
    """Calls that begin together, each in a thread; what they gave or raised."""
    barrier = threading.Barrier(len(calls))

    def one(call: Callable[[], object]) -> object:
        barrier.wait()
        try:
            return call()
        except HoldfastError as error:
            return error.code

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(one, calls))


def test_nodes_that_begin_together_over_an_empty_database_all_begin(shared_url: str) -> None:
    stores = in_step(*[lambda: SQLMemoryStore(shared_url)] * 4)
    for number, store in enumerate(stores):
        assert isinstance(store, SQLMemoryStore), store
        store.create_user(f"usr_{number}", [a_wrap(f"usr_{number}", number)], AT)
        assert store.users() == number + 1
    for store in stores:
        store.close()  # type: ignore[attr-defined]


def test_two_that_keep_the_same_beside_a_row_both_go_through(shared_url: str) -> None:
    stores = [SQLMemoryStore(shared_url) for _ in range(2)]
    stores[0].create_user(ANNA, [a_wrap(ANNA, 1)], AT)
    version = stores[0].append(
        ANNA, Version(), [a_row(number) for number in range(40)], [an_event(number) for number in range(40)]
    )
    for attempt in range(4):
        item = [Beside(row_id(number), f"vector {attempt}", b"same") for number in range(40)]
        done = in_step(*[lambda store=store, item=item: store.put_beside(ANNA, version, item) for store in stores])  # type: ignore[misc]
        assert done == [None, None]
        assert len(stores[1].beside(ANNA, f"vector {attempt}")) == 40
    for store in stores:
        store.close()


def test_a_load_is_one_state_whatever_another_node_writes_between_its_statements(shared_url: str) -> None:
    reader, writer = SQLMemoryStore(shared_url), SQLMemoryStore(shared_url)
    writer.create_user(ANNA, [a_wrap(ANNA, 1)], AT)
    version = writer.append(ANNA, Version(), [a_row(1)], [an_event(1)])
    written: list[Version] = []

    def meanwhile(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "memory_users" in statement and not written:  # after the version, before rows and events
            written.append(writer.append(ANNA, version, [a_row(2)], [an_event(2), an_event(1)]))

    sa.event.listen(reader._engine, "after_cursor_execute", meanwhile)
    found = reader.load(ANNA, Version())
    assert written == [Version(3, 0)]
    assert found == Loaded(version, (a_row(1),), (an_event(1),))
    assert reader.load(ANNA, found.version) == Loaded(written[0], (a_row(2),), (an_event(2), an_event(1)))
    reader.close()
    writer.close()


def test_a_user_who_is_erased_while_another_node_writes_leaves_nothing(shared_url: str) -> None:
    writer, eraser = SQLMemoryStore(shared_url), SQLMemoryStore(shared_url)
    writer.create_user(ANNA, [a_wrap(ANNA, 1)], AT)
    erasing = ThreadPoolExecutor(1)
    begun: list[Future[bool]] = []

    def meanwhile(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("UPDATE memory_users") and not begun:  # the writer has moved the user, and not written
            begun.append(erasing.submit(eraser.erase_user, ANNA))
            assert not wait(begun, timeout=0.3).done  # it waits for this very transaction

    sa.event.listen(writer._engine, "after_cursor_execute", meanwhile)
    writer.append(ANNA, Version(), [a_row(1)], [an_event(1)])
    assert begun[0].result(30)
    erasing.shutdown()
    with writer._read() as connection:
        for table in ("memory_users", "memory_rows", "memory_events", "memory_wraps"):
            assert connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one() == 0
    writer.close()
    eraser.close()


class _CrashingStore(SQLMemoryStore):
    """Stops at the commit, as a process that is killed there."""

    def _commit(self, connection: sa.Connection) -> None:
        raise KeyboardInterrupt


def test_a_crash_before_the_commit_leaves_what_there_was(shared_url: str) -> None:
    first = SQLMemoryStore(shared_url)
    first.create_user(ANNA, [a_wrap(ANNA, 1)], AT)
    version = first.append(ANNA, Version(), [a_row(1)], [an_event(1)])
    first.close()
    crashing = _CrashingStore(shared_url)
    changes = (
        lambda: crashing.append(ANNA, version, [a_row(2)], [an_event(2)]),
        lambda: crashing.erase(ANNA, version, [row_id(1)]),
        lambda: crashing.erase_user(ANNA),
        lambda: crashing.replace(ANNA, version, [a_wrap(ANNA, 3)], [], []),
        lambda: crashing.add_wrap(a_wrap(ANNA, 4), version),
    )
    for change in changes:
        with pytest.raises(KeyboardInterrupt):
            change()
    crashing.close()
    again = SQLMemoryStore(shared_url)
    assert everything(again) == Loaded(version, (a_row(1),), (an_event(1),))
    assert again.wraps(ANNA) == [a_wrap(ANNA, 1)]
    again.close()


NEEDLES = [bytes([65 + number]) * 64 + b"-needle" for number in range(6)]


def _found(folder: Path) -> set[bytes]:
    held = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    return {needle for needle in NEEDLES if needle in held}


def test_after_scrubbing_no_byte_of_what_was_removed_is_in_any_file(tmp_path: Path) -> None:
    store = SQLMemoryStore(f"sqlite:///{tmp_path / 'memory.sqlite'}")
    store.create_user(ANNA, [a_wrap(ANNA, 1, sealed=NEEDLES[0])], AT)
    version = store.append(
        ANNA,
        Version(),
        [a_row(1, NEEDLES[1]), a_row(2, NEEDLES[2])],
        [an_event(1, NEEDLES[3]), an_event(2, NEEDLES[4])],
    )
    store.put_beside(ANNA, Version(), [Beside(row_id(1), "vector", NEEDLES[5])])
    assert _found(tmp_path) == set(NEEDLES)
    store.erase(ANNA, version, [row_id(1)])
    assert store.scrub()
    assert _found(tmp_path) == {NEEDLES[0], NEEDLES[2], NEEDLES[4]}
    assert store.erase_user(ANNA)
    assert store.scrub()
    assert _found(tmp_path) == set()
    store.close()


def test_scrubbing_waits_for_whoever_still_reads(tmp_path: Path) -> None:
    path = tmp_path / "memory.sqlite"
    store = SQLMemoryStore(f"sqlite:///{path}?timeout=0.05")
    store.create_user(ANNA, [a_wrap(ANNA, 1)], AT)
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM memory_users").fetchall()
    store.append(ANNA, Version(), [a_row(1)], [an_event(1)])
    assert not store.scrub()
    reader.execute("COMMIT")
    reader.close()
    assert store.scrub()
    assert len(everything(store).events) == 1
    store.close()


def test_on_postgresql_scrubbing_waits_for_whoever_may_still_see_what_was_removed(
    url: str,
) -> None:
    if not url.startswith("postgresql"):
        pytest.skip("of SQLite the test before this one tells it")
    store = SQLMemoryStore(url)
    store.create_user(ANNA, [a_wrap(ANNA, 1)], AT)
    version = store.append(ANNA, Version(), [a_row(1), a_row(2)], [an_event(1), an_event(2)])
    engine = sa.create_engine(url, isolation_level="REPEATABLE READ")
    with engine.connect() as reader:
        reader.execute(sa.text("SELECT count(*) FROM memory_users")).scalar_one()
        store.erase(ANNA, version, [row_id(1)])
        assert not store.scrub()
    assert store.scrub()
    engine.dispose()
    store.close()


def test_scrubbing_keeps_everything_that_was_not_removed(store: MemoryStore) -> None:
    version = store.append(ANNA, Version(), [a_row(1), a_row(2)], [an_event(1), an_event(2)])
    after = store.erase(ANNA, version, [row_id(2)])
    assert store.scrub()
    assert everything(store) == Loaded(after, (a_row(1),), (an_event(1),))


def test_what_is_no_database_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "memory.sqlite"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(UnavailableError) as caught:
        SQLMemoryStore(f"sqlite:///{path}")
    assert caught.value.code == "memory_store.open"
