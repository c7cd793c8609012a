"""Deliveries of webhooks in SQL: SQLAlchemy over SQLite, or PostgreSQL when there is more than one host.

SQLite runs with a write-ahead log and ``synchronous=FULL``: what was committed survives the machine. A write takes the
database's write lock when it begins (PostgreSQL: the cursor's row), so writers come one after the other.

Not thread-safe by itself: the panel calls it from one worker thread.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from holdfast.adapters.sqlite import durable_engine
from holdfast.errors import ConflictError
from holdfast.ports.webhook_store import Cursor, Delivery, HookRow, NewDelivery, Outcome, Stands

_CHUNK = 500
"""Ids in one question: below every database's limit of parameters."""
_SHA = sa.String(64)
_TIME = sa.String(24)
_CASE = sa.String(36)
_METADATA = sa.MetaData()
_CURSOR = sa.Table(
    "webhook_cursor",
    _METADATA,
    sa.Column("one", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("digest", _SHA, nullable=False),
)
_TOLD = sa.Table(
    "webhook_told",
    _METADATA,
    sa.Column("case", _CASE, primary_key=True),
    sa.Column("stood", sa.String(16), nullable=False),
)
_HOOKS = sa.Table(
    "webhook_endpoints",
    _METADATA,
    sa.Column("hook", _SHA, primary_key=True),
    sa.Column("begins_after", sa.BigInteger, nullable=False),
    sa.Column("disabled_at", _TIME),
    sa.Column("note", sa.Text, nullable=False),
)
_DELIVERIES = sa.Table(
    "webhook_deliveries",
    _METADATA,
    sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("delivery", _SHA, nullable=False, unique=True),
    sa.Column("hook", _SHA, nullable=False),
    sa.Column("case", _CASE, nullable=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("tells", sa.String(16), nullable=False),
    sa.Column("lets_through", sa.Integer, nullable=False),
    sa.Column("at", _TIME, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("stands", sa.String(16), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("next_at", _TIME, nullable=False),
    sa.Column("give_up_at", _TIME, nullable=False),
    sa.Column("ended_at", _TIME),
    sa.Column("note", sa.Text, nullable=False),
    sa.UniqueConstraint("hook", "seq"),
    sa.Index("deliveries_by_turn", "hook", "stands", "next_at", "number"),
    sa.Index("deliveries_by_case", "hook", "case", "stands", "number"),
    sa.Index("deliveries_by_end", "stands", "ended_at"),
    sa.Index("deliveries_by_list", "stands", "number"),
    sqlite_autoincrement=True,
)
_ENDED = ("delivered", "dropped")


class SQLWebhookStore:
    """See :class:`holdfast.ports.webhook_store.WebhookStore`."""

    def __init__(self, url: str) -> None:
        self._engine = durable_engine(url)
        _METADATA.create_all(self._engine)
        with self._engine.begin() as connection:
            if connection.execute(sa.select(_CURSOR.c.seq)).first() is None:
                connection.execute(sa.insert(_CURSOR), {"one": 1, "seq": 0, "digest": Cursor().digest})

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    @contextlib.contextmanager
    def _read(self) -> Iterator[sa.Connection]:
        with self._engine.connect() as connection:
            yield connection.execution_options(holdfast_reads=True)
            connection.rollback()

    @contextlib.contextmanager
    def _write(self) -> Iterator[sa.Connection]:
        with self._engine.connect() as connection:
            connection.execute(sa.select(_CURSOR.c.seq).with_for_update())
            yield connection
            self._commit(connection)

    def _commit(self, connection: sa.Connection) -> None:
        connection.commit()

    # Following

    def cursor(self) -> Cursor:
        """How far the journal was followed."""
        with self._read() as connection:
            return _cursor(connection)

    def told(self, cases: Collection[str]) -> dict[str, str]:
        """By case: where it stood last, of those that were let through since their last reopening."""
        found: dict[str, str] = {}
        with self._read() as connection:
            for chunk in _chunks(cases):
                for row in connection.execute(sa.select(_TOLD).where(_TOLD.c.case.in_(chunk))):
                    found[row.case] = row.stood
        return found

    def add(
        self,
        before: Cursor,
        after: Cursor,
        deliveries: Sequence[NewDelivery],
        told: Mapping[str, str | None],
        at: str,
        give_up_at: str,
    ) -> None:
        """Move the cursor, with everything that the events between say."""
        with self._write() as connection:
            if _cursor(connection) != before:
                raise ConflictError("webhook_store.cursor", "another process follows the journal for these webhooks")
            connection.execute(sa.update(_CURSOR).values(seq=after.seq, digest=after.digest))
            for chunk in _chunks(told):
                connection.execute(sa.delete(_TOLD).where(_TOLD.c.case.in_(chunk)))
            kept = [{"case": case, "stood": stood} for case, stood in told.items() if stood is not None]
            if kept:
                connection.execute(sa.insert(_TOLD), kept)
            back = [{"b_hook": new.hook, "b_case": new.case} for new in deliveries if not new.lets_through]
            if back:
                waits = sa.update(_DELIVERIES).where(
                    _DELIVERIES.c.hook == sa.bindparam("b_hook"),
                    _DELIVERIES.c.case == sa.bindparam("b_case"),
                    _DELIVERIES.c.stands == "waiting",
                    _DELIVERIES.c.lets_through == 1,
                    _DELIVERIES.c.next_at > at,
                )
                connection.execute(waits.values(next_at=at), back)
            if deliveries:
                rows = [_row_of(new, at, give_up_at) for new in deliveries]
                connection.execute(sa.insert(_DELIVERIES), rows)

    # Sending

    def due(self, hook: str, at: str, limit: int) -> list[Delivery]:
        """What may be sent now: of each case the oldest that waits."""
        older = _DELIVERIES.alias("older")
        earlier = (
            sa.select(sa.literal(1))
            .select_from(older)
            .where(
                older.c.hook == _DELIVERIES.c.hook,
                older.c.case == _DELIVERIES.c.case,
                older.c.stands == "waiting",
                older.c.number < _DELIVERIES.c.number,
            )
        )
        query = sa.select(_DELIVERIES).where(
            _DELIVERIES.c.hook == hook,
            _DELIVERIES.c.stands == "waiting",
            _DELIVERIES.c.next_at <= at,
            ~sa.exists(earlier),
        )
        return self._many(query.order_by(_DELIVERIES.c.next_at, _DELIVERIES.c.number).limit(limit))

    def next_at(self, hook: str, after: str) -> str | None:
        """The first moment beyond ``after`` at which something waits for its turn."""
        query = sa.select(sa.func.min(_DELIVERIES.c.next_at)).where(
            _DELIVERIES.c.hook == hook, _DELIVERIES.c.stands == "waiting", _DELIVERIES.c.next_at > after
        )
        with self._read() as connection:
            found: str | None = connection.execute(query).scalar()
            return found

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Note what became of deliveries."""
        if not outcomes:
            return
        change = sa.update(_DELIVERIES).where(_DELIVERIES.c.number == sa.bindparam("b_number"))
        values: dict[str, Any] = {
            name: sa.bindparam(f"b_{name}") for name in ("stands", "attempts", "next_at", "ended_at", "note")
        }
        rows = [
            {
                "b_number": item.number,
                "b_stands": item.stands,
                "b_attempts": item.attempts,
                "b_next_at": item.next_at,
                "b_ended_at": item.ended_at,
                "b_note": item.note,
            }
            for item in outcomes
        ]
        with self._write() as connection:
            connection.execute(change.values(values), rows)

    # People

    def listed(self, stands: Stands, after: int, limit: int) -> list[Delivery]:
        """One page of deliveries that stand so."""
        query = sa.select(_DELIVERIES).where(_DELIVERIES.c.stands == stands, _DELIVERIES.c.number > after)
        return self._many(query.order_by(_DELIVERIES.c.number).limit(limit))

    def delivery(self, delivery: str) -> Delivery | None:
        """One delivery by its id."""
        found = self._many(sa.select(_DELIVERIES).where(_DELIVERIES.c.delivery == delivery))
        return found[0] if found else None

    def overtaken(self, number: int) -> bool:
        """Whether something later of the same case was delivered to the same endpoint."""
        later = _DELIVERIES.alias("later")
        query = (
            sa.select(later.c.number)
            .join(
                _DELIVERIES,
                (_DELIVERIES.c.hook == later.c.hook)
                & (_DELIVERIES.c.case == later.c.case)
                & (_DELIVERIES.c.number < later.c.number),
            )
            .where(_DELIVERIES.c.number == number, later.c.stands == "delivered")
        )
        with self._read() as connection:
            return connection.execute(query.limit(1)).first() is not None

    def replay(self, delivery: str, at: str, give_up_at: str, note: str) -> bool:
        """Let one that is dead wait again."""
        dead = sa.update(_DELIVERIES).where(_DELIVERIES.c.delivery == delivery, _DELIVERIES.c.stands == "dead")
        with self._write() as connection:
            moved = connection.execute(
                dead.values(stands="waiting", attempts=0, next_at=at, give_up_at=give_up_at, ended_at=None, note=note)
            )
            return moved.rowcount > 0

    def drop(self, delivery: str, at: str, note: str) -> bool:
        """Give one up for good that is dead."""
        dead = sa.update(_DELIVERIES).where(_DELIVERIES.c.delivery == delivery, _DELIVERIES.c.stands == "dead")
        with self._write() as connection:
            moved = connection.execute(dead.values(stands="dropped", ended_at=at, note=note))
            return moved.rowcount > 0

    def register(self, hook: str, begins_after: int) -> HookRow:
        """Make an endpoint known."""
        query = sa.select(_HOOKS).where(_HOOKS.c.hook == hook)
        with self._write() as connection:
            row = connection.execute(query).first()
            if row is None:
                connection.execute(sa.insert(_HOOKS), {"hook": hook, "begins_after": begins_after, "note": ""})
                return HookRow(hook, begins_after)
            return HookRow(*row)

    def disable(self, hook: str, at: str, note: str) -> None:
        """Send it nothing any more."""
        with self._write() as connection:
            connection.execute(sa.update(_HOOKS).where(_HOOKS.c.hook == hook).values(disabled_at=at, note=note))

    def enable(self, hook: str) -> bool:
        """Send to it again; False when it was not disabled."""
        disabled = sa.update(_HOOKS).where(_HOOKS.c.hook == hook, _HOOKS.c.disabled_at.is_not(None))
        with self._write() as connection:
            return connection.execute(disabled.values(disabled_at=None, note="")).rowcount > 0

    def counts(self) -> dict[tuple[str, str], int]:
        """Deliveries by (endpoint, where they stand)."""
        query = sa.select(_DELIVERIES.c.hook, _DELIVERIES.c.stands, sa.func.count())
        with self._read() as connection:
            rows = connection.execute(query.group_by(_DELIVERIES.c.hook, _DELIVERIES.c.stands))
            return {(hook, stands): number for hook, stands, number in rows}

    def prune(self, before: str, limit: int) -> int:
        """Remove what ended well before a moment."""
        old = sa.select(_DELIVERIES.c.number).where(_DELIVERIES.c.stands.in_(_ENDED), _DELIVERIES.c.ended_at < before)
        with self._write() as connection:
            numbers = list(connection.execute(old.limit(min(limit, _CHUNK))).scalars())
            if numbers:
                connection.execute(sa.delete(_DELIVERIES).where(_DELIVERIES.c.number.in_(numbers)))
            return len(numbers)

    def _many(self, query: sa.Select[Any]) -> list[Delivery]:
        with self._read() as connection:
            return [_delivery(row) for row in connection.execute(query)]


def _cursor(connection: sa.Connection) -> Cursor:
    row = connection.execute(sa.select(_CURSOR.c.seq, _CURSOR.c.digest)).one()
    return Cursor(row.seq, row.digest)


def _row_of(new: NewDelivery, at: str, give_up_at: str) -> dict[str, Any]:
    return {
        "delivery": new.delivery,
        "hook": new.hook,
        "case": new.case,
        "seq": new.seq,
        "tells": new.state,
        "lets_through": int(new.lets_through),
        "at": new.at,
        "body": new.body,
        "stands": "waiting",
        "attempts": 0,
        "next_at": at,
        "give_up_at": give_up_at,
        "note": "",
    }


def _delivery(row: Any) -> Delivery:
    return Delivery(
        row.number,
        row.delivery,
        row.hook,
        row.case,
        row.seq,
        row.tells,
        bool(row.lets_through),
        row.at,
        row.body,
        row.stands,
        row.attempts,
        row.next_at,
        row.give_up_at,
        row.ended_at,
        row.note,
    )


def _chunks(values: Collection[str]) -> Iterator[list[str]]:
    listed = sorted(values)
    for begin in range(0, len(listed), _CHUNK):
        yield listed[begin : begin + _CHUNK]
