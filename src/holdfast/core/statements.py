"""Statements and their DSSE envelopes (``spec/statement.md``).

``parse_envelope`` and ``parse_statement`` turn bytes into values that cannot exist malformed; they check no signature.
``build_*`` make the bytes; whoever holds a key signs :func:`pre_authentication_encoding` of the payload.

Not covered: whether the attester is trusted or may say this (``verifier.checks``).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.core import canonical
from holdfast.core.admission_body import AdmissionBody, check_unlinked, parse_admission_body
from holdfast.core.attempts import Attempt, failed_before, parse_attempts
from holdfast.core.computations import COMPARISONS, Computation, binds, parse_computation
from holdfast.core.encoding import (
    b64_decode,
    b64_encode,
    hex_decode,
    sha256_hex,
    time_decode,
    time_encode,
)
from holdfast.core.encoding import is_code as is_code  # noqa: PLC0414 - who reads statements reads codes here
from holdfast.errors import MalformedError

PAYLOAD_TYPE = "application/vnd.in-toto+json"
"""DSSE payload type of every statement (in-toto envelope specification)."""
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
"""in-toto Statement v1 ``_type``."""
DIGEST_NAME = "holdfast-parts-v1"
"""Our in-toto DigestSet member: the hex root of a parts tree (``statement.md`` §2)."""
RECORD_DIGEST_NAME = "holdfast-record-v1"
"""The DigestSet member of what commits to a document: its record (``statement.md`` §2)."""
JOURNAL_DIGEST_NAME = "holdfast-journal-v1"
"""The DigestSet member of a journal's head (``statement.md`` §2, §4.4)."""
IDENTITY_DIGEST_NAME = "sha256"
"""The DigestSet member of an identity: the digest of the node's key document (``statement.md`` §2, §4.5)."""
KINDS = ("admission", "recall", "route", "execution", "payment", "decision", "artifact", "journal", "identity")
"""The closed list of statement kinds (``statement.md`` §2)."""
EVENTS = ("generated", "failed", "interrupted", "disconnected", "computed", "proved", "recomputed")
"""What an execution statement reports (``statement.md`` §4.2)."""
CLOSING_EVENTS = ("generated", "failed", "interrupted")
"""The events that close a run."""
COMPUTING_EVENTS = ("computed", "proved", "recomputed")
"""What only a node that runs models says (``inference.md`` §4 to §6)."""
ENDPOINTS = (
    "chat.completions",
    "completions",
    "messages",
    "images.generations",
    "inference",
    "embeddings",
    "classifications",
    "agent",
    "step",
)
"""What a route can be asked at (``statement.md`` §4.1)."""
OWN_ENDPOINTS = ("agent", "step")
"""Those of runs in which nothing is sent to anybody: their caller tells what it did (``agents.md`` §2(2))."""
ACTS = ("approve", "reject", "release", "reopen", "recall")
"""By which somebody moves a case (``statement.md`` §4.3)."""
PAYMENT_EVENTS = (
    "offered",
    "authorised",
    "charged",
    "captured",
    "lapsed",
    "failed",
    "refund_due",
    "refunded",
)
"""The steps of a payment (``statement.md`` §4.6)."""
ARTIFACT_EVENTS = ("published", "declared", "labelled", "revoked")
"""What a hub says of an artifact (``artifacts.md`` §4)."""
CONTINUITIES = ("first", "byte_identical", "derivative", "compared", "same_name", "provider_claim")
"""How far what a label means is what it meant before (``artifacts.md`` §4(5))."""
JOURNALS = ("cases", "people")
"""The journals of a panel whose heads stand in the log (``statement.md`` §4.4)."""
SETTLEMENTS = ("batch", "individual", "private")
"""Settlement modes (``statement.md`` §4.1)."""
SUITES = ("aes-128-gcm", "chacha20-poly1305")
"""Symmetric suites of the private path, by their AEAD (``statement.md`` §4.1)."""
PROFILES = ("binary-http", "json")
"""What a sealed request holds: a binary HTTP request, or the JSON body alone (``statement.md`` §4.1)."""
MAX_ENVELOPE_BYTES = 65_535
"""What a log entry bundle can carry (C2SP tlog-tiles: 16-bit lengths)."""

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[47][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")
_NONCE = re.compile(r"[A-Za-z0-9_-]{16,64}\Z")
_COMMON = frozenset({"run", "attester", "claimed_at", "parents"})
_OPTIONAL = frozenset({"nonce", "parent_run"})
_ROUTE = frozenset(
    {"request", "sent", "endpoint", "upstream", "rewrites", "fallback_from", "cached", "settlement", "streamed"}
)
_ROUTE_MORE = frozenset({"path", "admitted_at", "attempts", "ignored", "policy", "cached_run"})
"""Members of a route that are there only where there is something to say."""
_EXECUTION = frozenset({"event", "outcome", "response", "marks", "upstream"})
_OF_EVENT = {
    "computed": frozenset({"computation"}),
    "proved": frozenset({"computation", "proof"}),
    "recomputed": frozenset({"computation", "comparison"}),
}
"""Members that an execution has besides, by its event."""
_DECISION = frozenset({"act", "case", "lanes", "policy", "record", "cases"})
_JOURNAL = frozenset({"journal", "seq"})
_IDENTITY = frozenset({"ohttp", "tls", "predecessor"})
_PAYMENT = frozenset({"event", "record"})
_RECALL = frozenset({"model", "record"})
_ARTIFACT = frozenset({"event", "label", "continuity", "record"})
_PATH = frozenset({"config", "suite", "profile", "relay"})
_JOURNAL_RUN = b"urn:holdfast:journal-run:v1\x00"
_IDENTITY_RUN = b"urn:holdfast:identity-run:v1\x00"
_ARTIFACT_RUN = b"urn:holdfast:artifact-run:v1\x00"


@dataclass(frozen=True, slots=True)
class Tree:
    """A reference to a parts tree: its root (32 bytes) and its number of leaves."""

    root: bytes
    size: int

    def to_json(self) -> dict[str, canonical.JSON]:
        return {"root": self.root.hex(), "size": self.size}


@dataclass(frozen=True, slots=True)
class MarkReference:
    """The last mark that an execution statement names: its sequence number and chain value (32 bytes)."""

    seq: int
    parts: bytes


@dataclass(frozen=True, slots=True)
class SealedPath:
    """How a request came sealed to its gateway: member ``path`` of a route (``statement.md`` §4.1)."""

    config: str
    """SHA-256 (hex) of the one key configuration that it was sealed to."""
    suite: str
    profile: str
    relay: str | None
    """Digest (hex) of the key document of the relay that forwarded it, where the gateway knows it."""

    def to_json(self) -> dict[str, canonical.JSON]:
        return {"config": self.config, "suite": self.suite, "profile": self.profile, "relay": self.relay}


@dataclass(frozen=True, slots=True)
class Route:
    """Predicate of a ``route`` statement (``statement.md`` §4.1)."""

    request: Tree
    sent: Tree
    endpoint: str
    upstream: str
    rewrites: tuple[str, ...]
    fallback_from: tuple[str, ...]
    cached: bool
    settlement: str
    streamed: bool
    path: SealedPath | None = None
    """None where the caller spoke to the gateway itself."""
    admitted_at: dt.datetime | None = None
    """When what was admitted went into the request; None where nothing was."""
    attempts: tuple[Attempt, ...] | None = None
    """Which upstreams were turned to, in order; None where the route does not say."""
    ignored: tuple[str, ...] = ()
    """Parameters of the request that the upstream is known not to honour; sorted."""
    policy: str | None = None
    """Salted digest (hex) of the route policy in force; None where there was none."""
    cached_run: str | None = None
    """Of an answer from a cache: the run that it was first given to; None where the route does not say."""


@dataclass(frozen=True, slots=True)
class Execution:
    """Predicate of an ``execution`` statement (``statement.md`` §4.2)."""

    event: str
    outcome: str
    response: Tree | None
    marks: MarkReference | None
    upstream: str
    computation: Computation | None = None
    """How a model was run; of ``computed``, ``proved`` and ``recomputed``."""
    proof: bytes | None = None
    """The commitment (32 bytes) to the proof document; of ``proved``."""
    comparison: str | None = None
    """What re-execution came to; of ``recomputed``."""

    @property
    def closing(self) -> bool:
        return self.event in CLOSING_EVENTS

    @property
    def binds(self) -> str | None:
        """The two documents that a computation ties together (:func:`computations.binds`)."""
        if self.computation is None or self.response is None:
            return None
        return binds(self.computation.request, (self.response.root, self.response.size))


@dataclass(frozen=True, slots=True)
class DecisionBody:
    """Predicate of a ``decision`` statement (``statement.md`` §4.3). Digests and roots are 32 bytes."""

    act: str
    case: str
    lanes: bytes
    policy: bytes
    record: bytes
    cases: Tree | None
    """The tree over all case ids that one recall recalls, or None."""


@dataclass(frozen=True, slots=True)
class JournalHead:
    """Predicate of a ``journal`` statement (``statement.md`` §4.4): how far a panel's journal had come. The digest of
    event ``seq`` is the statement's subject."""

    journal: str
    seq: int


@dataclass(frozen=True, slots=True)
class IdentityBody:
    """Predicate of an ``identity`` statement (``statement.md`` §4.5): what the node's key document, its subject, says
    of the keys that it is reached under. Digests in hex, None for what the document does not have."""

    ohttp: str | None
    """SHA-256 of its OHTTP key configurations as ``application/ohttp-keys``."""
    tls: str | None
    predecessor: str | None


@dataclass(frozen=True, slots=True)
class PaymentBody:
    """Predicate of a ``payment`` statement (``statement.md`` §4.6): a step, and the commitment (32 bytes) to the
    document that says who pays whom how much for what."""

    event: str
    record: bytes


@dataclass(frozen=True, slots=True)
class ArtifactBody:
    """Predicate of an ``artifact`` statement (``artifacts.md`` §4): what a hub did, and the commitment (32 bytes) to
    the document that says to which artifact, who did it and why."""

    event: str
    label: str | None
    """The label's id (hex), salted; None where no label is concerned."""
    continuity: str | None
    record: bytes


@dataclass(frozen=True, slots=True)
class RecallBody:
    """Predicate of a ``recall`` statement (``recall.md`` §1): what made the vectors that were searched (hex), and the
    commitment (32 bytes) to the document that says which rows were carried in."""

    model: str
    record: bytes


Body = (
    Route
    | Execution
    | DecisionBody
    | JournalHead
    | IdentityBody
    | PaymentBody
    | ArtifactBody
    | AdmissionBody
    | RecallBody
)
"""The predicates that this version reads."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """A parsed DSSE envelope: the exact payload bytes, one key id (hex) and one signature."""

    payload: bytes
    key_id: str
    signature: bytes
    raw: bytes

    @property
    def digest(self) -> str:
        """The statement digest: SHA-256 of the payload bytes, hex."""
        return sha256_hex(self.payload)


@dataclass(frozen=True, slots=True)
class Statement:
    """A well-formed statement. Nothing in it is believed yet."""

    digest: str
    kind: str
    run: str
    attester: str
    claimed_at: dt.datetime
    parents: tuple[str, ...]
    nonce: str | None
    parent_run: str | None
    subject_name: str
    subject_root: bytes
    body: Body
    """The typed predicate."""
    predicate: Mapping[str, Any]
    envelope: Envelope


def pre_authentication_encoding(payload: bytes, payload_type: str = PAYLOAD_TYPE) -> bytes:
    """DSSE v1 PAE: what is signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def is_run_id(value: object) -> bool:
    """Whether a value is a run id (``conventions.md`` §4(1))."""
    return isinstance(value, str) and _UUID.match(value) is not None


def is_nonce(value: object) -> bool:
    """Whether a value is a client nonce (``statement.md`` §3)."""
    return isinstance(value, str) and _NONCE.match(value) is not None


def build_envelope(payload: bytes, key_id: str, signature: bytes) -> bytes:
    """Canonical JSON bytes of an envelope with one signature."""
    # The members are ASCII and already in order, so this is RFC 8785 without an encoder.
    return (
        f'{{"payload":"{b64_encode(payload)}","payloadType":"{PAYLOAD_TYPE}",'
        f'"signatures":[{{"keyid":"{key_id}","sig":"{b64_encode(signature)}"}}]}}'
    ).encode()


def parse_envelope(raw: bytes, payload_type: str = PAYLOAD_TYPE) -> Envelope:
    """Bytes to an :class:`Envelope`; raises ``envelope.*``, ``json.*`` or ``encoding.*``."""
    if len(raw) > MAX_ENVELOPE_BYTES:
        raise MalformedError("envelope.size", f"an envelope has at most {MAX_ENVELOPE_BYTES} bytes")
    value = canonical.decode_signed(raw)
    if value.keys() != {"payload", "payloadType", "signatures"} or value["payloadType"] != payload_type:
        raise MalformedError("envelope.fields", f"not a DSSE envelope of {payload_type}")
    signatures = value["signatures"]
    if not isinstance(signatures, list) or len(signatures) != 1:
        raise MalformedError("envelope.signatures", "a statement envelope has exactly one signature")
    entry = signatures[0]
    if not isinstance(entry, dict) or entry.keys() != {"keyid", "sig"}:
        raise MalformedError("envelope.signatures", "a signature has exactly keyid and sig")
    hex_decode(entry["keyid"], 32)
    return Envelope(b64_decode(value["payload"]), entry["keyid"], b64_decode(entry["sig"]), raw)


def build_payload(
    kind: str,
    *,
    run: str,
    attester: str,
    claimed_at: dt.datetime,
    parents: Sequence[str],
    subject: tuple[str, bytes],
    body: Mapping[str, Any],
    nonce: str | None = None,
    parent_run: str | None = None,
) -> bytes:
    """The exact payload bytes of a statement (``statement.md`` §2). ``subject`` is (name, root or record)."""
    predicate = {
        **body,
        "run": run,
        "attester": attester,
        "claimed_at": time_encode(claimed_at),
        "parents": sorted(parents),
    }
    if nonce is not None:
        predicate["nonce"] = nonce
    if parent_run is not None:
        predicate["parent_run"] = parent_run
    return canonical.encode_known(
        {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": subject[0], "digest": {_digest_name(kind): subject[1].hex()}}],
            "predicateType": f"urn:holdfast:{kind}:v1",
            "predicate": predicate,
        }
    )


def route_body(route: Route) -> dict[str, Any]:
    """A :class:`Route` as predicate members. What there is nothing to say of is not told."""
    more: dict[str, Any] = {} if route.path is None else {"path": route.path.to_json()}
    if route.admitted_at is not None:
        more["admitted_at"] = time_encode(route.admitted_at)
    if route.attempts is not None:
        more["attempts"] = [attempt.to_json() for attempt in route.attempts]
    if route.ignored:
        more["ignored"] = sorted(route.ignored)
    if route.policy is not None:
        more["policy"] = route.policy
    if route.cached_run is not None:
        more["cached_run"] = route.cached_run
    return {
        **more,
        "request": route.request.to_json(),
        "sent": route.sent.to_json(),
        "endpoint": route.endpoint,
        "upstream": route.upstream,
        "rewrites": sorted(route.rewrites),
        "fallback_from": list(route.fallback_from),
        "cached": route.cached,
        "settlement": route.settlement,
        "streamed": route.streamed,
    }


def execution_body(execution: Execution) -> dict[str, Any]:
    """An :class:`Execution` as predicate members."""
    marks = execution.marks
    more: dict[str, Any] = {}
    if execution.computation is not None:
        more["computation"] = execution.computation.to_json()
    if execution.proof is not None:
        more["proof"] = execution.proof.hex()
    if execution.comparison is not None:
        more["comparison"] = execution.comparison
    return {
        **more,
        "event": execution.event,
        "outcome": execution.outcome,
        "response": execution.response.to_json() if execution.response else None,
        "marks": {"seq": marks.seq, "parts": marks.parts.hex()} if marks else None,
        "upstream": execution.upstream,
    }


def decision_body(decision: DecisionBody) -> dict[str, Any]:
    """A :class:`DecisionBody` as predicate members."""
    return {
        "act": decision.act,
        "case": decision.case,
        "lanes": decision.lanes.hex(),
        "policy": decision.policy.hex(),
        "record": decision.record.hex(),
        "cases": decision.cases.to_json() if decision.cases else None,
    }


def journal_body(head: JournalHead) -> dict[str, Any]:
    """A :class:`JournalHead` as predicate members."""
    return {"journal": head.journal, "seq": head.seq}


def identity_body(identity: IdentityBody) -> dict[str, Any]:
    """An :class:`IdentityBody` as predicate members."""
    return {"ohttp": identity.ohttp, "tls": identity.tls, "predecessor": identity.predecessor}


def payment_body(payment: PaymentBody) -> dict[str, Any]:
    """A :class:`PaymentBody` as predicate members."""
    return {"event": payment.event, "record": payment.record.hex()}


def artifact_body(artifact: ArtifactBody) -> dict[str, Any]:
    """An :class:`ArtifactBody` as predicate members."""
    return {
        "event": artifact.event,
        "label": artifact.label,
        "continuity": artifact.continuity,
        "record": artifact.record.hex(),
    }


def journal_run(attester: str) -> str:
    """The run id under which a panel tells of its journals: made of its own id (hex), so that it is no run's
    (``statement.md`` §4.4)."""
    return _own_run(_JOURNAL_RUN, attester)


def identity_run(attester: str) -> str:
    """The run id under which a node tells of itself, made likewise (``statement.md`` §4.5)."""
    return _own_run(_IDENTITY_RUN, attester)


def artifact_run(attester: str) -> str:
    """The run id under which a hub tells of artifacts, made likewise (``artifacts.md`` §4(6))."""
    return _own_run(_ARTIFACT_RUN, attester)


def _own_run(domain: bytes, attester: str) -> str:
    raw = bytearray(hashlib.sha256(domain + hex_decode(attester, 32)).digest()[:16])
    raw[6], raw[8] = raw[6] & 0x0F | 0x40, raw[8] & 0x3F | 0x80
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def parse_statement(envelope: Envelope) -> Statement:
    """The payload of an envelope to a :class:`Statement`; raises ``statement.*``, ``json.*``, ``encoding.*``."""
    value = canonical.decode_signed(envelope.payload)
    if value.keys() != {"_type", "subject", "predicateType", "predicate"} or value["_type"] != STATEMENT_TYPE:
        raise MalformedError("statement.fields", "not an in-toto Statement v1")
    kind = _kind(value["predicateType"])
    name, root = _subject(value["subject"], _digest_name(kind))
    predicate = value["predicate"]
    if not isinstance(predicate, dict) or not predicate.keys() >= _COMMON:
        raise MalformedError("statement.predicate", "a predicate has run, attester, claimed_at and parents")
    run = predicate["run"]
    if not is_run_id(run):
        raise MalformedError("statement.run", "a run id is a UUID of version 4 or 7")
    hex_decode(predicate["attester"], 32)
    body = _body(kind, predicate)
    _check_subject(kind, body, name, root)
    if isinstance(body, JournalHead | IdentityBody | ArtifactBody):
        _check_aside(kind, predicate)
    if isinstance(body, IdentityBody) and root.hex() != predicate["attester"]:
        raise MalformedError("statement.subject", "a node tells of no key document but its own")
    if isinstance(body, Route) and body.path is not None:
        _check_unlinkable(predicate)
    if isinstance(body, AdmissionBody):
        check_unlinked(predicate)
    nonce = predicate.get("nonce")
    if "nonce" in predicate and not is_nonce(nonce):
        raise MalformedError("statement.nonce", "a nonce is 16 to 64 letters, digits, hyphens or underscores")
    parent_run = predicate.get("parent_run")
    if "parent_run" in predicate and not is_run_id(parent_run):
        raise MalformedError("statement.parent_run", "parent_run is a run id")
    return Statement(
        digest=envelope.digest,
        kind=kind,
        run=run,
        attester=predicate["attester"],
        claimed_at=time_decode(predicate["claimed_at"]),
        parents=_parents(predicate["parents"]),
        nonce=nonce,
        parent_run=parent_run,
        subject_name=name,
        subject_root=root,
        body=body,
        predicate=predicate,
        envelope=envelope,
    )


def _kind(predicate_type: object) -> str:
    for kind in KINDS:
        if predicate_type == f"urn:holdfast:{kind}:v1":
            return kind
    raise MalformedError("statement.kind", "unknown predicateType")


def _digest_name(kind: str) -> str:
    return _DIGEST_NAMES.get(kind, DIGEST_NAME)


_DIGEST_NAMES = {
    "decision": RECORD_DIGEST_NAME,
    "payment": RECORD_DIGEST_NAME,
    "recall": RECORD_DIGEST_NAME,
    "artifact": RECORD_DIGEST_NAME,
    "admission": RECORD_DIGEST_NAME,
    "journal": JOURNAL_DIGEST_NAME,
    "identity": IDENTITY_DIGEST_NAME,
}
"""Kinds whose subject is no tree of parts."""


def _subject(value: object, digest_name: str) -> tuple[str, bytes]:
    if not isinstance(value, list) or len(value) != 1 or not isinstance(value[0], dict):
        raise MalformedError("statement.subject", "a statement has exactly one subject")
    subject = value[0]
    if subject.keys() != {"name", "digest"} or not is_code(subject["name"]):
        raise MalformedError("statement.subject", "a subject has exactly name and digest")
    digest = subject["digest"]
    if not isinstance(digest, dict) or digest.keys() != {digest_name}:
        raise MalformedError("statement.subject", f"this subject is named by {digest_name}")
    return subject["name"], hex_decode(digest[digest_name], 32)


def _parents(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > 256:
        raise MalformedError("statement.parents", "parents are a list of at most 256 digests")
    for parent in value:
        hex_decode(parent, 32)
    if value != sorted(set(value)):
        raise MalformedError("statement.parents", "parents are sorted and distinct")
    return tuple(value)


def parse_tree(value: object) -> Tree:
    """``{"root","size"}`` to a :class:`Tree`; raises ``statement.tree``."""
    if not isinstance(value, dict) or value.keys() != {"root", "size"}:
        raise MalformedError("statement.tree", "a tree reference has exactly root and size")
    size = value["size"]
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise MalformedError("statement.tree", "a tree has at least one part")
    return Tree(hex_decode(value["root"], 32), size)


def _codes(value: object, *, ordered: bool) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > 32 or not all(is_code(item) for item in value):
        raise MalformedError("statement.code", "expected a list of codes")
    if ordered and value != sorted(set(value)):
        raise MalformedError("statement.code", "expected a sorted list of distinct codes")
    return tuple(value)


def _body(kind: str, predicate: dict[str, Any]) -> Body:
    own = predicate.keys() - _COMMON - _OPTIONAL
    if kind == "route":
        if own - _ROUTE_MORE != _ROUTE:
            raise MalformedError("statement.predicate", "not the members of a route predicate")
        return _route(predicate)
    if kind == "execution":
        if own != _EXECUTION | _OF_EVENT.get(str(predicate.get("event")), frozenset()):
            raise MalformedError("statement.predicate", "not the members of an execution predicate")
        return _execution(predicate)
    if kind == "decision":
        if own != _DECISION:
            raise MalformedError("statement.predicate", "not the members of a decision predicate")
        return _decision(predicate)
    if kind == "journal":
        if own != _JOURNAL:
            raise MalformedError("statement.predicate", "not the members of a journal predicate")
        return _journal(predicate)
    if kind == "identity":
        if own != _IDENTITY:
            raise MalformedError("statement.predicate", "not the members of an identity predicate")
        return _identity(predicate)
    if kind == "payment":
        if own != _PAYMENT:
            raise MalformedError("statement.predicate", "not the members of a payment predicate")
        return _payment(predicate)
    if kind == "artifact":
        if own != _ARTIFACT:
            raise MalformedError("statement.predicate", "not the members of an artifact predicate")
        return _artifact(predicate)
    if kind == "admission":
        return parse_admission_body(predicate, own)
    if own != _RECALL:
        raise MalformedError("statement.predicate", "not the members of a recall predicate")
    return RecallBody(hex_decode(predicate["model"], 32).hex(), hex_decode(predicate["record"], 32))


def _route(value: dict[str, Any]) -> Route:
    if value["endpoint"] not in ENDPOINTS:
        raise MalformedError("statement.endpoint", f"endpoint is one of {', '.join(ENDPOINTS)}")
    if value["settlement"] not in SETTLEMENTS:
        raise MalformedError("statement.settlement", "settlement is batch, individual or private")
    if not is_code(value["upstream"]):
        raise MalformedError("statement.code", "upstream is a code")
    if not isinstance(value["cached"], bool) or not isinstance(value["streamed"], bool):
        raise MalformedError("statement.predicate", "cached and streamed are booleans")
    if not value["rewrites"] and value["request"] != value["sent"]:
        raise MalformedError("statement.sent", "what was sent differs from the request, yet no rewrite is named")
    fallback_from = _codes(value["fallback_from"], ordered=False)
    attempts = parse_attempts(value["attempts"], value["upstream"]) if "attempts" in value else None
    if attempts is not None and failed_before(attempts) != fallback_from:
        raise MalformedError("statement.attempts", "fallback_from is not what the attempts come to")
    if value["endpoint"] in OWN_ENDPOINTS and (
        value["upstream"] != "caller"
        or value["rewrites"]
        or value["fallback_from"]
        or value["streamed"]
        or value["cached"]
        or not value.keys().isdisjoint(("attempts", "ignored"))
    ):
        raise MalformedError("statement.endpoint", "what is sent to nobody is neither rewritten nor served by anybody")
    return Route(
        request=parse_tree(value["request"]),
        sent=parse_tree(value["sent"]),
        endpoint=value["endpoint"],
        upstream=value["upstream"],
        rewrites=_codes(value["rewrites"], ordered=True),
        fallback_from=fallback_from,
        cached=value["cached"],
        settlement=value["settlement"],
        streamed=value["streamed"],
        path=parse_path(value["path"]) if "path" in value else None,
        admitted_at=_admitted_at(value),
        attempts=attempts,
        ignored=_ignored(value["ignored"]) if "ignored" in value else (),
        policy=hex_decode(value["policy"], 32).hex() if "policy" in value else None,
        cached_run=_cached_run(value) if "cached_run" in value else None,
    )


def _cached_run(value: dict[str, Any]) -> str:
    """§4.1(8): what another run was answered, and nobody was turned to for this one."""
    found = value["cached_run"]
    if not is_run_id(found) or found == value["run"]:
        raise MalformedError("statement.cached", "what is given again was another run's answer")
    if not value["cached"] or value["fallback_from"] or value.get("attempts") != []:
        raise MalformedError("statement.cached", "an answer from a cache is one that nobody was turned to for")
    return str(found)


def _ignored(value: object) -> tuple[str, ...]:
    """§4.1(6): nothing ignored has one spelling, which is to leave the member out."""
    found = _codes(value, ordered=True)
    if not found:
        raise MalformedError("statement.code", "where nothing is ignored the member is left out")
    return found


def _admitted_at(value: dict[str, Any]) -> dt.datetime | None:
    """§4.1(4): it follows nothing that is not there, and is not after the route."""
    if "admitted_at" not in value:
        return None
    moment = time_decode(value["admitted_at"])
    if not value["parents"] or moment > time_decode(value["claimed_at"]):
        raise MalformedError("statement.admitted_at", "what was admitted is named, and was there before the route")
    if "path" in value and (moment.second or moment.microsecond):
        raise MalformedError("statement.path", "on the private path a time is a whole minute")
    return moment


def parse_path(value: object) -> SealedPath:
    """Member ``path`` of a route to a :class:`SealedPath`; raises ``statement.path``."""
    if not isinstance(value, dict) or value.keys() != _PATH:
        raise MalformedError("statement.path", "a path has exactly config, suite, profile and relay")
    if value["suite"] not in SUITES or value["profile"] not in PROFILES:
        raise MalformedError("statement.path", f"a suite is {' or '.join(SUITES)}, a profile {' or '.join(PROFILES)}")
    hex_decode(value["config"], 32)
    if value["relay"] is not None:
        hex_decode(value["relay"], 32)
    return SealedPath(value["config"], value["suite"], value["profile"], value["relay"])


def _check_unlinkable(predicate: Mapping[str, Any]) -> None:
    """What came sealed says no more of when than the minute: its run id is random and its time coarse."""
    run, claimed_at = predicate["run"], time_decode(predicate["claimed_at"])
    if run[14] != "4" or claimed_at.second or claimed_at.microsecond:
        raise MalformedError("statement.path", "on the private path a run id is random and a claimed time is a minute")


def _execution(value: dict[str, Any]) -> Execution:
    event, marks = value["event"], value["marks"]
    if event not in EVENTS:
        raise MalformedError("statement.event", "unknown execution event")
    if not is_code(value["outcome"]) or not is_code(value["upstream"]):
        raise MalformedError("statement.code", "outcome and upstream are codes")
    reference: MarkReference | None = None
    if marks is not None:
        if not isinstance(marks, dict) or marks.keys() != {"seq", "parts"}:
            raise MalformedError("statement.marks", "marks has exactly seq and parts")
        if not isinstance(marks["seq"], int) or isinstance(marks["seq"], bool) or marks["seq"] < 1:
            raise MalformedError("statement.marks", "seq counts from 1")
        reference = MarkReference(marks["seq"], hex_decode(marks["parts"], 32))
    response = None if value["response"] is None else parse_tree(value["response"])
    if (event == "generated" or event in COMPUTING_EVENTS) != (response is not None):
        raise MalformedError("statement.response", "exactly what was generated or computed has a response")
    if event not in COMPUTING_EVENTS:
        return Execution(event, value["outcome"], response, reference, value["upstream"])
    if reference is not None:
        raise MalformedError("statement.marks", "what is computed is not streamed, so it has no marks")
    computation = parse_computation(value["computation"])
    if event == "proved" and computation.mode != "ZKML":
        raise MalformedError("statement.computation", "only a run in mode ZKML is proved")
    comparison = value.get("comparison")
    if event == "recomputed" and comparison not in COMPARISONS:
        raise MalformedError("statement.comparison", f"a comparison is one of {', '.join(COMPARISONS)}")
    proof = hex_decode(value["proof"], 32) if event == "proved" else None
    return Execution(event, value["outcome"], response, None, value["upstream"], computation, proof, comparison)


def _decision(value: dict[str, Any]) -> DecisionBody:
    act, cases = value["act"], value["cases"]
    if act not in ACTS:
        raise MalformedError("statement.act", f"an act is one of {', '.join(ACTS)}")
    if not is_run_id(value["case"]):
        raise MalformedError("statement.case", "a case is a UUID of version 4 or 7")
    if cases is not None and act != "recall":
        raise MalformedError("statement.cases", "only a recall is of several cases")
    return DecisionBody(
        act=act,
        case=value["case"],
        lanes=hex_decode(value["lanes"], 32),
        policy=hex_decode(value["policy"], 32),
        record=hex_decode(value["record"], 32),
        cases=None if cases is None else parse_tree(cases),
    )


def _journal(value: dict[str, Any]) -> JournalHead:
    journal, seq = value["journal"], value["seq"]
    if journal not in JOURNALS:
        raise MalformedError("statement.journal", f"a journal is one of {', '.join(JOURNALS)}")
    if not isinstance(seq, int) or isinstance(seq, bool) or seq < 1:
        raise MalformedError("statement.journal", "seq is the number of an event, from 1 on")
    return JournalHead(journal, seq)


def _identity(value: dict[str, Any]) -> IdentityBody:
    for name in sorted(_IDENTITY):
        if value[name] is not None:
            hex_decode(value[name], 32)
    return IdentityBody(value["ohttp"], value["tls"], value["predecessor"])


def _payment(value: dict[str, Any]) -> PaymentBody:
    if value["event"] not in PAYMENT_EVENTS:
        raise MalformedError("statement.payment", f"a payment's event is one of {', '.join(PAYMENT_EVENTS)}")
    return PaymentBody(value["event"], hex_decode(value["record"], 32))


def _artifact(value: dict[str, Any]) -> ArtifactBody:
    event, label, continuity = value["event"], value["label"], value["continuity"]
    if event not in ARTIFACT_EVENTS:
        raise MalformedError("statement.artifact", f"an artifact's event is one of {', '.join(ARTIFACT_EVENTS)}")
    if (event == "labelled") != (label is not None) or (label is None) != (continuity is None):
        raise MalformedError("statement.artifact", "exactly what is labelled has a label and a continuity")
    if continuity is not None and continuity not in CONTINUITIES:
        raise MalformedError("statement.artifact", f"a continuity is one of {', '.join(CONTINUITIES)}")
    if label is not None:
        hex_decode(label, 32)
    return ArtifactBody(event, label, continuity, hex_decode(value["record"], 32))


_OWN_RUNS = {"journal": journal_run, "identity": identity_run, "artifact": artifact_run}
"""Kinds that are about no run, and the run id that their nodes use."""


def _check_aside(kind: str, predicate: Mapping[str, Any]) -> None:
    """What is about no run stands in no trace: its run id is its node's own, and only what a hub says of artifacts
    follows something."""
    if predicate["run"] != _OWN_RUNS[kind](predicate["attester"]):
        raise MalformedError("statement.run", f"a statement of kind {kind} stands under the run id of its own node")
    if kind == "artifact":
        if not _OPTIONAL.isdisjoint(predicate):
            raise MalformedError("statement.predicate", "what a hub says of artifacts answers no client")
        return
    if predicate["parents"] or not _OPTIONAL.isdisjoint(predicate):
        raise MalformedError("statement.predicate", f"a statement of kind {kind} has no parents, nonce or parent run")


def _check_subject(kind: str, body: Body, name: str, root: bytes) -> None:
    """The subject repeats what the predicate binds, so that in-toto tools see the right thing."""
    if isinstance(body, Route):
        fits = name == "request" and root == body.request.root
    elif isinstance(body, Execution):
        fits = (name == "response" and root == body.response.root) if body.response else name == "request"
    elif isinstance(body, DecisionBody):
        fits = name == "decision" and root == body.record
    elif isinstance(body, PaymentBody):
        fits = name == "payment" and root == body.record
    elif isinstance(body, ArtifactBody):
        fits = name == "artifact" and root == body.record
    elif isinstance(body, AdmissionBody):
        fits = name == "admission" and root == body.record
    elif isinstance(body, RecallBody):
        fits = name == "recall" and root == body.record
    elif isinstance(body, JournalHead):
        fits = name == "head"
    else:
        fits = name == "key_document"
    if not fits:
        raise MalformedError("statement.subject", f"the subject is not what the {kind} predicate binds")


COMMITMENT_TYPE = "urn:holdfast:commitment:v1"
"""``type`` of a private commitment entry (``statement.md`` §9)."""
COMMITMENT_SALT_BYTES = 32
"""Size of a commitment's salt (``statement.md`` §9)."""


def build_commitment(digest: str, salt: bytes) -> bytes:
    """The log entry that stands for a private statement: ``digest`` hex, ``salt`` 32 bytes (``statement.md`` §9)."""
    commitment = sha256_hex(salt + bytes.fromhex(digest))
    return f'{{"commitment":"{commitment}","type":"{COMMITMENT_TYPE}"}}'.encode()


def parse_commitment(entry: bytes) -> bytes | None:
    """The 32-byte commitment of a private entry, or None when the entry is something else."""
    if len(entry) > 256 or not entry.startswith(b'{"commitment":'):
        return None
    value = canonical.decode_signed(entry)
    if value.keys() != {"commitment", "type"} or value["type"] != COMMITMENT_TYPE:
        raise MalformedError("commitment.fields", "a commitment has exactly commitment and type")
    return hex_decode(value["commitment"], 32)
