"""The order in which rows are put forward, and what a policy lets before a model (``spec/recall.md`` §2, §3).

``rank`` orders what an index found by what it says, when it was said and how it stands. ``hops`` makes further
questions of what the best rows name. ``choose`` applies the policy: rows that stand as facts, in order, until there are
enough; of the others it says why not.

All numbers are parts of a million, so that two machines write down the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from holdfast.core.memory import FACTS, STANDINGS
from holdfast.core.recalls import MILLION, PATHS, Scores
from holdfast.core.retrieval.index import Hit
from holdfast.core.retrieval.words import TimeHint, words_of

VECTOR_SHARE = 600_000
"""Of what a row says, so much is its vector's; the rest its words'."""
AGE_SHARE, NOW_SHARE = 100_000, 400_000
"""So much of a score a row loses by its age, at most; and where a question asks how things are now."""
HALF_LIFE_DAYS = 180
"""After so many days half of that is lost."""
OUTSIDE = 500_000
"""What a row keeps of its score that was said at another time than the question asks about."""
WEIGHTS: Mapping[str, int] = {
    "earned": MILLION,
    "aging": 850_000,
    "background": 600_000,
    "contradicted": 400_000,
    "withdrawn": 0,
}
"""What a row keeps of its score by its standing."""
HOP_ROWS, HOP_WORDS, HOP_KEEPS = 3, 2, 950_000
"""Rows that further searches start from, words that each takes of one, and what their finds keep of their score."""
HOP_SHARE = 3
"""A further search is by words: the share of vectors in it is so much smaller."""
LEAST = 120_000
"""What a row has to say of a question, or it is left out."""
_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Facts:
    """What the order depends on beside the index: how a row stands, when it was said and what it says."""

    standing: str
    said_at: float
    """Seconds since 1970."""
    text: str


@dataclass(frozen=True, slots=True)
class Ranked:
    """A row in its place: how it was found and what it scored."""

    id: str
    facts: Facts
    scores: Scores
    path: tuple[str, ...]
    """Which of :data:`recalls.PATHS` led to it, sorted."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A row that the policy kept out, and why: ``standing`` or ``room``."""

    ranked: Ranked
    rank: int
    why: str


@dataclass(frozen=True, slots=True)
class Choice:
    """What goes before a model and what does not, both in order of rank."""

    rows: tuple[tuple[int, Ranked], ...]
    """Rows with their rank, which counts from 1 over all that were found."""
    kept_out: tuple[Kept, ...]


def rank(
    hits: Iterable[Hit],
    facts: Callable[[str], Facts | None],
    *,
    at: float,
    hint: TimeHint | None = None,
    vector_share: int = VECTOR_SHARE,
    hopped: frozenset[str] = frozenset(),
) -> list[Ranked]:
    """Hits in order, best first. ``facts`` gives what is known of a row, or None for one that is no more; ``at`` is
    now, seconds since 1970; ``vector_share`` says what the vectors of this model are worth; ``hopped`` are rows that a
    further search found."""
    found = []
    for hit in hits:
        known = facts(hit.id)
        if known is None:
            continue
        vector, words = round(hit.vector * MILLION), round(min(1.0, hit.words) * MILLION)
        share = vector_share // HOP_SHARE if hit.id in hopped else vector_share
        says = (vector * share + words * (MILLION - share)) // MILLION
        if says < LEAST:
            continue
        time, standing = _time(known.said_at, at, hint), WEIGHTS[known.standing]
        keeps = HOP_KEEPS if hit.id in hopped else MILLION
        total = says * time // MILLION * standing // MILLION * keeps // MILLION
        ways = {"vector": vector > 0, "words": words > 0, "hop": hit.id in hopped}
        path = tuple(name for name in PATHS if ways[name])
        found.append(Ranked(hit.id, known, Scores(vector, words, time, standing, total), path))
    return sorted(found, key=lambda item: (-item.scores.total, STANDINGS.index(item.facts.standing), item.id))


def _time(said_at: float, at: float, hint: TimeHint | None) -> int:
    if hint is not None and hint.start is not None and hint.end is not None:
        return MILLION if hint.start <= said_at < hint.end else OUTSIDE
    share = NOW_SHARE if hint is not None and hint.now else AGE_SHARE
    days = max(0.0, at - said_at) / _DAY
    return MILLION - round(share * (1 - math.exp2(-days / HALF_LIFE_DAYS)))


@dataclass(frozen=True, slots=True)
class Hop:
    """A further search: from which row, for what it names, with what it leaves open of the question."""

    row: str
    named: tuple[str, ...]
    words: tuple[str, ...]


def hops(question: str, ranked: Sequence[Ranked], rarity: Callable[[str], float]) -> list[Hop]:
    """What the best rows name and the question does not, the rarest words first. ``rarity`` is larger for a word that
    fewer rows have."""
    asked = words_of(question)
    found = []
    for item in ranked[:HOP_ROWS]:
        said = set(words_of(item.facts.text))
        fresh = sorted(said - set(asked), key=lambda word: (-rarity(word), word))[:HOP_WORDS]
        words = tuple(word for word in asked if word not in said)
        if fresh and words:
            found.append(Hop(item.id, tuple(fresh), words))
    return found


def choose(ranked: Sequence[Ranked], *, most: int, most_bytes: int, standings: frozenset[str] = FACTS) -> Choice:
    """Apply the policy (``recall.md`` §3): rows whose standing is among ``standings`` and that still have room, by
    number and by bytes of text. Rows of other standings never count against the room."""
    rows: list[tuple[int, Ranked]] = []
    kept_out: list[Kept] = []
    room = most_bytes
    for number, item in enumerate(ranked, 1):
        size = len(item.facts.text.encode())
        if item.facts.standing not in standings:
            kept_out.append(Kept(item, number, "standing"))
        elif len(rows) >= most or size > room:
            kept_out.append(Kept(item, number, "room"))
        else:
            rows.append((number, item))
            room -= size
    return Choice(tuple(rows), tuple(kept_out))
