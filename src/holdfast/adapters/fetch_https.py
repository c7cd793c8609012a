"""Asking sources over HTTP/1.1 and TLS, with everything that was observed kept (``spec/sources.md`` §4, §5).

Order of things, each before the next: the name is resolved; every address is looked at; a connection is made to one of
those very addresses; the session is verified against roots and name, and its key against the pins; the request goes
out, its exact bytes digested with the credential replaced; the answer is read up to the limits. A redirect is looked at
like a new question and never leaves the origin.

What is observed of a session: protocol, cipher, the leaf and its key, the certificates that the peer sent, and the root
that they led to. CPython 3.13 gives the two chains publicly (``ssl.SSLObject.get_unverified_chain``); from 3.10 on the
object below has them under the same names. Where neither does, the chain is None: only the leaf was seen.

A connection is kept for its definition and used again while it is young; its facts are those of its own handshake. A
request that meets one that its peer closed meanwhile, without a byte of an answer, is sent once more on a new one: what
sources are asked changes nothing there.

Not covered: HTTP/2, proxies, cookies, content codings (refused: nothing is unpacked), bodies without announced length
(refused: their end could be anybody's).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, cast

import httptools

from holdfast.adapters.tls_files import spki_digest
from holdfast.core.addresses import Address, check_address, parse_address
from holdfast.core.admissions import HEADERS, MAX_CHAIN, MAX_HEADER, HTTPFacts, Roots, SentRequest, TLSFacts
from holdfast.core.chain_reads import build_batch
from holdfast.core.encoding import sha256_hex
from holdfast.core.sources import Definition, Location, Resolved, Transport, locate
from holdfast.errors import HoldfastError, RefusedError, UnavailableError
from holdfast.ports.clock import Clock
from holdfast.ports.fetch import Observed
from holdfast.ports.settings import Secret

Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]
"""A host name and a port to every address that it has."""
PLACEHOLDER = b"{credential}"
"""What stands for a credential where a request is digested (``admission.md`` §3)."""
AGENT = "holdfast-data/1"
MAX_HEADER_BYTES = 64 << 10
"""All header fields of an answer together."""
KEEP_S = 15.0
"""How long an idle connection is kept."""
MOST_IDLE = 16
"""Idle connections kept for one definition."""
MOST_STATUS = 599
"""Greater numbers are no status (RFC 9110 §15)."""
_REDIRECTS = (301, 302, 303, 307, 308)
_CREDENTIAL = re.compile(rb"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?\Z")


async def resolve_by_system(host: str, port: int) -> Sequence[Address]:
    """The system's resolver. Raises ``source.unreachable``."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise UnavailableError("source.unreachable", f"the name {host} is not found", status=502) from error
    literals = (parse_address(str(item[4][0])) for item in found)
    return list(dict.fromkeys(item for item in literals if item is not None))


class _Connection(asyncio.Protocol):
    """One connection and the exchange on it. Used by one fetch at a time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._parser = httptools.HttpResponseParser(self)
        self._done: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._most_bytes = 0
        self.tls: TLSFacts | None = None
        self.closed = False
        self.idle_since = 0.0
        self._reset()

    def _reset(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.first_byte: Any = None
        self.keep = False
        self._chunks: list[bytes] = []
        self._size = 0
        self._header_bytes = 0
        self._head = False

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._done is None or self._done.done():
            self.drop()  # bytes that nobody asked for
            return
        if self.first_byte is None:
            self.first_byte = self._clock.now()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._end(RefusedError("source.protocol", "the source switches protocols", status=502))
        except httptools.HttpParserError:
            self._end(RefusedError("source.protocol", "the source's HTTP does not parse", status=502))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio's signature)
        self.closed = True
        if self._head:
            self._end(RefusedError("source.truncated", "the answer ends before its announced end", status=502))
        else:
            self._end(UnavailableError("source.unreachable", "the source closes the connection", status=502))

    # the parser's side

    def on_message_begin(self) -> None:
        if self._done is None or self._done.done():
            self.drop()  # a second answer, behind the one that was asked for

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.closed:
            return
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > MAX_HEADER_BYTES:
            self._end(RefusedError("source.size", "the answer's headers are too large", status=502))
            return
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self.closed:
            return
        if status > MOST_STATUS:
            self._end(RefusedError("source.protocol", "the source's status is none of HTTP's", status=502))
        if status < HTTPStatus.OK:
            self.headers = {}
            return
        self.status, self._head = status, True
        self.keep = self._parser.should_keep_alive()
        if self.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
            self._end(
                RefusedError("source.encoding", "the answer has a content coding that nobody asked for", status=502)
            )
        length = self.headers.get("content-length")
        if length is None and "transfer-encoding" not in self.headers and status == HTTPStatus.OK:
            self._end(RefusedError("source.truncated", "the answer does not say where it ends", status=502))
        if length is not None and length.isdigit() and int(length) > self._most_bytes:
            self._end(self._too_large())

    def on_body(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._most_bytes:
            self._end(self._too_large())
        elif self._done is not None and not self._done.done():
            self._chunks.append(data)

    def on_message_complete(self) -> None:
        if self._head and self._done is not None and not self._done.done():
            self._done.set_result(None)

    def _too_large(self) -> HoldfastError:
        return RefusedError("source.size", f"the answer is larger than {self._most_bytes} bytes", status=502)

    # the fetcher's side

    def _end(self, error: HoldfastError) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(error)
            self.drop()

    def drop(self) -> None:
        """Close at once."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    async def exchange(self, request: bytes, most_bytes: int) -> bytes:
        """Send a request and return the body of its answer. Raises ``source.*``."""
        self._reset()
        self._most_bytes = most_bytes
        self._done = asyncio.get_running_loop().create_future()
        if self._transport is None or self._transport.is_closing():
            self._end(UnavailableError("source.unreachable", "the source closes the connection", status=502))
        else:
            self._transport.write(request)
        try:
            await self._done
        except asyncio.CancelledError:
            self.drop()
            raise
        return self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)


@dataclass(frozen=True, slots=True)
class _Request:
    """The bytes of one request, and what stands of it in an admission."""

    sent: bytes
    facts: SentRequest


class HTTPSFetcher:
    """See the module and :class:`holdfast.ports.fetch.Fetcher`."""

    def __init__(self, clock: Clock, resolve: Resolve = resolve_by_system) -> None:
        self._clock = clock
        self._resolve = resolve
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._idle: dict[tuple[str, str, int], list[_Connection]] = {}

    async def fetch(self, asked: Resolved, credential: Secret | None, seen: Observed) -> None:
        definition = asked.source
        transport = definition.transport
        where = locate(asked.url)
        try:
            async with asyncio.timeout(transport.seconds):
                connection = await self._ask(definition, where, asked, credential, seen)
                for _ in range(transport.redirects):
                    if connection.status not in _REDIRECTS:
                        break
                    where = _follow(where, connection.headers.get("location", ""), seen)
                    connection = await self._ask(definition, where, asked, credential, seen)
                if connection.status in _REDIRECTS:
                    raise RefusedError("source.redirected", "the source redirects, once too often", status=502)
                _check_answer(transport, connection)
        except TimeoutError as error:
            raise UnavailableError(
                "source.timeout", f"no whole answer within {transport.seconds} s", status=504
            ) from error

    async def _ask(
        self, definition: Definition, where: Location, asked: Resolved, credential: Secret | None, seen: Observed
    ) -> _Connection:
        """One request and its answer, whatever that is."""
        request = _build(definition, where, asked, credential)
        connection, used = await self._acquire(definition, where)
        while True:
            seen.requested, seen.request, seen.tls = self._clock.now(), request.facts, connection.tls
            seen.first_byte = seen.http = None
            try:
                seen.body = await connection.exchange(request.sent, definition.transport.most_bytes)
                break
            except UnavailableError:
                if not used or connection.first_byte is not None:
                    raise
                connection, used = await self._connect(definition, where), False
            finally:
                seen.first_byte = connection.first_byte
        kept = {name: connection.headers[name][:MAX_HEADER] for name in HEADERS if name in connection.headers}
        seen.http = HTTPFacts(connection.status, kept, tuple(seen.hosts), sha256_hex(seen.body), len(seen.body))
        self._give_back(definition, where, connection)
        return connection

    # connections

    async def _acquire(self, definition: Definition, where: Location) -> tuple[_Connection, bool]:
        """A connection, and whether it was used before."""
        idle = self._idle.get((definition.digest, where.host, where.port), [])
        oldest = asyncio.get_running_loop().time() - KEEP_S
        while idle:
            connection = idle.pop()
            if not connection.closed and connection.idle_since > oldest:
                return connection, True
            connection.drop()
        return await self._connect(definition, where), False

    def _give_back(self, definition: Definition, where: Location, connection: _Connection) -> None:
        idle = self._idle.setdefault((definition.digest, where.host, where.port), [])
        if not connection.keep or connection.closed or len(idle) >= MOST_IDLE:
            connection.drop()
            return
        connection.idle_since = asyncio.get_running_loop().time()
        idle.append(connection)

    async def _connect(self, definition: Definition, where: Location) -> _Connection:
        transport = definition.transport
        literal = parse_address(where.host)
        found = [literal] if literal is not None else await self._resolve(where.host, where.port)
        for address in found:
            check_address(address, transport.addresses)
        if not found:
            raise UnavailableError("source.unreachable", f"the name {where.host} has no address", status=502)
        failure: HoldfastError | None = None
        for address in found:
            try:
                return await self._connect_to(address, definition, where)
            except UnavailableError as error:
                failure = error
        raise failure or UnavailableError("source.unreachable", "the source has no address", status=502)

    async def _connect_to(self, address: Address, definition: Definition, where: Location) -> _Connection:
        """To one address that was looked at; its name is for TLS alone and resolved by nobody."""
        secure = where.scheme == "https"
        context = self._context(definition) if secure else None
        loop = asyncio.get_running_loop()
        try:
            made, connection = await loop.create_connection(
                lambda: _Connection(self._clock),
                str(address),
                where.port,
                ssl=context,
                server_hostname=where.host if secure else None,
            )
        except ssl.SSLCertVerificationError as error:
            why = str(error.verify_message or "it does not verify")
            raise RefusedError(
                "source.certificate", f"the source's certificate is refused: {why}", status=502
            ) from error
        except ssl.SSLError as error:
            raise RefusedError("source.tls", f"no TLS session: {error.reason or 'it failed'}", status=502) from error
        except (OSError, EOFError) as error:
            raise UnavailableError("source.unreachable", "no connection to the source", status=502) from error
        if secure:
            sni = None if parse_address(where.host) is not None else where.host
            store = "definition" if definition.transport.roots else "system"
            family = "ipv4" if address.version == 4 else "ipv6"
            connection.tls = session_facts(made.get_extra_info("ssl_object"), store, sni, family)
            if definition.transport.pins and connection.tls.spki not in definition.transport.pins:
                connection.drop()
                raise RefusedError("source.certificate", "the source has another key than is pinned", status=502)
        return connection

    def _context(self, definition: Definition) -> ssl.SSLContext:
        context = self._contexts.get(definition.digest)
        if context is None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.set_alpn_protocols(["http/1.1"])
            for root in definition.transport.roots:
                context.load_verify_locations(cadata=root)
            if not definition.transport.roots:
                context.load_default_certs(ssl.Purpose.SERVER_AUTH)
            self._contexts[definition.digest] = context
        return context

    async def close(self) -> None:
        for idle in self._idle.values():
            for connection in idle:
                connection.drop()
        self._idle.clear()
        await asyncio.sleep(0)


def session_facts(session: Any, store: str, sni: str | None, family: str) -> TLSFacts:
    """What is observed of a session that verified. ``session`` is an ``ssl.SSLObject``."""
    leaf: bytes = session.getpeercert(binary_form=True)
    sent, led = _chain(session, "get_unverified_chain"), _chain(session, "get_verified_chain")
    return TLSFacts(
        protocol=session.version(),
        cipher=session.cipher()[0],
        chain=None if sent is None else tuple(map(sha256_hex, sent[:MAX_CHAIN])),
        certificate=sha256_hex(leaf),
        spki=spki_digest(leaf),
        roots=Roots(store, sha256_hex(led[-1]) if led else None),
        sni=sni,
        family=family,
    )


def _chain(session: Any, name: str) -> list[bytes] | None:
    """Certificates (DER) of a session: publicly from CPython 3.13 on, else of the object below."""
    read = getattr(session, name, None) or getattr(getattr(session, "_sslobj", None), name, None)
    if read is None:
        return None
    found = read() or []
    der = 2  # _ssl.ENCODING_DER, which is SSL_FILETYPE_ASN1
    return [item if isinstance(item, bytes) else item.public_bytes(der) for item in found]


def _follow(where: Location, led: str, seen: Observed) -> Location:
    """Where a redirect leads: nowhere but to the same origin. Raises ``source.redirected``."""
    url = led
    if led.startswith("/") and not led.startswith("//"):
        host = f"[{where.host}]" if ":" in where.host else where.host
        url = f"{where.scheme}://{host}:{where.port}{led}"
    with contextlib.suppress(HoldfastError):
        found = locate(url)
        seen.hosts.append(_host(found))
        if (found.scheme, found.host, found.port) == (where.scheme, where.host, where.port):
            return found
    raise RefusedError("source.redirected", "the source redirects to somewhere else", status=502)


def _check_answer(transport: Transport, connection: _Connection) -> None:
    if connection.status in (401, 403) and transport.secret is not None:
        raise RefusedError("source.credential", "the source does not take this node's credential", status=502)
    if connection.status != HTTPStatus.OK:
        raise RefusedError("source.status", f"the source answers with status {connection.status}", status=502)
    given = connection.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given not in transport.content_types:
        raise RefusedError("source.content_type", f"the answer is {given[:64] or 'of no type'}", status=502)


def _host(where: Location) -> str:
    """A host as an admission names it: with its port where that is not the scheme's own."""
    host = f"[{where.host}]" if ":" in where.host else where.host
    usual = 443 if where.scheme == "https" else 80
    return host if where.port == usual else f"{host}:{where.port}"


def _build(definition: Definition, where: Location, asked: Resolved, credential: Secret | None) -> _Request:
    """A request as bytes. Raises ``source.credential``."""
    transport = definition.transport
    body = b"" if definition.query is None else build_batch(definition.query, asked.places)
    method = "POST" if body else "GET"
    lines = [
        f"{method} {where.target} HTTP/1.1",
        f"host: {_host(where)}",
        f"user-agent: {AGENT}",
        f"accept: {', '.join(transport.content_types)}",
        "accept-encoding: identity",
        *(f"{name}: {value}" for name, value in transport.headers),
    ]
    if body:
        lines += ["content-type: application/json", f"content-length: {len(body)}"]
    head = "\r\n".join(lines).encode("ascii")
    shown = sent = head
    if transport.secret is not None:
        secret = b"" if credential is None else credential.reveal().encode("utf-8", "replace")
        if not _CREDENTIAL.match(secret):
            raise RefusedError(
                "source.credential", f"this node has no usable credential {transport.secret.name!r}", status=502
            )
        begin = f"\r\n{transport.secret.header}: {transport.secret.prefix}".encode("ascii")
        shown, sent = head + begin + PLACEHOLDER, head + begin + secret
    whole = shown + b"\r\n\r\n" + body
    facts = SentRequest(method, _host(where), definition.template, sha256_hex(whole), len(whole))
    return _Request(sent + b"\r\n\r\n" + body, facts)
