"""The listener for deliveries that start workflows (``spec/workflows.md`` §6(4)): ``POST /hooks/NAME``.

Who may start something is decided by signatures (``agents.workflows.hooks``); here a body becomes bytes, and an answer
has the one error shape.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from holdfast.agents.workflows.hooks import MAX_BODY_BYTES, Hook
from holdfast.cli.listening import open_listener
from holdfast.errors import UsageError
from holdfast.nodes.edge import Edge, Limits, create_app, json_response
from holdfast.nodes.server import make_server


def hooks_app(hooks: Mapping[str, Hook]) -> Edge:
    """The ASGI app: one path for each workflow."""

    async def take(request: Request) -> Response:
        hook = hooks.get(request.path_params["name"])
        if hook is None:
            raise UsageError("workflow.unknown", "no workflow of this name starts by deliveries", status=404)
        cause = hook.take(request.headers, await request.body())
        return json_response({"delivery": cause.key}, status=202)

    routes = [Route("/hooks/{name}", take, methods=["POST"])]
    return create_app(routes, readiness=dict, limits=Limits(body_bytes=MAX_BODY_BYTES, body_seconds=30))


@contextlib.asynccontextmanager
async def serving_hooks(hooks: Mapping[str, Hook], host: str, port: int) -> AsyncIterator[str]:
    """Listen; the base URL. Raises ``node.listen``."""
    listener, url = open_listener(host, port)
    server = make_server(hooks_app(hooks))
    task = asyncio.ensure_future(server.serve(sockets=[listener]))
    try:
        yield url
    finally:
        server.should_exit = True
        await task
