"""What a wallet asks of tokens, over the JSON-RPC endpoints that its owner chose (``client.paying.Tokens``).

Rules: an endpoint is asked once whether it is the chain that it was named for (``chain.other``). What it answers is
believed: a liar can make a wallet sign an allowance for nothing, and cannot make it sign more than its limits.
"""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.client.chain import ChainReader
from holdfast.core.captures import selector
from holdfast.core.evm import ZERO_ADDRESS
from holdfast.core.x402 import address_word, chain_id_of
from holdfast.errors import RefusedError, UsageError
from holdfast.ports.json_rpc import JSONRPC

_NONCES = selector("nonces(address)")


class WalletChain(ChainReader):
    """One chain, as somebody asks it who only wants to pay."""

    def __init__(self, network: str, rpc: JSONRPC) -> None:
        super().__init__(rpc, ZERO_ADDRESS)
        self._network = network
        self._checked = False

    async def permit_nonce(self, token: str, owner: str) -> int:
        """How many EIP-2612 permits a token has taken from an owner."""
        return await self._number(token, _NONCES + address_word(owner))

    async def require_chain(self) -> None:
        """Raises ``chain.other`` where the endpoint is of another chain than it was named for."""
        if self._checked:
            return
        found = await self.chain_id()
        if found != chain_id_of(self._network):
            raise RefusedError("chain.other", f"the endpoint that is named for {self._network} is of chain {found}")
        self._checked = True


class ChainTokens:
    """Tokens on several networks."""

    def __init__(self, endpoints: Mapping[str, JSONRPC]) -> None:
        """``endpoints`` by network (``eip155:…``)."""
        self._chains = {network: WalletChain(network, rpc) for network, rpc in endpoints.items()}

    async def balance(self, network: str, token: str, owner: str) -> int:
        """Base units."""
        return await (await self._chain(network)).balance(token, owner)

    async def allowance(self, network: str, token: str, owner: str) -> int:
        """Base units that Permit2 may move."""
        return await (await self._chain(network)).allowance(token, owner)

    async def permit_nonce(self, network: str, token: str, owner: str) -> int:
        """How many EIP-2612 permits the token has taken from an owner."""
        return await (await self._chain(network)).permit_nonce(token, owner)

    async def _chain(self, network: str) -> WalletChain:
        chain = self._chains.get(network)
        if chain is None:
            raise UsageError(
                "chain.endpoint", f"no endpoint is named for {network}", hint="set rpc in the wallet's file"
            )
        await chain.require_chain()
        return chain
