"""Find runs and remember what was seen of their settlement: SQLAlchemy over SQLite, or PostgreSQL (``docs/operate``).

Derived state: a gateway rebuilds the runs from its write-ahead log, and learns the settlement again from the log and
the full nodes. What it adds is order: ``settlement_events`` is append-only, so a position in it keeps its meaning.

Not thread-safe by itself: the gateway calls it from one worker thread.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.pool import StaticPool

from holdfast.ports.run_index import RunRow, SettlementEvent

_METADATA = sa.MetaData()
_RUNS = sa.Table(
    "runs",
    _METADATA,
    sa.Column("run", sa.String(36), primary_key=True),
    sa.Column("workspace", sa.String(64), nullable=False),
    sa.Column("opened_at", sa.String(24), nullable=False),
    sa.Column("endpoint", sa.String(32), nullable=False),
    sa.Column("outcome", sa.String(64)),
    sa.Column("closed_at", sa.String(24)),
    sa.Column("open_place", sa.BigInteger, nullable=False),
    sa.Column("close_place", sa.BigInteger),
    sa.Column("follow_place", sa.BigInteger),
    sa.Column("route_index", sa.BigInteger),
    sa.Column("execution_index", sa.BigInteger),
    sa.Column("logged_at", sa.String(24)),
    sa.Column("queue", sa.String(64)),
    sa.Column("requester", sa.String(64)),
    sa.Column("subject", sa.Text),
    sa.Column("added", sa.Text),
    sa.Column("asked_again", sa.Integer),
    sa.Column("parent_run", sa.String(36)),
    sa.Column("retry", sa.String(64)),
    sa.Index("runs_by_workspace", "workspace", "opened_at"),
    sa.Index("runs_by_entry", "execution_index"),
)
_QUEUED = sa.Index(
    "runs_queued",
    _RUNS.c.workspace,
    _RUNS.c.open_place,
    sqlite_where=_RUNS.c.queue.is_not(None),
    postgresql_where=_RUNS.c.queue.is_not(None),
)
"""Only runs that name a queue: the others cost nothing."""
_PARENTS = sa.Index(
    "runs_by_parent",
    _RUNS.c.parent_run,
    _RUNS.c.open_place,
    sqlite_where=_RUNS.c.parent_run.is_not(None),
    postgresql_where=_RUNS.c.parent_run.is_not(None),
)
"""Likewise: only runs that name a parent."""
_RETRIES = sa.Index(
    "runs_by_retry",
    _RUNS.c.retry,
    _RUNS.c.open_place,
    sqlite_where=_RUNS.c.retry.is_not(None),
    postgresql_where=_RUNS.c.retry.is_not(None),
)
"""Likewise: only runs that were asked for under a key."""
_AGENTS = sa.Index(
    "runs_of_agents",
    _RUNS.c.workspace,
    _RUNS.c.open_place,
    sqlite_where=_RUNS.c.endpoint == "agent",
    postgresql_where=_RUNS.c.endpoint == "agent",
)
"""Likewise: only agent runs."""
_CURSOR = sa.Table(
    "cursors",
    _METADATA,
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("position", sa.BigInteger, nullable=False),
)
_EVENTS = sa.Table(
    "settlement_events",
    _METADATA,
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("at", sa.String(24), nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Index("events_by_number", "kind", "number"),
    sa.Index("events_by_size", "kind", "size"),
    sa.Index("events_by_time", "at"),
)


class SQLRunIndex:
    """The tables of one gateway; see :class:`holdfast.ports.run_index.RunIndex`."""

    def __init__(self, url: str) -> None:
        options: dict[str, Any] = {}
        if url.startswith("sqlite"):
            options = {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}
        self._engine = sa.create_engine(url, **options)
        if url.startswith("sqlite"):
            sa.event.listen(self._engine, "connect", _quiet_sqlite)
        _METADATA.create_all(self._engine)
        self._add_columns()

    def _add_columns(self) -> None:
        """Give older tables the columns that came since. No run in them had such a thing, so nothing is filled in."""
        found = {column["name"] for column in sa.inspect(self._engine).get_columns("runs")}
        with self._engine.begin() as connection:
            for name, kind in (
                ("queue", "VARCHAR(64)"),
                ("requester", "VARCHAR(64)"),
                ("subject", "TEXT"),
                ("added", "TEXT"),
                ("asked_again", "INTEGER"),
                ("parent_run", "VARCHAR(36)"),
                ("retry", "VARCHAR(64)"),
            ):
                if name not in found:
                    connection.execute(sa.text(f"ALTER TABLE runs ADD COLUMN {name} {kind}"))
            _QUEUED.create(connection, checkfirst=True)
            _PARENTS.create(connection, checkfirst=True)
            _RETRIES.create(connection, checkfirst=True)
            _AGENTS.create(connection, checkfirst=True)

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def forget(self) -> None:
        """Drop every row and begin again: positions too."""
        _METADATA.drop_all(self._engine)
        _METADATA.create_all(self._engine)

    def put_runs(self, rows: Iterable[dict[str, Any]]) -> set[str]:
        """Insert opened runs (members of :class:`RunRow`). Returns those that were there already: they stay as they
        are, and whoever knows more of them updates them."""
        listed = list(rows)
        if not listed:
            return set()
        try:  # hardly ever is one known: after a crash, when the log is replayed
            with self._engine.begin() as connection:
                connection.execute(sa.insert(_RUNS), listed)
        except sa.exc.IntegrityError:
            return self._put_unknown(listed)
        return set()

    def _put_unknown(self, listed: list[dict[str, Any]]) -> set[str]:
        with self._engine.begin() as connection:
            known = self._known(connection, [row["run"] for row in listed])
            fresh = [row for row in listed if row["run"] not in known]
            if fresh:
                connection.execute(sa.insert(_RUNS), fresh)
        return known

    @staticmethod
    def _known(connection: sa.Connection, runs: Sequence[str]) -> set[str]:
        found: set[str] = set()
        for begin in range(0, len(runs), 500):
            chunk = runs[begin : begin + 500]
            found.update(connection.execute(sa.select(_RUNS.c.run).where(_RUNS.c.run.in_(chunk))).scalars())
        return found

    def update_runs(self, rows: Iterable[dict[str, Any]], cursors: Mapping[str, int] | None = None) -> None:
        """Set members of runs (each row names its ``run``), and cursors, in one transaction."""
        alike: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        for row in rows:
            alike.setdefault(tuple(sorted(row)), []).append({f"new_{name}": value for name, value in row.items()})
        with self._engine.begin() as connection:
            for names, values in alike.items():
                connection.execute(_update_of(names), values)
            for name, position in (cursors or {}).items():
                moved = sa.update(_CURSOR).where(_CURSOR.c.name == name).values(position=position)
                if connection.execute(moved).rowcount == 0:
                    connection.execute(sa.insert(_CURSOR), {"name": name, "position": position})

    def cursor(self, name: str) -> int:
        """A stored position; 0 when there is none."""
        with self._engine.connect() as connection:
            found = connection.execute(sa.select(_CURSOR.c.position).where(_CURSOR.c.name == name)).scalar()
        return int(found) if found is not None else 0

    def run(self, run: str) -> RunRow | None:
        """One run by its id."""
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(_RUNS).where(_RUNS.c.run == run)).mappings().first()
        return RunRow(**row) if row is not None else None

    def recent(self, workspace: str, limit: int) -> list[RunRow]:
        """A workspace's runs, newest first."""
        query = (
            sa.select(_RUNS)
            .where(_RUNS.c.workspace == workspace)
            .order_by(_RUNS.c.opened_at.desc(), _RUNS.c.run.desc())
        )
        with self._engine.connect() as connection:
            return [RunRow(**row) for row in connection.execute(query.limit(limit)).mappings()]

    def children(self, parent: str) -> list[RunRow]:
        """The runs that name a parent, by the place of their opening."""
        query = sa.select(_RUNS).where(_RUNS.c.parent_run == parent).order_by(_RUNS.c.open_place)
        with self._engine.connect() as connection:
            return [RunRow(**row) for row in connection.execute(query).mappings()]

    def asked_under(self, retry: str) -> RunRow | None:
        """The run that was opened last of those asked for under a key."""
        query = sa.select(_RUNS).where(_RUNS.c.retry == retry).order_by(_RUNS.c.open_place.desc()).limit(1)
        with self._engine.connect() as connection:
            row = connection.execute(query).mappings().first()
        return RunRow(**row) if row is not None else None

    def agents(self, workspace: str, before: int, limit: int) -> list[RunRow]:
        """A workspace's agent runs whose openings lie before a place, the newest first."""
        query = (
            sa.select(_RUNS)
            .where(_RUNS.c.workspace == workspace, _RUNS.c.endpoint == "agent", _RUNS.c.open_place < before)
            .order_by(_RUNS.c.open_place.desc())
            .limit(limit)
        )
        with self._engine.connect() as connection:
            return [RunRow(**row) for row in connection.execute(query).mappings()]

    def count_children(self, parents: Collection[str]) -> dict[str, int]:
        """How many runs name each of these as their parent; those that none names are left out."""
        query = sa.select(_RUNS.c.parent_run, sa.func.count()).where(_RUNS.c.parent_run.in_(list(parents)))
        with self._engine.connect() as connection:
            return {parent: int(count) for parent, count in connection.execute(query.group_by(_RUNS.c.parent_run))}

    def openings(self, workspace: str, begin: int, end: int, limit: int) -> list[RunRow]:
        """A workspace's runs that name a queue, by the place of their opening, from ``begin`` on and below ``end``."""
        query = (
            sa.select(_RUNS)
            .where(_RUNS.c.workspace == workspace, _RUNS.c.queue.is_not(None))
            .where(_RUNS.c.open_place >= begin, _RUNS.c.open_place < end)
            .order_by(_RUNS.c.open_place)
        )
        with self._engine.connect() as connection:
            return [RunRow(**row) for row in connection.execute(query.limit(limit)).mappings()]

    def highest_entry(self) -> int:
        """The greatest log index of any run; -1 when none is logged."""
        with self._engine.connect() as connection:
            found = connection.execute(sa.select(sa.func.max(_RUNS.c.execution_index))).scalar()
        return int(found) if found is not None else -1

    def add_event(self, at: str, kind: str, number: int, size: int, body: dict[str, Any]) -> SettlementEvent:
        """Append one event; its position is greater than every earlier one's."""
        values = {"at": at, "kind": kind, "number": number, "size": size, "body": json.dumps(body, sort_keys=True)}
        with self._engine.begin() as connection:
            key = connection.execute(sa.insert(_EVENTS).values(values)).inserted_primary_key
        return SettlementEvent(int(key[0]) if key else 0, at, kind, number, size, body)

    def last_event(self, kind: str, number: int | None = None) -> SettlementEvent | None:
        """The newest event of a kind (and round)."""
        query = sa.select(_EVENTS).where(_EVENTS.c.kind == kind)
        if number is not None:
            query = query.where(_EVENTS.c.number == number)
        return self._first(query.order_by(_EVENTS.c.position.desc()))

    def events_of(self, number: int) -> list[SettlementEvent]:
        """Every event of a round, in order."""
        return self._all(sa.select(_EVENTS).where(_EVENTS.c.number == number, _EVENTS.c.kind != "checkpoint"))

    def events_since(self, at: str, until: str | None, index: int) -> list[SettlementEvent]:
        """Candidates, votes, finality and silence seen from ``at`` to ``until`` that reach beyond a log index, in
        order."""
        rounds = _EVENTS.c.kind.in_(("candidate", "votes", "final", "silence"))
        query = sa.select(_EVENTS).where(_EVENTS.c.at >= at, _EVENTS.c.size > index, rounds)
        return self._all(query if until is None else query.where(_EVENTS.c.at <= until))

    def superseding(self, index: int) -> list[SettlementEvent]:
        """The ``superseded`` events of one log index, in order."""
        return self._all(sa.select(_EVENTS).where(_EVENTS.c.kind == "superseded", _EVENTS.c.size == index + 1))

    def first_covering(self, kind: str, index: int) -> SettlementEvent | None:
        """The first event of a kind whose size is beyond a log index."""
        query = sa.select(_EVENTS).where(_EVENTS.c.kind == kind, _EVENTS.c.size > index)
        return self._first(query.order_by(_EVENTS.c.size, _EVENTS.c.position))

    def highest_final(self) -> int:
        """Number of the newest round seen final; 0 when none."""
        query = sa.select(sa.func.max(_EVENTS.c.number)).where(_EVENTS.c.kind == "final")
        with self._engine.connect() as connection:
            found = connection.execute(query).scalar()
        return int(found) if found is not None else 0

    def _all(self, query: sa.Select[Any]) -> list[SettlementEvent]:
        with self._engine.connect() as connection:
            rows = connection.execute(query.order_by(_EVENTS.c.position)).mappings().all()
        return [_event(row) for row in rows]

    def _first(self, query: sa.Select[Any]) -> SettlementEvent | None:
        with self._engine.connect() as connection:
            row = connection.execute(query.limit(1)).mappings().first()
        return _event(row) if row is not None else None


@lru_cache(maxsize=64)
def _update_of(names: tuple[str, ...]) -> sa.Update:
    """One statement for many rows that set the same members: compiled once, run as a batch."""
    values: dict[str, Any] = {name: sa.bindparam(f"new_{name}") for name in names if name != "run"}
    if "logged_at" in values:  # what is delivered again was logged when it first was
        values["logged_at"] = sa.func.coalesce(_RUNS.c.logged_at, values["logged_at"])
    return sa.update(_RUNS).where(_RUNS.c.run == sa.bindparam("new_run")).values(values)


def _event(row: Any) -> SettlementEvent:
    body = json.loads(row["body"])
    return SettlementEvent(row["position"], row["at"], row["kind"], row["number"], row["size"], body)


def _quiet_sqlite(connection: Any, _record: Any) -> None:
    """Write-ahead mode with relaxed syncs: everything here can be derived again."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()
