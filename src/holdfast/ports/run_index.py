"""Finding runs, and what was seen of their settlement (``adapters/run_index_sql.py``).

Derived state: a gateway rebuilds the runs from its write-ahead log and learns the settlement again from the log and the
full nodes. What an index adds is order: events are append-only, so a position among them keeps its meaning.

Methods block; the gateway calls them from one worker thread.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from holdfast.core import canonical


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run: places are positions in the write-ahead log, indices are log entry numbers, times RFC 3339."""

    run: str
    workspace: str
    opened_at: str
    endpoint: str
    open_place: int
    outcome: str | None = None
    closed_at: str | None = None
    close_place: int | None = None
    follow_place: int | None = None
    route_index: int | None = None
    execution_index: int | None = None
    logged_at: str | None = None
    queue: str | None = None
    """The review queue that the caller named."""
    requester: str | None = None
    """The person whose key asked, where it is one's and the run names a queue."""
    subject: str | None = None
    """What its case is about, where the caller said so."""
    added: str | None = None
    """Statements of other nodes about it, as JSON: place, log index or null, and when it was logged or null, of
    each."""
    asked_again: int | None = None
    """How often it was asked again without rows of memory; None for never."""

    parent_run: str | None = None
    """The run that it names as its parent; None too where what came sealed is read by its capability alone."""
    retry: str | None = None
    """What the idempotency key is known by that it was asked for under, where there was one."""

    @property
    def additions(self) -> tuple[tuple[int, int | None, str | None], ...]:
        """:attr:`added`, read."""
        return tuple((place, index, at) for place, index, at in canonical.decode((self.added or "[]").encode()))


@dataclass(frozen=True, slots=True)
class SettlementEvent:
    """Something the gateway saw of the secure layer: ``kind`` is ``checkpoint``, ``candidate``, ``votes``, ``final``,
    ``silence`` (which full nodes did not answer while entries waited) or ``superseded`` (a round has a later verdict on
    one earlier entry).

    ``number`` is the round (0 for a checkpoint and for silence), ``size`` the tree size it speaks of; for
    ``superseded`` that of the smallest tree that holds the entry, its index + 1; for ``silence`` that of all entries.
    """

    position: int
    at: str
    kind: str
    number: int
    size: int
    body: dict[str, Any]


class RunIndex(Protocol):
    """The tables of one gateway."""

    def put_runs(self, rows: Iterable[dict[str, Any]]) -> set[str]:
        """Insert opened runs (members of :class:`RunRow`). Returns those that were there already: they stay as they
        are, and whoever knows more of them updates them."""
        ...

    def update_runs(self, rows: Iterable[dict[str, Any]], cursors: Mapping[str, int] | None = None) -> None:
        """Set members of runs (each row names its ``run``), and cursors, in one transaction.

        ``logged_at`` is set once: what is delivered again was logged when it first was.
        """
        ...

    def cursor(self, name: str) -> int:
        """A stored position; 0 when there is none."""
        ...

    def run(self, run: str) -> RunRow | None:
        """One run by its id."""
        ...

    def recent(self, workspace: str, limit: int) -> list[RunRow]:
        """A workspace's runs, newest first."""
        ...

    def children(self, parent: str) -> list[RunRow]:
        """The runs that name a parent, by the place of their opening."""
        ...

    def asked_under(self, retry: str) -> RunRow | None:
        """The run that was opened last of those asked for under a key."""

    def agents(self, workspace: str, before: int, limit: int) -> list[RunRow]:
        """A workspace's agent runs whose openings lie before a place, the newest first."""
        ...

    def count_children(self, parents: Collection[str]) -> dict[str, int]:
        """How many runs name each of these as their parent; those that none names are left out."""
        ...

    def openings(self, workspace: str, begin: int, end: int, limit: int) -> list[RunRow]:
        """A workspace's runs that name a queue, by the place of their opening, from ``begin`` on and below ``end``."""
        ...

    def highest_entry(self) -> int:
        """The greatest log index of any run; -1 when none is logged."""
        ...

    def add_event(self, at: str, kind: str, number: int, size: int, body: dict[str, Any]) -> SettlementEvent:
        """Append one event; its position is greater than every earlier one's."""
        ...

    def last_event(self, kind: str, number: int | None = None) -> SettlementEvent | None:
        """The newest event of a kind (and round)."""
        ...

    def events_of(self, number: int) -> list[SettlementEvent]:
        """Every event of a round, in order."""
        ...

    def first_covering(self, kind: str, index: int) -> SettlementEvent | None:
        """The first event of a kind whose size is beyond a log index."""
        ...

    def events_since(self, at: str, until: str | None, index: int) -> list[SettlementEvent]:
        """What was seen of rounds, and of silence, from one time on (to another, both included) and reaches beyond a
        log index; in order, without ``superseded`` events."""
        ...

    def superseding(self, index: int) -> list[SettlementEvent]:
        """The ``superseded`` events of one log index, in order."""
        ...

    def highest_final(self) -> int:
        """Number of the newest round seen final; 0 when none."""
        ...

    def close(self) -> None:
        """Let go of the database."""
        ...
