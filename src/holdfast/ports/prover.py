"""Circuits of models, proofs of what they gave, and checking those (``adapters/prover_ezkl.py``; ``inference.md`` §5).

A circuit lives in a folder of its own, which only the prover reads and writes; what others need of it is a
:class:`MadeCircuit`. Work happens in processes of its own: it takes seconds to minutes, reports how far it is, and may
be killed at any time, after which it is done again.

Errors: ``infer.no_prover`` (refused: it is not installed), ``infer.too_large`` (refused, with the estimate),
``infer.circuit`` (refused: the model makes no circuit), ``infer.runtime`` (refused: the circuit has no answer for these
inputs), ``infer.prover`` (unavailable: the process ended or took too long; try again).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

STEPS = ("measuring", "calibrating", "compiling", "reference string", "keys")
"""What making a circuit goes through, in order."""
Progress = Callable[[int], None]
"""Hears which of :data:`STEPS` has begun."""


@dataclass(frozen=True, slots=True)
class MadeCircuit:
    """What a circuit is to everybody but its prover."""

    settings: bytes
    verification_key: bytes
    srs: str
    """Digest (hex) of the reference string's file."""
    srs_kind: str
    """``development`` or ``ceremony``."""
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Witnessed:
    """What a circuit gave for one input, and what a prover needs to prove it."""

    instances: tuple[str, ...]
    """Public numbers: inputs, then outputs (``circuits.show_instance``)."""
    witness: bytes


@dataclass(frozen=True, slots=True)
class Derived:
    """What follows from a model's bytes."""

    settings: bytes
    """From the model and the arguments in claimed settings."""
    verification_key: bytes
    """Of the circuit that the claimed settings describe."""
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class Prover(Protocol):
    """Makes circuits and proofs."""

    @property
    def version(self) -> str:
        """Of the proof system."""
        ...

    async def make(
        self, folder: Path, model: bytes, samples: Sequence[Sequence[float]] | None, progress: Progress
    ) -> MadeCircuit:
        """Make the circuit of a checked model in a new folder. ``samples`` are elements of each input, several items
        one after the other, that the circuit's ranges are found with."""
        ...

    def load(self, folder: Path) -> MadeCircuit | None:
        """A circuit that was made whole by this version; None where there is none."""
        ...

    async def witness(self, folder: Path, inputs: Sequence[Sequence[str]]) -> Witnessed:
        """What the circuit gives for numbers of the field."""
        ...

    async def prove(self, folder: Path, witness: bytes) -> bytes:
        """The proof of a witness."""
        ...

    def reference_string(self, digest: str) -> bytes | None:
        """The bytes of a reference string that circuits here were made with."""
        ...


class ProofChecker(Protocol):
    """Checks proofs without trusting whoever made them."""

    @property
    def version(self) -> str:
        """Of the proof system."""
        ...

    async def derive(self, model: bytes, settings: bytes, srs: bytes) -> Derived:
        """What follows from a model, claimed settings and a reference string. Raises ``model.*`` of a file that is no
        model, and ``infer.circuit`` where no circuit follows."""
        ...

    async def verify(
        self, proof: bytes, instances: Sequence[str], settings: bytes, verification_key: bytes, srs: bytes
    ) -> bool:
        """Whether a proof is one of these public numbers under this key."""
        ...
