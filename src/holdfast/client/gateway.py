"""The client of a gateway: it verifies before it asks, and before it shows (``spec/client.md``).

What it holds back, and until when:

1. A question leaves once the gateway has shown a key document that trust admits, an attestation of what the caller
   requires, and a connection that ends at its own key (``verifier.identity``). What was checked is a value with its
   transcript.
2. A streamed answer is handed out window by window, each once its mark verifies: the chain is rebuilt here from the
   events that arrived, and the signature is by the gateway's statement key (``parts.md`` §7).
3. A whole answer is handed out once the run's signed statements are here and name exactly the request that was sent and
   the response that arrived (``parts.md`` §4, ``statement.md`` §4); the end of a stream is checked the same way.
4. Statements must be by the node that identified itself, answer to the nonce that was sent, and, where there is trust,
   be by a node that it admits. Without trust the gateway's key is taken on first use, and :class:`Attester` says so.

:class:`GatewayClient` is asynchronous, ``client.sync`` the same for programs without an event loop. :func:`connect`
picks the transport; everything else is handed in.

Not covered: whether an answer is any good, and what the lanes of a run come to: :meth:`GatewayClient.run` returns the
gateway's own appraisal, :meth:`GatewayClient.appraise` makes one here.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias
from urllib.parse import quote

from holdfast.client.channels import open_direct
from holdfast.client.errors import parse_error
from holdfast.client.identity import parse_attestation, parse_identity
from holdfast.client.paying import PAYMENT_REQUIRED, Attempt, Payer, unpaid
from holdfast.client.run_views import Openings, RunView, parse_openings, parse_run_view, path_of
from holdfast.client.streams import Marked, StreamReader
from holdfast.client.turns import (
    ENDPOINTS,
    STREAMED,
    Attester,
    BoundTurn,
    Question,
    Sent,
    Turn,
    build_turn,
    check_turn,
    parse_run,
)
from holdfast.core import canonical
from holdfast.core.bundles import MAX_BUNDLE_BYTES, parse_bundle
from holdfast.core.messages import ENDPOINT as MESSAGES
from holdfast.core.paying import Seller
from holdfast.core.statements import is_code, is_run_id
from holdfast.core.trust import Trust
from holdfast.errors import (
    HoldfastError,
    MalformedError,
    RefusedError,
    UnavailableError,
    UndecidedError,
    UsageError,
)
from holdfast.ports.clock import Clock
from holdfast.ports.http import HTTP, Answer
from holdfast.ports.http_stream import EventAnswer, EventHTTP
from holdfast.verifier.appraisal import Appraisal, appraise
from holdfast.verifier.identity import PLAIN, Channel, CheckedIdentity, Requirements, check_identity, refuse_document
from holdfast.verifier.lanes import LANES, STATES
from holdfast.verifier.policy import DEFAULT_POLICY, Policy, parse_policy

MAX_ANSWER_BYTES = 64 << 20
"""Largest whole answer that is read."""
MAX_EVENT_BYTES = 12 << 20
"""Largest event of a stream that is read: an image of the largest size in base64 fits."""
IDENTITY_FOR_S = 600.0
"""After so long the gateway's identity and attestation are checked again before the next question."""
NONCE_BYTES = 32
"""Size of the nonce that an attestation is asked to answer."""
_BUSY = 429
_BUSY_WAITS_S = (1.0, 2.0, 4.0)
"""Pauses between asking a gateway that is busy for an attestation."""
_STATEMENT_WAITS_S = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Pauses between looks for a statement that the gateway says is signed."""


class AnswerStream:
    """A streamed answer. Iterate over it once; :attr:`bound` is there when the iteration has ended without an error."""

    def __init__(self, client: GatewayClient, answer: EventAnswer, sent: Sent, attester: Attester) -> None:
        self.run, self.capability = parse_run(answer.headers, sent.queue)
        self.attester = attester
        self.bound: BoundTurn | None = None
        self.turn: Turn | None = None
        self._client = client
        self._answer = answer
        self._sent = sent

    @property
    def endpoint(self) -> str:
        """What was asked."""
        return self._sent.endpoint

    @property
    def client(self) -> GatewayClient:
        """The client that was really asked: another one than was called where that one fell back."""
        return self._client

    async def __aiter__(self) -> AsyncIterator[Marked]:
        """Windows whose marks verify, then the check of the statements."""
        endpoint = self._sent.endpoint
        reader = StreamReader(self.run, self.capability, self.attester.key, endpoint)
        done = endpoint == MESSAGES  # those say at their end that it is one
        async for name, data in self._answer.events():
            if name not in ("", "message") and endpoint != MESSAGES:
                continue
            if data == b"[DONE]":
                done = True
                break
            marked = reader.add(data)
            if marked is not None:
                yield marked
        if not reader.carrier or not (done or reader.error):
            raise UnavailableError(
                "answer.broken_off",
                f"the stream of run {self.run} ended without its last frame",
                hint="what was handed out is covered by marks; the run's statements will say how it ended",
            )
        if reader.unmarked and reader.error is None:
            raise RefusedError("mark.missing", "events arrived after the last mark")
        self.turn = build_turn(self._sent, self.run, self.capability, reader.document(), reader.carrier, reader.last)
        self.bound = await self._client.check(self.turn, self.attester)
        if reader.error is not None:
            raise reader.error


@dataclass(frozen=True, slots=True)
class WholeAnswer:
    """An answer that has arrived, and of which nothing but its run has been looked at: :meth:`check` does."""

    client: GatewayClient
    """The client that was really asked: another one than was called where that one fell back."""
    run: str
    capability: str
    attester: Attester
    sent: Sent
    body: bytes

    async def check(self) -> BoundTurn:
        """The answer, once its statements are here and bind it; raises ``answer.*``, ``parts.*`` or ``json.*``."""
        document = canonical.decode_exact(self.body)
        if not isinstance(document, dict):
            raise MalformedError("parts.document", "an answer is a JSON object")
        carrier = document.get("holdfast")
        shown = carrier if isinstance(carrier, dict) else {}
        turn = build_turn(self.sent, self.run, self.capability, document, shown, None)
        return await self.client.check(turn, self.attester)


Fallback: TypeAlias = Callable[[UnavailableError], "Awaitable[GatewayClient]"]
"""Makes the client to ask instead; its ``fell_back`` is set."""


class GatewayClient:
    """One gateway and one workspace key. ``trust`` None: the gateway's key is taken on first use.

    ``requirements`` are asked of the gateway before anything else is; ``channel`` says where the transport ends.
    ``fallback`` makes the client that is asked instead when this one's way is not there (:class:`UnavailableError`
    before anything was answered); it is for callers who said so, and every turn of it says that it fell back.
    ``payer`` pays within its wallet's limits (``client.paying``); without one, a gateway that wants money is an error.
    """

    def __init__(
        self,
        url: str,
        key: str | None,
        *,
        http: HTTP,
        events: EventHTTP,
        clock: Clock,
        trust: Trust | None = None,
        requirements: Requirements | None = None,
        channel: Channel = PLAIN,
        fallback: Fallback | None = None,
        payer: Payer | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self.trust = trust
        self.requirements = (requirements or Requirements()).under(trust)
        self._key = key
        self._http = http
        self._events = events
        self._clock = clock
        self._channel = channel
        self._fallback = fallback
        self._payer = payer
        self.fell_back: str | None = None
        """Why this client is asked instead of another (:attr:`Turn.fell_back`)."""
        self._attester: Attester | None = None
        self._attested_at = 0.0

    @property
    def http(self) -> HTTP:
        """The transport to this gateway: for what else is said to it once :meth:`attester` says who answers."""
        return self._http

    def _headers(self, capability: str | None = None) -> dict[str, str]:
        if capability is not None:
            return {"x-holdfast-capability": capability}
        return {} if self._key is None else {"authorization": f"Bearer {self._key}"}

    async def _get(self, path: str, capability: str | None = None, max_bytes: int = 4 << 20) -> Answer:
        answer = await self._http.request(
            "GET", self.url + path, headers=self._headers(capability), timeout_s=30.0, max_bytes=max_bytes
        )
        if answer.status != 200:
            raise parse_error(answer.status, answer.body, self.url)
        return answer

    # Who answers

    async def attester(self) -> Attester:
        """Who answers, checked against trust and requirements; again after :data:`IDENTITY_FOR_S`.

        Raises ``gateway.identity``, ``gateway.trust``, ``identity.*`` or ``attestation.*``. Nothing has been asked
        then, and no workspace key has left.
        """
        now = self._clock.monotonic()
        if self._attester is None or now - self._attested_at > IDENTITY_FOR_S:
            self._attester, self._attested_at = None, now
            self._attester = await self._identify()
        return self._attester

    @property
    def checked(self) -> CheckedIdentity | None:
        """What was last checked of the gateway, however long ago; None where that failed or nothing was asked yet."""
        return None if self._attester is None else self._attester.checked

    async def _identify(self) -> Attester:
        answer = await self._public("/v1/identity")
        if answer.status != 200:
            raise parse_error(answer.status, answer.body, self.url)
        document, attestation = parse_identity(canonical.decode_object(answer.body), self.url)
        key = document.key_for("statement")
        if key is None:
            raise RefusedError("gateway.identity", f"{self.url} shows a key document without a statement key")
        nonce, now = None, self._clock.now()
        known = self.trust is not None and refuse_document(document, self.trust, now) is None
        if known and self.requirements.attested != "none":
            nonce = secrets.token_bytes(NONCE_BYTES)
            made = await self._fetch_attestation(nonce)
            if made.status == 200:
                attestation = parse_attestation(canonical.decode_object(made.body), document)
            else:
                nonce = None  # not offered: what it showed by itself is judged, and counts as not fresh
        checked = check_identity(
            document,
            attestation,
            trust=self.trust,
            requirements=self.requirements,
            channel=self._channel,
            at=now,
            nonce=nonce,
        )
        payee = document.payment if checked.admitted else None
        return Attester(document.digest, document.name, key, checked.admitted, checked, payee)

    async def _fetch_attestation(self, nonce: bytes) -> Answer:
        """An attestation for a nonce. Where it has to be fresh a gateway that is busy is asked again: it makes so many
        for strangers in a minute."""
        path = f"/v1/attestation?nonce={nonce.hex()}"
        made = await self._public(path)
        for pause in _BUSY_WAITS_S if self.requirements.fresh else ():
            if made.status != _BUSY:
                break
            await self._clock.sleep(pause)
            made = await self._public(path)
        return made

    async def _public(self, path: str) -> Answer:
        """What a gateway shows to everybody: the workspace key stays here until it is known who answers."""
        return await self._http.request("GET", self.url + path, timeout_s=30.0, max_bytes=4 << 20)

    async def models(self) -> tuple[str, ...]:
        """Names of the models on offer; raises ``gateway.models``."""
        value = await self.listing()
        data = value.get("data")
        if not isinstance(data, list) or not all(
            isinstance(item, dict) and isinstance(item.get("id"), str) for item in data
        ):
            raise MalformedError("gateway.models", "the list of models has another shape")
        return tuple(item["id"] for item in data)

    async def listing(self) -> dict[str, Any]:
        """The list of models as the gateway tells it; nothing signs it."""
        return canonical.decode_object((await self._get("/v1/models")).body)

    # Asking

    def _prepare(self, asked: Question, *, streamed: bool) -> tuple[Sent, dict[str, str]]:
        if asked.endpoint not in ENDPOINTS:
            raise UsageError("client.endpoint", f"an endpoint is one of {', '.join(ENDPOINTS)}")
        if streamed and asked.endpoint not in STREAMED:
            raise UsageError("client.stream", f"{asked.endpoint} is not streamed")
        body = asked.body if asked.body is not None else _body_of(asked, streamed=streamed)
        if asked.queue is not None and not is_code(asked.queue):
            raise UsageError("client.queue", f"{asked.queue!r} is no name of a queue: a code is", param="queue")
        nonce = asked.nonce if asked.nonce is not None else secrets.token_urlsafe(24)
        own = {"content-type": "application/json", "x-holdfast-nonce": nonce}
        headers = {**asked.headers, **self._headers(), **own}
        if asked.parent_run is not None:
            headers["x-holdfast-parent"] = asked.parent_run
        if asked.settlement is not None:
            headers["x-holdfast-settlement"] = asked.settlement
        if asked.queue is not None:
            headers["x-holdfast-queue"] = asked.queue
        if asked.subject is not None:
            headers["x-holdfast-subject"] = quote(asked.subject, safe="")
        sent = Sent(
            endpoint=asked.endpoint,
            body=body,
            nonce=nonce,
            parent_run=asked.parent_run,
            settlement=asked.settlement,
            queue=asked.queue,
            path=self._channel.path,
            fell_back=self.fell_back,
        )
        return sent, headers

    async def ask(
        self,
        request: Mapping[str, Any],
        *,
        endpoint: str = "chat.completions",
        parent_run: str | None = None,
        settlement: str | None = None,
        queue: str | None = None,
        subject: str | None = None,
        timeout_s: float = 600.0,
    ) -> BoundTurn:
        """Ask and wait for the whole answer; it is handed out once its statements are here and bind it.

        ``queue`` gives the run to a review queue. That the gateway took it is its own word (``answer.queue`` when it
        does not even say so): no statement names the queue, and this call waits for no case. ``subject`` says what the
        case is about.

        Raises what the gateway answered, ``answer.*`` as :func:`check_turn`, or as the transport does.
        """
        answer = await self.put(Question(request, endpoint, parent_run, settlement, queue, subject), timeout_s)
        return await answer.check()

    async def put(self, asked: Question, timeout_s: float = 600.0) -> WholeAnswer:
        """Ask for a whole answer, and leave it to the caller when to check it: see :class:`WholeAnswer`."""
        client = self
        try:
            attester, sent, answer = await self._send(asked, timeout_s)
        except UnavailableError as error:
            if self._fallback is None:
                raise
            client = await self._fallback(error)
            attester, sent, answer = await client._send(asked, timeout_s)  # noqa: SLF001 - another one of its kind
        if answer.status != 200:
            raise client._error(answer)  # noqa: SLF001 - as above
        run, capability = parse_run(answer.headers, sent.queue)
        return WholeAnswer(client, run, capability, attester, sent, answer.body)

    async def _send(self, asked: Question, timeout_s: float) -> tuple[Attester, Sent, Answer]:
        """The question goes out, paid where that is asked; nothing else that comes back has been looked at."""
        attester = await self.attester()
        sent, headers = self._prepare(asked, streamed=False)
        attempt = self._attempt(sent, attester)
        while True:
            answer = await self._http.request(
                "POST",
                self.url + ENDPOINTS[sent.endpoint],
                body=sent.body,
                headers=headers if attempt is None else {**headers, **attempt.headers},
                timeout_s=timeout_s,
                max_bytes=MAX_ANSWER_BYTES,
            )
            if attempt is None or not await attempt.again(answer.status, answer.headers, answer.body):
                break
        return attester, await _with_paid(sent, attempt, answer.headers), answer

    def _attempt(self, sent: Sent, attester: Attester) -> Attempt | None:
        """The paying of one request; None where this client does not pay."""
        if self._payer is None:
            return None
        path = ENDPOINTS[sent.endpoint]
        return self._payer.attempt(self.url + path, Seller(path, attester.payee, attester.key))

    def _error(self, answer: Answer) -> HoldfastError:
        """What an answer other than 200 says."""
        if answer.status == PAYMENT_REQUIRED and self._channel.kind == "sealed":
            return UnavailableError(
                "paying.relay",
                "the relay's credit at the gateway is used up, and this client pays nothing on the private path",
                hint="the relay's operator has to add some; another relay may have it",
            )
        if answer.status == PAYMENT_REQUIRED and answer.headers.get("payment-required") is not None:
            return unpaid(answer.headers, answer.body, self.url)
        return parse_error(answer.status, answer.body, self.url)

    @contextlib.asynccontextmanager
    async def stream(
        self,
        request: Mapping[str, Any],
        *,
        endpoint: str = "chat.completions",
        parent_run: str | None = None,
        settlement: str | None = None,
        queue: str | None = None,
        subject: str | None = None,
        idle_timeout_s: float = 120.0,
    ) -> AsyncGenerator[AnswerStream]:
        """Ask for a stream: ``async with client.stream(request) as answer: async for marked in answer: …``."""
        asked = Question(request, endpoint, parent_run, settlement, queue, subject)
        async with self.put_stream(asked, idle_timeout_s) as answer:
            yield answer

    @contextlib.asynccontextmanager
    async def put_stream(self, asked: Question, idle_timeout_s: float = 120.0) -> AsyncGenerator[AnswerStream]:
        """As :meth:`stream`, for a question that may have its exact bytes: those must ask for a stream."""
        client = self
        async with contextlib.AsyncExitStack() as stack:
            try:
                attester, sent, answer = await stack.enter_async_context(self._open(asked, idle_timeout_s))
            except UnavailableError as error:
                if self._fallback is None:
                    raise
                client = await self._fallback(error)
                opened = client._open(asked, idle_timeout_s)  # noqa: SLF001 - another one of its kind
                attester, sent, answer = await stack.enter_async_context(opened)
            if answer.status != 200:
                raise client._error(Answer(answer.status, await answer.body(), answer.headers))  # noqa: SLF001 - as above
            yield AnswerStream(client, answer, sent, attester)

    @contextlib.asynccontextmanager
    async def _open(self, asked: Question, idle_timeout_s: float) -> AsyncGenerator[tuple[Attester, Sent, EventAnswer]]:
        """The question goes out, paid where that is asked; the head of what comes back is here."""
        attester = await self.attester()
        sent, headers = self._prepare(asked, streamed=True)
        attempt = self._attempt(sent, attester)
        while True:
            async with self._events.open(
                "POST",
                self.url + ENDPOINTS[sent.endpoint],
                body=sent.body,
                headers=headers if attempt is None else {**headers, **attempt.headers},
                timeout_s=idle_timeout_s,
                idle_timeout_s=idle_timeout_s,
                max_bytes=MAX_EVENT_BYTES,
            ) as answer:
                if attempt is None or answer.status != PAYMENT_REQUIRED:
                    yield attester, await _with_paid(sent, attempt, answer.headers), answer
                    return
                await attempt.again(answer.status, answer.headers, await answer.body())

    async def check(self, turn: Turn, attester: Attester | None = None) -> BoundTurn:
        """Fetch the run's bundle and compare; waits a moment for a statement that is not there yet."""
        by = attester or await self.attester()
        for pause in _STATEMENT_WAITS_S:
            try:
                return check_turn(await self.bundle(turn.run, turn.capability), turn, by, self.trust, self._clock.now())
            except UndecidedError:
                await self._clock.sleep(pause)
        return check_turn(await self.bundle(turn.run, turn.capability), turn, by, self.trust, self._clock.now())

    # Reading

    async def run(self, run: str, capability: str | None = None) -> RunView:
        """A run as the gateway tells it."""
        return parse_run_view(canonical.decode((await self._get(path_of(run), capability)).body))

    async def runs(self, limit: int = 20) -> list[Mapping[str, Any]]:
        """The workspace's newest runs: ``run``, ``created``, ``kind``, ``outcome`` and the state of each lane."""
        value = canonical.decode_object((await self._get(f"/v1/runs?limit={limit}")).body)
        listed = value.get("runs")
        if not isinstance(listed, list):
            raise MalformedError("gateway.run", "the list of runs has another shape")
        for item in listed:
            lanes = item.get("lanes") if isinstance(item, dict) else None
            if not isinstance(lanes, dict) or lanes.keys() != set(LANES) or not is_run_id(item.get("run")):
                raise MalformedError("gateway.run", "a listed run has an id and exactly the eleven lanes")
            if any(state not in STATES for state in lanes.values()):
                raise MalformedError("gateway.run", "a listed lane has an unknown state")
        return listed

    async def openings(self, after: int = 0, limit: int = 100) -> Openings:
        """The workspace's runs that name a queue, in order. Go on with ``after=`` the ``end`` of the answer before."""
        return parse_openings(
            canonical.decode((await self._get(f"/v1/openings?after={after}&limit={limit}")).body), after
        )

    async def bundle(self, run: str, capability: str | None = None) -> bytes:
        """A run's bundle; with the capability the stored documents are disclosed in it."""
        answer = await self._get(f"{path_of(run)}/bundle", capability, MAX_BUNDLE_BYTES)
        if parse_bundle(answer.body).run != run:
            raise RefusedError("answer.run", "the gateway served the bundle of another run")
        return answer.body

    async def appraise(self, run: str, capability: str | None = None, policy: Policy | None = None) -> Appraisal:
        """Fetch a run's bundle and appraise it here, for now, with this client's trust."""
        bundle = parse_bundle(await self.bundle(run, capability))
        now = max(self._clock.now(), bundle.exported_at)  # clocks differ; a bundle cannot be older than its own time
        return appraise(bundle, self.trust, policy or parse_policy(DEFAULT_POLICY), now)

    async def watch(self, run: str, capability: str | None = None) -> AsyncGenerator[RunView]:
        """The run's view now, and again whenever it changes. Ends when the gateway ends it."""
        url = f"{self.url}{path_of(run)}/events"
        async with self._events.open("GET", url, headers=self._headers(capability), max_bytes=4 << 20) as answer:
            if answer.status != 200:
                raise parse_error(answer.status, await answer.body(), self.url)
            async for name, data in answer.events():
                if name == "run":
                    view = parse_run_view(canonical.decode(data))
                    if view.run != run:
                        raise RefusedError("answer.run", "the gateway tells of another run")
                    yield view


def _body_of(asked: Question, *, streamed: bool) -> bytes:
    """The bytes of a request; raises ``client.options``."""
    if "holdfast" in asked.request:
        raise UsageError("client.options", "options of a run are arguments of this call", param="holdfast")
    value = {**asked.request, **({"stream": streamed} if asked.endpoint in STREAMED else {})}
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


async def _with_paid(sent: Sent, attempt: Attempt | None, headers: Mapping[str, str]) -> Sent:
    """What was sent, with what was paid for the run that the answer names."""
    if attempt is None or not is_run_id(headers.get("x-holdfast-run")):
        return sent
    return replace(sent, paid=await attempt.answered(headers, headers["x-holdfast-run"]))


@contextlib.asynccontextmanager
async def connect(
    url: str,
    key: str | None,
    *,
    trust: Trust | None = None,
    requirements: Requirements | None = None,
    insecure_plain_http: bool = False,
    payer: Payer | None = None,
) -> AsyncGenerator[GatewayClient]:
    """A client over the network, with connections that close at the end.

    There is a client only where the gateway is who it should be: the checks of :meth:`GatewayClient.attester` come
    first, and what they raise is raised here. An ``https://`` gateway whose TLS key trust knows is held to it
    (``client.channels``); ``http://`` off this machine is for callers who say so.
    """
    from holdfast.adapters.clock_system import SystemClock  # noqa: PLC0415 - picked where it is wanted

    async with open_direct(url, trust, insecure_plain_http=insecure_plain_http) as way:
        client = GatewayClient(
            url,
            key,
            http=way.http,
            events=way.events,
            clock=SystemClock(),
            trust=trust,
            requirements=requirements,
            channel=way.channel,
            payer=payer,
        )
        try:
            await client.attester()
        except RefusedError as error:
            if error.code == "http.certificate" and way.channel.kind == "web":
                raise RefusedError(
                    "identity.tls",
                    f"the certificate of {url} is for a key that no admitted key document names, and the web's "
                    "authorities do not vouch for it either",
                    hint="nothing was sent; is the trust document the newest, and is this the gateway's own listener?",
                ) from error
            raise
        yield client
