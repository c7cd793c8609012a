"""The Ethereum virtual machine of the ``pyrevm`` wheel behind ``ports/vm.py``.

Rules learnt by measuring (pyrevm 0.3.7), each kept in one place here:

* ``message_call`` neither counts nonces nor takes fees, ``deploy`` counts a nonce: nonces are kept here and pushed into
  the account before a creation; fees are taken here after the execution.
* Transient storage lives on between calls, so it is reset after each one.
* ``get_code`` returns 33 padding bytes more than the code; the code hash says when to cut them.
* Looking at an account warms it, which makes the next transaction cheaper: reads are undone, or a chain that was
  asked something would not come out the same when its blocks are replayed.
* Access lists stay warm between transactions, so gas is lower than on a public chain (``bench/rounds_gas.py`` measures
  with a fresh machine per transaction instead).

Not covered: state roots (storage cannot be listed), forks of the EVM other than :data:`SPEC`.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from typing import Any

from holdfast.core import evm
from holdfast.errors import RefusedError, UnavailableError
from holdfast.ports.vm import BlockContext, EventLog, GenesisAccount, Message, Outcome


def _load() -> Any:
    """The wheel, or ``None`` on a platform without one; :func:`available` tells the node, which picks another chain."""
    try:
        return importlib.import_module("pyrevm")
    except ImportError:
        return None


pyrevm: Any = _load()
SPEC = "CANCUN"
"""The EVM rules executed; ``contracts/*.vy`` compile for the same."""
CODE_PADDING_BYTES = 33
"""Zeros that ``get_code`` appends to analysed code."""
CALL_GAS = 2**63 - 1
"""Machine-wide limit; each call brings its own."""
_OUTPUT = re.compile(r"output: 0x([0-9a-f]*)")


def available() -> bool:
    """Whether there is a wheel for this interpreter and platform."""
    return pyrevm is not None


class PyrevmMachine:
    """One state; see the module's rules."""

    def __init__(self, chain_id: int, genesis: Mapping[str, GenesisAccount]) -> None:
        if pyrevm is None:
            raise UnavailableError("vm.missing", "there is no pyrevm wheel for this platform")
        self._evm = pyrevm.EVM(env=pyrevm.Env(cfg=pyrevm.CfgEnv(chain_id=chain_id)), gas_limit=CALL_GAS, spec_id=SPEC)
        self._nonces: dict[str, int] = {}
        for address, account in genesis.items():
            info = pyrevm.AccountInfo(balance=account.balance, nonce=0, code=account.code or None)
            self._evm.insert_account_info(evm.parse_address(address), info)

    def begin_block(self, block: BlockContext) -> None:
        """Everything after this runs in ``block``."""
        self._evm.set_block_env(
            pyrevm.BlockEnv(
                number=block.number,
                timestamp=block.time,
                coinbase=evm.ZERO_ADDRESS,
                prevrandao=block.randao,
                basefee=block.base_fee,
                gas_limit=block.gas_limit,
            )
        )

    def transact(self, message: Message) -> Outcome:
        """Execute and keep the effects; raises ``vm.intrinsic``, and then nothing has changed."""
        nonce = self.nonce(message.sender)
        outcome = self._execute(message, nonce)
        self._nonces[message.sender] = nonce + 1
        fee = outcome.gas_used * message.gas_price
        self._evm.set_balance(message.sender, max(0, self.balance(message.sender) - fee))
        return outcome

    def call(self, message: Message) -> Outcome:
        """Execute and undo every effect."""
        checkpoint = self._evm.snapshot()
        try:
            return self._execute(message, self.nonce(message.sender))
        finally:
            self._evm.revert(checkpoint)

    def _execute(self, message: Message, nonce: int) -> Outcome:
        sender, data, value, gas = message.sender, message.data, message.value, message.gas
        created: str | None = None
        output = b""
        try:
            if message.to is None:
                info = pyrevm.AccountInfo(balance=self.balance(sender), nonce=nonce)
                self._evm.insert_account_info(sender, info)
                created = str(self._evm.deploy(sender, data, value, gas)).lower()
            else:
                output = bytes(self._evm.message_call(sender, message.to, data, value, gas))
        except RuntimeError as error:  # the only error pyrevm raises; its text says which kind
            return self._failed(str(error))
        finally:
            self._evm.reset_transient_storage()
        result = self._evm.result
        logs = tuple(_log(entry) for entry in result.logs)
        return Outcome(True, output, int(result.gas_used), logs, created, "")

    def _failed(self, text: str) -> Outcome:
        result = self._evm.result
        if not text.startswith(("Revert", "Halt")) or result is None:
            raise RefusedError("vm.intrinsic", "the transaction cannot be executed at all", hint=text[:200])
        match = _OUTPUT.search(text)
        output = bytes.fromhex(match[1]) if match and text.startswith("Revert") else b""
        halt = str(result.reason) if text.startswith("Halt") else ""
        return Outcome(False, output, int(result.gas_used), (), None, halt)

    def _look(self, read: Callable[[], Any]) -> Any:
        """Read, and leave no trace of having looked."""
        checkpoint = self._evm.snapshot()
        try:
            return read()
        finally:
            self._evm.revert(checkpoint)

    def nonce(self, address: str) -> int:
        """How many transactions an account has made (contracts: as the machine counts)."""
        known = self._nonces.get(address)
        return known if known is not None else int(self._look(lambda: self._evm.basic(address).nonce))

    def balance(self, address: str) -> int:
        """Base units."""
        return int(self._look(lambda: self._evm.get_balance(address)))

    def code(self, address: str) -> bytes:
        """The runtime code; empty for accounts without."""
        raw = bytes(self._look(lambda: self._evm.get_code(address)) or b"")
        if not raw.strip(b"\x00"):
            return b""
        code = raw[:-CODE_PADDING_BYTES]
        known = bytes(self._look(lambda: self._evm.basic(address).code_hash))
        return code if evm.keccak256(code) == known else raw

    def storage(self, address: str, slot: int) -> int:
        """One storage word."""
        return int(self._look(lambda: self._evm.storage(address, slot)))


def _log(entry: Any) -> EventLog:
    topics, data = entry.data
    return EventLog(str(entry.address).lower(), tuple(bytes(topic) for topic in topics), bytes(data))
