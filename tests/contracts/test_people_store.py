"""Every people's store keeps the promises of its port, on SQLite and on PostgreSQL."""

from __future__ import annotations

import dataclasses
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from holdfast.adapters import people_sql
from holdfast.adapters.people_sql import SQLPeopleStore
from holdfast.errors import HoldfastError, UnavailableError
from holdfast.ports.people_store import Account, Code, Key, PeopleStore, Session, StoredEvent

AT = "2026-01-01T00:00:00.000Z"
LATER = "2026-01-02T00:00:00.000Z"


@pytest.fixture(params=["sqlite-memory", "sqlite-file", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    urls = {"sqlite-memory": "sqlite://", "sqlite-file": f"sqlite:///{tmp_path / 'panel' / 'people.sqlite'}"}
    return urls.get(request.param) or str(request.getfixturevalue("postgresql_url"))


@pytest.fixture(params=["sqlite-file", "postgresql"])
def shared_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database that several can open."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgresql_url"))
    return f"sqlite:///{tmp_path / 'people.sqlite'}"


@pytest.fixture
def store(url: str) -> Iterator[PeopleStore]:
    found = SQLPeopleStore(url)
    found.forget()
    yield found
    found.close()


def account(name: str, **changes: object) -> Account:
    row = Account(f"id-{name}", name, name.title(), "local", f"id-{name}", ("viewer",), None, AT)
    return dataclasses.replace(row, **changes)  # type: ignore[arg-type]


def session(number: int, owner: str = "id-ada") -> Session:
    return Session(
        f"s{number}", f"d{number}", owner, f"2026-01-01T00:{number // 60:02d}:{number % 60:02d}.000Z", AT, LATER
    )


def event(number: int) -> StoredEvent:
    return StoredEvent(number, f"digest-{number}", f'{{"seq":{number}}}'.encode())


class StopError(Exception):
    """Something went wrong in the middle."""


def raising_in(store: PeopleStore) -> None:
    with store.writing() as tables:
        tables.put_account(account("ada"))
        tables.add_event(event(1))
        raise StopError


# --- refusals -------------------------------------------------------------------------------------------------------


def test_nothing_of_a_transaction_that_raises_is_kept(store: PeopleStore) -> None:
    with pytest.raises(StopError):
        raising_in(store)
    with store.reading() as tables:
        assert tables.accounts() == []
        assert tables.last_event() is None


def test_a_reader_cannot_write(store: PeopleStore) -> None:
    with pytest.raises((HoldfastError, sa.exc.DBAPIError)), store.reading() as tables:
        tables.put_account(account("ada"))
    with store.writing() as tables:
        tables.put_account(account("bob"))
    with store.reading() as tables:
        assert [row.name for row in tables.accounts()] == ["bob"]


@pytest.mark.parametrize(
    "statement",
    ["UPDATE people_events SET digest = 'x'", "DELETE FROM people_events", "DELETE FROM people_events WHERE seq = 1"],
)
def test_the_database_itself_refuses_to_change_or_remove_events(store: SQLPeopleStore, statement: str) -> None:
    with store.writing() as tables:
        tables.add_event(event(1))
    with pytest.raises(sa.exc.DBAPIError, match="events are only added"), store._engine.begin() as connection:
        connection.exec_driver_sql(statement)
    with store.reading() as tables:
        assert tables.last_event() == event(1)


def test_a_link_is_added_once(store: PeopleStore) -> None:
    with store.writing() as tables:
        tables.add_event(event(1))
    with pytest.raises(sa.exc.IntegrityError), store.writing() as tables:
        tables.add_event(event(1))


def test_two_people_never_have_one_name_or_one_subject(store: PeopleStore) -> None:
    with store.writing() as tables:
        tables.put_account(account("ada"))
    for other in (dataclasses.replace(account("bob"), name="ada"), account("bob", subject="id-ada")):
        with pytest.raises(sa.exc.IntegrityError), store.writing() as tables:
            tables.put_account(other)


def test_a_session_belongs_to_somebody(store: PeopleStore) -> None:
    with pytest.raises(sa.exc.IntegrityError), store.writing() as tables:
        tables.put_session(session(1, "id-nobody"))


def test_what_is_not_there_is_none(store: PeopleStore) -> None:
    with store.reading() as tables:
        assert tables.account("x") is None
        assert tables.account_named("x") is None
        assert tables.account_of("local", "x") is None
        assert tables.session("x") is None
        assert tables.session_by_id("x") is None
        assert tables.key("x") is None
        assert tables.code("x") is None
        assert tables.last_event() is None
        assert tables.events() == []
        assert tables.sessions() == tables.keys() == tables.codes() == []


def test_a_database_that_cannot_be_opened_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "people.sqlite").mkdir()
    with pytest.raises((UnavailableError, OSError)):
        SQLPeopleStore(f"sqlite:///{tmp_path / 'people.sqlite'}")


# --- what is kept ---------------------------------------------------------------------------------------------------


def test_every_row_comes_back_as_it_was_put(store: PeopleStore) -> None:
    people = [account("ada", roles=("admin", "auditor"), password="$argon2id$…", disabled_at=LATER), account("bob")]
    sessions = [session(2), session(1), session(3, "id-bob")]
    keys = [
        Key("k1", "d", "w", "robot", ("case:read", "queue:read"), None, AT, LATER),
        Key("k2", "e", "v", "bob's", ("case:decide",), "id-bob", LATER, LATER, LATER, "2026-01-01"),
    ]
    codes = [Code("c2", None, ("admin",), LATER), Code("c1", "id-bob", (), AT)]
    with store.writing() as tables:
        for row in people:
            tables.put_account(row)
        for opened in sessions:
            tables.put_session(opened)
        for key in keys:
            tables.put_key(key)
        for code in codes:
            tables.put_code(code)
    with store.reading() as tables:
        assert tables.accounts() == people
        assert tables.account("id-ada") == tables.account_named("ada") == tables.account_of("local", "id-ada")
        assert tables.sessions("id-ada") == [session(1), session(2)]
        assert tables.sessions() == [session(1), session(2), session(3, "id-bob")]
        assert tables.session("d1") == tables.session_by_id("s1") == session(1)
        assert tables.keys() == keys
        assert tables.keys("v") == tables.keys_of("id-bob") == [keys[1]]
        assert tables.key("k1") == keys[0]
        assert tables.codes() == [codes[1], codes[0]]
        assert tables.code("c2") == codes[0]


def test_rows_are_replaced_by_their_id_and_dropped(store: PeopleStore) -> None:
    with store.writing() as tables:
        tables.put_account(account("ada"))
        tables.put_session(session(1))
        tables.put_code(Code("c", "id-ada", (), AT))
    with store.writing() as tables:
        tables.put_account(account("ada", display="Lovelace"))
        tables.put_session(dataclasses.replace(session(1), seen_at=LATER))
        tables.drop_code("c")
    with store.reading() as tables:
        assert [row.display for row in tables.accounts()] == ["Lovelace"]
        assert [row.seen_at for row in tables.sessions()] == [LATER]
        assert tables.codes() == []
    with store.writing() as tables:
        tables.drop_session("s1")
        tables.drop_session("s1")
    with store.reading() as tables:
        assert tables.sessions() == []


def test_events_come_in_order_from_where_they_are_asked_for(store: PeopleStore) -> None:
    for number in range(1, 6):
        with store.writing() as tables:
            tables.add_event(event(number))
            assert tables.last_event() == event(number)
    with store.reading() as tables:
        assert tables.events() == [event(number) for number in range(1, 6)]
        assert tables.events(after=2, limit=2) == [event(3), event(4)]
        assert tables.events(after=5) == []


def test_a_reader_sees_one_moment(shared_url: str) -> None:
    first, second = SQLPeopleStore(shared_url), SQLPeopleStore(shared_url)
    first.forget()
    try:
        with first.reading() as before:
            assert before.accounts() == []
            with second.writing() as tables:
                tables.put_account(account("ada"))
            assert before.accounts() == []
        with first.reading() as after:
            assert len(after.accounts()) == 1
    finally:
        first.close()
        second.close()


def test_writers_of_several_processes_take_turns(shared_url: str) -> None:
    """Read the head, add the next link: without turns two of them would build on one head."""
    stores = [SQLPeopleStore(shared_url) for _ in range(3)]
    stores[0].forget()
    failures: list[BaseException] = []

    def write(store: SQLPeopleStore) -> None:
        try:
            for _ in range(10):
                with store.writing() as tables:
                    last = tables.last_event()
                    tables.add_event(event(1 if last is None else last.seq + 1))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    with stores[0].reading() as tables:
        assert [row.seq for row in tables.events()] == list(range(1, 31))
    for store in stores:
        store.close()


def test_threads_of_one_process_share_a_store(store: PeopleStore) -> None:
    """A panel's desk asks for roles in its thread while somebody signs in in another."""
    with store.writing() as tables:
        tables.put_account(account("ada"))
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(20):
                with store.writing() as tables:
                    tables.put_session(session(number * 20 + turn))
                with store.reading() as tables:
                    assert tables.session_by_id(f"s{number * 20 + turn}") is not None
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    with store.reading() as tables:
        assert len(tables.sessions()) == 60


def test_a_writer_who_waits_too_long_is_told(shared_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people_sql, "WAIT_MS", 50)
    first, second = SQLPeopleStore(shared_url), SQLPeopleStore(shared_url)
    first.forget()
    try:
        with first.writing(), pytest.raises(UnavailableError) as silent, second.writing():
            pytest.fail("two writers at once")
        assert silent.value.code == "people.store"
        with second.writing() as tables:
            assert tables.sessions() == []
    finally:
        first.close()
        second.close()


def test_what_was_committed_is_there_after_opening_again(shared_url: str) -> None:
    store = SQLPeopleStore(shared_url)
    store.forget()
    with store.writing() as tables:
        tables.put_account(account("ada"))
        tables.add_event(event(1))
    store.close()
    again = SQLPeopleStore(shared_url)
    with again.reading() as tables:
        assert tables.accounts() == [account("ada")]
        assert tables.last_event() == event(1)
    again.close()


def test_a_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "panel" / "people.sqlite"
    store = SQLPeopleStore(f"sqlite:///{path}")
    with store.writing() as tables:
        tables.put_account(account("ada"))
    assert {stat.S_IMODE(item.stat().st_mode) for item in path.parent.iterdir()} == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    store.close()


def test_a_second_store_of_one_process_leaves_the_first_its_locks(tmp_path: Path) -> None:
    """A panel at work, a command that opens its tables in the same process and closes them, and one in another process:
    without its locks the panel would go on writing into a file that the other one had thrown away."""
    file = tmp_path / "people.sqlite"
    panel = SQLPeopleStore(f"sqlite:///{file}")
    try:
        with panel.writing() as tables:
            tables.add_event(StoredEvent(1, "a" * 64, b"first"))
        SQLPeopleStore(f"sqlite:///{file}").close()
        _in_another_process(
            "from holdfast.adapters.people_sql import SQLPeopleStore",
            "from holdfast.ports.people_store import StoredEvent",
            f"store = SQLPeopleStore({f'sqlite:///{file}'!r})",
            "with store.writing() as tables: tables.add_event(StoredEvent(2, 'b' * 64, b'second'))",
            "store.close()",
        )
        with panel.writing() as tables:
            tables.add_event(StoredEvent(3, "c" * 64, b"third"))
        told = _in_another_process(
            "import sqlite3",
            f"print([row[0] for row in sqlite3.connect({str(file)!r}).execute('SELECT seq FROM people_events')])",
        )
        assert told.strip() == "[1, 2, 3]"
    finally:
        panel.close()


def _in_another_process(*lines: str) -> str:
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True, capture_output=True, text=True)
    return done.stdout
