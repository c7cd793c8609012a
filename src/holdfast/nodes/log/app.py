"""The log's HTTP shape (``spec/log.md`` §6): static reads for everybody, writes for holders of the token."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from holdfast.core import canonical
from holdfast.core.encoding import b64_decode
from holdfast.errors import MalformedError, UnavailableError
from holdfast.nodes import edge
from holdfast.nodes.edge import Edge, Limits, error_response, json_response, require_token
from holdfast.nodes.log.service import LogService

IMMUTABLE = "public, max-age=31536000, immutable"
"""For what never changes under its path: tiles, bundles, blobs."""
FRESH = "public, max-age=1"
"""For the checkpoint (tlog-tiles: not cached beyond a few seconds)."""
_BYTES = "application/octet-stream"


def create_app(
    service: LogService,
    metrics: Callable[[], bytes] | None = None,
    close: Callable[[], Awaitable[None]] | None = None,
) -> Edge:
    """The log as an ASGI app; its lifespan recovers, publishes and closes, and calls ``close`` last."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        try:
            async with service.running():
                yield
        finally:
            if close is not None:
                await close()

    limits = Limits(body_bytes=max(service.config.request_bytes, service.config.blob_bytes))
    return edge.create_app(
        _routes(service), readiness=service.waiting_for, metrics=metrics, lifespan=lifespan, limits=limits
    )


def _require_writer(service: LogService, request: Request) -> None:
    """The bearer token, compared in constant time; without a configured one nobody writes."""
    token = service.config.token
    require_token(request.headers.get("authorization"), *([token] if token is not None else []))


def _parse_entries(body: bytes) -> list[bytes]:
    value = canonical.decode_object(body)
    if value.keys() != {"entries"} or not isinstance(value["entries"], list):
        raise MalformedError("log.request", 'expected {"entries":[base64, …]}', param="entries")
    return [b64_decode(item) for item in value["entries"]]


def _routes(service: LogService) -> list[BaseRoute]:
    async def checkpoint(_: Request) -> Response:
        return Response(
            service.checkpoint(), headers={"cache-control": FRESH, "content-type": "text/plain; charset=utf-8"}
        )

    async def tile(request: Request) -> Response:
        raw = service.tile("tile/" + request.path_params["path"])
        return Response(raw, headers={"cache-control": IMMUTABLE}, media_type=_BYTES)

    async def index(request: Request) -> Response:
        found = service.index_of(request.path_params["digest"])
        return json_response({"index": found}, headers={"cache-control": "no-store"})

    async def entries(request: Request) -> Response:
        _require_writer(service, request)
        try:
            results = await service.append(_parse_entries(await request.body()))
        except UnavailableError as error:
            response = error_response(error)
            response.headers["retry-after"] = "1"
            return response
        return json_response({"results": [result.to_json() for result in results]})

    async def put_blob(request: Request) -> Response:
        _require_writer(service, request)
        return json_response({"blob": await service.put_blob(await request.body())})

    async def blob(request: Request) -> Response:
        data = await service.blob(request.path_params["digest"])
        return Response(data, headers={"cache-control": IMMUTABLE}, media_type=_BYTES)

    async def about(_: Request) -> Response:
        return json_response(service.describe(), headers={"cache-control": "no-store"})

    return [
        Route("/checkpoint", checkpoint),
        Route("/tile/{path:path}", tile),
        Route("/v1/log", about),
        Route("/v1/index/{digest}", index),
        Route("/v1/entries", entries, methods=["POST"]),
        Route("/v1/blobs", put_blob, methods=["PUT"]),
        Route("/v1/blobs/{digest}", blob),
    ]
