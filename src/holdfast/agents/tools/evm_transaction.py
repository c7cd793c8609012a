"""``evm_transaction``: one transaction from an account of the owner's, to where its owner allows.

Settings: ``chain_id``; ``to``, the addresses that may be called; ``max_value``, the most wei of one act (none unless
said); ``selectors``, the functions that may be called (8 hex digits each; without any, no data is sent); ``max_fee``,
the most wei that its gas may cost; ``confirmations`` (1) and ``wait_s`` (60); ``url`` of an endpoint, where it is not
the network's chain. Secret: ``key``, 64 hex digits. The account belongs to this tool: somebody else who sends from it
takes its nonces.

What is prepared is the signed transaction. Its nonce belongs to it alone, so sending it again does nothing twice, and
what became of it stands on the chain. The endpoint is believed for that.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from holdfast.adapters.signer_secp256k1 import Secp256k1Signer
from holdfast.agents.tool import Act, Fate, Happened, ToolError
from holdfast.agents.world import World, count_setting, describe_arguments, list_setting, only_settings, text_setting
from holdfast.client.chain import ChainReader, Mined, parse_quantity
from holdfast.core.agent_files import ToolFile
from holdfast.core.canonical import JSON
from holdfast.core.encoding import hex_decode
from holdfast.core.evm import parse_address
from holdfast.core.transactions import Transaction, UnsignedTransaction, parse_transaction
from holdfast.errors import HoldfastError, RefusedError, UnavailableError, UsageError
from holdfast.ports.json_rpc import AnsweredError

GAS_MARGIN_PERCENT = 130
"""Gas sent of gas estimated: the state may have changed until the block."""
MAX_FEE_WEI = str(10**16)
"""The most that gas may cost, unless the owner says otherwise."""
POLL_S = 1.0
_WEI = re.compile(r"(?:0|[1-9][0-9]{0,77})\Z")
_SELECTOR = re.compile(r"[0-9a-f]{8}\Z")
_DATA = re.compile(r"0x(?:[0-9a-f]{2}){0,4096}\Z")


class EvmTransactionTool:
    """See the module."""

    description = (
        "Proposes one transaction on an EVM chain: value in wei, data in hex. It waits until it is let through."
    )
    parameters: Mapping[str, Any] = describe_arguments(
        to={"type": "string", "minLength": 42, "maxLength": 42},
        value={"type": "string", "maxLength": 78, "default": "0"},
        data={"type": "string", "maxLength": 8194, "default": "0x"},
    )

    def __init__(
        self, file: ToolFile, world: World, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        only_settings(file, "url", "chain_id", "to", "max_value", "selectors", "max_fee", "confirmations", "wait_s")
        self.name, self.effect = file.name, file.effect
        self._chain_id = count_setting(file, "chain_id", 0)
        self._to = frozenset(parse_address(address.lower()) for address in list_setting(file, "to"))
        self._selectors = frozenset(list_setting(file, "selectors") if "selectors" in file.settings else ())
        self._most = _wei(text_setting(file, "max_value", "0"), f"{file.name}.max_value")
        self._most_fee = _wei(text_setting(file, "max_fee", MAX_FEE_WEI), f"{file.name}.max_fee")
        self._depth = count_setting(file, "confirmations", 1)
        self._wait_s = count_setting(file, "wait_s", 60)
        if not self._chain_id or not self._depth or not all(map(_SELECTOR.match, self._selectors)):
            message = "chain_id and confirmations are at least 1, a selector is 8 hex digits"
            raise UsageError("tool.settings", message, param=file.name)
        self.spends = f"chain {self._chain_id}, account {file.secrets.get('key', 'of nobody')}"
        self._rpc = world.json_rpc(world.node(file, "chain"))
        self._sleep = sleep

    async def prepare(self, act: Act) -> bytes:
        """The signed transaction. Raises :class:`ToolError` for what its owner or the contract refuses."""
        to, value, data = self._allowed(act.arguments)
        signer = _signer(act)
        chain = ChainReader(self._rpc, signer.address)
        found = await chain.chain_id()
        if found != self._chain_id:
            raise RefusedError("chain.other", f"the endpoint is of chain {found}, and the agent file says another")
        gas = await self._gas(signer.address, to, value, data)
        fees = await chain.fees()
        if gas * fees.maximum > self._most_fee:
            hint = "raise max_fee, or wait for a quieter chain"
            raise UnavailableError("chain.fee", f"its gas may cost {gas * fees.maximum} wei", hint=hint)
        nonce = await self._nonce(signer.address)
        unsigned = UnsignedTransaction(self._chain_id, nonce, fees.priority, fees.maximum, gas, to, value, data)
        return unsigned.signed(signer.sign(unsigned.digest()))

    async def carry_out(self, act: Act, prepared: bytes) -> JSON:
        """Send it and wait until it lies deep enough; its hash, block, and whether it succeeded there."""
        del act
        transaction = parse_transaction(prepared)
        chain = ChainReader(self._rpc, transaction.sender)
        refusal = await chain.send(prepared)
        for _ in range(max(1, int(self._wait_s / POLL_S))):
            mined = await chain.mined(transaction.hash)
            if mined is not None and await self._is_deep(chain, mined.block):
                return _shown(transaction, mined)
            if mined is None and refusal:
                raise UnavailableError("chain.refused", f"the chain does not take it now: {refusal}")
            await self._sleep(POLL_S)
        raise UnavailableError("chain.timeout", f"after {self._wait_s} s it does not lie deep enough yet")

    async def look(self, act: Act, prepared: bytes) -> Happened | Fate:
        """By its hash, and by what became of its nonce."""
        del act
        transaction = parse_transaction(prepared)
        chain = ChainReader(self._rpc, transaction.sender)
        used = await chain.nonce() > transaction.nonce
        mined = await chain.mined(transaction.hash)
        if mined is not None:
            if not await self._is_deep(chain, mined.block):
                raise UnavailableError("chain.depth", f"it is in block {mined.block}, which is not deep enough yet")
            return Happened(_shown(transaction, mined))
        if not used:
            return Fate.NOT_YET
        if not await self._is_used_for_good(chain, transaction):
            raise UnavailableError("chain.depth", "another transaction took its nonce, and is not deep enough yet")
        return Fate.DID_NOT

    def _allowed(self, arguments: Mapping[str, Any]) -> tuple[str, int, bytes]:
        to, value = str(arguments["to"]).lower(), str(arguments.get("value", "0"))
        data = str(arguments.get("data", "0x")).lower()
        if to not in self._to:
            raise ToolError("its owner allows no transaction to this address")
        if _WEI.match(value) is None or int(value) > self._most:
            raise ToolError(f"its owner allows at most {self._most} wei, a decimal without a point")
        if _DATA.match(data) is None or (data != "0x" and data[2:10] not in self._selectors):
            raise ToolError("its owner allows no call of this function")
        return to, int(value), bytes.fromhex(data[2:])

    async def _gas(self, sender: str, to: str, value: int, data: bytes) -> int:
        call = {"from": sender, "to": to, "value": hex(value), "data": "0x" + data.hex()}
        try:
            answer = await self._rpc.request("eth_estimateGas", call)
        except AnsweredError as error:
            if error.revert_data() is None:
                raise
            raise ToolError(f"the chain refuses it: {error.text}") from error
        return parse_quantity(answer, "gas") * GAS_MARGIN_PERCENT // 100

    async def _nonce(self, address: str) -> int:
        return parse_quantity(await self._rpc.request("eth_getTransactionCount", address, "pending"), "nonce")

    async def _is_deep(self, chain: ChainReader, block: int) -> bool:
        return await chain.height() - block + 1 >= self._depth

    async def _is_used_for_good(self, chain: ChainReader, transaction: Transaction) -> bool:
        """Whether the nonce was used up so many blocks ago as a receipt has to be old."""
        block = await chain.height() - self._depth + 1
        if block < 0:
            return False
        answer = await self._rpc.request("eth_getTransactionCount", transaction.sender, hex(block))
        return parse_quantity(answer, "nonce") > transaction.nonce


def _signer(act: Act) -> Secp256k1Signer:
    secret = act.secrets.get("key")
    if secret is None:
        raise UsageError("tool.secret", "a transaction is signed by the secret key: name it in the agent file")
    try:
        return Secp256k1Signer(hex_decode(secret.reveal().strip().removeprefix("0x").lower(), 32), "account")
    except HoldfastError as error:
        raise UsageError("tool.secret", "the secret key is 64 hex digits") from error


def _shown(transaction: Transaction, mined: Mined) -> JSON:
    return {
        "transaction": "0x" + transaction.hash.hex(),
        "from": transaction.sender,
        "nonce": transaction.nonce,
        "block": mined.block,
        "succeeded": mined.success,
    }


def _wei(text: str, param: str) -> int:
    if _WEI.match(text) is None:
        raise UsageError("tool.settings", "an amount is a decimal of wei, as a text", param=param)
    return int(text)
