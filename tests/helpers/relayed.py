"""A relay in memory in front of a ``SignedGateway``: it opens what is sealed, since it holds both ends, and remembers
what a real relay would have seen."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

import pytest

from holdfast.client.channels import Transport
from holdfast.client.gateway import GatewayClient
from holdfast.client.private import INSIDE, open_private
from holdfast.client.turns import BoundTurn
from holdfast.core.binary_http import Request, Response, build_response, parse_request
from holdfast.core.encoding import b64_decode, b64_encode, sha256_hex
from holdfast.core.keys import build_key_document
from holdfast.core.keys_proof import ShownAttestation, build_keys_proof, parse_keys_proof
from holdfast.core.ohttp import (
    CHUNKED_RESPONSE_TYPE,
    RESPONSE_TYPE,
    GatewayContext,
    GatewayKey,
    decapsulate,
    nonce_bytes,
)
from holdfast.core.statements import SealedPath
from holdfast.core.trust import Trust
from holdfast.errors import HoldfastError, UnavailableError
from holdfast.ports.http import Answer
from holdfast.ports.http_stream import EventAnswer
from holdfast.verifier.identity import PLAIN
from tests.helpers.attested import Machine, with_keys
from tests.helpers.identities import proof_for
from tests.helpers.network import Network, ed25519_signer
from tests.helpers.signed_gateway import FixedClock, SignedGateway

REQUEST = {"model": "small-1", "messages": [{"role": "user", "content": "What is a lane?"}]}
RELAY = build_key_document("relay", ["relay"], "test", [ed25519_signer("relay", "statement").key])
MACHINE = Machine()
KEY = GatewayKey(1, bytes(range(1, 33)))
CONFIGURATION = KEY.configuration.encoded
Shown = Callable[[bytes], bytes]


def path(suite: str = "aes-128-gcm", *, config: bytes = CONFIGURATION, relay: str | None = RELAY.digest) -> SealedPath:
    return SealedPath(sha256_hex(config), suite, "binary-http", relay)


class Streamed:
    """Implements ``ports.http_stream.EventAnswer`` for sealed chunks."""

    def __init__(self, sent: list[bytes]) -> None:
        self.status = 200
        self.headers: Mapping[str, str] = {"content-type": CHUNKED_RESPONSE_TYPE}
        self._sent = sent

    async def pieces(self) -> AsyncGenerator[bytes]:
        for piece in self._sent:
            yield piece

    async def events(self) -> AsyncGenerator[tuple[str, bytes]]:
        raise AssertionError("a sealed answer has no events")
        yield

    async def body(self) -> bytes:
        return b"".join(self._sent)


class World:
    """A relay in front of a gateway; ``show`` changes the keys proof on its way."""

    def __init__(self, *, development: bool = True, says: SealedPath | None = None, show: Shown = bytes) -> None:
        self.network = with_keys(Network(development=development), ohttp=(CONFIGURATION,))
        self.gateway = SignedGateway(self.network, sealed=says or path())
        self.show = show
        self.attestation: dict[str, Any] | None = self.gateway._vouched(None)
        self.log: dict[str, Any] = {}
        self.relay: Mapping[str, Any] | None = {"node": RELAY.digest, "key_document": b64_encode(RELAY.raw)}
        self.asked: list[tuple[str, str, Mapping[str, str]]] = []
        """Of the relay, outside of any seal."""
        self.sealed: list[tuple[Mapping[str, str], bytes]] = []
        """Sealed requests as the relay sees them: headers and body."""
        self.silent = False
        """Whether what is sealed finds nobody."""

    def proof(self) -> bytes:
        found = parse_keys_proof(proof_for(self.network, **self.log))
        shown = self.attestation
        return self.show(
            build_keys_proof(
                found.document,
                None if shown is None else ShownAttestation(shown["format"], b64_decode(shown["evidence"])),
                found.statement.envelope.raw,
                index=found.index,
                size=found.size,
                proof=found.proof,
                checkpoint=found.checkpoint.encode(),
            )
        )

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
        self.asked.append((method, url, dict(headers or {})))
        if url.startswith("http://relay.test/v1/ohttp/keys/proof"):
            return Answer(200, self.proof())
        if url == "http://relay.test/v1/identity":
            return Answer(404) if self.relay is None else Answer(200, json.dumps(self.relay).encode())
        context, inside = self._opened(url, body, headers)
        found = await self.gateway.request(
            inside.method, INSIDE + inside.path, body=inside.content, headers=dict(inside.fields)
        )
        answer = build_response(Response(found.status, tuple(found.headers.items()), found.body))
        return Answer(
            200, context.seal(bytes(32)[: nonce_bytes(context.suite)], answer), {"content-type": RESPONSE_TYPE}
        )

    @contextlib.asynccontextmanager
    async def open(
        self, method: str, url: str, *, body: bytes = b"", headers: Mapping[str, str] | None = None, **_: Any
    ) -> AsyncGenerator[EventAnswer]:
        self.asked.append((method, url, dict(headers or {})))
        context, inside = self._opened(url, body, headers)
        async with self.gateway.open(
            inside.method, INSIDE + inside.path, body=inside.content, headers=dict(inside.fields)
        ) as found:
            content = b"".join([b"data: " + data + b"\n\n" async for _, data in found.events()])
            content = content if found.status == 200 else await found.body()
            whole = build_response(Response(found.status, tuple(found.headers.items()), content), indeterminate=True)
        chunks = context.chunks(bytes(32)[: nonce_bytes(context.suite)])
        yield Streamed([chunks.start(), *(chunks.seal(bytes([byte])) for byte in whole), chunks.finish()])

    def _opened(self, url: str, body: bytes, headers: Mapping[str, str] | None) -> tuple[GatewayContext, Request]:
        """What the gateway finds inside."""
        if self.silent or url != "http://relay.test/v1/ohttp":
            raise UnavailableError("http.unreachable", url)
        self.sealed.append((dict(headers or {}), body))
        content, context = decapsulate({1: KEY}, body)
        return context, parse_request(content)

    async def client(self, trust: Trust | None = None, **options: Any) -> GatewayClient:
        return await open_private(
            "http://relay.test/",
            "hf_relay",
            way=Transport(self, self, PLAIN),
            clock=FixedClock(),
            trust=trust or self.network.trust(),
            **options,
        )

    def ask(self, trust: Trust | None = None, **options: Any) -> BoundTurn:
        async def turn() -> BoundTurn:
            client = await self.client(trust, **options)
            return await client.ask(REQUEST)

        return asyncio.run(turn())

    def refusal(self, trust: Trust | None = None, **options: Any) -> HoldfastError:
        """The error of connecting; there is no client then, and no question went anywhere."""
        with pytest.raises(HoldfastError) as refused:
            self.ask(trust, **options)
        assert all(method == "GET" for method, _, _ in self.gateway.requests), "a question has left"
        assert all(headers == {} for method, _, headers in self.asked if method == "GET"), "the key has left"
        return refused.value
