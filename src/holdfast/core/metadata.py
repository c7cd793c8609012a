"""Which parts of a turn say how it was asked and who is said to have answered, and nothing of its content.

A gateway discloses these, and no others, to the workspace of a run that is to be reviewed (``spec/sealed.md`` §3).
"""

from __future__ import annotations

import re

from holdfast.core.parts import Commitment, DisclosedPart, disclose

MOST_DISCLOSED = 64
"""Parts of one document that are disclosed so (``sealed.md`` §3)."""
SAMPLING = (
    "temperature",
    "top_p",
    "n",
    "seed",
    "max_tokens",
    "max_completion_tokens",
    "presence_penalty",
    "frequency_penalty",
    "reasoning_effort",
    "stream",
    "response_format/type",
    "tool_choice",
)
"""Members of a request that say how an answer is drawn (``sealed.md`` §3)."""
DECISION_RULE = "/holdfast/decision_rule"
"""Where a request records what a decision about it is made by (``statement.md`` §4.3(5))."""
_PATHS = {
    "request": re.compile(rf"/(?:model|{'|'.join(SAMPLING)})\Z|{DECISION_RULE}(?:/.*)?\Z", re.DOTALL),
    "response": re.compile(
        r"/(?:model|system_fingerprint)\Z|/choices/[0-9]+/finish_reason\Z|/usage(?:/.*)?\Z", re.DOTALL
    ),
}


def path_of(label: bytes) -> str:
    """The path of a part's label (``parts.md`` §3(7))."""
    return label.decode().split("|", 4)[4]


def is_metadata(document: str, label: bytes) -> bool:
    """Whether a part of this document (``request``, ``response``) is on the closed list."""
    pattern = _PATHS.get(document)
    return pattern is not None and pattern.match(path_of(label)) is not None


def disclose_metadata(document: str, commitment: Commitment) -> list[DisclosedPart]:
    """The parts on the list, the first :data:`MOST_DISCLOSED` in label order, each with its path to the root."""
    positions = [number for number, part in enumerate(commitment.parts) if is_metadata(document, part.label)]
    return [disclose(document, commitment, number) for number in positions[:MOST_DISCLOSED]]
