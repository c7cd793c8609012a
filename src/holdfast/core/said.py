"""What a user newly says in a request, as it is handed to a memory node (``spec/recall.md`` §5).

Rules: only messages of role ``user`` behind the last one that a model or a tool wrote; of those only text, without what
is marked as a quotation, and nothing that looks like what was looked up. Each unbroken stretch stays as it stood, so
that a span found in it is a span of the message.

Not covered: finding claims (``core.memory_extraction``), and quotations that nothing marks as such.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.core import canonical
from holdfast.core.context import holds_marks
from holdfast.errors import MalformedError, RefusedError

ANSWERS = frozenset({"assistant", "tool", "function"})
"""Roles whose messages end what was said before (``recall.md`` §5(4))."""
MAX_STRETCHES, MAX_SAID_BYTES = 64, 65_536
_QUOTED = re.compile(r"\s*>")
_FENCE = re.compile(r"\s*(```|~~~)")


@dataclass(frozen=True, slots=True)
class Saying:
    """What is handed over: the run, whose words, and the words."""

    run: str
    user: str
    said: tuple[str, ...]

    def to_json(self) -> dict[str, canonical.JSON]:
        """The body of ``POST /v1/memories`` (``memory.md`` §9(3))."""
        messages: list[canonical.JSON] = [{"role": "user", "content": text} for text in self.said]
        return {"run": self.run, "user": self.user, "source": "gateway", "messages": messages}


@dataclass(frozen=True, slots=True)
class Kept:
    """What a memory node made of it: how many rows it added and renewed."""

    added: int
    renewed: int


def parse_kept(value: Mapping[str, Any]) -> Kept:
    """The node's answer. Raises ``said.answer``."""
    added, renewed = value.get("memories"), value.get("renewed")
    if not isinstance(added, list) or not isinstance(renewed, list):
        raise MalformedError("said.answer", "a memory node tells which rows it added and renewed")
    return Kept(len(added), len(renewed))


def said_in(request: Mapping[str, Any]) -> tuple[str, ...]:
    """The stretches that a user newly says in a chat request. Raises ``said.nothing`` and ``said.size``."""
    found = [stretch for text in _new(request.get("messages")) for stretch in _stretches(text)]
    if not found:
        raise RefusedError("said.nothing", "the user says nothing new in this request")
    if len(found) > MAX_STRETCHES or sum(len(text.encode("utf-8", "replace")) for text in found) > MAX_SAID_BYTES:
        raise RefusedError("said.size", f"at most {MAX_SAID_BYTES} bytes in {MAX_STRETCHES} stretches are handed over")
    return tuple(found)


def _new(messages: object) -> list[str]:
    """Texts of the user's messages that nobody has answered yet."""
    listed: Sequence[Any] = messages if isinstance(messages, list) else []
    texts: list[str] = []
    for message in listed:
        role = message.get("role") if isinstance(message, dict) else None
        if role in ANSWERS:
            texts.clear()
        elif role == "user" and not holds_marks([message]):
            texts += _texts(message.get("content"))
    return texts


def _texts(content: object) -> list[str]:
    """A message's text, or each text among its parts: a file or an image says nothing in its user's words."""
    if isinstance(content, str):
        return [content]
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, dict) and part.get("type") == "text"]
    return [text for text in texts if isinstance(text, str)]


def _stretches(text: str) -> list[str]:
    """What stands between quotations: lines that begin with ``>``, and what is fenced."""
    found: list[str] = []
    own: list[str] = []
    fence = ""
    for line in text.split("\n"):
        mark = _FENCE.match(line)
        if mark is not None and fence in ("", mark[1]):
            fence = "" if fence else mark[1]
        elif not fence and _QUOTED.match(line) is None:
            own.append(line)
            continue
        found.append("\n".join(own))
        own = []
    found.append("\n".join(own))
    return [stretch for stretch in found if stretch.strip()]
