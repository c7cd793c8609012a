"""Content-addressed bytes: what ``individual`` settlement publishes, and anything else that is named by its digest.

Errors of all adapters: ``blob.corrupt`` (what is stored is not what was put), ``blob.lost`` (a store no longer has
what it took), ``encoding.hex`` (no digest). One that reaches over a network adds its own.
"""

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
