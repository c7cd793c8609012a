"""The gateway's HTTP shape. Bare ASGI, because every answer passes here; errors go through ``nodes.edge``.

The request and answer bodies are OpenAI's; ours is the ``holdfast`` member and the ``x-holdfast-*`` headers.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, quote

from holdfast.core import canonical
from holdfast.core.messages import ENDPOINT as MESSAGES
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UnavailableError, UsageError
from holdfast.nodes.asgi import Watch, read_body, run_lifespan
from holdfast.nodes.edge import METRICS_TYPE, Edge, Limits, Receive, Scope, Send, send_error
from holdfast.nodes.gateway.agent_tree import MOST_LISTED
from holdfast.nodes.gateway.alpha import PREFIX as ALPHA_RESULTS
from holdfast.nodes.gateway.alpha import AlphaResults
from holdfast.nodes.gateway.attestations import MAX_NONCE_BYTES
from holdfast.nodes.gateway.checkout import Checkout, payment_headers
from holdfast.nodes.gateway.desk import RunDesk
from holdfast.nodes.gateway.files_app import FilesApp, refuse_shared
from holdfast.nodes.gateway.influence import Influence, parse_influence
from holdfast.nodes.gateway.keys import PERSON, Caller, Workspaces
from holdfast.nodes.gateway.models import find_model, list_models
from holdfast.nodes.gateway.oblivious import ORIGIN, SealedOrigin
from holdfast.nodes.gateway.openapi import document
from holdfast.nodes.gateway.opengradient_reads import PATHS as OPENGRADIENT_READS
from holdfast.nodes.gateway.opengradient_reads import Surface
from holdfast.nodes.gateway.request import IMAGES, parse_ask
from holdfast.nodes.gateway.rerun import Rerun, parse_rerun
from holdfast.nodes.gateway.service import ENDED_IN_ORDER, Gateway, Run
from holdfast.nodes.gateway.traces import PATH as TRACES
from holdfast.nodes.gateway.turn import attach
from holdfast.nodes.messages import MessagesErrors, check_version, key_of, named_event
from holdfast.ports.metrics import Metrics
from holdfast.ports.run_index import RunRow

ENDPOINTS = {
    "/v1/chat/completions": "chat.completions",
    "/v1/completions": "completions",
    "/v1/images/generations": IMAGES,
    "/v1/messages": MESSAGES,
    "/v1/infer": "inference",
    "/v1/embeddings": "embeddings",
    "/v1/classify": "classifications",
}
"""Paths that answer, and the endpoint that statements name."""
_READS = {
    "/healthz",
    "/readyz",
    "/metrics",
    "/openapi.json",
    "/v1/account",
    "/v1/agents",
    "/v1/attestation",
    "/v1/identity",
    "/v1/models",
    "/v1/network",
    "/v1/openings",
    "/v1/prices",
    "/v1/runs",
    *OPENGRADIENT_READS,
}
_READ_BY_ANY_KEY = frozenset({"/v1/models", "/v1/network"})
"""What a key is needed for, and any key will do."""
_MODEL = re.compile(r"/v1/models/(.{1,512})\Z")
_RUN = re.compile(r"/v1/runs/([^/]+)(/events|/bundle|/children|/led|/payment|/tree|/tree/events|/wrap)?\Z")
_AGAIN = re.compile(r"/v1/runs/([^/]+)/(recompute|influence)\Z")
_AGENT = re.compile(r"/v1/runs/([^/]+)/(steps|close|amend)\Z")
_NUMBER = re.compile(r"(?:0|[1-9][0-9]{0,18})\Z")
_NONCE = re.compile(rf"(?:[0-9a-f]{{2}}){{1,{MAX_NONCE_BYTES}}}\Z")
_LARGEST_POSITION = 2**63 - 1
_WATCH_AFTER_S = 0.25
"""A whole answer that takes longer is worth watching for a client that goes away."""
REQUESTER = b"x-holdfast-requester"
"""Who asks for another act, in the words of a panel (``agents.md`` §4(6))."""
_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")
_JSON_HEADER = (b"content-type", b"application/json")
_EVENT_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


class GatewayApp:
    """Routes requests; see :func:`create_app`."""

    def __init__(
        self,
        gateway: Gateway,
        desk: RunDesk,
        workspaces: Workspaces,
        metrics: Metrics,
        *,
        identity: Callable[[], Mapping[str, Any]],
        network: Callable[[], Mapping[str, Any]],
        default_model: str | None,
        settlement: str,
        readiness: Callable[[], Mapping[str, str]],
        lifespan: Callable[[], AbstractAsyncContextManager[None]],
        opengradient: Surface | None = None,
        attest: Callable[[bytes | None], Awaitable[Mapping[str, Any]]],
        rerun: Rerun | None = None,
        influence: Influence | None = None,
        checkout: Checkout | None = None,
        alpha: AlphaResults | None = None,
        files: FilesApp | None = None,
    ) -> None:
        """``checkout``: where answers cost something, who sees to it that they are paid. ``alpha``: where runs that
        contracts ask for are served, what became of them."""
        self._alpha = alpha
        self._files = files
        self._gateway = gateway
        self._desk = desk
        self._workspaces = workspaces
        self._metrics = metrics
        self._identity = identity
        self._network = network
        self._default_model = default_model
        self._settlement = settlement
        self._readiness = readiness
        self._lifespan = lifespan
        self._opengradient = opengradient
        self._signs = opengradient.signs if opengradient is not None else "never"
        self._attest = attest
        self._rerun = rerun
        self._influence = influence
        self._checkout = checkout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry point."""
        if scope["type"] == "lifespan":
            await run_lifespan(self._lifespan, receive, send)
            return
        path, method = scope["path"], scope["method"]
        if self._files is not None and (methods := self._files.methods(path)):
            await self._answer_files(self._files, methods, scope, receive, send)
            return
        endpoint = ENDPOINTS.get(path)
        again, agent = _AGAIN.match(path), _AGENT.match(path)
        asked = endpoint is not None or again is not None or agent is not None or path == TRACES
        allowed = ("GET", "POST") if path == "/v1/runs" else ("POST",) if asked else ("GET",)
        if method not in allowed:
            await _refuse_method(path, allowed, send)
        elif path == "/v1/runs" and method == "POST":
            await self._open_agent(scope, receive, send)
        elif path == TRACES:
            await self._take_spans(scope, receive, send)
        elif agent is not None:
            await self._lead_agent(agent[1], agent[2], scope, receive, send)
        elif endpoint is not None:
            await self._ask(endpoint, scope, receive, send)
        elif again is not None:
            await self._run_again(again[1], again[2], scope, receive, send)
        else:
            await self._read(path, scope, receive, send)

    # Answers

    async def _ask(self, endpoint: str, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        sealed: SealedOrigin | None = scope.get(ORIGIN)
        if endpoint == MESSAGES:
            check_version(headers)
        caller, account = self._caller(
            key_of(headers) if endpoint == MESSAGES else headers.get(b"authorization"), sealed
        )
        settlement = self._settlement if sealed is None or sealed.json_profile else "private"
        body = await read_body(receive)
        ask = parse_ask(
            endpoint,
            body,
            headers,
            default_model=self._default_model,
            settlement=settlement,
            signs="always" if sealed and sealed.json_profile and self._signs != "never" else self._signs,
        )
        checkout, visit = self._checkout, None
        try:
            if checkout is not None:
                visit = checkout.visit(scope, account, sealed=sealed is not None)
            path = sealed.path if sealed else None
            run = await self._gateway.open(ask, caller.workspace, caller.person, path, visit)
        except HoldfastError as error:
            if checkout is None or error.status != HTTPStatus.PAYMENT_REQUIRED:
                raise
            await checkout.refuse(send, error, visit)
            return
        try:
            if ask.streamed:
                await self._stream(run, receive, send)
            else:
                await self._whole(run, receive, send)
        finally:
            self._metrics.count("holdfast_gateway_runs_total", endpoint, run.outcome or "unknown")

    def _caller(self, authorization: bytes | None, sealed: SealedOrigin | None) -> tuple[Caller, str | None]:
        """Who asks, and whose credit pays. Raises ``auth.*``."""
        if sealed is not None:
            return sealed.caller, sealed.caller.workspace
        if self._checkout is not None:
            return self._checkout.caller(authorization)
        return self._workspaces.caller(authorization), None

    async def _whole(self, run: Run, receive: Receive, send: Send) -> None:
        watch = Watch(receive, _WATCH_AFTER_S, lambda: run.closing)
        try:
            body = await self._gateway.answer(run)
        except asyncio.CancelledError:
            if watch.gone:
                return
            raise
        except HoldfastError as error:
            await send_error(send, error, _run_headers(run))
            return
        finally:
            watch.stop()
        if watch.gone or _hung_up(receive):
            await self._gateway.disconnected(run)
            return
        force = run.plan.force
        lacking = await self._desk.lacking(run.id, force.show_after, force.within_s)
        if lacking:
            await self._withhold(run, lacking, send)
            return
        headers = [_JSON_HEADER, (b"content-length", str(len(body)).encode()), *_run_headers(run)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _withhold(self, run: Run, lacking: list[str], send: Send) -> None:
        """Not the answer, but what it lacks (``routes.md`` §6). The run stays, and is read by its capability."""
        hint = "the run stays: read it with its capability once its lanes have come further"
        error = UnavailableError(
            "route.withheld", f"withheld: {', '.join(lacking)} does not hold", hint=hint, status=504
        )
        body = attach(canonical.encode_known(error.to_json()), self._gateway.carrier(run))
        headers = [_JSON_HEADER, (b"content-length", str(len(body)).encode()), *_run_headers(run)]
        await send({"type": "http.response.start", "status": error.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _stream(self, run: Run, receive: Receive, send: Send) -> None:
        events = self._gateway.stream(run)
        watch = Watch(receive, 0.0, lambda: run.closing)
        try:
            try:
                first = await anext(events)
            except HoldfastError as error:  # later it is too late for another status
                await send_error(send, error, _run_headers(run))
                return
            headers = [*_EVENT_HEADERS, *_run_headers(run)]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            write = named_event if run.ask.endpoint == MESSAGES else _event
            await send({"type": "http.response.body", "body": write(first), "more_body": True})
            async for payload in events:
                await send({"type": "http.response.body", "body": write(payload), "more_body": True})
            if watch.gone:
                await self._gateway.disconnected(run)
            said = run.outcome in ENDED_IN_ORDER and run.ask.endpoint != MESSAGES
            end = b"data: [DONE]\n\n" if said else b""
            await send({"type": "http.response.body", "body": end, "more_body": False})
        except asyncio.CancelledError:
            if not watch.gone:
                raise
        finally:
            watch.stop()
            await _aclose(events)

    async def _run_again(self, run: str, what: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Have a computed run run again by another node, or a chat asked again without rows of memory: for whoever
        holds its capability, which opens what is stored."""
        capability = dict(scope["headers"]).get(b"x-holdfast-capability", b"").decode("latin-1")
        if not capability or self._rerun is None or self._influence is None:
            raise RefusedError(
                "auth.capability",
                "a run is run again for whoever holds its capability",
                hint="send x-holdfast-capability, which came with the answer",
                status=401,
            )
        row, secret = await self._desk.find(run, None, capability)
        body = await read_body(receive)
        if what == "influence":
            await _json(send, await self._influence.ask(row, secret or b"", parse_influence(body)))
        else:
            await _json(send, await self._rerun.run(row, secret or b"", parse_rerun(body)))

    # Agent runs

    async def _open_agent(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Open an agent run for a workspace's key; sealed, nobody could tell its children from others'."""
        if ORIGIN in scope:
            raise UsageError("agent.sealed", "an agent run shows which turns belong together: it is not asked sealed")
        headers = dict(scope["headers"])
        caller = self._workspaces.caller(headers.get(b"authorization"))
        body = await read_body(receive)
        agents = self._gateway.agents
        told = await agents.open(body, headers, caller.workspace, self._settlement, caller.person)
        await _json(send, told)

    async def _lead_agent(self, run: str, what: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Record a step of an agent run or close it, for whoever holds its capability; of an act, also for whoever
        holds its agent run's."""
        headers = dict(scope["headers"])
        if what == "amend" and ORIGIN not in scope:
            caller = self._workspaces.caller(headers.get(b"authorization"))
            refuse_shared(caller)
            row, _ = await self._desk.find(run, caller.workspace, None)
            requester = _requester(headers, caller)
            await _json(send, await self._gateway.agents.amend(row, await read_body(receive), headers, requester))
            return
        capability = headers.get(b"x-holdfast-capability", b"").decode("latin-1")
        if not capability or ORIGIN in scope:
            hint = "send x-holdfast-capability, which came when it was opened"
            raise RefusedError("auth.capability", "an agent run is led by its capability", hint=hint, status=401)
        agents = self._gateway.agents
        find, lead = (self._desk.find_led, agents.step) if what == "steps" else (self._desk.find, agents.close)
        row, secret = await find(run, None, capability)
        await _json(send, await lead(row, secret or b"", await read_body(receive), headers))

    async def _take_spans(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Keep spans as hints below the agent runs that they name, for a workspace's key."""
        if ORIGIN in scope:
            raise UsageError("agent.sealed", "spans show which turns belong together: they are not told sealed")
        headers = dict(scope["headers"])
        caller = self._workspaces.caller(headers.get(b"authorization"))
        told, kind = await self._gateway.traces.take(await read_body(receive), headers, caller.workspace)
        await _bytes(send, told, kind.encode())

    # Files

    async def _answer_files(
        self, files: FilesApp, methods: tuple[str, ...], scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Uploads of a workspace. Raises ``file.*``, ``auth.*`` and ``request.form``."""
        if scope["method"] not in methods:
            message = f"this path takes {' and '.join(methods)}"
            error = UsageError("request.method", message, status=405, hint=f"use {methods[0]}")
            await send_error(send, error, [(b"allow", ", ".join(methods).encode())])
            return
        if ORIGIN in scope:
            hint = "bring the file inline, as file_data"
            raise UsageError("file.sealed", "a sealed request keeps no files", hint=hint)
        caller = self._workspaces.caller(dict(scope["headers"]).get(b"authorization"))
        refuse_shared(caller)
        body, kind = await files.answer(scope, receive, caller)
        await (_bytes(send, body, kind.encode()) if isinstance(body, bytes) else _json(send, body))

    # Reading

    async def _read(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        if path == "/healthz":
            await _json(send, {"alive": True})
        elif path == "/readyz":
            waiting = self._readiness()
            if waiting:
                reasons = "; ".join(f"{name}: {why}" for name, why in waiting.items())
                raise UnavailableError("node.not_ready", f"waiting for {reasons}")
            await _json(send, {"ready": True})
        elif path == "/metrics":
            await _bytes(send, self._metrics.render(), METRICS_TYPE.encode())
        elif path == "/openapi.json":
            await _json(send, document())
        elif path == "/v1/identity":
            await _json(send, self._identity())
        elif path in OPENGRADIENT_READS and self._opengradient is not None:
            await _bytes(send, *await self._opengradient.read(path, scope["query_string"]))
        elif path.startswith(ALPHA_RESULTS):
            await self._show_result(path, send)
        elif path == "/v1/attestation":
            await _json(send, await self._attest(_nonce(scope["query_string"])))
        else:
            await self._read_guarded(path, scope, receive, send)

    async def _show_result(self, path: str, send: Send) -> None:
        """A result of a request on chain, once there is one. Raises ``alpha.off`` where no contract is served."""
        alpha = self._alpha
        if alpha is None:
            raise UsageError("alpha.off", "this gateway serves no contract", status=404)
        requested = await alpha.find(path)
        await send({"type": "http.response.start", "status": 200, "headers": [_JSON_HEADER]})
        async for piece in alpha.result(requested):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _read_guarded(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        match = _RUN.match(path)
        model = _MODEL.match(path)
        listed = path == "/v1/models" or model is not None
        if ORIGIN not in scope and (listed or path in _READ_BY_ANY_KEY) and (self._checkout is None or not listed):
            self._workspaces.name(key_of(headers))
        if model is not None:
            await _json(send, find_model(await self._models(), model[1]))
        elif listed:
            await _json(send, list_models(await self._models()))
        elif path == "/v1/network":
            await _json(send, self._network())
        elif path == "/v1/prices":
            await _json(send, self._require_checkout().prices())
        elif path == "/v1/account" and ORIGIN not in scope:
            caller = self._workspaces.caller(headers.get(b"authorization"))
            await _json(send, await self._require_checkout().account(caller))
        elif path == "/v1/runs":
            workspace = self._workspaces.reader(headers.get(b"authorization"))
            limit = _number(scope["query_string"], "limit", 20, 1, 200)
            await _json(send, await self._desk.recent(workspace, limit))
        elif path == "/v1/agents":
            await self._list_agents(self._workspaces.reader(headers.get(b"authorization")), scope["query_string"], send)
        elif path == "/v1/openings":
            workspace = self._workspaces.reader(headers.get(b"authorization"))
            after = _number(scope["query_string"], "after", 0, 0, _LARGEST_POSITION)
            limit = _number(scope["query_string"], "limit", 100, 1, 1000)
            await _json(send, await self._desk.openings(workspace, after, limit))
        elif match is not None:
            capability = headers.get(b"x-holdfast-capability", b"").decode("latin-1")
            asker = None if capability else self._asker(scope, headers)
            row, secret = await self._desk.find(match[1], asker, capability or None)
            if match[2] == "/bundle":
                await _bytes(send, await self._desk.bundle(row, secret), b"application/json")
            elif match[2] == "/children":
                spend = self._gateway.agents.spending(row)
                await _json(send, {**await self._desk.children(row), "spend": spend})
            elif match[2] == "/tree":
                await self._show_tree(row, scope["query_string"], send)
            elif match[2] == "/tree/events":
                await self._watch(self._desk.trees.events(row), _tree_event, receive, send)
            elif match[2] == "/led":
                after = _number(scope["query_string"], "after", 0, 0, _LARGEST_POSITION)
                await _json(send, await self._desk.led(row, after))
            elif match[2] == "/payment":
                await _json(send, await self._desk.payment(row, secret))
            elif match[2] == "/wrap":
                await _json(send, self._desk.wrap(row))
            elif match[2] == "/events":
                await self._watch(self._desk.events(row.run, secret), _named_event, receive, send)
            else:
                await _json(send, await self._desk.show(row, secret))
        else:
            raise _not_found(path)

    def _asker(self, scope: Scope, headers: Mapping[bytes, bytes]) -> str:
        """The workspace that asks for a run without its capability. Inside a sealed request there is none: everybody
        who comes through one relay would be it. Raises ``auth.*``."""
        if ORIGIN in scope:
            hint = "send x-holdfast-capability, which came with the answer"
            raise RefusedError(
                "auth.capability", "a sealed request reads a run by its capability", hint=hint, status=401
            )
        return self._workspaces.reader(headers.get(b"authorization"))

    async def _models(self) -> list[dict[str, Any]]:
        offers = self._gateway.catalog.models()
        if not offers:
            await self._gateway.catalog.refresh()
            offers = self._gateway.catalog.models()
        computed = await self._gateway.computing.models()
        data = [
            {
                "id": offer.model.id,
                "object": "model",
                "created": offer.model.created,
                "owned_by": offer.model.owned_by,
                "holdfast": {
                    "upstream": offer.upstream.code,
                    **({"outputs": list(offer.model.outputs)} if offer.model.outputs else {}),
                    **self._prices_of(offer.model.id),
                },
            }
            for offer in offers
        ]
        data += [
            {
                "id": offer.model.label,
                "object": "model",
                "created": 0,
                "owned_by": offer.upstream.code,
                "holdfast": {
                    "upstream": offer.upstream.code,
                    "artifact": offer.model.artifact,
                    "task": offer.model.task or "inference",
                },
            }
            for offer in computed
        ]
        return data

    def _require_checkout(self) -> Checkout:
        """Raises ``payment.off`` (404) where nothing costs anything."""
        if self._checkout is None:
            raise UsageError("payment.off", "nothing costs anything at this gateway", status=404)
        return self._checkout

    def _prices_of(self, model: str) -> dict[str, Any]:
        """What a model costs, in US dollars as its price card says it; null where it is not sold."""
        return {} if self._checkout is None else {"prices": self._checkout.prices_of(model)}

    async def _list_agents(self, workspace: str, query: bytes, send: Send) -> None:
        limit = _number(query, "limit", 20, 1, MOST_LISTED)
        before = _number(query, "before", _LARGEST_POSITION, 0, _LARGEST_POSITION)
        name, state = _text(query, "name"), _text(query, "state")
        spending = self._gateway.agents.spending
        await _json(send, await self._desk.trees.listed(workspace, name, state, before, limit, spending))

    async def _show_tree(self, row: RunRow, query: bytes, send: Send) -> None:
        after = _number(query, "after", 0, 0, _LARGEST_POSITION) if b"after=" in query else -1
        within = _number(query, "within_ms", 0, 0, 60_000) if b"within_ms=" in query else None
        tree = await self._desk.trees.tree(row, after, None if within is None else within / 1000)
        await _json(send, {**tree, "spend": self._gateway.agents.spending(row)})

    async def _watch(
        self, events: AsyncIterator[bytes], write: Callable[[bytes], bytes], receive: Receive, send: Send
    ) -> None:
        watch = Watch(receive, 0.0)
        try:
            first = await anext(events)
            await send({"type": "http.response.start", "status": 200, "headers": _EVENT_HEADERS})
            await send({"type": "http.response.body", "body": write(first), "more_body": True})
            async for view in events:
                await send({"type": "http.response.body", "body": write(view), "more_body": True})
        except asyncio.CancelledError:
            if not watch.gone:
                raise
        finally:
            watch.stop()
            await _aclose(events)


_ELSEWHERE = {
    "/v1/responses": "ask POST /v1/chat/completions: this gateway keeps no conversation and speaks no Responses",
    "/v1/messages/count_tokens": "nobody here knows how a provider counts; usage of an answer tells it",
    "/v1/messages/batches": "ask one message at a time: POST /v1/messages",
}
"""What clients may look for, and where to ask instead."""


def _not_found(path: str = "") -> UsageError:
    hint = _ELSEWHERE.get(path, "")
    if hint:
        return UsageError("request.not_offered", f"this gateway does not offer {path}", status=404, hint=hint)
    return UsageError("request.not_found", "there is nothing at this path", status=404)


async def _refuse_method(path: str, methods: Sequence[str], send: Send) -> None:
    """405 with the methods that the path takes (RFC 9110 §15.5.6), or 404 where there is no such path."""
    patterns = (_RUN, _AGAIN, _AGENT, _MODEL)
    known = path in (*ENDPOINTS, *_READS, TRACES) or any(pattern.match(path) for pattern in patterns)
    if not known:
        raise _not_found(path)
    allowed = ", ".join(methods)
    error = UsageError("request.method", f"this path takes {allowed}", status=405, hint=f"use {allowed}")
    await send_error(send, error, [(b"allow", allowed.encode())])


def _hung_up(receive: Receive) -> bool:
    """Whether the client has gone away by now: one step of ``receive``, without waiting for what it would wait for."""
    step = receive()
    if not isinstance(step, Coroutine):
        return False
    try:
        step.send(None)
    except StopIteration as answer:
        return bool(answer.value["type"] == "http.disconnect")
    step.close()
    return False


async def _aclose(events: AsyncIterator[bytes]) -> None:
    """End an async generator; what it still does on its way out must not be cut off."""
    close = getattr(events, "aclose", None)
    if close is not None:
        await asyncio.shield(asyncio.ensure_future(close()))


def _run_headers(run: Run) -> list[tuple[bytes, bytes]]:
    headers = [(b"x-holdfast-run", run.id.encode()), (b"x-holdfast-upstream", run.offer.upstream.code.encode())]
    if not run.opening.sealed:
        headers.append((b"x-holdfast-capability", run.secret.hex().encode()))
    if run.opening.queue is not None:
        headers.append((b"x-holdfast-queue", run.opening.queue.encode()))
    if run.bound.ignored:
        headers.append((b"x-holdfast-ignored", quote(",".join(run.bound.ignored), safe=",._-").encode()))
    return headers + payment_headers(run.visit)


def _event(payload: bytes) -> bytes:
    """One event. A line break in strict JSON stands between tokens, where it would end the event's ``data`` line."""
    if b"\n" in payload or b"\r" in payload:
        payload = payload.translate(_ONE_LINE)
    return b"data: " + payload + b"\n\n"


def _named_event(view: bytes) -> bytes:
    return b"event: run\ndata: " + view + b"\n\n" if view else b": still here\n\n"


def _tree_event(digest: bytes) -> bytes:
    return b"event: tree\ndata: " + digest + b"\n\n" if digest else b": still here\n\n"


def _text(query: bytes, name: str) -> str | None:
    """One text of a query string; raises ``request.name`` or ``request.state``."""
    values = parse_qs(query.decode("latin-1"), keep_blank_values=True).get(name, [])
    if len(values) > 1:
        raise MalformedError(f"request.{name}", f"{name} is named once", param=name)
    return values[0] if values else None


def _number(query: bytes, name: str, default: int, least: int, most: int) -> int:
    """One integer of a query string; raises ``request.after`` or ``request.limit``."""
    values = parse_qs(query.decode("latin-1"), keep_blank_values=True).get(name, [str(default)])
    if len(values) != 1 or _NUMBER.match(values[0]) is None or not least <= int(values[0]) <= most:
        raise MalformedError(f"request.{name}", f"{name} is an integer from {least} to {most}", param=name)
    return int(values[0])


def _requester(headers: Mapping[bytes, bytes], caller: Caller) -> str | None:
    """Who asks for another act: the person whose key it is, or whom the panel's key names. Raises
    ``request.requester``."""
    named = headers.get(REQUESTER)
    if named is None:
        return caller.person
    text = named.decode("latin-1")
    if PERSON.match(text) is None or (text != caller.person and not caller.asks_for_others):
        raise MalformedError(
            "request.requester",
            "x-holdfast-requester is a name of an account: the key's own, or any that the panel's key names",
            hint="mark the key of the panel with asks_for_others in the gateway's settings, and no other",
        )
    return text


def _nonce(query: bytes) -> bytes | None:
    """The nonce of a query string, None where there is none; raises ``request.nonce``."""
    values = parse_qs(query.decode("latin-1"), keep_blank_values=True).get("nonce")
    if values is None:
        return None
    if len(values) != 1 or _NONCE.match(values[0]) is None:
        raise MalformedError(
            "request.nonce", f"a nonce is 1 to {MAX_NONCE_BYTES} bytes in lower-case hex, once", param="nonce"
        )
    return bytes.fromhex(values[0])


async def _json(send: Send, value: Mapping[str, Any]) -> None:
    await _bytes(send, json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(), b"application/json")


async def _bytes(send: Send, body: bytes, content_type: bytes) -> None:
    headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def create_app(app: GatewayApp, *, request_bytes: int, request_seconds: float) -> MessagesErrors:
    """The gateway behind the shared edge."""
    return MessagesErrors(Edge(app, Limits(request_bytes, request_seconds)))
