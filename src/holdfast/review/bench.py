"""The bench that every command about cases works at: a transaction, the newest evidence, and one way into the gate
(``spec/case.md`` §5).

A command reads the evidence, appraises it for now under the trust handed in, asks the gate, and appends what follows.
Nothing but the gate's answer makes a case CLEAR: no command has a way to. Time only ever enters through the clock, and
the journal's times never go back.

Not covered: the commands (``intake``, ``acts``, ``hand_over``, ``desk``). Blocking, and not thread-safe.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from holdfast.core.bundles import Bundle, StatementItem, build_bundle, parse_bundle
from holdfast.core.trust import Trust
from holdfast.ports.case_store import CaseStore
from holdfast.ports.clock import Clock
from holdfast.review.cases import LET_THROUGH, Case, gate_body
from holdfast.review.events import GATE, KIND_OF, Actor
from holdfast.review.index import note_appraisal
from holdfast.review.permissions import permitted
from holdfast.review.queues import appraisal_policy, policy_by_digest
from holdfast.review.recall import Recalled, flag_dependants, order_recall, recall_overturned, recall_withdrawn
from holdfast.review.views import seen_text, shown_text
from holdfast.review.work import Work, begin
from holdfast.verifier.appraisal import appraise
from holdfast.verifier.gate import LaneVector, decide, vector_of
from holdfast.verifier.queue_policy import QueuePolicy
from holdfast.verifier.reliance import Reliance

MOST_FOLDED = 4096
"""Cases kept in memory between transactions."""
MOST_BRIEFS = 65_536
"""Bundles of which is remembered when they were exported."""


@dataclass(slots=True)
class Look:
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


class Bench:
    """What commands share. ``trust`` gives the trust in force; ``roles`` gives a person's roles at this moment, and
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

    # --- the transaction ---

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
        return permitted(actor, act, self._roles)

    # --- the one way into the gate ---

    def _look(self, work: Work, case: str, raw: bytes | None, *, cite: bool = False) -> Look:
        """Appraise a case's evidence for now, and note it when it says something else than before.

        ``raw`` is new evidence; without it, what is there is appraised again. ``cite`` has an event name the newest
        evidence even where only the words of a lane are others.
        """
        found = work.case(case)
        kept = work.bundle_of(case)
        bundle, raw = self._newest(work, case) if raw is None else (parsed(raw), raw)
        policy, trust = policy_of_case(work, found), self._believed
        appraisal = appraise(bundle, trust, appraisal_policy(policy), work.at)
        vector = vector_of(appraisal)
        trusted = trust.digest if trust else None
        news = vector.digest != found.lanes or trusted != found.trust
        if news or (cite and bundle.digest != found.bundle):
            body = {"bundle": bundle.digest, "known": appraisal.known, "trust": trusted}
            work.emit("appraised", GATE, case=case, body=body, lanes=vector.digest, policy=policy.digest)
            work.keep(case, vector.digest, vector.document)
            work.index(case, evidence_named(vector))
            if trust is not None:
                work.keep_trust(trust.digest, trust.current.payload)
        shown = work.shown(case)
        moved: list[str] = []
        if news or shown is None or not shown.endswith(seen_text(vector, appraisal.known)):
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
        return Look(
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

    def _settle(self, work: Work, look: Look, cause: str) -> Case:
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
        shown = shown_text(result, look.vector, look.known)
        if shown != work.shown(case.id):
            work.show(case.id, shown)
        look.case = work.case(case.id)
        due_at = _due_at(look, self._turning_points(look.trust), work.at)
        work.set_latest(case.id, bundle=work.bundle_of(case.id), due_at=due_at)
        return look.case

    def _ask_again(self, work: Work, case: str, cause: str) -> Case:
        """The case as the gate sees it at this moment. Where nothing that it answers to is another than when it was
        last asked, and no moment has come at which time alone moves it, its answer is the same: appraisal and gate are
        pure, and are not made to say it twice (``case.md`` §5(4))."""
        found, due_at = work.case(case), work.due_at_of(case)
        trusted = self._believed.digest if self._believed is not None else None
        same = found.trust == trusted and found.policy == policy_of_case(work, found).digest
        if found.lanes is not None and same and (due_at is None or work.at < due_at):
            return found
        return self._settle(work, self._look(work, case, None), cause)

    # --- the evidence in hand ---

    def _held(self, work: Work, case: str) -> tuple[dt.datetime, bool]:
        """When a case's newest evidence was exported, and whether it shows a decision; remembered by its digest."""
        digest = work.bundle_of(case)
        brief = self._briefs.get(digest) if digest is not None else None
        if brief is None:
            held = self._newest(work, case)[0]
            brief = self._briefs[held.digest] = held.exported_at, shows_decision(held)
            if len(self._briefs) > MOST_BRIEFS:
                self._briefs.clear()
        return brief

    def _newest(self, work: Work, case: str) -> tuple[Bundle, bytes]:
        """The newest evidence of a case."""
        digest = work.bundle_of(case)
        raw = work.blob(case, digest) if digest is not None else None
        if raw is None:
            raw = build_bundle(work.case(case).run, work.case(case).opened_at, [])
        return parsed(raw), raw

    # --- time ---

    def _turning_points(self, trust: Trust | None) -> tuple[dt.datetime, ...]:
        """Those of the trust in force, worked out once."""
        if trust is None:
            return ()
        if self._turning[0] != trust.digest:
            self._turning = (trust.digest, _turning_points(trust))
        return self._turning[1]


@lru_cache(maxsize=512)
def parsed(raw: bytes) -> Bundle:
    """A bundle, read once. Raises ``bundle.*``."""
    return parse_bundle(raw)


def shows_decision(bundle: Bundle) -> bool:
    """Whether a bundle shows a decision."""
    items = (entry.item for entry in bundle.journal)
    return any(isinstance(item, StatementItem) and item.statement.kind == "decision" for item in items)


def policy_of_case(work: Work, case: Case) -> QueuePolicy:
    """The queue's policy; a case that was handed over keeps the one it was let through under."""
    if case.handed_over_at is not None and case.policy is not None:
        return policy_by_digest(work.writer, case.queue, case.policy)
    return work.policy(case.queue)


def evidence_named(vector: LaneVector) -> frozenset[str]:
    """Every digest that a lane names."""
    return frozenset(digest for lane in vector.lanes.values() for digest in lane.evidence)


def _due_at(look: Look, turning: Iterable[dt.datetime], at: dt.datetime) -> dt.datetime | None:
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
