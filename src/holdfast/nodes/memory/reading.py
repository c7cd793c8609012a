"""What callers send, read strictly once: bodies and queries to values. What makes no sense is ``memory.request``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from holdfast.core import memory
from holdfast.core.encoding import time_decode
from holdfast.core.memory import Source
from holdfast.core.memory_extraction import LANES, Message
from holdfast.core.statements import is_code, is_run_id
from holdfast.errors import RefusedError, UsageError
from holdfast.nodes.memory.service import Conversation, Query

MOST_MESSAGES = 1_000
MOST_FOUND = 100
LABEL_BYTES = 256
FOUND = ("earned", "aging", "background", "contradicted")
"""Standings of rows that a search can find; those that were withdrawn are listed, and not found."""


def wrong(param: str, message: str) -> UsageError:
    """A request that makes no sense in this member."""
    return UsageError("memory.request", message, param=param)


def text_of(body: Mapping[str, Any], name: str, most_bytes: int = LABEL_BYTES) -> str:
    """A text that has to be there."""
    value = body.get(name)
    if not isinstance(value, str) or not memory.is_text(value, most_bytes):
        raise wrong(name, f"{name} is text of 1 to {most_bytes} bytes")
    return value


def label_of(body: Mapping[str, Any], name: str) -> str | None:
    """A label that may be missing; an empty one counts as missing, since clients of MemSync send those."""
    return None if body.get(name) in (None, "") else text_of(body, name)


def flag_of(body: Mapping[str, Any], name: str, *, default: bool) -> bool:
    """true or false."""
    value = body.get(name, default)
    if not isinstance(value, bool):
        raise wrong(name, f"{name} is true or false")
    return value


def categories_of(body: Mapping[str, Any], name: str = "categories") -> tuple[str, ...]:
    """Known categories, each once."""
    value = body.get(name)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) and item in memory.FRESH_DAYS for item in value):
        raise wrong(name, f"{name} are some of {', '.join(memory.FRESH_DAYS)}")
    return tuple(sorted(set(value)))


def kind_of(body: Mapping[str, Any], name: str) -> str:
    """``semantic`` or ``episodic``."""
    if body.get(name) not in memory.KINDS:
        raise wrong(name, f"{name} is semantic or episodic")
    return str(body[name])


def run_of(body: Mapping[str, Any]) -> str | None:
    """A run's id, or nothing."""
    value = body.get("run")
    if value is not None and not is_run_id(value):
        raise wrong("run", "run is the id of a run")
    return value


def conversation_of(body: Mapping[str, Any], user: str) -> Conversation:
    """MemSync's ``POST /memories``; ``run`` stands in the body or in its metadata. Where ``user`` stands in it, it is
    that of the key (``memory.owner``)."""
    if body.get("user", user) != user:
        raise RefusedError("memory.owner", "this key is of another user", hint="name the user whose key it is")
    metadata = body.get("metadata") if isinstance(body.get("metadata"), dict) else {}
    run = run_of(body) or run_of(metadata or {})
    return Conversation(
        messages_of(body.get("messages")),
        label_of(body, "agent_id"),
        label_of(body, "thread_id"),
        label_of(body, "source"),
        run,
    )


def messages_of(value: Any) -> tuple[Message, ...]:
    """Messages with a role and text; of content in parts the texts."""
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_MESSAGES:
        raise wrong("messages", f"messages are a list of 1 to {MOST_MESSAGES}")
    found = []
    for item in value:
        content = item.get("content") if isinstance(item, dict) else None
        if isinstance(content, list):
            texts = [part.get("text") for part in content if isinstance(part, dict)]
            content = "\n".join(text for text in texts if isinstance(text, str))
        role = item.get("role") if isinstance(item, dict) else None
        if not isinstance(content, str) or not isinstance(role, str):
            raise wrong("messages", "a message has a role and content")
        if role in LANES:
            found.append(Message(role, content))
    return tuple(found)


def query_of(body: Mapping[str, Any]) -> Query:
    """MemSync's ``POST /memories/search``, with ``standings`` and ``run``."""
    limit = body.get("limit", 10)
    if type(limit) is not int or not 1 <= limit <= MOST_FOUND:
        raise wrong("limit", f"limit is 1 to {MOST_FOUND}")
    standings = body.get("standings")
    if standings is None:
        standings = Query("").standings
    elif not isinstance(standings, list) or not standings or not set(FOUND).issuperset(map(str, standings)):
        raise wrong("standings", f"standings are some of {', '.join(FOUND)}")
    return Query(
        text_of(body, "query", 8_192),
        limit,
        categories_of(body),
        tuple(standings),
        label_of(body, "agent_id"),
        label_of(body, "thread_id"),
        flag_of(body, "rerank", default=False),
        flag_of(body, "include_bio", default=True),
        run_of(body),
    )


def claim_of(body: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """One claim to be written down as it is, and what is said about it."""
    members: dict[str, Any] = {}
    if body.get("categories") is not None:
        members["categories"] = categories_of(body)
    if body.get("type") is not None:
        members["kind"] = kind_of(body, "type")
    if body.get("slot") is not None:
        if not is_code(body["slot"]):
            raise wrong("slot", "slot is a code: lower case, digits, hyphens")
        members["slot"] = body["slot"]
    if body.get("expires_at") is not None:
        time_decode(body["expires_at"])
        members["expires"] = body["expires_at"]
    labels = {"agent": "agent_id", "thread": "thread_id", "origin": "source"}
    members |= {name: label_of(body, member) for name, member in labels.items()}
    if body.get("derived_from") is not None:
        members["derived_from"] = ids_of(body, "derived_from")
    return text_of(body, "memory", memory.MAX_CLAIM_BYTES), members


def ids_of(body: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Ids of rows."""
    value = body.get(name)
    if not isinstance(value, list) or not 0 < len(value) <= MOST_MESSAGES or not all(map(memory.is_row_id, value)):
        raise wrong(name, f"{name} is a list of ids of rows")
    return tuple(dict.fromkeys(value))


def change_of(body: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """MemSync's ``PATCH /memories/{id}``: what changes, and what is sent and not kept here."""
    change: dict[str, Any] = {}
    if body.get("content") is not None:
        change["claim"] = text_of(body, "content", memory.MAX_CLAIM_BYTES)
    if body.get("categories") is not None:
        change["categories"] = categories_of(body)
    elif body.get("category") is not None:
        change["categories"] = categories_of({"category": [body["category"]]}, "category")
    for name in ("memory_type", "type"):
        if body.get(name) is not None:
            change["kind"] = kind_of(body, name)
    ignored = sorted(body.keys() - {"content", "categories", "category", "memory_type", "type"})
    if not change:
        raise wrong("content", "nothing changes: give content, category or memory_type")
    return change, ignored


def number_of(request: Request, name: str, default: int, most: int) -> int:
    """A whole number from 1 in the query."""
    text = request.query_params.get(name, str(default))
    if not text.isascii() or not text.isdigit() or len(text) > 9 or not 1 <= int(text) <= most:
        raise wrong(name, f"{name} is a whole number from 1 to {most}")
    return int(text)


def time_of(body: Mapping[str, Any], name: str) -> str | None:
    """A time as it is written, or nothing. Raises ``encoding.time``."""
    value = body.get(name)
    if value is not None:
        time_decode(value)
    return value


def source_of(body: Mapping[str, Any]) -> Source:
    """Fresh evidence: exactly what a source has. Raises ``memory.source``."""
    return memory.parse_source(body)
