"""A memory node as a panel reaches it, in one process: HTTP that ends in the node's own app."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from holdfast.client.memory import MemoryClient
from holdfast.errors import UnavailableError
from holdfast.ports.http import Answer
from tests.helpers.asgi import request
from tests.helpers.memory import MemoryWorld


class NodeHTTP:
    """Implements ``ports.http.HTTP`` over a world's app; ``sent`` is what reached it."""

    def __init__(self, world: MemoryWorld) -> None:
        self._world = world
        self.sent: list[tuple[str, str, dict[str, str]]] = []
        self.silent = False

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
        """One request, answered by the app."""
        if self.silent:
            raise UnavailableError("http.unreachable", "nobody answers")
        parts = urlsplit(url)
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        self.sent.append((method, target, dict(headers or {})))
        reply = await request(self._world.app, method, target, body, list((headers or {}).items()))
        assert timeout_s > 0
        assert len(reply.body) <= max_bytes
        return Answer(reply.status, reply.body, {name.lower(): value for name, value in reply.headers})


def asked(world: MemoryWorld) -> tuple[MemoryClient, NodeHTTP]:
    """The client of a panel in front of this node, and what it sends over."""
    http = NodeHTTP(world)
    return MemoryClient(http, "http://memory.test/"), http
