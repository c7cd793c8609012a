"""Bodies that arrive in pieces, read as events or whole: what all adapters of ``ports.http_stream`` do the same way."""

from __future__ import annotations

from collections.abc import AsyncIterator

from holdfast.adapters._sse import SSEParser
from holdfast.errors import UnavailableError


async def read_events(pieces: AsyncIterator[bytes], max_bytes: int, where: str) -> AsyncIterator[tuple[str, bytes]]:
    """Server-sent events as they become complete. Raises ``http.too_large`` for one of more than ``max_bytes``."""
    parser = SSEParser(max_bytes)
    async for piece in pieces:
        for name, data in parser.feed(piece):
            yield name.decode("utf-8", "replace"), data
        if parser.failure is not None:
            raise UnavailableError("http.too_large", f"{where}: an event of more than {max_bytes} bytes")


async def read_body(pieces: AsyncIterator[bytes], max_bytes: int, where: str) -> bytes:
    """All of it. Raises ``http.too_large`` beyond ``max_bytes``."""
    found, size = [], 0
    async for piece in pieces:
        size += len(piece)
        if size > max_bytes:
            raise UnavailableError("http.too_large", f"{where} answered with more than {max_bytes} bytes")
        found.append(piece)
    return b"".join(found)
