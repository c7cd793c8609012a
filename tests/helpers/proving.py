"""A prover that needs nothing: its circuit multiplies by the factor that a model's file says; its proof is a digest.

It stands in for EZKL wherever a test is about what is done with circuits and proofs, not about proving.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from holdfast.core.circuits import parse_instance, show_instance
from holdfast.core.encoding import sha256, sha256_hex
from holdfast.errors import HoldfastError, UnavailableError
from holdfast.ports.prover import STEPS, Derived, MadeCircuit, Progress, Witnessed

SRS = b"a reference string"
SIZE = 2
"""Elements of the one input and of the one output."""


def settings_of(**change: Any) -> bytes:
    """Settings of the circuit of any model."""
    arguments = {
        "input_visibility": "Public",
        "output_visibility": "Public",
        "param_visibility": "Fixed",
        "ignore_range_check_inputs_outputs": False,
        "logrows": 9,
        "lookup_range": [0, 0],
    }
    value = {
        "run_args": arguments,
        "num_rows": 40,
        "model_instance_shapes": [[SIZE], [SIZE]],
        "model_input_scales": [7],
        "model_output_scales": [14],
        "required_lookups": [],
        "required_range_checks": [],
        "version": "1.0",
        "timestamp": 1,
        "input_types": ["F32"],
        "output_types": ["F32"],
    }
    return json.dumps({**value, **change}).encode()


def proof_of(key: bytes, instances: Sequence[str]) -> bytes:
    """What proves public numbers under a verification key."""
    return sha256(b"proof" + key + "".join(instances).encode())


def key_of(model: bytes, settings: bytes, srs: bytes) -> bytes:
    """The verification key of a model's circuit."""
    return b"key " + sha256(sha256(model) + sha256(settings) + sha256(srs))


class ArithmeticProver:
    """Implements ``ports.prover.Prover`` and ``ports.prover.ProofChecker``."""

    version = "1.0"

    def __init__(self) -> None:
        self.failures: list[HoldfastError] = []
        """What the next proofs fail with."""
        self.proved = 0
        self.refusal: HoldfastError | None = None
        """What making a circuit fails with."""
        self.hold: asyncio.Event | None = None
        """What making a circuit waits for, after its first step."""
        self.twist = 0
        """How far the circuit's answer is off, in its last place."""

    async def make(
        self, folder: Path, model: bytes, samples: Sequence[Sequence[float]] | None, progress: Progress
    ) -> MadeCircuit:
        progress(0)
        await asyncio.sleep(0)
        if self.refusal is not None:
            raise self.refusal
        progress(len(STEPS) - 1)
        if self.hold is not None:
            await self.hold.wait()
        os.makedirs(folder, exist_ok=True)  # noqa: PTH103
        for name, data in (("model.onnx", model), ("settings", settings_of())):
            folder.joinpath(name).write_bytes(data)
        made = self.load(folder)
        if made is None:
            raise UnavailableError("infer.prover", "nothing was made")
        return made

    def load(self, folder: Path) -> MadeCircuit | None:
        if not (folder / "settings").is_file():
            return None
        model, settings = ((folder / name).read_bytes() for name in ("model.onnx", "settings"))
        key = key_of(model, settings, SRS)
        return MadeCircuit(settings, key, sha256_hex(SRS), "development", ("x",), ("y",))

    async def witness(self, folder: Path, inputs: Sequence[Sequence[str]]) -> Witnessed:
        await asyncio.sleep(0)
        factor = float(folder.joinpath("model.onnx").read_bytes())
        given = [item for tensor in inputs for item in tensor]
        outputs = [round(parse_instance(item) * factor * 128) + self.twist for item in given]
        instances = (*given, *map(show_instance, outputs))
        return Witnessed(instances, "".join(instances).encode())

    async def prove(self, folder: Path, witness: bytes) -> bytes:
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop(0)
        self.proved += 1
        made = self.load(folder)
        assert made is not None
        return proof_of(made.verification_key, [witness.decode()])

    def reference_string(self, digest: str) -> bytes | None:
        return SRS if digest == sha256_hex(SRS) else None

    async def derive(self, model: bytes, settings: bytes, srs: bytes) -> Derived:
        await asyncio.sleep(0)
        return Derived(settings_of(), key_of(model, settings, srs), ("x",), ("y",))

    async def verify(
        self, proof: bytes, instances: Sequence[str], settings: bytes, verification_key: bytes, srs: bytes
    ) -> bool:
        await asyncio.sleep(0)
        return proof == proof_of(verification_key, ["".join(instances)])
