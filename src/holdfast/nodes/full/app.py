"""The full node's HTTP shape: C2SP tlog-witness for logs, reads of rounds for everybody.

=================================  ==================================================================================
``POST /add-checkpoint``           C2SP tlog-witness; answers as ``witness.py`` says
``GET /v1/status``                 what this node follows, does and waits for
``GET /v1/rounds``                 ``origin``, ``limit``; ``after``: final rounds from there; else newest and open
``GET /v1/rounds/{number}``        candidate, attempt, state, votes seen, own finality message
``GET /v1/finality/{number}``      the candidate and every finality message known here
``GET /v1/verdicts/{blob_id}``     the bytes of a verdict blob
``GET /v1/equivocations``          evidence against logs
=================================  ==================================================================================

Everything is public and nothing needs a key: what a full node says is signed where it matters. ``origin`` may be left
out when the node follows one log.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from holdfast.client.full import MAX_PAGE
from holdfast.core import witness
from holdfast.core.encoding import hex_decode
from holdfast.errors import MalformedError
from holdfast.nodes.edge import Edge, Limits, json_response
from holdfast.nodes.edge import create_app as create_edge
from holdfast.nodes.full.service import FullNode
from holdfast.nodes.full.witness import OldSizeError

_NUMBER = re.compile(r"(?:0|[1-9][0-9]{0,17})\Z")


def _number(text: str, name: str) -> int:
    if _NUMBER.match(text) is None:
        raise MalformedError("request.number", f"{name} is a decimal number", param=name)
    return int(text)


def create_app(node: FullNode, close: Callable[[], Awaitable[None]] | None = None) -> Edge:
    """The node's ASGI app. Its lifespan starts the node, runs its background work, and at the end calls ``close``."""

    def origin_of(request: Request) -> str:
        return node.origin(request.query_params.get("origin"))

    async def add_checkpoint(request: Request) -> Response:
        try:
            answer = await node.add_checkpoint(await request.body())
        except OldSizeError as error:
            return Response(witness.build_size(error.size), error.status, {"content-type": witness.SIZE_TYPE})
        return Response(answer, media_type="text/plain; charset=utf-8")

    async def status(_: Request) -> Response:
        return json_response(node.status())

    async def rounds(request: Request) -> Response:
        query = request.query_params
        after = _number(query["after"], "after") if "after" in query else None
        limit = _number(query["limit"], "limit") if "limit" in query else MAX_PAGE
        return json_response(node.rounds(origin_of(request), after, limit))

    async def one_round(request: Request) -> Response:
        return json_response(node.round(origin_of(request), _number(request.path_params["number"], "number")))

    async def finality(request: Request) -> Response:
        return json_response(node.finality(origin_of(request), _number(request.path_params["number"], "number")))

    async def verdicts(request: Request) -> Response:
        blob = node.verdicts(hex_decode(request.path_params["blob_id"], 32))
        headers = {"cache-control": "public, max-age=31536000, immutable"}
        return Response(blob, headers=headers, media_type="text/plain; charset=utf-8")

    async def equivocations(_: Request) -> Response:
        return json_response(node.equivocations())

    @contextlib.asynccontextmanager
    async def lifespan(_: Any) -> AsyncGenerator[None]:
        await node.start()
        work = asyncio.create_task(node.run(), name=f"full {node.document.name}")
        try:
            yield
        finally:
            work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await work
            if close is not None:
                await close()

    routes = [
        Route("/add-checkpoint", add_checkpoint, methods=["POST"]),
        Route("/v1/status", status),
        Route("/v1/rounds", rounds),
        Route("/v1/rounds/{number}", one_round),
        Route("/v1/finality/{number}", finality),
        Route("/v1/verdicts/{blob_id}", verdicts),
        Route("/v1/equivocations", equivocations),
    ]
    return create_edge(
        routes,
        readiness=node.readiness,
        metrics=node.metrics,
        lifespan=lifespan,
        limits=Limits(body_bytes=witness.MAX_REQUEST_BYTES),
    )
