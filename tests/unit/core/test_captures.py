"""Calls that take money, and what the chain said of them. Real contracts are in ``adapters/test_payment_contracts``."""

import dataclasses

import pytest

from holdfast.core import evm
from holdfast.core.captures import (
    AUTHORIZATION_USED,
    REFUSED,
    TRANSFERRED,
    Event,
    captured,
    refusal_of,
    refusals,
    selector,
)
from holdfast.core.x402 import address_word
from tests.helpers.payments import PAYEE, eip3009, payer, permit2, requirements, verified

ALICE, BOB = payer(1), payer(2)
PAYMENT = verified(eip3009(requirements(), ALICE))
TOKEN = PAYMENT.requirements.asset


def moved(sender=ALICE.address, to=PAYEE, amount=1000, token=TOKEN):
    return Event(token, (TRANSFERRED, address_word(sender), address_word(to)), evm.word(amount))


def used(payment=PAYMENT, token=TOKEN):
    topics = (AUTHORIZATION_USED, address_word(payment.payer), payment.payload.authorization.nonce)
    return Event(token, topics, b"")


@pytest.mark.parametrize(
    "events",
    [
        [],
        [moved()],
        [used()],
        [moved(sender=BOB.address), used()],
        [moved(to=BOB.address), used()],
        [moved(amount=999), used()],
        [moved(token=PAYEE), used()],
        [moved(), used(token=PAYEE)],
        [dataclasses.replace(moved(), topics=moved().topics[:2]), used()],
        [dataclasses.replace(moved(), data=b""), used()],
    ],
)
def test_anything_but_the_tokens_own_word_is_no_capture(events):
    assert captured([PAYMENT], events) == [False]


def test_a_capture_is_a_transfer_and_the_use_of_its_nonce():
    assert captured([PAYMENT], [used(), moved()]) == [True]


def test_one_transfer_is_one_payment():
    """Two payments of one payer, one amount and one receiver: a single transfer pays one of them."""
    other = verified(eip3009(requirements(), ALICE, 1))
    assert captured([PAYMENT, other], [used(), used(other), moved()]) == [True, False]
    assert captured([PAYMENT, other], [used(), used(other), moved(), moved()]) == [True, True]


def test_over_permit2_the_transfer_is_of_the_charge():
    payment = dataclasses.replace(verified(permit2(requirements(), ALICE)), amount=250)
    assert captured([payment], [moved()]) == [False]
    assert captured([payment], [moved(amount=250)]) == [True]


def test_only_the_contract_that_was_called_says_what_it_was_refused():
    topics = (REFUSED, address_word(ALICE.address), bytes(32), address_word(TOKEN))
    event = Event(PAYEE, topics, evm.word(32) + evm.word(2) + b"no" + bytes(30))
    assert refusals(PAYEE, [event]) == {(TOKEN, ALICE.address, bytes(32)): b"no"}
    assert refusals(TOKEN, [event]) == {}


def error(text):
    raw = text.encode()
    return selector("Error(string)") + evm.word(32) + evm.word(len(raw)) + raw + bytes(-len(raw) % 32)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "payment.simulation"),
        (b"\x01", "payment.simulation"),
        (error("anything else"), "payment.simulation"),
        (error("FiatTokenV2: authorization is used or canceled"), "payment.replayed"),
        (error("FiatTokenV2: authorization is expired"), "payment.expired"),
        (error("FiatTokenV2: authorization is not yet valid"), "payment.early"),
        (error("FiatTokenV2: invalid signature"), "payment.signature"),
        (error("ERC20: transfer amount exceeds balance"), "payment.balance"),
        (error("ERC20: transfer amount exceeds allowance"), "payment.allowance"),
        (error("ERC20: transfer amount exceeds balance")[:-20], "payment.balance"),
        (selector("InvalidNonce()"), "payment.replayed"),
        (selector("SignatureExpired(uint256)") + evm.word(1), "payment.expired"),
        (selector("InvalidSigner()"), "payment.signature"),
        (selector("ERC20InsufficientBalance(address,uint256,uint256)"), "payment.balance"),
        (selector("ERC20InsufficientAllowance(address,uint256,uint256)"), "payment.allowance"),
        (selector("AmountExceedsPermitted()"), "payment.over_cap"),
        (selector("UnauthorizedFacilitator()"), "payment.unauthorized"),
        (selector("PaymentTooEarly()"), "payment.too_early"),
        (selector("Permit2612AmountMismatch()"), "payment.sponsoring_amount"),
    ],
    ids=str,
)
def test_each_contract_is_understood_in_its_own_words(data, code):
    assert refusal_of(data).code == code
