"""What makes vectors of texts (``adapters/embedder_onnx.py``, ``adapters/embedder_openai.py``).

Vectors of one model are compared with each other and with no others: :attr:`Embedder.model` names it in every recall.

Errors: ``embedder.unreachable`` and ``embedder.protocol`` (unavailable), and what a runtime raises (``model.*``,
``infer.*``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Embedder(Protocol):
    """One model. Safe to use from many tasks of one event loop at once."""

    @property
    def model(self) -> str:
        """What makes the vectors, as a digest (hex): of an artifact its own, of an endpoint that of its name."""
        ...

    @property
    def share(self) -> int:
        """What its vectors are worth beside words, in parts of a million (``recall.md`` §2(1))."""
        ...

    async def embed(self, texts: Sequence[str]) -> list[tuple[float, ...]]:
        """A vector for each text, all of one length; finite numbers."""
        ...

    async def close(self) -> None:
        """Let go of it."""
        ...
