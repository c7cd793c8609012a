"""The HTTP server under every node: uvicorn with what it leaves out.

uvicorn bounds neither the size of a request's headers nor the time they may take, and answers a request that does not
parse in plain text. This protocol bounds both and answers in the one error shape. ``make_server`` is the only place
that sets uvicorn's options, so that every node treats slow and broken clients alike.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from holdfast.errors import HoldfastError, MalformedError, RefusedError, UnavailableError, UsageError
from holdfast.nodes.edge import App, error_parts

MAX_HEADER_BYTES = 32 << 10
"""Request line and headers together; common servers allow 8 to 64 KiB."""
HEADER_SECONDS = 10.0
"""From the first byte of a request (or from connecting) to the end of its headers."""
KEEP_ALIVE_SECONDS = 75
"""Idle connections live longer than the 60 s after which common load balancers drop theirs."""


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's httptools protocol with bounded headers and our error shape."""

    max_connections = 4096
    """Connections beyond this are answered 503 and closed; ``make_server`` sets it."""
    _timer: asyncio.TimerHandle | None = None
    _in_headers = False
    _header_bytes = 0
    _refusal: HoldfastError | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A connection that says nothing is closed after ``HEADER_SECONDS``."""
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            message = f"more than {self.max_connections} connections are open"
            self._close_with(UnavailableError("node.busy", message, hint="try again in a moment"))
        else:
            self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timer with the connection."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Headers that one read leaves unfinished are on the clock; most arrive whole and never meet it."""
        super().data_received(data)
        if self._in_headers and self._timer is None:
            self._start_timer()

    def on_message_begin(self) -> None:
        """A new request: count its header bytes from here."""
        self._stop_timer()
        self._header_bytes = 0
        self._in_headers = True
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Part of the request line."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._count(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """From here the body limits of the edge hold."""
        self._in_headers = False
        self._stop_timer()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what does not parse, in the one shape, and close."""
        self._stop_timer()
        self._close_with(self._refusal or MalformedError("request.http", msg))

    def _count(self, size_bytes: int) -> None:
        self._header_bytes += size_bytes
        if self._header_bytes > MAX_HEADER_BYTES:
            message = f"the request headers are larger than {MAX_HEADER_BYTES} bytes"
            self._refusal = RefusedError("request.headers_too_large", message, status=431)
            raise self._refusal  # httptools turns it into its own parser error, which ends in send_400_response

    def _start_timer(self) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(HEADER_SECONDS, self._late)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        message = f"the request headers did not arrive within {HEADER_SECONDS:g} s"
        self._close_with(RefusedError("request.slow", message, status=408))

    def _close_with(self, error: HoldfastError) -> None:
        if self.transport.is_closing():
            return
        status, headers, body = error_parts(error)
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode("ascii")]
        lines += [name + b": " + value for name, value in headers if name != b"connection"]
        self.transport.write(b"\r\n".join([*lines, b"connection: close", b"", body]))
        self.transport.close()


@dataclass(frozen=True, slots=True)
class TLSAddress:
    """A second address of a server, where it speaks TLS."""

    host: str
    port: int
    context: ssl.SSLContext


class Server(uvicorn.Server):
    """A uvicorn server that may serve its app under TLS too: one lifespan, one set of connections and limits."""

    tls: TLSAddress | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen; under TLS last, when the app has started. Raises ``node.listen``."""
        await super().startup(sockets)
        if self.tls is None or not self.started:
            return
        config, address = self.config, self.tls

        def protocol() -> asyncio.Protocol:
            made: asyncio.Protocol = config.http_protocol_class(  # type: ignore[call-arg]
                config=config, server_state=self.server_state, app_state=self.lifespan.state
            )
            return made

        running = asyncio.get_running_loop()
        try:
            listening = await running.create_server(
                protocol, address.host, address.port, ssl=address.context, backlog=config.backlog
            )
        except OSError as error:
            for server in self.servers:
                server.close()
            await self.lifespan.shutdown()
            message = f"cannot listen on {address.host}:{address.port}: {error.strerror}"
            raise UnavailableError("node.listen", message) from error
        self.servers.append(listening)


def make_server(
    app: App,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    max_connections: int = 4096,
    tls: TLSAddress | None = None,
    kind: type[Server] = Server,
    **more: Any,
) -> Server:
    """A server for one node's app; ``await server.serve()`` runs it. ``more`` goes to ``uvicorn.Config``."""
    options: dict[str, Any] = {
        "http": type("NodeProtocol", (BoundedProtocol,), {"max_connections": max_connections}),
        "ws": "none",
        "lifespan": "on",
        "access_log": False,
        "log_config": None,
        "server_header": False,
        "proxy_headers": False,
        "timeout_keep_alive": KEEP_ALIVE_SECONDS,
        **more,
    }
    server = kind(uvicorn.Config(app, host=host, port=port, **options))
    server.tls = tls
    return server


def split_listen(listen: str) -> tuple[str, int]:
    """``HOST:PORT`` to its two halves. Raises ``settings.listen``."""
    host, colon, port = listen.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise UsageError("settings.listen", f"{listen!r} is no HOST:PORT", param="listen")
    return host.removeprefix("[").removesuffix("]"), int(port)
