"""An inference node as its gateway sees it (``spec/inference.md`` §9; ``adapters/inference_direct.py``).

A delivery is not believed: whoever gets one checks the statement in it against trust and against the documents.

Errors: ``upstream.unreachable``, ``upstream.timeout``, ``upstream.protocol``, ``upstream.too_large`` as of any
upstream; what the node itself refuses comes with the node's own code, message and hint (``infer.*``, ``model.*``,
``models.*``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from holdfast.core.orders import CheckOrder, Delivery, Order, ProofDelivery


@dataclass(frozen=True, slots=True)
class NodeModel:
    """One label that a node runs."""

    label: str
    artifact: str
    """What it meant when the node was asked, hex."""
    task: str | None
    """``embeddings``, ``classification``, or None for a plain model."""

    @property
    def id(self) -> str:
        """The label, as every offer of a model calls it."""
        return self.label


class InferenceNode(Protocol):
    """One node. Safe to use from many tasks of one event loop at once."""

    @property
    def code(self) -> str:
        """Short id, ``[a-z0-9-]{1,32}``, as it stands in routes."""
        ...

    async def models(self) -> list[NodeModel]:
        """What it runs right now."""
        ...

    async def compute(self, order: Order, *, timeout_s: float) -> Delivery:
        """Have an order run."""
        ...

    async def recompute(self, check: CheckOrder, *, timeout_s: float) -> Delivery:
        """Have run again what another node computed."""
        ...

    async def proofs(self) -> list[tuple[str, str]]:
        """Run and digest of the ``proved`` statement of every proof that no gateway has taken."""
        ...

    async def proof(self, statement: str) -> ProofDelivery:
        """One of them."""
        ...

    async def taken(self, statement: str) -> None:
        """Say that the statement is durable here."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...
