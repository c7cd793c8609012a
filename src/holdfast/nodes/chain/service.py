"""The development chain: blocks on demand over one virtual machine, kept by replaying its block log.

Rules:

* A block is mined when an executable transaction waits, and never otherwise: no empty blocks, nothing to prune.
* A block is on disk before anybody can see it. After ``kill -9`` the log is replayed from genesis and every block hash
  must come out the same (``chain.replay``), so a machine that behaves differently is noticed, not trusted.
* What waits in the pool is not kept over a restart; senders send again.
* Time is the clock's, never less than the parent block's. A read of the newest state runs as if in the next block.
* Blocks can be undone (:meth:`DevelopmentChain.reorganise`) by the test hook only; that too is in the log.

One event loop owns the chain; a lock keeps reads away from a block that is not on disk yet.
Not covered: state roots, history of state (reads see the newest state only), more than one node, proof of anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from holdfast.core import evm
from holdfast.core.canonical import JSON, decode_object, encode
from holdfast.core.encoding import sha256
from holdfast.core.transactions import (
    Item,
    Transaction,
    integer_bytes,
    parse_transaction,
    rlp_decode,
    rlp_encode,
)
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UnavailableError, UsageError
from holdfast.nodes.chain.pool import Pool
from holdfast.ports.clock import Clock
from holdfast.ports.storage import Committer, RecordLog
from holdfast.ports.vm import (
    BlockContext,
    EventLog,
    GenesisAccount,
    Message,
    Outcome,
    VirtualMachine,
    VirtualMachineFactory,
)

GENESIS_RECORD, BLOCK_RECORD, UNDO_RECORD = 1, 2, 3
"""Kinds in the block log: what the chain began with, one block, "go back to this height"."""
GENESIS_PARENT = bytes(32)
_LOG = logging.getLogger("holdfast.chain")


@dataclass(frozen=True, slots=True)
class ChainRules:
    """What every block obeys."""

    chain_id: int
    block_gas_limit: int = 60_000_000
    base_fee: int = 7
    pool_transactions: int = 10_000
    pool_per_account: int = 1_000


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a transaction in a block did."""

    transaction: Transaction
    block_number: int
    block_hash: bytes
    index: int
    outcome: Outcome
    gas_price: int
    cumulative_gas: int
    first_log: int
    """Index in the block of the first of this transaction's events."""


@dataclass(frozen=True, slots=True)
class Block:
    """One block."""

    number: int
    hash: bytes
    parent: bytes
    time: int
    randao: bytes
    gas_used: int
    receipts: tuple[Receipt, ...]


def genesis_json(chain_id: int, accounts: Mapping[str, GenesisAccount]) -> bytes:
    """The one spelling of a genesis, kept as the first record of the block log."""
    alloc: dict[str, JSON] = {
        address: {"balance": str(account.balance), "code": account.code.hex()} for address, account in accounts.items()
    }
    return encode({"alloc": alloc, "chain_id": chain_id})


def parse_genesis(value: object) -> dict[str, GenesisAccount]:
    """``{"alloc": {ADDRESS: {"balance": decimal, "code": "0x…"}}}`` to accounts; raises ``chain.genesis``."""
    if not isinstance(value, dict) or not isinstance(value.get("alloc"), dict):
        raise MalformedError("chain.genesis", "a genesis file is an object with an alloc object")
    accounts = {}
    for address, entry in value["alloc"].items():
        if not isinstance(entry, dict) or not set(entry) <= {"balance", "code"}:
            raise MalformedError("chain.genesis", f"{address} has a balance, a code or both")
        try:
            balance = int(entry.get("balance", "0"))
            code = bytes.fromhex(str(entry.get("code", "")).removeprefix("0x"))
        except ValueError as error:
            raise MalformedError("chain.genesis", f"{address}: a decimal balance and hex code") from error
        accounts[evm.parse_address(address)] = GenesisAccount(balance, code)
    return accounts


class DevelopmentChain:
    """The chain; see the module's rules. Call :meth:`start` inside the event loop that serves it."""

    def __init__(
        self,
        rules: ChainRules,
        genesis: Mapping[str, GenesisAccount],
        *,
        machine: VirtualMachineFactory,
        log: RecordLog,
        committer: Committer,
        clock: Clock,
    ) -> None:
        self.rules = rules
        self.automine = True
        """Whether waiting transactions are mined by themselves; a test hook turns it off."""
        self._genesis = dict(genesis)
        self._make_machine = machine
        self._committer = committer
        self._clock = clock
        self._time_offset = 0
        self._forks = 0
        self._lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failure: Exception | None = None
        self._machine: VirtualMachine
        self._blocks: list[Block]
        self._by_hash: dict[bytes, Block]
        self._receipts: dict[bytes, Receipt]
        self._restart()
        self._fresh = self._replay(log)
        self._pool = self._new_pool()

    # --- life ---------------------------------------------------------------------------------------------------------

    def _restart(self) -> None:
        """Back to genesis."""
        self._machine = self._make_machine(self.rules.chain_id, self._genesis)
        seed = sha256(genesis_json(self.rules.chain_id, self._genesis))
        block = Block(0, evm.keccak256(GENESIS_PARENT + seed), GENESIS_PARENT, 0, bytes(32), 0, ())
        self._blocks, self._by_hash, self._receipts = [block], {block.hash: block}, {}

    def _new_pool(self) -> Pool:
        return Pool(
            self._machine.nonce,
            total=self.rules.pool_transactions,
            per_account=self.rules.pool_per_account,
        )

    def _replay(self, log: RecordLog) -> bool:
        """Execute the block log; returns whether it was empty."""
        ours = genesis_json(self.rules.chain_id, self._genesis)
        fresh = True
        for record in log.records():
            fresh = False
            if record.kind == GENESIS_RECORD:
                if record.payload != ours:
                    raise UsageError(
                        "chain.genesis",
                        "the block log began with another genesis",
                        hint="start with a fresh state folder, or with the settings it was made with",
                    )
            elif record.kind == BLOCK_RECORD:
                self._replay_block(record.payload)
            elif record.kind == UNDO_RECORD:
                self._undo_to(int.from_bytes(record.payload))
            else:
                raise MalformedError("chain.replay", f"a record of unknown kind {record.kind}")
        return fresh

    def _replay_block(self, payload: bytes) -> None:
        number, time, randao, expected, transactions = _parse_block_record(payload)
        if number != len(self._blocks):
            raise MalformedError("chain.replay", f"block {number} follows block {len(self._blocks) - 1}")
        block = self._execute(time, randao, transactions)
        if block.hash != expected:
            raise MalformedError(
                "chain.replay",
                f"block {number} did not come out as it was",
                hint="the block log was made by another version of the machine; start with a fresh state folder",
            )
        self._publish(block)

    async def start(self) -> None:
        """Begin mining. Raises ``wal.stopped`` if the disk fails at once."""
        if self._fresh:
            await self._committer.commit(GENESIS_RECORD, genesis_json(self.rules.chain_id, self._genesis))
            self._fresh = False
        self._task = asyncio.create_task(self._mine_for_ever(), name="holdfast-chain-miner")

    async def stop(self) -> None:
        """Stop mining. Nothing is lost that anybody has seen."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    @property
    def failure(self) -> Exception | None:
        """Why mining stopped (a disk that failed); ``None`` while it runs."""
        return self._failure

    # --- writing ------------------------------------------------------------------------------------------------------

    async def submit(self, raw: bytes) -> bytes:
        """Take a signed transaction into the pool and return its hash. Raises ``transaction.*`` or ``pool.*``."""
        self._check()
        transaction = parse_transaction(raw)
        if transaction.chain_id != self.rules.chain_id:
            raise RefusedError("pool.chain_id", "invalid chain id for signer")
        if transaction.gas > self.rules.block_gas_limit:
            raise RefusedError("pool.gas", "exceeds block gas limit")
        if transaction.max_fee < self.rules.base_fee:
            raise RefusedError("pool.fee", "max fee per gas less than block base fee")
        async with self._lock:
            if transaction.hash in self._receipts:
                raise RefusedError("pool.known", "already known")
            if self._machine.balance(transaction.sender) < transaction.value + transaction.gas * transaction.max_fee:
                raise RefusedError("pool.funds", "insufficient funds for gas * price + value")
            self._pool.add(transaction)
        self._wake.set()
        return transaction.hash

    async def mine(self) -> Block:
        """Mine one block now, even an empty one (test hook)."""
        async with self._lock:
            return await self._mine(allow_empty=True)

    async def reorganise(self, depth: int, *, drop: bool = False) -> None:
        """Undo the newest ``depth`` blocks (test hook). Their transactions wait again, unless ``drop``."""
        async with self._lock:
            height = len(self._blocks) - 1 - depth
            if depth < 1 or height < 0:
                raise UsageError("chain.depth", f"cannot undo {depth} of {len(self._blocks) - 1} blocks")
            undone = [receipt.transaction for block in self._blocks[height + 1 :] for receipt in block.receipts]
            await self._committer.commit(UNDO_RECORD, height.to_bytes(8))
            self._undo_to(height)
            self._pool = self._new_pool()
            if not drop:
                for transaction in undone:
                    with contextlib.suppress(HoldfastError):
                        self._pool.add(transaction)
        self._wake.set()

    def advance(self, seconds: int) -> int:
        """Move the chain's clock ahead of the real one (test hook); returns the whole offset."""
        self._time_offset += seconds
        return self._time_offset

    def set_automine(self, automine: bool) -> None:
        """Let waiting transactions be mined by themselves, or not (test hook)."""
        self.automine = automine
        self._wake.set()

    async def _mine_for_ever(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self.automine and self._pool.has_executable():
                    async with self._lock:
                        await self._mine(allow_empty=False)
                    await asyncio.sleep(0)
        except Exception as error:  # noqa: BLE001 (see below)
            # A disk or a machine that failed. The machine may be ahead of the log now, so reads are refused as well.
            _LOG.exception("the chain stopped")
            self._failure = error

    def _check(self) -> None:
        if self._failure is not None:
            raise UnavailableError("chain.stopped", f"the chain stopped: {self._failure}") from self._failure

    async def _mine(self, *, allow_empty: bool) -> Block:
        time = max(self._blocks[-1].time, self.now())
        randao = sha256(self._blocks[-1].hash + self._forks.to_bytes(8))
        block = self._execute(time, randao, None)
        if not block.receipts and not allow_empty:
            return self._blocks[-1]
        record: list[Item] = [
            integer_bytes(block.number),
            integer_bytes(block.time),
            block.randao,
            block.hash,
            [evm.address_bytes(each.transaction.sender) + each.transaction.raw for each in block.receipts],
        ]
        await self._committer.commit(BLOCK_RECORD, rlp_encode(record))
        self._publish(block)
        return block

    def _execute(self, time: int, randao: bytes, transactions: Iterable[Transaction] | None) -> Block:
        """Run the given transactions, or what the pool has, as the next block; the machine keeps the effects."""
        parent = self._blocks[-1]
        number = parent.number + 1
        self._machine.begin_block(self._context(number, time, randao))
        results: list[tuple[Transaction, Outcome, int]] = []
        gas_left = self.rules.block_gas_limit
        for transaction in self._pool.executable() if transactions is None else transactions:
            if transaction.gas > gas_left:
                break
            if transactions is None:
                self._pool.remove(transaction)
            price = min(transaction.max_fee, self.rules.base_fee + transaction.max_priority_fee)
            if self._machine.balance(transaction.sender) < transaction.value + transaction.gas * price:
                continue
            try:
                outcome = self._machine.transact(
                    Message(
                        transaction.sender,
                        transaction.to,
                        transaction.data,
                        transaction.value,
                        transaction.gas,
                        price,
                    )
                )
            except RefusedError:
                continue
            gas_left -= outcome.gas_used
            results.append((transaction, outcome, price))
        return _seal(parent, time, randao, results)

    def _publish(self, block: Block) -> None:
        self._blocks.append(block)
        self._by_hash[block.hash] = block
        for receipt in block.receipts:
            self._receipts[receipt.transaction.hash] = receipt

    def _undo_to(self, height: int) -> None:
        kept = self._blocks[1 : height + 1]
        self._forks += 1
        self._restart()
        for block in kept:
            self._publish(self._execute(block.time, block.randao, [each.transaction for each in block.receipts]))

    def _context(self, number: int, time: int, randao: bytes) -> BlockContext:
        return BlockContext(number, time, self.rules.base_fee, self.rules.block_gas_limit, randao)

    # --- reading ------------------------------------------------------------------------------------------------------

    def now(self) -> int:
        """The chain's clock, unix seconds."""
        return int(self._clock.now().timestamp()) + self._time_offset

    @property
    def head(self) -> Block:
        """The newest block that is on disk."""
        return self._blocks[-1]

    def block(self, number: int) -> Block | None:
        """A block by number."""
        return self._blocks[number] if 0 <= number < len(self._blocks) else None

    def block_by_hash(self, digest: bytes) -> Block | None:
        """A block on the present branch by hash."""
        return self._by_hash.get(digest)

    def receipt(self, digest: bytes) -> Receipt | None:
        """What a transaction did, once it is in a block."""
        return self._receipts.get(digest)

    def waiting(self, digest: bytes) -> Transaction | None:
        """A transaction in the pool."""
        return self._pool.get(digest)

    def pool_counts(self) -> tuple[int, int]:
        """(executable, waiting for an earlier nonce)."""
        return self._pool.counts()

    async def call(self, message: Message) -> Outcome:
        """Execute on the newest state, as if in the next block, and undo."""
        async with self._lock:
            self._check()
            parent = self._blocks[-1]
            time = max(parent.time, self.now())
            self._machine.begin_block(self._context(parent.number + 1, time, sha256(parent.hash)))
            return self._machine.call(message)

    async def nonce(self, address: str, *, pending: bool) -> int:
        """The next nonce of an account, with or without what waits in an unbroken row."""
        async with self._lock:
            self._check()
            return self._pool.next_nonce(address) if pending else self._machine.nonce(address)

    async def balance(self, address: str) -> int:
        """Base units at the newest state."""
        async with self._lock:
            self._check()
            return self._machine.balance(address)

    async def code(self, address: str) -> bytes:
        """Runtime code at the newest state."""
        async with self._lock:
            self._check()
            return self._machine.code(address)

    async def storage(self, address: str, slot: int) -> int:
        """One storage word at the newest state."""
        async with self._lock:
            self._check()
            return self._machine.storage(address, slot)


def _parse_block_record(payload: bytes) -> tuple[int, int, bytes, bytes, list[Transaction]]:
    fields = rlp_decode(payload)
    if not isinstance(fields, list) or len(fields) != 5 or not isinstance(fields[4], list):
        raise MalformedError("chain.replay", "not a block record")
    number, time, randao, digest = fields[:4]
    raw = [item for item in (number, time, randao, digest, *fields[4]) if isinstance(item, bytes)]
    if len(raw) != 4 + len(fields[4]):
        raise MalformedError("chain.replay", "not a block record")
    transactions = [parse_transaction(item[20:], known_sender=evm.address_from_bytes(item[:20])) for item in raw[4:]]
    return int.from_bytes(raw[0]), int.from_bytes(raw[1]), raw[2], raw[3], transactions


def _outcome_digest(outcome: Outcome) -> bytes:
    """SHA-256 over everything an outcome did; each part has a fixed length or its length before it."""
    parts = [bytes([outcome.success]), outcome.gas_used.to_bytes(8), (outcome.created or "").encode()]
    for log in outcome.logs:
        parts += [log.address.encode(), bytes([len(log.topics)]), *log.topics, len(log.data).to_bytes(8), log.data]
    return sha256(b"|".join(parts))


def _seal(parent: Block, time: int, randao: bytes, results: list[tuple[Transaction, Outcome, int]]) -> Block:
    """Number, hash and receipts. The hash covers the parent, the transactions and everything they did."""
    number = parent.number + 1
    parts = [parent.hash, number.to_bytes(8), time.to_bytes(8), randao]
    parts += [transaction.hash + _outcome_digest(outcome) for transaction, outcome, _ in results]
    digest = evm.keccak256(b"".join(parts))
    receipts, gas, logs = [], 0, 0
    for index, (transaction, outcome, price) in enumerate(results):
        gas += outcome.gas_used
        receipts.append(Receipt(transaction, number, digest, index, outcome, price, gas, logs))
        logs += len(outcome.logs)
    return Block(number, digest, parent.hash, time, randao, gas, tuple(receipts))


def block_events(block: Block) -> list[tuple[int, Receipt, EventLog]]:
    """Every event of a block with its index in the block and the transaction it came from."""
    return [
        (receipt.first_log + offset, receipt, event)
        for receipt in block.receipts
        for offset, event in enumerate(receipt.outcome.logs)
    ]


def load_genesis(raw: bytes) -> dict[str, GenesisAccount]:
    """A genesis file's bytes to accounts; raises ``json.*`` or ``chain.genesis``."""
    return parse_genesis(decode_object(raw))
