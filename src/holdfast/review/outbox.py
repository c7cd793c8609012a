"""Decisions on their way into the log: what waits to be signed, at least once (``spec/case.md`` §9).

The event carries the decision document; a ``statement_logged`` event that carries the statement's digest follows when
it stands in the log. Between the two the act waits here, over restarts. A crash between logging and noting it signs the
same act again: whoever implements :class:`DecisionLog` makes the statement from the act alone, salt included, so that
signing again makes no second one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class WaitingAct:
    """One act that no statement stands for yet."""

    seq: int
    """Number of its event: what :meth:`~holdfast.review.desk.Desk.note_statement` takes."""
    event: str
    """Digest (hex) of its event."""
    document: bytes
    """The decision document (``statement.md`` §4.3(1))."""
    run: str
    case: str
    """The case decided; of a recall, the one it began with."""
    lanes: str
    """Digest (hex) of the lane vector it was based on."""
    policy: str
    """Digest (hex) of the queue policy."""
    cases: tuple[str, ...]
    """Every case of a recall that reached more than one, in the journal's order; else empty."""
    bundle: bytes | None
    """The newest evidence of the case: where the closing statement, its parent, is found."""


class DecisionLog(Protocol):
    """Signs acts and puts them into the log."""

    def record(self, act: WaitingAct) -> str | None:
        """Digest (hex) of the statement once it stands in the log; None while it cannot: it is asked again later."""
        ...
