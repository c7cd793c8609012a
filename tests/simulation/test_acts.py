"""Executors over crashes at every point: no act happens twice or against the gate, and of each something is told."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from holdfast.adapters.storage_simulated import SimulatedDisk
from holdfast.agents.acting import MOST_AGAIN_S, NOT_KNOWN
from holdfast.ports.storage import Storage
from tests.helpers import crashes
from tests.helpers.acting import ActCase, ActingWorld, run_of, start

LIVES, ROUNDS, SPAN = 4, 4, 150
"""Lives of a story, rounds of a life, and points and writes within which a life ends."""
KINDS = ("keyed", "blind", "bytes")
STATES = ("CLEAR", "CLEAR", "CLEAR", "PROVISIONAL", "HOLD", "REJECTED")


def some_acts(chance: random.Random) -> list[ActCase]:
    return [
        ActCase(run_of(number), chance.choice(KINDS), chance.choice(STATES), ours=chance.random() < 0.85)
        for number in range(1, chance.randint(2, 7))
    ]


async def until_still(world: ActingWorld, disk: SimulatedDisk, storage: Storage, consumer: str = "first") -> None:
    """Rounds in a calm world until nothing is left to do."""
    running = start(world, disk, storage, consumer)
    for _ in range(6):
        await running.executor.round()
        world.clock.time += MOST_AGAIN_S + 1
    running.journal.close()


def check(world: ActingWorld, *, alone: bool = True) -> None:
    """What must hold of every story, once it has ended."""
    assert world.broken == []
    for run, case in world.cases.items():
        times, told = world.effects().get(run, 0), world.outcomes.get(run)
        assert times <= 1, f"{run} happened {times} times"
        if not case.ours:
            assert (times, told) == (0, None)
        if times:
            assert told is not None, f"{run} happened, and nobody tells"
            assert "result" in told or told["error"].startswith(NOT_KNOWN), f"{run} happened, and it is said that not"
        if told is not None and "result" in told:
            assert times == 1, f"it is told that {run} happened, and it did not"
        if case.may_be_done and case.ours and alone:
            assert told is not None, f"{run} is let through, and nothing came of it"
            assert case.over
    chains = Counter({world.begun_with(run): 0 for run in world.cases})
    for run, times in world.effects().items():
        chains[world.begun_with(run)] += times
    assert max(chains.values(), default=0) <= 1, "an act and one in its place both happened"


@pytest.mark.parametrize("seed", crashes.seeds())
def test_an_act_happens_once_or_is_told_not_to_be_known_whatever_ends_its_executor(seed: int) -> None:
    story = crashes.Story(seed)
    world = ActingWorld(some_acts(story.chance), story.chance)

    async def life(storage: Storage) -> None:
        running = start(world, story.disk, storage, at_once=story.chance.choice((1, 3)))
        for _ in range(ROUNDS):
            await running.executor.round()
            world.change()

    for _ in range(LIVES):
        story.live(life, at=story.chance.randint(1, SPAN))
    world.calm()
    story.live(lambda storage: until_still(world, story.disk, storage), crash=False)
    check(world)


@pytest.mark.parametrize("seed", crashes.seeds())
def test_two_executors_and_a_panel_that_lies_make_nothing_happen_twice(seed: int) -> None:
    story, other = crashes.Story(seed), SimulatedDisk(seed)
    world = ActingWorld(some_acts(story.chance), story.chance, lies=True)

    async def life(storage: Storage) -> None:
        both = start(world, story.disk, storage), start(world, story.disk, other.mount(), "second")
        for _ in range(ROUNDS):
            await asyncio.gather(*(running.executor.round() for running in both))

    for _ in range(LIVES):
        story.live(life, at=story.chance.randint(1, SPAN))
        other.crash("kill")
    world.calm()

    async def last(storage: Storage) -> None:
        for _ in range(2):
            await until_still(world, story.disk, storage)
            await until_still(world, story.disk, other.mount(), "second")

    story.live(last, crash=False)
    check(world, alone=False)
    for run, case in world.cases.items():
        if case.may_be_done and case.ours:
            assert run in world.outcomes, f"{run} is let through, and nothing came of it"


@pytest.mark.parametrize("seed", crashes.seeds())
def test_of_an_act_and_those_in_its_place_one_is_begun_whatever_a_gateway_forgets(seed: int) -> None:
    """The gateway lets everything be reserved, and the panel hands out what it must not, denied acts as CLEAR among
    it: the journal alone knows that of acts with one first act only one may be begun."""
    story = crashes.Story(seed)
    world = ActingWorld(some_acts(story.chance), story.chance, lies=True)
    world.forgets = True

    async def life(storage: Storage) -> None:
        running = start(world, story.disk, storage)
        for _ in range(ROUNDS):
            for run in world.replaced:
                world.cases[run].state = story.chance.choice(("CLEAR", "REJECTED"))
            await running.executor.round()

    for _ in range(LIVES):
        story.live(life, at=story.chance.randint(1, SPAN))
    happened = Counter(world.begun_with(run) for run, times in world.effects().items() if times)
    assert max(happened.values(), default=0) <= 1
    assert all(times <= 1 for times in world.effects().values())
    assert world.broken == []


def test_an_amended_act_is_carried_out_and_the_denied_one_never() -> None:
    world, disk = ActingWorld([ActCase(run_of(1), "keyed")]), SimulatedDisk(1)
    other = world.amend(world.cases[run_of(1)], "CLEAR")
    assert other is not None
    again = world.amend(other, "PROVISIONAL")
    assert again is not None
    asyncio.run(until_still(world, disk, disk.mount()))
    assert world.effects() == {}
    again.state = "CLEAR"
    asyncio.run(until_still(world, disk, disk.mount()))
    assert (world.effects(), [*world.outcomes]) == ({again.run: 1}, [again.run])
    check(world)
