"""A memory node as its gateway sees it (``spec/recall.md`` §6; ``adapters/memory_node_http.py``).

A delivery is not believed: whoever gets one checks the statement in it against trust, and its document and claims
against the statement.

Errors: ``memory_node.unreachable`` and ``memory_node.protocol`` (unavailable); what the node itself refuses comes with
the node's own code, message and hint (``memory.*``, ``recall.*``).
"""

from __future__ import annotations

from typing import Protocol

from holdfast.core.recall_orders import RecallDelivery, RecallOrder
from holdfast.core.said import Kept, Saying


class MemoryNode(Protocol):
    """One node. Safe to use from many tasks of one event loop at once."""

    async def recall(self, order: RecallOrder, credential: str, *, timeout_s: float) -> RecallDelivery:
        """Search the rows of the user that ``credential`` opens, and have signed what was found."""
        ...

    async def remember(self, saying: Saying, credential: str, *, timeout_s: float) -> Kept:
        """Have what a user said in a run kept as rows of theirs; refused where ``credential`` is another user's."""
        ...
