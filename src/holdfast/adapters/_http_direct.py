"""A pooled HTTP/1.1 client of one origin: asyncio protocol, httptools parser, one write per request.

Made for one job, many small POSTs to one server, because a general client costs more than everything else the gateway
does for a request. What it keeps: connect, first-byte, idle and total deadlines; header and body limits; back-pressure
on streamed bodies; interim (1xx) responses; last-in first-out reuse so that a burst's extra connections age and close.

A kept-alive connection is reused only while it is younger than ``keepalive_s``, below the five seconds after which
common model servers close theirs. A request that meets a closing connection all the same fails with
``upstream.unreachable`` and is not sent again: the same prompt must never silently run twice.

Not covered: HTTP/2, proxies, redirects, cookies, compression, pipelining, trailers (read and dropped).
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import cast

import httptools

from holdfast.adapters._http import MAX_HEADER_BYTES, Origin, Response, too_large
from holdfast.ports.upstream import (
    TimeoutPhase,
    UpstreamProtocolError,
    UpstreamTimeoutError,
    UpstreamTooLargeError,
    UpstreamUnreachableError,
)

_HIGH_WATER = 1 << 20
"""A streamed body stops being read from the socket while this much of it waits for its reader."""
_DRAIN_S = 1.0
"""After the caller has all it wants, the response has this long to end by itself before the connection is dropped."""
_NO_BODY_STATUS_LIMIT = 200

JSON = "application/json"
"""Media type of what is sent where nothing else is said."""
_Shape = tuple[str, str, str, str, tuple[tuple[str, str], ...]]
_Failure = UpstreamUnreachableError | UpstreamProtocolError | UpstreamTimeoutError | UpstreamTooLargeError


class _Connection(asyncio.Protocol):
    """One TCP or TLS connection and the exchange on it, if any. Owned by its pool; used by one exchange at a time."""

    __slots__ = (
        "_chunks",
        "_deadline",
        "_headers_bytes",
        "_held_bytes",
        "_idle_timeout_s",
        "_max_bytes",
        "_parser",
        "_paused",
        "_pool",
        "_size",
        "_timer",
        "_total",
        "_transport",
        "_waiter",
        "_whole",
        "active",
        "closed",
        "complete",
        "draining",
        "failure",
        "head_done",
        "headers",
        "heard_at",
        "keep",
        "status",
    )

    def __init__(self, pool: DirectClient) -> None:
        self._pool = pool
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._paused = False
        self._whole = True
        self._max_bytes = 0
        self._deadline = 0.0
        self._idle_timeout_s = 0.0
        self.closed = False
        self.active = False
        """An exchange is on this connection; without one, a byte from the other side is a fault."""
        self.heard_at = 0.0
        """Loop time of the last byte from the other side, or of the moment the connection became free."""
        self._reset()

    def _reset(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.head_done = False
        self.complete = False
        self.keep = False
        self.draining = False
        self.failure: _Failure | None = None
        self._chunks: list[bytes] = []
        self._headers_bytes = 0
        self._held_bytes = 0
        self._size = 0

    # The asyncio side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if not self.active:
            self.drop()  # Bytes that nobody asked for: the connection cannot be trusted with a request.
            return
        self.heard_at = self._pool.loop.time()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail(UpstreamProtocolError("the provider switched protocols"))
        except httptools.HttpParserError as error:
            self._fail(UpstreamProtocolError(f"the provider's HTTP does not parse: {type(error).__name__}"))
        self._wake()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        if not self.complete and self.failure is None:
            if self.head_done and exc is None and not self._framed():
                self.complete = True  # RFC 9112 §6.3 rule 8: a body without a length ends with its connection.
            elif self.status:
                self.failure = UpstreamProtocolError("the provider closed the connection in the middle of its answer")
            else:
                self.failure = UpstreamUnreachableError("the provider closed the connection before it answered")
        self._pool.forget(self)
        self._wake()

    def _framed(self) -> bool:
        return "content-length" in self.headers or "transfer-encoding" in self.headers

    # The parser's side.

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers_bytes += len(name) + len(value)
        if self._headers_bytes > MAX_HEADER_BYTES:
            self._fail(UpstreamProtocolError(f"the provider sent more than {MAX_HEADER_BYTES} bytes of headers"))
            return
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < _NO_BODY_STATUS_LIMIT:
            self.headers = {}
            return
        self.status = status
        self.head_done = True
        self.keep = self._parser.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        if self.failure is not None:
            return
        self._size += len(data)
        if self._size > self._max_bytes:
            self._fail(too_large(self._max_bytes))
            return
        self._chunks.append(data)
        if not self._whole:
            self._held_bytes += len(data)
            if self._held_bytes > _HIGH_WATER and not self._paused and self._transport is not None:
                self._paused = True
                self._transport.pause_reading()

    def on_message_complete(self) -> None:
        if self.head_done and self.failure is None:
            self.complete = True

    # The exchange's side.

    def _wake(self) -> None:
        if self.draining:
            if self.complete or self.closed:
                self._end_drain()
            return
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        if self.failure is not None or self.complete or (not self._whole and self.head_done):
            waiter.set_result(None)

    def _fail(self, failure: _Failure) -> None:
        if self.failure is None and not self.complete:
            self.failure = failure
        self.drop()

    def shut(self) -> None:
        """The upstream is being closed: whoever waits here is told so."""
        self._fail(UpstreamUnreachableError("this upstream was closed"))
        self._wake()

    def drop(self) -> None:
        """Close at once, without waiting for the other side."""
        self.closed = True
        self._pool.forget(self)
        if self._transport is not None:
            self._transport.abort()

    def send(self, request: bytes, *, timeout_s: float, idle_timeout_s: float, max_bytes: int, whole: bool) -> None:
        """Begin an exchange: reset, write, arm the deadline. ``timeout_s`` is what is left of the total."""
        self._reset()
        self.active = True
        self._whole = whole
        self._max_bytes = max_bytes
        self._idle_timeout_s = idle_timeout_s
        loop = self._pool.loop
        self.heard_at = loop.time()
        self._deadline = self.heard_at + timeout_s
        self._timer = loop.call_at(
            self._deadline if whole else min(self._deadline, self.heard_at + idle_timeout_s), self._on_timer
        )
        if self._transport is None or self._transport.is_closing():
            self._fail(UpstreamUnreachableError("the connection closed before the request was sent", sent=False))
            return
        self._transport.write(request)

    def _on_timer(self) -> None:
        if self.complete:
            return
        now = self._pool.loop.time()
        due = self._deadline if self._whole else min(self._deadline, self.heard_at + self._idle_timeout_s)
        if now < due - 0.001 or (self._paused and now < self._deadline):
            # The other side spoke meanwhile, or is held back by our own reader: look again later.
            again = due if not self._paused else min(self._deadline, now + self._idle_timeout_s)
            self._timer = self._pool.loop.call_at(again, self._on_timer)
            return
        phase: TimeoutPhase = "first_byte" if not self.head_done else "idle"
        if now >= self._deadline - 0.001 and self.head_done:
            phase = "total"
        self._fail(
            UpstreamTimeoutError(f"the provider did not answer in time ({phase.replace('_', ' ')})", phase=phase)
        )
        self._wake()

    async def wait(self) -> None:
        """Until the head (streamed) or all of the answer (whole) is here, or more of the body, or a failure."""
        self._waiter = self._pool.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def take(self) -> bytes:
        """The bytes that arrived since the last take; resumes a paused socket."""
        chunks = self._chunks
        if not chunks:
            return b""
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self._held_bytes = 0
        if self._paused:
            self._paused = False
            self.heard_at = self._pool.loop.time()
            if self._transport is not None and not self.closed:
                self._transport.resume_reading()
        return data

    def end(self) -> None:
        """The exchange is over: give the connection back if it can serve another, else drop it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.active = False
        if self.complete and self.keep and not self.closed:
            self.heard_at = self._pool.loop.time()
            self._pool.give_back(self)
        else:
            self.drop()

    def drain(self) -> None:
        """Let the body end by itself for a moment, so that the connection can be kept."""
        if self.complete or self.closed:
            self.end()
            return
        self.draining = True
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._pool.loop.call_later(_DRAIN_S, self.drop)

    def _end_drain(self) -> None:
        self.draining = False
        self.end()


class _DirectExchange:
    """A streamed response; see :class:`holdfast.adapters._http.Exchange`."""

    __slots__ = ("_connection", "_ended", "headers", "status")

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection
        self._ended = False
        self.status = 0
        self.headers: dict[str, str] = {}

    async def read(self) -> bytes:
        connection = self._connection
        while True:
            if data := connection.take():
                return data
            if connection.failure is not None:
                self.abort()
                raise connection.failure
            if connection.complete:
                self.finish()
                return b""
            try:
                await connection.wait()
            except BaseException:
                self.abort()
                raise

    def finish(self) -> None:
        if not self._ended:
            self._ended = True
            self._connection.drain()

    def abort(self) -> None:
        if not self._ended:
            self._ended = True
            self._connection.keep = False
            self._connection.end()


class DirectClient:
    """See the module; implements :class:`holdfast.adapters._http.HTTPClient`. Bound to the loop of its first call."""

    def __init__(self, origin: Origin, *, max_stream_bytes: int) -> None:
        self._origin = origin
        self._max_stream_bytes = max_stream_bytes
        self._fields = "".join(f"{name}: {value}\r\n" for name, value in origin.headers).encode("ascii")
        self._idle: deque[_Connection] = deque()
        self._open: set[_Connection] = set()
        self._connecting = 0
        self._queue: deque[asyncio.Future[_Connection | None]] = deque()
        self._heads: dict[_Shape, bytes] = {}
        self._reaper: asyncio.TimerHandle | None = None
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def __repr__(self) -> str:
        return f"DirectClient({self._origin!r}, open={len(self._open)}, idle={len(self._idle)})"

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that owns the sockets."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop

    # The pool.

    def give_back(self, connection: _Connection) -> None:
        """A connection is free: to the first task in the queue, else to the idle ones."""
        while self._queue:
            waiter = self._queue.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        if self._closed:
            connection.drop()
            return
        self._idle.append(connection)
        if self._reaper is None:
            self._reaper = self.loop.call_later(self._origin.keepalive_s, self._reap)

    def forget(self, connection: _Connection) -> None:
        """A connection is gone; its place goes to the first task in the queue. Safe to call twice."""
        if connection not in self._open:
            return
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._hand_on_place()

    def _hand_on_place(self) -> None:
        while self._queue:
            waiter = self._queue.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _reap(self) -> None:
        self._reaper = None
        oldest_kept = self.loop.time() - self._origin.keepalive_s
        while self._idle and self._idle[0].heard_at <= oldest_kept + 0.001:
            self._idle.popleft().drop()
        if self._idle:
            self._reaper = self.loop.call_at(self._idle[0].heard_at + self._origin.keepalive_s, self._reap)

    async def _acquire(self, timeout_s: float) -> _Connection:
        if self._closed:
            raise UpstreamUnreachableError("this upstream was closed", sent=False)
        oldest_kept = self.loop.time() - self._origin.keepalive_s
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed and connection.heard_at > oldest_kept:
                return connection
            connection.drop()
        wait_s = min(timeout_s, self._origin.connect_timeout_s)
        try:
            async with asyncio.timeout(wait_s):
                return await self._connect_in_turn()
        except TimeoutError as error:
            raise UpstreamTimeoutError(f"no connection to the provider within {wait_s:g} s", phase="connect") from error

    async def _connect_in_turn(self) -> _Connection:
        while len(self._open) + self._connecting >= self._origin.max_connections:
            waiter: asyncio.Future[_Connection | None] = self.loop.create_future()
            self._queue.append(waiter)
            try:
                given = await waiter
            except BaseException:
                if waiter.done() and not waiter.cancelled():
                    if (missed := waiter.result()) is not None:
                        self.give_back(missed)
                    else:
                        self._hand_on_place()
                raise
            if given is not None and not given.closed:
                return given
            if self._closed:
                raise UpstreamUnreachableError("this upstream was closed", sent=False)
        return await self._connect()

    async def _connect(self) -> _Connection:
        origin = self._origin
        self._connecting += 1
        try:
            _, connection = await self.loop.create_connection(
                lambda: _Connection(self), origin.host, origin.port, ssl=origin.tls
            )
        except (OSError, EOFError) as error:
            self._hand_on_place()
            # The error's own text holds the address, which is nobody's business but the operator's.
            raise UpstreamUnreachableError(
                f"cannot connect to the provider ({_reason(error)})",
                hint="is the server running, and is the base URL right?",
                sent=False,
            ) from error
        except BaseException:
            self._hand_on_place()
            raise
        finally:
            self._connecting -= 1
        if self._closed:
            connection.drop()
            raise UpstreamUnreachableError("this upstream was closed", sent=False)
        if not connection.closed:
            self._open.add(connection)
        return connection

    # Requests.

    def _request(
        self,
        method: str,
        target: str,
        accept: str,
        body: bytes,
        content_type: str = JSON,
        fields: tuple[tuple[str, str], ...] = (),
    ) -> bytes:
        key = (method, target, accept, content_type, fields)
        head = self._heads.get(key)
        if head is None:
            more = "".join(f"{name}: {value}\r\n" for name, value in fields)
            if method != "GET":
                more += f"content-type: {content_type}\r\n"
            head = self._heads[key] = b"%b %b HTTP/1.1\r\n%baccept: %b\r\naccept-encoding: identity\r\n%b" % (
                method.encode("ascii"),
                target.encode("ascii"),
                self._fields,
                accept.encode("ascii"),
                more.encode("ascii"),
            )
        if method == "GET":
            return head + b"\r\n"
        return b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body)

    async def whole(
        self, method: str, target: str, body: bytes, *, timeout_s: float, max_bytes: int, accept: str
    ) -> Response:
        deadline = self.loop.time() + timeout_s
        connection = await self._acquire(timeout_s)
        connection.send(
            self._request(method, target, accept, body),
            timeout_s=deadline - self.loop.time(),
            idle_timeout_s=timeout_s,
            max_bytes=max_bytes,
            whole=True,
        )
        try:
            if connection.failure is None:
                await connection.wait()
            if connection.failure is not None:
                raise connection.failure
            return Response(connection.status, connection.headers, connection.take())
        finally:
            connection.end()

    async def begin(
        self,
        target: str,
        body: bytes,
        *,
        timeout_s: float,
        idle_timeout_s: float,
        accept: str = "text/event-stream",
        content_type: str = JSON,
        fields: tuple[tuple[str, str], ...] = (),
    ) -> _DirectExchange:
        """See the protocol. ``content_type`` and ``fields`` are of closed sets: heads are kept."""
        deadline = self.loop.time() + timeout_s
        connection = await self._acquire(timeout_s)
        connection.send(
            self._request("POST", target, accept, body, content_type, fields),
            timeout_s=deadline - self.loop.time(),
            idle_timeout_s=idle_timeout_s,
            max_bytes=self._max_stream_bytes,
            whole=False,
        )
        exchange = _DirectExchange(connection)
        try:
            if connection.failure is None:
                await connection.wait()
        except BaseException:
            exchange.abort()
            raise
        if connection.failure is not None and not connection.head_done:
            exchange.abort()
            raise connection.failure
        exchange.status = connection.status
        exchange.headers = connection.headers
        return exchange

    async def close(self) -> None:
        self._closed = True
        if self._reaper is not None:
            self._reaper.cancel()
        for connection in list(self._open):
            connection.shut()
        while self._queue:
            waiter = self._queue.popleft()
            if not waiter.done():
                waiter.set_result(None)
        await asyncio.sleep(0)


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror and error.errno is not None:
        return f"{type(error).__name__}, errno {error.errno}"
    return type(error).__name__
