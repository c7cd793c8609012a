"""What people do with a case: open it, take it on, say something, and decide under their name (``spec/case.md`` §4).

An act stands in the journal with the lanes that were seen and the document that its statement will commit to. An
approval alone clears nothing: the gate does, when all else is met.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from holdfast.core.decisions import DecisionDocument
from holdfast.core.encoding import time_encode
from holdfast.errors import ConflictError, RefusedError, UsageError
from holdfast.review.bench import Look, evidence_named
from holdfast.review.cases import LET_THROUGH, Case
from holdfast.review.contents import evidence_of
from holdfast.review.events import SYSTEM, Actor, parse_text
from holdfast.review.intake import Intake
from holdfast.review.labels import follow_label
from holdfast.review.permissions import (
    acting_role,
    check_lease,
    deciding_roles,
    refuse_held,
    refuse_own,
    refuse_state,
    refuse_unseen,
)
from holdfast.review.views import CaseFile, case_file
from holdfast.review.work import Work
from holdfast.verifier.gate import Release, refuse_release
from holdfast.verifier.judgement import rule_in_request

CLAIM_S = 900
"""How long a claim lasts unless it is renewed (``case.md`` §5)."""


@dataclass(frozen=True, slots=True)
class ActToAmend:
    """An act in whose place another may be proposed."""

    run: str
    agent: str
    """The agent run that proposed it."""


class Acts(Intake):
    """Commands of people about one case."""

    # --- looking and saying ---

    def view(self, actor: Actor, case: str) -> CaseFile:
        """Open a case: its file with the evidence, and a ``viewed`` event that says who had which lanes before them."""
        self._permit(actor, "view")
        with self._begin() as work:
            look = self._look(work, case, None, cite=True)
            found = self._settle(work, look, "viewed")
            raw = self._newest(work, case)[1]
            work.emit("viewed", actor, case=case, body={}, lanes=found.lanes, policy=found.policy)
        with self._store.read() as reader:
            return case_file(reader, case, raw)

    def claim(self, actor: Actor, case: str, *, lease_s: int = CLAIM_S) -> Case:
        """Take a case on, so that no second desk works on it; again renews. Raises ``case.claimed`` or
        ``case.handed_out``."""
        self._permit(actor, "claim")
        check_lease(lease_s)
        with self._begin() as work:
            refuse_held(work.case(case), actor, work.at)
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

    # --- deciding ---

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
            acting = acting_role(actor, held, deciding_roles(policy), role, f"decide in the queue {found.queue}")
            refuse_own(found, actor)
            refuse_held(found, actor, work.at)
            refuse_state(found, act, ("HOLD", "PROVISIONAL") if act == "approve" else ("HOLD", *LET_THROUGH))
            if found.handed_over_at is not None and found.state in LET_THROUGH:
                raise ConflictError("case.handed_over", "the case was handed over", hint="a recall takes it back")
            if found.acted(actor.id, policy.digest):
                raise ConflictError("case.decided_already", f"{actor.id} has decided this case under this policy")
            refuse_unseen(found, actor, lanes)
            self._act(work, look, actor, acting, act, reason, None)
            return self._settle(work, look, "decision")

    # --- other arguments in an act's place ---

    def act_to_amend(self, actor: Actor, case: str) -> ActToAmend:
        """The act of a case in whose place another may be proposed. Raises ``case.role``, ``case.no_act`` and
        ``case.amended``."""
        self._permit(actor, "decide")
        with self._store.read() as reader:
            found = case_file(reader, case, None).case
        return _to_amend(found)

    def deny_to_amend(self, actor: Actor, case: str, *, reason: str, lanes: str | None = None) -> None:
        """Reject the act, unless this person did so already: what was cut off after that may be sent again. Raises
        what :meth:`decide` raises."""
        with self._store.read() as reader:
            found = case_file(reader, case, None).case
        _to_amend(found)
        last = found.decisions[-1] if found.decisions else None
        if found.state != "REJECTED" or last is None or (last.person, last.act) != (actor.id, "reject"):
            self.decide(actor, case, "reject", reason=reason, lanes=lanes)

    def note_amended(self, actor: Actor, case: str, run: str) -> str:
        """Another act was proposed in the place of this one, which is denied: both cases say so. Its requester is the
        person who asked for it. Returns its case."""
        self._permit(actor, "decide")
        with self._begin() as work:
            found = work.case(case)
            if found.amended is None:
                self._note(work, case, "amended", actor, {"run": run})
        opened = self.open(SYSTEM, run, found.queue, subject=found.subject, requester=actor.id)
        return opened.id

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
            acting = acting_role(actor, held, set(allowed.roles), role, f"release early in the queue {found.queue}")
            refuse_own(found, actor)
            refuse_held(found, actor, work.at)
            refuse_state(found, "release", ("HOLD",))
            if found.release is not None and found.release.policy_digest == policy.digest:
                raise ConflictError("case.released_already", "a case is released early once", hint="wait for its proof")
            refuse_unseen(found, actor, lanes)
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
            acting = acting_role(actor, held, {"approver"}, None, "reopen a case")
            refuse_own(found, actor)
            refuse_held(found, actor, work.at)
            refuse_state(found, "reopen", ("REJECTED", "RECALLED"))
            circle = work.writer.reach([case])  # what relied on it in turn cannot have to come first
            bases = [base for base in work.writer.bases(case) if base not in circle]
            bases = [base for base in bases if work.case(base).state == "RECALLED"]
            if bases:
                raise ConflictError(
                    "case.base_recalled",
                    f"it relied on case {bases[0]}, which stands recalled",
                    hint="reopen that first",
                )
            refuse_unseen(found, actor, lanes)
            self._act(work, look, actor, acting, "reopen", reason, None)
            work.index(case, evidence_named(look.vector), afresh=True)
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
        self, work: Work, look: Look, actor: Actor, role: str, act: str, reason: str, until: dt.datetime | None
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


def _to_amend(case: Case) -> ActToAmend:
    if case.act is None or case.agent is None:
        raise UsageError("case.no_act", "this case is not about an act of an agent run", status=409)
    if case.amended is not None:
        raise ConflictError("case.amended", "another act was proposed in the place of this one")
    return ActToAmend(case.run, case.agent)
