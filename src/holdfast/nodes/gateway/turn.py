"""One turn from request to closing statement: what is signed, and what the caller gets beside the answer.

Pure bookkeeping: handed times, a signer and bytes, it makes statements, marks and carrier fields. It neither waits nor
writes; ``service`` does both, in the order that ``statement.md`` §4 and ``parts.md`` §7 demand.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from holdfast.core import canonical
from holdfast.core.attempts import Attempt, failed_before
from holdfast.core.encoding import b64_decode, b64_encode, sha256_hex, time_decode, time_encode
from holdfast.core.fold import Fold
from holdfast.core.marks import Mark, MarkChain
from holdfast.core.messages.fold import MessagesFold, fold_of
from holdfast.core.metadata import disclose_metadata
from holdfast.core.parts import CARRIER, CARRIER_PREFIX, Commitment, commit_parts, derive_salt, map_parts
from holdfast.core.sealing import SEALED_OBJECT
from holdfast.core.statements import (
    COMMITMENT_SALT_BYTES,
    Execution,
    MarkReference,
    Route,
    SealedPath,
    Tree,
    build_commitment,
    build_envelope,
    build_payload,
    execution_body,
    parse_path,
    parse_tree,
    pre_authentication_encoding,
    route_body,
)
from holdfast.ports.signer import Signer
from holdfast.verifier.route_policy import RoutePolicies, policy_digest


@dataclass(frozen=True, slots=True)
class Identity:
    """Who signs: the digest of the gateway's key document, and the key that it names."""

    attester: str
    signer: Signer
    key_id: str

    def envelope(self, payload: bytes) -> bytes:
        """Sign a statement's payload."""
        return build_envelope(payload, self.key_id, self.signer.sign(pre_authentication_encoding(payload)))


@dataclass(frozen=True, slots=True)
class SignedStatement:
    """One statement on its way out: its kind, digest (hex), envelope and the entry that the log gets."""

    kind: str
    digest: str
    envelope: bytes
    entry: bytes
    salt: bytes | None
    """What opens the commitment, in mode ``private``."""


@dataclass(frozen=True, slots=True)
class Wrap:
    """A run secret encrypted to a panel: the digest of its key document (hex), and the bytes (``sealed.md`` §2)."""

    panel: str
    data: bytes

    def to_json(self) -> dict[str, Any]:
        return {"panel": self.panel, "wrap": b64_encode(self.data)}


def parse_wrap(value: dict[str, Any] | None) -> Wrap | None:
    """The ``wrap`` member of an OPEN record's header."""
    return None if value is None else Wrap(value["panel"], b64_decode(value["wrap"]))


@dataclass(frozen=True, slots=True)
class PolicyInForce:
    """The route policies of a run: their digest (hex), and what opens it (``statement.md`` §4.1(7))."""

    digest: str
    salt: str | None
    """Hex; None in mode ``private``, which keeps nothing of what was asked."""
    document: str | None

    def to_json(self) -> dict[str, Any]:
        return {"digest": self.digest, "salt": self.salt, "document": self.document}


def chosen_policy(force: RoutePolicies, key: bytes, *, told: bool) -> PolicyInForce | None:
    """What an opening keeps of the policies that its run was routed under."""
    if not force.policies:
        return None
    document, salt = force.document(), derive_salt(key, "route-policy", 32)
    digest = policy_digest(salt, document)
    return PolicyInForce(digest, salt.hex(), document.decode()) if told else PolicyInForce(digest, None, None)


NOBODY = "nobody"
"""Whom a run is taken to that is answered from a cache."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What must be known to close a run, also after a crash: the header of an OPEN record."""

    run: str
    opened_at: str
    workspace: str
    endpoint: str
    streamed: bool
    settlement: str
    nonce: str | None
    parent_run: str | None
    request: Tree
    sent: Tree
    rewrites: tuple[str, ...]
    upstream: str
    reader: str
    """SHA-256 (hex) of a key derived from the run secret: tells a capability without keeping it."""
    queue: str | None = None
    """The review queue that the caller named. Said to the workspace, never to the log."""
    requester: str | None = None
    """The person whose key asked, where it is one's: whoever reviews the run must be somebody else."""
    wrap: Wrap | None = None
    """The run secret for the panel that reviews the run, where there is one (``sealed.md`` §2)."""
    sealed: bool = False
    """Whether the caller gets the answer closed (``sealed.md`` §5)."""
    subject: str | None = None
    """What the run's case is about, in the caller's words. Said to the workspace, never to the log."""
    path: SealedPath | None = None
    """How the request came sealed; None where it came directly."""
    admissions: tuple[str, ...] = ()
    """Digests (hex) of the admissions whose blocks stand before the model."""
    admitted_at: str | None = None
    """When they went into the request; None where there are none."""
    recall: str | None = None
    """Digest (hex) of the recall whose rows stand before the model, where there is one."""
    ignored: tuple[str, ...] = ()
    """Parameters of the request that the upstream is known not to honour; sorted."""
    policy: PolicyInForce | None = None
    """The route policies in force, where there are any."""
    agent: Mapping[str, Any] | None = None
    """Of an agent run what it may do, of a step what it is: what its gateway has to know again (``agents``)."""
    retry: Mapping[str, str] | None = None
    """What is kept of the idempotency key that it was asked for under (``retries``)."""
    budget: Mapping[str, Any] | None = None
    """The most that it can cost, of a run below an agent run (``budgets.terms_of``)."""
    begins: str | None = None
    """Why its upstream is turned to first, :data:`NOBODY` where no upstream is; None where an older record does not
    say, or nothing is sent to anybody."""

    @property
    def coarse(self) -> bool:
        """Whether statements tell the time by the minute only (``statement.md`` §3)."""
        return self.settlement == "private" or self.path is not None

    def claim(self, now: dt.datetime) -> dt.datetime:
        """What a statement of this run may say of when it was made."""
        return now.replace(second=0, microsecond=0) if self.coarse else now

    def stamp(self, now: dt.datetime) -> str:
        """When something of this run happened, as this node keeps it: of what came sealed no more than the minute."""
        return time_encode(now if self.path is None else self.claim(now))

    def header(self) -> dict[str, Any]:
        return {
            "run": self.run,
            "opened_at": self.opened_at,
            "workspace": self.workspace,
            "endpoint": self.endpoint,
            "streamed": self.streamed,
            "settlement": self.settlement,
            "nonce": self.nonce,
            "parent_run": self.parent_run,
            "request": self.request.to_json(),
            "sent": self.sent.to_json(),
            "rewrites": list(self.rewrites),
            "upstream": self.upstream,
            "reader": self.reader,
            "queue": self.queue,
            "requester": self.requester,
            "wrap": self.wrap.to_json() if self.wrap is not None else None,
            "sealed": self.sealed,
            "subject": self.subject,
            "path": self.path.to_json() if self.path is not None else None,
            "recall": self.recall,
            "admissions": list(self.admissions),
            "admitted_at": self.admitted_at,
            "ignored": list(self.ignored),
            "policy": self.policy.to_json() if self.policy is not None else None,
            **({} if self.agent is None else {"agent": dict(self.agent)}),
            **({} if self.retry is None else {"retry": dict(self.retry)}),
            **({} if self.budget is None else {"budget": dict(self.budget)}),
            **({} if self.begins is None else {"begins": self.begins}),
        }


def parse_opening(header: dict[str, Any]) -> Opening:
    """The header of an OPEN record back to an :class:`Opening`. Older records lack what came later."""
    return Opening(
        run=header["run"],
        opened_at=header["opened_at"],
        workspace=header["workspace"],
        endpoint=header["endpoint"],
        streamed=header["streamed"],
        settlement=header["settlement"],
        nonce=header["nonce"],
        parent_run=header["parent_run"],
        request=parse_tree(header["request"]),
        sent=parse_tree(header["sent"]),
        rewrites=tuple(header["rewrites"]),
        upstream=header["upstream"],
        reader=header["reader"],
        queue=header.get("queue"),
        requester=header.get("requester"),
        wrap=parse_wrap(header.get("wrap")),
        sealed=header.get("sealed", False),
        subject=header.get("subject"),
        path=parse_path(header["path"]) if header.get("path") is not None else None,
        recall=header.get("recall"),
        admissions=tuple(header.get("admissions", ())),
        admitted_at=header.get("admitted_at"),
        ignored=tuple(header.get("ignored", ())),
        policy=PolicyInForce(**header["policy"]) if header.get("policy") is not None else None,
        agent=header.get("agent"),
        retry=header.get("retry"),
        budget=header.get("budget"),
        begins=header.get("begins"),
    )


def close_statements(
    identity: Identity,
    opening: Opening,
    execution: Execution,
    *,
    now: dt.datetime,
    attempts: tuple[Attempt, ...] | None = None,
    key: bytes | None = None,
    computed: str | None = None,
    cached_run: str | None = None,
) -> tuple[SignedStatement, SignedStatement]:
    """The route and the closing execution statement of a run. ``computed`` is the digest of the statement by the
    inference node that gave the answer, which both name (``inference.md`` §4(2)). ``attempts`` are None where nobody
    knows any more whom the run was taken to. ``cached_run`` is the run that an answer from the
    cache was first given to.

    ``key`` salts the log's commitments in mode ``private``. After a crash it is gone with the caller; then a signature
    that is never published salts them, and only this node could ever open them.
    """
    common: dict[str, Any] = {
        "run": opening.run,
        "attester": identity.attester,
        "claimed_at": opening.claim(now),
        "nonce": opening.nonce,
        "parent_run": opening.parent_run,
    }
    route = Route(
        request=opening.request,
        sent=opening.sent,
        endpoint=opening.endpoint,
        upstream=execution.upstream,
        rewrites=opening.rewrites,
        fallback_from=failed_before(attempts or ()),
        cached=cached_run is not None,
        settlement=opening.settlement,
        streamed=opening.streamed,
        path=opening.path,
        admitted_at=time_decode(opening.admitted_at) if opening.admitted_at is not None else None,
        attempts=attempts,
        ignored=opening.ignored,
        policy=opening.policy.digest if opening.policy is not None else None,
        cached_run=cached_run,
    )
    carried = () if computed is None else (computed,)
    recalled = () if opening.recall is None else (opening.recall,)
    route_payload = build_payload(
        "route",
        parents=(*opening.admissions, *recalled, *carried),
        subject=("request", opening.request.root),
        body=route_body(route),
        **common,
    )
    signed_route = _signed("route", route_payload, identity, opening, key)
    subject = ("response", execution.response.root) if execution.response else ("request", opening.request.root)
    payload = build_payload(
        "execution", parents=(signed_route.digest, *carried), subject=subject, body=execution_body(execution), **common
    )
    return signed_route, _signed("execution", payload, identity, opening, key)


def follow_up(
    identity: Identity, opening: Opening, closing: str, upstream: str, *, now: dt.datetime, key: bytes | None
) -> SignedStatement:
    """The statement that the client went away before the end was written (``statement.md`` §4.2)."""
    body = Execution("disconnected", "client.disconnected", None, None, upstream)
    payload = build_payload(
        "execution",
        run=opening.run,
        attester=identity.attester,
        claimed_at=opening.claim(now),
        parents=(closing,),
        subject=("request", opening.request.root),
        body=execution_body(body),
        nonce=opening.nonce,
        parent_run=opening.parent_run,
    )
    return _signed("execution", payload, identity, opening, key)


def signed_elsewhere(
    envelope: bytes, digest: str, opening: Opening, key: bytes, kind: str = "execution"
) -> SignedStatement:
    """Another node's statement about a run, on its way to the log: in mode ``private`` as a commitment."""
    if opening.settlement != "private":
        return SignedStatement(kind, digest, envelope, envelope, None)
    salt = commitment_salt(key, digest)
    return SignedStatement(kind, digest, envelope, build_commitment(digest, salt), salt)


def _signed(kind: str, payload: bytes, identity: Identity, opening: Opening, key: bytes | None) -> SignedStatement:
    digest = sha256_hex(payload)
    envelope = identity.envelope(payload)
    if opening.settlement != "private":
        return SignedStatement(kind, digest, envelope, envelope, None)
    unpublished = commitment_salt(key, digest) if key is not None else identity.signer.sign(payload)
    salt = unpublished[:COMMITMENT_SALT_BYTES]
    return SignedStatement(kind, digest, envelope, build_commitment(digest, salt), salt)


def make_run_id(milliseconds: int, entropy: bytes, *, timed: bool) -> str:
    """A UUID of version 7 (RFC 9562 §5.7), or of version 4 where the time must not show."""
    value = bytearray(entropy)
    if timed:
        value[:6] = milliseconds.to_bytes(6)
    value[6] = (value[6] & 0x0F) | (0x70 if timed else 0x40)
    value[8] = (value[8] & 0x3F) | 0x80
    text = value.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def reader_of(key: bytes) -> str:
    """What an opening keeps of a run's pseudo-random key, to know its capability again."""
    return sha256_hex(derive_salt(key, "reader", 32))


def commitment_salt(key: bytes, digest: str) -> bytes:
    """The salt of a private statement's commitment (``statement.md`` §9)."""
    return derive_salt(key, f"commitment/{digest}", COMMITMENT_SALT_BYTES)


def has_carrier(value: dict[str, Any]) -> bool:
    """Whether an upstream's object holds a member that only we may add (``parts.md`` §2)."""
    return any(name == CARRIER or name.startswith(CARRIER_PREFIX) for name in value)


def without_carriers(value: dict[str, Any]) -> dict[str, Any]:
    return {name: item for name, item in value.items() if name != CARRIER and not name.startswith(CARRIER_PREFIX)}


def sealed_body(holdfast: bytes) -> bytes:
    """The body of a sealed answer: nothing of it but what its carrier holds (``sealed.md`` §5(2))."""
    return b'{"object":"%s","choices":[],"holdfast":%s}' % (SEALED_OBJECT.encode(), holdfast)


def disclosed_parts(document: str, commitment: Commitment) -> list[dict[str, canonical.JSON]]:
    """What a workspace is shown of a document of a run that is to be reviewed (``sealed.md`` §3)."""
    return [part.to_json() for part in disclose_metadata(document, commitment)]


def attach(text: bytes, holdfast: bytes) -> bytes:
    """Add the ``holdfast`` member to a JSON object's text, as its last member."""
    body = text.rstrip()
    separator = b"" if body[:-1].rstrip().endswith(b"{") else b","
    return body[:-1] + separator + b'"holdfast":' + holdfast + b"}"


def attach_fields(text: bytes, fields: Mapping[str, str | int]) -> bytes:
    """Add carrier fields of ASCII text and integers to a JSON object's text that has members, as its last ones."""
    if not fields:
        return text
    return text.rstrip()[:-1] + b"," + canonical.encode_known(dict(fields))[1:]


@dataclass(slots=True)
class StreamBinder:
    """Binds a stream as it passes: folds it and chains its marks."""

    key: bytes
    run: str
    endpoint: str = "chat.completions"
    chain: MarkChain = field(init=False)
    fold: Fold | MessagesFold = field(init=False)
    marked_at: float | None = None
    """Monotonic time of the last mark, seconds."""

    def __post_init__(self) -> None:
        self.chain = MarkChain(self.key)
        self.fold = fold_of(self.endpoint)

    def add(self, payload: bytes) -> tuple[bytes, bool]:
        """Take in one event of the upstream. Returns the text to pass on, and whether it carried content.

        Raises ``json.*``, ``parts.*`` or ``stream.fold`` for events that cannot be bound.
        """
        value = canonical.decode_exact(payload)
        if isinstance(value, dict) and has_carrier(value):
            value = without_carriers(value)
            payload = canonical.encode_exact(value)
        self.chain.add(value)  # first, because it refuses what has no parts before the fold takes it in
        return payload, self.fold.add(value)

    @property
    def finished(self) -> bool:
        """Whether every choice that began has a finish reason."""
        return self.fold.all_finished

    def mark_due(self, now: float, interval_s: float, *, carried: bool) -> bool:
        """Whether the event just added must carry a mark (``parts.md`` §7)."""
        if self.marked_at is None:
            return carried
        return now - self.marked_at >= interval_s

    def seal(self, now: float) -> Mark:
        """The next mark."""
        self.marked_at = now
        return self.chain.seal()

    def response(self) -> tuple[Commitment, bytes]:
        """The folded response document: its commitment and its JSON text."""
        document = self.fold.document()
        return commit_parts("response", map_parts("response", document), self.key), canonical.encode_exact(document)

    def reference(self) -> MarkReference | None:
        """The last mark, as the execution statement names it."""
        return MarkReference(self.chain.seq, self.chain.value) if self.chain.seq else None
