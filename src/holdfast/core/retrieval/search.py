"""One search from question to order: both ways of the index, further searches from the best rows, time and standing
(``spec/recall.md`` §2)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from holdfast.core.retrieval.index import CANDIDATES, Hit, RowIndex
from holdfast.core.retrieval.ranking import HOP_ROWS, VECTOR_SHARE, Facts, Ranked, hops, rank
from holdfast.core.retrieval.words import time_hint


def find_for_message(
    index: RowIndex,
    facts: Callable[[str], Facts | None],
    asked: Sequence[tuple[str, Any]],
    *,
    at: dt.datetime,
    vector_share: int = VECTOR_SHARE,
) -> list[Ranked]:
    """Rows for all that a message asks (:func:`words.questions_of`), each question with its vector: a row has the place
    that it has where it says most. What says little of a whole message may say much of one sentence. Raises
    ``recall.vector``."""
    return _in_order(
        item
        for question, vector in asked
        for item in find_rows(index, facts, question, vector, at=at, vector_share=vector_share)
    )


def find_rows(
    index: RowIndex,
    facts: Callable[[str], Facts | None],
    question: str,
    vector: Any,
    *,
    at: dt.datetime,
    vector_share: int = VECTOR_SHARE,
    most: int = CANDIDATES,
) -> list[Ranked]:
    """Rows in the order in which they are put forward. ``vector`` is the question's, of the index's model; ``facts``
    and ``vector_share`` are those of :func:`ranking.rank`. Raises ``recall.vector``."""
    hint, now = time_hint(question, at), at.timestamp()
    if not any(vector):  # the model knows no word of the question: only words can find something
        vector_share = 0
    direct = {hit.id: hit for hit in index.search(question, vector, most=most)}
    first = rank(direct.values(), facts, at=now, hint=hint, vector_share=vector_share)
    further: dict[str, Hit] = {}
    for hop in hops(question, first, index.rarity):
        for hit in index.search_naming(hop.named, hop.words, vector, most=most // HOP_ROWS):
            before = further.get(hit.id) or direct.get(hit.id)
            if hit.id != hop.row and (before is None or before.words < hit.words):
                further[hit.id] = hit
    second = rank(further.values(), facts, at=now, hint=hint, vector_share=vector_share, hopped=frozenset(further))
    return _in_order((*first, *second))


def _in_order(found: Iterable[Ranked]) -> list[Ranked]:
    """Each row once, where it scored most; best first."""
    best: dict[str, Ranked] = {}
    for item in found:
        if item.id not in best or best[item.id].scores.total < item.scores.total:
            best[item.id] = item
    return sorted(best.values(), key=lambda item: (-item.scores.total, item.id))
