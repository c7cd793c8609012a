"""Captures on one chain: what a reorganisation, a full pool, a silent endpoint and a foreign sender do to them."""

import asyncio
import contextlib
import dataclasses

import pytest

from holdfast.adapters.payment_contracts import CAPTURES, TEST_TOKEN
from holdfast.adapters.storage_simulated import SimulatedDisk
from holdfast.core import evm, x402
from holdfast.core.captures import capture_call, selector
from holdfast.errors import UnavailableError
from holdfast.nodes.facilitator.network import MAX_ATTEMPTS, MISSING_S
from tests.helpers.chains import NEEDS_MACHINE, ManualClock
from tests.helpers.facilitator import EACH, Facilitator, PaymentWorld, request, silence
from tests.helpers.payments import (
    APPROVE,
    CHAIN_ID,
    FACILITATOR,
    OWNER,
    PAYEE,
    START,
    eip3009,
    payer,
    permit2,
    requirements,
    verified,
)

pytestmark = NEEDS_MACHINE
UPTO = {"scheme": x402.UPTO}
ALICE, BOB = payer(0), payer(1)


def within(scenario, **options):
    async def main():
        world = PaymentWorld()
        await world.open()
        try:
            await scenario(world, Facilitator(world, **options))
        finally:
            await world.close()

    asyncio.run(main())


async def take(facilitator, *payloads):
    return [await facilitator.service.settle(request(payload)) for payload in payloads]


async def undo(world, depth, *, drop):
    height = world.chain.head.number
    await world.chain.reorganise(depth, drop=drop)
    world.chain.set_automine(automine=False)
    while world.chain.head.number <= height:
        await world.chain.mine()


# --- what is not captured ---------------------------------------------------------------------------------------------


def test_a_payment_that_lost_its_money_fails_and_does_not_stop_the_others():
    async def scenario(world, facilitator):
        jobs = await take(
            facilitator,
            eip3009(requirements(1), ALICE),
            eip3009(requirements(EACH), BOB),
            eip3009(requirements(2), ALICE, 1),
        )
        transfer = selector("transfer(address,uint256)") + x402.address_word(OWNER.address) + evm.word(1)
        await world.send(BOB, TEST_TOKEN, transfer)
        await world.mine()
        await facilitator.finish()
        assert [job.status for job in jobs] == ["succeeded", "failed", "succeeded"]
        assert jobs[1].reason == "invalid_exact_evm_insufficient_balance"
        assert jobs[1].result.transaction == ""
        assert await world.balance(PAYEE) == 3

    within(scenario)


@pytest.mark.parametrize("captures", [CAPTURES, None])
def test_an_authorization_that_was_used_elsewhere_fails(captures):
    async def scenario(world, facilitator):
        payload = eip3009(requirements(), ALICE)
        jobs = await take(facilitator, payload, eip3009(requirements(), BOB))
        call = capture_call(verified(payload))
        await world.send(OWNER, call.to, call.data)
        await world.mine()
        await facilitator.finish()
        assert (jobs[0].status, jobs[0].reason) == ("failed", "invalid_exact_evm_nonce_already_used")
        assert jobs[1].status == "succeeded"

    within(scenario, captures=captures)


@pytest.mark.parametrize("payload", [eip3009(requirements(), ALICE), permit2(requirements(), ALICE)])
def test_what_could_not_be_captured_in_its_time_fails_without_a_transaction(payload):
    async def scenario(world, facilitator):
        jobs = await take(facilitator, payload, eip3009(requirements(), BOB, valid_before=START + 10_000))
        world.clock.time += 601
        await facilitator.finish()
        assert jobs[0].status == "failed"
        assert jobs[0].reason in ("invalid_exact_evm_payload_authorization_valid_before", "permit2_deadline_expired")
        assert jobs[1].status == "succeeded"
        assert await world.used() == 1

    within(scenario)


@pytest.mark.parametrize("captures", [CAPTURES, None])
def test_what_the_chain_takes_later_waits_and_keeps_nobody_waiting(captures):
    """A chain's clock is behind by up to a block: what is valid by ours is early by its."""

    async def scenario(world, facilitator):
        world.clock.time += 30
        jobs = await take(
            facilitator,
            eip3009(requirements(), ALICE, valid_after=START + 25, valid_before=START + 900),
            permit2(requirements(), ALICE, valid_after=START + 25, deadline=START + 900),
            eip3009(requirements(), BOB),
        )
        world.clock.time -= 20
        for _ in range(6):
            await facilitator.turn()
        assert [job.status for job in jobs] == ["queued", "queued", "succeeded"]
        world.clock.time += 20
        await facilitator.finish()
        assert [job.status for job in jobs] == ["succeeded"] * 3

    within(scenario, captures=captures)


def test_an_allowance_that_was_taken_back_costs_no_gas():
    async def scenario(world, facilitator):
        [job] = await take(facilitator, permit2(requirements(), ALICE))
        await world.send(ALICE, TEST_TOKEN, APPROVE + x402.address_word(x402.PERMIT2) + evm.word(0))
        await world.mine()
        await facilitator.finish()
        assert (job.status, job.reason) == ("failed", "permit2_allowance_required")
        assert await world.used() == 0

    within(scenario)


def test_a_token_that_says_nothing_was_moved_is_believed_over_the_transaction():
    async def scenario(_, facilitator):
        [job] = await take(facilitator, eip3009(requirements(asset=CAPTURES), ALICE))
        await facilitator.finish()
        assert job.status == "failed"
        assert job.reason != "transaction_failed"

    within(scenario)


def test_a_token_without_code_is_no_payment():
    async def scenario(_, facilitator):
        jobs = await take(facilitator, eip3009(requirements(asset=PAYEE), ALICE), eip3009(requirements(), BOB))
        await facilitator.finish()
        assert [(job.status, job.reason) for job in jobs] == [
            ("failed", "asset_not_deployed_contract"),
            ("succeeded", None),
        ]

    within(scenario)


def test_a_capture_that_keeps_failing_in_its_block_is_given_up():
    """An endpoint that lies about what would work: the gas of a few transactions is all that it costs."""

    async def scenario(world, facilitator):
        [job] = await take(facilitator, permit2(requirements(), ALICE))
        await world.send(ALICE, TEST_TOKEN, APPROVE + x402.address_word(x402.PERMIT2) + evm.word(0))
        await world.mine()
        world.rpc.garble = lambda method, real: {"result": "0x"} if method == "eth_call" else real
        await facilitator.finish()
        assert (job.status, job.reason) == ("failed", "transaction_failed")
        assert await world.used() == MAX_ATTEMPTS
        assert await world.balance(PAYEE) == 0

    within(scenario)


# --- what is captured -------------------------------------------------------------------------------------------------


def test_many_payments_are_one_transaction():
    async def scenario(world, facilitator):
        jobs = await take(facilitator, *(eip3009(requirements(1), payer(number % 5), number) for number in range(30)))
        await facilitator.finish()
        assert {job.status for job in jobs} == {"succeeded"}
        assert (await world.balance(PAYEE), await world.used()) == (30, 1)

    within(scenario)


def test_a_batch_is_not_larger_than_it_may_be():
    async def scenario(world, facilitator):
        await take(facilitator, *(eip3009(requirements(1), ALICE, number) for number in range(10)))
        await facilitator.finish()
        assert (await world.balance(PAYEE), await world.used()) == (10, 3)

    within(scenario, batch=4)


def test_without_a_contract_for_batches_each_payment_is_a_transaction():
    async def scenario(world, facilitator):
        await take(facilitator, *(eip3009(requirements(1), ALICE, number) for number in range(3)))
        await facilitator.finish()
        assert (await world.balance(PAYEE), await world.used()) == (3, 3)

    within(scenario, captures=None)


def test_no_more_transactions_fly_than_may():
    async def scenario(_, facilitator):
        await take(facilitator, *(permit2(requirements(1), ALICE, number) for number in range(5)))
        await facilitator.network.step()
        assert len(facilitator.network.flights) == 2
        await facilitator.finish()

    within(scenario, transactions_at_once=2)


def test_success_waits_for_the_depth():
    async def scenario(world, facilitator):
        [job] = await take(facilitator, eip3009(requirements(), ALICE))
        await facilitator.turn()
        for _ in range(3):
            await facilitator.network.step()
            assert job.status == "processing"
            assert job.result is None
            await world.mine()
        await facilitator.network.step()
        assert job.status == "succeeded"

    within(scenario, depth=3)


# --- reorganisations --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("drop", [False, True])
@pytest.mark.parametrize("payload", [eip3009(requirements(), ALICE), permit2(requirements(), ALICE)])
def test_a_capture_that_is_undone_is_made_again_and_only_once(payload, drop):
    async def scenario(world, facilitator):
        [job] = await take(facilitator, payload)
        await facilitator.turn()
        await facilitator.network.step()
        assert (job.status, job.transaction != "") == ("processing", True)
        await undo(world, 1, drop=drop)
        if drop:
            await facilitator.network.step()
            assert job.transaction == ""
        await facilitator.finish()
        assert job.status == "succeeded"
        assert (await world.balance(PAYEE), await world.used()) == (1000, 1)

    within(scenario, depth=2)


def test_what_is_undone_after_it_counted_is_sent_again():
    async def scenario(world, facilitator):
        first = await take(facilitator, eip3009(requirements(), ALICE))
        await facilitator.finish()
        await undo(world, 2, drop=True)
        assert await world.balance(PAYEE) == 0
        second = await take(facilitator, eip3009(requirements(), BOB))
        await facilitator.turn()
        await facilitator.turn()
        world.clock.time += MISSING_S + 1
        await facilitator.finish()
        assert [job.status for job in first + second] == ["succeeded", "succeeded"]
        assert (await world.balance(PAYEE), await world.used()) == (2000, 2)

    within(scenario)


def test_a_payment_that_its_payer_took_back_during_a_reorganisation_fails():
    async def scenario(world, facilitator):
        payload = eip3009(requirements(), ALICE)
        [job] = await take(facilitator, payload)
        await facilitator.turn()
        await facilitator.network.step()
        await undo(world, 1, drop=True)
        call = capture_call(verified(payload))
        await world.send(OWNER, call.to, call.data)
        await world.mine()
        await facilitator.finish()
        assert (job.status, job.reason) == ("failed", "invalid_exact_evm_nonce_already_used")

    within(scenario, depth=1)


# --- nonces -----------------------------------------------------------------------------------------------------------


def test_a_transaction_that_got_lost_is_sent_again():
    async def scenario(world, facilitator):
        [job] = await take(facilitator, eip3009(requirements(), ALICE))
        await facilitator.network.step()
        world.chain._pool = world.chain._new_pool()
        await facilitator.turn()
        assert await world.used() == 0
        world.clock.time += 11
        await facilitator.finish()
        assert job.status == "succeeded"
        assert await world.used() == 1

    within(scenario)


def test_a_transaction_that_nobody_takes_is_replaced_with_more_fee_and_its_own_nonce():
    async def scenario(world, facilitator):
        [job] = await take(facilitator, eip3009(requirements(), ALICE))
        await facilitator.network.step()
        [flight] = facilitator.network.flights.values()
        world.clock.time += 46
        await facilitator.network.step()
        assert len(flight.versions) == 2
        assert facilitator.ledger.next_nonce["eip155:31337"] == 1
        await world.mine()
        await facilitator.finish()
        assert job.status == "succeeded"
        assert job.transaction == "0x" + flight.hashes[1].hex()
        assert (await world.balance(PAYEE), await world.used()) == (1000, 1)

    within(scenario)


def test_no_replacement_costs_more_than_is_allowed():
    async def scenario(world, facilitator):
        await take(facilitator, eip3009(requirements(), ALICE))
        await facilitator.network.step()
        [flight] = facilitator.network.flights.values()
        for _ in range(5):
            world.clock.time += 46
            await facilitator.network.step()
        assert len(flight.versions) == 1
        await facilitator.finish()

    within(scenario, max_fee_per_gas=15)


def test_a_nonce_that_somebody_else_used_is_let_go_and_its_payments_are_captured_by_another():
    async def scenario(world, facilitator):
        [job] = await take(facilitator, eip3009(requirements(), ALICE))
        world.rpc.fault = lambda method: silence(method) if method == "eth_sendRawTransaction" else None
        with pytest.raises(UnavailableError):
            await facilitator.network.step()
        world.rpc.fault = lambda _: None
        await world.send(FACILITATOR, PAYEE, b"", nonce=0)
        await world.mine()
        await facilitator.turn()
        world.clock.time += MISSING_S + 1
        await facilitator.finish()
        assert job.status == "succeeded"
        assert (await world.balance(PAYEE), await world.used()) == (1000, 2)

    within(scenario)


def test_a_transaction_that_is_refused_for_good_leaves_no_gap():
    async def scenario(world, facilitator):
        refusing = True

        def garble(method, answer):
            if method == "eth_sendRawTransaction" and refusing:
                return {"error": {"code": -32000, "message": "exceeds block gas limit"}}
            return answer

        world.rpc.garble = garble
        jobs = await take(facilitator, permit2(requirements(), ALICE))
        await facilitator.network.step()
        [flight] = facilitator.network.flights.values()
        assert len(flight.void) == 1
        refusing = False
        jobs += await take(facilitator, eip3009(requirements(), BOB))
        world.clock.time += 11
        await facilitator.finish()
        assert [job.status for job in jobs] == ["succeeded", "succeeded"]
        assert (await world.balance(PAYEE), await world.used()) == (2000, 3)

    within(scenario)


def test_an_account_that_cannot_pay_says_so_and_goes_on_once_it_can():
    async def scenario(world, facilitator):
        poor = True

        def garble(method, answer):
            if method == "eth_sendRawTransaction" and poor:
                return {"error": {"code": -32000, "message": "insufficient funds for gas * price + value"}}
            return answer

        world.rpc.garble = garble
        [job] = await take(facilitator, eip3009(requirements(), ALICE))
        with pytest.raises(UnavailableError) as caught:
            await facilitator.network.step()
        assert caught.value.code == "chain.funds"
        poor = False
        world.clock.time += 11
        await facilitator.finish()
        assert job.status == "succeeded"
        assert await world.used() == 1

    within(scenario)


# --- silence ----------------------------------------------------------------------------------------------------------

METHODS = [
    "eth_chainId",
    "eth_getCode",
    "eth_getTransactionCount",
    "eth_blockNumber",
    "eth_getBlockByNumber",
    "eth_maxPriorityFeePerGas",
    "eth_sendRawTransaction",
    "eth_getTransactionReceipt",
    "eth_call",
]


@pytest.mark.parametrize("method", METHODS)
def test_whatever_the_chain_does_not_answer_nothing_is_lost_or_doubled(method):
    async def scenario(world, facilitator):
        jobs = await take(facilitator, eip3009(requirements(), ALICE), permit2(requirements(), BOB))
        silent = True
        world.rpc.fault = lambda asked: silence(asked) if silent and asked == method else None
        for _ in range(3):
            with contextlib.suppress(UnavailableError):
                await facilitator.turn()
            world.clock.time += 11
        silent = False
        await facilitator.finish()
        assert [job.status for job in jobs] == ["succeeded", "succeeded"]
        assert (await world.balance(PAYEE), await world.used()) == (2000, 2)

    within(scenario)


@pytest.mark.parametrize(
    "method", [method for method in METHODS if method not in ("eth_call", "eth_sendRawTransaction")]
)
@pytest.mark.parametrize("answer", [None, "x", 5, {}, [], "0x", {"blockNumber": "0x1"}])
def test_whatever_nonsense_the_chain_answers_nothing_is_believed(method, answer):
    async def scenario(world, facilitator):
        [job] = await take(facilitator, eip3009(requirements(), ALICE))
        talking = True
        world.rpc.garble = lambda asked, real: {"result": answer} if talking and asked == method else real
        for _ in range(2):
            with contextlib.suppress(UnavailableError):
                await facilitator.turn()
            world.clock.time += 11
        talking = False
        await facilitator.finish()
        assert job.status == "succeeded"
        assert (await world.balance(PAYEE), await world.used()) == (1000, 1)

    within(scenario)


def test_another_chain_under_the_same_address_is_not_worked_with():
    async def scenario(world, facilitator):
        world.rpc.garble = lambda method, real: {"result": "0x1"} if method == "eth_chainId" else real
        await take(facilitator, eip3009(requirements(), ALICE))
        with pytest.raises(UnavailableError) as caught:
            await facilitator.network.step()
        assert caught.value.code == "chain.other"
        assert CHAIN_ID != 1

    within(scenario)


def test_a_contract_for_batches_that_is_not_there_is_noticed_before_anything_is_sent():
    async def scenario(world, facilitator):
        await take(facilitator, eip3009(requirements(), ALICE))
        with pytest.raises(UnavailableError) as caught:
            await facilitator.network.step()
        assert caught.value.code == "chain.captures"
        assert await world.used() == 0

    within(scenario, captures=PAYEE)


def test_the_task_goes_on_after_silence():
    async def scenario(world, facilitator):
        [job] = await take(facilitator, eip3009(requirements(), ALICE))
        world.rpc.fault = silence
        world.chain.set_automine(automine=True)
        async with facilitator.service.running():
            for _ in range(100):
                await asyncio.sleep(0)
            assert facilitator.network.trouble.code == "chain.unreachable"
            world.rpc.fault = lambda _: None
            async with asyncio.timeout(10):
                await job.ended.wait()
        assert job.status == "succeeded"

    within(scenario)


# --- starting again ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turns", range(4))
def test_a_new_life_takes_up_where_the_old_one_was(turns):
    async def main():
        world, disk = PaymentWorld(ManualClock()), SimulatedDisk()
        await world.open()
        old = Facilitator(world, disk.mount(), depth=1)
        payloads = [eip3009(requirements(), ALICE), permit2(requirements(), BOB), eip3009(requirements(), BOB, 1)]
        ids = [job.id for job in await take(old, *payloads)]
        for _ in range(turns):
            await old.turn()
        disk.crash("kill")
        new = Facilitator(world, disk.mount(), depth=1)
        assert [new.service.job(name).id for name in ids] == ids
        world.clock.time += 11
        await new.finish()
        assert {new.service.job(name).status for name in ids} == {"succeeded"}
        again = await take(new, *payloads)
        assert [job.id for job in again] == ids
        assert await world.balance(PAYEE) == 3000
        assert await world.used() == new.ledger.next_nonce["eip155:31337"]
        await world.close()

    asyncio.run(main())


def test_a_charge_that_differs_is_a_replay_after_a_new_start_too():
    async def main():
        world, disk = PaymentWorld(ManualClock()), SimulatedDisk()
        await world.open()
        payload = permit2(requirements(**UPTO), ALICE)
        await take(Facilitator(world, disk.mount()), payload)
        disk.crash("power")
        new = Facilitator(world, disk.mount())
        answer = await new.service.settle(request(payload, dataclasses.replace(payload.accepted, amount=1)))
        assert answer.error_reason == "permit2_invalid_nonce"
        await world.close()

    asyncio.run(main())
