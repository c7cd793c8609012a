"""A person's profile from their rows: counted and put together, never invented.

Rules: only rows that may be put before a model as facts are told; what is private is left out; a text that its owner
wrote stands as written, and is a row like any other (slot ``profile-bio``). The same rows give the same text.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from typing import Any

from holdfast.core.encoding import time_encode
from holdfast.core.memory import FACTS, FRESH_DAYS, STANDINGS, Row, standing_of
from holdfast.errors import UsageError

BIO_SLOT = "profile-bio"
"""The slot of a text that its owner wrote about themselves."""
MAX_BIO_CHARACTERS = 500
"""MemSync's limit."""
LEAST_ROWS, LEAST_CATEGORIES = 5, 2
"""Before there are so many, MemSync has no bio."""
_SENTENCES = {"short": 2, "full": 4, "professional": 4, "bullets": 8}


def facts(rows: Sequence[Row], at: dt.datetime) -> list[Row]:
    """Rows that may be told as facts, the one that was earned last first."""
    found = [row for row in rows if standing_of(row, at) in FACTS and row.slot != BIO_SLOT]
    found.sort(key=lambda row: (row.earned or row.created, row.id), reverse=True)
    return found


def written_bio(rows: Sequence[Row], at: dt.datetime) -> Row | None:
    """The text that its owner wrote, where it stands."""
    mine = [row for row in rows if row.slot == BIO_SLOT and standing_of(row, at) in FACTS]
    return max(mine, key=lambda row: row.created, default=None)


def bio_text(rows: Sequence[Row], at: dt.datetime, form: str = "full", without: Sequence[str] = ()) -> str:
    """A few sentences: what its owner wrote, or else claims of different categories as they stand."""
    written = written_bio(rows, at)
    if written is not None:
        return written.claim
    told = _told(rows, at, form, without)
    if form == "bullets":
        return "\n".join(f"- {row.claim}" for row in told)
    return " ".join(row.claim if row.claim[-1] in ".!?" else f"{row.claim}." for row in told)


def _told(rows: Sequence[Row], at: dt.datetime, form: str, without: Sequence[str]) -> list[Row]:
    """From each category in turn the newest."""
    hidden = {"private", *without}
    known = [row for row in facts(rows, at) if not hidden & set(row.categories)]
    chosen: dict[str, Row] = {}
    for turn in range(_SENTENCES[form]):
        for category in FRESH_DAYS:
            mine = [row for row in known if category in row.categories]
            if turn < len(mine):
                chosen.setdefault(mine[turn].id, mine[turn])
    chosen |= {row.id: row for row in known if not row.categories}
    return list(chosen.values())[: _SENTENCES[form]]


def bio_json(
    rows: Sequence[Row], at: dt.datetime, form: str = "full", style: str = "factual", without: Sequence[str] = ()
) -> dict[str, Any]:
    """MemSync's ``GET /profile/bio``. Raises ``memory.no_bio`` (404) before there is enough, ``memory.bio_form``."""
    if form not in _SENTENCES:
        raise UsageError("memory.bio_form", f"format is one of {', '.join(_SENTENCES)}", param="format")
    written, told = written_bio(rows, at), _told(rows, at, form, without)
    known = facts(rows, at)
    if written is None and (len(known) < LEAST_ROWS or len(_counted(known)) < LEAST_CATEGORIES):
        message = f"a bio needs {LEAST_ROWS} rows that stand, in {LEAST_CATEGORIES} categories"
        raise UsageError("memory.no_bio", message, status=404)
    text = bio_text(rows, at, form, without)
    return {
        "bio": text,
        "format": form,
        "style": style,
        "word_count": len(text.split()),
        "character_count": len(text),
        "source_memories": 1 if written is not None else len(told),
        "sources": [written.id] if written is not None else [row.id for row in told],
        "categories_included": sorted(_counted(told)),
        "is_manual": written is not None,
        "generated_at": time_encode(at),
    }


def _counted(rows: Sequence[Row]) -> Counter[str]:
    return Counter(category for row in rows for category in row.categories)


def profile_json(user: str, rows: Sequence[Row], at: dt.datetime) -> dict[str, Any]:
    """MemSync's ``GET /profile``, with how rows stand."""
    known = facts(rows, at)
    kept = [row for row in rows if not row.ended]
    times = sorted(row.created for row in kept)
    text = bio_text(rows, at)
    return {
        "user_id": user,
        "bio": {"summary": text, "generated_at": time_encode(at), "word_count": len(text.split())},
        "categories": categories_json(known),
        "insights": [],
        "traits": [],
        "stats": {
            "total_memories": len(kept),
            "by_category": dict(sorted(_counted(kept).items())),
            "by_type": dict(sorted(Counter(row.kind for row in kept).items())),
            "by_standing": _standings(rows, at),
            "date_range": {"first": time_encode(times[0]), "last": time_encode(times[-1])} if times else None,
        },
        "last_updated": time_encode(max((row.updated for row in rows), default=at)),
    }


def categories_json(known: Sequence[Row]) -> dict[str, str]:
    """By category what stands, as text; nothing private."""
    told: dict[str, list[str]] = {}
    for row in known:
        for category in row.categories:
            if category != "private":
                told.setdefault(category, []).append(row.claim)
    return {category: " ".join(claims) for category, claims in sorted(told.items())}


def _standings(rows: Sequence[Row], at: dt.datetime) -> dict[str, int]:
    counted = Counter(standing_of(row, at) for row in rows)
    return {standing: counted[standing] for standing in STANDINGS}
