"""Content-addressed bytes: what ``individual`` settlement publishes, and anything else that is named by its digest."""

from __future__ import annotations

from typing import Protocol


class Blobs(Protocol):
    """Bytes by their SHA-256. Putting the same bytes twice is one blob; nothing is ever changed."""

    async def put(self, data: bytes) -> str:
        """Keep ``data`` durably and return its SHA-256 in hex."""
        ...

    async def get(self, digest: str) -> bytes | None:
        """The bytes with this SHA-256 (hex), checked against it, or ``None``. Raises ``blob.corrupt``."""
        ...
