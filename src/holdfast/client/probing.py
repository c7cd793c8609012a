"""Run two models on one probe, each in a process that contains it (``spec/artifacts.md`` §9).

The models' files are the caller's to fetch and to check. A model that breaks a limit is loaded anew for the next item,
as a node would; what it refuses is part of the result. The runtime is handed in (``ports/runtime.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

from holdfast.core.encoding import sha256_hex
from holdfast.core.inference import Tensor
from holdfast.core.probes import PROBE_FILE, Compared, Probe, Wanted, generate_probe, parse_probe
from holdfast.errors import HoldfastError, RefusedError, UsageError
from holdfast.ports.runtime import LoadedModel, Runtime

ENDING = ".onnx"
USUAL = "model.onnx"

Told = Callable[[int, int], None]
"""Told of the items so far, and all of them."""


@dataclass(frozen=True, slots=True)
class ProbedArtifact:
    """An artifact whose files were fetched and checked."""

    artifact: str
    files: Mapping[str, bytes]
    """By name: the ONNX files, and the probe where there is one."""


def file_to_run(before: ProbedArtifact, after: ProbedArtifact) -> str:
    """Which file of both is run: ``model.onnx``, or the only ONNX file that both have. Raises ``probe.model``."""
    common = sorted(name for name in before.files if name.endswith(ENDING) and name in after.files)
    if USUAL in common or len(common) == 1:
        return USUAL if USUAL in common else common[0]
    raise UsageError(
        "probe.model",
        f"the two have {len(common) or 'no'} ONNX files of one name",
        hint=f"a probe runs {USUAL}, or the only ONNX file that both have",
    )


async def probe(runtime: Runtime, before: ProbedArtifact, after: ProbedArtifact, told: Told | None = None) -> Compared:
    """Ask both models the same. Raises ``probe.*``, and ``model.*`` or ``infer.*`` where one cannot be loaded."""
    name = file_to_run(before, after)
    one, other = _Runner(runtime, before, name), _Runner(runtime, after, name)
    try:
        inputs = await one.inputs()
        if await other.inputs() != inputs:
            raise RefusedError(
                "probe.inputs", "the two models take other inputs, so nothing can be asked of both",
                hint="holdfast hub diff, without --probe, lists them",
            )  # fmt: skip
        asked = _probe_of(before, after, inputs)
        answers: list[tuple[Mapping[str, Tensor] | str, Mapping[str, Tensor] | str]] = []
        for number, item in enumerate(asked.items):
            answers.append((await one.run(item), await other.run(item)))
            if told is not None:
                told(number + 1, len(asked.items))
    finally:
        await one.close()
        await other.close()
    return Compared(
        name,
        sha256_hex(before.files[name]),
        sha256_hex(after.files[name]),
        asked,
        asdict(runtime.conditions),
        [pair[0] for pair in answers],
        [pair[1] for pair in answers],
    )


def _probe_of(before: ProbedArtifact, after: ProbedArtifact, inputs: tuple[Wanted, ...]) -> Probe:
    """That of what the label meant before, else that of the other, else one out of a hat (§9(1))."""
    for source, artifact in (("before", before), ("after", after)):
        if PROBE_FILE in artifact.files:
            return parse_probe(artifact.files[PROBE_FILE], source, inputs)
    return generate_probe(inputs)


class _Runner:
    """One model; loaded again where it broke."""

    def __init__(self, runtime: Runtime, artifact: ProbedArtifact, name: str) -> None:
        self._runtime = runtime
        self._artifact = artifact
        self._name = name
        self._loaded: LoadedModel | None = None

    async def _model(self) -> LoadedModel:
        if self._loaded is None or not self._loaded.alive:
            await self.close()
            self._loaded = await self._runtime.load(self._artifact.artifact, self._artifact.files[self._name])
        return self._loaded

    async def inputs(self) -> tuple[Wanted, ...]:
        """What it takes, by name."""
        declared = (await self._model()).inputs
        return tuple(sorted((Wanted(one.name, one.dtype, one.shape) for one in declared), key=lambda one: one.name))

    async def run(self, item: Mapping[str, Tensor]) -> Mapping[str, Tensor] | str:
        """Its outputs, or the code of its refusal."""
        try:
            return (await (await self._model()).run([item], ()))[0]
        except HoldfastError as error:
            return error.code

    async def close(self) -> None:
        if self._loaded is not None:
            await self._loaded.close()
            self._loaded = None
