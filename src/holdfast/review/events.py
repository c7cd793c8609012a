"""Case events: what happened, who did it, on which lanes and which policy, in one chain (``spec/case.md`` §2).

An event is canonical JSON. Its digest is the SHA-256 of its bytes, and it names the digest of the event before it, so
the digest of the last one stands for the whole history. :func:`build_event` makes the bytes, :func:`parse_event` reads
them strictly: an event of a kind that this actor cannot cause does not exist.

Not covered: whether an event may follow on another (``review.cases``), and who may act (``review.desk``).
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from holdfast.core import canonical
from holdfast.core.encoding import hex_decode, sha256_hex, time_decode, time_encode
from holdfast.core.statements import is_code
from holdfast.errors import MalformedError
from holdfast.ports.case_store import StoredEvent

EVENT_TYPE = "urn:holdfast:case-event:v1"
"""``type`` of an event (``case.md`` §2)."""
NO_PREVIOUS = "0" * 64
"""``previous`` of the first event."""
MAX_TEXT = 4_000
"""Longest comment, reason, subject or reference, in code points (``case.md`` §2)."""
ACTOR_KINDS = ("person", "key", "system", "gate")
"""Who can cause an event (``case.md`` §2(3))."""
_PEOPLE = frozenset({"person"})
_ANYBODY = frozenset({"person", "key", "system"})
_GATE = frozenset({"gate"})
KINDS: Mapping[str, frozenset[str]] = {
    "opened": _ANYBODY,
    "appraised": _GATE,
    "claimed": _PEOPLE,
    "let_go": _PEOPLE,
    "viewed": _PEOPLE,
    "commented": _PEOPLE,
    "decided": _PEOPLE,
    "released": _PEOPLE,
    "cleared": _GATE,
    "provisional": _GATE,
    "held": _GATE,
    "rejected": _GATE,
    "recalled": _GATE,
    "recall_ordered": frozenset({"person", "system", "gate"}),
    "policy_changed": frozenset({"person", "system"}),
    "handed_out": _ANYBODY,
    "handed_back": _ANYBODY,
    "handed_over": _ANYBODY,
    "unsealed": _ANYBODY,
    "dependant_added": _ANYBODY,
    "led": frozenset({"system"}),
    "amended": _PEOPLE,
    "flagged": _GATE,
    "label_moved": frozenset({"system", "gate"}),
    "marked_stale": _GATE,
    "statement_logged": frozenset({"system"}),
    "anchored": frozenset({"system"}),
}
"""Every kind, and which actors can cause it (``case.md`` §2(4)). The five words of the gate are the gate's alone."""
STATE_OF = {
    "cleared": "CLEAR",
    "provisional": "PROVISIONAL",
    "held": "HOLD",
    "rejected": "REJECTED",
    "recalled": "RECALLED",
}
"""Which state an event of the gate puts a case in."""
KIND_OF = {state: kind for kind, state in STATE_OF.items()}
"""The same, the other way round."""
_WITHOUT_CASE = frozenset({"policy_changed", "recall_ordered", "label_moved", "anchored"})
_MEMBERS = frozenset(
    {"type", "seq", "previous", "at", "case", "kind", "actor", "cause", "lanes", "policy", "body"},
)
_CASE_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[47][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")
_UNSHOWN = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts. ``roles`` are a person's roles, or the scopes of a key; ``keys`` are ids of keys a person holds, so
    that a run that one of them asked for counts as their own."""

    kind: str
    id: str
    roles: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()
    via: str | None = None
    """Of a person who acted by an API key: the key's id."""

    def to_json(self) -> dict[str, canonical.JSON]:
        shown: dict[str, canonical.JSON] = {"kind": self.kind, "id": self.id}
        return shown if self.via is None else {**shown, "key": self.via}


GATE = Actor("gate", "gate")
"""What the gate said by itself."""
SYSTEM = Actor("system", "panel")
"""What the panel did without being asked by a person."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event. ``lanes`` and ``policy`` are digests of the lane vector and queue policy it was based on."""

    seq: int
    previous: str
    at: dt.datetime
    case: str | None
    kind: str
    actor: Actor
    cause: str | None
    """A code: what made it happen, where the actor alone does not say it."""
    lanes: str | None
    policy: str | None
    body: Mapping[str, Any]
    raw: bytes = field(repr=False)
    digest: str

    @property
    def stored(self) -> StoredEvent:
        return StoredEvent(self.seq, self.digest, self.case, self.kind, time_text(self.at), self.raw)

    def to_json(self) -> dict[str, Any]:
        """As an interface shows it: the members of its bytes, and its digest."""
        return {
            "seq": self.seq,
            "digest": self.digest,
            "at": time_encode(self.at),
            "kind": self.kind,
            "actor": self.actor.to_json(),
            "cause": self.cause,
            "lanes": self.lanes,
            "policy": self.policy,
            "body": dict(self.body),
        }


@lru_cache(maxsize=16)
def time_text(at: dt.datetime) -> str:
    """A moment as text; worked out once for the many events of one transaction."""
    return time_encode(at)


def build_event(
    seq: int,
    previous: str,
    at: dt.datetime,
    kind: str,
    actor: Actor,
    *,
    case: str | None,
    body: Mapping[str, Any],
    cause: str | None = None,
    lanes: str | None = None,
    policy: str | None = None,
) -> Event:
    """Make the event that follows ``previous``. ``at`` has whole milliseconds."""
    raw = canonical.encode_known(
        {
            "type": EVENT_TYPE,
            "seq": seq,
            "previous": previous,
            "at": time_text(at),
            "case": case,
            "kind": kind,
            "actor": actor.to_json(),
            "cause": cause,
            "lanes": lanes,
            "policy": policy,
            "body": body,
        }
    )
    return Event(seq, previous, at, case, kind, actor, cause, lanes, policy, body, raw, sha256_hex(raw))


def parse_event(raw: bytes) -> Event:
    """Bytes to an :class:`Event`; raises ``case_event.*`` or ``json.*``."""
    value = canonical.decode_signed(raw)
    if value.keys() != _MEMBERS or value["type"] != EVENT_TYPE:
        raise MalformedError("case_event.fields", f"not a {EVENT_TYPE}")
    seq, case, kind, actor = value["seq"], value["case"], value["kind"], value["actor"]
    if not isinstance(seq, int) or isinstance(seq, bool) or seq < 1:
        raise MalformedError("case_event.fields", "seq is an integer of at least 1")
    causers = KINDS.get(kind) if isinstance(kind, str) else None
    if causers is None:
        raise MalformedError("case_event.kind", f"unknown kind of event: {kind!r}")
    if not isinstance(actor, dict) or actor.keys() - {"key"} != {"kind", "id"} or not isinstance(actor["id"], str):
        raise MalformedError("case_event.fields", "an actor has a kind and an id")
    if "key" in actor and (actor["kind"] != "person" or not isinstance(actor["key"], str) or not actor["key"]):
        raise MalformedError("case_event.fields", "only a person acts by a key, and it has an id")
    if actor["kind"] not in causers:
        raise MalformedError("case_event.actor", f"a {kind} event is never caused by a {actor['kind']!r}")
    if (case is None) != (kind in _WITHOUT_CASE) or (case is not None and not is_case_id(case)):
        raise MalformedError("case_event.case", f"a {kind} event and the case {case!r} do not go together")
    if value["cause"] is not None and not is_code(value["cause"]):
        raise MalformedError("case_event.fields", "a cause is a code")
    if not isinstance(value["body"], dict):
        raise MalformedError("case_event.fields", "a body is an object")
    return Event(
        seq,
        hex_decode(value["previous"], 32).hex(),
        time_decode(value["at"]),
        case,
        kind,
        Actor(actor["kind"], actor["id"], via=actor.get("key")),
        value["cause"],
        _digest(value["lanes"]),
        _digest(value["policy"]),
        value["body"],
        raw,
        sha256_hex(raw),
    )


def _digest(value: object) -> str | None:
    return None if value is None else hex_decode(value, 32).hex()


def is_case_id(value: object) -> bool:
    """Whether a value is the id of a case: a UUID of version 4 or 7 in its one spelling (``case.md`` §1)."""
    return isinstance(value, str) and _CASE_ID.match(value) is not None


def parse_text(value: object, what: str) -> str:
    """A text that a person or program wrote and that the journal keeps; raises ``case.text``."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT or value.isspace():
        raise MalformedError("case.text", f"{what} is a text of 1 to {MAX_TEXT} characters", param=what)
    if _UNSHOWN.search(value):
        raise MalformedError("case.text", f"{what} holds a control character", param=what)
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise MalformedError("case.text", f"{what} holds a lone surrogate", param=what) from error
    return value
