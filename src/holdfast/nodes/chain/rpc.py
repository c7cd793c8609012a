"""The Ethereum JSON-RPC methods that wallets, contract libraries and Holdfast itself use.

Rules: requests are strict JSON; a batch is answered in order; numbers are minimal ``0x`` hex (the Ethereum execution
API's QUANTITY), bytes are ``0x`` hex of even length (DATA). Errors keep JSON-RPC's own shape, because every client
expects it: ``3`` with the revert data for a revert, ``-32602`` for parameters, ``-32000`` for a refused transaction;
our stable code rides in ``error.data.code`` where there is no revert data.
Not covered: subscriptions and filters, state of older blocks (``chain.history``), accounts kept by the node.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from holdfast.core import canonical, evm
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UsageError
from holdfast.nodes.chain.service import Block, DevelopmentChain, Receipt, block_events
from holdfast.ports.vm import Message, Outcome

_QUANTITY = re.compile(r"0x(?:0|[1-9a-fA-F][0-9a-fA-F]{0,63})\Z")
_DATA = re.compile(r"0x(?:[0-9a-fA-F]{2})*\Z")
_TAGS = ("latest", "pending", "safe", "finalized")
PRIORITY_FEE = 1
"""What is suggested on top of the base fee, base units per gas."""
ESTIMATE_STEPS = 16
"""Halvings when gas is estimated: within 1/65536 of the block's gas."""
_ERROR_SELECTOR = bytes.fromhex("08c379a0")
ZERO_HASH = "0x" + "00" * 32


class _RevertedError(HoldfastError):
    """A call that the contract refused; carries its revert data."""

    def __init__(self, data: bytes, halt: str) -> None:
        reason = revert_reason(data)
        text = f"execution reverted: {reason}" if reason else f"execution reverted {halt}".strip()
        super().__init__("chain.reverted", text)
        self.data = data


def revert_reason(data: bytes) -> str:
    """The text of a Solidity-style ``Error(string)``; empty for anything else."""
    if data[:4] != _ERROR_SELECTOR or len(data) < 68:
        return ""
    size = int.from_bytes(data[36:68])
    return data[68 : 68 + size].decode("utf-8", "replace")


def quantity(value: int) -> str:
    """QUANTITY: minimal hex."""
    return hex(value)


def data_hex(value: bytes) -> str:
    """DATA: hex of whole bytes."""
    return "0x" + value.hex()


def _parse_quantity(value: object, name: str) -> int:
    if not isinstance(value, str) or _QUANTITY.match(value) is None:
        raise MalformedError("rpc.params", f"{name} is 0x hex without leading zeros", param=name)
    return int(value, 16)


def _parse_data(value: object, name: str, size_bytes: int | None = None) -> bytes:
    if not isinstance(value, str) or _DATA.match(value) is None:
        raise MalformedError("rpc.params", f"{name} is 0x hex of whole bytes", param=name)
    result = bytes.fromhex(value[2:])
    if size_bytes is not None and len(result) != size_bytes:
        raise MalformedError("rpc.params", f"{name} has {size_bytes} bytes", param=name)
    return result


def _parse_address(value: object, name: str) -> str:
    return evm.address_from_bytes(_parse_data(value, name, 20))


Method = Callable[[list[Any]], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class RpcLimits:
    """How much one request may ask."""

    batch_requests: int = 1_000
    log_results: int = 10_000


@dataclass
class JsonRpc:
    """The methods over one chain."""

    chain: DevelopmentChain
    limits: RpcLimits = field(default_factory=RpcLimits)
    test_hooks: bool = False

    def __post_init__(self) -> None:
        self._methods: dict[str, Method] = {
            "eth_accounts": self._empty,
            "eth_blockNumber": self._block_number,
            "eth_call": self._call,
            "eth_chainId": self._chain_id,
            "eth_estimateGas": self._estimate,
            "eth_feeHistory": self._fee_history,
            "eth_gasPrice": self._gas_price,
            "eth_getBalance": self._balance,
            "eth_getBlockByHash": self._block_by_hash,
            "eth_getBlockByNumber": self._block_by_number,
            "eth_getBlockReceipts": self._block_receipts,
            "eth_getBlockTransactionCountByNumber": self._block_transaction_count,
            "eth_getCode": self._code,
            "eth_getLogs": self._logs,
            "eth_getStorageAt": self._storage,
            "eth_getTransactionByHash": self._transaction,
            "eth_getTransactionCount": self._transaction_count,
            "eth_getTransactionReceipt": self._receipt,
            "eth_maxPriorityFeePerGas": self._priority_fee,
            "eth_sendRawTransaction": self._send,
            "eth_syncing": self._false,
            "net_listening": self._true,
            "net_version": self._version,
            "txpool_status": self._pool_status,
            "web3_clientVersion": self._client_version,
        }
        if self.test_hooks:
            self._methods |= {
                "evm_increaseTime": self._increase_time,
                "evm_mine": self._mine,
                "evm_setAutomine": self._set_automine,
                "holdfast_reorganise": self._reorganise,
            }

    async def answer(self, body: bytes) -> Any:
        """A request body (one request or a batch) to the value of the answer's body; ``None`` means no answer."""
        try:
            request = canonical.decode(body)
        except MalformedError as error:
            return _failure(None, -32700, error.message, error.code)
        if not isinstance(request, list):
            return await self._answer_one(request)
        if not request:
            return _failure(None, -32600, "an empty batch", "rpc.request")
        if len(request) > self.limits.batch_requests:
            return _failure(None, -32600, f"at most {self.limits.batch_requests} requests in a batch", "rpc.request")
        answers = []
        for index, each in enumerate(request):
            answers.append(await self._answer_one(each))
            if index % 64 == 63:
                await asyncio.sleep(0)
        kept = [answer for answer in answers if answer is not None]
        return kept or None

    async def _answer_one(self, request: Any) -> Any:
        if not isinstance(request, dict) or not isinstance(request.get("method"), str):
            return _failure(None, -32600, "a request is an object with a method", "rpc.request")
        name, parameters, identity = request["method"], request.get("params", []), request.get("id")
        method = self._methods.get(name)
        if method is None:
            return _failure(identity, -32601, f"the method {name} does not exist/is not available", "rpc.method")
        if not isinstance(parameters, list):
            return _failure(identity, -32602, "params is a list", "rpc.params")
        try:
            result = await method(parameters)
        except _RevertedError as error:
            return {
                "jsonrpc": "2.0",
                "id": identity,
                "error": {"code": 3, "message": error.message, "data": data_hex(error.data)},
            }
        except MalformedError as error:
            return _failure(identity, -32602, error.message, error.code)
        except HoldfastError as error:
            return _failure(identity, -32000, error.message, error.code)
        return None if "id" not in request else {"jsonrpc": "2.0", "id": identity, "result": result}

    # --- constants ----------------------------------------------------------------------------------------------------

    async def _empty(self, _: list[Any]) -> list[str]:
        return []

    async def _false(self, _: list[Any]) -> bool:
        return False

    async def _true(self, _: list[Any]) -> bool:
        return True

    async def _chain_id(self, _: list[Any]) -> str:
        return quantity(self.chain.rules.chain_id)

    async def _version(self, _: list[Any]) -> str:
        return str(self.chain.rules.chain_id)

    async def _client_version(self, _: list[Any]) -> str:
        return "holdfast-development-chain/v1"

    async def _gas_price(self, _: list[Any]) -> str:
        return quantity(self.chain.rules.base_fee + PRIORITY_FEE)

    async def _priority_fee(self, _: list[Any]) -> str:
        return quantity(PRIORITY_FEE)

    async def _fee_history(self, parameters: list[Any]) -> dict[str, Any]:
        first = parameters[0] if parameters else None
        wanted = first if isinstance(first, int) else _parse_quantity(first, "blockCount")
        head = self._numbered(parameters[1] if len(parameters) > 1 else "latest")
        percentiles = parameters[2] if len(parameters) > 2 and isinstance(parameters[2], list) else []
        count = max(0, min(wanted, 1024, head.number + 1))
        blocks = [self.chain.block(number) or head for number in range(head.number - count + 1, head.number + 1)]
        return {
            "oldestBlock": quantity(head.number - count + 1),
            "baseFeePerGas": [quantity(self.chain.rules.base_fee)] * (count + 1),
            "gasUsedRatio": [block.gas_used / self.chain.rules.block_gas_limit for block in blocks],
            "reward": [[quantity(PRIORITY_FEE)] * len(percentiles)] * count,
        }

    # --- blocks, transactions, events ---------------------------------------------------------------------------------

    async def _block_number(self, _: list[Any]) -> str:
        return quantity(self.chain.head.number)

    def _numbered(self, tag: object) -> Block:
        """The block a tag or number means; raises ``chain.block`` for one that is not there."""
        if tag in _TAGS:
            return self.chain.head
        number = 0 if tag == "earliest" else _parse_quantity(tag, "block")
        block = self.chain.block(number)
        if block is None:
            raise UsageError("chain.block", "header not found")
        return block

    async def _block_by_number(self, parameters: list[Any]) -> Any:
        tag, full = _take(parameters, 2, "latest", False)
        try:
            block = self._numbered(tag)
        except UsageError:
            return None
        return self._show_block(block, full=bool(full))

    async def _block_by_hash(self, parameters: list[Any]) -> Any:
        digest, full = _take(parameters, 2, None, False)
        block = self.chain.block_by_hash(_parse_data(digest, "hash", 32))
        return None if block is None else self._show_block(block, full=bool(full))

    async def _block_transaction_count(self, parameters: list[Any]) -> str:
        return quantity(len(self._numbered(_take(parameters, 1, "latest")[0]).receipts))

    async def _block_receipts(self, parameters: list[Any]) -> Any:
        try:
            block = self._numbered(_take(parameters, 1, "latest")[0])
        except UsageError:
            return None
        return [self._show_receipt(receipt) for receipt in block.receipts]

    def _show_block(self, block: Block, *, full: bool) -> dict[str, Any]:
        transactions = [
            self._show_transaction(receipt) if full else data_hex(receipt.transaction.hash)
            for receipt in block.receipts
        ]
        return {
            "number": quantity(block.number),
            "hash": data_hex(block.hash),
            "parentHash": data_hex(block.parent),
            "timestamp": quantity(block.time),
            "gasLimit": quantity(self.chain.rules.block_gas_limit),
            "gasUsed": quantity(block.gas_used),
            "baseFeePerGas": quantity(self.chain.rules.base_fee),
            "mixHash": data_hex(block.randao),
            "miner": evm.ZERO_ADDRESS,
            "difficulty": "0x0",
            "totalDifficulty": "0x0",
            "nonce": "0x0000000000000000",
            "extraData": "0x",
            "logsBloom": data_hex(_bloom(block.receipts)),
            "sha3Uncles": ZERO_HASH,
            "stateRoot": ZERO_HASH,
            "transactionsRoot": ZERO_HASH,
            "receiptsRoot": ZERO_HASH,
            "size": "0x0",
            "uncles": [],
            "transactions": transactions,
        }

    async def _transaction(self, parameters: list[Any]) -> Any:
        digest = _parse_data(_take(parameters, 1, None)[0], "hash", 32)
        receipt = self.chain.receipt(digest)
        if receipt is not None:
            return self._show_transaction(receipt)
        waiting = self.chain.waiting(digest)
        if waiting is None:
            return None
        pending = Receipt(waiting, 0, b"", 0, Outcome(False, b"", 0, (), None, ""), waiting.max_fee, 0, 0)
        return {
            **self._show_transaction(pending),
            "blockHash": None,
            "blockNumber": None,
            "transactionIndex": None,
        }

    def _show_transaction(self, receipt: Receipt) -> dict[str, Any]:
        transaction = receipt.transaction
        parity, r, s = transaction.signature
        shown: dict[str, Any] = {
            "hash": data_hex(transaction.hash),
            "blockHash": data_hex(receipt.block_hash),
            "blockNumber": quantity(receipt.block_number),
            "transactionIndex": quantity(receipt.index),
            "type": quantity(transaction.type),
            "chainId": quantity(transaction.chain_id),
            "nonce": quantity(transaction.nonce),
            "from": transaction.sender,
            "to": transaction.to,
            "value": quantity(transaction.value),
            "gas": quantity(transaction.gas),
            "gasPrice": quantity(receipt.gas_price),
            "input": data_hex(transaction.data),
            "v": quantity(parity if transaction.type else 35 + 2 * transaction.chain_id + parity),
            "r": quantity(r),
            "s": quantity(s),
        }
        if transaction.type:
            shown["accessList"] = []
            shown["yParity"] = quantity(parity)
        if transaction.type == 2:
            shown["maxFeePerGas"] = quantity(transaction.max_fee)
            shown["maxPriorityFeePerGas"] = quantity(transaction.max_priority_fee)
        return shown

    async def _receipt(self, parameters: list[Any]) -> Any:
        receipt = self.chain.receipt(_parse_data(_take(parameters, 1, None)[0], "hash", 32))
        return None if receipt is None else self._show_receipt(receipt)

    def _show_receipt(self, receipt: Receipt) -> dict[str, Any]:
        transaction, outcome = receipt.transaction, receipt.outcome
        block = self.chain.block_by_hash(receipt.block_hash)
        events = [] if block is None else [entry for entry in block_events(block) if entry[1] is receipt]
        return {
            "transactionHash": data_hex(transaction.hash),
            "transactionIndex": quantity(receipt.index),
            "blockHash": data_hex(receipt.block_hash),
            "blockNumber": quantity(receipt.block_number),
            "from": transaction.sender,
            "to": transaction.to,
            "cumulativeGasUsed": quantity(receipt.cumulative_gas),
            "gasUsed": quantity(outcome.gas_used),
            "effectiveGasPrice": quantity(receipt.gas_price),
            "contractAddress": outcome.created,
            "logs": [self._show_event(entry) for entry in events],
            "logsBloom": data_hex(_bloom((receipt,))),
            "type": quantity(transaction.type),
            "status": quantity(int(outcome.success)),
        }

    @staticmethod
    def _show_event(entry: tuple[int, Receipt, Any]) -> dict[str, Any]:
        index, receipt, event = entry
        return {
            "address": event.address,
            "topics": [data_hex(topic) for topic in event.topics],
            "data": data_hex(event.data),
            "blockNumber": quantity(receipt.block_number),
            "blockHash": data_hex(receipt.block_hash),
            "transactionHash": data_hex(receipt.transaction.hash),
            "transactionIndex": quantity(receipt.index),
            "logIndex": quantity(index),
            "removed": False,
        }

    async def _logs(self, parameters: list[Any]) -> list[dict[str, Any]]:
        query = _take(parameters, 1, None)[0]
        if not isinstance(query, dict):
            raise MalformedError("rpc.params", "a filter is an object", param="filter")
        if "blockHash" in query:
            block = self.chain.block_by_hash(_parse_data(query["blockHash"], "blockHash", 32))
            blocks = [] if block is None else [block]
            if block is None:
                raise UsageError("chain.block", "unknown block")
        else:
            first = self._height(query.get("fromBlock", "latest"))
            last = self._height(query.get("toBlock", "latest"))
            found = (self.chain.block(number) for number in range(first, min(last, self.chain.head.number) + 1))
            blocks = [block for block in found if block is not None]
        addresses = query.get("address")
        listed = addresses if isinstance(addresses, list) else [] if addresses is None else [addresses]
        wanted = {_parse_address(each, "address") for each in listed}
        topics = [_parse_topics(each) for each in query.get("topics") or []]
        results: list[dict[str, Any]] = []
        for block in blocks:
            for entry in block_events(block):
                event = entry[2]
                if wanted and event.address not in wanted:
                    continue
                if len(topics) > len(event.topics) or any(
                    choice is not None and event.topics[at] not in choice for at, choice in enumerate(topics)
                ):
                    continue
                if len(results) >= self.limits.log_results:
                    text = f"query returned more than {self.limits.log_results} results"
                    raise RefusedError("rpc.results", text)
                results.append(self._show_event(entry))
        return results

    def _height(self, tag: object) -> int:
        if tag in _TAGS:
            return self.chain.head.number
        return 0 if tag == "earliest" else _parse_quantity(tag, "block")

    # --- state --------------------------------------------------------------------------------------------------------

    def _require_newest(self, tag: object) -> None:
        """State is kept for the newest block only; any other block raises ``chain.history``."""
        if isinstance(tag, dict):
            known = self.chain.block_by_hash(_parse_data(tag.get("blockHash"), "blockHash", 32))
            newest = known is not None and known.number == self.chain.head.number
        else:
            newest = tag in _TAGS or self._numbered(tag).number == self.chain.head.number
        if not newest:
            raise RefusedError("chain.history", "this chain keeps the newest state only")

    async def _balance(self, parameters: list[Any]) -> str:
        address, tag = _take(parameters, 2, None, "latest")
        self._require_newest(tag)
        return quantity(await self.chain.balance(_parse_address(address, "address")))

    async def _code(self, parameters: list[Any]) -> str:
        address, tag = _take(parameters, 2, None, "latest")
        self._require_newest(tag)
        return data_hex(await self.chain.code(_parse_address(address, "address")))

    async def _storage(self, parameters: list[Any]) -> str:
        address, slot, tag = _take(parameters, 3, None, None, "latest")
        self._require_newest(tag)
        place = int.from_bytes(_parse_data(slot, "slot", 32)) if _is_word(slot) else _parse_quantity(slot, "slot")
        return data_hex(evm.word(await self.chain.storage(_parse_address(address, "address"), place)))

    async def _transaction_count(self, parameters: list[Any]) -> str:
        address, tag = _take(parameters, 2, None, "latest")
        self._require_newest(tag)
        return quantity(await self.chain.nonce(_parse_address(address, "address"), pending=tag == "pending"))

    def _message(self, value: object) -> tuple[Message, bool]:
        """A call object, and whether it named its gas."""
        if not isinstance(value, dict):
            raise MalformedError("rpc.params", "a call is an object", param="call")
        sender = _parse_address(value["from"], "from") if value.get("from") else evm.ZERO_ADDRESS
        to = _parse_address(value["to"], "to") if value.get("to") else None
        data = _parse_data(value.get("input") or value.get("data") or "0x", "data")
        amount = _parse_quantity(value.get("value") or "0x0", "value")
        limit = self.chain.rules.block_gas_limit
        gas = min(_parse_quantity(value["gas"], "gas"), limit) if value.get("gas") else limit
        return Message(sender, to, data, amount, gas), bool(value.get("gas"))

    async def _execute(self, message: Message) -> Outcome:
        try:
            outcome = await self.chain.call(message)
        except RefusedError as error:
            raise RefusedError("chain.call", "insufficient funds or gas for the call", hint=error.hint) from error
        if not outcome.success:
            raise _RevertedError(outcome.output, outcome.halt)
        return outcome

    async def _call(self, parameters: list[Any]) -> str:
        call, tag = _take(parameters, 2, None, "latest", more=True)
        self._require_newest(tag)
        return data_hex((await self._execute(self._message(call)[0])).output)

    async def _estimate(self, parameters: list[Any]) -> str:
        call, tag = _take(parameters, 2, None, "latest", more=True)
        self._require_newest(tag)
        message, _ = self._message(call)
        enough = (await self._execute(message)).gas_used
        if await self._suffices(message, enough):
            return quantity(enough)
        low, high = enough, message.gas  # more is needed on the way than is used in the end (refunds, the 63/64 rule)
        for _ in range(ESTIMATE_STEPS):
            middle = (low + high) // 2
            low, high = (low, middle) if await self._suffices(message, middle) else (middle, high)
        return quantity(high)

    async def _suffices(self, message: Message, gas: int) -> bool:
        tried = Message(message.sender, message.to, message.data, message.value, gas)
        try:
            return (await self.chain.call(tried)).success
        except RefusedError:
            return False

    async def _send(self, parameters: list[Any]) -> str:
        raw = _parse_data(_take(parameters, 1, None)[0], "transaction")
        return data_hex(await self.chain.submit(raw))

    async def _pool_status(self, _: list[Any]) -> dict[str, str]:
        pending, queued = self.chain.pool_counts()
        return {"pending": quantity(pending), "queued": quantity(queued)}

    # --- test hooks ---------------------------------------------------------------------------------------------------

    async def _mine(self, _: list[Any]) -> str:
        await self.chain.mine()
        return "0x0"

    async def _increase_time(self, parameters: list[Any]) -> str:
        value = _take(parameters, 1, None)[0]
        return quantity(self.chain.advance(value if isinstance(value, int) else _parse_quantity(value, "seconds")))

    async def _set_automine(self, parameters: list[Any]) -> bool:
        self.chain.set_automine(_take(parameters, 1, True)[0] is True)
        return True

    async def _reorganise(self, parameters: list[Any]) -> str:
        depth, drop = _take(parameters, 2, None, False)
        await self.chain.reorganise(_parse_quantity(depth, "depth"), drop=drop is True)
        return quantity(self.chain.head.number)


def _failure(identity: Any, number: int, message: str, code: str) -> dict[str, Any]:
    return {
        "jsonrpc": "2.0",
        "id": identity,
        "error": {"code": number, "message": message, "data": {"code": code}},
    }


def _take(parameters: list[Any], count: int, *defaults: Any, more: bool = False) -> list[Any]:
    """Exactly ``count`` parameters, the missing ones from ``defaults``; a missing one without default is ``None``."""
    if len(parameters) > count and not more:
        raise MalformedError("rpc.params", f"at most {count} parameters")
    return [*parameters[:count], *defaults[min(len(parameters), count) :]]


def _is_word(value: object) -> bool:
    return isinstance(value, str) and len(value) == 66


def _parse_topics(value: object) -> set[bytes] | None:
    if value is None:
        return None
    listed = value if isinstance(value, list) else [value]
    return {_parse_data(each, "topic", 32) for each in listed}


def _bloom(receipts: tuple[Receipt, ...]) -> bytes:
    """The 2048-bit filter over addresses and topics (yellow paper §4.3.1); light clients skip blocks by it."""
    bits = 0
    for receipt in receipts:
        for event in receipt.outcome.logs:
            for item in (evm.address_bytes(event.address), *event.topics):
                digest = evm.keccak256(item)
                for at in (0, 2, 4):
                    bits |= 1 << (int.from_bytes(digest[at : at + 2]) & 2047)
    return bits.to_bytes(256)


def unavailable(chain: DevelopmentChain) -> dict[str, str]:
    """What the node waits for: nothing, unless mining stopped."""
    return {"mining": str(chain.failure)} if isinstance(chain.failure, Exception) else {}
