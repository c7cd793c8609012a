"""Thousands of random payments over crashes: books, chain and statements agree to the last unit.

Payers of all kinds (exact, sessions, credit; some empty their accounts), runs that turn out final, refuted before or
after they were paid, or never; gateways that die before and after any write and any question to the facilitator;
facilitators that lose power; shallow reorganisations; clocks that jump past deadlines. At the end every amount is added
up three times: from the store's rows, from the chain's balances, and from the signed statements alone, each of which a
full node accepts once.

How many: ``HOLDFAST_PAYMENTS`` (default 250; continuous integration asks for 10,000).
"""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import os
import random
from collections.abc import Callable
from typing import Any

from holdfast.cli.conformance.statements import EntryHistory
from holdfast.core import evm, x402
from holdfast.core.captures import selector
from holdfast.core.payments import PaymentDocument, verify_amounts, verify_authorisation, verify_terms
from holdfast.core.statements import parse_envelope, parse_statement
from holdfast.core.x402 import address_word
from holdfast.errors import UnavailableError
from holdfast.nodes.gateway.books import Books
from holdfast.verifier.checks import CheckPolicy, check_entry
from tests.helpers.chains import NEEDS_MACHINE
from tests.helpers.collecting import Collecting, Shop, opened
from tests.helpers.facilitator import EACH, PAYERS
from tests.helpers.gateway import DOCUMENT
from tests.helpers.network import Network
from tests.helpers.payments import MINT, OWNER, TEST_TOKEN, payer

pytestmark = NEEDS_MACHINE
PAYMENTS = int(os.environ.get("HOLDFAST_PAYMENTS", "250"))
TRANSFER = selector("transfer(address,uint256)")
SELLER = OWNER
"""Whose money refunds are."""
POOR = PAYERS - 1
"""The payer who now and then empties the account."""


class DeadError(Exception):
    """The process that says this has ended."""


class MortalBooks(Books):
    """Books of a process that may die before or after any of its writes, and is dead from then on."""

    def __init__(self, store: Any, dies: Callable[[], bool]) -> None:
        super().__init__(store)
        self.dies = dies
        self.dead = False

    async def call(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        self.tick()
        found = await super().call(function, *arguments, **named)
        self.tick()
        return found

    def tick(self, _: object = None) -> None:
        """Live on, or not."""
        self.dead = self.dead or self.dies()
        if self.dead:
            raise DeadError


class Run:
    """One story: a shop, its gateways one after another, and what a test knows of each run."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(f"payments {seed}")
        self.shop = Shop(depth=2, seed=seed)
        self.life: Collecting
        self.runs: list[str] = []
        self.credit: list[str] = []
        self.open: list[tuple[str, str]] = []
        """Runs whose standing is to move, and where to."""
        self.refuted_early: set[str] = set()
        self.refuted_late: set[str] = set()
        self.deaths = self.falls = self.reorganisations = 0
        self.drained = 0
        self.danger = 0.0
        self.hazard = 0.002
        """How likely a process dies at each of its writes and questions."""
        self.late = 0.3
        """How likely a run is refuted late, in a turn: each time all that was taken is looked at again."""

    # --- the world ----------------------------------------------------------------------------------------------------

    def be_born(self) -> None:
        """A new gateway process."""
        shop = self.shop
        books = MortalBooks(shop.store, lambda: self.chance.random() < self.danger)
        self.danger = 0.0
        shop.wire.fault = books.tick
        shop.wire.lost = books.tick
        self.life = shop.collecting(books=books, idle_s=20)
        self.danger = self.hazard

    def power_cut(self) -> None:
        """A new facilitator process, on what was durable."""
        self.falls += 1
        fault, lost = self.shop.wire.fault, self.shop.wire.lost
        self.shop.start_facilitator(batch=50, transactions_at_once=4)
        self.shop.wire.fault, self.shop.wire.lost = fault, lost
        self.life.collector._facilitator._http = self.shop.wire  # type: ignore[attr-defined]

    async def disturb(self) -> None:
        """Things that happen to anybody."""
        chance, world = self.chance, self.shop.world
        what = chance.random()
        if what < 0.1:
            self.power_cut()
        elif what < 0.24 and world.chain.head.number > 8:
            self.reorganisations += 1
            await world.chain.reorganise(chance.randint(1, 2), drop=chance.random() < 0.5)
            world.chain.set_automine(automine=False)
            await world.mine(3)
        elif what < 0.3:
            await self._drain()
        self.shop.clock.time += chance.choice((0, 1, 2, 5, 5, 20)) if chance.random() > 0.004 else 700

    async def _drain(self) -> None:
        """The poor payer moves everything away, and back when it is noticed."""
        world, poor = self.shop.world, payer(POOR)
        there = await world.balance(poor.address)
        self.drained += 1
        if there:
            await world.send(poor, TEST_TOKEN, TRANSFER + address_word(payer(0).address) + evm.word(there))
        else:
            await world.send(payer(0), TEST_TOKEN, TRANSFER + address_word(poor.address) + evm.word(EACH // 4))
        await world.mine()

    # --- buying -------------------------------------------------------------------------------------------------------

    def buy(self) -> int:
        """Somebody buys something; how many runs."""
        chance, shop = self.chance, self.shop
        shop.timing = chance.choice(("on_proof", "on_proof", "on_answer"))
        kind = chance.random()
        if kind < 0.15:
            run = shop.sell_for_credit(chance.randint(0, 50))
            self.credit.append(run)
            self._fate(run)
            return 1
        by = chance.randrange(PAYERS)
        if kind < 0.6:
            cap = chance.randint(1, 60)
            _, runs = shop.sell(chance.randint(0, cap), scheme=x402.EXACT, cap=cap, by=by)
        else:
            _, runs = shop.sell(*(chance.randint(0, 50) for _ in range(chance.randint(1, 4))), cap=250, by=by)
        for run in runs:
            self.runs.append(run)
            self._fate(run)
        return len(runs)

    def _fate(self, run: str) -> None:
        """How a run turns out."""
        fate = self.chance.random()
        if fate < 0.55:
            return  # final at once
        if fate < 0.62:
            self.shop.judge.say(run, "refuted")
            self.refuted_early.add(run)
        elif fate < 0.68:
            self.shop.judge.say(run, "silent")
        elif fate < 0.71:
            self.shop.judge.say(run, "pending")
        else:
            self.shop.judge.say(run, "pending")
            self.open.append((run, self.chance.choice(("final", "final", "final", "refuted"))))

    def settle_some(self) -> None:
        """The secure layer catches up with some runs, and now and then refutes one that it had let through."""
        while self.open and self.chance.random() < 0.9:
            run, standing = self.open.pop(self.chance.randrange(len(self.open)))
            self._say(run, standing)
        if self.runs and self.chance.random() < self.late:
            run = self.chance.choice(self.runs[-200:] + self.credit[-20:])
            if self.shop.judge.said.get(run, "final") == "final":
                self._say(run, "refuted")

    def _say(self, run: str, standing: Any) -> None:
        """A run moves on; a refutation comes before its money was taken, or after."""
        self.shop.judge.say(run, standing)
        if standing != "refuted":
            return
        hold = self.shop.store.hold_of(run)
        assert hold is not None
        taken = hold.account is not None or hold.stands in ("capturing", "captured")
        (self.refuted_late if taken else self.refuted_early).add(run)

    # --- a turn -------------------------------------------------------------------------------------------------------

    async def turn(self, *, calm: bool = False) -> None:
        """Everybody does something."""
        try:
            await self.life.collector.step()
            await self.life.refunds.step()
        except DeadError:
            self.deaths += 1
            self.life.books._worker.shutdown(cancel_futures=True)  # its threads die with it
            self.be_born()
        try:
            await self.shop.facilitator.network.step()
        except UnavailableError:
            self.falls += 1
        await self.shop.world.mine()
        if not calm:
            self.settle_some()
            await self.disturb()

    async def live(self, count: int) -> None:
        """Sell so many runs, and go on until nothing is open."""
        await self.shop.open()
        world = self.shop.world
        await world.send(OWNER, TEST_TOKEN, MINT + address_word(SELLER.address) + evm.word(10 * EACH))
        await world.mine()
        sold, self.late = 0, 0.3 if count < 1000 else 0.1
        self.hazard = min(0.002, 2 / count)  # a turn of many writes: die in some, and get on in others
        self.be_born()
        while sold < count:
            for _ in range(self.chance.randint(1, max(6, count // 250))):
                sold += self.buy()
            for run in self.credit[-40:]:
                self.life.refunds.watch(run)
            await self.turn()
        self.danger = 0.0
        for _ in range(4_000):
            self.shop.clock.time += 20
            await self.turn(calm=True)
            if not self.shop.store.uncollected() and not self.life.refunds._waiting:
                break
        await self._pay_back()

    async def _pay_back(self) -> None:
        """What is owed over a chain, by ordinary transfers."""
        store, world = self.shop.store, self.shop.world
        for debt in store.debts():
            hold = store.hold_of(debt.run)
            assert hold is not None
            assert hold.identity is not None
            to = self.shop.authorization(hold.identity).new.payer
            digest = await world.send(SELLER, TEST_TOKEN, TRANSFER + address_word(to) + evm.word(debt.amount))
            await world.mine()
            assert await self.life.refunds.repay(debt.run, "0x" + digest.hex())

    # --- adding up ----------------------------------------------------------------------------------------------------

    async def add_up(self) -> None:
        """Three ways to the same sums."""
        shop = self.shop
        assert shop.store.faults() == []
        assert shop.store.uncollected() == []
        assert shop.store.debts() == []
        told: dict[str, list[PaymentDocument]] = {}
        for item in shop.steps():
            told.setdefault(item.step.run, []).append(opened(item.step))
        self._check_each(told)
        captured = [item for documents in told.values() for item in documents if item.event == "captured"]
        over_chain = [item for item in captured if item.scheme != "credit"]
        refunded = [item for documents in told.values() for item in documents if item.event == "refunded"]
        owed_back = sum(item.captured or 0 for item in refunded if item.scheme != "credit")
        by_books = sum(item.capture or 0 for item in shop.store.uncollected(("captured",), limit=10**6))
        assert sum(item.captured or 0 for item in over_chain) == by_books == await shop.earned()
        assert sum(debt.amount for debt in shop.store.debts(unpaid=False)) == sum(
            item.captured or 0 for item in refunded
        )
        left = [await shop.world.balance(payer(number).address) for number in range(PAYERS)]
        assert sum(left) == PAYERS * EACH - by_books + owed_back
        assert await shop.world.balance(SELLER.address) == 10 * EACH - owed_back
        self._check_authorizations(over_chain)
        self._check_credit(told)

    def _check_each(self, told: dict[str, list[PaymentDocument]]) -> None:
        """Each run's story: consistent, told once, and what its refutation asks for."""
        for run in (*self.runs, *self.credit):
            documents = told[run]
            events = [document.event for document in documents]
            assert events[0] == "charged"
            assert len(set(events)) == len(events)
            assert len({"captured", "lapsed", "failed"} & set(events)) == 1 or run in self.credit
            for before, after in itertools.pairwise(documents):
                verify_terms(after, before)
            for document in documents:
                verify_amounts(document)
            costs = documents[0].charge
            assert costs is not None
            if run in self.refuted_early and run not in self.credit:
                assert events[1] != "captured", "money was taken for a run that was refuted"
            if run in self.refuted_late and costs.amount and "failed" not in events:
                assert events[-2:] == ["refund_due", "refunded"], (run, events)
            if documents[0].timing == "on_proof" and self.shop.judge.said.get(run) == "silent":
                assert events[1] == "lapsed"

    def _check_authorizations(self, captured: list[PaymentDocument]) -> None:
        by: dict[str, list[PaymentDocument]] = {}
        for document in captured:
            by.setdefault(document.authorisation or "", []).append(document)
        for documents in by.values():
            verify_authorisation(documents)

    def _check_credit(self, told: dict[str, list[PaymentDocument]]) -> None:
        spent = 0
        for run in self.credit:
            charge = told[run][0].charge
            assert charge is not None
            spent += 0 if told[run][-1].event == "refunded" else charge.amount
        assert self.shop.store.account("tests").spent == spent

    def check_log(self) -> None:
        """A full node accepts every step, each once, in the order of the books; a second telling is refused."""
        network = Network()
        network.gateway_document = DOCUMENT
        trust = network.trust()
        log, index = EntryHistory(), 0

        def judge(entry: bytes, claimed: dt.datetime) -> str:
            nonlocal index
            check = check_entry(entry, index=index, seen_at=claimed, trust=trust, policy=CheckPolicy(), history=log)
            log.remember(check, index)
            index += 1
            return check.code

        for item in self.shop.steps():
            if item.step.event == "charged":
                for signed in self.shop.closings[item.step.run]:
                    claimed = parse_statement(parse_envelope(signed.envelope)).claimed_at
                    assert judge(signed.entry, claimed) == "ok"
            assert judge(item.step.entry, parse_statement(parse_envelope(item.step.envelope)).claimed_at) == "ok"
        step = next(item.step for item in self.shop.steps() if item.step.event == "lapsed")
        charged = next(item.step for item in self.shop.store.steps_of(step.run) if item.step.event == "charged")
        again = self.shop.signer.follow(charged, "lapsed", at=opened(step).at, reason="payment.nothing_due")
        claimed = parse_statement(parse_envelope(again.envelope)).claimed_at
        assert judge(again.entry, claimed) == "refuted:duplicate-payment"


def test_books_chain_and_statements_agree_to_the_last_unit() -> None:
    async def story() -> None:
        run = Run(PAYMENTS)
        await run.live(PAYMENTS)
        await run.add_up()
        run.check_log()
        assert run.deaths
        assert run.falls
        assert run.reorganisations
        assert run.refuted_early
        assert run.refuted_late
        await run.shop.close()

    asyncio.run(story())
