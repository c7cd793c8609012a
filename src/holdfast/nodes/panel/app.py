"""The panel's HTTP shape towards browsers and programs: JSON twins, the live stream, asking, bundles, the guard.

The pages themselves are ``holdfast.web.app``; it adds its routes to these and puts the same guard around both.

Rules:

* Every answer carries the security headers; nothing external can be loaded, framed or posted to.
* Host, session and origin are checked before a handler runs (``access.py`` says how).
* A stream ends upstream within one event-loop turn of the reader's going away.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, Router

from holdfast.errors import HoldfastError, MalformedError, RefusedError, UsageError
from holdfast.nodes.edge import (
    App,
    Edge,
    Limits,
    Message,
    Receive,
    Scope,
    Send,
    bearer_token,
    error_response,
    http_error,
    json_response,
    read_json,
    standard_routes,
    unexpected,
)
from holdfast.nodes.panel import views
from holdfast.nodes.panel.access import Session
from holdfast.nodes.panel.cases import case_routes
from holdfast.nodes.panel.faucet import give
from holdfast.nodes.panel.live import agent_route, live_routes
from holdfast.nodes.panel.memory import carrying, pass_on
from holdfast.nodes.panel.nonces import drawn
from holdfast.nodes.panel.openapi import document
from holdfast.nodes.panel.paying import asking_headers
from holdfast.nodes.panel.people import FRESH, PROGRAMS, SIGN_IN_PREFIX, ActRoute, check_routes
from holdfast.nodes.panel.routing import routing
from holdfast.nodes.panel.sealed import keys_answer, read_sealed
from holdfast.nodes.panel.sealed import require as require_relay
from holdfast.nodes.panel.service import PanelService
from holdfast.nodes.panel.sessions import session_routes
from holdfast.nodes.panel.webhooks import webhook_routes

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
    "trusted-types 'none'"
)
"""Nothing inline, nothing external, no HTML made from strings by a script (CSP level 3, Trusted Types). Images may
stand in a page itself: those that models made, whose bytes are nowhere else."""
SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
"""On every answer."""
PAGE_HEADERS = (
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=(), clipboard-write=(self)"),
)
"""On every answer but scripts and style sheets, which no browser takes for a page: a page loads dozens of them.
``same-origin`` and not ``no-referrer``: the latter makes browsers send ``Origin: null``."""
NEVER_PAGES = (b"text/javascript", b"text/css")
PROBES = frozenset({"/healthz", "/readyz"})
"""Paths that answer under any host name and without a session; probes use addresses."""
SIGN_IN = frozenset({"/sign-in", "/sign-in/code", "/v1/session"})
"""Where somebody without a session gets one."""
MAX_MESSAGES = 400
"""Messages in one question with its conversation."""

Refusal = Callable[[Scope, HoldfastError], Response | None]
"""Makes a page of an error, or nothing to have it as JSON."""


class Headers:
    """Outermost ASGI wrapper: the security headers on every answer, errors included; nothing is stored by default."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry point."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", []), *SECURITY_HEADERS]
                media_type = next((value for name, value in headers if name == b"content-type"), b"")
                if not media_type.startswith(NEVER_PAGES):
                    headers += PAGE_HEADERS
                if not any(name == b"cache-control" for name, _ in headers):
                    headers.append((b"cache-control", b"no-store"))
                message = {**message, "headers": headers}
            await send(message)

        await self._app(scope, receive, with_headers)


class Guard:
    """ASGI wrapper: host, session, key. Behind it ``scope["session"]`` is the reader's :class:`Session` or ``None``,
    and ``scope["key"]`` the :class:`Principal` of the API key that was shown, or ``None``."""

    def __init__(self, app: App, service: PanelService) -> None:
        self._app = app
        self._access = service.access
        self._people = service.people
        self._metrics = service.metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry point."""
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return
        scope["key"] = None
        try:
            session, fresh = await self._admit(Request(scope))
        except RefusedError as error:
            self._metrics.count("holdfast_panel_refusals_total", error.code)
            raise
        scope["session"] = session

        async def with_cookie(message: Message) -> None:
            if fresh and message["type"] == "http.response.start":
                headers = message.get("headers", [])
                if not any(name == b"set-cookie" for name, _ in headers):  # a sign-in gives its own
                    message = {**message, "headers": [*headers, *fresh]}
            await send(message)

        await self._app(scope, receive, with_cookie)

    async def _admit(self, request: Request) -> tuple[Session | None, list[tuple[bytes, bytes]]]:
        """The session and the header that begins it, if it is new. Raises ``panel.host``, ``panel.sign_in`` and, for a
        change, ``people.session`` when the session it came from is over."""
        path = request.scope["path"]
        self._access.check_host(request.headers.get("host"))
        if path.startswith("/static/"):
            return None, []
        cookie = request.cookies.get(self._access.cookie_name)
        session = await self._person(request, cookie) or self._access.read_session(cookie)
        await self._admit_key(request)
        if session is not None:
            return session, []
        if not self._access.required:
            session = self._access.open_session(signed_in=False)
            return session, [(b"set-cookie", self._access.cookie_header(session).encode())]
        if not _signs_in(path) and request.scope["key"] is None:
            self._require_bearer(request)
        return None, []

    async def _person(self, request: Request, cookie: str | None) -> Session | None:
        if self._people is None:
            return None
        try:
            return await self._people.session(cookie, used=FRESH not in request.headers)
        except RefusedError:
            if request.method in {"GET", "HEAD"} or _signs_in(request.scope["path"]):
                return None
            raise

    async def _admit_key(self, request: Request) -> None:
        """A key that is shown is looked at, and refused where it is not known. While nobody was let in, none is. What a
        proxy or browser sends along to a page and is no key is left alone."""
        header, program = request.headers.get("authorization"), request.scope["path"].startswith(PROGRAMS)
        if self._people is None or header is None or await self._people.is_unused():
            return
        if not program and not header.lower().startswith("bearer "):
            return
        request.scope["key"] = await self._people.key_holder(bearer_token(header))
        if request.scope["key"] is None and program and not self._access.required:
            raise RefusedError("people.key", "this is no API key of this panel", status=401)

    def _require_bearer(self, request: Request) -> None:
        """Programs read with the access key itself; while nobody was let in by name they take work with it too."""
        header = request.headers.get("authorization")
        reading = request.method in {"GET", "HEAD"} or request.scope["path"].startswith(PROGRAMS)
        if header is None or not reading:
            raise RefusedError("panel.sign_in", "sign in first", hint="open /sign-in, or send the key", status=401)
        self._access.sign_in(bearer_token(header))


def _signs_in(path: str) -> bool:
    """Whether this is where somebody without a session gets one."""
    return path in SIGN_IN or path.startswith(SIGN_IN_PREFIX)


class Errors:
    """ASGI wrapper that turns errors into pages where ``refusal`` makes one; else they travel on to the edge."""

    def __init__(self, app: App, refusal: Refusal) -> None:
        self._app = app
        self._refusal = refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry point."""
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except ClientDisconnect:
            raise
        except Exception as error:
            if started or scope["type"] != "http":
                raise
            shaped = _shaped(error)
            page = self._refusal(scope, shaped)
            if page is None and isinstance(error, HTTPException):
                raise  # the edge knows its headers
            if page is None:
                raise shaped from error
            await page(scope, receive, send)


def _shaped(error: Exception) -> HoldfastError:
    if isinstance(error, HoldfastError):
        return error
    return http_error(error) if isinstance(error, HTTPException) else unexpected(error)


class Live(Response):
    """A streamed answer: sends each piece as it comes and stops its source as soon as the reader is gone.

    ``source`` owns what has to be closed then; it is closed exactly once, however the answer ends.
    """

    def __init__(
        self,
        chunks: AsyncIterator[bytes],
        media_type: str,
        headers: dict[str, str] | None = None,
        source: contextlib.AsyncExitStack | None = None,
    ) -> None:
        super().__init__(None, 200, {"x-accel-buffering": "no", **(headers or {})}, media_type)
        self.raw_headers = [item for item in self.raw_headers if item[0] != b"content-length"]
        self._chunks = chunks
        self._source = source or contextlib.AsyncExitStack()

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry point."""
        pump, gone = asyncio.create_task(self._pump(send)), asyncio.create_task(_disconnected(receive))
        try:
            await asyncio.wait({pump, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            pump.cancel()
            gone.cancel()
            await asyncio.gather(pump, gone, return_exceptions=True)
            if isinstance(self._chunks, AsyncGenerator):
                await self._chunks.aclose()
            await self._source.aclose()
        if not pump.cancelled() and (error := pump.exception()) is not None:
            raise error

    async def _pump(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async for chunk in self._chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def require_change(service: PanelService, request: Request, token: str | None) -> None:
    """Refuse a change that is not ours (:meth:`Access.check_change`)."""
    session: Session | None = request.scope.get("session")
    if session is None:
        raise RefusedError("panel.sign_in", "sign in first", hint="open /sign-in", status=401)
    headers = request.headers
    service.access.check_change(
        session, headers.get("host", ""), headers.get("origin"), headers.get("sec-fetch-site"), token
    )


def _is_part(part: object) -> bool:
    """Whether a page may send this in a message: a text, or a file with its name and its bytes."""
    if not isinstance(part, dict) or part.get("type") not in ("text", "file"):
        return False
    if part["type"] == "text":
        return part.keys() == {"type", "text"} and isinstance(part["text"], str)
    file = part.get("file")
    return (
        part.keys() == {"type", "file"}
        and isinstance(file, dict)
        and file.keys() == {"filename", "file_data"}
        and all(isinstance(item, str) for item in file.values())
    )


def _says(content: object) -> str | None:
    """The words of a message; None for what a page does not send."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not content or not all(map(_is_part, content)):
        return None
    return "\n".join(part["text"] for part in content if part["type"] == "text")


def parse_messages(value: object) -> list[dict[str, Any]]:
    """The conversation a page sends: roles, texts, and files of questions. Raises ``panel.messages``."""
    if not isinstance(value, list) or not value or len(value) > MAX_MESSAGES:
        raise MalformedError("panel.messages", f"a conversation has 1 to {MAX_MESSAGES} messages", param="messages")
    messages = []
    for item in value:
        if not isinstance(item, dict) or set(item) != {"role", "content"} or _says(item["content"]) is None:
            raise MalformedError("panel.messages", "a message has a role and a text", param="messages")
        if item["role"] not in {"user", "assistant", "system"}:
            raise MalformedError("panel.messages", "a role is user, assistant or system", param="messages")
        messages.append({"role": item["role"], "content": item["content"]})
    if messages[-1]["role"] != "user" or not (_says(messages[-1]["content"]) or "").strip():
        raise MalformedError("panel.messages", "the last message is a question", param="messages")
    return messages


def parse_round_number(text: str) -> int:
    """A round number in a URL. Raises ``panel.round``."""
    if not text.isascii() or not text.isdigit() or len(text) > 18 or (len(text) > 1 and text[0] == "0"):
        raise UsageError("panel.round", "a round has a number", status=404)
    return int(text)


def data_routes(service: PanelService, described: Callable[[], dict[str, Any]] = document) -> list[BaseRoute]:
    """The routes that speak JSON, events and bundles; ``described`` gives their OpenAPI document."""

    async def openapi(_: Request) -> Response:
        return json_response(described())

    async def index(_: Request) -> Response:
        models, runs = await asyncio.gather(service.models(), service.runs())
        return json_response({"models": [model.id for model in models], "runs": [run.to_json() for run in runs]})

    async def run(request: Request) -> Response:
        return json_response((await service.run(request.path_params["run"])).to_json())

    async def payment(request: Request) -> Response:
        found = await service.payment(request.path_params["run"])
        if found is None:
            raise UsageError("panel.unpaid", "nothing was paid or offered for this run", status=404)
        return json_response(found.to_json())

    async def bundle(request: Request) -> Response:
        run_id = views.parse_run_id(request.path_params["run"])
        source = contextlib.AsyncExitStack()
        chunks = await source.enter_async_context(service.bundle(run_id))
        headers = {"content-disposition": f'attachment; filename="holdfast-{run_id}.json"'}
        return Live(chunks, "application/json", headers, source)

    async def events(request: Request) -> Response:
        runs = [views.parse_run_id(value) for value in request.query_params.getlist("run")]
        if not runs or len(runs) > service.config.max_runs_per_stream:
            limit = service.config.max_runs_per_stream
            raise UsageError("panel.events", f"name 1 to {limit} runs with ?run=", param="run")
        source = contextlib.AsyncExitStack()
        chunks = await source.enter_async_context(service.events(runs))
        return Live(chunks, "text/event-stream", source=source)

    async def ask(request: Request) -> Response:
        require_change(service, request, request.headers.get("x-holdfast-token"))
        body = await read_json(request)
        if not {"model", "messages"} <= set(body) <= {"model", "messages", "memory"} or not isinstance(
            body["model"], str
        ):
            raise MalformedError("panel.ask", "a question has a model and messages, and whose memory it is to be asked")
        messages = parse_messages(body["messages"])
        source = contextlib.AsyncExitStack()
        user = body.get("memory")
        passed_on = asking_headers(request.headers) | carrying(user, request.headers)
        passed_on |= routing(request.headers) | drawn(request.headers)
        answer = await source.enter_async_context(service.ask_streaming(body["model"], messages, passed_on, user))
        headers = ({"x-holdfast-run": answer.run} if answer.run else {}) | dict(answer.paying)
        if answer.capability is not None:
            headers["x-holdfast-capability"] = answer.capability
        if answer.refusal is not None:
            await source.aclose()
            refusal = error_response(answer.refusal)
            refusal.raw_headers += [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
            return refusal
        return Live(_answer(answer.chunks), "text/event-stream", headers, source)

    async def private_keys(_: Request) -> Response:
        return keys_answer(await require_relay(service.relay).keys())

    async def private(request: Request) -> Response:
        require_change(service, request, request.headers.get("x-holdfast-token"))
        relay = require_relay(service.relay)
        sealed, accept, streamed = await read_sealed(request)
        source = contextlib.AsyncExitStack()
        kind, pieces = await source.enter_async_context(relay.ask(sealed, accept, streamed=streamed))
        return Live(pieces, kind, {"cache-control": "no-store"}, source)

    async def faucet(request: Request) -> Response:
        require_change(service, request, request.headers.get("x-holdfast-token"))
        return await give(service.faucet, request)

    async def memory(request: Request) -> Response:
        require_change(service, request, request.headers.get("x-holdfast-token"))
        return await pass_on(service.memory, request)

    async def rounds(_: Request) -> Response:
        return json_response((await service.rounds()).to_json())

    async def round_(request: Request) -> Response:
        view = await service.round(parse_round_number(request.path_params["number"]))
        return json_response(view.to_json())

    people = service.people
    return [
        ActRoute(people, "run:read", "/index.json", index),
        ActRoute(people, "run:read", "/runs/{run}.json", run),
        ActRoute(people, "run:read", "/runs/{run}/payment.json", payment),
        ActRoute(people, "run:read", "/runs/{run}/bundle", bundle),
        ActRoute(people, "run:read", "/events", events),
        ActRoute(people, "run:ask", "/ask", ask, methods=["POST"]),
        ActRoute(people, "run:ask", "/private/keys.json", private_keys),
        ActRoute(people, "run:ask", "/private/ohttp", private, methods=["POST"]),
        ActRoute(people, "run:ask", "/pay/faucet", faucet, methods=["POST"]),
        ActRoute(people, "run:ask", "/memory/acts/{act}", memory, methods=["POST"]),
        Route("/rounds.json", rounds),
        Route("/rounds/{number}.json", round_),
        Route("/openapi.json", openapi),
        *(session_routes(people, service.access) if people is not None else ()),
        *(case_routes(service.review, people) if service.review is not None else ()),
        *(live_routes(service, service.review, _live_events) if service.review is not None else ()),
        agent_route(service, _live_events),
        *webhook_routes(service.webhooks, people),
    ]


def _live_events(chunks: AsyncIterator[bytes], source: contextlib.AsyncExitStack) -> Response:
    return Live(chunks, "text/event-stream", source=source)


async def _answer(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The answer's events; an error on the way becomes one last event, in the one error shape."""
    try:
        async for chunk in chunks:
            yield chunk
    except HoldfastError as error:
        yield b"data: " + json.dumps(error.to_json(), ensure_ascii=False).encode() + b"\n\n"


def assemble(
    service: PanelService,
    routes: Sequence[BaseRoute] = (),
    late: Sequence[BaseRoute] = (),
    refusal: Refusal | None = None,
    described: Callable[[], dict[str, Any]] = document,
    prepare: Callable[[], None] = lambda: None,
) -> App:
    """Routes, the JSON side, the guard and the edge as one ASGI app; its lifespan starts the service.

    ``late`` are matched last: ``/runs/{run}`` would otherwise take ``/runs/{run}.json``. ``prepare`` is done on a
    thread while the app answers already. Raises ``panel.route`` for a route that asks for no act and is none of the
    open ones.
    """

    @contextlib.asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        async with service.running():
            prepared = asyncio.create_task(asyncio.to_thread(prepare))
            try:
                yield
            finally:
                await prepared

    probes = standard_routes(service.readiness, service.metrics.render)
    every = [*routes, *data_routes(service, described), *probes, *late]
    check_routes(every)
    router = Router(every, redirect_slashes=False, lifespan=lifespan)
    guarded: App = Guard(router, service)
    if refusal is not None:
        guarded = Errors(guarded, refusal)
    return Headers(Edge(guarded, Limits(body_bytes=service.config.max_ask_bytes)))


def create_app(service: PanelService) -> App:
    """The panel without pages, for programs."""
    return assemble(service)
