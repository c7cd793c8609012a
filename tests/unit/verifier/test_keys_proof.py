"""OHTTP keys with proof: refused unless trust, the log and a quorum stand behind exactly these keys (relay.md §4)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core import merkle
from holdfast.core.encoding import b64_encode
from holdfast.core.keys_proof import MAX_KEYS_PROOF_BYTES, build_keys_proof, parse_keys_proof
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UndecidedError
from holdfast.verifier.keys_proof import verify_keys_proof
from tests.helpers.identities import (
    CONFIGURATION,
    configuration,
    identity_payload,
    log_of,
    proof_for,
    sealed_document,
    sealed_network,
)
from tests.helpers.network import UNTIL, Network, at, ed25519_signer

NETWORK = sealed_network()
TRUST = NETWORK.trust()
RAW = proof_for(NETWORK)
NOW = at(60)


def code_of(raw: bytes, trust=TRUST, moment=NOW) -> str:
    with pytest.raises(HoldfastError) as found:
        verify_keys_proof(parse_keys_proof(raw), trust, moment)
    return found.value.code


def changed(**members) -> bytes:
    value = {**json.loads(RAW), **members}
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


# --- what is malformed


@pytest.mark.parametrize(
    "raw",
    [
        changed(type="urn:holdfast:keys-proof:v2"),
        changed(index=3),
        changed(index=True),
        changed(size=-1),
        changed(index="1"),
        changed(proof="none"),
        changed(proof=["00" * 32] * 80),
        changed(checkpoint=None),
        changed(attestation={"format": "insecure-dev"}),
        changed(attestation={"format": 1, "evidence": ""}),
        changed(address="192.0.2.1"),
    ],
)
def test_another_form_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedError) as found:
        parse_keys_proof(raw)
    assert found.value.code == "keys_proof.fields"


def test_a_large_proof_is_refused_unread() -> None:
    with pytest.raises(MalformedError) as found:
        parse_keys_proof(b" " * (MAX_KEYS_PROOF_BYTES + 1))
    assert found.value.code == "keys_proof.size"


@given(st.integers(0, len(RAW) - 1), st.integers(1, 255))
def test_no_changed_byte_shows_other_keys(place: int, change: int) -> None:
    """Evidence is another matter: what an attestation is worth is judged beside the proof."""
    raw = bytearray(RAW)
    raw[place] ^= change
    try:
        found = verify_keys_proof(parse_keys_proof(bytes(raw)), TRUST, NOW)
    except HoldfastError:
        return
    assert found.document.digest == NETWORK.gateway_document.digest
    assert found.ohttp == (CONFIGURATION,)


# --- what does not hold


def test_keys_of_a_gateway_that_trust_does_not_admit() -> None:
    assert code_of(RAW, Network().trust()) == "keys_proof.attester"


def test_keys_under_trust_that_has_run_out() -> None:
    assert code_of(RAW, moment=UNTIL) == "keys_proof.attester"


def test_a_gateway_without_keys() -> None:
    network = Network()
    assert code_of(proof_for(network), network.trust()) == "keys_proof.no_keys"


def test_keys_swapped_by_whoever_hands_the_proof_on() -> None:
    swapped = sealed_document(NETWORK, configuration("the relay's own"))
    assert code_of(changed(key_document=b64_encode(swapped.raw))) == "keys_proof.attester"


def test_a_key_document_for_one_caller_that_trust_admits_too_has_no_statement_in_the_log() -> None:
    other = sealed_network(configuration("for one caller"))
    raw = changed(key_document=b64_encode(other.gateway_document.raw))
    assert code_of(raw, other.trust()) == "keys_proof.statement"


def test_a_statement_that_is_no_identity() -> None:
    assert code_of(proof_for(NETWORK, NETWORK.seal(NETWORK.route()))) == "keys_proof.statement"


def test_a_statement_that_somebody_else_signed() -> None:
    payload = identity_payload(NETWORK.gateway_document)
    forged = NETWORK.seal(payload, ed25519_signer("thief", "statement"))
    assert code_of(proof_for(NETWORK, forged)) == "keys_proof.statement"


def test_a_statement_that_says_other_than_its_document() -> None:
    payload = identity_payload(NETWORK.gateway_document, change=lambda body: body.update(ohttp="11" * 32))
    assert code_of(proof_for(NETWORK, NETWORK.seal(payload))) == "keys_proof.statement"


def test_a_log_that_trust_does_not_name() -> None:
    assert code_of(proof_for(NETWORK, origin="elsewhere.test/log/1")) == "keys_proof.log"


def test_a_checkpoint_that_its_log_did_not_sign() -> None:
    text = json.loads(RAW)["checkpoint"]
    assert code_of(changed(checkpoint=text.replace("\n3\n", "\n4\n"))) == "keys_proof.log"


def test_a_checkpoint_of_another_size() -> None:
    checkpoint, _ = log_of(NETWORK, [b"one", b"two", b"three", b"four"])
    assert code_of(changed(checkpoint=checkpoint.decode())) == "keys_proof.log"


def test_a_log_that_never_held_the_statement() -> None:
    checkpoint, leaves = log_of(NETWORK, [b"one", b"two", b"three"])
    steps = [step.hex() for step in merkle.inclusion_proof(leaves, 1)]
    assert code_of(changed(checkpoint=checkpoint.decode(), proof=steps)) == "keys_proof.inclusion"


@pytest.mark.parametrize("cosigners", [0, 2])
def test_without_a_quorum_nobody_can_tell(cosigners: int) -> None:
    raw = proof_for(NETWORK, cosigners=cosigners)
    with pytest.raises(UndecidedError) as found:
        verify_keys_proof(parse_keys_proof(raw), TRUST, NOW)
    assert found.value.code == "keys_proof.quorum"


def test_a_quorum_that_saw_it_only_after_the_key_became_suspect() -> None:
    document = NETWORK.gateway_document
    admission = {
        "key_document": b64_encode(document.raw),
        "valid_from": "2025-12-01T00:00:00.000Z",
        "valid_until": "2027-01-01T00:00:00.000Z",
        "revoked": {
            "at": "2026-01-02T00:00:00.000Z",
            "suspect_since": "2026-01-01T12:00:00.500Z",
            "reason": "stolen",
        },
    }
    nodes = [admission, *_others(NETWORK)]
    with pytest.raises(RefusedError):
        verify_keys_proof(parse_keys_proof(RAW), NETWORK.trust(nodes=nodes), NOW)


def _others(network: Network) -> list[dict[str, object]]:
    value = json.loads(network.trust_version())
    return [item for item in value["nodes"] if item["key_document"] != b64_encode(network.gateway_document.raw)]


# --- what holds


def test_keys_that_everybody_is_shown() -> None:
    found = verify_keys_proof(parse_keys_proof(RAW), TRUST, NOW)
    assert found.document.digest == NETWORK.gateway_document.digest
    assert found.ohttp == (CONFIGURATION,)
    assert found.attestation is not None
    assert found.logged_by == at(1)


def test_building_and_parsing_agree() -> None:
    proof = parse_keys_proof(RAW)
    again = build_keys_proof(
        proof.document,
        proof.attestation,
        proof.statement.envelope.raw,
        index=proof.index,
        size=proof.size,
        proof=proof.proof,
        checkpoint=proof.checkpoint.encode(),
    )
    assert again == RAW
