"""Executions and their steps in one SQLite file: what was written down before the next thing was done (§7(2)).

Rules: every write is on disk when it returns. An execution is moved by whoever holds its lease, one at a time, so that
several processes can share a file; a process that is alone on it gives back what its predecessor held. Definitions lie
here by digest, so an execution goes on under the definition that it began with.

What is kept: questions and answers, what triggers said, and the capabilities of runs and admissions: whoever reads the
file can read those. It is its owner's alone (mode 0600). An attacker who owns it can make a workflow do its steps again
but not propose an act twice under one execution: the gateway knows its key.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.core import canonical
from holdfast.core.encoding import time_decode, time_encode
from holdfast.core.workflows.definitions import Definition, parse_workflow
from holdfast.core.workflows.moves import Cause, End, Record, Snapshot, execution_id
from holdfast.errors import UnavailableError, UsageError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS definitions (digest TEXT PRIMARY KEY, name TEXT NOT NULL, document BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS executions (
    id TEXT PRIMARY KEY,
    number INTEGER NOT NULL UNIQUE,
    workflow TEXT NOT NULL,
    definition TEXT NOT NULL REFERENCES definitions (digest),
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    at TEXT NOT NULL,
    data TEXT NOT NULL,
    dry INTEGER NOT NULL,
    state TEXT NOT NULL,
    told_at TEXT NOT NULL,
    begun_at TEXT,
    ended_at TEXT,
    deadline TEXT,
    next_at TEXT,
    run TEXT,
    capability TEXT,
    begun INTEGER NOT NULL DEFAULT 0,
    ending TEXT,
    stumbles INTEGER NOT NULL DEFAULT 0,
    trouble TEXT,
    lease TEXT,
    lease_until TEXT
);
CREATE INDEX IF NOT EXISTS executions_due ON executions (state, next_at);
CREATE INDEX IF NOT EXISTS executions_of ON executions (workflow, state, begun_at);
CREATE TABLE IF NOT EXISTS steps (
    execution TEXT NOT NULL REFERENCES executions (id),
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    input TEXT NOT NULL,
    output TEXT NOT NULL,
    code TEXT,
    says TEXT,
    told INTEGER NOT NULL,
    next_at TEXT,
    until TEXT,
    run TEXT,
    shown TEXT,
    looks INTEGER NOT NULL,
    PRIMARY KEY (execution, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cursors (workflow TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (workflow, name)) WITHOUT ROWID;
"""
STATES = ("waiting", "open", "closing", "done", "failed", "skipped")
"""How executions stand: not begun, begun, about to end, and the three ends."""
_COUNT_LIVE = "SELECT count(*) AS n FROM executions WHERE workflow = ? AND state IN ('open', 'closing')"
_COUNT_BEGUN = "SELECT count(*) AS n FROM executions WHERE workflow = ? AND begun_at > ?"
_COUNT_LEFT = (
    "SELECT count(*) AS n FROM executions WHERE state IN ('waiting', 'open', 'closing') AND (? IS NULL OR workflow = ?)"
)
_COUNT_BUSY = (
    "SELECT count(*) AS n FROM executions WHERE state IN ('waiting', 'open', 'closing') AND (? IS NULL OR workflow = ?)"
    " AND id NOT IN (SELECT execution FROM steps WHERE state = 'waiting')"
)
_RELEASE = "UPDATE executions SET lease = NULL, lease_until = NULL WHERE id = ? AND lease = ?"
_LOOK_AGAIN = (
    "UPDATE executions SET next_at = ? WHERE state = 'open'"
    " AND id IN (SELECT execution FROM steps WHERE state = 'waiting')"
)
_LOOK_AGAIN_AT_STEPS = "UPDATE steps SET next_at = ?, looks = 0 WHERE state = 'waiting'"
_BUSY_S = 30.0
_CACHE_KIB = 4096
"""Pages that SQLite remembers: sleeping executions are to cost little."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One execution for people."""

    id: str
    workflow: str
    definition: str
    kind: str
    key: str
    at: str
    dry: bool
    state: str
    told_at: str
    ended_at: str | None
    next_at: str | None
    run: str | None
    ending: Mapping[str, Any] | None
    trouble: str | None


class Journal:
    """One file; may be shared by threads and processes."""

    def __init__(self, path: Path | str) -> None:
        """``:memory:`` keeps nothing. Raises ``workflow.journal``."""
        self._lock = threading.RLock()
        self._definitions: dict[str, Definition] = {}
        try:
            if str(path) != ":memory:":
                Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._database = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
            self._database.row_factory = sqlite3.Row
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"cache_size=-{_CACHE_KIB}"):
                self._database.execute(f"PRAGMA {pragma}")
            self._database.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise UnavailableError("workflow.journal", f"cannot keep executions in {path}: {error}") from error

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    # Definitions

    def keep(self, definition: Definition) -> None:
        """Keep a definition, under its digest."""
        with self._transaction():
            self._database.execute(
                "INSERT OR IGNORE INTO definitions VALUES (?, ?, ?)",
                (definition.digest, definition.name, definition.document),
            )

    def definition(self, digest: str) -> Definition:
        """A definition that was kept; raises ``workflow.unknown``."""
        if digest not in self._definitions:
            row = self._one("SELECT document FROM definitions WHERE digest = ?", digest)
            if row is None:
                raise UsageError("workflow.unknown", f"no definition {digest[:16]} is kept here")
            self._definitions[digest] = parse_workflow(row["document"])
        return self._definitions[digest]

    # Starting

    def start(self, definition: Definition, cause: Cause, *, dry: bool, now: dt.datetime) -> tuple[str, bool]:
        """What a trigger starts: its id, and whether it is new. It begins when there is room (:meth:`begin`)."""
        made = execution_id(definition.name, cause, dry=dry)
        self.keep(definition)
        with self._transaction():
            if self._one("SELECT 1 FROM executions WHERE id = ?", made) is not None:
                return made, False
            self._database.execute(
                "INSERT INTO executions (id, number, workflow, definition, kind, key, at, data, dry, state, told_at)"
                " VALUES (?, (SELECT coalesce(max(number), 0) + 1 FROM executions), ?, ?, ?, ?, ?, ?, ?, 'waiting', ?)",
                (
                    made,
                    definition.name,
                    definition.digest,
                    cause.kind,
                    cause.key,
                    time_encode(cause.at),
                    _write(cause.data),
                    dry,
                    time_encode(now),
                ),
            )
        return made, True

    def begin(self, definition: Definition, now: dt.datetime) -> tuple[list[str], list[str]]:
        """Begin what waits of a workflow, oldest first, as far as its limits go: the ids of what began, and of what was
        skipped."""
        limits, began, skipped = definition.limits, [], []
        since = time_encode(now - dt.timedelta(seconds=limits.per_s))
        with self._transaction():
            waiting = self._all(
                "SELECT id, definition FROM executions WHERE workflow = ? AND state = 'waiting' ORDER BY number",
                definition.name,
            )
            room = min(
                limits.concurrency - self._count(_COUNT_LIVE, definition.name),
                limits.executions - self._count(_COUNT_BEGUN, definition.name, since),
            )
            for row in waiting[: max(room, 0)]:
                seconds = self.definition(row["definition"]).limits.seconds
                ends = time_encode(now + dt.timedelta(seconds=seconds))
                self._database.execute(
                    "UPDATE executions SET state = 'open', begun_at = ?, next_at = ?, deadline = ? WHERE id = ?",
                    (time_encode(now), time_encode(now), ends, row["id"]),
                )
                began.append(row["id"])
            if limits.overlap == "skip":
                for row in waiting[max(room, 0) :]:
                    self._skip(row["id"], now)
                    skipped.append(row["id"])
        return began, skipped

    def _skip(self, execution: str, now: dt.datetime) -> None:
        ending = {"code": "workflow.overlap", "says": "as many as may be there at once were there"}
        self._database.execute(
            "UPDATE executions SET state = 'skipped', ended_at = ?, ending = ? WHERE id = ?",
            (time_encode(now), _write(ending), execution),
        )

    def _count(self, query: str, *values: str | None) -> int:
        row = self._one(query, *values)
        return 0 if row is None else int(row["n"])

    # Whose turn it is

    def due(self, now: dt.datetime, limit: int) -> list[str]:
        """Executions that have something to do and that nobody moves, those that wait longest first."""
        at = time_encode(now)
        rows = self._all(
            "SELECT id FROM executions WHERE state IN ('open', 'closing') AND next_at <= ?"
            " AND (lease IS NULL OR lease_until <= ?) ORDER BY next_at, number LIMIT ?",
            at,
            at,
            limit,
        )
        return [row["id"] for row in rows]

    def next_due(self, now: dt.datetime) -> dt.datetime | None:
        """When the next execution has something to do that nobody does; None where none sleeps."""
        row = self._one(
            "SELECT min(CASE WHEN lease IS NOT NULL AND lease_until > ? THEN lease_until ELSE next_at END) AS at"
            " FROM executions WHERE state IN ('open', 'closing')",
            time_encode(now),
        )
        return None if row is None or row["at"] is None else time_decode(row["at"])

    def lease(self, execution: str, owner: str, now: dt.datetime, until: dt.datetime) -> bool:
        """Take an execution to be moved, or keep it for longer; False where somebody else has it, or it ended."""
        with self._transaction():
            found = self._database.execute(
                "UPDATE executions SET lease = ?, lease_until = ? WHERE id = ? AND state IN ('open', 'closing')"
                " AND (lease IS NULL OR lease = ? OR lease_until <= ?)",
                (owner, time_encode(until), execution, owner, time_encode(now)),
            )
            return found.rowcount == 1

    def release(self, execution: str, owner: str) -> None:
        """Give a lease back, where it was not with the last word."""
        if self._one("SELECT 1 FROM executions WHERE id = ? AND lease = ?", execution, owner) is not None:
            self._change(_RELEASE, execution, owner)

    def release_all(self) -> None:
        """Give back every lease: whoever had them is gone."""
        with self._transaction():
            self._database.execute("UPDATE executions SET lease = NULL, lease_until = NULL WHERE lease IS NOT NULL")

    def look_again(self, now: dt.datetime) -> None:
        """Look now at every act that waits for the gate: who starts does not know what was decided meanwhile."""
        with self._transaction():
            self._database.execute(_LOOK_AGAIN, (time_encode(now),))
            self._database.execute(_LOOK_AGAIN_AT_STEPS, (time_encode(now),))

    # One execution

    def load(self, execution: str) -> tuple[Definition, Snapshot]:
        """An execution as its journal has it, and its definition. Raises ``workflow.unknown``."""
        with self._lock:
            row = self._one("SELECT * FROM executions WHERE id = ?", execution)
            if row is None:
                raise UsageError("workflow.unknown", "no such execution is kept here")
            steps = self._all("SELECT * FROM steps WHERE execution = ?", execution)
        cause = Cause(row["kind"], row["key"], time_decode(row["at"]), _read(row["data"]))
        records = {step["name"]: _record(step) for step in steps}
        ends = time_decode(row["deadline"] or row["told_at"])
        known = Snapshot(execution, cause, bool(row["dry"]), ends, row["run"], bool(row["begun"]), records)
        return self.definition(row["definition"]), known

    def capability(self, execution: str) -> str:
        """The capability of an execution's agent run."""
        row = self._one("SELECT capability FROM executions WHERE id = ?", execution)
        if row is None or row["capability"] is None:
            raise UsageError("workflow.unknown", "this execution has no agent run")
        return str(row["capability"])

    def ending(self, execution: str) -> End | None:
        """How an execution ends that is being closed; None while it is not."""
        row = self._one("SELECT ending FROM executions WHERE id = ? AND state = 'closing'", execution)
        return None if row is None else End(**_read(row["ending"]))

    def opened(self, execution: str, run: str, capability: str) -> None:
        """The agent run is open."""
        self._change(
            "UPDATE executions SET run = ?, capability = ?, stumbles = 0, trouble = NULL WHERE id = ?",
            run,
            capability,
            execution,
        )

    def begun(self, execution: str) -> None:
        """The agent run has its first child."""
        self._change("UPDATE executions SET begun = 1, stumbles = 0, trouble = NULL WHERE id = ?", execution)

    def write(self, execution: str, step: str, record: Record, owner: str | None = None) -> bool:
        """How far a step came; False, and nothing is written, where ``owner`` does not move the execution any more."""
        with self._transaction():
            if not self._moves(execution, owner):
                return False
            self._database.execute(
                "INSERT OR REPLACE INTO steps VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    execution,
                    step,
                    record.state,
                    record.attempt,
                    _write(record.input),
                    _write(record.output),
                    record.code,
                    record.says,
                    record.told,
                    _time(record.next_at),
                    _time(record.until),
                    record.run,
                    record.shown,
                    record.looks,
                ),
            )
            self._database.execute("UPDATE executions SET stumbles = 0, trouble = NULL WHERE id = ?", (execution,))
        return True

    def _moves(self, execution: str, owner: str | None) -> bool:
        """Whether an execution is still this one's to move: a process that stood still for long has lost it."""
        held = "SELECT 1 FROM executions WHERE id = ? AND lease = ?"
        return owner is None or self._one(held, execution, owner) is not None

    def sleep(self, execution: str, until: dt.datetime, owner: str) -> None:
        """Nothing is to be done before; the lease goes back with that."""
        with self._transaction():
            self._database.execute("UPDATE executions SET next_at = ? WHERE id = ?", (time_encode(until), execution))
            self._database.execute(_RELEASE, (execution, owner))

    def stumble(self, execution: str, trouble: str) -> int:
        """What has to be said and could not be; how often in a row."""
        self._change("UPDATE executions SET stumbles = stumbles + 1, trouble = ? WHERE id = ?", trouble, execution)
        row = self._one("SELECT stumbles FROM executions WHERE id = ?", execution)
        return 0 if row is None else int(row["stumbles"])

    def closing(self, execution: str, end: End, owner: str | None = None) -> bool:
        """How it ends is decided; what is left is to say so. As :meth:`write`."""
        ending = {"result": end.result, "code": end.code, "says": end.says, "step": end.step}
        with self._transaction():
            if not self._moves(execution, owner):
                return False
            self._database.execute(
                "UPDATE executions SET state = 'closing', ending = ? WHERE id = ?", (_write(ending), execution)
            )
        return True

    def ended(self, execution: str, end: End, now: dt.datetime) -> None:
        """It is over."""
        ending = {"result": end.result, "code": end.code, "says": end.says, "step": end.step}
        state = "done" if end.code is None else "failed"
        self._change(
            "UPDATE executions SET state = ?, ended_at = ?, ending = ?, next_at = NULL, stumbles = 0, trouble = NULL,"
            " lease = NULL, lease_until = NULL WHERE id = ?",
            state,
            time_encode(now),
            _write(ending),
            execution,
        )

    # Cursors

    def cursor(self, workflow: str, name: str) -> str | None:
        """How far a trigger was followed."""
        row = self._one("SELECT value FROM cursors WHERE workflow = ? AND name = ?", workflow, name)
        return None if row is None else str(row["value"])

    def move_cursor(self, workflow: str, name: str, value: str) -> None:
        """A trigger was followed so far."""
        with self._transaction():
            self._database.execute("INSERT OR REPLACE INTO cursors VALUES (?, ?, ?)", (workflow, name, value))

    # For people

    def listed(self, *, workflow: str | None = None, state: str | None = None, limit: int = 50) -> list[Listed]:
        """The newest executions first."""
        rows = self._all(
            "SELECT * FROM executions WHERE (? IS NULL OR workflow = ?) AND (? IS NULL OR state = ?)"
            " ORDER BY number DESC LIMIT ?",
            workflow,
            workflow,
            state,
            state,
            limit,
        )
        return [_listed(row) for row in rows]

    def find(self, prefix: str) -> Listed:
        """The one execution whose id begins so; raises ``workflow.unknown``."""
        rows = self._all("SELECT * FROM executions WHERE substr(id, 1, ?) = ? LIMIT 2", len(prefix), prefix)
        if len(rows) != 1 or not prefix:
            raise UsageError(
                "workflow.unknown",
                "no execution's id begins so" if not rows else "several executions' ids begin so",
                hint="'holdfast workflow list' shows them",
            )
        return _listed(rows[0])

    def live(self, workflow: str | None = None, *, but_waiting: bool = False) -> int:
        """How many executions have not ended; ``but_waiting`` leaves out those that wait for the gate."""
        return self._count(_COUNT_BUSY if but_waiting else _COUNT_LEFT, workflow, workflow)

    def unended(self, workflows: Iterable[str]) -> list[str]:
        """The executions of some workflows that have not ended."""
        query = "SELECT id FROM executions WHERE workflow = ? AND state IN ('waiting', 'open', 'closing')"
        return [row["id"] for name in workflows for row in self._all(query, name)]

    # The file

    def _change(self, statement: str, *values: Any) -> None:
        with self._transaction():
            self._database.execute(statement, values)

    def _one(self, query: str, *values: Any) -> sqlite3.Row | None:
        found = self._all(query, *values)
        return found[0] if found else None

    def _all(self, query: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock:
            try:
                return self._database.execute(query, values).fetchall()
            except sqlite3.Error as error:
                raise UnavailableError("workflow.journal", f"cannot read executions: {error}") from error

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            try:
                self._database.execute("BEGIN IMMEDIATE")
                yield
                self._database.execute("COMMIT")
            except sqlite3.Error as error:
                raise UnavailableError("workflow.journal", f"cannot write an execution down: {error}") from error
            finally:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")


def _write(value: Any) -> str:
    return canonical.encode_exact(value).decode()


def _read(text: str) -> Any:
    return canonical.decode_exact(text.encode())


def _time(at: dt.datetime | None) -> str | None:
    return None if at is None else time_encode(at)


def _record(row: sqlite3.Row) -> Record:
    return Record(
        state=row["state"],
        attempt=row["attempt"],
        input=_read(row["input"]),
        output=_read(row["output"]),
        code=row["code"],
        says=row["says"],
        told=bool(row["told"]),
        next_at=None if row["next_at"] is None else time_decode(row["next_at"]),
        until=None if row["until"] is None else time_decode(row["until"]),
        run=row["run"],
        shown=row["shown"],
        looks=row["looks"],
    )


def _listed(row: sqlite3.Row) -> Listed:
    return Listed(
        id=row["id"],
        workflow=row["workflow"],
        definition=row["definition"],
        kind=row["kind"],
        key=row["key"],
        at=row["at"],
        dry=bool(row["dry"]),
        state=row["state"],
        told_at=row["told_at"],
        ended_at=row["ended_at"],
        next_at=row["next_at"],
        run=row["run"],
        ending=None if row["ending"] is None else canonical.decode(row["ending"].encode()),
        trouble=row["trouble"],
    )
