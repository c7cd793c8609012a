"""What all upstreams over HTTP share: their settings, the origin they speak to, and streams of events.

Rules beyond the port's: the credential goes to the configured origin and nowhere else (no redirect is followed, no
proxy is used unless named, no environment variable is read), and never over plain HTTP off this machine unless the
operator spelled that out. Answers are taken byte for byte: identity encoding is asked for, and anything else is refused
rather than unpacked.
"""

from __future__ import annotations

import re
import ssl
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Self
from urllib.parse import urlsplit

from holdfast.adapters._http import Exchange, HTTPClient, Origin, Response, is_loopback, refuse_encoding
from holdfast.adapters._http_direct import DirectClient
from holdfast.adapters._sse import Event, SSEParser
from holdfast.errors import UsageError
from holdfast.ports.upstream import ModelInfo, UpstreamProtocolError, UpstreamStatusError, UpstreamTimeoutError

USER_AGENT = "holdfast"
MAX_ERROR_BYTES = 64 * 1024
"""Of a provider's error body, this much is kept."""
MAX_MODELS_BYTES = 8 << 20
MODELS_TIMEOUT_S = 10.0
BEARER = ("authorization", "Bearer ")
"""The field that carries the credential, and what stands before it there."""

_CODE = re.compile(r"[a-z0-9-]{1,32}\Z")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_FIELD_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?\Z")
_PATH = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@%/-]*\Z")
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "accept-encoding", "authorization"})


@dataclass(frozen=True, slots=True)
class OpenAIUpstreamConfig:
    """One upstream, as configured. Checked by :class:`UpstreamClient`, which raises ``upstream.config``."""

    code: str
    """Short id, ``[a-z0-9-]{1,32}``; appears in logs, metrics and statements."""
    base_url: str
    """Up to and including the version, for example ``https://api.example.com/v1`` or ``http://127.0.0.1:11434/v1``."""
    api_key: str = field(default="", repr=False)
    """The resolved credential, sent in the provider's own field; ``""`` sends none. Settings hold a reference."""
    models: Mapping[str, str] = field(default_factory=dict)
    """Label -> the provider's own name. Empty: every model the provider lists, under its own name."""
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Further request header fields (an organisation, a project, a gateway's token)."""
    connect_timeout_s: float = 5.0
    max_connections: int = 1024
    """Connections open at once; further requests wait in order, for at most ``connect_timeout_s``."""
    keepalive_s: float = 4.0
    """A free connection older than this is closed rather than reused: common model servers hang up after 5 s."""
    max_event_bytes: int = 12 << 20
    """The largest event of a stream: an image of 8 MiB in base64 (``images.md`` §2(3)) and what stands beside it."""
    max_answer_bytes: int = 64 << 20
    """The largest answer taken, streamed or whole, counted as it comes from the socket: 64 MiB holds ten images."""
    tls_ca_file: str = ""
    """PEM file of the roots to trust instead of the system's."""
    proxy: str = ""
    """``http://host:port`` of an HTTP proxy; ``""`` connects directly. The environment is never asked."""
    http_client: Literal["direct", "aiohttp"] = "direct"
    """Our own client, several times cheaper, or aiohttp. A proxy needs aiohttp and chooses it."""
    insecure_plain_http: bool = False
    """Allow a credential over ``http://`` to a host that is not this machine. Anyone on the path can read it."""


class UpstreamClient:
    """A configured provider over HTTP: what adapters build on. Raises ``upstream.config``."""

    def __init__(
        self,
        config: OpenAIUpstreamConfig,
        *,
        key_field: tuple[str, str] = BEARER,
        fields: Sequence[tuple[str, str]] = (),
    ) -> None:
        if _CODE.match(config.code) is None:
            raise UsageError("upstream.config", "an upstream's code is 1 to 32 of a-z, 0-9 and '-'", param="code")
        self._config = config
        self._origin, self._prefix = make_origin(config, key_field=key_field, fields=fields)
        self._client: HTTPClient
        if config.proxy or config.http_client == "aiohttp":
            from holdfast.adapters._http_aiohttp import AiohttpClient  # noqa: PLC0415 - 60 ms that few need

            self._client = AiohttpClient(self._origin, proxy=config.proxy, max_stream_bytes=config.max_answer_bytes)
        else:
            self._client = DirectClient(self._origin, max_stream_bytes=config.max_answer_bytes)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.code!r}, {self._config.base_url!r})"

    @property
    def code(self) -> str:
        return self._config.code

    async def close(self) -> None:
        await self._client.close()

    async def _get(self, path: str) -> Response:
        """A listing, whatever its status."""
        return await self._client.whole(
            "GET",
            self._prefix + path,
            b"",
            timeout_s=MODELS_TIMEOUT_S,
            max_bytes=MAX_MODELS_BYTES,
            accept="application/json",
        )

    async def _post(self, path: str, body: bytes, timeout_s: float) -> Response:
        """A whole answer of a status from 200 to 299. Raises as ``complete`` of the port does."""
        response = await self._client.whole(
            "POST",
            self._prefix + path,
            body,
            timeout_s=timeout_s,
            max_bytes=self._config.max_answer_bytes,
            accept="application/json",
        )
        require_success(response)
        return response


def offered(labels: Mapping[str, str], listed: Iterable[ModelInfo]) -> list[ModelInfo]:
    """What an upstream offers of what its provider lists: the configured labels, or everything where there are none."""
    if not labels:
        return list(listed)
    by_name = {item.id: item for item in listed}
    return [named(label, by_name[name]) for label, name in labels.items() if name in by_name]


def named(label: str, item: ModelInfo) -> ModelInfo:
    """A listed model under a label of ours."""
    return replace(item, id=label, provider_id="" if label == item.id else item.id)


class Events:
    """A stream of events over HTTP; an adapter says what each comes to. See
    :class:`holdfast.ports.upstream.EventStream`."""

    __slots__ = (
        "_body",
        "_client",
        "_done",
        "_exchange",
        "_idle_timeout_s",
        "_parser",
        "_ready",
        "_target",
        "_timeout_s",
    )

    def __init__(
        self,
        client: HTTPClient,
        target: str,
        body: bytes,
        *,
        timeout_s: float,
        idle_timeout_s: float,
        max_event_bytes: int,
    ) -> None:
        self._client = client
        self._target = target
        self._body = body
        self._timeout_s = timeout_s
        self._idle_timeout_s = idle_timeout_s
        self._parser = SSEParser(max_event_bytes)
        self._exchange: Exchange | None = None
        self._ready: deque[Event] = deque()
        self._done = False

    def __aiter__(self) -> Self:
        return self

    async def aclose(self) -> None:
        if not self._done:
            self._done = True
            if self._exchange is not None:
                self._exchange.abort()
        self._ready.clear()

    def _end(self) -> None:
        self._done = True
        self._ready.clear()
        if self._exchange is not None:
            self._exchange.finish()

    async def _read(self) -> bool:
        """Take one read's worth of events; False at the stream's clean end."""
        if self._parser.failure is not None:
            raise self._parser.failure
        exchange = self._exchange
        if exchange is None:
            exchange = self._exchange = await self._begin()
        data = await exchange.read()
        if data:
            self._ready.extend(self._parser.feed(data))
        return bool(data)

    async def _begin(self) -> Exchange:
        exchange = await self._client.begin(
            self._target, self._body, timeout_s=self._timeout_s, idle_timeout_s=self._idle_timeout_s
        )
        if not 200 <= exchange.status < 300:
            body = await read_error(exchange)
            require_success(Response(exchange.status, exchange.headers, body))
        content_type = exchange.headers.get("content-type", "")
        if content_type.partition(";")[0].strip().lower() != "text/event-stream":
            exchange.abort()
            raise UpstreamProtocolError(
                f"asked for a stream, the provider answered with {content_type[:64]!r}",
                hint="does this server support stream=true?",
            )
        try:
            refuse_encoding(exchange.headers)
        except UpstreamProtocolError:
            exchange.abort()
            raise
        return exchange


async def read_error(exchange: Exchange) -> bytes:
    """The body of a refusal, as far as it came, cut to the limit."""
    body = b""
    try:
        while len(body) < MAX_ERROR_BYTES and (data := await exchange.read()):
            body += data
    except (UpstreamProtocolError, UpstreamTimeoutError):
        pass  # The status already says that it was refused; half an explanation is better than another error.
    exchange.abort()
    return body[:MAX_ERROR_BYTES]


def require_success(response: Response) -> None:
    """Raise ``upstream.status`` for a refusal, and ``upstream.protocol`` for a compressed answer."""
    if 200 <= response.status < 300:
        refuse_encoding(response.headers)
        return
    retry_after = response.headers.get("retry-after", "")
    raise UpstreamStatusError(
        f"the provider answered {response.status}",
        provider_status=response.status,
        body=response.body[:MAX_ERROR_BYTES],
        content_type=response.headers.get("content-type", ""),
        retry_after_s=float(retry_after) if re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,3})?", retry_after) else None,
        hint=_STATUS_HINTS.get(response.status, ""),
    )


_STATUS_HINTS = {
    401: "the upstream's credential is missing or wrong",
    402: "the upstream's account has no credit",
    403: "the upstream's credential may not use this model",
    404: "the provider knows no such model or path: see its list of models, and the base URL",
    429: "the provider limits the rate: slow down, or try again later",
}


def make_origin(
    config: OpenAIUpstreamConfig,
    *,
    key_field: tuple[str, str] = BEARER,
    fields: Sequence[tuple[str, str]] = (),
) -> tuple[Origin, str]:
    """The configured base URL as an origin and a path prefix; raises ``upstream.config``. ``fields`` are header fields
    that the provider wants of everybody."""
    try:
        url = urlsplit(config.base_url)
        port = url.port
    except ValueError as error:
        raise UsageError("upstream.config", "the base URL does not parse", param="base_url") from error
    host = url.hostname or ""
    if url.scheme not in {"http", "https"} or not host or not host.isascii():
        raise UsageError("upstream.config", "a base URL is http:// or https:// and a host", param="base_url")
    if url.username is not None or url.password is not None:
        raise UsageError(
            "upstream.config", "a base URL holds no credential", param="base_url", hint="use api_key instead"
        )
    if url.query or url.fragment or _PATH.match(url.path) is None:
        raise UsageError("upstream.config", "a base URL ends with its path", param="base_url")
    secure = url.scheme == "https"
    if config.api_key and not secure and not is_loopback(host) and not config.insecure_plain_http:
        raise UsageError(
            "upstream.config",
            "a credential would travel in the clear",
            param="base_url",
            hint="use https://, or set insecure_plain_http if you accept that",
        )
    shown = f"[{host}]" if ":" in host else host
    headers = [("host", shown if port is None else f"{shown}:{port}"), ("user-agent", USER_AGENT)]
    if config.api_key:
        if _FIELD_VALUE.match(config.api_key) is None:
            raise UsageError("upstream.config", "the credential is not one line of visible ASCII", param="api_key")
        headers.append((key_field[0], key_field[1] + config.api_key))
    headers += fields
    for name, value in config.headers:
        if _TOKEN.match(name) is None or name.lower() in {*_OURS, key_field[0]} or _FIELD_VALUE.match(value) is None:
            raise UsageError("upstream.config", f"the header {name[:32]!r} cannot be set", param="headers")
        headers.append((name.lower(), value))
    tls = ssl.create_default_context(cafile=config.tls_ca_file or None) if secure else None
    origin = Origin(
        host=host,
        port=port or (443 if secure else 80),
        tls=tls,
        headers=tuple(headers),
        connect_timeout_s=config.connect_timeout_s,
        keepalive_s=config.keepalive_s,
        max_connections=config.max_connections,
    )
    return origin, url.path.rstrip("/")
