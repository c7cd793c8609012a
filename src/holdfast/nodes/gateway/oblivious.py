"""The gateway's end of the private path: opens sealed requests and seals their answers (``spec/ohttp.md``).

Rules:

* A sealed request is answered by the very app that answers direct ones. It comes as its *outer* caller, the relay; an
  ``authorization`` inside is not looked at. Inside stands no reader of a workspace: runs are read by their capability
  alone, since everybody who comes through a relay shares its workspace.
* What a sealed request says of itself is sealed on the way back, refusals too. In the profile of OpenGradient's clients
  they expect refusals in the clear: there a code stands, and no word of the request.
* One that was seen before is refused, as long as it is remembered (RFC 9458 §6.5); a binary message with a ``date``
  beyond that time is refused whether it was seen or not.
* An answer that breaks off is broken off: nothing is sealed as last that is not.

Not covered: the cryptography (``core.ohttp``), and how the key came to everybody (``introduction``, ``nodes.relay``).
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import re
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from holdfast.core import binary_http, canonical, ohttp
from holdfast.core.encoding import sha256_hex
from holdfast.core.hpke import CHACHA20_POLY1305, KDF_ID, KEM_ID
from holdfast.core.statements import SealedPath
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UnavailableError, UsageError
from holdfast.nodes.asgi import read_body
from holdfast.nodes.edge import App, Edge, Limits, Message, Receive, Scope, Send, send_error, too_large
from holdfast.nodes.gateway.keys import Caller, Workspaces
from holdfast.nodes.gateway.request import refuse_too_many
from holdfast.nodes.messages import MessagesErrors
from holdfast.ports.clock import Clock

SEALED, KEYS, CONFIG = "/v1/ohttp", "/v1/ohttp/keys", "/v1/ohttp/config"
PATHS = {SEALED: "POST", KEYS: "GET", CONFIG: "GET"}
ORIGIN = "holdfast.sealed"
"""Where a scope says that its request came sealed: a :class:`SealedOrigin`."""
_REQUEST_TYPES = {ohttp.REQUEST_TYPE: ohttp.decapsulate, ohttp.CHUNKED_REQUEST_TYPE: ohttp.decapsulate_chunked}
_INSIDE = re.compile(
    r"(?:POST /v1/(?:chat/completions|completions|messages|images/generations)"
    r"|GET /v1/(?:models|identity|attestation|network|runs/[^/]+(?:/events|/bundle)?))\Z"
)
"""What can be asked inside a sealed request; nothing by which a workspace is read."""
_JSON_ENDPOINTS = {None: "/v1/chat/completions", "chat": "/v1/chat/completions", "completions": "/v1/completions"}
"""Member ``endpoint`` of the JSON profile to the path that is asked."""
_DROPPED = ("user", "metadata", "x-request-id", "request_id", "endpoint")
"""Members that a JSON body loses: they could tell its caller (reference of that profile)."""
_NOT_INSIDE = {"authorization", "host", "content-length", "x-settlement-type"}
"""Fields of a sealed request that are not looked at."""
_NOT_BACK = {b"connection", b"transfer-encoding", b"keep-alive", b"content-length"}
_EVENTS = b"text/event-stream"


@dataclass(frozen=True, slots=True)
class SealedOrigin:
    """How a request came, for the app that answers it."""

    caller: Caller
    path: SealedPath
    json_profile: bool


@dataclass(frozen=True, slots=True)
class ObliviousSettings:
    """Bounds of the private path."""

    request_bytes: int
    """Largest encapsulated request."""
    request_s: float
    inner_bytes: int
    """Largest body inside one."""
    replay_s: float
    """How far a ``date`` may be off; a request is remembered twice as long."""
    remembered: int
    """Most requests that are remembered at once."""
    padding_bytes: int
    """Binary answers are padded to a multiple of this; 0: not at all."""


class Replays:
    """Encapsulated keys that were seen, for a time; both bounded. Where too many come in that time, the oldest are
    forgotten first."""

    def __init__(self, span_s: float, most: int, monotonic: Callable[[], float]) -> None:
        self._span_s = span_s
        self._most = most
        self._monotonic = monotonic
        self._seen: OrderedDict[bytes, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def refuse(self, enc: bytes) -> None:
        """Remember a request by its encapsulated key; raises ``ohttp.replayed`` when it was seen before."""
        now = self._monotonic()
        while self._seen and (len(self._seen) >= self._most or next(iter(self._seen.values())) <= now - self._span_s):
            self._seen.popitem(last=False)
        if enc in self._seen:
            message = "this encapsulated request was sent before"
            raise RefusedError("ohttp.replayed", message, hint="seal it again to ask again", status=400)
        self._seen[enc] = now


class Oblivious:
    """Answers :data:`PATHS` around the gateway's own app."""

    def __init__(
        self,
        app: App,
        keys: Sequence[ohttp.GatewayKey],
        workspaces: Workspaces,
        clock: Clock,
        settings: ObliviousSettings,
        *,
        random_bytes: Callable[[int], bytes],
        sign_configuration: Callable[..., Awaitable[Mapping[str, Any]]] | None = None,
    ) -> None:
        self._app = MessagesErrors(Edge(app, Limits(settings.inner_bytes, settings.request_s)))
        self._keys = {key.configuration.key_id: key for key in keys}
        self._published = ohttp.build_key_configurations([key.configuration for key in keys])
        self._workspaces = workspaces
        self._clock = clock
        self._settings = settings
        self._random = random_bytes
        self._sign_configuration = sign_configuration
        # A date may be as much ahead as it may be behind: until it refuses the request, that is remembered.
        self._replays = Replays(2 * settings.replay_s, settings.remembered, clock.monotonic)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry point for :data:`PATHS`."""
        path, allowed = scope["path"], PATHS[scope["path"]]
        if scope["method"] != allowed:
            error = UsageError("request.method", f"this path takes {allowed}", status=405, hint=f"use {allowed}")
            await send_error(send, error, [(b"allow", allowed.encode())])
        elif path == SEALED:
            await self._open(scope, receive, send)
        elif path == KEYS or ohttp.KEYS_TYPE in dict(scope["headers"]).get(b"accept", b"").decode("latin-1"):
            await _send(send, 200, ohttp.KEYS_TYPE, self._published)
        else:
            body = json.dumps(await self.key_configuration(), separators=(",", ":")).encode()
            await _send(send, 200, "application/json", body)

    async def key_configuration(self) -> Mapping[str, Any]:
        """``GET /v1/ohttp/config`` as OpenGradient's clients read it: the key, with ChaCha20-Poly1305 alone, signed by
        the key that they know the gateway by. Raises ``ohttp.config`` where it has none."""
        key = next(iter(self._keys.values()), None)
        if self._sign_configuration is None or key is None:
            raise UnavailableError(
                "ohttp.config",
                "this gateway has no signing key of OpenGradient's kind",
                hint=f"GET {KEYS} has its key configurations",
                status=404,
            )
        return await show_configuration(key.configuration, self._sign_configuration)

    # Opening

    async def _open(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        caller = self._workspaces.caller(headers.get(b"authorization"))
        media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower().decode("latin-1")
        decapsulate = _REQUEST_TYPES.get(media_type)
        if decapsulate is None:
            wanted = " or ".join(_REQUEST_TYPES)
            raise UsageError("ohttp.media_type", f"this path takes {wanted}", status=415, hint="set content-type")
        message = await read_body(receive)
        content, context = decapsulate(self._keys, message, self._settings.request_bytes)
        self._replays.refuse(context.enc)
        json_profile = content.lstrip()[:1] == b"{"
        chunked = media_type == ohttp.CHUNKED_REQUEST_TYPE
        if json_profile and chunked:
            raise MalformedError("ohttp.profile", "the JSON profile has no chunked requests")
        key = self._keys[context.key_id].configuration
        profile = "json" if json_profile else "binary-http"
        sealed = SealedPath(sha256_hex(key.encoded), context.suite.name, profile, caller.relay)
        origin = SealedOrigin(caller, sealed, json_profile)
        asked = chunked or _asks_for_chunks(headers)
        if json_profile:
            await self._json(content, origin, context, asked, receive, send)
        else:
            await self._binary(content, origin, context, asked, receive, send)

    def _check_date(self, fields: binary_http.Fields) -> None:
        """A request that says when it was made is refused long after, also where nobody remembers it (RFC 9458
        §6.5.2)."""
        said = next((value for name, value in fields if name == "date"), None)
        if said is None:
            return
        try:
            made = parsedate_to_datetime(said)
        except (ValueError, TypeError) as error:
            raise MalformedError("ohttp.date", "date is no HTTP date") from error
        if made.tzinfo is None:
            made = made.replace(tzinfo=dt.UTC)
        if abs((self._clock.now() - made).total_seconds()) > self._settings.replay_s:
            raise RefusedError("ohttp.date", "the request was made at another time than now", status=400)

    # Our profile

    async def _binary(
        self,
        content: bytes,
        origin: SealedOrigin,
        context: ohttp.GatewayContext,
        chunked: bool,
        receive: Receive,
        send: Send,
    ) -> None:
        sealer = _Binary(self, context, send, chunked=chunked)
        try:
            request = binary_http.parse_request(content, self._settings.request_bytes)
            self._check_date(request.fields)
            path, _, query = request.path.partition("?")
            if _INSIDE.match(f"{request.method} {path}") is None:
                raise UsageError(
                    "request.not_found", "there is nothing at this path inside a sealed request", status=404
                )
        except HoldfastError as error:
            await send_error(sealer, error)
            return
        fields = [
            (name.encode("ascii"), value.encode("latin-1")) for name, value in request.fields if name not in _NOT_INSIDE
        ]
        scope = _inner(request.method, path, query, fields, origin)
        await self._app(scope, _Given(request.content, receive), sealer)
        sealer.require_end()

    # The profile of OpenGradient's clients

    async def _json(
        self,
        content: bytes,
        origin: SealedOrigin,
        context: ohttp.GatewayContext,
        chunked: bool,
        receive: Receive,
        send: Send,
    ) -> None:
        try:
            if len(content) > self._settings.inner_bytes:
                raise too_large(self._settings.inner_bytes)
            path, body, streamed = parse_json_profile(content)
        except HoldfastError as error:
            await send_error(_JSON(self, context, send, chunked=False), error)
            return
        sealer = _JSON(self, context, send, chunked=chunked or streamed)
        scope = _inner("POST", path, "", [(b"content-type", b"application/json")], origin)
        await self._app(scope, _Given(body, receive), sealer)
        sealer.require_end()

    # What sealers need

    def nonce(self, context: ohttp.GatewayContext) -> bytes:
        """A fresh response nonce."""
        return self._random(ohttp.nonce_bytes(context.suite))

    def padding(self, size_bytes: int) -> bytes:
        """The zeros that fill a message of this size up (RFC 9292 §3.8)."""
        multiple = self._settings.padding_bytes
        return bytes(-size_bytes % multiple) if multiple else b""


async def show_configuration(
    configuration: ohttp.KeyConfiguration, sign: Callable[..., Awaitable[Mapping[str, Any]]]
) -> Mapping[str, Any]:
    """A key as OpenGradient's clients read it: under ChaCha20-Poly1305 alone, signed by the key that they know."""
    shown = ohttp.build_key_configuration(configuration.key_id, configuration.public, [CHACHA20_POLY1305])
    return await sign(shown.key_id, KEM_ID, KDF_ID, CHACHA20_POLY1305.id, shown.public, shown.encoded)


def parse_json_profile(content: bytes) -> tuple[str, bytes, bool]:
    """Path, body and whether it asks to stream, of a sealed JSON body. Members that could tell the caller are taken
    out; a body without any of them goes on as the bytes it is. Raises ``json.*``, ``parts.count`` or
    ``ohttp.endpoint``."""
    refuse_too_many(content)
    value = canonical.decode_exact(content)
    if not isinstance(value, dict):
        raise MalformedError("request.object", "a request body is a JSON object")
    endpoint = value.get("endpoint")
    path = _JSON_ENDPOINTS.get(endpoint) if endpoint is None or type(endpoint) is str else None
    if path is None:
        raise UsageError("ohttp.endpoint", "endpoint is chat or completions, or absent", param="endpoint")
    if any(name in value for name in _DROPPED):
        value = {name: item for name, item in value.items() if name not in _DROPPED}
        content = canonical.encode_exact(value)
    return path, content, value.get("stream") is True


class _Sealer(ABC):
    """``send`` of the app inside, sealing what it says."""

    def __init__(self, gate: Oblivious, context: ohttp.GatewayContext, send: Send, *, chunked: bool) -> None:
        self._gate = gate
        self._context = context
        self._send = send
        self._chunked = chunked
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._pieces: list[bytes] = []
        self._chunks: ohttp.ChunkSealer | None = None
        self._sealed_bytes = 0
        self._ended = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status, self._headers = message["status"], list(message["headers"])
            if self._streams():
                await self._begin()
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        if self._chunks is not None:
            await self._piece(body, more=more)
        else:
            self._pieces.append(body)
            if not more:
                await self._whole(b"".join(self._pieces))
        self._ended = not more

    def require_end(self) -> None:
        """The app inside is done. Raises ``ohttp.broken_off`` where its answer is not: the server then closes the
        connection, which nobody takes for an end."""
        if not self._ended:
            raise UnavailableError("ohttp.broken_off", "the answer broke off")

    @abstractmethod
    def _streams(self) -> bool:
        """Whether the answer goes out in chunks, once its head is known."""

    def _opening(self) -> bytes:
        """What the first chunk holds before any content."""
        return b""

    async def _begin(self) -> None:
        """Start a chunked answer."""
        self._chunks = self._context.chunks(self._gate.nonce(self._context))
        await _start(self._send, 200, ohttp.CHUNKED_RESPONSE_TYPE, None)
        head = self._chunks.start()
        opening = self._opening()
        if opening:
            head += self._chunks.seal(opening)
        await self._send({"type": "http.response.body", "body": head, "more_body": True})

    async def _chunk(self, content: bytes) -> None:
        if content and self._chunks is not None:
            self._sealed_bytes += len(content)
            sealed = self._chunks.seal(content)
            await self._send({"type": "http.response.body", "body": sealed, "more_body": True})

    async def _finish(self, content: bytes) -> None:
        if self._chunks is not None:
            sealed = self._chunks.finish(content)
            await self._send({"type": "http.response.body", "body": sealed, "more_body": False})

    @abstractmethod
    async def _piece(self, body: bytes, *, more: bool) -> None:
        """A piece of the body of an answer in chunks."""

    @abstractmethod
    async def _whole(self, body: bytes) -> None:
        """The body of an answer in one."""

    async def _seal(self, content: bytes) -> None:
        """A single-shot answer."""
        sealed = self._context.seal(self._gate.nonce(self._context), content)
        await _send(self._send, 200, ohttp.RESPONSE_TYPE, sealed)


class _Binary(_Sealer):
    """Answers of our profile: one binary message, whatever the status inside."""

    def _streams(self) -> bool:
        return self._chunked or dict(self._headers).get(b"content-type", b"").startswith(_EVENTS)

    def _fields(self) -> binary_http.Fields:
        return tuple(
            (name.decode("latin-1").lower(), value.decode("latin-1"))
            for name, value in self._headers
            if name.lower() not in _NOT_BACK
        )

    def _opening(self) -> bytes:
        head = binary_http.build_response_head(self._status, self._fields())
        self._sealed_bytes += len(head)
        return head

    async def _piece(self, body: bytes, *, more: bool) -> None:
        await self._chunk(binary_http.build_content(body))
        if not more:
            end = binary_http.CONTENT_END
            await self._finish(end + self._gate.padding(self._sealed_bytes + len(end)))

    async def _whole(self, body: bytes) -> None:
        content = binary_http.build_response(binary_http.Response(self._status, self._fields(), body))
        await self._seal(content + self._gate.padding(len(content)))


class _JSON(_Sealer):
    """Answers of OpenGradient's profile: the body alone, one event a chunk; refusals in the clear."""

    def _streams(self) -> bool:
        return self._chunked and self._status < 300

    async def _piece(self, body: bytes, *, more: bool) -> None:
        await self._chunk(body)
        if not more:
            await self._finish(b"")

    async def _whole(self, body: bytes) -> None:
        if self._status < 300:
            await self._seal(body)
            return
        await _start(self._send, self._status, "application/json", None)
        await self._send({"type": "http.response.body", "body": plain_refusal(body), "more_body": False})


def plain_refusal(body: bytes) -> bytes:
    """What may stand in the clear of a refusal: its code and kind. Messages can quote what was asked."""
    code, kind = "request.refused", "error"
    with contextlib.suppress(HoldfastError):
        found = canonical.decode_object(body).get("error")
        if isinstance(found, dict):
            code, kind = str(found.get("code", code)), str(found.get("type", kind))
    message = f"the sealed request was refused ({code}); what was wrong with it is not said in the clear"
    shape = {"message": message, "type": kind, "param": None, "code": code, "hint": ""}
    return json.dumps({"error": shape}, separators=(",", ":")).encode()


class _Given:
    """``receive`` of the app inside: the opened body, then whatever becomes of the outer connection."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        return await self._receive()


def _inner(method: str, path: str, query: str, fields: list[tuple[bytes, bytes]], origin: SealedOrigin) -> Scope:
    """The scope of an opened request. It has no address: nobody here knows one."""
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode("ascii"),
        "headers": fields,
        ORIGIN: origin,
    }


def _asks_for_chunks(headers: Mapping[bytes, bytes]) -> bool:
    accept = headers.get(b"accept", b"").lower()
    return ohttp.CHUNKED_RESPONSE_TYPE.encode() in accept or headers.get(b"x-ohttp-stream", b"").lower() == b"true"


async def _start(send: Send, status: int, content_type: str, length: int | None) -> None:
    headers = [(b"content-type", content_type.encode()), (b"cache-control", b"no-store")]
    if length is not None:
        headers.append((b"content-length", str(length).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def _send(send: Send, status: int, content_type: str, body: bytes) -> None:
    await _start(send, status, content_type, len(body))
    await send({"type": "http.response.body", "body": body})


class SplitApp:
    """The gateway behind its edges: sealed requests have bounds of their own."""

    def __init__(self, direct: App, oblivious: Edge | None) -> None:
        self._direct = direct
        self._oblivious = oblivious

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry point."""
        sealed = self._oblivious is not None and scope["type"] == "http" and scope["path"] in PATHS
        app = self._oblivious if sealed and self._oblivious is not None else self._direct
        await app(scope, receive, send)


def create_oblivious(oblivious: Oblivious, settings: ObliviousSettings) -> Edge:
    """The private path behind an edge of its own."""
    return Edge(oblivious, Limits(settings.request_bytes, settings.request_s))
