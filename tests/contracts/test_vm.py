"""The virtual machine port: what every machine under the development chain keeps (ports/vm.py).

The code under test is assembled here by hand, so the suite needs no compiler.
"""

import pytest

from holdfast.adapters import vm_pyrevm
from holdfast.core.transactions import contract_address
from holdfast.errors import RefusedError
from holdfast.ports.vm import BlockContext, GenesisAccount, Message, VirtualMachine, VirtualMachineFactory
from tests.helpers.chains import NEEDS_MACHINE

RICH, POOR, COUNTER = "0x" + "11" * 20, "0x" + "22" * 20, "0x" + "33" * 20
COUNT_UP = bytes.fromhex("6000546001018060005560005260206000f3")
"""storage[0] += 1; return it."""
REVERTS = bytes.fromhex("60aa60005260206000fd")
"""revert with one word, 0xaa."""
LOGS = bytes.fromhex("60bb60005260cc60206000a100")
"""log1(one word 0xbb, topic 0xcc)."""
TIME_AND_NUMBER = bytes.fromhex("4260005243602052466040523360605260806000f3")
"""return (timestamp, number, chain id, caller)."""
TRANSIENT = bytes.fromhex("5f5c6001015f525f515f5d60205ff3")
"""transient[0] += 1 from its old value; return it."""
LOOPS = bytes.fromhex("5b600056")
LOOKS = bytes.fromhex("73" + "22" * 20 + "31" + "5f525f5460205260405ff3")
"""return (balance of POOR, storage[0])."""


@pytest.fixture(params=[pytest.param(vm_pyrevm.PyrevmMachine, marks=NEEDS_MACHINE)], ids=["pyrevm"])
def machine(request: pytest.FixtureRequest) -> VirtualMachine:
    make: VirtualMachineFactory = request.param
    codes = [COUNT_UP, REVERTS, LOGS, TIME_AND_NUMBER, TRANSIENT, LOOPS, LOOKS]
    accounts = {at(index): GenesisAccount(code=code) for index, code in enumerate(codes)}
    made = make(31337, {RICH: GenesisAccount(10**18), **accounts})
    made.begin_block(BlockContext(5, 1_000, 7, 30_000_000, bytes(32)))
    return made


def at(index: int) -> str:
    return "0x" + f"{0x33 + index:02x}" * 20


def message(to: str | None, data: bytes = b"", *, value: int = 0, gas: int = 200_000, price: int = 7) -> Message:
    return Message(RICH, to, data, value, gas, price)


@pytest.mark.parametrize("look", ["nonce", "balance", "code", "storage", "call"])
def test_who_was_looked_at_before_costs_no_less_gas(machine: VirtualMachine, look: str) -> None:
    """A chain replays its blocks without the questions that were asked in between."""
    plain = machine.call(message(at(6))).gas_used
    if look == "call":
        machine.call(message(POOR, value=1))
        machine.call(message(at(6)))
    else:
        for address in (POOR, at(6)):
            getattr(machine, look)(address, *([0] if look == "storage" else []))
    assert machine.transact(message(at(6))).gas_used == plain


def test_gas_below_the_cost_of_the_bytes_changes_nothing(machine: VirtualMachine) -> None:
    with pytest.raises(RefusedError) as caught:
        machine.transact(message(at(0), gas=20_000))
    assert caught.value.code == "vm.intrinsic"
    assert (machine.nonce(RICH), machine.balance(RICH)) == (0, 10**18)


def test_a_revert_pays_gas_counts_the_nonce_and_undoes_the_rest(machine: VirtualMachine) -> None:
    outcome = machine.transact(message(at(1), value=5))
    assert (outcome.success, outcome.output, outcome.logs) == (False, (0xAA).to_bytes(32), ())
    assert machine.nonce(RICH) == 1
    assert machine.balance(RICH) == 10**18 - 7 * outcome.gas_used
    assert machine.balance(at(1)) == 0


def test_running_out_of_gas_takes_all_of_it(machine: VirtualMachine) -> None:
    outcome = machine.transact(message(at(5), gas=50_000))
    assert (outcome.success, outcome.gas_used, outcome.output) == (False, 50_000, b"")
    assert "OutOfGas" in outcome.halt


def test_a_failed_creation_counts_the_nonce(machine: VirtualMachine) -> None:
    outcome = machine.transact(message(None, b"\xfe"))
    assert (outcome.success, outcome.created, machine.nonce(RICH)) == (False, None, 1)
    made = machine.transact(message(None, bytes.fromhex("60016000f3")))
    assert made.created == contract_address(RICH, 1)


def test_a_call_leaves_no_trace(machine: VirtualMachine) -> None:
    for _ in range(3):
        assert machine.call(message(at(0))).output == (1).to_bytes(32)
    assert (machine.nonce(RICH), machine.storage(at(0), 0), machine.balance(RICH)) == (0, 0, 10**18)


def test_effects_add_up_over_transactions(machine: VirtualMachine) -> None:
    for expected in (1, 2, 3):
        assert machine.transact(message(at(0))).output == expected.to_bytes(32)
    assert (machine.storage(at(0), 0), machine.nonce(RICH)) == (3, 3)


def test_value_and_fee_leave_the_sender(machine: VirtualMachine) -> None:
    outcome = machine.transact(message(POOR, value=9))
    assert (machine.balance(POOR), outcome.gas_used) == (9, 21_000)
    assert machine.balance(RICH) == 10**18 - 9 - 7 * 21_000


def test_transient_storage_ends_with_the_transaction(machine: VirtualMachine) -> None:
    for _ in range(2):
        assert machine.transact(message(at(4))).output == (1).to_bytes(32)
    assert machine.call(message(at(4))).output == (1).to_bytes(32)


def test_events_carry_address_topics_and_data(machine: VirtualMachine) -> None:
    (event,) = machine.transact(message(at(2))).logs
    assert (event.address, event.topics, event.data) == (at(2), ((0xCC).to_bytes(32),), (0xBB).to_bytes(32))


def test_code_sees_the_block_the_chain_and_the_sender(machine: VirtualMachine) -> None:
    output = machine.call(message(at(3))).output
    words = [int.from_bytes(output[place : place + 32]) for place in range(0, 128, 32)]
    assert words == [1_000, 5, 31337, int(RICH, 16)]
    machine.begin_block(BlockContext(6, 2_000, 7, 30_000_000, bytes(32)))
    assert machine.call(message(at(3))).output[:64] == (2_000).to_bytes(32) + (6).to_bytes(32)


def test_code_reads_back_exactly(machine: VirtualMachine) -> None:
    assert machine.code(at(0)) == COUNT_UP
    assert machine.code(RICH) == b""
    runtime = b"\x00\x01\x00"
    made = machine.transact(message(None, bytes.fromhex("62000100") + bytes.fromhex("5f526003601df3")))
    assert made.created is not None
    assert machine.code(made.created) == runtime
