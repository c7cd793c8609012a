"""One presented admission by itself: what it comes to with trust, without, and with a byte that is not as signed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from holdfast.client.data import judge_admission
from tests.helpers.admissions import DataNode, admitted, refused
from tests.helpers.network import Network, ed25519_signer

NETWORK = Network()
NETWORK.others = [DataNode().document]
TRUST = NETWORK.trust()
GOOD = DataNode().sign(admitted())


@pytest.mark.parametrize(
    ("shown", "code"),
    [
        (replace(GOOD.presented, document=GOOD.document.raw.replace(b"1.0842", b"1.0843")), "admission.record"),
        (replace(GOOD.presented, salt=bytes(32)), "admission.record"),
        (replace(GOOD.presented, definition=b"{}"), "admission.definition"),
        (DataNode().sign(admitted(), signer=ed25519_signer("stranger", "statement")).presented, "admission.attester"),
    ],
)
def test_what_was_changed_or_signed_by_another_key_is_refuted(shown, code):
    assert shown != GOOD.presented
    lane = judge_admission(shown, TRUST)
    assert (lane.state, lane.says.partition(":")[0]) == ("refuted", code)


@pytest.mark.parametrize("trust", [None, Network().trust()], ids=["none", "of others"])
def test_without_trust_in_the_node_nothing_is_known(trust):
    lane = judge_admission(GOOD.presented, trust)
    assert (lane.state, lane.basis) == ("unknown", None)


@pytest.mark.parametrize("made", [GOOD, DataNode().sign(refused())], ids=["admitted", "refused"])
def test_a_trusted_signature_alone_is_never_proof(made):
    lane = judge_admission(made.presented, TRUST)
    assert (lane.state, lane.basis) == ("unknown", "signature")
    assert ("Nothing was admitted" in lane.says) == (made is not GOOD)
