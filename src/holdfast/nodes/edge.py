"""The HTTP edge that all nodes share: one error shape, bounded bodies, health and metrics routes.

Rules:

* Whatever goes wrong (refused input, unknown path, wrong method, a bug), the answer is the one JSON shape of
  ``spec/conventions.md`` §6. A bug is logged under a random id; the caller learns the id and nothing else.
* A header that says who asks, or what of us, comes once: of two none is chosen.
* A body is read as it comes and refused at the limit, not after; a client that takes too long is refused too.
* Pure ASGI, one wrapper, no ``BaseHTTPMiddleware`` (one of those costs 460 us a request).

A node that speaks bare ASGI on its hot path uses :func:`send_error` and :func:`unexpected` alone.
Not covered: header size and time limits (``nodes/server.py``, below ASGI) and rate limits.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, Router

from holdfast.core import canonical
from holdfast.errors import HoldfastError, RefusedError, UnavailableError, UsageError
from holdfast.ports.settings import Secret

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Readiness = Callable[[], Mapping[str, str]]
"""What a node still waits for: a name and a sentence each. Empty means ready."""
Lifespan = Callable[[Any], AbstractAsyncContextManager[None]]

_LOG = logging.getLogger("holdfast.edge")
_JSON = (b"content-type", b"application/json")
_CLOSING = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE}
"""After these the rest of the request is unread, so the connection cannot be used again."""
_ONCE = frozenset({b"authorization", b"idempotency-key", b"x-api-key", b"x-settlement-type"})
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Prometheus text exposition format."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a caller may send, and how long they may take."""

    body_bytes: int = 4 << 20
    """Largest request body, in bytes."""
    body_seconds: float = 30.0
    """Longest time from the first read of a body to its end."""


def error_parts(error: HoldfastError) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, headers and body of an error, for nodes that speak bare ASGI."""
    body = json.dumps(error.to_json(), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    headers = [_JSON, (b"content-length", str(len(body)).encode("ascii"))]
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers.append((b"www-authenticate", b"Bearer"))
    if error.status in _CLOSING:
        headers.append((b"connection", b"close"))
    return error.status, headers, body


def error_response(error: HoldfastError) -> Response:
    """The same as a Starlette response."""
    status, headers, body = error_parts(error)
    response = Response(body, status)
    response.raw_headers = headers
    return response


async def send_error(send: Send, error: HoldfastError, extra: Sequence[tuple[bytes, bytes]] = ()) -> None:
    """Send an error as a whole response. Nothing may have been sent before."""
    status, headers, body = error_parts(error)
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *extra]})
    await send({"type": "http.response.body", "body": body})


def unexpected(error: BaseException, *, logger: logging.Logger = _LOG) -> HoldfastError:
    """Log a bug with a fresh id and return what the caller may know of it: the id."""
    error_id = secrets.token_hex(8)
    logger.error("unexpected error %s", error_id, exc_info=error, extra={"error_id": error_id})
    message = f"something went wrong on our side; it is logged as {error_id}"
    return HoldfastError("internal.error", message, hint="report this id to whoever runs this node")


def http_error(error: HTTPException) -> HoldfastError:
    """Starlette's own errors (unknown path, wrong method) in our shape."""
    match error.status_code:
        case 404:
            return UsageError("request.not_found", "there is nothing at this path", status=404)
        case 405:
            allowed = (error.headers or {}).get("Allow", "")
            return UsageError(
                "request.method", "this path does not take that method", hint=f"use {allowed}", status=405
            )
        case status:
            return UsageError("request.http", error.detail or HTTPStatus(status).phrase, status=status)


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Compact UTF-8 JSON."""
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8")
    return Response(body, status, headers, "application/json")


async def read_json(request: Request) -> dict[str, Any]:
    """The body as one JSON object, strictly decoded. Raises ``json.*`` or ``request.*``."""
    return canonical.decode_object(await request.body())


def bearer_token(authorization: str | None) -> str:
    """The token of an ``Authorization: Bearer`` header value; raises ``auth.missing`` (401)."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise RefusedError("auth.missing", "a key is needed here", hint="send Authorization: Bearer KEY", status=401)
    return token.strip()


def require_token(authorization: str | None, *accepted: Secret) -> None:
    """Compare in constant time; raises ``auth.missing`` or ``auth.wrong`` (401). No accepted token means no."""
    token = bearer_token(authorization).encode("utf-8")
    matches = [hmac.compare_digest(token, secret.reveal().encode("utf-8")) for secret in accepted]
    if not any(matches):
        raise RefusedError("auth.wrong", "this key is not known here", status=401)


def standard_routes(readiness: Readiness, metrics: Callable[[], bytes] | None = None) -> list[BaseRoute]:
    """``/healthz`` (the process answers), ``/readyz`` (it can do its work) and ``/metrics`` (Prometheus text)."""

    async def healthz(_: Request) -> Response:
        return json_response({"alive": True})

    async def readyz(_: Request) -> Response:
        waiting = readiness()
        if waiting:
            reasons = "; ".join(f"{name}: {why}" for name, why in waiting.items())
            raise UnavailableError("node.not_ready", f"waiting for {reasons}")
        return json_response({"ready": True})

    routes: list[BaseRoute] = [Route("/healthz", healthz), Route("/readyz", readyz)]
    if metrics is not None:
        render = metrics

        async def show_metrics(_: Request) -> Response:
            return Response(render(), headers={"content-type": METRICS_TYPE})

        routes.append(Route("/metrics", show_metrics))
    return routes


class Edge:
    """One ASGI wrapper around a node's app: bounds what comes in, gives every error the one shape."""

    def __init__(self, app: App, limits: Limits | None = None) -> None:
        self.app = app
        self.limits = limits or Limits()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry point."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope["app"] = self  # a Starlette router then raises for unknown paths instead of answering in plain text
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            _refuse_doubles(scope)
            self._refuse_announced_size(scope)
            await self.app(scope, _BoundedBody(receive, self.limits), watch)
        except ClientDisconnect:
            return
        except Exception as error:  # noqa: BLE001 (the last stop: nothing may leave in another shape)
            await self._answer(_single(error), send, started=started)

    def _refuse_announced_size(self, scope: Scope) -> None:
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit() and int(value) > self.limits.body_bytes:
                raise too_large(self.limits.body_bytes)

    async def _answer(self, error: Exception, send: Send, *, started: bool) -> None:
        extra: list[tuple[bytes, bytes]] = []
        if isinstance(error, HoldfastError):
            shaped = error
        elif isinstance(error, HTTPException):
            shaped = http_error(error)
            extra = [
                (b"allow", value.encode("latin-1")) for key, value in (error.headers or {}).items() if key == "Allow"
            ]
        else:
            shaped = unexpected(error)
        if started:  # too late for a status: the server closes the connection, which no client takes for an end
            _LOG.warning("response broken off: %s", shaped.code, extra={"code": shaped.code})
            return
        await send_error(send, shaped, extra)


def too_large(limit_bytes: int) -> RefusedError:
    """The refusal of a body beyond the limit."""
    message = f"the request body is larger than {limit_bytes} bytes"
    return RefusedError("request.too_large", message, status=413)


def _refuse_doubles(scope: Scope) -> None:
    """Refuse two headers of a name that says who asks, or what of us: two readers could choose two of them."""
    seen = set()
    for name, _ in scope["headers"]:
        if name.startswith(b"x-holdfast-") or name in _ONCE:
            if name in seen:
                raise UsageError("request.conflict", f"{name.decode('latin-1')[:64]} comes once", hint="send one")
            seen.add(name)


def _single(error: Exception) -> Exception:
    """The one error inside task-group wrapping, if there is exactly one."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


class _BoundedBody:
    """``receive`` that counts bytes and watches the time until the body is complete."""

    __slots__ = ("_complete", "_deadline", "_late", "_limits", "_receive", "_size_bytes")

    def __init__(self, receive: Receive, limits: Limits) -> None:
        self._receive = receive
        self._limits = limits
        self._size_bytes = 0
        self._complete = False
        self._late = False
        self._deadline: float | None = None

    async def __call__(self) -> Message:
        if self._complete:
            return await self._receive()
        message = await self._receive_in_time()
        if message["type"] == "http.request":
            self._size_bytes += len(message.get("body", b""))
            if self._size_bytes > self._limits.body_bytes:
                raise too_large(self._limits.body_bytes)
            self._complete = not message.get("more_body", False)
        return message

    async def _receive_in_time(self) -> Message:
        """One message before the deadline. What ``asyncio.timeout_at`` does, at a third of its cost: every request
        comes by here, and nearly every body is there already."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        if self._deadline is None:
            self._deadline = loop.time() + self._limits.body_seconds
        timer = loop.call_at(self._deadline, self._expire, task)
        try:
            return await self._receive()
        except asyncio.CancelledError as error:
            if not self._late or task is None or task.uncancel() > 0:  # somebody else wants the task to end
                raise
            text = f"the request body did not arrive within {self._limits.body_seconds:g} s"
            raise RefusedError("request.slow", text, status=408) from error
        finally:
            timer.cancel()

    def _expire(self, task: asyncio.Task[None] | None) -> None:
        self._late = True
        if task is not None:
            task.cancel()


def create_app(
    routes: Sequence[BaseRoute],
    *,
    readiness: Readiness,
    metrics: Callable[[], bytes] | None = None,
    lifespan: Lifespan | None = None,
    limits: Limits | None = None,
) -> Edge:
    """A node's ASGI app: its own routes, the standard ones, and this edge around them.

    ``lifespan`` is an async context manager factory that starts and stops the node's background tasks.
    """
    router = Router([*routes, *standard_routes(readiness, metrics)], redirect_slashes=False, lifespan=lifespan)
    return Edge(router, limits)
