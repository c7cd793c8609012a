"""What a panel was showing at an event, read twice: as shown then, and as we now know about then."""

from __future__ import annotations

import pytest

from holdfast.core import canonical
from holdfast.core.bundles import build_bundle, parse_bundle
from holdfast.core.encoding import time_encode
from holdfast.errors import UsageError
from holdfast.review.events import SYSTEM
from holdfast.review.reading import Reading
from holdfast.verifier.appraisal import appraise
from holdfast.verifier.policy import DEFAULT_POLICY, parse_policy
from tests.helpers.network import RUN, Network, at
from tests.helpers.review import Clinic, trust


@pytest.fixture
def clinic() -> Clinic:
    found = Clinic()
    found.queue()
    return found


def read(clinic: Clinic, case: str, kind: str, which: int = 0) -> Reading:
    """The reading at an event of a kind."""
    events = [event for event in clinic.desk.case(SYSTEM, case).events if event.kind == kind]
    return clinic.desk.reading(SYSTEM, case, events[which].seq)


def test_what_was_pending_then_is_proven_as_we_now_know_about_then(clinic: Clinic) -> None:
    case = clinic.case(stage="answered")
    clinic.pass_time(20)
    clinic.note(case, "settled")
    found = read(clinic, case, "appraised")
    assert found.then is not None
    assert (found.then["settlement"].state, found.now["settlement"].state) == ("pending", "proven")
    assert found.retold
    assert "settlement" in found.differing
    assert found.state == "HOLD"


def test_what_was_shown_as_proven_then_is_refuted_as_we_now_know_about_then(clinic: Clinic) -> None:
    case = clinic.case(stage="settled")
    clinic.pass_time(20)
    clinic.note(case, "refuted")
    found = read(clinic, case, "cleared")
    assert found.then is not None
    assert (found.then["settlement"].state, found.now["settlement"].state) == ("proven", "refuted")


def test_what_had_not_been_made_then_is_not_told_about_then(clinic: Clinic) -> None:
    """A run may be open for long: at the event, nothing of it had been signed."""
    case = clinic.case(stage="asked")
    slow = Network()
    late = slow.execution(claimed_at=at(600))
    first = next(item for item in slow.journal() if item["kind"] == "statement")
    sealed = canonical.decode(slow.seal(late))
    journal = [first, {**first, "envelope": sealed, "at": time_encode(at(600))}]
    clinic.pass_time(700)
    clinic.desk.note_bundle(SYSTEM, case, build_bundle(RUN, clinic.now, journal))
    found = read(clinic, case, "appraised")
    assert found.now["bytes"].state == "pending"
    assert "Not made yet at the time asked about" in found.now["bytes"].says
    assert found.now["route"].state == "proven"
    newest = appraise(
        parse_bundle(build_bundle(RUN, clinic.now, journal)), trust(), parse_policy(DEFAULT_POLICY), clinic.now
    )
    assert newest.lanes["bytes"].state == "proven"


def test_an_event_of_another_case_is_refused(clinic: Clinic) -> None:
    case = clinic.case(stage="settled")
    with pytest.raises(UsageError) as caught:
        clinic.desk.reading(SYSTEM, case, 10**6)
    assert caught.value.code == "case.unknown"
