"""Thirteen ways to read one thing as another, and that the gate does none of them.

Each test is named after what must not be done. Lanes come from appraisals of real evidence: bundles of
``vectors/lanes`` and those of ``tests/helpers``. Where no such evidence can exist yet (a genuine enclave, a payment,
kept memory), the one lane is put in as the best that anybody could claim, so that what is shown is that it lends
nothing to another. The same thirteen stand as cases in ``vectors/gate/misread-*``, for any other implementation.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from pathlib import Path

import pytest

from holdfast.core.bundles import parse_bundle
from holdfast.core.encoding import time_decode
from holdfast.core.statements import Route, route_body
from holdfast.core.trust import parse_trust_chain, verify_trust
from holdfast.verifier.appraisal import appraise
from holdfast.verifier.gate import Decision, History, Release, decide, vector_of
from holdfast.verifier.lanes import DOES_NOT_SAY, LANES, Lane
from holdfast.verifier.policy import DEFAULT_POLICY, parse_policy
from holdfast.verifier.queue_policy import parse_queue_policy
from tests.helpers.network import Network, at

VECTORS = Path(__file__).resolve().parents[3] / "vectors"
MISREADINGS = [
    "enclave_proof_as_answer_quality",
    "payment_as_proof",
    "fast_answer_as_settled",
    "label_as_artifact",
    "preserved_memory_as_validated",
    "chat_skin_as_one_privacy_path",
    "fallback_unseen",
    "attested_fetch_as_true_source",
    "settled_round_as_correct_decision",
    "simulated_enclave_as_hardware",
    "skipped_check_as_pass",
    "expired_evidence_as_fresh",
    "refutation_hidden_by_ten_proven_lanes",
]
NAME = """
type = "urn:holdfast:queue-policy:v1"
name = "desk"
"""
HEAD = f"""{NAME}
[require.bytes]
states = ["proven"]
bases = ["signature", "hardware"]
[require.settlement]
states = ["proven"]
bases = ["proof", "development"]
"""
USUAL = parse_queue_policy(HEAD)
REVIEWED = parse_queue_policy(HEAD + '[judgement]\nreviewers = 1\nrole = "reviewer"\n')
ROUTED = HEAD + '[require.route]\nstates = ["proven"]\nbases = ["signature"]\n'


def asking(lane, states, bases):
    """The usual queue, which also asks for one more lane."""
    return parse_queue_policy(HEAD + f"[require.{lane}]\nstates = {json.dumps(states)}\nbases = {json.dumps(bases)}\n")


def from_vectors(name, known=None):
    """(vector, time) of a case of ``vectors/lanes``."""
    folder = VECTORS / "lanes" / name
    words = json.loads((folder / "case.json").read_text("utf-8"))["run"]
    options = dict(zip(words[1:-1:2], words[2::2], strict=True))
    trust = (
        verify_trust(parse_trust_chain((folder / options["--trust"]).read_bytes())) if "--trust" in options else None
    )
    known = options.get("--known", known)
    now = time_decode(options["--at"])
    policy = parse_policy((folder / options["--policy"]).read_bytes())
    bundle = parse_bundle((folder / "bundle.json").read_bytes())
    return vector_of(appraise(bundle, trust, policy, now, None if known is None else int(known))), now


def of(network=None, **story):
    """(vector, time) of a run of the small network."""
    network = network or Network()
    bundle = parse_bundle(network.bundle(**story))
    return vector_of(appraise(bundle, network.trust(), parse_policy(DEFAULT_POLICY), at(10))), at(10)


def claiming(vector, lane, state, basis, says):
    """A vector whose one lane says the best that anybody could claim."""
    return dataclasses.replace(vector, lanes={**vector.lanes, lane: Lane(lane, state, basis, says, ("ab" * 32,))})


def ask(policy, vector, now, history=None, decisions=(), release=None):
    """The state, the reasons by code and lane, and all their sentences."""
    found = decide(policy, vector, decisions, release, history or History(), now)
    return found.state, [(reason.code, reason.lane) for reason in found.reasons], " ".join(
        reason.says for reason in found.reasons
    )  # fmt: skip


def approval(policy, vector, now):
    return Decision("ada", "reviewer", "approve", now, vector.digest, policy.digest)


def test_enclave_proof_is_not_read_as_answer_quality():
    vector, now = from_vectors("settled")
    vector = claiming(vector, "enclave", "proven", "hardware", "A genuine, measured, approved enclave held the key.")
    judged = asking("judgement", ["proven"], ["human"])
    assert ask(judged, vector, now)[:2] == ("HOLD", [("gate.lane_state", "judgement")])
    assert vector.lanes["judgement"].state == "not_applicable", "no other lane feeds it"
    said = claiming(vector, "judgement", "proven", "human", "Ada says that the answer is good.")
    assert ask(judged, said, now)[:2] == ("CLEAR", []), "that lane alone makes the difference"
    computed = asking("computation", ["proven"], ["hardware", "proof", "signature"])
    assert ask(computed, vector, now)[1] == [("gate.lane_state", "computation")]
    assert DOES_NOT_SAY["enclave"] == "That the answer is any good."


def test_payment_is_not_read_as_proof():
    waiting, now = from_vectors("known-votes")
    before = ask(USUAL, waiting, now)
    paid = claiming(waiting, "payment", "proven", "proof", "0.01 was captured for this request and this answer.")
    assert ask(USUAL, paid, now) == before
    assert before[:2] == ("HOLD", [("gate.lane_state", "settlement")])
    assert DOES_NOT_SAY["payment"] == "That anything was proved."


def test_a_fast_answer_is_not_read_as_settled():
    vector, now = from_vectors("known-execution")
    assert vector.lanes["bytes"].state == "proven", "the whole answer is there and bound"
    state, reasons, says = ask(USUAL, vector, now)
    assert (state, reasons) == ("HOLD", [("gate.lane_state", "settlement")])
    assert says == "settlement is pending: answered; not in the log yet."


def test_a_label_is_not_read_as_an_artifact():
    vector, now = of()
    lane = vector.lanes["artifact"]
    assert (lane.state, lane.basis) == ("unknown", "provider_claim")
    strict = asking("artifact", ["proven"], ["proof", "hardware", "signature"])
    assert ask(strict, vector, now)[:2] == ("HOLD", [("gate.lane_state", "artifact")])
    attested = asking("artifact", ["proven", "unknown"], ["proof", "hardware", "signature"])
    state, reasons, says = ask(attested, vector, now)
    assert (state, reasons) == ("HOLD", [("gate.lane_basis", "artifact")])
    assert "unknown by provider claim" in says
    assert "only the provider's word" in says


def test_preserved_memory_is_not_read_as_validated():
    vector, now = from_vectors("settled")
    says = "1 row was carried in: kept for 300 days, from a summary of itself, never confirmed since."
    kept = claiming(vector, "memory", "unknown", "signature", says)
    policy = asking("memory", ["not_applicable", "proven"], ["signature", "observed"])
    assert ask(policy, vector, now)[0] == "CLEAR", "where nothing was carried in, nothing has to be earned"
    state, reasons, said = ask(policy, kept, now)
    assert (state, reasons) == ("HOLD", [("gate.lane_state", "memory")])
    assert says in said
    assert DOES_NOT_SAY["memory"] == "That a kept row is still true."


def test_a_chat_skin_is_not_read_as_one_privacy_path():
    vector, now = from_vectors("settled")
    before = claiming(vector, "privacy", "proven", "hardware", "A relay saw who, an enclave saw what.")
    before = dataclasses.replace(before, run="019b7651-c000-7000-8000-0123456789ab")
    policy = asking("privacy", ["proven"], ["hardware"])
    assert ask(policy, before, now)[0] == "CLEAR"
    seen = [approval(policy, before, now)]
    state, reasons, says = ask(policy, vector, now, decisions=seen)
    assert (state, reasons) == ("HOLD", [("gate.lane_state", "privacy")])
    assert "Nothing was sealed on the way to the gateway" in says
    assert before.digest != vector.digest


class FallingBack(Network):
    """The upstream that was asked first failed."""

    def route(self, **changes):
        tree = self.request_parts.tree
        body = Route(
            tree, tree, "chat.completions", "stub", (), ("first",), cached=False, settlement="batch", streamed=False
        )
        return super().route(**({"body": route_body(body)} | changes))


def test_a_fallback_does_not_go_unseen():
    plain, now = of()
    fallen, _ = of(FallingBack())
    assert fallen.lanes["route"].state == plain.lanes["route"].state == "proven"
    assert "after first failed" in fallen.lanes["route"].says
    assert "with no fallback" in plain.lanes["route"].says
    assert fallen.digest != plain.digest, "who decides on the one has not decided on the other"
    refusing = parse_queue_policy(ROUTED + 'refuse = ["fallback"]\n')
    state, reasons, says = ask(refusing, fallen, now)
    assert (state, reasons) == ("HOLD", [("gate.lane_deviates", "route")])
    assert "this queue refuses a fallback: By the gateway's own account, upstream stub served this turn" in says
    assert ask(refusing, plain, now)[:2] == ("CLEAR", []), "that lane alone makes the difference"
    assert ask(parse_queue_policy(ROUTED), fallen, now)[0] == "CLEAR", "where a queue lets a fallback go, it goes"


def test_an_attested_fetch_is_not_read_as_a_true_source():
    vector, now = from_vectors("settled")
    fetched = claiming(vector, "inputs", "proven", "hardware", "1 fact was fetched over TLS inside an enclave.")
    sourced = asking("inputs", ["proven"], ["human"])
    assert ask(sourced, fetched, now)[:2] == ("HOLD", [("gate.lane_basis", "inputs")])
    vouched = claiming(vector, "inputs", "proven", "human", "Ada has read the source and stands behind it.")
    assert ask(sourced, vouched, now)[:2] == ("CLEAR", []), "that lane alone makes the difference"
    assert DOES_NOT_SAY["inputs"] == "That a source was right."


def test_a_settled_round_is_not_read_as_a_correct_decision():
    vector, now = from_vectors("settled")
    assert vector.lanes["settlement"].state == "proven"
    assert vector.lanes["judgement"].state == "not_applicable"
    state, reasons, says = ask(REVIEWED, vector, now)
    assert (state, reasons) == ("HOLD", [("gate.reviewers", None)])
    assert says == "0 of 1 people acting as reviewer have approved under this policy."
    judged = asking("judgement", ["proven"], ["human"])
    assert ask(judged, vector, now)[:2] == ("HOLD", [("gate.lane_state", "judgement")])
    decided = claiming(vector, "judgement", "proven", "human", "Ada approved.")
    assert ask(judged, decided, now)[:2] == ("CLEAR", []), "that lane alone makes the difference"
    refused = dataclasses.replace(approval(REVIEWED, vector, now), act="reject")
    assert ask(REVIEWED, vector, now, decisions=[refused])[0] == "REJECTED", "a final round outvotes nobody"
    assert DOES_NOT_SAY["settlement"].startswith("That the answer is right")


@pytest.mark.parametrize("states", [["proven"], ["proven", "unknown"]])
def test_a_simulated_enclave_is_not_read_as_hardware(states):
    vector, now = from_vectors("insecure-enclave")
    state, reasons, says = ask(asking("enclave", states, ["hardware"]), vector, now)
    assert state == "HOLD"
    assert [lane for _, lane in reasons] == ["enclave"]
    assert "a simulated enclave, not a real one" in says


@pytest.mark.parametrize(
    ("name", "lane"),
    [("attestation-not-read", "enclave"), ("without-trust", "bytes"), ("without-trust", "settlement")],
)
def test_a_skipped_check_is_not_read_as_a_pass(name, lane):
    vector, now = from_vectors(name)
    assert (vector.lanes[lane].state, vector.lanes[lane].basis) == ("unknown", None)
    every = ["hardware", "proof", "signature", "observed", "development", "provider_claim", "operator_claim", "human"]
    lax = parse_queue_policy(NAME + f'[require.{lane}]\nstates = ["proven", "unknown"]\nbases = {json.dumps(every)}\n')
    assert ask(lax, vector, now)[:2] == ("HOLD", [("gate.lane_basis", lane)])


@pytest.mark.parametrize("name", ["trust-has-run-out", "key-ran-out-undated"])
def test_expired_evidence_is_not_read_as_fresh(name):
    vector, now = from_vectors(name)
    state, reasons, says = ask(USUAL, vector, now)
    assert state == "HOLD"
    assert ("gate.lane_state", "bytes") in reasons
    assert "bytes is expired: " in says


def test_old_evidence_is_not_read_as_fresh_either():
    vector, now = from_vectors("settled")
    fresh = parse_queue_policy(HEAD + "max_age_s = 60\n")
    dated = vector.dated["settlement"]
    assert ask(fresh, vector, dated)[0] == "CLEAR"
    assert ask(fresh, vector, now)[:2] == ("HOLD", [("gate.lane_age", "settlement")])


def test_a_refutation_is_not_hidden_by_ten_proven_lanes():
    vector, now = from_vectors("later-refutation_fail")
    refuted = vector.lanes["settlement"]
    assert refuted.state == "refuted"
    lanes = {name: Lane(name, "proven", "proof", "Proven.") for name in LANES} | {"settlement": refuted}
    vector = dataclasses.replace(vector, lanes=lanes)
    without = parse_queue_policy(NAME + '[require.bytes]\nstates = ["proven"]\nbases = ["proof"]\n')
    state, reasons, says = ask(without, vector, now)
    assert (state, reasons) == ("HOLD", [("gate.refuted", "settlement")])
    assert refuted.says in says
    assert ask(without, vector, now, History(relied=True))[0] == "RECALLED"
    before, _ = from_vectors("later-refutation_fail", known=16)
    assert ask(USUAL, before, now)[0] == "CLEAR", "it was clear when it was shown, and is recalled when it is known"


def test_an_early_release_is_not_read_as_any_of_it():
    """The one way past a lane is a person's own, and it says what it went ahead of."""
    vector, now = from_vectors("known-votes")
    policy = parse_queue_policy(HEAD + '[early_release]\nroles = ["approver"]\nmax_s = 60\n')
    end = now + dt.timedelta(seconds=60)
    released = Release("eve", "approver", now, end, policy.digest)
    found = decide(policy, vector, [], released, History(), now)
    assert (found.state, found.released_early) == ("PROVISIONAL", True)
    assert found.reasons[0].says.startswith("settlement is pending: ")


@pytest.mark.parametrize("name", MISREADINGS)
def test_every_misreading_is_a_case_for_other_implementations(name):
    folder = VECTORS / "gate" / f"misread-{name.replace('_', '-')}_fail"
    case = json.loads((folder / "case.json").read_text("utf-8"))
    assert case["expect"] == "reject"
    assert case["result"]["state"] == "HOLD"


def test_there_are_thirteen():
    found = {path.name for path in (VECTORS / "gate").glob("misread-*")}
    assert len(MISREADINGS) == len(found) == 13
