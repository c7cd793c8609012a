"""Asking SQL databases, SQLite and PostgreSQL, for reading alone (``spec/sources.md`` §4(2)).

Order of things: the secret is taken for what it is, a URL of the dialect that the definition names; a connection is
made for this one question; it is put into a state in which it can only read; the statement runs with its parameters
bound; rows are taken up to the limits; the connection is closed.

What keeps it from writing. SQLite: the file is opened ``mode=ro``, ``query_only`` is on, and an authorizer lets nothing
through but reading and functions. PostgreSQL: the transaction is read only, and a cursor is declared for the statement,
which takes one query and no other; nothing is ever committed. What is left is what functions do that no transaction
undoes: the role should own nothing and be granted SELECT alone.

What keeps it from taking long: a statement timeout in PostgreSQL, and for both the whole question's time, after which
the connection is cut from outside.

Not covered: where a database may be. Its URL is the node's own setting, no definition names it and no caller does.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
import socket
import sqlite3
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from holdfast.core.encoding import sha256_hex
from holdfast.core.exchanges import MAX_FACT, Exchange
from holdfast.core.sources import Definition, Resolved
from holdfast.core.sql_reads import SqlRead, bound_names, bound_text, build_question, build_rows
from holdfast.errors import HoldfastError, RefusedError, UnavailableError, UsageError
from holdfast.ports.clock import Clock
from holdfast.ports.fetch import Observed
from holdfast.ports.settings import Secret

AT_ONCE = 16
"""Questions under way at once; the rest wait, and their time runs."""
_READS = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE})
_CANCELED = "57014"
"""SQLSTATE ``query_canceled``: how PostgreSQL names its statement timeout."""


@dataclass(slots=True)
class _Progress:
    """How far a question came; written by its thread, read by the event loop."""

    channel: str | None = None
    facts: dict[str, str] = field(default_factory=dict)
    requested: dt.datetime | None = None
    first_byte: dt.datetime | None = None
    body: bytes | None = None
    cut: Callable[[], None] | None = None
    """Ends the connection from outside; None while there is none."""
    ended: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def hold(self, cut: Callable[[], None]) -> None:
        """There is a connection now; raises ``source.timeout`` where nobody waits for it any more."""
        with self.lock:
            self.cut = cut
            if self.ended:
                raise UnavailableError("source.timeout", "nobody waits for the rows", status=504)

    def let_go(self) -> None:
        """The connection is about to be closed by its own thread."""
        with self.lock:
            self.cut = None

    def end(self) -> None:
        """Cut the connection, now or once there is one."""
        with self.lock, contextlib.suppress(sqlite3.Error):
            self.ended = True
            if self.cut is not None:
                self.cut()


class SQLFetcher:
    """See the module and :class:`holdfast.ports.fetch.Fetcher`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="sql")

    async def fetch(self, asked: Resolved, credential: Secret | None, seen: Observed) -> None:
        read = asked.source.reach
        if not isinstance(read, SqlRead):
            raise UsageError("sources.kind", f"a source of kind {asked.source.kind} is no database")
        url, progress = _url(read, credential), _Progress()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(read.seconds):
                await loop.run_in_executor(self._threads, self._ask, asked, read, url, progress)
        except TimeoutError as error:
            raise UnavailableError("source.timeout", f"no rows within {read.seconds} s", status=504) from error
        finally:
            progress.end()  # also where whoever asked is gone
            _tell(asked.source, build_question(read, asked.places), progress, seen)

    async def close(self) -> None:
        """Questions that wait are given up; those under way end by their own time."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _ask(self, asked: Resolved, read: SqlRead, url: sa.URL, progress: _Progress) -> None:
        """In a thread: one connection, one statement."""
        engine = _engine(url, read)
        try:
            with contextlib.closing(_connect(engine)) as connection:
                try:
                    _only_read(connection, read, progress)
                    progress.requested = self._clock.now()
                    with _run(connection, asked, read) as result:
                        columns, rows = list(result.keys()), result.fetchmany(read.rows + 1)
                finally:
                    progress.let_go()
                progress.first_byte = self._clock.now()
                if len(rows) > read.rows:
                    raise RefusedError("source.size", f"the database has more than {read.rows} rows", status=502)
                body = build_rows(columns, [tuple(row) for row in rows], read.most_bytes)
                progress.facts["rows"] = str(len(rows))
                progress.body = body
        except sa.exc.DBAPIError as error:
            raise _refusal(error, read) from error
        except OverflowError as error:
            raise RefusedError("source.schema", "the database holds a value that cannot be read", status=502) from error
        finally:
            engine.dispose()


def _url(read: SqlRead, credential: Secret | None) -> sa.URL:
    """The connection's URL, of the definition's dialect. Raises ``source.credential``."""
    with contextlib.suppress(sa.exc.ArgumentError, ValueError):
        url = sa.make_url("" if credential is None else credential.reveal())
        if url.drivername in (read.dialect, "postgresql+psycopg") and url.get_backend_name() == read.dialect:
            return url.set(drivername="postgresql+psycopg") if read.dialect == "postgresql" else url
    raise RefusedError(
        "source.credential", f"this node has no URL of a {read.dialect} database {read.secret!r}", status=502
    )


def _engine(url: sa.URL, read: SqlRead) -> sa.Engine:
    if read.dialect == "sqlite":
        return sa.create_engine("sqlite://", creator=lambda: _open_file(url, read), poolclass=NullPool)
    limits = {"connect_timeout": max(2, read.seconds), "tcp_user_timeout": read.seconds * 1000}
    try:
        return sa.create_engine(url, poolclass=NullPool, hide_parameters=True, connect_args=limits)
    except ImportError as error:
        raise UnavailableError(
            "source.unreachable", "this node has no driver for PostgreSQL", hint="pip install 'holdfast[postgresql]'"
        ) from error


def _open_file(url: sa.URL, read: SqlRead) -> sqlite3.Connection:
    uri = f"file:{quote(url.database or '')}?mode=ro"
    made = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=read.seconds)
    made.execute("PRAGMA query_only=ON")
    return made


def _connect(engine: sa.Engine) -> sa.Connection:
    options: dict[str, Any] = {}
    if engine.dialect.name == "postgresql":
        options = {"postgresql_readonly": True, "isolation_level": "REPEATABLE READ"}
    try:
        return engine.connect().execution_options(**options)
    except sa.exc.DBAPIError as error:
        raise UnavailableError("source.unreachable", "no connection to the database", status=502) from error


def _only_read(connection: sa.Connection, read: SqlRead, progress: _Progress) -> None:
    """Take from a connection what it could do besides reading, and note what it is."""
    driver: Any = connection.connection.dbapi_connection
    if read.dialect == "sqlite":
        driver.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, max(read.most_bytes, 1 << 16))
        driver.set_authorizer(_authorize)
        progress.hold(driver.interrupt)
        progress.channel = "file"
        progress.facts["server"] = f"SQLite {sqlite3.sqlite_version}"
        return
    progress.hold(lambda: _shut(driver))
    connection.execute(sa.text("SELECT set_config('statement_timeout', :ms, true)"), {"ms": str(read.seconds * 1000)})
    progress.channel = _channel(driver)
    progress.facts["server"] = f"PostgreSQL {driver.info.parameter_status('server_version')}"[:MAX_FACT]
    progress.facts["database"] = str(driver.info.dbname)[:MAX_FACT]


def _authorize(action: int, first: str | None, second: str | None, *_: object) -> int:
    forbidden = action not in _READS or "load_extension" in (first, second)
    return sqlite3.SQLITE_DENY if forbidden else sqlite3.SQLITE_OK


def _channel(driver: Any) -> str:
    if driver.pgconn.ssl_in_use:
        return "tls"
    return "socket" if driver.info.host.startswith("/") else "tcp"


def _shut(driver: Any) -> None:
    """Shut a connection's socket, so that the thread that waits for it goes on."""
    with contextlib.suppress(Exception), socket.socket(fileno=os.dup(driver.fileno())) as end:
        end.shutdown(socket.SHUT_RDWR)


def _run(connection: sa.Connection, asked: Resolved, read: SqlRead) -> sa.CursorResult[Any]:
    """The statement's rows; PostgreSQL gives no more of them than are taken."""
    if read.dialect == "sqlite":
        return connection.execute(_statement(asked, read, ""))
    connection.execute(_statement(asked, read, "DECLARE answer NO SCROLL CURSOR FOR "))
    return connection.execute(sa.text(f"FETCH {read.rows + 1} FROM answer"))


def _statement(asked: Resolved, read: SqlRead, before: str) -> sa.TextClause:
    """The statement with its parameters bound: integers as such, everything else as text."""
    places: Mapping[str, str] = asked.places
    bound = []
    for name in bound_names(read.select):
        whole = asked.source.parameters[name].type == "integer"
        value: int | str = int(places[name]) if whole else places[name]
        bound.append(sa.bindparam(name, value, type_=sa.BigInteger() if whole else sa.String()))
    return sa.text(before + bound_text(read.select)).bindparams(*bound)


def _refusal(error: sa.exc.DBAPIError, read: SqlRead) -> HoldfastError:
    """What a driver's error means; its own words can hold what is in the database, so they are not told."""
    cause: Any = error.orig
    name = getattr(cause, "sqlstate", None) or getattr(cause, "sqlite_errorname", None)
    if name in (_CANCELED, "SQLITE_INTERRUPT"):
        return UnavailableError("source.timeout", f"no rows within {read.seconds} s", status=504)
    if name == "SQLITE_TOOBIG":
        return RefusedError("source.size", f"a value is larger than {read.most_bytes} bytes", status=502)
    if error.connection_invalidated or name is None:
        return UnavailableError("source.unreachable", "the database closes the connection", status=502)
    return RefusedError("source.status", f"the database refuses the statement ({name})", status=502)


def _tell(definition: Definition, question: bytes, progress: _Progress, seen: Observed) -> None:
    """What was observed so far, into ``seen``."""
    seen.requested, seen.first_byte = progress.requested, progress.first_byte
    if progress.channel is None or progress.requested is None:
        return
    body = progress.body
    seen.body = body or b""
    seen.exchange = Exchange(
        kind="sql",
        channel=progress.channel,
        template=definition.template,
        request_digest=sha256_hex(question),
        request_size=len(question),
        answer=None if body is None else (sha256_hex(body), len(body)),
        facts=dict(progress.facts),
    )
