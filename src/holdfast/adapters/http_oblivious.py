"""Both HTTP ports through an Oblivious HTTP relay (``spec/ohttp.md`` §8), over another adapter that reaches the relay.

Every request becomes a binary HTTP message, is sealed to one key configuration with a key drawn for it alone, and goes
to the relay's URL; the URL that was asked for stands inside. :class:`ObliviousHTTP` gets single-shot answers,
:class:`ObliviousEvents` chunked ones, whose events come out as their chunks arrive. There is no way back to a direct
connection: what the relay does not answer is an error.

An answer that opens is the gateway's, whatever its status. One that is not sealed is the relay's (or the gateway's,
about a request that it could not open) and no answer at all: ``oblivious.refused``, ``oblivious.unavailable``,
``oblivious.content_type``, or ``oblivious.keys`` where the configuration is no longer the gateway's. A sealed answer
that was changed, reordered or is to another request is ``ohttp.open``; one that ends early is ``http.unreachable``.

Not covered: whether the configuration is the gateway's and everybody's (``relay.md`` §4); whoever hands it in checks.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from email.utils import format_datetime
from typing import NoReturn
from urllib.parse import urlsplit

from holdfast.adapters._answers import read_body, read_events
from holdfast.core import canonical
from holdfast.core.binary_http import (
    Fields,
    Request,
    Response,
    ResponseReader,
    build_request,
    pad,
    parse_response,
)
from holdfast.core.hpke import AEAD, KEY_BYTES
from holdfast.core.ohttp import (
    CHUNKED_RESPONSE_TYPE,
    MAX_MESSAGE_BYTES,
    REQUEST_TYPE,
    RESPONSE_TYPE,
    ClientContext,
    KeyConfiguration,
    encapsulate,
)
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UnavailableError, UsageError
from holdfast.ports.http import HTTP, Answer
from holdfast.ports.http_stream import EventAnswer, EventHTTP

_AROUND_BYTES = 256 << 10
"""What a sealed message may have beside its content: fields, trailers, padding, tags."""
_SAYS_CHARACTERS = 300
"""How much of what a relay says stands in an error."""
_STALE = {
    "ohttp.key_id",
    "ohttp.open",
    "ohttp.suite",
    "https://iana.org/assignments/http-problem-types#ohttp-key",
}
"""What gateways say of a request that is not sealed to their key: our codes, and RFC 9458 §5.3."""


@dataclass(frozen=True, slots=True)
class RelayRoute:
    """Which relay, and to whom the requests are sealed."""

    url: str
    """Where the relay takes encapsulated requests, for example ``https://relay.example/v1/ohttp``."""
    configuration: KeyConfiguration
    suite: AEAD | None = None
    """None takes the first that the configuration offers."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """What the relay is told beside the request: the key that it asks for, which gateway is meant."""
    bucket_bytes: int | None = None
    """Requests are padded to multiples of this (``ohttp.md`` §7); None sends them as they are."""
    random_bytes: Callable[[int], bytes] = os.urandom
    now: Callable[[], dt.datetime] | None = None
    """Tells (in UTC) when a request is made; that is sealed with it, so that a gateway that has forgotten it by then
    does not run it again for a relay (RFC 9458 §6.5.2). None: nothing is said."""

    def seal(
        self, method: str, url: str, body: bytes, headers: Mapping[str, str] | None
    ) -> tuple[bytes, ClientContext]:
        """A request for a URL, sealed. Raises ``oblivious.url`` and ``bhttp.*``."""
        scheme, authority, path = _split(url)
        fields = tuple((name.lower(), value) for name, value in (headers or {}).items())
        if self.now is not None:
            fields = (*fields, ("date", format_datetime(self.now(), usegmt=True)))
        message = build_request(Request(method, scheme, authority, path, fields, body))
        if self.bucket_bytes is not None:
            message = pad(message, self.bucket_bytes)
        suite = self.suite or self.configuration.suites[0]
        return encapsulate(self.configuration, suite, self.random_bytes(KEY_BYTES), message)

    def outer(self, accept: str) -> dict[str, str]:
        """The headers that the relay reads."""
        return {**self.headers, "content-type": REQUEST_TYPE, "accept": accept}


class ObliviousHTTP:
    """Implements :class:`holdfast.ports.http.HTTP` with single-shot answers."""

    def __init__(self, route: RelayRoute, relay: HTTP) -> None:
        """``relay`` reaches the relay, over TLS or not: that is its own matter."""
        self._route = route
        self._relay = relay

    async def request(
        self,
        method: str,
        url: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 10.0,
        max_bytes: int = 1 << 20,
    ) -> Answer:
        """See the port; also raises ``oblivious.*``, ``ohttp.*`` and ``bhttp.*``."""
        sealed, context = self._route.seal(method, url, body, headers)
        answer = await self._relay.request(
            "POST",
            self._route.url,
            body=sealed,
            headers=self._route.outer(RESPONSE_TYPE),
            timeout_s=timeout_s,
            max_bytes=max_bytes + _AROUND_BYTES,
        )
        kind = _sealed_kind(answer.status, answer.headers)
        if kind is None:
            _not_sealed(self._route.url, answer.status, answer.headers, answer.body)
        if kind == RESPONSE_TYPE:
            message = context.open(answer.body)
        else:
            opener = context.chunk_opener(max_bytes + _AROUND_BYTES)
            message = b"".join((*opener.feed(answer.body), opener.finish()))
        response = _bounded(lambda: parse_response(message, max_bytes), url, max_bytes)
        return Answer(response.status, response.content, _headers(response.fields))


class ObliviousEvents:
    """Implements :class:`holdfast.ports.http_stream.EventHTTP` with chunked answers."""

    def __init__(self, route: RelayRoute, relay: EventHTTP) -> None:
        """``relay`` reaches the relay, as for :class:`ObliviousHTTP`."""
        self._route = route
        self._relay = relay

    @contextlib.asynccontextmanager
    async def open(
        self,
        method: str,
        url: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 30.0,
        idle_timeout_s: float = 120.0,
        max_bytes: int = 1 << 20,
    ) -> AsyncGenerator[EventAnswer]:
        """See the port; also raises ``oblivious.*``, ``ohttp.*`` and ``bhttp.*``."""
        sealed, context = self._route.seal(method, url, body, headers)
        outer = {**self._route.outer(CHUNKED_RESPONSE_TYPE), "x-ohttp-stream": "true", "incremental": "?1"}
        deadline = asyncio.get_running_loop().time() + timeout_s
        async with self._relay.open(
            "POST",
            self._route.url,
            body=sealed,
            headers=outer,
            timeout_s=timeout_s,
            idle_timeout_s=idle_timeout_s,
            max_bytes=max_bytes + _AROUND_BYTES,
        ) as answer:
            kind = _sealed_kind(answer.status, answer.headers)
            try:
                async with asyncio.timeout_at(deadline):
                    if kind is None:
                        _not_sealed(self._route.url, answer.status, answer.headers, await answer.body())
                    messages = _messages(answer, kind, context, max_bytes)
                    found = _ObliviousAnswer(messages, url, max_bytes)
                    await found.begin()
            except TimeoutError as error:
                raise UnavailableError("http.unreachable", f"{method} {url}: it took too long") from error
            async with contextlib.aclosing(messages):
                yield found


class _ObliviousAnswer:
    """One answer of the gateway under way."""

    def __init__(self, messages: AsyncIterator[bytes], url: str, max_bytes: int) -> None:
        """``messages``: the binary HTTP response as it is opened."""
        self._messages = messages
        self._url = url
        self._max_bytes = max_bytes
        self._reader = ResponseReader(MAX_MESSAGE_BYTES)
        self._first = b""
        self._head = Response(0)
        self._ended = False

    @property
    def status(self) -> int:
        """The gateway's status."""
        return self._head.status

    @property
    def headers(self) -> Mapping[str, str]:
        """The gateway's headers."""
        return _headers(self._head.fields)

    async def begin(self) -> None:
        """Wait for the head."""
        while self._reader.head is None and not self._ended:
            self._first += await self._next()
        self._head = self._reader.head or self._head

    def events(self) -> AsyncIterator[tuple[str, bytes]]:
        """Events as their chunks arrive."""
        return read_events(self.pieces(), self._max_bytes, self._url)

    async def body(self) -> bytes:
        """The whole content, bounded."""
        return await read_body(self.pieces(), self._max_bytes, self._url)

    async def pieces(self) -> AsyncIterator[bytes]:
        """The content as it is opened; it ends only when the last chunk and the end of the message were there."""
        first, self._first = self._first, b""
        if first:
            yield first
        while not self._ended:
            content = await self._next()
            if content:
                yield content

    async def _next(self) -> bytes:
        """What the next chunk adds to the content; ends after the last one."""
        message = await anext(self._messages, None)
        if message is not None:
            return self._reader.feed(message)
        self._ended = True
        try:
            return self._reader.finish().content
        except MalformedError as error:
            raise UnavailableError("http.unreachable", f"{self._url}: the gateway's answer breaks off") from error


async def _messages(answer: EventAnswer, kind: str, context: ClientContext, max_bytes: int) -> AsyncGenerator[bytes]:
    """The opened bytes of a sealed answer of either kind, as they come; they end when nothing was cut off."""
    if kind == RESPONSE_TYPE:
        yield context.open(await answer.body())
        return
    opener = context.chunk_opener(max_bytes + _AROUND_BYTES)
    async for piece in answer.pieces():
        for chunk in opener.feed(piece):
            yield chunk
    try:
        yield opener.finish()
    except MalformedError as error:
        raise UnavailableError("http.unreachable", "the sealed answer ends before its last chunk") from error


def _split(url: str) -> tuple[str, str, str]:
    """Scheme, authority and path of a URL."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError("oblivious.url", f"{url!r} is no URL") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc or port == 0:
        raise UsageError("oblivious.url", f"{url!r} is not an http:// or https:// URL without user information")
    return parts.scheme, parts.netloc, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _headers(fields: Fields) -> dict[str, str]:
    return dict(fields)


def _media_type(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def _sealed_kind(status: int, headers: Mapping[str, str]) -> str | None:
    """The media type of a sealed answer; None for anything else (RFC 9458 §5)."""
    kind = _media_type(headers)
    return kind if status == 200 and kind in {RESPONSE_TYPE, CHUNKED_RESPONSE_TYPE} else None


def _bounded(parse: Callable[[], Response], url: str, max_bytes: int) -> Response:
    try:
        return parse()
    except MalformedError as error:
        if error.code == "bhttp.size":
            raise UnavailableError("http.too_large", f"{url} answered with more than {max_bytes} bytes") from error
        raise


def _not_sealed(relay: str, status: int, headers: Mapping[str, str], body: bytes) -> NoReturn:
    """The error for an answer that is not sealed: anybody on the way can have written it."""
    code, says = _said(body)
    told = f"{relay} answered {status}" + (f" ({code})" if code else "") + (f": {says}" if says else "")
    if status < 400:
        kind = _media_type(headers) or "no content type"
        raise RefusedError("oblivious.content_type", f"{relay} answered {status} with {kind}, not with a sealed answer")
    if code in _STALE:
        raise RefusedError("oblivious.keys", told, hint="fetch the gateway's key configuration again", status=status)
    if status == 429 or status >= 500:
        raise UnavailableError("oblivious.unavailable", told, hint="try again later", status=status)
    raise RefusedError("oblivious.refused", told, status=status)


def _said(body: bytes) -> tuple[str, str]:
    """The code and the words of an error in any of the forms that relays use: ours, problem details (RFC 9457),
    OpenGradient's, plain text. Only to be shown: nothing is decided by it but the hint to fetch keys again."""
    try:
        value = canonical.decode(body)
    except HoldfastError:
        says = body[: 4 * _SAYS_CHARACTERS].decode("utf-8", "replace")
        return "", "" if says.lstrip().startswith("<") else _printable(says, _SAYS_CHARACTERS)
    shown = value if isinstance(value, dict) else {}
    error = shown.get("error", shown.get("detail", shown.get("title")))
    code = shown.get("type")
    if isinstance(error, dict):
        code, error = error.get("code"), error.get("message")
    return _printable(code, 64), _printable(error, _SAYS_CHARACTERS)


def _printable(text: object, limit: int) -> str:
    """A stranger's text, fit for one line of a terminal."""
    shown = text[:limit] if isinstance(text, str) else ""
    return "".join(item if item.isprintable() else " " for item in shown).strip()
