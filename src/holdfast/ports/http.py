"""A plain HTTP client for small, bounded exchanges between nodes: log tiles, checkpoints, witnesses, rounds, outboxes.

Rules: no redirects, no cookies, no environment, no retries; the whole answer is read and bounded; any status is an
answer. Whoever calls decides what an answer is worth: nothing here is believed.

Errors: ``http.unreachable`` (no whole answer came), ``http.too_large`` (it passed the bound), both unavailable;
``http.certificate`` (the other end's certificate is not one that is good here, and nothing was sent), refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Lower-case names; of a repeated field the last."""


class HTTP(Protocol):
    """Sends one request and returns the whole answer."""

    async def request(
        self,
        method: str,
        url: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 10.0,
        max_bytes: int = 1 << 20,
    ) -> Answer:
        """Send and wait for the end of the answer; ``timeout_s`` bounds everything together."""
        ...
