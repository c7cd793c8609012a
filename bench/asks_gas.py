"""Gas of runs that contracts ask for (``contracts/Inference.vy``), by what is asked and answered.

Run: ``python bench/asks_gas.py``. As in ``rounds_gas.py``, gas is that of a public chain: each call is executed again
on a fresh machine that holds the same state and nothing warm. Printed are the request, its fulfilment from a round of
1,000 runs (paths of 12 hashes) with and without a target to be called, and the other endings.

No value is wanted of gas, and no peer fulfils on proof.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rounds_gas import CLEAN_WRITE_SURCHARGE, storage_of  # type: ignore[import-not-found]

from holdfast.adapters.vm_pyrevm import PyrevmMachine
from holdfast.core.asks import build_fulfilment
from holdfast.core.encoding import b64_encode
from holdfast.ports.vm import BlockContext, GenesisAccount, Message
from tests.helpers.asks import RECORDER, AskWorld
from tests.helpers.chains import FUNDS

OTHERS = 2_997
"""Verdicts of a round of 1,000 runs besides those of one."""
TENSOR = b'{"model":"m","mode":"VANILLA","inputs":{"x":{"dtype":"float32","shape":[%d],"base64":"%s"}}}'
ANSWER = (
    b'{"object":"inference","model":"m","artifact":"%s","mode":"VANILLA",'
    b'"outputs":{"y":{"dtype":"float32","shape":[%d],"base64":"%s"}}}'
)


async def cold_gas(world: AskWorld, call: Awaitable[Any], contracts: list[str]) -> tuple[int, int]:
    """(gas, raw bytes) of the one transaction that ``call`` makes, on a machine where nothing is warm."""
    machine = world.chain._machine  # noqa: SLF001
    before = {contract: storage_of(machine, contract) for contract in contracts}
    await call
    (receipt,) = world.chain.head.receipts
    accounts = {signer.address: GenesisAccount(FUNDS) for signer in world.signers}
    for contract in contracts:
        accounts[contract] = GenesisAccount(10**21, machine.code(contract))
    fresh = PyrevmMachine(31337, accounts)
    for contract, slots in before.items():
        for slot, value in slots.items():
            if value:
                fresh._evm.insert_account_storage(contract, slot, value)  # noqa: SLF001
    fresh.begin_block(BlockContext(receipt.block_number, int(world.clock.time), 7, 60_000_000, bytes(32)))
    sent = receipt.transaction
    outcome = fresh.transact(Message(sent.sender, sent.to, sent.data, sent.value, sent.gas))
    if not outcome.success:
        raise SystemExit(f"the call failed on the cold machine: {outcome}")
    changed = sum(
        value != 0 and fresh.storage(contract, slot) != value
        for contract, slots in before.items()
        for slot, value in slots.items()
    )
    return outcome.gas_used + CLEAN_WRITE_SURCHARGE * changed, len(sent.raw)


async def one(world: AskWorld, floats: int, target: str | None) -> list[tuple[str, int, int]]:
    """Rows of a request and its fulfilment: a tensor of so many float32 each way."""

    text = b64_encode(bytes(4 * floats)).encode()
    request, response = TENSOR % (floats, text), ANSWER % (b"ab" * 32, floats, text)
    more = {} if target is None else {"target": target, "gas_limit": 100_000}
    contracts = [world.domain.contract, world.asks.contract, *([] if target is None else [target])]
    made: list[Any] = []

    async def ask() -> None:
        made.append(await world.ask(document=request, **more))

    rows = [("request", *await cold_gas(world, ask(), contracts))]
    requested = made[0]
    run = world.run_for(requested, request=request, response=response)
    final = await world.settle_run(run, among=OTHERS)
    payee = world.signers[0].address
    given = build_fulfilment(requested.ask, payee, requested.packed, run.request, run.response, final)
    rows.append(("fulfilment", *await cold_gas(world, world.user(0).fulfil(given), contracts)))
    return rows


async def main() -> None:
    """Print everything."""
    world = AskWorld()
    await world.open()
    contracts = [world.domain.contract, world.asks.contract]
    await one(world, 1, None)  # the first of everything fills empty slots; the second is typical
    for floats in (1, 64, 1024):
        for what, gas, size in await one(world, floats, None):
            print(f"{floats:>5} float32: {what:<24}{gas:>10,} gas {size:>8,} bytes")
    target = await world.deploy_code(RECORDER)
    for what, gas, size in await one(world, 1, target):
        print(f"    1 float32: {what + ', called':<24}{gas:>10,} gas {size:>8,} bytes")
    cancelled = await world.ask()
    gas, size = await cold_gas(world, world.user(4).cancel(cancelled.ask), contracts)
    print(f"{'cancelling':<37}{gas:>10,} gas {size:>8,} bytes")
    gas, size = await cold_gas(world, world.user(4).withdraw(world.signers[4].address), contracts)
    print(f"{'withdrawing':<37}{gas:>10,} gas {size:>8,} bytes")
    await world.close()


if __name__ == "__main__":
    asyncio.run(main())
