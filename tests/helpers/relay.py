"""A relay without sockets: gateways that answer from a list, and everything that was passed on to them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from holdfast.adapters.metrics_memory import MemoryMetrics
from holdfast.client.log import LogReader
from holdfast.core import merkle
from holdfast.core.encoding import b64_encode
from holdfast.core.notes import parse_checkpoint_text, parse_note
from holdfast.core.trust import Trust
from holdfast.errors import UnavailableError
from holdfast.nodes.edge import Edge
from holdfast.nodes.relay.admission import AccountAdmission, Quota
from holdfast.nodes.relay.app import RelayApp, create_app
from holdfast.nodes.relay.batches import Batch, Tick
from holdfast.nodes.relay.config import RelayKey
from holdfast.nodes.relay.credit import Credit
from holdfast.nodes.relay.service import Passages
from holdfast.nodes.relay.targets import Target, Targets
from holdfast.ports.http import Answer
from holdfast.ports.settings import Secret
from tests.helpers.clock import FakeClock
from tests.helpers.identities import identity_payload, log_of, sealed_network
from tests.helpers.network import Network, at

KEY, OTHER_KEY = "hf_first-account", "hf_second-account"
SEALED = [("authorization", f"Bearer {KEY}"), ("content-type", "message/ohttp-req")]
QUOTA = Quota(window_s=60, requests=1000, size_bytes=1 << 20, at_once=8)


@dataclass
class ScriptedAnswer:
    """Implements ``ports.forward.Forwarded``: pieces, and an error to end with."""

    pieces: list[bytes]
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"content-type": "message/ohttp-res"})
    error: Exception | None = None
    aborted: bool = False

    async def read(self) -> bytes:
        if self.pieces:
            return self.pieces.pop(0)
        if self.error is not None:
            raise self.error
        return b""

    def abort(self) -> None:
        self.aborted = True


@dataclass
class ScriptedForwarder:
    """Implements ``ports.forward.Forwarder``: one answer for each request, or an error."""

    answers: list[ScriptedAnswer | Exception] = field(default_factory=list)
    passed: list[dict[str, Any]] = field(default_factory=list)

    async def post(self, path: str, body: bytes, **how: Any) -> ScriptedAnswer:
        self.passed.append({"path": path, "body": body, **how})
        answer = self.answers.pop(0) if self.answers else ScriptedAnswer([b"sealed"])
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self) -> None:
        """Nothing is open."""


@dataclass
class GatewayIdentity:
    """Implements ``ports.http.HTTP`` for ``GET /v1/identity`` of gateways, by the URL before it."""

    networks: dict[str, Network]
    attested: bool = True
    told: bool = True
    silent: bool = False
    asked: int = 0
    change: dict[str, Any] = field(default_factory=dict)

    async def request(self, method: str, url: str, **_: Any) -> Answer:
        self.asked += 1
        if self.silent:
            raise UnavailableError("http.unreachable", "silent")
        network = self.networks[url.removesuffix("/v1/identity")]
        document = network.gateway_document
        envelope = network.seal(identity_payload(document))
        value = {
            "node": document.digest,
            "key_document": b64_encode(document.raw),
            "attestation": {"format": "insecure-dev", "evidence": b64_encode(b"evidence")} if self.attested else None,
            "statement": {"envelope": b64_encode(envelope), "index": 1} if self.told else None,
            **self.change,
        }
        return Answer(200, json.dumps(value).encode())


@dataclass
class GatewayAccounts:
    """Implements ``ports.http.HTTP`` for ``GET /v1/account`` of a gateway."""

    status: int = 404
    body: bytes = b"{}"
    silent: bool = False
    asked: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)

    def say(self, left: object) -> None:
        """An account with so much left."""
        self.status, self.body = 200, json.dumps({"account": "relay", "unit": "USD", "left": left}).encode()

    async def request(self, method: str, url: str, **how: Any) -> Answer:
        self.asked.append((f"{method} {url}", how.get("headers") or {}))
        if self.silent:
            raise UnavailableError("http.unreachable", "silent")
        return Answer(self.status, self.body)


class MemoryLogReader(LogReader):
    """A log with one gateway's identity as its second entry."""

    def __init__(self, network: Network, *, cosigners: int = 4) -> None:
        envelope = network.seal(identity_payload(network.gateway_document))
        self.note, self.leaves = log_of(network, [b"before", envelope, b"after"], cosigners=cosigners)

    async def checkpoint(self) -> bytes:
        return self.note

    async def hashes(self, ranges: Any, size: int) -> list[bytes]:
        assert size == parse_checkpoint_text(parse_note(self.note).text).size
        return [merkle.root(self.leaves[begin:end]) for begin, end in ranges]


class RelayWorld:
    """Everything around one relay."""

    def __init__(self, *, quota: Quota = QUOTA, batch_s: float = 0.0, tick_s: float = 0.0, at_once: int = 64) -> None:
        self.clock = FakeClock(at(60))
        self.network = sealed_network()
        self.trust: Trust = self.network.trust()
        self.forwarder = ScriptedForwarder()
        self.target = Target("http://gateway.test", self.forwarder)
        self.identity = GatewayIdentity({"http://gateway.test": self.network})
        self.log = MemoryLogReader(self.network)
        self.targets = Targets([self.target], self.identity, self.log, lambda: self.trust, self.clock, every_s=30)
        self.metrics = MemoryMetrics()
        self.passages = Passages(
            Batch(Tick(self.clock, batch_s), lambda items: items.reverse()),
            Tick(self.clock, tick_s),
            timeout_s=60,
            idle_timeout_s=10,
            at_once=at_once,
        )
        self.accounts = GatewayAccounts()
        self.credit = Credit(
            {"http://gateway.test": Secret("hf_relay", "test")},
            self.accounts,
            self.clock,
            floor=Fraction(1, 20),
            every_s=300,
        )
        keys = [RelayKey("first", Secret(KEY, "test")), RelayKey("second", Secret(OTHER_KEY, "test"))]
        self.admission = AccountAdmission(keys, quota, self.clock.monotonic)

    def app(self, **limits: Any) -> Edge:
        """The relay's ASGI app."""
        inner = RelayApp(
            self.targets,
            self.admission,
            self.passages,
            self.metrics,
            self.credit,
            identity={"node": "ab" * 32, "key_document": ""},
            readiness=self.targets.readiness,
            lifespan=_no_lifespan,
        )
        return create_app(inner, **({"request_bytes": 1 << 20, "request_seconds": 1.0} | limits))


@contextlib.asynccontextmanager
async def _no_lifespan() -> AsyncIterator[None]:
    yield
