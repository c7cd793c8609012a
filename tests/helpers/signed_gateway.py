"""A gateway in memory that signs what it answers, behind the client's own ports; and lies where a test tells it to.

It answers every question with :data:`PIECES`. ``alter`` maps the name of a thing (``identity``, ``event``, ``body``,
``route``, ``execution``, ``journal``, ``carrier``) to a function that changes it on its way out, after or before it
was signed as its name says.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from typing import Any

from holdfast.client.gateway import GatewayClient
from holdfast.core import canonical, statements
from holdfast.core.encoding import b64_encode, sha256_hex, time_encode
from holdfast.core.fold import Fold
from holdfast.core.marks import MarkChain
from holdfast.core.parts import commit, commit_parts, map_parts, pseudo_random_key
from holdfast.core.statements import Execution, MarkReference, Route, SealedPath
from holdfast.core.trust import Trust
from holdfast.ports.http import Answer
from holdfast.ports.http_stream import EventAnswer
from tests.helpers.network import RUN, SECRET, Network, at, bundle_of

PIECES = ("One", " question", " about", " a", " run.")
HEADERS = {"x-holdfast-run": RUN, "x-holdfast-capability": SECRET.hex()}
SEALED_RUN = "3b241101-e2bb-4255-8caf-4136c566a962"
"""The run of a gateway that is reached over the private path: its ids are random."""
Alter = Callable[[Any], Any]


class FixedClock:
    """Stands still; waiting takes no time."""

    def __init__(self) -> None:
        self.waited: list[float] = []

    def now(self) -> dt.datetime:
        return at(5)

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        self.waited.append(seconds)


class SignedGateway:
    """Implements ``ports.http.HTTP`` and ``ports.http_stream.EventHTTP``."""

    def __init__(self, network: Network | None = None, *, sealed: SealedPath | None = None, **alter: Alter) -> None:
        self.network = network or Network()
        self.sealed = sealed
        """How requests come, as its routes tell it; None where they come directly."""
        self.run = RUN if sealed is None else SEALED_RUN
        self.key = pseudo_random_key(self.run, SECRET)
        self.alter = alter
        self.requests: list[tuple[str, str, Mapping[str, str]]] = []
        self.views: list[Any] = []
        self.late = 0
        """So many times the bundle lacks the statements."""
        self.busy = 0
        """So many times it has no attestation to spare."""
        self.status = 200
        self.refusal: dict[str, Any] = {}
        self.attest: Callable[[bytes | None], dict[str, Any] | None] = self._vouched
        """The attestation it shows for a nonce, or for None by itself; None where it makes none."""
        self._journal: list[dict[str, Any]] = []

    def client(self, trust: Trust | None = None, **options: Any) -> GatewayClient:
        """A client that talks to this gateway."""
        return GatewayClient(
            "http://gateway.test", "hf_key", http=self, events=self, clock=FixedClock(), trust=trust, **options
        )

    def _vouched(self, nonce: bytes | None) -> dict[str, Any] | None:
        """By the network's throw-away root, whatever anybody asks."""
        item = self.network.attestation()
        return None if nonce is not None else {name: item[name] for name in ("format", "evidence")}

    def _out(self, name: str, value: Any) -> Any:
        return self.alter[name](value) if name in self.alter else value

    # The ports

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
        path = url.removeprefix("http://gateway.test").removeprefix("https://gateway")
        self.requests.append((method, path, dict(headers or {})))
        if path.startswith("/v1/attestation?nonce="):
            if self.busy > 0:
                self.busy -= 1
                return Answer(429, b"{}")
            made = self.attest(bytes.fromhex(path.partition("=")[2]))
            return Answer(404, b"{}") if made is None else Answer(200, json.dumps(made).encode())
        if self.status != 200 and path != "/v1/identity":
            return Answer(self.status, json.dumps(self.refusal).encode())
        if path == "/v1/identity":
            document = self.network.gateway_document
            shown: dict[str, Any] = {"node": document.digest, "key_document": b64_encode(document.raw)}
            shown["attestation"] = self.attest(None)
            return Answer(200, json.dumps(self._out("identity", shown)).encode())
        if path == "/v1/models":
            return Answer(200, b'{"object":"list","data":[{"id":"small-1"}]}')
        if path.endswith("/bundle"):
            return Answer(200, self._bundle())
        if path.startswith(("/v1/runs", "/v1/openings")):
            return Answer(200, json.dumps(self.views[-1]).encode())
        whole: dict[str, Any] = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "choices": [
                {"index": 0, "message": {"role": "assistant", "content": "".join(PIECES)}, "finish_reason": "stop"}
            ],
        }
        text = json.dumps(whole).encode()
        tree = commit("response", text, self.key).tree
        carrier = self._sign(body, dict(headers or {}), Execution("generated", "complete", tree, None, "stub"))
        shown = self._out("body", {**whole, "holdfast": carrier})
        return Answer(200, json.dumps(shown).encode(), self._headers(headers))

    @contextlib.asynccontextmanager
    async def open(
        self,
        method: str,
        url: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 30.0,
        idle_timeout_s: float = 120.0,
        max_bytes: int = 1 << 20,
    ) -> AsyncGenerator[EventAnswer]:
        path = url.removeprefix("http://gateway.test").removeprefix("https://gateway")
        self.requests.append((method, path, dict(headers or {})))
        if path.endswith("/events"):
            shown = [("run", json.dumps(view).encode()) for view in self.views]
        else:
            shown = [("", data) for data in self._out("events", self._stream(body, dict(headers or {})))]
        yield EventsShown(self.status, shown, json.dumps(self.refusal).encode(), self._headers(headers))

    def _headers(self, asked: Mapping[str, str] | None) -> dict[str, str]:
        """What an answer says of its run: the queue too, when one was named."""
        own = HEADERS if self.run == RUN else {**HEADERS, "x-holdfast-run": self.run}
        named = {name: value for name, value in (asked or {}).items() if name == "x-holdfast-queue"}
        headers: dict[str, str] = self._out("headers", {**own, **named})
        return headers

    # What it signs

    def _stream(self, body: bytes, headers: Mapping[str, str]) -> list[bytes]:
        chain, fold, found = MarkChain(self.key), Fold(), []
        events: list[dict[str, Any]] = [
            {"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]} for piece in PIECES
        ]
        events[0]["choices"][0]["delta"]["role"] = "assistant"
        events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        for number, event in enumerate(events):
            exact = canonical.decode_exact(json.dumps({"id": "x", "object": "chat.completion.chunk", **event}).encode())
            chain.add(exact)
            fold.add(exact)
            carrier: dict[str, Any] = {}
            last = number == len(events) - 1
            if number % 2 == 0 or last:
                mark = chain.seal()
                signature = self.network.gateway.sign(mark.message(self.run))
                carrier = {"run": self.run, "mark": mark.to_json(signature)}
            if last:
                parts = map_parts("response", fold.document())
                tree = commit_parts("response", parts, self.key).tree
                marks = MarkReference(chain.seq, chain.value)
                execution = Execution("generated", "complete", tree, marks, "stub")
                carrier = {**self._sign(body, headers, execution), **carrier}
            shown = canonical.decode(canonical.encode_exact(exact))
            if carrier:
                shown["holdfast"] = carrier
            found.append(json.dumps(self._out("event", shown)).encode())
        return [*found, b"[DONE]"]

    def _sign(self, body: bytes, headers: Mapping[str, str], execution: Execution) -> dict[str, Any]:
        """Make the two statements; returns the carrier that names them."""
        request = commit("request", body, self.key).tree
        route = Route(
            request,
            request,
            "chat.completions",
            "stub",
            (),
            (),
            cached=False,
            settlement="batch",
            streamed=True,
            path=self.sealed,
        )
        common = {
            "run": self.run,
            "attester": self.network.gateway_document.digest,
            "claimed_at": at(0.5) if self.sealed is None else at(0),
            "nonce": headers.get("x-holdfast-nonce"),
        }
        first = {**common, "parents": [], "subject": ("request", request.root), "body": statements.route_body(route)}
        route_payload = statements.build_payload("route", **self._out("route", first))
        subject = ("response", execution.response.root) if execution.response else ("request", request.root)
        second = {
            **common,
            "parents": [sha256_hex(route_payload)],
            "subject": subject,
            "body": statements.execution_body(execution),
        }
        payload = statements.build_payload("execution", **self._out("execution", second))
        seal = self._out("seal", self.network.seal)
        self._journal = [
            {"kind": "statement", "at": time_encode(at(1)), "envelope": canonical.decode(seal(item))}
            for item in (route_payload, payload)
        ]
        named = [
            {"kind": kind, "digest": sha256_hex(item)}
            for kind, item in (("route", route_payload), ("execution", payload))
        ]
        carrier = {"run": self.run, "capability": SECRET.hex(), "outcome": execution.outcome, "statements": named}
        shown: dict[str, Any] = self._out("carrier", carrier)
        return shown

    def _bundle(self) -> bytes:
        if self.late > 0:
            self.late -= 1
            return bundle_of([], self.run)
        return bundle_of(self._out("journal", self._journal), self.run)


class EventsShown:
    """Implements ``ports.http_stream.EventAnswer``."""

    def __init__(self, status: int, shown: list[tuple[str, bytes]], refusal: bytes, headers: Mapping[str, str]) -> None:
        self.status = status
        self.headers = headers
        self._shown = shown
        self._refusal = refusal

    async def events(self) -> AsyncIterator[tuple[str, bytes]]:
        for event in self._shown:
            yield event

    async def body(self) -> bytes:
        return self._refusal

    async def pieces(self) -> AsyncIterator[bytes]:
        yield self._refusal
