"""Which rows a search finds, and in which order; rows as callers see them.

Rules: an index is made of a vault that is open and goes with it; vectors are kept beside their rows, sealed with the
rows' keys. Searches and recalls find the same rows in the same order (``spec/recall.md`` §2).

Not covered: what is done with what was found (``service.py``, ``recalling.py``).
"""

from __future__ import annotations

import asyncio
import datetime as dt
import struct
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from holdfast.core.encoding import time_encode
from holdfast.core.memory import Row, standing_of
from holdfast.core.retrieval.index import Entry, RowIndex
from holdfast.core.retrieval.ranking import Facts, Ranked
from holdfast.core.retrieval.search import find_for_message
from holdfast.core.retrieval.words import questions_of
from holdfast.errors import ConflictError, UsageError
from holdfast.nodes.memory.vault import Vault, Vaults
from holdfast.ports.embedder import Embedder

Result = TypeVar("Result")


ATTEMPTS = 10
"""How often something is searched for again because a row that was found was erased before it was told."""


async def while_rows_stay(work: Callable[[], Awaitable[Result]]) -> Result:
    """What ``work`` gives, which searches and then names rows; it is done again where one was erased in between.

    Raises what ``work`` raises, and ``memory.busy``.
    """
    for _ in range(ATTEMPTS):
        try:
            return await work()
        except UsageError as error:
            if error.code != "memory.unknown":
                raise
    raise ConflictError("memory.busy", "others change these rows all the time", hint="try again")


class Retrieval:
    """Finds rows of open vaults."""

    def __init__(self, vaults: Vaults, embedder: Embedder) -> None:
        self._vaults = vaults
        self._embedder = embedder
        self._indexing = asyncio.Lock()

    async def find(
        self, vault: Vault, query: str, now: dt.datetime, fits: Callable[[Row], bool] = lambda _: True
    ) -> tuple[RowIndex, list[Ranked]]:
        """The index as it is now, and the rows that fit, in order. Raises what the embedder raises."""
        questions = questions_of(query)
        vectors = await self._embedder.embed(questions)
        index = await self._index(vault, len(vectors[0]))
        asked = list(zip(questions, vectors, strict=True))
        return index, await self._vaults.run(self._search, index, vault, asked, now, fits)

    def _search(
        self,
        index: RowIndex,
        vault: Vault,
        asked: Sequence[tuple[str, Sequence[float]]],
        now: dt.datetime,
        fits: Callable[[Row], bool],
    ) -> list[Ranked]:
        def facts(identifier: str) -> Facts | None:
            row = vault.rows.get(identifier)
            if row is None or not fits(row):
                return None
            return Facts(standing_of(row, now), row.created.timestamp(), row.claim)

        return find_for_message(index, facts, asked, at=now, vector_share=self._embedder.share)

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
                await self._vaults.run(index.add, entries, vectors)
            vault.index = index
            return index

    async def _vectors(
        self, vault: Vault, rows: Sequence[Row], dimensions: int, *, first: bool
    ) -> list[tuple[float, ...]]:
        """Vectors of rows: those that are kept beside them, where an index begins, and new ones, which are kept from
        now on."""
        name = f"vector.{self._embedder.model[:16]}"
        kept = await self._vaults.beside(vault, name) if first else {}
        known = {row: _unpack(raw) for row, raw in kept.items() if len(raw) == 4 * dimensions}
        fresh = [row for row in rows if row.id not in known]
        made = await self._embedder.embed([row.claim for row in fresh]) if fresh else []
        if fresh:
            new = dict(zip((row.id for row in fresh), made, strict=True))
            await self._vaults.put_beside(vault, name, {row: _pack(vector) for row, vector in new.items()})
            known |= new
        return [known[row.id] for row in rows]


def _pack(vector: Sequence[float]) -> bytes:
    return struct.pack(f"<{len(vector)}f", *vector)


def _unpack(raw: bytes) -> tuple[float, ...]:
    return struct.unpack(f"<{len(raw) // 4}f", raw)


def memory_json(row: Row, at: dt.datetime) -> dict[str, Any]:
    """A row in MemSync's shape, with what is ours beside it."""
    return {
        "id": row.id,
        "memory": row.claim,
        "type": row.kind,
        "categories": list(row.categories),
        "source": row.origin or row.sources[0].kind,
        "created_at": time_encode(row.created),
        "updated_at": time_encode(row.updated),
        "agent_id": row.agent,
        "thread_id": row.thread,
        "standing": standing_of(row, at),
        "authority": row.authority,
        "writer": row.writer,
        "slot": row.slot,
        "sources": [source.to_json() for source in row.sources],
        "digest": row.digest,
        "head": row.head,
        "age_s": max(0, int((at - row.created).total_seconds())),
        "earned_at": _time(row.earned),
        "valid_until": _time(row.valid_until),
        "expires_at": _time(row.expires),
        "confirmed": row.confirmed,
        "contradicted": row.contradicted,
        "contradicted_by": [{"id": other, "authority": authority} for other, authority in row.contradicted_by],
        "supersedes": row.supersedes,
        "superseded_by": row.superseded_by,
        "withdrawn_by": row.withdrawn_by,
        "used": row.used,
        "last_used_at": _time(row.last_used),
    }


def _time(value: dt.datetime | None) -> str | None:
    return None if value is None else time_encode(value)
