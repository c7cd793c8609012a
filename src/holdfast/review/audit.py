"""Read the whole journal again, as a stranger would (``spec/case.md`` §10).

Checked: every event's bytes against its digest, its place and the digest before it; that the events of each case can
follow one another; that the gate could have said every word that let a case through (``gate_audit``); that every row,
policy, dependant and waiting act is what the events say; that what events cite is there; and, when a head is handed in
that was published earlier, that the journal still goes through it. :func:`audit_store` checks all of it,
:func:`audit_journal` what events show by themselves.

Without a published head, events cut off at the end together with the head row leave a journal that is whole in itself:
that is what publishing heads, and the statements in the log, are for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from holdfast.core.encoding import sha256_hex
from holdfast.errors import HoldfastError
from holdfast.ports.case_store import CaseFilter, CaseReader, Head, StoredEvent
from holdfast.review.cases import Case, apply_event, row_of
from holdfast.review.events import NO_PREVIOUS, Event, parse_event
from holdfast.review.gate_audit import LETS_THROUGH, refuse_word

_BATCH = 1000
"""Events and rows read at a time."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that does not fit: a stable code, where, and a sentence."""

    code: str
    seq: int | None
    case: str | None
    says: str


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What was read, where it ends, and everything that does not fit."""

    events: int
    cases: int
    head: Head
    faults: tuple[Fault, ...]


@dataclass(slots=True)
class _Replay:
    """What the events add up to."""

    cases: dict[str, Case] = field(default_factory=dict)
    queues: dict[str, str] = field(default_factory=dict)
    waiting: set[int] = field(default_factory=set)
    cited: dict[str, set[str]] = field(default_factory=dict)
    trusts: set[str] = field(default_factory=set)
    """Trust documents that appraisals were made under."""
    broken: set[str] = field(default_factory=set)
    """Cases that an unreadable event may belong to, or whose events do not fit: said once."""
    faults: list[Fault] = field(default_factory=list)
    policies: dict[str, bytes] = field(default_factory=dict)
    """Documents of every policy that an event brought, by digest."""
    lanes: Callable[[str, str], bytes | None] = lambda _case, _digest: None
    """A lane vector that an event of a case names, where vectors are at hand."""

    def fault(self, code: str, says: str, *, seq: int | None = None, case: str | None = None) -> None:
        self.faults.append(Fault(code, seq, case, says))


def audit_store(reader: CaseReader, published: Head | None = None) -> AuditReport:
    """Audit a store; see the module."""
    replay = _Replay(lanes=reader.blob)
    count, last = _read(replay, _journal(reader), published)
    head = reader.head()
    if (head.seq, head.digest) != (last.seq, last.digest):
        replay.fault("audit.head", f"the journal ends at event {last.seq}, and its head names {head.seq}", seq=head.seq)
    _check_rows(replay, reader)
    _check_rest(replay, reader)
    return AuditReport(count, len(replay.cases), head, tuple(replay.faults))


def audit_journal(events: Iterable[StoredEvent], published: Head | None = None) -> AuditReport:
    """Audit events alone, as an exported journal has them. Its head is its last event; what the events cite is not
    there to be looked at, and so neither is whether the gate was right."""
    replay = _Replay()
    count, last = _read(replay, events, published)
    return AuditReport(count, len(replay.cases), last, tuple(replay.faults))


def _read(replay: _Replay, events: Iterable[StoredEvent], published: Head | None) -> tuple[int, Head]:
    """Every event in turn; how many, and the head they lead to."""
    count, last = 0, Head(0, NO_PREVIOUS, "")
    for stored in events:
        count += 1
        last = _check_event(replay, stored, last, published)
    if published is not None and published.seq > last.seq:
        says = f"event {published.seq} was published as the head, and the journal ends at {last.seq}"
        replay.fault("audit.truncated", says, seq=published.seq)
    return count, last


def _journal(reader: CaseReader) -> Iterator[StoredEvent]:
    after = -(2**62)
    while batch := reader.events(after, _BATCH):
        yield from batch
        after = batch[-1].seq


def _check_event(replay: _Replay, stored: StoredEvent, last: Head, published: Head | None) -> Head:
    """One event against the one before it. Returns the head it leads to."""
    seq, digest = stored.seq, sha256_hex(stored.raw)
    if seq != last.seq + 1:
        replay.fault("audit.gap", f"event {last.seq} is followed by event {seq}", seq=seq)
    if digest != stored.digest:
        replay.fault("audit.digest", f"the bytes of event {seq} are not those that were stored", seq=seq)
    if published is not None and seq == published.seq and digest != published.digest:
        replay.fault("audit.published", f"event {seq} is not the one that was published as the head", seq=seq)
    following = Head(seq, digest, stored.at)
    try:
        event = parse_event(stored.raw)
    except HoldfastError as error:
        replay.fault("audit.event", f"event {seq} cannot be read: {error.message}", seq=seq, case=stored.case)
        if stored.case is not None:
            replay.broken.add(stored.case)
        return following
    if event.stored != replace(stored, digest=digest):
        replay.fault("audit.place", f"event {seq} is filed as something else than it says", seq=seq, case=event.case)
    if event.previous != last.digest:
        replay.fault("audit.chain", f"event {seq} does not follow on the event before it", seq=seq, case=event.case)
    if stored.at < last.at:
        replay.fault("audit.time", f"event {seq} is earlier than the event before it", seq=seq, case=event.case)
    _replay(replay, event)
    return following


def _replay(replay: _Replay, event: Event) -> None:
    """What the event adds to the state."""
    if "document" in event.body and event.kind != "policy_changed":
        replay.waiting.add(event.seq)
    if event.kind == "policy_changed":
        document = str(event.body.get("document", "")).encode()
        if sha256_hex(document) != event.policy:
            replay.fault("audit.policy", f"event {event.seq} names another policy than it holds", seq=event.seq)
        replay.queues[str(event.body.get("queue"))] = event.policy or ""
        replay.policies[sha256_hex(document)] = document
    if event.kind == "statement_logged":
        logged = event.body.get("event")
        replay.waiting -= {logged} if isinstance(logged, int) else set()
    if event.case is None:
        return
    try:
        case = apply_event(replay.cases.get(event.case), event)
    except HoldfastError as error:
        if event.case not in replay.broken:
            replay.fault("audit.history", error.message, seq=event.seq, case=event.case)
        replay.broken.add(event.case)
        return
    if event.kind in LETS_THROUGH:
        _check_word(replay, event, event.case)
    replay.cases[event.case] = case
    cited = replay.cited.setdefault(event.case, set())
    if event.lanes is not None:
        cited.add(event.lanes)
    if event.kind == "led":
        cited.add(str(event.body["children"]))
    if event.kind == "appraised":
        cited.add(str(event.body["bundle"]))
        if event.body["trust"] is not None:
            replay.trusts.add(str(event.body["trust"]))


def _check_word(replay: _Replay, event: Event, case: str) -> None:
    """Whether the gate could have let the case through."""
    if event.policy not in replay.policies:  # the empty policy, which no event brings, lets nothing through
        says = f"event {event.seq} lets a case through under a policy that no queue had"
        replay.fault("audit.gate", says, seq=event.seq, case=case)
        return
    before, policies = replay.cases.get(case), replay.policies.get
    why_not = refuse_word(before, event, policies, lambda digest: replay.lanes(case, digest))
    if why_not is not None:
        replay.fault("audit.gate", why_not, seq=event.seq, case=case)


def _check_rows(replay: _Replay, reader: CaseReader) -> None:
    """Every row is what its events add up to, and there is one for every case."""
    seen: set[str] = set()
    after = -(2**62)
    while rows := reader.rows(CaseFilter(after=after, limit=_BATCH)):
        after = rows[-1].opened_seq
        marks = reader.marks([row.case for row in rows])
        for row in rows:
            seen.add(row.case)
            case = replay.cases.get(row.case)
            if case is None:
                replay.fault("audit.row", "a case is listed that the journal does not know", case=row.case)
            elif row.case not in replay.broken:
                told = replace(row_of(case, bundle=row.bundle, due_at=None), due_at=row.due_at)
                if told != row:
                    replay.fault("audit.row", "a case is listed as something else than its events say", case=row.case)
                if marks.get(row.case, case.marks) != case.marks:
                    replay.fault(
                        "audit.marks", "a case is counted as something else than its events say", case=row.case
                    )
                if sorted(reader.dependants(row.case)) != sorted(case.dependants):
                    replay.fault("audit.dependants", "what relied on a case is not what was said", case=row.case)
    for missing in sorted(replay.cases.keys() - seen):
        replay.fault("audit.row", "a case of the journal is not listed", case=missing)


def _check_rest(replay: _Replay, reader: CaseReader) -> None:
    """Queues, what waits to be logged, and what events cite."""
    if reader.queues() != replay.queues:
        replay.fault("audit.queues", "the queues do not have the policies that the journal gave them")
    for digest in sorted(set(replay.queues.values())):
        document = reader.policy(digest)
        if document is None or sha256_hex(document) != digest:
            replay.fault("audit.policy", f"the policy {digest[:12]} is not kept as it was")
    for digest in sorted(replay.trusts):
        payload = reader.trust(digest)
        if payload is None or sha256_hex(payload) != digest:
            replay.fault("audit.trust", f"the trust document {digest[:12]} is not kept as it was")
    waiting = {stored.seq for stored in reader.waiting(2**31 - 1)}
    if waiting != replay.waiting:
        replay.fault("audit.waiting", "what waits to be logged is not what the journal says")
    for case, digests in replay.cited.items():
        for digest in sorted(digests):
            raw = reader.blob(case, digest)
            if raw is None or sha256_hex(raw) != digest:
                replay.fault("audit.evidence", f"evidence {digest[:12]} is not kept as it was", case=case)
