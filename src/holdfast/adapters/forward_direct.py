"""Handing requests on (:mod:`holdfast.ports.forward`) over our own HTTP/1.1 client: what a relay adds to an answer is
mostly this, and a general client takes several times as long."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from holdfast.adapters._http import Exchange, Origin, is_loopback, refuse_encoding
from holdfast.adapters._http_direct import DirectClient
from holdfast.errors import HoldfastError, UnavailableError, UsageError
from holdfast.ports.upstream import UpstreamTimeoutError, UpstreamTooLargeError, UpstreamUnreachableError


@dataclass(frozen=True, slots=True)
class ForwardConfig:
    """One server and how to reach it."""

    base_url: str
    """``http://`` or ``https://``, a host, and perhaps a path to put before every other."""
    token: str = field(default="", repr=False)
    """Sent as ``Authorization: Bearer`` with every request; ``""`` sends none."""
    tls_ca_file: str = ""
    """PEM file of the certificates to trust instead of the system's: the server's own, or its authority's."""
    connect_timeout_s: float = 5.0
    keepalive_s: float = 60.0
    """A free connection older than this is closed rather than reused: our nodes hang up after 75 s."""
    max_connections: int = 1024
    max_bytes: int = 64 << 20
    """The largest answer."""
    insecure_plain_http: bool = False
    """Allow the token over ``http://`` to a host that is not this machine. Anyone on the path can read it."""


class DirectForwarder:
    """Implements :class:`holdfast.ports.forward.Forwarder`."""

    def __init__(self, config: ForwardConfig) -> None:
        origin, self._prefix = _origin(config)
        self._client = DirectClient(origin, max_stream_bytes=config.max_bytes)

    async def post(
        self,
        path: str,
        body: bytes,
        *,
        content_type: str,
        accept: str,
        fields: tuple[tuple[str, str], ...] = (),
        timeout_s: float,
        idle_timeout_s: float,
    ) -> DirectForwarded:
        try:
            exchange = await self._client.begin(
                self._prefix + path,
                body,
                timeout_s=timeout_s,
                idle_timeout_s=idle_timeout_s,
                accept=accept,
                content_type=content_type,
                fields=fields,
            )
        except HoldfastError as error:
            raise _failure(error) from error
        try:
            refuse_encoding(exchange.headers)
        except HoldfastError as error:
            exchange.abort()
            raise _failure(error) from error
        return DirectForwarded(exchange)

    async def close(self) -> None:
        await self._client.close()


class DirectForwarded:
    """Implements :class:`holdfast.ports.forward.Forwarded`."""

    __slots__ = ("_exchange",)

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    @property
    def status(self) -> int:
        return self._exchange.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._exchange.headers

    async def read(self) -> bytes:
        try:
            return await self._exchange.read()
        except HoldfastError as error:
            raise _failure(error) from error

    def abort(self) -> None:
        self._exchange.abort()


def _failure(error: HoldfastError) -> UnavailableError:
    """The client's errors in the words of this port: it was made for providers of models."""
    if isinstance(error, UpstreamUnreachableError):
        return UnavailableError("forward.unreachable", "the server cannot be reached", status=502)
    if isinstance(error, UpstreamTimeoutError):
        return UnavailableError("forward.timeout", "the server did not answer in time", status=504)
    if isinstance(error, UpstreamTooLargeError):
        return UnavailableError("forward.too_large", "the server's answer is too large", status=502)
    return UnavailableError("forward.protocol", "the server's answer is broken", status=502)


def _origin(config: ForwardConfig) -> tuple[Origin, str]:
    """Where to connect, and the path before every other. Raises ``forward.config``."""
    parts = urlsplit(config.base_url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme not in ("http", "https") or not parts.hostname or port == -1 or parts.query or parts.fragment:
        raise UsageError("forward.config", f"{config.base_url!r} is no http:// or https:// address", param="url")
    host, tls = parts.hostname, None
    if parts.scheme == "https":
        try:
            tls = ssl.create_default_context(cafile=config.tls_ca_file or None)
        except OSError as error:  # ssl.SSLError is one
            message = f"{config.tls_ca_file} holds no certificates that can be read"
            raise UsageError("forward.config", message, param="tls_ca_file") from error
    elif config.token and not is_loopback(host) and not config.insecure_plain_http:
        raise UsageError(
            "forward.config",
            "a key would travel in the clear",
            param="url",
            hint="use https://, or set insecure_plain_http if you accept that",
        )
    shown = f"[{host}]" if ":" in host else host
    headers = [("host", shown if port is None else f"{shown}:{port}")]
    if config.token:
        headers.append(("authorization", f"Bearer {config.token}"))
    origin = Origin(
        host=host,
        port=port or (443 if tls else 80),
        tls=tls,
        headers=tuple(headers),
        connect_timeout_s=config.connect_timeout_s,
        keepalive_s=config.keepalive_s,
        max_connections=config.max_connections,
    )
    return origin, parts.path.rstrip("/")
