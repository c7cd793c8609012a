"""A memory node as somebody's page reaches it: one request with the key that its owner gave, and the answer as it is.

Rules: the key is an argument of each request and kept nowhere; an answer is bytes, for an export is signed.
Not covered: what a key may do, which the node says (``spec/memory.md`` §9).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from holdfast.client.errors import parse_error
from holdfast.core import canonical
from holdfast.ports.http import HTTP

MAX_ANSWER_BYTES = 64 << 20
TIMEOUT_S = 30.0
"""Unlocking takes as long as the passphrase's cost, and a first search opens every row."""


class MemoryClient:
    """One memory node, by its base URL."""

    def __init__(self, http: HTTP, url: str, close: Callable[[], Awaitable[None]] | None = None) -> None:
        self._http = http
        self._url = url.rstrip("/")
        self._close = close

    async def send(self, method: str, path: str, key: str | None, body: canonical.JSON = None) -> bytes:
        """The body of a good answer. Raises what the node answers otherwise, and ``http.*``."""
        headers = {"content-type": "application/json"} | ({} if key is None else {"x-api-key": key})
        answer = await self._http.request(
            method,
            f"{self._url}/v1{path}",
            body=b"" if body is None else canonical.encode(body),
            headers=headers,
            timeout_s=TIMEOUT_S,
            max_bytes=MAX_ANSWER_BYTES,
        )
        if answer.status >= 400:
            raise parse_error(answer.status, answer.body, "the memory node")
        return answer.body

    async def close(self) -> None:
        """Let go of connections, where the client owns them."""
        if self._close is not None:
            await self._close()
