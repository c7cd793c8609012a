"""What every adapter over an EVM chain shares: asking one JSON-RPC endpoint, sending from one key, calling contracts.

* :class:`EvmConnection` asks one endpoint and tries again: a request that got no answer, or an answer that says "busy",
  is repeated with growing pauses. Every method used here may be repeated safely (a transaction sent twice is one).
* :class:`EvmAccount` sends transactions from one key: nonces are counted here while transactions are on their way and
  read from the chain when none is; a transaction that is not mined is sent again, and after a while with more fee.
* :class:`ContractInterface` encodes calls to one shipped artifact, and decodes its answers and events.

Rule: a call is tried on the newest state first, so a refusal costs nothing and carries the contract's reason.
Not covered: chains without EIP-1559 fees, several endpoints at once.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Protocol, cast

import aiohttp
from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError
from web3 import AsyncHTTPProvider
from web3.types import RPCEndpoint, RPCResponse

from holdfast.core import evm
from holdfast.core.encoding import hex_decode
from holdfast.core.transactions import UnsignedTransaction
from holdfast.errors import ConflictError, HoldfastError, RefusedError, UnavailableError, UndecidedError
from holdfast.ports.chain import Inclusion, refusal

RETRY_PAUSES_S = (0.05, 0.2, 0.8, 2.0)
"""Pauses before the second and later tries of one request, each varied by up to half."""
REQUEST_TIMEOUT_S = 10.0
"""Longest wait for one answer."""
GAS_MARGIN_PERCENT = 130
"""Gas sent of gas estimated: the state may have changed until the block (a first vote in a slot costs more)."""
GAS_EXTRA = 100_000
"""Gas on top: a vote that was estimated as one of many may be the one that makes the round final."""
DEPLOY_GAS_MARGIN_PERCENT = 110
REBROADCAST_S = 5.0
"""How long a transaction may be missing before it is sent again."""
BUMP_S = 30.0
"""How long it may be missing before it is replaced with a higher fee."""
BUMP_PERCENT = 125
"""Fee of a replacement; public pools ask for 110."""
REVERTED = 3
"""JSON-RPC error code of a revert (Ethereum execution API)."""
_BUSY_CODES = (-32005, -32016, -32603)
_ERROR_SELECTOR = "0x08c379a0"


class TransactionSigner(Protocol):
    """A secp256k1 key that pays for transactions (``adapters/signer_secp256k1.py``)."""

    @property
    def address(self) -> str:
        """Its address."""
        ...

    def sign(self, message: bytes) -> bytes:
        """65 bytes over a 32-byte digest."""
        ...


class RPCError(UnavailableError):
    """The endpoint answered with a JSON-RPC error."""

    def __init__(self, number: int, text: str, data: object) -> None:
        super().__init__("chain.rpc", f"the chain answered {number}: {text}")
        self.number = number
        self.text = text
        self.data = data

    def revert_reason(self) -> str | None:
        """The contract's text if this is a revert (empty when it gave none), or ``None`` for another error."""
        if isinstance(self.data, str) and self.data.startswith(_ERROR_SELECTOR):
            try:
                return str(decode(["string"], bytes.fromhex(self.data[10:]))[0])
            except (ValueError, DecodingError):
                return ""
        _, found, reason = self.text.partition("execution reverted")
        if found:
            return reason.lstrip(": ").strip()
        return "" if self.number == REVERTED else None

    @property
    def busy(self) -> bool:
        """Whether trying again soon may help."""
        return self.number in _BUSY_CODES and self.revert_reason() is None


class Provider(Protocol):
    """What carries a request: web3.py's ``AsyncHTTPProvider``, or a stand-in with the same two methods."""

    async def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """One JSON-RPC answer, with ``result`` or ``error``."""
        ...

    async def disconnect(self) -> None:
        """Let go of connections."""
        ...


class EvmConnection:
    """One JSON-RPC endpoint. May be shared by several accounts of one event loop."""

    def __init__(self, url: str, *, timeout_s: float = REQUEST_TIMEOUT_S, provider: Provider | None = None) -> None:
        """``provider`` stands in for HTTP, for a chain in the same process."""
        self.url = url
        self._provider: Provider = provider or AsyncHTTPProvider(
            url,
            request_kwargs={"timeout": aiohttp.ClientTimeout(total=timeout_s)},
            exception_retry_configuration=None,
        )
        self._jitter = random.Random()  # noqa: S311 (spreads retries, decides nothing)

    async def request(self, method: str, *parameters: Any) -> Any:
        """One answer. Raises ``chain.unreachable``, or ``chain.rpc`` with what the endpoint said."""
        failure: BaseException | None = None
        for pause in (0.0, *RETRY_PAUSES_S):
            if pause:
                await asyncio.sleep(pause * self._jitter.uniform(0.5, 1.0))
            try:
                answer = await self._provider.make_request(cast("RPCEndpoint", method), list(parameters))
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                failure = error
                continue
            if "error" not in answer:
                return answer.get("result")
            failure = _node_error(answer["error"])
            if not failure.busy:
                raise failure
        if isinstance(failure, RPCError):
            raise failure
        raise UnavailableError(
            "chain.unreachable", f"no answer from the chain: {failure!r}", hint="is the RPC URL right, and running?"
        ) from failure

    async def close(self) -> None:
        """Let go of connections."""
        await self._provider.disconnect()


def _node_error(value: object) -> RPCError:
    if not isinstance(value, dict):
        return RPCError(0, str(value), None)
    data = value.get("data")
    return RPCError(int(value.get("code") or 0), str(value.get("message", "")), data)


def quantity(value: Any, name: str) -> int:
    try:
        return int(value, 16)
    except (TypeError, ValueError) as error:
        raise UnavailableError("chain.rpc", f"the chain's {name} is not a number: {value!r}") from error


def word_hex(value: Any, name: str) -> str:
    if not isinstance(value, str) or len(value) != 66:
        raise UnavailableError("chain.rpc", f"the chain's {name} is not a 32-byte hash")
    return value[2:].lower()


class ContractInterface:
    """Names, types and selectors of one shipped artifact."""

    def __init__(self, name: str) -> None:
        text = resources.files("holdfast.adapters").joinpath("contracts", f"{name}.json").read_text("utf-8")
        artifact = json.loads(text)
        self.bytecode = bytes.fromhex(artifact["bytecode"][2:])
        self._inputs: dict[str, list[str]] = {}
        self._outputs: dict[str, list[str]] = {}
        self._selectors: dict[str, bytes] = {}
        self.topics: dict[str, tuple[str, list[str], list[str]]] = {}
        for entry in artifact["abi"]:
            types = [_abi_type(item) for item in entry.get("inputs", ())]
            signature = f"{entry.get('name', '')}({','.join(types)})"
            if entry["type"] == "function":
                self._inputs[entry["name"]] = types
                self._outputs[entry["name"]] = [_abi_type(item) for item in entry["outputs"]]
                self._selectors[entry["name"]] = evm.keccak256(signature.encode())[:4]
            elif entry["type"] == "constructor":
                self._inputs["__init__"] = types
            elif entry["type"] == "event":
                indexed = [type_ for type_, item in zip(types, entry["inputs"], strict=True) if item["indexed"]]
                plain = [type_ for type_, item in zip(types, entry["inputs"], strict=True) if not item["indexed"]]
                self.topics["0x" + evm.keccak256(signature.encode()).hex()] = (entry["name"], indexed, plain)

    def call_data(self, function: str, arguments: Sequence[Any]) -> bytes:
        return self._selectors[function] + encode(self._inputs[function], arguments)

    def init_code(self, arguments: Sequence[Any]) -> bytes:
        return self.bytecode + encode(self._inputs.get("__init__", []), arguments)

    def selector(self, function: str) -> bytes:
        """The first four bytes of a call."""
        return self._selectors[function]

    def topic(self, event: str) -> str:
        """The first topic of an event, as 0x hex."""
        return next(topic for topic, (name, _, _) in self.topics.items() if name == event)

    def decode_event(self, entry: Mapping[str, Any]) -> tuple[str, list[Any], tuple[Any, ...]] | None:
        """Name, indexed and other values of one log entry; None for an event of somebody else's."""
        topics = entry.get("topics") or [""]
        name, indexed, plain = self.topics.get(topics[0], ("", [], []))
        if not name:
            return None
        try:
            keys = [decode([kind], hex_decode(topic[2:]))[0] for kind, topic in zip(indexed, topics[1:], strict=True)]
            return name, keys, decode(plain, hex_decode(entry["data"][2:]))
        except (DecodingError, ValueError, KeyError, HoldfastError) as error:
            raise UnavailableError("chain.rpc", "the chain sent an event that does not decode") from error

    def decode_result(self, function: str, data: bytes) -> tuple[Any, ...]:
        try:
            return decode(self._outputs[function], data)
        except DecodingError as error:
            raise UndecidedError(
                "chain.contract", f"no such contract answers {function}", hint="check the contract address and chain"
            ) from error


def _abi_type(item: Mapping[str, Any]) -> str:
    kind = str(item["type"])
    if not kind.startswith("tuple"):
        return kind
    inner = ",".join(_abi_type(component) for component in item["components"])
    return f"({inner}){kind[5:]}"


_CONTRACTS: dict[str, ContractInterface] = {}


def contract_interface(name: str) -> ContractInterface:
    if name not in _CONTRACTS:
        _CONTRACTS[name] = ContractInterface(name)
    return _CONTRACTS[name]


@dataclass(frozen=True, slots=True)
class SendSettings:
    """How patient and how generous an account is."""

    receipt_timeout_s: float = 90.0
    """Longest wait for a transaction to be in a block."""
    poll_s: float = 0.02
    """First pause between looks for the receipt; it grows to :attr:`poll_max_s`."""
    poll_max_s: float = 1.0
    max_fee_per_gas: int | None = None
    """Most base units per gas that are ever offered; ``None``: no limit."""


class EvmAccount:
    """Sends transactions from one key on one chain."""

    def __init__(
        self,
        connection: EvmConnection,
        signer: TransactionSigner,
        chain_id: int,
        settings: SendSettings | None = None,
    ) -> None:
        self.connection = connection
        self.address = signer.address
        self._signer = signer
        self._chain_id = chain_id
        self._settings = settings or SendSettings()
        self._lock = asyncio.Lock()
        self._jitter = random.Random()  # noqa: S311 (keeps two senders with one key out of step)
        self._next = 0
        self._flying: set[int] = set()

    async def transact(
        self, to: str | None, data: bytes, *, value: int = 0, gas: int | None = None, margin: int = GAS_MARGIN_PERCENT
    ) -> tuple[Inclusion, str | None]:
        """Send one call and wait for its block; returns where it landed and the contract it created.

        ``gas`` given: sent without trying it first. Raises the contract's reason, ``chain.funds``, ``chain.fee``,
        ``chain.timeout`` or ``chain.unreachable``.
        """
        if gas is None:
            gas = await self._estimate(to, data, value) * margin // 100 + GAS_EXTRA
        nonce, hashes, raw, unsigned = await self._send(to, data, value, gas)
        try:
            receipt = await self._wait(nonce, hashes, raw, unsigned)
        finally:
            self._flying.discard(nonce)
        if receipt.get("status") != "0x1":
            raise await self._why(to, data, value)
        included = Inclusion(
            word_hex(receipt.get("transactionHash"), "transaction hash"),
            quantity(receipt.get("blockNumber"), "block number"),
        )
        created = receipt.get("contractAddress")
        return included, created.lower() if isinstance(created, str) else None

    def _call_object(self, to: str | None, data: bytes, value: int) -> dict[str, str]:
        call = {"from": self.address, "data": "0x" + data.hex(), "value": hex(value)}
        return call if to is None else {**call, "to": to}

    async def _estimate(self, to: str | None, data: bytes, value: int) -> int:
        try:
            answer = await self.connection.request("eth_estimateGas", self._call_object(to, data, value))
        except RPCError as error:
            raise refused(error) from error
        return quantity(answer, "gas estimate")

    async def _why(self, to: str | None, data: bytes, value: int) -> HoldfastError:
        """The reason of a call that failed in its block: asked again on the newest state."""
        try:
            await self.connection.request("eth_call", self._call_object(to, data, value), "latest")
        except RPCError as error:
            return refused(error)
        return ConflictError(
            "chain.raced", "the call failed in its block and would work now", hint="read and try again"
        )

    async def _fees(self) -> tuple[int, int]:
        """(priority fee, maximum fee) per gas: the maximum survives six full blocks of rising base fee."""
        block, answer = await asyncio.gather(
            self.connection.request("eth_getBlockByNumber", "latest", False),
            self.connection.request("eth_maxPriorityFeePerGas"),
        )
        base = quantity(block.get("baseFeePerGas") if isinstance(block, dict) else None, "base fee")
        priority = quantity(answer, "priority fee")
        return self._capped(priority, 2 * base + priority)

    def _capped(self, priority: int, maximum: int) -> tuple[int, int]:
        limit = self._settings.max_fee_per_gas
        if limit is not None and maximum > limit:
            if priority > limit:
                raise RefusedError("chain.fee", f"the chain asks more than {limit} per gas", hint="raise the limit")
            maximum = limit
        return priority, maximum

    async def _nonce(self) -> int:
        answer = await self.connection.request("eth_getTransactionCount", self.address, "pending")
        pending = quantity(answer, "nonce")
        # With nothing on its way the chain is right, also after a reorganisation dropped what it had counted. Otherwise
        # its pool may not have counted what was just sent.
        return max(pending, self._next) if self._flying else pending

    async def _send(
        self, to: str | None, data: bytes, value: int, gas: int
    ) -> tuple[int, list[str], bytes, UnsignedTransaction]:
        async with self._lock:
            failure: RPCError | None = None
            for _ in range(4):
                (priority, maximum), nonce = await asyncio.gather(self._fees(), self._nonce())
                unsigned = UnsignedTransaction(self._chain_id, nonce, priority, maximum, gas, to, value, data)
                raw = unsigned.signed(self._signer.sign(unsigned.digest()))
                try:
                    await self._broadcast(raw)
                except RPCError as error:
                    text = error.text.lower()
                    if "insufficient funds" in text:
                        raise refusal("chain.funds") from error
                    if "nonce" not in text and "underpriced" not in text:
                        raise
                    failure, self._next = error, 0
                    await asyncio.sleep(self._settings.poll_s * self._jitter.uniform(0.2, 2.0))
                    continue
                self._next = nonce + 1
                self._flying.add(nonce)
                return nonce, [_hash_of(raw)], raw, unsigned
            raise UnavailableError(
                "chain.nonce", f"somebody else sends from {self.address}: {failure}", hint="give each node its own key"
            )

    async def _broadcast(self, raw: bytes) -> None:
        try:
            await self.connection.request("eth_sendRawTransaction", "0x" + raw.hex())
        except RPCError as error:
            if "known" not in error.text.lower() and "already imported" not in error.text.lower():
                raise

    async def _wait(
        self, nonce: int, hashes: list[str], raw: bytes, unsigned: UnsignedTransaction
    ) -> Mapping[str, Any]:
        """Look for a receipt of any of ``hashes`` (one nonce: at most one can be mined), sending again meanwhile."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        pause, sent, bumped = self._settings.poll_s, started, started
        while loop.time() < started + self._settings.receipt_timeout_s:
            for digest in hashes:
                receipt = await self.connection.request("eth_getTransactionReceipt", digest)
                if isinstance(receipt, dict) and receipt.get("blockNumber"):
                    return receipt
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, self._settings.poll_max_s)
            now = loop.time()
            if now >= bumped + BUMP_S:
                bumped = sent = now
                unsigned = self._bump(unsigned)
                raw = unsigned.signed(self._signer.sign(unsigned.digest()))
                hashes.append(_hash_of(raw))
                await self._send_again(raw)
            elif now >= sent + REBROADCAST_S:
                sent = now
                await self._send_again(raw)
        raise UnavailableError(
            "chain.timeout",
            f"transaction {nonce} was in no block after {self._settings.receipt_timeout_s:g} s",
            hint="read the round before trying again: it may still be mined",
        )

    def _bump(self, unsigned: UnsignedTransaction) -> UnsignedTransaction:
        priority, maximum = self._capped(
            unsigned.max_priority_fee * BUMP_PERCENT // 100 + 1, unsigned.max_fee * BUMP_PERCENT // 100 + 1
        )
        return UnsignedTransaction(
            unsigned.chain_id,
            unsigned.nonce,
            priority,
            maximum,
            unsigned.gas,
            unsigned.to,
            unsigned.value,
            unsigned.data,
        )

    async def _send_again(self, raw: bytes) -> None:
        """A refusal here is no news: mined meanwhile, replaced, or the pool has it."""
        try:
            await self._broadcast(raw)
        except RPCError:
            return


def _hash_of(raw: bytes) -> str:
    return "0x" + evm.keccak256(raw).hex()


def refused(error: RPCError) -> HoldfastError:
    reason = error.revert_reason()
    if reason is not None:
        return refusal(reason)
    return refusal("chain.funds") if "insufficient funds" in error.text.lower() else error


async def ask_contract(connection: EvmConnection, to: str, data: bytes) -> bytes:
    """What the contract at ``to`` answers a call on the newest state; raises the contract's reason."""
    try:
        answer = await connection.request("eth_call", {"to": to, "data": "0x" + data.hex()}, "latest")
    except RPCError as error:
        raise refused(error) from error
    if not isinstance(answer, str):
        raise UnavailableError("chain.rpc", "the chain answered a call with nothing")
    return bytes.fromhex(answer[2:])


async def call_contract(connection: EvmConnection, to: str, contract: str, function: str, *arguments: Any) -> Any:
    """What a view of the contract at ``to`` answers on the newest state; raises the contract's reason.

    One value comes as it is, several as a tuple.
    """
    described = contract_interface(contract)
    answer = await ask_contract(connection, to, described.call_data(function, arguments))
    values = described.decode_result(function, answer)
    return values[0] if len(values) == 1 else values
