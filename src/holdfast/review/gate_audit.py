"""Whether the gate could have said what an event says it said (``spec/case.md`` §10).

The gate is pure, so its word can be asked for again: from the lane vector and the policy that an event names, and from
the decisions before it. Only words that let a case through are asked for; a case that was held back harmed nobody.

Not covered: ages of evidence. A vector does not say since when its lanes are dated (``gate.md`` §1), so the gate is
asked twice, with lanes that are as young as can be and with lanes of no date at all, and either word will do: a case
whose proof had grown too old is let through by a release alone. And whether the vector was what the evidence said:
appraise it again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from holdfast.core import canonical
from holdfast.core.encoding import sha256_hex
from holdfast.errors import HoldfastError
from holdfast.review.cases import Case
from holdfast.review.events import Event
from holdfast.verifier.gate import LANE_VECTOR_TYPE, LaneVector, decide
from holdfast.verifier.lanes import BASES, LANES, STATES, Lane
from holdfast.verifier.queue_policy import QueuePolicy, parse_queue_policy_document

Documents = Callable[[str], bytes | None]
"""Digest (hex) to the document kept under it, or None."""
LETS_THROUGH = {"cleared": "CLEAR", "provisional": "PROVISIONAL"}
"""The events that let a case through, and the gate's word for each."""


def refuse_word(case: Case | None, event: Event, policies: Documents, lanes: Documents) -> str | None:
    """Why the gate could not have said this of a case that stood like that; None for what it could, for words that
    hold a case back, and where what the event names is not there: say that on its own account."""
    wanted = LETS_THROUGH.get(event.kind)
    if case is None or wanted is None:
        return None
    policy, vector = _policy(event.policy, policies), _vector(event.lanes, lanes)
    if policy is None or vector is None:
        return None
    young, old = (replace(vector, dated=dict.fromkeys(LANES, dated)) for dated in (event.at, None))
    answers = [decide(policy, aged, case.decisions, case.release, case.history, event.at) for aged in (young, old)]
    if any(answer.state == wanted for answer in answers):
        return None
    because = "; ".join(reason.says.rstrip(".") for reason in answers[0].reasons)
    return f"event {event.seq} says {wanted}, and by what it names the gate says {answers[0].state}: {because}"


def _policy(digest: str | None, policies: Documents) -> QueuePolicy | None:
    raw = policies(digest) if digest is not None else None
    if raw is None or sha256_hex(raw) != digest:
        return None
    try:
        return parse_queue_policy_document(raw)
    except HoldfastError:
        return None


def _vector(digest: str | None, lanes: Documents) -> LaneVector | None:
    """The vector under a digest, no lane of it dated; None where it is missing or is none."""
    raw = lanes(digest) if digest is not None else None
    if raw is None or sha256_hex(raw) != digest:
        return None
    try:
        value = canonical.decode_signed(raw)
        if value.keys() != {"type", "run", "lanes"} or value["type"] != LANE_VECTOR_TYPE:
            return None
        found = {name: _lane(name, value["lanes"][name]) for name in LANES}
    except (HoldfastError, KeyError, TypeError):
        return None
    return LaneVector(value["run"], found, dict.fromkeys(LANES))


def _lane(name: str, value: Mapping[str, Any]) -> Lane:
    state, basis, evidence = value["state"], value["basis"], value["evidence"]
    if state not in STATES or (basis is not None and basis not in BASES) or not isinstance(evidence, list):
        raise TypeError
    return Lane(name, state, basis, "", tuple(evidence), tuple(value.get("deviations", ())))
