"""What a panel was showing at an event of a case, read twice: as it was shown then, and as is known about then by now.

The first reading is the lane vector that the journal names, whatever has come since. Its sentences are told again from
the same evidence, and only where that leads to the very same vector under the trust in force; a vector itself holds
none. The second appraises the newest evidence, under the trust in force, for the time of the event.

Both are lanes. What the gate said then stands in the journal; its reasons are told in the words that the lanes had at
the event, where those can be told again (``case.md`` §3(5)).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from holdfast.core import canonical
from holdfast.core.bundles import parse_bundle
from holdfast.core.trust import Trust
from holdfast.errors import UsageError
from holdfast.ports.case_store import CaseReader
from holdfast.review.cases import fold
from holdfast.review.events import Event, parse_event
from holdfast.review.queues import appraisal_policy, policy_by_digest
from holdfast.verifier.appraisal import appraise
from holdfast.verifier.gate import LaneVector, Reason, decide, vector_of
from holdfast.verifier.lanes import LANES, Lane
from holdfast.verifier.policy import Policy


@dataclass(frozen=True, slots=True)
class Reading:
    """A case at one of its events."""

    event: Event
    events: tuple[Event, ...]
    """All of the case, in order."""
    state: str
    """The gate's last word by then."""
    reasons: tuple[Reason, ...]
    """Why, in the words of then."""
    policy: str | None
    then: Mapping[str, Lane] | None
    """As shown then; None before anything was appraised."""
    retold: bool
    """Whether ``then`` has its sentences: the same evidence still says the same."""
    now: Mapping[str, Lane]
    """As we now know about then."""

    @property
    def differing(self) -> tuple[str, ...]:
        """Lanes whose state or basis is another in the second reading."""
        then = self.then or {}
        return tuple(
            name
            for name in LANES
            if name not in then or (then[name].state, then[name].basis) != (self.now[name].state, self.now[name].basis)
        )


def read_at(reader: CaseReader, case: str, seq: int, trust: Trust | None) -> Reading:
    """The case at event ``seq`` of its journal. Raises ``case.unknown`` for what is no event of it."""
    row = reader.row(case)
    events = tuple(parse_event(stored.raw) for stored in reader.events_of(case))
    before = tuple(event for event in events if event.seq <= seq)
    if row is None or not before or before[-1].seq != seq:
        raise UsageError("case.unknown", "no case has such an event", param="seq", status=404)
    found, event = fold(before), before[-1]
    if found is None:
        raise UsageError("case.unknown", "no case has such an event", param="seq", status=404)
    policy = policy_by_digest(reader, row.queue, found.policy or row.policy)
    bounds = appraisal_policy(policy)
    then, retold = _then(reader, before, bounds, trust)
    newest = reader.blob(case, row.bundle) if row.bundle is not None else None
    if newest is None:
        raise UsageError("case.no_evidence", "the evidence of this case is not kept any more", status=410)
    now = appraise(parse_bundle(newest), trust, bounds, event.at).lanes
    reasons = found.reasons
    if retold is not None:
        reasons = decide(policy, retold, found.decisions, found.release, found.history, event.at).reword(reasons)
    return Reading(event, events, found.state, reasons, found.policy, then, retold is not None, now)


def _then(
    reader: CaseReader, before: Sequence[Event], bounds: Policy, trust: Trust | None
) -> tuple[Mapping[str, Lane] | None, LaneVector | None]:
    """The lanes of the vector last appraised, and that vector with its sentences where the evidence still leads to
    it."""
    seen = next((event for event in reversed(before) if event.kind == "appraised"), None)
    if seen is None or seen.case is None or seen.lanes is None:
        return None, None
    trusted = trust.digest if trust else None
    raw = reader.blob(seen.case, seen.body["bundle"])
    if raw is not None and seen.body["trust"] == trusted:
        again = appraise(parse_bundle(raw), trust, bounds, seen.at, seen.body["known"])
        if vector_of(again).digest == seen.lanes:
            return again.lanes, vector_of(again)
    document = reader.blob(seen.case, seen.lanes)
    if document is None:
        raise UsageError("case.no_evidence", "the lane vector of that event is not kept", status=410)
    lanes = canonical.decode_object(document)["lanes"]
    return {
        name: Lane(name, lanes[name]["state"], lanes[name]["basis"], "", tuple(lanes[name]["evidence"]))
        for name in LANES
    }, None
