"""A facilitator on a development chain in one process: real contracts, a clock moved by hand, a wire to cut."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from holdfast.adapters import vm_pyrevm
from holdfast.adapters.blobs_files import FileBlobs
from holdfast.adapters.metrics_memory import MemoryMetrics
from holdfast.adapters.payment_contracts import CAPTURES, TEST_TOKEN, payment_accounts
from holdfast.adapters.signer_secp256k1 import Secp256k1Signer
from holdfast.adapters.storage_simulated import SimulatedDisk
from holdfast.adapters.wal import GroupCommit, WriteAheadLog
from holdfast.client.chain import ChainReader
from holdfast.core import canonical, evm, x402
from holdfast.core.captures import BALANCE_OF
from holdfast.core.transactions import UnsignedTransaction
from holdfast.core.x402 import PaymentPayload, PaymentRequirements, address_word
from holdfast.errors import UnavailableError
from holdfast.nodes.chain.rpc import JsonRpc
from holdfast.nodes.chain.service import ChainRules, DevelopmentChain
from holdfast.nodes.facilitator.config import FacilitatorConfig, NetworkConfig
from holdfast.nodes.facilitator.ledger import Ledger
from holdfast.nodes.facilitator.metrics import METRICS
from holdfast.nodes.facilitator.network import Network
from holdfast.nodes.facilitator.service import FacilitatorService
from holdfast.ports.json_rpc import AnsweredError
from holdfast.ports.settings import Secret
from holdfast.ports.storage import Storage
from holdfast.ports.vm import GenesisAccount
from tests.helpers.chains import ManualClock
from tests.helpers.payments import APPROVE, CHAIN_ID, EVERYTHING, FACILITATOR, MINT, NETWORK, OWNER, TOKEN, payer

COIN = 10**24
PAYERS = 6
"""Funded payers, by number from 0."""
EACH = 10**6
"""Tokens of each at the beginning."""


class DirectRPC:
    """``ports/json_rpc.py`` into a chain in this process. ``fault`` may raise for a method before it is asked."""

    def __init__(self, rpc: JsonRpc) -> None:
        self.rpc = rpc
        self.fault: Callable[[str], None] = lambda _: None
        self.garble: Callable[[str, Any], Any] = lambda _, answer: answer
        self.asked: list[str] = []

    async def request(self, method: str, *parameters: Any) -> Any:
        """One request."""
        self.asked.append(method)
        self.fault(method)
        body = canonical.encode({"jsonrpc": "2.0", "id": 1, "method": method, "params": list(parameters)})
        answer = self.garble(method, await self.rpc.answer(body))
        if "error" in answer:
            error = answer["error"]
            raise AnsweredError(error["code"], error["message"], error.get("data"))
        return answer["result"]


def silence(_: str) -> None:
    """A fault: nobody answers."""
    raise UnavailableError("chain.unreachable", "no answer from the chain")


def network_config(**changes: Any) -> NetworkConfig:
    """Settings of the development chain."""
    base = NetworkConfig(
        NETWORK, "memory:", Secret("", "test"), ("*",), ("*",), captures=CAPTURES, depth=0, batch_wait_ms=0
    )
    return dataclasses.replace(base, **changes)


class PaymentWorld:
    """The chain; it outlives facilitators. Call :meth:`open` in each event loop."""

    def __init__(self, clock: ManualClock | None = None) -> None:
        self.clock = clock or ManualClock()
        self.disk = SimulatedDisk()
        self.chain: DevelopmentChain
        self.rpc: DirectRPC
        self._nonces: dict[str, int] = {}
        self._funded = False

    async def open(self) -> None:
        """Bring the chain up, replaying what it has; payers own tokens and let Permit2 move them."""
        funded = [OWNER.address, FACILITATOR.address, *(payer(number).address for number in range(PAYERS))]
        accounts = {**payment_accounts(TOKEN), **{address: GenesisAccount(COIN) for address in funded}}
        log = WriteAheadLog(self.disk.mount(), "blocks", 1 << 20)
        self.chain = DevelopmentChain(
            ChainRules(CHAIN_ID),
            accounts,
            machine=vm_pyrevm.PyrevmMachine,
            log=log,
            committer=GroupCommit(log, mode="inline"),
            clock=self.clock,
        )
        self.rpc = DirectRPC(JsonRpc(self.chain, test_hooks=True))
        await self.chain.start()
        self.chain.set_automine(automine=False)
        if not self._funded:
            self._funded = True
            for number in range(PAYERS):
                mint = MINT + address_word(payer(number).address) + evm.word(EACH)
                await self.send(OWNER, TEST_TOKEN, mint)
                await self.send(payer(number), TEST_TOKEN, APPROVE + address_word(x402.PERMIT2) + evm.word(EVERYTHING))
            await self.mine()

    async def close(self) -> None:
        """Take the chain down; its blocks stay."""
        await self.chain.stop()

    async def send(self, signer: Secp256k1Signer, to: str, data: bytes, *, nonce: int | None = None) -> bytes:
        """A transaction of somebody's into the pool."""
        at = await self.chain.nonce(signer.address, pending=True) if nonce is None else nonce
        unsigned = UnsignedTransaction(CHAIN_ID, at, 1, 1000, 500_000, to, 0, data)
        return await self.chain.submit(unsigned.signed(signer.sign(unsigned.digest())))

    async def mine(self, count: int = 1) -> None:
        """Blocks, even empty ones."""
        for _ in range(count):
            await self.chain.mine()

    async def balance(self, address: str) -> int:
        """Test tokens."""
        answer = await self.rpc.rpc.answer(
            canonical.encode(
                {
                    "jsonrpc": "2.0",
                    "id": 1,
                    "method": "eth_call",
                    "params": [{"to": TEST_TOKEN, "data": "0x" + (BALANCE_OF + address_word(address)).hex()}, "latest"],
                }
            )
        )
        return int(answer["result"], 16)

    async def used(self) -> int:
        """Transactions of the facilitator's account in blocks."""
        return await self.chain.nonce(FACILITATOR.address, pending=False)


class Facilitator:
    """One life of a facilitator over a world, on a storage that outlives it."""

    def __init__(
        self,
        world: PaymentWorld,
        storage: Storage | None = None,
        *,
        jobs_waiting: int = 100_000,
        token: str | None = None,
        **network: Any,
    ) -> None:
        self.world = world
        self.metrics = MemoryMetrics()
        storage = storage or SimulatedDisk().mount()
        self.blobs = FileBlobs(storage)
        log = WriteAheadLog(storage, "wal", 1 << 18)
        assert METRICS
        self.ledger = Ledger(log, GroupCommit(log, mode="inline"))
        self.network = Network(
            network_config(**network),
            ChainReader(world.rpc, FACILITATOR.address),
            FACILITATOR.sign,
            ledger=self.ledger,
            clock=world.clock,
            metrics=self.metrics,
        )
        config = FacilitatorConfig(
            state=Path("unused"),
            jobs_waiting=jobs_waiting,
            token=token and Secret(token, "test"),
            settle_wait_s=0.5,
            heartbeat_wait_s=0.5,
        )
        self.service = FacilitatorService(
            config,
            ledger=self.ledger,
            networks={NETWORK: self.network},
            clock=world.clock,
            metrics=self.metrics,
            blobs=self.blobs,
        )

    async def turn(self, blocks: int = 1) -> None:
        """A turn of the network, then blocks."""
        await self.network.step()
        await self.world.mine(blocks)

    async def finish(self, turns: int = 40) -> None:
        """Turns until nothing waits and nothing flies."""
        for _ in range(turns):
            await self.turn()
            if not self.network.flights and not self.network.waiting:
                return
        raise AssertionError(f"still {self.network.flights} and {self.network.waiting} waiting")


def request(payload: PaymentPayload, asked: PaymentRequirements | None = None, **more: Any) -> dict[str, Any]:
    """The body of ``/verify`` and ``/settle``."""
    return {
        "x402Version": 2,
        "paymentPayload": payload.to_json(),
        "paymentRequirements": (asked or payload.accepted).to_json(),
        **more,
    }


Scenario = Callable[[PaymentWorld], Awaitable[None]]
