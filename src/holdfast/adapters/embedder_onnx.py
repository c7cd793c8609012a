"""Vectors by an ONNX model in a process of its own, such as the one that comes with Holdfast.

The model's files are checked against their manifest before they are loaded; its artifact is what recalls name. A worker
that ended is started again with the next text. Not covered: which model is good for what.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence

from holdfast.adapters.shipped import shipped_artifact, shipped_files
from holdfast.core.inference import STRING, Tensor, read_elements
from holdfast.errors import RefusedError, UnavailableError
from holdfast.ports.models import parse_card
from holdfast.ports.runtime import LoadedModel, Runtime

SHIPPED = "embedding"
"""The model that comes with Holdfast."""
SHIPPED_SHARE = 250_000
"""It knows 861 words of questions about Holdfast: words count for more."""
BATCH = 256
"""Texts of one call."""


class OnnxEmbedder:
    """Implements :class:`holdfast.ports.embedder.Embedder`."""

    def __init__(self, runtime: Runtime, artifact: str, files: Mapping[str, bytes], share: int) -> None:
        """Raises ``models.card``. ``files`` are ``model.onnx`` and ``card.json``, checked by the caller."""
        self._runtime = runtime
        self._artifact = artifact
        self._model = files["model.onnx"]
        self._card = parse_card(files["card.json"])
        self._share = share
        self._loaded: LoadedModel | None = None
        self._loading = asyncio.Lock()

    @property
    def model(self) -> str:
        return self._artifact

    @property
    def share(self) -> int:
        return self._share

    async def embed(self, texts: Sequence[str]) -> list[tuple[float, ...]]:
        found: list[tuple[float, ...]] = []
        for start in range(0, len(texts), BATCH):
            model = await self._open()
            items = [{self._card.input: Tensor(STRING, (1,), (text,))} for text in texts[start : start + BATCH]]
            answers = await model.run(items, (self._card.output,))
            found += [_vector(answer[self._card.output]) for answer in answers]
        if len({len(vector) for vector in found}) > 1:
            raise RefusedError("model.output", "the model gives vectors of several lengths")
        return found

    async def _open(self) -> LoadedModel:
        async with self._loading:
            if self._loaded is None or not self._loaded.alive:
                self._loaded = await self._runtime.load(self._artifact, self._model)
            return self._loaded

    async def close(self) -> None:
        if self._loaded is not None:
            await self._loaded.close()


def shipped_embedder(runtime: Runtime) -> OnnxEmbedder:
    """The model that comes with Holdfast."""
    return OnnxEmbedder(runtime, shipped_artifact(SHIPPED), shipped_files(SHIPPED), SHIPPED_SHARE)


def _vector(tensor: Tensor) -> tuple[float, ...]:
    values = tuple(float(item) for item in read_elements(tensor)) if tensor.dtype != STRING else ()
    if not values or not all(map(math.isfinite, values)):
        raise UnavailableError("embedder.protocol", "the model's output is no vector of finite numbers")
    return values
