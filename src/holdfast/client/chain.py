"""One chain as whoever moves or follows tokens needs it: try a call, send bytes, see what became of them.

Everything here reads a JSON-RPC endpoint's words strictly and decides nothing. The endpoint is believed for order and
contents; a refusal by a contract is an answer, silence is an error.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.core.captures import ALLOWANCE, AUTHORIZATION_STATE, BALANCE_OF, NONCE_BITMAP, Call, Event
from holdfast.core.x402 import PERMIT2, address_word
from holdfast.errors import UnavailableError
from holdfast.ports.json_rpc import JSONRPC, AnsweredError

BUSY = (-32005, -32016, -32603)
"""Error codes by which endpoints say that they are busy or broken; any other one on a call is about that call."""
_QUANTITY = re.compile(r"0x[0-9a-fA-F]{1,64}\Z")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}\Z")


def _bad(what: str) -> UnavailableError:
    return UnavailableError("chain.answer", f"the chain's {what} is not what it should be")


def parse_quantity(value: object, what: str) -> int:
    """A number as JSON-RPC endpoints write it; raises ``chain.answer`` (:class:`UnavailableError`)."""
    if not isinstance(value, str) or _QUANTITY.match(value) is None:
        raise _bad(what)
    return int(value, 16)


def _bytes(value: object, what: str, size_bytes: int | None = None) -> bytes:
    try:
        found = bytes.fromhex(value[2:]) if isinstance(value, str) and value.startswith("0x") else None
    except ValueError:
        found = None
    if found is None or size_bytes not in (None, len(found)):
        raise _bad(what)
    return found


@dataclass(frozen=True, slots=True)
class Mined:
    """A transaction in a block, for now."""

    block: int
    block_hash: bytes
    success: bool
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Fees:
    """Base units per gas."""

    priority: int
    maximum: int


class ChainReader:
    """Questions to one endpoint, asked from one account."""

    def __init__(self, rpc: JSONRPC, account: str) -> None:
        self._rpc = rpc
        self.account = account

    async def chain_id(self) -> int:
        """Which chain this is."""
        return parse_quantity(await self._rpc.request("eth_chainId"), "chain id")

    async def height(self) -> int:
        """Number of the newest block."""
        return parse_quantity(await self._rpc.request("eth_blockNumber"), "block number")

    async def nonce(self) -> int:
        """How many transactions of the account are in blocks."""
        answer = await self._rpc.request("eth_getTransactionCount", self.account, "latest")
        return parse_quantity(answer, "transaction count")

    async def fees(self) -> Fees:
        """What gets a transaction into one of the next blocks: the maximum survives six full ones."""
        block, suggested = await asyncio.gather(
            self._rpc.request("eth_getBlockByNumber", "latest", False),
            self._rpc.request("eth_maxPriorityFeePerGas"),
        )
        base = parse_quantity(block.get("baseFeePerGas") if isinstance(block, dict) else None, "base fee")
        priority = parse_quantity(suggested, "priority fee")
        return Fees(priority, 2 * base + priority)

    async def revert_of(self, call: Call) -> bytes | None:
        """Carry a call out on the newest state and forget it: ``None`` if it works, else its revert data."""
        asked = {"from": self.account, "to": call.to, "data": "0x" + call.data.hex()}
        try:
            await self._rpc.request("eth_call", asked, "latest")
        except AnsweredError as error:
            if error.number in BUSY:
                raise
            return error.revert_data() or b""
        return None

    async def has_code(self, address: str) -> bool:
        """Whether there is a contract at an address."""
        return bool(_bytes(await self._rpc.request("eth_getCode", address, "latest"), "code"))

    async def _number(self, to: str, data: bytes) -> int:
        answer = await self._rpc.request("eth_call", {"to": to, "data": "0x" + data.hex()}, "latest")
        return int.from_bytes(_bytes(answer, "answer")[:32])

    async def balance(self, token: str, owner: str) -> int:
        """Base units of a token."""
        return await self._number(token, BALANCE_OF + address_word(owner))

    async def allowance(self, token: str, owner: str) -> int:
        """Base units of a token that Permit2 may move."""
        return await self._number(token, ALLOWANCE + address_word(owner) + address_word(PERMIT2))

    async def authorization_used(self, token: str, payer: str, nonce: bytes) -> bool:
        """Whether a token counts an EIP-3009 nonce (32 bytes) as used, or as taken back."""
        return bool(await self._number(token, AUTHORIZATION_STATE + address_word(payer) + nonce))

    async def permit_used(self, payer: str, nonce: int) -> bool:
        """Whether Permit2 counts a nonce as used, or as taken back."""
        data = NONCE_BITMAP + address_word(payer) + (nonce >> 8).to_bytes(32)
        return bool(await self._number(PERMIT2, data) >> (nonce & 0xFF) & 1)

    async def block_time(self, number: int) -> int:
        """The unix second of a block."""
        block = await self._rpc.request("eth_getBlockByNumber", hex(number), False)
        return parse_quantity(block.get("timestamp") if isinstance(block, dict) else None, "block time")

    async def events(self, address: str, topics: Sequence[bytes], first: int, last: int) -> list[tuple[bytes, Event]]:
        """Events of a contract in blocks ``first`` to ``last`` whose topics begin so, each with its transaction."""
        asked = {
            "address": address,
            "topics": ["0x" + topic.hex() for topic in topics],
            "fromBlock": hex(first),
            "toBlock": hex(last),
        }
        answer = await self._rpc.request("eth_getLogs", asked)
        if not isinstance(answer, list):
            raise _bad("events")
        return [(_bytes(_member(entry, "transactionHash"), "event", 32), _event(entry)) for entry in answer]

    async def input_of(self, digest: bytes) -> bytes | None:
        """What a transaction hands to its contract, if the chain knows it."""
        found = await self._rpc.request("eth_getTransactionByHash", "0x" + digest.hex())
        return None if found is None else _bytes(_member(found, "input"), "transaction")

    async def send(self, raw: bytes) -> str:
        """Hand a signed transaction over; empty when it was taken (or known), else what is said against it."""
        try:
            await self._rpc.request("eth_sendRawTransaction", "0x" + raw.hex())
        except AnsweredError as error:
            text = error.text.lower()
            return "" if "known" in text or "already imported" in text else text or "refused"
        return ""

    async def mined(self, digest: bytes) -> Mined | None:
        """What a transaction did, if it is in a block now."""
        receipt = await self._rpc.request("eth_getTransactionReceipt", "0x" + digest.hex())
        if not isinstance(receipt, dict) or receipt.get("blockNumber") is None:
            return None
        logs = receipt.get("logs")
        if not isinstance(logs, list):
            raise _bad("receipt")
        return Mined(
            parse_quantity(receipt["blockNumber"], "block number"),
            _bytes(receipt.get("blockHash"), "block hash", 32),
            receipt.get("status") == "0x1",
            tuple(_event(entry) for entry in logs),
        )


def _member(value: object, name: str) -> object:
    if not isinstance(value, Mapping):
        raise _bad("answer")
    return value.get(name)


def _event(entry: object) -> Event:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("topics"), list):
        raise _bad("event")
    found: Mapping[str, Any] = entry
    address = found.get("address")
    if not isinstance(address, str) or _ADDRESS.match(address) is None:
        raise _bad("event")
    topics = tuple(_bytes(topic, "topic", 32) for topic in found["topics"])
    return Event(address.lower(), topics, _bytes(found.get("data"), "event"))
