"""What nodes that speak bare ASGI share: their lifespan, reading a body, and noticing that a client went away.

Errors, limits and the rest of HTTP are the edge's (``nodes.edge``), which stands in front of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from holdfast.errors import UsageError
from holdfast.nodes.edge import Receive, Send


async def run_lifespan(lifespan: Callable[[], AbstractAsyncContextManager[None]], receive: Receive, send: Send) -> None:
    """The lifespan protocol around a node's background tasks. Raises what their start raises, after saying so."""
    await receive()
    context = lifespan()
    try:
        await context.__aenter__()
    except BaseException as error:
        await send({"type": "lifespan.startup.failed", "message": str(error)})
        raise
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await context.__aexit__(None, None, None)
    await send({"type": "lifespan.shutdown.complete"})


async def read_body(receive: Receive) -> bytes:
    """The whole body of a request; the edge has bounded it. Raises ``request.disconnected``."""
    pieces: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise UsageError("request.disconnected", "the client went away", status=400)
        pieces.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(pieces) if len(pieces) > 1 else pieces[0]


class Watch:
    """Cancels the current task when the client goes away. Starts to look only after a while: most answers are quick,
    and looking costs a task. What is being finished (``finishing``) is not cut off: :attr:`gone` tells of it then."""

    def __init__(self, receive: Receive, after_s: float, finishing: Callable[[], bool] = lambda: False) -> None:
        self.gone = False
        self._finishing = finishing
        self._receive = receive
        self._owner = asyncio.current_task()
        self._task: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(after_s, self._start)

    def _start(self) -> None:
        self._task = asyncio.create_task(self._look())

    async def _look(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        if self._owner is not None and not self._finishing():
            self._owner.cancel()

    def stop(self) -> None:
        """Look no longer."""
        self._timer.cancel()
        if self._task is not None and not self._task.done():
            self._task.cancel()
