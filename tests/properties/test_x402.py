"""x402 under random bytes: only our errors come out, what goes through comes back, and no altered payment passes."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core import canonical, x402
from holdfast.core.captures import Event, captured, refusal_of, refusals, revert_text
from holdfast.core.x402 import (
    build_header,
    parse_facilitator_request,
    parse_header,
    parse_payload,
    parse_payment_required,
    parse_requirements,
    parse_settle_response,
    parse_verify_response,
)
from holdfast.errors import HoldfastError, RefusedError
from tests.helpers.payments import PAYEE, eip3009, payer, permit2, requirements, verified

ALICE = payer(1)
PARSERS = [
    parse_payload,
    parse_requirements,
    parse_payment_required,
    parse_verify_response,
    parse_settle_response,
    parse_facilitator_request,
]
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=70)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3))
PAYLOADS = {
    "eip3009": eip3009(requirements(), ALICE),
    "exact": permit2(requirements(), ALICE),
    "upto": permit2(requirements(scheme=x402.UPTO), ALICE),
}


def paths(value, prefix=()):
    if isinstance(value, dict):
        for name, inner in value.items():
            yield (*prefix, name)
            yield from paths(inner, (*prefix, name))


def put(value, path, new):
    copied = {**value}
    copied[path[0]] = new if len(path) == 1 else put(value[path[0]], path[1:], new)
    return copied


@given(st.text(max_size=200))
def test_a_header_of_any_text_is_an_object_or_refused(text):
    try:
        assert isinstance(parse_header(text), dict)
    except HoldfastError:
        return


@pytest.mark.parametrize("parse", PARSERS)
@given(VALUES)
def test_any_json_is_understood_or_refused(parse, value):
    try:
        parse(value)
    except HoldfastError:
        return


@pytest.mark.parametrize("name", PAYLOADS)
@given(st.data())
def test_a_payload_with_one_member_replaced_is_read_refused_or_the_same(name, data):
    payload = PAYLOADS[name]
    raw = payload.to_json()
    path = data.draw(st.sampled_from(list(paths(raw))))
    changed = put(raw, path, data.draw(VALUES))
    try:
        found = parse_payload(changed)
        assert parse_payload(canonical.decode(canonical.encode_exact(found.to_json()))) == found
        verified(found, payload.accepted)
    except HoldfastError:
        return
    # What passed pays exactly what was signed for exactly what is asked.
    assert (found.authorization, found.signature[:64]) == (payload.authorization, payload.signature[:64])


@pytest.mark.parametrize("name", PAYLOADS)
@given(st.data())
def test_no_bit_of_a_signature_can_be_changed(name, data):
    payload = PAYLOADS[name]
    place = data.draw(st.integers(0, 65 * 8 - 1))
    raw = bytearray(payload.signature)
    raw[place // 8] ^= 1 << place % 8
    with pytest.raises(RefusedError):
        verified(dataclasses.replace(payload, signature=bytes(raw)))


NUMBERS = st.integers(0, 2**256 - 1)
ADDRESSES = st.binary(min_size=20, max_size=20).map(lambda raw: "0x" + raw.hex())


@given(NUMBERS, ADDRESSES, st.sampled_from([x402.EXACT, x402.UPTO]), st.integers(1, 10**17))
def test_requirements_come_back_as_they_went(amount, address, scheme, chain):
    asked = requirements(amount, scheme=scheme, pay_to=address, network=f"eip155:{chain}")
    assert parse_requirements(parse_header(build_header(asked.to_json()))) == asked
    assert asked.chain_id == chain


@given(st.binary(max_size=300))
def test_any_revert_data_is_some_refusal(data):
    assert refusal_of(data).code in x402.REASONS
    assert isinstance(revert_text(data), str)


EVENTS = st.builds(
    Event,
    st.sampled_from([requirements().asset, PAYEE]),
    st.lists(st.binary(min_size=32, max_size=32), max_size=4).map(tuple),
    st.binary(max_size=100),
)


@given(st.lists(EVENTS, max_size=5))
def test_random_events_are_never_a_capture(events):
    assert captured([verified(PAYLOADS["eip3009"])], events) == [False]
    assert isinstance(refusals(PAYEE, events), dict)
