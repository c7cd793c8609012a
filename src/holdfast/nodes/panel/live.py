"""Tells pages that something they show has moved: ``/cases/{case}/events``, ``/queues/{queue}/events`` and
``/agents/{run}/events``.

Rules:

* A stream says *that* something moved, never what: the page asks for itself again, through the same guard as always.
* Whatever a command of the desk commits is told, so that no caller can forget to.
* Whoever reads is looked at again each time, and at every heartbeat: a stream ends with the session or the role.
* At most one message every :data:`PAUSE_S`, and ``max_streams`` streams in all. A reader who goes away ends theirs at
  once.

Not covered: streams of runs, which the gateway tells (``service``).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from holdfast.errors import RefusedError, UsageError
from holdfast.nodes.panel.access import Session
from holdfast.nodes.panel.people import ActRoute, caller
from holdfast.nodes.panel.review import Review
from holdfast.nodes.panel.service import HEARTBEAT_SECONDS, PanelService
from holdfast.review.events import SYSTEM

PAUSE_S = 0.25
"""Shortest time between two messages of one stream."""
MOVED = b"event: moved\ndata: {}\n\n"
OVER = b"event: over\ndata: {}\n\n"

Stream = Callable[[AsyncIterator[bytes], contextlib.AsyncExitStack], Response]
"""Makes an answer of what is to be sent and of what has to be closed at its end."""


def live_routes(service: PanelService, review: Review, answer: Stream) -> list[BaseRoute]:
    """The two streams."""

    async def case(request: Request) -> Response:
        await caller(service.people, request, "case:read")
        found = await review.call(review.desk.case, SYSTEM, request.path_params["case"])
        return await stream(request, "case:read", found.case.id)

    async def queue(request: Request) -> Response:
        await caller(service.people, request, "queue:read")
        name = request.path_params["queue"]
        if all(queue.name != name for queue in await review.call(review.desk.queues, SYSTEM)):
            raise UsageError("panel.queue", "there is no such queue", status=404)
        return await stream(request, "queue:read", f"queue {name}")

    async def stream(request: Request, act: str, what: str) -> Response:
        source = contextlib.AsyncExitStack()
        source.enter_context(service.count_stream())
        moved = source.enter_context(review.watching(what))
        return answer(_tell(moved, lambda: _may_go_on(service, request, act)), source)

    return [
        ActRoute(service.people, "case:read", "/cases/{case}/events", case),
        ActRoute(service.people, "queue:read", "/queues/{queue}/events", queue),
    ]


def agent_route(service: PanelService, answer: Stream) -> BaseRoute:
    """The stream of an agent run: its tree, and the cases of its acts where this panel keeps any."""

    async def agent(request: Request) -> Response:
        tree = await service.agent(request.path_params["run"], within_ms=0)
        queues = {f"queue {tool.queue}" for tool in tree.head.tools if tool.queue is not None}
        source = contextlib.AsyncExitStack()
        source.enter_context(service.count_stream())
        watched = (
            contextlib.nullcontext(asyncio.Event()) if service.review is None else service.review.watching(*queues)
        )
        moved = source.enter_context(watched)
        await source.enter_async_context(service.following_agent(tree.head.run, moved))
        return answer(_tell(moved, lambda: _may_go_on(service, request, "run:read")), source)

    return ActRoute(service.people, "run:read", "/agents/{run}/events", agent)


async def _tell(moved: asyncio.Event, may_go_on: Callable[[], Awaitable[bool]]) -> AsyncIterator[bytes]:
    yield b"retry: 3000\n\n"
    while True:
        message = MOVED
        try:
            async with asyncio.timeout(HEARTBEAT_SECONDS):
                await moved.wait()
        except TimeoutError:
            message = b": still here\n\n"
        moved.clear()
        if not await may_go_on():
            yield OVER
            return
        yield message
        await asyncio.sleep(PAUSE_S)


async def _may_go_on(service: PanelService, request: Request, act: str) -> bool:
    """Whether whoever reads would still be let in, and still may."""
    session: Session | None = request.scope.get("session")
    cookie = request.cookies.get(service.access.cookie_name)
    try:
        if session is not None and session.person is not None and service.people is not None:
            if await service.people.session(cookie, used=False) is None:
                return False
        elif session is not None and service.access.required and service.access.read_session(cookie) is None:
            return False
        await caller(service.people, request, act)
    except RefusedError:
        return False
    return True
