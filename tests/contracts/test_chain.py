"""The chain port: the simulated chain and the real contracts keep the same rules, refusals first."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from holdfast.core import evm
from holdfast.core.rounds import Candidate
from holdfast.errors import ConflictError, HoldfastError, RefusedError, UndecidedError, UsageError
from holdfast.ports.chain import (
    AttemptOpened,
    CandidateRecorded,
    EpochAnnounced,
    Member,
    MemberSlashed,
    RoundFinalised,
    RoundsSettings,
    VoteCounted,
)
from tests.helpers.chains import (
    COIN,
    NEEDS_MACHINE,
    ORIGIN,
    SETTINGS,
    ChainWorld,
    EvmWorld,
    SimulatedWorld,
    next_candidate,
    propose,
    proposer_index,
    settle,
    sign_candidate,
    sign_finality,
    sign_vote,
    start_epoch,
    vote,
)

Scenario = Callable[[ChainWorld], Awaitable[None]]
Run = Callable[..., None]


@pytest.fixture(params=[SimulatedWorld, pytest.param(EvmWorld, marks=NEEDS_MACHINE)], ids=["simulated", "evm"])
def run(request: pytest.FixtureRequest) -> Run:
    """Run a scenario in a fresh world with an epoch of four equal members (unless ``epoch=False``)."""

    def runner(scenario: Scenario, *, epoch: bool = True, settings: RoundsSettings = SETTINGS) -> None:
        async def main() -> None:
            world: ChainWorld = request.param(settings=settings)
            await world.open()
            try:
                if epoch:
                    await start_epoch(world)
                await scenario(world)
            finally:
                await world.close()

        asyncio.run(main())

    return runner


@contextmanager
def refused(code: str, kind: type[HoldfastError] = RefusedError) -> Iterator[None]:
    with pytest.raises(kind) as caught:
        yield
    assert caught.value.code == code


# --- candidates -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "kind", "change"),
    [
        ("round.number", ConflictError, {"number": 2}),
        ("round.attempt", ConflictError, {"attempt": 1}),
        ("round.epoch", ConflictError, {"epoch": 2}),
        ("round.previous", RefusedError, {"previous": bytes([1]) * 32}),
        ("round.size", RefusedError, {"size": 0}),
    ],
)
def test_a_candidate_that_does_not_fit_the_open_attempt_is_refused(
    run: Run, code: str, kind: type[HoldfastError], change: dict[str, Any]
) -> None:
    async def scenario(world: ChainWorld) -> None:
        candidate = dataclasses.replace(await next_candidate(world), **change)
        index = await proposer_index(world, await next_candidate(world))
        with refused(code, kind):
            await world.client(index).submit_candidate(candidate, sign_candidate(world, index, candidate))

    run(scenario)


def test_a_candidate_before_the_first_epoch_is_refused(run: Run) -> None:
    async def scenario(world: ChainWorld) -> None:
        candidate = Candidate(ORIGIN, 1, 1, 0, bytes(32), 3, *[bytes([index]) * 32 for index in range(3)])
        with refused("round.epoch", ConflictError):
            await world.client().submit_candidate(candidate, sign_candidate(world, 0, candidate))
        with refused("epoch.none", UndecidedError):
            await world.client().current_epoch()
        with refused("epoch.unknown", UsageError):
            await world.client().epoch(1)

    run(scenario, epoch=False)


def test_a_member_out_of_turn_and_a_stranger_cannot_propose(run: Run) -> None:
    async def scenario(world: ChainWorld) -> None:
        candidate = await next_candidate(world)
        turn = await proposer_index(world, candidate)
        for index in {0, 1, 2, 3, 4} - {turn}:
            with refused("round.proposer"):
                await world.client(index).submit_candidate(candidate, sign_candidate(world, index, candidate))

    run(scenario)


def test_a_signature_over_another_content_is_not_the_proposers(run: Run) -> None:
    async def scenario(world: ChainWorld) -> None:
        candidate = await next_candidate(world)
        turn = await proposer_index(world, candidate)
        other = sign_candidate(world, turn, dataclasses.replace(candidate, size=99))
        with refused("round.proposer"):
            await world.client(turn).submit_candidate(candidate, other)
        with refused("round.signature"):
            await world.client(turn).submit_candidate(candidate, bytes(65))

    run(scenario)


def test_an_attempt_has_one_candidate(run: Run) -> None:
    async def scenario(world: ChainWorld) -> None:
        candidate = await propose(world)
        with refused("round.candidate", ConflictError):
            await propose(world, dataclasses.replace(candidate, size=candidate.size + 1))

    run(scenario)


def test_a_round_of_the_same_size_keeps_the_root(run: Run) -> None:
    async def scenario(world: ChainWorld) -> None:
        first = await settle(world)
        with refused("round.root"):
            await propose(world, await next_candidate(world, grow=0))
        with refused("round.size"):
            await propose(world, await next_candidate(world, grow=-1))
        await propose(world, await next_candidate(world, grow=0, root=first.root))

    run(scenario)


def test_anyone_may_relay_a_proposers_candidate(run: Run) -> None:
    async def scenario(world: ChainWorld) -> None:
        candidate = await next_candidate(world)
        turn = await proposer_index(world, candidate)
        await world.client(4).submit_candidate(candidate, sign_candidate(world, turn, candidate))
        shown = await world.client().open_round(ORIGIN)
        assert (shown.candidate, shown.voters) == (candidate, frozenset({world.signers[turn].address}))
        assert shown.stake_for == COIN

    run(scenario)


# --- votes ------------------------------------------------------------------------------------------------------------


def test_a_vote_without_a_candidate_for_another_round_or_content_is_refused(run: Run) -> None:
    async def scenario(world: ChainWorld) -> None:
        candidate = await next_candidate(world)
        with refused("round.candidate", ConflictError):
            await vote(world, candidate, [0])
        await propose(world, candidate)
        changes: list[tuple[str, dict[str, Any]]] = [
            ("round.number", {"number": 2}),
            ("round.attempt", {"attempt": 1}),
            ("round.content", {"size": 9}),
        ]
        for code, change in changes:
            with refused(code, ConflictError):
                await vote(world, dataclasses.replace(candidate, **change), [0])

    run(scenario)


def test_a_strangers_vote_refuses_the_call(run: Run) -> None:
    async def scenario(world: ChainWorld) -> None:
        candidate = await propose(world)
        with refused("round.member"):
            await vote(world, candidate, [0, 1, 4])
        shown = await world.client().open_round(ORIGIN)
        assert len(shown.voters) == 1

    run(scenario)


def test_a_malformed_or_malleated_signature_refuses_the_call(run: Run) -> None:
    async def scenario(world: ChainWorld) -> None:
        candidate = await propose(world)
        good = sign_candidate(world, 0, candidate)
        s = evm.SECP256K1_ORDER - int.from_bytes(good[32:64])
        twin = good[:32] + s.to_bytes(32) + bytes([55 - good[64]])
        for bad in (good[:64] + b"\x00", bytes(65), twin):
            with refused("round.signature"):
                await world.client().submit_votes(ORIGIN, 1, 0, candidate.content, [bad])

    run(scenario)


def test_a_vote_counts_once(run: Run) -> None:
    async def scenario(world: ChainWorld) -> None:
        candidate = await propose(world)
        turn = await proposer_index(world, candidate)
        voter = (turn + 1) % 4
        await vote(world, candidate, [turn, voter, voter])
        await vote(world, candidate, [voter])
        shown = await world.client().open_round(ORIGIN)
        assert shown.stake_for == 2 * COIN
        assert shown.voters == {world.signers[turn].address, world.signers[voter].address}
        assert await world.client().final_round(ORIGIN, 1) is None

    run(scenario)


def test_two_of_four_never_finalise_and_three_do(run: Run) -> None:
    async def scenario(world: ChainWorld) -> None:
        candidate = await propose(world)
        turn = await proposer_index(world, candidate)
        others = [index for index in range(4) if index != turn]
        await vote(world, candidate, others[:1])
        assert await world.client().final_round(ORIGIN, 1) is None
        await vote(world, candidate, others[1:2], relay=4)
        final = await world.client().final_round(ORIGIN, 1)
        assert final is not None
        assert (final.candidate, final.content, final.final_at) == (candidate, candidate.content, int(world.clock.time))
        shown = await world.client().open_round(ORIGIN)
        assert (shown.number, shown.attempt, shown.previous, shown.previous_size, shown.previous_root) == (
            2,
            0,
            candidate.content,
            candidate.size,
            candidate.root,
        )
        with refused("round.number", ConflictError):
            await vote(world, candidate, others[2:])

    run(scenario)


def test_exactly_two_thirds_of_the_stake_is_not_enough(run: Run) -> None:
    async def scenario(world: ChainWorld) -> None:
        await start_epoch(world, voters=(0, 1, 2))
        candidate = await propose(world)
        turn = await proposer_index(world, candidate)
        await vote(world, candidate, [(turn + 1) % 3])
        assert await world.client().final_round(ORIGIN, 1) is None
        await vote(world, candidate, [(turn + 2) % 3])
        assert await world.client().final_round(ORIGIN, 1) is not None

    run(scenario, epoch=False)


def test_votes_weigh_their_stake(run: Run) -> None:
    async def scenario(world: ChainWorld) -> None:
        for index, stake in enumerate((7, 1, 1, 1)):
            await world.client(index).deposit(world.signers[index].address, stake)
        members = [Member(world.signers[index].address, stake) for index, stake in enumerate((7, 1, 1, 1))]
        await world.client().announce_epoch(0, sorted(members, key=lambda each: each.address))
        candidate = await propose(world)
        if await world.client().final_round(ORIGIN, 1) is None:
            await vote(world, candidate, [0])
        assert await world.client().final_round(ORIGIN, 1) is not None

    run(scenario, epoch=False)


def test_a_lone_member_finalises_by_proposing(run: Run) -> None:
    async def scenario(world: ChainWorld) -> None:
        await start_epoch(world, voters=(2,))
        await propose(world)
        assert await world.client().final_round(ORIGIN, 1) is not None

    run(scenario, epoch=False)


def test_each_origin_has_its_own_rounds(run: Run) -> None:
    async def scenario(world: ChainWorld) -> None:
        await settle(world)
        await settle(world)
        other = await settle(world, origin="other.example/log")
        assert other.number == 1
        assert (await world.client().open_round(ORIGIN)).number == 3
        assert (await world.client().open_round("third.example/log")).number == 1

    run(scenario)


# --- attempts ---------------------------------------------------------------------------------------------------------


def test_the_next_attempt_waits_for_the_timeout(run: Run) -> None:
    async def scenario(world: ChainWorld) -> None:
        await propose(world)
        shown = await world.client().open_round(ORIGIN)
        assert shown.next_attempt_at == int(world.clock.time) + SETTINGS.timeout_s
        world.clock.time += SETTINGS.timeout_s - 1
        with refused("round.timeout"):
            await world.client().open_attempt(ORIGIN, 1, 1)
        for number, attempt, code in ((2, 1, "round.number"), (1, 0, "round.attempt"), (1, 2, "round.attempt")):
            with refused(code, ConflictError):
                await world.client().open_attempt(ORIGIN, number, attempt)

    run(scenario)


def test_a_recorded_candidate_restarts_the_clock(run: Run) -> None:
    async def scenario(world: ChainWorld) -> None:
        await settle(world)
        world.clock.time += SETTINGS.timeout_s - 1
        await propose(world)
        world.clock.time += 5
        with refused("round.timeout"):
            await world.client().open_attempt(ORIGIN, 2, 1)
        world.clock.time += 5
        await world.client().open_attempt(ORIGIN, 2, 1)

    run(scenario)


def test_after_the_timeout_the_next_proposer_takes_over(run: Run) -> None:
    async def scenario(world: ChainWorld) -> None:
        stalled = await propose(world)
        world.clock.time += SETTINGS.timeout_s
        await world.client(4).open_attempt(ORIGIN, 1, 1)
        shown = await world.client().open_round(ORIGIN)
        assert (shown.attempt, shown.candidate, shown.voters, shown.stake_for) == (1, None, frozenset(), 0)
        with refused("round.attempt", ConflictError):
            await vote(world, stalled, [0, 1, 2, 3])
        candidate = await settle(world)
        assert candidate.attempt == 1
        assert await proposer_index(world, candidate) == (await proposer_index(world, stalled) + 1) % 4
        final = await world.client().final_round(ORIGIN, 1)
        assert final is not None
        assert final.candidate == candidate

    run(scenario)


# --- slashing ---------------------------------------------------------------------------------------------------------


def test_what_is_no_offence_is_not_slashed(run: Run) -> None:
    async def scenario(world: ChainWorld) -> None:
        candidate = await next_candidate(world)
        one = sign_vote(world, 1, candidate)
        for other in (
            one,
            sign_vote(world, 2, candidate, bytes(32)),
            sign_vote(world, 1, dataclasses.replace(candidate, attempt=1), bytes(32)),
        ):
            with refused("round.no_offence"):
                await world.client().submit_double_vote(one, other)
        said = sign_finality(world, 1, ORIGIN, 1, 1, bytes(32))
        for another in (said, sign_finality(world, 2, ORIGIN, 1, 1, bytes([1]) * 32)):
            with refused("round.no_offence"):
                await world.client().submit_double_finality(said, another)
        assert not (await world.client().stake(world.signers[1].address)).slashed

    run(scenario)


def test_two_votes_in_one_attempt_burn_the_stake(run: Run) -> None:
    async def scenario(world: ChainWorld) -> None:
        candidate = await propose(world)
        turn = await proposer_index(world, candidate)
        offender = (turn + 1) % 4
        first, second = sign_vote(world, offender, candidate), sign_vote(world, offender, candidate, bytes(32))
        await world.client(4).submit_double_vote(first, second)
        address = world.signers[offender].address
        held = await world.client().stake(address)
        assert (held.bonded, held.unbonding, held.slashed) == (0, 0, True)
        with refused("round.slashed"):
            await world.client(4).submit_double_vote(first, second)
        await vote(world, candidate, [offender])
        assert address not in (await world.client().open_round(ORIGIN)).voters
        with refused("stake.slashed"):
            await world.client().deposit(address, 1)
        honest = [index for index in range(4) if index not in {turn, offender}]
        await vote(world, candidate, honest)
        assert await world.client().final_round(ORIGIN, 1) is not None

    run(scenario)


def test_two_finality_messages_in_one_round_burn_the_stake_even_while_unbonding(run: Run) -> None:
    async def scenario(world: ChainWorld) -> None:
        await world.client(4).deposit(world.signers[4].address, 5)
        await world.client(4).begin_unbonding(5)
        first = sign_finality(world, 4, ORIGIN, 1, 1, bytes(32))
        await world.client(0).submit_double_finality(first, sign_finality(world, 4, ORIGIN, 2, 1, bytes(32)))
        assert (await world.client().stake(world.signers[4].address)).unbonding == 0
        world.clock.time += SETTINGS.unbonding_s
        with refused("stake.none"):
            await world.client(4).withdraw()

    run(scenario)


def test_a_slashed_proposer_cannot_propose_and_its_turn_passes(run: Run) -> None:
    async def scenario(world: ChainWorld) -> None:
        candidate = await next_candidate(world)
        turn = await proposer_index(world, candidate)
        pair = sign_vote(world, turn, candidate), sign_vote(world, turn, candidate, bytes(32))
        await world.client().submit_double_vote(*pair)
        with refused("round.slashed"):
            await propose(world, candidate)
        await world.client().open_attempt(ORIGIN, 1, 1)
        await settle(world)
        assert await world.client().final_round(ORIGIN, 1) is not None

    run(scenario)


def test_evidence_against_somebody_without_stake_is_refused(run: Run) -> None:
    async def scenario(world: ChainWorld) -> None:
        candidate = await next_candidate(world)
        with refused("stake.none"):
            await world.client().submit_double_vote(
                sign_vote(world, 4, candidate), sign_vote(world, 4, candidate, bytes(32))
            )

    run(scenario)


# --- stake and epochs -------------------------------------------------------------------------------------------------


def test_stake_that_an_epoch_counts_on_cannot_be_unbonded(run: Run) -> None:
    async def scenario(world: ChainWorld) -> None:
        client, address = world.client(1), world.signers[1].address
        with refused("stake.committed"):
            await client.begin_unbonding(1)
        await client.deposit(address, 10)
        with refused("stake.committed"):
            await client.begin_unbonding(11)
        with refused("stake.amount"):
            await client.begin_unbonding(0)
        await client.begin_unbonding(10)
        held = await client.stake(address)
        assert (held.bonded, held.unbonding) == (COIN, 10)
        assert held.withdrawable_at == int(world.clock.time) + SETTINGS.unbonding_s

    run(scenario)


def test_unbonded_stake_waits_the_whole_delay(run: Run) -> None:
    async def scenario(world: ChainWorld) -> None:
        client, address = world.client(4), world.signers[4].address
        with refused("stake.none"):
            await client.withdraw()
        await world.client(0).deposit(address, 30)
        await client.begin_unbonding(10)
        world.clock.time += SETTINGS.unbonding_s - 1
        with refused("stake.locked"):
            await client.withdraw()
        await client.begin_unbonding(20)
        world.clock.time += SETTINGS.unbonding_s - 1
        with refused("stake.locked"):
            await client.withdraw()
        world.clock.time += 1
        await client.withdraw()
        held = await client.stake(address)
        assert (held.bonded, held.unbonding, held.withdrawable_at, held.slashed) == (0, 0, 0, False)

    run(scenario)


def test_only_the_address_itself_unbonds(run: Run) -> None:
    async def scenario(world: ChainWorld) -> None:
        await world.client(0).deposit(world.signers[4].address, 30)
        with refused("stake.committed"):
            await world.client(0).begin_unbonding(30)

    run(scenario)


def test_a_deposit_of_nothing_or_more_than_one_owns_is_refused(run: Run) -> None:
    async def scenario(world: ChainWorld) -> None:
        with refused("stake.amount"):
            await world.client(0).deposit(world.signers[0].address, 0)
        with refused("chain.funds"):
            await world.client(0).deposit(world.signers[0].address, 10**30)

    run(scenario)


def test_only_the_governor_announces_epochs(run: Run) -> None:
    async def scenario(world: ChainWorld) -> None:
        with refused("epoch.governor"):
            await world.client(1).announce_epoch(0, [Member(world.signers[1].address, 1)])

    run(scenario)


def test_a_malformed_epoch_is_refused(run: Run) -> None:
    async def scenario(world: ChainWorld) -> None:
        addresses = [signer.address for signer in world.signers]
        client = world.client()
        cases = [
            ("epoch.members", []),
            ("epoch.order", [Member(addresses[1], 1), Member(addresses[0], 1)]),
            ("epoch.order", [Member(addresses[0], 1), Member(addresses[0], 1)]),
            ("epoch.stake", [Member(addresses[0], 0)]),
            ("epoch.stake", [Member(addresses[0], COIN + 1)]),
            ("epoch.stake", [Member(addresses[4], 1)]),
        ]
        for code, members in cases:
            with refused(code):
                await client.announce_epoch(0, members)
        with refused("epoch.notice"):
            await client.announce_epoch(int(world.clock.time) - 1, [Member(addresses[0], 1)])
        with refused("epoch.far"):
            await client.announce_epoch(int(world.clock.time) + 31 * 86_400, [Member(addresses[0], 1)])

    run(scenario)


def test_an_epoch_is_announced_ahead_and_one_at_a_time(run: Run) -> None:
    async def scenario(world: ChainWorld) -> None:
        members = [Member(world.signers[0].address, COIN)]
        with refused("epoch.notice"):
            await world.client().announce_epoch(int(world.clock.time) + 99, members)
        await world.client().announce_epoch(0, members)
        with refused("epoch.pending"):
            await world.client().announce_epoch(0, members)
        assert (await world.client().current_epoch()).number == 1
        assert (await world.client().epoch(2)).starts_at == int(world.clock.time) + 100
        world.clock.time += 100
        assert (await world.client().current_epoch()).number == 2
        await world.client().announce_epoch(0, members)

    async def with_first(world: ChainWorld) -> None:
        await start_epoch(world)
        world.clock.time += 100
        await scenario(world)

    run(with_first, epoch=False, settings=dataclasses.replace(SETTINGS, notice_s=100))


def test_a_slashed_address_joins_no_epoch(run: Run) -> None:
    async def scenario(world: ChainWorld) -> None:
        candidate = await next_candidate(world)
        await world.client().submit_double_vote(
            sign_vote(world, 1, candidate), sign_vote(world, 1, candidate, bytes(32))
        )
        with refused("epoch.slashed"):
            await world.client().announce_epoch(0, [Member(world.signers[1].address, 1)])

    run(scenario)


def test_a_candidate_keeps_its_epoch_while_the_next_one_starts(run: Run) -> None:
    async def scenario(world: ChainWorld) -> None:
        candidate = await propose(world)
        await world.client().announce_epoch(0, [Member(world.signers[0].address, COIN)])
        assert (await world.client().current_epoch()).number == 2
        await vote(world, candidate, [0, 1, 2, 3])
        final = await world.client().final_round(ORIGIN, 1)
        assert final is not None
        assert final.candidate.epoch == 1
        with refused("round.epoch", ConflictError):
            await propose(world, dataclasses.replace(await next_candidate(world), epoch=1))

    run(scenario)


# --- depth, events, reorganisations -----------------------------------------------------------------------------------


def test_a_final_round_is_believed_behind_the_finality_depth_only(run: Run) -> None:
    async def scenario(world: ChainWorld) -> None:
        await settle(world)
        deep = world.client(1, depth=3)
        assert await world.client(1).final_round(ORIGIN, 1) is not None
        assert await deep.final_round(ORIGIN, 1) is None
        await world.mine(2)
        assert await deep.final_round(ORIGIN, 1) is None
        await world.mine()
        assert await deep.final_round(ORIGIN, 1) is not None
        assert await deep.final_round(ORIGIN, 2) is None

    run(scenario)


def test_events_come_in_order_once_and_behind_the_depth(run: Run) -> None:
    async def scenario(world: ChainWorld) -> None:
        client = world.client(0, depth=2)
        await settle(world)
        candidate = await next_candidate(world)
        world.clock.time += SETTINGS.timeout_s
        await world.client().open_attempt(ORIGIN, 2, 1)
        await world.client().submit_double_vote(
            sign_vote(world, 0, candidate), sign_vote(world, 0, candidate, bytes(32))
        )
        await world.mine(2)
        page = await client.events()
        kinds = [type(event) for event in page.events]
        assert kinds == [
            EpochAnnounced,
            CandidateRecorded,
            VoteCounted,
            VoteCounted,
            VoteCounted,
            VoteCounted,
            RoundFinalised,
            AttemptOpened,
            MemberSlashed,
        ]
        slashed = page.events[-1]
        assert isinstance(slashed, MemberSlashed)
        assert (slashed.offender, slashed.offence, slashed.amount) == (world.signers[0].address, "votes", COIN)
        assert (await client.events(page.cursor)).events == ()
        await propose(world)
        assert (await client.events(page.cursor)).events == ()
        await world.mine(2)
        assert [type(event) for event in (await client.events(page.cursor)).events] == [CandidateRecorded, VoteCounted]

    run(scenario)


def test_a_cursor_on_an_undone_block_is_noticed(run: Run) -> None:
    async def scenario(world: ChainWorld) -> None:
        await settle(world)
        page = await world.client().events()
        await world.reorganise(1, drop=True)
        with refused("chain.reorganised", ConflictError):
            await world.client().events(page.cursor)
        assert (await world.client().events()).events

    run(scenario)


def test_an_undone_round_is_open_again_and_can_settle_anew(run: Run) -> None:
    async def scenario(world: ChainWorld) -> None:
        candidate = await settle(world)
        await world.reorganise(2, drop=True)
        assert await world.client().final_round(ORIGIN, 1) is None
        assert (await world.client().open_round(ORIGIN)).candidate is None
        again = await settle(world)
        assert again == candidate

    run(scenario)


def test_undone_calls_that_come_back_settle_the_same_round(run: Run) -> None:
    async def scenario(world: ChainWorld) -> None:
        candidate = await propose(world)
        turn = await proposer_index(world, candidate)
        for index in range(4):
            if index != turn:
                await vote(world, candidate, [index], relay=index)
                if await world.client().final_round(ORIGIN, 1):
                    break
        await world.reorganise(1, drop=False)
        final = await world.client().final_round(ORIGIN, 1)
        assert final is not None
        assert final.candidate == candidate
        await settle(world)

    run(scenario)


def test_a_node_sends_on_after_its_calls_were_undone(run: Run) -> None:
    async def scenario(world: ChainWorld) -> None:
        for _ in range(3):
            await world.client(1).deposit(world.signers[1].address, 1)
        await world.reorganise(3, drop=True)
        await world.client(1).deposit(world.signers[1].address, 7)
        assert (await world.client().stake(world.signers[1].address)).bonded == COIN + 7

    run(scenario)


def test_settings_epoch_and_account_read_back(run: Run) -> None:
    async def scenario(world: ChainWorld) -> None:
        client = world.client(3)
        assert await client.settings() == SETTINGS
        epoch = await client.current_epoch()
        assert (epoch.number, epoch.total, epoch.addresses) == (
            1,
            4 * COIN,
            tuple(signer.address for signer in world.signers[:4]),
        )
        assert (client.account, client.domain) == (world.signers[3].address, world.domain)
        head = await client.head()
        assert len(head.hash) == 64
        assert head.time <= int(world.clock.time)
        await client.close()

    run(scenario)
