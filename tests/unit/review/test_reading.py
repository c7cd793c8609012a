"""What a panel was showing at a moment, told again with the evidence, the position and the trust of then."""

from __future__ import annotations

import datetime as dt

import pytest

from holdfast.core.bundles import parse_bundle
from holdfast.core.encoding import sha256_hex
from holdfast.core.trust import restore_trust
from holdfast.errors import HoldfastError, RefusedError, UsageError
from holdfast.review.events import SYSTEM
from holdfast.verifier.lanes import LANES
from tests.helpers.network import Network, at
from tests.helpers.review import AUDITOR, Clinic, trust


@pytest.fixture
def clinic() -> Clinic:
    return Clinic()


def story(clinic: Clinic) -> str:
    """A case that was opened before its round, and saw each stage come."""
    clinic.clock._elapsed = -9.0  # opened a second after the question
    clinic.queue()
    case = clinic.case()
    for stage, seconds in (("answered", 1.5), ("logged", 3), ("settled", 6)):
        clinic.clock._elapsed = seconds - 10
        clinic.note(case, stage)
    clinic.clock._elapsed = 0.0
    return case


def seqs(clinic: Clinic, case: str, kind: str) -> list[int]:
    return [event.seq for event in clinic.desk.case(SYSTEM, case).events if event.kind == kind]


@pytest.mark.parametrize("number", [0, 999])
def test_what_is_no_moment_of_a_case_cannot_be_asked_about(clinic, number):
    case = story(clinic)
    for read in (clinic.desk.reading, clinic.desk.reading_known):
        with pytest.raises(UsageError) as caught:
            read(SYSTEM, case, number)
        assert caught.value.code == "case.unknown"


def test_sentences_are_told_again_after_trust_has_changed(clinic):
    case = story(clinic)
    before = [clinic.desk.reading(SYSTEM, case, seq) for seq in seqs(clinic, case, "appraised")]
    clinic.trusted = Network(expires_at=at(5000)).trust()
    clinic.desk.tick()
    after = [clinic.desk.reading(SYSTEM, case, reading.event.seq) for reading in before]
    assert all(reading.retold for reading in before + after)
    assert [reading.then for reading in before] == [reading.then for reading in after]
    assert {reading.trust for reading in after} == {trust().digest}
    newest = clinic.desk.reading(SYSTEM, case, seqs(clinic, case, "appraised")[-1])
    assert newest.trust == clinic.trusted.digest


def test_without_trust_then_is_told_as_it_was_then(clinic):
    clinic.trusted = None
    case = story(clinic)
    first = clinic.desk.reading(SYSTEM, case, seqs(clinic, case, "appraised")[-1])
    clinic.trusted = trust()
    clinic.desk.tick()
    again = clinic.desk.reading(SYSTEM, case, first.event.seq)
    assert again.retold
    assert again.then == first.then
    assert again.then["settlement"].state == "unknown"
    assert again.now["settlement"].state == "proven"


def test_a_trust_that_is_not_kept_leaves_states_without_sentences(clinic):
    case = story(clinic)
    seq = seqs(clinic, case, "appraised")[-1]
    clinic.trusted = Network(expires_at=at(5000)).trust()
    with clinic.store._engine.begin() as connection:
        connection.exec_driver_sql("UPDATE trust_documents SET payload = x'00'")
    reading = clinic.desk.reading(SYSTEM, case, seq)
    assert not reading.retold
    assert reading.then["settlement"].state == "proven"
    assert reading.then["settlement"].says == ""


def test_arrivals_are_moments_between_events(clinic):
    case = story(clinic)
    reading = clinic.desk.reading(SYSTEM, case, seqs(clinic, case, "opened")[0])
    times = [stop.at for stop in reading.stops]
    assert times == sorted(times)
    arrived = [stop for stop in reading.stops if stop.known is not None]
    assert {stop.code for stop in arrived} >= {"cosigned", "proposed", "voted", "final", "verdict"}
    assert all(stop.at >= reading.event.at for stop in arrived)
    assert all(reading.stops[read.place] == read.stop for read in [reading])


def test_at_an_arrival_what_was_shown_and_what_was_there_to_know_are_told_apart(clinic):
    """The round was final at second 4; the panel took that in at second 6."""
    case = story(clinic)
    stops = clinic.desk.reading(SYSTEM, case, seqs(clinic, case, "opened")[0]).stops
    last = [stop for stop in stops if stop.known is not None and stop.at == at(4)][-1]
    reading = clinic.desk.reading_known(SYSTEM, case, last.known)
    assert (reading.state, reading.then["settlement"].state) == ("HOLD", "pending")
    assert reading.arrived["settlement"].state == "proven"
    assert reading.now["settlement"].state == "proven"
    assert reading.differing == ("settlement",)


def test_what_arrived_up_to_a_moment_holds_nothing_from_after_it(clinic):
    case = story(clinic)
    for stop in clinic.desk.reading(SYSTEM, case, seqs(clinic, case, "opened")[0]).stops:
        if stop.known is not None and stop.code == "proposed":
            reading = clinic.desk.reading_known(SYSTEM, case, stop.known)
            assert reading.arrived["settlement"].state == "pending"


def test_any_time_leads_to_the_last_moment_before_it(clinic):
    case = story(clinic)
    stops = clinic.desk.reading(SYSTEM, case, seqs(clinic, case, "opened")[0]).stops
    for stop in stops:
        found = clinic.desk.stop_at(SYSTEM, case, stop.at)
        assert found.at == stop.at
    assert clinic.desk.stop_at(SYSTEM, case, at(-1000)) == stops[0]
    assert clinic.desk.stop_at(SYSTEM, case, at(1000)) == stops[-1]
    assert clinic.desk.stop_at(SYSTEM, case, stops[1].at - dt.timedelta(milliseconds=1)).at < stops[1].at or (
        stops[0].at == stops[1].at
    )


def test_a_kept_trust_says_what_the_verified_one_said():
    one = trust()
    again = restore_trust(one.current.payload, one.digest)
    assert (again.digest, again.version, again.development) == (one.digest, one.version, one.development)
    assert again.current.nodes == one.current.nodes
    assert again.pin == "journal"


def test_another_document_is_not_restored_under_a_digest():
    one, other = trust(), Network(expires_at=at(5000)).trust()
    with pytest.raises(RefusedError) as caught:
        restore_trust(other.current.payload, one.digest)
    assert caught.value.code == "trust.kept"
    with pytest.raises(HoldfastError):
        restore_trust(b"{}", sha256_hex(b"{}"))


def test_an_audit_misses_a_trust_that_is_not_kept_as_it_was(clinic):
    story(clinic)
    assert clinic.desk.audit(AUDITOR).faults == ()
    with clinic.store._engine.begin() as connection:
        connection.exec_driver_sql("UPDATE trust_documents SET payload = x'00'")
    assert [fault.code for fault in clinic.desk.audit(AUDITOR).faults] == ["audit.trust"]


def test_the_account_of_a_case_has_every_lane_and_every_check_of_its_newest_evidence(clinic):
    case = story(clinic)
    background = clinic.desk.background(SYSTEM, case)
    assert tuple(background.appraisal.lanes) == LANES
    assert background.appraisal.known == len(parse_bundle(clinic.desk.evidence(SYSTEM, case)).journal)
    assert {"route statement", "execution statement", "round 1"} <= set(background.evidence.values())
