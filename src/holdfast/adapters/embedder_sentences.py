"""Vectors by a sentence model of the usual shape, from files that its operator brought: all-MiniLM-L6-v2 and its kin.

A folder has ``model.onnx``, which takes ``input_ids``, ``attention_mask`` and, where it wants them, ``token_type_ids``
and gives ``last_hidden_state``, and ``tokenizer.json``. The vector of a text is the mean of its tokens' states, of
length one. The model runs in a process of its own; the digest of both files is what recalls name.

Not covered: models that pool otherwise, which give other vectors than their makers meant (``docs/operate/memory.md``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np

from holdfast.core import canonical
from holdfast.core.encoding import sha256_hex
from holdfast.core.inference import Tensor
from holdfast.core.wordpiece import parse_tokenizer
from holdfast.errors import RefusedError, UnavailableError, UsageError
from holdfast.ports.runtime import LoadedModel, Runtime

SHARE = 600_000
"""What its vectors are worth: as those of ``embedder_minilm``."""
MOST_TOKENS = 256
"""Of one text; what is longer is cut, as sentence-transformers cuts it for this model."""
BATCH = 64
"""Texts of one call."""
STATES = "last_hidden_state"
_FILES = ("model.onnx", "tokenizer.json")


class SentenceEmbedder:
    """Implements :class:`holdfast.ports.embedder.Embedder`."""

    def __init__(self, runtime: Runtime, model: bytes, tokenizer: bytes) -> None:
        """Raises ``embedder.tokenizer``."""
        self._runtime = runtime
        self._bytes = model
        self._tokenizer = parse_tokenizer(tokenizer)
        digests: dict[str, canonical.JSON] = {
            name: sha256_hex(data) for name, data in zip(_FILES, (model, tokenizer), strict=True)
        }
        self._digest = sha256_hex(canonical.encode(digests))
        self._loaded: LoadedModel | None = None
        self._loading = asyncio.Lock()

    @classmethod
    def of_folder(cls, runtime: Runtime, folder: Path) -> Self:
        """Raises ``embedder.folder`` and ``embedder.tokenizer``."""
        try:
            return cls(runtime, *((folder / name).read_bytes() for name in _FILES))
        except OSError as error:
            raise UsageError(
                "embedder.folder", f"{folder} does not have {' and '.join(_FILES)}: {error.strerror}"
            ) from error

    @property
    def model(self) -> str:
        return self._digest

    @property
    def share(self) -> int:
        return SHARE

    async def embed(self, texts: Sequence[str]) -> list[tuple[float, ...]]:
        found: list[tuple[float, ...]] = []
        for start in range(0, len(texts), BATCH):
            model = await self._open()
            wanted = {item.name for item in model.inputs}
            items = [self._inputs(text, wanted) for text in texts[start : start + BATCH]]
            answers = await model.run(items, (STATES,))
            found += [_pooled(answer[STATES]) for answer in answers]
        return found

    def _inputs(self, text: str, wanted: set[str]) -> dict[str, Tensor]:
        tokens = self._tokenizer.encode(text, MOST_TOKENS)
        given = {
            "input_ids": tokens,
            "attention_mask": [1] * len(tokens),
            "token_type_ids": [0] * len(tokens),
        }
        return {
            name: Tensor("int64", (1, len(tokens)), np.array(values, "<i8").tobytes())
            for name, values in given.items()
            if name in wanted
        }

    async def _open(self) -> LoadedModel:
        async with self._loading:
            if self._loaded is None or not self._loaded.alive:
                loaded = await self._runtime.load(self._digest, self._bytes)
                if STATES not in {item.name for item in loaded.outputs}:
                    await loaded.close()
                    raise RefusedError("embedder.model", f"this model gives no {STATES}")
                self._loaded = loaded
            return self._loaded

    async def close(self) -> None:
        if self._loaded is not None:
            await self._loaded.close()


def _pooled(states: Tensor) -> tuple[float, ...]:
    """The mean of the tokens' states, of length one: every token of a text by itself counts, for none is padding."""
    if (
        states.dtype != "float32"
        or len(states.shape) != 3
        or states.shape[0] != 1
        or not isinstance(states.data, bytes)
    ):
        raise UnavailableError("embedder.protocol", "the model's states are no matrix of float32 for one text")
    mean = np.frombuffer(states.data, "<f4").reshape(states.shape[1:]).mean(axis=0, dtype=np.float64)
    length = float(np.linalg.norm(mean))
    if not np.isfinite(length):
        raise UnavailableError("embedder.protocol", "the model's output is no vector of finite numbers")
    return tuple(map(float, mean / length if length else mean))
