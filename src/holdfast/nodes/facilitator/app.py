"""The facilitator's HTTP shape (``spec/payments.md`` §7)."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from holdfast.core.x402 import SettleResponse
from holdfast.nodes import edge
from holdfast.nodes.edge import Edge, Limits, json_response, read_json, require_token
from holdfast.nodes.facilitator.service import FacilitatorService


def create_app(
    service: FacilitatorService,
    metrics: Callable[[], bytes] | None = None,
    close: Callable[[], Awaitable[None]] | None = None,
) -> Edge:
    """The facilitator as an ASGI app; its lifespan captures, and calls ``close`` last."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        try:
            async with service.running():
                yield
        finally:
            if close is not None:
                await close()

    limits = Limits(body_bytes=service.config.body_bytes)
    return edge.create_app(
        _routes(service), readiness=service.waiting_for, metrics=metrics, lifespan=lifespan, limits=limits
    )


def _routes(service: FacilitatorService) -> list[BaseRoute]:
    token = service.config.token

    async def body(request: Request) -> dict[str, Any]:
        """What a caller sends, once it is one."""
        if token is not None:
            require_token(request.headers.get("authorization"), token)
        return await read_json(request)

    async def verify(request: Request) -> Response:
        return json_response((await service.verify(await body(request))).to_json())

    async def settle(request: Request) -> Response:
        found = await service.settle(await body(request))
        if isinstance(found, SettleResponse):
            return json_response(found.to_json())
        return json_response({"paymentJob": found.to_json()}, 202)

    async def settle_and_wait(request: Request) -> Response:
        return json_response((await service.settle_and_wait(await body(request))).to_json())

    async def job(request: Request) -> Response:
        found = service.job(request.path_params["job"])
        return json_response(found.to_json(), headers={"cache-control": "no-store"})

    async def supported(_: Request) -> Response:
        return json_response(service.supported())

    async def health(_: Request) -> Response:
        return json_response(service.health(), headers={"cache-control": "no-store"})

    async def heartbeat(request: Request) -> Response:
        return json_response(await service.heartbeat(await body(request)))

    async def settle_data(request: Request) -> Response:
        if token is not None:
            require_token(request.headers.get("authorization"), token)
        headers = request.headers
        found = await service.settle_data(headers.get("x-settlement-type", ""), headers.get("x-settlement-data", ""))
        return json_response(found, 202)

    async def blob(request: Request) -> Response:
        raw = await service.published(request.path_params["blob"])
        return Response(raw, media_type="application/json")

    return [
        Route("/verify", verify, methods=["POST"]),
        Route("/settle", settle, methods=["POST"]),
        Route("/settle/{job}", job),
        Route("/x402/verify", verify, methods=["POST"]),
        Route("/x402/settle", settle_and_wait, methods=["POST"]),
        Route("/x402/supported", supported),
        Route("/supported", supported),
        Route("/health", health),
        Route("/heartbeat", heartbeat, methods=["POST"]),
        Route("/settle_data", settle_data, methods=["POST"]),
        Route("/v1/blobs/{blob}", blob),
    ]
