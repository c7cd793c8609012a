"""The books of a till: SQLAlchemy over SQLite, or PostgreSQL.

Rules: whoever writes first takes the one row of ``till_lock``, so writers follow each other, also those of several
gateways; what a writer read then still holds, and the positions of steps rise in the order of commits. Amounts outgrow
every integer that databases have (256 bits): they are text there, and are added up here. Sums are kept beside the rows
that they are of, and :meth:`SQLTillStore.faults` adds them up again.

SQLite's commits of holds are not on disk at once: :meth:`SQLTillStore.sync` puts its log there, which whoever opens a
run does beside its own writing. Everything else is on disk when it returns; PostgreSQL's holds are too.

Not thread-safe by itself: a gateway calls it from one worker thread, and :meth:`SQLTillStore.sync` from any.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from holdfast.adapters.sqlite import durable_engine
from holdfast.errors import ConflictError, HoldfastError, RefusedError, UsageError
from holdfast.ports.till_store import (
    UNCOLLECTED,
    Account,
    Authorization,
    AuthorizationStands,
    Debt,
    Hold,
    HoldStands,
    NewAuthorization,
    NewCharge,
    NewHold,
    Step,
    StoredStep,
)


class _Amount(sa.TypeDecorator[int]):
    """An unsigned integer of any size, as decimal text."""

    impl = sa.String(96)
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: sa.Dialect) -> str | None:  # noqa: ARG002
        return None if value is None else str(value)

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> int | None:  # noqa: ARG002
        return None if value is None else int(value)


_TIME = sa.String(24)
_SHA = sa.String(64)
_RUN = sa.String(36)
_STANDS = sa.String(16)
_METADATA = sa.MetaData()
_LOCK = sa.Table("till_lock", _METADATA, sa.Column("one", sa.Integer, primary_key=True, autoincrement=False))
_ACCOUNTS = sa.Table(
    "till_accounts",
    _METADATA,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("granted", _Amount, nullable=False),
    sa.Column("spent", _Amount, nullable=False),
    sa.Column("held", _Amount, nullable=False),
)
_GRANTS = sa.Table(
    "till_grants",
    _METADATA,
    sa.Column("reference", sa.String(128), primary_key=True),
    sa.Column("account", sa.String(64), nullable=False),
    sa.Column("amount", _Amount, nullable=False),
    sa.Column("at", _TIME, nullable=False),
)
_PAYERS = sa.Table(
    "till_payers",
    _METADATA,
    sa.Column("payer", sa.String(64), primary_key=True),
    sa.Column("network", sa.String(32), primary_key=True),
    sa.Column("asset", sa.String(64), primary_key=True),
    sa.Column("exposed", _Amount, nullable=False),
)
_AUTHORIZATIONS = sa.Table(
    "till_authorizations",
    _METADATA,
    sa.Column("identity", _SHA, primary_key=True),
    sa.Column("payer", sa.String(64), nullable=False),
    sa.Column("payee", sa.String(64), nullable=False),
    sa.Column("network", sa.String(32), nullable=False),
    sa.Column("asset", sa.String(64), nullable=False),
    sa.Column("scheme", sa.String(16), nullable=False),
    sa.Column("timing", sa.String(16), nullable=False),
    sa.Column("cap", _Amount, nullable=False),
    sa.Column("deadline", _TIME, nullable=False),
    sa.Column("payload", sa.LargeBinary, nullable=False),
    sa.Column("requirements", sa.LargeBinary, nullable=False),
    sa.Column("session", sa.String(64), unique=True),
    sa.Column("at", _TIME, nullable=False),
    sa.Column("last_at", _TIME, nullable=False),
    sa.Column("stands", _STANDS, nullable=False),
    sa.Column("held", _Amount, nullable=False),
    sa.Column("charged", _Amount, nullable=False),
    sa.Column("capture", _Amount),
    sa.Column("job", sa.String(64)),
    sa.Column("transaction", sa.String(80)),
    sa.Column("reason", sa.String(128)),
    sa.Index("authorizations_by_deadline", "stands", "deadline", "identity"),
    sa.Index("authorizations_by_payer", "payer"),
)
_HOLDS = sa.Table(
    "till_holds",
    _METADATA,
    sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("run", _RUN, nullable=False, unique=True),
    sa.Column("account", sa.String(64)),
    sa.Column("identity", _SHA),
    sa.Column("cap", _Amount, nullable=False),
    sa.Column("at", _TIME, nullable=False),
    sa.Column("terms", sa.LargeBinary, nullable=False),
    sa.Column("stands", _STANDS, nullable=False),
    sa.Column("amount", _Amount),
    sa.Column("ended_at", _TIME),
    sa.Index("holds_by_account", "account", "number"),
    sa.Index("holds_by_identity", "identity", "number"),
    sa.Index("holds_by_stand", "stands", "number"),
    sqlite_autoincrement=True,
)
_DEBTS = sa.Table(
    "till_debts",
    _METADATA,
    sa.Column("run", _RUN, primary_key=True),
    sa.Column("amount", _Amount, nullable=False),
    sa.Column("reason", sa.String(128), nullable=False),
    sa.Column("at", _TIME, nullable=False),
    sa.Column("transaction", sa.String(80)),
    sa.Column("repaid_at", _TIME),
    sa.Index("debts_by_time", "at"),
)
_STEPS = sa.Table(
    "till_steps",
    _METADATA,
    sa.Column("position", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("run", _RUN, nullable=False),
    sa.Column("event", sa.String(16), nullable=False),
    sa.Column("document", sa.LargeBinary, nullable=False),
    sa.Column("salt", sa.LargeBinary, nullable=False),
    sa.Column("digest", _SHA, nullable=False),
    sa.Column("envelope", sa.LargeBinary, nullable=False),
    sa.Column("entry", sa.LargeBinary, nullable=False),
    sa.Column("commitment_salt", sa.LargeBinary),
    sa.Column("log_index", sa.BigInteger),
    sa.Index("steps_by_run", "run", "position"),
    sqlite_autoincrement=True,
)
_CURSORS = sa.Table(
    "till_cursors",
    _METADATA,
    sa.Column("name", sa.String(96), primary_key=True),
    sa.Column("position", sa.BigInteger, nullable=False),
)
# What every hold and charge says to the database, made once: making it costs more than saying it.
_ACCOUNT_OF = sa.select(_ACCOUNTS).where(_ACCOUNTS.c.name == sa.bindparam("b_name"))
_ACCOUNT_PUT = (
    sa.update(_ACCOUNTS)
    .where(_ACCOUNTS.c.name == sa.bindparam("b_name"))
    .values({name: sa.bindparam(f"b_{name}") for name in ("granted", "spent", "held")})
)
_ONE_PAYER = (
    (_PAYERS.c.payer == sa.bindparam("b_payer"))
    & (_PAYERS.c.network == sa.bindparam("b_network"))
    & (_PAYERS.c.asset == sa.bindparam("b_asset"))
)
_PAYER_OF = sa.select(_PAYERS.c.exposed).where(_ONE_PAYER)
_PAYER_PUT = sa.update(_PAYERS).where(_ONE_PAYER).values(exposed=sa.bindparam("b_exposed"))
_HOLD_OF = sa.select(_HOLDS).where(_HOLDS.c.run == sa.bindparam("b_run"))
_HOLD_END = (
    sa.update(_HOLDS)
    .where(_HOLDS.c.run == sa.bindparam("b_run"))
    .values({name: sa.bindparam(f"b_{name}") for name in ("stands", "amount", "ended_at")})
)
_AUTHORIZATION_OF = sa.select(_AUTHORIZATIONS).where(_AUTHORIZATIONS.c.identity == sa.bindparam("b_identity"))
_AUTHORIZATION_PUT = (
    sa.update(_AUTHORIZATIONS)
    .where(_AUTHORIZATIONS.c.identity == sa.bindparam("b_identity"))
    .values({name: sa.bindparam(f"b_{name}") for name in ("held", "charged", "last_at")})
)
_LOCKED = sa.select(_LOCK.c.one).with_for_update()
_INSERT_HOLD, _INSERT_STEP = sa.insert(_HOLDS), sa.insert(_STEPS)
_NEW = tuple(item.name for item in fields(NewAuthorization))
_ENDED_HOLDS: tuple[HoldStands, ...] = ("captured", "lapsed", "failed")


class SQLTillStore:
    """See :class:`holdfast.ports.till_store.TillStore`."""

    def __init__(self, url: str) -> None:
        self._engine = durable_engine(url)
        _METADATA.create_all(self._engine)
        with self._engine.begin() as connection:
            if connection.execute(sa.select(_LOCK.c.one)).first() is None:
                connection.execute(sa.insert(_LOCK), {"one": 1})
        self._log = _open_log(self._engine)

    def close(self) -> None:
        """Let go of the database."""
        if self._log is not None:
            os.close(self._log)
        self._engine.dispose()

    @contextlib.contextmanager
    def _read(self) -> Iterator[sa.Connection]:
        with self._engine.connect() as connection:
            yield connection.execution_options(holdfast_reads=True)
            connection.rollback()

    @contextlib.contextmanager
    def _write(self) -> Iterator[sa.Connection]:
        with self._engine.connect() as connection:
            connection.execute(_LOCKED)
            yield connection
            self._commit(connection)

    def _commit(self, connection: sa.Connection) -> None:
        connection.commit()

    @contextlib.contextmanager
    def _write_soon(self) -> Iterator[sa.Connection]:
        """A write whose commit :meth:`sync` puts on disk, where the database is a file of ours."""
        if self._log is None:
            with self._write() as connection:
                yield connection
            return
        with self._engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            driver.execute("PRAGMA synchronous=NORMAL")
            try:
                yield connection
                self._commit(connection)
            finally:
                connection.rollback()
                driver.execute("PRAGMA synchronous=FULL")

    def sync(self) -> None:
        """Put on disk what was held."""
        if self._log is not None:
            os.fdatasync(self._log)

    # Accounts

    def account(self, name: str) -> Account:
        """Credit of a workspace; nothing where it never got any."""
        with self._read() as connection:
            return _account(connection, name)

    def accounts(self) -> list[Account]:
        """All of them, by name."""
        with self._read() as connection:
            return [Account(*row) for row in connection.execute(sa.select(_ACCOUNTS).order_by(_ACCOUNTS.c.name))]

    def grant(self, name: str, amount: int, reference: str, at: str) -> bool:
        """Add credit, once for each reference."""
        if amount <= 0:
            raise UsageError("till.amount", "credit is granted in amounts above zero")
        with self._write() as connection:
            if connection.execute(sa.select(_GRANTS.c.at).where(_GRANTS.c.reference == reference)).first():
                return False
            row = {"reference": reference, "account": name, "amount": amount, "at": at}
            connection.execute(sa.insert(_GRANTS), row)
            found = _account(connection, name)
            _put_account(connection, replace(found, granted=found.granted + amount))
            return True

    # Holds and charges

    def hold(self, orders: Sequence[NewHold]) -> list[Hold | HoldfastError]:
        """Set amounts aside, all in one transaction."""
        with self._write_soon() as connection:
            return [_refusable(_hold, connection, order) for order in orders]

    def charge(self, charges: Sequence[NewCharge]) -> list[bool | HoldfastError]:
        """Turn holds into charges, all in one transaction."""
        with self._write() as connection:
            return [_refusable(_charge, connection, charge) for charge in charges]

    def release(self, run: str, at: str, steps: Sequence[Step] = ()) -> bool:
        """Give a hold up: the run costs nothing."""
        with self._write() as connection:
            found = _require_hold(connection, run)
            if found.stands != "held":
                return False
            _end_hold(connection, found, "released", None, at, steps)
            return True

    def hold_of(self, run: str) -> Hold | None:
        """The hold of a run."""
        with self._read() as connection:
            return _hold_of(connection, run)

    def holds_of(self, identity: str) -> list[Hold]:
        """Every hold on an authorization, oldest first."""
        return self._holds(_HOLDS.c.identity == identity)

    def held(self) -> list[Hold]:
        """Holds that stand ``held``, oldest first."""
        return self._holds(_HOLDS.c.stands == "held")

    def history(self, *, account: str | None = None, payer: str | None = None, limit: int = 100) -> list[Hold]:
        """The newest holds of an account or of a payer, newest first."""
        if (account is None) == (payer is None):
            raise UsageError("till.history", "the history of an account or of a payer")
        query = sa.select(_HOLDS)
        if account is not None:
            query = query.where(_HOLDS.c.account == account)
        else:
            query = query.join(_AUTHORIZATIONS, _AUTHORIZATIONS.c.identity == _HOLDS.c.identity)
            query = query.where(_AUTHORIZATIONS.c.payer == payer)
        with self._read() as connection:
            rows = connection.execute(query.order_by(_HOLDS.c.number.desc()).limit(limit))
            return [_hold_row(row) for row in rows]

    def _holds(self, condition: sa.ColumnElement[bool]) -> list[Hold]:
        with self._read() as connection:
            rows = connection.execute(sa.select(_HOLDS).where(condition).order_by(_HOLDS.c.number))
            return [_hold_row(row) for row in rows]

    # Authorizations

    def authorization(self, identity: str) -> Authorization | None:
        """One authorization."""
        with self._read() as connection:
            return _authorization(connection, _AUTHORIZATIONS.c.identity == identity)

    def by_session(self, session: str) -> Authorization | None:
        """The authorization that a session names."""
        with self._read() as connection:
            return _authorization(connection, _AUTHORIZATIONS.c.session == session)

    def exposure(self, payer: str, network: str, asset: str) -> int:
        """What a payer has held, charged and not paid."""
        with self._read() as connection:
            return _exposed(connection, payer, network, asset)

    def close_authorization(self, identity: str) -> bool:
        """Serve nothing more on it."""
        is_open = sa.update(_AUTHORIZATIONS).where(
            _AUTHORIZATIONS.c.identity == identity, _AUTHORIZATIONS.c.stands == "open"
        )
        with self._write() as connection:
            return connection.execute(is_open.values(stands="closed")).rowcount > 0

    def uncollected(
        self, stands: Collection[AuthorizationStands] = UNCOLLECTED, *, after: str = "", limit: int = 500
    ) -> list[Authorization]:
        """Authorizations that stand so, by deadline, then identity."""
        table = _AUTHORIZATIONS.c
        query = sa.select(_AUTHORIZATIONS).where(table.stands.in_(stands))
        if after:
            deadline, _, identity = after.partition(" ")
            query = query.where(
                (table.deadline > deadline) | ((table.deadline == deadline) & (table.identity > identity))
            )
        with self._read() as connection:
            rows = connection.execute(query.order_by(table.deadline, table.identity).limit(limit))
            return [_authorization_row(row) for row in rows]

    # Captures

    def begin_capture(
        self, identity: str, amount: int, runs: Collection[str], job: str, at: str, steps: Sequence[Step] = ()
    ) -> None:
        """Decide the capture of a closed authorization."""
        with self._write() as connection:
            found, holds = _collectable(connection, identity)
            chosen = [hold for hold in holds if hold.run in set(runs)]
            if not chosen or len(chosen) != len(runs):
                raise ConflictError("till.capture", "a capture is for charged runs of its authorization")
            charged = sum(hold.amount or 0 for hold in chosen)
            if amount != (found.new.cap if found.new.scheme == "exact" else charged) or amount > found.new.cap:
                raise ConflictError("till.cap", "a capture takes the sum of its charges, or all of an exact payment")
            for hold in holds:
                _stand(connection, hold.run, "capturing" if hold in chosen else "lapsed")
            _expose(connection, found.new, charged - found.charged)
            _change(connection, identity, stands="capturing", capture=amount, job=job, last_at=at)
            _add_steps(connection, steps)

    def end_capture(
        self,
        identity: str,
        at: str,
        *,
        transaction: str | None = None,
        reason: str | None = None,
        steps: Sequence[Step] = (),
    ) -> bool:
        """The capture happened, or failed for good."""
        if (transaction is None) == (reason is None):
            raise UsageError("till.capture", "a capture ends with a transaction or with a reason")
        ended: HoldStands = "captured" if reason is None else "failed"
        with self._write() as connection:
            found = _require_authorization(connection, identity)
            if found.stands in ("captured", "failed"):
                return False
            if found.stands != "capturing":
                raise ConflictError("till.capture", "no capture of this authorization is under way")
            holds = [hold for hold in _holds_on(connection, identity) if hold.stands == "capturing"]
            for hold in holds:
                _stand(connection, hold.run, ended)
            if reason is None:
                _expose(connection, found.new, -sum(hold.amount or 0 for hold in holds))
            _change(connection, identity, stands=ended, transaction=transaction, reason=reason, last_at=at)
            _add_steps(connection, steps)
            return True

    def lapse(self, identity: str, reason: str, at: str, steps: Sequence[Step] = ()) -> None:
        """Take nothing of a closed authorization, ever."""
        with self._write() as connection:
            found, holds = _collectable(connection, identity)
            for hold in holds:
                _stand(connection, hold.run, "lapsed")
            _expose(connection, found.new, -found.charged)
            _change(connection, identity, stands="lapsed", reason=reason, last_at=at)
            _add_steps(connection, steps)

    # Debts

    def owe(self, run: str, amount: int, reason: str, at: str, steps: Sequence[Step] = ()) -> bool:
        """Owe back what was taken for a run."""
        with self._write() as connection:
            found = _require_hold(connection, run)
            if found.stands != ("captured" if found.identity else "charged"):
                raise ConflictError("till.run", "nothing was taken for this run")
            if not 0 < amount <= _taken(connection, found):
                raise ConflictError("till.cap", "no more is owed back than was taken")
            if _debt(connection, run) is not None:
                return False
            row = {"run": run, "amount": amount, "reason": reason, "at": at}
            connection.execute(sa.insert(_DEBTS), row)
            _add_steps(connection, steps)
            return True

    def repay(self, run: str, transaction: str, at: str, steps: Sequence[Step] = ()) -> bool:
        """Note that a debt was paid; of an account this gives the credit back."""
        with self._write() as connection:
            debt, hold = _debt(connection, run), _require_hold(connection, run)
            if debt is None:
                raise ConflictError("till.run", "nothing is owed for this run")
            if debt.repaid_at is not None:
                return False
            if hold.account is not None:
                account = _account(connection, hold.account)
                _put_account(connection, replace(account, spent=account.spent - debt.amount))
            paid = sa.update(_DEBTS).where(_DEBTS.c.run == run)
            connection.execute(paid.values(transaction=transaction, repaid_at=at))
            _add_steps(connection, steps)
            return True

    def debts(self, *, unpaid: bool = True) -> list[Debt]:
        """What is owed, oldest first."""
        query = sa.select(_DEBTS).order_by(_DEBTS.c.at, _DEBTS.c.run)
        with self._read() as connection:
            rows = connection.execute(query.where(_DEBTS.c.repaid_at.is_(None)) if unpaid else query)
            return [Debt(**row) for row in rows.mappings()]

    # Steps

    def add_steps(self, steps: Sequence[Step]) -> None:
        """Write steps that move no amount."""
        with self._write() as connection:
            _add_steps(connection, steps)

    def steps_after(self, position: int, limit: int) -> list[StoredStep]:
        """Steps behind a position, in order."""
        return self._steps(_STEPS.c.position > position, limit)

    def steps_of(self, run: str) -> list[StoredStep]:
        """Steps of one run, in order."""
        return self._steps(_STEPS.c.run == run, None)

    def _steps(self, condition: sa.ColumnElement[bool], limit: int | None) -> list[StoredStep]:
        query = sa.select(_STEPS).where(condition).order_by(_STEPS.c.position).limit(limit)
        with self._read() as connection:
            return [_step_row(dict(row)) for row in connection.execute(query).mappings()]

    def logged(self, indices: Mapping[int, int], cursor: str, position: int) -> None:
        """Note where the log has steps, and move a cursor."""
        with self._write() as connection:
            if indices:
                change = sa.update(_STEPS).where(_STEPS.c.position == sa.bindparam("b_position"))
                rows = [{"b_position": place, "b_index": index} for place, index in indices.items()]
                connection.execute(change.values(log_index=sa.bindparam("b_index")), rows)
            moved = sa.update(_CURSORS).where(_CURSORS.c.name == cursor).values(position=position)
            if connection.execute(moved).rowcount == 0:
                connection.execute(sa.insert(_CURSORS), {"name": cursor, "position": position})

    def cursor(self, name: str) -> int:
        """A stored position; 0 where there is none."""
        with self._read() as connection:
            found = connection.execute(sa.select(_CURSORS.c.position).where(_CURSORS.c.name == name)).scalar()
        return int(found) if found is not None else 0

    # The books as a whole

    def faults(self) -> list[str]:
        """Add everything up again from its smallest rows."""
        with self._read() as connection:
            holds = [_hold_row(row) for row in connection.execute(sa.select(_HOLDS))]
            debts = [Debt(**row) for row in connection.execute(sa.select(_DEBTS)).mappings()]
            grants: dict[str, int] = {}
            for row in connection.execute(sa.select(_GRANTS)):
                grants[row.account] = grants.get(row.account, 0) + row.amount
            accounts = [Account(*row) for row in connection.execute(sa.select(_ACCOUNTS))]
            signed = [_authorization_row(row) for row in connection.execute(sa.select(_AUTHORIZATIONS))]
            payers = {tuple(row[:3]): row.exposed for row in connection.execute(sa.select(_PAYERS))}
        found = [*_account_faults(accounts, grants, holds, debts), *_authorization_faults(signed, holds)]
        return found + _payer_faults(payers, signed, holds)


def _open_log(engine: sa.Engine) -> int | None:
    """SQLite's write-ahead log, which is there once something was written, and for as long as its database is open;
    its name is made durable here. None for a database that is no file of ours."""
    name = engine.url.database
    if engine.dialect.name != "sqlite" or not name or name == ":memory:":
        return None
    folder = os.open(Path(name).parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return os.open(f"{name}-wal", os.O_RDWR)


# --- writing ----------------------------------------------------------------------------------------------------------


def _refusable(function: Any, connection: sa.Connection, order: Any) -> Any:
    """One order of several: its refusal is its answer. Orders look before they write: a refused one wrote nothing."""
    try:
        return function(connection, order)
    except HoldfastError as error:
        return error


def _hold(connection: sa.Connection, order: NewHold) -> Hold:
    if (order.account is None) == (order.identity is None):
        raise UsageError("till.hold", "a hold is on an account or on an authorization")
    if _hold_of(connection, order.run) is not None:
        raise ConflictError("till.run", "this run has a hold already")
    if order.account is not None:
        account = _account(connection, order.account)
        if account.left < order.cap:
            raise RefusedError(
                "payment.credit", "the workspace's credit does not cover what this could cost", status=402
            )
        _put_account(connection, replace(account, held=account.held + order.cap))
    else:
        _hold_authorization(connection, order)
    made = Hold(order.run, order.cap, order.at, order.terms, order.account, order.identity)
    row = {name: getattr(made, name) for name in Hold.__slots__}
    connection.execute(_INSERT_HOLD, row)
    _add_steps(connection, order.steps)
    return made


def _hold_authorization(connection: sa.Connection, order: NewHold) -> None:
    identity = str(order.identity)
    found = _authorization_of(connection, identity)
    if order.accept is not None:
        if found is not None or order.accept.identity != identity:
            raise RefusedError("payment.replayed", "this authorization was used before", status=402)
        found = Authorization(order.accept, order.at, order.at)
    if found is None:
        raise RefusedError("payment.unknown", "no such authorization was accepted here", status=402)
    if found.stands != "open":
        raise RefusedError("payment.closed", "this authorization pays for nothing more", status=402)
    if found.left < order.cap:
        raise RefusedError("payment.exhausted", "too little is left of what was signed", status=402)
    exposed = _exposed(connection, found.new.payer, found.new.network, found.new.asset)
    if order.exposure is not None and exposed + order.cap > order.exposure:
        raise RefusedError("payment.exposure", "this payer has used more than may be open at once", status=402)
    _expose(connection, found.new, order.cap)
    if order.accept is None:
        _put_sums(connection, identity, found.held + order.cap, found.charged, order.at)
        return
    new = {name: getattr(order.accept, name) for name in _NEW}
    stands = "closed" if order.accept.scheme == "exact" else "open"
    sums = {"at": order.at, "last_at": order.at, "stands": stands, "held": order.cap, "charged": 0}
    connection.execute(sa.insert(_AUTHORIZATIONS), new | sums)


def _charge(connection: sa.Connection, charge: NewCharge) -> bool:
    found = _require_hold(connection, charge.run)
    if found.stands != "held":
        return False
    if not 0 <= charge.amount <= found.cap:
        raise ConflictError("till.cap", "a run costs no more than what was held for it")
    _end_hold(connection, found, "charged", charge.amount, charge.at, charge.steps)
    return True


def _end_hold(
    connection: sa.Connection, hold: Hold, stands: HoldStands, amount: int | None, at: str, steps: Sequence[Step]
) -> None:
    costs = amount or 0
    if hold.account is not None:
        account = _account(connection, hold.account)
        _put_account(connection, replace(account, held=account.held - hold.cap, spent=account.spent + costs))
    else:
        found = _require_authorization(connection, str(hold.identity))
        _expose(connection, found.new, costs - hold.cap)
        last_at = max(at, found.last_at)
        _put_sums(connection, found.new.identity, found.held - hold.cap, found.charged + costs, last_at)
    ended = {"b_run": hold.run, "b_stands": stands, "b_amount": amount, "b_ended_at": at}
    connection.execute(_HOLD_END, ended)
    _add_steps(connection, steps)


def _stand(connection: sa.Connection, run: str, stands: HoldStands) -> None:
    connection.execute(sa.update(_HOLDS).where(_HOLDS.c.run == run).values(stands=stands))


def _put_sums(connection: sa.Connection, identity: str, held: int, charged: int, last_at: str) -> None:
    values = {"b_identity": identity, "b_held": held, "b_charged": charged, "b_last_at": last_at}
    connection.execute(_AUTHORIZATION_PUT, values)


def _change(connection: sa.Connection, identity: str, **values: Any) -> None:
    connection.execute(sa.update(_AUTHORIZATIONS).where(_AUTHORIZATIONS.c.identity == identity).values(values))


def _put_account(connection: sa.Connection, account: Account) -> None:
    values = {"name": account.name, "granted": account.granted, "spent": account.spent, "held": account.held}
    if connection.execute(_ACCOUNT_PUT, {f"b_{name}": value for name, value in values.items()}).rowcount == 0:
        connection.execute(sa.insert(_ACCOUNTS), values)


def _expose(connection: sa.Connection, new: NewAuthorization, change: int) -> None:
    """Change what a payer has used and not paid."""
    exposed = _exposed(connection, new.payer, new.network, new.asset) + change
    row = {"payer": new.payer, "network": new.network, "asset": new.asset, "exposed": exposed}
    if connection.execute(_PAYER_PUT, {f"b_{name}": value for name, value in row.items()}).rowcount == 0:
        connection.execute(sa.insert(_PAYERS), row)


def _add_steps(connection: sa.Connection, steps: Sequence[Step]) -> None:
    if steps:
        connection.execute(_INSERT_STEP, [{name: getattr(step, name) for name in Step.__slots__} for step in steps])


# --- reading ----------------------------------------------------------------------------------------------------------


def _account(connection: sa.Connection, name: str) -> Account:
    row = connection.execute(_ACCOUNT_OF, {"b_name": name}).first()
    return Account(name) if row is None else Account(*row)


def _exposed(connection: sa.Connection, payer: str, network: str, asset: str) -> int:
    row = {"b_payer": payer, "b_network": network, "b_asset": asset}
    return connection.execute(_PAYER_OF, row).scalar() or 0


def _hold_of(connection: sa.Connection, run: str) -> Hold | None:
    row = connection.execute(_HOLD_OF, {"b_run": run}).first()
    return None if row is None else _hold_row(row)


def _require_hold(connection: sa.Connection, run: str) -> Hold:
    found = _hold_of(connection, run)
    if found is None:
        raise ConflictError("till.run", "nothing was set aside for this run")
    return found


def _holds_on(connection: sa.Connection, identity: str) -> list[Hold]:
    rows = connection.execute(sa.select(_HOLDS).where(_HOLDS.c.identity == identity).order_by(_HOLDS.c.number))
    return [_hold_row(row) for row in rows]


def _authorization(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> Authorization | None:
    row = connection.execute(sa.select(_AUTHORIZATIONS).where(condition)).first()
    return None if row is None else _authorization_row(row)


def _authorization_of(connection: sa.Connection, identity: str) -> Authorization | None:
    row = connection.execute(_AUTHORIZATION_OF, {"b_identity": identity}).first()
    return None if row is None else _authorization_row(row)


def _require_authorization(connection: sa.Connection, identity: str) -> Authorization:
    found = _authorization_of(connection, identity)
    if found is None:
        raise ConflictError("till.capture", "no such authorization was accepted here")
    return found


def _collectable(connection: sa.Connection, identity: str) -> tuple[Authorization, list[Hold]]:
    """An authorization of which a capture may be decided, and its charged holds."""
    found = _require_authorization(connection, identity)
    if found.stands != "closed" or found.held:
        raise ConflictError("till.capture", "a capture is decided once, when nothing is served or held any more")
    return found, [hold for hold in _holds_on(connection, identity) if hold.stands == "charged"]


def _debt(connection: sa.Connection, run: str) -> Debt | None:
    row = connection.execute(sa.select(_DEBTS).where(_DEBTS.c.run == run)).mappings().first()
    return None if row is None else Debt(**row)


def _taken(connection: sa.Connection, hold: Hold) -> int:
    """What was taken for a run: its charge, or all of an exact payment, which is for one run."""
    if hold.identity is not None:
        found = _require_authorization(connection, hold.identity)
        if found.new.scheme == "exact":
            return found.capture or 0
    return hold.amount or 0


def _hold_row(row: Any) -> Hold:
    return Hold(*(getattr(row, name) for name in Hold.__slots__))


def _authorization_row(row: Any) -> Authorization:
    new = NewAuthorization(**{name: getattr(row, name) for name in _NEW})
    rest = {name: getattr(row, name) for name in Authorization.__slots__ if name != "new"}
    return Authorization(new, **rest)


def _step_row(row: dict[str, Any]) -> StoredStep:
    position, log_index = row.pop("position"), row.pop("log_index")
    return StoredStep(position, Step(**row), log_index)


# --- adding up --------------------------------------------------------------------------------------------------------


def _account_faults(
    accounts: Iterable[Account], grants: Mapping[str, int], holds: Sequence[Hold], debts: Sequence[Debt]
) -> Iterator[str]:
    accounts = list(accounts)
    repaid = {debt.run: debt.amount for debt in debts if debt.repaid_at is not None}
    held: dict[str, int] = {}
    spent: dict[str, int] = {}
    for hold in holds:
        if hold.account is None:
            continue
        if hold.stands == "held":
            held[hold.account] = held.get(hold.account, 0) + hold.cap
        spent[hold.account] = spent.get(hold.account, 0) + (hold.amount or 0) - repaid.get(hold.run, 0)
    for account in accounts:
        sums = (grants.get(account.name, 0), spent.get(account.name, 0), held.get(account.name, 0))
        if sums != (account.granted, account.spent, account.held):
            yield f"account {account.name}: its rows say {sums}, its sums differ"
        if account.left < 0:
            yield f"account {account.name}: more was spent and held than granted"
    for name in (grants.keys() | held.keys() | spent.keys()) - {account.name for account in accounts}:
        yield f"account {name}: it has rows and no sums"


def _authorization_faults(signed: Iterable[Authorization], holds: Sequence[Hold]) -> Iterator[str]:
    by: dict[str, list[Hold]] = {}
    for hold in holds:
        if hold.identity is not None:
            by.setdefault(hold.identity, []).append(hold)
        if hold.amount is not None and hold.amount > hold.cap:
            yield f"run {hold.run}: it costs more than what was held"
    for found in signed:
        rows = by.pop(found.new.identity, [])
        held = sum(hold.cap for hold in rows if hold.stands == "held")
        charged = sum(hold.amount or 0 for hold in rows)
        if (held, charged) != (found.held, found.charged):
            yield f"authorization {found.new.identity}: its rows say {(held, charged)}, its sums differ"
        if found.left < 0:
            yield f"authorization {found.new.identity}: more was held and charged than signed for"
        if found.capture is not None:
            taken = sum(hold.amount or 0 for hold in rows if hold.stands in ("capturing", "captured", "failed"))
            if found.capture != (found.new.cap if found.new.scheme == "exact" else taken):
                yield f"authorization {found.new.identity}: its capture is not the sum of its charges"
        ended = found.stands in ("captured", "lapsed", "failed")
        if ended and any(hold.stands not in (*_ENDED_HOLDS, "released") for hold in rows):
            yield f"authorization {found.new.identity}: it ended, and not all of its runs did"
    for identity in by:
        yield f"authorization {identity}: it has holds and was never accepted"


def _payer_faults(
    payers: Mapping[tuple[Any, ...], int], signed: Iterable[Authorization], holds: Sequence[Hold]
) -> list[str]:
    names = {item.new.identity: (item.new.payer, item.new.network, item.new.asset) for item in signed}
    sums: dict[tuple[Any, ...], int] = dict.fromkeys(payers, 0)
    for hold in holds:
        if hold.identity is None or hold.identity not in names:
            continue
        counts = hold.stands in ("charged", "capturing", "failed")
        amount = hold.cap if hold.stands == "held" else (hold.amount or 0) if counts else 0
        sums[names[hold.identity]] = sums.get(names[hold.identity], 0) + amount
    return [
        f"payer {key[0]}: its exposure is {payers.get(key, 0)}, its rows say {amount}"
        for key, amount in sums.items()
        if amount != payers.get(key, 0)
    ]
