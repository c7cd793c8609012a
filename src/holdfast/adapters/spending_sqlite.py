"""What a wallet has signed away, in a SQLite file: the memory behind its limits.

Rules: an authorization is entered, and is on disk, before anything is signed; the limit of a day is judged in the same
transaction, so that several programs with one wallet keep it together. What was signed counts, taken or not: only the
chain could say, and until an authorization runs out it may still be taken. Nothing is ever removed.

What is kept: amounts, addresses, what was asked and what was sent, and which runs it was for, with their capabilities:
without them a payer without a key could never ask what a run cost. No question, no answer, no key of the wallet. An
attacker who owns the file can make the wallet forget what it spent, up to its whole balance in any one day's limit
again; one who reads it learns whom the wallet paid, when, and for which runs, and can read those runs at their gateway.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.core.paying import DAY_S, AssetLimit
from holdfast.errors import RefusedError, UnavailableError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS spent (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    identity TEXT NOT NULL UNIQUE,
    at INTEGER NOT NULL,
    payer TEXT NOT NULL,
    network TEXT NOT NULL,
    asset TEXT NOT NULL,
    scheme TEXT NOT NULL,
    amount TEXT NOT NULL,
    payee TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    resource TEXT NOT NULL,
    asked BLOB NOT NULL,
    sent BLOB,
    told BLOB,
    trouble TEXT
);
CREATE INDEX IF NOT EXISTS spent_when ON spent (payer, network, asset, at);
CREATE TABLE IF NOT EXISTS runs (
    identity TEXT NOT NULL REFERENCES spent (identity),
    run TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (identity, run)
);
CREATE TABLE IF NOT EXISTS capabilities (
    run TEXT PRIMARY KEY,
    capability TEXT NOT NULL
);
"""
_SELECT = (
    "SELECT identity, at, payer, network, asset, scheme, amount, payee, expires_at, resource, asked, sent, told,"
    " trouble FROM spent"
)
_BUSY_S = 10.0


@dataclass(frozen=True, slots=True)
class Spending:
    """One authorization as it is entered. Amounts are base units, times unix seconds."""

    identity: str
    """Hex (``payments.md`` §5(6))."""
    at: int
    payer: str
    network: str
    asset: str
    scheme: str
    amount: int
    """The most that can be taken with it."""
    payee: str
    expires_at: int
    resource: str
    asked: bytes
    """What the server asked, signed offers included: the payer's side of a dispute."""


@dataclass(frozen=True, slots=True)
class Spent:
    """An entry with what became of it, as far as it was told."""

    entry: Spending
    sent: bytes | None
    """The exact payload; None where none was signed."""
    told: bytes | None
    """What the server said of a transfer (``SettleResponse``): its word."""
    trouble: str | None
    """A code, where something about it was not right."""
    runs: tuple[str, ...]


class SpendingRecord:
    """One file; may be shared by programs and threads."""

    def __init__(self, path: Path | str) -> None:
        """``:memory:`` keeps nothing. Raises ``spending.file``."""
        self._lock = threading.Lock()
        try:
            if str(path) != ":memory:":
                Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._database = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
                self._database.execute(f"PRAGMA {pragma}")
            self._database.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise UnavailableError("spending.file", f"cannot keep what is spent in {path}: {error}") from error

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def reserve(self, entry: Spending, limit: AssetLimit) -> None:
        """Enter an authorization before it is signed; durable on return.

        Raises ``paying.per_day`` where the day's limit would be passed, ``paying.replayed`` for a known identity.
        """
        with self._transaction():
            spent = self._since(entry.payer, limit, entry.at - DAY_S)
            if spent + entry.amount > limit.per_day:
                raise RefusedError(
                    "paying.per_day",
                    f"{spent} base units were signed for in the last 24 hours; with {entry.amount} more it would be "
                    f"above the {limit.per_day} that are allowed",
                    hint="wait, or raise per_day in the wallet's file",
                )
            try:
                self._database.execute(
                    "INSERT INTO spent (identity, at, payer, network, asset, scheme, amount, payee, expires_at,"
                    " resource, asked) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        entry.identity,
                        entry.at,
                        entry.payer,
                        entry.network,
                        entry.asset,
                        entry.scheme,
                        str(entry.amount),
                        entry.payee,
                        entry.expires_at,
                        entry.resource,
                        entry.asked,
                    ),
                )
            except sqlite3.IntegrityError as error:
                raise RefusedError("paying.replayed", "this authorization was made before") from error

    def sent(self, identity: str, payload: bytes) -> None:
        """The exact payload that leaves now."""
        with self._transaction():
            self._database.execute("UPDATE spent SET sent = ? WHERE identity = ?", (payload, identity))

    def served(self, identity: str, run: str, at: int, capability: str | None = None) -> None:
        """A run that was answered on an authorization, and the capability (hex) that came with the answer."""
        with self._transaction():
            self._database.execute("INSERT OR IGNORE INTO runs VALUES (?, ?, ?)", (identity, run, at))
            if capability is not None:
                self._database.execute("INSERT OR IGNORE INTO capabilities VALUES (?, ?)", (run, capability))

    def told(self, identity: str, response: bytes | None, trouble: str | None) -> None:
        """What the server said of the transfer, and what is wrong with it."""
        with self._transaction():
            self._database.execute(
                "UPDATE spent SET told = coalesce(?, told), trouble = coalesce(?, trouble) WHERE identity = ?",
                (response, trouble, identity),
            )

    def spent_since(self, payer: str, limit: AssetLimit, since: int) -> int:
        """Base units that were signed for after a time."""
        with self._lock:
            return self._since(payer, limit, since)

    def history(self, limit: int = 50, payer: str | None = None) -> list[Spent]:
        """The newest entries first, of one payer or of all."""
        return self._read("WHERE ? IS NULL OR payer = ? ORDER BY number DESC LIMIT ?", (payer, payer, limit))

    def of_run(self, run: str) -> list[Spent]:
        """What was signed for a run, the newest first."""
        return self._read("WHERE identity IN (SELECT identity FROM runs WHERE run = ?) ORDER BY number DESC", (run,))

    def capability_of(self, run: str) -> str | None:
        """The capability of a run that was paid for; None where none is known."""
        with self._lock:
            row = self._database.execute("SELECT capability FROM capabilities WHERE run = ?", (run,)).fetchone()
        return None if row is None else str(row[0])

    def _read(self, which: str, values: tuple[object, ...]) -> list[Spent]:
        with self._lock:
            return [self._row(row) for row in self._database.execute(f"{_SELECT} {which}", values).fetchall()]

    def _row(self, row: tuple[Any, ...]) -> Spent:
        values = [*row[:6], int(row[6]), *row[7:11]]
        sent, told, trouble = row[11:14]
        runs = self._database.execute("SELECT run FROM runs WHERE identity = ? ORDER BY at, run", (row[0],))
        return Spent(Spending(*values), sent, told, trouble, tuple(run for (run,) in runs))

    def _since(self, payer: str, limit: AssetLimit, since: int) -> int:
        """Entries from after now, of a clock that was ahead, count as well."""
        rows = self._database.execute(
            "SELECT amount FROM spent WHERE payer = ? AND network = ? AND asset = ? AND at > ?",
            (payer, limit.network, limit.asset, since),
        )
        return sum(int(amount) for (amount,) in rows)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            try:
                self._database.execute("BEGIN IMMEDIATE")
                yield
                self._database.execute("COMMIT")
            except sqlite3.Error as error:
                raise UnavailableError("spending.file", f"cannot enter what is spent: {error}") from error
            finally:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
