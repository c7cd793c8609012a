"""Running a model whose bytes are here (``adapters/runtime_onnx.py``).

A loaded model is one artifact for as long as it lives: what its :attr:`LoadedModel.artifact` says was checked before
its bytes were handed to the process that runs it, and nothing changes them there.

Errors: ``model.*`` (a file that should not or cannot be loaded: malformed or refused), ``infer.limits`` (refused: it
took more time or memory than it may; the process is gone), ``infer.inputs`` and ``infer.shape`` (malformed: what the
model does not take), ``infer.runtime`` (refused: the model itself failed on these inputs).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from holdfast.core.inference import Tensor


@dataclass(frozen=True, slots=True)
class Declared:
    """One input or output as the model declares it."""

    name: str
    dtype: str
    """As in ``inference.md`` §2."""
    shape: tuple[int | None, ...]
    """None where a dimension is open."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What besides the artifact and the inputs decides the bits of an answer (``inference.md`` §4)."""

    runtime: str
    version: str
    optimisation: str
    threads: int
    instructions: str


class LoadedModel(Protocol):
    """One artifact in memory."""

    @property
    def artifact(self) -> str:
        """Digest (hex) of the artifact whose bytes these are."""
        ...

    @property
    def inputs(self) -> tuple[Declared, ...]:
        """What it takes, in its order."""
        ...

    @property
    def outputs(self) -> tuple[Declared, ...]:
        """What it gives, in its order."""
        ...

    @property
    def alive(self) -> bool:
        """Whether it can still run: a model that broke a limit cannot."""
        ...

    async def run(self, items: Sequence[Mapping[str, Tensor]], outputs: Sequence[str]) -> list[Mapping[str, Tensor]]:
        """Run each item by itself; returns the named outputs, all where none is named, in the model's order."""
        ...

    async def close(self) -> None:
        """Let go of it; a run under way ends first."""
        ...


class Runtime(Protocol):
    """Loads models."""

    @property
    def conditions(self) -> Conditions:
        """How it runs every model."""
        ...

    async def load(self, artifact: str, model: bytes) -> LoadedModel:
        """Check a model's bytes and load them into a process of their own. ``artifact`` was checked by the caller."""
        ...
