"""The journal against the log: what was rewritten in one of them, the other tells."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from holdfast.core import canonical
from holdfast.core.encoding import sha256_hex
from holdfast.core.statements import Statement, parse_envelope, parse_statement
from holdfast.ports.case_store import StoredEvent
from holdfast.review.decisions import DecisionSigner, Parent, SignedDecision, find_parent
from holdfast.review.log_audit import Act, LogComparison, Logged, Opening, acts_of, compare_with_log, parse_opening
from holdfast.verifier.checks import refuse_attester
from tests.helpers.decisions import PANEL, PANEL_DOCUMENT, Made, trust_with_panel
from tests.helpers.network import at
from tests.helpers.review import APPROVER, REVIEWER, SYSTEM, Clinic

SIGNER = DecisionSigner(PANEL, PANEL_DOCUMENT.digest, bytes(range(32)))
TRUST = trust_with_panel()


class Logbook:
    """A clinic in which somebody rejected a case, and a log that holds the statement."""

    def __init__(self, *, private: bool = False) -> None:
        self.clinic = Clinic()
        self.clinic.queue()
        self.case = self.clinic.case(stage="settled")
        self.clinic.desk.view(REVIEWER, self.case)
        self.clinic.desk.decide(REVIEWER, self.case, "reject", reason="the customer withdrew")
        (waiting,) = self.clinic.desk.waiting()
        parent = find_parent(waiting.bundle or b"")
        assert parent is not None
        parent = Parent(parent.digest, parent.entry_digest, private=private)
        self.signed = SIGNER.sign(waiting, parent, self.clinic.now)
        self.clinic.desk.note_statement(waiting.seq, self.signed.digest)
        self.statement = parse_statement(parse_envelope(self.signed.envelope))
        clear = {} if private else {self.signed.digest: self.statement}
        self.logged = Logged(clear, {sha256_hex(self.signed.entry)} if private else set())
        self.kept: Opening | None = parse_opening(kept(self.signed))
        assert self.kept is not None

    @property
    def events(self) -> list[StoredEvent]:
        with self.clinic.store.read() as reader:
            return reader.events(0, 1000)

    def compare(self, acts: list[Act] | None = None, **changes: Any) -> LogComparison:
        given: dict[str, Any] = {
            "opening": lambda _: self.kept,
            "is_private": lambda _: False,
            "refuse": believe,
            **changes,
        }
        logged = given.pop("logged", self.logged)
        return compare_with_log(acts_of(self.events) if acts is None else acts, logged, **given)


def kept(signed: SignedDecision) -> bytes:
    return canonical.encode_known({"items": signed.items(at(20))})


def believe(statement: Statement) -> str | None:
    return refuse_attester(statement, TRUST, until=statement.claimed_at)


def codes(found: LogComparison) -> list[str]:
    return [fault.code for fault in found.faults]


@pytest.mark.parametrize(
    "change",
    [
        lambda act: {"act": "approve"},
        lambda act: {"case": "00000000-0000-4000-8000-00000000ffff"},
        lambda act: {"lanes": "00" * 32},
        lambda act: {"policy": "00" * 32},
        lambda act: {"batch": ("00" * 32, 2)},
        lambda act: {"document": act.document.replace(b"rita", b"rosa")},
        lambda act: {"document": act.document.replace(b"withdrew", b"insisted")},
    ],
)
def test_an_act_that_was_rewritten_differs_from_what_was_logged(change: Callable[[Act], dict[str, Any]]) -> None:
    book = Logbook()
    (act,) = acts_of(book.events)
    found = book.compare([dataclasses.replace(act, **change(act))])
    assert codes(found) == ["audit.log_differs"]
    assert found.standing == 0


def test_a_statement_that_is_not_in_the_log_is_missed() -> None:
    book = Logbook()
    assert codes(book.compare(logged=Logged({}, set()))) == ["audit.log_missing"]
    book.kept = None
    assert codes(book.compare(logged=Logged({}, set()))) == ["audit.log_missing"]


def test_a_decision_that_the_journal_lost_is_told_by_the_log() -> None:
    book = Logbook()
    found = book.compare([], panels=[PANEL_DOCUMENT.digest])
    assert codes(found) == ["audit.log_unknown"]
    assert found.faults[0].case == book.case
    assert codes(book.compare([])) == []  # nobody said which panel this is


def test_what_somebody_else_put_into_the_log_is_no_decision_of_this_panel() -> None:
    book = Logbook()
    forged = Made(signer=PANEL, claimed_at=at(4000000000))
    foreign = parse_statement(parse_envelope(Made(attester="ab" * 32).envelope))
    unsigned = parse_statement(parse_envelope(forged.envelope))
    others = Logged({**book.logged.decisions, foreign.digest: foreign, unsigned.digest: unsigned}, set())
    assert codes(book.compare(logged=others)) == []


def test_a_statement_that_trust_does_not_believe_stands_for_nothing() -> None:
    book = Logbook()
    found = book.compare(refuse=lambda _: "unknown-key")
    assert codes(found) == ["audit.log_differs"]
    assert "unknown-key" in found.faults[0].says


def test_a_statement_of_another_kind_stands_for_nothing() -> None:
    book = Logbook()
    odd = dataclasses.replace(book.statement, body=None)
    assert codes(book.compare(logged=Logged({odd.digest: odd}, set()))) == ["audit.log_differs"]


def test_what_was_logged_as_it_is_told_stands() -> None:
    book = Logbook()
    found = book.compare()
    assert (found.standing, found.unopened, found.waiting, found.unseen, found.faults) == (1, 0, 0, 0, ())
    book.kept = None
    found = book.compare()
    assert (found.standing, found.unopened, found.faults) == (1, 1, ())


def test_an_act_of_a_private_run_is_found_by_what_was_kept_and_else_not_compared() -> None:
    book = Logbook(private=True)
    found = book.compare(is_private=lambda _: True)
    assert (found.standing, found.unseen, found.faults) == (1, 0, ())
    assert codes(book.compare(logged=Logged({}, {"00" * 32}))) == ["audit.log_missing"]
    book.kept = None
    for answer in (True, None):
        found = book.compare(is_private=lambda _, answer=answer: answer)
        assert (found.standing, found.unseen, found.faults) == (0, 1, ())


def test_an_act_on_its_way_into_the_log_is_no_finding() -> None:
    book = Logbook()
    (act,) = acts_of(book.events)
    found = book.compare([dataclasses.replace(act, statement=None)], panels=[PANEL_DOCUMENT.digest])
    assert (found.waiting, found.faults) == (1, ())


def test_an_act_that_was_signed_twice_is_one_act() -> None:
    book = Logbook()
    again = dataclasses.replace(book.statement, digest="ab" * 32)
    twice = Logged({**book.logged.decisions, again.digest: again}, set())
    assert book.compare(logged=twice).faults == ()


def test_a_recall_of_several_names_its_batch() -> None:
    clinic = Clinic()
    clinic.queue()
    clinic.queue("other")
    cases = [clinic.case(queue, stage="settled") for queue in ("default", "other")]
    lanes = clinic.desk.case(SYSTEM, cases[0]).view.lanes
    evidence = next(digest for lane in lanes.values() for digest in lane.evidence)
    clinic.desk.recall(APPROVER, evidence, "the key was stolen")
    with clinic.store.read() as reader:
        (act,) = acts_of(reader.events(0, 1000))
    assert act.act == "recall"
    assert act.batch is not None
    assert act.batch[1] == 2
    assert act.statement is None


@pytest.mark.parametrize("raw", [None, b"", b"{}", b'{"items":[]}', b'{"items":[{"kind":"statement"}]}'])
def test_what_is_no_opening_opens_nothing(raw: bytes | None) -> None:
    assert parse_opening(raw) is None


def test_a_commitment_to_another_statement_opens_nothing() -> None:
    items = Logbook(private=True).signed.items(at(20))
    for item in items:
        if item["kind"] == "commitment":
            item["salt"] = "00" * 32
    assert parse_opening(canonical.encode_known({"items": items})) is None
