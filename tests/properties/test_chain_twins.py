"""The simulated chain answers as the contract does: random calls to both, every answer and the state compared.

What differs on purpose: block numbers, hashes, fees.
"""

import asyncio
import dataclasses
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.core.rounds import Candidate
from holdfast.errors import HoldfastError
from holdfast.ports.chain import Member
from tests.helpers.chains import (
    COIN,
    NEEDS_MACHINE,
    ORIGIN,
    SETTINGS,
    ChainWorld,
    EvmWorld,
    SimulatedWorld,
    next_candidate,
    proposer_index,
    sign_candidate,
    sign_finality,
    sign_vote,
)

pytestmark = NEEDS_MACHINE
NODES = st.integers(0, 4)
AMOUNTS = st.sampled_from([0, 1, 5, COIN // 2, COIN])
CONTENTS = st.sampled_from([bytes(32), bytes([1]) * 32])
STEPS = st.one_of(
    st.tuples(st.just("propose"), st.booleans(), st.sampled_from([{}, {}, {"size": 0}, {"attempt": 9}, {"epoch": 9}])),
    st.tuples(st.just("vote"), st.lists(NODES, max_size=5)),
    st.tuples(st.just("open"), st.integers(0, 2)),
    st.tuples(st.just("wait"), st.sampled_from([1, SETTINGS.timeout_s, SETTINGS.unbonding_s])),
    st.tuples(st.just("deposit"), NODES, NODES, AMOUNTS),
    st.tuples(st.just("unbond"), NODES, AMOUNTS),
    st.tuples(st.just("withdraw"), NODES),
    st.tuples(st.just("epoch"), st.sets(NODES, max_size=5), AMOUNTS),
    st.tuples(st.just("double vote"), NODES, NODES, CONTENTS, CONTENTS),
    st.tuples(st.just("double finality"), NODES, st.integers(1, 2), CONTENTS, CONTENTS),
)


async def step(world: ChainWorld, action: tuple[Any, ...]) -> str:
    """Do one thing; ``ok`` or the code of the refusal."""
    name, *arguments = action
    client = world.client(0)
    try:
        match name, arguments:
            case "propose", [in_turn, change]:
                candidate = dataclasses.replace(await next_candidate(world), **change)
                turn = await proposer_index(world, await next_candidate(world))
                index = turn if in_turn else (turn + 1) % 5
                await world.client(4).submit_candidate(candidate, sign_candidate(world, index, candidate))
            case "vote", [voters]:
                shown = await client.open_round(ORIGIN)
                candidate = shown.candidate or Candidate(ORIGIN, 1, 1, 0, bytes(32), 1, *[bytes(32)] * 3)
                signatures = [sign_candidate(world, index, candidate) for index in voters]
                await client.submit_votes(ORIGIN, shown.number, shown.attempt, candidate.content, signatures)
            case "open", [ahead]:
                shown = await client.open_round(ORIGIN)
                await client.open_attempt(ORIGIN, shown.number, shown.attempt + ahead)
            case "wait", [seconds]:
                world.clock.time += seconds
            case "deposit", [payer, index, amount]:
                await world.client(payer).deposit(world.signers[index].address, amount)
            case "unbond", [index, amount]:
                await world.client(index).begin_unbonding(amount)
            case "withdraw", [index]:
                await world.client(index).withdraw()
            case "epoch", [indices, stake]:
                listed = [Member(world.signers[index].address, stake) for index in sorted(indices)]
                await client.announce_epoch(0, listed)
            case "double vote", [first, second, one, other]:
                candidate = Candidate(ORIGIN, 1, 1, 0, bytes(32), 1, *[bytes(32)] * 3)
                votes = sign_vote(world, first, candidate, one), sign_vote(world, second, candidate, other)
                await client.submit_double_vote(*votes)
            case "double finality", [index, epoch, one, other]:
                said = (
                    sign_finality(world, index, ORIGIN, 1, 1, one),
                    sign_finality(world, index, ORIGIN, epoch, 1, other),
                )
                await client.submit_double_finality(*said)
            case _:
                raise AssertionError(name)
    except HoldfastError as error:
        return error.code
    return "ok"


async def state(world: ChainWorld) -> list[Any]:
    """Everything that must agree."""
    client = world.client(0)
    shown = await client.open_round(ORIGIN)
    finals = [await client.final_round(ORIGIN, number) for number in range(1, shown.number + 1)]
    stakes = [await client.stake(signer.address) for signer in world.signers]
    page = await client.events()
    events = [dataclasses.replace(event, block=0) for event in page.events]
    return [shown, [final and (final.candidate, final.final_at) for final in finals], stakes, events]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, min_size=5, max_size=25))
def test_both_chains_answer_alike(steps: list[tuple[Any, ...]]) -> None:
    async def main() -> None:
        simulated, evm = SimulatedWorld(), EvmWorld()
        await simulated.open()
        await evm.open()
        try:
            opening: list[tuple[Any, ...]] = [("deposit", index, index, COIN) for index in range(4)]
            for action in [*opening, ("epoch", {0, 1, 2, 3}, COIN // 2), *steps]:
                answers = await step(simulated, action), await step(evm, action)
                assert answers[0] == answers[1], (action, answers)
                simulated_round = await simulated.client().open_round(ORIGIN)
                assert simulated_round == await evm.client().open_round(ORIGIN), action
            assert await state(simulated) == await state(evm)
        finally:
            await evm.close()

    asyncio.run(main())
