"""Certificates for tests, and a gateway behind real TLS on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ssl
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from holdfast.core.encoding import sha256_hex


@dataclass(frozen=True)
class Certificate:
    """A certificate with its private key; ``issuer`` stands above it, None where it signed itself."""

    key: ec.EllipticCurvePrivateKey
    made: x509.Certificate
    issuer: Certificate | None = None

    @property
    def raw(self) -> bytes:
        """DER."""
        return self.made.public_bytes(serialization.Encoding.DER)

    @property
    def spki(self) -> str:
        """SHA-256 (hex) of the SubjectPublicKeyInfo."""
        encoding, form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        return sha256_hex(self.key.public_key().public_bytes(encoding, form))

    def context(self, folder: Path) -> ssl.SSLContext:
        """What a server shows it with; the issuer's certificate goes along."""
        file = folder / f"{self.made.serial_number}.pem"
        shown = [self.made, *([self.issuer.made] if self.issuer else [])]
        private = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        file.write_bytes(private + b"".join(item.public_bytes(serialization.Encoding.PEM) for item in shown))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


def certificate(
    *,
    key: ec.EllipticCurvePrivateKey | None = None,
    issuer: Certificate | None = None,
    authority: bool = False,
    days: int = 30,
    name: str = "gateway",
) -> Certificate:
    """A certificate, by itself or by an issuer; ``days`` below zero make one that has run out."""
    own = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.made.subject if issuer else subject)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=60))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    )
    return Certificate(own, built.sign(issuer.key if issuer else own, hashes.SHA256()), issuer)


@dataclass
class TLSGateway:
    """A gateway that listens; ``shows`` can be changed between connections."""

    gateway: Any
    """A :class:`SignedGateway`, or whatever else answers like one."""
    shows: Certificate
    folder: Path
    origin: str = "http://gateway.test"
    """What it takes itself for."""
    url: str = ""
    connections: int = 0
    """Connections whose handshake ended."""
    bytes_read: int = 0
    """What clients sent after it."""
    hang_up: bool = False
    """Whether each answer ends its connection, so that the next question needs another."""
    server: asyncio.Server | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Requests of one connection."""
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.bytes_read += len(head)
                writer.write(await self._answer(head, reader))
                await writer.drain()
                if self.hang_up:
                    break
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()

    async def _answer(self, head: bytes, reader: asyncio.StreamReader) -> bytes:
        first, *lines = head.decode("latin-1").strip().split("\r\n")
        method, path, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.bytes_read += len(body)
        url = self.origin + path
        if b'"stream":true' in body:
            async with self.gateway.open(method, url, body=body, headers=headers) as answer:
                sent = b"".join([b"data: " + data + b"\n\n" async for _, data in answer.events()])
                return self._message(answer.status, dict(answer.headers), sent, "text/event-stream")
        whole = await self.gateway.request(method, url, body=body, headers=headers)
        return self._message(whole.status, dict(whole.headers), whole.body, "application/json")

    def _message(self, status: int, headers: dict[str, str], body: bytes, media: str) -> bytes:
        fields = {"content-type": media, **headers, "content-length": str(len(body))}
        if self.hang_up:
            fields["connection"] = "close"
        lines = [f"HTTP/1.1 {status} Ok", *(f"{name}: {value}" for name, value in fields.items())]
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + body

    async def listen(self) -> None:
        """Open the port; or close it and open it again, with the certificate that is to be shown now."""
        port = int(self.url.rpartition(":")[2]) if self.url else 0
        self.close()
        self.server = await asyncio.start_server(
            self.serve, "127.0.0.1", port, ssl=self.shows.context(self.folder), reuse_address=True
        )
        self.url = f"https://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    def close(self) -> None:
        """Take no more connections."""
        if self.server is not None:
            self.server.close()


@contextlib.asynccontextmanager
async def listening(
    gateway: Any, shows: Certificate, folder: Path, origin: str = "http://gateway.test"
) -> AsyncGenerator[TLSGateway]:
    """A gateway behind TLS until the block ends."""
    found = TLSGateway(gateway, shows, folder, origin)
    await found.listen()
    try:
        yield found
    finally:
        found.close()
