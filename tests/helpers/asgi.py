"""Call an ASGI app without a server: one request, the whole reply.

``call`` runs in its own event loop; ``request`` is the same for code that already runs in one. Background tasks of a
lifespan are not started; use ``running`` for that.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

App = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]
]


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back. ``complete`` is false when the app stopped in the middle of the body."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    complete: bool

    def header(self, name: str) -> str | None:
        """The first header of this name."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of an error reply; asserts that it has the one error shape."""
        value = self.json()
        assert set(value) == {"error"}, value
        assert set(value["error"]) == {"message", "type", "param", "code", "hint"}, value
        assert self.header("content-type") == "application/json"
        code: str = value["error"]["code"]
        return code


async def request(
    app: App,
    method: str,
    target: str,
    body: bytes | Sequence[bytes] = b"",
    headers: Sequence[tuple[str, str]] = (),
    *,
    disconnect: bool = False,
    delay_seconds: float = 0.0,
) -> Reply:
    """Send one request. ``body`` in several pieces arrives in several messages, ``delay_seconds`` apart.

    ``disconnect`` hangs up instead of sending the last piece.
    """
    path, _, query = target.partition("?")
    pieces = [body] if isinstance(body, bytes) else list(body)
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(key.lower().encode("latin-1"), value.encode("latin-1")) for key, value in headers],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "state": {},
    }
    hang = asyncio.Event()
    sent: list[Any] = []

    async def receive() -> Any:
        if delay_seconds:
            await asyncio.sleep(delay_seconds)
        if len(pieces) == 1 and disconnect:
            return {"type": "http.disconnect"}
        if pieces:
            piece = pieces.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(pieces)}
        await hang.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    starts = [message for message in sent if message["type"] == "http.response.start"]
    assert len(starts) <= 1, "two responses to one request"
    bodies = [message for message in sent if message["type"] == "http.response.body"]
    return Reply(
        starts[0]["status"] if starts else 0,
        [(key.decode("latin-1"), value.decode("latin-1")) for key, value in starts[0].get("headers", [])]
        if starts
        else [],
        b"".join(message.get("body", b"") for message in bodies),
        bool(bodies) and not bodies[-1].get("more_body", False),
    )


def call(app: App, method: str, target: str, body: bytes | Sequence[bytes] = b"", **options: Any) -> Reply:
    """As :func:`request`, from a test that runs no event loop."""
    return asyncio.run(request(app, method, target, body, **options))


@contextlib.asynccontextmanager
async def running(app: App) -> AsyncIterator[None]:
    """Start and stop the app's lifespan around the block."""
    inbox: asyncio.Queue[Any] = asyncio.Queue()
    outbox: asyncio.Queue[Any] = asyncio.Queue()
    task = asyncio.ensure_future(
        app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, inbox.get, outbox.put)
    )
    await inbox.put({"type": "lifespan.startup"})
    started = await outbox.get()
    assert started["type"] == "lifespan.startup.complete", started
    try:
        yield
    finally:
        await inbox.put({"type": "lifespan.shutdown"})
        stopped = await outbox.get()
        await task
        assert stopped["type"] == "lifespan.shutdown.complete", stopped
