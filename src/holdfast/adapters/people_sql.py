"""Accounts, sessions, API keys, one-time codes and the audit chain: SQLAlchemy over SQLite or PostgreSQL.

Rules:

* One writer at a time: ``BEGIN IMMEDIATE`` on SQLite, a table lock on PostgreSQL. So a rule that was checked in a
  transaction still holds when it commits, and no two links of the chain have one number.
* What was committed is on disk (``synchronous=FULL``; PostgreSQL's default).
* The database itself refuses to change or delete events. That stops mistakes, not somebody who owns the database:
  against them there is the chain.
* A SQLite file is made for its owner alone (mode 0600).

Threads may share it: on SQLite, where they share one connection too, they take turns. Several processes may use one
database.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.pool import StaticPool

from holdfast.errors import UnavailableError
from holdfast.ports.people_store import Account, Code, Key, Session, StoredEvent

WAIT_MS = 5_000
"""How long a writer waits for another process's transaction."""
_METADATA = sa.MetaData()
_TIME = sa.String(24)
_ID = sa.String(64)
_ACCOUNTS = sa.Table(
    "people_accounts",
    _METADATA,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("name", sa.String(128), nullable=False, unique=True),
    sa.Column("display", sa.String(256), nullable=False),
    sa.Column("source", sa.String(512), nullable=False),
    sa.Column("subject", sa.String(512), nullable=False),
    sa.Column("roles", sa.Text, nullable=False),
    sa.Column("password", sa.String(512)),
    sa.Column("made_at", _TIME, nullable=False),
    sa.Column("disabled_at", _TIME),
    sa.UniqueConstraint("source", "subject", name="people_accounts_by_subject"),
)
_SESSIONS = sa.Table(
    "people_sessions",
    _METADATA,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("digest", _ID, nullable=False, unique=True),
    sa.Column("account", _ID, sa.ForeignKey("people_accounts.id"), nullable=False, index=True),
    sa.Column("opened_at", _TIME, nullable=False),
    sa.Column("seen_at", _TIME, nullable=False),
    sa.Column("ends_at", _TIME, nullable=False),
)
_KEYS = sa.Table(
    "people_keys",
    _METADATA,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("digest", _ID, nullable=False),
    sa.Column("workspace", sa.String(64), nullable=False, index=True),
    sa.Column("label", sa.String(256), nullable=False),
    sa.Column("scopes", sa.Text, nullable=False),
    sa.Column("person", _ID, sa.ForeignKey("people_accounts.id"), index=True),
    sa.Column("made_at", _TIME, nullable=False),
    sa.Column("expires_at", _TIME, nullable=False),
    sa.Column("revoked_at", _TIME),
    sa.Column("used_day", sa.String(10)),
)
_CODES = sa.Table(
    "people_codes",
    _METADATA,
    sa.Column("digest", _ID, primary_key=True),
    sa.Column("account", _ID, sa.ForeignKey("people_accounts.id")),
    sa.Column("roles", sa.Text, nullable=False),
    sa.Column("expires_at", _TIME, nullable=False),
)
_EVENTS = sa.Table(
    "people_events",
    _METADATA,
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("digest", _ID, nullable=False),
    sa.Column("document", sa.LargeBinary, nullable=False),
)
_SQLITE_TRIGGERS = tuple(
    f"CREATE TRIGGER IF NOT EXISTS people_events_no_{word} BEFORE {word.upper()} ON people_events "
    "BEGIN SELECT RAISE(ABORT, 'events are only added'); END"
    for word in ("update", "delete")
)
_POSTGRESQL_TRIGGERS = (
    """CREATE OR REPLACE FUNCTION people_events_only_grow() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'events are only added'; END $$""",
    """CREATE OR REPLACE TRIGGER people_events_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON people_events
    FOR EACH STATEMENT EXECUTE FUNCTION people_events_only_grow()""",
)
Row = TypeVar("Row", Account, Session, Key, Code, StoredEvent)


class SQLPeopleStore:
    """The tables of one panel; see :class:`holdfast.ports.people_store.PeopleStore`."""

    def __init__(self, url: str) -> None:
        options: dict[str, Any] = {}
        self._sqlite = url.startswith("sqlite")
        self._turn: contextlib.AbstractContextManager[Any] = (
            threading.Lock() if self._sqlite else contextlib.nullcontext()
        )
        if self._sqlite:
            _make_private(url)
            options = {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}
        self._engine = sa.create_engine(url, **options)
        if self._sqlite:
            sa.event.listen(self._engine, "connect", _careful_sqlite)
            sa.event.listen(self._engine, "begin", _begin_sqlite)
        with _answering():
            self._create()

    def _create(self) -> None:
        with self._engine.execution_options(holdfast_writes=True).begin() as connection:
            if not self._sqlite:  # two panels that start at once make the tables once
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('holdfast people'))")
            _METADATA.create_all(connection)
            for statement in _SQLITE_TRIGGERS if self._sqlite else _POSTGRESQL_TRIGGERS:
                connection.exec_driver_sql(statement)

    @contextlib.contextmanager
    def reading(self) -> Iterator[SQLPeopleTables]:
        """One consistent view. Writing in it raises."""
        options: dict[str, Any] = {"holdfast_writes": False}
        if not self._sqlite:
            options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with (
            self._turn,
            _answering(),
            self._engine.connect().execution_options(**options) as connection,
            connection.begin(),
        ):
            if not self._sqlite:
                yield SQLPeopleTables(connection)
                return
            connection.exec_driver_sql("PRAGMA query_only=ON")
            try:
                yield SQLPeopleTables(connection)
            finally:
                connection.exec_driver_sql("PRAGMA query_only=OFF")

    @contextlib.contextmanager
    def writing(self) -> Iterator[SQLPeopleTables]:
        """The only writer until the block ends; all of it is kept, or on an exception none."""
        with self._turn, _answering(), self._engine.execution_options(holdfast_writes=True).begin() as connection:
            if not self._sqlite:
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = {WAIT_MS}")
                connection.exec_driver_sql("LOCK TABLE people_events IN SHARE ROW EXCLUSIVE MODE")
            yield SQLPeopleTables(connection)

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def forget(self) -> None:
        """Drop every row and begin again."""
        with self._engine.execution_options(holdfast_writes=True).begin() as connection:
            _METADATA.drop_all(connection)
        self._create()


class SQLPeopleTables:
    """The tables on one connection, inside a transaction that somebody else began and will end."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def account(self, id: str) -> Account | None:  # noqa: A002
        """One account by its id."""
        return self._one(Account, _ACCOUNTS, _ACCOUNTS.c.id == id)

    def account_named(self, name: str) -> Account | None:
        """One account by its name."""
        return self._one(Account, _ACCOUNTS, _ACCOUNTS.c.name == name)

    def account_of(self, source: str, subject: str) -> Account | None:
        """The account of somebody whom a source knows as ``subject``."""
        return self._one(Account, _ACCOUNTS, sa.and_(_ACCOUNTS.c.source == source, _ACCOUNTS.c.subject == subject))

    def accounts(self) -> list[Account]:
        """All, by name."""
        return self._all(Account, sa.select(_ACCOUNTS).order_by(_ACCOUNTS.c.name))

    def put_account(self, row: Account) -> None:
        """Add an account, or replace the row of its id."""
        self._put(_ACCOUNTS, row)

    def session(self, digest: str) -> Session | None:
        """One session by the digest of its token."""
        return self._one(Session, _SESSIONS, _SESSIONS.c.digest == digest)

    def session_by_id(self, id: str) -> Session | None:  # noqa: A002
        """One session by its id."""
        return self._one(Session, _SESSIONS, _SESSIONS.c.id == id)

    def sessions(self, account: str | None = None) -> list[Session]:
        """Sessions of one account, or all; oldest first."""
        query = sa.select(_SESSIONS).order_by(_SESSIONS.c.opened_at, _SESSIONS.c.id)
        return self._all(Session, query if account is None else query.where(_SESSIONS.c.account == account))

    def put_session(self, row: Session) -> None:
        """Add a session, or replace the row of its id."""
        self._put(_SESSIONS, row)

    def drop_session(self, id: str) -> None:  # noqa: A002
        """Forget a session. What it was stays in the events."""
        self._connection.execute(sa.delete(_SESSIONS).where(_SESSIONS.c.id == id))

    def key(self, id: str) -> Key | None:  # noqa: A002
        """One API key by its id."""
        return self._one(Key, _KEYS, _KEYS.c.id == id)

    def keys(self, workspace: str | None = None) -> list[Key]:
        """Keys of one workspace, or all; oldest first."""
        query = sa.select(_KEYS).order_by(_KEYS.c.made_at, _KEYS.c.id)
        return self._all(Key, query if workspace is None else query.where(_KEYS.c.workspace == workspace))

    def keys_of(self, account: str) -> list[Key]:
        """Keys that stand for one person; oldest first."""
        return self._all(Key, sa.select(_KEYS).where(_KEYS.c.person == account).order_by(_KEYS.c.made_at, _KEYS.c.id))

    def put_key(self, row: Key) -> None:
        """Add a key, or replace the row of its id."""
        self._put(_KEYS, row)

    def code(self, digest: str) -> Code | None:
        """One code by its digest."""
        return self._one(Code, _CODES, _CODES.c.digest == digest)

    def codes(self) -> list[Code]:
        """Every code that was not used, soonest to expire first."""
        return self._all(Code, sa.select(_CODES).order_by(_CODES.c.expires_at, _CODES.c.digest))

    def put_code(self, row: Code) -> None:
        """Add a code."""
        self._connection.execute(sa.insert(_CODES), _columns(row))

    def drop_code(self, digest: str) -> None:
        """Forget a code: it was used, replaced, or has expired."""
        self._connection.execute(sa.delete(_CODES).where(_CODES.c.digest == digest))

    def last_event(self) -> StoredEvent | None:
        """The newest link of the chain."""
        found = self._all(StoredEvent, sa.select(_EVENTS).order_by(_EVENTS.c.seq.desc()).limit(1))
        return found[0] if found else None

    def events(self, after: int = 0, limit: int = 1000) -> list[StoredEvent]:
        """Links with a greater ``seq``, in order."""
        return self._all(
            StoredEvent, sa.select(_EVENTS).where(_EVENTS.c.seq > after).order_by(_EVENTS.c.seq).limit(limit)
        )

    def add_event(self, row: StoredEvent) -> None:
        """Append one link."""
        self._connection.execute(sa.insert(_EVENTS), _columns(row))

    def _one(self, kind: type[Row], table: sa.Table, where: sa.ColumnElement[bool]) -> Row | None:
        found = self._all(kind, sa.select(table).where(where))
        return found[0] if found else None

    def _all(self, kind: type[Row], query: sa.Select[Any]) -> list[Row]:
        return [kind(**_fields(row)) for row in self._connection.execute(query).mappings()]

    def _put(self, table: sa.Table, row: Account | Session | Key) -> None:
        values = _columns(row)
        changed = self._connection.execute(sa.update(table).where(table.c.id == row.id).values(values))
        if changed.rowcount == 0:
            self._connection.execute(sa.insert(table), values)


def _columns(row: Any) -> dict[str, Any]:
    values = {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}
    return {name: json.dumps(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _fields(row: sa.RowMapping) -> dict[str, Any]:
    values: dict[str, Any] = dict(row)
    for name in ("roles", "scopes"):
        if name in values:
            values[name] = _words(values[name])
    if isinstance(values.get("document"), str):  # SQLite keeps whatever somebody else put there; an audit must read on
        values["document"] = values["document"].encode()
    return values


def _words(text: str) -> tuple[str, ...]:
    """A stored list. What somebody else put there instead is one word, which no rule knows."""
    try:
        found = json.loads(text)
    except ValueError:
        return (text,)
    return tuple(map(str, found)) if isinstance(found, list) else (text,)


@contextlib.contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except sa.exc.OperationalError as error:
        raise UnavailableError("people.store", "the people's tables do not answer", hint=str(error.orig)) from error


def _make_private(url: str) -> None:
    """The database file exists, for its owner alone, before SQLite would make it for everybody.

    A file that is there is not opened: closing it again would take away every lock that this process holds on it (POSIX
    locks belong to processes), and the next program to come would throw away the write-ahead log of a panel at work.
    """
    name = sa.make_url(url).database
    if name and name != ":memory:":
        path = Path(name)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))


def _careful_sqlite(connection: Any, _record: Any) -> None:
    """Every commit on disk; transactions begin where SQLAlchemy says, not where the driver guesses."""
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute(f"PRAGMA busy_timeout={WAIT_MS}")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("holdfast_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
