"""An Ethereum virtual machine with its state: what the development chain executes transactions on.

One machine is one state. It is not thread-safe and knows no mempool, blocks or receipts; it executes what it is given,
in the order given, so the same calls from the same genesis give the same state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias


@dataclass(frozen=True, slots=True)
class GenesisAccount:
    """An account that exists before the first block."""

    balance: int = 0
    code: bytes = b""


@dataclass(frozen=True, slots=True)
class Message:
    """What to execute. Amounts in base units."""

    sender: str
    to: str | None
    """The account called, or ``None`` to create a contract."""
    data: bytes
    value: int
    gas: int
    gas_price: int = 0
    """Base units per gas, taken by :meth:`VirtualMachine.transact`."""


@dataclass(frozen=True, slots=True)
class BlockContext:
    """What code sees of the block it runs in."""

    number: int
    time: int
    """Unix seconds."""
    base_fee: int
    gas_limit: int
    randao: bytes
    """32 bytes for the PREVRANDAO instruction."""


@dataclass(frozen=True, slots=True)
class EventLog:
    """One event a contract emitted."""

    address: str
    topics: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one execution did."""

    success: bool
    output: bytes
    """Return data, or the revert data when ``success`` is false; for a creation the new code is not repeated here."""
    gas_used: int
    logs: tuple[EventLog, ...]
    created: str | None
    """Address of the contract that came into being."""
    halt: str
    """Why the machine stopped, when it was neither return nor revert (out of gas, bad instruction)."""


class VirtualMachine(Protocol):
    """Executes messages on one state."""

    def begin_block(self, block: BlockContext) -> None:
        """Everything after this runs in ``block``."""
        ...

    def transact(self, message: Message) -> Outcome:
        """Execute and keep the effects: nonce, fee (taken from the sender and burned), value, storage.

        The caller has checked nonce and funds; raises ``vm.intrinsic`` (:class:`RefusedError`) when the gas does not
        even pay for the transaction's bytes, and then nothing has changed.
        """
        ...

    def call(self, message: Message) -> Outcome:
        """Execute and undo every effect."""
        ...

    def nonce(self, address: str) -> int:
        """How many transactions an account has made."""
        ...

    def balance(self, address: str) -> int:
        """Base units."""
        ...

    def code(self, address: str) -> bytes:
        """The runtime code of a contract; empty for other accounts."""
        ...

    def storage(self, address: str, slot: int) -> int:
        """One storage word."""
        ...


VirtualMachineFactory: TypeAlias = Callable[[int, Mapping[str, GenesisAccount]], VirtualMachine]
"""(chain id, genesis) to a machine; a chain that undoes blocks starts again from here."""
