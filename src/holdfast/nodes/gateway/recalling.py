"""Rows of memory for a run: what is asked of a memory node, and what is checked of its answer (``spec/recall.md`` §6).

Rules:

* A delivery counts only when the statement in it is by a key that trust admits as a memory node's, is about this run
  and this question, and when its document and its claims are those that it commits to. Anything else is refused, and
  the upstream is not called.
* The key of whoever's rows are asked for is passed on and kept nowhere.
* What the node signed is durable before the upstream is called, and the run's route names it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from holdfast.core.context import Block, holds_marks
from holdfast.core.parts import pseudo_random_key
from holdfast.core.recall_orders import RecallDelivery, RecallOrder
from holdfast.core.recalls import (
    RecallDocument,
    query_digest,
    query_of,
    recall_blocks,
    recall_key,
    verify_context,
    verify_recall,
)
from holdfast.core.statements import Statement, parse_envelope, parse_statement
from holdfast.core.trust import Trust
from holdfast.errors import HoldfastError, RefusedError, UsageError
from holdfast.nodes.gateway.request import Ask
from holdfast.ports.clock import Clock
from holdfast.ports.memory_node import MemoryNode
from holdfast.verifier.checks import refuse_attester


@dataclass(frozen=True, slots=True)
class Carried:
    """What goes before the model, and what vouches for it."""

    digest: str
    """Of the recall statement."""
    delivery: RecallDelivery
    blocks: tuple[Block, ...]

    @property
    def opening(self) -> dict[str, str]:
        """What opens the record, as it is kept."""
        return {"document": self.delivery.document.decode(), "salt": self.delivery.salt.hex()}


class Recalling:
    """The memory node of a gateway, where it has one."""

    def __init__(
        self, node: MemoryNode | None, trust: Callable[[], Trust | None], clock: Clock, *, timeout_s: float = 10.0
    ) -> None:
        self._node = node
        self._trust = trust
        self._clock = clock
        self._timeout_s = timeout_s

    async def carry(self, ask: Ask, run: str, secret: bytes, *, coarse: bool) -> Carried | None:
        """Have memory searched for a request that asks for it; None for others. Raises ``request.memory``,
        ``request.context``, ``recall.*`` and what the node raises."""
        wanted = ask.options.memory
        if wanted is None:
            return None
        if self._node is None:
            raise UsageError(
                "request.memory", "this gateway has no memory node", hint="ask without memory", param="holdfast.memory"
            )
        if ask.memory_key is None:
            hint = "send the user's key at the memory node in x-holdfast-memory-key"
            raise UsageError("request.memory", "a key for this user's memory is missing", hint=hint, status=401)
        if not wanted.recall:
            return None
        if holds_marks(ask.value.get("messages")):
            raise UsageError(
                "request.context",
                "a message looks like what is looked up",
                hint="leave <holdfast: out",
                param="messages",
            )
        query = query_of(ask.value)
        if query is None:
            raise UsageError("request.memory", "nothing is asked that memory could be searched for", param="messages")
        key = recall_key(pseudo_random_key(run, secret))
        order = RecallOrder(run, wanted.user, query, key, coarse, ask.options.nonce, ask.options.parent_run)
        delivery = await self._node.recall(order, ask.memory_key, timeout_s=self._timeout_s)
        statement, document = self._check(order, delivery)
        return Carried(statement.digest, delivery, tuple(recall_blocks(document, delivery.claims)))

    def _check(self, order: RecallOrder, delivery: RecallDelivery) -> tuple[Statement, RecallDocument]:
        """The statement and its document, once they are what they must be. Raises ``recall.refused``."""
        try:
            statement = parse_statement(parse_envelope(delivery.envelope))
            document = verify_recall(statement, delivery.document, delivery.salt)
            if delivery.claims.keys() != {row.row for row in document.rows}:
                raise RefusedError("recall.refused", "it says other rows than it signed")
            verify_context(document, recall_blocks(document, delivery.claims), order.key)
        except HoldfastError as error:
            raise _refused(f"the memory node's statement does not hold: {error.message}") from error
        if statement.run != order.run or statement.nonce != order.nonce or statement.parents:
            raise _refused("the memory node's statement is about another run")
        if document.query != query_digest(order.key, order.query):
            raise _refused("the memory node searched for something else")
        if order.coarse and (statement.claimed_at.second or statement.claimed_at.microsecond):
            raise _refused("the memory node tells the time of a private run")
        trust = self._trust()
        why = "no trust" if trust is None else refuse_attester(statement, trust, until=self._clock.now())
        if why is not None:
            raise _refused(f"trust does not admit what the memory node signed ({why})")
        return statement, document


def _refused(message: str) -> RefusedError:
    return RefusedError("recall.refused", message, hint="ask without memory", status=502)
