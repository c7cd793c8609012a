"""What ``holdfast onchain`` and its groups share: where the chain and the contract ``Inference`` are, and who sends.

Where they are comes from the state folder of ``holdfast up``, or from ``--chain`` and ``--contract``.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from holdfast.adapters.asks_evm import EvmAsks
from holdfast.adapters.evm_rpc import EvmAccount, EvmConnection
from holdfast.cli.chain_accounts import load_account
from holdfast.cli.network import DEFAULT_STATE, find_network, parse_url
from holdfast.core import evm
from holdfast.core.rounds import ChainDomain
from holdfast.errors import UsageError

Result = TypeVar("Result")
Command = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Place:
    """Where the contract is, and who asks."""

    chain: str
    contract: str
    node: str
    """Who serves: whom requests name."""
    first_block: int
    account: Path | None


def _no_account() -> UsageError:
    return UsageError("onchain.account", "this sends a transaction, and no account was named", hint="--account FILE")


def connect(url: str) -> EvmConnection:
    """The chain's JSON-RPC; one place, so that tests bring a chain of their own."""
    return EvmConnection(url)


def place_options(command: Command) -> Command:
    """Add ``--state``, ``--chain``, ``--contract``, ``--json``; the command receives ``place``."""

    @click.option("--state", metavar="DIR", help=f"State folder of 'holdfast up'.  [default: {DEFAULT_STATE}]")
    @click.option("--chain", "chain", metavar="URL", help="JSON-RPC of the chain, instead of a state folder.")
    @click.option("--contract", metavar="ADDRESS", help="The contract Inference, with --chain.")
    @click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")
    @functools.wraps(command)
    def found(
        *arguments: Any,
        state: str | None,
        chain: str | None,
        contract: str | None,
        account: Path | None = None,
        **options: Any,
    ) -> Any:
        return command(*arguments, place=_place(state, chain, contract, account), **options)

    return found


def _place(state: str | None, chain: str | None, contract: str | None, account: Path | None) -> Place:
    if chain is not None and contract is not None and state is None:
        address = evm.parse_address(contract.lower())
        return Place(parse_url(chain, "--chain"), address, evm.ZERO_ADDRESS, 0, account)
    if chain is not None or contract is not None:
        raise UsageError("network.which", "--chain and --contract go together, and without --state")
    network = find_network(state, None, None)
    named, node, block = (network.given.get(name) for name in ("asks", "asks_node", "asks_block"))
    if network.chain is None or not isinstance(named, str) or not isinstance(block, int):
        raise UsageError(
            "onchain.none",
            f"{network.described_by} names no contract that takes requests",
            hint="start its network again with 'holdfast up', or --chain URL --contract ADDRESS",
        )
    return Place(network.chain, evm.parse_address(named), evm.parse_address(node), block, account)


def with_chain(place: Place, work: Callable[[EvmConnection, ChainDomain, EvmAccount], Awaitable[Result]]) -> Result:
    """Run a piece of asynchronous work on the chain; the domain is that of ``Inference``."""

    async def run() -> Result:
        connection = connect(place.chain)
        try:
            domain = ChainDomain(int(await connection.request("eth_chainId"), 16), place.contract)
            signer = load_account(place.account, _no_account())
            return await work(connection, domain, EvmAccount(connection, signer, domain.chain_id))
        finally:
            await connection.close()

    return asyncio.run(run())


def with_asks(place: Place, work: Callable[[EvmAsks], Awaitable[Result]]) -> Result:
    """Run a piece of asynchronous work on the contract ``Inference``."""
    return with_chain(place, lambda connection, domain, account: work(EvmAsks(connection, domain, account)))
