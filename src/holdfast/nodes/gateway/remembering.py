"""What a user said, handed to their memory once a run is closed (``spec/recall.md`` §5).

Rules:

* Only where the request asks for it, only when its answer is complete, and only what its user newly said: never a word
  of a model, a tool or a quotation (``core.said``).
* The key is passed on and kept nowhere. So nothing is tried again later: the answer says whether it was handed over,
  and a gateway that ends in between has told nobody.
* Whatever goes wrong, the answer stands.
"""

from __future__ import annotations

import logging

from holdfast.core import canonical
from holdfast.core.said import Saying, said_in
from holdfast.errors import HoldfastError
from holdfast.nodes.gateway.request import Ask
from holdfast.ports.memory_node import MemoryNode

_LOG = logging.getLogger(__name__)
INCOMPLETE: dict[str, canonical.JSON] = {"remembered": False, "why": "said.unanswered"}
"""Of a run whose answer is not complete."""


class Remembering:
    """The memory node of a gateway, where it has one."""

    def __init__(self, node: MemoryNode | None, *, timeout_s: float = 10.0) -> None:
        self._node = node
        self._timeout_s = timeout_s

    async def remember(self, ask: Ask, run: str) -> dict[str, canonical.JSON] | None:
        """Hand over what the user said; what became of it, or None where nobody asked for it."""
        wanted = ask.options.memory
        if wanted is None or not wanted.remember or self._node is None or ask.memory_key is None:
            return None
        try:
            saying = Saying(run, wanted.user, said_in(ask.value))
            kept = await self._node.remember(saying, ask.memory_key, timeout_s=self._timeout_s)
        except HoldfastError as error:
            _LOG.info("what was said in run %s was not handed over", run, extra={"code": error.code})
            return {"remembered": False, "why": error.code}
        return {"remembered": True, "added": kept.added, "renewed": kept.renewed}
