"""Any EVM chain by its JSON-RPC endpoint, behind ``ports/chain.py``; web3.py carries the requests.

Three layers, each usable alone:

* :class:`EvmConnection` asks one endpoint and tries again: a request that got no answer, or an answer that says "busy",
  is repeated with growing pauses. Every method used here may be repeated safely (a transaction sent twice is one).
* :class:`EvmAccount` sends transactions from one key: nonces are counted here while transactions are on their way and
  read from the chain when none is; a transaction that is not mined is sent again, and after a while with more fee.
* :class:`EvmChain` is the port over the contracts ``Rounds`` and ``Nodes``.

Rules: a call is tried on the newest state first, so a refusal costs nothing and carries the contract's reason. What was
read is believed only behind the finality depth: ``finality_depth`` blocks, or the chain's own ``finalized`` tag.
Not covered: chains without EIP-1559 fees, light-client proofs (the endpoint is trusted for order and time; votes and
finality messages are checked by whoever uses them), several endpoints at once.
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

from holdfast.core import evm, rounds
from holdfast.core.encoding import hex_decode
from holdfast.core.keys import ROLES
from holdfast.core.rounds import Candidate, ChainDomain, FinalityMessage, Vote, origin_id
from holdfast.core.transactions import UnsignedTransaction
from holdfast.errors import ConflictError, HoldfastError, RefusedError, UnavailableError, UndecidedError, UsageError
from holdfast.ports.chain import (
    AttemptOpened,
    CandidateRecorded,
    ChainEvent,
    Cursor,
    Epoch,
    EpochAnnounced,
    EventPage,
    FinalRound,
    Head,
    Inclusion,
    Member,
    MemberSlashed,
    NodeRecord,
    OpenRound,
    RoundFinalised,
    RoundsSettings,
    Stake,
    VoteCounted,
    ordered_roles,
    refusal,
)

RETRY_PAUSES_S = (0.05, 0.2, 0.8, 2.0)
"""Pauses before the second and later tries of one request, each varied by up to half."""
REQUEST_TIMEOUT_S = 10.0
"""Longest wait for one answer."""
GAS_MARGIN_PERCENT = 130
"""Gas sent of gas estimated: the state may have changed until the block (a first vote in a slot costs more)."""
GAS_EXTRA = 100_000
"""Gas on top: a vote that was estimated as one of many may be the one that makes the round final."""
OPEN_ATTEMPT_GAS = 120_000
"""Gas of ``open_attempt``, which is not tried first: the newest state's clock may be an old block's."""
DEPLOY_GAS_MARGIN_PERCENT = 110
REBROADCAST_S = 5.0
"""How long a transaction may be missing before it is sent again."""
BUMP_S = 30.0
"""How long it may be missing before it is replaced with a higher fee."""
BUMP_PERCENT = 125
"""Fee of a replacement; public pools ask for 110."""
LOG_SPAN_BLOCKS = 2_000
"""Blocks in one eth_getLogs request; public endpoints commonly allow as many."""
REVERTED = 3
"""JSON-RPC error code of a revert (Ethereum execution API)."""
_BUSY_CODES = (-32005, -32016, -32603)
_ERROR_SELECTOR = "0x08c379a0"
_OFFENCES = {1: "votes", 2: "finality"}


class TransactionSigner(Protocol):
    """A secp256k1 key that pays for transactions (``adapters/signer_secp256k1.py``)."""

    @property
    def address(self) -> str:
        """Its address."""
        ...

    def sign(self, message: bytes) -> bytes:
        """65 bytes over a 32-byte digest."""
        ...


class _NodeError(UnavailableError):
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
        if isinstance(failure, _NodeError):
            raise failure
        raise UnavailableError(
            "chain.unreachable", f"no answer from the chain: {failure!r}", hint="is the RPC URL right, and running?"
        ) from failure

    async def close(self) -> None:
        """Let go of connections."""
        await self._provider.disconnect()


def _node_error(value: object) -> _NodeError:
    if not isinstance(value, dict):
        return _NodeError(0, str(value), None)
    data = value.get("data")
    return _NodeError(int(value.get("code") or 0), str(value.get("message", "")), data)


def _quantity(value: Any, name: str) -> int:
    try:
        return int(value, 16)
    except (TypeError, ValueError) as error:
        raise UnavailableError("chain.rpc", f"the chain's {name} is not a number: {value!r}") from error


def _word_hex(value: Any, name: str) -> str:
    if not isinstance(value, str) or len(value) != 66:
        raise UnavailableError("chain.rpc", f"the chain's {name} is not a 32-byte hash")
    return value[2:].lower()


class _Contract:
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


_CONTRACTS: dict[str, _Contract] = {}


def _contract(name: str) -> _Contract:
    if name not in _CONTRACTS:
        _CONTRACTS[name] = _Contract(name)
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
            _word_hex(receipt.get("transactionHash"), "transaction hash"),
            _quantity(receipt.get("blockNumber"), "block number"),
        )
        created = receipt.get("contractAddress")
        return included, created.lower() if isinstance(created, str) else None

    def _call_object(self, to: str | None, data: bytes, value: int) -> dict[str, str]:
        call = {"from": self.address, "data": "0x" + data.hex(), "value": hex(value)}
        return call if to is None else {**call, "to": to}

    async def _estimate(self, to: str | None, data: bytes, value: int) -> int:
        try:
            answer = await self.connection.request("eth_estimateGas", self._call_object(to, data, value))
        except _NodeError as error:
            raise _refused(error) from error
        return _quantity(answer, "gas estimate")

    async def _why(self, to: str | None, data: bytes, value: int) -> HoldfastError:
        """The reason of a call that failed in its block: asked again on the newest state."""
        try:
            await self.connection.request("eth_call", self._call_object(to, data, value), "latest")
        except _NodeError as error:
            return _refused(error)
        return ConflictError(
            "chain.raced", "the call failed in its block and would work now", hint="read and try again"
        )

    async def _fees(self) -> tuple[int, int]:
        """(priority fee, maximum fee) per gas: the maximum survives six full blocks of rising base fee."""
        block, answer = await asyncio.gather(
            self.connection.request("eth_getBlockByNumber", "latest", False),
            self.connection.request("eth_maxPriorityFeePerGas"),
        )
        base = _quantity(block.get("baseFeePerGas") if isinstance(block, dict) else None, "base fee")
        priority = _quantity(answer, "priority fee")
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
        pending = _quantity(answer, "nonce")
        # With nothing on its way the chain is right, also after a reorganisation dropped what it had counted. Otherwise
        # its pool may not have counted what was just sent.
        return max(pending, self._next) if self._flying else pending

    async def _send(
        self, to: str | None, data: bytes, value: int, gas: int
    ) -> tuple[int, list[str], bytes, UnsignedTransaction]:
        async with self._lock:
            failure: _NodeError | None = None
            for _ in range(4):
                (priority, maximum), nonce = await asyncio.gather(self._fees(), self._nonce())
                unsigned = UnsignedTransaction(self._chain_id, nonce, priority, maximum, gas, to, value, data)
                raw = unsigned.signed(self._signer.sign(unsigned.digest()))
                try:
                    await self._broadcast(raw)
                except _NodeError as error:
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
        except _NodeError as error:
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
        except _NodeError:
            return


def _hash_of(raw: bytes) -> str:
    return "0x" + evm.keccak256(raw).hex()


def _refused(error: _NodeError) -> HoldfastError:
    reason = error.revert_reason()
    if reason is not None:
        return refusal(reason)
    return refusal("chain.funds") if "insufficient funds" in error.text.lower() else error


@dataclass(frozen=True, slots=True)
class Deployment:
    """Where the contracts are."""

    rounds: ChainDomain
    nodes: str
    block: int
    """Number of the block that created ``Rounds``: where events begin."""


async def deploy(
    connection: EvmConnection, signer: TransactionSigner, settings: RoundsSettings, *, governor: str | None = None
) -> Deployment:
    """Create ``Rounds`` and ``Nodes``; ``governor`` announces epochs and is the signer unless given."""
    chain_id = _quantity(await connection.request("eth_chainId"), "chain id")
    account = EvmAccount(connection, signer, chain_id)
    init_code = _contract("Rounds").init_code(
        [governor or signer.address, settings.timeout_s, settings.unbonding_s, settings.notice_s]
    )
    included, contract = await account.transact(None, init_code, margin=DEPLOY_GAS_MARGIN_PERCENT)
    _, nodes = await account.transact(None, _contract("Nodes").init_code([]), margin=DEPLOY_GAS_MARGIN_PERCENT)
    if contract is None or nodes is None:
        raise UnavailableError("chain.rpc", "the chain created the contracts and did not say where")
    return Deployment(ChainDomain(chain_id, contract), nodes, included.block)


class EvmChain:
    """``ports.chain.Chain`` over deployed contracts.

    ``finality_depth``: blocks that must lie on top of one that is believed; ``None``: the chain's ``finalized`` tag.
    ``nodes`` is the registry's address, if it is used; ``first_block`` is where events begin.
    """

    def __init__(
        self,
        connection: EvmConnection,
        domain: ChainDomain,
        signer: TransactionSigner,
        *,
        finality_depth: int | None,
        nodes: str | None = None,
        first_block: int = 0,
        send: SendSettings | None = None,
    ) -> None:
        self._connection = connection
        self._domain = domain
        self._account = EvmAccount(connection, signer, domain.chain_id, send)
        self._depth = finality_depth
        self._nodes = nodes
        self._first_block = first_block
        self._rounds = _contract("Rounds")

    @property
    def domain(self) -> ChainDomain:
        """Chain id and contract."""
        return self._domain

    @property
    def account(self) -> str:
        """The paying address."""
        return self._account.address

    async def close(self) -> None:
        """Let go of the connection."""
        await self._connection.close()

    # --- reading ------------------------------------------------------------------------------------------------------

    async def _call(self, function: str, *arguments: Any, to: str | None = None, contract: str = "Rounds") -> Any:
        described = _contract(contract)
        call = {"to": to or self._domain.contract, "data": "0x" + described.call_data(function, arguments).hex()}
        try:
            answer = await self._connection.request("eth_call", call, "latest")
        except _NodeError as error:
            raise _refused(error) from error
        if not isinstance(answer, str):
            raise UnavailableError("chain.rpc", "the chain answered a call with nothing")
        values = described.decode_result(function, bytes.fromhex(answer[2:]))
        return values[0] if len(values) == 1 else values

    async def _block(self, tag: str) -> Head:
        block = await self._connection.request("eth_getBlockByNumber", tag, False)
        if not isinstance(block, dict):
            raise UnavailableError("chain.rpc", f"the chain has no block {tag}")
        return Head(
            _quantity(block.get("number"), "block number"),
            _word_hex(block.get("hash"), "block hash"),
            _quantity(block.get("timestamp"), "block time"),
        )

    async def head(self) -> Head:
        return await self._block("latest")

    async def _final_height(self) -> int:
        """The newest block that may be believed; below zero when there is none yet."""
        if self._depth is None:
            return (await self._block("finalized")).number
        return (await self.head()).number - self._depth

    async def settings(self) -> RoundsSettings:
        return RoundsSettings(
            await self._call("timeout"), await self._call("unbonding_delay"), await self._call("notice")
        )

    async def current_epoch(self) -> Epoch:
        number = await self._call("current_epoch")
        if number == 0:
            raise UndecidedError("epoch.none", "no epoch has started", hint="announce an epoch")
        return await self.epoch(number)

    async def epoch(self, number: int) -> Epoch:
        try:
            starts_at, members, stakes = await self._call("epoch", number)
        except RefusedError as error:
            if error.code == "epoch.unknown":
                raise UsageError("epoch.unknown", f"epoch {number} was never announced") from error
            raise
        listed = tuple(Member(address.lower(), stake) for address, stake in zip(members, stakes, strict=True))
        return Epoch(number, starts_at, listed)

    async def open_round(self, origin: str) -> OpenRound:
        shown = await self._call("open_round", origin_id(origin))
        number, attempt, current, previous, previous_size, previous_root, next_at, recorded = shown[:8]
        epoch, size, root, verdict_root, blob_id, stake_for, voters = shown[8:]
        candidate = (
            Candidate(origin, epoch, number, attempt, previous, size, root, verdict_root, blob_id) if recorded else None
        )
        return OpenRound(
            origin,
            number,
            attempt,
            current,
            previous,
            previous_size,
            previous_root,
            candidate,
            frozenset(voter.lower() for voter in voters),
            stake_for,
            next_at,
        )

    async def final_round(self, origin: str, number: int) -> FinalRound | None:
        # The height first: a round read afterwards is at least as new, so a block that counts as deep was deep.
        height = await self._final_height()
        try:
            shown = await self._call("final_round", origin_id(origin), number)
        except RefusedError as error:
            if error.code == "round.open":
                return None
            raise
        epoch, attempt, previous, content, size, root, verdict_root, blob_id, final_at, block = shown
        if block > height:
            return None
        candidate = Candidate(origin, epoch, number, attempt, previous, size, root, verdict_root, blob_id)
        if candidate.content != content:
            raise UnavailableError("chain.rpc", "the chain's round does not hash to its content")
        return FinalRound(candidate, block, final_at)

    async def events(self, since: Cursor | None = None) -> EventPage:
        height = await self._final_height()
        start = self._first_block if since is None else since.block + 1
        if since is not None:
            await self._check_cursor(since)
        if height < start:
            return EventPage((), since or await self._cursor(max(0, min(height, self._first_block))))
        cursor = await self._cursor(height)
        found: list[ChainEvent] = []
        for first in range(start, height + 1, LOG_SPAN_BLOCKS):
            last = min(first + LOG_SPAN_BLOCKS - 1, height)
            query = {"address": self._domain.contract, "fromBlock": hex(first), "toBlock": hex(last)}
            entries = await self._connection.request("eth_getLogs", query)
            found += [event for entry in entries or () if (event := self._event(entry)) is not None]
        return EventPage(tuple(found), cursor)

    async def _cursor(self, number: int) -> Cursor:
        return Cursor(number, (await self._block(hex(number))).hash)

    async def _check_cursor(self, since: Cursor) -> None:
        block = await self._connection.request("eth_getBlockByNumber", hex(since.block), False)
        if not isinstance(block, dict) or _word_hex(block.get("hash"), "block hash") != since.hash:
            raise ConflictError("chain.reorganised", f"block {since.block} was undone", hint="read from the start")

    def _event(self, entry: Mapping[str, Any]) -> ChainEvent | None:
        """One log entry of the contract; ``None`` for events that rounds do not need (deposits, governors)."""
        topics = entry.get("topics") or [""]
        name, indexed, plain = self._rounds.topics.get(topics[0], ("", [], []))
        if not name:
            return None
        block = _quantity(entry.get("blockNumber"), "block number")
        try:
            keys = [decode([kind], hex_decode(topic[2:]))[0] for kind, topic in zip(indexed, topics[1:], strict=True)]
            values = decode(plain, hex_decode(entry["data"][2:]))
        except (DecodingError, ValueError, KeyError, HoldfastError) as error:
            raise UnavailableError("chain.rpc", "the chain sent an event that does not decode") from error
        return _typed_event(name, block, keys, values)

    async def stake(self, address: str) -> Stake:
        bonded, unbonding, release_at, slashed = await self._call("bond", evm.parse_address(address))
        return Stake(bonded, unbonding, release_at, slashed)

    async def node(self, address: str) -> NodeRecord | None:
        shown = await self._call("node", evm.parse_address(address), to=self._registry(), contract="Nodes")
        document, bits, endpoint = shown
        if document == bytes(32):
            return None
        roles = tuple(role for place, role in enumerate(ROLES) if bits >> place & 1)
        return NodeRecord(address, document, endpoint, roles)

    def _registry(self) -> str:
        if self._nodes is None:
            raise UsageError("nodes.unset", "no node registry is configured")
        return self._nodes

    # --- writing ------------------------------------------------------------------------------------------------------

    async def _transact(self, function: str, *arguments: Any, value: int = 0, gas: int | None = None) -> Inclusion:
        data = self._rounds.call_data(function, arguments)
        included, _ = await self._account.transact(self._domain.contract, data, value=value, gas=gas)
        return included

    async def submit_candidate(self, candidate: Candidate, signature: bytes) -> Inclusion:
        return await self._transact(
            "propose",
            origin_id(candidate.origin),
            candidate.epoch,
            candidate.number,
            candidate.attempt,
            candidate.previous,
            candidate.size,
            candidate.root,
            candidate.verdict_root,
            candidate.blob_id,
            signature,
        )

    async def submit_votes(
        self, origin: str, number: int, attempt: int, content: bytes, signatures: Sequence[bytes]
    ) -> Inclusion:
        return await self._transact("vote", origin_id(origin), number, attempt, content, list(signatures))

    async def open_attempt(self, origin: str, number: int, attempt: int) -> Inclusion:
        shown = await self.open_round(origin)
        if (shown.number, shown.attempt + 1) != (number, attempt):
            raise refusal("round.number" if shown.number != number else "round.attempt")
        return await self._transact("open_attempt", origin_id(origin), number, attempt, gas=OPEN_ATTEMPT_GAS)

    async def submit_double_vote(self, first: Vote, second: Vote) -> Inclusion:
        rounds.verify_double_vote(self._domain, first, second)
        return await self._transact(
            "slash_votes",
            origin_id(first.origin),
            first.epoch,
            first.number,
            first.attempt,
            first.content,
            first.signature,
            second.content,
            second.signature,
        )

    async def submit_double_finality(self, first: FinalityMessage, second: FinalityMessage) -> Inclusion:
        rounds.verify_double_finality(self._domain, first, second)
        return await self._transact(
            "slash_finality",
            origin_id(first.origin),
            first.number,
            first.epoch,
            first.content,
            first.signature,
            second.epoch,
            second.content,
            second.signature,
        )

    async def deposit(self, address: str, amount: int) -> Inclusion:
        return await self._transact("deposit", evm.parse_address(address), value=amount)

    async def begin_unbonding(self, amount: int) -> Inclusion:
        return await self._transact("begin_unbonding", amount)

    async def withdraw(self) -> Inclusion:
        return await self._transact("withdraw")

    async def announce_epoch(self, starts_at: int, members: Sequence[Member]) -> Inclusion:
        return await self._transact(
            "announce_epoch",
            starts_at,
            [member.address for member in members],
            [member.stake for member in members],
        )

    async def register_node(self, document_digest: bytes, endpoint: str, roles: Sequence[str]) -> Inclusion:
        bits = sum(1 << ROLES.index(role) for role in ordered_roles(roles))
        data = _contract("Nodes").call_data("register", [document_digest, bits, endpoint])
        included, _ = await self._account.transact(self._registry(), data)
        return included


def _typed_event(name: str, block: int, keys: Sequence[Any], values: Sequence[Any]) -> ChainEvent | None:
    match name:
        case "CandidateRecorded":
            (origin, number), (attempt, epoch, content, proposer) = keys, values
            return CandidateRecorded(block, origin, epoch, number, attempt, content, proposer.lower())
        case "VoteCounted":
            (origin, number, voter), (attempt, content) = keys, values
            return VoteCounted(block, origin, number, attempt, voter.lower(), content)
        case "AttemptOpened":
            return AttemptOpened(block, keys[0], keys[1], values[0])
        case "RoundFinalised":
            (origin, number), (attempt, epoch, content) = keys, values
            return RoundFinalised(block, origin, epoch, number, attempt, content)
        case "MemberSlashed":
            return MemberSlashed(block, keys[0].lower(), _OFFENCES.get(values[0], str(values[0])), values[1])
        case "EpochAnnounced":
            return EpochAnnounced(block, keys[0], values[0])
        case _:
            return None
