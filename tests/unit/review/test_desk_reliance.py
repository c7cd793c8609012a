"""What trust takes back recalls what rested on it, at once and together; what merely runs out does not."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.core import canonical
from holdfast.core.bundles import build_bundle
from holdfast.core.encoding import b64_encode, time_encode
from holdfast.core.rounds import NO_PREVIOUS
from holdfast.core.trust import Trust
from holdfast.errors import HoldfastError
from holdfast.ports.case_store import CaseFilter
from holdfast.review.events import SYSTEM, parse_event
from tests.helpers.network import FROM, ORIGIN, RUN, UNTIL, Network, _item, at
from tests.helpers.review import APPROVER, AUDITOR, CONSUMER, REVIEWER, Clinic, policy_text, trust

NETWORK = Network()


@pytest.fixture
def clinic() -> Clinic:
    found = Clinic()
    found.queue()
    return found


def revoking(*places: int, since: float = -60) -> Trust:
    """Trust in which nodes (0 the gateway, 1 the log, 2 to 5 the full nodes) were revoked, suspect since then."""
    nodes: list[dict[str, Any]] = canonical.decode(NETWORK.trust_version())["nodes"]
    for place in places:
        moment = time_encode(at(since))
        nodes[place]["revoked"] = {"at": moment, "suspect_since": moment, "reason": "stolen"}
    return NETWORK.trust(nodes=nodes)


def without(member: str) -> Trust:
    """Trust that no longer names any log, chain or enclave root."""
    return NETWORK.trust(**{member: []})


def orders(clinic: Clinic) -> list[dict[str, Any]]:
    """Bodies of the recalls that were ordered, in order."""
    found = [parse_event(stored.raw) for stored in clinic.store_events()]
    return [dict(event.body) for event in found if event.kind == "recall_ordered"]


def test_one_of_four_full_nodes_revoked_takes_no_quorum_away(clinic: Clinic) -> None:
    case = clinic.case(stage="settled")
    clinic.trusted = revoking(2)
    assert clinic.desk.tick().recalled == ()
    assert clinic.state(case) == "CLEAR"


def test_so_many_full_nodes_revoked_that_no_quorum_is_left_recall_and_do_not_merely_hold(clinic: Clinic) -> None:
    case, dependant = clinic.case(stage="settled"), clinic.case("another")
    clinic.desk.add_dependant(CONSUMER, case, dependant=dependant)
    clinic.trusted = revoking(2, 3)
    (recalled,) = clinic.desk.tick().recalled
    assert recalled.cases == (case, dependant)
    assert (clinic.state(case), clinic.state(dependant)) == ("RECALLED", "RECALLED")
    (order,) = orders(clinic)
    assert "full-1" in order["because"]
    assert "no quorum stands behind a round" in order["because"]
    assert order["evidence"] in {node.document.digest for node in NETWORK.full_nodes[:2]}
    clinic.desk.tick()
    (view,) = clinic.desk.cases(SYSTEM)[:1]
    assert view.lanes["settlement"].state == "pending", "it is appraised again afterwards"


def test_a_recall_for_what_trust_took_back_is_one_order_however_many_cases_rested_on_it(clinic: Clinic) -> None:
    cases = [clinic.case(stage="settled")]
    for number in range(3):
        clinic.queue(f"queue-{number}")
        cases.append(clinic.case(f"queue-{number}", "settled"))
    clinic.trusted = revoking(2, 3, 4)
    (recalled,) = clinic.desk.tick(limit=1).recalled
    assert recalled.cases == tuple(cases)
    assert len(orders(clinic)) == 1
    assert len(clinic.desk.waiting()) == 1, "one decision document, signed once"
    assert clinic.desk.audit(AUDITOR).faults == ()


def test_a_stolen_gateway_key_reaches_what_was_dated_since_and_nothing_before(clinic: Clinic) -> None:
    case = clinic.case(stage="settled")
    clinic.trusted = revoking(0, since=60)
    assert clinic.desk.tick().recalled == ()
    assert clinic.state(case) == "CLEAR", "a quorum had seen its statements before the key was suspect"
    clinic.trusted = revoking(0, since=0.5)
    (recalled,) = clinic.desk.tick().recalled
    assert recalled.cases == (case,)
    assert "the keys of gateway" in orders(clinic)[0]["because"]
    assert "stolen" in orders(clinic)[0]["because"]


@pytest.mark.parametrize("member", ["logs", "chains"])
def test_what_trust_no_longer_names_is_taken_back(clinic: Clinic, member: str) -> None:
    case = clinic.case(stage="settled")
    clinic.trusted = without(member)
    (recalled,) = clinic.desk.tick().recalled
    assert recalled.cases == (case,)


def test_a_key_that_trust_no_longer_knows_is_taken_back(clinic: Clinic) -> None:
    case = clinic.case(stage="settled")
    nodes = canonical.decode(NETWORK.trust_version())["nodes"][1:]
    clinic.trusted = NETWORK.trust(nodes=nodes)
    (recalled,) = clinic.desk.tick().recalled
    assert recalled.cases == (case,)


def test_another_contract_for_the_rounds_recalls_what_was_final_on_the_old_one(clinic: Clinic) -> None:
    case = clinic.case(stage="settled")
    chains = canonical.decode(NETWORK.trust_version())["chains"]
    chains[0]["contract"] = "0x" + "99" * 20
    clinic.trusted = NETWORK.trust(chains=chains)
    (recalled,) = clinic.desk.tick().recalled
    assert recalled.cases == (case,)


def test_trust_that_ran_out_holds_and_recalls_nothing(clinic: Clinic) -> None:
    case = clinic.case(stage="settled")
    clinic.trusted = trust(expires_at=time_encode(at(20)))
    clinic.pass_time(60)
    while clinic.desk.tick().more:
        pass
    assert clinic.state(case) == "HOLD"
    assert orders(clinic) == []


def test_no_trust_at_all_holds_and_recalls_nothing(clinic: Clinic) -> None:
    case = clinic.case(stage="settled")
    clinic.trusted = None
    clinic.desk.tick()
    assert clinic.state(case) == "HOLD"
    assert orders(clinic) == []


def test_an_age_that_is_over_holds_and_recalls_nothing(clinic: Clinic) -> None:
    clinic.queue("fresh", max_age_s=600)
    case = clinic.case("fresh", "settled")
    clinic.pass_time(601)
    clinic.desk.tick()
    assert clinic.state(case) == "HOLD"
    assert orders(clinic) == []


def test_what_a_queue_does_not_ask_for_is_not_relied_on(clinic: Clinic) -> None:
    text = policy_text("bytes-only").split("[require.settlement]")[0]
    clinic.desk.change_policy(SYSTEM, "bytes-only", text)
    case = clinic.case("bytes-only", "settled")
    assert clinic.state(case) == "CLEAR"
    clinic.trusted = revoking(2, 3, 4, 5)
    assert clinic.desk.tick().recalled == ()
    assert clinic.state(case) == "CLEAR"


def test_whatever_looks_first_under_the_new_trust_recalls_first(clinic: Clinic) -> None:
    """A hand-out, a person or evidence may come before the next turn does."""
    acts = [
        lambda case: clinic.desk.hand_out(CONSUMER, "default", "shop"),
        lambda case: clinic.desk.view(REVIEWER, case),
        lambda case: clinic.note(case, "settled"),
        lambda case: clinic.desk.confirm(SYSTEM, [case]),
    ]
    for act in acts:
        clinic = Clinic()
        clinic.queue()
        case = clinic.case(stage="settled")
        clinic.trusted = revoking(2, 3)
        act(case)
        assert clinic.state(case) == "RECALLED"


def test_a_refused_command_recalls_nothing_and_the_next_one_does(clinic: Clinic) -> None:
    case = clinic.case(stage="settled")
    clinic.trusted = revoking(2, 3)
    with pytest.raises(HoldfastError):
        clinic.desk.reopen(APPROVER, case, reason="too early")
    assert orders(clinic) == []
    assert clinic.desk.tick().recalled[0].cases == (case,)


def test_a_panel_that_was_away_when_trust_changed_recalls_as_it_starts(clinic: Clinic) -> None:
    case = clinic.case(stage="settled")
    clinic.trusted = revoking(2, 3)
    clinic.reopen()
    clinic.desk.tick()
    assert clinic.state(case) == "RECALLED"


def test_after_reopening_only_what_it_was_let_through_on_since_counts(clinic: Clinic) -> None:
    case = clinic.case(stage="settled")
    clinic.trusted = revoking(2, 3)
    clinic.desk.tick()
    clinic.desk.view(APPROVER, case)
    clinic.desk.reopen(APPROVER, case, reason="wait for another round")
    assert clinic.state(case) == "HOLD"
    clinic.trusted = revoking(2, 3, 4)
    assert clinic.desk.tick().recalled == ()


def test_a_person_recalls_by_the_digest_of_a_key_document(clinic: Clinic) -> None:
    case = clinic.case(stage="settled")
    found = clinic.desk.recall(APPROVER, NETWORK.gateway_document.digest, "the gateway was broken into")
    assert found.cases == (case,)


def test_a_round_with_two_final_contents_recalls_what_stood_on_either(clinic: Clinic) -> None:
    """One run's evidence shows it; the other case is never looked at."""
    clinic.queue("other")
    first, other = clinic.case(stage="settled"), clinic.case("other", "settled")
    twin = NETWORK.candidate(previous=bytes.fromhex("11" * 32))
    assert NETWORK.candidate().previous == NO_PREVIOUS
    messages = [node.finality(NETWORK.domain, twin) for node in NETWORK.full_nodes]
    journal = [*NETWORK.journal(), _item("finality", 5, round=twin.to_json(), messages=messages)]
    clinic.pass_time(1)
    clinic.desk.note_bundle(SYSTEM, first, build_bundle(RUN, clinic.now, journal))
    assert (clinic.state(first), clinic.state(other)) == ("RECALLED", "RECALLED")
    (order,) = orders(clinic)
    assert order["because"] == "A quorum called two contents of round 1 final"


def test_the_network_of_these_tests_is_the_one_they_think_it_is() -> None:
    nodes = canonical.decode(NETWORK.trust_version())["nodes"]
    documents = [NETWORK.gateway_document, NETWORK.log_document, *(node.document for node in NETWORK.full_nodes)]
    assert [node["key_document"] for node in nodes] == [b64_encode(item.raw) for item in documents]
    assert FROM < at(0) < UNTIL
    assert NETWORK.trust().log(ORIGIN) is not None


# --- no list says CLEAR of what is not -------------------------------------------------------------------------------


def test_a_list_looks_first_at_what_trust_moved_and_no_turn_was_taken_for(clinic: Clinic) -> None:
    case = clinic.case(stage="settled")
    clinic.trusted = revoking(2, 3)
    (view,) = clinic.desk.cases(SYSTEM)
    assert (view.row.case, view.row.stands) == (case, "RECALLED")


def test_a_list_looks_first_at_what_ran_out(clinic: Clinic) -> None:
    clinic.queue("fresh", max_age_s=600)
    case = clinic.case("fresh", "settled")
    clinic.pass_time(601)
    assert clinic.desk.cases(SYSTEM, CaseFilter(stands=("CLEAR",))) == []
    assert clinic.desk.case(SYSTEM, case).view.row.stands == "HOLD"


def test_one_case_is_looked_at_first_too(clinic: Clinic) -> None:
    case = clinic.case(stage="settled")
    clinic.trusted = None
    assert clinic.desk.case(SYSTEM, case).case.state == "HOLD"


def test_where_nothing_can_have_moved_a_list_writes_nothing(clinic: Clinic) -> None:
    clinic.case(stage="settled")
    head = clinic.desk.head(SYSTEM)
    clinic.desk.cases(SYSTEM)
    clinic.desk.confirm(SYSTEM, [view.row.case for view in clinic.desk.cases(SYSTEM)])
    assert clinic.desk.head(SYSTEM) == head


def test_a_page_whose_rows_move_again_and_again_says_what_they_are_now(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.review.desk.MOST_PASSES", 1)
    clinic.queue("fresh", max_age_s=600)
    clinic.case("fresh", "settled")
    clinic.pass_time(601)
    (view,) = clinic.desk.cases(SYSTEM, CaseFilter(stands=("CLEAR",)))
    assert view.row.stands == "HOLD"
