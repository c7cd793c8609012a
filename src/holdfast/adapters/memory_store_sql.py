"""A memory node's store in SQL: SQLAlchemy over SQLite, or PostgreSQL when there is more than one host.

SQLite overwrites what it deletes (``secure_delete``). ``scrub`` folds the write-ahead log in, cuts it to nothing and
writes the database anew, so that no page of it holds what was removed. On PostgreSQL it rewrites the tables; what
its own write-ahead log and replicas still hold is sealed, and goes when they do (``docs/spec-gaps.md``).

Not thread-safe by itself: the node calls it from one worker thread.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from holdfast.adapters.sqlite import durable_engine
from holdfast.errors import ConflictError, UnavailableError, UsageError
from holdfast.ports.memory_store import Beside, Loaded, SealedEvent, SealedRow, Version, Wrap

_USER = sa.String(64)
_ROW = sa.String(36)
_SEQ = sa.BigInteger
_METADATA = sa.MetaData()
_USERS = sa.Table(
    "memory_users",
    _METADATA,
    sa.Column("user", _USER, primary_key=True),
    sa.Column("seq", _SEQ, nullable=False),
    sa.Column("epoch", _SEQ, nullable=False),
    sa.Column("created_at", sa.String(24), nullable=False),
)
_WRAPS = sa.Table(
    "memory_wraps",
    _METADATA,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("user", _USER, nullable=False, index=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("scopes", sa.Text, nullable=False),
    sa.Column("verifier", sa.String(64), nullable=False),
    sa.Column("salt", sa.LargeBinary, nullable=False),
    sa.Column("memory_kib", sa.Integer, nullable=False),
    sa.Column("passes", sa.Integer, nullable=False),
    sa.Column("threads", sa.Integer, nullable=False),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    sa.Column("created_at", sa.String(24), nullable=False),
    sa.Column("expires_at", sa.String(24)),
)
_ROWS = sa.Table(
    "memory_rows",
    _METADATA,
    sa.Column("user", _USER, primary_key=True),
    sa.Column("row", _ROW, primary_key=True),
    sa.Column("seq", _SEQ, nullable=False),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    sa.Index("memory_rows_by_seq", "user", "seq"),
)
_EVENTS = sa.Table(
    "memory_events",
    _METADATA,
    sa.Column("user", _USER, primary_key=True),
    sa.Column("seq", _SEQ, primary_key=True, autoincrement=False),
    sa.Column("row", _ROW, nullable=False),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    sa.Index("memory_events_by_row", "user", "row"),
)
_BESIDE = sa.Table(
    "memory_beside",
    _METADATA,
    sa.Column("user", _USER, primary_key=True),
    sa.Column("row", _ROW, primary_key=True),
    sa.Column("name", sa.String(128), primary_key=True),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
)
_ERASED = sa.Table(
    "memory_erased",
    _METADATA,
    sa.Column("user", _USER, primary_key=True),
    sa.Column("row", _ROW, primary_key=True),
)
_LOCK_S = 5
"""How long rewriting waits for whoever uses a table; then it is tried again later."""
_SEES_THE_PAST = """
SELECT EXISTS (
    SELECT FROM pg_stat_activity
    WHERE pid <> pg_backend_pid() AND (datname = current_database() OR backend_xid IS NOT NULL)
    AND LEAST(backend_xid::text::bigint, backend_xmin::text::bigint)
        < (pg_snapshot_xmax(pg_current_snapshot())::text::bigint & 4294967295)
)
"""
"""Whether a transaction of PostgreSQL is open that may still see what was removed: rewriting a table keeps it then."""
_OF_ROWS = (_ROWS, _EVENTS, _BESIDE)
_ALL = (_ROWS, _EVENTS, _BESIDE, _WRAPS, _ERASED, _USERS)


class SQLMemoryStore:
    """See :class:`holdfast.ports.memory_store.MemoryStore`."""

    def __init__(self, url: str) -> None:
        self._engine = durable_engine(url)
        self._is_sqlite = self._engine.dialect.name == "sqlite"
        try:
            self._create_tables()
            if self._is_sqlite:
                self._plainly("PRAGMA secure_delete=ON")
        except sa.exc.SQLAlchemyError as error:
            raise UnavailableError("memory_store.open", f"the memory store does not open: {error}") from error

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def _create_tables(self) -> None:
        try:
            _METADATA.create_all(self._engine)
        except (sa.exc.IntegrityError, sa.exc.ProgrammingError, sa.exc.OperationalError):
            _METADATA.create_all(self._engine)  # another node that began at the same time made them first

    @contextlib.contextmanager
    def _read(self) -> Iterator[sa.Connection]:
        """One state of the database, however many statements are asked of it: what another node commits between two of
        them is not seen by halves."""
        snapshot = {} if self._is_sqlite else {"isolation_level": "REPEATABLE READ"}
        with self._engine.connect() as connection:
            yield connection.execution_options(holdfast_reads=True, **snapshot)
            connection.rollback()

    @contextlib.contextmanager
    def _write(self) -> Iterator[sa.Connection]:
        with self._engine.connect() as connection:
            yield connection
            self._commit(connection)

    def _commit(self, connection: sa.Connection) -> None:
        connection.commit()

    # Users and their wraps

    def create_user(self, user: str, wraps: Sequence[Wrap], at: str) -> None:
        """Begin a user."""
        try:
            with self._write() as connection:
                connection.execute(sa.insert(_USERS), {"user": user, "seq": 0, "epoch": 0, "created_at": at})
                connection.execute(sa.insert(_WRAPS), [_wrap_values(wrap) for wrap in wraps])
        except sa.exc.IntegrityError as error:
            raise ConflictError("memory_store.user", "there is a user of that name") from error

    def version(self, user: str) -> Version | None:
        """Where a user's rows are."""
        with self._read() as connection:
            return _version(connection, user)

    def users(self) -> int:
        """How many users there are."""
        with self._read() as connection:
            return int(connection.execute(sa.select(sa.func.count()).select_from(_USERS)).scalar_one())

    def wrap(self, identifier: str) -> Wrap | None:
        """One wrap by its id."""
        with self._read() as connection:
            row = connection.execute(sa.select(_WRAPS).where(_WRAPS.c.id == identifier)).first()
            return None if row is None else _wrap(row)

    def wraps(self, user: str) -> list[Wrap]:
        """All of a user's, oldest first."""
        query = sa.select(_WRAPS).where(_WRAPS.c.user == user).order_by(_WRAPS.c.created_at, _WRAPS.c.id)
        with self._read() as connection:
            return [_wrap(row) for row in connection.execute(query)]

    def add_wrap(self, wrap: Wrap, version: Version) -> None:
        """Another wrap for a user's data key."""
        with self._write() as connection:
            found = _require(connection, wrap.user)
            if found.epoch != version.epoch:
                raise _moved()
            connection.execute(sa.insert(_WRAPS), _wrap_values(wrap))

    def remove_wrap(self, user: str, identifier: str) -> bool:
        """End one."""
        gone = sa.delete(_WRAPS).where(_WRAPS.c.user == user, _WRAPS.c.id == identifier)
        with self._write() as connection:
            return connection.execute(gone).rowcount > 0

    # Rows

    def load(self, user: str, after: Version) -> Loaded:
        """Rows and events beyond a version."""
        with self._read() as connection:
            found = _version(connection, user)
            if found is None:
                raise _unknown()
            since = after.seq if after.epoch == found.epoch else 0
            rows = sa.select(_ROWS.c.row, _ROWS.c.sealed).where(_ROWS.c.user == user, _ROWS.c.seq > since)
            events = sa.select(_EVENTS.c.row, _EVENTS.c.sealed).where(_EVENTS.c.user == user, _EVENTS.c.seq > since)
            return Loaded(
                found,
                tuple(SealedRow(row.row, row.sealed) for row in connection.execute(rows.order_by(_ROWS.c.seq))),
                tuple(SealedEvent(row.row, row.sealed) for row in connection.execute(events.order_by(_EVENTS.c.seq))),
            )

    def append(self, user: str, before: Version, rows: Sequence[SealedRow], events: Sequence[SealedEvent]) -> Version:
        """Add events, and rows that are new."""
        after = Version(before.seq + len(events), before.epoch)
        try:
            with self._write() as connection:
                _move(connection, user, before, after)
                gone = sa.select(_ERASED.c.row).where(
                    _ERASED.c.user == user, _ERASED.c.row.in_([row.row for row in rows])
                )
                if rows and connection.execute(gone).first() is not None:
                    raise ConflictError("memory_store.erased", "a row of that id was erased", hint="give it a new id")
                _insert(connection, user, before.seq, rows, events)
        except sa.exc.IntegrityError as error:
            raise ConflictError("memory_store.version", "there is a row of that id") from error
        return after

    def put_beside(self, user: str, version: Version, items: Sequence[Beside]) -> None:
        """Keep something beside rows."""
        with self._write() as connection:
            found = _locked(connection, user)
            if found is None or found.epoch != version.epoch:
                return
            there = set(connection.execute(sa.select(_ROWS.c.row).where(_ROWS.c.user == user)).scalars())
            for item in items:
                if item.row not in there:
                    continue
                same = (_BESIDE.c.user == user) & (_BESIDE.c.row == item.row) & (_BESIDE.c.name == item.name)
                connection.execute(sa.delete(_BESIDE).where(same))
                values = {"user": user, "row": item.row, "name": item.name, "sealed": item.sealed}
                connection.execute(sa.insert(_BESIDE), values)

    def beside(self, user: str, name: str) -> dict[str, bytes]:
        """What is kept under a name, by row."""
        query = sa.select(_BESIDE.c.row, _BESIDE.c.sealed).where(_BESIDE.c.user == user, _BESIDE.c.name == name)
        with self._read() as connection:
            return {row.row: row.sealed for row in connection.execute(query)}

    def erase(self, user: str, before: Version, rows: Collection[str]) -> Version:
        """Remove rows with everything of theirs, and remember their ids."""
        after = Version(before.seq, before.epoch + 1)
        with self._write() as connection:
            _move(connection, user, before, after)
            known = set(connection.execute(sa.select(_ERASED.c.row).where(_ERASED.c.user == user)).scalars())
            for row in sorted(rows):
                for table in _OF_ROWS:
                    connection.execute(sa.delete(table).where(table.c.user == user, table.c.row == row))
                if row not in known:
                    connection.execute(sa.insert(_ERASED), {"user": user, "row": row})
        return after

    def erased(self, user: str) -> frozenset[str]:
        """Ids of rows that were erased."""
        with self._read() as connection:
            return frozenset(connection.execute(sa.select(_ERASED.c.row).where(_ERASED.c.user == user)).scalars())

    def erase_user(self, user: str) -> bool:
        """Remove a user with everything."""
        with self._write() as connection:
            if _locked(connection, user) is None:
                return False
            for table in _ALL:
                connection.execute(sa.delete(table).where(table.c.user == user))
            return True

    def replace(
        self,
        user: str,
        before: Version,
        wraps: Sequence[Wrap],
        rows: Sequence[SealedRow],
        events: Sequence[SealedEvent],
    ) -> Version:
        """Put rows and wraps of a user in place of what there is."""
        after = Version(len(events), before.epoch + 1)
        with self._write() as connection:
            _move(connection, user, before, after)
            for table in (*_OF_ROWS, _WRAPS):
                connection.execute(sa.delete(table).where(table.c.user == user))
            connection.execute(sa.insert(_WRAPS), [_wrap_values(wrap) for wrap in wraps])
            _insert(connection, user, 0, rows, events)
        return after

    def scrub(self) -> bool:
        """Make what was removed unrecoverable."""
        if not self._is_sqlite:
            return self._rewrite()
        try:
            # VACUUM itself goes through the write-ahead log, which is therefore cut last.
            return self._cut() and self._plainly("VACUUM") is None and self._cut()
        except sqlite3.OperationalError:  # another process reads or writes
            return False

    def _rewrite(self) -> bool:
        """Write PostgreSQL's tables anew; whether nobody was in the way."""
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            if connection.execute(sa.text(_SEES_THE_PAST)).scalar_one():
                return False
            connection.exec_driver_sql(f"SET lock_timeout = '{_LOCK_S}s'")
            try:
                for table in _ALL:
                    connection.exec_driver_sql(f"VACUUM (FULL) {table.name}")
            except sa.exc.OperationalError:
                return False
            finally:
                connection.exec_driver_sql("RESET lock_timeout")
        return True

    def _cut(self) -> bool:
        """Fold the write-ahead log into the database and cut it to nothing; whether nobody was in the way."""
        row = self._plainly("PRAGMA wal_checkpoint(TRUNCATE)")
        return row is not None and row[0] == 0

    def _plainly(self, text: str) -> Any:
        """A statement to SQLite outside of any transaction; its first row, if it has one."""
        with self._engine.connect() as connection:
            raw = connection.connection.driver_connection
            cursor = raw.cursor()  # type: ignore[union-attr]  # a connection that was just opened
            try:
                return cursor.execute(text).fetchone()
            finally:
                cursor.close()


def _version(connection: sa.Connection, user: str) -> Version | None:
    row = connection.execute(sa.select(_USERS.c.seq, _USERS.c.epoch).where(_USERS.c.user == user)).first()
    return None if row is None else Version(row.seq, row.epoch)


def _locked(connection: sa.Connection, user: str) -> Version | None:
    """Where a user's rows are; nobody else moves them until this transaction ends."""
    row = connection.execute(
        sa.select(_USERS.c.seq, _USERS.c.epoch).where(_USERS.c.user == user).with_for_update()
    ).first()
    return None if row is None else Version(row.seq, row.epoch)


def _require(connection: sa.Connection, user: str) -> Version:
    found = _locked(connection, user)
    if found is None:
        raise _unknown()
    return found


def _move(connection: sa.Connection, user: str, before: Version, after: Version) -> None:
    """From one version of a user to the next, or not at all."""
    here = (_USERS.c.user == user) & (_USERS.c.seq == before.seq) & (_USERS.c.epoch == before.epoch)
    moved = connection.execute(sa.update(_USERS).where(here).values(seq=after.seq, epoch=after.epoch))
    if moved.rowcount != 1:
        raise _unknown() if _version(connection, user) is None else _moved()


def _insert(
    connection: sa.Connection, user: str, seq: int, rows: Sequence[SealedRow], events: Sequence[SealedEvent]
) -> None:
    if rows:
        new = [{"user": user, "row": row.row, "seq": seq + 1, "sealed": row.sealed} for row in rows]
        connection.execute(sa.insert(_ROWS), new)
    if events:
        added = [
            {"user": user, "seq": number, "row": event.row, "sealed": event.sealed}
            for number, event in enumerate(events, seq + 1)
        ]
        connection.execute(sa.insert(_EVENTS), added)


def _moved() -> ConflictError:
    return ConflictError("memory_store.version", "somebody else changed these rows first", hint="try it again")


def _unknown() -> UsageError:
    return UsageError("memory_store.user", "there is no such user here", status=404)


def _wrap_values(wrap: Wrap) -> dict[str, Any]:
    values = {name: getattr(wrap, name) for name in Wrap.__dataclass_fields__}
    return {**values, "scopes": " ".join(wrap.scopes)}


def _wrap(row: Any) -> Wrap:
    values = row._asdict()
    return Wrap(**{**values, "scopes": tuple(values["scopes"].split())})
