"""The gate: what a decision costs, and how many stored bundles can be appraised for it, on one core.

Uses a bundle of ``vectors/``, so nothing needs to run. Figures wanted: a decision for a policy over all eleven lanes
<= 50 us, in the best case (every requirement met) and in the worst (none met, a sentence for each); appraisals of a
stored bundle >= 300/s. A stored bundle is bytes: parsing it counts. Trust is read once and kept, as a panel keeps it.
No peer: nothing that pip installs decides so.

``python bench/gate.py --bundle FILE --trust FILE`` measures a bundle of your own.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from figures import at_least, at_most, figure  # beside this file

from holdfast.core.bundles import parse_bundle
from holdfast.core.trust import Trust, parse_trust_chain, verify_trust
from holdfast.verifier.appraisal import appraise
from holdfast.verifier.gate import Decision, History, LaneVector, Release, decide, vector_of
from holdfast.verifier.lanes import BASES, LANES, Lane
from holdfast.verifier.policy import DEFAULT_POLICY, parse_policy
from holdfast.verifier.queue_policy import QueuePolicy, parse_queue_policy, parse_queue_policy_document


def all_lanes() -> QueuePolicy:
    """A policy that asks every lane for something fresh and two reviewers for a decision, and allows early release."""
    lines = ['type = "urn:holdfast:queue-policy:v1"', 'name = "all-lanes"']
    for lane in LANES:
        lines += [f"[require.{lane}]", 'states = ["proven"]', f"bases = {json.dumps(list(BASES))}", "max_age_s = 86400"]
    lines += ["[judgement]", "reviewers = 2", 'role = "reviewer"']
    lines += ["[early_release]", 'roles = ["approver"]', "max_s = 3600"]
    return parse_queue_policy("\n".join(lines))


def median_us(call: Callable[[], object], seconds: float = 1.0) -> float:
    """Median processor time of one call: what a neighbour takes from the core is not ours."""
    times = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        began = time.process_time()
        call()
        times.append(time.process_time() - began)
    return statistics.median(times) * 1e6


def decisions(found: LaneVector, now: dt.datetime) -> None:
    """One decision, with everything met and with nothing met."""
    policy = all_lanes()
    proven = {name: Lane(name, "proven", "proof", lane.says, lane.evidence) for name, lane in found.lanes.items()}
    best = dataclasses.replace(found, lanes=proven, dated=dict.fromkeys(LANES, now))
    worst = dataclasses.replace(
        found, lanes={name: dataclasses.replace(lane, state="pending") for name, lane in proven.items()}
    )
    approvals = [
        Decision(person, "reviewer", "approve", now, best.digest, policy.digest) for person in ("ada", "ben", "cay")
    ]
    over = Release("eve", "approver", now - dt.timedelta(hours=1), now, policy.digest)
    history = History()
    if decide(policy, best, approvals, None, history, now).state != "CLEAR":
        raise SystemExit("the best case should be clear")
    if len(decide(policy, worst, [], over, history, now).reasons) != len(LANES) + 2:
        raise SystemExit("the worst case should have a reason for everything")
    clear = median_us(lambda: decide(policy, best, approvals, None, history, now))
    hold = median_us(lambda: decide(policy, worst, [], over, history, now))
    fresh = median_us(lambda: decide(policy, dataclasses.replace(best), approvals, None, history, now))
    figure("decide over eleven lanes, all of it met", clear, "us", at_most(50))
    figure("the same, none of it met: 13 sentences", hold, "us", at_most(50))
    figure("the same, all met, with the vector's digest", fresh, "us", at_most(50))
    parse = median_us(lambda: parse_queue_policy_document(policy.document))
    figure("parse a policy over all lanes", parse, "us")


def appraisals(raw: bytes, trust: Trust) -> LaneVector:
    """Appraise one stored bundle, parsed before and parsed each time."""
    policy = parse_policy(DEFAULT_POLICY)
    bundle = parse_bundle(raw)
    now = bundle.exported_at

    def whole() -> object:
        return vector_of(appraise(parse_bundle(raw), trust, policy, now)).digest

    parsed = median_us(lambda: appraise(bundle, trust, policy, now))
    stored = median_us(whole, 2.0)
    figure("appraise a bundle that is parsed already", 1e6 / parsed, "/s")
    figure("parse, appraise and digest a stored bundle", 1e6 / stored, "/s", at_least(300))
    return vector_of(appraise(bundle, trust, policy, now))


def main() -> None:
    """Command line."""
    vectors = Path(__file__).parent.parent / "vectors"
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bundle", type=Path, default=vectors / "lanes" / "settled" / "bundle.json")
    parser.add_argument("--trust", type=Path, default=vectors / "shared" / "trust.json")
    options = parser.parse_args()
    raw = options.bundle.read_bytes()
    trust = verify_trust(parse_trust_chain(options.trust.read_bytes()))
    found = appraisals(raw, trust)
    decisions(found, parse_bundle(raw).exported_at)


if __name__ == "__main__":
    main()
