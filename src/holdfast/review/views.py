"""Cases as they are shown: in lists, in hand-outs, and as a file with their journal (``spec/case.md`` §5).

While a case is HOLD, what lists and hand-outs carry of it is its lanes and reasons, never its evidence: whoever wants
to read the answer opens the case, and is in its journal for it.

What is shown is kept as text beside a case's row, written by whoever last asked the gate about it (``review.bench``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.core import canonical
from holdfast.core.encoding import time_encode
from holdfast.errors import UsageError
from holdfast.ports.case_store import CaseReader, CaseRow
from holdfast.review.cases import Case
from holdfast.review.events import Event, parse_event
from holdfast.review.queues import policy_by_digest
from holdfast.review.work import load_case
from holdfast.verifier.gate import GateResult, LaneVector, Reason
from holdfast.verifier.lanes import LANES, Lane, restore_lane
from holdfast.verifier.queue_policy import QueuePolicy

MAX_PAGE = 500
"""Most cases of one page."""


@dataclass(frozen=True, slots=True)
class CaseView:
    """A case as lists and hand-outs show it: what the gate last said and the lanes as last appraised. It holds nothing
    of what was asked and answered."""

    row: CaseRow
    reasons: tuple[Reason, ...]
    lanes: Mapping[str, Lane]
    dated: Mapping[str, str | None]
    known: int
    stale: bool = False
    """Whether its label came to mean another artifact while it was open."""

    def to_json(self) -> dict[str, Any]:
        row = self.row
        return {
            "id": row.case,
            "queue": row.queue,
            "run": row.run,
            "subject": row.subject,
            "state": row.stands,
            "reasons": [reason.to_json() for reason in self.reasons],
            "lanes": {name: self.lanes[name].to_json() for name in LANES},
            "lanes_digest": row.vector,
            "policy": row.policy,
            "known": self.known,
            "opened_at": row.opened_at,
            "changed_at": row.changed_at,
            "clear_until": row.clear_until,
            "released_early": bool(row.released_early),
            "claimed_by": row.claimed_by,
            "claimed_until": row.claimed_until,
            "handed_at": row.handed_at,
            "flags": row.flags,
            "stale": self.stale,
            "position": row.opened_seq,
        }


@dataclass(frozen=True, slots=True)
class CaseFile:
    """One case with its journal. ``bundle`` is its evidence, and None unless somebody opened it (:meth:`Desk.view`)."""

    view: CaseView
    case: Case
    policy: QueuePolicy
    events: tuple[Event, ...]
    bundle: bytes | None = None


def shown_text(result: GateResult, vector: LaneVector, known: int) -> str:
    """What lists show of a case, as text: the gate's reasons in the words of now, and the lanes."""
    reasons: list[canonical.JSON] = [reason.to_json() for reason in result.reasons]
    said = canonical.encode_known({"state": result.state, "reasons": reasons}).decode()
    return f'{{"said":{said}{seen_text(vector, known)}'


def seen_text(vector: LaneVector, known: int) -> str:
    """How that text ends: the lanes. No text in front of it can hold these quotes unescaped."""
    dated = {name: None if moment is None else time_encode(moment) for name, moment in vector.dated.items()}
    lanes = {name: lane.to_json() for name, lane in vector.lanes.items()}
    return f',"seen":{canonical.encode_known({"lanes": lanes, "dated": dated, "known": known}).decode()}}}'


def views(reader: CaseReader, rows: Sequence[CaseRow]) -> Iterator[CaseView]:
    shown, stale = reader.shown([row.case for row in rows]), reader.stale([row.case for row in rows])
    for row in rows:
        value = canonical.decode(shown[row.case].encode())
        seen, said = value["seen"], value["said"]
        lanes = {name: restore_lane(name, lane) for name, lane in seen["lanes"].items()}
        # A recall reaches cases by their rows alone: then what was said before it is over.
        reasons = said["reasons"] if said["state"] == row.stands else canonical.decode(row.reasons.encode())
        yield CaseView(
            row,
            tuple(Reason(item["code"], item["lane"], item["says"]) for item in reasons),
            lanes,
            seen["dated"],
            seen["known"],
            row.case in stale,
        )


def case_file(reader: CaseReader, case: str, bundle: bytes | None) -> CaseFile:
    """One case with its journal, and with its evidence when somebody opened it. Raises ``case.unknown``."""
    row = reader.row(case)
    if row is None:
        raise UsageError("case.unknown", f"there is no case {case[:64]}", param="case", status=404)
    events = tuple(parse_event(stored.raw) for stored in reader.events_of(case))
    (view,) = views(reader, [row])
    policy = policy_by_digest(reader, row.queue, row.policy)
    return CaseFile(view, load_case(reader, case), policy, events, bundle)
