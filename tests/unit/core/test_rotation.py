"""Succession: a node that changes its keys is the same node only if the old key and the new one both say so."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core import canonical
from holdfast.core.encoding import b64_decode, b64_encode
from holdfast.core.keys import PublicKey, build_key_document
from holdfast.core.rotation import (
    MAX_ROTATION_BYTES,
    build_rotation,
    parse_rotation,
    rotation_message,
    rotation_payload,
    signing_key,
    verify_lineage,
    verify_rotation,
)
from holdfast.errors import HoldfastError, MalformedError, RefusedError
from tests.helpers.network import ed25519_signer

AT = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
SIGNERS = [ed25519_signer(f"rotation/{number}", "statement") for number in range(4)]


def documents(count=3, **changes):
    made = []
    for signer in SIGNERS[:count]:
        predecessor = made[-1].digest if made else None
        made.append(build_key_document("node", ["gateway"], "s", [signer.key], predecessor=predecessor, **changes))
    return made


def handed_over(old, new, old_signer, new_signer, at=AT, reason="routine"):
    payload = rotation_payload(old, new, at, reason)
    message = rotation_message(payload)
    return build_rotation(payload, old_signer.key, old_signer.sign(message), new_signer.key, new_signer.sign(message))


def refusal(rotation, old, new):
    with pytest.raises(RefusedError) as refused:
        verify_rotation(rotation, old, new)
    return refused.value.code


FIRST, SECOND, THIRD = documents()
GOOD = handed_over(FIRST, SECOND, SIGNERS[0], SIGNERS[1])


@pytest.mark.parametrize("position", [0, 1])
def test_both_keys_sign(position):
    signers = [SIGNERS[0], SIGNERS[1]]
    signers[position] = SIGNERS[3]
    payload = rotation_payload(FIRST, SECOND, AT)
    message = rotation_message(payload)
    raw = build_rotation(payload, SIGNERS[0].key, signers[0].sign(message), SIGNERS[1].key, signers[1].sign(message))
    assert refusal(parse_rotation(raw), FIRST, SECOND) == "rotation.signature"


def test_the_signatures_do_not_change_places():
    payload = rotation_payload(FIRST, SECOND, AT)
    message = rotation_message(payload)
    raw = build_rotation(payload, SIGNERS[1].key, SIGNERS[1].sign(message), SIGNERS[0].key, SIGNERS[0].sign(message))
    assert refusal(parse_rotation(raw), FIRST, SECOND) == "rotation.signature"


def test_the_new_document_names_the_old_one():
    stranger = build_key_document("node", ["gateway"], "s", [SIGNERS[1].key])
    raw = handed_over(FIRST, stranger, SIGNERS[0], SIGNERS[1])
    assert refusal(parse_rotation(raw), FIRST, stranger) == "rotation.predecessor"


@pytest.mark.parametrize(("name", "roles"), [("other", ["gateway"]), ("node", ["gateway", "panel"])])
def test_a_rotation_changes_neither_name_nor_roles(name, roles):
    new = build_key_document(name, roles, "s", [SIGNERS[1].key], predecessor=FIRST.digest)
    raw = handed_over(FIRST, new, SIGNERS[0], SIGNERS[1])
    assert refusal(parse_rotation(raw), FIRST, new) == "rotation.identity"


def test_a_rotation_is_between_two_documents():
    assert refusal(parse_rotation(GOOD), FIRST, THIRD) == "rotation.lineage"
    assert refusal(parse_rotation(GOOD), SECOND, SECOND) == "rotation.lineage"


def test_a_node_without_a_signing_key_hands_over_nothing():
    mute = build_key_document("node", ["panel"], "", [PublicKey("hpke", "x25519", bytes(range(32)))])
    with pytest.raises(RefusedError) as refused:
        signing_key(mute)
    assert refused.value.code == "rotation.signature"


@pytest.mark.parametrize(
    "change",
    [
        lambda outer: outer.update(payloadType="application/vnd.in-toto+json"),
        lambda outer: outer.update(more=1),
        lambda outer: outer["signatures"].pop(),
        lambda outer: outer["signatures"].append(outer["signatures"][0]),
        lambda outer: outer["signatures"].__setitem__(0, {"sig": ""}),
        lambda outer: outer.update(signatures={}),
        lambda outer: outer.update(payload=b64_encode(canonical.encode({"type": "urn:holdfast:rotation:v1"}))),
    ],
)
def test_an_envelope_has_exactly_its_members(change):
    outer = canonical.decode_signed(GOOD)
    change(outer)
    with pytest.raises(MalformedError) as refused:
        parse_rotation(canonical.encode(outer))
    assert refused.value.code == "rotation.fields"


def test_a_reason_is_a_code():
    with pytest.raises(MalformedError) as refused:
        handed_over(FIRST, SECOND, SIGNERS[0], SIGNERS[1], reason="Because I say so")
    assert refused.value.code == "rotation.fields"


def test_what_is_too_large_is_refused_unread():
    with pytest.raises(MalformedError) as refused:
        parse_rotation(b"x" * (MAX_ROTATION_BYTES + 1))
    assert refused.value.code == "rotation.size"


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 7))
def test_any_flipped_bit_is_refused_with_our_own_errors(place, bit):
    bent = bytearray(GOOD)
    bent[place] ^= 1 << bit
    outer = None
    try:
        rotation = parse_rotation(bytes(bent))
        outer = canonical.decode_signed(bytes(bent))
        verify_rotation(rotation, FIRST, SECOND)
    except HoldfastError:
        return
    # Only a key id may change unseen: it is a hint for readers, and nothing is looked up by it.
    assert outer is not None
    assert b64_decode(outer["payload"]) == rotation.payload
    good = canonical.decode_signed(GOOD)
    assert [item["sig"] for item in outer["signatures"]] == [item["sig"] for item in good["signatures"]]


def test_a_lineage_leads_to_the_first_document():
    steps = [
        parse_rotation(GOOD),
        parse_rotation(handed_over(SECOND, THIRD, SIGNERS[1], SIGNERS[2], AT + dt.timedelta(days=1), "key-lost")),
    ]
    assert verify_lineage([FIRST, SECOND, THIRD], steps) == FIRST.digest
    assert verify_lineage([FIRST], []) == FIRST.digest


def test_a_lineage_without_its_beginning_or_a_step_is_none():
    step = parse_rotation(GOOD)
    for chain, steps in [([], []), ([FIRST, SECOND], []), ([SECOND], []), ([FIRST, THIRD], [step]), ([FIRST], [step])]:
        with pytest.raises(RefusedError) as refused:
            verify_lineage(chain, steps)
        assert refused.value.code == "rotation.lineage"


def test_a_lineage_goes_forward_in_time():
    steps = [
        parse_rotation(GOOD),
        parse_rotation(handed_over(SECOND, THIRD, SIGNERS[1], SIGNERS[2], AT - dt.timedelta(days=1))),
    ]
    with pytest.raises(RefusedError) as refused:
        verify_lineage([FIRST, SECOND, THIRD], steps)
    assert refused.value.code == "rotation.lineage"
