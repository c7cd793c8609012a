"""A gateway that takes payments and collects them, in memory: what it sells is settled by scripted full nodes, and a
facilitator says what a test has it say."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from holdfast.client.facilitator import CaptureJob
from holdfast.core.x402 import PaymentPayload, PaymentRequirements, SettleResponse, identity_of, job_id_of
from holdfast.nodes.gateway.takings import Takings
from tests.helpers import asgi
from tests.helpers.payments import NETWORK
from tests.helpers.till import AUTHORIZED, PaidWorld, ScriptedFacilitator

TRANSACTION = "0x" + "d4" * 32


class CapturingFacilitator(ScriptedFacilitator):
    """Captures at once, as far as it says."""

    async def settle(self, payload: PaymentPayload, asked: PaymentRequirements) -> CaptureJob:
        self.handed_in.append(payload)
        name = job_id_of(identity_of(payload.authorization, chain_id=asked.chain_id, asset=asked.asset))
        return CaptureJob(name, "succeeded", SettleResponse(True, NETWORK, TRANSACTION, None, asked.amount))


class TakingWorld(PaidWorld):
    """A :class:`PaidWorld` whose charges are collected, when a test says :meth:`collect`."""

    def __init__(self, folder: Path | None = None, upstream: Any = None, **changes: Any) -> None:
        super().__init__(folder, upstream, **changes)
        self.facilitator = CapturingFacilitator()

    async def start(self, **more: Any) -> TakingWorld:
        await super().start(**more)
        self.evidence._steps_of = self.till.books.steps_of
        self.takings = Takings(
            self.till,
            self.evidence,
            self.indexer,
            self.ledger,
            self.outbox,
            self.log,
            self.clock,
            self.metrics,
            random_bytes=os.urandom,
            facilitator=self.facilitator,
            transfers=None,
            idle_s=90,
            batch=64,
            changed=self.changes.notify,
        )
        self.desk._disputes = self.takings.disputes
        return self

    async def buy(self, method: str = "eip3009", number: int = 0) -> str:
        """One answer that a payer signed for; the run, charged and logged."""
        reply = await self.ask(await self.signed(method, number, number))
        assert reply.status == 200, reply.body
        await self.charged()
        await self.deliver_all()
        self.capability = reply.header("x-holdfast-capability") or ""
        return str(reply.json()["holdfast"]["run"])

    async def buy_for_credit(self) -> str:
        """One answer that a workspace's credit pays."""
        reply = await self.ask(AUTHORIZED)
        assert reply.status == 200, reply.body
        await self.charged()
        await self.deliver_all()
        self.capability = reply.header("x-holdfast-capability") or ""
        return str(reply.json()["holdfast"]["run"])

    async def deliver_all(self) -> None:
        """Statements of runs, then steps of their payments, to the log."""
        await self.deliver()
        while await self.takings.delivery.deliver():
            pass

    async def settle_round(self, number: int, codes: dict[int, str] | None = None) -> None:
        """A round over the log as it is becomes final."""
        await self.cosign(3)
        self.finalise(self.candidate(number, codes=codes))
        for _ in range(2):
            await self.follow()

    async def collect(self) -> None:
        """A turn of everybody who collects; the log gets what comes of it."""
        assert self.takings.collector is not None
        await self.takings.collector.step()
        await self.takings.refunds.step()
        await self.deliver_all()

    async def payment(self, run: str, *, capability: str | None = None) -> asgi.Reply:
        """The dispute view over HTTP."""
        shown = ("x-holdfast-capability", self.capability if capability is None else capability)
        return await asgi.request(self.app(), "GET", f"/v1/runs/{run}/payment", b"", [shown])


def play(story: Callable[[TakingWorld], Awaitable[None]], folder: Path | None = None, **changes: Any) -> None:
    """Run a story in a started world, and stop the world."""

    async def main() -> None:
        world = await TakingWorld(folder, **changes).start()
        try:
            await story(world)
        finally:
            await world.stop()

    asyncio.run(main())
