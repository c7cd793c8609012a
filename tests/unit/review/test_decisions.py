"""Decisions on their way into the log: signed once however often it is tried, and never before what they judge."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from holdfast.core import canonical
from holdfast.core.bundles import build_bundle, parse_bundle
from holdfast.core.decisions import batch_of, parse_decision_document
from holdfast.core.encoding import sha256_hex, time_encode
from holdfast.core.statements import DecisionBody, build_commitment, parse_envelope, parse_statement
from holdfast.errors import MalformedError, UnavailableError, UsageError
from holdfast.review.decisions import (
    SIGNED_AT_ONCE_S,
    DecisionSigner,
    LoggedDecisions,
    Parent,
    find_parent,
    with_decisions,
)
from holdfast.review.outbox import WaitingAct
from holdfast.verifier.appraisal import appraise
from holdfast.verifier.policy import DEFAULT_POLICY, parse_policy
from tests.helpers.clock import FakeClock
from tests.helpers.decisions import CASE, LANES, OTHER_CASE, PANEL, PANEL_DOCUMENT, POLICY, document, trust_with_panel
from tests.helpers.network import NONCE, RUN, Network, at, bundle_of, p256_signer
from tests.helpers.review import REVIEWER, Clinic

NETWORK, PRIVATE = Network(), Network(settlement="private")
EXECUTION = sha256_hex(NETWORK.execution())
KEY = bytes(range(32))
OTHER_RUN = RUN[:-1] + "0"
SIGNER = DecisionSigner(PANEL, PANEL_DOCUMENT.digest, KEY)
PARENT = Parent(EXECUTION, EXECUTION, private=False)


def act(found=None, *, cases=(), bundle=None, **change):
    found = found or document()
    given = {
        "seq": 7,
        "event": "ee" * 32,
        "document": found.raw,
        "run": RUN,
        "case": CASE,
        "lanes": LANES.hex(),
        "policy": POLICY.hex(),
        "cases": cases,
        "bundle": NETWORK.bundle() if bundle is None else bundle,
    }
    return WaitingAct(**(given | change))


class MemoryLog:
    """A log that deduplicates, and is silent when told."""

    def __init__(self, *held):
        self.held = list(held)
        self.entries = []
        self.silent = False
        self.lose_answer = False

    def index_of(self, digest):
        if self.silent:
            raise UnavailableError("log.unavailable", "silence")
        return self.held.index(digest) if digest in self.held else None

    def append(self, entry):
        digest = sha256_hex(entry)
        if not entry.startswith(b'{"commitment":'):
            digest = parse_envelope(entry).digest
        if digest not in self.held:
            self.held.append(digest)
            self.entries.append(entry)
        if self.lose_answer:
            raise UnavailableError("log.unavailable", "the answer was lost")
        return self.held.index(digest)


def logged(*held, now=None, signer=SIGNER):
    clock = FakeClock(now or at(2))
    log = MemoryLog(*held)
    return LoggedDecisions(signer, log, clock), log, clock


def read(signed):
    return parse_statement(parse_envelope(signed.envelope))


# What is not logged


@pytest.mark.parametrize(
    "bundle",
    [
        bundle_of([]),
        bundle_of(NETWORK.journal()[:3]),
        bundle_of(
            [
                item
                for item in PRIVATE.journal()
                if item["kind"] != "commitment"  # how would the log know it?
            ]
        ),
        bundle_of(
            [
                *NETWORK.journal(),
                {
                    "kind": "statement",
                    "at": "2026-01-01T12:00:09.000Z",
                    "envelope": canonical.decode(NETWORK.seal(NETWORK.execution(claimed_at=at(3)))),
                },
            ]
        ),
    ],
)
def test_nothing_is_logged_about_a_run_that_is_not_closed_in_one_known_way(bundle):
    assert find_parent(bundle) is None
    desk, log, _ = logged(EXECUTION)
    assert desk.record(act(bundle=bundle)) is None
    assert log.entries == []


def test_a_case_without_evidence_waits():
    desk, log, _ = logged(EXECUTION)
    assert desk.record(replace(act(), bundle=None)) is None
    assert log.entries == []


def test_a_decision_waits_until_the_log_has_what_it_judges_whatever_the_bundle_says():
    """The bundle shows the closing statement as logged; only the log knows whether it is in this log."""
    desk, log, _ = logged()
    assert desk.record(act()) is None
    assert log.entries == []
    log.held.append(EXECUTION)
    digest = desk.record(act())
    assert log.held == [EXECUTION, digest]


def test_a_silent_log_is_said_and_not_taken_for_a_decision_that_cannot_be_logged():
    desk, log, _ = logged(EXECUTION)
    log.silent = True
    with pytest.raises(UnavailableError, match=r"log\.unavailable"):
        desk.record(act())


@pytest.mark.parametrize(
    ("wrong", "error", "code"),
    [
        (act(document=b"{}"), MalformedError, "decision.fields"),
        (act(document(case=OTHER_CASE)), UsageError, "decision.case"),
        (act(document(run=OTHER_RUN)), UsageError, "decision.case"),
        (act(document(act="recall"), cases=(OTHER_CASE,)), UsageError, "decision.cases"),
        (act(document(act="recall"), cases=(CASE, CASE)), UsageError, "decision.cases"),
        (act(cases=(CASE, OTHER_CASE)), UsageError, "decision.cases"),
    ],
)
def test_an_act_whose_document_is_of_something_else_is_never_signed(wrong, error, code):
    desk, log, _ = logged(EXECUTION)
    with pytest.raises(error) as refused:
        desk.record(wrong)
    assert refused.value.code == code
    assert log.entries == []


def test_a_salt_needs_a_secret():
    with pytest.raises(UsageError, match=r"decision\.salt"):
        DecisionSigner(PANEL, PANEL_DOCUMENT.digest, KEY[:31])


# What is signed


def test_the_statement_says_what_the_act_says_and_opens_to_its_document():
    signed = SIGNER.sign(act(), PARENT, at(2))
    found = read(signed)
    record = bytes.fromhex(found.predicate["record"])
    assert found.body == DecisionBody("approve", CASE, LANES, POLICY, record, None)
    assert (found.attester, found.parents, found.claimed_at) == (PANEL_DOCUMENT.digest, (EXECUTION,), at(2))
    assert signed.digest == found.digest
    assert parse_decision_document(signed.document) == document()
    assert signed.entry == signed.envelope


def test_salts_are_the_panels_and_differ_between_decisions():
    one, same = SIGNER.sign(act(), PARENT, at(2)), SIGNER.sign(act(), PARENT, at(2))
    other = SIGNER.sign(act(document(reason="Other words.")), PARENT, at(2))
    elsewhere = DecisionSigner(PANEL, PANEL_DOCUMENT.digest, KEY[::-1]).sign(act(), PARENT, at(2))
    assert one == same
    assert len({one.salt, other.salt, elsewhere.salt, KEY}) == 4
    assert one.digest != elsewhere.digest


def test_signing_again_makes_no_second_statement_even_where_signatures_differ():
    signer = p256_signer("panel", "statement")
    twice = [DecisionSigner(signer, PANEL_DOCUMENT.digest, KEY).sign(act(), PARENT, at(seconds)) for seconds in (2, 99)]
    assert twice[0].envelope != twice[1].envelope
    assert twice[0].digest == twice[1].digest


@pytest.mark.parametrize("seconds", [0, 1, SIGNED_AT_ONCE_S])
def test_what_is_signed_at_once_claims_the_decisions_own_time(seconds):
    assert read(SIGNER.sign(act(), PARENT, at(2 + seconds))).claimed_at == at(2)


@pytest.mark.parametrize("seconds", [SIGNED_AT_ONCE_S + 1, 600, 3601, 86_400 * 30])
def test_what_is_signed_later_claims_a_time_at_which_full_nodes_can_see_it(seconds):
    """Were the decision's own time claimed, full nodes would refute it as backdated."""
    now = at(2 + seconds)
    claimed_at = read(SIGNER.sign(act(), PARENT, now)).claimed_at
    assert at(2) < claimed_at <= now
    assert now - claimed_at < dt.timedelta(seconds=SIGNED_AT_ONCE_S)


def test_a_recall_of_many_names_them_by_one_root():
    cases = (OTHER_CASE, CASE)
    signed = SIGNER.sign(act(document(act="recall"), cases=cases), PARENT, at(2))
    assert read(signed).body.cases == batch_of(cases)
    assert signed.path is not None
    [_, opening] = signed.items(at(9))
    assert opening["path"] == signed.path.to_json()
    alone = SIGNER.sign(act(document(act="recall")), PARENT, at(2))
    assert (read(alone).body.cases, alone.path) == (None, None)


# The log


def test_a_lost_answer_makes_no_second_entry():
    desk, log, clock = logged(EXECUTION)
    log.lose_answer = True
    with pytest.raises(UnavailableError):
        desk.record(act())
    log.lose_answer = False
    clock._elapsed += 60
    assert desk.record(act()) == log.held[-1]
    assert len(log.entries) == 1


def test_a_private_run_gets_a_commitment():
    bundle = PRIVATE.bundle()
    parent = find_parent(bundle)
    entry, _ = PRIVATE.commitments()[1]
    assert parent == Parent(sha256_hex(PRIVATE.execution()), sha256_hex(entry), private=True)
    desk, log, _ = logged(sha256_hex(entry))
    digest = desk.record(act(bundle=bundle))
    signed = SIGNER.sign(act(), parent, at(2))
    assert signed.digest == digest
    assert signed.commitment_salt is not None
    assert log.entries == [build_commitment(digest, signed.commitment_salt)] == [signed.entry]
    assert read(signed).claimed_at == at(0)
    assert [item["kind"] for item in signed.items(at(9))] == ["statement", "decision", "commitment"]


@pytest.mark.parametrize("network", [NETWORK, PRIVATE])
@pytest.mark.parametrize(("handed_in", "again"), [(0, 400), (0, 86_400), (301, 900), (4000, 7000), (86_400, 89_700)])
def test_what_a_crash_made_forget_is_found_in_the_log_and_not_signed_anew(network, handed_in, again):
    parent = find_parent(network.bundle())
    desk, log, clock = logged(parent.entry_digest, now=at(2 + handed_in))
    digest = desk.record(act(bundle=network.bundle()))
    clock._elapsed += again - handed_in
    assert desk.record(act(bundle=network.bundle())) == digest
    assert len(log.entries) == 1


# Its bundle


@pytest.mark.parametrize("network", [NETWORK, PRIVATE])
def test_a_bundle_with_its_decisions_proves_who_decided_and_keeps_all_else(network):
    raw, trust, policy = network.bundle(), trust_with_panel(network), parse_policy(DEFAULT_POLICY)
    signed = SIGNER.sign(act(), find_parent(raw), at(2))
    made = with_decisions(raw, [signed], at(60))
    before, after = (appraise(parse_bundle(one), trust, policy, at(60)) for one in (raw, made))
    assert after.lanes["judgement"].state == "proven"
    for name, lane in before.lanes.items():
        assert name == "judgement" or after.lanes[name] == lane
    then = appraise(parse_bundle(made), trust, policy, at(60), before.known)
    assert then.lanes == before.lanes
    assert with_decisions(made, [signed], at(70)) == made


def test_what_is_added_follows_what_stands_there_whatever_the_clocks_say():
    ahead = [{"kind": "note", "code": "asked", "at": time_encode(at(500))}]
    note = {"kind": "note", "code": "cosigned", "at": time_encode(at(3))}
    signed = SIGNER.sign(act(), PARENT, at(2))
    made = parse_bundle(with_decisions(build_bundle(RUN, at(400), ahead), [signed], at(60), [note]))
    assert made.exported_at == at(400)
    assert {entry.at for entry in made.journal} == {at(500)}


def test_what_was_kept_of_a_decision_is_added_to_a_newer_bundle_with_its_time():
    signed = SIGNER.sign(act(), PARENT, at(2))
    kept = signed.items(at(20))
    made = parse_bundle(with_decisions(NETWORK.bundle(), (), at(60), kept))
    assert [entry.at for entry in made.journal[-2:]] == [at(20)] * 2
    assert made.exported_at == at(60)
    assert appraise(made, trust_with_panel(NETWORK), parse_policy(DEFAULT_POLICY), at(60)).lanes["judgement"].state == (
        "proven"
    )


# With a desk


def test_a_desk_hands_in_what_people_did_in_order_and_notes_where_it_stands():
    clinic = Clinic()
    clinic.queue(reviewers=1)
    case = clinic.case(stage="settled")
    clinic.approve(case)
    [waiting] = clinic.desk.waiting()
    log = MemoryLog()
    decisions = LoggedDecisions(SIGNER, log, clinic.clock)
    assert clinic.desk.log_decisions(decisions) == 0
    log.held.append(EXECUTION)
    assert clinic.desk.log_decisions(decisions) == 1
    assert clinic.desk.log_decisions(decisions) == 0
    found = parse_statement(parse_envelope(log.entries[0]))
    assert (found.run, found.body.case, found.body.act) == (RUN, case, "approve")
    signed = decisions.log(waiting)
    assert signed.digest == found.digest
    assert parse_decision_document(signed.document).person == REVIEWER.id
    assert NONCE not in log.entries[0].decode()


def test_one_recall_of_two_cases_is_one_statement():
    clinic = Clinic()
    for name in ("default", "second"):
        clinic.queue(name)
    cases = [clinic.case(name, "settled") for name in ("default", "second")]
    clinic.pass_time(1)
    clinic.note(cases[0], "refuted")
    waiting = clinic.desk.waiting()
    log = MemoryLog(EXECUTION)
    clinic.desk.log_decisions(LoggedDecisions(SIGNER, log, clinic.clock))
    assert len(log.entries) == len(waiting) >= 1
    body = parse_statement(parse_envelope(log.entries[0])).body
    assert (body.act, body.case) == ("recall", waiting[0].case)
