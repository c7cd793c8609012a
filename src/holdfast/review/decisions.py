"""Signing decisions and putting them into the log (``spec/statement.md`` §4.3, ``spec/case.md`` §9).

:class:`DecisionSigner` makes the statement that stands for an act, :class:`LoggedDecisions` hands it to the log: the
:class:`~holdfast.review.outbox.DecisionLog` of a real panel.

Rules:

* The statement follows from the act and from the time it claims; its salts follow from the document and a secret of the
  panel. So an act that is signed again, after a crash or a log's silence, gives the same statement, and the log keeps
  one.
* A statement is handed in only once its parent, the run's closing statement, stands in the log: an entry before its
  parent would be refuted for good.
* A decision that could not be signed at once claims a later time instead of one at which nobody saw it.
* On a run of mode ``private`` the log gets a commitment (``statement.md`` §9).

Not covered: what waits (``review.desk``), and reading or proving what the log holds (``client.log``).
"""

from __future__ import annotations

import datetime as dt
import hmac
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from holdfast.core import canonical
from holdfast.core.bundles import (
    Bundle,
    CheckpointItem,
    CommitmentItem,
    DecisionItem,
    EntryItem,
    FinalityItem,
    InclusionItem,
    Item,
    StatementItem,
    VerdictItem,
    build_bundle,
    decision_item,
    extend_bundle,
    parse_bundle,
    parse_item,
)
from holdfast.core.decisions import (
    SALT_BYTES,
    CasePath,
    DecisionDocument,
    batch_of,
    claimed_time,
    parse_decision_document,
    path_in_batch,
    record_of,
)
from holdfast.core.encoding import b64_encode, sha256_hex, time_decode, time_encode
from holdfast.core.notes import parse_checkpoint_text, parse_note
from holdfast.core.statements import (
    DecisionBody,
    Execution,
    Route,
    build_commitment,
    build_envelope,
    build_payload,
    decision_body,
    pre_authentication_encoding,
)
from holdfast.core.trust import Trust
from holdfast.errors import HoldfastError, RefusedError, UsageError
from holdfast.ports.clock import Clock
from holdfast.ports.signer import Signer
from holdfast.review.outbox import WaitingAct
from holdfast.verifier.appraisal import appraise
from holdfast.verifier.lanes import Lane
from holdfast.verifier.policy import Policy
from holdfast.verifier.reading import check_evidence
from holdfast.verifier.transcript import Transcript

SIGNED_AT_ONCE_S = 300
"""So long after a decision its statement may still claim the decision's own time: half of the bound within which full
nodes want to see it (``statement.md`` §8). It is also the step of the times that later statements claim."""
HANDED_IN_BEFORE = 12
"""So many of those steps before now an act that was handed in before a crash is looked for: an hour."""
_RECORD_SALT = b"holdfast/decision-salt/v1\x00"
_COMMITMENT_SALT = b"holdfast/decision-commitment/v1\x00"


class EntryLog(Protocol):
    """The log, as a panel's worker thread uses it: both methods block."""

    def index_of(self, digest: str) -> int | None:
        """Where the log holds an entry, by its deduplication digest (hex). Raises ``http.*`` or ``log.*``."""
        ...

    def append(self, entry: bytes) -> int:
        """Hand in one entry; returns its index once it is durably sequenced. Raises ``http.*`` or ``log.*``."""
        ...


@dataclass(frozen=True, slots=True)
class Parent:
    """A run's closing statement, and how the log knows it."""

    digest: str
    entry_digest: str
    """The digest itself; of a private run, that of the commitment which stands for it."""
    private: bool


@dataclass(frozen=True, slots=True)
class SignedDecision:
    """A decision statement and all that opens it."""

    digest: str
    envelope: bytes
    document: bytes
    salt: bytes
    path: CasePath | None
    commitment_salt: bytes | None
    """None unless the run is private."""

    @property
    def entry(self) -> bytes:
        """What the log gets."""
        if self.commitment_salt is None:
            return self.envelope
        return build_commitment(self.digest, self.commitment_salt)

    @property
    def entry_digest(self) -> str:
        """How the log knows it."""
        return self.digest if self.commitment_salt is None else sha256_hex(self.entry)

    def closed_items(self, at: dt.datetime) -> list[dict[str, Any]]:
        """The same without what opens the record: somebody decided, and nothing says who or why."""
        return [item for item in self.items(at) if item["kind"] != "decision"]

    def items(self, at: dt.datetime) -> list[dict[str, Any]]:
        """Journal items for the bundle of its run, known since ``at`` (``bundle.md`` §5)."""
        items: list[dict[str, Any]] = [
            {"kind": "statement", "at": time_encode(at), "envelope": canonical.decode(self.envelope)},
            decision_item(at, digest=self.digest, document=self.document, salt=self.salt, path=self.path),
        ]
        if self.commitment_salt is not None:
            opened = {"entry": b64_encode(self.entry), "salt": self.commitment_salt.hex()}
            items.append({"kind": "commitment", "at": time_encode(at), **opened})
        return items


def find_parent(raw: bytes) -> Parent | None:
    """The closing statement of a run as its bundle shows it; None while the run is open, while nothing shows how the
    log would know a private one, and when there are two. What the bundle says is the gateway's word: see
    :meth:`LoggedDecisions.record`."""
    items = [entry.item for entry in parse_bundle(raw).journal]
    statements = {item.statement.digest: item.statement for item in items if isinstance(item, StatementItem)}
    closings = [one for one in statements.values() if isinstance(one.body, Execution) and one.body.closing]
    if len(closings) != 1:
        return None
    digest = closings[0].digest
    routes = [statements[parent].body for parent in closings[0].parents if parent in statements]
    if not any(isinstance(body, Route) and body.settlement == "private" for body in routes):
        return Parent(digest, digest, private=False)
    for item in items:
        if isinstance(item, CommitmentItem) and build_commitment(digest, item.salt) == item.entry:
            return Parent(digest, sha256_hex(item.entry), private=True)
    return None


def with_decisions(
    raw: bytes, decisions: Sequence[SignedDecision], at: dt.datetime, evidence: Sequence[Mapping[str, Any]] = ()
) -> bytes:
    """A run's bundle with the decisions about it that it does not hold yet, known since ``at``, which is now; and with
    ``evidence`` of them (items that were kept, or ``client.entry_log.logged_items``), known since what each says.
    Where the bundle's own times lie ahead, what is added follows them."""
    bundle = parse_bundle(raw)
    held = {entry.item.statement.digest for entry in bundle.journal if isinstance(entry.item, StatementItem)}
    newest = max((entry.at for entry in bundle.journal), default=at)
    moment = max(at, newest)
    items = [item for one in decisions if one.digest not in held for item in one.items(moment)]
    items += [{**item, "at": time_encode(max(time_decode(item["at"]), newest))} for item in evidence]
    return extend_bundle(raw, items, max(at, bundle.exported_at)) if items else raw


def carry_decisions(held: bytes, new: bytes) -> bytes:
    """A newer bundle of a run with the decisions that the one held so far shows and it does not, and with what shows
    them in the log: a gateway's bundle knows nothing of what a panel decided. Checkpoints and rounds that the newer one
    brings itself are not brought twice. ``new`` itself when there is nothing to carry."""
    before = parse_bundle(held)
    about = _decided(before)
    if not about.statements:
        return new
    after = parse_bundle(new)
    there = {key for entry in after.journal for key in _names(entry.item)}
    newest = max((entry.at for entry in after.journal), default=before.exported_at)
    items, moments = [], [after.exported_at]
    for entry, value in zip(before.journal, canonical.decode_object(held)["journal"], strict=True):
        if about.covers(entry.item) and there.isdisjoint(_names(entry.item)):
            moments.append(max(newest, entry.at))
            items.append({**value, "at": time_encode(moments[-1])})
    return extend_bundle(new, items, max(moments)) if items else new


def without_documents(raw: bytes) -> bytes:
    """A bundle whose decisions stay closed: who decided, and why, is not in it (``bundle.md`` §2)."""
    bundle = parse_bundle(raw)
    values = canonical.decode_object(raw)["journal"]
    kept = [
        value for entry, value in zip(bundle.journal, values, strict=True) if not isinstance(entry.item, DecisionItem)
    ]
    return raw if len(kept) == len(values) else build_bundle(bundle.run, bundle.exported_at, kept)


def entry_of(raw: bytes, digest: str) -> str | None:
    """How the log knows a decision statement that a bundle shows (hex): by its own digest, or by that of the commitment
    which stands for it. None when the bundle does not show it."""
    about = _decided(parse_bundle(raw))
    return about.statements.get(digest)


@dataclass(frozen=True, slots=True)
class _Decided:
    """The decisions that a bundle shows, by statement digest, each with the digest that the log knows it by."""

    statements: Mapping[str, str]
    sizes: frozenset[int]
    """Sizes of the trees that a path leads to from one of them."""
    rounds: frozenset[int]
    """Rounds with a verdict on one of them."""

    def covers(self, item: Item) -> bool:
        """Whether an item is about one of them."""
        entries = self.statements.values()
        if isinstance(item, StatementItem):
            return item.statement.digest in self.statements
        if isinstance(item, DecisionItem):
            return item.digest in self.statements
        if isinstance(item, CommitmentItem):
            return sha256_hex(item.entry) in entries
        if isinstance(item, EntryItem | InclusionItem):
            return item.digest in entries
        if isinstance(item, VerdictItem):
            return item.entry.statement_digest.hex() in entries
        if isinstance(item, CheckpointItem):
            return _size_of(item) in self.sizes
        return isinstance(item, FinalityItem) and item.candidate.number in self.rounds


def _decided(bundle: Bundle) -> _Decided:
    items = [entry.item for entry in bundle.journal]
    digests = [
        item.statement.digest
        for item in items
        if isinstance(item, StatementItem) and item.statement.kind == "decision" and item.statement.run == bundle.run
    ]
    opened = [item for item in items if isinstance(item, CommitmentItem)]
    statements = {
        digest: next(
            (sha256_hex(item.entry) for item in opened if build_commitment(digest, item.salt) == item.entry), digest
        )
        for digest in digests
    }
    entries = set(statements.values())
    sizes = {item.size for item in items if isinstance(item, InclusionItem) and item.digest in entries}
    numbers = {
        item.number for item in items if isinstance(item, VerdictItem) and item.entry.statement_digest.hex() in entries
    }
    return _Decided(statements, frozenset(sizes), frozenset(numbers))


def _size_of(item: CheckpointItem) -> int | None:
    try:
        return parse_checkpoint_text(parse_note(item.note.encode("utf-8", "surrogatepass")).text).size
    except HoldfastError:
        return None


def _names(item: Item) -> Iterator[tuple[str, object]]:
    """What makes a second one like it superfluous in a bundle: one tree of a size and one round of a number are enough,
    and two of them would change what the bundle shows of the run."""
    if isinstance(item, StatementItem):
        yield "statement", item.statement.digest
    elif isinstance(item, CheckpointItem):
        yield "checkpoint", _size_of(item)
    elif isinstance(item, FinalityItem):
        yield "finality", item.candidate.number
    elif isinstance(item, InclusionItem):
        yield "inclusion", (item.digest, item.size)
    elif isinstance(item, VerdictItem):
        yield "verdict", (item.entry.statement_digest, item.number)
    elif isinstance(item, DecisionItem | EntryItem):
        yield type(item).__name__, item.digest
    elif isinstance(item, CommitmentItem):
        yield "commitment", item.entry


def add_items(raw: bytes, items: Sequence[Mapping[str, Any]], at: dt.datetime) -> bytes:
    """A bundle with items (each with ``kind``) known since ``at``, which is now, but for what it shows already. A
    bundle whose own times lie ahead keeps their order."""
    bundle = parse_bundle(raw)
    newest = max((entry.at for entry in bundle.journal), default=at)
    moment = max(at, newest)
    dated = [{**item, "at": time_encode(moment)} for item in items]
    parsed = [parse_item(position, item).item for position, item in enumerate(dated, 1)]
    there = {key for entry in bundle.journal for key in _names(entry.item)}
    fresh = [value for value, item in zip(dated, parsed, strict=True) if there.isdisjoint(_names(item))]
    return extend_bundle(raw, fresh, max(moment, bundle.exported_at)) if fresh else raw


def check_settled(
    before: bytes, after: bytes, digest: str, trust: Trust, policy: Policy, at: dt.datetime
) -> tuple[bool, bool]:
    """Whether what was added to a bundle shows decision ``digest`` opened and under a final verdict, and whether a
    quorum dates it.

    Raises ``decision.evidence`` when it is not what was signed, or moves a lane of the run but ``judgement``: what full
    nodes and logs answer is believed only as far as it is proven, and a decision about a run changes nothing in it.
    """
    old, new = appraise(parse_bundle(before), trust, policy, at), appraise(parse_bundle(after), trust, policy, at)
    moved = [name for name in new.lanes if name != "judgement" and not _same(old.lanes[name], new.lanes[name])]
    if moved:
        raise RefusedError("decision.evidence", f"what was found of decision {digest[:12]} would move {moved[0]}")
    known = check_evidence(parse_bundle(before), trust, policy.bounds, at, None, Transcript()).refusals["judgement"]
    evidence = check_evidence(parse_bundle(after), trust, policy.bounds, at, None, Transcript())
    wrong = [says for code, says in evidence.refusals["judgement"] if (code, says) not in known]
    if wrong:
        raise RefusedError("decision.evidence", wrong[0])
    checked = evidence.statements[digest]
    return digest in evidence.opened and checked.verdict is not None, checked.trusted_time is not None


def _same(one: Lane, other: Lane) -> bool:
    """Whether a lane says the same, on at least what it rested on: a tree with a decision may show the run too."""
    return (one.state, one.basis) == (other.state, other.basis) and set(one.evidence) <= set(other.evidence)


class DecisionSigner:
    """Makes decision statements in a panel's name. ``attester`` is the digest of its key document, ``salt_key`` a
    secret of at least 32 bytes that it keeps as long as its journal."""

    def __init__(self, signer: Signer, attester: str, salt_key: bytes) -> None:
        if len(salt_key) < SALT_BYTES:
            raise UsageError("decision.salt", f"the secret that salts follow from has at least {SALT_BYTES} bytes")
        self._signer = signer
        self._attester = attester
        self._salt_key = salt_key

    def sign(self, act: WaitingAct, parent: Parent, at: dt.datetime) -> SignedDecision:
        """The statement for an act, signed at ``at``. Raises ``decision.*`` for an act whose document is malformed or
        of another case or run."""
        return self._sign(act, parent, _claimed(_document_of(act).at, at, private=parent.private))

    def earlier(self, act: WaitingAct, parent: Parent, at: dt.datetime) -> Iterator[SignedDecision]:
        """The statements that may have been signed for an act before ``at``, when it claims another time by now: with
        the decision's own time, and in the last hour."""
        decided_at = _document_of(act).at
        now, step = _claimed(decided_at, at, private=parent.private), dt.timedelta(seconds=SIGNED_AT_ONCE_S)
        first = claimed_time(decided_at, private=parent.private)
        if now != first:
            earlier = [now - number * step for number in range(1, HANDED_IN_BEFORE + 1)]
            for claimed_at in (first, *(moment for moment in earlier if moment > decided_at)):
                yield self._sign(act, parent, claimed_at)

    def _salt(self, purpose: bytes, data: bytes) -> bytes:
        return hmac.digest(self._salt_key, purpose + data, "sha256")

    def _payload(self, act: WaitingAct, parent: Parent, claimed_at: dt.datetime) -> bytes:
        document = _document_of(act)
        record = record_of(act.document, self._salt(_RECORD_SALT, act.document))
        body = DecisionBody(
            act=document.act,
            case=act.case,
            lanes=bytes.fromhex(act.lanes),
            policy=bytes.fromhex(act.policy),
            record=record,
            cases=batch_of(act.cases) if act.cases else None,
        )
        return build_payload(
            "decision",
            run=act.run,
            attester=self._attester,
            claimed_at=claimed_at,
            parents=[parent.digest],
            subject=("decision", record),
            body=decision_body(body),
        )

    def _sign(self, act: WaitingAct, parent: Parent, claimed_at: dt.datetime) -> SignedDecision:
        payload = self._payload(act, parent, claimed_at)
        signature = self._signer.sign(pre_authentication_encoding(payload))
        digest = sha256_hex(payload)
        return SignedDecision(
            digest=digest,
            envelope=build_envelope(payload, self._signer.key.key_id, signature),
            document=act.document,
            salt=self._salt(_RECORD_SALT, act.document),
            path=path_in_batch(act.cases, act.case) if act.cases else None,
            commitment_salt=self._salt(_COMMITMENT_SALT, payload) if parent.private else None,
        )


class LoggedDecisions:
    """Signs acts and puts them into a log, each when the log has what it is about."""

    def __init__(self, signer: DecisionSigner, log: EntryLog, clock: Clock) -> None:
        self._signer = signer
        self._log = log
        self._clock = clock

    def record(self, act: WaitingAct) -> str | None:
        """Digest (hex) of the statement once it stands in the log: see :meth:`log`."""
        signed = self.log(act)
        return None if signed is None else signed.digest

    def log(self, act: WaitingAct) -> SignedDecision | None:
        """The statement once it stands in the log; None while this act cannot be logged, since its run is open or its
        closing statement not in the log. Raises ``http.*`` or ``log.*`` while the log is silent: then no other act can
        be logged either."""
        parent = find_parent(act.bundle) if act.bundle is not None else None
        # Asked of the log itself: a bundle's word for it could get a decision refuted for good.
        if parent is None or self._log.index_of(parent.entry_digest) is None:
            return None
        now = self._clock.now()
        for signed in self._signer.earlier(act, parent, now):
            if self._log.index_of(signed.entry_digest) is not None:
                return signed
        signed = self._signer.sign(act, parent, now)
        self._log.append(signed.entry)
        return signed


def _document_of(act: WaitingAct) -> DecisionDocument:
    document = parse_decision_document(act.document)
    if (document.case, document.run) != (act.case, act.run):
        raise UsageError("decision.case", "the document is of another case or run than the act")
    if act.cases and document.act != "recall":
        raise UsageError("decision.cases", "only a recall is of several cases")
    return document


def _claimed(decided_at: dt.datetime, at: dt.datetime, *, private: bool) -> dt.datetime:
    """The time that a statement signed at ``at`` claims."""
    if at - decided_at <= dt.timedelta(seconds=SIGNED_AT_ONCE_S):
        return claimed_time(decided_at, private=private)
    return dt.datetime.fromtimestamp(int(at.timestamp()) // SIGNED_AT_ONCE_S * SIGNED_AT_ONCE_S, dt.UTC)
