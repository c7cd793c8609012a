"""Asking a facilitator: what each kind of answer means, and what it answers that it should not."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from holdfast.client.facilitator import CaptureJob, HTTPFacilitator, Supported
from holdfast.core import x402
from holdfast.core.x402 import SettleResponse, VerifyResponse
from holdfast.errors import HoldfastError
from holdfast.ports.http import Answer
from holdfast.ports.settings import Secret
from tests.helpers.payments import NETWORK, eip3009, payer, requirements

ASKED = requirements(1000)
PAYLOAD = eip3009(ASKED, payer(0))
JOB = x402.job_id_of(x402.identity_of(PAYLOAD.authorization, chain_id=ASKED.chain_id, asset=ASKED.asset))
TRANSACTION = "0x" + "ab" * 32
DONE = {"success": True, "transaction": TRANSACTION, "network": NETWORK, "payer": payer(0).address, "amount": "1000"}
FAILED = {
    "success": False,
    "transaction": "",
    "network": NETWORK,
    "errorReason": "invalid_exact_evm_insufficient_balance",
}


class OneAnswer:
    """A network on which everybody says the same."""

    def __init__(self, status: int, value: Any) -> None:
        self.answer = Answer(status, value if isinstance(value, bytes) else json.dumps(value).encode())
        self.asked: list[Any] = []

    async def request(self, method: str, url: str, **rest: Any) -> Answer:
        self.asked.append((method, url, rest))
        return self.answer


def client(status: int, value: Any, token: Secret | None = None) -> HTTPFacilitator:
    return HTTPFacilitator(OneAnswer(status, value), "http://facilitator/", token)


def error(code: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": "no", "type": "unavailable", "param": None, "hint": ""}}


def job(**change: Any) -> dict[str, Any]:
    return {"jobId": JOB, "queue": "payment", "status": "queued", "result": None, "error": None, **change}


@pytest.mark.parametrize(
    ("status", "value", "code"),
    [
        (503, error("chain.unreachable"), "facilitator.chain"),
        (503, error("facilitator.busy"), "facilitator.fault"),
        (500, error("internal.error"), "facilitator.fault"),
        (502, b"<html>", "facilitator.fault"),
        (429, b"", "facilitator.fault"),
        (401, error("auth.token"), "facilitator.refused"),
        (400, error("x402.members"), "facilitator.refused"),
        (404, b"nothing here", "facilitator.refused"),
        (409, error("something.else"), "facilitator.refused"),
        (409, error("payment.replayed"), "payment.replayed"),
        (200, b"not json", "facilitator.answer"),
        (200, [], "facilitator.answer"),
        (200, {}, "facilitator.answer"),
        (200, DONE | {"network": "eip155:1"}, "facilitator.answer"),
        (200, DONE | {"errorReason": "both"}, "facilitator.answer"),
        (200, DONE | {"transaction": "0x12"}, "facilitator.answer"),
        (202, {"paymentJob": []}, "facilitator.answer"),
        (202, {"paymentJob": job(jobId="payment-another")}, "facilitator.answer"),
        (202, {"paymentJob": job(status="lost")}, "facilitator.answer"),
        (202, {"paymentJob": job(status="succeeded")}, "facilitator.answer"),
        (202, {"paymentJob": job(status="succeeded", result=FAILED)}, "facilitator.answer"),
        (202, {"paymentJob": job(status="failed", result=DONE)}, "facilitator.answer"),
    ],
)
def test_what_is_no_answer_says_which_kind_it_is(status, value, code):
    with pytest.raises(HoldfastError) as refused:
        asyncio.run(client(status, value).settle(PAYLOAD, ASKED))
    assert refused.value.code == code


@pytest.mark.parametrize("value", [{"isValid": "yes"}, {"isValid": True, "invalidReason": "no"}, {"isValid": False}])
def test_a_verdict_that_contradicts_itself_is_none(value):
    with pytest.raises(HoldfastError) as refused:
        asyncio.run(client(200, value).verify(PAYLOAD, ASKED))
    assert refused.value.code == "facilitator.answer"


def test_a_payment_that_is_not_good_is_an_answer():
    said = {"isValid": False, "invalidReason": "insufficient", "payer": payer(0).address}
    found = asyncio.run(client(200, said).verify(PAYLOAD, ASKED))
    assert found == VerifyResponse(False, payer(0).address, "insufficient")


def test_a_capture_is_a_job_that_has_the_name_made_of_what_was_signed():
    facilitator = client(202, {"paymentJob": job()}, Secret("token", "a test"))
    assert asyncio.run(facilitator.settle(PAYLOAD, ASKED)) == CaptureJob(JOB, "queued", None)
    ((method, url, rest),) = facilitator._http.asked
    assert (method, url) == ("POST", "http://facilitator/settle")
    assert rest["headers"]["authorization"] == "Bearer token"
    assert json.loads(rest["body"]) == {
        "x402Version": 2,
        "paymentPayload": PAYLOAD.to_json(),
        "paymentRequirements": ASKED.to_json(),
    }


def test_a_job_that_ended_has_its_result():
    found = asyncio.run(client(200, job(status="succeeded", result=DONE)).job(JOB))
    assert found == CaptureJob(JOB, "succeeded", SettleResponse(True, NETWORK, TRANSACTION, payer(0).address, 1000))
    assert found.ended
    found = asyncio.run(client(200, job(status="failed", result=FAILED)).job(JOB))
    assert found is not None
    assert found.result is not None
    assert (found.status, found.result.error_reason) == ("failed", FAILED["errorReason"])


def test_a_job_that_nobody_knows_is_none():
    assert asyncio.run(client(404, error("facilitator.unknown_job")).job(JOB)) is None


def test_a_facilitator_that_answers_with_the_end_is_understood():
    assert asyncio.run(client(200, DONE).settle(PAYLOAD, ASKED)).status == "succeeded"
    assert asyncio.run(client(200, FAILED).settle(PAYLOAD, ASKED)).status == "failed"


def test_what_it_supports_leaves_out_what_is_not_understood():
    kinds = [
        {"x402Version": 2, "scheme": "exact", "network": NETWORK},
        {"x402Version": 2, "scheme": "upto", "network": NETWORK, "extra": {"facilitatorAddress": "0x" + "AB" * 20}},
        {"x402Version": 1, "scheme": "exact", "network": "base"},
        {"x402Version": 2, "scheme": "deferred", "network": NETWORK},
        {"x402Version": 2, "scheme": "exact", "network": 7},
        "else",
    ]
    found = asyncio.run(client(200, {"kinds": kinds, "signers": {}}).supported())
    assert found == Supported({("exact", NETWORK): None, ("upto", NETWORK): "0x" + "ab" * 20})
    for value in ({}, {"kinds": [{**kinds[1], "extra": {"facilitatorAddress": "0x12"}}]}):
        with pytest.raises(HoldfastError) as refused:
            asyncio.run(client(200, value).supported())
        assert refused.value.code == "facilitator.answer"
