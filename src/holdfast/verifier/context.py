"""The context message as a bundle shows it (``spec/context.md`` §1)."""

from __future__ import annotations

from holdfast.core import canonical
from holdfast.core.context import PREAMBLE, Block, context_of, parse_context
from holdfast.core.metadata import path_of
from holdfast.verifier.evidence import Evidence


def shown_blocks(evidence: Evidence) -> tuple[Block, ...] | None:
    """The blocks before the model; None where what was sent is not shown. Raises ``context.*``."""
    text = evidence.documents.get("sent")
    if text is not None:
        value = canonical.decode_exact(text.encode())
        content = context_of(value.get("messages") if isinstance(value, dict) else None)
        return parse_context(content) if content is not None else ()
    for part in evidence.parts.get("sent", ()):
        path = path_of(part.label)
        if path.startswith("/messages/") and path.endswith("/content") and part.data.startswith(PREAMBLE.encode()):
            return parse_context(part.data.decode())
    return None
