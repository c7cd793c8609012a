"""The same HTTP client over aiohttp, for what ``_http_direct`` leaves out: an HTTP proxy in front of the provider.

Keeps the same rules: no redirects, no cookies, no decompression, no environment, nothing sent twice (aiohttp repeats
only idempotent methods on a stale connection; every request that carries a prompt is a POST).
"""

from __future__ import annotations

import asyncio

import aiohttp

from holdfast.adapters._http import MAX_HEADER_BYTES, Origin, Response, too_large
from holdfast.ports.upstream import (
    TimeoutPhase,
    UpstreamProtocolError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)

_NO_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None)
_BEFORE_ANSWER = (aiohttp.ClientConnectionError, aiohttp.ClientConnectorError, OSError)
_DURING_ANSWER = (aiohttp.ClientPayloadError, aiohttp.ClientConnectionError, OSError)


class _AiohttpExchange:
    """A streamed response; see :class:`holdfast.adapters._http.Exchange`."""

    __slots__ = ("_deadline", "_idle_timeout_s", "_left_bytes", "_limit_bytes", "_response", "headers", "status")

    def __init__(
        self, response: aiohttp.ClientResponse, *, deadline: float, idle_timeout_s: float, limit_bytes: int
    ) -> None:
        self._response = response
        self._deadline = deadline
        self._idle_timeout_s = idle_timeout_s
        self._limit_bytes = self._left_bytes = limit_bytes
        self.status = response.status
        self.headers = _headers(response)

    async def read(self) -> bytes:
        now = asyncio.get_running_loop().time()
        idle_at = now + self._idle_timeout_s
        try:
            async with asyncio.timeout_at(min(idle_at, self._deadline)):
                data = await self._response.content.readany()
        except TimeoutError as error:
            phase: TimeoutPhase = "idle" if idle_at < self._deadline else "total"
            self.abort()
            raise UpstreamTimeoutError(f"the provider did not answer in time ({phase})", phase=phase) from error
        except _DURING_ANSWER as error:
            self.abort()
            raise UpstreamProtocolError("the provider closed the connection in the middle of its answer") from error
        except BaseException:
            self.abort()
            raise
        self._left_bytes -= len(data)
        if self._left_bytes < 0:
            self.abort()
            raise too_large(self._limit_bytes)
        return data

    def finish(self) -> None:
        self._response.release()

    def abort(self) -> None:
        if not self._response.closed:
            self._response.close()


class AiohttpClient:
    """See the module; implements :class:`holdfast.adapters._http.HTTPClient`."""

    def __init__(self, origin: Origin, *, proxy: str, max_stream_bytes: int) -> None:
        self._origin = origin
        self._proxy = proxy or None
        self._max_stream_bytes = max_stream_bytes
        host = f"[{origin.host}]" if ":" in origin.host else origin.host
        self._base = f"{'https' if origin.tls else 'http'}://{host}:{origin.port}"
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"AiohttpClient({self._origin!r}, proxy={self._proxy is not None})"

    def _open(self) -> aiohttp.ClientSession:
        if self._closed:
            raise UpstreamUnreachableError("this upstream was closed", sent=False)
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=self._origin.max_connections,
                    keepalive_timeout=self._origin.keepalive_s,
                    ssl=self._origin.tls or True,
                ),
                headers=[*self._origin.headers, ("accept-encoding", "identity")],
                skip_auto_headers=["user-agent", "accept"],
                auto_decompress=False,
                trust_env=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=_NO_TIMEOUT,
                max_line_size=MAX_HEADER_BYTES,
                max_field_size=MAX_HEADER_BYTES,
            )
        return self._session

    async def _send(
        self, method: str, target: str, body: bytes, *, accept: str, timeout_s: float
    ) -> aiohttp.ClientResponse:
        headers = {"accept": accept}
        if method != "GET":
            headers["content-type"] = "application/json"
        try:
            async with asyncio.timeout(timeout_s):
                return await self._open().request(
                    method,
                    self._base + target,
                    data=body if method != "GET" else None,
                    headers=headers,
                    allow_redirects=False,
                    proxy=self._proxy,
                    timeout=aiohttp.ClientTimeout(
                        total=None, connect=min(self._origin.connect_timeout_s, timeout_s), sock_read=None
                    ),
                )
        except aiohttp.ConnectionTimeoutError as error:
            raise UpstreamTimeoutError("no connection to the provider in time", phase="connect") from error
        except TimeoutError as error:
            raise UpstreamTimeoutError(
                "the provider did not answer in time (first byte)", phase="first_byte"
            ) from error
        except aiohttp.ClientResponseError as error:
            raise UpstreamProtocolError(f"the provider's HTTP does not parse: {type(error).__name__}") from error
        except _BEFORE_ANSWER as error:
            raise UpstreamUnreachableError(
                f"no answer from the provider ({type(error).__name__})",
                hint="is the server running, and are the base URL and the proxy right?",
                sent=not isinstance(error, aiohttp.ClientConnectorError),
            ) from error

    async def whole(
        self, method: str, target: str, body: bytes, *, timeout_s: float, max_bytes: int, accept: str
    ) -> Response:
        deadline = asyncio.get_running_loop().time() + timeout_s
        response = await self._send(method, target, body, accept=accept, timeout_s=timeout_s)
        _limit_head(response)
        exchange = _AiohttpExchange(response, deadline=deadline, idle_timeout_s=timeout_s + 1, limit_bytes=max_bytes)
        chunks = []
        while data := await exchange.read():
            chunks.append(data)
        exchange.finish()
        return Response(exchange.status, exchange.headers, b"".join(chunks))

    async def begin(self, target: str, body: bytes, *, timeout_s: float, idle_timeout_s: float) -> _AiohttpExchange:
        deadline = asyncio.get_running_loop().time() + timeout_s
        response = await self._send(
            "POST", target, body, accept="text/event-stream", timeout_s=min(timeout_s, idle_timeout_s)
        )
        _limit_head(response)
        return _AiohttpExchange(
            response, deadline=deadline, idle_timeout_s=idle_timeout_s, limit_bytes=self._max_stream_bytes
        )

    async def close(self) -> None:
        self._closed = True
        if self._session is not None:
            await self._session.close()


def _limit_head(response: aiohttp.ClientResponse) -> None:
    if sum(len(name) + len(value) for name, value in response.raw_headers) > MAX_HEADER_BYTES:
        response.close()
        raise UpstreamProtocolError(f"the provider sent more than {MAX_HEADER_BYTES} bytes of headers")


def _headers(response: aiohttp.ClientResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}
