"""What the OpenAI-shaped upstream needs from an HTTP/1.1 client, and the limits both clients keep.

Two clients stand behind it: ``_http_direct`` (asyncio protocol and httptools, the default; about four times cheaper per
request) and ``_http_aiohttp`` (used when an HTTP proxy is configured). Neither follows redirects, decompresses, reads
the environment, keeps cookies, or sends anything twice.
"""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from typing import Protocol

from holdfast.ports.upstream import UpstreamProtocolError, UpstreamTooLargeError

MAX_HEADER_BYTES = 64 * 1024
"""All response header fields together."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where to connect and what to say there; the one value that holds the credential."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    headers: tuple[tuple[str, str], ...]
    """Sent with every request: ``host``, ``authorization`` and what the operator added."""
    connect_timeout_s: float
    keepalive_s: float
    max_connections: int

    def __repr__(self) -> str:
        return f"Origin({self.host}:{self.port}, tls={self.tls is not None})"


@dataclass(slots=True)
class Response:
    """A whole response."""

    status: int
    headers: dict[str, str]
    """Lower-case names; of a repeated field the last."""
    body: bytes


class Exchange(Protocol):
    """A response whose body is still arriving."""

    status: int
    headers: dict[str, str]

    async def read(self) -> bytes:
        """What has arrived since the last read, at least one byte; ``b""`` at the clean end. Raises upstream errors."""
        ...

    def finish(self) -> None:
        """The caller has all it wants; the connection is kept if the body ends on its own at once, else dropped."""
        ...

    def abort(self) -> None:
        """Drop the connection now. Harmless after the end."""
        ...


class HTTPClient(Protocol):
    """One pool of connections to one origin."""

    async def whole(
        self, method: str, target: str, body: bytes, *, timeout_s: float, max_bytes: int, accept: str
    ) -> Response:
        """Send a request and return the response when it is complete."""
        ...

    async def begin(self, target: str, body: bytes, *, timeout_s: float, idle_timeout_s: float) -> Exchange:
        """POST and return as soon as the response's head is here."""
        ...

    async def close(self) -> None:
        """Close every connection; exchanges under way fail with ``upstream.unreachable``."""
        ...


def is_loopback(host: str) -> bool:
    """Whether a host is this machine: what goes there in the clear is seen by nobody else."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def refuse_encoding(headers: dict[str, str]) -> None:
    """Identity was asked for; a compressed body would be other bytes than those the provider signed for."""
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"", "identity"}:
        raise UpstreamProtocolError(
            f"the provider compressed its answer ({encoding[:32]!r}) although identity was asked for",
            hint="switch compression off in front of this upstream",
        )


def too_large(max_bytes: int) -> UpstreamTooLargeError:
    """The error for an answer that passed ``max_bytes``."""
    return UpstreamTooLargeError(
        f"the answer is larger than {max_bytes} bytes", hint="raise the upstream's max_answer_bytes if this is expected"
    )
