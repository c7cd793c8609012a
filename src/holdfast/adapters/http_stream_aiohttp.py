"""Server-sent events (:mod:`holdfast.ports.http_stream`) over aiohttp, one session with kept connections."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import NoReturn

import aiohttp

from holdfast.adapters._answers import read_body, read_events
from holdfast.adapters.tls_pinning import refused_certificate
from holdfast.errors import UnavailableError
from holdfast.ports.http_stream import EventAnswer


class AiohttpEventAnswer:
    """One answer under way."""

    def __init__(self, response: aiohttp.ClientResponse, url: str, max_bytes: int) -> None:
        self._response = response
        self._url = url
        self._max_bytes = max_bytes
        self.status = response.status
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in response.headers.items()}

    def events(self) -> AsyncIterator[tuple[str, bytes]]:
        """Events as they become complete."""
        return read_events(self.pieces(), self._max_bytes, self._url)

    async def body(self) -> bytes:
        """The rest of the answer, bounded."""
        return await read_body(self.pieces(), self._max_bytes, self._url)

    async def pieces(self) -> AsyncIterator[bytes]:
        """What arrives, as it arrives."""
        try:
            async for piece in self._response.content.iter_any():
                yield piece
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            _unreachable(self._url, error)


class AiohttpEvents:
    """Makes its session on first use, in the loop that uses it; :meth:`close` ends it.

    ``tls`` decides which certificates are good (``adapters.tls_pinning``); None leaves it to the web's authorities.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._tls or True),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        return self._session

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
        """See the port."""
        limits = aiohttp.ClientTimeout(total=None, sock_read=idle_timeout_s)
        try:
            async with asyncio.timeout(timeout_s):
                response = await self._open_session().request(
                    method, url, data=body or None, headers=headers, allow_redirects=False, timeout=limits
                )
        except aiohttp.ClientConnectorCertificateError as error:
            raise refused_certificate(f"{method} {url}", error.certificate_error) from error
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            _unreachable(f"{method} {url}", error)
        try:
            yield AiohttpEventAnswer(response, url, max_bytes)
        finally:
            response.close()

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()


def _unreachable(what: str, error: Exception) -> NoReturn:
    why = "it took too long" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
    raise UnavailableError("http.unreachable", f"{what}: {why}") from error
