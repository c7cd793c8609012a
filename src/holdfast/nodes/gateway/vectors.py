"""Answers that are vectors, of upstreams: held against what was asked before anything of them is bound
(``spec/embeddings.md`` §2).

Not covered: vectors that an inference node computed (``computing``).
"""

from __future__ import annotations

from typing import Any

from holdfast.core.vectors import ENDPOINT, parse_vectors_answer, parse_vectors_request
from holdfast.errors import MalformedError, UnavailableError
from holdfast.nodes.gateway.request import Ask


def hold_vectors(ask: Ask, answer: Any) -> None:
    """Raises ``upstream.embeddings`` for an answer that is not the vectors that were asked for. Answers of other
    endpoints are none of its business."""
    if ask.endpoint != ENDPOINT:
        return
    try:
        parse_vectors_answer(answer if isinstance(answer, dict) else {}, parse_vectors_request(ask.value))
    except MalformedError as error:
        message = f"the upstream's vectors cannot be delivered: {error.message}"
        raise UnavailableError("upstream.embeddings", message, status=502) from error
