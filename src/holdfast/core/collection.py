"""When an authorization serves no more, what its one capture takes, and what lapses (``spec/collection.md`` §1 to §3).

``serves_until`` says until when runs may be served on an authorization. ``decide`` looks at everything that was served
on it, at how far each run has come in the secure layer, and at the time, and answers one of three things: wait, take
this much for these runs, or take nothing. What is not taken lapses, and each run's reason says why.

Rules: nothing is taken for a run that is refuted when it is decided; under ``on_proof`` nothing for a run that is not
final; never more than was signed, and of ``exact`` all of it for one run or nothing. An authorization is decided once,
so whoever acts on a decision makes it durable before anything else.

Not covered: who says how far a run has come (``nodes/gateway/collector.py``), and moving money (``nodes/facilitator``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from holdfast.core.x402 import DEADLINE_MARGIN_S, EXACT
from holdfast.errors import UsageError

ON_ANSWER: Final = "on_answer"
ON_PROOF: Final = "on_proof"

Standing: TypeAlias = Literal["pending", "final", "refuted", "silent"]
"""How far a run's execution closure has come: evidence is on its way; a final round holds ``ok`` for all of it;
something of it is refuted; nothing will ever be said of it (``private``)."""

REFUTED: Final = "payment.refuted"
"""The run is refuted."""
UNPROVED: Final = "payment.unproved"
"""Under ``on_proof``: the run was not final when it had to be decided."""
UNPROVABLE: Final = "payment.unprovable"
"""Under ``on_proof``: nobody will ever say whether the run is as it was told."""
OVER_CAP: Final = "payment.over_cap"
"""What was signed is used up by the runs before it."""
TOO_LATE: Final = "payment.too_late"
"""What was signed does not hold long enough any more for a capture."""
NOTHING_DUE: Final = "payment.nothing_due"
"""The run costs nothing."""
LAPSES: Final = (REFUTED, UNPROVED, UNPROVABLE, OVER_CAP, TOO_LATE, NOTHING_DUE)
"""Why nothing is taken for a run, the gravest first: reasons of documents of ``lapsed`` (``statement.md`` §4.6)."""


@dataclass(frozen=True, slots=True)
class Margins:
    """How long before the deadline what happens, in seconds."""

    finality_s: int
    """How long runs take to be final, nearly all of them (the 99th percentile)."""
    capture_s: int
    """What a capture needs from its decision until the chain has it: the margin."""

    def __post_init__(self) -> None:
        if self.finality_s < 0 or self.capture_s < DEADLINE_MARGIN_S:
            raise UsageError(
                "collection.margins",
                f"a capture is decided at least {DEADLINE_MARGIN_S} s before the deadline",
                hint="facilitators refuse what expires sooner",
            )


@dataclass(frozen=True, slots=True)
class Terms:
    """What was signed. ``deadline`` is the unix second until which the chain takes it."""

    timing: str
    scheme: str
    cap: int
    deadline: int


@dataclass(frozen=True, slots=True)
class Claim:
    """One run on an authorization: what it costs (None while it is under way) and how far it has come."""

    run: str
    charge: int | None
    standing: Standing


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing is to be decided yet, and not before ``until`` (unix seconds) unless a run moves."""

    until: int


@dataclass(frozen=True, slots=True)
class Take:
    """Capture ``amount`` once, for these runs; the others lapse. ``cut_off`` are runs that are under way still: they
    come too late to cost anything."""

    amount: int
    taken: tuple[tuple[str, int], ...]
    """Run and what is taken for it, in the order in which they were handed in."""
    lapsed: tuple[tuple[str, str], ...]
    """Run and reason."""
    cut_off: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Leave:
    """Capture nothing, ever."""

    reason: str
    """Of the authorization as a whole: that of its runs where they have one, else ``payment.nothing_due``."""
    lapsed: tuple[tuple[str, str], ...]
    cut_off: tuple[str, ...]


Decision: TypeAlias = Wait | Take | Leave


def least_lifetime_s(timing: str, margins: Margins) -> int:
    """How long what is signed has to hold at least, in seconds, for anything to be served on it."""
    return margins.capture_s + (margins.finality_s if timing == ON_PROOF else 0)


def serves_until(terms: Terms, margins: Margins) -> int:
    """The unix second from which on nothing more is charged to an authorization: under ``on_proof`` early enough for
    the last run to be final before the capture has to be decided."""
    return terms.deadline - least_lifetime_s(terms.timing, margins)


def is_spent(terms: Terms, margins: Margins, *, at: int, left: int, idle_s: int, most_idle_s: int) -> bool:
    """Whether an authorization serves no more: it is for one run, ``left`` is nothing, its time is over, or no run was
    under way on it for the last ``idle_s`` seconds."""
    return terms.scheme == EXACT or left <= 0 or at >= serves_until(terms, margins) or idle_s >= most_idle_s


def decides_by(terms: Terms, margins: Margins) -> int:
    """The unix second at which the capture is decided whatever is still open."""
    return terms.deadline - margins.capture_s


def decide(terms: Terms, claims: Sequence[Claim], margins: Margins, *, at: int, closed: bool) -> Decision:
    """What is to happen with an authorization now.

    ``claims`` are all runs that were ever served on it, oldest first; ``closed`` says that no further one will be. The
    same arguments give the same decision for ever.
    """
    last = decides_by(terms, margins)
    if at < last:
        if not closed and at < serves_until(terms, margins):
            return Wait(serves_until(terms, margins))
        if any(_open(claim, terms) for claim in claims):
            return Wait(last)
    cut_off = tuple(claim.run for claim in claims if claim.charge is None)
    charged = [claim for claim in claims if claim.charge is not None]
    if at > terms.deadline - DEADLINE_MARGIN_S:
        late = tuple((claim.run, TOO_LATE if claim.charge else NOTHING_DUE) for claim in charged)
        return Leave(_why(late), late, cut_off)
    return _sort(terms, charged, cut_off)


def _open(claim: Claim, terms: Terms) -> bool:
    """Whether waiting may change what is taken for a run."""
    if claim.charge is None:
        return True
    return terms.timing == ON_PROOF and claim.charge > 0 and claim.standing == "pending"


def _sort(terms: Terms, charged: Sequence[Claim], cut_off: tuple[str, ...]) -> Take | Leave:
    taken: list[tuple[str, int]] = []
    lapsed: list[tuple[str, str]] = []
    amount = 0
    for claim in charged:
        cost = terms.cap if terms.scheme == EXACT and claim.charge else claim.charge or 0
        why = _refusal(claim, terms.timing) or (OVER_CAP if amount + cost > terms.cap else None)
        if why is not None:
            lapsed.append((claim.run, why))
            continue
        taken.append((claim.run, cost))
        amount += cost
    if not taken:
        return Leave(_why(lapsed), tuple(lapsed), cut_off)
    return Take(amount, tuple(taken), tuple(lapsed), cut_off)


def _refusal(claim: Claim, timing: str) -> str | None:
    """Why nothing may be taken for a run that was charged."""
    if not claim.charge:
        return NOTHING_DUE
    if claim.standing == "refuted":
        return REFUTED
    if timing == ON_PROOF and claim.standing == "silent":
        return UNPROVABLE
    if timing == ON_PROOF and claim.standing != "final":
        return UNPROVED
    return None


def _why(lapsed: Iterable[tuple[str, str]]) -> str:
    """One reason for many: the gravest."""
    found = {reason for _, reason in lapsed}
    return next((reason for reason in LAPSES if reason in found), NOTHING_DUE)
