"""An inference node in memory: the real service over a runtime that multiplies, and a source whose labels a test
moves."""

from __future__ import annotations

import asyncio
import shutil
import struct
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from holdfast.adapters.metrics_memory import MemoryMetrics
from holdfast.adapters.storage_simulated import SimulatedDisk
from holdfast.core.artifacts import build_manifest
from holdfast.core.encoding import sha256_hex
from holdfast.core.inference import Tensor, read_elements
from holdfast.core.keys import build_key_document
from holdfast.core.orders import CheckOrder, Delivery, Evidence, Order, ProofDelivery
from holdfast.errors import HoldfastError, UsageError
from holdfast.nodes.inference.circuits import Circuits
from holdfast.nodes.inference.identity import Identity
from holdfast.nodes.inference.models import Models
from holdfast.nodes.inference.proving import Proofs
from holdfast.nodes.inference.service import InferenceService
from holdfast.nodes.witness import EnclaveWitness
from holdfast.ports.inference import NodeModel
from holdfast.ports.models import Card, ModelEntry
from holdfast.ports.runtime import Conditions, Declared
from tests.helpers.network import ed25519_signer
from tests.helpers.proving import ArithmeticProver

CONDITIONS = Conditions("arithmetic", "1.0", "none", 1, "any")


class ScaleModel:
    """``y = x · factor``; the factor is what its file says."""

    def __init__(self, artifact: str, factor: float) -> None:
        self.artifact = artifact
        self.factor = factor
        self.alive = True
        self.closed = False
        self.inputs = (Declared("x", "float32", (None,)),)
        self.outputs = (Declared("y", "float32", (None,)),)

    async def run(self, items: Sequence[Mapping[str, Tensor]], outputs: Sequence[str]) -> list[Mapping[str, Tensor]]:
        assert not self.closed, "a model that was let go of is run"
        await asyncio.sleep(0)
        found: list[Mapping[str, Tensor]] = []
        for item in items:
            values = [value * self.factor for value in read_elements(item["x"])]
            found.append({"y": Tensor("float32", item["x"].shape, struct.pack(f"<{len(values)}f", *values))})
        return found

    async def close(self) -> None:
        self.closed = True


class ScaleRuntime:
    """Loads factors."""

    def __init__(self) -> None:
        self.loaded: list[ScaleModel] = []
        self.off = 0.0
        """How far this machine's arithmetic is off."""

    @property
    def conditions(self) -> Conditions:
        return CONDITIONS

    async def load(self, artifact: str, model: bytes) -> ScaleModel:
        await asyncio.sleep(0)
        made = ScaleModel(artifact, float(model) + self.off)
        self.loaded.append(made)
        return made


class MovingSource:
    """Labels and the artifacts that they mean; every artifact that ever was can be fetched."""

    def __init__(self, **factors: float) -> None:
        self.files: dict[str, dict[str, bytes]] = {}
        self.labels: dict[str, str] = {}
        self.cards: dict[str, Card] = {}
        for label, factor in factors.items():
            self.move(label, factor)

    def move(self, label: str, factor: float) -> str:
        """Point a label at the artifact of a factor."""
        files = {"model.onnx": repr(factor).encode()}
        artifact = build_manifest("model", {name: sha256_hex(data) for name, data in files.items()}).artifact
        self.files[artifact] = files
        self.labels[label] = artifact
        return artifact

    async def models(self) -> list[ModelEntry]:
        return [await self.find(label) for label in sorted(self.labels)]

    async def find(self, label: str) -> ModelEntry:
        await asyncio.sleep(0)
        if label not in self.labels:
            raise UsageError("models.unknown", "no such model", status=404)
        return ModelEntry(label, self.labels[label], self.cards.get(label, Card()))

    async def fetch(self, artifact: str, label: str) -> Mapping[str, bytes]:
        await asyncio.sleep(0)
        return self.files[artifact]


class MemoryInferenceNode:
    """Implements ``ports.inference.InferenceNode`` by calling the service itself."""

    def __init__(self, clock: Any, source: MovingSource, code: str = "inference", *, most: int = 2) -> None:
        self.signer = ed25519_signer(code, "statement")
        self.document = build_key_document(f"{code}.test", ["inference"], "holdfast/test", [self.signer.key])
        self.runtime = ScaleRuntime()
        self.source = source
        self.clock = clock
        self.metrics = MemoryMetrics()
        self.models_kept = Models(source, self.runtime, self.metrics, most=most)
        self.witness = EnclaveWitness(self.document, None, clock, reattest_s=60)
        self.prover = ArithmeticProver()
        self.folder = Path(tempfile.mkdtemp(prefix="holdfast-circuits-"))
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        self.disk = SimulatedDisk(1)
        self.identity = Identity(self.document.digest, self.signer)
        self.start_proving()
        self.code = code
        self.failure: HoldfastError | None = None
        self.change: Any = None
        """What a test does to a delivery on its way."""

    def start_proving(self, prover: Any = None) -> None:
        """Begin with the proofs that the disk says are owed, as a new process does; ``prover`` may be why there is
        none."""
        self.circuits = Circuits(self.folder, self.source, prover or self.prover, self.clock, self.metrics)
        self.owed = Proofs(
            self.disk.mount(),
            self.circuits,
            self.identity,
            self.clock,
            self.metrics,
            salt=lambda: bytes(32),
            keep_s=86_400,
        )
        self.service = InferenceService(
            self.identity,
            self.models_kept,
            CONDITIONS,
            self.witness,
            self.circuits,
            self.owed,
            self.clock,
            self.metrics,
            at_once=64,
        )

    def attest(self) -> None:
        """Pretend that an enclave attests this node."""
        self.witness.current = Evidence("aws-nitro", b"evidence")

    async def models(self) -> list[NodeModel]:
        if self.failure is not None:
            raise self.failure
        return [NodeModel(item.label, item.artifact, item.card.task) for item in await self.source.models()]

    async def compute(self, order: Order, *, timeout_s: float) -> Delivery:
        if self.failure is not None:
            raise self.failure
        delivery = await self.service.compute(order)
        return self.change(order, delivery) if self.change is not None else delivery

    async def recompute(self, check: CheckOrder, *, timeout_s: float) -> Delivery:
        return await self.service.recompute(check)

    async def proofs(self) -> list[tuple[str, str]]:
        return [(item["run"], item["statement"]) for item in self.owed.waiting()]

    async def proof(self, statement: str) -> ProofDelivery:
        found = self.owed.read(statement)
        if found is None:
            raise UsageError("proof.unknown", "no such proof", status=404)
        return found

    async def taken(self, statement: str) -> None:
        self.owed.taken(statement)

    async def close(self) -> None:
        await self.circuits.close()
        await self.models_kept.close()
