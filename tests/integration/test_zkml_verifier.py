"""The contract that EZKL writes for a circuit, compiled and created on the development chain, takes its proofs alone.

EZKL and the compiler are installed apart (``tests/helpers/zkml.py``); without them this file skips.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from holdfast.adapters.compiler_solc import Compiled, compile_solidity, find_solc
from holdfast.adapters.prover_ezkl import EzklChecker, EzklProver
from holdfast.adapters.verifier_evm import MAX_CODE_BYTES, ask_verifier, deploy_verifier
from holdfast.core.circuits import FIELD, parse_instance, parse_settings, quantise, show_instance
from holdfast.errors import HoldfastError
from tests.helpers import onnx_files, zkml
from tests.helpers.chains import NEEDS_MACHINE, EvmWorld, in_evm_world

pytestmark = [zkml.NEEDS_EZKL, zkml.NEEDS_SOLC, NEEDS_MACHINE]
LIMITS: dict[str, Any] = {"memory_bytes": 8 << 30, "run_s": 600, "threads": 2}


@dataclass(frozen=True)
class Proved:
    """A circuit's contract, and a proof of one run of it."""

    source: str
    contract: Compiled
    proof: bytes
    instances: tuple[str, ...]


async def prove(folder: Path, weights: tuple[float, float]) -> Proved:
    prover = EzklProver(zkml.python(), folder / "srs", ceremony=None, max_log_rows=14, **LIMITS)
    made = await prover.make(folder / "circuit", onnx_files.linear(weights), None, lambda _: None)
    scale = parse_settings(made.settings).input_scales[0]
    witnessed = await prover.witness(
        folder / "circuit", [[show_instance(quantise(value, scale)) for value in (1.0, -0.5)]]
    )
    proof = await prover.prove(folder / "circuit", witnessed.witness)
    srs = prover.reference_string(made.srs)
    assert srs is not None
    source = await EzklChecker(zkml.python(), **LIMITS).contract(made.settings, made.verification_key, srs)
    return Proved(source, compile_solidity(find_solc(Path(zkml.SOLC)), source), proof, witnessed.instances)


@pytest.fixture(scope="module")
def proved(tmp_path_factory: pytest.TempPathFactory) -> Proved:
    return asyncio.run(prove(tmp_path_factory.mktemp("circuit"), (0.5, -0.25)))


def play(contract: Compiled, story: Callable[[Callable[..., Awaitable[bool]]], Awaitable[None]]) -> None:
    """On a chain with the contract: what a story asks it."""

    async def scenario(world: EvmWorld) -> None:
        address, _ = await deploy_verifier(world.connection, world.signers[0], contract)
        await story(lambda proof, numbers: ask_verifier(world.connection, address, proof, numbers))

    in_evm_world(scenario)


def test_the_contract_refuses_whatever_differs_by_one_bit(proved: Proved) -> None:
    async def story(ask: Callable[..., Awaitable[bool]]) -> None:
        assert await ask(proved.proof, proved.instances)
        for place, text in enumerate(proved.instances):
            changed = [*proved.instances]
            changed[place] = show_instance(parse_instance(text) ^ 1)
            assert not await ask(proved.proof, changed), f"public number {place} may differ by one bit"
        for place in range(0, len(proved.proof), 61):  # somewhere in every point and every number of the proof
            bit = 1 << place % 8
            changed_proof = proved.proof[:place] + bytes([proved.proof[place] ^ bit]) + proved.proof[place + 1 :]
            assert not await ask(changed_proof, proved.instances), f"byte {place} of the proof may differ by one bit"
        assert not await ask(proved.proof[:-32], proved.instances)
        assert not await ask(proved.proof + bytes(32), proved.instances)
        assert not await ask(b"", proved.instances)
        assert not await ask(proved.proof, proved.instances[:-1])
        assert not await ask(proved.proof, [*proved.instances, show_instance(0)])
        assert await ask(proved.proof, proved.instances)

    play(proved.contract, story)


def test_a_number_beyond_the_field_never_reaches_the_contract(proved: Proved) -> None:
    async def story(ask: Callable[..., Awaitable[bool]]) -> None:
        beyond = (int.from_bytes(bytes.fromhex(proved.instances[0]), "little") + FIELD).to_bytes(32, "little").hex()
        with pytest.raises(HoldfastError) as refused:
            await ask(proved.proof, [beyond, *proved.instances[1:]])
        assert refused.value.code == "circuit.number"

    play(proved.contract, story)


def test_whoever_makes_the_contract_again_gets_the_same_code(proved: Proved) -> None:
    again = compile_solidity(find_solc(Path(zkml.SOLC)), proved.source)
    assert again == proved.contract
    assert 0 < len(again.code) <= MAX_CODE_BYTES


def test_the_contract_of_another_model_refuses_the_proof(proved: Proved, tmp_path: Path) -> None:
    other = asyncio.run(prove(tmp_path, (0.5, -0.5)))
    assert other.contract.code != proved.contract.code

    async def story(ask: Callable[..., Awaitable[bool]]) -> None:
        assert await ask(other.proof, other.instances)
        assert not await ask(proved.proof, proved.instances)

    play(other.contract, story)


def test_a_key_that_ezkl_cannot_read_makes_no_contract(tmp_path: Path) -> None:
    async def story() -> None:
        checker = EzklChecker(zkml.python(), **LIMITS)
        with pytest.raises(HoldfastError) as refused:
            await checker.contract(b"{}", b"no key", b"no string")
        assert refused.value.code == "onchain.verifier"

    asyncio.run(story())


def test_a_source_that_does_not_compile_makes_no_contract(proved: Proved) -> None:
    half = proved.source[: len(proved.source) // 2]
    for source, code in ((half, "onchain.verifier"), ("", "onchain.verifier")):
        with pytest.raises(HoldfastError) as refused:
            compile_solidity(find_solc(Path(zkml.SOLC)), source)
        assert refused.value.code == code
