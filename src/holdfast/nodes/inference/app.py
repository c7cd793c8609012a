"""The inference node's HTTP shape (``spec/inference.md`` §9). Only gateways that hold its token order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from holdfast.core.orders import parse_check_order, parse_order
from holdfast.nodes import edge
from holdfast.nodes.edge import Edge, Lifespan, Limits, Readiness, json_response, read_json, require_token
from holdfast.nodes.inference.service import InferenceService
from holdfast.ports.models import ModelSource
from holdfast.ports.settings import Secret


def create_app(
    service: InferenceService,
    source: ModelSource,
    *,
    identity: Callable[[], dict[str, Any]],
    token: Secret | None,
    limits: Limits,
    readiness: Readiness,
    lifespan: Lifespan,
    metrics: Callable[[], bytes],
) -> Edge:
    """The node as an ASGI app. Without a token nobody may order."""

    async def order(request: Request) -> dict[str, Any]:
        accepted = () if token is None else (token,)
        require_token(request.headers.get("authorization"), *accepted)
        return await read_json(request)

    async def compute(request: Request) -> Response:
        return json_response((await service.compute(parse_order(await order(request)))).to_json())

    async def recompute(request: Request) -> Response:
        return json_response((await service.recompute(parse_check_order(await order(request)))).to_json())

    async def models(_: Request) -> Response:
        found = await source.models()
        listed = [{"label": item.label, "artifact": item.artifact, "task": item.card.task} for item in found]
        return json_response({"models": listed})

    async def who(_: Request) -> Response:
        return json_response(identity())

    routes = [
        Route("/v1/compute", compute, methods=["POST"]),
        Route("/v1/recompute", recompute, methods=["POST"]),
        Route("/v1/models", models),
        Route("/v1/identity", who),
    ]
    return edge.create_app(routes, readiness=readiness, metrics=metrics, lifespan=lifespan, limits=limits)
