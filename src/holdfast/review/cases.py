"""A case: what its events add up to (``spec/case.md`` §3).

:func:`fold` is pure and is the only meaning a case has: rows, lists and pages are made from it and can be thrown away.
An event that cannot follow on what came before raises ``case.history``: a journal that holds one was not written by
these rules.

Not covered: whether the gate was right to say what it said (the desk asks it, ``audit`` checks the chain).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from holdfast.core import canonical
from holdfast.core.encoding import sha256_hex, time_decode, time_encode
from holdfast.errors import RefusedError
from holdfast.ports.case_store import CaseMarks, CaseRow
from holdfast.review.events import MAX_TEXT, STATE_OF, Event
from holdfast.verifier.gate import Decision, GateResult, History, Reason, Release

LET_THROUGH = ("CLEAR", "PROVISIONAL")
"""The states in which a case is handed out."""
HAND_OUT_DOMAIN = b"urn:holdfast:hand-out:v1\x00"
"""What a hand-out's key is derived under (``case.md`` §5)."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A hand-out that has not been acknowledged: to whom, under which idempotency key (hex), until when."""

    consumer: str
    key: str
    until: dt.datetime


@dataclass(frozen=True, slots=True)
class Case:
    """One case as its events leave it."""

    id: str
    queue: str
    run: str
    subject: str | None
    requester: str | None
    """Who asked for the run, as far as the gateway said: a key, a workspace or a person."""
    opened_at: dt.datetime
    opened_seq: int
    last_seq: int
    changed_at: dt.datetime
    state: str = "HOLD"
    reasons: tuple[Reason, ...] = ()
    policy: str | None = None
    """Digest of the policy of the gate's last word."""
    clear_until: dt.datetime | None = None
    released_early: bool = False
    lanes: str | None = None
    """Digest of the lane vector last appraised."""
    trust: str | None = None
    bundle: str | None = None
    known: int = 0
    cited: frozenset[str] = frozenset()
    """Digests of every bundle that an event names."""
    decisions: tuple[Decision, ...] = ()
    release: Release | None = None
    relied: bool = False
    recalled: tuple[str, ...] = ()
    claimed_by: str | None = None
    claimed_until: dt.datetime | None = None
    viewed: Mapping[str, str | None] = field(default_factory=dict)
    """By person: digest of the lane vector they last had before them."""
    let_through_seq: int | None = None
    """Number of the event that first let it through since it was opened or reopened."""
    lease: Lease | None = None
    handed_over_at: dt.datetime | None = None
    dependants: tuple[tuple[str, str], ...] = ()
    flags: tuple[str, ...] = ()
    """Cases it relied on that ran out of their early release, or were rejected after they had been let through."""
    led: str | None = None
    """Digest of the list of what it came after, where it is an act or an agent run."""
    act: tuple[str, str] | None = None
    """Of an act: its tool, and what that does outside."""
    agent: str | None = None
    """The agent run that it came after the runs of; of an act, the one that proposed it."""
    amended: str | None = None
    """The run of the act that was proposed in its place."""
    label_moved_at: dt.datetime | None = None
    """When its label last came to mean another artifact while it was open."""
    marks: CaseMarks = field(default_factory=CaseMarks)
    """What statistics ask of it."""

    @property
    def history(self) -> History:
        """What the gate has to know of the past."""
        return History(self.relied, self.recalled, self.released_early, self.label_moved_at)

    def holder(self, at: dt.datetime) -> str | None:
        """Who has claimed it, while the claim lasts."""
        return self.claimed_by if self.claimed_until is not None and at < self.claimed_until else None

    def taker(self, at: dt.datetime) -> Lease | None:
        """The hand-out that is under way, while it lasts."""
        lease = self.lease
        return lease if lease is not None and self.handed_over_at is None and at < lease.until else None

    def acted(self, person: str, policy: str | None) -> bool:
        """Whether a person has approved or rejected under a policy since the last reopening, and since the label last
        moved."""
        for decision in reversed(self.decisions):
            if decision.act == "reopen" or (self.label_moved_at is not None and decision.at <= self.label_moved_at):
                return False
            if decision.person == person and decision.policy_digest == policy:
                return True
        return False

    @property
    def hand_out_key(self) -> str | None:
        """Idempotency key (hex) of handing out what was let through: the same until the case is reopened, so that a
        consumer that did the work and could not say so recognises it."""
        if self.let_through_seq is None:
            return None
        return sha256_hex(HAND_OUT_DOMAIN + f"{self.id}/{self.let_through_seq}".encode())

    def says_the_same(self, result: GateResult) -> bool:
        """Whether the gate has already said this: then it needs no event."""
        return (
            self.policy == result.policy_digest
            and self.state == result.state
            and self.clear_until == _milliseconds(result.clear_until)
            and self.released_early == result.released_early
            and [(reason.code, reason.lane) for reason in self.reasons]
            == [(reason.code, reason.lane) for reason in result.reasons]
        )


def fold(events: Iterable[Event]) -> Case | None:
    """The case that these events (of one case, in order) add up to; None for no events. Raises ``case.history``."""
    case: Case | None = None
    for event in events:
        case = apply_event(case, event)
    return case


def apply_event(case: Case | None, event: Event) -> Case:
    """One event further."""
    if case is None:
        if event.kind != "opened" or event.case is None:
            raise RefusedError("case.history", f"event {event.seq} is about a case that was never opened")
        names = [event.body.get(name) for name in ("queue", "run", "subject", "requester")]
        if not all(isinstance(name, str) for name in names[:2]):
            raise RefusedError("case.history", f"event {event.seq} opens a case without a queue and a run")
        queue, run, subject, requester = names
        return Case(
            event.case,
            str(queue),
            str(run),
            subject,
            requester,
            opened_at=event.at,
            opened_seq=event.seq,
            last_seq=event.seq,
            changed_at=event.at,
            policy=event.policy,
        )
    step = _STEPS.get(event.kind)
    if step is None or event.case != case.id or event.seq <= case.last_seq:
        raise RefusedError("case.history", f"event {event.seq} ({event.kind}) cannot follow in case {case.id}")
    try:
        return replace(case, last_seq=event.seq, changed_at=event.at, **step(case, event))
    except (KeyError, TypeError) as error:
        raise RefusedError("case.history", f"event {event.seq} ({event.kind}) lacks what its kind needs") from error


_Step: TypeAlias = "Callable[[Case, Event], dict[str, Any]]"


def _nothing(_: Case, __: Event) -> dict[str, Any]:
    return {}


def _appraised(case: Case, event: Event) -> dict[str, Any]:
    body = event.body
    return {
        "lanes": event.lanes,
        "trust": body["trust"],
        "bundle": body["bundle"],
        "known": body["known"],
        "cited": case.cited | {body["bundle"]},
    }


def _claimed(_: Case, event: Event) -> dict[str, Any]:
    return {"claimed_by": event.actor.id, "claimed_until": time_decode(event.body["until"])}


def _let_go(_: Case, __: Event) -> dict[str, Any]:
    return {"claimed_by": None, "claimed_until": None}


def _viewed(case: Case, event: Event) -> dict[str, Any]:
    return {"viewed": {**case.viewed, event.actor.id: event.lanes}}


def _decided(case: Case, event: Event) -> dict[str, Any]:
    body = event.body
    decision = Decision(
        event.actor.id,
        body["role"],
        body["act"],
        event.at,
        event.lanes or "",
        event.policy or "",
        requester=event.actor.id == case.requester,
    )
    changed: dict[str, Any] = {"decisions": (*case.decisions, decision)}
    if decision.act == "reopen":
        # What was let through before, and what was recalled, is over: the case begins again, its marks stay.
        changed |= {
            "relied": False,
            "recalled": (),
            "release": None,
            "let_through_seq": None,
            "lease": None,
            "handed_over_at": None,
            "flags": (),
        }
    return changed


def _released(case: Case, event: Event) -> dict[str, Any]:
    body = event.body
    release = Release(
        event.actor.id,
        body["role"],
        event.at,
        time_decode(body["until"]),
        event.policy or "",
        requester=event.actor.id == case.requester,
    )
    return {"release": release}


def _gate(case: Case, event: Event) -> dict[str, Any]:
    body, state = event.body, STATE_OF[event.kind]
    until = body["clear_until"]
    changed: dict[str, Any] = {
        "state": state,
        "policy": event.policy,
        "reasons": tuple(Reason(item["code"], item["lane"], item["says"]) for item in body["reasons"]),
        "clear_until": None if until is None else time_decode(until),
        "released_early": case.released_early or body["released_early"],
    }
    if state in LET_THROUGH:
        changed["relied"] = True
        if case.let_through_seq is None:
            changed["let_through_seq"] = event.seq
    if state == "RECALLED":
        changed["recalled"] = (*case.recalled, body["because"])
    changed["marks"] = _marked(case, state, early=changed["released_early"])
    return changed


def _marked(case: Case, state: str, *, early: bool) -> CaseMarks:
    """What a word of the gate adds to what statistics ask."""
    marks, late = case.marks, state == "REJECTED" and case.state in LET_THROUGH
    return replace(
        marks,
        cleared=int(marks.cleared or state == "CLEAR"),
        released_early=int(early),
        rejected=int(marks.rejected or state == "REJECTED"),
        rejected_late=int(marks.rejected_late or late),
        recalls=marks.recalls + (state == "RECALLED"),
    )


def _handed_out(_: Case, event: Event) -> dict[str, Any]:
    body = event.body
    return {"lease": Lease(body["consumer"], body["key"], time_decode(body["until"]))}


def _handed_back(_: Case, __: Event) -> dict[str, Any]:
    return {"lease": None}


def _handed_over(_: Case, event: Event) -> dict[str, Any]:
    return {"handed_over_at": event.at}


def _dependant_added(case: Case, event: Event) -> dict[str, Any]:
    return {"dependants": (*case.dependants, (event.body["kind"], event.body["target"]))}


def _led(case: Case, event: Event) -> dict[str, Any]:
    act = event.body["act"]
    if case.led is not None or not isinstance(event.body["under"], list):
        raise KeyError
    under = event.body["under"]
    return {
        "led": str(event.body["children"]),
        "act": None if act is None else (act["tool"], act["effect"]),
        "agent": str(under[0]["run"]) if under else None,
    }


def _amended(case: Case, event: Event) -> dict[str, Any]:
    if case.act is None or case.amended is not None or case.state in LET_THROUGH:
        raise KeyError
    return {"amended": str(event.body["run"])}


def _flagged(case: Case, event: Event) -> dict[str, Any]:
    base = event.body["base"]
    return {"flags": case.flags if base in case.flags else (*case.flags, base)}


def _marked_stale(case: Case, event: Event) -> dict[str, Any]:
    if not {"label", "from", "to", "moved"} <= event.body.keys():
        raise KeyError
    return {"label_moved_at": event.at, "marks": replace(case.marks, stale=1)}


_STEPS: Mapping[str, _Step] = {
    "appraised": _appraised,
    "claimed": _claimed,
    "let_go": _let_go,
    "viewed": _viewed,
    "commented": _nothing,
    "decided": _decided,
    "released": _released,
    "cleared": _gate,
    "provisional": _gate,
    "held": _gate,
    "rejected": _gate,
    "recalled": _gate,
    "handed_out": _handed_out,
    "handed_back": _handed_back,
    "handed_over": _handed_over,
    "unsealed": _nothing,
    "dependant_added": _dependant_added,
    "led": _led,
    "amended": _amended,
    "flagged": _flagged,
    "marked_stale": _marked_stale,
    "statement_logged": _nothing,
}
"""What each kind of event changes (``case.md`` §3)."""


def row_of(case: Case, *, bundle: str | None, due_at: dt.datetime | None) -> CaseRow:
    """The row of a case. ``bundle`` and ``due_at`` are the desk's: neither follows from the events alone."""
    lease = case.lease
    return CaseRow(
        case=case.id,
        opened_seq=case.opened_seq,
        last_seq=case.last_seq,
        queue=case.queue,
        run=case.run,
        subject=case.subject,
        requester=case.requester,
        opened_at=time_encode(case.opened_at),
        changed_at=time_encode(case.changed_at),
        stands=case.state,
        reasons=reasons_text(case.reasons),
        policy=case.policy or "",
        vector=case.lanes,
        trust=case.trust,
        bundle=bundle,
        clear_until=_text(case.clear_until),
        released_early=int(case.released_early),
        relied=int(case.relied),
        claimed_by=case.claimed_by,
        claimed_until=_text(case.claimed_until),
        consumer=lease.consumer if lease else None,
        handed_until=_text(lease.until) if lease else None,
        handed_at=_text(case.handed_over_at),
        flags=len(case.flags),
        due_at=_text(due_at),
    )


def reasons_text(reasons: Iterable[Reason]) -> str:
    """Reasons as the text that a row keeps."""
    return canonical.encode_known([reason.to_json() for reason in reasons]).decode()


def gate_body(result: GateResult) -> dict[str, Any]:
    """The body of the event by which the gate says something new."""
    until = _milliseconds(result.clear_until)
    body: dict[str, Any] = {
        "reasons": [reason.to_json() for reason in result.reasons],
        "clear_until": None if until is None else time_encode(until),
        "released_early": result.released_early,
    }
    if result.state == "RECALLED":
        body["because"] = because(result)
    return body


def because(result: GateResult) -> str:
    """The cause of a recall that the gate found itself, as a sentence without a full stop."""
    refuted = [reason for reason in result.reasons if reason.code == "gate.refuted"]
    first = (refuted or list(result.reasons))[0]
    return first.says.rstrip(".")[:MAX_TEXT]


def _milliseconds(moment: dt.datetime | None) -> dt.datetime | None:
    """A moment as it can be written (``conventions.md`` §2(3)), rounded down: a clearance never lasts longer."""
    return None if moment is None else moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _text(moment: dt.datetime | None) -> str | None:
    return None if moment is None else time_encode(moment)
