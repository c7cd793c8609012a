"""Full nodes whose disks lose power or whose processes are killed at any write, again and again.

Each schedule is a seed. It decides when which node crashes, what its disk keeps, when it comes back, when a call to the
chain is lost on its way or on its way back, and when the chain reorganises; in every fourth schedule so deep that
rounds are undone on which nodes have spoken. After every step the audit holds every signature that ever left any life
of any node:

* no node votes for two contents in one attempt,
* no node makes two finality messages in one round,
* no node cosigns a smaller or another tree than before,
* at the end everything is final, once, with the right verdicts, and nobody was slashed.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from holdfast.adapters.storage_simulated import CrashKind, SimulatedCrash
from holdfast.errors import UnavailableError
from tests.helpers import crashes
from tests.helpers.full_network import ORIGIN, Network, Seat

TURNS = 25


class Schedule:
    """One seeded life of a network."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.network = Network(seed=seed, depth=2)
        self.back_at: dict[str, int] = {}
        self.crashes = 0
        self.deep = seed % 4 == 3
        self.kind = False

    def trouble(self, seat: Seat) -> Callable[[str], None]:
        """What may happen to a node just when a signature has left it."""

        def happen(when: str) -> None:
            drawn = 1.0 if self.kind else self.chance.random()
            if drawn < 0.08:
                seat.disk.crash(self.chance.choice(["power", "kill"]))
                raise SimulatedCrash
            if drawn < 0.2:
                raise UnavailableError("chain.timeout" if when == "after" else "chain.unreachable", "lost")

        return happen

    async def run(self) -> None:
        network, chance = self.network, self.chance
        await network.open()
        for seat in network.seats:
            seat.on_the_wire = self.trouble(seat)
        network.chain.lost_answers = chance.choice([0.0, 0.0, 0.2])
        for turn in range(TURNS):
            if chance.random() < 0.5:
                network.answer(chance.randint(1, 3))
            if chance.random() < 0.25:
                victim = chance.choice(network.seats)
                if victim.node is not None:
                    victim.disk.crash_after(chance.randint(1, 30), chance.choice(["power", "kill"]))
            deepest = min(network.chain.head.number - 6, 12 if self.deep else 2)
            if chance.random() < 0.15 and deepest > 0:
                network.chain.reorganise(chance.randint(1, deepest), lose=0.5)
            for seat in chance.sample(network.seats, len(network.seats)):
                await self.turn_of(seat, turn)
            network.clock.advance(chance.choice([0.2, 1.0, 3.0]))
            network.chain.mine()
        await self.recover()
        self.check()
        assert self.crashes > 0, "nothing crashed: the schedule showed nothing"

    async def turn_of(self, seat: Seat, turn: int) -> None:
        """One turn of a node, or of its operator who starts it again."""
        try:
            if seat.node is None:
                if turn >= self.back_at.get(seat.name, 0):
                    await self.network.start(seat)
                return
            await self.network.step(seat)
            if self.chance.random() < 0.3:
                await self.network.cosign(seat)
            self.network.listen_to(seat)
        except SimulatedCrash:
            self.crashes += 1
            seat.node = None
            self.back_at[seat.name] = turn + self.chance.randint(1, 6)

    async def recover(self) -> None:
        """The world becomes kind; everything must catch up."""
        network, self.kind = self.network, True
        network.chain.lost_answers = 0.0
        for turn in range(TURNS, TURNS + 300):
            for seat in network.seats:
                await self.turn_of(seat, turn + 1000)
            network.clock.advance(1.0)
            network.chain.mine()
            finals = network.final_rounds()
            covered = finals[-1].candidate.size if finals else 0
            if self.deep and covered == len(network.log.entries_held):
                return
            if all(seat.node is not None for seat in network.seats) and network.all_final():
                return
        raise AssertionError([seat.node and seat.node.status()["rounds"] for seat in network.seats])

    def check(self) -> None:
        network = self.network
        finals = [final.candidate for final in network.final_rounds()]
        assert [final.number for final in finals] == list(range(1, len(finals) + 1))
        assert [final.previous for final in finals[1:]] == [final.content for final in finals[:-1]]
        for seat in network.seats:
            assert network.chain.state.bonds[seat.address].slashed is False
        if self.deep:
            return  # nodes that spoke on a round that was undone stay silent about its successor
        assert network.codes() == dict.fromkeys(range(len(network.log.entries_held)), "ok")
        for seat in network.seats:
            network.listen_to(seat)
            ledger = seat.up.journal.origins[ORIGIN].ledger
            assert ledger.root_at(finals[-1].size) == finals[-1].root if finals else True
        for (signer, number), (epoch, content) in network.audit.finality.items():
            final = finals[number - 1]
            assert (final.epoch, final.content) == (epoch, content), f"{signer} spoke of another round {number}"


@pytest.mark.parametrize("seed", crashes.seeds())
def test_no_crash_makes_a_node_speak_twice_and_everything_becomes_final_once(seed):
    asyncio.run(Schedule(seed).run())


class OneCrash(Schedule):
    """The same network in a kind world, where one node crashes at its ``at``-th write and nothing else goes wrong."""

    def __init__(self, at: int, kind: CrashKind) -> None:
        super().__init__(seed=1)
        self.deep, self.kind = False, True
        self.at, self.how = at, kind

    async def run(self) -> None:
        network = self.network
        await network.open()
        network.seats[0].disk.crash_after(self.at, self.how)
        for turn in range(12):
            if turn in (0, 3, 6):
                network.answer(2)
            for seat in network.seats:
                await self.turn_of(seat, turn)
            network.clock.advance(1.0)
            network.chain.mine()
        await self.recover()
        self.check()


@pytest.mark.parametrize("kind", ["power", "kill"])
def test_a_crash_at_every_single_write_of_one_node(kind: CrashKind) -> None:
    """One fixed story of three rounds, with one node cut at its first, second, … write until it is not cut any more.
    Few schedules take steps."""
    step = crashes.stride(240)
    at, cuts = 1, 0
    while True:
        story = OneCrash(at, kind)
        asyncio.run(story.run())
        if story.crashes == 0:
            break
        at, cuts = at + step, cuts + 1
    assert at > 20, "the story has fewer writes than checking, voting, finality and cosigning need"
    assert cuts == (at - 1) // step
