"""What the facilitator answers: refusals first, then what it takes on; three kinds of answers that never look alike."""

import asyncio
import base64
import dataclasses
import json

import pytest

from holdfast.adapters.payment_contracts import CAPTURES, SETTLEMENT, TEST_TOKEN
from holdfast.adapters.storage_simulated import SimulatedDisk
from holdfast.core import evm, x402
from holdfast.core.captures import capture_call
from holdfast.core.x402 import SettleResponse
from holdfast.errors import HoldfastError, UnavailableError
from holdfast.nodes.facilitator.app import create_app
from tests.helpers import asgi
from tests.helpers.chains import NEEDS_MACHINE
from tests.helpers.clock import settle
from tests.helpers.facilitator import EACH, Facilitator, PaymentWorld, request, silence
from tests.helpers.payments import (
    APPROVE,
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

pytestmark = NEEDS_MACHINE
UPTO = {"scheme": x402.UPTO}
ALICE = payer(0)


def within(scenario, **options):
    """Run with a chain and a facilitator on it."""

    async def main():
        world = PaymentWorld()
        await world.open()
        try:
            await scenario(world, Facilitator(world, **options))
        finally:
            await world.close()

    asyncio.run(main())


async def post(facilitator, path, value, **more):
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return await asgi.request(create_app(facilitator.service), "POST", path, body, more.get("headers", []))


# --- verifying --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "asked", "reason"),
    [
        (
            eip3009(requirements(EACH + 1), ALICE),
            None,
            "invalid_exact_evm_insufficient_balance",
        ),
        (eip3009(requirements(), ALICE), requirements(2000), "invalid_exact_evm_payload_authorization_value_mismatch"),
        (permit2(requirements(EACH + 1), ALICE), None, "permit2_insufficient_balance"),
        (permit2(requirements(**UPTO), ALICE, facilitator=OWNER.address), None, "upto_facilitator_mismatch"),
        (permit2(requirements(), payer(99)), None, "permit2_insufficient_balance"),
        (eip3009(requirements(network="eip155:1"), ALICE), None, "unsupported_network"),
        (eip3009(requirements(asset=PAYEE), ALICE), None, "asset_not_deployed_contract"),
        (
            dataclasses.replace(eip3009(requirements(), ALICE), signature=bytes(65)),
            None,
            "invalid_exact_evm_payload_signature",
        ),
    ],
)
def test_a_payment_that_would_not_be_captured_is_not_valid(payload, asked, reason):
    async def scenario(_, facilitator):
        answer = await facilitator.service.verify(request(payload, asked))
        assert (answer.valid, answer.invalid_reason) == (False, reason)
        assert answer.payer == payload.authorization.payer

    within(scenario)


def test_without_an_allowance_a_permit_is_refused_and_a_signed_allowance_helps():
    async def scenario(world, facilitator):
        await world.send(ALICE, TEST_TOKEN, APPROVE + x402.address_word(x402.PERMIT2) + evm.word(0))
        await world.mine()
        payload = permit2(requirements(), ALICE)
        answer = await facilitator.service.verify(request(payload))
        assert answer.invalid_reason == "permit2_allowance_required"
        assert (await facilitator.service.verify(request(sponsored(payload, ALICE)))).valid

    within(scenario)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"assets": ()}, "unsupported_asset"),
        ({"payees": ()}, "unsupported_payee"),
        ({"payees": (OWNER.address,)}, "unsupported_payee"),
    ],
)
def test_nobody_is_served_by_default(options, reason):
    async def scenario(_, facilitator):
        body = request(eip3009(requirements(), ALICE))
        assert (await facilitator.service.verify(body)).invalid_reason == reason
        answer = await facilitator.service.settle(body)
        assert isinstance(answer, SettleResponse)
        assert (answer.success, answer.error_reason) == (False, reason)
        assert facilitator.ledger.jobs == {}

    within(scenario, **options)


def test_what_was_handed_in_for_capture_is_no_valid_payment_for_anything_else():
    async def scenario(_, facilitator):
        body = request(eip3009(requirements(), ALICE))
        assert (await facilitator.service.verify(body)).valid
        await facilitator.service.settle(body)
        assert (await facilitator.service.verify(body)).invalid_reason == "invalid_exact_evm_nonce_already_used"

    within(scenario)


def test_what_somebody_else_captured_is_refused():
    async def scenario(world, facilitator):
        payload = eip3009(requirements(), ALICE)
        call = capture_call(verified(payload))
        await world.send(OWNER, call.to, call.data)
        await world.mine()
        answer = await facilitator.service.verify(request(payload))
        assert answer.invalid_reason == "invalid_exact_evm_nonce_already_used"

    within(scenario)


def test_without_simulation_the_chain_is_not_asked():
    async def scenario(world, facilitator):
        world.rpc.asked.clear()
        assert (await facilitator.service.verify(request(eip3009(requirements(EACH + 1), ALICE)))).valid
        assert world.rpc.asked == []

    within(scenario, simulate=False)


# --- three kinds of answers -------------------------------------------------------------------------------------------


def test_a_bad_signature_is_an_answer():
    async def scenario(_, facilitator):
        payload = dataclasses.replace(eip3009(requirements(), ALICE), signature=bytes(65))
        for path, name in (("/verify", "invalidReason"), ("/settle", "errorReason"), ("/x402/settle", "errorReason")):
            reply = await post(facilitator, path, request(payload))
            assert reply.status == 200
            assert reply.json()[name] == "invalid_exact_evm_payload_signature"

    within(scenario)


def test_a_silent_chain_is_unavailable():
    async def scenario(world, facilitator):
        world.rpc.fault = silence
        reply = await post(facilitator, "/verify", request(eip3009(requirements(), ALICE)))
        assert (reply.status, reply.code) == (503, "chain.unreachable")

    within(scenario)


def test_a_bug_is_ours_and_says_nothing_else():
    async def scenario(world, facilitator):
        def broken(_):
            raise KeyError("secret")

        world.rpc.fault = broken
        reply = await post(facilitator, "/verify", request(eip3009(requirements(), ALICE)))
        assert (reply.status, reply.code) == (500, "internal.error")
        assert b"secret" not in reply.body

    within(scenario)


@pytest.mark.parametrize("path", ["/verify", "/settle", "/x402/verify", "/x402/settle"])
@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "json.syntax"),
        (b"[]", "json.object"),
        (b'{"x402Version":2,"x402Version":2}', "json.duplicate_key"),
        (b'{"x402Version":2}', "x402.members"),
        (b'{"x402Version":1,"paymentPayload":{},"paymentRequirements":{}}', "x402.version"),
    ],
)
def test_what_does_not_parse_is_malformed(path, body, code):
    async def scenario(_, facilitator):
        reply = await post(facilitator, path, body)
        assert (reply.status, reply.code) == (400, code)

    within(scenario)


def test_a_large_request_is_refused():
    async def scenario(_, facilitator):
        assert (await post(facilitator, "/verify", b" " * 70_000)).code == "request.too_large"

    within(scenario)


@pytest.mark.parametrize("path", ["/verify", "/settle", "/x402/verify", "/x402/settle", "/heartbeat"])
def test_with_a_token_nobody_else_is_answered(path):
    async def scenario(_, facilitator):
        body = request(eip3009(requirements(), ALICE))
        for headers, code in (([], "auth.missing"), ([("authorization", "Bearer wrong")], "auth.wrong")):
            reply = await post(facilitator, path, body, headers=headers)
            assert (reply.status, reply.code) == (401, code)
        reply = await post(facilitator, path, body, headers=[("authorization", "Bearer right")])
        assert reply.status != 401
        assert path in ("/settle", "/x402/settle") or facilitator.ledger.jobs == {}

    within(scenario, token="right")


# --- settling ---------------------------------------------------------------------------------------------------------


def test_a_job_is_queued_then_succeeds_with_its_transaction():
    async def scenario(world, facilitator):
        reply = await post(
            facilitator, "/settle", request(eip3009(requirements(), ALICE), usageMetadata={"model": "m"})
        )
        job = reply.json()["paymentJob"]
        assert (reply.status, job["status"], job["queue"], job["result"]) == (202, "queued", "payment", None)
        app = create_app(facilitator.service)
        await facilitator.network.step()
        shown = (await asgi.request(app, "GET", f"/settle/{job['jobId']}")).json()
        assert shown["status"] == "processing"
        await facilitator.finish()
        shown = (await asgi.request(app, "GET", f"/settle/{job['jobId']}")).json()
        assert shown["status"] == "succeeded"
        assert shown["result"]["success"] is True
        assert shown["result"]["amount"] == "1000"
        assert await world.balance(PAYEE) == 1000

    within(scenario)


def test_the_same_payment_is_the_same_job_however_often_it_comes():
    async def scenario(world, facilitator):
        body = request(permit2(requirements(), ALICE))
        jobs = await asyncio.gather(*(facilitator.service.settle(body) for _ in range(20)))
        assert len({id(job) for job in jobs}) == 1
        await facilitator.finish()
        world.clock.time += 10_000  # long expired
        assert await facilitator.service.settle(body) is jobs[0]
        assert (await world.balance(PAYEE), await world.used()) == (1000, 1)

    within(scenario)


def test_another_signature_of_the_same_authorization_is_the_same_job():
    async def scenario(_, facilitator):
        payload = eip3009(requirements(), ALICE)
        first = await facilitator.service.settle(request(payload))
        parity = payload.signature[:64] + bytes([payload.signature[64] - 27])
        again = await facilitator.service.settle(request(dataclasses.replace(payload, signature=parity)))
        assert again is first

    within(scenario)


@pytest.mark.parametrize("amount", [0, 1, 999])
def test_a_second_charge_on_one_authorization_is_a_replay(amount):
    async def scenario(_, facilitator):
        payload = permit2(requirements(**UPTO), ALICE)
        await facilitator.service.settle(request(payload))
        answer = await facilitator.service.settle(request(payload, requirements(amount, **UPTO)))
        assert isinstance(answer, SettleResponse)
        assert answer.error_reason == "permit2_invalid_nonce"
        assert len(facilitator.ledger.jobs) == 1

    within(scenario)


def test_one_permit2_nonce_pays_once_in_either_scheme():
    async def scenario(_, facilitator):
        await facilitator.service.settle(request(permit2(requirements(**UPTO), ALICE, 5)))
        answer = await facilitator.service.settle(request(permit2(requirements(), ALICE, 5)))
        assert answer.error_reason == "permit2_invalid_nonce"

    within(scenario)


def test_a_charge_above_the_cap_is_never_taken_on():
    async def scenario(_, facilitator):
        answer = await facilitator.service.settle(
            request(permit2(requirements(**UPTO), ALICE), requirements(1001, **UPTO))
        )
        assert answer.error_reason == "invalid_upto_evm_payload_settlement_exceeds_amount"
        assert facilitator.ledger.jobs == {}

    within(scenario)


def test_a_charge_of_nothing_succeeds_without_a_transaction_and_uses_the_authorization_up():
    async def scenario(world, facilitator):
        payload = permit2(requirements(**UPTO), ALICE)
        job = await facilitator.service.settle(request(payload, requirements(0, **UPTO)))
        assert (job.status, job.result.transaction, job.result.amount) == ("succeeded", "", 0)
        assert not (await facilitator.service.verify(request(payload))).valid
        await facilitator.turn()
        assert await world.used() == 0

    within(scenario)


def test_a_job_that_is_not_known_is_not_found():
    async def scenario(_, facilitator):
        reply = await asgi.request(create_app(facilitator.service), "GET", "/settle/payment-x")
        assert (reply.status, reply.code) == (404, "facilitator.unknown_job")

    within(scenario)


def test_beyond_its_capacity_nothing_is_acknowledged():
    async def scenario(_, facilitator):
        await facilitator.service.settle(request(eip3009(requirements(), ALICE)))
        with pytest.raises(UnavailableError) as caught:
            await facilitator.service.settle(request(eip3009(requirements(), ALICE, 1)))
        assert caught.value.code == "facilitator.busy"
        assert len(facilitator.ledger.jobs) == 1

    within(scenario, jobs_waiting=1)


def test_once_captures_have_stopped_nothing_is_acknowledged():
    async def scenario(world, facilitator):
        def broken(_):
            raise KeyError("a bug")

        world.rpc.fault = broken
        async with facilitator.service.running():
            await settle()
            with pytest.raises(UnavailableError) as caught:
                await facilitator.service.settle(request(eip3009(requirements(), ALICE)))
            assert caught.value.code == "facilitator.stopped"
            assert "captures" in facilitator.service.waiting_for()

    within(scenario)


def test_what_a_payment_was_for_is_not_kept():
    async def scenario(world, _):
        disk = SimulatedDisk()
        facilitator = Facilitator(world, disk.mount())
        payload = sponsored(permit2(requirements(), ALICE), ALICE)
        extensions = {**payload.extensions, "trace": {"why": "medicine"}}
        payload = dataclasses.replace(payload, resource={"url": "https://shop/medicine"}, extensions=extensions)
        job = await facilitator.service.settle(request(payload, usageMetadata={"model": "medicine"}))
        storage = disk.mount()
        kept = b"".join(storage.load(f"wal/{name}") for name in storage.list_names("wal"))
        assert job.payment.permit is not None
        assert payload.signature.hex().encode() in kept
        assert b"medicine" not in kept

    within(scenario)


def test_a_disk_that_fails_acknowledges_nothing():
    async def scenario(world, facilitator):
        disk = SimulatedDisk()
        facilitator = Facilitator(world, disk.mount())
        disk.fail_after(1)
        body = request(eip3009(requirements(), ALICE))
        for _ in range(2):
            with pytest.raises(HoldfastError) as caught:
                await facilitator.service.settle(body)
            assert caught.value.code == "wal.stopped"

    within(scenario)


def test_x402s_own_answer_waits_for_the_capture():
    async def scenario(_, facilitator):
        body = request(eip3009(requirements(), ALICE))
        waiting = asyncio.ensure_future(facilitator.service.settle_and_wait(body))
        await settle()
        await facilitator.finish()
        answer = await waiting
        assert answer.success
        assert len(answer.transaction) == 66

    within(scenario)


def test_x402s_own_answer_says_pending_after_a_while():
    async def scenario(_, facilitator):
        answer = await facilitator.service.settle_and_wait(request(eip3009(requirements(), ALICE)))
        assert (answer.success, answer.error_reason) == (False, "settlement_pending")

    within(scenario)


# --- what is offered --------------------------------------------------------------------------------------------------


def test_what_is_supported_names_the_facilitator():
    async def scenario(_, facilitator):
        app = create_app(facilitator.service)
        for path in ("/supported", "/x402/supported"):
            offered = (await asgi.request(app, "GET", path)).json()
            assert [kind["scheme"] for kind in offered["kinds"]] == ["exact", "upto"]
            assert {kind["extra"]["facilitatorAddress"] for kind in offered["kinds"]} == {FACILITATOR.address}
            assert offered["signers"] == {"eip155:*": [FACILITATOR.address]}
            assert offered["extensions"] == ["eip2612GasSponsoring"]
        health = (await asgi.request(app, "GET", "/health")).json()
        assert health["status"] == "degraded"
        assert health["supportedKinds"] == offered["kinds"]

    within(scenario)


def test_it_is_ready_once_its_chain_answered():
    async def scenario(world, facilitator):
        app = create_app(facilitator.service)
        assert (await asgi.request(app, "GET", "/readyz")).code == "node.not_ready"
        async with facilitator.service.running():
            await settle(50)
            assert (await asgi.request(app, "GET", "/readyz")).status == 200
            world.rpc.fault = silence

    within(scenario)


# --- on behalf of others ----------------------------------------------------------------------------------------------

REGISTRY = PAYEE
BEAT = {"teeId": "0x" + "ab" * 32, "timestamp": "1700000000", "signature": base64.b64encode(bytes(256)).decode()}


@pytest.mark.parametrize(
    ("change", "code", "status"),
    [
        ({"teeId": "0x12"}, "heartbeat.members", 400),
        ({"teeId": None}, "heartbeat.members", 400),
        ({"timestamp": 1700000000}, "heartbeat.members", 400),
        ({"timestamp": "-1"}, "heartbeat.members", 400),
        ({"signature": "%%"}, "encoding.base64", 400),
        ({"signature": ""}, "heartbeat.members", 400),
        ({"contractAddress": OWNER.address}, "heartbeat.contract", 400),
    ],
)
def test_a_heartbeat_that_is_none_goes_nowhere(change, code, status):
    async def scenario(world, facilitator):
        world.rpc.asked.clear()
        reply = await post(facilitator, "/heartbeat", {**BEAT, **change})
        assert (reply.status, reply.code) == (status, code)
        assert world.rpc.asked == []

    within(scenario, registry=REGISTRY)


def test_without_a_registry_no_heartbeat_is_relayed():
    async def scenario(_, facilitator):
        assert (await post(facilitator, "/heartbeat", BEAT)).code == "heartbeat.unset"

    within(scenario)


def test_a_heartbeat_that_the_registry_refuses_costs_nothing():
    async def scenario(world, facilitator):
        reply = await post(facilitator, "/heartbeat", BEAT)
        assert (reply.status, reply.code) == (400, "heartbeat.refused")
        assert await world.used() == 0

    within(scenario, registry=CAPTURES)


def test_a_heartbeat_is_relayed_among_the_captures():
    async def scenario(world, facilitator):
        await facilitator.service.settle(request(eip3009(requirements(), ALICE)))
        relayed = asyncio.ensure_future(post(facilitator, "/heartbeat", {**BEAT, "contractAddress": REGISTRY}))
        await settle()
        await facilitator.finish()
        reply = await relayed
        assert reply.json() == {
            "success": True,
            "txHash": reply.json()["txHash"],
            "teeId": BEAT["teeId"],
            "timestamp": BEAT["timestamp"],
            "relayer": FACILITATOR.address,
            "contract": REGISTRY,
        }
        assert await world.used() == 2

    within(scenario, registry=REGISTRY)


def test_a_heartbeat_that_no_block_takes_is_unavailable():
    async def scenario(_, facilitator):
        reply = await post(facilitator, "/heartbeat", BEAT)
        assert (reply.status, reply.code) == (503, "chain.timeout")

    within(scenario, registry=REGISTRY)


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("private", 202, None),
        ("pivate", 202, None),
        ("batch", 503, "settlement.unset"),
        ("", 503, "settlement.unset"),
        ("individual", 503, "settlement.unset"),
        ("loud", 400, "settlement.type"),
    ],
)
def test_without_a_contract_data_settlement_is_for_private_alone(kind, status, code):
    async def scenario(_, facilitator):
        reply = await post(facilitator, "/settle_data", b"", headers=[("x-settlement-type", kind)])
        assert reply.status == status
        assert reply.json()["settlementJob"] is None if code is None else reply.code == code

    within(scenario)


def row(number=1, **change):
    value = {
        "tee_id": "0x" + f"{number:064x}",
        "input_hash": "11" * 32,
        "output_hash": "22" * 32,
        "tee_signature": base64.b64encode(b"signature %d" % number).decode(),
        "tee_timestamp": 1_700_000_000,
        "timestamp": "ignored",
        **change,
    }
    return base64.b64encode(json.dumps(value).encode()).decode()


async def settle_row(facilitator, number=1, **change):
    headers = [("x-settlement-type", "batch"), ("x-settlement-data", row(number, **change))]
    return await post(facilitator, "/settle_data", b"", headers=headers)


@pytest.mark.parametrize(
    "change",
    [
        {"tee_timestamp": None},
        {"tee_timestamp": "1700000000"},
        {"tee_timestamp": -1},
        {"tee_id": "0x12"},
        {"input_hash": None},
        {"tee_signature": ""},
        {"tee_signature": "0w=="},
    ],
)
def test_a_row_that_was_never_signed_is_in_no_batch(change):
    async def scenario(_, facilitator):
        reply = await settle_row(facilitator, **change)
        assert reply.status == 400
        assert facilitator.ledger.data == {}

    within(scenario, settlement=SETTLEMENT)


def test_rows_are_settled_together_and_their_document_is_published():
    async def scenario(world, facilitator):
        jobs = [(await settle_row(facilitator, number)).json()["settlementJob"] for number in range(1, 4)]
        again = (await settle_row(facilitator, 1)).json()["settlementJob"]
        assert again["jobId"] == jobs[0]["jobId"]
        assert not await facilitator.service.close_batch()
        world.clock.time += 301
        assert await facilitator.service.close_batch()
        assert not await facilitator.service.close_batch()
        await facilitator.finish()
        app = create_app(facilitator.service)
        shown = (await asgi.request(app, "GET", f"/settle/{jobs[2]['jobId']}")).json()
        assert (shown["status"], shown["queue"], shown["result"]["batchSize"]) == ("succeeded", "batch", 3)
        document = (await asgi.request(app, "GET", f"/v1/blobs/{shown['result']['walrusBlobId']}")).json()
        assert document["tree"][0] == shown["result"]["merkleRoot"]
        assert len(document["values"]) == 3
        receipt = await world.rpc.request("eth_getTransactionReceipt", shown["result"]["transactionHash"])
        assert receipt["logs"][0]["topics"][1] == shown["result"]["merkleRoot"]
        assert (await asgi.request(app, "GET", f"/v1/blobs/{'00' * 32}")).code == "settlement.no_blob"

    within(scenario, settlement=SETTLEMENT)


def test_a_full_batch_waits_for_nobody():
    async def scenario(_, facilitator):
        for number in range(21):
            await settle_row(facilitator, number + 1)
        assert await facilitator.service.close_batch()
        assert not await facilitator.service.close_batch()
        assert len(facilitator.ledger.open_data()) == 1

    within(scenario, settlement=SETTLEMENT)


@pytest.mark.parametrize("turns", range(3))
def test_rows_outlive_a_crash_and_are_settled_once(turns):
    async def main():
        world, disk = PaymentWorld(), SimulatedDisk()
        await world.open()
        old = Facilitator(world, disk.mount(), settlement=SETTLEMENT, depth=1)
        names = [(await settle_row(old, number)).json()["settlementJob"]["jobId"] for number in (1, 2)]
        world.clock.time += 301
        if turns:
            assert await old.service.close_batch()
        for _ in range(turns):
            await old.turn()
        disk.crash("kill")
        new = Facilitator(world, disk.mount(), settlement=SETTLEMENT, depth=1)
        world.clock.time += 901
        for _ in range(8):
            await new.service.close_batch()
            await new.turn()
        assert [new.service.job(name).status for name in names] == ["succeeded", "succeeded"]
        assert await world.used() == 1
        await world.close()

    asyncio.run(main())


def test_times_of_payments_are_the_clocks():
    async def scenario(world, facilitator):
        world.clock.time = START + 595
        answer = await facilitator.service.verify(request(eip3009(requirements(), ALICE)))
        assert answer.invalid_reason == "invalid_exact_evm_payload_authorization_valid_before"

    within(scenario)
