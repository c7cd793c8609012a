"""Cases in SQL: SQLAlchemy over SQLite, or PostgreSQL when there is more than one host (``docs/operate``).

The journal is append-only: triggers refuse to change or remove an event, on both databases. Whoever owns the file can
drop a trigger, so that is a guard against mistakes; what shows tampering is the chain (``spec/case.md`` §10).

SQLite runs with a write-ahead log and ``synchronous=FULL``: what was committed survives the machine. A write takes the
database's write lock when it begins (PostgreSQL: the row of the journal's head), so writers come one after the other.

Not thread-safe by itself: the panel calls it from one worker thread.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, fields
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from holdfast.adapters._case_tables import (
    BLOBS,
    CASES,
    DEPENDANTS,
    EVIDENCE,
    FACTS,
    GUARDS,
    HEAD,
    JOURNAL,
    LABELS,
    LANES,
    LED,
    LED_ACTS,
    LED_EVIDENCE,
    LED_RUNS,
    METADATA,
    MOVES,
    NAMED,
    OUTBOX,
    POLICIES,
    QUEUES,
    RECALLED_EVIDENCE,
    RELIANCES,
    RESTING,
    SERIES,
    TRUSTS,
)
from holdfast.adapters.sqlite import durable_engine
from holdfast.errors import ConflictError, UnavailableError
from holdfast.ports.case_store import (
    CaseFacts,
    CaseFilter,
    CaseMarks,
    CaseRow,
    Head,
    LabelHead,
    LabelMove,
    LaneMark,
    LaneSpans,
    LedAct,
    LedChild,
    SeriesTotal,
    StoredEvent,
)

_CHUNK = 500
"""Ids in one question: below every database's limit of parameters."""
_BASES = CASES.alias("bases")
_TO_RUNS = (LED_RUNS, LED_RUNS.c.run == LED_EVIDENCE.c.run)
_TO_LED = (LED, sa.and_(LED.c.agent == LED_RUNS.c.agent, LED_RUNS.c.place < LED.c.before))
_TO_LED_RUNS = (LED_RUNS, sa.and_(LED.c.agent == LED_RUNS.c.agent, LED_RUNS.c.place < LED.c.before))
_TO_BASES = (_BASES, _BASES.c.run == LED_RUNS.c.run)
"""How what came after what is joined."""
_COLUMNS = ", ".join(f'"{name}"' for name in CASES.c.keys())  # noqa: SIM118 (columns)
"""All of a row, in the order of :class:`CaseRow`."""
_MARK_NAMES = tuple(field.name for field in fields(CaseMarks))
_PUT_FACTS = (
    'INSERT INTO case_facts ("case", queue, opened_seq, opened_at, series, run_at, seen_at, '  # noqa: S608
    f"{', '.join(_MARK_NAMES)}) VALUES (?, ?, ?, ?, ?, ?, ?{', 0' * len(_MARK_NAMES)}) "
    'ON CONFLICT ("case") DO UPDATE SET series = excluded.series, run_at = excluded.run_at, seen_at = excluded.seen_at'
)
_LET_THROUGH = ("CLEAR", "PROVISIONAL")
_OPEN = (*_LET_THROUGH, "HOLD")
_EMPTY = Head(0, "0" * 64, "")


class SQLCaseStore:
    """The tables of one panel; see :class:`holdfast.ports.case_store.CaseStore`."""

    def __init__(self, url: str) -> None:
        self._engine = durable_engine(url)
        METADATA.create_all(self._engine)
        for index in CASES.indexes:  # those that came after the table
            index.create(self._engine, checkfirst=True)
        with self._engine.begin() as connection:
            for guard in GUARDS.get(self._engine.dialect.name, ()):
                connection.exec_driver_sql(guard)
            if connection.execute(sa.select(HEAD.c.seq)).first() is None:
                connection.execute(sa.insert(HEAD), {"one": 1, "seq": 0, "digest": _EMPTY.digest, "at": ""})

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    @contextlib.contextmanager
    def read(self) -> Iterator[_Transaction]:
        """A consistent view; nothing is written."""
        with _spoken_for(), self._engine.connect() as connection:
            reading = connection.execution_options(holdfast_reads=True)
            if self._engine.dialect.name == "postgresql":
                reading = reading.execution_options(isolation_level="REPEATABLE READ")
            reading.begin()
            yield _Transaction(reading)
            reading.rollback()

    @contextlib.contextmanager
    def write(self) -> Iterator[_Transaction]:
        """One transaction: committed when the block ends, undone when it raises."""
        with _spoken_for(), self._engine.connect() as connection:
            connection.begin()
            transaction = _Transaction(connection)
            transaction.lock()
            yield transaction
            self._commit(connection)

    def _commit(self, connection: sa.Connection) -> None:
        connection.commit()


@contextlib.contextmanager
def _spoken_for() -> Iterator[None]:
    """A database that is locked, full or gone is a silent world, not a mistake of the caller's."""
    try:
        yield
    except (sa.exc.OperationalError, sqlite3.OperationalError) as error:
        why = getattr(error, "orig", error)
        raise UnavailableError(
            "case_store.database", f"the cases' database does not answer: {why}", hint="try again"
        ) from error


class _Transaction:
    """What a block of :class:`SQLCaseStore` works with; a reader is one that nobody asks to write."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def lock(self) -> None:
        """Wait until no other writer is at work. SQLite's ``BEGIN IMMEDIATE`` has done that already."""
        if self._connection.dialect.name != "sqlite":
            self._connection.execute(sa.select(HEAD.c.seq).with_for_update())

    # Reading

    def head(self) -> Head:
        """Where the journal ends."""
        row = self._first("SELECT seq, digest, at FROM case_head")
        return Head(*row) if row is not None else _EMPTY

    def row(self, case: str) -> CaseRow | None:
        """One case by its id."""
        return self._one_row('WHERE "case" = ?', case)

    def row_of_run(self, run: str, queue: str) -> CaseRow | None:
        """The case of a run in a queue."""
        return self._one_row("WHERE run = ? AND queue = ?", run, queue)

    def rows(self, which: CaseFilter) -> list[CaseRow]:
        """One page."""
        if which == CaseFilter(run=which.run, limit=which.limit) and which.run is not None:
            return self._rows("WHERE run = ? ORDER BY opened_seq LIMIT ?", which.run, which.limit)
        query, order = _in_order(which)
        if which.run is not None:
            query = query.where(CASES.c.run == which.run)
        if which.queue is not None:
            query = query.where(CASES.c.queue == which.queue)
        if which.stands:
            query = query.where(CASES.c.stands.in_(which.stands))
        if which.claimed_by is not None:
            query = query.where(CASES.c.claimed_by == which.claimed_by)
        if which.requester is not None:
            query = query.where(CASES.c.requester == which.requester)
        for condition in self._conditions(which):
            query = query.where(condition)
        if which.after is not None:
            query = query.where(order < which.after if which.newest_first else order > which.after)
        query = query.order_by(order.desc() if which.newest_first else order).limit(which.limit)
        return self._many(query)

    def _conditions(self, which: CaseFilter) -> Iterator[sa.ColumnElement[bool]]:
        """What a filter asks beyond whose and where a case is."""
        if which.claimed_at is not None:
            yield CASES.c.claimed_until > which.claimed_at
        if which.released_early:
            yield CASES.c.released_early == 1
        if which.flagged:
            yield CASES.c.flags > 0
        if which.subject_prefix is not None:
            yield sa.func.substr(CASES.c.subject, 1, len(which.subject_prefix)) == which.subject_prefix
        if which.opened_since is not None:
            yield CASES.c.opened_seq >= self._opened_since(which.opened_since, which.queue)

    def _opened_since(self, moment: str, queue: str | None) -> int:
        """The first case opened then or later: cases are opened in the order of their times (``case.md`` §2)."""
        query = sa.select(CASES.c.opened_seq).where(CASES.c.opened_at >= moment)
        if queue is not None:
            query = query.where(CASES.c.queue == queue)
        found = self._connection.execute(query.order_by(CASES.c.opened_at, CASES.c.opened_seq).limit(1)).scalar()
        return 2**62 if found is None else int(found)

    def rows_of(self, cases: Collection[str]) -> list[CaseRow]:
        """Many cases by their ids."""
        return [row for chunk in _chunks(cases) for row in self._rows(f'WHERE "case" IN ({_marks(chunk)})', *chunk)]

    def rows_of_runs(self, runs: Collection[str]) -> list[CaseRow]:
        """The cases of many runs."""
        return [row for chunk in _chunks(runs) for row in self._rows(f"WHERE run IN ({_marks(chunk)})", *chunk)]

    def due(self, at: str, trust: str | None, limit: int) -> list[CaseRow]:
        """Cases that time or another trust may move: those that are let through before those that are held, and what
        was recalled at the end."""
        found = {row.case: row for row in self._many(_due(CASES.c.due_at <= at).limit(limit))}
        other = CASES.c.trust.is_distinct_from(trust)
        for stands in (_LET_THROUGH, ("HOLD",), ("RECALLED",)):
            if len(found) < limit:
                query = sa.select(CASES).where(CASES.c.stands.in_(stands), other).order_by(CASES.c.opened_seq)
                found |= {row.case: row for row in self._many(query.limit(limit - len(found)))}
        return list(found.values())

    def next_of(self, queue: str, at: str) -> CaseRow | None:
        """The oldest case of a queue that can be handed out."""
        which = (
            "WHERE queue = ? AND stands = ? AND handed_at IS NULL AND (handed_until IS NULL OR handed_until <= ?) "
            "AND (claimed_until IS NULL OR claimed_until <= ?) ORDER BY opened_seq LIMIT 1"
        )
        found = [row for stands in _LET_THROUGH for row in self._rows(which, queue, stands, at, at)]
        return min(found, key=lambda row: row.opened_seq, default=None)

    def open_of_queue(self, queue: str, stands: Collection[str], limit: int, other_than: str | None) -> list[CaseRow]:
        """Cases of a queue that are not handed over, oldest first."""
        query = sa.select(CASES).where(
            CASES.c.queue == queue, CASES.c.stands.in_(list(stands)), CASES.c.handed_at.is_(None)
        )
        if other_than is not None:
            query = query.where(CASES.c.policy != other_than)
        return self._many(query.order_by(CASES.c.opened_seq).limit(limit))

    def counts(self) -> dict[tuple[str, str], int]:
        """Cases by (queue, stands)."""
        query = sa.select(CASES.c.queue, CASES.c.stands, sa.func.count()).group_by(CASES.c.queue, CASES.c.stands)
        return {(queue, stands): number for queue, stands, number in self._connection.execute(query)}

    def events_of(self, case: str) -> list[StoredEvent]:
        """The journal of one case, in order."""
        text = 'SELECT seq, digest, "case", kind, at, raw FROM case_events WHERE "case" = ? ORDER BY seq'
        return [_stored(row) for row in self._ask(text, case)]

    def events(self, after: int, limit: int) -> list[StoredEvent]:
        """The whole journal, in order, beyond a number."""
        query = sa.select(JOURNAL).where(JOURNAL.c.seq > after).order_by(JOURNAL.c.seq).limit(limit)
        return [_stored(row) for row in self._connection.execute(query)]

    def blob(self, case: str, digest: str) -> bytes | None:
        """A bundle or lane vector of a case, by digest."""
        row = self._first('SELECT raw FROM case_blobs WHERE "case" = ? AND digest = ?', case, digest)
        return _bytes(row[0]) if row is not None else None

    def shown(self, cases: Collection[str]) -> dict[str, str]:
        """What is shown of the lanes of these cases (JSON text)."""
        found: dict[str, str] = {}
        for chunk in _chunks(cases):
            text = f'SELECT "case", shown FROM case_shown WHERE "case" IN ({_marks(chunk)})'  # noqa: S608 (marks)
            found |= dict(self._ask(text, *chunk))
        return found

    def policy(self, digest: str) -> bytes | None:
        """A queue policy's canonical document."""
        row = self._first("SELECT document FROM queue_policies WHERE digest = ?", digest)
        return _bytes(row[0]) if row is not None else None

    def queue(self, name: str) -> str | None:
        """Digest of the policy of a queue that has one."""
        row = self._first("SELECT policy FROM queues WHERE name = ?", name)
        return str(row[0]) if row is not None else None

    def queues(self) -> dict[str, str]:
        """Every queue that has a policy, and its digest."""
        return {row.name: row.policy for row in self._connection.execute(sa.select(QUEUES).order_by(QUEUES.c.name))}

    def relying(self, evidence: Collection[str]) -> list[str]:
        """Cases that were let through, are not recalled, and whose lanes have named any of this evidence."""
        found: dict[str, int] = {}
        for chunk in _chunks(evidence):
            joined = sa.select(CASES.c.case, CASES.c.opened_seq).join(EVIDENCE, EVIDENCE.c.case == CASES.c.case)
            named = joined.where(EVIDENCE.c.digest.in_(chunk), CASES.c.relied == 1, CASES.c.stands != "RECALLED")
            found |= {row.case: row.opened_seq for row in self._connection.execute(named)}
            after = sa.select(CASES.c.case, CASES.c.opened_seq).select_from(LED_EVIDENCE).join(*_TO_RUNS)
            after = after.join(*_TO_LED).join(CASES, CASES.c.case == LED.c.case)
            after = after.where(LED_EVIDENCE.c.digest.in_(chunk), CASES.c.stands != "RECALLED")
            found |= {row.case: row.opened_seq for row in self._connection.execute(after)}
        return sorted(found, key=found.__getitem__)

    def reliances(self) -> dict[str, bytes]:
        """By name, the document of everything in trust that a case rested on when it was let through."""
        found = self._connection.execute(sa.select(RELIANCES).order_by(RELIANCES.c.name))
        return {row.name: _bytes(row.document) or b"" for row in found}

    def resting(self, name: str, since: str, before: str | None = None) -> list[str]:
        """Cases that were let through, are not recalled, and rest on something until then or later."""
        which = [RESTING.c.name == name, RESTING.c.until >= since, CASES.c.relied == 1]
        if before is not None:
            which.append(RESTING.c.until < before)
        query = sa.select(CASES.c.case).join(RESTING, RESTING.c.case == CASES.c.case)
        query = query.where(*which, CASES.c.stands != "RECALLED").order_by(CASES.c.opened_seq)
        return list(self._connection.execute(query).scalars())

    def dependants(self, case: str) -> list[tuple[str, str]]:
        """(``case`` or ``reference``, target) of what relied on a case, in order."""
        query = sa.select(DEPENDANTS.c.kind, DEPENDANTS.c.target).where(DEPENDANTS.c.base == case)
        return [(kind, target) for kind, target in self._connection.execute(query.order_by(DEPENDANTS.c.number))]

    def bases(self, case: str) -> list[str]:
        """The cases that a case relied on."""
        query = sa.select(DEPENDANTS.c.base).where(DEPENDANTS.c.kind == "case", DEPENDANTS.c.target == case)
        before = sa.select(_BASES.c.case).select_from(LED).join(*_TO_LED_RUNS).join(*_TO_BASES)
        named = [*self._connection.execute(query).scalars()]
        return sorted({*named, *self._connection.execute(before.where(LED.c.case == case)).scalars()} - {case})

    def reach(self, cases: Collection[str]) -> set[str]:
        """Every case that relied on one of these, or came after their runs, at any remove; cycles end."""
        found: set[str] = set()
        fresh = set(cases)
        while fresh:
            fresh |= (relied := self._reach_said(fresh))
            led = self._led_after(fresh)
            found |= relied | led
            fresh = led - fresh
        return found

    def _led_after(self, cases: Collection[str]) -> set[str]:
        """Cases that came after the runs of these."""
        found: set[str] = set()
        for chunk in _chunks(cases):
            query = sa.select(LED.c.case).select_from(_BASES).join(LED_RUNS, LED_RUNS.c.run == _BASES.c.run)
            found.update(self._connection.execute(query.join(*_TO_LED).where(_BASES.c.case.in_(chunk))).scalars())
        return found

    def acts_of(self, cases: Collection[str]) -> dict[str, LedAct]:
        """Those of these cases that are acts of an agent run."""
        found: dict[str, LedAct] = {}
        for chunk in _chunks(cases):
            query = sa.select(LED_ACTS).where(LED_ACTS.c.case.in_(chunk))
            found |= {row.case: LedAct(row.tool, row.effect) for row in self._connection.execute(query)}
        return found

    def led_place(self, agent: str) -> int:
        """The greatest place of a run below an agent run that is known; 0 for none."""
        query = sa.select(sa.func.max(LED_RUNS.c.place)).where(LED_RUNS.c.agent == agent)
        return int(self._connection.execute(query).scalar() or 0)

    def led_by_recalled(self, case: str) -> str | None:
        """A run that the case came after and whose own case stands RECALLED, or whose evidence was recalled."""
        before = sa.select(LED_RUNS.c.run).select_from(LED).join(*_TO_LED_RUNS).where(LED.c.case == case)
        standing = before.join(*_TO_BASES).where(_BASES.c.stands == "RECALLED")
        named = before.join(LED_EVIDENCE, LED_EVIDENCE.c.run == LED_RUNS.c.run)
        named = named.join(RECALLED_EVIDENCE, RECALLED_EVIDENCE.c.digest == LED_EVIDENCE.c.digest)
        for query in (standing, named):
            found = self._connection.execute(query.limit(1)).scalar()
            if found is not None:
                return str(found)
        return None

    def _reach_said(self, cases: Collection[str]) -> set[str]:
        """What was said to have relied on these."""
        found: set[str] = set()
        for chunk in _chunks(cases):
            first = sa.select(DEPENDANTS.c.target).where(DEPENDANTS.c.base.in_(chunk), DEPENDANTS.c.kind == "case")
            reached = first.cte("reached", recursive=True)
            step = sa.select(DEPENDANTS.c.target).join(reached, DEPENDANTS.c.base == reached.c.target)
            reached = reached.union(step.where(DEPENDANTS.c.kind == "case"))
            found.update(self._connection.execute(sa.select(reached.c.target)).scalars())
        return found

    def references(self, cases: Collection[str]) -> list[tuple[str, str]]:
        """(case, outside reference) of what relied on these from outside."""
        found: list[tuple[str, str]] = []
        for chunk in _chunks(cases):
            query = sa.select(DEPENDANTS.c.base, DEPENDANTS.c.target).where(
                DEPENDANTS.c.base.in_(chunk), DEPENDANTS.c.kind == "reference"
            )
            found += [(base, target) for base, target in self._connection.execute(query)]
        return sorted(found)

    def trust(self, digest: str) -> bytes | None:
        """The payload of a trust document that an appraisal was made under."""
        query = sa.select(TRUSTS.c.payload).where(TRUSTS.c.digest == digest)
        return _bytes(self._connection.execute(query).scalar())

    # What evidence names, and what happened

    def facts(self, cases: Collection[str]) -> dict[str, CaseFacts]:
        """What the evidence of these cases names."""
        found = {}
        for chunk in _chunks(cases):
            text = (
                "SELECT f.\"case\", f.queue, f.opened_seq, f.opened_at, f.run_at, NULLIF(s.label, ''), "  # noqa: S608
                "NULLIF(s.artifact, ''), s.upstream, s.served, s.fingerprint FROM case_facts f "
                f'JOIN case_series s ON s.series = f.series WHERE f."case" IN ({_marks(chunk)})'
            )
            for row in self._ask(text, *chunk):
                found[row[0]] = CaseFacts(*row)
        return found

    def marks(self, cases: Collection[str]) -> dict[str, CaseMarks]:
        """What happened to these cases."""
        found: dict[str, CaseMarks] = {}
        for chunk in _chunks(cases):
            query = sa.select(FACTS.c.case, *_MARKS).where(FACTS.c.case.in_(chunk))
            found |= {case: CaseMarks(*marks) for case, *marks in self._connection.execute(query)}
        return found

    def stale(self, cases: Collection[str]) -> set[str]:
        """Those of these cases whose label moved while they were open."""
        found: set[str] = set()
        for chunk in _chunks(cases):
            query = sa.select(FACTS.c.case).where(FACTS.c.case.in_(chunk), FACTS.c.stale == 1)
            found.update(self._connection.execute(query).scalars())
        return found

    def lane_marks(self, case: str) -> dict[str, LaneMark]:
        """The lanes of a case by name."""
        query = sa.select(LANES.c.lane, LANES.c.state, LANES.c.span_ms).where(LANES.c.case == case)
        return {row.lane: LaneMark(*row) for row in self._connection.execute(query)}

    def named(self, case: str) -> set[tuple[str, str]]:
        """(kind, digest) of what two lanes of a case rest on."""
        query = sa.select(NAMED.c.kind, NAMED.c.value).where(NAMED.c.case == case)
        return {(kind, value) for kind, value in self._connection.execute(query)}

    def naming(self, kind: str, value: str, limit: int, other_than: str | None = None) -> list[CaseRow]:
        """Cases that name the same; the newest first."""
        if kind in ("label", "artifact"):
            series = sa.select(SERIES.c.series).where(SERIES.c[kind] == value)
            if other_than is not None:
                series = series.where(SERIES.c.artifact.not_in([other_than, ""]))
            named = sa.select(FACTS.c.case).where(FACTS.c.series.in_(series))
            named = named.order_by(FACTS.c.opened_seq.desc()).limit(limit)
        else:
            named = sa.select(NAMED.c.case).where(NAMED.c.kind == kind, NAMED.c.value == value)
        query = sa.select(CASES).where(CASES.c.case.in_(named)).order_by(CASES.c.opened_seq.desc())
        return self._many(query.limit(limit))

    def standing_on(self, label: str, artifact: str) -> list[CaseRow]:
        """Open cases with this label and artifact, oldest first."""
        series = sa.select(SERIES.c.series).where(SERIES.c.label == label, SERIES.c.artifact == artifact)
        named = sa.select(FACTS.c.case).where(FACTS.c.series.in_(series))
        query = sa.select(CASES).where(CASES.c.case.in_(named), CASES.c.stands.in_(_OPEN), CASES.c.handed_at.is_(None))
        return self._many(query.order_by(CASES.c.opened_seq))

    def label(self, label: str) -> LabelHead | None:
        """What a label means by now."""
        row = self._connection.execute(sa.select(LABELS).where(LABELS.c.label == label)).first()
        return LabelHead(*row) if row is not None else None

    def label_moves(self, label: str | None = None) -> list[LabelMove]:
        """Every move of a label, or of all, in order."""
        query = sa.select(MOVES).order_by(MOVES.c.seq)
        if label is not None:
            query = query.where(MOVES.c.label == label)
        return [LabelMove(*row) for row in self._connection.execute(query)]

    def totals(self, queue: str | None) -> list[SeriesTotal]:
        """Counts over all cases, or those of a queue."""
        names = [field.name for field in fields(CaseMarks)]
        counted = [sa.func.sum(sa.case((FACTS.c[name] > 0, 1), else_=0)).label(name) for name in names]
        at = FACTS.c.seen_at
        query = sa.select(
            FACTS.c.queue,
            FACTS.c.series,
            sa.func.min(at).label("first_at"),
            sa.func.max(at).label("last_at"),
            sa.func.count().label("cases"),
            *counted,
        ).group_by(FACTS.c.queue, FACTS.c.series)
        if queue is not None:
            query = query.where(FACTS.c.queue == queue)
        series = self._all_series()
        found = []
        for row in self._connection.execute(query):
            known = series[row.series]
            found.append(
                SeriesTotal(
                    row.queue,
                    known.label or None,
                    known.artifact or None,
                    known.upstream,
                    known.served,
                    row.first_at,
                    row.last_at,
                    row.cases,
                    *(int(getattr(row, name)) for name in names),
                )
            )
        return sorted(found, key=lambda item: (item.label or "", item.first_at, item.artifact or "", item.queue))

    def spans(self, queue: str | None) -> list[LaneSpans]:
        """Times to proof over all cases, or those of a queue."""
        columns = (LANES.c.queue, LANES.c.series, LANES.c.lane, LANES.c.span_ms)
        query = sa.select(*columns, sa.func.count()).where(LANES.c.span_ms.is_not(None)).group_by(*columns)
        if queue is not None:
            query = query.where(LANES.c.queue == queue)
        names = {number: (row.label or None, row.artifact or None) for number, row in self._all_series().items()}
        return [
            LaneSpans(name, *names[number], lane, span_ms, cases)
            for name, number, lane, span_ms, cases in self._connection.execute(query.order_by(*columns)).all()
        ]

    def _all_series(self) -> dict[int, Any]:
        return {row.series: row for row in self._connection.execute(sa.select(SERIES))}

    def waiting(self, limit: int, after: int = 0) -> list[StoredEvent]:
        """Events after a number with a decision document that no statement has been logged for yet, oldest first."""
        query = sa.select(JOURNAL).join(OUTBOX, OUTBOX.c.seq == JOURNAL.c.seq).where(JOURNAL.c.seq > after)
        return [_stored(row) for row in self._connection.execute(query.order_by(JOURNAL.c.seq).limit(limit))]

    # Writing

    def append(self, events: Sequence[StoredEvent]) -> None:
        """Put events at the journal's end; raises ``case_store.head`` when they do not continue it."""
        if not events:
            return
        head, last = self.head(), events[-1]
        if [event.seq for event in events] != list(range(head.seq + 1, head.seq + 1 + len(events))):
            raise ConflictError("case_store.head", f"these events do not follow on event {head.seq}")
        rows = [(event.seq, event.digest, event.case, event.kind, event.at, event.raw) for event in events]
        self._many_times('INSERT INTO case_events (seq, digest, "case", kind, at, raw) VALUES (?, ?, ?, ?, ?, ?)', rows)
        self._ask("UPDATE case_head SET seq = ?, digest = ?, at = ?", last.seq, last.digest, last.at)

    def put_rows(self, rows: Sequence[CaseRow]) -> None:
        """Insert new cases."""
        if rows:
            text = f"INSERT INTO cases ({_COLUMNS}) VALUES ({_marks(CASES.c.keys())})"  # noqa: S608
            self._many_times(text, [astuple(row) for row in rows])

    def update_rows(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Set members of rows; each names its ``case``, and all name the same members."""
        if rows:
            names = [name for name in CASES.c.keys() if name in rows[0] and name != "case"]  # noqa: SIM118 (columns)
            changes = ", ".join(f"{name} = ?" for name in names)
            text = f'UPDATE cases SET {changes} WHERE "case" = ?'  # noqa: S608 (names of our own columns)
            self._many_times(text, [(*(row[name] for name in names), row["case"]) for row in rows])

    def put_blobs(self, blobs: Sequence[tuple[str, str, bytes]]) -> None:
        """Keep bundles and vectors: (case, digest, bytes). Again is harmless."""
        rows = [{"case": case, "digest": digest, "raw": raw} for case, digest, raw in blobs]
        self._insert_unknown(BLOBS, rows)

    def drop_blob(self, case: str, digest: str) -> None:
        """Let go of evidence that nothing cites."""
        self._ask('DELETE FROM case_blobs WHERE "case" = ? AND digest = ?', case, digest)

    def show(self, shown: Mapping[str, str]) -> None:
        """Replace what is shown of the lanes of these cases (JSON text)."""
        if shown:
            text = 'INSERT INTO case_shown ("case", shown) VALUES (?, ?) ON CONFLICT ("case") DO UPDATE SET '
            self._many_times(text + "shown = excluded.shown", list(shown.items()))

    def put_policy(self, digest: str, document: bytes) -> None:
        """Keep a queue policy for good; again is harmless."""
        if self.policy(digest) is None:
            self._connection.execute(sa.insert(POLICIES), {"digest": digest, "document": document})

    def set_queue(self, name: str, digest: str) -> None:
        """From now on a queue has this policy."""
        moved = sa.update(QUEUES).where(QUEUES.c.name == name).values(policy=digest)
        if self._connection.execute(moved).rowcount == 0:
            self._connection.execute(sa.insert(QUEUES), {"name": name, "policy": digest})

    def mark_due(self, queue: str, at: str, other_than: str) -> None:
        """Make every open case of a queue due that was decided under another policy."""
        which = sa.update(CASES).where(
            CASES.c.queue == queue,
            CASES.c.stands.in_(_OPEN),
            CASES.c.handed_at.is_(None),
            CASES.c.policy != other_than,
        )
        self._connection.execute(which.values(due_at=at))

    def index_evidence(self, named: Sequence[tuple[str, str]], afresh: Collection[str] = ()) -> None:
        """Add evidence that lanes name: (case, digest); ``afresh`` forgets what they named before."""
        for chunk in _chunks(afresh):
            self._connection.execute(sa.delete(EVIDENCE).where(EVIDENCE.c.case.in_(chunk)))
        self._insert_unknown(EVIDENCE, [{"digest": digest, "case": case} for case, digest in named])

    def rest(self, reliances: Mapping[str, bytes], cases: Mapping[str, Mapping[str, str]]) -> None:
        """Replace what these cases rest on in trust."""
        known = [{"name": name, "document": document} for name, document in sorted(reliances.items())]
        self._insert_unknown(RELIANCES, known)
        for chunk in _chunks(cases):
            self._ask(f'DELETE FROM case_reliances WHERE "case" IN ({_marks(chunk)})', *chunk)  # noqa: S608
        named = [(name, case, until) for case, names in cases.items() for name, until in names.items()]
        self._insert_unknown(RESTING, [{"name": name, "case": case, "until": until} for name, case, until in named])

    def put_trust(self, digest: str, payload: bytes) -> None:
        """Keep a trust document for good; again is harmless."""
        self._insert_unknown(TRUSTS, [{"digest": digest, "payload": payload}])

    def put_facts(self, facts: CaseFacts) -> None:
        """Replace what the evidence of a case names."""
        series, seen_at = self._series_of(facts), facts.run_at or facts.opened_at
        self._ask(
            _PUT_FACTS,
            facts.case, facts.queue, facts.opened_seq, facts.opened_at, series, facts.run_at, seen_at,
        )  # fmt: skip
        self._ask('UPDATE case_lanes SET series = ? WHERE "case" = ? AND series <> ?', series, facts.case, series)

    def _series_of(self, facts: CaseFacts) -> int:
        """The number of a label with an artifact."""
        label, artifact = facts.label or "", facts.artifact or ""
        found = self._first("SELECT series FROM case_series WHERE label = ? AND artifact = ?", label, artifact)
        if found is not None:
            return int(found[0])
        series = int(self._ask("SELECT MAX(series) FROM case_series")[0][0] or 0) + 1
        told = (facts.upstream, facts.served, facts.fingerprint) if facts.artifact else (None,) * 3
        self._ask("INSERT INTO case_series VALUES (?, ?, ?, ?, ?, ?)", series, label, artifact, *told)
        return series

    def put_marks(self, marks: Mapping[str, CaseMarks]) -> None:
        """Replace what happened to cases whose facts are there."""
        names = [field.name for field in fields(CaseMarks)]
        changes = ", ".join(f"{name} = ?" for name in names)
        rows = [(*(getattr(found, name) for name in names), case) for case, found in marks.items()]
        self._many_times(f'UPDATE case_facts SET {changes} WHERE "case" = ?', rows)  # noqa: S608 (our own columns)

    def mark_recalled(self, cases: Sequence[str]) -> None:
        """Count one more recall for each of these cases."""
        self._many_times('UPDATE case_facts SET recalls = recalls + 1 WHERE "case" = ?', [(case,) for case in cases])

    def mark_stale(self, cases: Sequence[str]) -> None:
        """The labels of these cases have come to mean another artifact."""
        self._many_times('UPDATE case_facts SET stale = 1 WHERE "case" = ?', [(case,) for case in cases])

    def put_lanes(self, case: str, lanes: Sequence[LaneMark]) -> None:
        """Replace these lanes of a case whose facts are there; a span that is there stays."""
        text = (
            'INSERT INTO case_lanes ("case", lane, queue, opened_seq, series, state, span_ms) '
            'SELECT "case", CAST(? AS VARCHAR(16)), queue, opened_seq, series, CAST(? AS VARCHAR(16)), '
            'CAST(? AS BIGINT) FROM case_facts WHERE "case" = ? '
            'ON CONFLICT ("case", lane) DO UPDATE SET state = excluded.state, '
            "span_ms = COALESCE(case_lanes.span_ms, excluded.span_ms)"
        )
        self._many_times(text, [(item.lane, item.state, item.span_ms, case) for item in lanes])

    def name(self, case: str, named: Collection[tuple[str, str]]) -> None:
        """Replace what two lanes of a case rest on: (kind, digest)."""
        self._ask('DELETE FROM case_named WHERE "case" = ?', case)
        self._insert_unknown(NAMED, [{"case": case, "kind": kind, "value": value} for kind, value in sorted(named)])

    def point_label(self, head: LabelHead) -> None:
        """A label means this by now."""
        row = asdict(head)
        fresh = self._insert(LABELS).values(row)
        self._connection.execute(fresh.on_conflict_do_update(index_elements=["label"], set_=row))

    def add_move(self, move: LabelMove) -> None:
        """Keep the move of a label."""
        self._connection.execute(sa.insert(MOVES), asdict(move))

    def lead(
        self, case: str, act: LedAct | None, under: Sequence[tuple[str, int]], children: Sequence[LedChild]
    ) -> None:
        """A case came, in each of these agent runs, after what closed there before a place."""
        self._insert_unknown(LED, [{"case": case, "agent": agent, "before": before} for agent, before in under])
        if act is not None:
            self._insert_unknown(LED_ACTS, [{"case": case, "tool": act.tool, "effect": act.effect}])
        runs = [(child.run, agent, child.place) for child in children for agent in child.under]
        self._insert_unknown(LED_RUNS, [{"run": run, "agent": agent, "place": place} for run, agent, place in runs])
        named = [(digest, child.run) for child in children for digest in child.evidence]
        self._insert_unknown(LED_EVIDENCE, [{"digest": digest, "run": run} for digest, run in named])

    def note_recalled(self, evidence: Collection[str]) -> None:
        """This evidence was recalled."""
        self._insert_unknown(RECALLED_EVIDENCE, [{"digest": digest} for digest in sorted(evidence)])

    def add_dependant(self, case: str, kind: str, target: str) -> bool:
        """Note that something relied on a case; False when that was known."""
        table = DEPENDANTS.c
        known = sa.select(table.number).where(table.base == case, table.kind == kind, table.target == target)
        if self._connection.execute(known).first() is not None:
            return False
        count = sa.select(sa.func.count()).select_from(DEPENDANTS).where(table.base == case)
        number = int(self._connection.execute(count).scalar() or 0)
        self._connection.execute(
            sa.insert(DEPENDANTS), {"base": case, "kind": kind, "target": target, "number": number}
        )
        return True

    def wait(self, seqs: Sequence[int]) -> None:
        """These events carry documents for the decision log."""
        if seqs:
            self._connection.execute(sa.insert(OUTBOX), [{"seq": seq} for seq in seqs])

    def done(self, seq: int) -> bool:
        """A statement for this event is in the log; False when it was not waiting."""
        return self._connection.execute(sa.delete(OUTBOX).where(OUTBOX.c.seq == seq)).rowcount > 0

    # Helpers

    def _many_times(self, text: str, rows: list[tuple[Any, ...]]) -> None:
        """One statement for many rows, handed to the driver as it is: a recall writes ten thousand of them."""
        if not rows:
            return
        marked = text if self._connection.dialect.name == "sqlite" else text.replace("?", "%s")
        self._connection.exec_driver_sql(marked, rows)

    def _insert(self, table: sa.Table) -> Any:
        """An insert that knows what to do about rows that are there."""
        dialect: Any = sqlite if self._connection.dialect.name == "sqlite" else postgresql
        return dialect.insert(table)

    def _insert_unknown(self, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Rows that are there already stay as they are."""
        if rows:
            names = [f'"{name}"' for name in rows[0]]
            text = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({_marks(names)}) ON CONFLICT DO NOTHING"  # noqa: S608
            self._many_times(text, [tuple(row.values()) for row in rows])

    def _ask(self, text: str, *values: Any) -> list[Any]:
        """A question in the words of the driver, put to SQLite's directly: what is asked for every piece of evidence
        is not put together anew each time."""
        if self._connection.dialect.name != "sqlite":
            found = self._connection.exec_driver_sql(text.replace("?", "%s"), values)
            return [tuple(row) for row in found] if found.returns_rows else []
        cursor = self._connection.connection.cursor()
        try:
            cursor.execute(text, values)
            return list(cursor.fetchall())
        finally:
            cursor.close()

    def _first(self, text: str, *values: Any) -> Any:
        return next(iter(self._ask(text, *values)), None)

    def _rows(self, which: str, *values: Any) -> list[CaseRow]:
        return [CaseRow(*row) for row in self._ask(f"SELECT {_COLUMNS} FROM cases {which}", *values)]  # noqa: S608

    def _one_row(self, which: str, *values: Any) -> CaseRow | None:
        return next(iter(self._rows(which, *values)), None)

    def _many(self, query: sa.Select[Any]) -> list[CaseRow]:
        return [CaseRow(*row) for row in self._connection.execute(query)]


_MARKS = tuple(FACTS.c[field.name] for field in fields(CaseMarks))


def _in_order(which: CaseFilter) -> tuple[sa.Select[Any], sa.Column[Any]]:
    """Rows, and what they are read in the order of. Where a table beside them finds the few that are asked for, it
    leads: then a page ends as soon as it is full."""
    query, order = sa.select(CASES), CASES.c.opened_seq
    if which.stale:
        query, order = (
            query.join(FACTS, FACTS.c.case == CASES.c.case).where(FACTS.c.stale == 1),
            FACTS.c.opened_seq,
        )
        if which.queue is not None:
            query = query.where(FACTS.c.queue == which.queue)
    if which.lane is not None and which.lane_state is not None:
        query, order = query.join(LANES, LANES.c.case == CASES.c.case), LANES.c.opened_seq
        query = query.where(LANES.c.lane == which.lane, LANES.c.state == which.lane_state)
        if which.queue is not None:
            query = query.where(LANES.c.queue == which.queue)
    return query, order


def _bytes(value: Any) -> bytes | None:
    """SQLite keeps whatever somebody put into a column: an audit has to be able to read it."""
    return value.encode() if isinstance(value, str) else value


def _stored(row: Any) -> StoredEvent:
    seq, digest, case, kind, at, raw = row
    return StoredEvent(seq, digest, case, kind, at, _bytes(raw) or b"")


def _due(condition: sa.ColumnElement[bool]) -> sa.Select[Any]:
    return sa.select(CASES).where(condition).order_by(CASES.c.due_at, CASES.c.opened_seq)


def _marks(values: Sequence[str]) -> str:
    return ", ".join("?" * len(values))


def _chunks(values: Collection[str]) -> Iterator[list[str]]:
    listed = sorted(values)
    for begin in range(0, len(listed), _CHUNK):
        yield listed[begin : begin + _CHUNK]
