"""Circuits of artifacts: made once for each, in the background, with progress (``spec/inference.md`` §5(2), §5(6)).

Rules:

* What a label means is looked up for every run, and every file of an artifact is compared with its digest before it is
  used, as for every other mode. A circuit belongs to its artifact.
* One circuit is made at a time. Whoever asks meanwhile is told how far it is; nobody waits, and nobody is answered in
  another mode. What an artifact is refused for stays until the node starts again; where it is its source that refuses
  its files, they are asked for again after a while.

A folder for each artifact holds its circuit, the model and the digests of its files: what full nodes derive the same
circuit from. Not covered: proofs (``proving``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.core import canonical
from holdfast.core.circuits import CircuitSettings, parse_settings
from holdfast.core.computations import Circuit
from holdfast.core.encoding import b64_encode, sha256_hex
from holdfast.core.inference import make_tensor, parse_inference, read_elements
from holdfast.core.proofs import INPUT_TYPE
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UnavailableError
from holdfast.nodes.inference.models import MODEL_FILE, fetch_checked
from holdfast.ports.clock import Clock
from holdfast.ports.metrics import Metrics
from holdfast.ports.models import ModelEntry, ModelSource
from holdfast.ports.prover import STEPS, MadeCircuit, Prover

SAMPLES_FILE = "calibration.json"
"""The file of an artifact that shows what it is asked: ``{"inputs":[…]}``, items as in a request."""
FILES = "files.json"
"""In a circuit's folder: the digest of every file of the artifact, by name."""
FETCH_AGAIN_S = 60.0
"""How long an artifact's files are not asked for again that its source refused: that says nothing of the artifact."""
_LOG = logging.getLogger("holdfast.inference.circuits")


@dataclass(frozen=True, slots=True)
class ReadyCircuit:
    """A circuit that can be used, and the artifact that it is of."""

    artifact: str
    folder: Path
    made: MadeCircuit
    settings: CircuitSettings

    @property
    def named(self) -> Circuit:
        """As a computation names it (``inference.md`` §5(1))."""
        settings, key = sha256_hex(self.made.settings), sha256_hex(self.made.verification_key)
        return Circuit(settings, key, self.made.srs_kind)


@dataclass(slots=True)
class _Making:
    """A circuit that is being made, or was refused."""

    label: str
    began: float
    step: int = 0
    ended: float | None = None
    refusal: HoldfastError | None = None
    fetched: bool = False
    """Whether the artifact's files came, so that a refusal is about them."""


class Circuits:
    """See the module. ``prover`` is why there is none, where there is none."""

    def __init__(
        self, folder: Path, source: ModelSource, prover: Prover | HoldfastError, clock: Clock, metrics: Metrics
    ) -> None:
        self._folder = folder
        self._source = source
        self._prover = prover
        self._clock = clock
        self._metrics = metrics
        self._making: dict[str, _Making] = {}
        self._ready: dict[str, ReadyCircuit] = {}
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def prover(self) -> Prover:
        """Who proves; raises ``infer.no_prover``."""
        if isinstance(self._prover, HoldfastError):
            raise self._prover
        return self._prover

    async def find(self, label: str) -> ReadyCircuit:
        """The circuit of the artifact that a label means now. Raises ``infer.preparing`` while it is made, and why
        there will be none."""
        entry = await self._start(label)
        found = self._ready.get(entry.artifact)
        if found is not None:
            return found
        making = self._making[entry.artifact]
        if making.refusal is not None:
            raise making.refusal
        raise UnavailableError(
            "infer.preparing",
            f"the circuit of {label[:64]!r} is being made: {STEPS[making.step]}, step {making.step + 1} of "
            f"{len(STEPS)}, {self._clock.monotonic() - making.began:.0f} s so far",
            hint="ask again in some seconds",
            status=503,
        )

    async def prepare(self, label: str) -> dict[str, Any]:
        """Have a circuit made, or tell how far it is (``inference.md`` §9(5))."""
        entry = await self._start(label)
        return self._told(entry.artifact, label)

    def listed(self) -> list[dict[str, Any]]:
        """Every circuit that was asked for since the start, and those that are ready."""
        return [self._told(artifact, making.label) for artifact, making in sorted(self._making.items())]

    def at(self, artifact: str) -> ReadyCircuit | None:
        """The circuit of an artifact, where it is ready."""
        if artifact not in self._ready and not isinstance(self._prover, HoldfastError):
            folder = self._folder / artifact
            made = self._prover.load(folder) if (folder / FILES).is_file() else None
            if made is not None:
                self._ready[artifact] = ReadyCircuit(artifact, folder, made, parse_settings(made.settings))
        return self._ready.get(artifact)

    def shown(self, artifact: str) -> dict[str, Any] | None:
        """What others derive the circuit of an artifact from (``inference.md`` §9(6)): its model, and the digests of
        all its files."""
        if self.at(artifact) is None:
            return None
        folder = self._folder / artifact
        files = canonical.decode((folder / FILES).read_bytes())
        return {"files": files, "model": b64_encode((folder / MODEL_FILE).read_bytes())}

    async def _start(self, label: str) -> ModelEntry:
        prover = self.prover
        entry = await self._source.find(label)
        if self.at(entry.artifact) is not None:
            self._making.setdefault(entry.artifact, _Making(label, 0.0, len(STEPS) - 1, 0.0))
        elif self._may_be_made(self._making.get(entry.artifact)):
            self._making[entry.artifact] = _Making(label, self._clock.monotonic())
            task = asyncio.create_task(self._make(entry, prover))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return entry

    def _may_be_made(self, before: _Making | None) -> bool:
        """Whether a circuit is neither being made nor refused, or refused for what may be otherwise by now."""
        if before is None:
            return True
        if before.refusal is None or before.ended is None or before.fetched:
            return False
        return self._clock.monotonic() - before.ended >= FETCH_AGAIN_S

    async def _make(self, entry: ModelEntry, prover: Prover) -> None:
        making = self._making[entry.artifact]

        def progress(step: int) -> None:
            making.step = step
            _LOG.info("circuit of %s: %s", entry.artifact[:12], STEPS[step], extra={"model": entry.label})

        outcome = "complete"
        try:
            async with self._turn:
                files = await fetch_checked(self._source, entry)
                making.fetched = True
                if MODEL_FILE not in files:
                    raise RefusedError(
                        "model.file", f"the artifact has no {MODEL_FILE}", hint="only ONNX models are run here"
                    )
                folder = self._folder / entry.artifact
                samples = read_samples(files[SAMPLES_FILE]) if SAMPLES_FILE in files else None
                await prover.make(folder, files[MODEL_FILE], samples, progress)
                digests: Mapping[str, canonical.JSON] = {name: sha256_hex(data) for name, data in files.items()}
                (folder / FILES).write_bytes(canonical.encode(dict(digests)))
        except UnavailableError as error:
            outcome = error.code
            _LOG.warning("circuit of %s: %s", entry.artifact[:12], error.message, extra={"code": error.code})
        except HoldfastError as error:
            outcome, making.refusal = error.code, error
            _LOG.warning("circuit of %s: %s", entry.artifact[:12], error.message, extra={"code": error.code})
        finally:
            making.ended = self._clock.monotonic()
            if making.refusal is None and self.at(entry.artifact) is None:
                self._making.pop(entry.artifact, None)  # whoever asks again has it tried again
            self._metrics.count("holdfast_inference_circuits_total", outcome)

    def _told(self, artifact: str, label: str) -> dict[str, Any]:
        making, ready = self._making[artifact], self.at(artifact)
        ended = self._clock.monotonic() if making.ended is None else making.ended
        told: dict[str, Any] = {
            "model": label,
            "artifact": artifact,
            "state": "ready" if ready else "refused" if making.refusal else "making",
            "step": making.step + 1,
            "steps": len(STEPS),
            "says": "ready" if ready else making.refusal.message if making.refusal else STEPS[making.step],
            "seconds": int(ended - making.began),
        }
        if making.refusal is not None:
            told |= {"code": making.refusal.code, "hint": making.refusal.hint}
        if ready is not None:
            settings = ready.settings
            told |= {"circuit": ready.named.to_json(), "rows": settings.rows, "log_rows": settings.log_rows}
            told["srs"] = ready.made.srs
        return told

    async def close(self) -> None:
        """End what is being made; it is made again when it is asked for again."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def read_samples(raw: bytes) -> Sequence[Sequence[float]]:
    """``calibration.json`` of an artifact: for every input, the elements of all items one after the other. Raises
    ``circuit.samples``."""
    try:
        value = canonical.decode_exact(raw)
        items = parse_inference({"model": "samples", "inputs": value["inputs"]}).items
        names = list(items[0])
        if any(list(item) != names for item in items):
            raise MalformedError("circuit.samples", "every item of calibration.json has the same inputs in one order")
        return [
            [number for item in items for number in read_elements(make_tensor(item[name], INPUT_TYPE, name))]
            for name in names
        ]
    except (HoldfastError, KeyError, TypeError) as error:
        raise MalformedError(
            "circuit.samples", 'calibration.json is {"inputs":[…]}, items as in a request, inputs in the model\'s order'
        ) from error
