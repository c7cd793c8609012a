"""Cases of several runs over random interleavings: evidence that comes, comes late, is taken back by a chain that went
another way, is refuted, superseded or contradicts itself; keys, quorums and logs that trust takes back; people who act,
claim, gain and lose their roles; policies that change; time that passes; and a crash before or after any commit, with a
restart.

Whatever is shown or handed out as let through is judged at that very moment, without the desk: by appraising the
evidence that is there and reading the policy's own words.

``HOLDFAST_SCHEDULES`` says how much is tried (default 24: 6 histories of 30 steps; 1000: 125).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from holdfast.adapters.case_store_sql import SQLCaseStore
from holdfast.core import canonical
from holdfast.core.bundles import parse_bundle
from holdfast.core.encoding import sha256_hex, time_encode
from holdfast.core.trust import Trust
from holdfast.errors import HoldfastError
from holdfast.ports.case_store import CaseFilter
from holdfast.review.cases import LET_THROUGH, Case
from holdfast.review.events import SYSTEM, Actor, Event, parse_event
from holdfast.review.hand_over import HandOut
from holdfast.review.outbox import WaitingAct
from holdfast.review.queues import policy_by_digest
from holdfast.review.work import load_case
from holdfast.verifier.appraisal import appraise
from holdfast.verifier.gate import decide, vector_of
from holdfast.verifier.policy import DEFAULT_POLICY, parse_policy
from holdfast.verifier.queue_policy import QueuePolicy
from tests.helpers import crashes
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
from tests.helpers.stories import RUNS, evidence_of, network_of

HISTORIES = max(6, crashes.schedules() // 8)
QUEUES = [f"queue-{number}" for number in range(4)]
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


def revoked_trust(*places: int) -> Trust:
    """Trust in which keys have been suspect since before the runs: 0 is the gateway's, 2 to 5 are full nodes'."""
    network, moment = Network(), time_encode(at(-60))
    nodes: list[dict[str, Any]] = canonical.decode(network.trust_version())["nodes"]
    for place in places:
        nodes[place]["revoked"] = {"at": moment, "suspect_since": moment, "reason": "stolen"}
    return network.trust(nodes=nodes)


TRUSTS = [
    trust(),
    trust(),
    revoked_trust(0),
    revoked_trust(2),
    revoked_trust(2, 3),
    Network().trust(logs=[]),
    None,
    Network(expires_at=at(5000)).trust(),
]
TAKES_BACK = {4, 5}
"""Places of those that take something back without refuting anything: what rested on it is recalled all the same."""
HELD = {"rita": {"reviewer"}, "sam": {"reviewer"}, "ada": {"approver"}}
"""Roles of people at first."""
WRONG = ["refuted", "superseded", "forked"]


class Cases(RuleBasedStateMachine):
    """The desk as everybody uses it, and a crash now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.store = FragileStore()
        self.clinic = Clinic(self.store, roles=True)
        self.clinic.held |= {name: set(roles) for name, roles in HELD.items()}
        self.clinic.held |= {OWNER.id: {"policy_owner"}, AUDITOR.id: {"auditor"}}
        self.signed = Signed()
        self.journal: list[str] = []
        self.handed: dict[str, HandOut] = {}
        self.opened: list[str] = []
        self.fresh = False
        """Whether a turn has been taken since time, trust or policies moved."""
        self.read: list[Event] = []
        for place, name in enumerate(QUEUES[:-1]):
            self.clinic.queue(name, **POLICIES[place % len(POLICIES)])
        for number, name in enumerate(QUEUES):
            self.opened.append(self.open(name, RUNS[number % len(RUNS)]))
            self.note(self.opened[-1], "logged")

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

    def open(self, queue: str, run: str) -> str:
        return self.clinic.desk.open(SYSTEM, run, queue).id

    def note(self, case: str, stage: str, seconds: float | None = None) -> Case:
        """Evidence of a case's run arrives, exported now or then."""
        exported = (self.journal_time() - at(0)).total_seconds() if seconds is None else seconds
        raw = evidence_of(self.fold(case).run, stage, exported)
        return self.clinic.desk.note_bundle(SYSTEM, case, raw)

    @rule(queue=st.sampled_from(QUEUES), run=st.sampled_from(RUNS), twice=st.booleans())
    def a_case_is_opened(self, queue: str, run: str, twice: bool) -> None:
        for _ in range(1 + twice):
            self.attempt(lambda: self.open(queue, run))
        with self.store.read() as reader:
            self.opened = [row.case for row in reader.rows(CaseFilter(limit=100))]

    @rule(number=st.integers(0, 11), stage=st.sampled_from([*STAGES, "superseded", "forked"]), late=st.integers(0, 4))
    def evidence_arrives(self, number: int, stage: str, late: int) -> None:
        self.attempt(lambda: self.note(self.pick(number), stage, 5.0 if late == 4 else None))

    @rule(number=st.integers(0, 5), print_=st.sampled_from(["fp_1", "fp_2", None]), tick=st.integers(0, 3))
    def evidence_names_what_answered(self, number: int, print_: str | None, tick: int) -> None:
        seconds = (self.journal_time() - at(0)).total_seconds()
        raw = told(fingerprint=print_, seconds=0.5 + tick / 10, exported=seconds)
        self.attempt(lambda: self.clinic.desk.note_bundle(SYSTEM, self.pick(number), raw))

    @rule(artifact=st.sampled_from(["a" * 64, "b" * 64]))
    def somebody_says_what_a_label_means(self, artifact: str) -> None:
        self.attempt(lambda: self.clinic.desk.note_label(SYSTEM, "small-1", artifact))

    @rule(number=st.integers(0, 11))
    def a_run_settles(self, number: int) -> None:
        self.attempt(lambda: self.note(self.pick(number), "settled"))

    @rule(number=st.integers(0, 11))
    def a_chain_goes_another_way(self, number: int) -> None:
        """What was final is not in the newest evidence any more: nobody took anything back, and nothing is recalled."""
        case = self.pick(number)
        before = self.fold(case).state
        done = self.attempt(lambda: self.note(case, "logged"))
        if done is not None and self.clinic.trusted is not None and before == "CLEAR":
            assert done.state in ("HOLD", "PROVISIONAL", "RECALLED")

    @rule(number=st.integers(0, 11), stage=st.sampled_from(WRONG))
    def a_round_turns_against_a_run(self, number: int, stage: str) -> None:
        self.attempt(lambda: self.note(self.pick(number), stage))

    @rule(stages=st.lists(st.sampled_from(["logged", "settled", "refuted"]), min_size=1, max_size=3))
    def evidence_of_several_runs_arrives_together(self, stages: list[str]) -> None:
        exported = (self.journal_time() - at(0)).total_seconds()
        taken = [(run, evidence_of(run, stage, exported)) for run, stage in zip(RUNS, stages, strict=False)]
        done = self.attempt(lambda: self.clinic.desk.take_in(SYSTEM, taken))
        assert done is None or [item.trouble for item in done] == [None] * len(taken)

    @rule(run=st.sampled_from(RUNS))
    def a_superseding_round_comes_before_any_evidence_of_it(self, run: str) -> None:
        network = network_of(run)
        candidate, entry, blob = network.superseding_round()
        with self.store.read() as reader:
            stood = reader.relying([entry.statement_digest.hex()])
        messages = network.messages(candidate)
        done = self.attempt(lambda: self.clinic.desk.take_verdicts(SYSTEM, candidate, messages, blob))
        if done is not None and done.cases:
            assert set(stood) <= {case for case in self.opened if self.fold(case).state == "RECALLED"}

    @rule(number=st.integers(0, len(TRUSTS) - 1))
    def trust_changes(self, number: int) -> None:
        whole = TRUSTS[0].digest if TRUSTS[0] is not None else None  # under another one it may rest on less
        found = [self.fold(case) for case in self.opened]
        stood = [case.id for case in found if case.state == "CLEAR" and case.trust == whole and self.proven(case.id)]
        self.clinic.trusted, self.fresh = TRUSTS[number], False
        if number in TAKES_BACK and self.attempt(self.clinic.desk.tick) is not None:
            assert {self.fold(case).state for case in stood} <= {"RECALLED"}, "what was taken back was let stand"

    @rule(number=st.integers(0, 11), taken=st.sampled_from(sorted(TAKES_BACK)))
    def what_a_settled_case_rests_on_is_taken_back(self, number: int, taken: int) -> None:
        self.trust_changes(0)
        self.a_run_settles(number)
        self.trust_changes(taken)

    @rule(number=st.integers(0, 11), person=st.sampled_from(PEOPLE))
    def somebody_claims_what_a_consumer_wants(self, number: int, person: Actor) -> None:
        case = self.pick(number)
        self.a_run_settles(number)
        self.attempt(lambda: self.clinic.desk.claim(person, case))
        self.a_consumer_takes_what_is_next(self.fold(case).queue, "shop", hold=False)

    @rule(number=st.integers(0, 11), seconds=st.sampled_from(SECONDS))
    def a_settled_case_grows_old_on_a_list(self, number: int, seconds: float) -> None:
        self.a_run_settles(number)
        self.time_passes(seconds)
        self.somebody_reads_a_list((), newest_first=False)

    def proven(self, case: str) -> bool:
        """Whether its settlement is proven under the trust that was in force."""
        with self.store.read() as reader:
            row = reader.row(case)
            raw = reader.blob(case, row.bundle or "") if row is not None else None
        assert raw is not None
        found = appraise(parse_bundle(raw), self.clinic.trusted, parse_policy(DEFAULT_POLICY), self.journal_time())
        return found.lanes["settlement"].state == "proven"

    @rule(person=st.sampled_from(sorted(HELD)), gone=st.booleans())
    def somebody_loses_or_gains_a_role(self, person: str, gone: bool) -> None:
        self.clinic.held[person] = set() if gone else set(HELD[person])

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
        number=st.integers(0, 11),
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
        before = self.head()
        done = self.attempt(acts[act])
        if not self.clinic.held[person.id] and looks == 0:
            assert done is None, "somebody acted whose role was taken away"
            assert self.head() == before

    def head(self) -> int:
        with self.store.read() as reader:
            return reader.head().seq

    @rule(number=st.integers(0, 11), other=st.integers(0, 11))
    def something_relied_on_a_case(self, number: int, other: int) -> None:
        self.attempt(lambda: self.clinic.desk.add_dependant(CONSUMER, self.pick(number), dependant=self.pick(other)))

    @rule(number=st.integers(0, 11), which=st.integers(0, 30))
    def evidence_is_recalled(self, number: int, which: int) -> None:
        listed = self.attempt(lambda: self.clinic.desk.cases(SYSTEM)) or []
        (view,) = [view for view in listed if view.row.case == self.pick(number)] or [None]
        digests = sorted({digest for lane in view.lanes.values() for digest in lane.evidence}) if view else []
        if view is not None and digests:
            digest = digests[which % len(digests)]
            found = self.attempt(lambda: self.clinic.desk.recall(APPROVER, digest, "the key was stolen"))
            if found is not None and view.row.relied:
                assert self.fold(view.row.case).state == "RECALLED"

    @rule(stands=st.sampled_from([(), ("CLEAR",), ("CLEAR", "PROVISIONAL")]), newest_first=st.booleans())
    def somebody_reads_a_list(self, stands: tuple[str, ...], newest_first: bool) -> None:
        """No turn was taken: what is listed as let through is let through at this moment all the same."""
        which = CaseFilter(stands=stands, newest_first=newest_first)
        for view in self.attempt(lambda: self.clinic.desk.cases(SYSTEM, which)) or []:
            if view.row.stands in LET_THROUGH:
                self.check_let_through(self.fold(view.row.case))

    @rule(number=st.integers(0, 11))
    def somebody_reads_a_case(self, number: int) -> None:
        file = self.attempt(lambda: self.clinic.desk.case(AUDITOR, self.pick(number)))
        if file is not None and file.case.state in LET_THROUGH:
            self.check_let_through(file.case)

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
        assert self.fold(case).holder(self.journal_time()) is None, "a person has this case"
        assert found.handed.view.row.stands in LET_THROUGH
        self.check_let_through(self.fold(case))
        if before is not None and before.key == found.handed.key:
            assert before.until <= self.journal_time(), "two consumers have one case"
        self.handed[case] = found.handed

    @precondition(lambda self: self.handed)
    @rule(number=st.integers(0, 11), back=st.booleans())
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

    @rule(number=st.integers(0, 11), seconds=st.sampled_from([1, 600, 3600]))
    def a_case_is_released_early(self, number: int, seconds: int) -> None:
        case = self.pick(number)
        self.attempt(lambda: self.clinic.release(case, seconds))

    @rule(number=st.integers(0, 11), person=st.sampled_from([REVIEWER, SECOND]))
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
        self.no_two_desks_hold_one_case()

    def no_two_desks_hold_one_case(self) -> None:
        moment = self.journal_time()
        for case in self.opened:
            found = self.fold(case)
            assert found.holder(moment) is None or found.taker(moment) is None, "a person and a program have one case"

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
        with self.store.read() as reader:
            for row in reader.rows(CaseFilter(limit=100)):
                assert bool(row.released_early) == (row.case in released)

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
