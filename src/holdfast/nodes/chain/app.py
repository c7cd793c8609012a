"""HTTP shape of the development chain: JSON-RPC over ``POST /``, beside it health and metrics, and nothing else.

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
from holdfast.ports.metrics import Metrics


async def _nothing() -> None:
    """Nothing to close."""


def create_app(
    rpc: JsonRpc, metrics: Metrics, *, body_bytes: int = 8 << 20, close: Callable[[], Awaitable[None]] = _nothing
) -> App:
    """The ASGI app; its lifespan starts and stops mining, and calls ``close`` at the end."""

    async def post(request: Request) -> Response:
        _require_json(request)
        answer = await rpc.answer(await request.body())
        metrics.count("holdfast_chain_requests_total")
        if answer is None:
            return Response(status_code=204)
        return Response(json.dumps(answer, separators=(",", ":")).encode(), media_type="application/json")

    def render() -> bytes:
        head, (executable, future) = rpc.chain.head, rpc.chain.pool_counts()
        metrics.level("holdfast_chain_ready", 0 if unavailable(rpc.chain) else 1)
        metrics.level("holdfast_chain_block_number", head.number)
        metrics.level("holdfast_chain_block_time_seconds", head.time)
        metrics.level("holdfast_chain_pool_transactions", executable, "executable")
        metrics.level("holdfast_chain_pool_transactions", future, "future")
        return metrics.render()

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
        metrics=render,
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


def create_forwarding_app(process: Forwarder, metrics: Metrics, *, body_bytes: int = 8 << 20) -> App:
    """The same endpoint in front of a chain in another process; its lifespan starts and stops that process."""

    async def post(request: Request) -> Response:
        _require_json(request)
        answer = await process.forward(await request.body())
        metrics.count("holdfast_chain_requests_total")
        return Response(answer, media_type="application/json")

    def render() -> bytes:
        metrics.level("holdfast_chain_ready", 0 if process.failure else 1)
        return metrics.render()

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
        metrics=render,
        limits=Limits(body_bytes=body_bytes),
    )


def _require_json(request: Request) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise RefusedError("request.content_type", "send application/json", status=415)
