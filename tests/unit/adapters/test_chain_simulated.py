"""The simulated chain's own powers: silence, lost answers, reorganisations from a seed."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from holdfast.errors import UnavailableError, UsageError
from tests.helpers.chains import COIN, ORIGIN, SimulatedWorld, propose, settle, start_epoch, vote


def run(scenario: Callable[[SimulatedWorld], Awaitable[None]]) -> None:
    async def main() -> None:
        world = SimulatedWorld()
        await world.open()
        await start_epoch(world)
        await scenario(world)

    asyncio.run(main())


async def unavailable(call: Awaitable[object]) -> str:
    with pytest.raises(UnavailableError) as caught:
        await call
    return caught.value.code


def test_a_silent_chain_answers_nobody_and_a_cut_off_account_hears_nothing() -> None:
    async def scenario(world: SimulatedWorld) -> None:
        one, other = world.client(0), world.client(1)
        world.chain.silent_accounts.add(one.account)
        assert await unavailable(one.head()) == "chain.unreachable"
        assert await unavailable(one.deposit(one.account, 1)) == "chain.unreachable"
        await other.head()
        world.chain.silent = True
        assert await unavailable(other.open_round(ORIGIN)) == "chain.unreachable"
        world.chain.silent = False
        world.chain.silent_accounts.clear()
        await one.head()

    run(scenario)


def test_an_answer_can_be_lost_after_the_call_was_mined() -> None:
    async def scenario(world: SimulatedWorld) -> None:
        client = world.client(0)
        world.chain.lost_answers = 1.0
        assert await unavailable(client.deposit(client.account, 7)) == "chain.timeout"
        assert (await client.stake(client.account)).bonded == COIN + 7

    run(scenario)


def test_more_blocks_than_there_are_cannot_be_undone() -> None:
    async def scenario(world: SimulatedWorld) -> None:
        for depth in (0, world.chain.head.number + 1):
            with pytest.raises(UsageError) as caught:
                world.chain.reorganise(depth)
            assert caught.value.code == "chain.depth"

    run(scenario)


def test_a_reorganisation_makes_a_longer_branch_with_other_hashes() -> None:
    async def scenario(world: SimulatedWorld) -> None:
        await settle(world)
        before, kept = world.chain.head, world.chain.block_hash(2)
        world.chain.reorganise(2)
        after = world.chain.head
        assert after.number > before.number
        assert world.chain.block_hash(before.number) != before.hash
        assert world.chain.block_hash(2) == kept
        assert world.chain.block_hash(10**6) is None

    run(scenario)


def test_calls_that_no_longer_fit_disappear_in_a_reorganisation() -> None:
    async def scenario(world: SimulatedWorld) -> None:
        candidate = await propose(world)
        await vote(world, candidate, [0, 1, 2, 3])
        for seed in range(8):
            world.chain._random.seed(seed)
            world.chain.reorganise(2)
            shown = await world.client().open_round(ORIGIN)
            assert shown.number in {1, 2}
            if shown.number == 1 and shown.candidate is None:
                await propose(world, candidate)
            if (await world.client().open_round(ORIGIN)).number == 1:
                await vote(world, candidate, [0, 1, 2, 3])

    run(scenario)


def test_the_same_seed_tells_the_same_story() -> None:
    async def story() -> list[str | None]:
        world = SimulatedWorld()
        await world.open()
        await start_epoch(world)
        await settle(world)
        world.chain.reorganise(3, lose=0.5)
        return [world.chain.block_hash(number) for number in range(world.chain.head.number + 1)]

    assert asyncio.run(story()) == asyncio.run(story())
