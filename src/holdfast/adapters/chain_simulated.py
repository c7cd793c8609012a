"""A chain in memory: the rules of ``contracts/Rounds.vy`` in Python, with reorganisations and outages on request.

For simulations and tests; no node picks it. One :class:`SimulatedChain` is the world; each node gets its own view of it
with :meth:`SimulatedChain.client`. Everything follows from the seed, the clock and the order of calls.

Faithful: every rule, reason code, event, and the order in which the contract checks; tests/contracts runs the same
suite against this and against the real contract. Not simulated: fees, gas limits and mempools; a call is mined at once.
"""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from holdfast.core import evm, rounds
from holdfast.core.encoding import sha256_hex
from holdfast.core.rounds import NO_PREVIOUS, Candidate, ChainDomain, FinalityMessage, Vote, origin_id
from holdfast.errors import ConflictError, HoldfastError, UnavailableError, UndecidedError, UsageError
from holdfast.ports.chain import (
    AttemptOpened,
    CandidateRecorded,
    ChainEvent,
    Cursor,
    Epoch,
    EpochAnnounced,
    EventPage,
    FinalRound,
    Head,
    Inclusion,
    Member,
    MemberSlashed,
    OpenRound,
    RoundFinalised,
    RoundsSettings,
    Stake,
    VoteCounted,
    refusal,
)
from holdfast.ports.clock import Clock

SIMULATED_CONTRACT = "0x" + "5c" * 20
"""Address of the simulated Rounds contract."""
SIMULATED_CHAIN_ID = 31337
"""Chain id customary for development chains."""
MAX_AHEAD_S = 30 * 86_400
"""How far ahead an epoch may start (``spec/round.md`` §3(2))."""


class _Reverted(Exception):  # noqa: N818 (the chain's own word)
    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def _require(condition: bool, reason: str) -> None:
    if not condition:
        raise _Reverted(reason)


@dataclass
class _Origin:
    number: int = 0
    content: bytes = NO_PREVIOUS
    size: int = 0
    root: bytes = bytes(32)
    attempt: int = 0
    timer_from: int = 0
    candidate: Candidate | None = None
    voters: dict[str, int] = field(default_factory=dict)


@dataclass
class _Bond:
    bonded: int = 0
    unbonding: int = 0
    release_at: int = 0
    slashed: bool = False


@dataclass
class _State:
    """What the contracts hold. Every method is one transaction and either happens whole or raises."""

    domain: ChainDomain
    governor: str
    settings: RoundsSettings
    balances: dict[str, int]
    block: int = 0
    now: int = 0
    origins: dict[str, _Origin] = field(default_factory=dict)
    finals: dict[tuple[str, int], FinalRound] = field(default_factory=dict)
    epochs: list[Epoch] = field(default_factory=list)
    bonds: dict[str, _Bond] = field(default_factory=dict)
    events: list[ChainEvent] = field(default_factory=list)

    def snapshot(self) -> _State:
        """A copy that shares only values nobody changes."""
        return dataclasses.replace(
            self,
            balances=dict(self.balances),
            origins={name: dataclasses.replace(at, voters=dict(at.voters)) for name, at in self.origins.items()},
            finals=dict(self.finals),
            epochs=list(self.epochs),
            bonds={address: dataclasses.replace(bond) for address, bond in self.bonds.items()},
            events=list(self.events),
        )

    def current_epoch(self, now: int) -> int:
        return max((epoch.number for epoch in self.epochs if epoch.starts_at <= now), default=0)

    def _bond(self, address: str) -> _Bond:
        return self.bonds.setdefault(address, _Bond())

    def _count(self, origin: str, at: _Origin, signer: str) -> None:
        candidate = at.candidate
        if candidate is None:
            raise _Reverted("round.candidate")
        stakes = self.epochs[candidate.epoch - 1].stakes
        _require(signer in stakes, "round.member")
        if signer in at.voters or self._bond(signer).slashed:
            return
        at.voters[signer] = stakes[signer]
        name = origin_id(origin)
        self.events.append(
            VoteCounted(self.block, name, candidate.number, candidate.attempt, signer, candidate.content)
        )

    def _settle(self, origin: str, at: _Origin) -> None:
        candidate = at.candidate
        if candidate is None:
            raise _Reverted("round.candidate")
        if not rounds.quorum(sum(at.voters.values()), self.epochs[candidate.epoch - 1].total):
            return
        self.finals[origin, candidate.number] = FinalRound(candidate, self.block, self.now)
        self.origins[origin] = _Origin(candidate.number, candidate.content, candidate.size, candidate.root, 0, self.now)
        self.events.append(
            RoundFinalised(
                self.block,
                origin_id(origin),
                candidate.epoch,
                candidate.number,
                candidate.attempt,
                candidate.content,
            )
        )

    def _recover(self, digest: bytes, signature: bytes) -> str:
        try:
            return evm.recover(digest, signature)
        except HoldfastError:
            raise _Reverted("round.signature") from None

    def propose(self, candidate: Candidate, signature: bytes) -> None:
        at = self.origins.setdefault(candidate.origin, _Origin())
        _require(candidate.number == at.number + 1, "round.number")
        _require(candidate.attempt == at.attempt, "round.attempt")
        _require(at.candidate is None, "round.candidate")
        _require(candidate.epoch == self.current_epoch(self.now), "round.epoch")
        _require(candidate.previous == at.content, "round.previous")
        _require(candidate.size >= max(at.size, 1), "round.size")
        _require(candidate.size > at.size or candidate.root == at.root, "round.root")
        digest = rounds.vote_digest(
            self.domain, candidate.origin, candidate.epoch, candidate.number, candidate.attempt, candidate.content
        )
        signer = self._recover(digest, signature)
        members = self.epochs[candidate.epoch - 1].addresses
        _require(signer == rounds.proposer(members, candidate.number, candidate.attempt), "round.proposer")
        _require(not self._bond(signer).slashed, "round.slashed")
        at.candidate, at.voters, at.timer_from = candidate, {}, self.now
        self.events.append(
            CandidateRecorded(
                self.block,
                origin_id(candidate.origin),
                candidate.epoch,
                candidate.number,
                candidate.attempt,
                candidate.content,
                signer,
            )
        )
        self._count(candidate.origin, at, signer)
        self._settle(candidate.origin, at)

    def vote(self, origin: str, number: int, attempt: int, content: bytes, signatures: Sequence[bytes]) -> None:
        at = self.origins.setdefault(origin, _Origin())
        _require(number == at.number + 1, "round.number")
        _require(attempt == at.attempt, "round.attempt")
        if at.candidate is None:
            raise _Reverted("round.candidate")
        _require(content == at.candidate.content, "round.content")
        digest = rounds.vote_digest(self.domain, origin, at.candidate.epoch, number, attempt, content)
        for signature in signatures:
            self._count(origin, at, self._recover(digest, signature))
        self._settle(origin, at)

    def open_attempt(self, origin: str, number: int, attempt: int) -> None:
        at = self.origins.setdefault(origin, _Origin())
        _require(number == at.number + 1, "round.number")
        _require(attempt == at.attempt + 1, "round.attempt")
        _require(self.now >= at.timer_from + self.settings.timeout_s, "round.timeout")
        at.attempt, at.candidate, at.voters, at.timer_from = attempt, None, {}, self.now
        self.events.append(AttemptOpened(self.block, origin_id(origin), number, attempt))

    def _slash(self, offender: str, offence: str) -> None:
        bond = self._bond(offender)
        _require(not bond.slashed, "round.slashed")
        amount = bond.bonded + bond.unbonding
        _require(amount > 0, "stake.none")
        self.bonds[offender] = _Bond(slashed=True)
        self.events.append(MemberSlashed(self.block, offender, offence, amount))

    def slash_votes(self, first: Vote, second: Vote) -> None:
        _require(first.content != second.content, "round.no_offence")
        signer = self._recover(first.digest(self.domain), first.signature)
        _require(signer == self._recover(second.digest(self.domain), second.signature), "round.no_offence")
        self._slash(signer, "votes")

    def slash_finality(self, first: FinalityMessage, second: FinalityMessage) -> None:
        _require((first.epoch, first.content) != (second.epoch, second.content), "round.no_offence")
        signer = self._recover(first.digest(self.domain), first.signature)
        _require(signer == self._recover(second.digest(self.domain), second.signature), "round.no_offence")
        self._slash(signer, "finality")

    def deposit(self, sender: str, address: str, amount: int) -> None:
        _require(self.balances.get(sender, 0) >= amount, "chain.funds")
        bond = self._bond(address)
        _require(amount > 0, "stake.amount")
        _require(not bond.slashed, "stake.slashed")
        self.balances[sender] -= amount
        bond.bonded += amount

    def _committed(self, address: str) -> int:
        current = self.current_epoch(self.now)
        return max((epoch.stakes.get(address, 0) for epoch in self.epochs if epoch.number >= current), default=0)

    def begin_unbonding(self, sender: str, amount: int) -> None:
        bond = self._bond(sender)
        _require(amount > 0, "stake.amount")
        _require(amount <= bond.bonded - self._committed(sender), "stake.committed")
        bond.bonded -= amount
        bond.unbonding += amount
        bond.release_at = self.now + self.settings.unbonding_s

    def withdraw(self, sender: str) -> None:
        bond = self._bond(sender)
        _require(bond.unbonding > 0, "stake.none")
        _require(self.now >= bond.release_at, "stake.locked")
        self.balances[sender] = self.balances.get(sender, 0) + bond.unbonding
        bond.unbonding = bond.release_at = 0

    def announce(self, sender: str, starts_at: int, members: Sequence[Member]) -> None:
        _require(sender == self.governor, "epoch.governor")
        starts_at = starts_at or self.now + self.settings.notice_s
        _require(not self.epochs or self.epochs[-1].starts_at <= self.now, "epoch.pending")
        _require(starts_at >= self.now + self.settings.notice_s, "epoch.notice")
        _require(starts_at <= self.now + self.settings.notice_s + MAX_AHEAD_S, "epoch.far")
        _require(0 < len(members) <= rounds.MAX_MEMBERS, "epoch.members")
        addresses = [member.address for member in members]
        for at, member in enumerate(members):
            _require(at == 0 or addresses[at - 1] < member.address, "epoch.order")
            _require(not self._bond(member.address).slashed, "epoch.slashed")
            _require(0 < member.stake <= self._bond(member.address).bonded, "epoch.stake")
        self.epochs.append(Epoch(len(self.epochs) + 1, starts_at, tuple(members)))
        self.events.append(EpochAnnounced(self.block, len(self.epochs), starts_at))


_Transaction = Callable[[_State], None]


@dataclass(frozen=True)
class _Block:
    number: int
    hash: str
    time: int
    transactions: tuple[_Transaction, ...]


class SimulatedChain:
    """The world: one chain, mined whenever somebody submits. Not thread-safe; one event loop."""

    def __init__(
        self,
        clock: Clock,
        *,
        seed: int = 0,
        governor: str = evm.ZERO_ADDRESS,
        balances: Mapping[str, int] | None = None,
        settings: RoundsSettings | None = None,
        domain: ChainDomain | None = None,
    ) -> None:
        self.domain = domain or ChainDomain(SIMULATED_CHAIN_ID, SIMULATED_CONTRACT)
        self.silent = False
        """While true every call of every client raises ``chain.unreachable``."""
        self.silent_accounts: set[str] = set()
        """Accounts whose calls raise ``chain.unreachable``."""
        self.lost_answers = 0.0
        """Chance that a mined call still raises ``chain.timeout``."""
        self._clock = clock
        self._random = random.Random(seed)  # noqa: S311 (a simulation repeats itself)
        self._genesis = _State(
            self.domain, governor, settings or RoundsSettings(10, 3600, 0), dict(balances or {}), now=self._now()
        )
        self._state = self._genesis.snapshot()
        self._blocks = [_Block(0, sha256_hex(b"%d" % seed), self._now(), ())]
        self._forks = 0

    def client(self, account: str, *, finality_depth: int = 0) -> SimulatedChainClient:
        """A node's view: its paying account and how many blocks it wants on top of one it believes."""
        return SimulatedChainClient(self, account, finality_depth)

    def _now(self) -> int:
        return int(self._clock.now().timestamp())

    def _next_time(self) -> int:
        return max(self._now(), self._blocks[-1].time)

    def mine(self, count: int = 1) -> None:
        """Put ``count`` empty blocks on top."""
        for _ in range(count):
            self._append(())

    def _append(self, transactions: tuple[_Transaction, ...]) -> _Block:
        parent = self._blocks[-1]
        text = f"{parent.hash}/{self._forks}/{parent.number + 1}".encode()
        block = _Block(parent.number + 1, sha256_hex(text), self._next_time(), transactions)
        self._blocks.append(block)
        self._state.block, self._state.now = block.number, block.time
        return block

    def submit(self, transaction: _Transaction) -> Inclusion:
        """Mine one call, or raise what the contract says. A refused call leaves no block."""
        attempt = self._state.snapshot()
        attempt.block, attempt.now = self._blocks[-1].number + 1, self._next_time()
        try:
            transaction(attempt)
        except _Reverted as error:
            raise refusal(error.reason) from None
        self._state = attempt
        block = self._append((transaction,))
        if self._random.random() < self.lost_answers:
            raise UnavailableError("chain.timeout", "no receipt in time", hint="read the round before trying again")
        return Inclusion(sha256_hex(block.hash.encode()), block.number)

    def reorganise(self, depth: int, *, lose: float = 0.0) -> None:
        """Undo the newest ``depth`` blocks and mine their calls again in seeded order, losing some by chance.

        The new branch is at least one block longer. Calls that the contract now refuses disappear.
        """
        if not 0 < depth < len(self._blocks):
            raise UsageError("chain.depth", f"cannot undo {depth} of {len(self._blocks) - 1} blocks")
        undone = [call for block in self._blocks[-depth:] for call in block.transactions]
        kept, self._blocks, self._state = self._blocks[1:-depth], self._blocks[:1], self._genesis.snapshot()
        for block in kept:
            self._state.block, self._state.now = block.number, block.time
            for call in block.transactions:
                call(self._state)
            self._blocks.append(block)
        self._forks += 1
        self._random.shuffle(undone)
        self.mine()
        for call in undone:
            if self._random.random() < lose:
                continue
            before = self._state.snapshot()
            self._append((call,))
            try:
                call(self._state)
            except _Reverted:
                self._blocks.pop()
                self._state = before
        while len(self._blocks) < len(kept) + depth + 2:
            self.mine()

    @property
    def head(self) -> Head:
        """The newest block, outage or not."""
        block = self._blocks[-1]
        return Head(block.number, block.hash, block.time)

    @property
    def state(self) -> _State:
        """What the contracts hold at the newest block."""
        return self._state

    def view_time(self) -> int:
        """The time a read sees: that of the block that would be mined now."""
        return self._next_time()

    def block_hash(self, number: int) -> str | None:
        """Hash of a block on the present branch."""
        return self._blocks[number].hash if 0 <= number < len(self._blocks) else None

    def lost(self, account: str) -> bool:
        """Whether this account cannot reach the chain now."""
        return self.silent or account in self.silent_accounts


class SimulatedChainClient:
    """One node's view of a :class:`SimulatedChain`; implements ``ports.chain.Chain``."""

    def __init__(self, world: SimulatedChain, account: str, finality_depth: int) -> None:
        self._world = world
        self._account = evm.parse_address(account)
        self._depth = finality_depth

    @property
    def domain(self) -> ChainDomain:
        """Chain id and contract."""
        return self._world.domain

    @property
    def account(self) -> str:
        """The paying address."""
        return self._account

    async def _reach(self) -> _State:
        await asyncio.sleep(0)
        if self._world.lost(self._account):
            raise UnavailableError("chain.unreachable", "the chain does not answer", hint="it is tried again")
        return self._world.state

    async def _submit(self, transaction: _Transaction) -> Inclusion:
        await self._reach()
        return self._world.submit(transaction)

    async def head(self) -> Head:
        await self._reach()
        return self._world.head

    async def settings(self) -> RoundsSettings:
        return (await self._reach()).settings

    async def current_epoch(self) -> Epoch:
        state = await self._reach()
        number = state.current_epoch(self._world.view_time())
        if number == 0:
            raise UndecidedError("epoch.none", "no epoch has started", hint="announce an epoch")
        return state.epochs[number - 1]

    async def epoch(self, number: int) -> Epoch:
        state = await self._reach()
        if not 1 <= number <= len(state.epochs):
            raise UsageError("epoch.unknown", f"epoch {number} was never announced")
        return state.epochs[number - 1]

    async def open_round(self, origin: str) -> OpenRound:
        state = await self._reach()
        at = state.origins.get(rounds.parse_origin(origin), _Origin())
        return OpenRound(
            origin,
            at.number + 1,
            at.attempt,
            state.current_epoch(self._world.view_time()),
            at.content,
            at.size,
            at.root,
            at.candidate,
            frozenset(at.voters),
            sum(at.voters.values()),
            at.timer_from + state.settings.timeout_s,
        )

    async def final_round(self, origin: str, number: int) -> FinalRound | None:
        state = await self._reach()
        final = state.finals.get((origin, number))
        return final if final is not None and final.block <= self._world.head.number - self._depth else None

    async def events(self, since: Cursor | None = None) -> EventPage:
        state = await self._reach()
        start = Cursor(-1, "") if since is None else since
        if since is not None and self._world.block_hash(since.block) != since.hash:
            raise ConflictError("chain.reorganised", f"block {since.block} was undone", hint="read from the start")
        upto = self._world.head.number - self._depth
        if upto < max(start.block, 0):
            return EventPage((), since or Cursor(0, self._world.block_hash(0) or ""))
        found = tuple(event for event in state.events if start.block < event.block <= upto)
        return EventPage(found, Cursor(upto, self._world.block_hash(upto) or ""))

    async def submit_candidate(self, candidate: Candidate, signature: bytes) -> Inclusion:
        return await self._submit(lambda state: state.propose(candidate, signature))

    async def submit_votes(
        self, origin: str, number: int, attempt: int, content: bytes, signatures: Sequence[bytes]
    ) -> Inclusion:
        relayed = tuple(signatures)
        return await self._submit(lambda state: state.vote(origin, number, attempt, content, relayed))

    async def open_attempt(self, origin: str, number: int, attempt: int) -> Inclusion:
        return await self._submit(lambda state: state.open_attempt(origin, number, attempt))

    async def submit_double_vote(self, first: Vote, second: Vote) -> Inclusion:
        rounds.verify_double_vote(self.domain, first, second)
        return await self._submit(lambda state: state.slash_votes(first, second))

    async def submit_double_finality(self, first: FinalityMessage, second: FinalityMessage) -> Inclusion:
        rounds.verify_double_finality(self.domain, first, second)
        return await self._submit(lambda state: state.slash_finality(first, second))

    async def stake(self, address: str) -> Stake:
        bond = (await self._reach()).bonds.get(address, _Bond())
        return Stake(bond.bonded, bond.unbonding, bond.release_at, bond.slashed)

    async def deposit(self, address: str, amount: int) -> Inclusion:
        return await self._submit(lambda state: state.deposit(self._account, address, amount))

    async def begin_unbonding(self, amount: int) -> Inclusion:
        return await self._submit(lambda state: state.begin_unbonding(self._account, amount))

    async def withdraw(self) -> Inclusion:
        return await self._submit(lambda state: state.withdraw(self._account))

    async def announce_epoch(self, starts_at: int, members: Sequence[Member]) -> Inclusion:
        listed = tuple(members)
        return await self._submit(lambda state: state.announce(self._account, starts_at, listed))

    async def close(self) -> None:
        """Nothing to let go of."""
