"""Cases over random interleavings: evidence that comes, comes late, is refuted or loses its trust; people who act;
policies that change; time that passes; and a crash before or after any commit, with a restart.

``HOLDFAST_SCHEDULES`` says how much is tried (default 60: 12 histories of 30 steps).
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from holdfast.adapters.case_store_sql import SQLCaseStore
from holdfast.core import canonical
from holdfast.core.bundles import parse_bundle
from holdfast.core.encoding import b64_encode, sha256_hex, time_encode
from holdfast.core.trust import Trust
from holdfast.errors import HoldfastError
from holdfast.review.cases import LET_THROUGH, Case
from holdfast.review.desk import HandOut
from holdfast.review.events import SYSTEM, Actor, Event, parse_event
from holdfast.review.outbox import WaitingAct
from holdfast.review.queues import policy_by_digest
from holdfast.review.work import load_case
from holdfast.verifier.appraisal import appraise
from holdfast.verifier.gate import decide, vector_of
from holdfast.verifier.queue_policy import QueuePolicy
from tests.helpers.labelled import told
from tests.helpers.network import Network, at
from tests.helpers.review import (
    APPROVER,
    AUDITOR,
    CONSUMER,
    OWNER,
    REVIEWER,
    SECOND,
    STAGES,
    Clinic,
    policy_text,
    trust,
)

HISTORIES = max(1, int(os.environ.get("HOLDFAST_SCHEDULES", "60")) // 5)
QUEUES = [f"queue-{number}" for number in range(6)]
PEOPLE = [REVIEWER, SECOND, APPROVER]
POLICIES: list[dict[str, Any]] = [{}, {"max_age_s": 600}, {"reviewers": 1}, {"reviewers": 2, "max_age_s": 7200}]
SECONDS = [0.0, 0.001, 1.0, 59.0, 600.0, 3600.0, 90_000.0]


class CrashError(Exception):
    """The process ends here."""


class FragileStore(SQLCaseStore):
    """A store whose process dies before or after a commit, when told to."""

    def __init__(self) -> None:
        super().__init__("sqlite://")
        self.dies: str | None = None

    def _commit(self, connection: sa.Connection) -> None:
        dies, self.dies = self.dies, None
        if dies == "before":
            raise CrashError
        super()._commit(connection)
        if dies == "after":
            raise CrashError


class Signed:
    """A decision log that answers the same act with the same statement, and dies on the way when told to."""

    def __init__(self) -> None:
        self.recorded: dict[str, WaitingAct] = {}
        self.order: list[int] = []
        self.dies = False

    def record(self, act: WaitingAct) -> str:
        assert self.recorded.setdefault(act.event, act).document == act.document
        self.order.append(act.seq)
        if self.dies:
            self.dies = False
            raise CrashError
        return act.event


def revoked_trust() -> Trust:
    """Trust in which the gateway's key has been suspect since before the run."""
    network, moment = Network(), time_encode(at(-60))
    nodes: list[dict[str, Any]] = canonical.decode(network.trust_version())["nodes"]
    gateway = b64_encode(network.gateway_document.raw)
    for node in nodes:
        if node["key_document"] == gateway:
            node["revoked"] = {"at": moment, "suspect_since": moment, "reason": "stolen"}
    return network.trust(nodes=nodes)


TRUSTS = [trust(), trust(), revoked_trust(), None, Network(expires_at=at(5000)).trust()]


class Cases(RuleBasedStateMachine):
    """The desk as everybody uses it, and a crash now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.store = FragileStore()
        self.clinic = Clinic(self.store)
        self.signed = Signed()
        self.journal: list[str] = []
        self.handed: dict[str, HandOut] = {}
        self.opened: list[str] = []
        self.fresh = False
        """Whether a turn has been taken since time, trust or policies moved."""
        self.read: list[Event] = []
        for place, name in enumerate(QUEUES[:-1]):
            self.clinic.queue(name, **POLICIES[place % len(POLICIES)])
        for name in QUEUES[:4]:
            self.opened.append(self.clinic.case(name, "logged"))

    def teardown(self) -> None:
        self.store.close()

    # --- what happens ---------------------------------------------------------------------------------------------

    def attempt(self, act: Callable[[], Any]) -> Any:
        """Do it; a refusal is an answer, and a crash is followed by a restart."""
        try:
            return act()
        except HoldfastError:
            return None
        except CrashError:
            self.clinic.reopen()
            return None
        finally:
            self.store.dies = None

    def pick(self, number: int) -> str:
        return self.opened[number % len(self.opened)]

    @rule(dies=st.sampled_from(["before", "after"]))
    def the_next_commit_kills_the_process(self, dies: str) -> None:
        self.store.dies = dies

    @rule(queue=st.sampled_from(QUEUES), twice=st.booleans())
    def a_case_is_opened(self, queue: str, twice: bool) -> None:
        for _ in range(1 + twice):
            self.attempt(lambda: self.clinic.case(queue))
        self.opened = [view.row.case for view in self.clinic.desk.cases(SYSTEM)]

    @rule(number=st.integers(0, 5), stage=st.sampled_from(list(STAGES)), late=st.integers(0, 4))
    def evidence_arrives(self, number: int, stage: str, late: int) -> None:
        seconds = 5.0 if late == 4 else (self.journal_time() - at(0)).total_seconds()
        self.attempt(lambda: self.clinic.note(self.pick(number), stage, seconds))

    @rule(number=st.integers(0, 5), print_=st.sampled_from(["fp_1", "fp_2", None]), tick=st.integers(0, 3))
    def evidence_names_what_answered(self, number: int, print_: str | None, tick: int) -> None:
        seconds = (self.journal_time() - at(0)).total_seconds()
        raw = told(fingerprint=print_, seconds=0.5 + tick / 10, exported=seconds)
        self.attempt(lambda: self.clinic.desk.note_bundle(SYSTEM, self.pick(number), raw))

    @rule(artifact=st.sampled_from(["a" * 64, "b" * 64]))
    def somebody_says_what_a_label_means(self, artifact: str) -> None:
        self.attempt(lambda: self.clinic.desk.note_label(SYSTEM, "small-1", artifact))

    @rule(number=st.integers(0, 5))
    def a_run_settles(self, number: int) -> None:
        case = self.pick(number)
        self.attempt(lambda: self.clinic.note(case, "settled", (self.journal_time() - at(0)).total_seconds()))

    @rule(number=st.integers(0, 5))
    def a_round_refutes_a_run(self, number: int) -> None:
        case = self.pick(number)
        self.attempt(lambda: self.clinic.note(case, "refuted", (self.journal_time() - at(0)).total_seconds()))

    @rule(number=st.integers(0, len(TRUSTS) - 1))
    def trust_changes(self, number: int) -> None:
        self.clinic.trusted, self.fresh = TRUSTS[number], False

    @rule(seconds=st.sampled_from(SECONDS))
    def time_passes(self, seconds: float) -> None:
        self.clinic.pass_time(seconds)
        self.fresh = False

    @rule()
    def the_clock_goes_back(self) -> None:
        self.clinic.pass_time(-5)
        self.fresh = False

    @rule(queue=st.sampled_from(QUEUES), number=st.integers(0, len(POLICIES) - 1))
    def a_policy_changes(self, queue: str, number: int) -> None:
        text = policy_text(queue, **POLICIES[number])
        told = self.attempt(lambda: self.clinic.desk.what_if(OWNER, queue, text))
        done = self.attempt(lambda: self.clinic.desk.change_policy(OWNER, queue, text))
        if told is not None and done is not None and done.seen and self.fresh:
            assert [(move.case, move.after) for move in done.moves] == [(move.case, move.after) for move in told.moves]

    @rule(
        number=st.integers(0, 5),
        person=st.sampled_from(PEOPLE),
        act=st.sampled_from(["approve", "reject", "reopen", "release", "claim", "let_go", "comment"]),
        looks=st.integers(0, 4),
        seconds=st.sampled_from([1, 600, 3600, 7200]),
    )
    def somebody_acts(self, number: int, person: Actor, act: str, looks: int, seconds: int) -> None:
        case, desk = self.pick(number), self.clinic.desk
        if looks:
            self.attempt(lambda: desk.view(person, case))
        until = self.clinic.now + dt.timedelta(seconds=seconds)
        acts: dict[str, Callable[[], Any]] = {
            "approve": lambda: self.clinic.desk.decide(person, case, "approve", reason="as agreed"),
            "reject": lambda: self.clinic.desk.decide(person, case, "reject", reason="not as agreed"),
            "reopen": lambda: self.clinic.desk.reopen(person, case, reason="look again"),
            "release": lambda: self.clinic.desk.release(person, case, until=until, reason="somebody waits"),
            "claim": lambda: self.clinic.desk.claim(person, case),
            "let_go": lambda: self.clinic.desk.let_go(person, case),
            "comment": lambda: self.clinic.desk.comment(person, case, "hm"),
        }
        self.attempt(acts[act])

    @rule(number=st.integers(0, 5), other=st.integers(0, 5))
    def something_relied_on_a_case(self, number: int, other: int) -> None:
        self.attempt(lambda: self.clinic.desk.add_dependant(CONSUMER, self.pick(number), dependant=self.pick(other)))

    @rule(number=st.integers(0, 5), which=st.integers(0, 30))
    def evidence_is_recalled(self, number: int, which: int) -> None:
        (view,) = [view for view in self.clinic.desk.cases(SYSTEM) if view.row.case == self.pick(number)]
        digests = sorted({digest for lane in view.lanes.values() for digest in lane.evidence})
        if digests:
            digest = digests[which % len(digests)]
            found = self.attempt(lambda: self.clinic.desk.recall(APPROVER, digest, "the key was stolen"))
            if found is not None and view.row.relied:
                assert self.clinic.state(view.row.case) == "RECALLED"

    @rule(queue=st.sampled_from(QUEUES), consumer=st.sampled_from(["shop", "bank"]), hold=st.booleans())
    def a_consumer_takes_what_is_next(self, queue: str, consumer: str, hold: bool) -> None:
        found = self.attempt(
            lambda: self.clinic.desk.hand_out(CONSUMER, queue, consumer, lease_s=60, include_hold=hold)
        )
        if found is None:
            return
        assert all(view.row.stands == "HOLD" for view in found.held)
        if found.handed is None:
            return
        case, before = found.handed.view.row.case, self.handed.get(found.handed.view.row.case)
        assert found.handed.view.row.stands in LET_THROUGH
        self.check_let_through(self.fold(case))
        if before is not None and before.key == found.handed.key:
            assert before.until <= self.journal_time(), "two consumers have one case"
        self.handed[case] = found.handed

    @precondition(lambda self: self.handed)
    @rule(number=st.integers(0, 5), back=st.booleans())
    def a_consumer_is_done(self, number: int, back: bool) -> None:
        handed = list(self.handed.values())[number % len(self.handed)]
        desk, case = self.clinic.desk, handed.view.row.case
        end = desk.give_back if back else desk.acknowledge
        self.attempt(lambda: end(CONSUMER, case, handed.consumer, handed.key))
        if self.fold(case).lease is None:
            self.handed.pop(case, None)

    @rule(dies=st.booleans())
    def decisions_are_logged(self, dies: bool) -> None:
        self.signed.dies = dies
        self.attempt(lambda: self.clinic.desk.log_decisions(self.signed))
        self.signed.dies = False

    @rule(number=st.integers(0, 5), seconds=st.sampled_from([1, 600, 3600]))
    def a_case_is_released_early(self, number: int, seconds: int) -> None:
        case = self.pick(number)
        self.attempt(lambda: self.clinic.release(case, seconds))

    @rule(number=st.integers(0, 5), person=st.sampled_from([REVIEWER, SECOND]))
    def somebody_looks_and_approves(self, number: int, person: Actor) -> None:
        case = self.pick(number)
        self.attempt(lambda: self.clinic.approve(case, person))

    @rule()
    def a_turn_is_taken(self) -> None:
        while True:
            done = self.attempt(lambda: self.clinic.desk.tick(limit=2))
            if done is None:  # a crash: begin again
                continue
            if not done.more:
                break
        self.fresh = True
        for case in self.opened:
            found = self.fold(case)
            if found.state in LET_THROUGH:
                self.check_let_through(found)

    # --- what always holds ------------------------------------------------------------------------------------------

    def fold(self, case: str) -> Case:
        with self.store.read() as reader:
            return load_case(reader, case)

    def journal_time(self) -> dt.datetime:
        """The time that the desk goes by."""
        with self.store.read() as reader:
            last = reader.events(reader.head().seq - 1, 1)
        return max([self.clinic.now, *(parse_event(item.raw).at for item in last)])

    def check_let_through(self, case: Case) -> None:
        """Appraised at this moment, without the desk: the policy is met, or an early release stands."""
        with self.store.read() as reader:
            row = reader.row(case.id)
            assert row is not None
            raw = reader.blob(case.id, row.bundle or "")
            policy = policy_by_digest(reader, case.queue, case.policy or "")
        assert raw is not None
        moment = self.journal_time()
        vector = vector_of(appraise(parse_bundle(raw), self.clinic.trusted, policy.appraisal, moment))
        assert decide(policy, vector, case.decisions, case.release, case.history, moment).state == case.state
        assert not [lane for lane in vector.lanes.values() if lane.state == "refuted"]
        if case.state == "CLEAR":
            self.check_requirements(policy, vector, case, moment)
        else:
            assert case.release is not None
            assert case.release.at <= moment < case.release.until

    @staticmethod
    def check_requirements(policy: QueuePolicy, vector: Any, case: Case, moment: dt.datetime) -> None:
        """The policy's own words, read without the gate."""
        assert policy.require
        for name, need in policy.require.items():
            lane = vector.lanes[name]
            assert lane.state in need.states
            assert lane.basis in need.bases
            if need.max_age_s is not None:
                assert moment - vector.dated[name] < dt.timedelta(seconds=need.max_age_s)
        if policy.judgement is not None:
            approved = [item for item in case.decisions if item.act == "approve"]
            if case.label_moved_at is not None:
                approved = [item for item in approved if item.at > case.label_moved_at]
            assert len({item.person for item in approved}) >= policy.judgement.reviewers

    @invariant()
    def what_always_holds(self) -> None:
        self.no_event_is_lost_doubled_or_changed()
        self.the_audit_finds_nothing()
        self.what_was_recalled_reaches_everything_that_relied_on_it()
        self.an_early_release_leaves_its_mark_for_good()
        self.every_act_is_signed_or_waits()

    def no_event_is_lost_doubled_or_changed(self) -> None:
        with self.store.read() as reader:
            stored = reader.events(0, 10_000)
        events = self.read = self.read + [parse_event(item.raw) for item in stored[len(self.read) :]]
        digests = [sha256_hex(item.raw) for item in stored]
        assert digests[: len(self.journal)] == self.journal
        assert len(set(digests)) == len(digests)
        self.journal = digests
        opened = [(event.body["run"], event.body["queue"]) for event in events if event.kind == "opened"]
        assert len(set(opened)) == len(opened)
        logged = [event.body["event"] for event in events if event.kind == "statement_logged"]
        assert logged == sorted(set(logged))

    def the_audit_finds_nothing(self) -> None:
        assert self.clinic.desk.audit(AUDITOR).faults == ()

    def what_was_recalled_reaches_everything_that_relied_on_it(self) -> None:
        found = {case: self.fold(case) for case in self.opened}
        below = {case: [target for kind, target in item.dependants if kind == "case"] for case, item in found.items()}
        for case, item in found.items():
            if item.state != "RECALLED":
                continue
            for target in reach(below, case):
                circle = case in reach(below, target)
                assert found[target].state == "RECALLED" or circle, "a recall did not reach what relied on it"

    def an_early_release_leaves_its_mark_for_good(self) -> None:
        released = {event.case for event in self.read if event.kind == "provisional"}
        for view in self.clinic.desk.cases(SYSTEM):
            assert bool(view.row.released_early) == (view.row.case in released)

    def every_act_is_signed_or_waits(self) -> None:
        waiting = {act.seq for act in self.clinic.desk.waiting()}
        logged = {event.body["event"] for event in self.read if event.kind == "statement_logged"}
        acts = {event.seq for event in self.read if event.kind in ("decided", "released", "recall_ordered")}
        assert waiting | logged == acts
        assert not waiting & logged


def reach(below: dict[str, list[str]], case: str) -> set[str]:
    """Everything that relied on a case, at any remove."""
    found: set[str] = set()
    waiting = list(below[case])
    while waiting:
        target = waiting.pop()
        if target not in found:
            found.add(target)
            waiting += below[target]
    return found


Cases.TestCase.settings = settings(max_examples=HISTORIES, stateful_step_count=30, deadline=None)
TestCases = Cases.TestCase
