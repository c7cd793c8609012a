"""Calls of verifier contracts, which of their answers is a yes, and code that is too large for any chain."""

from __future__ import annotations

import pytest

from holdfast.adapters.compiler_solc import Compiled
from holdfast.adapters.evm_rpc import RPCError
from holdfast.adapters.verifier_evm import MAX_CODE_BYTES, ask_verifier, call_data, deploy_verifier
from holdfast.core import evm
from holdfast.core.circuits import FIELD, show_instance
from holdfast.errors import HoldfastError
from tests.helpers.asks import EATER, REVERTER
from tests.helpers.chains import NEEDS_MACHINE, EvmWorld, in_evm_world

PROOF = bytes(range(64))
INSTANCES = [show_instance(1), show_instance(-1)]
SAYS = {number: bytes([0x60, number]) + bytes.fromhex("5f5260205ff3") for number in (0, 1, 2)}
"""Contracts that answer every call with a number."""
SILENT = bytes.fromhex("00")


def created(runtime: bytes) -> Compiled:
    size = len(runtime).to_bytes(2)
    return Compiled(
        bytes.fromhex("61" + size.hex() + "600e6000" + "39" + "61" + size.hex() + "6000f3") + runtime, runtime
    )


def only(call: bytes) -> bytes:
    """A contract that says 1 to this very call and 0 to every other."""
    return bytes.fromhex("365f5f37365f207f") + evm.keccak256(call) + bytes.fromhex("145f5260205ff3")


def test_a_call_has_the_layout_that_contracts_read() -> None:
    words = [
        evm.word(64),
        evm.word(64 + 32 + 64),
        evm.word(64),
        PROOF,
        evm.word(2),
        evm.word(1),
        evm.word(FIELD - 1),
    ]
    assert call_data(PROOF, INSTANCES) == bytes.fromhex("1e8e1e13") + b"".join(words)


@pytest.mark.parametrize("instance", ["", "00" * 31, FIELD.to_bytes(32, "little").hex(), "ff" * 32])
def test_what_is_no_element_of_the_field_is_in_no_call(instance: str) -> None:
    with pytest.raises(HoldfastError) as refused:
        call_data(PROOF, [instance])
    assert refused.value.code in ("circuit.number", "encoding.hex")


@NEEDS_MACHINE
def test_code_that_no_chain_takes_is_refused_before_anything_is_sent() -> None:
    async def scenario(world: EvmWorld) -> None:
        before = world.chain.head.number
        with pytest.raises(HoldfastError) as refused:
            await deploy_verifier(world.connection, world.signers[0], created(bytes(MAX_CODE_BYTES + 1)))
        assert refused.value.code == "onchain.verifier_size"
        assert refused.value.hint
        assert world.chain.head.number == before

    in_evm_world(scenario)


@NEEDS_MACHINE
def test_code_of_another_kind_than_was_made_is_not_called_created() -> None:
    async def scenario(world: EvmWorld) -> None:
        made = Compiled(created(SAYS[1]).init_code, SAYS[0])
        with pytest.raises(HoldfastError) as refused:
            await deploy_verifier(world.connection, world.signers[0], made)
        assert refused.value.code == "chain.rpc"

    in_evm_world(scenario)


@NEEDS_MACHINE
def test_nothing_but_true_is_a_yes() -> None:
    async def scenario(world: EvmWorld) -> None:
        async def asked(runtime: bytes) -> bool:
            address, _ = await deploy_verifier(world.connection, world.signers[0], created(runtime))
            return await ask_verifier(world.connection, address, PROOF, INSTANCES)

        assert [await asked(runtime) for runtime in (SAYS[0], REVERTER, EATER)] == [False, False, False]
        for runtime in (SAYS[2], SILENT):
            with pytest.raises(HoldfastError) as refused:
                await asked(runtime)
            assert refused.value.code == "chain.contract"
        with pytest.raises(HoldfastError) as refused:
            await ask_verifier(world.connection, "0x" + "11" * 20, PROOF, INSTANCES)
        assert refused.value.code == "chain.contract"
        assert await asked(SAYS[1])
        assert await asked(only(call_data(PROOF, INSTANCES)))
        assert not await asked(only(call_data(PROOF, INSTANCES[::-1])))

    in_evm_world(scenario)


@NEEDS_MACHINE
@pytest.mark.parametrize(
    ("text", "no"), [("out of gas", True), ("EVM error OutOfGas", True), ("header not found", False)]
)
def test_a_call_that_used_up_its_gas_is_a_no_and_one_that_failed_otherwise_is_none(text: str, no: bool) -> None:
    async def scenario(world: EvmWorld) -> None:
        def fault(method: str) -> None:
            if method == "eth_call":
                raise RPCError(-32000, text, None)

        address, _ = await deploy_verifier(world.connection, world.signers[0], created(SAYS[1]))
        world.provider.fault = fault
        if no:
            assert not await ask_verifier(world.connection, address, PROOF, INSTANCES)
            return
        with pytest.raises(HoldfastError) as refused:
            await ask_verifier(world.connection, address, PROOF, INSTANCES)
        assert refused.value.code == "chain.rpc"

    in_evm_world(scenario)
