"""Runs that an inference node computes: which node takes a label, what it is handed, and what is checked of its answer.

Rules:

* A delivery counts only when the statement in it is by a key that trust admits as an inference node's, is about this
  run, and binds exactly the document that was sent and the answer that came. Anything else is a broken upstream.
* What a node signed is durable, as a record of its own, before the run is closed by naming it.
* The mode is part of the request. Nothing here changes it, and an answer in another mode is refused.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from holdfast.core import canonical
from holdfast.core.computations import BoundTree
from holdfast.core.orders import Delivery, Order
from holdfast.core.parts import commit_parts, map_parts
from holdfast.core.statements import Execution, Statement, Tree, parse_envelope, parse_statement
from holdfast.core.trust import Trust
from holdfast.errors import HoldfastError, UsageError
from holdfast.ports.clock import Clock
from holdfast.ports.inference import InferenceNode, NodeModel
from holdfast.ports.upstream import UpstreamProtocolError
from holdfast.verifier.checks import refuse_attester

_LOG = logging.getLogger("holdfast.gateway.computing")
_FRESH_S = 10.0
"""A label that no node has is looked for again after this."""
OLD_S = 60.0
"""What nodes run is asked again behind an answer's back after this: a label may have moved to another node."""
TASKS = {"embeddings": "embeddings", "classifications": "classification"}
"""What a model's card has to declare for an endpoint (``inference.md`` §8)."""


@dataclass(frozen=True, slots=True)
class NodeOffer:
    """A model and the node that runs it."""

    upstream: InferenceNode
    model: NodeModel

    @property
    def provider_model(self) -> str:
        """What the node calls it: what the caller does."""
        return self.model.label


class Computing:
    """The inference nodes of a gateway."""

    def __init__(self, nodes: Sequence[InferenceNode], trust: Callable[[], Trust | None], clock: Clock) -> None:
        self._nodes = list(nodes)
        self._trust = trust
        self._clock = clock
        self._offers: dict[str, NodeOffer] = {}
        self._asked_at: float | None = None
        self._asking = asyncio.Lock()
        self._looking: set[asyncio.Task[None]] = set()

    def nodes(self) -> list[InferenceNode]:
        """Every node, in the order of the settings."""
        return list(self._nodes)

    async def find(self, label: str, endpoint: str = "inference") -> NodeOffer:
        """Who runs a label. Raises ``request.unknown_model``, and ``request.task`` where its card declares no such
        use."""
        offer = await self._offer(label)
        if offer is None:
            known = ", ".join(sorted(self._offers)[:8]) or "none"
            raise UsageError(
                "request.unknown_model",
                f"no inference node here runs {label[:64]!r}",
                hint=f"GET /v1/models lists them; for example: {known}",
                param="model",
                status=404,
            )
        task = TASKS.get(endpoint)
        if task is not None and offer.model.task != task:
            raise UsageError(
                "request.task",
                f"the card of {label[:64]!r} does not declare {task}",
                hint="ask it at /v1/infer",
                param="model",
            )
        return offer

    async def runs(self, label: str) -> bool:
        """Whether a node here runs a label."""
        return await self._offer(label) is not None

    async def _offer(self, label: str) -> NodeOffer | None:
        if label not in self._offers:
            await self._refresh()
        elif not self._looking and self._clock.monotonic() - (self._asked_at or 0.0) > OLD_S:
            task = asyncio.create_task(self._refresh())
            self._looking.add(task)
            task.add_done_callback(self._looking.discard)
        return self._offers.get(label)

    async def models(self) -> list[NodeOffer]:
        """Everything on offer, by label."""
        await self._refresh()
        return [self._offers[label] for label in sorted(self._offers)]

    def another(self, code: str | None, than: str) -> InferenceNode:
        """A node to run something again that ``than`` computed: the one with this code, or any. Raises
        ``infer.another``."""
        for node in self._nodes:
            if node.code != than and code in (None, node.code):
                return node
        raise UsageError(
            "infer.another",
            "this gateway knows no other inference node that could run it again",
            hint="name one in its settings",
        )

    async def _refresh(self) -> None:
        async with self._asking:
            now = self._clock.monotonic()
            if self._asked_at is not None and now - self._asked_at < _FRESH_S and self._offers:
                return
            self._asked_at = now
            listed = await asyncio.gather(*(self._list(node) for node in self._nodes))
            offers: dict[str, NodeOffer] = {}
            for node, models in zip(self._nodes, listed, strict=True):
                for model in models:
                    offers.setdefault(model.label, NodeOffer(node, model))
            self._offers = offers

    async def _list(self, node: InferenceNode) -> list[NodeModel]:
        try:
            return await node.models()
        except HoldfastError as error:
            _LOG.warning("inference node %s does not list its models: %s", node.code, error)
            return [offer.model for offer in self._offers.values() if offer.upstream is node]

    def check(self, order: Order, sent: Tree, delivery: Delivery, event: str = "computed") -> Statement:
        """The statement of a delivery, once it is what it must be. Raises ``upstream.protocol``."""
        try:
            statement = parse_statement(parse_envelope(delivery.envelope))
            response = commit_parts("response", map_parts("response", canonical.decode_exact(delivery.text)), order.key)
        except HoldfastError as error:
            raise UpstreamProtocolError(f"the node's statement cannot be read: {error.message}") from error
        body = statement.body
        if not isinstance(body, Execution) or body.event != event or body.computation is None:
            raise UpstreamProtocolError("the node signed something else than what it computed")
        mode = canonical.decode(order.text).get("mode", "VANILLA")
        if body.computation.mode != mode:
            raise UpstreamProtocolError(f"the node answered in another mode than {mode}, which was asked for")
        if statement.run != order.run or statement.nonce != order.nonce:
            raise UpstreamProtocolError("the node's statement is about another run")
        if body.computation.request != BoundTree(sent.root, sent.size) or body.response != response.tree:
            raise UpstreamProtocolError("the node's statement binds other documents than were sent and answered")
        trust = self._trust()
        why = "no trust" if trust is None else refuse_attester(statement, trust, until=self._clock.now())
        if why is not None:
            raise UpstreamProtocolError(f"trust does not admit what the node signed ({why})")
        return statement

    async def close(self) -> None:
        for task in self._looking:
            task.cancel()
        for node in self._nodes:
            await node.close()
