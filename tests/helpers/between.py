"""Somebody between a client and a server: passes everything on and changes what comes back. Sockets on loopback."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import aiohttp
from aiohttp import web


class InThread:
    """Something that serves on a loop of its own while the test waits for other processes."""

    def __init__(self) -> None:
        self._ready, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), name=type(self).__name__)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)

    async def _main(self) -> None:
        raise NotImplementedError

    async def _until_stopped(self) -> None:
        self._ready.set()
        await asyncio.to_thread(self._stop.wait)


@dataclass(frozen=True)
class Passed:
    """A good answer on its way."""

    path: str
    media: str
    """Its media type."""
    body: bytes


Change = Callable[[Passed], bytes]
"""What a liar makes of an answer's body."""


class Between(InThread):
    """Stands between a client and ``target``, passes requests on and changes the bodies of good answers.

    ``changes`` are taken one an answer, the last one for ever. ``url`` is where it listens.
    """

    url = ""

    def __init__(self, target: str, *changes: Change) -> None:
        super().__init__()
        self._target = target
        self._changes = list(changes)
        self.seen: list[bytes] = []
        """Bodies of requests."""
        self.passed: list[Passed] = []
        """Good answers as they came."""

    async def _main(self) -> None:
        async with aiohttp.ClientSession() as session:
            self._session = session
            application = web.Application(client_max_size=1 << 24)
            application.router.add_route("*", "/{path:.*}", self._answer)
            runner = web.AppRunner(application, access_log=None)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            await self._until_stopped()
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.seen.append(body)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
        async with self._session.request(
            request.method, self._target + request.path_qs, data=body, headers=headers
        ) as answer:
            came = await answer.read()
            media = answer.headers.get("content-type", "application/octet-stream")
            if answer.status == 200:
                self.passed.append(Passed(request.path, media, came))
                change = self._changes.pop(0) if len(self._changes) > 1 else self._changes[0]
                came = change(self.passed[-1])
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP}
            return web.Response(body=came, status=answer.status, headers=kept)


_HOP = {"host", "content-length", "transfer-encoding", "connection", "accept-encoding", "date", "server"}


def kept(passed: Passed) -> bytes:
    """An answer as it came."""
    return passed.body
