"""The settlement chain as a full node needs it: rounds, votes, epochs, stake, slashing (``spec/round.md``).

Rules for every implementation:

* A ``submit``-like call returns when the transaction is in a block, and raises when the contract said no. A block can
  still be undone; what may be built on is what :meth:`Chain.final_round` and :meth:`Chain.events` return: both wait
  for the finality depth.
* The contract's reasons are the error codes (``round.number``, ``stake.locked``, …). Reasons that mean "somebody else
  was first" come as :class:`ConflictError`: read the state again and go on.
* Silence of the chain is :class:`UnavailableError` (``chain.unreachable``, ``chain.timeout``); after ``chain.timeout``
  the transaction may still be mined, so the caller reads before trying again. Every call is safe to repeat.
* Addresses are lower-case ``0x`` hex, digests 32 raw bytes, amounts base units of the chain's coin, times unix seconds.

Not covered: which origins a node follows, when it dares to sign (``nodes/full``), and what a verifier trusts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from holdfast.core.rounds import Candidate, ChainDomain, FinalityMessage, Vote
from holdfast.errors import ConflictError, RefusedError

CONFLICT_REASONS = frozenset(
    {"round.number", "round.attempt", "round.candidate", "round.content", "round.epoch", "registry.decided"}
)
"""Reasons of the contracts that mean: the state moved on since you looked."""
REASONS = ("round.", "stake.", "epoch.", "registry.", "heartbeat.", "signature.", "ask.", "alpha.", "flow.")
"""How every reason of the contracts begins."""


def refusal(reason: str) -> RefusedError:
    """The error for a reason the contract gave; an unknown or missing reason becomes ``chain.reverted``."""
    if reason in CONFLICT_REASONS:
        return ConflictError(reason, "the chain has moved on", hint="read its state again")
    if reason.startswith(REASONS):
        return RefusedError(reason, "the contract refused the call")
    if reason == "chain.funds":
        return RefusedError(reason, "the account cannot pay for the call", hint="send it coin")
    return RefusedError("chain.reverted", f"the call reverted: {reason or 'no reason given'}")


@dataclass(frozen=True, slots=True)
class Head:
    """The newest block."""

    number: int
    hash: str
    """64 lower-case hex digits."""
    time: int
    """The block's timestamp, unix seconds."""


@dataclass(frozen=True, slots=True)
class Member:
    """One full node in an epoch."""

    address: str
    stake: int


@dataclass(frozen=True, slots=True)
class Epoch:
    """Who votes with how much, from when. Members are sorted by address."""

    number: int
    starts_at: int
    members: tuple[Member, ...]

    @property
    def addresses(self) -> tuple[str, ...]:
        """Member addresses in the order of the proposer rotation."""
        return tuple(member.address for member in self.members)

    @property
    def stakes(self) -> dict[str, int]:
        """Address to stake."""
        return {member.address: member.stake for member in self.members}

    @property
    def total(self) -> int:
        """All stake of the epoch."""
        return sum(member.stake for member in self.members)


@dataclass(frozen=True, slots=True)
class RoundsSettings:
    """What a Rounds contract was deployed with, in seconds."""

    timeout_s: int
    """How long an attempt has before anyone may open the next."""
    unbonding_s: int
    """How long unbonded stake stays slashable."""
    notice_s: int
    """How long before its start an epoch is announced."""


@dataclass(frozen=True, slots=True)
class OpenRound:
    """The round of one origin that is not final yet, as the newest block shows it."""

    origin: str
    number: int
    attempt: int
    epoch: int
    """The current epoch (0: none has started); a recorded candidate names its own."""
    previous: bytes
    previous_size: int
    previous_root: bytes
    """Root of the round before; 32 zero bytes before round 1."""
    candidate: Candidate | None
    """What the proposer of this attempt published, if it did."""
    voters: frozenset[str]
    """Members whose vote for the candidate is counted, the proposer among them."""
    stake_for: int
    next_attempt_at: int
    """From this time (unix seconds, by the chain's clock) anyone may open the next attempt."""


@dataclass(frozen=True, slots=True)
class FinalRound:
    """A round that more than 2/3 of its epoch's stake voted for."""

    candidate: Candidate
    block: int
    """Number of the block that finalised it."""
    final_at: int
    """That block's timestamp, unix seconds."""

    @property
    def content(self) -> bytes:
        """The content digest, 32 bytes."""
        return self.candidate.content


@dataclass(frozen=True, slots=True)
class Stake:
    """What an address has at risk."""

    bonded: int
    unbonding: int
    withdrawable_at: int
    """When ``unbonding`` can be withdrawn, unix seconds; 0 if nothing is unbonding."""
    slashed: bool


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far events were read: a block and its hash, so that a deeper reorganisation is noticed."""

    block: int
    hash: str


@dataclass(frozen=True, slots=True)
class CandidateRecorded:
    """A proposer published a candidate for the open attempt."""

    block: int
    origin_id: bytes
    epoch: int
    number: int
    attempt: int
    content: bytes
    proposer: str


@dataclass(frozen=True, slots=True)
class VoteCounted:
    """A member's vote was counted."""

    block: int
    origin_id: bytes
    number: int
    attempt: int
    voter: str
    content: bytes


@dataclass(frozen=True, slots=True)
class AttemptOpened:
    """A timeout passed and the next attempt began."""

    block: int
    origin_id: bytes
    number: int
    attempt: int


@dataclass(frozen=True, slots=True)
class RoundFinalised:
    """More than 2/3 voted for this content."""

    block: int
    origin_id: bytes
    epoch: int
    number: int
    attempt: int
    content: bytes


@dataclass(frozen=True, slots=True)
class MemberSlashed:
    """A member signed two things where one is allowed. ``offence`` is ``votes`` or ``finality``."""

    block: int
    offender: str
    offence: str
    amount: int


@dataclass(frozen=True, slots=True)
class EpochAnnounced:
    """The governor announced an epoch."""

    block: int
    epoch: int
    starts_at: int


ChainEvent: TypeAlias = (
    CandidateRecorded | VoteCounted | AttemptOpened | RoundFinalised | MemberSlashed | EpochAnnounced
)


@dataclass(frozen=True, slots=True)
class EventPage:
    """Events in chain order and where to continue."""

    events: tuple[ChainEvent, ...]
    cursor: Cursor


@dataclass(frozen=True, slots=True)
class Inclusion:
    """Where a transaction landed. The block can still be undone."""

    transaction: str
    """64 lower-case hex digits."""
    block: int


class Chain(Protocol):
    """One Rounds contract on one chain, seen by one account."""

    @property
    def domain(self) -> ChainDomain:
        """Chain id and contract: what signatures are for."""
        ...

    @property
    def account(self) -> str:
        """The address that pays for this node's transactions."""
        ...

    async def head(self) -> Head:
        """The newest block."""
        ...

    async def settings(self) -> RoundsSettings:
        """The contract's timeout, unbonding delay and notice."""
        ...

    async def current_epoch(self) -> Epoch:
        """The epoch a candidate must name now; raises ``epoch.none`` (:class:`UndecidedError`) before the first."""
        ...

    async def epoch(self, number: int) -> Epoch:
        """An announced epoch, past, current or next; raises ``epoch.unknown`` (:class:`UsageError`)."""
        ...

    async def open_round(self, origin: str) -> OpenRound:
        """The open round of an origin. An origin nobody has used is at round 1, attempt 0."""
        ...

    async def final_round(self, origin: str, number: int) -> FinalRound | None:
        """A round that is final *and* has the finality depth; ``None`` while it has not."""
        ...

    async def events(self, since: Cursor | None = None) -> EventPage:
        """Events after ``since`` (``None``: from the first block) in blocks that have the finality depth.

        Raises ``chain.reorganised`` (:class:`ConflictError`) if the block at ``since`` was undone: read from the start.
        """
        ...

    async def submit_candidate(self, candidate: Candidate, signature: bytes) -> Inclusion:
        """Publish a candidate with its proposer's vote signature (65 bytes), which counts as the first vote."""
        ...

    async def submit_votes(
        self, origin: str, number: int, attempt: int, content: bytes, signatures: Sequence[bytes]
    ) -> Inclusion:
        """Relay votes for the recorded candidate; votes already counted are skipped, a stranger's is refused."""
        ...

    async def open_attempt(self, origin: str, number: int, attempt: int) -> Inclusion:
        """Open ``attempt`` after the one before it timed out; raises ``round.timeout`` when it is too early."""
        ...

    async def submit_double_vote(self, first: Vote, second: Vote) -> Inclusion:
        """Slash the signer of two votes in one attempt."""
        ...

    async def submit_double_finality(self, first: FinalityMessage, second: FinalityMessage) -> Inclusion:
        """Slash the signer of two finality messages in one round."""
        ...

    async def stake(self, address: str) -> Stake:
        """What an address has bonded and unbonding."""
        ...

    async def deposit(self, address: str, amount: int) -> Inclusion:
        """Bond base units of the chain's coin for an address, paid by this account."""
        ...

    async def begin_unbonding(self, amount: int) -> Inclusion:
        """Take this account's stake out of what epochs can count on; it stays slashable for the unbonding delay."""
        ...

    async def withdraw(self) -> Inclusion:
        """Pay out this account's unbonded stake after the delay."""
        ...

    async def announce_epoch(self, starts_at: int, members: Sequence[Member]) -> Inclusion:
        """Announce the next epoch (the contract's governor only). ``starts_at`` 0 means as soon as notice allows."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
