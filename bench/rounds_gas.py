"""Gas and bytes of a round, and of a run at 1,000 runs a round.

Run: ``python bench/rounds_gas.py [runs a round]`` (two statements a run, four full nodes). Gas is that of a public
chain: the development chain keeps accounts and slots warm between transactions, so each call measured here is executed
again on a fresh machine that holds the same state and nothing warm. Prints, per round and per run:

* gas of the candidate, of a vote, of the vote that finalises; four nodes each with their own transaction, against one
  relay that sends all votes in one call;
* bytes on chain (raw transactions) and beside it (the verdict blob, which full nodes serve);
* gas of deploying, of an epoch, of slashing and of the two proofs on chain;
* rounds a second on the development chain, everything in this process.

No value is wanted of gas, which belongs in front of whoever chooses a chain, and no peer has such rounds.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from holdfast.adapters.vm_pyrevm import PyrevmMachine
from holdfast.core import merkle, rounds
from holdfast.core.encoding import sha256
from holdfast.core.rounds import VerdictEntry
from holdfast.core.transactions import Transaction
from holdfast.ports.vm import BlockContext, GenesisAccount, Message
from tests.helpers.chains import (
    FUNDS,
    EvmWorld,
    next_candidate,
    propose,
    proposer_index,
    settle,
    sign_candidate,
    sign_vote,
    start_epoch,
    vote,
)

STATEMENTS_A_RUN = 2
CLEAN_WRITE_SURCHARGE = 2_800
"""A slot put into a fresh machine counts as already written in this transaction (100 gas); the first change of a slot
that held something costs 2,900 (EIP-2929, EIP-2200)."""
SLOT = re.compile(r"(\d+): StorageSlot \{ previous_or_original_value: \d+, present_value: (\d+)")


def storage_of(machine: PyrevmMachine, contract: str) -> dict[int, int]:
    """Every slot of a contract, read from the machine's own description of its journal."""
    text = str(machine._evm.journal_str)  # noqa: SLF001 (storage cannot be listed otherwise)
    start = text.index("storage: {", text.index(f"{contract}: Account"))
    return {int(slot): int(value) for slot, value in SLOT.findall(text[start : text.index("}, status", start)])}


def cold_gas(world: EvmWorld, before: dict[int, int], transaction: Transaction, number: int) -> int:
    """Gas of a transaction on a machine where nothing is warm."""
    contract = world.domain.contract
    code = world.chain._machine.code(contract)  # noqa: SLF001
    funded = {signer.address: GenesisAccount(FUNDS) for signer in world.signers}
    machine = PyrevmMachine(31337, {**funded, contract: GenesisAccount(10**21, code)})
    for slot, value in before.items():
        if value:
            machine._evm.insert_account_storage(contract, slot, value)  # noqa: SLF001
    machine.begin_block(BlockContext(number, int(world.clock.time), 7, 60_000_000, bytes(32)))
    message = Message(transaction.sender, transaction.to, transaction.data, transaction.value, transaction.gas)
    outcome = machine.transact(message)
    if not outcome.success:
        raise SystemExit(f"the call failed on the cold machine: {outcome}")
    changed = sum(value != 0 and machine.storage(contract, slot) != value for slot, value in before.items())
    return outcome.gas_used + CLEAN_WRITE_SURCHARGE * changed


class Meter:
    """Runs calls and notes what each cost."""

    def __init__(self, world: EvmWorld) -> None:
        self.world = world

    async def measure(self, call: object) -> tuple[int, int]:
        """(gas, raw bytes) of the one transaction that ``call`` makes."""
        machine = self.world.chain._machine  # noqa: SLF001
        before = storage_of(machine, self.world.domain.contract)  # type: ignore[arg-type]
        await call  # type: ignore[misc]
        (receipt,) = self.world.chain.head.receipts
        gas = cold_gas(self.world, before, receipt.transaction, receipt.block_number)
        return gas, len(receipt.transaction.raw)


def verdicts(first: int, count: int) -> list[VerdictEntry]:
    return [VerdictEntry(index, sha256(b"%d" % index), "ok") for index in range(first, first + count)]


async def one_round(meter: Meter, runs: int, *, relay: bool) -> tuple[list[tuple[str, int, int]], int]:
    """The transactions of one round as (what, gas, bytes), and the size of its verdict blob."""
    world = meter.world
    shown = await world.client().open_round("holdfast.local/log/1")
    entries = verdicts(shown.previous_size, runs * STATEMENTS_A_RUN)
    blob = rounds.verdict_blob(entries)
    root = merkle.root([merkle.leaf_hash(entry.statement_digest) for entry in entries])
    candidate = await next_candidate(
        world, grow=len(entries), root=root, verdict_root=rounds.verdict_root(entries), blob_id=rounds.blob_id(blob)
    )
    turn = await proposer_index(world, candidate)
    others = [index for index in range(4) if index != turn]
    signature = sign_candidate(world, turn, candidate)
    rows = [("candidate", *await meter.measure(world.client(turn).submit_candidate(candidate, signature)))]
    if relay:
        rows.append(("two votes, final", *await meter.measure(vote(world, candidate, others[:2]))))
    else:
        rows.append(("a vote", *await meter.measure(vote(world, candidate, others[:1], relay=others[0]))))
        rows.append(
            ("the vote that finalises", *await meter.measure(vote(world, candidate, others[1:2], relay=others[1])))
        )
    return rows, len(blob)


async def once(meter: Meter) -> list[tuple[str, int]]:
    """What happens rarely."""
    world = meter.world
    rows = [("deploying Rounds", sum(b.gas_used for n in (1,) if (b := world.chain.block(n))))]
    candidate = await propose(world)
    pair = sign_vote(world, 4, candidate), sign_vote(world, 4, candidate, bytes(32))
    await world.client(4).deposit(world.signers[4].address, 5)
    rows.append(("slashing two votes", (await meter.measure(world.client().submit_double_vote(*pair)))[0]))
    await world.client().open_round(candidate.origin)
    world.clock.time += 10
    opened = world.client().open_attempt(candidate.origin, candidate.number, 1)
    rows.append(("opening the next attempt", (await meter.measure(opened))[0]))
    return rows


async def speed(seconds: float = 3.0) -> float:
    """Rounds a second on the development chain: one candidate and three relayed votes each."""
    world = EvmWorld()
    await world.open()
    await start_epoch(world)
    started, count = time.perf_counter(), 0
    while time.perf_counter() < started + seconds:
        await settle(world)
        count += 1
    await world.close()
    return count / (time.perf_counter() - started)


async def main(runs: int) -> None:
    """Print everything."""
    world = EvmWorld()
    await world.open()
    await start_epoch(world)
    meter = Meter(world)
    await one_round(meter, runs, relay=False)  # the first round of an origin fills empty slots; the second is typical
    for title, relay in (("each node sends its own vote", False), ("one relay sends all votes", True)):
        rows, blob = await one_round(meter, runs, relay=relay)
        gas, size = sum(row[1] for row in rows), sum(row[2] for row in rows)
        print(f"one round of {runs:,} runs, four nodes, {title}")
        for what, each_gas, each_bytes in rows:
            print(f"  {what:<28}{each_gas:>10,} gas {each_bytes:>8,} bytes")
        print(f"  {'all':<28}{gas:>10,} gas {size:>8,} bytes")
        print(
            f"  a run: {gas / runs:,.1f} gas, {size / runs:.2f} bytes on chain, {blob / runs:.1f} bytes of verdicts\n"
        )
    for what, each_gas in await once(meter):
        print(f"{what:<30}{each_gas:>10,} gas")
    print(f"{'development chain':<30}{await speed():>10,.1f} rounds/s in one process")
    await world.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000))
