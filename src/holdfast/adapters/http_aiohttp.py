"""The plain HTTP client (:mod:`holdfast.ports.http`) over aiohttp, one session with kept connections."""

from __future__ import annotations

import io
import ssl
from collections.abc import Mapping

import aiohttp

from holdfast.adapters.tls_pinning import refused_certificate
from holdfast.errors import UnavailableError
from holdfast.ports.http import Answer


class AiohttpHTTP:
    """Makes its session on first use, in the loop that uses it; :meth:`close` ends it.

    ``tls`` decides which certificates are good (``adapters.tls_pinning``); None leaves it to the web's authorities.
    """

    def __init__(self, max_connections: int = 100, *, tls: ssl.SSLContext | None = None) -> None:
        self._max_connections = max_connections
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            connector = aiohttp.TCPConnector(limit=self._max_connections, ssl=self._tls or True)
            self._session = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
            )
        return self._session

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
        try:
            async with self._open().request(
                method,
                url,
                data=_sent(body),
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=timeout_s),
            ) as response:
                parts, size = [], 0
                async for part in response.content.iter_any():
                    size += len(part)
                    if size > max_bytes:
                        raise UnavailableError("http.too_large", f"{url} answered with more than {max_bytes} bytes")
                    parts.append(part)
                found = {name.lower(): value for name, value in response.headers.items()}
                return Answer(response.status, b"".join(parts), found)
        except aiohttp.ClientConnectorCertificateError as error:
            raise refused_certificate(f"{method} {url}", error.certificate_error) from error
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            why = "it took too long" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
            raise UnavailableError("http.unreachable", f"{method} {url}: {why}") from error

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()


_PIECEWISE_BYTES = 1 << 20
"""A longer body goes out in pieces, so that other tasks run between them."""


def _sent(body: bytes) -> bytes | io.BytesIO | None:
    return io.BytesIO(body) if len(body) > _PIECEWISE_BYTES else body or None
