"""A model that is sealed for the node is opened in memory, and runs under the artifact that its label means."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from holdfast.adapters.metrics_memory import MemoryMetrics
from holdfast.core.artifacts import build_manifest
from holdfast.core.encoding import sha256_hex
from holdfast.core.sealed_models import INDEX, READERS
from holdfast.errors import HoldfastError
from holdfast.nodes.inference.models import Models
from tests.helpers.inference import MovingSource, ScaleRuntime

SEALED = {READERS: b"readers", INDEX: b"index", "sealed/000000": b"piece"}


def source_of(files: dict[str, bytes]) -> tuple[MovingSource, str]:
    source = MovingSource()
    artifact = build_manifest("model", {name: sha256_hex(data) for name, data in files.items()}).artifact
    source.files[artifact] = files
    source.labels["scores"] = artifact
    return source, artifact


def opened(files: Mapping[str, bytes]) -> Mapping[str, bytes]:
    assert files == SEALED
    return {"model.onnx": b"3.0"}


def test_it_runs_as_the_artifact_that_the_label_means() -> None:
    async def body() -> None:
        source, artifact = source_of(SEALED)
        runtime = ScaleRuntime()
        models = Models(source, runtime, MemoryMetrics(), most=1, opener=opened)
        async with models.lend("scores") as loan:
            assert loan.model.artifact == artifact
        assert [model.factor for model in runtime.loaded] == [3.0]
        await models.close()

    asyncio.run(body())


def test_a_node_without_a_key_refuses_it() -> None:
    async def body() -> str:
        source, _ = source_of(SEALED)
        models = Models(source, ScaleRuntime(), MemoryMetrics(), most=1)
        with pytest.raises(HoldfastError) as refused:
            async with models.lend("scores"):
                pass
        await models.close()
        return refused.value.code

    assert asyncio.run(body()) == "models.sealed"


def test_what_came_is_checked_before_it_is_opened() -> None:
    async def body() -> str:
        source, artifact = source_of(SEALED)
        source.files[artifact] = {**SEALED, INDEX: b"other"}
        models = Models(source, ScaleRuntime(), MemoryMetrics(), most=1, opener=opened)
        with pytest.raises(HoldfastError) as refused:
            async with models.lend("scores"):
                pass
        await models.close()
        return refused.value.code

    assert asyncio.run(body()) == "model.artifact"
