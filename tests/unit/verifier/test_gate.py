"""The gate: what never lets a case go, what does, and in which words it says why. The rules themselves, case by case,
are the vectors ``gate/*``; here stands what a vector cannot show."""

from __future__ import annotations

import dataclasses
import datetime as dt
import re

import pytest

from holdfast.core import canonical
from holdfast.core.bundles import parse_bundle
from holdfast.core.encoding import sha256_hex, time_encode
from holdfast.errors import UsageError
from holdfast.verifier.appraisal import appraise
from holdfast.verifier.gate import (
    GATE_STATES,
    Decision,
    GateResult,
    History,
    LaneVector,
    Release,
    decide,
    refuse_release,
    vector_of,
)
from holdfast.verifier.lanes import LANES, Lane
from holdfast.verifier.policy import DEFAULT_POLICY, parse_policy
from holdfast.verifier.queue_policy import parse_queue_policy
from tests.helpers.network import ASKED, Network, at, bundle_of

HEAD = 'type = "urn:holdfast:queue-policy:v1"\nname = "default"\n'
LANES_ASKED = """
[require.bytes]
states = ["proven"]
bases = ["signature"]
[require.settlement]
states = ["proven"]
bases = ["proof", "development"]
max_age_s = 3600
"""
EARLY = '[early_release]\nroles = ["approver", "admin"]\nmax_s = 600\n'
PEOPLE = '[judgement]\nreviewers = 2\nrole = "reviewer"\n'
POLICY = parse_queue_policy(HEAD + LANES_ASKED + EARLY)
FOUR_EYES = parse_queue_policy(HEAD + LANES_ASKED + PEOPLE + EARLY)
EMPTY = parse_queue_policy(HEAD)
NOBODY = History()
NETWORK = Network()


def appraisal(now=10, trusted=True, **story):
    return appraise(
        parse_bundle(NETWORK.bundle(**story)),
        NETWORK.trust() if trusted else None,
        parse_policy(DEFAULT_POLICY),
        at(now),
    )


SETTLED, WAITING = vector_of(appraisal()), vector_of(appraisal(finality=0))


def with_lane(vector, name, state, basis=None, says="Something was found.", **changes):
    """The vector with one lane changed."""
    lane = Lane(name, state, basis, says)
    return dataclasses.replace(vector, lanes={**vector.lanes, name: lane}, **changes)


def gate(policy=POLICY, vector=SETTLED, decisions=(), release=None, history=NOBODY, now=10.0):
    return decide(policy, vector, decisions, release, history, at(now))


def approval(person, policy=FOUR_EYES, **changes):
    given = Decision(person, "reviewer", "approve", at(5), SETTLED.digest, policy.digest)
    return dataclasses.replace(given, **changes)


def release(policy=POLICY, **changes):
    return dataclasses.replace(Release("eve", "approver", at(5), at(305), policy.digest), **changes)


def codes(result):
    return [(reason.code, reason.lane) for reason in result.reasons]


# --- what never lets a case go --------------------------------------------------------------------------------------


def test_an_empty_policy_clears_nothing_and_releases_nothing():
    empty = parse_queue_policy(HEAD + EARLY)
    for history in (NOBODY, History(relied=True), History(released_early=True)):
        for given in (None, release(empty)):
            result = gate(empty, release=given, history=history)
            assert (result.state, codes(result)) == ("HOLD", [("gate.policy_empty", None)])


def test_no_number_of_approvals_clears_what_is_pending():
    everybody = [approval(f"person-{number}", POLICY) for number in range(50)]
    result = gate(vector=WAITING, decisions=everybody)
    assert (result.state, codes(result)) == ("HOLD", [("gate.lane_state", "settlement")])


@pytest.mark.parametrize("lane", LANES)
def test_a_refutation_of_any_lane_is_enough(lane):
    vector = with_lane(SETTLED, lane, "refuted", says="It does not verify.")
    assert gate(vector=vector).state == "HOLD"
    assert gate(vector=vector, release=release()).state == "HOLD"
    assert gate(vector=vector, history=History(relied=True)).state == "RECALLED"
    assert ("gate.refuted", lane) in codes(gate(vector=vector))


@pytest.mark.parametrize("lane", [lane for lane in LANES if lane != "memory"])
def test_ten_proven_lanes_do_not_hide_a_refuted_one(lane):
    proven = {name: Lane(name, "proven", "proof", "Proven.") for name in LANES} | {
        "bytes": Lane("bytes", "proven", "signature", "Proven.")
    }
    vector = dataclasses.replace(SETTLED, lanes=proven)
    assert gate(vector=vector).state == "CLEAR"
    result = gate(vector=with_lane(vector, lane, "refuted", "proof"))
    assert (result.state, codes(result)) == ("HOLD", [("gate.refuted", lane)])


def test_a_reviewer_fills_one_place():
    twice = [approval("ada"), approval("ada", at=at(6)), approval("ada", lanes_digest=WAITING.digest)]
    result = gate(FOUR_EYES, decisions=twice)
    assert codes(result) == [("gate.reviewers", None)]
    assert result.reasons[0].says == "1 of 2 people acting as reviewer have approved under this policy."
    assert gate(FOUR_EYES, decisions=[*twice, approval("ben")]).state == "CLEAR"


@pytest.mark.parametrize(
    "other",
    [
        approval("ben", role="approver"),
        approval("ben", policy_digest=POLICY.digest),
        approval("ben", requester=True),
        approval("ben", at=at(11)),
        approval("ben", act="reopen"),
        approval("ben", act="release"),
        approval("ben", act="recall"),
    ],
)
def test_an_approval_that_does_not_count_does_not_count(other):
    assert gate(FOUR_EYES, decisions=[approval("ada"), other]).state == "HOLD"


def test_a_reviewer_is_told_why_an_approval_does_not_count():
    given = [approval("ada"), approval("ben", role="approver"), approval("cay", policy_digest=POLICY.digest)]
    says = gate(FOUR_EYES, decisions=given).reasons[0].says
    assert says.startswith("1 of 2 people")
    assert "2 approved in another role or under another version of it" in says


def test_one_person_in_two_roles_is_one_person():
    both = [approval("ada"), approval("ada", role="approver")]
    assert gate(FOUR_EYES, decisions=both).reasons[0].says.count("approved") == 1


@pytest.mark.parametrize("role", ["viewer", "auditor", "", "Reviewer"])
def test_who_only_looks_decides_nothing(role):
    acts = [approval("ada", act="reject", role=role), approval("ada", act="reopen", role=role)]
    assert gate(decisions=acts).state == "CLEAR"
    refused = approval("ben", act="reject")
    assert gate(decisions=[refused, *acts]).state == "REJECTED"


def test_a_rejection_outlives_its_policy_and_every_approval():
    acts = [approval("cay", act="reject", policy_digest="0" * 64), approval("ada"), approval("ben")]
    for policy in (POLICY, FOUR_EYES, EMPTY):
        result = gate(policy, decisions=acts, release=release(policy))
        assert (result.state, codes(result)) == ("REJECTED", [("gate.rejected", None)])


def test_reopening_starts_from_nothing():
    acts = [approval("ada"), approval("ben"), approval("cay", act="reject"), approval("dee", act="reopen", at=at(6))]
    result = gate(FOUR_EYES, decisions=acts, release=release(FOUR_EYES))
    assert (result.state, codes(result)) == ("HOLD", [("gate.reviewers", None)])
    later = release(FOUR_EYES, at=at(6))
    assert gate(FOUR_EYES, decisions=acts, release=later).state == "PROVISIONAL"


def test_a_recall_stays_until_it_is_handed_in_no_more():
    causes = ("round 41 was overturned.", "a case that this one relied on was recalled")
    result = gate(decisions=[approval("ada", act="reopen")], history=History(relied=True, recalled=causes))
    assert result.state == "RECALLED"
    assert [reason.says for reason in result.reasons] == [
        "Recalled: round 41 was overturned.",
        "Recalled: a case that this one relied on was recalled.",
    ]


def test_what_was_relied_on_and_is_merely_late_is_held():
    result = gate(history=History(relied=True), now=3601)
    assert (result.state, codes(result)) == ("HOLD", [("gate.lane_age", "settlement")])


# --- early releases -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"policy_digest": FOUR_EYES.digest}, "gate.release_policy"),
        ({"requester": True}, "gate.release_requester"),
        ({"role": "reviewer"}, "gate.release_role"),
        ({"until": at(5)}, "gate.release_span"),
        ({"until": at(4)}, "gate.release_span"),
        ({"until": at(605.001)}, "gate.release_span"),
        ({"until": dt.datetime.max.replace(tzinfo=dt.UTC)}, "gate.release_span"),
    ],
)
def test_a_release_that_the_policy_does_not_allow_moves_nothing(changes, code):
    given = release(**changes)
    refused = refuse_release(POLICY, given)
    assert refused is not None
    assert refused.code == code
    result = gate(vector=WAITING, release=given)
    assert (result.state, result.released_early) == ("HOLD", False)
    assert codes(result) == [("gate.lane_state", "settlement"), (code, None)]


def test_a_queue_that_releases_nothing_early_says_so():
    strict = parse_queue_policy(HEAD + LANES_ASKED)
    result = gate(strict, vector=WAITING, release=release(strict))
    assert codes(result)[-1] == ("gate.release_not_allowed", None)
    assert result.reasons[-1].says == "This queue releases nothing early."


def test_a_release_is_in_force_from_its_time_until_just_before_its_end():
    assert refuse_release(POLICY, release()) is None
    states = {now: gate(vector=WAITING, release=release(), now=now).state for now in (4.999, 5, 304.999, 305, 10_000)}
    assert states == {4.999: "HOLD", 5: "PROVISIONAL", 304.999: "PROVISIONAL", 305: "HOLD", 10_000: "HOLD"}


def test_a_release_says_what_it_went_ahead_of():
    result = gate(vector=WAITING, release=release())
    assert codes(result) == [("gate.lane_state", "settlement"), ("gate.released_early", None)]
    assert "acting as approver, until 2026-01-01T12:05:05.000Z" in result.reasons[-1].says


def test_a_release_that_ran_out_is_named():
    result = gate(vector=WAITING, release=release(), history=History(relied=True, released_early=True), now=305)
    assert codes(result) == [("gate.lane_state", "settlement"), ("gate.release_over", None)]
    assert result.released_early


def test_the_mark_of_an_early_release_stays_when_the_proof_comes():
    early = gate(vector=WAITING, release=release())
    assert early.released_early
    after = gate(release=release(), history=History(relied=True, released_early=early.released_early))
    assert (after.state, after.released_early, after.reasons) == ("CLEAR", True, ())
    assert not gate(release=release()).released_early, "proof was there before anybody went ahead of it"


# --- time -----------------------------------------------------------------------------------------------------------


def test_clear_says_until_when():
    result = gate()
    dated = SETTLED.dated["settlement"]
    assert dated == at(1), "the quorum's cosignatures, not the claim"
    assert result.clear_until == at(1) + dt.timedelta(seconds=3600)
    assert gate(now=3600.999).state == "CLEAR"
    assert gate(now=3601).state == "HOLD"


def test_clear_without_a_maximum_age_runs_out_never():
    assert gate(parse_queue_policy(HEAD + LANES_ASKED.replace("max_age_s = 3600", ""))).clear_until is None


@pytest.mark.parametrize("order", [1, -1])
def test_the_first_lane_that_runs_out_decides_until_when(order):
    both = parse_queue_policy(HEAD + LANES_ASKED.replace('["signature"]', '["signature"]\nmax_age_s = 3600'))
    moments = [at(2), at(3)][::order]
    dated = {**SETTLED.dated, "bytes": moments[0], "settlement": moments[1]}
    assert gate(both, dataclasses.replace(SETTLED, dated=dated)).clear_until == at(3602)


def test_only_clear_has_an_end():
    for result in (
        gate(vector=WAITING),
        gate(vector=WAITING, release=release()),
        gate(history=History(recalled=("x",))),
    ):
        assert result.clear_until is None


@pytest.mark.parametrize(
    ("dated", "code"),
    [
        (None, "gate.lane_undated"),
        (at(10 - 3600), "gate.lane_age"),
        (dt.datetime(1, 1, 1, tzinfo=dt.UTC), "gate.lane_age"),
        (at(10 + 30.001), "gate.lane_future"),
        (dt.datetime.max.replace(tzinfo=dt.UTC), "gate.lane_future"),
    ],
)
def test_what_is_not_known_to_be_fresh_is_not_fresh(dated, code):
    result = gate(vector=dataclasses.replace(SETTLED, dated={**SETTLED.dated, "settlement": dated}))
    assert (result.state, codes(result)) == ("HOLD", [(code, "settlement")])
    assert SETTLED.lanes["settlement"].says in result.reasons[0].says


def test_a_lane_that_nobody_dated_is_not_dated():
    assert codes(gate(vector=dataclasses.replace(SETTLED, dated={}))) == [("gate.lane_undated", "settlement")]


def test_the_calendar_ends():
    """A date close to the end of the calendar cannot be added to; it is fresh while the calendar lasts."""
    last = dt.datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=dt.UTC)
    vector = dataclasses.replace(SETTLED, dated=dict.fromkeys(LANES, last))
    result = decide(POLICY, vector, [], None, NOBODY, last)
    assert (result.state, result.clear_until) == ("CLEAR", last)


# --- words ----------------------------------------------------------------------------------------------------------


def test_a_reason_carries_the_lanes_own_sentence():
    says = gate(vector=WAITING).reasons[0].says
    told = WAITING.lanes["settlement"].says
    assert says == f"settlement is pending: {told[0].lower()}{told[1:]}"
    assert says.startswith("settlement is pending: in round 1, 3 of 4 full nodes have voted")


@pytest.mark.parametrize(
    ("says", "told"),
    [("TEE evidence is here.", "TEE evidence is here."), ("A key.", "a key."), ("4 of 4.", "4 of 4."), ("", "")],
)
def test_after_its_state_a_lanes_sentence_begins_small_unless_it_begins_with_a_name(says, told):
    lane = dataclasses.replace(WAITING.lanes["settlement"], says=says)
    found = gate(vector=dataclasses.replace(WAITING, lanes={**WAITING.lanes, "settlement": lane}))
    assert found.reasons[0].says == f"settlement is pending: {told}"


def test_a_reason_names_the_basis_that_is_there_and_those_that_would_do():
    strict = parse_queue_policy(HEAD + LANES_ASKED.replace('"proof", "development"', '"proof", "hardware"'))
    says = gate(strict).reasons[0].says
    assert says.startswith("settlement is proven by development, and this queue accepts hardware or proof: All 2 ")


def test_a_lane_without_a_basis_rests_on_nothing():
    lax = parse_queue_policy(HEAD + '[require.privacy]\nstates = ["unknown"]\nbases = ["operator_claim"]\n')
    assert (
        gate(lax).reasons[0].says.startswith("privacy is unknown by nothing, and this queue accepts operator claim: ")
    )


def test_a_lane_that_does_not_apply_may_rest_on_nothing():
    asked = parse_queue_policy(HEAD + '[require.payment]\nstates = ["not_applicable"]\n')
    assert gate(asked).state == "CLEAR"
    claimed = with_lane(SETTLED, "payment", "not_applicable", "operator_claim")
    assert (
        gate(asked, vector=claimed)
        .reasons[0]
        .says.startswith("payment is not applicable by operator claim, and this queue accepts no basis: ")
    )


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(1, "1 second"), (90, "90 seconds"), (3600, "60 minutes"), (86_400, "24 hours"), (604_800, "7 days")],
)
def test_ages_are_told_in_units_that_people_use(seconds, words):
    policy = parse_queue_policy(HEAD + LANES_ASKED.replace("3600", str(seconds)))
    says = gate(policy, now=700_000).reasons[0].says
    assert f"what it rests on is from 2026-01-01T12:00:01.000Z, and it must be younger than {words} here: All" in says


def test_no_reason_names_a_person():
    results = [
        gate(decisions=[approval("ada", act="reject")]),
        gate(vector=WAITING, release=release()),
        gate(vector=WAITING, release=release(requester=True)),
        gate(FOUR_EYES, decisions=[approval("ada")]),
    ]
    said = " ".join(reason.says for result in results for reason in result.reasons)
    assert not re.search(r"\b(?:ada|eve)\b", said)


def test_every_reason_is_a_sentence():
    for vector in (SETTLED, WAITING, with_lane(SETTLED, "bytes", "refuted")):
        for given in (None, release(), release(role="reviewer")):
            for result in (gate(FOUR_EYES, vector, release=given), gate(EMPTY, vector), gate(POLICY, vector, now=5000)):
                for reason in result.reasons:
                    assert reason.says.endswith("."), reason
                    assert reason.to_json() == {"code": reason.code, "lane": reason.lane, "says": reason.says}


# --- the vector and the result --------------------------------------------------------------------------------------


def test_a_vector_has_eleven_lanes_and_no_other():
    for lanes in ({}, {"bytes": SETTLED.lanes["bytes"]}, {**SETTLED.lanes, "overall": SETTLED.lanes["bytes"]}):
        with pytest.raises(UsageError) as refused:
            LaneVector(SETTLED.run, lanes, {})
        assert refused.value.code == "gate.lanes"


def test_a_vector_is_what_was_found_and_not_how_it_was_said():
    value = canonical.decode_signed(SETTLED.document)
    assert set(value) == {"type", "run", "lanes"}
    assert set(value["lanes"]) == set(LANES)
    assert all(set(lane) == {"state", "basis", "evidence"} for lane in value["lanes"].values())
    assert SETTLED.digest == sha256_hex(SETTLED.document)
    reworded = {
        name: dataclasses.replace(lane, says="Otherwise.", evidence=(*reversed(lane.evidence), *lane.evidence))
        for name, lane in SETTLED.lanes.items()
    }
    assert LaneVector(SETTLED.run, reworded, {}).digest == SETTLED.digest
    assert WAITING.digest != SETTLED.digest


def test_the_same_evidence_in_another_order_has_the_same_vector():
    journal = NETWORK.journal()
    turned = appraise(
        parse_bundle(bundle_of([*reversed(journal)])), NETWORK.trust(), parse_policy(DEFAULT_POLICY), at(10)
    )
    assert vector_of(turned).digest == SETTLED.digest


@pytest.mark.parametrize(
    ("story", "dated"),
    [({}, at(1)), ({"cosigners": 2}, at(0.5)), ({"cosigners": 0}, at(0.5))],
)
def test_a_lane_is_dated_by_a_quorum_or_else_by_the_claim(story, dated):
    assert appraisal(**story).dated == {**dict.fromkeys(LANES, dated), "judgement": None}


def test_without_trust_a_lane_is_dated_by_the_claim():
    assert appraisal(trusted=False).dated["bytes"] == at(0.5)


def test_without_a_closing_statement_nothing_is_dated():
    journal = [item for item in NETWORK.journal() if item["kind"] != "statement"]
    found = appraise(parse_bundle(bundle_of(journal)), NETWORK.trust(), parse_policy(DEFAULT_POLICY), at(10))
    assert found.dated == dict.fromkeys(LANES, None)


def test_dates_are_not_shown_with_the_lanes():
    assert "dated" not in appraisal().to_json()


def test_a_result_names_the_policy_and_the_lanes_it_came_from():
    result = gate()
    assert result.to_json() == {
        "state": "CLEAR",
        "reasons": [],
        "clear_until": time_encode(ASKED + dt.timedelta(seconds=3601)),
        "released_early": False,
        "policy": POLICY.digest,
        "lanes": SETTLED.digest,
    }
    assert gate(vector=WAITING).to_json()["clear_until"] is None


def test_the_states_are_five_and_none_of_them_says_that_an_answer_is_right():
    assert GATE_STATES == ("HOLD", "PROVISIONAL", "CLEAR", "REJECTED", "RECALLED")
    assert {field.name for field in dataclasses.fields(GateResult)} == {
        "state", "reasons", "clear_until", "released_early", "policy_digest", "lanes_digest",
    }  # fmt: skip
