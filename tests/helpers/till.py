"""A gateway that takes payments, in memory: real books, a facilitator that a test scripts, payers that really sign."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from holdfast.adapters.metrics_memory import MemoryMetrics
from holdfast.adapters.payment_contracts import TEST_TOKEN
from holdfast.adapters.signer_secp256k1 import Secp256k1Signer
from holdfast.adapters.till_store_sql import SQLTillStore
from holdfast.client.facilitator import CaptureJob, Supported
from holdfast.core import x402
from holdfast.core.payments import PaymentDocument, verify_payment_document
from holdfast.core.pricing import build_price_card
from holdfast.core.statements import parse_envelope, parse_statement
from holdfast.core.x402 import PaymentPayload, PaymentRequirements, VerifyResponse
from holdfast.nodes.gateway.books import Books
from holdfast.nodes.gateway.checkout import Checkout
from holdfast.nodes.gateway.config import GatewayConfig, RateSetting
from holdfast.nodes.gateway.prices import build_selling
from holdfast.nodes.gateway.recovery import find_closing
from holdfast.nodes.gateway.till import Till
from holdfast.ports.till_store import Authorization, Hold
from tests.helpers import asgi
from tests.helpers.clock import FakeClock, settle
from tests.helpers.gateway import IDENTITY
from tests.helpers.gateway_world import KEY, World
from tests.helpers.payments import FACILITATOR, NETWORK, PAYEE, START, TOKEN, eip3009, payer, permit2
from tests.helpers.upstreams import MODEL, ScriptedUpstream

AUTHORIZED = ("authorization", f"Bearer {KEY}")
PRICES = {MODEL: {"input": "1", "output": "10"}, "free": {"search": "1"}}
"""Micro-dollars a token: one and ten."""
NOW = dt.datetime.fromtimestamp(START, dt.UTC)


@dataclass
class ScriptedFacilitator:
    """Implements ``client.facilitator.Facilitator`` from what a test put in."""

    refusal: str | None = None
    """The reason that it refuses every payment for."""
    error: Exception | None = None
    """What it raises instead of an answer."""
    verified: list[tuple[PaymentPayload, PaymentRequirements]] = field(default_factory=list)
    handed_in: list[PaymentPayload] = field(default_factory=list)

    async def supported(self) -> Supported:
        self._fail()
        kinds = {(scheme, NETWORK): FACILITATOR.address for scheme in (x402.EXACT, x402.UPTO)}
        return Supported(kinds)

    async def verify(self, payload: PaymentPayload, asked: PaymentRequirements) -> VerifyResponse:
        self._fail()
        self.verified.append((payload, asked))
        return VerifyResponse(self.refusal is None, payload.authorization.payer, self.refusal)

    async def settle(self, payload: PaymentPayload, asked: PaymentRequirements) -> CaptureJob:
        self.handed_in.append(payload)
        raise AssertionError("nobody captures on the way of an answer")

    async def job(self, name: str) -> CaptureJob | None:
        raise AssertionError("nobody asks for jobs on the way of an answer")

    def _fail(self) -> None:
        if self.error is not None:
            raise self.error


def settings(**changes: Any) -> GatewayConfig:
    """Settings of a gateway that takes payments; a token is worth a dollar and has 18 decimals."""
    rate = RateSetting(TEST_TOKEN, NETWORK, 18, "1")
    given: dict[str, Any] = {
        "payments": "optional",
        "facilitator": "http://facilitator.test",
        "pay_to": PAYEE,
        "payment_network": NETWORK,
        "payment_asset": TEST_TOKEN,
        "payment_asset_name": TOKEN.name,
        "rates": (rate,),
        "output_tokens": 100,
        "free_credit": "0.01",
        "payment_seconds": 600,
    }
    return GatewayConfig(**(given | changes))


class PaidWorld(World):
    """A :class:`World` with a till. The till's task runs; its charges are awaited by :meth:`charged`."""

    def __init__(self, folder: Path | None = None, upstream: Any = None, **changes: Any) -> None:
        super().__init__(folder, upstream)
        self.clock = FakeClock(NOW)
        self.facilitator = ScriptedFacilitator()
        self.config = settings(**changes)
        self.till_url = f"sqlite:///{folder / 'till.sqlite'}" if folder else "sqlite://"

    async def start(self, **more: Any) -> PaidWorld:
        await super().start(**more)
        self.metrics = MemoryMetrics()
        selling = build_selling(self.config, build_price_card(PRICES).raw, None, NOW)
        self.store = SQLTillStore(self.till_url)
        count = iter(range(1, 1 << 30))
        self.till = Till(
            selling,
            Books(self.store),
            IDENTITY,
            self.clock,
            self.metrics,
            random_bytes=lambda size: (b"%d till %d" % (self._life, next(count))).ljust(size, b".")[:size],
            facilitator=self.facilitator if self.config.facilitator else None,
            gather_s=0.0,
        )
        self.checkout = Checkout(self.till, self.workspaces, self.metrics, public_url=None, facilitator=None)
        self.task = asyncio.create_task(self.till.work(partial(find_closing, self.indexer, self.ledger)))
        for _ in range(200):
            if self.task.done() or self.till.submitter is not None or self.facilitator.error is not None:
                break
            await asyncio.sleep(0.005)
        return self

    async def stop(self) -> None:
        """The books add up when the world ends."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        faults = await self.till.books.call(self.store.faults)  # behind what was begun
        self.till.close()
        await super().stop()
        assert faults == []

    async def ask(self, *headers: tuple[str, str], path: str = "/v1/chat/completions", **more: Any) -> asgi.Reply:
        """One request."""
        return await asgi.request(self.app(), "POST", path, body(**more), headers)

    async def asked(self, *headers: tuple[str, str], **more: Any) -> dict[str, Any]:
        """What an unpaid request is told to sign: the entries of ``accepts``, by method."""
        reply = await self.ask(*headers, **more)
        assert reply.status == 402, reply.body
        found = x402.parse_header(reply.header("payment-required") or "")
        names = {"exact": "eip3009", "upto": "permit2-upto"}
        return {
            "permit2-exact"
            if entry["scheme"] == "exact" and "assetTransferMethod" in entry["extra"]
            else names[entry["scheme"]]: x402.parse_requirements(entry)
            for entry in found["accepts"]
        }

    async def signed(self, method: str = "eip3009", number: int = 0, nonce: int = 0, **more: Any) -> tuple[str, str]:
        """A payment for a request, as its header."""
        asked = (await self.asked(**more))[method]
        return header(sign(asked, payer(number), nonce))

    async def charged(self) -> list[Hold]:
        """Every hold, once nothing is held any more."""
        for _ in range(400):
            if not await self.till.books.call(self.store.held):
                break
            await asyncio.sleep(0.005)
        await settle()
        return await self.till.books.call(lambda: self.store._holds(sa.true()))

    async def authorizations(self) -> list[Authorization]:
        return await self.till.books.call(self.store.uncollected)

    async def documents(self) -> list[PaymentDocument]:
        """Every payment document, each opened by its own signed statement."""
        found = []
        for stored in await self.till.books.call(self.store.steps_after, 0, 1000):
            statement = parse_statement(parse_envelope(stored.step.envelope))
            found.append(verify_payment_document(statement, stored.step.document, stored.step.salt))
        return found


def sign(asked: PaymentRequirements, signer: Secp256k1Signer, nonce: int = 0, **changes: Any) -> PaymentPayload:
    """A payment of what is asked, by the method that it asks for."""
    if "assetTransferMethod" in asked.extra:
        return permit2(asked, signer, nonce, **changes)
    return eip3009(asked, signer, nonce, **changes)


def header(payload: PaymentPayload, name: str = "payment-signature") -> tuple[str, str]:
    """A payment as the header that carries it."""
    return name, x402.build_header(payload.to_json())


def body(**more: Any) -> bytes:
    """A request for one short answer."""
    value = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 20, **more}
    return json.dumps({name: item for name, item in value.items() if item is not None}).encode()


def play(
    story: Callable[[PaidWorld], Awaitable[None]],
    folder: Path | None = None,
    upstream: ScriptedUpstream | None = None,
    **changes: Any,
) -> None:
    """Run a story in a started world, and stop the world."""

    async def main() -> None:
        world = await PaidWorld(folder, upstream, **changes).start()
        try:
            await story(world)
        finally:
            await world.stop()

    asyncio.run(main())
