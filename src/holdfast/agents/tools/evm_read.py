"""``evm_read``: what an EVM chain says now: a balance, or what a contract answers to a call. Nothing is sent to it.

Settings: ``url`` of an endpoint, where it is not the network's chain. The endpoint is believed; the block is named.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from holdfast.agents.tool import Scope, ToolError
from holdfast.agents.world import World, describe_arguments, only_settings
from holdfast.core.agent_files import ToolFile
from holdfast.core.canonical import JSON
from holdfast.ports.json_rpc import AnsweredError

_HEX = re.compile(r"0x(?:[0-9a-f]{2}){0,4096}\Z")
_NUMBER = re.compile(r"0x[0-9a-f]{1,64}\Z")


class EvmReadTool:
    """See the module."""

    description = (
        "Reads an EVM chain: read is balance (of an address, in wei) or call (what a contract answers to data, hex)."
    )
    parameters: Mapping[str, Any] = describe_arguments(
        read={"type": "string", "enum": ["balance", "call"]},
        address={"type": "string", "minLength": 42, "maxLength": 42},
        data={"type": "string", "maxLength": 8194, "default": "0x"},
    )

    def __init__(self, file: ToolFile, world: World) -> None:
        only_settings(file, "url")
        self.name = file.name
        self._rpc = world.json_rpc(world.node(file, "chain"))

    async def call(self, arguments: Mapping[str, Any], scope: Scope) -> JSON:
        """The block that was read at, and ``wei`` (a decimal) or ``data`` (hex). Raises ``chain.unreachable``."""
        del scope
        address, data = arguments["address"].lower(), arguments.get("data", "0x").lower()
        if _HEX.match(address) is None or _HEX.match(data) is None:
            raise ToolError("an address is 0x and 40 hex digits, data is 0x and hex digits")
        try:
            block = _number(await self._rpc.request("eth_blockNumber"))
            if arguments["read"] == "balance":
                wei = _number(await self._rpc.request("eth_getBalance", address, hex(block)))
                return {"block": block, "wei": str(wei)}
            asked = {"to": address, "data": data}
            answer = await self._rpc.request("eth_call", asked, hex(block))
        except AnsweredError as error:
            raise ToolError(error.message) from error
        if not isinstance(answer, str) or not answer.startswith("0x"):
            raise ToolError("the endpoint answered otherwise than one does")
        return {"block": block, "data": answer}


def _number(value: object) -> int:
    if not isinstance(value, str) or _NUMBER.match(value) is None:
        raise ToolError("the endpoint answered otherwise than one does")
    return int(value, 16)
