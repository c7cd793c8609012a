"""The context message as a bundle shows it (``spec/context.md`` §1), in whatever shape it left (``dialects.md``)."""

from __future__ import annotations

import re
from typing import Any

from holdfast.core import canonical
from holdfast.core.context import PREAMBLE, Block, context_of, parse_context
from holdfast.core.metadata import path_of
from holdfast.verifier.evidence import Evidence

_PLACE = re.compile(r"/messages/[0-9]+/content|/contents/[0-9]+/parts/[0-9]+/text")


def shown_blocks(evidence: Evidence) -> tuple[Block, ...] | None:
    """The blocks before the model; None where what was sent is not shown. Raises ``context.*``."""
    text = evidence.documents.get("sent")
    if text is not None:
        value = canonical.decode_exact(text.encode())
        content = context_of(_messages(value) if isinstance(value, dict) else None)
        return parse_context(content) if content is not None else ()
    for part in evidence.parts.get("sent", ()):
        if _PLACE.fullmatch(path_of(part.label)) and part.data.startswith(PREAMBLE.encode()):
            return parse_context(part.data.decode())
    return None


def _messages(value: dict[str, Any]) -> object:
    """What was sent, as messages: of Google's shape each content of one text is one."""
    contents = value.get("contents")
    if "messages" in value or not isinstance(contents, list):
        return value.get("messages")
    return [_message(item) for item in contents]


def _message(content: object) -> object:
    parts = content.get("parts") if isinstance(content, dict) else None
    only = parts[0] if isinstance(parts, list) and len(parts) == 1 else None
    if not isinstance(content, dict) or not isinstance(only, dict) or only.keys() != {"text"}:
        return content
    return {"role": content.get("role"), "content": only["text"]}
