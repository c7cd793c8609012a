"""x402's objects: what vectors do not say. The cases of ``vectors/payments`` are the larger part."""

import dataclasses

import pytest

from holdfast.core import x402
from holdfast.core.x402 import (
    PaymentRequired,
    SettleResponse,
    VerifyResponse,
    build_header,
    job_id_of,
    parse_facilitator_request,
    parse_header,
    parse_payload,
    parse_payment_required,
    parse_settle_response,
    parse_signature,
    parse_verify_response,
    reason_of,
)
from holdfast.errors import MalformedError, RefusedError
from tests.helpers.payments import (
    FACILITATOR,
    OWNER,
    PAYEE,
    START,
    eip3009,
    payer,
    permit2,
    requirements,
    sponsored,
    verified,
)

ALICE = payer(1)


def refused(code, call, *arguments, **options):
    with pytest.raises(RefusedError) as caught:
        call(*arguments, **options)
    assert caught.value.code == code


def test_a_payment_says_its_payer_only_once_its_signature_was_recovered():
    payload = eip3009(requirements(), ALICE)
    forged = dataclasses.replace(payload, authorization=dataclasses.replace(payload.authorization, payer=OWNER.address))
    refused("payment.signature", verified, forged)
    assert verified(payload).payer == ALICE.address


def test_an_authorization_of_another_amount_has_the_same_identity():
    """Whoever has it captured once cannot have it captured for another amount."""
    payload = permit2(requirements(scheme=x402.UPTO), ALICE)
    small = verified(payload, requirements(1, scheme=x402.UPTO), settling=True)
    assert small.identity == verified(payload).identity


def test_both_schemes_over_permit2_share_their_nonces():
    one = verified(permit2(requirements(), ALICE, 3))
    other = verified(permit2(requirements(scheme=x402.UPTO), ALICE, 3))
    assert one.identity == other.identity
    assert one.identity != verified(eip3009(requirements(), ALICE, 3)).identity


@pytest.mark.parametrize("change", [{"asset": PAYEE}, {"network": "eip155:1"}])
def test_an_identity_is_of_one_token_on_one_chain(change):
    asked = requirements(**change)
    assert verified(eip3009(asked, ALICE)).identity != verified(eip3009(requirements(), ALICE)).identity


def test_the_cap_stays_what_was_signed():
    payload = permit2(requirements(scheme=x402.UPTO), ALICE)
    found = verified(payload, requirements(1, scheme=x402.UPTO), settling=True)
    assert (found.amount, found.cap) == (1, 1000)


def test_upto_without_a_charge_is_for_exactly_the_cap():
    payload = permit2(requirements(scheme=x402.UPTO), ALICE)
    refused("payment.amount", verified, payload, requirements(999, scheme=x402.UPTO))


def test_a_permit_holds_through_its_last_second():
    payload = permit2(requirements(), ALICE, deadline=START + 6)
    assert verified(payload).expires_at == START + 7
    refused("payment.expired", verified, payload, at=START + 1)


def test_a_job_has_a_uuid_of_version_8():
    text = job_id_of(bytes(range(32))).removeprefix("payment-")
    assert text == "00010203-0405-8607-8809-0a0b0c0d0e0f"


@pytest.mark.parametrize("parity", [0, 1, 27, 28])
def test_recovery_numbers_have_two_spellings(parity):
    raw = verified(eip3009(requirements(), ALICE)).signature[:64]
    assert parse_signature(raw + bytes([parity]))[64] in (27, 28)


@pytest.mark.parametrize("signature", [b"", bytes(64), bytes(65), bytes(66), bytes(31) + b"\x01" + bytes(33)])
def test_what_is_no_signature_is_refused(signature):
    refused("payment.signature", parse_signature, signature)


def test_every_reason_is_a_word_for_each_way_to_pay():
    for code, reasons in x402.REASONS.items():
        assert code.startswith("payment.")
        assert len(reasons) == 3
        assert all(reason.replace("_", "").isalnum() for reason in reasons)
    assert reason_of("payment.signature", "eip3009") == "invalid_exact_evm_payload_signature"
    assert reason_of("payment.signature", "permit2-upto") == "invalid_permit2_signature"


def test_what_is_no_refusal_has_no_reason():
    with pytest.raises(KeyError):
        reason_of("chain.unreachable", "eip3009")


def test_a_header_comes_back_as_it_went():
    payload = sponsored(permit2(requirements(scheme=x402.UPTO), ALICE), ALICE)
    assert parse_payload(parse_header(build_header(payload.to_json()))) == payload


def test_a_header_that_no_server_would_read_is_not_made():
    with pytest.raises(MalformedError) as caught:
        build_header({"error": "x" * 20_000})
    assert caught.value.code == "x402.header"


def test_what_a_server_asks_comes_back_as_it_went():
    asked = PaymentRequired((requirements(), requirements(scheme=x402.UPTO)), "pay", {"url": "/"}, {"a": {}})
    assert parse_payment_required(asked.to_json()) == asked


@pytest.mark.parametrize(
    "answer",
    [VerifyResponse(True, ALICE.address), VerifyResponse(False, None, "network_mismatch", "no")],
)
def test_an_answer_to_verify_comes_back_as_it_went(answer):
    assert parse_verify_response(answer.to_json()) == answer


@pytest.mark.parametrize(
    "answer",
    [
        SettleResponse(True, "eip155:1", "0x" + "ab" * 32, ALICE.address, 5),
        SettleResponse(True, "eip155:1", "", ALICE.address, 0),
        SettleResponse(False, "eip155:1", "", None, None, "transaction_failed", "no"),
    ],
)
def test_an_answer_to_settle_comes_back_as_it_went(answer):
    assert parse_settle_response(answer.to_json()) == answer


@pytest.mark.parametrize("missing", ["x402Version", "paymentPayload", "paymentRequirements"])
def test_a_request_to_a_facilitator_is_whole(missing):
    asked = requirements()
    body = {
        "x402Version": 2,
        "paymentPayload": eip3009(asked, ALICE).to_json(),
        "paymentRequirements": asked.to_json(),
    }
    assert parse_facilitator_request(body)[1] == asked
    del body[missing]
    with pytest.raises(MalformedError) as caught:
        parse_facilitator_request(body)
    assert caught.value.code in ("x402.members", "x402.version")


def test_a_facilitator_that_was_not_signed_is_refused_before_the_signature_is_looked_at():
    payload = permit2(requirements(scheme=x402.UPTO), ALICE, facilitator=OWNER.address)
    refused("payment.facilitator", verified, payload)
    assert verified(payload, facilitator=OWNER.address).method == "permit2-upto"
    assert FACILITATOR.address != OWNER.address


def test_a_reason_leads_back_to_its_code_and_none_to_no_code() -> None:
    for code in x402.REASONS:
        reason = x402.reason_of(code, "eip3009")
        assert not reason or x402.reason_of(x402.code_of(reason, "eip3009") or "", "eip3009") == reason
    assert x402.code_of("invalid_exact_evm_insufficient_balance", "eip3009") == "payment.balance"
    assert [x402.code_of(reason, "eip3009") for reason in (None, "", "somebody_elses_reason")] == [None] * 3
