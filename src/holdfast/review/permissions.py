"""Who may do what with cases, and what is refused to whom (``spec/case.md`` §4).

Deny by default: :data:`MAY` lists who may do what, and roles are looked at when somebody acts, not when they signed in.
Four eyes: one person fills one reviewer's place, and nobody decides a case whose run their own key asked for.

Not covered: who somebody is (``review.people``), and what the gate says (``review.bench``).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Mapping

from holdfast.core.encoding import time_encode
from holdfast.errors import ConflictError, RefusedError, UsageError
from holdfast.review.cases import Case
from holdfast.review.events import Actor
from holdfast.verifier.queue_policy import QueuePolicy

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
MAX_LEASE_S = 86_400
"""Longest claim or hand-out, in seconds (``case.md`` §5)."""


def permitted(actor: Actor, act: str, roles_of: Callable[[str], Collection[str]] | None) -> frozenset[str]:
    """The roles that somebody holds at this moment; raises ``case.role`` when none of them may do this."""
    roles = actor.roles
    if actor.kind == "person" and roles_of is not None:
        roles = frozenset(roles_of(actor.id))
    if MAY[act] & {actor.kind, *(f"{actor.kind}:{role}" for role in roles)}:
        return roles
    wanted = ", ".join(sorted(MAY[act]))
    raise RefusedError("case.role", f"{actor.id} may not {act.replace('_', ' ')}", hint=f"needs one of: {wanted}")


def acting_role(actor: Actor, held: frozenset[str], allowed: Collection[str], wanted: str | None, what: str) -> str:
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


def refuse_own(case: Case, actor: Actor) -> None:
    if case.requester is not None and case.requester in {actor.id, *actor.keys}:
        raise RefusedError("case.own_run", "whoever asked for a run does not decide its case", hint="ask a colleague")


def refuse_held(case: Case, actor: Actor, at: dt.datetime) -> None:
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


def refuse_state(case: Case, act: str, states: Collection[str]) -> None:
    if case.state not in states:
        hint = f"possible in {', '.join(sorted(states))}"
        raise ConflictError("case.state", f"a case that is {case.state} takes no {act}", hint=hint)


def refuse_unseen(case: Case, actor: Actor, lanes: str | None) -> None:
    """Whoever acts has opened the case with its lanes as they are now."""
    if actor.id not in case.viewed:
        raise RefusedError("case.not_viewed", f"{actor.id} has not opened this case", hint="open it first")
    if case.viewed[actor.id] != case.lanes or lanes not in (None, case.lanes):
        raise ConflictError("case.lanes_moved", "the lanes are no longer those that were seen", hint="look again")


def check_lease(lease_s: int) -> None:
    if not 1 <= lease_s <= MAX_LEASE_S:
        raise UsageError("case.lease_span", f"a lease lasts 1 to {MAX_LEASE_S} seconds", param="lease_s")
