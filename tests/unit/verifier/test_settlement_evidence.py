"""Settlement and marks in a bundle: what proves, what only informs, and what contradicts."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from holdfast.core import canonical, merkle, notes
from holdfast.core.bundles import parse_bundle
from holdfast.core.encoding import sha256_hex
from holdfast.core.notes import Checkpoint, VerifierKey
from holdfast.core.statements import Execution, execution_body
from holdfast.errors import MalformedError
from holdfast.verifier.appraisal import Appraisal, appraise
from holdfast.verifier.policy import DEFAULT_POLICY, parse_policy
from tests.helpers.network import ORIGIN, Network, at, bundle_of

POLICY = parse_policy(DEFAULT_POLICY)


def judge(network: Network, journal: list[dict[str, Any]]) -> Appraisal:
    return appraise(parse_bundle(bundle_of(journal)), network.trust(), POLICY, at(10))


def without(journal: list[dict[str, Any]], *kinds: str) -> list[dict[str, Any]]:
    return [item for item in journal if item["kind"] not in kinds]


def test_a_larger_checkpoint_beside_the_final_round_does_not_unsettle() -> None:
    network = Network()
    journal = network.journal()
    entries = [*network.entries(), b"a later entry"]
    leaves = [merkle.leaf_hash(entry) for entry in entries]
    key = VerifierKey(ORIGIN, notes.ED25519, network.log.key.public)
    raw = notes.sign_checkpoint(Checkpoint(ORIGIN, len(leaves), merkle.root(leaves)), key, network.log.sign)
    note = notes.parse_note(raw)
    cosigned = note.with_signatures([node.cosign(note.text, at(3)) for node in network.full_nodes])
    journal.append({"kind": "checkpoint", "at": journal[-1]["at"], "note": cosigned.raw.decode()})
    for place, item in enumerate([item for item in journal if item["kind"] == "inclusion"]):
        proof = [hash_.hex() for hash_ in merkle.inclusion_proof(leaves, place + 2)]
        journal.append({**item, "size": len(leaves), "proof": proof})
    assert judge(network, journal).lanes["settlement"].state == "proven"


@pytest.mark.parametrize("voter", ["0x" + "5A" * 20, "0x12", "somebody", ""])
def test_a_voter_is_an_address(voter: str) -> None:
    journal = Network().journal()
    next(item for item in journal if item["kind"] == "votes")["voters"].append(voter)
    with pytest.raises(MalformedError) as refused:
        parse_bundle(bundle_of(journal))
    assert refused.value.code == "evm.address"


def test_votes_of_strangers_are_not_counted() -> None:
    network = Network()
    journal = without(network.journal(finality=0), "verdict")
    votes = next(item for item in journal if item["kind"] == "votes")
    votes["voters"] = votes["voters"][:1] + [f"0x{number:040x}" for number in range(50)]
    lane = judge(network, journal).lanes["settlement"]
    assert lane.state == "pending"
    assert "1 of 4 full nodes have voted, not yet full-2, full-3, full-4, by the gateway's account" in lane.says


def test_a_message_said_four_times_is_one_node() -> None:
    network = Network()
    journal = without(network.journal(), "candidate", "votes")
    final = next(item for item in journal if item["kind"] == "finality")
    final["messages"] = final["messages"][:1] * 4
    lane = judge(network, journal).lanes["settlement"]
    assert lane.state == "pending"
    assert "finality messages from 1 full nodes, 100 of 400 units of stake" in lane.says


def test_a_signed_mark_contradicts_a_statement_that_names_none() -> None:
    network = Network()
    tree = network.response_parts.tree
    payload = network.execution(body=execution_body(Execution("generated", "complete", tree, None, "stub")))
    journal = [copy.deepcopy(item) for item in network.journal() if item["kind"] in {"statement", "mark"}]
    journal[1]["envelope"] = canonical.decode(network.seal(payload))
    result = judge(network, journal)
    assert result.lanes["bytes"].state == "refuted"
    assert "mark.chain" in {check.code for check in result.transcript}
    without_mark = judge(network, without(journal, "mark"))
    assert without_mark.lanes["bytes"].state == "proven"
    assert sha256_hex(payload) in without_mark.lanes["bytes"].evidence
