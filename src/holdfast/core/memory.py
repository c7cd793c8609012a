"""Rows of memory as folds of their histories, and how they stand (``spec/memory.md``).

``parse_history`` folds events into a :class:`Row` and refuses what would launder: authority above the weakest source, a
row that renews itself, evidence used twice. ``standing_of`` is a pure function of a row and a time. ``build_event``
makes the next event of a history; ``require_renewal`` says why a source would not renew a row.

Not covered: where rows are kept, who may read them, which rows a search finds, and whether a claim is true.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from holdfast.core import canonical
from holdfast.core.encoding import hex_decode, sha256_hex, time_decode, time_encode
from holdfast.core.statements import is_code, is_run_id
from holdfast.errors import MalformedError, RefusedError

WRITERS = ("imported", "model_inferred", "tool_returned", "data_admitted", "user_said")
"""Whose words a claim is, weakest first; also the order of authority (``memory.md`` §1)."""
STANDINGS = ("earned", "aging", "background", "contradicted", "withdrawn")
"""How a row can stand (``memory.md`` §5)."""
FACTS = frozenset({"earned", "aging"})
"""Standings of rows that may be put before a model as facts."""
KINDS = ("semantic", "episodic")
"""A lasting fact, or one tied to what goes on now."""
FRESH_DAYS: Mapping[str, tuple[int, int]] = {
    "identity": (365, 1095),
    "career": (180, 365),
    "interests": (180, 540),
    "relationships": (180, 540),
    "learning": (90, 270),
    "private": (90, 270),
    "travel": (30, 120),
    "health": (30, 90),
    "finance": (30, 90),
    "productivity": (14, 60),
}
"""By category: days for which a row is earned, and after which it lapses (``memory.md`` §4)."""
UNCATEGORISED_DAYS = (90, 270)
"""The same for a row without a category."""
EPISODIC_DAYS = (7, 30)
"""The most for an episodic row."""
MAX_EVENT_BYTES = 65_536
"""Larger events are refused unread (``memory.md`` §3)."""
MAX_CLAIM_BYTES = 4_096
MAX_SOURCES = 64
"""Most sources of a row, and most spans of a source."""
PEOPLE = ("user", "reviewer")
"""Who confirms and withdraws."""
EARNS = WRITERS.index("data_admitted")
"""The weakest authority with which a row is earned when it is added (``memory.md`` §5)."""
_ROW_ID = re.compile(r"mem_[0-9a-f]{32}\Z")
_SOURCE = frozenset({"kind", "id", "lane", "spans"})
_COMMON = frozenset({"type", "row", "at", "previous"})
_ADDED = frozenset(
    {
        "claim",
        "kind",
        "categories",
        "slot",
        "writer",
        "authority",
        "sources",
        "agent",
        "thread",
        "origin",
        "expires",
        "supersedes",
    }
)
_MEMBERS: Mapping[str, frozenset[str]] = {
    "added": _ADDED,
    "confirmed": frozenset({"by"}),
    "agreed": frozenset({"source"}),
    "contradicted": frozenset({"other", "authority"}),
    "reconciled": frozenset({"other"}),
    "used": frozenset({"run"}),
    "superseded": frozenset({"other"}),
    "withdrawn": frozenset({"by"}),
}
_AFTER_THE_END = frozenset({"used", "reconciled"})
_SPOKEN = ("user_said", "model_inferred", "tool_returned")


@dataclass(frozen=True, slots=True)
class Source:
    """Where a claim came from (``memory.md`` §2). ``spans`` are SHA-256 digests of exact spans, hex."""

    kind: str
    id: str | None
    lane: str
    spans: tuple[str, ...] = ()

    def to_json(self) -> dict[str, canonical.JSON]:
        return {"kind": self.kind, "id": self.id, "lane": self.lane, "spans": list(self.spans)}


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a history: its exact bytes, their SHA-256 (hex), and its members."""

    raw: bytes
    digest: str
    type: str
    row: str
    at: dt.datetime
    previous: str | None
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """A claim with everything that its history says. Made by :func:`parse_history` and :func:`extend` only."""

    id: str
    claim: str
    kind: str
    categories: tuple[str, ...]
    slot: str | None
    writer: str
    authority: str
    sources: tuple[Source, ...]
    agent: str | None
    thread: str | None
    origin: str | None
    """What its client called the place that it came from."""
    expires: dt.datetime | None
    supersedes: str | None
    digest: str
    """SHA-256 of its first event, hex."""
    head: str
    """SHA-256 of its last event, hex."""
    created: dt.datetime
    updated: dt.datetime
    """The time of its last event other than ``used``."""
    earned: dt.datetime | None
    """When it was last earned; None where it never was."""
    confirmed: int = 0
    """How often it was renewed."""
    contradicted: int = 0
    """How often another row contradicted it."""
    contradicted_by: tuple[tuple[str, str], ...] = ()
    """Rows that contradict it now, each with its authority."""
    evidence: tuple[Source, ...] = ()
    """What renewed it."""
    used_by: frozenset[str] = frozenset()
    """Runs into which it was recalled."""
    used: int = 0
    last_used: dt.datetime | None = None
    superseded_by: str | None = None
    withdrawn_by: str | None = None

    @property
    def ended(self) -> bool:
        """Whether it was withdrawn or superseded."""
        return self.superseded_by is not None or self.withdrawn_by is not None

    @property
    def fresh_days(self) -> tuple[int, int]:
        """Days for which it is earned, and after which it lapses (``memory.md`` §4)."""
        spans = [FRESH_DAYS[category] for category in self.categories] or [UNCATEGORISED_DAYS]
        if self.kind == "episodic":
            spans.append(EPISODIC_DAYS)
        return min(fresh for fresh, _ in spans), min(lapse for _, lapse in spans)

    @property
    def valid_until(self) -> dt.datetime | None:
        """When it falls to background if nothing renews it; None where it was never earned."""
        if self.earned is None:
            return None
        lapses = self.earned + dt.timedelta(days=self.fresh_days[1])
        return lapses if self.expires is None else min(lapses, self.expires)


def standing_of(row: Row, at: dt.datetime) -> str:
    """How a row stands at a time: one of :data:`STANDINGS` (``memory.md`` §5)."""
    if row.ended:
        return "withdrawn"
    if any(is_as_strong(authority, row.authority) for _, authority in row.contradicted_by):
        return "contradicted"
    if row.earned is None or row.valid_until is None or at >= row.valid_until:
        return "background"
    return "aging" if at >= row.earned + dt.timedelta(days=row.fresh_days[0]) else "earned"


def is_as_strong(authority: str, other: str) -> bool:
    """Whether the first authority is at least the second."""
    return WRITERS.index(authority) >= WRITERS.index(other)


def weakest(writer: str, sources: Iterable[Source]) -> str:
    """The authority of a claim by ``writer`` from ``sources`` (``memory.md`` §1)."""
    return min((writer, *(source.lane for source in sources)), key=WRITERS.index)


def derived_source(row: Row) -> Source:
    """A row as the source of another, with the authority that it has."""
    return Source("row", row.id, row.authority, (row.digest,))


def contradicts(one: Row, other: Row) -> bool:
    """Whether two rows of one owner contradict each other (``memory.md`` §7)."""
    return (
        one.id != other.id
        and one.slot is not None
        and one.slot == other.slot
        and not (one.ended or other.ended)
        and one.claim != other.claim
    )


def require_renewal(row: Row, source: Source, kin: Iterable[Row] = ()) -> None:
    """Nothing where ``source`` renews ``row``; ``kin`` are the rows that it was derived from or that were derived from
    it. Raises ``memory.not_evidence``, ``memory.not_fresh`` or ``memory.self_citation`` (``memory.md`` §6)."""
    speaks = source.kind == "admission" or (source.kind == "run" and source.lane == "user_said")
    if not speaks:
        raise RefusedError(
            "memory.not_evidence",
            f"a {source.kind} source with lane {source.lane} renews no row",
            hint="its owner's words in another run do, an admission, or a person who confirms it",
        )
    known = {(item.kind, item.id) for item in (*row.sources, *row.evidence)}
    if (source.kind, source.id) in known:
        raise RefusedError("memory.not_fresh", "this is a source of the row already, or renewed it before")
    if any(source.id in item.used_by for item in (row, *kin)):
        raise RefusedError("memory.self_citation", "the row was recalled into that run, so it would vouch for itself")


def row_id(random: bytes) -> str:
    """The id of a new row from 16 random bytes."""
    return f"mem_{random[:16].hex()}"


def is_row_id(value: object) -> bool:
    """Whether this is a row's id (``memory.md`` §3)."""
    return isinstance(value, str) and _ROW_ID.match(value) is not None


# Events


def build_event(row: Row | None, kind: str, identifier: str, at: dt.datetime, /, **members: canonical.JSON) -> Event:
    """The next event of a history, or the first where ``row`` is None. A clock that went back is held at the last
    event's time. Raises what :func:`parse_event` raises."""
    moment = at if row is None else max(at, row.updated, row.last_used or row.updated)
    previous = None if row is None else row.head
    common = {"type": kind, "row": identifier, "at": time_encode(moment), "previous": previous}
    return parse_event(canonical.encode({**common, **members}))


def next_event(row: Row, kind: str, at: dt.datetime, /, **members: canonical.JSON) -> Event:
    """:func:`build_event` of a row that is there."""
    return build_event(row, kind, row.id, at, **members)


def parse_event(raw: bytes) -> Event:
    """Canonical JSON to an :class:`Event`. Raises ``memory.event``, ``memory.source``, ``json.*``, ``encoding.*``."""
    if len(raw) > MAX_EVENT_BYTES:
        raise MalformedError("memory.event", f"an event has at most {MAX_EVENT_BYTES} bytes")
    body = canonical.decode_signed(raw)
    kind = body.get("type")
    members = _MEMBERS.get(kind) if isinstance(kind, str) else None
    if members is None or body.keys() != _COMMON | members:
        raise _malformed("an event has the members of its type, and no others")
    if not is_row_id(body["row"]):
        raise _malformed("row is mem_ and 32 lower-case hex digits")
    if body["previous"] is not None:
        hex_decode(body["previous"], 32)
    if (body["previous"] is None) != (kind == "added"):
        raise _malformed("the first event, and no other, is added and names none before it")
    at = time_decode(body["at"])
    _check_body(str(kind), body)
    return Event(raw, sha256_hex(raw), str(kind), body["row"], at, body["previous"], body)


def _check_body(kind: str, body: Mapping[str, Any]) -> None:
    if kind == "added":
        _check_added(body)
    for name, fits in (("other", is_row_id), ("by", _is_person)):
        if name in _MEMBERS[kind] and not fits(body[name]):
            raise _malformed(f"{name} is none")
    if kind == "contradicted" and body["authority"] not in WRITERS:
        raise _malformed("authority is a writer")
    if kind == "used" and body["run"] is not None and not is_run_id(body["run"]):
        raise _malformed("run is a run's id or null")
    if kind == "agreed":
        parse_source(body["source"])


def _check_added(body: Mapping[str, Any]) -> None:
    checks: tuple[tuple[str, Callable[[Any], bool]], ...] = (
        ("claim", lambda value: is_text(value, MAX_CLAIM_BYTES)),
        ("kind", lambda value: value in KINDS),
        ("categories", _are_categories),
        ("slot", lambda value: value is None or is_code(value)),
        ("writer", lambda value: value in WRITERS),
        ("authority", lambda value: value in WRITERS),
        ("agent", lambda value: value is None or is_text(value, 256)),
        ("thread", lambda value: value is None or is_text(value, 256)),
        ("origin", lambda value: value is None or is_text(value, 256)),
        ("supersedes", lambda value: value is None or is_row_id(value)),
    )
    for name, fits in checks:
        if not fits(body[name]):
            raise _malformed(f"{name} is none")
    if body["expires"] is not None:
        time_decode(body["expires"])
    if not isinstance(body["sources"], list) or not 1 <= len(body["sources"]) <= MAX_SOURCES:
        raise _malformed(f"a row has 1 to {MAX_SOURCES} sources")
    for item in body["sources"]:
        parse_source(item)


def is_text(value: object, most_bytes: int) -> bool:
    """Whether this is text of 1 to ``most_bytes`` bytes."""
    return isinstance(value, str) and 0 < len(value.encode("utf-8", "replace")) <= most_bytes


def _is_person(value: object) -> bool:
    return value in PEOPLE


def _are_categories(value: object) -> bool:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        return False
    return value == sorted(set(value)) and set(value) <= FRESH_DAYS.keys()


def parse_source(value: object) -> Source:
    """JSON to a :class:`Source`; raises ``memory.source`` and ``encoding.hex`` (``memory.md`` §2)."""
    if not isinstance(value, dict) or value.keys() != _SOURCE:
        raise _no_source("a source has exactly kind, id, lane and spans")
    kind, identifier, lane, spans = value["kind"], value["id"], value["lane"], value["spans"]
    if not isinstance(spans, list) or len(spans) > MAX_SOURCES:
        raise _no_source(f"spans are a list of at most {MAX_SOURCES}")
    for span in spans:
        hex_decode(span, 32)
    if lane not in WRITERS:
        raise _no_source("lane is a writer")
    rules: Mapping[str, bool] = {
        "run": is_run_id(identifier) and lane in _SPOKEN and len(spans) > 0,
        "messages": identifier is None and lane in _SPOKEN and len(spans) > 0,
        "owner": identifier is None and lane == "user_said" and not spans,
        "admission": _is_digest(identifier) and lane == "data_admitted",
        "row": is_row_id(identifier) and len(spans) == 1,
        "import": _is_digest(identifier) and lane == "imported" and not spans,
    }
    if not isinstance(kind, str) or not rules.get(kind, False):
        raise _no_source("this is no source of any kind")
    return Source(kind, identifier, str(lane), tuple(spans))


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value) is not None


def _malformed(message: str) -> MalformedError:
    return MalformedError("memory.event", message)


def _no_source(message: str) -> MalformedError:
    return MalformedError("memory.source", message)


# Histories


def parse_history(events: Sequence[bytes]) -> Row:
    """Fold a history, oldest event first. Raises what :func:`parse_event`, :func:`begin` and :func:`extend` raise, and
    ``memory.history`` where there is none."""
    if not events:
        raise MalformedError("memory.history", "a history has at least one event")
    row = begin(parse_event(events[0]))
    for raw in events[1:]:
        row = extend(row, parse_event(raw))
    return row


def begin(event: Event) -> Row:
    """A row from its first event. Raises ``memory.history`` and ``memory.authority``."""
    if event.type != "added":
        raise MalformedError("memory.history", "a history begins with added")
    body = event.body
    sources = tuple(parse_source(item) for item in body["sources"])
    if body["authority"] != weakest(body["writer"], sources):
        raise RefusedError("memory.authority", "a row has the weakest authority of its writer and its sources")
    is_earned = WRITERS.index(body["authority"]) >= EARNS
    return Row(
        id=event.row,
        claim=body["claim"],
        kind=body["kind"],
        categories=tuple(body["categories"]),
        slot=body["slot"],
        writer=body["writer"],
        authority=body["authority"],
        sources=sources,
        agent=body["agent"],
        thread=body["thread"],
        origin=body["origin"],
        expires=None if body["expires"] is None else time_decode(body["expires"]),
        supersedes=body["supersedes"],
        digest=event.digest,
        head=event.digest,
        created=event.at,
        updated=event.at,
        earned=event.at if is_earned else None,
    )


def extend(row: Row, event: Event) -> Row:
    """The row after one more event. Raises ``memory.history``, ``memory.order``, ``memory.ended``, and what
    :func:`require_renewal` raises."""
    if event.type == "added" or event.row != row.id or event.previous != row.head:
        raise MalformedError("memory.history", "an event names its row and the event before it")
    if event.at < max(row.updated, row.last_used or row.updated):
        raise MalformedError("memory.order", "times in a history never decrease")
    if row.ended and event.type not in _AFTER_THE_END:
        raise RefusedError(
            "memory.ended",
            "the row was withdrawn or corrected",
            hint="add it anew, or change its correction",
            status=409,
        )
    if event.type == "used":
        run = event.body["run"]
        runs = row.used_by if run is None else row.used_by | {run}
        return replace(row, head=event.digest, used=row.used + 1, used_by=runs, last_used=event.at)
    return _FOLDS[event.type](replace(row, head=event.digest, updated=event.at), event)


def _confirmed(row: Row, event: Event) -> Row:
    return replace(row, earned=event.at, confirmed=row.confirmed + 1, contradicted_by=())


def _agreed(row: Row, event: Event) -> Row:
    source = parse_source(event.body["source"])
    require_renewal(row, source)
    return replace(row, earned=event.at, confirmed=row.confirmed + 1, evidence=(*row.evidence, source))


def _contradicted(row: Row, event: Event) -> Row:
    pair = (event.body["other"], event.body["authority"])
    others = (*_without(row, pair[0]), pair)
    return replace(row, contradicted=row.contradicted + 1, contradicted_by=others)


def _reconciled(row: Row, event: Event) -> Row:
    return replace(row, contradicted_by=_without(row, event.body["other"]))


def _without(row: Row, other: str) -> tuple[tuple[str, str], ...]:
    return tuple(pair for pair in row.contradicted_by if pair[0] != other)


def _superseded(row: Row, event: Event) -> Row:
    return replace(row, superseded_by=event.body["other"])


def _withdrawn(row: Row, event: Event) -> Row:
    return replace(row, withdrawn_by=event.body["by"])


_FOLDS: Mapping[str, Callable[[Row, Event], Row]] = {
    "confirmed": _confirmed,
    "agreed": _agreed,
    "contradicted": _contradicted,
    "reconciled": _reconciled,
    "superseded": _superseded,
    "withdrawn": _withdrawn,
}
