"""The local verifying proxy's HTTP shape (``spec/client.md`` §7): OpenAI's paths on loopback, for programs of this
machine. Everything that is checked is checked in ``client``; here it is decided who may ask, and how an answer looks.

Rules: a request names this machine in its ``Host`` header and comes from no web page; with a token it shows that too.
The caller's own key goes nowhere. A refusal before the first byte is an error with its status; one in the middle of a
stream is an event with an ``error`` and no ``[DONE]``.

Not covered: sockets and signals (``cli.proxy``).
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from holdfast.client.channels import is_loopback
from holdfast.client.exact import parse_question
from holdfast.client.gateway import AnswerStream, GatewayClient, WholeAnswer
from holdfast.client.release import ReleaseRules, release_stream, release_whole
from holdfast.client.run_journal import RunJournal
from holdfast.client.turns import ENDPOINTS, Attester, Question
from holdfast.core.encoding import time_encode
from holdfast.core.messages import ENDPOINT as MESSAGES
from holdfast.errors import HoldfastError, RefusedError, UsageError
from holdfast.nodes.asgi import Watch, read_body, run_lifespan
from holdfast.nodes.edge import Receive, Scope, Send, require_token, send_error, unexpected
from holdfast.nodes.messages import error_of, named_event
from holdfast.ports.clock import Clock
from holdfast.ports.settings import Secret

STATUS = "/holdfast/status"
_PATHS = {path: endpoint for endpoint, path in ENDPOINTS.items()}
_MODELS = "/v1/models"
_WATCH_AFTER_S = 0.25
_STREAM_HEADERS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
_DOES_NOT_SAY = (
    "that an answer is any good or true; that a model is what its name says; anything about answers that are asked for "
    "later: each is checked by itself"
)


class ProxyApp:
    """Answers programs of this machine with what ``client`` may ask and ``rules`` let through.

    ``elsewhere`` says that it was told to listen where other machines reach it: then any address is good in a ``Host``
    header. ``about`` is shown by the status as it is.
    """

    def __init__(
        self,
        client: GatewayClient,
        rules: ReleaseRules,
        clock: Clock,
        *,
        journal: RunJournal | None = None,
        token: Secret | None = None,
        elsewhere: bool = False,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        self._client = client
        self._rules = rules
        self._clock = clock
        self._journal = journal
        self._token = token
        self._elsewhere = elsewhere
        self._about = about or {}
        self._since = time_encode(clock.now())
        self._asked = self._released = 0
        self._refused: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry point."""
        if scope["type"] == "lifespan":
            await run_lifespan(_nothing_else, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        self._refuse_strangers(headers)
        path, method = scope["path"], scope["method"]
        endpoint = _PATHS.get(path)
        models = path == _MODELS or path.startswith(_MODELS + "/")
        known = endpoint is not None or models or path == STATUS
        if not known:
            raise UsageError(
                "proxy.not_found",
                "there is nothing at this path",
                status=404,
                hint=f"{', '.join(_PATHS)}, /v1/models and {STATUS} are here",
            )
        allowed = "GET" if endpoint is None else "POST"
        if method != allowed:
            raise UsageError("request.method", f"this path takes {allowed}", status=405, hint=f"use {allowed}")
        if path == STATUS:
            await _send_json(send, self.status())
        elif endpoint is None:
            attester = await self._client.attester()
            listed = await self._client.listing()
            shown = listed if path == _MODELS else _find_model(listed, path.removeprefix(_MODELS + "/"))
            await _send_json(send, shown, _checked_headers(attester))
        else:
            await self._ask(endpoint, headers, receive, send)

    def _refuse_strangers(self, headers: Mapping[str, str]) -> None:
        """Raises ``proxy.host``, ``proxy.origin`` or ``auth.*``."""
        if not self._is_here(headers.get("host", "")):
            raise RefusedError(
                "proxy.host",
                "this is not the host that was asked for",
                hint="a name that somebody else points at this machine is not this machine: use 127.0.0.1",
            )
        if "origin" in headers:
            raise RefusedError("proxy.origin", "web pages are not answered here", hint="ask from a program")
        if self._token is not None:
            key = headers.get("x-api-key")
            require_token(headers.get("authorization") if key is None else f"Bearer {key}", self._token)

    def _is_here(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            return False
        if not self._elsewhere:
            return is_loopback(name)
        with contextlib.suppress(ValueError):
            ipaddress.ip_address(name or "")  # a web page that is to reach this needs a name
            return True
        return name == "localhost"

    def status(self) -> dict[str, Any]:
        """What was checked, and what became of what was asked."""
        checked = self._client.checked
        return {
            **self._about,
            "since": self._since,
            "checked": None if checked is None else checked.to_json(),
            "rules": self._rules.to_json(),
            "journal": None if self._journal is None else str(self._journal.path),
            "token": self._token is not None,
            "asked": self._asked,
            "released": self._released,
            "refused": dict(sorted(self._refused.items())),
            "does_not_say": _DOES_NOT_SAY,
        }

    # Asking

    async def _ask(self, endpoint: str, headers: Mapping[str, str], receive: Receive, send: Send) -> None:
        question, streamed = parse_question(endpoint, await read_body(receive), headers)
        self._asked += 1
        watch = Watch(receive, _WATCH_AFTER_S)
        try:
            if streamed:
                await self._stream(question, send)
            else:
                await self._whole(question, send)
        except HoldfastError as error:
            self._refused[error.code] += 1
            raise
        except asyncio.CancelledError:
            if not watch.gone:
                raise
        finally:
            watch.stop()

    async def _whole(self, question: Question, send: Send) -> None:
        answer = await self._client.put(question)
        self._began(answer, question)
        try:
            bound, body = await release_whole(answer, self._rules)
        except HoldfastError as error:
            await self._refuse(answer, error, send)
            return
        self._ended(answer.run, None)
        named = [
            (b"x-holdfast-route", bound.route.digest.encode()),
            (b"x-holdfast-execution", bound.execution.digest.encode()),
        ]
        await _send_body(send, body, [*_run_headers(answer), *named])

    async def _stream(self, question: Question, send: Send) -> None:
        async with contextlib.AsyncExitStack() as stack:
            answer = await stack.enter_async_context(self._client.put_stream(question))
            self._began(answer, question)
            events = await stack.enter_async_context(contextlib.aclosing(release_stream(answer, self._rules)))
            try:
                first = await anext(events)
            except HoldfastError as error:
                await self._refuse(answer, error, send)
                return
            headers = [*_STREAM_HEADERS, *_run_headers(answer)]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await _send_event(send, answer.endpoint, first)
            end = await self._pass_on(answer, events, send)
            await send({"type": "http.response.body", "body": end, "more_body": False})

    async def _refuse(self, answer: WholeAnswer | AnswerStream, error: HoldfastError, send: Send) -> None:
        """Nothing of the answer goes on, but its run does: its evidence shows what was wrong with it."""
        self._refused[error.code] += 1
        self._ended(answer.run, error.code)
        await send_error(send, error, _run_headers(answer))

    async def _pass_on(self, answer: AnswerStream, events: AsyncGenerator[bytes], send: Send) -> bytes:
        """Hand on the rest of a stream; what comes instead of its last bytes where it does not end well."""
        try:
            async for event in events:
                await _send_event(send, answer.endpoint, event)
        except Exception as error:  # noqa: BLE001 - too late for a status; it still gets the one shape
            shaped = error if isinstance(error, HoldfastError) else unexpected(error)
            self._refused[shaped.code] += 1
            self._ended(answer.run, shaped.code)
            if answer.endpoint == MESSAGES:
                return named_event(_encode(error_of(shaped)))
            return b"data: " + _encode(shaped.to_json()) + b"\n\n"
        self._ended(answer.run, None)
        return b"" if answer.endpoint == MESSAGES else b"data: [DONE]\n\n"

    def _began(self, answer: WholeAnswer | AnswerStream, question: Question) -> None:
        if self._journal is None:
            return
        model = question.request.get("model")
        self._journal.began(
            time_encode(self._clock.now()),
            answer.run,
            answer.capability,
            gateway=answer.attester.node,
            endpoint=question.endpoint,
            model=model if isinstance(model, str) else None,
            channel=answer.attester.checked.channel.kind,
        )

    def _ended(self, run: str, refused: str | None) -> None:
        self._released += refused is None
        if self._journal is not None:
            self._journal.ended(time_encode(self._clock.now()), run, refused)


@contextlib.asynccontextmanager
async def _nothing_else() -> AsyncIterator[None]:
    """The proxy has no background: its client is opened before it and closed after it."""
    yield


def _find_model(listed: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    data = listed.get("data")
    for model in data if isinstance(data, list) else ():
        if isinstance(model, dict) and model.get("id") == name:
            return model
    raise UsageError("proxy.model", f"the gateway lists no model {name[:128]!r}", status=404, param="model")


def _checked_headers(attester: Attester) -> list[tuple[bytes, bytes]]:
    """What was checked of the gateway that answered, one thing a header."""
    checked = attester.checked
    told = {
        "node": attester.node,
        "admitted": "true" if attester.admitted else "false",
        "enclave": checked.enclave or "none",
        "channel": checked.channel.kind,
    }
    return [(f"x-holdfast-{name}".encode(), value.encode()) for name, value in told.items()]


def _run_headers(answer: WholeAnswer | AnswerStream) -> list[tuple[bytes, bytes]]:
    own = {"run": answer.run, "capability": answer.capability}
    if answer.client.fell_back is not None:
        own["fell-back"] = answer.client.fell_back
    named = [(f"x-holdfast-{name}".encode(), value.encode()) for name, value in own.items()]
    return named + _checked_headers(answer.attester)


def _encode(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


async def _send_json(send: Send, value: Mapping[str, Any], extra: list[tuple[bytes, bytes]] | None = None) -> None:
    await _send_body(send, _encode(value), extra or [])


async def _send_body(send: Send, body: bytes, extra: list[tuple[bytes, bytes]]) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *extra]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _send_event(send: Send, endpoint: str, data: bytes) -> None:
    event = named_event(data) if endpoint == MESSAGES else b"data: " + data + b"\n\n"
    await send({"type": "http.response.body", "body": event, "more_body": True})
