"""The way of one run: which upstreams it was taken to, why, and how each attempt ended (``statement.md`` §4.1(5)).

Written down as it happens, so that whatever closes the run (an answer, an error, a caller that goes away) tells all of
it. Pure bookkeeping; who is turned to next, ``service`` decides.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from holdfast.core import canonical
from holdfast.core.attempts import MOST, SERVED, Attempt
from holdfast.nodes.gateway.admit_tool import MOST_CALLS
from holdfast.ports.upstream import UpstreamStatusError, may_have_sent


def first_reason(*, balanced: bool) -> str:
    """Why the first upstream is turned to; ``balanced`` where several offer the same."""
    return "balance" if balanced else "first"


@dataclass(slots=True)
class Way:
    """The attempts of one run."""

    made: list[Attempt] = field(default_factory=list)
    """Those that are over."""
    _open: tuple[str, str] | None = None
    """Upstream and reason of the attempt under way."""

    @property
    def full(self) -> bool:
        """Whether no further attempt could be told, if an answer then took as many turns as it may."""
        return len(self.made) + (self._open is not None) >= MOST - MOST_CALLS

    @property
    def served(self) -> bool:
        """Whether an upstream has answered already: what it answered belongs to this run, and nobody else goes on."""
        return any(attempt.end == SERVED for attempt in self.made)

    def tried(self, upstream: str) -> bool:
        """Whether an upstream was turned to before."""
        return any(attempt.upstream == upstream for attempt in self.made)

    def turn_to(self, upstream: str, *, balanced: bool = False) -> None:
        """An upstream is about to be asked. Its reason follows from what came before; ``balanced`` is for the first."""
        if self._open is not None:  # what was under way has answered: only an answer leads to another turn
            self._end(SERVED, sent=True)
        if not self.made:
            why = first_reason(balanced=balanced)
        elif self.made[-1].end == SERVED:
            why = "next"
        else:
            why = "retry" if self.made[-1].upstream == upstream else "fallback"
        self._open = (upstream, why)

    def failed(self, error: Exception, code: str) -> None:
        """The attempt under way came to nothing; ``code`` is what the run would end with if it were the last."""
        if isinstance(error, UpstreamStatusError):
            code = f"{code}.{error.provider_status}"
        self._end(code, sent=may_have_sent(error))

    def told(self, end: str) -> tuple[Attempt, ...]:
        """All attempts, the one under way ending as the run does."""
        if self._open is not None:
            self._end(end, sent=True)
        return tuple(self.made)

    def to_json(self) -> list[dict[str, canonical.JSON]]:
        """The attempts so far, as an answer's carrier has them: the end of the one under way is null."""
        told = [attempt.to_json() for attempt in self.made]
        if self._open is not None:
            upstream, why = self._open
            told.append({"upstream": upstream, "why": why, "end": None, "sent": True})
        return told

    def _end(self, end: str, *, sent: bool) -> None:
        if self._open is not None:
            self.made.append(Attempt(*self._open, end, sent))
            self._open = None
