"""The inference node's HTTP shape (``spec/inference.md`` §9). Only gateways that hold its token order; full nodes that
hold another read proofs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from holdfast.core.encoding import hex_decode
from holdfast.core.orders import parse_check_order, parse_order
from holdfast.errors import MalformedError, UsageError
from holdfast.nodes import edge
from holdfast.nodes.edge import Edge, Lifespan, Limits, Readiness, json_response, read_json, require_token
from holdfast.nodes.inference.circuits import Circuits
from holdfast.nodes.inference.proving import Proofs
from holdfast.nodes.inference.service import InferenceService
from holdfast.ports.models import ModelSource
from holdfast.ports.settings import Secret


def create_app(
    service: InferenceService,
    source: ModelSource,
    circuits: Circuits,
    proofs: Proofs,
    *,
    identity: Callable[[], dict[str, Any]],
    token: Secret | None,
    proof_token: Secret | None,
    limits: Limits,
    readiness: Readiness,
    lifespan: Lifespan,
    metrics: Callable[[], bytes],
) -> Edge:
    """The node as an ASGI app. Without a token nobody may order."""

    def require(request: Request, *tokens: Secret | None) -> None:
        require_token(request.headers.get("authorization"), *(item for item in tokens if item is not None))

    async def order(request: Request) -> dict[str, Any]:
        require(request, token)
        return await read_json(request)

    def digest_of(request: Request) -> str:
        return hex_decode(request.path_params["digest"], 32).hex()

    async def compute(request: Request) -> Response:
        return json_response((await service.compute(parse_order(await order(request)))).to_json())

    async def recompute(request: Request) -> Response:
        return json_response((await service.recompute(parse_check_order(await order(request)))).to_json())

    async def prepare(request: Request) -> Response:
        value = await order(request)
        if value.keys() != {"model"} or not isinstance(value["model"], str):
            raise MalformedError("order.fields", "a circuit is asked for by exactly model")
        return json_response(await circuits.prepare(value["model"]))

    async def listed(request: Request) -> Response:
        require(request, token)
        return json_response({"circuits": circuits.listed()})

    async def waiting(request: Request) -> Response:
        require(request, token)
        return json_response({"waiting": proofs.waiting()})

    async def proof(request: Request) -> Response:
        require(request, token, proof_token)
        found = proofs.read(digest_of(request))
        if found is None:
            raise _unknown("proof")
        return json_response(found.to_json())

    async def taken(request: Request) -> Response:
        require(request, token)
        if not proofs.taken(digest_of(request)):
            raise _unknown("proof")
        return json_response({})

    async def artifact(request: Request) -> Response:
        require(request, token, proof_token)
        found = circuits.shown(digest_of(request))
        if found is None:
            raise _unknown("circuit")
        return json_response(found)

    async def reference_string(request: Request) -> Response:
        found = circuits.prover.reference_string(digest_of(request))
        if found is None:
            raise _unknown("reference string")
        return Response(found, media_type="application/octet-stream")

    async def models(_: Request) -> Response:
        found = await source.models()
        listed = [{"label": item.label, "artifact": item.artifact, "task": item.card.task} for item in found]
        return json_response({"models": listed})

    async def who(_: Request) -> Response:
        return json_response(identity())

    routes = [
        Route("/v1/compute", compute, methods=["POST"]),
        Route("/v1/recompute", recompute, methods=["POST"]),
        Route("/v1/circuits", prepare, methods=["POST"]),
        Route("/v1/circuits", listed),
        Route("/v1/proofs", waiting),
        Route("/v1/proofs/{digest}", proof),
        Route("/v1/proofs/{digest}/taken", taken, methods=["POST"]),
        Route("/v1/artifacts/{digest}", artifact),
        Route("/v1/srs/{digest}", reference_string),
        Route("/v1/models", models),
        Route("/v1/identity", who),
    ]
    return edge.create_app(routes, readiness=readiness, metrics=metrics, lifespan=lifespan, limits=limits)


def _unknown(what: str) -> UsageError:
    return UsageError("proof.unknown", f"this node has no such {what}", status=404)
