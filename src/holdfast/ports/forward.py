"""Hand one request on to one server and its answer back as it comes: what a relay needs of HTTP.

Rules: no redirects, no cookies, no environment, no decompression; nothing is sent twice. What arrives of an answer is
handed out as it arrives, and no more is taken from the network while its reader is behind.

Errors: ``forward.unreachable`` (nothing was answered), ``forward.timeout``, ``forward.protocol`` (broken HTTP, or an
answer cut short), ``forward.too_large`` (the answer passed the bound), all unavailable.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Forwarded(Protocol):
    """An answer whose head has arrived."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Lower-case names; of a repeated field the last."""
        ...

    async def read(self) -> bytes:
        """What arrived since the last read, at least one byte; ``b""`` at the clean end."""
        ...

    def abort(self) -> None:
        """Drop the connection now. Harmless after the end."""
        ...


class Forwarder(Protocol):
    """One server."""

    async def post(
        self,
        path: str,
        body: bytes,
        *,
        content_type: str,
        accept: str,
        fields: tuple[tuple[str, str], ...] = (),
        timeout_s: float,
        idle_timeout_s: float,
    ) -> Forwarded:
        """POST and return as soon as the answer's head is here. ``timeout_s`` bounds the whole exchange,
        ``idle_timeout_s`` any silence in it. ``fields`` are further header fields; words of a closed set, for they are
        kept."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...
