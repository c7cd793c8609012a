"""Which rows a search finds, and in which order; rows as callers see them.

:class:`Ranking` is where retrieval plugs in. :class:`WordRanking` is the one that needs nothing: words that a claim
shares with the query, weighed by how rare they are among the user's rows.

Not covered: meaning. ``lodging`` does not find ``hotel`` here.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from holdfast.core.encoding import time_encode
from holdfast.core.memory import Row, standing_of

_WORD = re.compile(r"[^\W_]+", re.UNICODE)
_STOP = frozenset(
    _WORD.findall(
        """a an and are as at be by do does for from has have how i in is it me my of on or that the this to was were
        what when where which who why will with you your"""
    )
)


@dataclass(frozen=True, slots=True)
class Ranked:
    """A row that a search found."""

    row: str
    distance: float
    """0 is closest, 1 has nothing in common (MemSync's ``vector_distance``)."""
    rerank: float
    """0 to 1, higher is better (MemSync's ``rerank_score``)."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """What the order was made of, by name."""


class Ranking(Protocol):
    """Finds rows for a query."""

    def rank(self, query: str, rows: Sequence[Row]) -> list[Ranked]:
        """Rows with something in common with the query, closest first."""
        ...


def words_of(text: str) -> list[str]:
    """The words of a text that tell something, without plural endings."""
    found = [word for word in _WORD.findall(text.casefold()) if word not in _STOP]
    return [word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word for word in found]


class WordRanking:
    """See the module."""

    def rank(self, query: str, rows: Sequence[Row]) -> list[Ranked]:
        """Rows that share a word with the query."""
        asked = Counter(words_of(query))
        texts = [Counter(words_of(row.claim)) for row in rows]
        holds = Counter(word for text in texts for word in text)
        weight = {word: math.log(1 + len(rows) / (1 + holds[word])) for word in asked | holds}
        found = []
        for row, text in zip(rows, texts, strict=True):
            shared = asked.keys() & text.keys()
            if shared:
                cosine = _dot(asked, text, weight) / math.sqrt(_dot(asked, asked, weight) * _dot(text, text, weight))
                covered = sum(weight[word] for word in shared) / sum(weight[word] for word in asked)
                scores = {"words": round(cosine, 6), "covered": round(covered, 6)}
                found.append(Ranked(row.id, round(1 - min(cosine, 1.0), 6), round((cosine + covered) / 2, 6), scores))
        found.sort(key=lambda item: (item.distance, item.row))
        return found


def _dot(one: Counter[str], other: Counter[str], weight: Mapping[str, float]) -> float:
    return sum(count * other[word] * weight[word] ** 2 for word, count in one.items() if word in other)


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
