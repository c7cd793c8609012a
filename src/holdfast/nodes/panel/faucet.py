"""``POST /pay/faucet``: test tokens of a development chain for somebody's wallet, where the panel has a faucet.

A panel has one where its settings name the key that owns a test token (``faucet_key``), which ``holdfast up`` does and
nobody else should: what it gives is worth nothing, and the page says so. Whoever may ask a model may ask for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from holdfast.core.evm import parse_address
from holdfast.errors import MalformedError, UsageError
from holdfast.nodes.edge import json_response, read_json


@dataclass(frozen=True, slots=True)
class Faucet:
    """Who gives test tokens: on which chain, and how."""

    network: str
    """``eip155:…``"""
    rpc: str
    """The chain's JSON-RPC, for wallets that do not know the chain."""
    give: Callable[[str], Awaitable[str]]
    """Gives to an address; the transaction, ``0x`` and 64 hex digits. Raises ``chain.*``."""
    close: Callable[[], Awaitable[None]]


async def give(faucet: Faucet | None, request: Request) -> Response:
    """Answer the request. Raises ``panel.faucet`` where there is none, or for anything but an address."""
    if faucet is None:
        raise UsageError("panel.faucet", "this panel gives no test tokens", status=404)
    body = await read_json(request)
    if body.keys() != {"address"} or not isinstance(body["address"], str):
        raise MalformedError("panel.faucet", "a faucet is asked with an address", param="address")
    address = parse_address(body["address"].lower())
    return json_response({"address": address, "network": faucet.network, "transaction": await faucet.give(address)})
