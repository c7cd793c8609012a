"""What there is to tell of a case beyond its row: the run's own story, every check behind a lane, who decided having
seen what, and cases like it (``spec/case.md`` §6).

Everything is read from what the panel keeps: the newest evidence is appraised again for now, vectors and documents are
those that the journal names. Nothing of what was asked and answered is in it but the names of models
(``case.md`` §5(5)); opening a case is for the rest.

Not covered: what a panel was showing at some moment (``review.reading``).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.core import canonical
from holdfast.core.bundles import (
    AttestationItem,
    Bundle,
    CandidateItem,
    CheckpointItem,
    CommitmentItem,
    Entry,
    FinalityItem,
    InclusionItem,
    StatementItem,
    VerdictItem,
    build_bundle,
    parse_bundle,
)
from holdfast.core.decisions import DecisionDocument, parse_decision_document
from holdfast.core.encoding import sha256_hex, time_decode
from holdfast.core.trust import Trust
from holdfast.errors import HoldfastError, UsageError
from holdfast.ports.case_store import CaseFacts, CaseReader, CaseRow
from holdfast.review.events import Event, parse_event
from holdfast.review.labels import Moved, moved_since
from holdfast.review.queues import appraisal_policy, policy_by_digest
from holdfast.verifier.appraisal import Appraisal, appraise
from holdfast.verifier.chronology import chronology
from holdfast.verifier.lanes import LANES, Lane

RELATED = 12
"""Most cases of one kind of likeness that are named."""
ALIKE = {
    "artifact": "Same artifact",
    "label": "Same label, another artifact",
    "row": "Same memory row",
    "source": "Same source",
}
"""What makes cases alike, in the order in which it is told."""


@dataclass(frozen=True, slots=True)
class Decided:
    """One act of a person that decided something, and what they had before them."""

    event: Event
    act: str
    role: str
    reason: str
    document: DecisionDocument | None
    """What its statement commits to: rule, threshold and framing stand there."""
    lanes: Mapping[str, Lane] | None
    """As they stood on the page, without sentences; None where nothing had been appraised."""
    differing: tuple[str, ...]
    """Lanes whose state or basis is another one now."""


@dataclass(frozen=True, slots=True)
class Alike:
    """Cases that name the same as this one. ``more`` says that there are others."""

    kind: str
    cases: tuple[CaseRow, ...]
    more: bool


@dataclass(frozen=True, slots=True)
class Background:
    """See the module."""

    row: CaseRow
    bundle: Bundle
    appraisal: Appraisal
    moments: tuple[Mapping[str, Any], ...]
    """The run's own story (``verifier.chronology``)."""
    decided: tuple[Decided, ...]
    facts: CaseFacts | None
    moved: Moved | None
    alike: tuple[Alike, ...]
    evidence: Mapping[str, str]
    """What each digest that a lane names stands for, in words."""


def background_of(reader: CaseReader, case: str, trust: Trust | None, at: dt.datetime) -> Background:
    """The background of a case at ``at``. Raises ``case.unknown``."""
    row = reader.row(case)
    if row is None:
        raise UsageError("case.unknown", f"there is no case {case[:64]}", param="case", status=404)
    events = [parse_event(stored.raw) for stored in reader.events_of(case)]
    raw = reader.blob(case, row.bundle) if row.bundle is not None else None
    bundle = parse_bundle(raw if raw is not None else build_bundle(row.run, time_decode(row.opened_at), []))
    policy = policy_by_digest(reader, row.queue, row.policy)
    appraisal = appraise(bundle, trust, appraisal_policy(policy), at)
    facts = reader.facts([case]).get(case)
    return Background(
        row,
        bundle,
        appraisal,
        tuple(chronology(bundle)),
        tuple(_decided(reader, events, appraisal.lanes)),
        facts,
        moved_since(reader, facts, row),
        tuple(_alike(reader, row, facts)),
        _words(bundle, {digest for lane in appraisal.lanes.values() for digest in lane.evidence}),
    )


def vector_lanes(document: bytes) -> dict[str, Lane]:
    """The lanes of a kept lane vector, in their order. It holds no sentence."""
    lanes = canonical.decode_object(document)["lanes"]
    return {
        name: Lane(name, lanes[name]["state"], lanes[name]["basis"], "", tuple(lanes[name]["evidence"]))
        for name in LANES
    }


def differing_lanes(then: Mapping[str, Lane] | None, now: Mapping[str, Lane]) -> tuple[str, ...]:
    """Lanes whose state or basis is not the same; all of them where there were none then."""
    then = then or {}
    return tuple(
        name
        for name in LANES
        if name not in then or (then[name].state, then[name].basis) != (now[name].state, now[name].basis)
    )


def _decided(reader: CaseReader, events: Sequence[Event], now: Mapping[str, Lane]) -> Iterable[Decided]:
    for event in events:
        if event.kind not in ("decided", "released") or event.case is None:
            continue
        body = event.body
        kept = reader.blob(event.case, event.lanes) if event.lanes is not None else None
        lanes = vector_lanes(kept) if kept is not None else None
        yield Decided(
            event,
            str(body.get("act", "release")),
            str(body["role"]),
            str(body["reason"]),
            _document(body.get("document")),
            lanes,
            differing_lanes(lanes, now),
        )


def _document(text: object) -> DecisionDocument | None:
    try:
        return parse_decision_document(str(text).encode())
    except HoldfastError:
        return None


def _alike(reader: CaseReader, row: CaseRow, facts: CaseFacts | None) -> Iterable[Alike]:
    named = sorted(reader.named(row.case))
    values: dict[str, list[str]] = {
        kind: [value for what, value in named if what == kind] for kind in ("row", "source")
    }
    if facts is not None and facts.artifact is not None:
        values["artifact"] = [facts.artifact]
    if facts is not None and facts.label is not None:
        values["label"] = [facts.label]
    for kind in ALIKE:
        found: dict[str, CaseRow] = {}
        for value in values.get(kind, ()):
            other_than = facts.artifact or "" if facts is not None and kind == "label" else None
            rows = reader.naming(kind, value, RELATED + 2, other_than)
            found |= {other.case: other for other in rows if other.case != row.case}
        cases = sorted(found.values(), key=lambda other: -other.opened_seq)
        if cases:
            yield Alike(kind, tuple(cases[:RELATED]), len(cases) > RELATED)


# --- evidence by digest -----------------------------------------------------------------------------------------------


def entries_of(bundle: Bundle, digest: str) -> tuple[Entry, ...]:
    """The journal entries of a bundle that a digest (hex) stands for."""
    return tuple(entry for entry in bundle.journal if digest in _digests(entry))


def _digests(entry: Entry) -> tuple[str, ...]:
    """The digests by which a lane can name an entry."""
    item = entry.item
    if isinstance(item, StatementItem):
        return (item.statement.digest,)
    if isinstance(item, CandidateItem | FinalityItem):
        return (item.candidate.content.hex(),)
    if isinstance(item, CheckpointItem):
        return (sha256_hex(item.note.encode("utf-8", "surrogatepass")),)
    if isinstance(item, CommitmentItem):
        return (sha256_hex(item.entry),)
    if isinstance(item, AttestationItem):
        return (item.node,)
    if isinstance(item, InclusionItem):
        return (item.digest,)
    if isinstance(item, VerdictItem):
        return (item.entry.statement_digest.hex(),)
    return ()


def evidence_words(entry: Entry) -> str:
    """What an entry is, in words."""
    item = entry.item
    if isinstance(item, StatementItem):
        return f"{item.statement.kind} statement"
    if isinstance(item, CandidateItem | FinalityItem):
        return f"round {item.candidate.number}"
    if isinstance(item, CheckpointItem):
        return "checkpoint"
    if isinstance(item, CommitmentItem):
        return "commitment in the log"
    if isinstance(item, AttestationItem):
        return "key of the signing node"
    if isinstance(item, InclusionItem):
        return f"path to entry {item.index}"
    if isinstance(item, VerdictItem):
        return f"verdict of round {item.number}"
    return "evidence"


def _words(bundle: Bundle, digests: set[str]) -> dict[str, str]:
    """The first entry that a digest names says what it is: a bundle holds a statement before what is about it."""
    found: dict[str, str] = {}
    for entry in bundle.journal:
        for digest in _digests(entry):
            if digest in digests and digest not in found:
                found[digest] = evidence_words(entry)
    return found
