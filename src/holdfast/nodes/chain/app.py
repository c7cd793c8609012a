"""HTTP shape of the development chain: JSON-RPC over ``POST /``, and nothing else.

Only ``application/json`` is taken, so a web page cannot reach the chain with a form or a plain-text request.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from holdfast.errors import RefusedError
from holdfast.nodes.chain.rpc import JsonRpc, unavailable
from holdfast.nodes.edge import App, Limits
from holdfast.nodes.edge import create_app as create_edge


async def _nothing() -> None:
    """Nothing to close."""


def create_app(rpc: JsonRpc, *, body_bytes: int = 8 << 20, close: Callable[[], Awaitable[None]] = _nothing) -> App:
    """The ASGI app; its lifespan starts and stops mining, and calls ``close`` at the end."""

    async def post(request: Request) -> Response:
        _require_json(request)
        answer = await rpc.answer(await request.body())
        if answer is None:
            return Response(status_code=204)
        return Response(json.dumps(answer, separators=(",", ":")).encode(), media_type="application/json")

    @contextlib.asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        await rpc.chain.start()
        try:
            yield
        finally:
            await rpc.chain.stop()
            await close()

    return create_edge(
        [Route("/", post, methods=["POST"])],
        readiness=lambda: unavailable(rpc.chain),
        lifespan=lifespan,
        limits=Limits(body_bytes=body_bytes),
    )


class Forwarder(Protocol):
    """A chain in another process."""

    failure: str | None

    async def start(self) -> None:
        """Begin; returns when it answers."""
        ...

    async def stop(self) -> None:
        """End it."""
        ...

    async def forward(self, body: bytes) -> bytes:
        """One JSON-RPC request body to its answer."""
        ...


def create_forwarding_app(process: Forwarder, *, body_bytes: int = 8 << 20) -> App:
    """The same endpoint in front of a chain in another process; its lifespan starts and stops that process."""

    async def post(request: Request) -> Response:
        _require_json(request)
        return Response(await process.forward(await request.body()), media_type="application/json")

    @contextlib.asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        await process.start()
        try:
            yield
        finally:
            await process.stop()

    return create_edge(
        [Route("/", post, methods=["POST"])],
        readiness=lambda: {"anvil": process.failure} if process.failure else {},
        lifespan=lifespan,
        limits=Limits(body_bytes=body_bytes),
    )


def _require_json(request: Request) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise RefusedError("request.content_type", "send application/json", status=415)
