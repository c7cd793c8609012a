"""Takes proofs of computed runs from inference nodes, and gives their statements to the log (``inference.md`` §9(6)).

Rules:

* A proof counts only when trust admits the node, its statement follows from the ``computed`` one that a run of this
  gateway was closed with, and its document is about exactly what that run asked and was answered. Whether it verifies,
  full nodes find out.
* The statement, and the document sealed under the run's key, are durable here before the node is told that they were
  taken. Whatever is lost in between is asked for again, and what is here already is not added twice.
* What a run got and how its answer was evidenced does not wait for any of this.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from holdfast.core.proofs import verify_proof_document
from holdfast.core.sealing import seal_document
from holdfast.core.statements import Execution, Statement, parse_envelope, parse_statement
from holdfast.core.trust import Trust
from holdfast.errors import HoldfastError, RefusedError
from holdfast.nodes.gateway.indexer import Indexer
from holdfast.nodes.gateway.ledger import Ledger, parse_added
from holdfast.nodes.gateway.turn import parse_opening, signed_elsewhere
from holdfast.ports.clock import Clock
from holdfast.ports.inference import InferenceNode
from holdfast.ports.metrics import Metrics
from holdfast.verifier.checks import refuse_attester

PAUSE_S = 1.0
"""Between two looks at a node's proofs."""
_LOG = logging.getLogger("holdfast.gateway.proving")


class Proving:
    """See the module. ``on_added`` hears of runs that got a proof."""

    def __init__(
        self,
        nodes: Callable[[], list[InferenceNode]],
        ledger: Ledger,
        indexer: Indexer,
        trust: Callable[[], Trust | None],
        clock: Clock,
        metrics: Metrics,
        *,
        on_added: Callable[[str], None],
    ) -> None:
        self._nodes = nodes
        self._ledger = ledger
        self._indexer = indexer
        self._trust = trust
        self._clock = clock
        self._metrics = metrics
        self._on_added = on_added
        self._refused: dict[str, str] = {}
        """Proofs that were refused, and under which trust (its digest): another may say something else of them."""

    async def work(self) -> None:
        """Look at every node, for ever. One that is silent costs the others nothing but its turn."""
        while True:
            await self.step()
            await self._clock.sleep(PAUSE_S)

    async def step(self) -> None:
        """One look at every node."""
        for node in self._nodes():
            try:
                waiting = await node.proofs()
            except HoldfastError as error:
                _LOG.debug("inference node %s shows no proofs: %s", node.code, error.message)
                continue
            for run, statement in waiting:
                try:
                    await self._take(node, run, statement)
                except HoldfastError as error:
                    _LOG.debug("a proof of run %s waits: %s", run, error.message)

    async def _take(self, node: InferenceNode, run: str, digest: str) -> None:
        row, trust = await self._indexer.run(run), self._trust()
        under = "" if trust is None else trust.digest
        if row is None or row.close_place is None or self._refused.get(digest) == under:
            return
        added = [parse_added(self._ledger.read(place).record) for place, _, _ in row.additions]
        known = {found.digest: found for found in (parse_statement(parse_envelope(item.envelope)) for item in added)}
        if digest not in known:
            delivery = await node.proof(digest)
            try:
                statement = parse_statement(parse_envelope(delivery.envelope))
                computed = self._follows(statement, digest, known)
                document = verify_proof_document(statement, computed, delivery.document, delivery.salt)
            except HoldfastError as error:
                self._refused[digest] = under
                self._metrics.count("holdfast_gateway_proofs_total", error.code)
                _LOG.warning("a proof of run %s is refused: %s", run, error.message, extra={"code": error.code})
                return
            opening = parse_opening(self._ledger.read(row.open_place).record.header)
            signed = signed_elsewhere(delivery.envelope, digest, opening, document.key)
            sealed = delivery.salt + seal_document(document.key, f"proof/{digest}", delivery.document)
            place = await self._ledger.add(run, opening.stamp(self._clock.now()), signed, proof=sealed)
            await self._indexer.added(run, place.start)
            self._metrics.count("holdfast_gateway_proofs_total", "taken")
            self._on_added(run)
        await node.taken(digest)

    def _follows(self, statement: Statement, digest: str, known: dict[str, Statement]) -> Statement:
        """The ``computed`` statement that a proof follows from; raises ``proof.statement``."""
        parents = [known[parent] for parent in statement.parents if parent in known]
        body, trust = statement.body, self._trust()
        if (
            statement.digest != digest
            or len(parents) != 1
            or len(statement.parents) != 1
            or statement.attester != parents[0].attester
            or not isinstance(body, Execution)
            or body.event != "proved"
        ):
            raise RefusedError("proof.statement", "it proves nothing that a run here was closed with")
        why = "no trust" if trust is None else refuse_attester(statement, trust, until=self._clock.now())
        if why is not None:
            raise RefusedError("proof.statement", f"trust does not admit what the node signed ({why})")
        return parents[0]
