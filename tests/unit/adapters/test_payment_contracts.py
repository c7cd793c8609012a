"""The payment contracts of development chains: what they refuse, and with which words."""

import dataclasses
from pathlib import Path

import pytest

from holdfast.adapters.payment_contracts import (
    CAPTURES,
    TEST_TOKEN,
    TestToken,
    load_permit2,
    runtime_code,
    token_code,
)
from holdfast.core import evm, x402
from holdfast.core.captures import (
    Call,
    batch_call,
    capture_call,
    captured,
    refusal_of,
    refusals,
    selector,
)
from holdfast.core.x402 import address_word
from holdfast.errors import UsageError
from holdfast.ports.vm import BlockContext, Message
from tests.helpers.chains import NEEDS_MACHINE
from tests.helpers.payments import (
    CHAIN_ID,
    FACILITATOR,
    GAS,
    OWNER,
    PAYEE,
    START,
    TOKEN,
    Machine,
    eip3009,
    events,
    nonce_of,
    payer,
    permit2,
    requirements,
    sponsored,
    verified,
)

pytestmark = NEEDS_MACHINE
BUILT = Path(__file__).parents[3] / "contracts" / "build" / "permit2.json"
ALICE, BOB = payer(1), payer(2)


@pytest.fixture
def machine():
    made = Machine()
    made.fund(ALICE.address)
    return made


@pytest.fixture(params=["PermitTransfers.vy", "Permit2"])
def permits(request):
    """A machine with our stand-in at Permit2's address, and one with Permit2 itself."""
    if request.param == "Permit2" and not BUILT.exists():
        pytest.skip("no Permit2 here; contracts/permit2.py builds it")
    made = Machine(load_permit2(BUILT) if request.param == "Permit2" else None)
    made.fund(ALICE.address)
    made.approve(ALICE)
    return made


def submit(machine, payment, sender=FACILITATOR):
    call = capture_call(payment)
    return machine.send(sender.address, call.to, call.data)


def refused(machine, payment, code, sender=FACILITATOR):
    before = machine.balance(payment.payer)
    outcome = submit(machine, payment, sender)
    assert not outcome.success
    assert refusal_of(outcome.output).code == code
    assert machine.balance(payment.payer) == before


# --- the token --------------------------------------------------------------------------------------------------------


def test_only_the_owner_mints(machine):
    data = selector("mint(address,uint256)") + address_word(BOB.address) + evm.word(1)
    assert not machine.send(ALICE.address, TEST_TOKEN, data).success
    assert machine.balance(BOB.address) == 0


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"valid_before": START}, "payment.expired"),
        ({"valid_after": START}, "payment.early"),
        ({"value": 10**6 + 1}, "payment.balance"),
    ],
)
def test_a_token_refuses_an_authorization_out_of_its_time_and_beyond_the_balance(machine, change, code):
    payment = verified(eip3009(requirements(), ALICE))
    authorization = dataclasses.replace(payment.payload.authorization, **change)
    digest = x402.transfer_digest(
        authorization, chain_id=CHAIN_ID, token=TEST_TOKEN, name=TOKEN.name, version=TOKEN.version
    )
    payload = dataclasses.replace(payment.payload, authorization=authorization)
    refused(machine, dataclasses.replace(payment, payload=payload, signature=ALICE.sign(digest)), code)


@pytest.mark.parametrize(
    "change", [{"to": BOB.address}, {"value": 1001}, {"nonce": nonce_of(9)}, {"payer": BOB.address}]
)
def test_a_token_refuses_what_was_not_signed(machine, change):
    payment = verified(eip3009(requirements(), ALICE))
    authorization = dataclasses.replace(payment.payload.authorization, **change)
    payload = dataclasses.replace(payment.payload, authorization=authorization)
    refused(machine, dataclasses.replace(payment, payload=payload), "payment.signature")


def test_a_token_refuses_the_other_signature_of_the_same_authorization(machine):
    payment = verified(eip3009(requirements(), ALICE))
    s = evm.SECP256K1_ORDER - int.from_bytes(payment.signature[32:64])
    twin = payment.signature[:32] + s.to_bytes(32) + bytes([55 - payment.signature[64]])
    refused(machine, dataclasses.replace(payment, signature=twin), "payment.signature")


def test_an_authorization_moves_its_amount_once(machine):
    payment = verified(eip3009(requirements(), ALICE))
    outcome = submit(machine, payment)
    assert outcome.success
    assert captured([payment], events(outcome)) == [True]
    assert (machine.balance(ALICE.address), machine.balance(PAYEE)) == (10**6 - 1000, 1000)
    refused(machine, payment, "payment.replayed")


def signature_as_bytes(payment, name="transferWithAuthorization"):
    function = selector(f"{name}(address,address,uint256,uint256,uint256,bytes32,bytes)")
    six = capture_call(payment).data[4 : 4 + 6 * 32]
    return function + six + evm.word(7 * 32) + evm.word(65) + payment.signature + bytes(31)


def test_a_signature_may_come_as_bytes(machine):
    payment = verified(eip3009(requirements(), ALICE))
    outcome = machine.send(FACILITATOR.address, TEST_TOKEN, signature_as_bytes(payment))
    assert captured([payment], events(outcome)) == [True]
    assert not machine.send(FACILITATOR.address, TEST_TOKEN, signature_as_bytes(payment)).success


def test_only_the_payee_receives_with_authorization(machine):
    asked = requirements(pay_to=BOB.address)
    payment = verified(eip3009(asked, ALICE))
    members = b"address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce"
    kind = b"ReceiveWithAuthorization(" + members + b")"
    words = capture_call(payment).data[4 : 4 + 6 * 32]
    separator = evm.domain_separator(TOKEN.name, TOKEN.version, CHAIN_ID, TEST_TOKEN)
    digest = evm.typed_data_digest(separator, evm.keccak256(evm.keccak256(kind) + words))
    for_receipt = dataclasses.replace(payment, signature=ALICE.sign(digest))
    refused(machine, for_receipt, "payment.signature")
    data = signature_as_bytes(for_receipt, "receiveWithAuthorization")
    assert not machine.send(FACILITATOR.address, TEST_TOKEN, data).success
    assert captured([payment], events(machine.send(BOB.address, TEST_TOKEN, data))) == [True]


@pytest.mark.parametrize("form", ["words", "bytes"])
def test_what_its_payer_took_back_is_refused(machine, form):
    payment = verified(eip3009(requirements(), ALICE))
    nonce = payment.payload.authorization.nonce
    kind = evm.keccak256(b"CancelAuthorization(address authorizer,bytes32 nonce)")
    separator = evm.domain_separator(TOKEN.name, TOKEN.version, CHAIN_ID, TEST_TOKEN)
    digest = evm.typed_data_digest(separator, evm.keccak256(kind + address_word(ALICE.address) + nonce))
    signature = ALICE.sign(digest)
    head = address_word(ALICE.address) + nonce
    if form == "words":
        data = selector("cancelAuthorization(address,bytes32,uint8,bytes32,bytes32)") + head
        data += evm.word(signature[64]) + signature[:64]
    else:
        data = selector("cancelAuthorization(address,bytes32,bytes)") + head + evm.word(96) + evm.word(65)
        data += signature + bytes(31)
    assert machine.send(BOB.address, TEST_TOKEN, data).success
    refused(machine, payment, "payment.replayed")


def test_a_token_has_no_other_functions(machine):
    assert not machine.send(ALICE.address, TEST_TOKEN, selector("burn(uint256)") + evm.word(1)).success


def test_code_in_a_genesis_is_what_the_constructor_makes():
    machine = Machine()
    machine.vm.begin_block(BlockContext(1, START, 7, 60_000_000, bytes(32)))
    init = bytes.fromhex(_artifact()["bytecode"][2:])
    arguments = address_word(OWNER.address) + evm.word(TOKEN.decimals)
    tail, offset = b"", 5 * 32
    for text in (TOKEN.name, TOKEN.symbol, TOKEN.version):
        arguments += evm.word(offset + len(tail))
        tail += evm.word(len(text)) + text.encode() + bytes(32 - len(text))
    outcome = machine.vm.transact(Message(OWNER.address, None, init + arguments + tail, 0, GAS, 0))
    assert machine.vm.code(outcome.created) == token_code(TOKEN)
    assert machine.vm.code(TEST_TOKEN) == token_code(TOKEN)


def _artifact():
    import json  # noqa: PLC0415

    folder = Path(__file__).parents[3] / "src" / "holdfast" / "adapters" / "contracts"
    return json.loads((folder / "TestToken.json").read_text())


def test_a_name_of_more_than_a_word_is_refused():
    with pytest.raises(UsageError, match="at most 32 bytes"):
        token_code(TestToken(OWNER.address, name="x" * 33))


def test_what_permit2_py_did_not_write_is_refused(tmp_path):
    (tmp_path / "permit2.json").write_text('{"runtime_bytecode":"0x00"}')
    for name in ("permit2.json", "missing.json"):
        with pytest.raises(UsageError) as caught:
            load_permit2(tmp_path / name)
        assert caught.value.code == "permit2.file"


# --- Permit2 and the proxies ------------------------------------------------------------------------------------------

UPTO = {"scheme": x402.UPTO}


@pytest.mark.parametrize("scheme", [x402.EXACT, x402.UPTO])
def test_a_permit_moves_its_amount_once(permits, scheme):
    payment = verified(permit2(requirements(scheme=scheme), ALICE))
    outcome = submit(permits, payment)
    assert captured([payment], events(outcome)) == [True]
    assert permits.balance(PAYEE) == 1000
    refused(permits, payment, "payment.replayed")


def test_upto_moves_what_is_charged(permits):
    payload = permit2(requirements(**UPTO), ALICE)
    payment = verified(payload, requirements(250, **UPTO), settling=True)
    assert captured([payment], events(submit(permits, payment))) == [True]
    assert permits.balance(PAYEE) == 250
    refused(permits, payment, "payment.replayed")


def test_upto_refuses_a_charge_above_the_cap(permits):
    payment = verified(permit2(requirements(**UPTO), ALICE))
    refused(permits, dataclasses.replace(payment, amount=1001), "payment.over_cap")


def test_upto_refuses_everybody_but_the_facilitator_that_was_signed(permits):
    refused(permits, verified(permit2(requirements(**UPTO), ALICE)), "payment.unauthorized", sender=OWNER)


def test_exact_may_be_submitted_by_anyone(permits):
    payment = verified(permit2(requirements(), ALICE))
    assert captured([payment], events(submit(permits, payment, OWNER))) == [True]


@pytest.mark.parametrize("scheme", [x402.EXACT, x402.UPTO])
@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"valid_after": START + 1}, "payment.too_early"),
        ({"deadline": START - 1}, "payment.expired"),
        ({"to": BOB.address}, "payment.signature"),
        ({"amount": 2000}, "payment.signature"),
        ({"nonce": 5}, "payment.signature"),
        ({"payer": BOB.address}, "payment.signature"),
    ],
)
def test_a_proxy_refuses_what_was_not_signed_or_is_out_of_its_time(permits, scheme, change, code):
    payment = verified(permit2(requirements(scheme=scheme), ALICE))
    authorization = dataclasses.replace(payment.payload.authorization, **change)
    payload = dataclasses.replace(payment.payload, authorization=authorization)
    refused(permits, dataclasses.replace(payment, payload=payload), code)


def test_without_an_allowance_nothing_moves(permits):
    permits.approve(ALICE, 999)
    payment = verified(permit2(requirements(), ALICE))
    refused(permits, payment, "payment.simulation")


@pytest.mark.parametrize("scheme", [x402.EXACT, x402.UPTO])
def test_a_signed_allowance_goes_with_the_payment(permits, scheme):
    permits.approve(ALICE, 0)
    payload = sponsored(permit2(requirements(scheme=scheme), ALICE), ALICE)
    payment = verified(payload)
    assert payment.permit is not None
    assert captured([payment], events(submit(permits, payment))) == [True]
    assert permits.allowance(ALICE.address) == 0


def test_a_signed_allowance_that_was_used_before_does_not_stop_the_payment(permits):
    permits.approve(ALICE)
    payment = verified(sponsored(permit2(requirements(), ALICE), ALICE, nonce=7))
    assert captured([payment], events(submit(permits, payment))) == [True]


def test_an_allowance_of_another_amount_is_refused_by_the_proxy(permits):
    payment = verified(sponsored(permit2(requirements(), ALICE), ALICE))
    wrong = dataclasses.replace(payment, permit=dataclasses.replace(payment.permit, value=999))
    refused(permits, wrong, "payment.sponsoring_amount")


def test_a_nonce_can_be_voided_by_its_owner(permits):
    payment = verified(permit2(requirements(), ALICE))
    nonce = payment.payload.authorization.nonce
    data = selector("invalidateUnorderedNonces(uint256,uint256)") + evm.word(nonce >> 8) + evm.word(1 << (nonce & 255))
    assert permits.send(ALICE.address, x402.PERMIT2, data).success
    refused(permits, payment, "payment.replayed")


def test_the_proxies_say_what_x402_says(permits):
    for proxy, witness in (
        (x402.EXACT_PROXY, b"Witness(address to,uint256 validAfter)"),
        (x402.UPTO_PROXY, b"Witness(address to,address facilitator,uint256 validAfter)"),
    ):
        assert permits.read(proxy, selector("PERMIT2()")) == int(x402.PERMIT2, 16)
        assert permits.read(proxy, selector("WITNESS_TYPEHASH()")) == int.from_bytes(evm.keccak256(witness))


# --- batches ----------------------------------------------------------------------------------------------------------


def test_a_batch_takes_what_is_good_and_says_why_the_rest_is_not(machine):
    machine.fund(BOB.address, 999)
    payments = [
        verified(eip3009(requirements(100), ALICE, 1)),
        verified(eip3009(requirements(1000), BOB, 2)),
        verified(eip3009(requirements(100), ALICE, 3)),
        verified(eip3009(requirements(100), ALICE, 1)),
    ]
    call = batch_call(CAPTURES, payments)
    outcome = machine.send(FACILITATOR.address, call.to, call.data)
    assert outcome.success
    assert captured(payments, events(outcome)) == [True, False, True, False]
    why = refusals(CAPTURES, events(outcome))
    codes = {key[2]: refusal_of(data).code for key, data in why.items()}
    assert codes == {nonce_of(2): "payment.balance", nonce_of(1): "payment.replayed"}
    assert machine.balance(PAYEE) == 200


def test_a_token_without_code_moves_nothing_and_is_not_believed(machine):
    asked = requirements(asset="0x" + "77" * 20)
    payment = verified(eip3009(asked, ALICE))
    call = batch_call(CAPTURES, [payment])
    assert captured([payment], events(machine.send(FACILITATOR.address, call.to, call.data))) == [False]


def test_a_batch_is_of_eip_3009_payments_and_not_empty():
    with pytest.raises(UsageError, match="a batch has"):
        batch_call(CAPTURES, [])
    with pytest.raises(UsageError, match="only EIP-3009"):
        batch_call(CAPTURES, [verified(permit2(requirements(), ALICE))])


def test_a_full_batch_fits_a_block(machine):
    payments = [verified(eip3009(requirements(1), ALICE, number)) for number in range(256)]
    call = batch_call(CAPTURES, payments)
    outcome = machine.send(FACILITATOR.address, call.to, call.data)
    assert all(captured(payments, events(outcome)))
    assert outcome.gas_used < 60_000_000
    assert machine.balance(PAYEE) == 256


def test_a_call_names_its_contract():
    assert capture_call(verified(eip3009(requirements(), ALICE))) == Call(
        TEST_TOKEN, capture_call(verified(eip3009(requirements(), ALICE))).data
    )
    assert capture_call(verified(permit2(requirements(), ALICE))).to == x402.EXACT_PROXY
    assert capture_call(verified(permit2(requirements(**UPTO), ALICE))).to == x402.UPTO_PROXY


def test_shipped_code_has_no_constructor_where_a_genesis_has_none():
    for name in ("ExactProxy", "UptoProxy", "PermitTransfers", "Captures"):
        assert runtime_code(name)
