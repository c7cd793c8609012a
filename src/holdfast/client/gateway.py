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

:class:`GatewayClient` is asynchronous, :class:`SyncGatewayClient` the same for programs without an event loop.
:func:`connect` and the latter pick the transport; everything else is handed in.

Not covered: whether an answer is any good, and what the lanes of a run come to: :meth:`GatewayClient.run` returns the
gateway's own appraisal, :meth:`GatewayClient.appraise` makes one here.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import itertools
import json
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeGuard, TypeVar
from urllib.parse import quote

from holdfast.client.channels import open_direct
from holdfast.client.errors import parse_error
from holdfast.client.lanes import parse_hops
from holdfast.core import canonical
from holdfast.core.bundles import MAX_BUNDLE_BYTES, AttestationItem, StatementItem, parse_bundle
from holdfast.core.encoding import b64_decode, hex_decode, time_decode
from holdfast.core.fold import Fold
from holdfast.core.keys import KeyDocument, PublicKey, parse_key_document, verify_signature
from holdfast.core.marks import MarkChain, parse_mark, verify_mark
from holdfast.core.parts import commit, commit_parts, map_parts, pseudo_random_key, strip_carriers
from holdfast.core.statements import (
    Execution,
    Route,
    SealedPath,
    Statement,
    is_code,
    is_run_id,
    pre_authentication_encoding,
)
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
from holdfast.verifier.checks import refuse_attester
from holdfast.verifier.identity import PLAIN, Channel, CheckedIdentity, Requirements, check_identity, refuse_document
from holdfast.verifier.lanes import BASES, LANES, STATES, Lane
from holdfast.verifier.policy import DEFAULT_POLICY, Policy, parse_policy

ENDPOINTS = {"chat.completions": "/v1/chat/completions", "completions": "/v1/completions"}
"""Endpoint names of statements (``statement.md`` §4.1) and their paths."""
MAX_SUBJECT = 4_000
"""Longest subject of a case, in code points (``case.md`` §2)."""
MAX_ANSWER_BYTES = 64 << 20
"""Largest whole answer that is read."""
MAX_EVENT_BYTES = 8 << 20
"""Largest event of a stream that is read."""
IDENTITY_FOR_S = 600.0
"""After so long the gateway's identity and attestation are checked again before the next question."""
NONCE_BYTES = 32
"""Size of the nonce that an attestation is asked to answer."""
_BUSY = 429
_BUSY_WAITS_S = (1.0, 2.0, 4.0)
"""Pauses between asking a gateway that is busy for an attestation."""
_STATEMENT_WAITS_S = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Pauses between looks for a statement that the gateway says is signed."""


@dataclass(frozen=True, slots=True)
class Attester:
    """The node that answers: its digest and the key it signs statements with."""

    node: str
    name: str
    key: PublicKey
    admitted: bool
    """Whether trust admits it; otherwise its key was taken on first use, on the gateway's own word."""
    checked: CheckedIdentity
    """What was checked of it before anything was asked, with the transcript."""


@dataclass(frozen=True, slots=True)
class RunView:
    """A run as its gateway tells it: the gateway's appraisal, not yours."""

    run: str
    lanes: Mapping[str, Lane]
    chronology: tuple[Mapping[str, Any], ...]
    """Entries with at least ``at``, ``code`` and ``says``."""
    known: int
    outcome: str | None
    value: Mapping[str, Any]
    """The whole answer, for people."""


@dataclass(frozen=True, slots=True)
class QueuedRun:
    """A run that its caller gave to a review queue, as its gateway tells it."""

    position: int
    """Where its opening lies in the gateway's write-ahead log."""
    run: str
    queue: str
    requester: str | None
    """The person whose key asked, where the gateway knows one."""
    opened_at: dt.datetime
    outcome: str | None
    """As of when it was asked for; None while the run is open."""
    closed_at: dt.datetime | None
    subject: str | None = None
    """What its case is about, in its caller's words."""


@dataclass(frozen=True, slots=True)
class Openings:
    """A stretch of a workspace's queued runs, in order."""

    openings: tuple[QueuedRun, ...]
    end: int
    """Where to go on: below it nothing more will appear."""
    round: int
    """The newest final round that the gateway has seen; 0 for none."""
    superseded: int
    """Grows whenever the gateway sees a verdict that supersedes an earlier one."""


@dataclass(frozen=True, slots=True)
class Marked:
    """A window of a stream whose mark verified."""

    seq: int
    events: tuple[Mapping[str, Any], ...]
    """The events of the window, numbers kept as text."""
    text: str
    """What they add to the first choice's text."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One question and its answer, as far as it came."""

    run: str
    capability: str
    """The run secret, hex: whoever has it can read the run's parts."""
    nonce: str
    endpoint: str
    request: bytes
    """The exact bytes that were sent."""
    response: Mapping[str, Any]
    """The (folded) response document, numbers kept as text, without carriers."""
    parent_run: str | None
    """The parent run that was asked for."""
    settlement: str | None
    """The settlement that was asked for; None leaves it to the gateway."""
    outcome: str
    """``complete``, or what went wrong, as the gateway says."""
    statements: Mapping[str, str]
    """Kind to statement digest, as the gateway says."""
    marks: tuple[int, bytes] | None
    """Number and chain value of the last mark, for a stream."""
    carrier: Mapping[str, Any]
    path: SealedPath | None = None
    """What the request was sealed with; None where it went to the gateway directly. Its route statement says the same,
    or there is no :class:`BoundTurn`."""
    fell_back: str | None = None
    """Where the private path was asked for and not there, and the caller had said that the direct one will do: the code
    of why. Such a turn was as private as any direct one."""

    @property
    def text(self) -> str:
        """The first choice's text; empty when it has none."""
        return text_of(self.response)


@dataclass(frozen=True, slots=True)
class BoundTurn:
    """A turn with the signed statements that bind it; made by :func:`check_turn` alone."""

    turn: Turn
    attester: Attester
    route: Statement
    execution: Statement


def text_of(document: Mapping[str, Any]) -> str:
    """The first choice's text in a response document, or ``""``."""
    choices = document.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(first, dict):
        return ""
    message = first.get("message")
    text = message.get("content") if isinstance(message, dict) else first.get("text")
    return text if isinstance(text, str) else ""


def _delta_text(event: Mapping[str, Any]) -> str:
    """What an event adds to the first choice's text."""
    choices, found = event.get("choices"), ""
    for choice in choices if isinstance(choices, list) else []:
        if not isinstance(choice, dict) or str(choice.get("index", "0")) != "0":
            continue
        delta = choice.get("delta")
        piece = delta.get("content") if isinstance(delta, dict) else choice.get("text")
        found += piece if isinstance(piece, str) else ""
    return found


def parse_identity(value: object, where: str) -> tuple[KeyDocument, AttestationItem | None]:
    """The answer of ``GET /v1/identity``: a gateway's key document and its attestation, if it shows one.

    Raises ``gateway.identity`` for a document that is not the node's that is named or not a gateway's, and ``keys.*``.
    """
    shown = value if isinstance(value, dict) else {}
    document = parse_key_document(b64_decode(shown.get("key_document")))
    if document.digest != shown.get("node") or "gateway" not in document.roles:
        raise RefusedError("gateway.identity", f"{where} shows a key document that is not a gateway's own")
    attestation = shown.get("attestation")
    return document, None if attestation is None else parse_attestation(attestation, document)


def parse_attestation(value: object, document: KeyDocument) -> AttestationItem:
    """``{"format","evidence"}`` as a gateway shows it; raises ``gateway.attestation``."""
    form = value.get("format") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(form, str) or not is_code(form):
        raise MalformedError("gateway.attestation", "an attestation has a format and evidence")
    return AttestationItem(document.digest, form, b64_decode(value.get("evidence")))


def parse_run_view(value: object) -> RunView:
    """The answer of ``GET /v1/runs/{id}``; raises ``gateway.run``."""
    if not isinstance(value, dict) or not is_run_id(value.get("run")):
        raise MalformedError("gateway.run", "a run is an object with a run id")
    lanes, story, known = value.get("lanes"), value.get("chronology"), value.get("known")
    if not isinstance(lanes, dict) or lanes.keys() != set(LANES) or not isinstance(story, list):
        raise MalformedError("gateway.run", "a run has exactly the eleven lanes, and a chronology")
    if not isinstance(known, int) or isinstance(known, bool) or known < 0:
        raise MalformedError("gateway.run", "known is a position")
    for moment in story:
        if not isinstance(moment, dict) or not all(
            isinstance(moment.get(name), str) for name in ("at", "code", "says")
        ):
            raise MalformedError("gateway.run", "a moment has at, code and says")
        time_decode(moment["at"])
    outcome = value.get("outcome")
    return RunView(
        run=value["run"],
        lanes={name: _parse_lane(name, lanes[name]) for name in LANES},
        chronology=tuple(story),
        known=known,
        outcome=outcome if isinstance(outcome, str) else None,
        value=value,
    )


def parse_openings(value: object, after: int) -> Openings:
    """The answer of ``GET /v1/openings?after=``; raises ``gateway.openings``.

    Openings stand in order, from ``after`` on and below ``end``. An ``end`` before ``after`` says that the gateway's
    write-ahead log is another one than ``after`` came from; then there are none.
    """
    listed = value.get("openings") if isinstance(value, dict) else None
    end, final, superseded = (
        value.get(name) if isinstance(value, dict) else None for name in ("end", "round", "superseded")
    )
    if not isinstance(listed, list) or not _is_position(end) or not _is_position(final) or not _is_position(superseded):
        raise MalformedError("gateway.openings", "the answer is no list of openings with an end and what was seen")
    found = tuple(_parse_opening(item) for item in listed)
    places = [after - 1, *(item.position for item in found), end]
    if any(later <= earlier for earlier, later in itertools.pairwise(places)) and (found or end >= after):
        raise MalformedError("gateway.openings", "openings are in order, from the position asked for on to the end")
    return Openings(found, end, final, superseded)


def _is_position(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _parse_opening(value: object) -> QueuedRun:
    item = value if isinstance(value, dict) else {}
    position, run, queue, outcome = (item.get(name) for name in ("position", "run", "queue", "outcome"))
    if not _is_position(position) or not is_run_id(run) or not is_code(queue):
        raise MalformedError("gateway.openings", "an opening has a position, a run id and a queue")
    if outcome is not None and not is_code(outcome):
        raise MalformedError("gateway.openings", "an outcome is a code or null")
    requester = item.get("requester")
    if requester is not None and not (isinstance(requester, str) and 0 < len(requester) <= 64):
        raise MalformedError("gateway.openings", "a requester is a name or null")
    subject = item.get("subject")
    if subject is not None and not (isinstance(subject, str) and 0 < len(subject) <= MAX_SUBJECT):
        raise MalformedError("gateway.openings", f"a subject is a text of at most {MAX_SUBJECT} characters, or null")
    closed_at = None if item.get("closed_at") is None else time_decode(item["closed_at"])
    opened_at = time_decode(item.get("opened_at"))
    return QueuedRun(position, str(run), str(queue), requester, opened_at, outcome, closed_at, subject)


def _parse_lane(name: str, value: object) -> Lane:
    if not isinstance(value, dict) or value.get("state") not in STATES or value.get("basis") not in (None, *BASES):
        raise MalformedError("gateway.run", f"lane {name} has no known state and basis")
    says, evidence = value.get("says"), value.get("evidence")
    if not isinstance(says, str) or not isinstance(evidence, list):
        raise MalformedError("gateway.run", f"lane {name} has no sentence or no evidence")
    digests = tuple(hex_decode(item, 32).hex() for item in evidence)
    hops = parse_hops(value.get("hops", []), "gateway.run")
    return Lane(name, value["state"], value["basis"], says, digests, hops=hops)


def check_turn(raw: bytes, turn: Turn, attester: Attester, trust: Trust | None, at: dt.datetime) -> BoundTurn:
    """Compare a turn with the signed statements in a bundle of its run (``parts.md`` §4, ``statement.md`` §7).

    Raises ``answer.statement`` (:class:`UndecidedError`) while a statement is not there, and :class:`RefusedError`
    with ``answer.signature``, ``answer.nonce``, ``answer.request``, ``answer.path``, ``answer.response``,
    ``answer.marks`` or ``answer.trace``. A stream that the gateway says is not complete may lack what was generated and
    never arrived; then the last mark is what is compared. A whole answer has no marks, so it must be the signed
    response, whatever the gateway says of it.
    """
    bundle = parse_bundle(raw)
    found = {
        entry.item.statement.digest: entry.item.statement
        for entry in bundle.journal
        if isinstance(entry.item, StatementItem)
    }
    route, execution = (_named(turn, kind, found) for kind in ("route", "execution"))
    for statement in (route, execution):
        _check_statement(statement, turn, attester, trust, at)
    said, did = route.body, execution.body
    if not isinstance(said, Route) or not isinstance(did, Execution) or execution.parents != (route.digest,):
        raise RefusedError("answer.trace", "the execution statement does not follow from this run's route")
    key = pseudo_random_key(turn.run, bytes.fromhex(turn.capability))
    if said.endpoint != turn.endpoint or commit("request", turn.request, key).tree != said.request:
        raise RefusedError("answer.request", "the signed request is not the one that was sent")
    _check_path(said.path, turn.path)
    if turn.settlement is not None and said.settlement != turn.settlement:
        raise RefusedError("answer.request", f"settlement {turn.settlement} was asked for, {said.settlement} is signed")
    marks = None if did.marks is None else (did.marks.seq, did.marks.parts)
    if turn.marks is not None and turn.marks != marks:
        raise RefusedError("answer.marks", "the signed last mark is not the last one that arrived")
    response = commit_parts("response", map_parts("response", dict(turn.response)), key).tree
    complete = did.event == "generated" and did.outcome == "complete"
    unmarked = turn.marks is None and bool(turn.response)
    if did.outcome != turn.outcome or ((complete or unmarked) and response != did.response):
        raise RefusedError("answer.response", "the signed response is not the one that arrived")
    return BoundTurn(turn, attester, route, execution)


def _check_path(said: SealedPath | None, went: SealedPath | None) -> None:
    """The route tells of the way that the request really went (``client.md`` §5(2))."""
    if said is None or went is None:
        if said is not went:
            really = "directly" if went is None else "sealed, through a relay"
            raise RefusedError("answer.path", f"the request went {really}, and the signed route says otherwise")
        return
    if (said.config, said.suite, said.profile) != (went.config, went.suite, went.profile):
        raise RefusedError("answer.path", "the signed route names another key, suite or profile than was used")
    if said.relay is not None and said.relay != went.relay:
        raise RefusedError("answer.path", "the signed route names another relay than the one that was asked")


def _named(turn: Turn, kind: str, found: Mapping[str, Statement]) -> Statement:
    """The statement that the gateway named for this turn."""
    statement = found.get(turn.statements.get(kind, ""))
    if statement is None:
        raise UndecidedError("answer.statement", f"the {kind} statement of run {turn.run} is not there yet")
    if statement.kind != kind or statement.run != turn.run:
        raise RefusedError("answer.trace", f"what the gateway named is no {kind} statement of this run")
    return statement


def _check_statement(
    statement: Statement, turn: Turn, attester: Attester, trust: Trust | None, at: dt.datetime
) -> None:
    if statement.attester != attester.node:
        raise RefusedError("answer.signature", "a statement is by another node than the one that answered")
    if statement.nonce != turn.nonce:
        raise RefusedError("answer.nonce", "a statement does not answer to the nonce that was sent")
    if statement.parent_run != turn.parent_run:
        raise RefusedError("answer.trace", "a statement names another parent run than the one that was sent")
    if trust is not None:
        why = refuse_attester(statement, trust, until=at)
        if trust.current.expires_at <= at:
            why = "the trust document has run out"
        if why is not None:
            raise RefusedError("answer.signature", f"the {statement.kind} statement is refused: {why}")
        return
    if statement.envelope.key_id != attester.key.key_id:
        raise RefusedError("answer.signature", "a statement is signed with another key")
    try:
        message = pre_authentication_encoding(statement.envelope.payload)
        verify_signature(attester.key, message, statement.envelope.signature)
    except RefusedError as error:
        raise RefusedError("answer.signature", f"the {statement.kind} statement's signature is bad") from error


class StreamReader:
    """Reads one stream's events, and holds each back until a mark covers it. Pure: hand it what arrived."""

    def __init__(self, run: str, capability: str, key: PublicKey) -> None:
        self._run = run
        self._key = key
        self._chain = MarkChain(pseudo_random_key(run, hex_decode(capability, 32)))
        self._fold = Fold()
        self._held: list[dict[str, Any]] = []
        self.last: tuple[int, bytes] | None = None
        """Number and chain value of the last mark that verified."""
        self.carrier: Mapping[str, Any] = {}
        """The ``holdfast`` member of the terminal frame."""
        self.error: HoldfastError | None = None
        """What the gateway said went wrong in the middle."""

    def add(self, data: bytes) -> Marked | None:
        """Take one event. Returns the window that it closes, if any; raises ``mark.*``, ``json.*``, ``parts.*``,
        ``stream.fold`` or ``answer.run``."""
        event = canonical.decode_exact(data)
        if not isinstance(event, dict):
            raise MalformedError("stream.fold", "an event is a JSON object")
        carrier = event.get("holdfast")
        carried: Mapping[str, Any] = carrier if isinstance(carrier, dict) else {}
        if "run" in carried and carried["run"] != self._run:
            raise RefusedError("answer.run", "an event of another run stands in this stream")
        if "statements" in carried or "outcome" in carried:
            self.carrier = carried
        if isinstance(event.get("error"), dict) and "choices" not in event:
            self.error = parse_error(0, canonical.encode_exact(event), "the gateway")
            return None
        self._chain.add(event)
        self._held.append(strip_carriers("response", event))
        if "mark" not in carried:
            return None
        mark, signature = parse_mark(carried["mark"])
        verify_mark(mark, signature, chain=self._chain, run=self._run, key=self._key)
        self.last = (mark.seq, mark.parts)
        window, self._held = tuple(self._held), []
        for covered in window:
            self._fold.add(covered)
        return Marked(mark.seq, window, "".join(map(_delta_text, window)))

    @property
    def unmarked(self) -> int:
        """Events that arrived and that no mark covers."""
        return len(self._held)

    def document(self) -> dict[str, Any]:
        """The folded response, as far as marks cover it."""
        return self._fold.document()


class AnswerStream:
    """A streamed answer. Iterate over it once; :attr:`bound` is there when the iteration has ended without an error."""

    def __init__(self, client: GatewayClient, answer: EventAnswer, sent: _Sent, attester: Attester) -> None:
        self.run, self.capability = _run_of(answer.headers, sent.queue)
        self.attester = attester
        self.bound: BoundTurn | None = None
        self.turn: Turn | None = None
        self._client = client
        self._answer = answer
        self._sent = sent

    @property
    def client(self) -> GatewayClient:
        """The client that was really asked: another one than was called where that one fell back."""
        return self._client

    async def __aiter__(self) -> AsyncIterator[Marked]:
        """Windows whose marks verify, then the check of the statements."""
        reader = StreamReader(self.run, self.capability, self.attester.key)
        done = False
        async for name, data in self._answer.events():
            if name not in ("", "message"):
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
        self.turn = _turn(self._sent, self.run, self.capability, reader.document(), reader.carrier, reader.last)
        self.bound = await self._client.check(self.turn, self.attester)
        if reader.error is not None:
            raise reader.error


@dataclass(frozen=True, slots=True)
class _Question:
    """What a caller asks, before it is known who answers."""

    request: Mapping[str, Any]
    endpoint: str
    parent_run: str | None
    settlement: str | None
    queue: str | None
    subject: str | None


@dataclass(frozen=True, slots=True)
class _Sent:
    """What went out."""

    endpoint: str
    body: bytes
    nonce: str
    parent_run: str | None
    settlement: str | None
    queue: str | None
    path: SealedPath | None
    fell_back: str | None


def _run_of(headers: Mapping[str, str], queue: str | None) -> tuple[str, str]:
    run, capability = headers.get("x-holdfast-run", ""), headers.get("x-holdfast-capability", "")
    if not is_run_id(run):
        raise RefusedError("answer.unbound", "the answer names no run: this is not a Holdfast gateway")
    hex_decode(capability, 32)
    if queue is not None and headers.get("x-holdfast-queue") != queue:
        raise RefusedError(
            "answer.queue",
            f"the gateway does not say that run {run} goes to queue {queue}: it may know no queues, and opens no case",
        )
    return run, capability


def _turn(
    sent: _Sent,
    run: str,
    capability: str,
    document: Mapping[str, Any],
    carrier: Mapping[str, Any],
    marks: tuple[int, bytes] | None,
) -> Turn:
    statements = carrier.get("statements")
    named = {}
    for item in statements if isinstance(statements, list) else []:
        if isinstance(item, dict) and isinstance(item.get("kind"), str) and isinstance(item.get("digest"), str):
            named[item["kind"]] = item["digest"]
    return Turn(
        run=run,
        capability=capability,
        nonce=sent.nonce,
        endpoint=sent.endpoint,
        request=sent.body,
        response=strip_carriers("response", dict(document)),
        parent_run=sent.parent_run,
        settlement=sent.settlement,
        outcome=str(carrier.get("outcome", "")),
        statements=named,
        marks=marks,
        carrier=carrier,
        path=sent.path,
        fell_back=sent.fell_back,
    )


Fallback: TypeAlias = Callable[[UnavailableError], "Awaitable[GatewayClient]"]
"""Makes the client to ask instead; its ``fell_back`` is set."""


class GatewayClient:
    """One gateway and one workspace key. ``trust`` None: the gateway's key is taken on first use.

    ``requirements`` are asked of the gateway before anything else is; ``channel`` says where the transport ends.
    ``fallback`` makes the client that is asked instead when this one's way is not there (:class:`UnavailableError`
    before anything was answered); it is for callers who said so, and every turn of it says that it fell back.
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
        self.fell_back: str | None = None
        """Why this client is asked instead of another (:attr:`Turn.fell_back`)."""
        self._attester: Attester | None = None
        self._attested_at = 0.0

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
        return Attester(document.digest, document.name, key, checked.admitted, checked)

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
        value = canonical.decode_object((await self._get("/v1/models")).body)
        data = value.get("data")
        if not isinstance(data, list) or not all(
            isinstance(item, dict) and isinstance(item.get("id"), str) for item in data
        ):
            raise MalformedError("gateway.models", "the list of models has another shape")
        return tuple(item["id"] for item in data)

    # Asking

    def _prepare(self, asked: _Question, *, streamed: bool) -> tuple[_Sent, dict[str, str]]:
        if asked.endpoint not in ENDPOINTS:
            raise UsageError("client.endpoint", f"an endpoint is one of {', '.join(ENDPOINTS)}")
        body = json.dumps({**asked.request, "stream": streamed}, ensure_ascii=False, separators=(",", ":")).encode()
        if "holdfast" in asked.request:
            raise UsageError("client.options", "options of a run are arguments of this call", param="holdfast")
        if asked.queue is not None and not is_code(asked.queue):
            raise UsageError("client.queue", f"{asked.queue!r} is no name of a queue: a code is", param="queue")
        nonce = secrets.token_urlsafe(24)
        headers = {**self._headers(), "content-type": "application/json", "x-holdfast-nonce": nonce}
        if asked.parent_run is not None:
            headers["x-holdfast-parent-run"] = asked.parent_run
        if asked.settlement is not None:
            headers["x-holdfast-settlement"] = asked.settlement
        if asked.queue is not None:
            headers["x-holdfast-queue"] = asked.queue
        if asked.subject is not None:
            headers["x-holdfast-subject"] = quote(asked.subject, safe="")
        sent = _Sent(
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
        asked = _Question(request, endpoint, parent_run, settlement, queue, subject)
        client = self
        try:
            attester, sent, answer = await self._send(asked, timeout_s)
        except UnavailableError as error:
            if self._fallback is None:
                raise
            client = await self._fallback(error)
            attester, sent, answer = await client._send(asked, timeout_s)  # noqa: SLF001 - another one of its kind
        if answer.status != 200:
            raise parse_error(answer.status, answer.body, client.url)
        run, capability = _run_of(answer.headers, sent.queue)
        document = canonical.decode_exact(answer.body)
        if not isinstance(document, dict):
            raise MalformedError("parts.document", "an answer is a JSON object")
        carrier = document.get("holdfast")
        turn = _turn(sent, run, capability, document, carrier if isinstance(carrier, dict) else {}, None)
        return await client.check(turn, attester)

    async def _send(self, asked: _Question, timeout_s: float) -> tuple[Attester, _Sent, Answer]:
        """The question goes out; nothing that comes back has been looked at."""
        attester = await self.attester()
        sent, headers = self._prepare(asked, streamed=False)
        answer = await self._http.request(
            "POST",
            self.url + ENDPOINTS[sent.endpoint],
            body=sent.body,
            headers=headers,
            timeout_s=timeout_s,
            max_bytes=MAX_ANSWER_BYTES,
        )
        return attester, sent, answer

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
        asked = _Question(request, endpoint, parent_run, settlement, queue, subject)
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
                raise parse_error(answer.status, await answer.body(), client.url)
            yield AnswerStream(client, answer, sent, attester)

    @contextlib.asynccontextmanager
    async def _open(
        self, asked: _Question, idle_timeout_s: float
    ) -> AsyncGenerator[tuple[Attester, _Sent, EventAnswer]]:
        """The question goes out; the head of what comes back is here."""
        attester = await self.attester()
        sent, headers = self._prepare(asked, streamed=True)
        async with self._events.open(
            "POST",
            self.url + ENDPOINTS[sent.endpoint],
            body=sent.body,
            headers=headers,
            timeout_s=idle_timeout_s,
            idle_timeout_s=idle_timeout_s,
            max_bytes=MAX_EVENT_BYTES,
        ) as answer:
            yield attester, sent, answer

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
        return parse_run_view(canonical.decode((await self._get(_path(run), capability)).body))

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
        answer = await self._get(f"{_path(run)}/bundle", capability, MAX_BUNDLE_BYTES)
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
        url = f"{self.url}{_path(run)}/events"
        async with self._events.open("GET", url, headers=self._headers(capability), max_bytes=4 << 20) as answer:
            if answer.status != 200:
                raise parse_error(answer.status, await answer.body(), self.url)
            async for name, data in answer.events():
                if name == "run":
                    view = parse_run_view(canonical.decode(data))
                    if view.run != run:
                        raise RefusedError("answer.run", "the gateway tells of another run")
                    yield view


def _path(run: str) -> str:
    if not is_run_id(run):
        raise MalformedError("run.id", f"{run!r} is not a run id", hint="a UUID of version 4 or 7, in lower case")
    return f"/v1/runs/{run}"


@contextlib.asynccontextmanager
async def connect(
    url: str,
    key: str | None,
    *,
    trust: Trust | None = None,
    requirements: Requirements | None = None,
    insecure_plain_http: bool = False,
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


Result = TypeVar("Result")


class SyncGatewayClient:
    """:class:`GatewayClient` without an event loop: a context manager that keeps one of its own.

    ``make`` replaces the transport; by default it is :func:`connect`. :meth:`private` speaks through a relay.
    """

    @classmethod
    def private(cls, relay: str, key: str | None, *, trust: Trust, **options: Any) -> Self:
        """Over the private path: the arguments are those of :func:`holdfast.client.private.connect_private`."""
        from holdfast.client.private import connect_private  # noqa: PLC0415 - it stands on this module

        return cls(relay, key, trust=trust, make=lambda: connect_private(relay, key, trust=trust, **options))

    def __init__(
        self,
        url: str,
        key: str | None,
        *,
        trust: Trust | None = None,
        requirements: Requirements | None = None,
        insecure_plain_http: bool = False,
        make: Callable[[], contextlib.AbstractAsyncContextManager[GatewayClient]] | None = None,
    ) -> None:
        self._make = make or (
            lambda: connect(url, key, trust=trust, requirements=requirements, insecure_plain_http=insecure_plain_http)
        )
        self._runner = asyncio.Runner()
        self._stack = contextlib.AsyncExitStack()
        self._client: GatewayClient | None = None

    def __enter__(self) -> Self:
        try:
            self._client = self._runner.run(self._stack.enter_async_context(self._make()))
        except BaseException:
            self._runner.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._runner.run(self._stack.aclose())
        finally:
            self._runner.close()

    def _do(self, work: Callable[[GatewayClient], Coroutine[Any, Any, Result]]) -> Result:
        if self._client is None:
            raise UsageError("client.closed", "use the client inside its with statement")
        return self._runner.run(work(self._client))

    def attester(self) -> Attester:
        """See :meth:`GatewayClient.attester`."""
        return self._do(lambda client: client.attester())

    def models(self) -> tuple[str, ...]:
        """See :meth:`GatewayClient.models`."""
        return self._do(lambda client: client.models())

    def ask(self, request: Mapping[str, Any], **options: Any) -> BoundTurn:
        """See :meth:`GatewayClient.ask`."""
        return self._do(lambda client: client.ask(request, **options))

    @contextlib.contextmanager
    def stream(self, request: Mapping[str, Any], **options: Any) -> Iterator[SyncAnswerStream]:
        """See :meth:`GatewayClient.stream`: ``with client.stream(request) as answer: for marked in answer: …``."""
        if self._client is None:
            raise UsageError("client.closed", "use the client inside its with statement")
        opened = self._client.stream(request, **options)
        answer = self._runner.run(opened.__aenter__())
        try:
            yield SyncAnswerStream(self._runner, answer)
        finally:
            self._runner.run(_leave(opened))

    def run(self, run: str, capability: str | None = None) -> RunView:
        """See :meth:`GatewayClient.run`."""
        return self._do(lambda client: client.run(run, capability))

    def runs(self, limit: int = 20) -> list[Mapping[str, Any]]:
        """See :meth:`GatewayClient.runs`."""
        return self._do(lambda client: client.runs(limit))

    def openings(self, after: int = 0, limit: int = 100) -> Openings:
        """See :meth:`GatewayClient.openings`."""
        return self._do(lambda client: client.openings(after, limit))

    def bundle(self, run: str, capability: str | None = None) -> bytes:
        """See :meth:`GatewayClient.bundle`."""
        return self._do(lambda client: client.bundle(run, capability))

    def appraise(self, run: str, capability: str | None = None, policy: Policy | None = None) -> Appraisal:
        """See :meth:`GatewayClient.appraise`."""
        return self._do(lambda client: client.appraise(run, capability, policy))

    def watch(self, run: str, capability: str | None = None) -> Iterator[RunView]:
        """See :meth:`GatewayClient.watch`."""
        if self._client is None:
            raise UsageError("client.closed", "use the client inside its with statement")
        views = self._client.watch(run, capability)
        try:
            while (view := self._runner.run(_next(views))) is not None:
                yield view
        finally:
            self._runner.run(views.aclose())


class SyncAnswerStream:
    """:class:`AnswerStream` without an event loop."""

    def __init__(self, runner: asyncio.Runner, answer: AnswerStream) -> None:
        self._runner = runner
        self._answer = answer

    @property
    def run(self) -> str:
        return self._answer.run

    @property
    def capability(self) -> str:
        return self._answer.capability

    @property
    def attester(self) -> Attester:
        return self._answer.attester

    @property
    def bound(self) -> BoundTurn | None:
        """See :attr:`AnswerStream.bound`."""
        return self._answer.bound

    def __iter__(self) -> Iterator[Marked]:
        """Windows whose marks verify, then the check of the statements."""
        windows = aiter(self._answer)
        while (marked := self._runner.run(_next(windows))) is not None:
            yield marked


async def _next(values: AsyncIterator[Result]) -> Result | None:
    return await anext(values, None)


async def _leave(opened: contextlib.AbstractAsyncContextManager[Any]) -> None:
    await opened.__aexit__(None, None, None)
