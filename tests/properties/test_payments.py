"""Any bytes for a payment document give our errors alone, and no altered bit of one is taken for what was signed."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core import canonical, pricing
from holdfast.core.bundles import parse_bundle
from holdfast.core.payments import (
    explain,
    parse_payment_document,
    verify_amounts,
    verify_payment_document,
    verify_terms,
    verify_usage,
)
from holdfast.core.statements import PAYMENT_EVENTS, parse_envelope, parse_statement
from holdfast.errors import HoldfastError, RefusedError
from holdfast.verifier.appraisal import appraise
from holdfast.verifier.policy import DEFAULT_POLICY, parse_policy
from tests.helpers.network import Network, at, bundle_of
from tests.helpers.payment_documents import CARD, CREDIT, RATE, Paid, document, following, trust_with_facilitator

TRUST = trust_with_facilitator()
JOURNAL = Network().journal()
POLICY = parse_policy(DEFAULT_POLICY)
CHARGED = Paid()
CAPTURED = following(CHARGED, "captured")
STATEMENT = parse_statement(parse_envelope(CHARGED.envelope))
GOOD = [document(event) for event in PAYMENT_EVENTS] + [document(**CREDIT)]
MEMBERS = sorted(canonical.decode(document().raw))
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53) + 1, 2**53 - 1),
    st.text(max_size=8),
    st.sampled_from(["credit", "exact", "upto", "undelivered", "0", "70", "captured", "0x" + "a1" * 20, "eip155:1"]),
    st.lists(st.none(), max_size=2),
    st.dictionaries(
        st.sampled_from(["root", "size", "lines", "usd", "amount", "capped"]), st.none() | st.text(max_size=3)
    ),
)


@given(st.binary(max_size=200))
def test_any_bytes_give_only_our_errors(raw):
    with contextlib.suppress(HoldfastError):
        parse_payment_document(raw)


@given(st.sampled_from(GOOD), st.dictionaries(st.sampled_from(MEMBERS), VALUES, max_size=3))
def test_any_members_give_a_document_that_can_be_told_or_our_error(base, change):
    raw = canonical.encode(canonical.decode(base.raw) | change)
    try:
        found = parse_payment_document(raw)
    except HoldfastError:
        return
    assert found.raw == raw
    assert explain(found)
    for other in GOOD:
        with contextlib.suppress(RefusedError):
            verify_terms(found, other)
    with contextlib.suppress(RefusedError):
        verify_amounts(found)


@given(st.data())
def test_no_altered_byte_opens_a_record(data):
    raw = bytearray(CHARGED.document.raw)
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(RefusedError) as refused:
        verify_payment_document(STATEMENT, bytes(raw), CHARGED.salt)
    assert refused.value.code == "payment_document.record"


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 5000), st.integers(0, 5000))
def test_a_charge_holds_exactly_while_it_is_no_more_than_was_used(input_tokens, output_tokens, less, more):
    """What the till computes always adds up; what the answer does not report is an overcharge, however small."""
    charged = pricing.charge(CARD.prices("small-1"), pricing.Usage(input_tokens, output_tokens), RATE)
    found = document(charge=charged, asked=2**200, authorised=2**200)
    verify_amounts(found)
    used = {"usage": {"prompt_tokens": max(input_tokens - less, 0), "completion_tokens": output_tokens + more}}
    if used["usage"]["prompt_tokens"] == input_tokens:
        assert verify_usage(found, used)
        return
    with pytest.raises(RefusedError) as refused:
        verify_usage(found, used)
    assert refused.value.code == "payment_document.overcharge"


def lanes(*items):
    found = appraise(parse_bundle(bundle_of([*JOURNAL, *items])), TRUST, POLICY, at(60))
    return {name: lane.to_json() for name, lane in found.lanes.items()}


BEFORE = lanes()
ITEMS = [*CHARGED.items(), *CAPTURED.items()]


@given(st.data())
def test_no_altered_payment_moves_another_lane_or_is_proven(data):
    """One character of one payment item is changed: the bundle is malformed, or only its own lane moves, and not to
    ``proven`` unless nothing that is signed or opened was touched."""
    number = data.draw(st.integers(0, len(ITEMS) - 1))
    text = json.dumps(ITEMS[number])
    place = data.draw(st.integers(0, len(text) - 1))
    changed = text[:place] + data.draw(st.sampled_from('0123456789abcdef"{}x')) + text[place + 1 :]
    if changed == text:
        return
    try:
        after = lanes(*ITEMS[:number], json.loads(changed), *ITEMS[number + 1 :])
    except (HoldfastError, ValueError):
        return
    assert after | {"payment": None} == BEFORE | {"payment": None}
    item = json.loads(changed)
    if item | {"at": None} != ITEMS[number] | {"at": None} and number != 1:
        assert after["payment"]["state"] != "proven"
