"""Is this one statement acceptable? (``spec/statement.md`` §7)

The only implementation of that question: full nodes ask it for every log entry, the appraisal asks it for every
statement of a bundle. Steps are numbered as in the specification; the first that fails names the verdict.

Not covered: whether the entry is really in the log (``core.merkle``) and what a quorum made of it (``core.rounds``).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from holdfast.core.admission_body import AdmissionBody
from holdfast.core.attempts import SERVED
from holdfast.core.encoding import sha256_hex, time_encode
from holdfast.core.keys import KeyDocument, verify_signature
from holdfast.core.statements import (
    CLOSING_EVENTS,
    ArtifactBody,
    DecisionBody,
    Execution,
    IdentityBody,
    JournalHead,
    PaymentBody,
    Route,
    Statement,
    Tree,
    parse_commitment,
    parse_envelope,
    parse_statement,
    pre_authentication_encoding,
)
from holdfast.core.trust import Trust
from holdfast.errors import MalformedError, RefusedError

OK = "ok"
"""Every check said yes."""
CANNOT_TELL = "cannot_tell"
"""Commitments, and kinds whose predicate this version does not read."""
COMPLETE = "complete"
"""Outcome of a run whose answer is whole (``statement.md`` §4.2)."""
UNSERVED = "unserved"
ROLES_BY_KIND = {
    "route": {"gateway"},
    "execution": {"gateway", "inference"},
    "admission": {"data"},
    "recall": {"memory"},
    "payment": {"facilitator", "gateway"},
    "decision": {"panel"},
    "artifact": {"hub"},
    "journal": {"panel"},
    "identity": {"gateway", "inference", "data", "memory"},
}
"""Who may say what (``statement.md`` §6)."""


@dataclass(frozen=True, slots=True)
class CheckPolicy:
    """Bounds on the time between claim and first sight, in seconds (``statement.md`` §8)."""

    max_span_s: int = 600
    max_skew_s: int = 30


@dataclass(frozen=True, slots=True)
class KnownStatement:
    """What a checker remembers of an earlier statement."""

    index: int
    run: str
    kind: str
    code: str
    event: str | None
    nonce: str | None
    upstream: str | None
    settlement: str | None = None
    attester: str = ""
    journal: str | None = None
    seq: int | None = None
    """Of a ``journal`` statement: whose head it is, and the number of that event."""
    pays: str | None = None
    """Of a ``payment`` or ``artifact`` statement: what only one of its attester's may be about (:func:`step_of`)."""
    binds: str | None = None
    """Of a computation: the documents that it ties together (``Execution.binds``). Of an admission: since when and
    until when a route can take it in (:func:`span_of`). Of a route by which nobody served: :data:`UNSERVED`."""

    @property
    def closing(self) -> bool:
        return self.kind == "execution" and self.event in CLOSING_EVENTS

    @property
    def computed(self) -> bool:
        """Whether an inference node tells by it what it computed."""
        return self.kind == "execution" and self.event == "computed"


class History(Protocol):
    """Earlier statements of the same log."""

    def known(self, digest: str) -> KnownStatement | None:
        """The earlier statement with this digest."""
        ...

    def closing(self, run: str, attester: str) -> str | None:
        """Digest of an attester's first closing execution of a run whose code was ``ok``."""
        ...

    def head(self, attester: str, journal: str, before: int) -> int | None:
        """The number that an attester's newest head of a journal names, among the entries before index ``before`` whose
        code was ``ok``."""
        ...

    def paid(self, step: str, attester: str) -> str | None:
        """Digest of an attester's first statement about a step (:func:`step_of`) whose code was ``ok``."""
        ...


@dataclass(frozen=True, slots=True)
class EntryCheck:
    """The verdict on one log entry: its deduplication digest (hex), its code and, if it parsed, its statement."""

    digest: str
    code: str
    statement: Statement | None

    def remember(self, index: int) -> KnownStatement | None:
        """What :class:`History` should keep of it."""
        return None if self.statement is None else known_of(self.statement, index, self.code)


def known_of(statement: Statement, index: int, code: str) -> KnownStatement:
    """What is remembered of a statement that came to ``code``."""
    body = statement.body
    return KnownStatement(
        index=index,
        run=statement.run,
        kind=statement.kind,
        code=code,
        event=body.event if isinstance(body, Execution | PaymentBody | ArtifactBody | AdmissionBody) else None,
        nonce=statement.nonce,
        upstream=body.upstream if isinstance(body, Route | Execution) else None,
        settlement=body.settlement if isinstance(body, Route) else None,
        attester=statement.attester,
        journal=body.journal if isinstance(body, JournalHead) else None,
        seq=body.seq if isinstance(body, JournalHead) else None,
        pays=step_of(statement),
        binds=body.binds if isinstance(body, Execution) else _unserved(body) or span_of(statement),
    )


def check_entry(
    entry: bytes, *, index: int, seen_at: dt.datetime, trust: Trust, policy: CheckPolicy, history: History
) -> EntryCheck:
    """Judge one log entry (``statement.md`` §7). ``seen_at`` is when it was first seen under a checkpoint. Never raises
    for what the entry holds: malformed bytes are a verdict."""
    try:
        if parse_commitment(entry) is not None:
            return EntryCheck(sha256_hex(entry), CANNOT_TELL, None)
        statement = parse_statement(parse_envelope(entry))
    except MalformedError:
        return EntryCheck(sha256_hex(entry), "refuted:malformed", None)
    why = (
        refuse_attester(statement, trust, until=seen_at)
        or refuse_time(statement, seen_at, policy)
        or refuse_parents(statement, index, history)
        or refuse_head(statement, index, history)
        or refuse_identity(statement, trust)
        or refuse_payment(statement, trust, history)
        or refuse_artifact(statement, history)
    )
    if why is not None:
        return EntryCheck(statement.digest, f"refuted:{why}", statement)
    return EntryCheck(statement.digest, CANNOT_TELL if _needs_more(statement) else OK, statement)


def _needs_more(statement: Statement) -> bool:
    """Whether the entry alone cannot tell: a proof, which is not in it and counts only for whoever verified it
    (``inference.md`` §5(5))."""
    body = statement.body
    return isinstance(body, Execution) and body.event == "proved"


def refuse_attester(statement: Statement, trust: Trust, *, until: dt.datetime) -> str | None:
    """Steps 2 to 5: admitted, valid for [claimed_at, until], entitled, signed. Returns the reason or None."""
    admission = trust.admission(statement.attester)
    if admission is None:
        return "unknown-key"
    refusal = admission.refusal(statement.claimed_at, max(until, statement.claimed_at))
    if refusal is not None:
        return refusal
    if not _roles_of(statement).intersection(admission.key_document.roles):
        return "role"
    key = admission.key_document.key_for("statement")
    if key is None or key.key_id != statement.envelope.key_id:
        return "signature"
    try:
        verify_signature(key, pre_authentication_encoding(statement.envelope.payload), statement.envelope.signature)
    except RefusedError:
        return "signature"
    return None


def _roles_of(statement: Statement) -> set[str]:
    """Who may make a statement (``statement.md`` §6): of executions, a gateway closes runs and an inference node
    computes."""
    body = statement.body
    if not isinstance(body, Execution):
        return ROLES_BY_KIND[statement.kind]
    return {"inference"} if body.computation is not None else {"gateway"}


def refuse_time(statement: Statement, seen_at: dt.datetime, policy: CheckPolicy) -> str | None:
    """Step 6: the span from claim to first sight is within bounds (``statement.md`` §8)."""
    # Compared as integers: a policy may name more seconds than a timedelta can hold.
    span_us = (seen_at - statement.claimed_at) // dt.timedelta(microseconds=1)
    if span_us > policy.max_span_s * 1_000_000:
        return "backdated"
    if -span_us > policy.max_skew_s * 1_000_000:
        return "future"
    return None


def refuse_parents(statement: Statement, index: int, history: History) -> str | None:
    """Steps 7 and 8: the parents stand before it, are acceptable and fit the trace rules (``trace.md`` §2)."""
    parents: list[KnownStatement] = []
    for digest in statement.parents:
        parent = history.known(digest)
        if parent is None or parent.index >= index:
            return "parent"
        if parent.code.startswith("refuted:") and not isinstance(statement.body, DecisionBody | PaymentBody):
            # What is refuted has to be rejected and recalled, and what was paid for it told and owed back.
            return "parent-refuted"
        parents.append(parent)
    why = refuse_trace(statement, parents) or refuse_stale(statement, parents)
    if why is not None:
        return why
    body = statement.body
    if isinstance(body, Execution) and body.closing:
        # Counted by attester: whoever hears of an open run must not be able to close it before its own gateway does.
        first = history.closing(statement.run, statement.attester)
        if first is not None and first != statement.digest:
            return "duplicate-closure"
    return None


def refuse_head(statement: Statement, index: int, history: History) -> str | None:
    """Step 9: a journal only grows, so each head of it names a later event than the one before. Returns ``head-order``
    or None. The same statement again is no second head."""
    body = statement.body
    if not isinstance(body, JournalHead):
        return None
    same = history.known(statement.digest)
    if same is not None and same.index < index and same.code == OK:
        return None
    before = history.head(statement.attester, body.journal, index)
    return None if before is None or body.seq > before else "head-order"


def refuse_identity(statement: Statement, trust: Trust) -> str | None:
    """Step 10: a node says of itself what its key document says, or it would be reached under other keys than those
    that trust admits. Returns ``identity`` or None."""
    body = statement.body
    admission = trust.admission(statement.attester)
    if not isinstance(body, IdentityBody) or admission is None:
        return None
    return None if body == identity_of(admission.key_document) else "identity"


def identity_of(document: KeyDocument) -> IdentityBody:
    """What an ``identity`` statement says of a key document (``statement.md`` §4.5)."""
    ohttp = document.ohttp_digest
    return IdentityBody(ohttp.hex() if ohttp is not None else None, document.tls, document.predecessor)


def refuse_payment(statement: Statement, trust: Trust, history: History) -> str | None:
    """Step 11: a payment goes on by the word of who charged or of a facilitator, and each step of it is told once.
    Returns ``payment``, ``duplicate-payment`` or None. The same statement again is no second step."""
    step = step_of(statement)
    if step is None or not isinstance(statement.body, PaymentBody):
        return None
    parents = [history.known(digest) for digest in statement.parents]
    nodes = [parent.attester for parent in parents if parent is not None and parent.kind == "payment"]
    if refuse_hand_over(statement.attester, nodes, trust) is not None:
        return "payment"
    first = history.paid(step, statement.attester)
    return None if first is None or first == statement.digest else "duplicate-payment"


def refuse_hand_over(attester: str, before: Iterable[str], trust: Trust) -> str | None:
    """Whether ``attester`` may go on with payments that the nodes ``before`` told of: it is the same node, or one of
    the two is a facilitator. Returns ``payment`` or None."""
    for node in before:
        if node != attester and not any(_is_facilitator(trust, item) for item in (node, attester)):
            return "payment"
    return None


def _is_facilitator(trust: Trust, node: str) -> bool:
    admission = trust.admission(node)
    return admission is not None and "facilitator" in admission.key_document.roles


def refuse_artifact(statement: Statement, history: History) -> str | None:
    """Step 12: of two that change one label after the same change the first counts, so that a label's changes have one
    order. Returns ``duplicate-artifact`` or None. The same statement again is no second change."""
    step = step_of(statement)
    if step is None or not isinstance(statement.body, ArtifactBody):
        return None
    first = history.paid(step, statement.attester)
    return None if first is None or first == statement.digest else "duplicate-artifact"


def step_of(statement: Statement) -> str | None:
    """What only one payment statement of an attester may be about (``statement.md`` §7(11)): of ``charged`` the run,
    of a later event the statement that it follows; and what only one of its artifact statements may (§7(12)): of
    ``labelled`` the label after the change that it follows, of ``revoked`` the artifact's publication. None for what
    may be told again."""
    body = statement.body
    if isinstance(body, ArtifactBody):
        after = statement.parents[0] if statement.parents else ""
        return {"labelled": f"{_LABEL}{body.label}:{after}", "revoked": f"revoked:{after}"}.get(body.event)
    if not isinstance(body, PaymentBody) or body.event in ("offered", "authorised"):
        return None
    return statement.run if body.event == "charged" else statement.parents[0] if statement.parents else ""


_LABEL = "label:"


PAYMENT_FOLLOWS = {
    "captured": "charged",
    "lapsed": "charged",
    "failed": "charged",
    "refund_due": "captured",
    "refunded": "refund_due",
}
"""Payment events and the one that each follows (``trace.md`` §2(6))."""


def _payment_fits(statement: Statement, body: PaymentBody, parents: list[KnownStatement]) -> bool:
    """``trace.md`` §2(6) for payments."""
    events = [parent.event for parent in parents if parent.kind == "payment"]
    if body.event == "offered":
        return not parents
    if body.event == "authorised":
        return len(parents) == len(events) and events in ([], ["offered"])
    if body.event == "charged":
        closed = [parent for parent in parents if parent.closing]
        others = len(parents) - len(closed) == len(events)
        return (
            len(closed) == 1 and closed[0].attester == statement.attester and others and events in ([], ["authorised"])
        )
    return len(parents) == 1 and events == [PAYMENT_FOLLOWS[body.event]]


def _artifact_fits(statement: Statement, body: ArtifactBody, parents: list[KnownStatement]) -> bool:
    """``trace.md`` §2(10)."""
    if any(parent.attester != statement.attester for parent in parents):
        return False
    if body.event == "labelled":
        of_label = f"{_LABEL}{body.label}:"
        return len(parents) <= 1 and all((parent.pays or "").startswith(of_label) for parent in parents)
    if body.event == "revoked":
        return len(parents) == 1 and parents[0].event in ("published", "declared")
    return not parents


def refuse_trace(statement: Statement, parents: Iterable[KnownStatement]) -> str | None:
    """The rules of ``trace.md`` §2 for one statement and its parents. Returns ``trace`` or None."""
    known = list(parents)
    kinds = [parent.kind for parent in known]
    if any(parent.run != statement.run and parent.kind != "admission" for parent in known):
        return "trace"
    if any(parent.nonce and statement.nonce and parent.nonce != statement.nonce for parent in known):
        return "trace"
    body = statement.body
    if statement.kind == "admission":
        fits = all(kind == "admission" for kind in kinds) and all(parent.event != "combined" for parent in known)
    elif statement.kind == "recall":
        fits = all(kind == "recall" for kind in kinds)
    elif isinstance(body, Route):
        fits = all(parent.kind in ("admission", "recall") or parent.computed for parent in known)
        fits = fits and _computations_fit(known, "request", body.sent) and _admissions_fit(known, body)
        fits = fits and kinds.count("recall") <= 1
    elif isinstance(body, Execution) and body.closing:
        routes = [parent for parent in known if parent.kind == "route"]
        fits = len(routes) == 1 and routes[0].upstream == body.upstream
        fits = fits and routes[0].attester == statement.attester
        fits = fits and not (body.outcome == COMPLETE and routes[0].binds == UNSERVED)
        fits = fits and all(parent.kind in ("recall", "route") or parent.computed for parent in known)
        fits = fits and _computations_fit(known, "response", body.response)
    elif isinstance(body, Execution):
        fits = _follow_up_fits(statement, body, known)
    elif statement.kind == "decision":
        fits = sum(parent.closing for parent in known) == 1
    elif isinstance(body, PaymentBody):
        fits = _payment_fits(statement, body, known)
    elif isinstance(body, ArtifactBody):
        fits = _artifact_fits(statement, body, known)
    else:
        fits = True
    return None if fits else "trace"


def _admissions_fit(parents: list[KnownStatement], body: Route) -> bool:
    """``trace.md`` §2(3): when the admissions that a route names went into the request."""
    found = [parent for parent in parents if parent.kind == "admission"]
    if body.admitted_at is None:
        return not found
    return bool(found) and all(_span(parent)[0] <= time_encode(body.admitted_at) for parent in found)


def span_of(statement: Statement) -> str | None:
    """Of an admission, when it claims to be made and until when it is fresh, to the minute, as one string for whoever
    keeps nothing else of it; None for everything else."""
    body = statement.body
    if not isinstance(body, AdmissionBody):
        return None
    return f"{time_encode(statement.claimed_at)} {time_encode(body.until) if body.until else ''}"


def _unserved(body: object) -> str | None:
    """:data:`UNSERVED` of a route whose attempts say that nobody served, and that came from no cache either
    (``trace.md`` §2(4)); None for everything else."""
    if not isinstance(body, Route) or body.attempts is None or body.cached:
        return None
    return None if body.attempts and body.attempts[-1].end == SERVED else UNSERVED


def _span(parent: KnownStatement) -> tuple[str, str]:
    """The two times of :func:`span_of`, which compare as they are written."""
    made, _, until = (parent.binds or "").partition(" ")
    return made, until


def refuse_stale(statement: Statement, parents: Iterable[KnownStatement]) -> str | None:
    """Whether a route names an admission that was fresh no longer when it went into the request (``trace.md`` §2(3)).
    Returns ``stale`` or None."""
    body = statement.body
    if not isinstance(body, Route) or body.admitted_at is None:
        return None
    used_at = time_encode(body.admitted_at)
    ends = [_span(parent)[1] for parent in parents if parent.kind == "admission"]
    return "stale" if any(end and end < used_at for end in ends) else None


def _computations_fit(parents: list[KnownStatement], document: str, tree: Tree | None) -> bool:
    """At most one parent is a computation, and what it took or gave is the document that is signed here
    (``trace.md`` §2(12))."""
    found = [parent for parent in parents if parent.computed]
    if not found:
        return True
    took, _, gave = (found[0].binds or "").partition(" ")
    shown = "" if tree is None else f"{tree.root.hex()}/{tree.size}"
    return len(found) == 1 and shown == (took if document == "request" else gave)


def _follow_up_fits(statement: Statement, body: Execution, parents: list[KnownStatement]) -> bool:
    """``trace.md`` §2(5) and §2(12): what an execution that closes nothing follows from."""
    if body.event == "computed":
        return not parents
    if len(parents) != 1:
        return False
    parent = parents[0]
    if body.event == "proved":
        return parent.computed and parent.attester == statement.attester and parent.binds == body.binds
    if body.event == "recomputed":
        took = (body.binds or "").partition(" ")[0]
        same = (parent.binds or "").partition(" ")[0] == took
        alike = (parent.binds == body.binds) == (body.comparison == "equal")
        return parent.computed and parent.attester != statement.attester and same and alike
    return parent.closing and parent.attester == statement.attester
