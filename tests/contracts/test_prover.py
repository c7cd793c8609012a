"""The prover port: the arithmetic one and EZKL keep the same rules, refusals first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.adapters.prover_ezkl import EzklChecker, EzklProver, ezkl_version, open_checker
from holdfast.core.circuits import parse_instance, parse_settings, quantise, same_circuit, show_instance
from holdfast.core.encoding import sha256_hex
from holdfast.errors import HoldfastError
from holdfast.ports.prover import STEPS, MadeCircuit
from tests.helpers import onnx_files, zkml
from tests.helpers.proving import ArithmeticProver

LIMITS: dict[str, Any] = {"memory_bytes": 8 << 30, "run_s": 600, "threads": 2}
WEIGHT = (0.5, -0.25)


class Bench:
    """A prover, who checks it, and a model of two inputs that both can prove."""

    def __init__(self, folder: Path, prover: Any, checker: Any, model: bytes) -> None:
        self.folder, self.prover, self.checker, self.model = folder / "circuit", prover, checker, model
        self.steps: list[int] = []

    async def make(self) -> MadeCircuit:
        made: MadeCircuit = await self.prover.make(self.folder, self.model, None, self.steps.append)
        return made

    async def proved(self) -> tuple[MadeCircuit, list[str], bytes, bytes]:
        """The circuit, public numbers, a proof of them, and the reference string."""
        made = await self.make()
        scale = parse_settings(made.settings).input_scales[0]
        witnessed = await self.prover.witness(self.folder, [[show_instance(quantise(v, scale)) for v in (1.0, -0.5)]])
        proof = await self.prover.prove(self.folder, witnessed.witness)
        srs = self.prover.reference_string(made.srs)
        assert srs is not None
        return made, list(witnessed.instances), proof, srs


def arithmetic(folder: Path) -> Bench:
    prover = ArithmeticProver()
    return Bench(folder, prover, prover, b"2.0")


def ezkl(folder: Path) -> Bench:
    prover = EzklProver(zkml.python(), folder / "srs", ceremony=None, max_log_rows=14, **LIMITS)
    return Bench(folder, prover, EzklChecker(zkml.python(), **LIMITS), onnx_files.linear(WEIGHT))


@pytest.fixture(params=[arithmetic, pytest.param(ezkl, marks=zkml.NEEDS_EZKL)])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    made: Bench = request.param(tmp_path)
    return made


def play(story: Callable[[], Any]) -> Any:
    return asyncio.run(story())


def test_where_no_circuit_was_made_there_is_none(bench: Bench) -> None:
    assert bench.prover.load(bench.folder) is None
    assert bench.prover.reference_string("00" * 32) is None


def test_a_circuit_is_there_once_it_was_made_whole(bench: Bench) -> None:
    async def story() -> None:
        made = await bench.make()
        assert bench.prover.load(bench.folder) == made
        assert bench.steps == sorted(bench.steps)
        assert bench.steps[-1] == len(STEPS) - 1
        assert (made.inputs, made.outputs, made.srs_kind) == (("x",), ("y",), "development")
        srs = bench.prover.reference_string(made.srs)
        assert sha256_hex(srs) == made.srs

    play(story)


def test_what_everybody_derives_is_what_was_made(bench: Bench) -> None:
    async def story() -> None:
        made, *_, srs = await bench.proved()
        derived = await bench.checker.derive(bench.model, made.settings, srs)
        assert derived.verification_key == made.verification_key
        assert same_circuit(derived.settings, made.settings)
        assert (derived.inputs, derived.outputs) == (made.inputs, made.outputs)
        assert bench.prover.version == bench.checker.version

    play(story)


def test_a_proof_holds_for_its_public_numbers_alone(bench: Bench) -> None:
    async def story() -> None:
        made, instances, proof, srs = await bench.proved()

        async def holds(numbers: list[str], shown: bytes = proof, key: bytes = made.verification_key) -> bool:
            found: bool = await bench.checker.verify(shown, numbers, made.settings, key, srs)
            return found

        assert await holds(instances)
        for place in range(len(instances)):
            changed = [*instances]
            changed[place] = show_instance(parse_instance(changed[place]) ^ 1)
            assert not await holds(changed), f"public number {place} may differ by one bit"
        assert not await holds(instances, bytes([proof[0] ^ 1, *proof[1:]]))
        assert not await holds(instances, proof[:-1])
        assert not await holds(instances, b"")

    play(story)


# --- EZKL alone -------------------------------------------------------------------------------------------------------


def test_without_ezkl_a_prover_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(HoldfastError) as refused:
        ezkl_version(tmp_path / "bin" / "python")
    assert refused.value.code == "infer.no_prover"
    assert "pip install ezkl" in refused.value.hint
    assert open_checker(tmp_path / "bin" / "python", **LIMITS) is None


@zkml.NEEDS_EZKL
@pytest.mark.parametrize(
    ("model", "code"),
    [
        (onnx_files.perceptron([64, 64, 64, 10], batch=1), "infer.too_large"),
        (onnx_files.echo(), "infer.circuit"),
        (onnx_files.endless(), "infer.circuit"),
        (b"no model", "model.onnx"),
    ],
)
def test_what_makes_no_circuit_is_refused(model: bytes, code: str, tmp_path: Path) -> None:
    async def story() -> None:
        prover = EzklProver(zkml.python(), tmp_path / "srs", ceremony=None, max_log_rows=10, **LIMITS)
        with pytest.raises(HoldfastError) as refused:
            await prover.make(tmp_path / "circuit", model, None, lambda _: None)
        assert refused.value.code == code, refused.value.message
        assert prover.load(tmp_path / "circuit") is None
        if code == "infer.too_large":
            assert "rows" in refused.value.message
            assert "MiB" in refused.value.message
            assert not (tmp_path / "srs").exists(), "something was computed for what is too large"

    play(story)


@zkml.NEEDS_EZKL
def test_a_ceremony_is_used_alone_and_named(tmp_path: Path) -> None:
    async def story() -> None:
        (tmp_path / "ceremony").mkdir()
        limits = {**LIMITS, "max_log_rows": 14}
        prover = EzklProver(zkml.python(), tmp_path / "srs", ceremony=tmp_path / "ceremony", **limits)
        with pytest.raises(HoldfastError) as refused:
            await prover.make(tmp_path / "circuit", onnx_files.linear(WEIGHT), None, lambda _: None)
        assert refused.value.code == "infer.circuit"
        own = EzklProver(zkml.python(), tmp_path / "ceremony", ceremony=None, **limits)
        made = await own.make(tmp_path / "own", onnx_files.linear(WEIGHT), None, lambda _: None)
        again = await prover.make(tmp_path / "circuit", onnx_files.linear(WEIGHT), None, lambda _: None)
        assert (made.srs_kind, again.srs_kind, again.srs) == ("development", "ceremony", made.srs)
        assert prover.load(tmp_path / "own") is None, "a circuit under another string is taken for one of the ceremony"

    play(story)


@zkml.NEEDS_EZKL
def test_a_number_beyond_the_circuits_range_gets_no_answer(tmp_path: Path) -> None:
    async def story() -> None:
        bench = ezkl(tmp_path)
        await bench.make()
        with pytest.raises(HoldfastError) as refused:
            await bench.prover.witness(bench.folder, [[show_instance(1 << 40), show_instance(0)]])
        assert refused.value.code == "infer.runtime"

    play(story)


@zkml.NEEDS_EZKL
def test_a_prover_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    async def story() -> None:
        bench = ezkl(tmp_path)
        await bench.make()
        bench.prover._run_s = 0.001
        with pytest.raises(HoldfastError) as refused:
            await bench.prover.prove(bench.folder, b"{}")
        assert (refused.value.code, refused.value.kind) == ("infer.prover", "unavailable")

    play(story)
