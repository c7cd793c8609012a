"""The development chain: what it refuses, what a crash leaves, what a reorganisation undoes."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest

from holdfast.adapters import vm_pyrevm
from holdfast.adapters.storage_simulated import SimulatedCrash, SimulatedDisk
from holdfast.adapters.wal import WriteAheadLog
from holdfast.core.transactions import UnsignedTransaction, parse_transaction
from holdfast.errors import HoldfastError, MalformedError, UnavailableError, UsageError
from holdfast.nodes.chain.service import (
    UNDO_RECORD,
    DevelopmentChain,
    genesis_json,
    load_genesis,
    parse_genesis,
)
from holdfast.ports.vm import GenesisAccount, Message, Outcome
from tests.helpers.chains import FUNDS, NEEDS_MACHINE, START, ManualClock, development_chain, signers

pytestmark = NEEDS_MACHINE
RICH, OTHER = signers(2)
TO = "0x" + "77" * 20


def raw(
    nonce: int, *, value: int = 1, chain: int = 31337, gas: int = 21_000, fee: int = 100, data: bytes = b""
) -> bytes:
    unsigned = UnsignedTransaction(chain, nonce, 0, fee, gas, TO, value, data)
    return unsigned.signed(RICH.sign(unsigned.digest()))


async def mined(chain: DevelopmentChain, digest: bytes) -> None:
    for _step in range(1000):
        if chain.receipt(digest):
            return
        await asyncio.sleep(0)
    raise AssertionError("not mined")


def run(
    scenario: Callable[[DevelopmentChain, ManualClock], Awaitable[None]], disk: SimulatedDisk | None = None
) -> None:
    async def main() -> None:
        clock = ManualClock()
        chain = development_chain(clock, [RICH.address], disk)
        await chain.start()
        try:
            await scenario(chain, clock)
        finally:
            await chain.stop()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("code", "transaction"),
    [
        ("pool.chain_id", raw(0, chain=1)),
        ("pool.gas", raw(0, gas=60_000_001)),
        ("pool.fee", raw(0, fee=6)),
        ("pool.funds", raw(0, value=FUNDS)),
        ("transaction.rlp", raw(0)[:-1]),
        ("transaction.size", b""),
    ],
)
def test_what_can_never_be_in_a_block_is_refused_at_once(code: str, transaction: bytes) -> None:
    async def scenario(chain: DevelopmentChain, _: ManualClock) -> None:
        with pytest.raises(HoldfastError) as caught:
            await chain.submit(transaction)
        assert caught.value.code == code
        assert chain.pool_counts() == (0, 0)

    run(scenario)


def test_a_transaction_in_a_block_is_known() -> None:
    async def scenario(chain: DevelopmentChain, _: ManualClock) -> None:
        await mined(chain, await chain.submit(raw(0)))
        with pytest.raises(HoldfastError) as caught:
            await chain.submit(raw(0))
        assert caught.value.code == "pool.known"

    run(scenario)


def test_no_block_is_mined_without_a_transaction() -> None:
    async def scenario(chain: DevelopmentChain, clock: ManualClock) -> None:
        clock.time += 1000
        for _step in range(50):
            await asyncio.sleep(0)
        assert chain.head.number == 0
        await chain.submit(raw(5))
        for _step in range(50):
            await asyncio.sleep(0)
        assert (chain.head.number, chain.pool_counts()) == (0, (0, 1))

    run(scenario)


def test_a_transaction_that_became_too_expensive_leaves_without_a_block() -> None:
    async def scenario(chain: DevelopmentChain, _: ManualClock) -> None:
        chain.set_automine(False)
        await chain.submit(raw(0, value=FUNDS * 2 // 3))
        await chain.submit(raw(1, value=FUNDS * 2 // 3))
        chain.set_automine(True)
        await mined(chain, chain_hash(raw(0, value=FUNDS * 2 // 3)))
        for _step in range(50):
            await asyncio.sleep(0)
        assert (chain.head.number, chain.pool_counts()) == (1, (0, 0))

    run(scenario)


def chain_hash(transaction: bytes) -> bytes:
    return parse_transaction(transaction).hash


def test_time_never_goes_back() -> None:
    async def scenario(chain: DevelopmentChain, clock: ManualClock) -> None:
        await mined(chain, await chain.submit(raw(0)))
        clock.time -= 500
        await mined(chain, await chain.submit(raw(1)))
        assert chain.head.time == START
        assert chain.advance(700) == 700
        await chain.mine()
        assert chain.head.time == START + 200

    run(scenario)


def test_a_block_takes_no_more_gas_than_it_has() -> None:
    async def scenario(chain: DevelopmentChain, _: ManualClock) -> None:
        chain.set_automine(False)
        for nonce in range(3):
            await chain.submit(raw(nonce, gas=59_990_000, fee=7))
        chain.set_automine(True)
        await mined(chain, chain_hash(raw(2, gas=59_990_000, fee=7)))
        assert [len(block.receipts) for number in (1, 3) if (block := chain.block(number))] == [1, 1]

    run(scenario)


def test_a_restart_replays_to_the_same_hashes() -> None:
    disk = SimulatedDisk()
    seen: list[bytes] = []

    async def first(chain: DevelopmentChain, clock: ManualClock) -> None:
        for nonce in range(5):
            clock.time += 3
            await mined(chain, await chain.submit(raw(nonce, value=nonce)))
        seen.append(chain.head.hash)

    async def second(chain: DevelopmentChain, _: ManualClock) -> None:
        assert (chain.head.number, chain.head.hash) == (5, seen[0])
        assert await chain.balance(TO) == 10
        assert await chain.nonce(RICH.address, pending=False) == 5
        assert chain.receipt(chain_hash(raw(2, value=2))) is not None

    run(first, disk)
    run(second, disk)


def test_another_genesis_is_refused() -> None:
    disk = SimulatedDisk()

    async def nothing(chain: DevelopmentChain, _: ManualClock) -> None:
        assert chain.head.number == 0

    run(nothing, disk)
    with pytest.raises(UsageError) as caught:
        development_chain(ManualClock(), [OTHER.address], disk)
    assert caught.value.code == "chain.genesis"


@pytest.mark.parametrize("seed", range(40))
def test_no_block_that_was_seen_is_lost_when_the_power_goes(seed: int) -> None:
    disk = SimulatedDisk(seed)
    seen: list[bytes] = []

    async def life(chain: DevelopmentChain, _: ManualClock) -> None:
        start = await chain.nonce(RICH.address, pending=False)
        disk.crash_after(3 + seed % 17)
        for nonce in range(start, start + 12):
            digest = await chain.submit(raw(nonce))
            for _step in range(20):
                await asyncio.sleep(0)
            if chain.receipt(digest) is None:
                break
            seen.append(digest)

    with contextlib.suppress(SimulatedCrash, UnavailableError):
        run(life, disk)
    if not disk.names():
        return

    async def after(chain: DevelopmentChain, _: ManualClock) -> None:
        assert all(chain.receipt(digest) is not None for digest in seen)
        assert chain.head.number in {len(seen), len(seen) + 1}

    disk.crash()
    run(after, disk)


def test_a_log_of_another_machine_is_not_believed() -> None:
    disk = SimulatedDisk()

    async def life(chain: DevelopmentChain, _: ManualClock) -> None:
        await mined(chain, await chain.submit(raw(0)))

    run(life, disk)

    class OtherMachine(vm_pyrevm.PyrevmMachine):
        def transact(self, message: Message) -> Outcome:
            outcome = super().transact(message)
            return Outcome(True, b"", outcome.gas_used + 1, (), None, "")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vm_pyrevm, "PyrevmMachine", OtherMachine)
        with pytest.raises(MalformedError) as caught:
            development_chain(ManualClock(), [RICH.address], disk)
    assert caught.value.code == "chain.replay"


@pytest.mark.parametrize(("kind", "payload"), [(9, b""), (2, b"\xc0"), (2, b"\x80"), (2, b"\xc5\x80\x80\x80\x80\xc0")])
def test_a_record_that_is_none_is_refused(kind: int, payload: bytes) -> None:
    disk = SimulatedDisk()
    log = WriteAheadLog(disk.mount(), "blocks")
    log.append(kind, payload)
    log.sync()
    log.close()
    with pytest.raises(MalformedError) as caught:
        development_chain(ManualClock(), [RICH.address], disk)
    assert caught.value.code == "chain.replay"


def test_a_chain_whose_disk_failed_promises_nothing_more() -> None:
    disk = SimulatedDisk()

    async def scenario(chain: DevelopmentChain, _: ManualClock) -> None:
        await mined(chain, await chain.submit(raw(0)))
        disk.fail_after(0, for_good=True)
        await chain.submit(raw(1))
        for _step in range(50):
            await asyncio.sleep(0)
        assert isinstance(chain.failure, HoldfastError)
        assert chain.head.number == 1
        for call in (chain.submit(raw(2)), chain.balance(TO), chain.nonce(RICH.address, pending=True)):
            with pytest.raises(UnavailableError) as caught:
                await call
            assert caught.value.code == "chain.stopped"

    run(scenario, disk)


def test_more_blocks_than_there_are_cannot_be_undone() -> None:
    async def scenario(chain: DevelopmentChain, _: ManualClock) -> None:
        for depth in (0, 1):
            with pytest.raises(UsageError) as caught:
                await chain.reorganise(depth)
            assert caught.value.code == "chain.depth"

    run(scenario)


def test_undone_transactions_come_back_in_other_blocks_and_survive_a_restart() -> None:
    disk = SimulatedDisk()
    seen: list[bytes] = []

    async def first(chain: DevelopmentChain, _: ManualClock) -> None:
        for nonce in range(4):
            await mined(chain, await chain.submit(raw(nonce)))
        old = chain.head.hash
        await chain.reorganise(3)
        await mined(chain, chain_hash(raw(3)))
        assert chain.head.hash != old
        assert await chain.balance(TO) == 4
        seen.append(chain.head.hash)

    async def second(chain: DevelopmentChain, _: ManualClock) -> None:
        assert chain.head.hash == seen[0]
        assert await chain.balance(TO) == 4

    run(first, disk)
    run(second, disk)
    kinds = [record.kind for record in WriteAheadLog(disk.mount(), "blocks").records()]
    assert UNDO_RECORD in kinds


def test_dropped_transactions_are_gone_and_their_nonces_free() -> None:
    async def scenario(chain: DevelopmentChain, _: ManualClock) -> None:
        for nonce in range(3):
            await mined(chain, await chain.submit(raw(nonce)))
        await chain.reorganise(2, drop=True)
        assert (chain.head.number, await chain.nonce(RICH.address, pending=True)) == (1, 1)
        assert chain.receipt(chain_hash(raw(2))) is None
        await mined(chain, await chain.submit(raw(1, value=50)))
        assert await chain.balance(TO) == 51

    run(scenario)


def test_a_call_sees_the_next_block() -> None:
    async def scenario(chain: DevelopmentChain, clock: ManualClock) -> None:
        code = bytes.fromhex("425f5260205ff3")
        clock.time += 77
        outcome = await chain.call(Message(RICH.address, None, code, 0, 100_000))
        assert outcome.success
        assert chain.head.number == 0

    run(scenario)


@pytest.mark.parametrize(
    "text",
    [b"[]", b"{}", b'{"alloc":[]}', b'{"alloc":{"0x00":{}}}', b'{"alloc":{"0x%s":{"nonce":"1"}}}' % (b"00" * 20)],
)
def test_a_malformed_genesis_is_refused(text: bytes) -> None:
    with pytest.raises(MalformedError):
        load_genesis(text)


def test_a_genesis_reads_balances_and_code() -> None:
    address = "0x" + "ab" * 20
    accounts = parse_genesis({"alloc": {address: {"balance": "12", "code": "0x6001"}}})
    assert accounts == {address: GenesisAccount(12, b"\x60\x01")}
    assert (
        genesis_json(1, accounts) == b'{"alloc":{"%s":{"balance":"12","code":"6001"}},"chain_id":1}' % address.encode()
    )
    with pytest.raises(MalformedError):
        parse_genesis({"alloc": {address: {"balance": "x"}}})
