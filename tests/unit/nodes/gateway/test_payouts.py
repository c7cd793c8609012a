"""Debts are paid by ordinary transfers: each once, whatever ends the process, and none that is not owed."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.adapters.storage_simulated import SimulatedDisk
from holdfast.client.chain import ChainReader
from holdfast.core import evm, x402
from holdfast.core.captures import transferred
from holdfast.core.x402 import address_word
from holdfast.errors import HoldfastError, MalformedError, UnavailableError
from holdfast.nodes.gateway.payouts import BUMP_S, FILE, MISSING_S, RETRY_S, Payouts
from holdfast.ports.storage import Storage
from tests.helpers.chains import NEEDS_MACHINE
from tests.helpers.collecting import Collecting, Shop
from tests.helpers.facilitator import EACH, silence
from tests.helpers.payments import MINT, NETWORK, OWNER, TEST_TOKEN, payer
from tests.unit.nodes.gateway.test_collector import tell

pytestmark = NEEDS_MACHINE


class Office:
    """One shop with a debt, and whoever pays it."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.disk = SimulatedDisk(1)
        self.life: Collecting
        self.run = ""

    async def owe(self, amount: int = 70) -> None:
        """A run was paid and is refuted."""
        _, (self.run,) = self.shop.sell(amount, scheme=x402.EXACT, cap=amount)
        self.life = self.shop.collecting()
        await self.life.turns()
        self.shop.judge.say(self.run, "refuted")
        await self.life.turns(2)
        assert [debt.amount for debt in self.shop.store.debts()] == [amount]

    async def fund(self, amount: int) -> None:
        """Tokens for the account that pays."""
        await self.shop.world.send(OWNER, TEST_TOKEN, MINT + address_word(OWNER.address) + evm.word(amount))
        await self.shop.world.mine()

    def payouts(self, **options: Any) -> Payouts:
        """A new process."""
        storage: Storage = self.disk.mount()
        world = self.shop.world
        given = {"network": NETWORK, "depth": 1, **options}
        chain = ChainReader(world.rpc, OWNER.address)
        return Payouts(
            self.life.books, self.life.refunds, self.shop.judge, chain, OWNER, storage, self.shop.clock, **given
        )

    async def turns(self, payouts: Payouts, count: int = 5) -> None:
        """Steps, each with a block."""
        for _ in range(count):
            await payouts.step()
            await self.shop.world.mine()

    async def held(self) -> int:
        """What the payer has."""
        return await self.shop.world.balance(payer(0).address)


def open_office(story: Any) -> None:
    async def run(shop: Shop) -> None:
        office = Office(shop)
        await office.owe()
        await story(office)

    tell(run)


def test_nothing_is_sent_where_nothing_is_owed_from_here() -> None:
    async def story(office: Office) -> None:
        used = await office.shop.world.chain.nonce(OWNER.address, pending=True)
        office.shop.judge.say(office.run, None)  # another gateway's
        await office.payouts().step()
        office.shop.judge.say(office.run, "refuted")
        assert await office.life.refunds.repay(office.run, "0x" + "ab" * 32)
        await office.payouts().step()
        assert await office.shop.world.chain.nonce(OWNER.address, pending=True) == used

    open_office(story)


def test_a_debt_that_cannot_be_looked_at_keeps_no_other_waiting() -> None:
    async def story(office: Office) -> None:
        shop, judge, strange = office.shop, office.shop.judge.of, office.run
        _, (sound,) = shop.sell(30, scheme=x402.EXACT, cap=30)
        await office.life.turns()
        shop.judge.say(sound, "refuted")
        await office.life.turns(2)
        await office.fund(1000)

        async def of(run: str) -> Any:
            if run == strange:
                raise MalformedError("bundle.journal", "nobody can read this")
            return await judge(run)

        shop.judge.of = of  # type: ignore[method-assign]
        await office.turns(office.payouts())
        assert [debt.run for debt in shop.store.debts()] == [strange]

    open_office(story)


def test_another_chain_is_not_paid_on() -> None:
    async def story(office: Office) -> None:
        with pytest.raises(UnavailableError) as refused:
            await office.payouts(network="eip155:1").step()
        assert refused.value.code == "chain.other"

    open_office(story)


def test_a_debt_is_paid_once_and_told() -> None:
    async def story(office: Office) -> None:
        await office.fund(1000)
        payouts = office.payouts()
        await office.turns(payouts, 8)
        assert await office.held() == EACH
        assert office.shop.store.debts() == []
        told = office.shop.told(office.run)[-1]
        assert (told.event, told.captured) == ("refunded", 70)
        mined = await ChainReader(office.shop.world.rpc, OWNER.address).mined(
            bytes.fromhex((told.transaction or "")[2:])
        )
        assert mined is not None
        assert transferred(TEST_TOKEN, OWNER.address, payer(0).address, 70, mined.events)
        assert not transferred(TEST_TOKEN, OWNER.address, payer(0).address, 71, mined.events)

    open_office(story)


@pytest.mark.parametrize("end", ["before it was sent", "before it was mined", "before it was told"])
def test_a_process_that_ends_leaves_one_transfer(end: str) -> None:
    async def story(office: Office) -> None:
        await office.fund(1000)
        payouts = office.payouts()
        if end == "before it was sent":
            office.shop.world.rpc.fault = lambda method: silence(method) if method == "eth_sendRawTransaction" else None
            with pytest.raises(HoldfastError):
                await payouts.step()
            office.shop.world.rpc.fault = lambda _: None
        else:
            await payouts.step()
        if end == "before it was told":
            await office.shop.world.mine(3)
        office.disk.crash("power")
        await office.turns(office.payouts(), 8)
        await office.turns(office.payouts(), 3)
        assert await office.held() == EACH
        assert office.shop.events(office.run)[-1] == "refunded"

    open_office(story)


def test_an_empty_account_pays_once_it_is_filled() -> None:
    async def story(office: Office) -> None:
        payouts = office.payouts()
        await office.turns(payouts)
        assert [debt.run for debt in office.shop.store.debts()] == [office.run]
        await office.fund(1000)
        await office.turns(payouts, 3)
        assert office.shop.store.debts() != []
        office.shop.clock.time += RETRY_S
        await office.turns(payouts)
        assert office.shop.store.debts() == []
        assert await office.held() == EACH

    open_office(story)


def test_a_nonce_that_somebody_else_used_costs_time() -> None:
    async def story(office: Office) -> None:
        await office.fund(1000)
        payouts = office.payouts()
        office.shop.world.rpc.fault = lambda method: silence(method) if method == "eth_sendRawTransaction" else None
        with pytest.raises(HoldfastError):
            await payouts.step()
        office.shop.world.rpc.fault = lambda _: None
        await office.shop.world.send(OWNER, OWNER.address, b"")
        await office.shop.world.mine()
        await office.turns(payouts, 2)
        office.shop.clock.time += MISSING_S + 1
        await office.turns(payouts, 6)
        assert await office.held() == EACH

    open_office(story)


def test_a_transaction_that_is_late_gets_a_higher_fee_and_keeps_its_nonce() -> None:
    async def story(office: Office) -> None:
        await office.fund(1000)
        payouts = office.payouts()
        await payouts.step()
        office.shop.clock.time += BUMP_S
        await payouts.step()
        assert payouts._payout is not None
        assert len(payouts._payout.versions) == 2
        await office.turns(payouts, 4)
        assert await office.held() == EACH

    open_office(story)


def test_a_damaged_file_stops_it_rather_than_paying_twice() -> None:
    async def story(office: Office) -> None:
        office.disk.mount().save(FILE, b"{}")
        with pytest.raises(MalformedError) as refused:
            office.payouts()
        assert refused.value.code == "refund.state"

    open_office(story)
