"""What a panel was showing at a moment of a case, read twice: as it was shown then, and as is known about then by now.

The first reading is the lane vector that the journal names, whatever has come since. Its sentences are told again from
the same evidence, up to the same position of its journal, under the trust that was in force then: a panel keeps all
three for good. The second appraises the newest evidence, under the trust in force, for that time.

A moment is an event of the case, or the arrival of a piece of evidence (a position of the newest evidence's own
journal). At an arrival there is a third reading: what the evidence up to there would have shown under the trust of
then, whether or not the panel had it yet. So a panel that was late with what there was to know can be told from one
that was not.

All are lanes. What the gate said then stands in the journal; its reasons are told in the words that the lanes had at
that moment, where those can be told again (``case.md`` §3(5)).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from holdfast.core.bundles import Bundle, parse_bundle
from holdfast.core.trust import Trust, restore_trust
from holdfast.errors import HoldfastError, UsageError
from holdfast.ports.case_store import CaseReader, CaseRow
from holdfast.review.background import differing_lanes, vector_lanes
from holdfast.review.cases import Case, fold
from holdfast.review.events import Event, parse_event
from holdfast.review.queues import appraisal_policy, policy_by_digest
from holdfast.verifier.appraisal import appraise
from holdfast.verifier.chronology import chronology
from holdfast.verifier.gate import LaneVector, Reason, decide, vector_of
from holdfast.verifier.lanes import Lane
from holdfast.verifier.policy import Policy


@dataclass(frozen=True, slots=True)
class Stop:
    """A moment that can be asked about: an event of the case by its number, or an arrival by its position."""

    at: dt.datetime
    code: str
    seq: int | None = None
    known: int | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """A case at one of its moments."""

    event: Event
    """The last of its events by then."""
    stops: tuple[Stop, ...]
    """All moments of the case, in order of time."""
    stop: Stop
    state: str
    """The gate's last word by then."""
    reasons: tuple[Reason, ...]
    """Why, in the words of then."""
    policy: str | None
    then: Mapping[str, Lane] | None
    """As shown then; None before anything was appraised."""
    retold: bool
    """Whether ``then`` has its sentences: evidence and trust of then are kept."""
    trust: str | None
    """Digest of the trust that ``then`` was appraised under."""
    known: int | None
    """Position in the evidence's journal up to which ``then`` was read; None before anything was appraised."""
    arrived: Mapping[str, Lane] | None
    """At an arrival: what the evidence up to there shows under the trust of then."""
    now: Mapping[str, Lane]
    """As we now know about then."""

    @property
    def differing(self) -> tuple[str, ...]:
        """Lanes whose state or basis is another in the reading of now than in that of then."""
        return differing_lanes(self.then, self.now)

    @property
    def place(self) -> int:
        """Where the moment stands among all."""
        return self.stops.index(self.stop)


def read_at(reader: CaseReader, case: str, seq: int, trust: Trust | None) -> Reading:
    """The case at event ``seq`` of its journal. Raises ``case.unknown`` for what is no event of it."""
    row, events, newest = _load(reader, case)
    stop = next((stop for stop in _stops(events, newest) if stop.seq == seq), None)
    if stop is None:
        raise UsageError("case.unknown", "no case has such an event", param="seq", status=404)
    before = [event for event in events if event.seq <= seq]
    return _read(reader, row, events, before, newest, stop, trust)


def read_known(reader: CaseReader, case: str, known: int, trust: Trust | None) -> Reading:
    """The case when evidence ``known`` of its newest evidence arrived; before its first event nothing was shown.
    Raises ``case.unknown`` for a position that there is none of."""
    row, events, newest = _load(reader, case)
    stop = next((stop for stop in _stops(events, newest) if stop.known == known), None)
    if stop is None:
        raise UsageError("case.unknown", "no evidence of this case has that position", param="known", status=404)
    before = [event for event in events if event.at <= stop.at]
    return _read(reader, row, events, before, newest, stop, trust)


def stop_at(reader: CaseReader, case: str, moment: dt.datetime) -> Stop:
    """The last moment of a case that is not later than ``moment``; its first one for an earlier time."""
    _, events, newest = _load(reader, case)
    stops = _stops(events, newest)
    return max((stop for stop in stops if stop.at <= moment), key=stops.index, default=stops[0])


def _load(reader: CaseReader, case: str) -> tuple[CaseRow, tuple[Event, ...], Bundle]:
    row = reader.row(case)
    if row is None:
        raise UsageError("case.unknown", f"there is no case {case[:64]}", param="case", status=404)
    raw = reader.blob(case, row.bundle) if row.bundle is not None else None
    if raw is None:
        raise UsageError("case.no_evidence", "the evidence of this case is not kept any more", status=410)
    return row, tuple(parse_event(stored.raw) for stored in reader.events_of(case)), parse_bundle(raw)


def _stops(events: Sequence[Event], bundle: Bundle) -> tuple[Stop, ...]:
    """Events and arrivals on one axis. An arrival is a moment of its own from the opening of the case on: before that
    this panel showed nothing of it."""
    words = {int(str(item["known"])): str(item["code"]) for item in chronology(bundle)}
    found = [Stop(event.at, event.kind, seq=event.seq) for event in events]
    found += [
        Stop(entry.at, words[entry.position], known=entry.position)
        for entry in bundle.journal
        if entry.position in words and entry.at >= events[0].at
    ]
    return tuple(sorted(found, key=lambda stop: (stop.at, stop.seq is not None, stop.seq or stop.known or 0)))


def _read(
    reader: CaseReader,
    row: CaseRow,
    events: Sequence[Event],
    before: Sequence[Event],
    newest: Bundle,
    stop: Stop,
    trust: Trust | None,
) -> Reading:
    found = _folded(before)
    policy = policy_by_digest(reader, row.queue, found.policy or row.policy)
    bounds = appraisal_policy(policy)
    seen = next((event for event in reversed(before) if event.kind == "appraised"), None)
    believed = _trust_of(reader, seen, trust)
    then, retold = _then(reader, seen, bounds, believed)
    arrived = None
    if stop.known is not None:
        arrived = appraise(newest, believed, bounds, stop.at, stop.known).lanes
    now = appraise(newest, trust, bounds, stop.at).lanes
    reasons = found.reasons
    if retold is not None:
        at = before[-1].at
        reasons = decide(policy, retold, found.decisions, found.release, found.history, at).reword(reasons)
    return Reading(
        before[-1],
        _stops(events, newest),
        stop,
        found.state,
        reasons,
        found.policy,
        then,
        retold is not None,
        seen.body["trust"] if seen is not None else None,
        seen.body["known"] if seen is not None else None,
        arrived,
        now,
    )


def _folded(before: Sequence[Event]) -> Case:
    found = fold(before)
    if found is None:
        raise UsageError("case.unknown", "the case was not open then", status=404)
    return found


def _trust_of(reader: CaseReader, seen: Event | None, trust: Trust | None) -> Trust | None:
    """The trust that an appraisal was made under; that in force where nothing was appraised or it is not kept."""
    digest = seen.body["trust"] if seen is not None else None
    if seen is None or digest is None:
        return None if seen is not None else trust
    if trust is not None and digest == trust.digest:
        return trust
    payload = reader.trust(digest)
    try:
        return restore_trust(payload, digest) if payload is not None else None
    except HoldfastError:
        return None


def _then(
    reader: CaseReader, seen: Event | None, bounds: Policy, believed: Trust | None
) -> tuple[Mapping[str, Lane] | None, LaneVector | None]:
    """The lanes of the vector last appraised, and that vector with its sentences where what they were told from leads
    to it again."""
    if seen is None or seen.case is None or seen.lanes is None:
        return None, None
    raw = reader.blob(seen.case, seen.body["bundle"])
    if raw is not None:
        again = appraise(parse_bundle(raw), believed, bounds, seen.at, seen.body["known"])
        if vector_of(again).digest == seen.lanes:
            return again.lanes, vector_of(again)
    document = reader.blob(seen.case, seen.lanes)
    if document is None:
        raise UsageError("case.no_evidence", "the lane vector of that event is not kept", status=410)
    return vector_lanes(document), None
