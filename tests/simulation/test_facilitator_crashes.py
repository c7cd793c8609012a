"""The facilitator over crashes at every write, reorganisations and lost transactions: no acknowledged job is lost, no
authorization is captured twice, no nonce is left out, and chain and jobs agree to the last unit."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest

from holdfast.core import x402
from holdfast.errors import HoldfastError
from holdfast.nodes.facilitator.jobs import Job
from holdfast.nodes.facilitator.network import MISSING_S
from holdfast.ports.storage import Storage
from tests.helpers import crashes
from tests.helpers.chains import NEEDS_MACHINE, ManualClock
from tests.helpers.facilitator import EACH, PAYERS, Facilitator, PaymentWorld, request, silence
from tests.helpers.payments import NETWORK, PAYEE, eip3009, payer, permit2, requirements

pytestmark = NEEDS_MACHINE
LONG = 10**9
"""Authorizations that no story outlives."""


class Payers:
    """Sends new payments, and old ones again; remembers what was acknowledged and what was told of it."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._sent: list[dict] = []
        self.acknowledged: set[str] = set()
        self.told: dict[str, tuple[str, int]] = {}
        """Job to status and amount, once it had ended."""

    def _new(self) -> dict:
        number, signer = len(self._sent), payer(self._chance.randrange(PAYERS))
        amount = self._chance.randint(1, 50)
        if self._chance.random() < 0.5:
            return request(eip3009(requirements(amount), signer, number, valid_before=1_790_000_000 + LONG))
        asked = requirements(amount, scheme=x402.UPTO)
        payload = permit2(asked, signer, number, deadline=1_790_000_000 + LONG)
        return request(payload, requirements(self._chance.randint(0, amount), scheme=x402.UPTO))

    async def send(self, facilitator: Facilitator) -> None:
        if self._sent and self._chance.random() < 0.3:
            body = self._chance.choice(self._sent)
        else:
            body = self._new()
            self._sent.append(body)
        job = await facilitator.service.settle(body)
        assert isinstance(job, Job)
        self.acknowledged.add(job.id)
        self.see(job)

    def see(self, job: Job) -> None:
        """What was once told of a job's end stays."""
        if job.ended.is_set():
            found = (job.status, job.payment.amount)
            assert self.told.setdefault(job.id, found) == found

    def check(self, facilitator: Facilitator) -> None:
        for name in self.acknowledged:
            self.see(facilitator.service.job(name))


async def disturb(world: PaymentWorld, chance: random.Random, depth: int) -> None:
    """Blocks, shallow reorganisations, a pool that forgets, time."""
    what = chance.random()
    if what < 0.5:
        await world.mine(chance.randint(1, 3))
    elif what < 0.65 and world.chain.head.number > depth + 3:
        await world.chain.reorganise(chance.randint(1, depth), drop=chance.random() < 0.5)
        world.chain.set_automine(automine=False)
        await world.mine(depth + 1)
    elif what < 0.75:
        world.chain._pool = world.chain._new_pool()
    world.clock.time += chance.choice((0, 1, 11, 50))


@pytest.mark.parametrize("seed", crashes.seeds())
def test_chain_and_jobs_agree_whatever_happens(seed: int) -> None:
    story = crashes.Story(seed)
    chance, depth = story.chance, story.chance.choice((1, 2, 3))
    payers, world = Payers(story.chance), PaymentWorld(ManualClock())

    async def life(storage: Storage) -> None:
        await world.open()
        try:
            facilitator = Facilitator(world, storage, depth=depth, batch=5, transactions_at_once=3)
            payers.check(facilitator)
            for _ in range(chance.randint(1, 8)):
                if chance.random() < 0.7:
                    await asyncio.gather(*(payers.send(facilitator) for _ in range(chance.randint(1, 6))))
                world.rpc.fault = silence if chance.random() < 0.1 else lambda _: None
                with contextlib.suppress(HoldfastError):
                    await facilitator.network.step()
                payers.check(facilitator)
                await disturb(world, chance, depth)
        finally:
            await world.close()

    async def last(storage: Storage) -> None:
        await world.open()
        facilitator = Facilitator(world, storage, depth=depth)
        payers.check(facilitator)
        for _ in range(60):
            await facilitator.network.step()
            await world.mine()
            world.clock.time += MISSING_S + 1
            if not facilitator.network.flights and not facilitator.network.waiting:
                break
        payers.check(facilitator)
        jobs = list(facilitator.ledger.jobs.values())
        assert {job.status for job in jobs} <= {"succeeded"}
        assert payers.acknowledged <= {job.id for job in jobs}
        taken = sum(job.payment.amount for job in jobs)
        assert await world.balance(PAYEE) == taken
        left = [await world.balance(payer(number).address) for number in range(PAYERS)]
        assert sum(left) == PAYERS * EACH - taken
        assert await world.used() == facilitator.ledger.next_nonce.get(NETWORK, 0)
        await world.close()

    for _ in range(4):
        story.live(life)
    story.live(last, crash=False)


@pytest.mark.slow
def test_thousands_of_payments_over_crashes_agree_to_the_last_unit() -> None:
    story, count = crashes.Story(0), 2_000
    chance, world = story.chance, PaymentWorld(ManualClock())
    bodies, wanted = [], 0
    for number in range(count):
        amount = chance.randint(1, 500)
        wanted += amount
        asked = requirements(amount)
        bodies.append(request(eip3009(asked, payer(number % PAYERS), number, valid_before=1_790_000_000 + LONG)))
    acknowledged: dict[str, int] = {}
    place = 0

    async def life(storage: Storage) -> None:
        nonlocal place
        await world.open()
        try:
            facilitator = Facilitator(world, storage, depth=1)
            until = min(count, place + 500)
            while place < until:
                some = range(place, min(until, place + chance.choice((20, 200, 200))))
                jobs = await asyncio.gather(*(facilitator.service.settle(bodies[number]) for number in some))
                acknowledged.update((job.id, job.payment.amount) for job in jobs if isinstance(job, Job))
                place = some[-1] + 1
                await facilitator.network.step()
                await disturb(world, chance, 1)
        finally:
            await world.close()

    async def last(storage: Storage) -> None:
        await world.open()
        facilitator = Facilitator(world, storage, depth=1)
        for _ in range(400):
            await facilitator.network.step()
            await world.mine()
            world.clock.time += MISSING_S + 1
            if not facilitator.network.flights and not facilitator.network.waiting:
                break
        jobs = facilitator.ledger.jobs.values()
        assert {job.status for job in jobs} == {"succeeded"}
        assert {job.id: job.payment.amount for job in jobs} == acknowledged
        assert sum(acknowledged.values()) == wanted == await world.balance(PAYEE)
        assert sum([await world.balance(payer(number).address) for number in range(PAYERS)]) == PAYERS * EACH - wanted
        assert await world.used() == facilitator.ledger.next_nonce[NETWORK]
        await world.close()

    while place < count:
        story.live(life, at=chance.randint(5, 40))
    story.live(last, crash=False)
