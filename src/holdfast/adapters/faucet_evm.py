"""Gives test tokens of a development chain to whoever asks (``contracts/TestToken.vy``: its owner mints).

Rules: tokens and coin from here are worth nothing anywhere; nobody configures this where money is. One address after
the other: transactions of one account have consecutive nonces. An address that has coin already gets none.
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.adapters.evm_rpc import EvmAccount, EvmConnection, call_contract, contract_interface, quantity
from holdfast.adapters.signer_secp256k1 import Secp256k1Signer
from holdfast.core.evm import parse_address
from holdfast.core.x402 import chain_id_of

TOKENS = 1000 * 10**18
"""What is given at once, base units: a thousand whole tokens."""
COIN = 10**17
"""What is given for transactions of one's own, base units of the chain's coin."""


@dataclass(frozen=True, slots=True)
class Given:
    """What an address was given."""

    address: str
    holds: int
    """Base units of the token that it has now."""
    transaction: str
    """The mint: ``0x`` and 64 hex digits."""


class EvmFaucet:
    """The owner of one test token on one chain. ``close`` after use; of one event loop."""

    def __init__(self, url: str, network: str, token: str, owner: Secp256k1Signer) -> None:
        """``url`` is the chain's JSON-RPC, ``network`` its ``eip155:…``. Raises ``x402.network`` or ``evm.address``."""
        self.url = url
        self.network = network
        self.token = parse_address(token)
        self._chain_id = chain_id_of(network)
        self._owner = owner
        self._account: EvmAccount | None = None

    async def give(self, address: str, amount: int = TOKENS) -> Given:
        """Mint, and give coin where there is little. Raises ``evm.address``, or ``chain.*`` as the chain refuses."""
        receiver = parse_address(address)
        if self._account is None:
            self._account = EvmAccount(EvmConnection(self.url), self._owner, self._chain_id)
        account = self._account
        call = contract_interface("TestToken").call_data("mint", [receiver, amount])
        minted, _ = await account.transact(self.token, call)
        held = quantity(await account.connection.request("eth_getBalance", receiver, "latest"), "balance")
        if held < COIN // 10:
            await account.transact(receiver, b"", value=COIN)
        holds = await call_contract(account.connection, self.token, "TestToken", "balanceOf", receiver)
        return Given(receiver, holds, "0x" + minted.transaction)

    async def close(self) -> None:
        """Let go of the chain."""
        if self._account is not None:
            await self._account.connection.close()


async def give_once(url: str, network: str, token: str, owner: Secp256k1Signer, address: str, amount: int) -> Given:
    """:meth:`EvmFaucet.give` by a faucet that is made for it."""
    faucet = EvmFaucet(url, network, token, owner)
    try:
        return await faucet.give(address, amount)
    finally:
        await faucet.close()
