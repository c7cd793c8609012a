"""A workflow contract's calls, answers and events as they are read without a chain library (onchain.md §12). Refusals
are vectors (``vectors/onchain``); here the reading is held against the compiled contract's own description."""

from __future__ import annotations

import pytest

from holdfast.adapters.evm_rpc import contract_interface
from holdfast.core import abi, evm, flows
from holdfast.errors import MalformedError

SOME = {
    "uint256": 7,
    "uint8": 1,
    "bytes32": bytes(range(32)),
    "bytes": b"x" * 33,
    "address": "0x" + "ab" * 20,
}


def some(kinds: tuple[abi.Kind, ...]) -> list[object]:
    return [SOME[str(kind)] for kind in kinds]


@pytest.mark.parametrize("function", flows.FUNCTIONS)
def test_calls_are_those_of_the_compiled_contract(function: str) -> None:
    given = some(flows.FUNCTIONS[function])
    assert flows.call_data(function, given) == contract_interface("Workflow").call_data(function, given)


def test_every_function_of_the_contract_is_known_and_so_is_what_makes_one() -> None:
    compiled = contract_interface("Workflow")
    assert set(compiled._selectors) == set(flows.FUNCTIONS)
    given = some(flows.CONSTRUCTOR)
    assert compiled.bytecode + flows.call_data("constructor", given) == compiled.init_code(given)


def test_events_are_those_of_the_compiled_contracts() -> None:
    for name, (keys, plain) in flows._EVENTS.items():
        topic = evm.keccak256(abi.signature(name, (*keys, *plain)).encode())
        assert contract_interface("Workflow").topics["0x" + topic.hex()] == (name, list(keys), list(plain))
    topic = evm.keccak256(abi.signature("Requested", (*flows._REQUESTED[0], *flows._REQUESTED[1])).encode())
    assert contract_interface("Inference").topics["0x" + topic.hex()][0] == "Requested"


def test_a_value_that_is_no_value_of_its_kind_is_refused() -> None:
    for kind, value in (("bool", 1), ("uint8", True), ("bytes", "00"), ("bytes32", b""), ("int256", 1)):
        with pytest.raises(MalformedError, match=r"evm\.abi"):
            abi.encode([kind], [value])


def test_values_are_read_back() -> None:
    kinds: list[abi.Kind] = ["bool", ("address", "bytes"), ("uint8", "bytes32"), "bytes"]
    values = (True, (SOME["address"], b""), (3, SOME["bytes32"]), b"x" * 32)
    assert abi.decode(kinds, abi.encode(kinds, values)) == values
