"""The relay's HTTP shape (``spec/relay.md`` §2). Bare ASGI, because every answer passes here; errors go through
``nodes.edge``.

Nothing here reads the caller's address, and nothing is logged of a request: see ``README.md``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any
from urllib.parse import parse_qs

from holdfast.errors import MalformedError, UnavailableError, UsageError
from holdfast.nodes.asgi import Watch, read_body, run_lifespan
from holdfast.nodes.edge import METRICS_TYPE, Edge, Limits, Receive, Scope, Send, send_error
from holdfast.nodes.relay.admission import Admission, OverQuotaError, Ticket
from holdfast.nodes.relay.credit import Credit
from holdfast.nodes.relay.service import Passage, Passages, parse_sealed
from holdfast.nodes.relay.targets import Targets
from holdfast.ports.metrics import Metrics

POSTS = ("/v1/ohttp", "/api/v1/chat/ohttp")
"""Where encapsulated requests are taken; the second is where OpenGradient's clients look."""
KEYS_TYPE = b"application/ohttp-keys"
_READS = frozenset(
    {
        "/healthz",
        "/readyz",
        "/metrics",
        "/v1/gateways",
        "/v1/identity",
        "/v1/ohttp/keys",
        "/v1/ohttp/keys/proof",
    }
)
_WATCH_AFTER_S = 0.25
"""An answer that takes longer is worth watching for a caller that goes away."""
_JSON = b"application/json"


class RelayApp:
    """Routes requests; see :func:`create_app`."""

    def __init__(
        self,
        targets: Targets,
        admission: Admission,
        passages: Passages,
        metrics: Metrics,
        credit: Credit,
        *,
        identity: Mapping[str, Any],
        readiness: Callable[[], Mapping[str, str]],
        lifespan: Callable[[], AbstractAsyncContextManager[None]],
    ) -> None:
        self._targets = targets
        self._admission = admission
        self._passages = passages
        self._metrics = metrics
        self._credit = credit
        self._identity = identity
        self._readiness = readiness
        self._lifespan = lifespan

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry point."""
        if scope["type"] == "lifespan":
            await run_lifespan(self._lifespan, receive, send)
            return
        path, method = scope["path"], scope["method"]
        allowed = "POST" if path in POSTS else "GET"
        if path not in POSTS and path not in _READS:
            raise UsageError("request.not_found", "there is nothing at this path", status=404)
        if method != allowed:
            error = UsageError("request.method", f"this path takes {allowed}", status=405, hint=f"use {allowed}")
            await send_error(send, error, [(b"allow", allowed.encode())])
        elif allowed == "POST":
            await self._relay(scope, receive, send)
        else:
            await self._read(path, scope, send)

    # Passing on

    async def _relay(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        outcome = "refused"
        try:
            ticket = self._admission.admit(headers)
            try:
                outcome = await self._pass(headers, ticket, receive, send)
            finally:
                ticket.close()
        except OverQuotaError as error:
            await send_error(send, error, [(b"retry-after", str(error.retry_after_s).encode())])
        except UnavailableError:
            outcome = "failed"
            raise
        finally:
            self._metrics.count("holdfast_relay_requests_total", outcome)

    async def _pass(self, headers: dict[bytes, bytes], ticket: Ticket, receive: Receive, send: Send) -> str:
        """One request; returns how it ended."""
        named = headers.get(b"x-tee-id")
        target = self._targets.find(named.decode("latin-1") if named is not None else None)
        self._credit.require(target)
        body = await read_body(receive)
        ticket.take_request(len(body))
        sealed = parse_sealed(headers, body)
        watch = Watch(receive, _WATCH_AFTER_S)
        passage: Passage | None = None
        try:
            passage = await self._passages.begin(target, sealed)
            await self._answer(passage, ticket, send)
        except asyncio.CancelledError:
            if not watch.gone:
                raise
            return "gone"
        finally:
            watch.stop()
            if passage is not None:
                passage.close()
        return "sealed" if passage.status < 300 else "plain"

    async def _answer(self, passage: Passage, ticket: Ticket, send: Send) -> None:
        headers = [(b"content-type", passage.content_type.encode()), (b"cache-control", b"no-store")]
        if passage.length is not None:
            headers.append((b"content-length", str(passage.length).encode()))
        if passage.retry_after is not None:
            headers.append((b"retry-after", passage.retry_after))
        await send({"type": "http.response.start", "status": passage.status, "headers": headers})
        async for piece in passage.pieces():
            ticket.take_answer(len(piece))
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    # Reading

    async def _read(self, path: str, scope: Scope, send: Send) -> None:
        if path == "/healthz":
            await _json(send, {"alive": True})
        elif path == "/readyz":
            waiting = self._readiness()
            if waiting:
                reasons = "; ".join(f"{name}: {why}" for name, why in waiting.items())
                raise UnavailableError("node.not_ready", f"waiting for {reasons}")
            await _json(send, {"ready": True})
        elif path == "/metrics":
            self._metrics.level("holdfast_relay_open", self._passages.open)
            self._metrics.level("holdfast_relay_gateways", self._targets.shown)
            if (least := self._credit.least) is not None:
                self._metrics.level("holdfast_relay_credit_usd", least)
            await _bytes(send, self._metrics.render(), METRICS_TYPE.encode())
        elif path == "/v1/gateways":
            await _json(send, {"gateways": self._targets.describe()})
        elif path == "/v1/identity":
            await _json(send, self._identity)
        else:
            shown = self._targets.keys_of(self._targets.find(_gateway(scope["query_string"])))
            if path == "/v1/ohttp/keys":
                await _bytes(send, shown.keys, KEYS_TYPE)
            else:
                await _bytes(send, shown.proof, _JSON)


def _gateway(query: bytes) -> str | None:
    """Query parameter ``gateway``; raises ``request.gateway``."""
    values = parse_qs(query.decode("latin-1"), keep_blank_values=True).get("gateway", [])
    if len(values) > 1:
        raise MalformedError("request.gateway", "gateway is named once", param="gateway")
    return values[0] if values else None


async def _json(send: Send, value: Mapping[str, Any]) -> None:
    await _bytes(send, json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(), _JSON)


async def _bytes(send: Send, body: bytes, content_type: bytes) -> None:
    headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def create_app(app: RelayApp, *, request_bytes: int, request_seconds: float) -> Edge:
    """The relay behind the shared edge."""
    return Edge(app, Limits(request_bytes, request_seconds))
