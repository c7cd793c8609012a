"""What a full node decides, as pure functions (``spec/round.md`` §2 to §6). No I/O, no clock, no state of its own.

Three questions, in the order in which a round asks them:

1. *Whose move is it?* :func:`next_move` is a table over what the chain shows and what this node has to settle.
2. *What would I propose?* :func:`build_proposal` makes the candidate and its verdict blob out of this node's own view.
3. *May I vote for this?* :func:`judge` compares another node's candidate with the own view and answers vote, wait or
   abstain, with the reason.

The rules of voting, in plain words:

* The candidate must continue the round before it, name a tree that this node has recomputed from the entries, and say
  exactly one thing about each entry it covers.
* Equal verdicts are accepted. A proposer's ``cannot_tell`` is accepted: it claims nothing.
* Never an ``ok`` where this node found a refutation; never a refutation that it did not find.
* A node that was down while an entry was logged cannot know when it appeared. What depends on that moment alone it
  calls ``cannot_tell``, and there it goes with a code that it would have said itself for one of the possible moments,
  once voters of more than a third of the stake stand behind it: one of them is honest and was there.
* Verdicts on older entries (superseding ones) are accepted by the same rule, where they say something new.

The rules that keep rounds moving when honest nodes differ (clocks, late arrivals):

* A proposer that came too late for some entry stays silent for the first rotation it sees of a round; somebody who was
  there may say more.
* After a whole rotation a proposer says ``cannot_tell`` wherever another candidate of the round said something else.
  Everyone can vote for that, so a round with more than two thirds of honest stake ends.

Not covered: signing and remembering what was signed (``journal.py``), and who is a member (the chain and trust).
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from holdfast.core import rounds
from holdfast.core.rounds import Candidate, VerdictEntry

OK = "ok"
CANNOT_TELL = "cannot_tell"
"""The verdict that claims nothing (``spec/round.md`` §5)."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """What this node found out about one log entry."""

    digest: bytes
    """The entry's deduplication digest, 32 bytes."""
    code: str
    """The own verdict; ``cannot_tell`` where it depends on a moment this node missed."""
    possible: tuple[str, ...] = ()
    """For a late ``cannot_tell``: the verdicts for the earliest and the latest possible moment. Otherwise empty."""

    @property
    def late(self) -> bool:
        """Whether this node was away when the entry was logged, and the verdict depends on it."""
        return bool(self.possible)


class View(Protocol):
    """One origin as this node knows it."""

    @property
    def size(self) -> int:
        """Entries of the log whose verdicts this node knows."""
        ...

    def root_at(self, size: int) -> bytes | None:
        """The root over the first ``size`` entries, or None when that is not known (any more)."""
        ...

    def opinion(self, index: int) -> Opinion:
        """The opinion on entry ``index``, below ``size``."""
        ...

    def final_code(self, index: int) -> str:
        """What the newest final round that speaks of entry ``index`` says of it."""
        ...

    def superseding(self) -> Mapping[int, str]:
        """What this node would add on entries of final rounds: index to code."""
        ...


@dataclass(frozen=True, slots=True)
class Settled:
    """The newest final round of an origin; :data:`NOTHING_SETTLED` before the first."""

    number: int
    size: int
    root: bytes
    content: bytes


NOTHING_SETTLED = Settled(0, 0, b"", rounds.NO_PREVIOUS)
"""Where the first round starts."""


# 1. Whose move is it?


class Move(enum.Enum):
    """What to do next in one origin's open round."""

    REST = "nothing to settle"
    GATHER = "gathering entries for the next round"
    PROPOSE = "proposing"
    HOLD_BACK = "came late to some entries, lets others propose first"
    AWAIT_PROPOSER = "waiting for the proposer"
    JUDGE = "judging the candidate"
    AWAIT_VOTES = "waiting for the votes of others"
    OPEN_ATTEMPT = "opening the next attempt"


@dataclass(frozen=True, slots=True)
class Situation:
    """What decides whose move it is. Times in seconds."""

    unsettled: bool
    """Entries without a final verdict, or superseding opinions, exist in this node's view."""
    gathered_s: float
    """How long the oldest of them has waited."""
    interval_s: float
    """How long a proposer gathers before it proposes."""
    candidate: bool
    """The open attempt holds a candidate."""
    answered: bool
    """This node has voted in the attempt, or has judged its candidate and abstains."""
    my_turn: bool
    """This node is the attempt's proposer."""
    spoken: bool
    """This node has signed a proposal in this attempt that the chain does not show (yet)."""
    silenced: bool
    """This node has signed something in this attempt that it can neither repeat nor take back."""
    late: bool
    """Some entry to be covered is one this node came late to."""
    first_rotation: bool
    """Since this node joined the round, fewer attempts were opened than the epoch has members."""
    timeout: bool
    """The chain's timeout has passed, and this node had something to settle for all that time."""


def next_move(now: Situation) -> Move:
    """The state machine of one round, read from the top; the first row that fits decides."""
    held_back = now.late and now.first_rotation and not now.spoken
    may_propose = now.my_turn and not now.candidate and not now.silenced and not held_back
    table: Sequence[tuple[bool, Move]] = (
        (now.candidate and not now.answered, Move.JUDGE),
        (not now.unsettled, Move.REST),
        (now.timeout and not may_propose, Move.OPEN_ATTEMPT),
        (now.candidate, Move.AWAIT_VOTES),
        (not now.my_turn, Move.AWAIT_PROPOSER),
        (now.silenced, Move.AWAIT_VOTES),
        (now.spoken, Move.PROPOSE),  # exactly the same again
        (held_back, Move.HOLD_BACK),
        (now.gathered_s < now.interval_s, Move.GATHER),
        (True, Move.PROPOSE),
    )
    return next(move for fits, move in table if fits)


# 2. What would I propose?


@dataclass(frozen=True, slots=True)
class Proposal:
    """A candidate and the blob it names."""

    candidate: Candidate
    blob: bytes


def build_proposal(
    view: View,
    settled: Settled,
    *,
    origin: str,
    epoch: int,
    attempt: int,
    size: int,
    withdrawn: Collection[int] = (),
) -> Proposal | None:
    """The candidate over the first ``size`` entries, or None when there is nothing to say (a round is never empty).

    ``withdrawn`` are indices on which this node does not insist: they become ``cannot_tell``.
    """
    entries = [
        VerdictEntry(index, view.opinion(index).digest, code)
        for index, code in sorted(view.superseding().items())
        if index < settled.size and index not in withdrawn
    ]
    for index in range(settled.size, size):
        mine = view.opinion(index)
        entries.append(VerdictEntry(index, mine.digest, CANNOT_TELL if index in withdrawn else mine.code))
    root = settled.root if size == settled.size else view.root_at(size)
    if not entries or root is None:
        return None
    blob = rounds.verdict_blob(entries)
    candidate = Candidate(
        origin=origin,
        epoch=epoch,
        number=settled.number + 1,
        attempt=attempt,
        previous=settled.content,
        size=size,
        root=root,
        verdict_root=rounds.verdict_root(entries),
        blob_id=rounds.blob_id(blob),
    )
    return Proposal(candidate, blob)


# 3. May I vote for this?


class Answer(enum.Enum):
    """What to do about a candidate."""

    VOTE = "vote"
    WAIT = "wait"
    """Not now: something is missing that may still come (entries, the blob, the voice of those who were there)."""
    ABSTAIN = "abstain"


@dataclass(frozen=True, slots=True)
class Judgement:
    """The answer to one candidate and why."""

    answer: Answer
    reason: str
    contested: tuple[int, ...] = ()
    """Indices whose verdicts this node cannot vote for."""
    differing: tuple[int, ...] = ()
    """Indices whose verdicts are not the own ones; those it could vote for are among them."""


def judge_frame(candidate: Candidate, settled: Settled, view: View) -> Judgement | None:
    """Everything that needs no verdict blob; None when it is all right."""
    if candidate.number != settled.number + 1:
        return Judgement(Answer.WAIT, "not the round after the newest final one that this node has seen")
    if candidate.previous != settled.content:
        return Judgement(Answer.ABSTAIN, "does not continue the round before it")
    if candidate.size < settled.size:
        return Judgement(Answer.ABSTAIN, "is smaller than the round before it")
    if candidate.size > view.size:
        return Judgement(Answer.WAIT, f"covers {candidate.size} entries, of which {view.size} are verified here")
    if candidate.size == settled.size:
        known_root: bytes | None = settled.root
    else:
        known_root = view.root_at(candidate.size)
    if known_root is None:
        return Judgement(Answer.ABSTAIN, "names a size whose root this node does not know")
    if candidate.root != known_root:
        return Judgement(Answer.ABSTAIN, "names another root than the entries give")
    return None


def judge(
    candidate: Candidate, verdicts: Sequence[VerdictEntry], settled: Settled, view: View, *, backed: bool
) -> Judgement:
    """Compare a candidate with the own view. ``verdicts`` went through ``core.rounds.verify_verdicts``.

    ``backed``: members with more than a third of the epoch's stake have voted for it.
    """
    frame = judge_frame(candidate, settled, view)
    if frame is not None:
        return frame
    contested: list[int] = []
    differing: list[int] = []
    waiting: list[int] = []
    first_reason = ""
    for verdict in verdicts:
        mine = view.opinion(verdict.index)
        if verdict.code != mine.code:
            differing.append(verdict.index)
        fits = verdict.statement_digest == mine.digest and accepts(mine, verdict.code, backed=True)
        if verdict.index < settled.size:
            fits = fits and verdict.code != view.final_code(verdict.index)
            fits = fits and (verdict.code != CANNOT_TELL or (mine.code == CANNOT_TELL and not mine.late))
        if not fits:
            contested.append(verdict.index)
            first_reason = first_reason or f"says {verdict.code} of entry {verdict.index}; this node found {mine.code}"
        elif not accepts(mine, verdict.code, backed=backed):
            waiting.append(verdict.index)
    if contested:
        return Judgement(Answer.ABSTAIN, first_reason, tuple(contested), tuple(differing))
    if waiting:
        reason = (
            f"entry {waiting[0]} was logged while this node was away; more than a third of the stake must speak first"
        )
        return Judgement(Answer.WAIT, reason, (), tuple(differing))
    return Judgement(Answer.VOTE, "every verdict agrees", (), tuple(differing))


def accepts(mine: Opinion, claimed: str, *, backed: bool) -> bool:
    """Whether this node can vote for ``claimed`` given its own opinion (``spec/round.md`` §4.1)."""
    if claimed in {mine.code, CANNOT_TELL}:
        return True
    return backed and claimed in mine.possible


def more_than_a_third(stake_for: int, total: int) -> bool:
    """Whether at least one honest node is among ``stake_for``, if more than two thirds of ``total`` is honest."""
    return total > 0 and 3 * stake_for > total


def opening_rank(members: Sequence[str], me: str, number: int, attempt: int) -> int:
    """How many others should try before this node opens attempt ``attempt`` + 1: its proposer first, then in turn.

    Keeps four nodes from paying for the same transaction.
    """
    return (members.index(me) - (number + attempt + 1)) % len(members)
