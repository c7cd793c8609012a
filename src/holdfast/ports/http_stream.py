"""Server-sent events over HTTP, one answer at a time: what a client of the gateway needs to read a stream.

Rules: no redirects, no cookies, no environment, no retries; every event is bounded; nothing is believed. The status and
the headers are known before the first event; an answer that is no event stream can be read whole instead.

Errors: ``http.unreachable`` (no answer, or it broke off), ``http.too_large`` (an event or body passed the bound), both
unavailable; ``http.certificate`` (the other end's certificate is not one that is good here, and nothing was sent),
refused.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol


class EventAnswer(Protocol):
    """An answer whose head has arrived."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Lower-case names; of a repeated field the last."""
        ...

    def events(self) -> AsyncIterator[tuple[str, bytes]]:
        """(event name, empty when none was given; data) until the answer ends."""
        ...

    async def body(self) -> bytes:
        """The whole body, instead of :meth:`events`."""
        ...

    def pieces(self) -> AsyncIterator[bytes]:
        """The body as it arrives, in whatever pieces, instead of :meth:`events`; whoever asks bounds it."""
        ...


class EventHTTP(Protocol):
    """Opens answers that stream."""

    def open(
        self,
        method: str,
        url: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 30.0,
        idle_timeout_s: float = 120.0,
        max_bytes: int = 1 << 20,
    ) -> AbstractAsyncContextManager[EventAnswer]:
        """Send; the answer is open inside the context. ``timeout_s`` bounds the wait for its head, ``idle_timeout_s``
        any silence after it, ``max_bytes`` one event or the whole body."""
        ...
