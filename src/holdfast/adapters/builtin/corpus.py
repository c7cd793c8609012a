"""The written corpus: topics with an answer, the ways people ask for it, and what comes after.

Each file in ``topics/`` holds ``[[topic]]`` tables: ``id``, ``title``, ``answer``, ``ask`` (one question a line), and
optionally ``more`` (for "tell me more"), ``next`` (the following topic of a series) and ``family`` (a word that a short
follow-up such as "and memory?" is completed with).
"""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from holdfast.errors import MalformedError

_HERE = Path(__file__).parent
_KNOWN = {"id", "title", "answer", "ask", "more", "next", "family"}


@dataclass(frozen=True, slots=True)
class Topic:
    """One thing the responder knows."""

    id: str
    title: str
    answer: str
    """Plain text or light Markdown, without surrounding white space."""
    ask: tuple[str, ...]
    """Ways to ask for it; at least eight."""
    more: str = ""
    next: str = ""
    family: str = ""


def _paragraphs(text: str) -> str:
    """Lines are joined, an empty line parts paragraphs; lines that begin with a blank or ``-`` stay as they are."""
    out: list[str] = []
    for line in text.strip("\n").rstrip().split("\n"):
        if out and line and out[-1] and not line.startswith(("- ", "    ")) and not out[-1].startswith("    "):
            out[-1] += " " + line
        else:
            out.append(line)
    return "\n".join(out)


def parse_topics(data: bytes) -> list[Topic]:
    """One topic file; raises ``corpus.topic`` for an unknown field or a missing one."""
    topics: list[Topic] = []
    for table in tomllib.loads(data.decode("utf-8"))["topic"]:
        if not {"id", "title", "answer", "ask"} <= set(table) <= _KNOWN:
            raise MalformedError("corpus.topic", f"topic {table.get('id')!r} has other fields than it should")
        asks = tuple(line.strip() for line in table["ask"].strip().split("\n"))
        topics.append(
            Topic(
                id=table["id"],
                title=table["title"],
                answer=_paragraphs(table["answer"]),
                ask=asks,
                more=_paragraphs(table.get("more", "")),
                next=table.get("next", ""),
                family=table.get("family", ""),
            )
        )
    return topics


@cache
def load_topics() -> tuple[Topic, ...]:
    """The whole corpus, in file and then document order."""
    return tuple(topic for path in sorted(_HERE.glob("topics/*.toml")) for topic in parse_topics(path.read_bytes()))


@cache
def fingerprint() -> str:
    """``hf_`` and 16 hex digits of the SHA-256 over corpus and engine source: it changes when an answer can."""
    digest = hashlib.sha256()
    for path in [*sorted(_HERE.glob("*.py")), *sorted(_HERE.glob("topics/*.toml"))]:
        data = path.read_bytes()
        digest.update(f"{path.name} {len(data)}\n".encode() + data)
    return f"hf_{digest.hexdigest()[:16]}"
