"""The same request again: what the header ``idempotency-key`` promises (``spec/agents.md`` §7).

A key is known by a name that is derived from it and from what authorises whoever sends it, so another's key is another.
What was asked under it, and the capability that it was answered with, stand in the opening that it led to; the
capability is encrypted under the key, which is not kept: whoever sends it again can be told it again, and nobody else.

One request at a time is answered under one key, and is answered to its end even where its caller goes away.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from holdfast.core.encoding import b64_decode, b64_encode
from holdfast.core.parts import derive_salt
from holdfast.core.sealing import open_document, seal_document
from holdfast.errors import MalformedError, UsageError
from holdfast.nodes.gateway.opengradient import SETTLEMENT_HEADER
from holdfast.nodes.gateway.request import OPTION_HEADERS

HEADER = b"idempotency-key"
_TEXT = re.compile(rb"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?\Z")
_COUNTS = (*OPTION_HEADERS, SETTLEMENT_HEADER)
"""Headers that say what is asked."""


@dataclass(frozen=True, slots=True)
class Retry:
    """A key that came with a request."""

    name: str
    """What it is known by (hex)."""
    asked: str
    """What was asked under it (hex)."""
    root: bytes

    def kept(self, run: str, secret: bytes | None = None) -> dict[str, str]:
        """What a record keeps of it: ``secret`` is the capability that is told again."""
        own = {"name": self.name, "asked": self.asked}
        return own if secret is None else {**own, "secret": b64_encode(seal_document(self._key(run), "retry", secret))}

    def require_same(self, kept: Mapping[str, str]) -> None:
        """Raises ``agent.key`` where something else was asked under it."""
        if not hmac.compare_digest(kept["asked"], self.asked):
            raise UsageError(
                "agent.key",
                "something else was asked under this idempotency key",
                status=422,
                hint="a key belongs to one request: take a new one for another",
            )

    def secret(self, run: str, kept: Mapping[str, str]) -> bytes:
        """The capability that was answered under it."""
        return open_document(self._key(run), "retry", b64_decode(kept["secret"]))

    def _key(self, run: str) -> bytes:
        """Of one run: a key that was given back seals another's secret later."""
        return derive_salt(self.root, f"retry/{run}", 32)


def parse_retry(headers: Mapping[bytes, bytes], authority: bytes, path: str, body: bytes) -> Retry | None:
    """The key of a request, None where it brings none; ``authority`` is what lets its sender ask. Raises
    ``request.idempotency``."""
    given = headers.get(HEADER)
    if given is None:
        return None
    text = given[1:-1] if len(given) > 1 and given[:1] == given[-1:] == b'"' else given
    if _TEXT.match(text) is None:
        raise MalformedError("request.idempotency", "an idempotency key is 1 to 255 printable ASCII characters")
    root = hmac.digest(authority, b"\0".join((b"holdfast/retry", path.encode(), text)), "sha256")
    told = hmac.new(derive_salt(root, "retry-asked", 32), digestmod=hashlib.sha256)
    for header in _COUNTS:
        value = headers.get(header)
        told.update(b"-" if value is None else b"%d:%s" % (len(value), value))
    told.update(body)
    return Retry(derive_salt(root, "retry-name", 32).hex(), told.hexdigest(), root)


class Turnstile:
    """Lets one request through at a time for each name."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(self, retry: Retry | None, work: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
        """What ``work`` answers; it goes on where whoever waits for it is cut off, so that what it makes durable is
        known too."""
        task = asyncio.ensure_future(self._alone(retry, work))
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    async def _alone(self, retry: Retry | None, work: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
        if retry is None:
            return await work()
        async with self.alone(retry.name):
            return await work()

    @asynccontextmanager
    async def alone(self, name: str) -> AsyncIterator[None]:
        """Wait until nobody else is let through under a name."""
        lock, waiting = self._locks.get(name, (asyncio.Lock(), 0))
        self._locks[name] = (lock, waiting + 1)
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._locks[name]
            if waiting == 1:
                del self._locks[name]
            else:
                self._locks[name] = (lock, waiting - 1)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited was told; where nobody waits any more, there is nobody to tell
