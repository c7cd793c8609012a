"""What lanes rest on in trust, and what trust takes back. Refusals first."""

import pytest

from holdfast.core import canonical
from holdfast.core.bundles import parse_bundle
from holdfast.core.encoding import sha256_hex, time_encode
from holdfast.errors import MalformedError
from holdfast.verifier.appraisal import appraise
from holdfast.verifier.policy import DEFAULT_POLICY, parse_policy
from holdfast.verifier.reliance import OPEN, RELIANCE_TYPE, withdrawn
from tests.helpers.network import CHAIN_ID, CONTRACT, ORIGIN, Network, at

NETWORK = Network()


def relied(**story):
    bundle = parse_bundle(NETWORK.bundle(**story))
    return appraise(bundle, NETWORK.trust(), parse_policy(DEFAULT_POLICY), at(10)).relied


def documents(items):
    return [canonical.decode(item.document) for item in items]


def changed(member, change):
    value = canonical.decode(NETWORK.trust_version())[member]
    change(value)
    return NETWORK.trust(**{member: value})


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (b"", "json.syntax"),
        (canonical.encode({"type": "something", "kind": "node", "node": "a" * 64}), "reliance.kind"),
        (canonical.encode({"type": RELIANCE_TYPE, "kind": "wish", "node": "a" * 64}), "reliance.kind"),
        (canonical.encode({"type": RELIANCE_TYPE, "kind": "node"}), "reliance.fields"),
        (canonical.encode({"type": RELIANCE_TYPE, "kind": "node", "node": "a" * 64, "x": 1}), "reliance.fields"),
    ],
)
def test_what_is_no_reliance_is_refused(document, code):
    with pytest.raises(MalformedError) as caught:
        withdrawn(document, NETWORK.trust())
    assert caught.value.code == code


def test_without_trust_nothing_rests_on_it():
    bundle = parse_bundle(NETWORK.bundle())
    assert appraise(bundle, None, parse_policy(DEFAULT_POLICY), at(10)).relied == {}


def test_bytes_rest_on_the_gateways_key_for_good_until_a_quorum_dated_them():
    (undated,) = relied(finality=0, cosigners=0)["bytes"]
    assert (undated.name, undated.until) == (NETWORK.gateway_document.digest, OPEN)
    (dated,) = relied()["bytes"]
    assert (dated.name, dated.until) == (NETWORK.gateway_document.digest, at(1))


def test_a_settled_run_rests_on_its_log_chain_and_those_who_signed():
    kinds = {value["kind"]: value for value in documents(relied(finality=3)["settlement"])}
    assert kinds["log"] == {"type": RELIANCE_TYPE, "kind": "log", "origin": ORIGIN, "node": NETWORK.log_document.digest}
    assert (kinds["chain"]["chain_id"], kinds["chain"]["contract"]) == (CHAIN_ID, CONTRACT)
    assert kinds["quorum"]["nodes"] == sorted(node.document.digest for node in NETWORK.full_nodes[:3])
    assert all(
        item.name == sha256_hex(item.document) for item in relied()["settlement"] if b'"node"' not in item.document
    )


def test_a_run_that_waits_for_its_round_rests_on_no_quorum():
    assert "quorum" not in {value["kind"] for value in documents(relied(finality=0)["settlement"])}


def test_a_simulated_enclave_rests_on_its_throw_away_root():
    (root,) = documents(relied()["enclave"])
    assert root["certificate"] == sha256_hex(NETWORK.enclave_root.key.public)
    assert withdrawn(canonical.encode(root), NETWORK.trust(enclave_roots=[])) is not None
    assert withdrawn(canonical.encode(root), NETWORK.trust()) is None


def test_under_the_same_trust_nothing_is_taken_back():
    for items in relied().values():
        for item in items:
            lost = withdrawn(item.document, NETWORK.trust())
            assert lost is None or (lost.dated_only and item.until < lost.since)


def test_a_shorter_span_takes_back_what_was_dated_in_the_part_cut_off():
    (item,) = relied()["bytes"]

    def shorten(nodes):
        nodes[0]["valid_until"] = time_encode(at(0.9))

    lost = withdrawn(item.document, changed("nodes", shorten))
    assert lost is not None
    assert lost.dated_only
    assert item.until >= lost.since


def test_other_stakes_take_a_quorum_back():
    (item,) = [item for item in relied(finality=3)["settlement"] if b'"quorum"' in item.document]

    def favour(epochs):
        epochs[0]["stakes"][3]["stake"] = 1000

    lost = withdrawn(item.document, changed("epochs", favour))
    assert lost is not None
    assert "no quorum stands behind its rounds" in lost.says


def test_an_epoch_that_is_gone_takes_its_quorums_back():
    (item,) = [item for item in relied()["settlement"] if b'"quorum"' in item.document]
    lost = withdrawn(item.document, NETWORK.trust(epochs=[]))
    assert lost is not None
    assert "no longer knows epoch 1" in lost.says
