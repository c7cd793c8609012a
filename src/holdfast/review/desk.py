"""The desk: every command about cases, each one transaction (``spec/case.md`` §4 to §9).

A command reads the evidence, appraises it for now under the trust handed in, asks the gate, and appends what follows.
Nothing but the gate's answer makes a case CLEAR: no command has a way to. Time only ever enters through the clock, and
the journal's times never go back.

Deny by default: :data:`MAY` lists who may do what, and roles are looked at when somebody acts, not when they signed in.
Four eyes: one person fills one reviewer's place, and nobody decides a case whose run their own key asked for. While a
case is HOLD, what lists and hand-outs carry of it is its lanes and reasons, never its evidence: whoever wants to read
the answer opens the case, and is in its journal for it.

Not covered: who somebody is (``review.people``), signing decisions (a :class:`~holdfast.review.outbox.DecisionLog`
does), and what a consumer did with a case it was handed. Blocking, and not thread-safe: one worker thread calls it.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from holdfast.core import canonical
from holdfast.core.bundles import Bundle, StatementItem, build_bundle, parse_bundle
from holdfast.core.decisions import DecisionDocument
from holdfast.core.encoding import hex_decode, time_decode, time_encode
from holdfast.core.rounds import Candidate, FinalityMessage
from holdfast.core.statements import is_code, is_run_id
from holdfast.core.trust import Trust
from holdfast.errors import ConflictError, HoldfastError, RefusedError, UsageError
from holdfast.ports.case_store import CaseFilter, CaseReader, CaseRow, CaseStore, Head
from holdfast.ports.clock import Clock
from holdfast.review.audit import AuditReport, audit_store
from holdfast.review.background import Background, background_of
from holdfast.review.cases import LET_THROUGH, Case, gate_body
from holdfast.review.contents import evidence_of
from holdfast.review.decisions import carry_decisions
from holdfast.review.disclosure import closed_bundle
from holdfast.review.events import GATE, KIND_OF, SYSTEM, Actor, Event, parse_event, parse_text
from holdfast.review.export import export_case
from holdfast.review.facts import MAX_NAME
from holdfast.review.index import note_appraisal
from holdfast.review.labels import follow_label, report_label
from holdfast.review.outbox import DecisionLog, WaitingAct
from holdfast.review.queues import (
    Move,
    PolicyChange,
    Queue,
    appraisal_policy,
    empty_policy,
    moved,
    policy_by_digest,
    policy_of_queue,
)
from holdfast.review.reading import Reading, Stop, read_at, read_known, stop_at
from holdfast.review.recall import (
    Recalled,
    RecallPlan,
    flag_dependants,
    order_recall,
    plan_recall,
    recall_overturned,
    recall_withdrawn,
    standing_on,
)
from holdfast.review.statistics import Statistics, statistics_of
from holdfast.review.work import Work, begin, load_case, rows_by_id
from holdfast.verifier.appraisal import appraise
from holdfast.verifier.gate import GateResult, LaneVector, Reason, Release, decide, refuse_release, vector_of
from holdfast.verifier.judgement import rule_in_request
from holdfast.verifier.lanes import LANES, Lane, restore_lane
from holdfast.verifier.overturned import refuted_statements
from holdfast.verifier.queue_policy import QueuePolicy, parse_queue_policy
from holdfast.verifier.reliance import Reliance

MAY: Mapping[str, frozenset[str]] = {
    "open": frozenset({"system", "person:reviewer", "person:approver", "key:case:open"}),
    "note": frozenset({"system"}),
    "view": frozenset({"person:viewer", "person:reviewer", "person:approver", "person:auditor"}),
    "claim": frozenset({"person:reviewer", "person:approver"}),
    "comment": frozenset({"person:reviewer", "person:approver", "person:auditor"}),
    "decide": frozenset({"person:admin", "person:approver", "person:policy_owner", "person:reviewer"}),
    "release": frozenset({"person:admin", "person:approver", "person:policy_owner", "person:reviewer"}),
    "reopen": frozenset({"person:approver"}),
    "recall": frozenset({"system", "person:approver"}),
    "add_dependant": frozenset({"system", "person:reviewer", "person:approver", "key:queue:take"}),
    "take": frozenset({"system", "key:queue:take"}),
    "unseal": frozenset({"system", "key:queue:take"}),
    "change_policy": frozenset({"system", "person:policy_owner"}),
    "note_label": frozenset({"system"}),
    "list": frozenset(
        {
            "system",
            "key:queue:read",
            "key:case:read",
            *(f"person:{role}" for role in ("viewer", "reviewer", "approver", "auditor", "policy_owner", "admin")),
        }
    ),
    "evidence": frozenset(
        {"system", "key:case:read", *(f"person:{role}" for role in ("viewer", "reviewer", "approver", "auditor"))}
    ),
    "export": frozenset({"system", "person:auditor", "key:case:export"}),
    "audit": frozenset({"system", "person:auditor", "person:admin"}),
    "system": frozenset({"system"}),
}
"""Who may do what: ``<kind of actor>:<role or scope>``, or a kind that needs none (``case.md`` §4). What a queue's
policy asks for comes on top: to decide, its judgement's role; to release early, one of its roles."""
CLAIM_S = 900
"""How long a claim lasts unless it is renewed (``case.md`` §5)."""
HAND_OUT_S = 60
"""How long a consumer has to acknowledge a case (``case.md`` §5)."""
MAX_LEASE_S = 86_400
"""Longest claim or hand-out, in seconds (``case.md`` §5)."""
MAX_PAGE = 500
"""Most cases of one page."""
MOST_FOLDED = 4096
"""Cases kept in memory between transactions."""
MOST_BRIEFS = 65_536
"""Bundles of which is remembered when they were exported."""
MOST_PASSES = 3
"""How often one page of a list is read again because cases on it moved."""
MAX_LOOKED_AT = 500
"""Most cases that one change of policy looks at beyond those that are let through."""


@dataclass(frozen=True, slots=True)
class Opening:
    """A case to open: a run, a queue, what the decision is about, and who asked for the run."""

    run: str
    queue: str
    subject: str | None = None
    requester: str | None = None


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


@dataclass(frozen=True, slots=True)
class HandOut:
    """A case that the gate let through, handed to one consumer until ``until``."""

    view: CaseView
    consumer: str
    key: str
    """Idempotency key (hex)."""
    until: dt.datetime
    bundle: bytes


@dataclass(frozen=True, slots=True)
class Next:
    """What a queue has for a consumer: at most one case that the gate let through, and apart from it, only when asked
    for, cases that it holds: to look at, under no lease, without their evidence."""

    handed: HandOut | None
    held: tuple[CaseView, ...] = ()


@dataclass(frozen=True, slots=True)
class Tick:
    """What a turn of the panel looked at, what moved, and whether there is more to look at right away."""

    seen: int
    moved: tuple[tuple[str, str, str], ...]
    """(case, state before, state after)."""
    more: bool
    recalled: tuple[Recalled, ...] = ()
    """What was recalled since the last turn because trust no longer stands behind what it rested on."""


@dataclass(frozen=True, slots=True)
class TakenIn:
    """What became of one run's evidence: the lanes that are still pending in one of its cases, or why it was not taken
    in."""

    run: str
    pending: tuple[str, ...]
    trouble: HoldfastError | None = None


@dataclass(slots=True)
class _Look:
    """A case whose evidence was appraised in this transaction."""

    case: Case
    policy: QueuePolicy
    vector: LaneVector
    trust: Trust | None
    bundle: str
    known: int
    relied: tuple[Reliance, ...]
    """What the lanes that the policy asks for rest on in trust."""
    overturned: frozenset[str]
    news: bool
    """Whether the vector or the trust is another than before."""


class Desk:
    """Commands about cases. ``trust`` gives the trust in force; ``roles`` gives a person's roles at this moment, and
    without it an actor's own are believed."""

    def __init__(
        self,
        store: CaseStore,
        clock: Clock,
        trust: Callable[[], Trust | None],
        *,
        roles: Callable[[str], Collection[str]] | None = None,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        self._store = store
        self._clock = clock
        self._trust = trust
        self._roles = roles
        self._new_id = new_id
        self._turning: tuple[str, tuple[dt.datetime, ...]] = ("", ())
        self._believed: Trust | None = None
        """The trust of the transaction under way: one for all of it."""
        self._stood_under: str | None = None
        """Digest of the trust under which nothing rests any more on what was taken back."""
        self._recalled: list[Recalled] = []
        self._briefs: dict[str, tuple[dt.datetime, bool]] = {}
        self._folded: dict[str, Case] = {}
        """Cases as committed transactions left them: not every look reads a whole journal."""
        self.on_moved: Callable[[Collection[tuple[str, str]]], None] | None = None
        """Told of every commit that changed what is shown: (case, queue) of each case, the case empty for a queue's
        policy. Called on the thread of whoever called the desk."""

    # --- cases come, and evidence comes ---

    def open(
        self, actor: Actor, run: str, queue: str, *, subject: str | None = None, requester: str | None = None
    ) -> Case:
        """Open a case for a run in a queue; the case that is there already when there is one. A queue nobody wrote a
        policy for refuses it and says so."""
        return self.open_many(actor, [Opening(run, queue, subject, requester)])[0]

    def open_by_hand(self, actor: Actor, run: str, queue: str, *, subject: str | None = None) -> tuple[Case, bool]:
        """Open a case for a run whose caller named no queue; says whether it is new. Raises ``queue.unknown`` for a
        queue without a policy.

        Who asked for the run is taken from its other cases. Where none says so, whoever opens the case counts as the
        requester: nobody opens a case of their own run and then decides it (``case.md`` §4(7)).
        """
        self._permit(actor, "open")
        with self._begin() as work:
            if work.writer.queue(queue) is None:
                hint = "give it a policy first: 'holdfast policy --help'"
                raise UsageError("queue.unknown", f"no queue {queue[:64]} has a policy here", hint=hint, status=404)
            others = [work.case(row.case) for row in work.writer.rows(CaseFilter(run=run, limit=MAX_PAGE))]
            requester = next((case.requester for case in others if case.requester is not None), actor.id)
            opening = Opening(run, queue, subject, requester)
            _check_opening(opening)
            known = work.opened(run, queue)
            return self._open(work, actor, opening), known is None

    def open_many(self, actor: Actor, openings: Sequence[Opening]) -> list[Case]:
        """Open several cases in one transaction."""
        self._permit(actor, "open")
        for opening in openings:
            _check_opening(opening)
        with self._begin() as work:
            return [self._open(work, actor, opening) for opening in openings]

    def _open(self, work: Work, actor: Actor, opening: Opening) -> Case:
        known = work.opened(opening.run, opening.queue)
        if known is not None:
            return work.case(known)
        case, policy = self._new_id(), work.policy(opening.queue)
        body = {
            "queue": opening.queue,
            "run": opening.run,
            "subject": opening.subject,
            "requester": opening.requester,
        }
        work.emit("opened", actor, case=case, body=body, policy=policy.digest)
        raw = build_bundle(opening.run, work.at, [])
        return self._settle(work, self._look(work, case, raw), "opened")

    def note_bundle(self, actor: Actor, case: str, raw: bytes) -> Case:
        """Take in evidence for a case. What was exported earlier than what is there changes nothing; what is there of
        decisions stays there, for a gateway's bundle knows nothing of them. Raises ``bundle.*`` for bytes that are no
        bundle, and ``case.other_run`` for another run's."""
        self._permit(actor, "note")
        bundle = _parsed(raw)
        with self._begin() as work:
            found = work.case(case)
            if bundle.run != found.run:
                raise RefusedError("case.other_run", f"this is evidence of run {bundle.run}, not of {found.run}")
            self._note_evidence(work, case, bundle, raw)
            return work.case(case)

    def take_in(self, actor: Actor, evidence: Sequence[tuple[str, bytes]]) -> list[TakenIn]:
        """Take in evidence of many runs, (run, bundle) each, for every case of each run: in one transaction, so that
        what one round moves is on disk together. A bundle that is none is told beside its run and stops no other."""
        self._permit(actor, "note")
        read = [(run, raw, _read_evidence(run, raw)) for run, raw in evidence]
        taken: list[TakenIn] = []
        with self._begin() as work:
            for run, raw, bundle in read:
                if isinstance(bundle, HoldfastError):
                    taken.append(TakenIn(run, (), bundle))
                    continue
                pending: dict[str, None] = {}
                for row in work.writer.rows(CaseFilter(run=run, limit=MAX_PAGE)):
                    pending |= dict.fromkeys(self._note_evidence(work, row.case, bundle, raw))
                taken.append(TakenIn(run, tuple(pending)))
        return taken

    def _note_evidence(self, work: Work, case: str, bundle: Bundle, raw: bytes) -> list[str]:
        """New evidence for one case, unless what is there was exported later. Returns the lanes that are pending."""
        exported_at, decides = self._held(work, case)
        if bundle.exported_at >= exported_at:
            look = self._look(work, case, carry_decisions(self._newest(work, case)[1], raw) if decides else raw)
            if look.bundle == bundle.digest:
                self._briefs[bundle.digest] = bundle.exported_at, _decides(bundle)
            self._settle(work, look, "evidence")
        else:
            look = self._look(work, case, None)
            self._settle(work, look, "time")
        return [lane.name for lane in look.vector.lanes.values() if lane.state == "pending"]

    def tick(self, actor: Actor = SYSTEM, *, limit: int = 100) -> Tick:
        """Look again at cases that time, another trust or another policy may have moved. Call it again at once while
        ``more`` is set: what is let through comes first."""
        self._permit(actor, "system")
        with self._begin() as work:
            trust = self._believed
            due = work.writer.due(time_encode(work.at), trust.digest if trust else None, limit)
            shifts = []
            for row in due:
                before = work.case(row.case).state
                after = self._settle(work, self._look(work, row.case, None), "time").state
                if after != before:
                    shifts.append((row.case, before, after))
        recalled, self._recalled = tuple(self._recalled), []
        return Tick(len(due), tuple(shifts), len(due) == limit, recalled)

    # --- people look and say ---

    def view(self, actor: Actor, case: str) -> CaseFile:
        """Open a case: its file with the evidence, and a ``viewed`` event that says who had which lanes before them."""
        self._permit(actor, "view")
        with self._begin() as work:
            look = self._look(work, case, None, cite=True)
            found = self._settle(work, look, "viewed")
            raw = self._newest(work, case)[1]
            work.emit("viewed", actor, case=case, body={}, lanes=found.lanes, policy=found.policy)
        return self._file(case, raw)

    def claim(self, actor: Actor, case: str, *, lease_s: int = CLAIM_S) -> Case:
        """Take a case on, so that no second desk works on it; again renews. Raises ``case.claimed`` or
        ``case.handed_out``."""
        self._permit(actor, "claim")
        _check_lease(lease_s)
        with self._begin() as work:
            _refuse_held(work.case(case), actor, work.at)
            until = work.at + dt.timedelta(seconds=lease_s)
            self._note(work, case, "claimed", actor, {"until": time_encode(until)})
            return work.case(case)

    def let_go(self, actor: Actor, case: str) -> Case:
        """Give a claim back; without one nothing happens."""
        self._permit(actor, "claim")
        with self._begin() as work:
            if work.case(case).holder(work.at) == actor.id:
                self._note(work, case, "let_go", actor, {})
            return work.case(case)

    def comment(self, actor: Actor, case: str, text: str) -> Case:
        """Say something about a case. It stays for good."""
        self._permit(actor, "comment")
        parse_text(text, "text")
        with self._begin() as work:
            self._note(work, case, "commented", actor, {"text": text})
            return work.case(case)

    # --- people decide ---

    def decide(
        self, actor: Actor, case: str, act: str, *, reason: str, role: str | None = None, lanes: str | None = None
    ) -> Case:
        """Approve or reject, having seen the lanes as they are now.

        ``lanes`` is the digest of the vector that the person decides on; without it, the one they last opened the case
        with. Raises ``case.role``, ``case.own_run``, ``case.claimed``, ``case.handed_out``, ``case.decided_already``,
        ``case.not_viewed``, ``case.lanes_moved`` or ``case.state``. An approval alone clears nothing: the gate does,
        when all else is met.
        """
        held = self._permit(actor, "decide")
        if act not in ("approve", "reject"):
            raise UsageError("case.act", "act is approve or reject", param="act")
        parse_text(reason, "reason")
        with self._begin() as work:
            look = self._look(work, case, None)
            found, policy = self._settle(work, look, "decision"), look.policy
            acting = _role(actor, held, deciding_roles(policy), role, f"decide in the queue {found.queue}")
            _refuse_own(found, actor)
            _refuse_held(found, actor, work.at)
            _refuse_state(found, act, ("HOLD", "PROVISIONAL") if act == "approve" else ("HOLD", *LET_THROUGH))
            if found.handed_over_at is not None and found.state in LET_THROUGH:
                raise ConflictError("case.handed_over", "the case was handed over", hint="a recall takes it back")
            if found.acted(actor.id, policy.digest):
                raise ConflictError("case.decided_already", f"{actor.id} has decided this case under this policy")
            _refuse_unseen(found, actor, lanes)
            self._act(work, look, actor, acting, act, reason, None)
            return self._settle(work, look, "decision")

    def release(
        self,
        actor: Actor,
        case: str,
        *,
        until: dt.datetime,
        reason: str,
        role: str | None = None,
        lanes: str | None = None,
    ) -> Case:
        """Let a case go before its proof, by name, for a reason, until a moment: PROVISIONAL, and marked for good.

        Raises what :meth:`decide` raises, ``case.released_already``, ``case.release`` when the queue's policy does not
        allow it, and ``case.refuted``.
        """
        held = self._permit(actor, "release")
        parse_text(reason, "reason")
        until = until.replace(microsecond=until.microsecond // 1000 * 1000)
        with self._begin() as work:
            look = self._look(work, case, None)
            found, policy = self._settle(work, look, "release"), look.policy
            allowed = policy.early_release
            if allowed is None:
                raise RefusedError("case.release", f"the queue {found.queue} releases nothing early")
            acting = _role(actor, held, set(allowed.roles), role, f"release early in the queue {found.queue}")
            _refuse_own(found, actor)
            _refuse_held(found, actor, work.at)
            _refuse_state(found, "release", ("HOLD",))
            if found.release is not None and found.release.policy_digest == policy.digest:
                raise ConflictError("case.released_already", "a case is released early once", hint="wait for its proof")
            _refuse_unseen(found, actor, lanes)
            why_not = refuse_release(policy, Release(actor.id, acting, work.at, until, policy.digest))
            if why_not is not None:
                raise RefusedError("case.release", why_not.says, param="until")
            self._act(work, look, actor, acting, "release", reason, until)
            found = self._settle(work, look, "release")
            if found.state not in LET_THROUGH:
                says = " ".join(
                    item.says for item in found.reasons if item.code in ("gate.refuted", "gate.policy_empty")
                )
                raise RefusedError("case.refuted", says or "the gate does not let this case go early")
            return found

    def reopen(self, actor: Actor, case: str, *, reason: str, lanes: str | None = None) -> Case:
        """Begin again with a case that was rejected or recalled. Raises what :meth:`decide` raises, and
        ``case.base_recalled`` while a case it relied on stands recalled."""
        held = self._permit(actor, "reopen")
        parse_text(reason, "reason")
        with self._begin() as work:
            look = self._look(work, case, None)
            found = self._settle(work, look, "reopen")
            acting = _role(actor, held, {"approver"}, None, "reopen a case")
            _refuse_own(found, actor)
            _refuse_held(found, actor, work.at)
            _refuse_state(found, "reopen", ("REJECTED", "RECALLED"))
            circle = work.writer.reach([case])  # what relied on it in turn cannot have to come first
            bases = [base for base in work.writer.bases(case) if base not in circle]
            bases = [base for base in bases if work.case(base).state == "RECALLED"]
            if bases:
                raise ConflictError(
                    "case.base_recalled",
                    f"it relied on case {bases[0]}, which stands recalled",
                    hint="reopen that first",
                )
            _refuse_unseen(found, actor, lanes)
            self._act(work, look, actor, acting, "reopen", reason, None)
            work.index(case, _evidence(look.vector), afresh=True)
            work.rest(case, ())
            self._settle(work, look, "reopen")
            self._stand_on_label(work, case)
            return work.case(case)

    def _stand_on_label(self, work: Work, case: str) -> None:
        """A case that is open again stands on its label again, which may have moved meanwhile."""
        facts = work.writer.facts([case]).get(case)
        if facts is not None:
            follow_label(work, case, facts)

    def _act(
        self, work: Work, look: _Look, actor: Actor, role: str, act: str, reason: str, until: dt.datetime | None
    ) -> None:
        """Append a person's act with the document that its statement will commit to."""
        case, need = look.case, look.policy.judgement
        asked = rule_in_request(evidence_of(self._newest(work, case.id)[1], work.at))
        recorded = {name: getattr(need, name, None) or asked.get(name) for name in ("rule", "threshold", "framing")}
        document = DecisionDocument(
            case.id, case.queue, case.run, actor.id, role, act, reason, until, **recorded, at=work.at
        )
        body: dict[str, Any] = {"role": role, "reason": reason, "document": document.raw.decode()}
        body |= {"act": act} if until is None else {"until": time_encode(until)}
        work.emit(
            "decided" if until is None else "released",
            actor,
            case=case.id,
            body=body,
            lanes=look.vector.digest,
            policy=look.policy.digest,
        )
        look.case = work.case(case.id)

    # --- what relied on what ---

    def add_dependant(
        self, actor: Actor, case: str, *, dependant: str | None = None, reference: str | None = None
    ) -> Case:
        """Note that another case, or something outside, relied on a case: a recalled case recalls it at once."""
        self._permit(actor, "add_dependant")
        if (dependant is None) == (reference is None):
            raise UsageError("case.dependant", "name either a case or an outside reference", param="dependant")
        if reference is not None:
            parse_text(reference, "reference")
        kind, target = ("case", dependant) if dependant is not None else ("reference", str(reference))
        with self._begin() as work:
            found = work.case(case)
            if kind == "case":
                work.case(str(target))
            if (kind, target) in found.dependants:
                return found
            if target == case:
                raise UsageError("case.dependant", "a case does not rely on itself", param="dependant")
            self._note(work, case, "dependant_added", actor, {"kind": kind, "target": target})
            work.writer.add_dependant(case, kind, str(target))
            if kind == "case" and found.state == "RECALLED":
                said = f"it relied on case {case}, which was recalled: {found.recalled[-1]}"
                order_recall(work, GATE, None, [str(target)], said, evidence=None)
            return work.case(case)

    def recall(self, actor: Actor, evidence: str, cause: str) -> Recalled:
        """Recall every case that was let through on this evidence (digest, hex), and all that relied on them."""
        held = self._permit(actor, "recall")
        parse_text(cause, "cause")
        hex_decode(evidence, 32)
        role = _role(actor, held, {"approver"}, None, "recall") if actor.kind == "person" else None
        with self._begin() as work:
            direct = standing_on(work.writer, evidence)
            return order_recall(work, actor, role, direct, cause.strip().rstrip("."), evidence=evidence)

    def plan_recall(self, actor: Actor, evidence: str) -> RecallPlan:
        """What :meth:`recall` would reach for this evidence (digest, hex) now; nothing is changed."""
        self._permit(actor, "recall")
        hex_decode(evidence, 32)
        with self._store.read() as reader:
            return plan_recall(reader, evidence)

    def take_verdicts(
        self, actor: Actor, candidate: Candidate, messages: Sequence[FinalityMessage], blob: bytes
    ) -> Recalled:
        """Recall every case that was let through on a statement that a final round refuted, in one transaction.

        Nothing is believed but what the trust in force calls final: raises what ``refuted_statements`` raises.
        """
        self._permit(actor, "note")
        with self._begin() as work:
            if self._believed is None:
                return Recalled()
            refuted = refuted_statements(candidate, messages, blob, self._believed)
            direct = work.writer.relying(refuted)
            said = f"final round {candidate.number} refuted statements that it stood on"
            return order_recall(work, SYSTEM, None, direct, said, evidence=candidate.content.hex())

    def note_label(self, actor: Actor, label: str, artifact: str) -> tuple[str, ...]:
        """Somebody who knows says that a label means another artifact (digest, hex) from now on (``case.md`` §8(8)).

        Open cases that stand on what it meant before are marked, and the gate is asked again about those that are let
        through; returns these. Saying again what is known changes nothing. Raises ``case.label`` and ``encoding.*``.
        """
        self._permit(actor, "note_label")
        if not 0 < len(label) <= MAX_NAME or not label.isprintable():
            raise UsageError("case.label", f"a label is a name of 1 to {MAX_NAME} characters", param="label")
        artifact = hex_decode(artifact, 32).hex()
        with self._begin() as work:
            moved = report_label(work, actor, label, artifact)
            self._ask_about(work, moved)
        return tuple(moved)

    # --- handing out ---

    def hand_out(
        self,
        actor: Actor,
        queue: str,
        consumer: str,
        *,
        include_hold: bool = False,
        lease_s: int = HAND_OUT_S,
        hold_limit: int = 20,
    ) -> Next:
        """The oldest case of a queue that the gate lets through at this moment and that nobody has claimed, under a
        lease; None when there is none.

        Freshness applies again: what ran out since is held again and passed over. With ``include_hold`` the cases that
        are held are shown as well, apart and labelled, without their evidence.
        """
        self._permit(actor, "take")
        _check_lease(lease_s)
        empty_policy(queue)
        if not is_code(consumer):
            raise UsageError("case.consumer", "a consumer's name is a code", param="consumer")
        handed = None
        while handed is None:
            with self._begin() as work:
                row = work.writer.next_of(queue, time_encode(work.at))
                if row is None:
                    break
                handed = self._hand(work, actor, row.case, consumer, lease_s)
        held: tuple[CaseView, ...] = ()
        if include_hold:
            with self._store.read() as reader:
                which = CaseFilter(queue=queue, stands=("HOLD",), limit=min(hold_limit, MAX_PAGE))
                held = tuple(_views(reader, reader.rows(which)))
        if handed is None:
            return Next(None, held)
        case, raw = handed
        with self._store.read() as reader:
            (view,) = _views(reader, reader.rows_of([case.id]))
        lease = case.lease
        if lease is None:
            raise ConflictError("case.lease", "the hand-out was taken back")
        return Next(HandOut(view, lease.consumer, lease.key, lease.until, raw), held)

    def _hand(self, work: Work, actor: Actor, case: str, consumer: str, lease_s: int) -> tuple[Case, bytes] | None:
        """Ask the gate again; hand the case out when it still lets it through."""
        found = self._ask_again(work, case, "hand-out")
        key = found.hand_out_key
        if found.state not in LET_THROUGH or key is None:
            return None
        until = work.at + dt.timedelta(seconds=lease_s)
        body = {"consumer": consumer, "key": key, "until": time_encode(until)}
        self._note(work, case, "handed_out", actor, body)
        return work.case(case), self._newest(work, case)[1]

    def confirm(self, actor: Actor, cases: Sequence[str]) -> dict[str, str]:
        """Where cases stand at this moment: the gate is asked again, as when a case is handed out. By case."""
        self._permit(actor, "system")
        with self._begin() as work:
            return {case: self._ask_again(work, case, "hand-out").state for case in cases}

    def _ask_again(self, work: Work, case: str, cause: str) -> Case:
        """The case as the gate sees it at this moment. Where nothing that it answers to is another than when it was
        last asked, and no moment has come at which time alone moves it, its answer is the same: appraisal and gate are
        pure, and are not made to say it twice (``case.md`` §5(4))."""
        found, due_at = work.case(case), work.due_at_of(case)
        trusted = self._believed.digest if self._believed is not None else None
        same = found.trust == trusted and found.policy == _policy_of_case(work, found).digest
        if found.lanes is not None and same and (due_at is None or work.at < due_at):
            return found
        return self._settle(work, self._look(work, case, None), cause)

    def acknowledge(self, actor: Actor, case: str, consumer: str, key: str) -> Case:
        """The consumer has done its work: the case is handed over. Again is harmless. Raises ``case.lease`` when
        another consumer has it by now. A case that was recalled meanwhile is handed over all the same, for so it was:
        the answer's state says that it has to be taken back."""
        return self._end_lease(actor, case, consumer, key, "handed_over")

    def unseal(self, actor: Actor, case: str) -> Case:
        """Note that a case's answer is opened for whoever was given it sealed (``sealed.md`` §6). The gate is asked
        again, for this moment; raises ``case.held`` unless it lets the case through."""
        self._permit(actor, "unseal")
        with self._begin() as work:
            found = self._settle(work, self._look(work, case, None), "hand-out")
            if found.state in LET_THROUGH:
                self._note(work, case, "unsealed", actor, {})
        if found.state not in LET_THROUGH:
            why = " ".join(reason.says for reason in found.reasons[:1])
            raise ConflictError(
                "case.held",
                f"the gate does not let this case go: it is {found.state}. {why}".strip(),
                hint="ask again once it is CLEAR",
            )
        return found

    def give_back(self, actor: Actor, case: str, consumer: str, key: str) -> Case:
        """The consumer cannot do it: the case is free for the next one."""
        return self._end_lease(actor, case, consumer, key, "handed_back")

    def _end_lease(self, actor: Actor, case: str, consumer: str, key: str, kind: str) -> Case:
        self._permit(actor, "take")
        with self._begin() as work:
            found = work.case(case)
            lease = found.lease
            if lease is None or lease.key != key or lease.consumer != consumer:
                raise ConflictError("case.lease", f"{consumer} does not hold this case", hint="ask for the next one")
            if work.at >= lease.until and found.holder(work.at) is not None:
                raise ConflictError("case.lease", f"{found.claimed_by} took this case on after the lease was over")
            if found.handed_over_at is None:
                self._note(work, case, kind, actor, {"consumer": consumer, "key": key})
            return work.case(case)

    # --- policies ---

    def change_policy(self, actor: Actor, queue: str, text: str) -> PolicyChange:
        """Give a queue a policy (TOML). What the old one let through is looked at in the same transaction; held cases
        follow now and in the next turns."""
        self._permit(actor, "change_policy")
        policy = _policy_for(queue, text)
        with self._begin() as work:
            before = policy_of_queue(work.writer, queue)
            known = work.writer.queue(queue) is not None
            if known and before.digest == policy.digest:
                return PolicyChange(queue, policy.digest, before.digest, (), 0, 0)
            body = {"queue": queue, "before": before.digest if known else None, "document": policy.document.decode()}
            work.emit("policy_changed", actor, case=None, body=body, policy=policy.digest)
            work.set_policy(policy)
            moves, seen = [], 0
            for row in _open_cases(work.writer, queue, policy.digest):
                seen += 1
                state = work.case(row.case).state
                after = self._settle(work, self._look(work, row.case, None), "policy")
                if after.state != state:
                    moves.append(Move(row.case, row.run, state, after.state, after.reasons))
            work.later(lambda writer: writer.mark_due(queue, time_encode(work.at), policy.digest))
            left = _count_open(work.writer, queue) - seen
        return PolicyChange(queue, policy.digest, before.digest, tuple(moves), seen, max(left, 0))

    def what_if(self, actor: Actor, queue: str, text: str) -> PolicyChange:
        """Which open cases a policy would move, and why; nothing is changed."""
        self._permit(actor, "list")
        policy, trust = _policy_for(queue, text), self._trust()
        with self._store.read() as reader:
            at = _moment(reader, self._clock.now())
            before = policy_of_queue(reader, queue)
            rows = list(_open_cases(reader, queue, None))
            moves = []
            for row in rows:
                raw = reader.blob(row.case, row.bundle or "")
                bundle = _parsed(raw) if raw is not None else _parsed(build_bundle(row.run, at, []))
                vector = vector_of(appraise(bundle, trust, appraisal_policy(policy), at))
                case = load_case(reader, row.case)
                result = decide(policy, vector, case.decisions, case.release, case.history, at)
                move = moved(row.case, row.run, row.stands, result)
                if move is not None:
                    moves.append(move)
            left = _count_open(reader, queue) - len(rows)
        return PolicyChange(queue, policy.digest, before.digest, tuple(moves), len(rows), max(left, 0))

    def queues(self, actor: Actor) -> list[Queue]:
        """Every queue with a policy or a case, by name."""
        self._permit(actor, "list")
        with self._store.read() as reader:
            authored, counts = reader.queues(), reader.counts()
            names = sorted({*authored, *(queue for queue, _ in counts)})
            return [
                Queue(
                    name,
                    policy_of_queue(reader, name),
                    name in authored,
                    {stands: number for (queue, stands), number in counts.items() if queue == name},
                )
                for name in names
            ]

    # --- reading ---

    def cases(self, actor: Actor, which: CaseFilter | None = None) -> list[CaseView]:
        """One page of cases, without their evidence. ``after`` is the last row's ``opened_seq``.

        Whatever would be shown as let through, and that time or trust may have moved since it was last looked at, is
        looked at first: no list says CLEAR of what is not (``case.md`` §5(3)). A row that moves out of what was asked
        for once too often stays on the page, as it stands now.
        """
        self._permit(actor, "list")
        which = which or CaseFilter()
        if not 1 <= which.limit <= MAX_PAGE:
            raise UsageError("case.limit", f"a page has 1 to {MAX_PAGE} cases", param="limit")
        rows: list[CaseRow] = []
        for _ in range(MOST_PASSES):
            with self._store.read() as reader:
                rows = reader.rows(which)
                due = self._due_of(reader, rows)
                if not due:
                    return list(_views(reader, rows))
            self.confirm(SYSTEM, due)
        with self._store.read() as reader:
            now = rows_by_id(reader, [row.case for row in rows])
            return list(_views(reader, [now[row.case] for row in rows]))

    def _due_of(self, reader: CaseReader, rows: Iterable[CaseRow]) -> list[str]:
        """Those that are let through as they were last looked at, and may not be at this moment."""
        trust, at = self._trust(), time_encode(_moment(reader, self._clock.now()))
        trusted = trust.digest if trust is not None else None
        return [
            row.case
            for row in rows
            if row.stands in LET_THROUGH and (row.trust != trusted or (row.due_at is not None and row.due_at <= at))
        ]

    def case(self, actor: Actor, case: str) -> CaseFile:
        """One case with its journal, without its evidence: :meth:`view` opens that. Raises ``case.unknown``."""
        self._permit(actor, "list")
        with self._store.read() as reader:
            row = reader.row(case)
            due = self._due_of(reader, [row] if row is not None else [])
        if due:
            self.confirm(SYSTEM, due)
        return self._file(case, None)

    def evidence(self, actor: Actor, case: str) -> bytes:
        """A case's newest evidence as a bundle, for checks elsewhere: decisions that stand in the log are in it with
        their documents (:func:`~holdfast.review.decisions.without_documents` leaves those out). What was asked and
        answered is in it for the panel itself alone: people open the case for that (:meth:`view`). Raises
        ``case.unknown``."""
        self._permit(actor, "evidence")
        with self._store.read() as reader:
            row = reader.row(case)
            if row is None:
                raise UsageError("case.unknown", f"there is no case {case[:64]}", param="case", status=404)
            raw = reader.blob(case, row.bundle) if row.bundle is not None else None
        if raw is None:
            raw = build_bundle(row.run, time_decode(row.opened_at), [])
        return raw if actor.kind == "system" else closed_bundle(raw)

    def lanes_then(self, actor: Actor, case: str, digest: str) -> bytes:
        """The lane vector's document that an event of this case names: what somebody had before them then."""
        self._permit(actor, "list")
        with self._store.read() as reader:
            found = reader.blob(case, digest)
        if found is None:
            raise UsageError("case.unknown", "no event of this case names that", param="digest", status=404)
        return found

    def reading(self, actor: Actor, case: str, seq: int) -> Reading:
        """The case at one of its events, as shown then and as now known about then (``reading``)."""
        self._permit(actor, "list")
        with self._store.read() as reader:
            return read_at(reader, case, seq, self._trust())

    def reading_known(self, actor: Actor, case: str, known: int) -> Reading:
        """The case when the evidence at a position arrived, in the same readings."""
        self._permit(actor, "list")
        with self._store.read() as reader:
            return read_known(reader, case, known, self._trust())

    def stop_at(self, actor: Actor, case: str, moment: dt.datetime) -> Stop:
        """The last moment of a case that can be asked about and is not later than this."""
        self._permit(actor, "list")
        with self._store.read() as reader:
            return stop_at(reader, case, moment)

    def background(self, actor: Actor, case: str) -> Background:
        """What there is to tell of a case beyond its row and journal (``background``). Raises ``case.unknown``."""
        self._permit(actor, "list")
        with self._store.read() as reader:
            return background_of(reader, case, self._trust(), self._clock.now())

    def statistics(self, actor: Actor, queue: str | None = None) -> Statistics:
        """Counts over all cases, or those of a queue, by label and artifact (``statistics``)."""
        self._permit(actor, "list")
        with self._store.read() as reader:
            return statistics_of(reader, queue)

    def export(self, actor: Actor, case: str) -> dict[str, Any]:
        """One case as a document that can be judged without the panel (``case.md`` §11), without its evidence. Raises
        ``case.unknown``."""
        self._permit(actor, "export")
        with self._store.read() as reader:
            if reader.row(case) is None:
                raise UsageError("case.unknown", f"there is no case {case[:64]}", param="case", status=404)
            return export_case(reader, case, _moment(reader, self._clock.now()))

    def head(self, actor: Actor) -> Head:
        """The journal's end: publish it, and nobody can shorten the journal unseen."""
        self._permit(actor, "list")
        with self._store.read() as reader:
            return reader.head()

    def journal(self, actor: Actor, after: int, limit: int) -> list[Event]:
        """Events of all cases and policies after a number, in order."""
        self._permit(actor, "audit")
        with self._store.read() as reader:
            return [parse_event(stored.raw) for stored in reader.events(after, limit)]

    def audit(self, actor: Actor, published: Head | None = None) -> AuditReport:
        """Read the whole journal again: chain, meaning, rows, and a head that was published earlier."""
        self._permit(actor, "audit")
        with self._store.read() as reader:
            return audit_store(reader, published)

    def anchor(self, nonce: bytes, actor: Actor = SYSTEM) -> Event:
        """Append an event that says nothing and holds 32 random bytes: its digest can be told to anybody
        (``case.md`` §9)."""
        self._permit(actor, "system")
        with self._begin() as work:
            return work.emit("anchored", actor, case=None, body={"nonce": nonce.hex()})

    # --- decisions on their way into the log ---

    def waiting(self, actor: Actor = SYSTEM, *, limit: int = 100, after: int = 0) -> list[WaitingAct]:
        """Acts that no statement in the log stands for yet, oldest first, from event ``after`` on."""
        self._permit(actor, "system")
        with self._store.read() as reader:
            return [_waiting_act(reader, parse_event(stored.raw)) for stored in reader.waiting(limit, after)]

    def note_statement(self, seq: int, statement: str, actor: Actor = SYSTEM) -> None:
        """The act of event ``seq`` stands in the log as this statement (digest, hex). Again is harmless."""
        self._permit(actor, "system")
        hex_decode(statement, 32)
        with self._begin() as work:
            found = work.writer.events(seq - 1, 1)
            if not found or not work.writer.done(seq):
                return
            event = parse_event(found[0].raw)
            case = event.case or str(event.body["lead"])
            self._note(work, case, "statement_logged", actor, {"event": seq, "statement": statement})

    def log_decisions(self, log: DecisionLog, *, limit: int = 100) -> int:
        """Hand what waits to the decision log, oldest first, until it cannot take more. Returns how many it took."""
        taken = 0
        for act in self.waiting(limit=limit):
            statement = log.record(act)
            if statement is None:
                break
            self.note_statement(act.seq, statement)
            taken += 1
        return taken

    # --- the one way into the gate ---

    def _look(self, work: Work, case: str, raw: bytes | None, *, cite: bool = False) -> _Look:
        """Appraise a case's evidence for now, and note it when it says something else than before.

        ``raw`` is new evidence; without it, what is there is appraised again. ``cite`` has an event name the newest
        evidence even where only the words of a lane are others.
        """
        found = work.case(case)
        kept = work.bundle_of(case)
        bundle, raw = self._newest(work, case) if raw is None else (_parsed(raw), raw)
        policy, trust = _policy_of_case(work, found), self._believed
        appraisal = appraise(bundle, trust, appraisal_policy(policy), work.at)
        vector = vector_of(appraisal)
        trusted = trust.digest if trust else None
        news = vector.digest != found.lanes or trusted != found.trust
        if news or (cite and bundle.digest != found.bundle):
            body = {"bundle": bundle.digest, "known": appraisal.known, "trust": trusted}
            work.emit("appraised", GATE, case=case, body=body, lanes=vector.digest, policy=policy.digest)
            work.keep(case, vector.digest, vector.document)
            work.index(case, _evidence(vector))
            if trust is not None:
                work.keep_trust(trust.digest, trust.current.payload)
        shown = work.shown(case)
        moved: list[str] = []
        if news or shown is None or not shown.endswith(_seen(vector, appraisal.known)):
            moved = note_appraisal(work, found, appraisal)
            work.keep(case, bundle.digest, raw)
            found = work.case(case)
            if kept is not None and kept != bundle.digest and kept not in found.cited:
                uncited = kept
                work.later(lambda writer: writer.drop_blob(case, uncited))
            kept = bundle.digest
        work.set_latest(case, bundle=kept, due_at=None)
        self._ask_about(work, moved, case)
        relied = tuple(item for lane in policy.require for item in appraisal.relied.get(lane, ()))
        return _Look(
            work.case(case),
            policy,
            vector,
            trust,
            bundle.digest,
            appraisal.known,
            relied,
            appraisal.overturned,
            news,
        )

    def _ask_about(self, work: Work, cases: Collection[str], but: str | None = None) -> None:
        """Ask the gate about cases that are let through and whose label has moved."""
        for case in cases:
            if case != but:
                self._settle(work, self._look(work, case, None), "label")

    def _settle(self, work: Work, look: _Look, cause: str) -> Case:
        """Ask the gate, append its word when it is a new one, and what follows from it for others."""
        if look.overturned:
            recall_overturned(work, look.overturned, look.vector.lanes["settlement"].says)
        case, policy = work.case(look.case.id), look.policy
        result = decide(policy, look.vector, case.decisions, case.release, case.history, work.at)
        stays_recalled = case.state == result.state == "RECALLED"
        says_more = not stays_recalled and not case.says_the_same(result)
        if says_more:
            before, body = case.state, gate_body(result)
            if result.state == "RECALLED":
                order_recall(work, GATE, None, [case.id], body["because"], evidence=None, bodies={case.id: body})
            else:
                work.emit(
                    KIND_OF[result.state],
                    GATE,
                    case=case.id,
                    body=body,
                    cause=cause,
                    lanes=result.lanes_digest,
                    policy=result.policy_digest,
                )
                if before == "PROVISIONAL" and result.state == "HOLD":
                    flag_dependants(work, case.id, "release-over")
                if before in LET_THROUGH and result.state == "REJECTED":
                    flag_dependants(work, case.id, "rejected")
        if result.state in LET_THROUGH and (says_more or look.news):
            work.rest(case.id, look.relied)
        shown = _shown(result, look.vector, look.known)
        if shown != work.shown(case.id):
            work.show(case.id, shown)
        look.case = work.case(case.id)
        due_at = _due_at(look, self._turning_points(look.trust), work.at)
        work.set_latest(case.id, bundle=work.bundle_of(case.id), due_at=due_at)
        return look.case

    def _held(self, work: Work, case: str) -> tuple[dt.datetime, bool]:
        """When a case's newest evidence was exported, and whether it shows a decision; remembered by its digest."""
        digest = work.bundle_of(case)
        brief = self._briefs.get(digest) if digest is not None else None
        if brief is None:
            held = self._newest(work, case)[0]
            brief = self._briefs[held.digest] = held.exported_at, _decides(held)
            if len(self._briefs) > MOST_BRIEFS:
                self._briefs.clear()
        return brief

    def _newest(self, work: Work, case: str) -> tuple[Bundle, bytes]:
        """The newest evidence of a case."""
        digest = work.bundle_of(case)
        raw = work.blob(case, digest) if digest is not None else None
        if raw is None:
            raw = build_bundle(work.case(case).run, work.case(case).opened_at, [])
        return _parsed(raw), raw

    # --- helpers ---

    def _turning_points(self, trust: Trust | None) -> tuple[dt.datetime, ...]:
        """Those of the trust in force, worked out once."""
        if trust is None:
            return ()
        if self._turning[0] != trust.digest:
            self._turning = (trust.digest, _turning_points(trust))
        return self._turning[1]

    @contextlib.contextmanager
    def _begin(self) -> Iterator[Work]:
        """A transaction under the trust in force. Cases that rest on what that takes back are recalled first, before
        anything is appraised under it (``case.md`` §8(5))."""
        trust = self._believed = self._trust()
        recalled: list[Recalled] = []
        with begin(self._store, self._clock.now(), self._folded) as work:
            if trust is not None and trust.digest != self._stood_under:
                recalled = recall_withdrawn(work, trust)
            yield work
        self._stood_under = trust.digest if trust is not None else self._stood_under
        self._recalled += recalled
        if len(self._folded) > MOST_FOLDED:
            self._folded.clear()
        self._folded |= work.folded()
        if self.on_moved is not None and work.touched:
            self.on_moved(work.touched)

    def _note(self, work: Work, case: str, kind: str, actor: Actor, body: Mapping[str, Any]) -> None:
        """Append what somebody did, on the lanes and policy as they stand."""
        found = work.case(case)
        work.emit(kind, actor, case=case, body=body, lanes=found.lanes, policy=found.policy)

    def _permit(self, actor: Actor, act: str) -> frozenset[str]:
        """The roles that somebody holds at this moment; raises ``case.role`` when none of them may do this."""
        roles = actor.roles
        if actor.kind == "person" and self._roles is not None:
            roles = frozenset(self._roles(actor.id))
        if MAY[act] & {actor.kind, *(f"{actor.kind}:{role}" for role in roles)}:
            return roles
        wanted = ", ".join(sorted(MAY[act]))
        raise RefusedError("case.role", f"{actor.id} may not {act.replace('_', ' ')}", hint=f"needs one of: {wanted}")

    def _file(self, case: str, bundle: bytes | None) -> CaseFile:
        with self._store.read() as reader:
            row = reader.row(case)
            if row is None:
                raise UsageError("case.unknown", f"there is no case {case[:64]}", param="case", status=404)
            events = tuple(parse_event(stored.raw) for stored in reader.events_of(case))
            found = load_case(reader, case)
            (view,) = _views(reader, [row])
            policy = policy_by_digest(reader, row.queue, row.policy)
            return CaseFile(view, found, policy, events, bundle)


# --- refusals ---------------------------------------------------------------------------------------------------------


def _check_opening(opening: Opening) -> None:
    if not is_run_id(opening.run):
        raise UsageError("case.run", "run is a run id", param="run")
    empty_policy(opening.queue)
    for name, value in (("subject", opening.subject), ("requester", opening.requester)):
        if value is not None:
            parse_text(value, name)


def _check_lease(lease_s: int) -> None:
    if not 1 <= lease_s <= MAX_LEASE_S:
        raise UsageError("case.lease_span", f"a lease lasts 1 to {MAX_LEASE_S} seconds", param="lease_s")


def _role(actor: Actor, held: frozenset[str], allowed: Collection[str], wanted: str | None, what: str) -> str:
    """The one role that somebody acts in."""
    fitting = sorted(held & set(allowed))
    if wanted is not None:
        fitting = [role for role in fitting if role == wanted]
    if not fitting:
        hint = f"needs one of: {', '.join(sorted(allowed))}"
        raise RefusedError("case.role", f"{actor.id} may not {what}", hint=hint, param="role")
    return fitting[0]


def deciding_roles(policy: QueuePolicy) -> set[str]:
    """The roles in which somebody decides a case under a policy (``case.md`` §4(1))."""
    need = policy.judgement
    return {need.role} if need is not None and need.reviewers else {"approver", "reviewer"}


def _refuse_own(case: Case, actor: Actor) -> None:
    if case.requester is not None and case.requester in {actor.id, *actor.keys}:
        raise RefusedError("case.own_run", "whoever asked for a run does not decide its case", hint="ask a colleague")


def _refuse_held(case: Case, actor: Actor, at: dt.datetime) -> None:
    holder = case.holder(at)
    if holder not in (None, actor.id):
        raise ConflictError("case.claimed", f"{holder} has this case until {time_encode(case.claimed_until or at)}")
    taker = case.taker(at)
    if taker is not None:
        raise ConflictError(
            "case.handed_out",
            f"this case is handed out to {taker.consumer} until {time_encode(taker.until)}",
            hint="act once it came back; an approver can recall it at once",
        )


def _refuse_state(case: Case, act: str, states: Collection[str]) -> None:
    if case.state not in states:
        hint = f"possible in {', '.join(sorted(states))}"
        raise ConflictError("case.state", f"a case that is {case.state} takes no {act}", hint=hint)


def _refuse_unseen(case: Case, actor: Actor, lanes: str | None) -> None:
    """Whoever acts has opened the case with its lanes as they are now."""
    if actor.id not in case.viewed:
        raise RefusedError("case.not_viewed", f"{actor.id} has not opened this case", hint="open it first")
    if case.viewed[actor.id] != case.lanes or lanes not in (None, case.lanes):
        raise ConflictError("case.lanes_moved", "the lanes are no longer those that were seen", hint="look again")


def _policy_for(queue: str, text: str) -> QueuePolicy:
    policy = parse_queue_policy(text)
    if policy.name != queue:
        raise UsageError("queue.name", f"this is a policy for {policy.name}, not for {queue}", param="name")
    return policy


# --- what follows from what ------------------------------------------------------------------------------------------


@lru_cache(maxsize=512)
def _parsed(raw: bytes) -> Bundle:
    return parse_bundle(raw)


def _read_evidence(run: str, raw: bytes) -> Bundle | HoldfastError:
    """A bundle of a run, or what is wrong with it."""
    try:
        bundle = _parsed(raw)
    except HoldfastError as error:
        return error
    if bundle.run != run:
        return RefusedError("case.other_run", f"this is evidence of run {bundle.run}, not of {run}")
    return bundle


def _decides(bundle: Bundle) -> bool:
    """Whether a bundle shows a decision."""
    items = (entry.item for entry in bundle.journal)
    return any(isinstance(item, StatementItem) and item.statement.kind == "decision" for item in items)


def _policy_of_case(work: Work, case: Case) -> QueuePolicy:
    """The queue's policy; a case that was handed over keeps the one it was let through under."""
    if case.handed_over_at is not None and case.policy is not None:
        return policy_by_digest(work.writer, case.queue, case.policy)
    return work.policy(case.queue)


def _evidence(vector: LaneVector) -> frozenset[str]:
    """Every digest that a lane names."""
    return frozenset(digest for lane in vector.lanes.values() for digest in lane.evidence)


def _due_at(look: _Look, turning: Iterable[dt.datetime], at: dt.datetime) -> dt.datetime | None:
    """When time alone can change what was said (``case.md`` §5): a moment after ``at``, or None."""
    case = look.case
    if case.state in ("REJECTED", "RECALLED"):
        return None
    moments = [moment for moment in look.vector.dated.values() if moment is not None]
    moments += [case.clear_until] if case.clear_until is not None else []
    moments += [case.release.until] if case.release is not None else []
    moments += turning
    return min((moment for moment in moments if moment > at), default=None)


def _turning_points(trust: Trust) -> tuple[dt.datetime, ...]:
    """The moments at which a trust document by itself comes to mean something else."""
    current, found = trust.current, {trust.current.expires_at}
    for admission in current.nodes:
        found |= {admission.valid_from, admission.valid_until}
        if admission.revoked is not None:
            found.add(admission.revoked.suspect_since)
    found |= {moment for log in current.logs for moment in (log.valid_from, log.valid_until)}
    found |= {moment for epoch in current.epochs for moment in (epoch.valid_from, epoch.valid_until)}
    return tuple(sorted(found))


def _moment(reader: CaseReader, now: dt.datetime) -> dt.datetime:
    head = reader.head()
    return max(now, time_decode(head.at)) if head.at else now


def _open_cases(reader: CaseReader, queue: str, other_than: str | None) -> Iterator[CaseRow]:
    """Open cases of a queue: all that are let through, and many that are held."""
    for stands in LET_THROUGH:
        yield from reader.open_of_queue(queue, (stands,), 2**31 - 1, other_than)
    yield from reader.open_of_queue(queue, ("HOLD",), MAX_LOOKED_AT, other_than)


def _count_open(reader: CaseReader, queue: str) -> int:
    counts = reader.counts()
    return sum(counts.get((queue, stands), 0) for stands in ("HOLD", *LET_THROUGH))


def _shown(result: GateResult, vector: LaneVector, known: int) -> str:
    """What lists show of a case, as text: the gate's reasons in the words of now, and the lanes."""
    reasons: list[canonical.JSON] = [reason.to_json() for reason in result.reasons]
    said = canonical.encode_known({"state": result.state, "reasons": reasons}).decode()
    return f'{{"said":{said}{_seen(vector, known)}'


def _seen(vector: LaneVector, known: int) -> str:
    """How that text ends: the lanes. No text in front of it can hold these quotes unescaped."""
    dated = {name: None if moment is None else time_encode(moment) for name, moment in vector.dated.items()}
    lanes = {name: lane.to_json() for name, lane in vector.lanes.items()}
    return f',"seen":{canonical.encode_known({"lanes": lanes, "dated": dated, "known": known}).decode()}}}'


def _views(reader: CaseReader, rows: Sequence[CaseRow]) -> Iterator[CaseView]:
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


def _waiting_act(reader: CaseReader, event: Event) -> WaitingAct:
    body, case = event.body, event.case or str(event.body["lead"])
    row = reader.row(case)
    if row is None:
        raise UsageError("case.unknown", f"there is no case {case}", status=404)
    cases: tuple[str, ...] = ()
    if event.case is None and body["cases"]["size"] > 1:
        cases = tuple(str(stored.case) for stored in reader.events(event.seq, body["cases"]["size"]))
    bundle = reader.blob(case, row.bundle) if row.bundle is not None else None
    return WaitingAct(
        event.seq,
        event.digest,
        str(body["document"]).encode(),
        row.run,
        case,
        event.lanes or "",
        event.policy or "",
        cases,
        bundle,
    )
