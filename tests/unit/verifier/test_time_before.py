"""Asked about a time at which the run had not been made, no lane rests on it (``lanes.md`` §2.1)."""

from __future__ import annotations

import datetime as dt

import pytest

from holdfast.core.bundles import parse_bundle
from holdfast.verifier.appraisal import Appraisal, appraise
from holdfast.verifier.lanes import LANES
from holdfast.verifier.policy import DEFAULT_POLICY, build_policy, parse_policy
from tests.helpers.network import Network, at, bundle_of

NETWORK = Network()
JOURNAL = NETWORK.journal()
RESTING = ("bytes", "inputs", "memory", "route", "settlement")
"""Lanes that rest on route and execution."""


def judge(moment: dt.datetime, journal: list[dict[str, object]] = JOURNAL, network: Network = NETWORK) -> Appraisal:
    return appraise(parse_bundle(bundle_of(journal)), network.trust(), parse_policy(DEFAULT_POLICY), moment)


def test_what_rests_on_statements_that_claim_a_later_time_is_pending_and_says_so() -> None:
    now, before = judge(at(10)), judge(at(-60))
    for name in RESTING:
        lane = before.lanes[name]
        assert (lane.state, lane.basis) == ("pending", None)
        assert "Not made yet at the time asked about" in lane.says
    for name in set(LANES) - set(RESTING):
        assert before.lanes[name] == now.lanes[name]
    assert {"statement.not_yet"} <= {check.code for check in before.transcript}
    assert "statement.not_yet" not in {check.code for check in now.transcript}


def test_no_time_before_proves_a_lane() -> None:
    for seconds in (-10_000_000, -3600, -31.5):
        assert "proven" not in {lane.state for lane in judge(at(seconds)).lanes.values()}


def test_clocks_may_differ_by_the_policys_skew_and_no_more() -> None:
    policy = parse_policy(build_policy("exact", max_skew_s=0))
    closing = NETWORK.journal()
    found = appraise(parse_bundle(bundle_of(closing)), NETWORK.trust(), policy, at(-0.001)).lanes["bytes"]
    assert found.state == "pending"
    assert judge(at(-20)).lanes["bytes"].state == "proven"


@pytest.mark.parametrize("seconds", [-3600, -60, 10])
def test_what_is_refuted_is_refuted_at_every_time(seconds: float) -> None:
    network = Network(verdict="refuted:signature")
    assert judge(at(seconds), network.journal(), network).lanes["settlement"].state == "refuted"


def test_what_was_proven_later_about_what_had_been_made_counts() -> None:
    """``at`` is about what was made, ``known`` about what was known of it."""
    assert judge(at(2)).lanes["settlement"].state == "proven"
