"""Asking a resolver for the records of a name (``spec/sources.md`` §4(8)).

Over UDP, from a port of the system's choice and with a random id; a datagram that answers something else is as if it
had not come, since anybody can send one. What is cut off is asked for again over TCP. The question is sent again while
nothing comes and there is time.

Not covered: DNS over TLS or HTTPS (an ``https`` source with JSON does that), and verifying DNSSEC.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets

from holdfast.core.dns_reads import TYPES, Answer, DnsRead, build_question, parse_answer
from holdfast.core.encoding import sha256_hex
from holdfast.core.exchanges import Exchange
from holdfast.core.sources import Resolved, fill
from holdfast.errors import MalformedError, RefusedError, UnavailableError, UsageError
from holdfast.ports.clock import Clock
from holdfast.ports.fetch import Observed
from holdfast.ports.settings import Secret

SENT_AGAIN = 3
"""How many times a question is sent over UDP in the time that it has."""
_CODES = {1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}


class _Datagrams(asyncio.DatagramProtocol):
    """What comes to one socket, which is connected to its resolver."""

    def __init__(self) -> None:
        self.came: asyncio.Queue[bytes | Exception] = asyncio.Queue(64)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:  # noqa: ARG002 (asyncio's signature)
        self._put(data)

    def error_received(self, exc: Exception) -> None:
        self._put(exc)

    def _put(self, item: bytes | Exception) -> None:
        with contextlib.suppress(asyncio.QueueFull):
            self.came.put_nowait(item)


class DNSFetcher:
    """See the module and :class:`holdfast.ports.fetch.Fetcher`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def fetch(self, asked: Resolved, credential: Secret | None, seen: Observed) -> None:  # noqa: ARG002 (no secret)
        read = asked.source.reach
        if not isinstance(read, DnsRead):
            raise UsageError("sources.kind", f"a source of kind {asked.source.kind} is no name")
        name = fill(read.name, asked.places)
        question = build_question(name, read.record, secrets.randbits(16))
        wanted = (name, TYPES[read.record], 1)
        try:
            async with asyncio.timeout(read.seconds):
                body, answer, channel = await self._ask(read, question, wanted, asked, seen)
        except TimeoutError as error:
            raise UnavailableError("source.timeout", f"no answer within {read.seconds} s", status=504) from error
        except OSError as error:
            raise UnavailableError("source.unreachable", "the resolver is not reached", status=502) from error
        self._tell(read, asked, channel, seen, answer, body)
        if answer.code:
            told = _CODES.get(answer.code, str(answer.code))
            raise RefusedError("source.status", f"the resolver answers {told}", status=502)
        seen.body = body

    async def close(self) -> None:
        """Nothing is kept open."""

    async def _ask(
        self, read: DnsRead, question: bytes, wanted: tuple[str, int, int], asked: Resolved, seen: Observed
    ) -> tuple[bytes, Answer, str]:
        body, answer = await self._over_udp(read, question, wanted, asked, seen)
        if not answer.truncated:
            return body, answer, "udp"
        body = await self._over_tcp(read, question, asked, seen)
        found = _answer_to(body, question, wanted)
        if found is None:
            raise RefusedError("source.protocol", "the resolver answers something else", status=502)
        if found.truncated:
            raise RefusedError("source.truncated", "the answer is cut off also over TCP", status=502)
        return body, found, "tcp"

    async def _over_udp(
        self, read: DnsRead, question: bytes, wanted: tuple[str, int, int], asked: Resolved, seen: Observed
    ) -> tuple[bytes, Answer]:
        loop = asyncio.get_running_loop()
        transport, datagrams = await loop.create_datagram_endpoint(_Datagrams, remote_addr=read.address)
        try:
            while True:
                self._sent(read, asked, "udp", seen)
                transport.sendto(question)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(read.seconds / SENT_AGAIN):
                        return await self._received(datagrams, question, wanted, seen)
        finally:
            transport.close()

    async def _received(
        self, datagrams: _Datagrams, question: bytes, wanted: tuple[str, int, int], seen: Observed
    ) -> tuple[bytes, Answer]:
        while True:
            came = await datagrams.came.get()
            if isinstance(came, Exception):
                raise UnavailableError("source.unreachable", "nobody answers at the resolver's address", status=502)
            answer = _answer_to(came, question, wanted)
            if answer is not None:
                seen.first_byte = self._clock.now()
                return came, answer

    async def _over_tcp(self, read: DnsRead, question: bytes, asked: Resolved, seen: Observed) -> bytes:
        self._sent(read, asked, "tcp", seen)
        reader, writer = await asyncio.open_connection(*read.address)
        try:
            writer.write(len(question).to_bytes(2, "big") + question)
            size = int.from_bytes(await reader.readexactly(2), "big")
            seen.first_byte = self._clock.now()
            return await reader.readexactly(size)
        except asyncio.IncompleteReadError as error:
            raise RefusedError("source.truncated", "the answer ends before its announced end", status=502) from error
        finally:
            writer.transport.abort()

    def _sent(self, read: DnsRead, asked: Resolved, channel: str, seen: Observed) -> None:
        seen.requested, seen.first_byte = self._clock.now(), None
        self._tell(read, asked, channel, seen, None, b"")

    def _tell(
        self, read: DnsRead, asked: Resolved, channel: str, seen: Observed, answer: Answer | None, body: bytes
    ) -> None:
        """What was observed so far, into ``seen``; the question is digested with id 0."""
        plain = build_question(fill(read.name, asked.places), read.record, 0)
        facts = {"resolver": read.resolver}
        if answer is not None:
            facts |= {"authenticated": str(answer.authenticated).lower(), "response-code": str(answer.code)}
        seen.exchange = Exchange(
            kind="dns",
            channel=channel,
            template=asked.source.template,
            request_digest=sha256_hex(plain),
            request_size=len(plain),
            answer=(sha256_hex(body), len(body)) if body else None,
            facts=facts,
        )


def _answer_to(raw: bytes, question: bytes, wanted: tuple[str, int, int]) -> Answer | None:
    """A message as the answer to a question; None where it is none."""
    try:
        found = parse_answer(raw)
    except MalformedError:
        return None
    return found if found.id.to_bytes(2, "big") == question[:2] and found.question == wanted else None
