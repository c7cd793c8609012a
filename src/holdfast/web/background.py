"""A case's background (``review.background``) as its page and its twin show it.

Lane by lane, and lane beside lane: nothing here draws them together. Names of models come from outside; they are shown
as what a provider claims.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.core.encoding import time_encode
from holdfast.nodes.panel.views import QUESTIONS, LaneView
from holdfast.ports.case_store import CaseFacts
from holdfast.review.background import ALIKE, Background, Decided
from holdfast.review.facts import artifact_basis
from holdfast.review.views import CaseFile
from holdfast.verifier.lanes import LANES, Lane
from holdfast.web.axis import axis_of, step_json
from holdfast.web.paid import paid_of


def privacy_of(lanes: Sequence[LaneView]) -> LaneView:
    """The lane that tells who could see a prompt: it stands beside images too."""
    return next(lane for lane in lanes if lane.name == "privacy")


def lane_view(lane: Lane) -> LaneView:
    """A lane for a template."""
    name = lane.name
    return LaneView(
        name, QUESTIONS[name], lane.state, lane.basis, lane.says, lane.does_not_say, lane.evidence, lane.hops
    )


def shown_background(background: Background, file: CaseFile) -> dict[str, Any]:
    """A background for a template."""
    checks = background.appraisal.transcript
    return {
        "axis": axis_of(background.moments, file.events),
        "checks": {name: [check for check in checks if name in check.lanes] for name in LANES},
        "made": len(checks),
        "evidence": background.evidence,
        "decided": [_shown_decided(item, background.appraisal.lanes) for item in background.decided],
        "facts": background.facts,
        "moved": background.moved,
        "alike": [
            {"kind": item.kind, "title": ALIKE[item.kind], "cases": item.cases, "more": item.more}
            for item in background.alike
        ],
    }


def _shown_decided(item: Decided, now: Mapping[str, Lane]) -> dict[str, Any]:
    document = item.document
    recorded = {
        "rule": document.rule if document else None,
        "threshold": document.threshold if document else None,
        "framing": document.framing if document else None,
    }
    return {
        "person": item.event.actor.id,
        "act": item.act,
        "role": item.role,
        "at": time_encode(item.event.at),
        "seq": item.event.seq,
        "reason": item.reason,
        "recorded": recorded,
        "until": item.event.body.get("until"),
        "lanes": [] if item.lanes is None else [lane_view(item.lanes[name]) for name in LANES],
        "vector": item.event.lanes,
        "policy": item.event.policy,
        "differing": item.differing,
        "now": {name: lane_view(now[name]) for name in item.differing},
    }


def background_json(background: Background, file: CaseFile) -> dict[str, Any]:
    """A background for programs: what the page shows beyond the case itself."""
    return {
        "chronology": [step_json(step) for step in axis_of(background.moments, file.events)],
        "transcript": [check.to_json() for check in background.appraisal.transcript],
        "evidence": dict(background.evidence),
        "payment": None if (paid := paid_of(background.appraisal)) is None else paid.to_json(),
        "decided": [_decided_json(item) for item in background.decided],
        "facts": facts_json(background.facts),
        "label_moved": None
        if background.moved is None
        else {
            "label": background.moved.label,
            "from": background.moved.before,
            "to": background.moved.after,
            "at": background.moved.at,
            "closed": background.moved.closed,
        },
        "alike": {item.kind: [row.case for row in item.cases] for item in background.alike},
    }


def _decided_json(item: Decided) -> dict[str, Any]:
    document = item.document
    return {
        "event": item.event.seq,
        "at": time_encode(item.event.at),
        "person": item.event.actor.id,
        "role": item.role,
        "act": item.act,
        "reason": item.reason,
        "rule": document.rule if document else None,
        "threshold": document.threshold if document else None,
        "framing": document.framing if document else None,
        "policy": item.event.policy,
        "lanes_digest": item.event.lanes,
        "lanes": None
        if item.lanes is None
        else {name: {"state": lane.state, "basis": lane.basis} for name, lane in item.lanes.items()},
        "differing_now": list(item.differing),
    }


def facts_json(facts: CaseFacts | None) -> dict[str, Any] | None:
    """What the evidence names; the artifact always with what it rests on."""
    if facts is None:
        return None
    artifact = None
    if facts.artifact is not None:
        artifact = {
            "digest": facts.artifact,
            "basis": artifact_basis(facts.upstream),
            "upstream": facts.upstream,
            "model": facts.served,
            "system_fingerprint": facts.fingerprint,
        }
    return {"run_at": facts.run_at, "label": facts.label, "artifact": artifact}
