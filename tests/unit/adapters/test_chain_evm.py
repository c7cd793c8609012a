"""The EVM adapter against a chain that is slow, silent, busy, lying or shared with somebody else."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from holdfast.adapters import chain_evm, evm_rpc
from holdfast.adapters.chain_evm import EvmChain, deploy
from holdfast.adapters.evm_rpc import EvmAccount, RPCError, SendSettings
from holdfast.adapters.signer_secp256k1 import Secp256k1Signer
from holdfast.errors import ConflictError, HoldfastError, RefusedError, UnavailableError
from tests.helpers.chains import (
    COIN,
    NEEDS_MACHINE,
    ORIGIN,
    SETTINGS,
    EvmWorld,
    next_candidate,
    propose,
    settle,
    sign_candidate,
    start_epoch,
)

pytestmark = NEEDS_MACHINE


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evm_rpc, "RETRY_PAUSES_S", (0.0001, 0.0001))


def run(scenario: Callable[[EvmWorld], Awaitable[None]]) -> None:
    async def main() -> None:
        world = EvmWorld()
        await world.open()
        try:
            await start_epoch(world)
            await scenario(world)
        finally:
            await world.close()

    asyncio.run(main())


async def refused(call: Awaitable[Any], code: str, kind: type[HoldfastError] = HoldfastError) -> HoldfastError:
    with pytest.raises(kind) as caught:
        await call
    assert caught.value.code == code
    return caught.value


def quick(world: EvmWorld, index: int = 0, **send: Any) -> EvmChain:
    settings = SendSettings(**{"poll_s": 0.001, "poll_max_s": 0.005, "receipt_timeout_s": 0.2, **send})
    return EvmChain(
        world.connection,
        world.domain,
        world.signers[index],
        finality_depth=0,
        send=settings,
    )


# --- silence ----------------------------------------------------------------------------------------------------------


def test_a_silent_endpoint_is_unreachable_after_every_try() -> None:
    async def scenario(world: EvmWorld) -> None:
        def silent(method: str) -> None:
            raise OSError("connection refused")

        world.provider.asked.clear()
        world.provider.fault = silent
        await refused(world.client().head(), "chain.unreachable", UnavailableError)
        assert world.provider.asked == ["eth_getBlockByNumber"] * 3

    run(scenario)


@pytest.mark.parametrize("failure", [OSError("reset"), TimeoutError(), ValueError("not JSON")])
def test_one_lost_answer_of_each_kind_of_request_is_asked_again(failure: Exception) -> None:
    async def scenario(world: EvmWorld) -> None:
        seen: set[str] = set()

        def lose_first(method: str) -> None:
            if method not in seen:
                seen.add(method)
                raise failure

        world.provider.fault = lose_first
        candidate = await settle(world)
        assert (await world.client().final_round(ORIGIN, 1)) is not None
        assert candidate.number == 1
        assert len(seen) >= 6

    run(scenario)


def test_an_answer_lost_after_the_transaction_was_taken_sends_it_once() -> None:
    async def scenario(world: EvmWorld) -> None:
        lost: list[str] = []

        def garble(method: str, answer: Any) -> Any:
            if method == "eth_sendRawTransaction" and not lost:
                lost.append(method)
                raise OSError("reset")
            return answer

        world.provider.garble = garble
        await world.client().deposit(world.signers[0].address, 5)
        assert (await world.client().stake(world.signers[0].address)).bonded == COIN + 5
        assert lost

    run(scenario)


def test_a_busy_endpoint_is_asked_again_and_a_refusing_one_is_not() -> None:
    async def scenario(world: EvmWorld) -> None:
        world.provider.garble = lambda *_: {"error": {"code": -32005, "message": "too many requests"}}
        world.provider.asked.clear()
        await refused(world.client().head(), "chain.rpc", UnavailableError)
        assert len(world.provider.asked) == 3
        world.provider.garble = lambda *_: {"error": {"code": -32601, "message": "no such method"}}
        world.provider.asked.clear()
        await refused(world.client().head(), "chain.rpc", UnavailableError)
        assert len(world.provider.asked) == 1

    run(scenario)


# --- lies and nonsense ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "nonsense", [{"result": None}, {"result": 5}, {"result": "0xzz"}, {"result": {"number": "x"}}, {"error": "no"}, {}]
)
def test_nonsense_from_the_endpoint_is_an_unavailable_chain_not_a_crash(nonsense: Any) -> None:
    async def scenario(world: EvmWorld) -> None:
        world.provider.garble = lambda *_: nonsense
        client = world.client()
        for call in (client.head(), client.events(), client.final_round(ORIGIN, 1), client.deposit(client.account, 1)):
            with pytest.raises(HoldfastError) as caught:
                await call
            assert caught.value.code in {"chain.rpc", "chain.contract"}

    run(scenario)


def test_a_round_that_does_not_hash_to_its_content_is_not_believed() -> None:
    async def scenario(world: EvmWorld) -> None:
        await settle(world)

        def garble(method: str, answer: Any) -> Any:
            if method == "eth_call":
                text = answer["result"]
                return {**answer, "result": text[: 2 + 64 * 5] + "ff" * 32 + text[2 + 64 * 6 :]}
            return answer

        world.provider.garble = garble
        await refused(world.client().final_round(ORIGIN, 1), "chain.rpc", UnavailableError)

    run(scenario)


def test_an_event_that_does_not_decode_is_not_believed() -> None:
    async def scenario(world: EvmWorld) -> None:
        def garble(method: str, answer: Any) -> Any:
            if method == "eth_getLogs":
                return {**answer, "result": [{**entry, "data": "0x00"} for entry in answer["result"]]}
            return answer

        world.provider.garble = garble
        await refused(world.client().events(), "chain.rpc", UnavailableError)

    run(scenario)


@pytest.mark.parametrize(
    ("number", "text", "data", "reason"),
    [
        (
            3,
            "execution reverted",
            "0x08c379a0" + (32).to_bytes(32).hex() + (3).to_bytes(32).hex() + "616263".ljust(64, "0"),
            "abc",
        ),
        (-32000, "execution reverted: stake.none", None, "stake.none"),
        (3, "reverted", None, ""),
        (3, "x", "0x08c379a0ff", ""),
        (-32603, "VM Exception: execution reverted: round.open", {"x": 1}, "round.open"),
        (-32000, "nonce too low", None, None),
    ],
)
def test_reasons_are_found_in_the_forms_that_clients_use(number: int, text: str, data: Any, reason: str | None) -> None:
    assert RPCError(number, text, data).revert_reason() == reason


# --- nonces, fees, time -----------------------------------------------------------------------------------------------


def test_many_calls_at_once_from_one_account_all_land() -> None:
    async def scenario(world: EvmWorld) -> None:
        client, address = world.client(), world.signers[0].address
        await asyncio.gather(*(client.deposit(address, 1) for _ in range(25)))
        assert (await client.stake(address)).bonded == COIN + 25

    run(scenario)


def test_two_processes_with_one_key_get_their_calls_through() -> None:
    async def scenario(world: EvmWorld) -> None:
        one, other, address = quick(world), quick(world), world.signers[0].address
        # Different amounts: the same call at the same nonce would be the same bytes, and so one transaction.
        calls = [client.deposit(address, amount) for _ in range(3) for client, amount in ((one, 1), (other, 10))]
        await asyncio.gather(*calls)
        assert (await one.stake(address)).bonded == COIN + 33

    run(scenario)


def test_a_call_that_is_in_no_block_in_time_says_so_and_the_next_goes_on() -> None:
    async def scenario(world: EvmWorld) -> None:
        client, address = quick(world), world.signers[0].address
        world.chain.set_automine(False)
        error = await refused(client.deposit(address, 5), "chain.timeout", UnavailableError)
        assert "read" in error.hint
        world.chain.set_automine(True)
        await client.deposit(address, 7)
        assert (await client.stake(address)).bonded == COIN + 12

    run(scenario)


def test_a_missing_transaction_is_sent_again_and_then_pays_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evm_rpc, "REBROADCAST_S", 0.01)
    monkeypatch.setattr(evm_rpc, "BUMP_S", 0.05)

    async def scenario(world: EvmWorld) -> None:
        client, address = quick(world, receipt_timeout_s=5), world.signers[0].address
        world.chain.set_automine(False)
        world.provider.asked.clear()
        task = asyncio.create_task(client.deposit(address, 5))
        await asyncio.sleep(0.15)
        assert world.provider.asked.count("eth_sendRawTransaction") >= 3
        world.chain.set_automine(True)
        await task
        assert (await client.stake(address)).bonded == COIN + 5
        (receipt,) = world.chain.head.receipts
        assert receipt.transaction.max_fee > 15

    run(scenario)


def test_fees_above_the_limit_are_not_paid() -> None:
    async def scenario(world: EvmWorld) -> None:
        address = world.signers[0].address
        await refused(quick(world, max_fee_per_gas=0).deposit(address, 5), "chain.fee", RefusedError)
        await quick(world, max_fee_per_gas=9).deposit(address, 5)
        (receipt,) = world.chain.head.receipts
        assert receipt.transaction.max_fee == 9

    run(scenario)


def test_a_call_that_lost_a_race_says_what_the_chain_says_now() -> None:
    async def scenario(world: EvmWorld) -> None:
        await propose(world)
        world.clock.time += SETTINGS.timeout_s
        world.chain.set_automine(False)
        calls = [asyncio.create_task(world.client(index).open_attempt(ORIGIN, 1, 1)) for index in (0, 1)]
        await asyncio.sleep(0.05)
        world.chain.set_automine(True)
        results = await asyncio.gather(*calls, return_exceptions=True)
        (failure,) = [result for result in results if isinstance(result, BaseException)]
        assert isinstance(failure, ConflictError)
        assert failure.code == "round.attempt"

    run(scenario)


def test_two_candidates_at_once_leave_one() -> None:
    async def scenario(world: EvmWorld) -> None:
        candidate = await next_candidate(world)
        turn = (1 + 0) % 4
        signature = sign_candidate(world, turn, candidate)
        results = await asyncio.gather(
            *(world.client(index).submit_candidate(candidate, signature) for index in range(4)), return_exceptions=True
        )
        failures = [result for result in results if isinstance(result, BaseException)]
        assert len(failures) == 3
        assert all(isinstance(failure, ConflictError) and failure.code == "round.candidate" for failure in failures)

    run(scenario)


def test_an_account_without_coin_cannot_deploy_or_send() -> None:
    async def scenario(world: EvmWorld) -> None:
        poor = Secp256k1Signer(bytes([99]) * 32)
        await refused(deploy(world.connection, poor, SETTINGS), "chain.funds", RefusedError)
        await refused(EvmAccount(world.connection, poor, 31337).transact(poor.address, b"", gas=21_000), "chain.funds")

    run(scenario)


# --- depth ------------------------------------------------------------------------------------------------------------


def test_the_finalized_tag_is_asked_when_no_depth_is_given() -> None:
    async def scenario(world: EvmWorld) -> None:
        client = EvmChain(world.connection, world.domain, world.signers[0], finality_depth=None)
        await settle(world)
        assert await client.final_round(ORIGIN, 1) is not None
        block = await world.connection.request("eth_getBlockByNumber", "0x1", False)

        def garble(method: str, answer: Any) -> Any:
            return {**answer, "result": block} if method == "eth_getBlockByNumber" else answer

        world.provider.garble = garble
        assert await client.final_round(ORIGIN, 1) is None

    run(scenario)


def test_events_are_read_in_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain_evm, "LOG_SPAN_BLOCKS", 3)

    async def scenario(world: EvmWorld) -> None:
        await settle(world)
        await world.mine(10)
        world.provider.asked.clear()
        page = await world.client().events()
        assert world.provider.asked.count("eth_getLogs") > 4
        assert len(page.events) == 6 + 1
        shallow = EvmChain(world.connection, world.domain, world.signers[0], finality_depth=10**6)
        assert (await shallow.events()).events == ()

    run(scenario)
