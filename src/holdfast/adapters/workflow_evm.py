"""The contract ``Workflow`` on any EVM chain by its JSON-RPC endpoint (``spec/onchain.md`` §12).

Rules: what is read is told with how it stands at the newest block, and is held against itself (``core.flows``). Not
covered: light-client proofs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from holdfast.adapters.evm_rpc import (
    DEPLOY_GAS_MARGIN_PERCENT,
    EvmAccount,
    EvmConnection,
    TransactionSigner,
    ask_contract,
    call_contract,
    contract_interface,
    quantity,
)
from holdfast.core import evm, flows
from holdfast.core.flows import Kept
from holdfast.core.rounds import ChainDomain
from holdfast.errors import RefusedError, UnavailableError
from holdfast.ports.chain import Inclusion

HISTORY = 16
"""Results that the contract keeps."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a workflow asks, and how."""

    inference: str
    owner: str
    artifact: bytes
    node: str
    fee: int
    every: int
    period: int
    document: bytes
    stopped: bool
    due: int
    """When it may be run next, unix seconds."""
    open_request: bytes
    results: int
    """Kept, ever."""
    balance: int


async def deploy_workflow(
    connection: EvmConnection,
    signer: TransactionSigner | EvmAccount,
    asks: ChainDomain,
    document: bytes,
    *,
    artifact: bytes = bytes(32),
    node: str = evm.ZERO_ADDRESS,
    fee: int = 0,
    every_s: int = 0,
    period_s: int = 3600,
) -> tuple[str, Inclusion]:
    """Create a workflow over a contract ``Inference``: ``document`` are the packed parts that it asks; where it is."""
    arguments = [asks.contract, document, artifact, node, fee, every_s, period_s]
    account = signer if isinstance(signer, EvmAccount) else EvmAccount(connection, signer, asks.chain_id)
    init_code = contract_interface("Workflow").init_code(arguments)
    included, contract = await account.transact(None, init_code, margin=DEPLOY_GAS_MARGIN_PERCENT)
    if contract is None:
        raise UnavailableError("chain.rpc", "the chain created the contract and did not say where")
    return contract, included


class EvmWorkflow:
    """One workflow as one account uses it; reading needs no account with coin."""

    def __init__(self, connection: EvmConnection, domain: ChainDomain, signer: TransactionSigner | EvmAccount) -> None:
        self._connection = connection
        self.domain = domain
        self._account = signer if isinstance(signer, EvmAccount) else EvmAccount(connection, signer, domain.chain_id)

    async def _call(self, function: str, *arguments: Any) -> Any:
        return await call_contract(self._connection, self.domain.contract, "Workflow", function, *arguments)

    async def _answer(self, function: str, *arguments: Any) -> bytes:
        return await ask_contract(self._connection, self.domain.contract, flows.call_data(function, arguments))

    async def terms(self) -> Terms:
        """What it asks, and how."""
        names = ("inference", "owner", "artifact", "node", "fee", "every", "period", "document", "stopped", "due")
        found = {name: await self._call(name) for name in (*names, "open_request", "results")}
        found |= {name: str(found[name]).lower() for name in ("inference", "owner", "node")}
        balance = quantity(await self._connection.request("eth_getBalance", self.domain.contract, "latest"), "balance")
        return Terms(**found, balance=balance)

    async def result(self, back: int = 0) -> Kept | None:
        """The newest result but ``back``; None where there is none."""
        return flows.parse_result(await self._answer("result_before", back))

    async def history(self, most: int = HISTORY) -> list[Kept]:
        """The newest results, newest first."""
        found = []
        for back in range(min(most, HISTORY)):
            kept = await self.result(back)
            if kept is None:
                break
            found.append(kept)
        return found

    async def value(self, label: bytes) -> tuple[bytes, str, int, int]:
        """One part of the newest result: its bytes, how it stands, its round, and when it came. Raises
        ``flow.part`` and ``flow.none``."""
        return flows.parse_value(await self._answer("value", label))

    async def run(self) -> bytes:
        """Ask once more; the id of the request. Raises ``flow.*`` as the contract does."""
        await self.transact("run")
        return bytes(await self._call("open_request"))

    async def fund(self, amount: int) -> Inclusion:
        """Give it money for runs."""
        included, _ = await self._account.transact(self.domain.contract, b"", value=amount)
        return included

    async def transact(self, function: str, *arguments: Any) -> Inclusion:
        """Call a function by its name; raises the contract's reason."""
        included, _ = await self._account.transact(self.domain.contract, flows.call_data(function, arguments))
        return included


def require_workflow(code: str) -> None:
    """Raises ``flow.none`` for an address without code."""
    if code in ("0x", ""):
        raise RefusedError("flow.none", "there is no contract at this address", status=404)
