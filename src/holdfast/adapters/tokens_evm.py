"""What a wallet asks of tokens, over the JSON-RPC endpoints that its owner chose (``client.paying.Tokens``).

Rules: an endpoint is asked once whether it is the chain that it was named for (``chain.other``). What it answers is
believed: a liar can make a wallet sign an allowance for nothing, and cannot make it sign more than its limits.
"""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.core.captures import ALLOWANCE, BALANCE_OF, selector
from holdfast.core.encoding import hex_decode
from holdfast.core.x402 import PERMIT2, address_word, chain_id_of
from holdfast.errors import HoldfastError, RefusedError, UnavailableError, UsageError
from holdfast.ports.json_rpc import JSONRPC

_NONCES, _DECIMALS = selector("nonces(address)"), selector("decimals()")


class EvmTokens:
    """Tokens on several networks."""

    def __init__(self, endpoints: Mapping[str, JSONRPC]) -> None:
        """``endpoints`` by network (``eip155:…``)."""
        self._endpoints = endpoints
        self._checked: set[str] = set()

    async def balance(self, network: str, token: str, owner: str) -> int:
        """Base units."""
        return await self._number(network, token, BALANCE_OF + address_word(owner))

    async def allowance(self, network: str, token: str, owner: str) -> int:
        """Base units that Permit2 may move."""
        return await self._number(network, token, ALLOWANCE + address_word(owner) + address_word(PERMIT2))

    async def permit_nonce(self, network: str, token: str, owner: str) -> int:
        """How many EIP-2612 permits the token has taken from an owner."""
        return await self._number(network, token, _NONCES + address_word(owner))

    async def decimals(self, network: str, token: str) -> int:
        """How many digits of an amount stand behind the point."""
        found = await self._number(network, token, _DECIMALS)
        if found > 36:
            raise UnavailableError("chain.answer", f"the token says that it has {found} decimals")
        return found

    async def _number(self, network: str, to: str, data: bytes) -> int:
        endpoint = self._endpoints.get(network)
        if endpoint is None:
            raise UsageError(
                "chain.endpoint", f"no endpoint is named for {network}", hint="set rpc in the wallet's file"
            )
        if network not in self._checked:
            answer = await endpoint.request("eth_chainId")
            if not isinstance(answer, str) or answer != hex(chain_id_of(network)):
                raise RefusedError("chain.other", f"the endpoint named for {network} is of chain {answer}")
            self._checked.add(network)
        answer = await endpoint.request("eth_call", {"to": to, "data": "0x" + data.hex()}, "latest")
        try:
            return int.from_bytes(hex_decode(answer[2:], 32))
        except (HoldfastError, TypeError) as error:
            raise UnavailableError("chain.answer", f"{to} on {network} does not answer as a token does") from error
