"""Where cases live: an append-only journal, rows that are derived from it, and the evidence that it cites.

Every change happens inside :meth:`CaseStore.write`: one transaction, one writer at a time, all of it or nothing. What
has been committed survives a crash of the process and of the machine. Rows, the evidence index and the outbox can be
derived from the journal again (``spec/case.md`` §6); the journal and the blobs can not.

Methods block; a panel calls them from one worker thread.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Head:
    """Where the journal ends: the number, digest (hex) and time of its last event; 0, zeros and "" when empty."""

    seq: int
    digest: str
    at: str


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One event as it lies in the journal. ``case`` is None for what is about a queue or about many cases."""

    seq: int
    digest: str
    case: str | None
    kind: str
    at: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class CaseRow:
    """What a list shows of a case. Times are RFC 3339 (``conventions.md`` §2(3)), digests hex."""

    case: str
    opened_seq: int
    """Number of its first event: the order of lists, and the cursor of their pages."""
    last_seq: int
    queue: str
    run: str
    subject: str | None
    requester: str | None
    opened_at: str
    changed_at: str
    stands: str
    """The gate's word (``gate.md`` §4)."""
    reasons: str
    """JSON text: a list of ``{"code","lane","says"}``."""
    policy: str
    vector: str | None
    """Digest of the lane vector last appraised."""
    trust: str | None
    bundle: str | None
    """Digest of the newest evidence; an event cites it once it changed the vector."""
    clear_until: str | None
    released_early: int
    relied: int
    claimed_by: str | None
    claimed_until: str | None
    consumer: str | None
    handed_until: str | None
    handed_at: str | None
    """When a consumer acknowledged it."""
    flags: int
    """How many cases it relied on are no longer let through (``case.md`` §8(4))."""
    due_at: str | None
    """When time alone can change what the gate says."""


@dataclass(frozen=True, slots=True)
class CaseFilter:
    """Which rows, in which order. ``after`` is the ``opened_seq`` of the last row of the page before."""

    run: str | None = None
    queue: str | None = None
    stands: tuple[str, ...] = ()
    claimed_by: str | None = None
    requester: str | None = None
    after: int | None = None
    limit: int = 50
    newest_first: bool = False


class CaseReader(Protocol):
    """A consistent view."""

    def head(self) -> Head:
        """Where the journal ends."""
        ...

    def row(self, case: str) -> CaseRow | None:
        """One case by its id."""
        ...

    def row_of_run(self, run: str, queue: str) -> CaseRow | None:
        """The case of a run in a queue."""
        ...

    def rows(self, which: CaseFilter) -> list[CaseRow]:
        """One page."""
        ...

    def rows_of(self, cases: Collection[str]) -> list[CaseRow]:
        """Many cases by their ids, in no order; unknown ids are left out."""
        ...

    def due(self, at: str, trust: str | None, limit: int) -> list[CaseRow]:
        """Cases whose ``due_at`` has come, and cases that are let through and were appraised under another trust; then
        held ones of another trust, then recalled ones."""
        ...

    def next_of(self, queue: str, at: str) -> CaseRow | None:
        """The oldest case of a queue that is CLEAR or PROVISIONAL, not handed over, and neither under a lease nor
        claimed at ``at``."""
        ...

    def open_of_queue(self, queue: str, stands: Collection[str], limit: int, other_than: str | None) -> list[CaseRow]:
        """Cases of a queue in one of these states that are not handed over, oldest first; ``other_than`` leaves out
        those decided under that policy."""
        ...

    def counts(self) -> dict[tuple[str, str], int]:
        """Cases by (queue, stands)."""
        ...

    def events_of(self, case: str) -> list[StoredEvent]:
        """The journal of one case, in order."""
        ...

    def events(self, after: int, limit: int) -> list[StoredEvent]:
        """The whole journal, in order, beyond a number."""
        ...

    def blob(self, case: str, digest: str) -> bytes | None:
        """A bundle or lane vector of a case, by digest."""
        ...

    def shown(self, cases: Collection[str]) -> dict[str, str]:
        """What is shown of the lanes of these cases (JSON text), as last appraised."""
        ...

    def policy(self, digest: str) -> bytes | None:
        """A queue policy's canonical document."""
        ...

    def queue(self, name: str) -> str | None:
        """Digest of the policy of a queue that has one."""
        ...

    def queues(self) -> dict[str, str]:
        """Every queue that has a policy, and its digest."""
        ...

    def relying(self, evidence: Collection[str]) -> list[str]:
        """Cases that were let through since their last reopening, are not RECALLED, and whose lanes have named any of
        this evidence since, in the order in which they were opened."""
        ...

    def reliances(self) -> dict[str, bytes]:
        """By name, the document of everything in trust that a case rested on when it was let through."""
        ...

    def resting(self, name: str, since: str, before: str | None = None) -> list[str]:
        """Cases that were let through since their last reopening, are not RECALLED, and rest on ``name`` until
        ``since`` or later, and earlier than ``before`` where that is given."""
        ...

    def dependants(self, case: str) -> list[tuple[str, str]]:
        """(``case`` or ``reference``, target) of what relied on a case, in the order in which it was said."""
        ...

    def bases(self, case: str) -> list[str]:
        """The cases that a case relied on."""
        ...

    def reach(self, cases: Collection[str]) -> set[str]:
        """Every case that relied on one of these, at any remove; cycles end."""
        ...

    def references(self, cases: Collection[str]) -> list[tuple[str, str]]:
        """(case, outside reference) of what relied on these from outside."""
        ...

    def waiting(self, limit: int, after: int = 0) -> list[StoredEvent]:
        """Events after a number with a decision document that no statement has been logged for yet, oldest first."""
        ...


class CaseWriter(CaseReader, Protocol):
    """One transaction."""

    def append(self, events: Sequence[StoredEvent]) -> None:
        """Put events at the journal's end; raises ``case_store.head`` when they do not continue it."""
        ...

    def put_rows(self, rows: Sequence[CaseRow]) -> None:
        """Insert new cases."""
        ...

    def update_rows(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Set members of rows; each names its ``case``, and all name the same members."""
        ...

    def put_blobs(self, blobs: Sequence[tuple[str, str, bytes]]) -> None:
        """Keep bundles and vectors: (case, digest, bytes). Again is harmless."""
        ...

    def drop_blob(self, case: str, digest: str) -> None:
        """Let go of evidence that nothing cites."""
        ...

    def show(self, shown: Mapping[str, str]) -> None:
        """Replace what is shown of the lanes of these cases (JSON text)."""
        ...

    def put_policy(self, digest: str, document: bytes) -> None:
        """Keep a queue policy for good; again is harmless."""
        ...

    def set_queue(self, name: str, digest: str) -> None:
        """From now on a queue has this policy."""
        ...

    def mark_due(self, queue: str, at: str, other_than: str) -> None:
        """Make every open case of a queue due that was decided under another policy."""
        ...

    def index_evidence(self, named: Sequence[tuple[str, str]], afresh: Collection[str] = ()) -> None:
        """Add evidence that lanes name: (case, digest). What the lanes of the cases ``afresh`` named before is
        forgotten first."""
        ...

    def rest(self, reliances: Mapping[str, bytes], cases: Mapping[str, Mapping[str, str]]) -> None:
        """Replace what these cases rest on in trust: by case, the names and until when; and keep the documents behind
        the names."""
        ...

    def add_dependant(self, case: str, kind: str, target: str) -> bool:
        """Note that something relied on a case; False when that was known."""
        ...

    def wait(self, seqs: Sequence[int]) -> None:
        """These events carry documents for the decision log."""
        ...

    def done(self, seq: int) -> bool:
        """A statement for this event is in the log; False when it was not waiting."""
        ...


class CaseStore(Protocol):
    """The tables of one panel."""

    def read(self) -> AbstractContextManager[CaseReader]:
        """A consistent view; nothing is written."""
        ...

    def write(self) -> AbstractContextManager[CaseWriter]:
        """One transaction: committed when the block ends, undone when it raises. There is one writer at a time."""
        ...

    def close(self) -> None:
        """Let go of the database."""
        ...
