"""Which upstreams a turn was taken to, in order: member ``attempts`` of a route (``spec/statement.md`` §4.1(5)).

Everything that bytes of a request may have reached is named, whatever came of it; what served is the last. Which
upstreams failed before it (``fallback_from``) follows from the list and is never told otherwise.

Not covered: whether the gateway tells the truth, and what an upstream did with what it got.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.core import canonical
from holdfast.core.encoding import is_code
from holdfast.errors import MalformedError

WHYS = ("balance", "fallback", "first", "next", "retry")
"""Why an upstream was turned to (``statement.md`` §4.1(5))."""
SERVED = "served"
"""How an attempt ended whose answer was taken; everything else is the code of what went wrong."""
MOST = 32
"""Attempts that one run has at most."""
_MEMBERS = frozenset({"upstream", "why", "end", "sent"})


@dataclass(frozen=True, slots=True)
class Attempt:
    """One time that an upstream was turned to."""

    upstream: str
    why: str
    end: str
    """``served``, or the code of why it did not serve."""
    sent: bool
    """Whether bytes of what was asked may have left for it."""

    def to_json(self) -> dict[str, canonical.JSON]:
        return {"upstream": self.upstream, "why": self.why, "end": self.end, "sent": self.sent}


def parse_attempts(value: object, upstream: str) -> tuple[Attempt, ...]:
    """The member's attempts for a route by ``upstream``; raises ``statement.attempts``."""
    if not isinstance(value, list) or len(value) > MOST:
        raise MalformedError("statement.attempts", f"attempts are a list of at most {MOST}")
    found = tuple(_attempt(item) for item in value)
    for number, attempt in enumerate(found):
        if not _follows(found[:number], attempt):
            raise MalformedError("statement.attempts", "an attempt's reason is not what the ones before leave")
    if found and found[-1].upstream != upstream:
        raise MalformedError("statement.attempts", "the upstream of a route is the one that was turned to last")
    if any(item.end == SERVED and (item.upstream != upstream or not item.sent) for item in found):
        raise MalformedError("statement.attempts", "another upstream served, or one that nothing was sent to")
    return found


def failed_before(attempts: Sequence[Attempt]) -> tuple[str, ...]:
    """``fallback_from``: the upstreams that were turned to before the last one, in order, each once."""
    last = attempts[-1].upstream if attempts else None
    return tuple(dict.fromkeys(item.upstream for item in attempts if item.upstream != last))


def reached(attempts: Sequence[Attempt]) -> dict[str, bool]:
    """Each upstream in the order in which it was first turned to, and whether anything may have left for it."""
    found: dict[str, bool] = {}
    for item in attempts:
        found[item.upstream] = found.get(item.upstream, False) or item.sent
    return found


def _attempt(value: object) -> Attempt:
    if not isinstance(value, dict) or value.keys() != _MEMBERS:
        raise MalformedError("statement.attempts", "an attempt has exactly upstream, why, end and sent")
    if not is_code(value["upstream"]) or not is_code(value["end"]):
        raise MalformedError("statement.attempts", "an attempt's upstream and end are codes")
    if value["why"] not in WHYS or not isinstance(value["sent"], bool):
        raise MalformedError("statement.attempts", f"why is one of {', '.join(WHYS)}, and sent true or false")
    return Attempt(value["upstream"], value["why"], value["end"], value["sent"])


def _follows(before: Sequence[Attempt], attempt: Attempt) -> bool:
    """Whether an attempt can be why it says it is, after those before it."""
    if not before:
        return attempt.why in ("balance", "first")
    last = before[-1]
    if last.end == SERVED:
        return attempt.why == "next" and attempt.upstream == last.upstream
    if attempt.why == "retry":
        return attempt.upstream == last.upstream
    return attempt.why == "fallback" and attempt.upstream not in {item.upstream for item in before}
