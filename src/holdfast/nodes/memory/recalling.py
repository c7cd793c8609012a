"""Recalls: rows of somebody who asked, found, chosen and signed for one run (``spec/recall.md`` §2, §3, §6).

Rules: only rows that stand as facts are handed out, and each is told that it was used before the answer leaves, so that
a run into which it was recalled can never renew it.

Not covered: who may ask (``keyring.py``), how rows are found (``search.py``), what goes before a model (the gateway).
"""

from __future__ import annotations

from collections.abc import Callable

from holdfast.core.keys import KeyDocument
from holdfast.core.orders import Evidence
from holdfast.core.recall_orders import RecallDelivery, RecallOrder
from holdfast.core.recalls import (
    SALT_BYTES,
    FoundRow,
    Index,
    RecallPolicy,
    build_recall,
    recall_body,
    recall_record,
)
from holdfast.core.retrieval.ranking import Ranked, choose
from holdfast.core.statements import build_envelope, build_payload, pre_authentication_encoding
from holdfast.errors import RefusedError
from holdfast.nodes.memory.keyring import Principal
from holdfast.nodes.memory.search import Retrieval, while_rows_stay
from holdfast.nodes.memory.service import MemoryService
from holdfast.nodes.memory.vault import Vault
from holdfast.ports.clock import Clock
from holdfast.ports.signer import Signer


class Recalls:
    """See the module. ``evidence`` gives what attests the node's key document, or None."""

    def __init__(
        self,
        service: MemoryService,
        retrieval: Retrieval,
        document: KeyDocument,
        signer: Signer,
        clock: Clock,
        random_bytes: Callable[[int], bytes],
        policy: RecallPolicy,
        evidence: Callable[[], Evidence | None] = lambda: None,
    ) -> None:
        self._service = service
        self._retrieval = retrieval
        self._document = document
        self._signer = signer
        self._clock = clock
        self._random = random_bytes
        self._policy = policy
        self._evidence = evidence

    async def recall(self, principal: Principal, order: RecallOrder) -> RecallDelivery:
        """Search for a run, and sign what was found. Raises ``memory.owner`` (403), ``memory.scope`` and what the
        embedder raises."""
        if order.user != principal.user:
            raise RefusedError("memory.owner", "this key is of another user", hint="ask for the user whose key it is")
        return await while_rows_stay(lambda: self._recall(principal, order))

    async def _recall(self, principal: Principal, order: RecallOrder) -> RecallDelivery:
        vault = await self._service.vault(principal)
        now = self._clock.now()
        index, ranked = await self._retrieval.find(vault, order.query, now)
        policy = self._policy
        chosen = choose(ranked, most=policy.most, most_bytes=policy.most_bytes, standings=frozenset(policy.standings))
        found = [_found(vault, rank, item) for rank, item in chosen.rows]
        found += [_found(vault, kept.rank, kept.ranked, kept.why) for kept in chosen.kept_out]
        at = now.replace(second=0, microsecond=0) if order.coarse else now
        described = Index(index.version, index.model, len(index))
        document = build_recall(
            order.run, at, order.key, order.query, described, policy, sorted(found, key=lambda item: item.rank)
        )
        raw, salt = document.raw, self._random(SALT_BYTES)
        record = recall_record(raw, salt)
        payload = build_payload(
            "recall",
            run=order.run,
            attester=self._document.digest,
            claimed_at=at,
            parents=(),
            subject=("recall", record),
            body=recall_body(document, record),
            nonce=order.nonce,
            parent_run=order.parent_run,
        )
        told = [row.row for row in document.rows]
        if told:
            await self._service.use(principal, told, order.run)
        envelope = build_envelope(
            payload, self._signer.key.key_id, self._signer.sign(pre_authentication_encoding(payload))
        )
        claims = {row: vault.rows[row].claim for row in told}
        return RecallDelivery(envelope, raw, salt, claims, self._evidence())


def _found(vault: Vault, rank: int, item: Ranked, why: str | None = None) -> FoundRow:
    return FoundRow(vault.rows[item.id], item.facts.standing, rank, item.scores, item.path, why)
