"""Transactions waiting for a block, by account and nonce.

Rules: an account's transactions leave in the order of their nonces; one that is ahead of its account waits for those
before it (clients with several threads send out of order); the same nonce again needs a tenth more fee. Accounts take
turns in the order in which their next executable transaction arrived. Pure bookkeeping: no machine, no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from holdfast.core.transactions import Transaction
from holdfast.errors import ConflictError, RefusedError

REPLACEMENT_PERCENT = 110
"""A replacement pays at least this much of what it replaces, as public clients ask."""


class Pool:
    """What waits. ``nonce_of`` tells an account's next nonce by the state."""

    def __init__(self, nonce_of: Callable[[str], int], *, total: int, per_account: int) -> None:
        self._nonce_of = nonce_of
        self._total = total
        self._per_account = per_account
        self._waiting: dict[str, dict[int, Transaction]] = {}
        self._by_hash: dict[bytes, Transaction] = {}
        self._arrived: dict[bytes, int] = {}
        self._counter = 0

    def __len__(self) -> int:
        return len(self._by_hash)

    def get(self, digest: bytes) -> Transaction | None:
        """A waiting transaction by its hash."""
        return self._by_hash.get(digest)

    def add(self, transaction: Transaction) -> None:
        """Take a transaction in; raises ``pool.known``, ``pool.nonce``, ``pool.underpriced`` or ``pool.full``."""
        if transaction.hash in self._by_hash:
            raise ConflictError("pool.known", "already known")
        if transaction.nonce < self._nonce_of(transaction.sender):
            raise ConflictError("pool.nonce", "nonce too low")
        mine = self._waiting.setdefault(transaction.sender, {})
        old = mine.get(transaction.nonce)
        if old is not None:
            if transaction.max_fee * 100 < old.max_fee * REPLACEMENT_PERCENT:
                raise RefusedError("pool.underpriced", "replacement transaction underpriced")
            self._forget(old)
        elif len(self._by_hash) >= self._total or len(mine) >= self._per_account:
            raise RefusedError("pool.full", "txpool is full")
        self._waiting.setdefault(transaction.sender, {})[transaction.nonce] = transaction
        self._by_hash[transaction.hash] = transaction
        self._counter += 1
        self._arrived[transaction.hash] = self._counter

    def remove(self, transaction: Transaction) -> None:
        """It is in a block, or can never be: it no longer waits."""
        if transaction.hash in self._by_hash:
            self._forget(transaction)

    def _forget(self, transaction: Transaction) -> None:
        del self._by_hash[transaction.hash]
        del self._arrived[transaction.hash]
        mine = self._waiting[transaction.sender]
        del mine[transaction.nonce]
        if not mine:
            del self._waiting[transaction.sender]

    def next_nonce(self, address: str) -> int:
        """The nonce after the unbroken row that waits; what ``pending`` means for an account."""
        nonce = self._nonce_of(address)
        mine = self._waiting.get(address, {})
        while nonce in mine:
            nonce += 1
        return nonce

    def executable(self) -> Iterator[Transaction]:
        """Transactions in the order of execution. Each is executed and removed before the next is asked for."""
        while True:
            ready = [
                mine[nonce] for address, mine in self._waiting.items() if (nonce := self._nonce_of(address)) in mine
            ]
            if not ready:
                return
            yield min(ready, key=lambda transaction: self._arrived[transaction.hash])

    def has_executable(self) -> bool:
        """Whether anything could go into a block now."""
        return any(self._nonce_of(address) in mine for address, mine in self._waiting.items())

    def counts(self) -> tuple[int, int]:
        """(executable in a row, waiting for an earlier nonce)."""
        pending = sum(self.next_nonce(address) - self._nonce_of(address) for address in self._waiting)
        return pending, len(self._by_hash) - pending
