"""What one person may do with one case at this moment, and doing it from a form.

Rules:

* What is offered is a courtesy: the desk decides again, in its own transaction, whether an act goes through.
* Approving, rejecting, releasing and reopening carry the digest of the lane vector that the page showed. Where the
  lanes have moved since the case was opened, nothing of that is offered until it is opened again.
* There is no act that clears a case. An approval is one of the things that the gate may ask for.

Not covered: who somebody is (``people.py``), and what the acts look like (``holdfast.web``).
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from holdfast.core.encoding import hex_decode
from holdfast.errors import MalformedError
from holdfast.review.cases import LET_THROUGH, Case
from holdfast.review.desk import Desk
from holdfast.review.events import Actor, is_case_id
from holdfast.review.permissions import deciding_roles
from holdfast.review.roles import may
from holdfast.review.views import CaseFile

ACTS: Mapping[str, str] = MappingProxyType(
    {
        "claim": "case:claim",
        "let-go": "case:claim",
        "comment": "case:comment",
        "approve": "case:decide",
        "reject": "case:decide",
        "amend": "case:decide",
        "release": "case:release",
        "reopen": "case:reopen",
        "dependants": "case:relate",
    }
)
"""Each act and what somebody has to be let to do for it (``review.roles``)."""
FIELDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "claim": (),
        "let-go": (),
        "comment": ("text",),
        "approve": ("reason", "lanes"),
        "reject": ("reason", "lanes"),
        "amend": ("arguments", "reason", "lanes"),
        "release": ("minutes", "reason", "lanes"),
        "reopen": ("reason", "lanes"),
        "dependants": ("target",),
    }
)
"""What the form of each act holds besides its token."""
WEIGHTY = frozenset({"approve", "reject", "amend", "release", "reopen"})
"""Acts that rest on the lanes as somebody saw them."""
MINUTES = (5, 15, 30, 60, 240, 720, 1_440, 10_080)
"""Spans offered for an early release, as far as the queue's policy goes."""
_MINUTES = re.compile(r"[1-9][0-9]{0,5}\Z")


@dataclass(frozen=True, slots=True)
class OpenActs:
    """What is open to somebody, and in a sentence each what stands in the way of the rest."""

    acts: frozenset[str]
    notes: tuple[str, ...]
    stale: bool
    """The lanes moved since they opened the case."""
    minutes: tuple[int, ...]
    """Spans for an early release."""
    deciding_as: str
    releasing_as: str
    """The role that an act would name."""


def open_acts(file: CaseFile, actor: Actor, at: dt.datetime) -> OpenActs:
    """What this person may do with this case now."""
    case, policy, roles = file.case, file.policy, actor.roles
    notes: list[str] = []
    acts = {act for act in ("comment", "dependants") if may(roles, ACTS[act])}
    holder = case.holder(at)
    if may(roles, "case:claim") and holder in (None, actor.id):
        acts.add("claim" if holder is None else "let-go")
    deciding = _role(roles, deciding_roles(policy))
    early = policy.early_release
    releasing = _role(roles, early.roles if early else ())
    weighty: set[str] = set()
    taken_over = case.handed_over_at is not None and case.state in LET_THROUGH
    if deciding and may(roles, "case:decide") and not taken_over:
        if case.acted(actor.id, policy.digest):
            notes.append("You have decided this case under this policy.")
        else:
            weighty |= {"approve"} if case.state in ("HOLD", "PROVISIONAL") else set()
            weighty |= {"reject"} if case.state in ("HOLD", *LET_THROUGH) else set()
    if case.act is not None and case.amended is None and ("reject" in weighty or _denied_by(case, actor)):
        weighty.add("amend")
    if releasing and may(roles, "case:release") and case.state == "HOLD":
        refuted = [name for name, lane in file.view.lanes.items() if lane.state == "refuted"]
        if refuted:
            notes.append(f"{', '.join(refuted)} is refuted: nothing refuted is released early.")
        elif case.release is not None and case.release.policy_digest == policy.digest:
            notes.append("It was released early once, and that ran out; now it waits for its proof.")
        else:
            weighty.add("release")
    if may(roles, "case:reopen") and case.state in ("REJECTED", "RECALLED"):
        weighty.add("reopen")
    stale = case.viewed.get(actor.id) != case.lanes
    if weighty and case.requester is not None and case.requester in {actor.id, *actor.keys}:
        notes.append("You asked for this run, so somebody else decides its case.")
        weighty.clear()
    if weighty and holder not in (None, actor.id):
        notes.append(f"{holder} is working on this case.")
        weighty.clear()
    if stale:
        weighty.clear()
    most = (early.max_s // 60) if early else 0
    minutes = tuple(sorted({span for span in MINUTES if span <= most} | ({most} if most else set())))
    if not minutes:
        weighty.discard("release")
    return OpenActs(frozenset(acts | weighty), tuple(notes), stale, minutes, deciding, releasing)


def perform(desk: Desk, actor: Actor, case: str, act: str, fields: Mapping[str, str], now: dt.datetime) -> None:
    """Do what a form asks for (:data:`FIELDS` of its act). Raises what the desk does, and ``panel.form``. Blocks."""
    if act == "claim":
        desk.claim(actor, case)
    elif act == "let-go":
        desk.let_go(actor, case)
    elif act == "comment":
        desk.comment(actor, case, fields["text"])
    elif act == "dependants":
        target = fields["target"].strip()
        desk.add_dependant(actor, case, **{"dependant" if is_case_id(target) else "reference": target})
    else:
        lanes = hex_decode(fields["lanes"], 32).hex()
        if act == "release":
            until = now + dt.timedelta(minutes=_minutes(fields["minutes"]))
            desk.release(actor, case, until=until, reason=fields["reason"], lanes=lanes)
        elif act == "reopen":
            desk.reopen(actor, case, reason=fields["reason"], lanes=lanes)
        else:
            desk.decide(actor, case, act, reason=fields["reason"], lanes=lanes)


def _denied_by(case: Case, actor: Actor) -> bool:
    """Whether this person denied it last: another proposal that was cut off after that may be sent again."""
    last = case.decisions[-1] if case.decisions else None
    return case.state == "REJECTED" and last is not None and (last.person, last.act) == (actor.id, "reject")


def _role(held: Collection[str], allowed: Collection[str]) -> str:
    """The role that the desk will take an act to be in."""
    return next(iter(sorted(set(held) & set(allowed))), "")


def _minutes(text: str) -> int:
    if _MINUTES.match(text) is None:
        raise MalformedError("panel.form", "minutes is a whole number", param="minutes")
    return int(text)
