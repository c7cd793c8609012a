"""Trust: any set of signatures counts distinct keys, and no flipped byte of a trust file admits anything else."""

from __future__ import annotations

import datetime as dt
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core import trust
from holdfast.core.encoding import b64_encode
from holdfast.core.trust import Admission, Revocation, build_trust_chain, parse_trust_chain, verify_trust
from holdfast.errors import HoldfastError, RefusedError
from tests.helpers.network import Network, at, ed25519_signer, p256_signer

NETWORK = Network()
KEYS = [ed25519_signer(f"r{number}", "root") for number in range(2)] + [
    p256_signer(f"r{number}", "root") for number in range(2)
]
STRANGER = ed25519_signer("stranger", "root")
SUBSETS = st.sets(st.integers(0, 3), min_size=1).map(sorted)
SIGNERS = st.lists(st.integers(0, 4), max_size=6)


def roots(numbers, threshold):
    keys = [
        {"algorithm": KEYS[number].key.algorithm, "public": b64_encode(KEYS[number].key.public)} for number in numbers
    ]
    return {"threshold": threshold, "keys": keys}


def signed(number, root, signers):
    return NETWORK.sign_trust(
        NETWORK.trust_version(number, root=root, nodes=[]), [[*KEYS, STRANGER][one] for one in signers] or [STRANGER]
    )


@given(SUBSETS, SUBSETS, SIGNERS, SIGNERS, st.data())
def test_a_chain_holds_exactly_when_each_version_has_both_thresholds(first, second, by_first, by_second, data):
    one, two = data.draw(st.integers(1, len(first))), data.draw(st.integers(1, len(second)))
    raw = build_trust_chain([signed(1, roots(first, one), by_first), signed(2, roots(second, two), by_second)])
    expected = (
        len(set(by_first) & set(first)) >= one
        and len(set(by_second) & set(first)) >= one
        and len(set(by_second) & set(second)) >= two
    )
    if expected:
        assert verify_trust(parse_trust_chain(raw)).version == 2
        return
    with pytest.raises(RefusedError) as refused:
        verify_trust(parse_trust_chain(raw))
    assert refused.value.code == "trust.threshold"


def evidence(raw, pin):
    """Everything that a trust file admits; None when it is refused."""
    try:
        found = verify_trust(parse_trust_chain(raw), pin=pin)
    except HoldfastError:
        return None
    return found.current.payload, found.pin, found.first_digest


FILE = NETWORK.trust_file()
PIN = NETWORK.trust().first_digest


@given(st.data())
def test_a_flipped_byte_of_a_trust_file_is_refused_or_admits_the_same(data):
    raw = bytearray(FILE)
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    assert evidence(bytes(raw), PIN) in (None, evidence(FILE, PIN))


@given(st.sampled_from(["payload", "keyid", "sig"]), st.data())
def test_a_changed_signature_or_payload_costs_the_threshold(member, data):
    value = json.loads(FILE)
    version = value["versions"][0]
    target = version if member == "payload" else data.draw(st.sampled_from(version["signatures"]))
    place = data.draw(st.integers(0, len(target[member]) - 1))
    letter = data.draw(st.sampled_from([one for one in "0a9fBz+" if one != target[member][place]]))
    target[member] = target[member][:place] + letter + target[member][place + 1 :]
    assert evidence(json.dumps(value).encode(), None) is None


MOMENTS = st.integers(-20, 20).map(at)


@given(MOMENTS, MOMENTS, MOMENTS, MOMENTS, st.none() | MOMENTS)
def test_a_span_holds_when_every_moment_of_it_does(start, end, low, high, suspect):
    start, end = sorted((start, end))
    low, high = sorted((low, high + dt.timedelta(seconds=41)))
    admission = Admission(NETWORK.gateway_document, low, high, suspect and Revocation(at(0), suspect, "stolen"))
    moments = [start + dt.timedelta(seconds=step) for step in range(int((end - start).total_seconds()) + 1)]
    assert (admission.refusal(start, end) is None) == all(admission.refusal(one, one) is None for one in moments)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_trust_file_are_refused(raw):
    assert evidence(raw, None) is None
    assert trust.CHAIN_TYPE.encode() not in raw
