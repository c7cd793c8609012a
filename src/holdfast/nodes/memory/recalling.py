"""Recalls: rows of somebody who asked, found, chosen and signed for one run (``spec/recall.md`` §2, §3, §6).

Rules: an index is made of a vault that is open and goes with it; vectors are kept beside their rows, sealed with the
rows' keys. Only rows that stand as facts are handed out, and each is told that it was used before the answer leaves, so
that a run into which it was recalled can never renew it.

Not covered: who may ask (``keyring.py``), what goes before a model (the gateway).
"""

from __future__ import annotations

import asyncio
import datetime as dt
import struct
from collections.abc import Callable, Sequence

from holdfast.core.keys import KeyDocument
from holdfast.core.memory import Row, standing_of
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
from holdfast.core.retrieval.index import Entry, RowIndex
from holdfast.core.retrieval.ranking import Facts, Ranked, choose
from holdfast.core.retrieval.search import find_rows
from holdfast.core.statements import build_envelope, build_payload, pre_authentication_encoding
from holdfast.errors import RefusedError
from holdfast.nodes.memory.keyring import Principal
from holdfast.nodes.memory.service import MemoryService
from holdfast.nodes.memory.vault import Vault
from holdfast.ports.clock import Clock
from holdfast.ports.embedder import Embedder
from holdfast.ports.signer import Signer


class Recalls:
    """See the module. ``evidence`` gives what attests the node's key document, or None."""

    def __init__(
        self,
        service: MemoryService,
        embedder: Embedder,
        document: KeyDocument,
        signer: Signer,
        clock: Clock,
        random_bytes: Callable[[int], bytes],
        policy: RecallPolicy,
        evidence: Callable[[], Evidence | None] = lambda: None,
    ) -> None:
        self._service = service
        self._embedder = embedder
        self._document = document
        self._signer = signer
        self._clock = clock
        self._random = random_bytes
        self._policy = policy
        self._evidence = evidence
        self._indexing = asyncio.Lock()

    async def recall(self, principal: Principal, order: RecallOrder) -> RecallDelivery:
        """Search for a run, and sign what was found. Raises ``memory.owner`` (403), ``memory.scope`` and what the
        embedder raises."""
        if order.user != principal.user:
            raise RefusedError("memory.owner", "this key is of another user", hint="ask for the user whose key it is")
        vault = await self._service.vault(principal)
        vector = (await self._embedder.embed([order.query]))[0]
        index = await self._index(vault, len(vector))
        now = self._clock.now()
        ranked = await self._service.vaults.run(self._search, index, vault, order.query, vector, now)
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

    def _search(
        self, index: RowIndex, vault: Vault, query: str, vector: Sequence[float], now: dt.datetime
    ) -> list[Ranked]:
        def facts(identifier: str) -> Facts | None:
            row = vault.rows.get(identifier)
            return None if row is None else Facts(standing_of(row, now), row.created.timestamp(), row.claim)

        return find_rows(index, facts, query, vector, at=now, vector_share=self._embedder.share)

    async def _index(self, vault: Vault, dimensions: int) -> RowIndex:
        """The vault's index, with the rows that it has now."""
        async with self._indexing:
            index = vault.index
            if index is None or index.model != self._embedder.model or index.dimensions != dimensions:
                index = RowIndex(self._embedder.model, dimensions)
            if len(index) != len(vault.rows):  # of an open vault rows only become more
                fresh = [row for row in vault.rows.values() if row.id not in index]
                vectors = await self._vectors(vault, fresh, dimensions, first=len(index) == 0)
                entries = [Entry(row.id, row.digest, row.claim) for row in fresh]
                await self._service.vaults.run(index.add, entries, vectors)
            vault.index = index
            return index

    async def _vectors(
        self, vault: Vault, rows: Sequence[Row], dimensions: int, *, first: bool
    ) -> list[tuple[float, ...]]:
        """Vectors of rows: those that are kept beside them, where an index begins, and new ones, which are kept from
        now on."""
        name = f"vector.{self._embedder.model[:16]}"
        kept = await self._service.vaults.beside(vault, name) if first else {}
        known = {row: _unpack(raw) for row, raw in kept.items() if len(raw) == 4 * dimensions}
        fresh = [row for row in rows if row.id not in known]
        made = await self._embedder.embed([row.claim for row in fresh]) if fresh else []
        if fresh:
            new = dict(zip((row.id for row in fresh), made, strict=True))
            await self._service.vaults.put_beside(vault, name, {row: _pack(vector) for row, vector in new.items()})
            known |= new
        return [known[row.id] for row in rows]


def _found(vault: Vault, rank: int, item: Ranked, why: str | None = None) -> FoundRow:
    return FoundRow(vault.rows[item.id], item.facts.standing, rank, item.scores, item.path, why)


def _pack(vector: Sequence[float]) -> bytes:
    return struct.pack(f"<{len(vector)}f", *vector)


def _unpack(raw: bytes) -> tuple[float, ...]:
    return struct.unpack(f"<{len(raw) // 4}f", raw)
