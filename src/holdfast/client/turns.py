"""One question and its answer, and comparing it with the signed statements that bind it (``parts.md`` §4).

:func:`check_turn` alone makes a :class:`BoundTurn`. Pure: whoever calls hands in the run's bundle and the time.

Not covered: streams while they run (``client.streams``), and who answers (``verifier.identity``).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from holdfast.client.paying import Paid
from holdfast.core.bundles import StatementItem, parse_bundle
from holdfast.core.encoding import hex_decode
from holdfast.core.keys import PublicKey, verify_signature
from holdfast.core.parts import commit, commit_parts, map_parts, pseudo_random_key, strip_carriers
from holdfast.core.statements import (
    Execution,
    Route,
    SealedPath,
    Statement,
    is_run_id,
    pre_authentication_encoding,
)
from holdfast.core.trust import Trust
from holdfast.errors import RefusedError, UndecidedError
from holdfast.verifier.checks import known_of, refuse_attester, refuse_trace
from holdfast.verifier.identity import CheckedIdentity

ENDPOINTS = {
    "chat.completions": "/v1/chat/completions",
    "completions": "/v1/completions",
    "images.generations": "/v1/images/generations",
    "messages": "/v1/messages",
    "embeddings": "/v1/embeddings",
    "classifications": "/v1/classify",
    "inference": "/v1/infer",
}
"""Endpoint names of statements (``statement.md`` §4.1) and their paths."""
STREAMED = frozenset({"chat.completions", "completions", "messages"})
"""Those of which the request says whether a stream is wanted; of the others the gateway takes no such member."""


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
    payee: str | None = None
    """Where it is paid, by the key document that trust admits; None where it is not admitted or names nothing."""


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
    paid: Paid | None = None
    """What was signed for it; None where this client paid nothing."""

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
    """The first choice's text in a response document, or a message's; else ``""``."""
    blocks = document.get("content")
    if isinstance(blocks, list):
        texts = [block.get("text") for block in blocks if isinstance(block, dict) and block.get("type") == "text"]
        return "".join(text for text in texts if isinstance(text, str))
    choices = document.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(first, dict):
        return ""
    message = first.get("message")
    text = message.get("content") if isinstance(message, dict) else first.get("text")
    return text if isinstance(text, str) else ""


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
    follows = route.digest in execution.parents and set(execution.parents) <= {route.digest, *route.parents}
    if not isinstance(said, Route) or not isinstance(did, Execution) or not follows:
        raise RefusedError("answer.trace", "the execution statement does not follow from this run's route")
    parents = [known_of(found[digest], 0, "ok") for digest in execution.parents if digest in found]
    if refuse_trace(execution, parents) is not None:
        raise RefusedError("answer.trace", "the route statement says that another upstream, or none, gave this answer")
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


@dataclass(frozen=True, slots=True)
class Question:
    """What a caller asks, before it is known who answers."""

    request: Mapping[str, Any]
    endpoint: str
    parent_run: str | None
    settlement: str | None
    queue: str | None
    subject: str | None
    body: bytes | None = None
    """The exact bytes to send, where the caller has them: ``request`` decoded. None: they are made of ``request``."""
    nonce: str | None = None
    """The caller's own; None: one is drawn."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """What the gateway is told beside."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What went out."""

    endpoint: str
    body: bytes
    nonce: str
    parent_run: str | None
    settlement: str | None
    queue: str | None
    path: SealedPath | None
    fell_back: str | None
    paid: Paid | None = None


def parse_run(headers: Mapping[str, str], queue: str | None) -> tuple[str, str]:
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


def build_turn(
    sent: Sent,
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
        paid=sent.paid,
    )
