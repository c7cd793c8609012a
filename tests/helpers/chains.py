"""Chains for tests: the simulated one and the real contracts on the development chain, driven by one hand-moved clock.

A :class:`ChainWorld` hides which of the two it is. Both are mined on demand; time stands still until :meth:`advance`.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import pytest

from holdfast.adapters import vm_pyrevm
from holdfast.adapters.chain_evm import Deployment, EvmChain, deploy
from holdfast.adapters.chain_simulated import SimulatedChain
from holdfast.adapters.evm_rpc import EvmConnection, SendSettings
from holdfast.adapters.signer_secp256k1 import Secp256k1Signer
from holdfast.adapters.storage_simulated import SimulatedDisk
from holdfast.adapters.wal import GroupCommit, WriteAheadLog
from holdfast.core import canonical, rounds
from holdfast.core.encoding import sha256
from holdfast.core.rounds import Candidate, ChainDomain, FinalityMessage, Vote
from holdfast.nodes.chain.rpc import JsonRpc
from holdfast.nodes.chain.service import ChainRules, DevelopmentChain
from holdfast.ports.chain import Chain, Member, RoundsSettings
from holdfast.ports.vm import GenesisAccount

NEEDS_MACHINE = pytest.mark.skipif(not vm_pyrevm.available(), reason="no pyrevm wheel for this platform")
"""For tests that execute contracts."""
START = 1_790_000_000
"""Unix seconds at which worlds begin."""
COIN = 10**18
FUNDS = 1_000 * COIN
ORIGIN = "holdfast.local/log/1"
SEGMENT_BYTES = 256 * 1024
"""Small, so that simulated disks stay quick."""
SETTINGS = RoundsSettings(timeout_s=10, unbonding_s=3600, notice_s=0)


class ManualClock:
    """Time that stands still until a test moves it."""

    def __init__(self, start: float = START) -> None:
        self.time = float(start)

    def now(self) -> dt.datetime:
        return dt.datetime.fromtimestamp(self.time, dt.UTC)

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += max(0.0, seconds)


def signers(count: int, first: int = 1) -> list[Secp256k1Signer]:
    """Keys made from small numbers, sorted by address as epochs list them."""
    made = [Secp256k1Signer(bytes([number]) * 32) for number in range(first, first + count)]
    return sorted(made, key=lambda signer: signer.address)


class ChainWorld(Protocol):
    """One chain with everything a test may do to it."""

    clock: ManualClock
    signers: list[Secp256k1Signer]
    domain: ChainDomain

    async def open(self) -> None:
        """Bring it up with the contracts in place; the first signer is the governor."""
        ...

    def client(self, index: int = 0, *, depth: int = 0) -> Chain:
        """The port as the signer with this index sees it."""
        ...

    async def mine(self, count: int = 1) -> None:
        """Empty blocks."""
        ...

    async def reorganise(self, depth: int, *, drop: bool) -> None:
        """Undo blocks; their calls come back unless dropped. The new branch is longer."""
        ...

    async def close(self) -> None:
        """Take it down."""
        ...


class SimulatedWorld:
    """The chain in memory."""

    def __init__(self, count: int = 5, settings: RoundsSettings = SETTINGS) -> None:
        self.clock = ManualClock()
        self.signers = signers(count)
        balances = {signer.address: FUNDS for signer in self.signers}
        self.chain = SimulatedChain(self.clock, governor=self.signers[0].address, balances=balances, settings=settings)
        self.domain = self.chain.domain

    async def open(self) -> None:
        self.chain.mine()

    def client(self, index: int = 0, *, depth: int = 0) -> Chain:
        return self.chain.client(self.signers[index].address, finality_depth=depth)

    async def mine(self, count: int = 1) -> None:
        self.chain.mine(count)

    async def reorganise(self, depth: int, *, drop: bool) -> None:
        self.chain.reorganise(depth, lose=1.0 if drop else 0.0)

    async def close(self) -> None:
        return


class DirectProvider:
    """Stands in for HTTP: requests go straight to the JSON-RPC of a chain in this process.

    ``fault`` may raise for a method before it is asked, and ``garble`` may replace an answer.
    """

    def __init__(self, rpc: JsonRpc) -> None:
        self.rpc = rpc
        self.fault: Callable[[str], None] = lambda _: None
        self.garble: Callable[[str, Any], Any] = lambda _, answer: answer
        self.asked: list[str] = []

    async def make_request(self, method: str, params: Any) -> Any:
        self.asked.append(method)
        self.fault(method)
        body = canonical.encode({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        return self.garble(method, await self.rpc.answer(body))

    async def disconnect(self) -> None:
        return


def development_chain(
    clock: ManualClock, funded: Sequence[str], disk: SimulatedDisk | None = None, **rules: Any
) -> DevelopmentChain:
    """The development chain on a simulated disk; the same disk again replays its blocks."""
    log = WriteAheadLog((disk or SimulatedDisk()).mount(), "blocks", SEGMENT_BYTES)
    return DevelopmentChain(
        ChainRules(31337, **rules),
        {address: GenesisAccount(FUNDS) for address in funded},
        machine=vm_pyrevm.PyrevmMachine,
        log=log,
        committer=GroupCommit(log, mode="inline"),
        clock=clock,
    )


class EvmWorld:
    """The contracts on the development chain, without sockets."""

    def __init__(self, count: int = 5, settings: RoundsSettings = SETTINGS) -> None:
        self.clock = ManualClock()
        self.signers = signers(count)
        self.settings = settings
        self.disk = SimulatedDisk()
        self.chain = development_chain(self.clock, [signer.address for signer in self.signers], self.disk)
        self.provider = DirectProvider(JsonRpc(self.chain, test_hooks=True))
        self.connection = EvmConnection("memory:", provider=self.provider)
        self.deployment: Deployment
        self.domain: ChainDomain
        self._clients: dict[tuple[int, int], EvmChain] = {}

    async def open(self) -> None:
        await self.chain.start()
        self.deployment = await deploy(self.connection, self.signers[0], self.settings)
        self.domain = self.deployment.rounds

    def client(self, index: int = 0, *, depth: int = 0) -> Chain:
        if (index, depth) not in self._clients:
            self._clients[index, depth] = EvmChain(
                self.connection,
                self.domain,
                self.signers[index],
                finality_depth=depth,
                first_block=self.deployment.block,
                send=SendSettings(poll_s=0.001, poll_max_s=0.01, receipt_timeout_s=5),
            )
        return self._clients[index, depth]

    async def mine(self, count: int = 1) -> None:
        for _ in range(count):
            await self.chain.mine()

    async def reorganise(self, depth: int, *, drop: bool) -> None:
        height = self.chain.head.number
        await self.chain.reorganise(depth, drop=drop)
        while self.chain.head.number <= height:
            await self.chain.mine()

    async def close(self) -> None:
        await self.chain.stop()


def in_evm_world(scenario: Callable[[EvmWorld], Awaitable[None]]) -> None:
    """Play a scenario on a chain of its own."""

    async def main() -> None:
        world = EvmWorld()
        await world.open()
        try:
            await scenario(world)
        finally:
            await world.close()

    asyncio.run(main())


async def start_epoch(world: ChainWorld, voters: Sequence[int] = (0, 1, 2, 3), stake: int = COIN) -> None:
    """Bond equal stakes and announce an epoch of these signers."""
    for index in voters:
        await world.client(index).deposit(world.signers[index].address, stake)
    members = sorted((Member(world.signers[index].address, stake) for index in voters), key=lambda each: each.address)
    await world.client(0).announce_epoch(0, members)


def sign_candidate(world: ChainWorld, index: int, candidate: Candidate) -> bytes:
    """A member's vote signature over a candidate (a proposer's too)."""
    return sign_vote(world, index, candidate).signature


def sign_vote(world: ChainWorld, index: int, candidate: Candidate, content: bytes | None = None) -> Vote:
    """A member's vote, for the candidate or for another content in its attempt."""
    chosen = candidate.content if content is None else content
    about = (candidate.origin, candidate.epoch, candidate.number, candidate.attempt, chosen)
    return Vote(*about, world.signers[index].sign(rounds.vote_digest(world.domain, *about)))


def sign_finality(
    world: ChainWorld, index: int, origin: str, epoch: int, number: int, content: bytes
) -> FinalityMessage:
    """A member's finality message."""
    about = (origin, epoch, number, content)
    return FinalityMessage(*about, world.signers[index].sign(rounds.finality_digest(world.domain, *about)))


async def next_candidate(world: ChainWorld, origin: str = ORIGIN, *, grow: int = 3, **changes: Any) -> Candidate:
    """A well-formed candidate for the open attempt, with made-up roots."""
    shown = await world.client().open_round(origin)
    epoch = await world.client().current_epoch()
    fields: dict[str, Any] = {
        "origin": origin,
        "epoch": epoch.number,
        "number": shown.number,
        "attempt": shown.attempt,
        "previous": shown.previous,
        "size": shown.previous_size + grow,
        "root": sha256(b"root %d" % shown.number),
        "verdict_root": sha256(b"verdicts %d" % shown.number),
        "blob_id": sha256(b"blob %d" % shown.number),
    }
    return Candidate(**{**fields, **changes})


async def proposer_index(world: ChainWorld, candidate: Candidate) -> int:
    """Which signer proposes in this attempt."""
    epoch = await world.client().epoch(candidate.epoch)
    address = rounds.proposer(epoch.addresses, candidate.number, candidate.attempt)
    return [signer.address for signer in world.signers].index(address)


async def propose(world: ChainWorld, candidate: Candidate | None = None, origin: str = ORIGIN) -> Candidate:
    """Publish the next candidate by its proposer."""
    chosen = candidate or await next_candidate(world, origin)
    index = await proposer_index(world, chosen)
    await world.client(index).submit_candidate(chosen, sign_candidate(world, index, chosen))
    return chosen


async def vote(world: ChainWorld, candidate: Candidate, voters: Sequence[int], relay: int = 0) -> None:
    """Send votes for a recorded candidate in one call."""
    signatures = [sign_candidate(world, index, candidate) for index in voters]
    await world.client(relay).submit_votes(
        candidate.origin, candidate.number, candidate.attempt, candidate.content, signatures
    )


async def settle(world: ChainWorld, origin: str = ORIGIN, voters: Sequence[int] = (0, 1, 2, 3)) -> Candidate:
    """One whole round."""
    candidate = await propose(world, origin=origin)
    await vote(world, candidate, voters)
    return candidate
