"""A DNS server on loopback, over UDP and TCP on one port, that answers as it is told; and messages to answer with."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Any

from holdfast.core.dns_reads import TYPES

Answers = Callable[[bytes], list[bytes]]
"""A question to the messages that are sent back, in order; none is silence."""


def named(name: str) -> bytes:
    """A name without pointers."""
    labels = name.split(".") if name else []
    return b"".join(bytes([len(label)]) + label.encode() for label in labels) + b"\x00"


def record(name: str | bytes, kind: str, data: bytes, ttl: int = 300) -> bytes:
    """One record; ``name`` as bytes is written as it is."""
    owner = named(name) if isinstance(name, str) else name
    head = TYPES[kind].to_bytes(2, "big") + b"\x00\x01" + ttl.to_bytes(4, "big")
    return owner + head + len(data).to_bytes(2, "big") + data


def address(text: str) -> bytes:
    """The data of an ``A`` or ``AAAA``."""
    return ipaddress.ip_address(text).packed


def answer(question: bytes, *records: bytes, flags: int = 0x8180, more: bytes = b"", **change: int) -> bytes:
    """An answer to a question with these records; ``change`` replaces ``id`` and ``count``."""
    end = question.index(b"\x00", 12) + 5
    number = change.get("id", int.from_bytes(question[:2], "big"))
    words = (number, flags, 1, change.get("count", len(records)), 0, 0)
    return b"".join(word.to_bytes(2, "big") for word in words) + question[12:end] + b"".join(records) + more


@dataclass
class DNSServer:
    """``udp`` and ``tcp`` can be changed between questions."""

    udp: Answers
    tcp: Answers = field(default=lambda _: [])
    questions: list[tuple[str, bytes]] = field(default_factory=list)
    port: int = 0

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncGenerator[DNSServer]:
        """Until the block ends."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: _UDP(self), local_addr=("127.0.0.1", self.port))
        try:
            yield self
        finally:
            transport.close()
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            question = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
            self.questions.append(("tcp", question))
            for message in self.tcp(question):
                writer.write(message)
            await writer.drain()
        writer.close()


class _UDP(asyncio.DatagramProtocol):
    def __init__(self, server: DNSServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._server.questions.append(("udp", data))
        for message in self._server.udp(data):
            self._transport.sendto(message, addr)
