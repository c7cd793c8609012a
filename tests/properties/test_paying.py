"""Whatever a server asks, a client signs only what its limits allow, and refuses the rest with an error of ours."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.adapters.payment_contracts import TEST_TOKEN
from holdfast.core import x402
from holdfast.core.paying import Limits, Seller, appraise_terms, build_authorization, parse_asked
from holdfast.core.x402 import PaymentRequired, PaymentRequirements, TransferAuthorization
from holdfast.errors import HoldfastError, RefusedError
from tests.helpers.paying import LIMIT, LIMITS, PATH, UPTO_EXTRA
from tests.helpers.payments import NETWORK, PAYEE, START, payer

LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=12) | st.just("1000") | st.just(PAYEE)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)
MEMBERS = ("scheme", "network", "asset", "amount", "payTo", "maxTimeoutSeconds", "extra")
WAYS = st.builds(
    PaymentRequirements,
    st.sampled_from([x402.EXACT, x402.UPTO]),
    st.sampled_from([NETWORK, "eip155:1"]),
    st.sampled_from([TEST_TOKEN, "0x" + "dd" * 20]),
    st.integers(0, 2000) | st.integers(2**255, 2**256 - 1),
    st.sampled_from([PAYEE, "0x" + "dd" * 20]),
    st.sampled_from([0, 60, 86_400, 86_401]),
    st.sampled_from([UPTO_EXTRA, {}, {"name": "OPG", "version": "1"}, {"assetTransferMethod": "permit2"}]),
)
ENTRY = {
    "scheme": "exact",
    "network": NETWORK,
    "asset": TEST_TOKEN,
    "amount": "1000",
    "payTo": PAYEE,
    "maxTimeoutSeconds": 600,
    "extra": {"name": "OPG", "version": "1"},
}


KINDS = ("", "paying", "x402", "json", "encoding")
"""What the codes of refusals begin with; nothing where there was none."""


def answer_of(work: Callable[[], Any]) -> tuple[Any, str]:
    """What comes out, and the code of what was raised instead."""
    try:
        return work(), ""
    except HoldfastError as error:
        return None, error.code


@given(st.lists(WAYS, max_size=4))
def test_whatever_is_asked_only_what_the_limits_allow_is_signed(ways: list[PaymentRequirements]) -> None:
    asked = PaymentRequired(tuple(ways))
    found, code = answer_of(lambda: appraise_terms(asked, LIMITS, Seller(PATH, PAYEE), START))
    if found is None:
        assert code.startswith("paying.")
        return
    schemes = [terms.requirements.scheme for terms in found]
    assert schemes == sorted(schemes, reverse=True), "upto comes before exact"
    for terms in found:
        signed = build_authorization(terms, payer(1).address, bytes(32), START)
        amount = signed.value if isinstance(signed, TransferAuthorization) else signed.amount
        ends = signed.valid_before if isinstance(signed, TransferAuthorization) else signed.deadline
        assert amount <= LIMIT.per_request
        assert signed.to == PAYEE
        assert START < ends <= START + LIMITS.longest_s
        assert (terms.requirements.network, terms.requirements.asset) == (NETWORK, TEST_TOKEN)


@given(st.lists(WAYS, max_size=4))
def test_without_limits_or_without_a_payee_nothing_is_ever_signed(ways: list[PaymentRequirements]) -> None:
    for limits, payee in ((Limits(), PAYEE), (LIMITS, None)):
        with pytest.raises(RefusedError):
            appraise_terms(PaymentRequired(tuple(ways)), limits, Seller(PATH, payee), START)


@given(VALUES, st.sampled_from([None, *MEMBERS, "x402Version", "accepts", "resource", "extensions", "error"]))
def test_whatever_stands_in_a_402_is_read_or_refused_in_words(value: Any, name: str | None) -> None:
    shown: Any = {"x402Version": 2, "accepts": [dict(ENTRY)]}
    if name in MEMBERS:
        shown["accepts"][0][name] = value
    elif name is not None:
        shown[name] = value
    else:
        shown = value
    header = base64.b64encode(json.dumps(shown).encode()).decode()
    asked, code = answer_of(lambda: parse_asked({"payment-required": header}, b""))
    if asked is not None:
        found, code = answer_of(lambda: appraise_terms(asked, LIMITS, Seller(PATH, PAYEE), START))
        assert all(terms.requirements.amount <= LIMIT.per_request for terms in found or ())
    assert code.partition(".")[0] in KINDS


@given(st.text(max_size=200), st.binary(max_size=100))
def test_a_header_of_anything_is_read_or_refused_in_words(header: str, body: bytes) -> None:
    assert answer_of(lambda: parse_asked({"payment-required": header}, body))[1].partition(".")[0] in KINDS
