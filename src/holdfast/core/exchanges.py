"""What is observed of a question that went over something else than HTTP (``spec/admission.md`` §3(7)).

An observation over HTTP has ``request``, ``tls`` and ``http``; one over anything else has these as null and a member
``exchange`` besides. ``parse_exchange`` reads it, strictly.

Not covered: whether what was admitted holds (``core.admissions``), and asking (``ports.fetch``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.core import canonical
from holdfast.core.encoding import hex_decode
from holdfast.core.statements import is_code
from holdfast.errors import MalformedError

CHANNELS = {"dns": ("tcp", "udp"), "sql": ("file", "socket", "tcp", "tls")}
"""Kinds of exchanges, and what each can go over."""
MAX_FACTS, MAX_FACT = 16, 256
"""Most facts, and most characters of one."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """Question and answer over something else than HTTP. Digests are SHA-256, hex; sizes are bytes."""

    kind: str
    channel: str
    template: str
    """Of the definition's request."""
    request_digest: str
    request_size: int
    answer: tuple[str, int] | None
    """Digest and size of the body that is kept; None where no whole answer came."""
    facts: Mapping[str, str]
    """What the other side said of itself, by codes."""

    def to_json(self) -> dict[str, canonical.JSON]:
        return {
            "kind": self.kind,
            "channel": self.channel,
            "template": self.template,
            "request": {"digest": self.request_digest, "size": self.request_size},
            "answer": None if self.answer is None else {"digest": self.answer[0], "size": self.answer[1]},
            "facts": dict(self.facts),
        }


def parse_exchange(value: object) -> Exchange:
    """An exchange from its JSON object; raises ``admission.exchange`` or ``encoding.hex``."""
    item = _object(value, {"kind", "channel", "template", "request", "answer", "facts"})
    channels = CHANNELS.get(item["kind"]) if isinstance(item["kind"], str) else None
    if channels is None or item["channel"] not in channels:
        raise MalformedError("admission.exchange", f"an exchange is of a kind in {', '.join(CHANNELS)}, over its own")
    facts = item["facts"]
    if not isinstance(facts, dict) or len(facts) > MAX_FACTS or not all(map(_is_fact, facts.items())):
        raise MalformedError("admission.exchange", f"facts are at most {MAX_FACTS} codes and texts")
    digest, size = _sized(item["request"])
    return Exchange(
        kind=item["kind"],
        channel=item["channel"],
        template=hex_decode(item["template"], 32).hex(),
        request_digest=digest,
        request_size=size,
        answer=None if item["answer"] is None else _sized(item["answer"]),
        facts=facts,
    )


def _is_fact(item: tuple[str, object]) -> bool:
    name, text = item
    return is_code(name) and isinstance(text, str) and 1 <= len(text) <= MAX_FACT


def _sized(value: object) -> tuple[str, int]:
    item = _object(value, {"digest", "size"})
    if type(item["size"]) is not int or not 1 <= item["size"] <= canonical.MAX_INTEGER:
        raise MalformedError("admission.exchange", "a size is a number of bytes")
    return hex_decode(item["digest"], 32).hex(), item["size"]


def _object(value: object, members: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict) or value.keys() != members:
        raise MalformedError("admission.exchange", f"expected exactly {', '.join(sorted(members))}")
    return value
