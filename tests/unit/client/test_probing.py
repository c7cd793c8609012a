"""Both models are asked the same, and what one refuses is part of the result (``artifacts.md`` §9)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from holdfast.client.probing import ProbedArtifact, file_to_run, probe
from holdfast.core.probes import compare_outputs
from holdfast.errors import HoldfastError, RefusedError
from tests.helpers.inference import ScaleRuntime

PROBE = b'{"inputs":[{"x":[1,2]},{"x":[3]}]}'


def artifact(name: str, factor: float, **files: bytes) -> ProbedArtifact:
    return ProbedArtifact(name * 32, {"model.onnx": repr(factor).encode(), **files})


def run(before: ProbedArtifact, after: ProbedArtifact, runtime: ScaleRuntime | None = None) -> Any:
    return asyncio.run(probe(runtime or ScaleRuntime(), before, after))


def test_two_models_are_asked_the_same() -> None:
    runtime, told = ScaleRuntime(), []
    found = asyncio.run(
        probe(runtime, artifact("aa", 2.0), artifact("bb", 2.5), lambda done, whole: told.append((done, whole)))
    )
    (output,) = compare_outputs(found.answers_before, found.answers_after)
    assert (output["equal"], output["max_abs"] is not None, found.probe.source) == ("0", True, "generated")
    assert told[-1] == (16, 16)
    assert found.conditions["runtime"] == "arithmetic"
    assert all(model.closed for model in runtime.loaded), "no worker is left behind"


def test_the_probe_of_the_first_is_taken_before_that_of_the_second() -> None:
    other = PROBE.replace(b"3", b"4")
    files = {"probe.json": PROBE}
    assert run(artifact("aa", 1.0, **files), artifact("bb", 1.0, **{"probe.json": other})).probe.source == "before"
    found = run(artifact("aa", 1.0), artifact("bb", 1.0, **files))
    assert (found.probe.source, len(found.probe.items)) == ("after", 2)


def test_a_model_that_breaks_is_loaded_anew_for_the_next_item() -> None:
    class Breaking(ScaleRuntime):
        async def load(self, artifact: str, model: bytes) -> Any:
            made = await super().load(artifact, model)
            if artifact.startswith("bb") and len(self.loaded) == 2:

                async def broken(*_: Any) -> Any:
                    made.alive = False
                    raise RefusedError("infer.limits", "too much")

                made.run = broken  # type: ignore[method-assign]
            return made

    runtime = Breaking()
    found = run(artifact("aa", 1.0, **{"probe.json": PROBE}), artifact("bb", 1.0), runtime)
    assert found.answers_after[0] == "infer.limits"
    assert isinstance(found.answers_after[1], dict)
    assert len(runtime.loaded) == 3


def test_models_of_other_inputs_are_not_asked() -> None:
    class Unlike(ScaleRuntime):
        async def load(self, artifact: str, model: bytes) -> Any:
            made = await super().load(artifact, model)
            if artifact.startswith("bb"):
                made.inputs = ()
            return made

    runtime = Unlike()
    with pytest.raises(HoldfastError, match=r"probe\.inputs"):
        run(artifact("aa", 1.0), artifact("bb", 1.0), runtime)
    assert all(model.closed for model in runtime.loaded)


def test_which_file_is_run() -> None:
    def files(*names: str) -> ProbedArtifact:
        return ProbedArtifact("aa" * 32, dict.fromkeys(names, b""))

    assert file_to_run(files("a.onnx", "model.onnx"), files("a.onnx", "model.onnx")) == "model.onnx"
    assert file_to_run(files("a.onnx", "b.onnx"), files("a.onnx")) == "a.onnx"
    for one, other in ((files("a.onnx"), files("b.onnx")), (files("a.onnx", "b.onnx"), files("a.onnx", "b.onnx"))):
        with pytest.raises(HoldfastError, match=r"probe\.model"):
            file_to_run(one, other)
