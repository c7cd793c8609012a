"""A desk over a store in memory, evidence of one run at every stage, people in their roles, and a clock by hand."""

from __future__ import annotations

import datetime as dt
import functools
import itertools
from typing import Any

from holdfast.adapters.case_store_sql import SQLCaseStore
from holdfast.core.bundles import build_bundle
from holdfast.core.trust import Trust
from holdfast.ports.case_store import CaseStore, StoredEvent
from holdfast.review.cases import Case
from holdfast.review.desk import Desk
from holdfast.review.events import SYSTEM, Actor
from tests.helpers.clock import FakeClock
from tests.helpers.network import RUN, Network, at

REVIEWER = Actor("person", "rita", frozenset({"reviewer"}))
SECOND = Actor("person", "sam", frozenset({"reviewer"}))
APPROVER = Actor("person", "ada", frozenset({"approver"}))
OWNER = Actor("person", "olga", frozenset({"policy_owner"}))
AUDITOR = Actor("person", "augusta", frozenset({"auditor"}))
VIEWER = Actor("person", "vera", frozenset({"viewer"}))
CONSUMER = Actor("key", "key-1", frozenset({"queue:take", "queue:read"}))
PROOF = """
type = "urn:holdfast:queue-policy:v1"
name = "{name}"
[require.bytes]
states = ["proven"]
bases = ["signature"]
[require.settlement]
states = ["proven"]
bases = ["proof", "development"]
{settlement}
[early_release]
roles = ["approver"]
max_s = 3600
{more}
"""
JUDGED = '[judgement]\nreviewers = {reviewers}\nrole = "reviewer"\nrule = "pay what was agreed"'
STAGES: dict[str, dict[str, Any]] = {
    "asked": {"cut": 2},
    "answered": {"cut": 5},
    "logged": {"finality": 0},
    "settled": {"finality": 4},
    "refuted": {"finality": 4, "verdict": "refuted:signature"},
}
"""How far the evidence of the run has come; ``refuted`` is a final round against its execution."""


def policy_text(name: str = "default", *, max_age_s: int | None = None, reviewers: int = 0) -> str:
    """A policy that asks for bytes and settlement, and for people when there are ``reviewers``."""
    age = f"max_age_s = {max_age_s}" if max_age_s is not None else ""
    return PROOF.format(name=name, settlement=age, more=JUDGED.format(reviewers=reviewers) if reviewers else "")


@functools.cache
def evidence(stage: str, seconds: float = 10, run: str = RUN) -> bytes:
    """A bundle of the run at a stage, exported ``seconds`` after the question."""
    options = dict(STAGES[stage])
    cut, verdict = options.pop("cut", None), options.pop("verdict", "ok")
    journal = Network(verdict=verdict).journal(**options)
    return build_bundle(run, at(seconds), journal[:cut])


@functools.cache
def trust(**changes: Any) -> Trust:
    """The network's trust; ``changes`` replace members of its version."""
    return Network().trust(**changes)


class Clinic:
    """A desk with everything around it that a test moves: ``now``, ``trusted`` and the roles people hold."""

    def __init__(self, store: CaseStore | None = None, *, roles: bool = False) -> None:
        self.clock = FakeClock(at(10))
        self.store = store or SQLCaseStore("sqlite://")
        self.trusted: Trust | None = trust()
        self.held: dict[str, set[str]] = {}
        self.numbers = itertools.count(1)
        self.asks_for_roles = roles
        self.desk = self.reopen()

    def reopen(self) -> Desk:
        """A desk as a restarted process has it."""
        self.desk = Desk(
            self.store,
            self.clock,
            lambda: self.trusted,
            roles=(lambda person: self.held.get(person, set())) if self.asks_for_roles else None,
            new_id=lambda: f"00000000-0000-4000-8000-{next(self.numbers):012d}",
        )
        return self.desk

    def pass_time(self, seconds: float) -> None:
        """Move the clock; nobody waits on it here."""
        self.clock._elapsed += seconds

    @property
    def now(self) -> dt.datetime:
        return self.clock.now()

    def queue(self, name: str = "default", **options: Any) -> None:
        """Give a queue a policy."""
        self.desk.change_policy(SYSTEM, name, policy_text(name, **options))

    def case(self, queue: str = "default", stage: str | None = None, **options: Any) -> str:
        """Open the case of the run in a queue, with evidence; returns its id."""
        found = self.desk.open(SYSTEM, RUN, queue, **options)
        if stage is not None:
            self.note(found.id, stage)
        return found.id

    def note(self, case: str, stage: str, seconds: float | None = None) -> Case:
        """Evidence arrives."""
        exported = (self.now - at(0)).total_seconds() if seconds is None else seconds
        return self.desk.note_bundle(SYSTEM, case, evidence(stage, exported))

    def state(self, case: str) -> str:
        """The gate's last word."""
        return self.desk.case(SYSTEM, case).case.state

    def reasons(self, case: str) -> list[str]:
        """Codes of the gate's reasons."""
        return [reason.code for reason in self.desk.case(SYSTEM, case).case.reasons]

    def kinds(self, case: str) -> list[str]:
        """Kinds of the events of a case."""
        return [event.kind for event in self.desk.case(SYSTEM, case).events]

    def store_events(self) -> list[StoredEvent]:
        """The whole journal."""
        with self.store.read() as reader:
            return reader.events(0, 2**31 - 1)

    def approve(self, case: str, person: Actor = REVIEWER) -> Case:
        """Look, then approve."""
        self.desk.view(person, case)
        return self.desk.decide(person, case, "approve", reason="it is as agreed")

    def release(self, case: str, seconds: float = 600, person: Actor = APPROVER) -> Case:
        """Look, then let go early."""
        self.desk.view(person, case)
        until = self.now + dt.timedelta(seconds=seconds)
        return self.desk.release(person, case, until=until, reason="the customer waits")
