"""A wallet's payments with the real facilitator on a development chain: verified, captured, to the last unit."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from holdfast.adapters.payment_contracts import TEST_TOKEN
from holdfast.adapters.spending_sqlite import SpendingRecord
from holdfast.client.paying import Wallet
from holdfast.client.tokens import ChainTokens
from holdfast.core import canonical, evm, x402
from holdfast.core.paying import Seller
from holdfast.core.x402 import PaymentRequired, PaymentRequirements
from holdfast.errors import HoldfastError, RefusedError, UnavailableError, UsageError
from tests.helpers.chains import NEEDS_MACHINE
from tests.helpers.facilitator import EACH, Facilitator, PaymentWorld
from tests.helpers.paying import LIMITS, PATH, URL, upto
from tests.helpers.payments import APPROVE, NETWORK, PAYEE, payer, requirements

pytestmark = NEEDS_MACHINE
ALICE = payer(0)
Scenario = Callable[[PaymentWorld, Facilitator], Awaitable[None]]


def within(scenario: Scenario) -> None:
    async def main() -> None:
        world = PaymentWorld()
        await world.open()
        try:
            await scenario(world, Facilitator(world))
        finally:
            await world.close()

    asyncio.run(main())


def wallet(world: PaymentWorld) -> Wallet:
    tokens = ChainTokens({NETWORK: world.rpc})
    return Wallet(ALICE, LIMITS, SpendingRecord(":memory:"), world.clock, tokens=tokens)


async def settle(facilitator: Facilitator, paid: Any, amount: int) -> Any:
    """What the facilitator says of a payment, then the capture of ``amount``."""
    payload = canonical.decode(canonical.encode_exact(x402.parse_header(paid.header)))
    asked = paid.terms.requirements.to_json()
    verified = await facilitator.service.verify(
        {"x402Version": 2, "paymentPayload": payload, "paymentRequirements": asked}
    )
    assert verified.valid, verified.invalid_message
    body = {"x402Version": 2, "paymentPayload": payload, "paymentRequirements": {**asked, "amount": str(amount)}}
    job = await facilitator.service.settle(body)
    await facilitator.finish()
    return job


@pytest.mark.parametrize(
    ("way", "charge"),
    [
        (requirements(1000), 1000),
        (requirements(700, extra={"assetTransferMethod": "permit2"}), 700),
        (upto(900), 123),
    ],
)
def test_what_a_wallet_signs_is_captured_for_the_charge(way: PaymentRequirements, charge: int) -> None:
    async def scenario(world: PaymentWorld, facilitator: Facilitator) -> None:
        asked = PaymentRequired((way,), resource={"url": URL})
        paid = await wallet(world).pay(asked, Seller(PATH, PAYEE), URL)
        await settle(facilitator, paid, charge)
        assert await world.balance(ALICE.address) == EACH - charge
        assert await world.balance(PAYEE) == charge

    within(scenario)


def test_without_an_allowance_the_wallet_signs_one_along_that_the_token_takes() -> None:
    async def scenario(world: PaymentWorld, facilitator: Facilitator) -> None:
        await world.send(ALICE, TEST_TOKEN, APPROVE + x402.address_word(x402.PERMIT2) + evm.word(0))
        await world.mine()
        payer_ = wallet(world)
        with pytest.raises(RefusedError) as error:
            await payer_.pay(PaymentRequired((upto(900),)), Seller(PATH, PAYEE), URL)
        assert error.value.code == "paying.allowance"
        asked = PaymentRequired((upto(900),), extensions={x402.SPONSORING: {"info": {}}})
        paid = await payer_.pay(asked, Seller(PATH, PAYEE), URL)
        await settle(facilitator, paid, 800)
        assert await world.balance(PAYEE) == 800
        tokens = ChainTokens({NETWORK: world.rpc})
        assert await tokens.permit_nonce(NETWORK, TEST_TOKEN, ALICE.address) == 1

    within(scenario)


def test_tokens_are_read_from_the_chain_that_was_meant() -> None:
    async def scenario(world: PaymentWorld, _: Facilitator) -> None:
        tokens = ChainTokens({NETWORK: world.rpc})
        assert await tokens.balance(NETWORK, TEST_TOKEN, ALICE.address) == EACH
        with pytest.raises(UsageError, match=r"chain\.endpoint"):
            await tokens.balance("eip155:1", TEST_TOKEN, ALICE.address)
        with pytest.raises(RefusedError, match=r"chain\.other"):
            await ChainTokens({"eip155:1": world.rpc}).balance("eip155:1", TEST_TOKEN, ALICE.address)

    within(scenario)


def test_a_silent_chain_is_an_error_of_its_own_and_nothing_is_entered() -> None:
    async def scenario(world: PaymentWorld, _: Facilitator) -> None:
        payer_ = wallet(world)

        def silence(_: str) -> None:
            raise UnavailableError("chain.unreachable", "no answer")

        world.rpc.fault = silence
        with pytest.raises(HoldfastError) as error:
            await payer_.pay(PaymentRequired((upto(900),)), Seller(PATH, PAYEE), URL)
        assert error.value.code == "chain.unreachable"
        assert payer_.record.history() == []

    within(scenario)


def test_the_limit_of_a_day_holds_at_the_chains_own_time() -> None:
    async def scenario(world: PaymentWorld, _: Facilitator) -> None:
        payer_ = wallet(world)
        asked = PaymentRequired((requirements(1000),))
        for _number in range(5):
            await payer_.pay(asked, Seller(PATH, PAYEE), URL)
        smaller = PaymentRequired((dataclasses.replace(requirements(1000), amount=1),))
        with pytest.raises(RefusedError) as error:
            await payer_.pay(smaller, Seller(PATH, PAYEE), URL)
        assert error.value.code == "paying.per_day"

    within(scenario)
