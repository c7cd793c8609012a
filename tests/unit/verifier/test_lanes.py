"""The closed lists of lanes, states and bases; a lane never comes without what it does not say."""

from __future__ import annotations

import dataclasses

import pytest

from holdfast.verifier.lanes import BASES, DOES_NOT_SAY, LANES, STATES, Lane


def test_the_lanes_are_eleven_in_their_fixed_order():
    assert ",".join(LANES) == (
        "enclave,bytes,artifact,computation,inputs,memory,route,privacy,payment,settlement,judgement"
    )


def test_no_state_says_verified():
    assert STATES == ("proven", "refuted", "pending", "unknown", "expired", "not_applicable")
    assert len(set(BASES)) == len(BASES) == 8


@pytest.mark.parametrize("name", LANES)
def test_every_lane_says_what_it_does_not_say(name):
    assert DOES_NOT_SAY[name].endswith(".")
    shown = Lane(name, "unknown", None, "Nothing.").to_json()
    assert list(shown) == ["state", "basis", "says", "does_not_say", "evidence"]
    assert shown["does_not_say"] == DOES_NOT_SAY[name]


def test_no_sentence_is_lent_to_another_lane():
    assert list(DOES_NOT_SAY) == list(LANES)
    assert len(set(DOES_NOT_SAY.values())) == len(LANES)


def test_there_is_no_twelfth_lane():
    with pytest.raises(KeyError):
        _ = Lane("overall", "proven", None, "All is well.").does_not_say


def test_a_lane_cannot_be_changed_and_has_no_truth_value_of_its_own():
    lane = Lane("bytes", "refuted", None, "No.")
    with pytest.raises(dataclasses.FrozenInstanceError):
        lane.state = "proven"
    assert "__bool__" not in dir(lane)
    assert "__lt__" not in vars(Lane)
