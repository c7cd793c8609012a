"""The contract ``Inference`` on any EVM chain by its JSON-RPC endpoint (``spec/onchain.md``).

Rules: a request is read from its event, and only if it hashes to its id; so an endpoint can hide one, and invent none
that the contract would pay for. Reads of states are of the newest block; whoever needs depth asks for events up to a
height that it waits for. Not covered: light-client proofs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from holdfast.adapters.evm_rpc import (
    DEPLOY_GAS_MARGIN_PERCENT,
    EvmAccount,
    EvmConnection,
    SendSettings,
    TransactionSigner,
    call_contract,
    contract_interface,
    quantity,
)
from holdfast.core import evm
from holdfast.core.asks import STATES, Ask, Ending, Requested, ask_id, ask_of
from holdfast.core.rounds import ChainDomain, origin_id
from holdfast.errors import UnavailableError
from holdfast.ports.chain import Inclusion

LOG_SPAN_BLOCKS = 2_000
"""Blocks in one eth_getLogs request; public endpoints commonly allow as many."""


async def deploy_asks(
    connection: EvmConnection, signer: TransactionSigner, rounds: ChainDomain, origin: str
) -> tuple[ChainDomain, int]:
    """Create ``Inference`` for a log; where it is, and the block that created it."""
    account = EvmAccount(connection, signer, rounds.chain_id)
    init_code = contract_interface("Inference").init_code([rounds.contract, origin_id(origin)])
    included, contract = await account.transact(None, init_code, margin=DEPLOY_GAS_MARGIN_PERCENT)
    if contract is None:
        raise UnavailableError("chain.rpc", "the chain created the contract and did not say where")
    return ChainDomain(rounds.chain_id, contract), included.block


async def deploy_alpha(connection: EvmConnection, signer: TransactionSigner, asks: ChainDomain, node: str) -> str:
    """Create ``Alpha``, OpenGradient's layout over ``Inference``, whose requests name ``node``; its address."""
    init_code = contract_interface("Alpha").init_code([asks.contract, node])
    account = EvmAccount(connection, signer, asks.chain_id)
    _, contract = await account.transact(None, init_code, margin=DEPLOY_GAS_MARGIN_PERCENT)
    if contract is None:
        raise UnavailableError("chain.rpc", "the chain created the contract and did not say where")
    return contract


class EvmAsks:
    """``Inference`` as one account uses it. ``signer`` pays; an account that sends for the same key may be shared."""

    def __init__(
        self,
        connection: EvmConnection,
        domain: ChainDomain,
        signer: TransactionSigner | EvmAccount,
        *,
        depth: int = 0,
        send: SendSettings | None = None,
    ) -> None:
        self._connection = connection
        self.domain = domain
        self._depth = depth
        if not isinstance(signer, EvmAccount):
            signer = EvmAccount(connection, signer, domain.chain_id, send)
        self._account = signer
        self._contract = contract_interface("Inference")

    @property
    def account(self) -> str:
        """Who pays for calls, and is paid."""
        return self._account.address

    async def close(self) -> None:
        """Let go of the connection."""
        await self._connection.close()

    # --- reading ------------------------------------------------------------------------------------------------------

    async def _call(self, function: str, *arguments: Any) -> Any:
        return await call_contract(self._connection, self.domain.contract, "Inference", function, *arguments)

    async def height(self) -> int:
        """The newest block under as many blocks as are waited for; below zero while there is none."""
        return quantity(await self._connection.request("eth_blockNumber"), "block number") - self._depth

    async def now(self) -> int:
        """The time of the newest block, unix seconds."""
        block = await self._connection.request("eth_getBlockByNumber", "latest", False)
        return quantity(block.get("timestamp") if isinstance(block, dict) else None, "block time")

    async def state(self, identity: bytes) -> str:
        """How a request stands, one of ``core.asks.STATES``."""
        return STATES[await self._call("state", identity)]

    async def owed(self, account: str) -> int:
        """What an account can withdraw, base units."""
        return int(await self._call("owed", evm.parse_address(account)))

    async def requested(self, first: int, last: int) -> list[Requested]:
        """The requests of blocks ``first`` to ``last``, in order."""
        found = [self._requested(entry) async for entry in self._events(first, last, ["Requested"])]
        return [item for item in found if item is not None]

    async def find(self, identity: bytes, first: int) -> Requested | None:
        """One request, looked for from block ``first`` on."""
        last = quantity(await self._connection.request("eth_blockNumber"), "block number")
        async for entry in self._events(first, last, ["Requested"], identity):
            return self._requested(entry)
        return None

    async def ending(self, identity: bytes, first: int) -> Ending | None:
        """What became of a request, looked for from block ``first`` on up to the height that is waited for."""
        found: Ending | None = None
        names = ["Fulfilled", "Ended", "Recalled"]
        async for entry in self._events(first, await self.height(), names, identity):
            found = self._ending(entry, found) or found
        return found

    async def _events(
        self, first: int, last: int, names: Sequence[str], identity: bytes | None = None
    ) -> AsyncIterator[Mapping[str, Any]]:
        topics: list[Any] = [[self._contract.topic(name) for name in names]]
        if identity is not None:
            topics.append("0x" + identity.hex())
        for start in range(max(0, first), last + 1, LOG_SPAN_BLOCKS):
            query = {
                "address": self.domain.contract,
                "fromBlock": hex(start),
                "toBlock": hex(min(start + LOG_SPAN_BLOCKS - 1, last)),
                "topics": topics,
            }
            for entry in await self._connection.request("eth_getLogs", query) or ():
                yield entry

    def _requested(self, entry: Mapping[str, Any]) -> Requested | None:
        decoded = self._contract.decode_event(entry)
        if decoded is None or decoded[0] != "Requested":
            return None
        _, keys, (values, packed) = decoded
        ask = ask_of(values)
        honest = ask_id(self.domain.chain_id, self.domain.contract, ask) == keys[0]
        if not honest or evm.keccak256(packed) != ask.document:
            raise UnavailableError("chain.rpc", "the chain's event is of no request that hashes to its id")
        return Requested(bytes(keys[0]), ask, packed, quantity(entry.get("blockNumber"), "block number"))

    def _ending(self, entry: Mapping[str, Any], before: Ending | None) -> Ending | None:
        decoded = self._contract.decode_event(entry)
        if decoded is None:
            return None
        name, keys, values = decoded
        block = quantity(entry.get("blockNumber"), "block number")
        if name == "Fulfilled":
            return Ending("fulfilled", "", block, str(keys[1]).lower(), *values)
        if name == "Ended":
            return Ending(STATES[keys[1]], values[0], block)
        if before is None:
            return None
        return Ending(
            "recalled",
            values[0],
            block,
            before.payee,
            before.mode,
            before.proof,
            before.called,
            before.closure,
            before.response,
        )

    # --- writing ------------------------------------------------------------------------------------------------------

    async def transact(self, function: str, *arguments: Any, value: int = 0, gas: int | None = None) -> Inclusion:
        """Call a function of the contract by its name; raises the contract's reason (``onchain.md`` §8)."""
        data = self._contract.call_data(function, arguments)
        included, _ = await self._account.transact(self.domain.contract, data, value=value, gas=gas)
        return included

    async def request(
        self,
        packed: bytes,
        *,
        artifact: bytes = bytes(32),
        node: str = evm.ZERO_ADDRESS,
        target: str = evm.ZERO_ADDRESS,
        gas_limit: int = 0,
        period_s: int = 3600,
        fee: int = 0,
    ) -> Requested:
        """Ask for a run; returns the request as its block tells it."""
        included = await self.transact("request", packed, artifact, node, target, gas_limit, period_s, value=fee)
        for found in await self.requested(included.block, included.block):
            if found.ask.asker == self.account and found.packed == packed:
                return found
        raise UnavailableError("chain.rpc", "the chain took the request and does not tell it")

    async def fulfil(self, arguments: Sequence[Any]) -> Inclusion:
        """Hand over a result (``core.asks.build_fulfilment``)."""
        return await self.transact("fulfil", *arguments)

    async def refute(self, arguments: Sequence[Any]) -> Inclusion:
        """End a request whose run was refuted (``core.asks.build_refutation``)."""
        return await self.transact("refute", *arguments)

    async def refuse(self, ask: Ask, reason: str) -> Inclusion:
        """Say that a request will not be served; ``reason`` is a code."""
        return await self.transact("refuse", ask.to_tuple(), reason[:64])

    async def cancel(self, ask: Ask) -> Inclusion:
        """Take a request back."""
        return await self.transact("cancel", ask.to_tuple())

    async def expire(self, ask: Ask) -> Inclusion:
        """End a request whose deadline is over."""
        return await self.transact("expire", ask.to_tuple())

    async def withdraw(self, account: str) -> Inclusion:
        """Pay out what an account is owed."""
        return await self.transact("withdraw", evm.parse_address(account))
