"""The private path in memory: a gateway that opens sealed requests, and a client that seals them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from holdfast.core import binary_http, ohttp
from holdfast.core.encoding import sha256
from holdfast.core.hpke import AEAD, AES_128_GCM
from holdfast.nodes.edge import App
from holdfast.nodes.gateway.config import WorkspaceKey
from holdfast.nodes.gateway.keys import Workspaces
from holdfast.nodes.gateway.oblivious import Oblivious, ObliviousSettings, SplitApp, create_oblivious
from holdfast.ports.settings import Secret
from tests.helpers.asgi import Reply, request
from tests.helpers.gateway_world import KEY, OTHER_KEY, World
from tests.helpers.upstreams import MODEL

RELAY_KEY = "hf_the-relays"
RELAY = "cd" * 32
"""Digest of the relay's key document."""
GATEWAY_KEY = ohttp.GatewayKey(1, sha256(b"gateway/ohttp"))
CONFIGURATION = GATEWAY_KEY.configuration
SETTINGS = ObliviousSettings(
    request_bytes=1 << 20, request_s=1.0, inner_bytes=1 << 19, replay_s=600.0, remembered=1000, padding_bytes=0
)


def sealed_app(world: World, settings: ObliviousSettings = SETTINGS, **more: Any) -> App:
    """A gateway that is reached directly by two workspaces, and sealed by a relay's."""
    keys = [("first", KEY), ("second", OTHER_KEY), ("relay", RELAY_KEY)]
    workspaces = Workspaces([WorkspaceKey(name, Secret(key, "test")) for name, key in keys], {"relay": RELAY})
    count = iter(range(1 << 30))
    oblivious = Oblivious(
        world.inner(),
        [GATEWAY_KEY],
        workspaces,
        world.clock,
        settings,
        random_bytes=lambda size: sha256(b"nonce/%d" % next(count))[:size],
        **more,
    )
    return SplitApp(world.app(), create_oblivious(oblivious, settings))


@dataclass
class SealedReply:
    """A reply with what was sealed in it, opened."""

    outer: Reply
    inner: binary_http.Response
    chunks: list[bytes] = field(default_factory=list)

    def json(self) -> Any:
        return json.loads(self.inner.content)

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.inner.fields if key == name), None)


class SealedClient:
    """Seals requests, with ephemeral keys that follow from a count."""

    def __init__(self, app: App, *, suite: AEAD = AES_128_GCM, key: str = RELAY_KEY, name: str = "client") -> None:
        self._app = app
        self._suite = suite
        self._key = key
        self._name = name
        self._count = 0

    def ephemeral(self) -> bytes:
        self._count += 1
        return sha256(f"{self._name}/{self._count}".encode())

    def seal(self, content: bytes, *, chunked: bool = False) -> tuple[bytes, ohttp.ClientContext]:
        """An encapsulated request."""
        if not chunked:
            return ohttp.encapsulate(CONFIGURATION, self._suite, self.ephemeral(), content)
        sealer, context = ohttp.encapsulate_chunked(CONFIGURATION, self._suite, self.ephemeral())
        middle = len(content) // 2
        return sealer.start() + sealer.seal(content[:middle]) + sealer.finish(content[middle:]), context

    async def post(self, message: bytes, *, headers: Sequence[tuple[str, str]] = (), chunked: bool = False) -> Reply:
        """Send an encapsulated request as the relay does."""
        kind = ohttp.CHUNKED_REQUEST_TYPE if chunked else ohttp.REQUEST_TYPE
        given = [("authorization", f"Bearer {self._key}"), ("content-type", kind), *headers]
        return await request(self._app, "POST", "/v1/ohttp", message, given)

    async def ask(
        self,
        method: str = "POST",
        path: str = "/v1/chat/completions",
        content: bytes = b"",
        fields: binary_http.Fields = (),
        *,
        stream: bool = False,
        chunked: bool = False,
    ) -> SealedReply:
        """One request of our profile, sealed, answered and opened."""
        inner = binary_http.build_request(binary_http.Request(method, "https", "gateway.test", path, fields, content))
        message, context = self.seal(inner, chunked=chunked)
        accept = ohttp.CHUNKED_RESPONSE_TYPE if stream or chunked else ohttp.RESPONSE_TYPE
        outer = await self.post(message, headers=[("accept", accept)], chunked=chunked)
        assert outer.status == 200, outer
        if outer.header("content-type") == ohttp.RESPONSE_TYPE:
            return SealedReply(outer, binary_http.parse_response(context.open(outer.body)))
        chunks = open_chunks(context, outer.body)
        return SealedReply(outer, binary_http.parse_response(b"".join(chunks)), chunks)

    async def chat(self, *, fields: binary_http.Fields = (), **members: Any) -> SealedReply:
        """One chat."""
        stream = bool(members.get("stream"))
        return await self.ask(content=chat_body(**members), fields=fields, stream=stream)


def chat_body(**members: Any) -> bytes:
    return json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "hi"}], **members}).encode()


def open_chunks(context: ohttp.ClientContext, body: bytes) -> list[bytes]:
    """Every chunk of an answer, the last one too."""
    opener = context.chunk_opener()
    return [*opener.feed(body), opener.finish()]
