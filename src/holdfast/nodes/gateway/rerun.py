"""A computed run is run again by another inference node, when somebody who may read it asks (``spec/inference.md`` §6).

The stored documents are opened with the run's secret, so only its holder can ask, and nothing can be asked of a private
run, of which nothing is stored. What the other node signs is checked, made durable and follows into the log; the run
itself is not reopened. Not covered: what the comparison comes to (``verifier.computation``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from holdfast.core import canonical
from holdfast.core.orders import CheckOrder, Order
from holdfast.core.parts import pseudo_random_key
from holdfast.core.sealing import open_document
from holdfast.core.statements import Execution, parse_envelope, parse_statement
from holdfast.errors import MalformedError, RefusedError, UsageError
from holdfast.nodes.gateway.computing import Computing
from holdfast.nodes.gateway.indexer import Indexer
from holdfast.nodes.gateway.ledger import Ledger, parse_added, parse_closing
from holdfast.nodes.gateway.request import COMPUTED, bind_request, parse_ask
from holdfast.nodes.gateway.turn import parse_opening, signed_elsewhere
from holdfast.ports.clock import Clock
from holdfast.ports.run_index import RunRow
from holdfast.ports.upstream import UpstreamProtocolError

MOST = 8
"""How often one run is run again: each time costs a node its work and the log an entry, and nobody pays for it."""
_MEMBERS = frozenset({"node"})


def parse_rerun(body: bytes) -> str | None:
    """The body of a request to run something again: nothing, or ``{"node": CODE}``. Returns the code of the node that
    is asked for, or None for any; raises ``infer.rerun`` and ``json.*``."""
    value = canonical.decode(body) if body.strip() else {}
    if not isinstance(value, dict) or not value.keys() <= _MEMBERS or not isinstance(value.get("node", ""), str):
        raise MalformedError("infer.rerun", "a request to run again names at most a node", hint='{"node": CODE}')
    return value.get("node")


class Rerun:
    """See the module."""

    def __init__(
        self,
        ledger: Ledger,
        indexer: Indexer,
        computing: Computing,
        clock: Clock,
        *,
        timeout_s: float,
        on_added: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._indexer = indexer
        self._computing = computing
        self._clock = clock
        self._timeout_s = timeout_s
        self._on_added = on_added
        self._under_way: set[str] = set()

    async def run(self, row: RunRow, secret: bytes, node: str | None) -> Mapping[str, canonical.JSON]:
        """Have a run computed again and tell what it came to. Raises ``infer.not_computed``, ``infer.another``,
        ``infer.often``, ``run.kept``, ``run.expired``, ``upstream.*`` and what the node refuses."""
        if row.run in self._under_way:
            raise RefusedError("infer.often", "this run is being run again just now", hint="wait for it", status=429)
        self._under_way.add(row.run)
        try:
            return await self._run(await self._indexer.run(row.run) or row, secret, node)
        finally:
            self._under_way.discard(row.run)

    async def _run(self, row: RunRow, secret: bytes, node: str | None) -> Mapping[str, canonical.JSON]:
        opening_record = self._ledger.read(row.open_place).record
        opening = parse_opening(opening_record.header)
        places = [place for place, _, _ in row.additions if row.close_place is not None and place < row.close_place]
        if opening.endpoint not in COMPUTED or row.close_place is None or not places:
            raise UsageError("infer.not_computed", "no inference node computed this run, so none can run it again")
        if len(row.additions) - len(places) >= MOST:
            raise RefusedError("infer.often", f"this run was run again {MOST} times already", status=429)
        closing = parse_closing(self._ledger.read(row.close_place).record)
        if not opening_record.blobs[0] or not closing.sealed:
            raise UsageError("run.kept", "nothing of this run's content is kept, so nobody can run it again")
        key = pseudo_random_key(row.run, secret)
        text = open_document(key, "request", opening_record.blobs[0])
        ask = parse_ask(opening.endpoint, text, {}, default_model=None, settlement=opening.settlement)
        bound = bind_request(ask, row.run, secret, ask.model)
        document = "request" if bound.sent is bound.request else "sent"
        order = Order(
            row.run,
            opening.endpoint,
            document,
            bound.sent_text,
            key,
            opening.coarse,
            opening.nonce,
            opening.parent_run,
        )
        first = parse_added(self._ledger.read(places[0]).record)
        computed = parse_statement(parse_envelope(first.envelope))
        check = CheckOrder(order, open_document(key, "response", closing.sealed), first.envelope)
        other = self._computing.another(node, than=opening.upstream)
        delivery = await other.recompute(check, timeout_s=self._timeout_s)
        statement = self._computing.check(order, bound.sent.tree, delivery, "recomputed")
        body, before = statement.body, computed.body
        if not isinstance(body, Execution) or not isinstance(before, Execution):
            raise UpstreamProtocolError("the node signed something else than a re-execution")
        if statement.parents != (computed.digest,) or (body.binds == before.binds) != (body.comparison == "equal"):
            raise UpstreamProtocolError("the node's comparison is not of what was computed")
        signed = signed_elsewhere(delivery.envelope, statement.digest, opening, key)
        evidence = delivery.attestation
        shown = canonical.encode(evidence.to_json()) if evidence is not None else b""
        place = await self._ledger.add(row.run, opening.stamp(self._clock.now()), signed, shown)
        await self._indexer.added(row.run, place.start)
        self._on_added()
        return {
            "run": row.run,
            "comparison": body.comparison,
            "node": other.code,
            "statement": statement.digest,
            "computation": body.computation.to_json() if body.computation is not None else None,
        }
