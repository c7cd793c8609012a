"""A gateway's collecting side over real books, a real facilitator and a real development chain, in one process.

:class:`Collecting` is one life of it; the :class:`Shop` outlives it: books, chain, facilitator, and
how far each run has come, which a test says. :meth:`Shop.sell` does what a till does: accept, hold, charge.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Mapping
from typing import Any

from holdfast.adapters.metrics_memory import MemoryMetrics
from holdfast.adapters.storage_simulated import SimulatedDisk
from holdfast.adapters.till_store_sql import SQLTillStore
from holdfast.client.chain import ChainReader
from holdfast.client.facilitator import HTTPFacilitator
from holdfast.client.transfers import Transfers
from holdfast.core import canonical, pricing, x402
from holdfast.core.collection import Margins, Standing
from holdfast.core.encoding import sha256, sha256_hex, time_encode
from holdfast.core.payments import (
    PaymentDocument,
    build_payment_document,
    parse_payment_document,
    verify_payment_document,
)
from holdfast.core.statements import Execution, Tree, parse_envelope, parse_statement
from holdfast.core.x402 import PaymentPayload
from holdfast.errors import HoldfastError, UnavailableError
from holdfast.nodes.facilitator.app import create_app
from holdfast.nodes.gateway.books import Books
from holdfast.nodes.gateway.collector import Collector
from holdfast.nodes.gateway.metrics import METRICS
from holdfast.nodes.gateway.refunds import Refunds
from holdfast.nodes.gateway.standing import Generation
from holdfast.nodes.gateway.steps import StepSigner
from holdfast.nodes.gateway.turn import Opening, SignedStatement, close_statements
from holdfast.ports.http import Answer
from holdfast.ports.till_store import (
    Authorization,
    Hold,
    NewAuthorization,
    NewCharge,
    NewHold,
    Step,
    StoredStep,
    TillStore,
)
from tests.helpers import asgi
from tests.helpers.facilitator import Facilitator, PaymentWorld
from tests.helpers.gateway import IDENTITY
from tests.helpers.payments import CHAIN_ID, NETWORK, PAYEE, START, TEST_TOKEN, eip3009, payer, permit2, requirements

MARGINS = Margins(finality_s=60, capture_s=30)
NOBODY = "0x" + "00" * 20
RATE = pricing.Rate(TEST_TOKEN, NETWORK, 6, "1", "configured", dt.datetime.fromtimestamp(START - 60, dt.UTC))
PRICES = {"output": "1"}
"""A base unit for each output token."""
REQUEST = Tree(sha256(b"request"), 3)
RESPONSE = Tree(sha256(b"response"), 5)


class FacilitatorWire:
    """``ports/http.py`` to a facilitator in this process. ``fault`` may raise before a request is sent, ``lost`` after
    it was answered, and ``garble`` may replace an answer."""

    def __init__(self, facilitator: Facilitator) -> None:
        self.facilitator = facilitator
        self.fault: Callable[[str], None] = lambda _: None
        self.lost: Callable[[str], None] = lambda _: None
        self.garble: Callable[[str, Any], Any] = lambda _, value: value
        self.asked: list[str] = []

    async def request(
        self,
        method: str,
        url: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 10.0,
        max_bytes: int = 1 << 20,
    ) -> Answer:
        assert timeout_s > 0
        assert max_bytes > 0
        path = url.removeprefix("http://facilitator")
        self.asked.append(f"{method} {path}")
        self.fault(path)
        app = create_app(self.facilitator.service)
        reply = await asgi.request(app, method, path, body, list((headers or {}).items()))
        self.lost(path)
        value = self.garble(path, reply.json())
        return Answer(reply.status, canonical.encode_exact(value))


def silent(_: str) -> None:
    """A fault: nobody answers."""
    raise UnavailableError("http.unreachable", "no answer")


class Judging:
    """``collector.Judge`` by what a test says; final where it says nothing."""

    def __init__(self) -> None:
        self.said: dict[str, Standing | None] = {}
        self.rounds = 0
        self.superseded = 0

    def say(self, run: str, standing: Standing | None) -> None:
        """How far a run has come, by another round; None makes it another gateway's."""
        if standing == "refuted" and self.said.get(run, "final") == "final":
            self.superseded += 1
        self.said[run] = standing
        self.rounds += 1

    async def generation(self) -> Generation:
        return self.rounds, self.superseded, ""

    async def of(self, run: str) -> Standing | None:
        return self.said.get(run, "final")


class Shop:
    """What outlives a gateway's process. Call :meth:`open` in each event loop, and :meth:`close` at its end."""

    def __init__(self, url: str = "sqlite://", *, depth: int = 1, timing: str = "on_proof", seed: int = 0) -> None:
        self.world = PaymentWorld()
        self.clock = self.world.clock
        self.judge = Judging()
        self.timing = timing
        self.depth = depth
        self.chance = random.Random(f"shop {seed}")
        self.store: TillStore = SQLTillStore(url)
        self.signer = StepSigner(IDENTITY, self.chance.randbytes)
        self.wire: FacilitatorWire
        self.facilitator: Facilitator
        self.sold = 0
        self.closings: dict[str, tuple[SignedStatement, SignedStatement]] = {}
        """Route and closing execution of each run."""
        self._disk = SimulatedDisk(seed)

    async def open(self) -> None:
        """Bring chain and facilitator up."""
        await self.world.open()
        self.start_facilitator()

    def start_facilitator(self, **options: Any) -> None:
        """A new process of the facilitator on what the old one made durable."""
        self._disk.crash("power")
        self.facilitator = Facilitator(self.world, self._disk.mount(), depth=self.depth, **options)
        self.wire = FacilitatorWire(self.facilitator)

    async def close(self) -> None:
        """Take them down."""
        await self.world.close()

    def collecting(self, *, chain: bool = True, **options: Any) -> Collecting:
        """One life of the collecting side."""
        return Collecting(self, chain=chain, **options)

    # --- what a till does ---------------------------------------------------------------------------------------------

    def accept(self, payload: PaymentPayload) -> NewAuthorization:
        """A payment as a till takes it on."""
        asked = payload.accepted
        facilitator = getattr(payload.authorization, "facilitator", None) or ""
        found = x402.verify_payment(payload, asked, at=int(self.clock.time), facilitator=facilitator)
        return NewAuthorization(
            found.identity.hex(),
            found.payer,
            asked.pay_to,
            asked.network,
            asked.asset,
            asked.scheme,
            self.timing,
            found.cap,
            time_encode(dt.datetime.fromtimestamp(found.expires_at, dt.UTC)),
            canonical.encode_exact(payload.to_json()),
            canonical.encode_exact(asked.to_json()),
            f"session {found.identity.hex()[:32]}",
        )

    def signed(
        self, cap: int = 1000, *, scheme: str = x402.UPTO, number: int | None = None, by: int = 0
    ) -> PaymentPayload:
        """A payment that some payer signed."""
        number = self.sold if number is None else number
        self.sold += 1
        deadline = int(self.clock.time) + 600
        asked = requirements(cap, scheme=scheme)
        if scheme == x402.UPTO:
            return permit2(asked, payer(by), number, deadline=deadline, valid_after=int(self.clock.time) - 600)
        return eip3009(asked, payer(by), number, valid_before=deadline)

    def hold(self, payload: PaymentPayload, cap: int, *, first: bool = True) -> str:
        """Set a cap aside for a new run; its id."""
        run = self._run()
        new = self.accept(payload)
        order = NewHold(run, cap, self._at(), b"{}", identity=new.identity, accept=new if first else None)
        (found,) = self.store.hold([order])
        if isinstance(found, HoldfastError):
            raise found
        return run

    def charge(self, run: str, amount: int) -> None:
        """What the run costs, with its step."""
        (found,) = self.store.charge([NewCharge(run, amount, self._at(), (self.charged(run, amount),))])
        assert found is True

    def sell(self, *charges: int, scheme: str = x402.UPTO, cap: int = 1000, by: int = 0) -> tuple[str, list[str]]:
        """An authorization and its runs, all charged; of ``upto`` it still serves. Identity and run ids."""
        payload = self.signed(cap, scheme=scheme, by=by)
        runs = []
        for number, amount in enumerate(charges):
            aside = cap if scheme == x402.EXACT else max(amount, 1)
            runs.append(self.hold(payload, aside, first=number == 0))
            self.charge(runs[-1], amount)
        return self.accept(payload).identity, runs

    def sell_for_credit(self, amount: int, account: str = "tests") -> str:
        """A run that an account's credit pays, charged."""
        run, at = self._run(), self._at()
        self.store.grant(account, 10**9, "free", at)
        (found,) = self.store.hold([NewHold(run, max(amount, 1), at, b"{}", account=account)])
        assert isinstance(found, Hold)
        step = self.signer.sign(self._credit_document(run, amount), opening(run), [self._close(run)])
        assert self.store.charge([NewCharge(run, amount, at, (step,))]) == [True]
        return run

    def _credit_document(self, run: str, amount: int) -> PaymentDocument:
        rate = pricing.Rate("credit", "account", 9, "1", "configured", RATE.at)
        charge = pricing.charge({"output": "0.001"}, pricing.Usage(0, amount), rate)
        return build_payment_document(
            "charged",
            run=run,
            at=self.clock.now(),
            timing="credit",
            scheme="credit",
            network="account",
            asset="credit",
            asked=max(amount, 1),
            rate=rate,
            charge=charge,
            request=REQUEST,
            response=RESPONSE,
        )

    def charged(self, run: str, amount: int) -> Step:
        """The step of a charge."""
        hold = self.store.hold_of(run)
        assert hold is not None
        new = self.authorization(hold.identity or "").new
        document = PaymentDocument(
            run=run,
            event="charged",
            at=self.clock.now(),
            timing=new.timing,
            scheme=new.scheme,
            network=new.network,
            asset=new.asset,
            payer=new.payer,
            payee=new.payee,
            asked=hold.cap,
            authorised=new.cap,
            captured=None,
            authorisation=sha256_hex(new.payload),
            price_card=None,
            rate=RATE,
            charge=pricing.charge(PRICES, pricing.Usage(0, amount), RATE),
            transaction=None,
            request=REQUEST,
            response=RESPONSE,
            deadline=None,
            reason=None,
        )
        return self.signer.sign(document, opening(run), [self._close(run)])

    def _close(self, run: str) -> str:
        """Close a run; the digest of its closing statement."""
        execution = Execution("generated", "complete", RESPONSE, None, "stub")
        self.closings[run] = close_statements(IDENTITY, opening(run), execution, now=self.clock.now())
        return self.closings[run][1].digest

    def _at(self) -> str:
        return time_encode(self.clock.now())

    def _run(self) -> str:
        digits = bytearray(self.chance.randbytes(16))
        digits[6], digits[8] = 0x40 | digits[6] & 0x0F, 0x80 | digits[8] & 0x3F
        text = digits.hex()
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    # --- what came of it ----------------------------------------------------------------------------------------------

    def authorization(self, identity: str) -> Authorization:
        """As the store knows it."""
        found = self.store.authorization(identity)
        assert found is not None
        return found

    def stands(self, identity: str) -> str:
        """How an authorization stands."""
        return self.authorization(identity).stands

    def told(self, run: str) -> list[PaymentDocument]:
        """The documents of a run's steps, each opened with its statement."""
        return [opened(item.step) for item in self.store.steps_of(run)]

    def events(self, run: str) -> list[str]:
        """What was told of a run, in order."""
        return [document.event for document in self.told(run)]

    def holds(self, identity: str) -> list[Hold]:
        """The runs on an authorization."""
        return self.store.holds_of(identity)

    def steps(self) -> list[StoredStep]:
        """Everything that was told."""
        return self.store.steps_after(0, 1_000_000)

    async def earned(self) -> int:
        """What the receiver of all payments has on the chain."""
        return await self.world.balance(PAYEE)


class Collecting:
    """One life of a gateway's collecting side."""

    def __init__(self, shop: Shop, *, chain: bool = True, books: Books | None = None, **options: Any) -> None:
        self.shop = shop
        self.books = books or Books(shop.store)
        self.metrics = MemoryMetrics()
        assert METRICS
        self.told: list[str] = []
        self.refunds = Refunds(
            self.books,
            shop.judge,
            shop.signer,
            shop.clock,
            self.metrics,
            attester=IDENTITY.attester,
            on_step=self.told.append,
        )
        self.collector = Collector(
            self.books,
            HTTPFacilitator(shop.wire, "http://facilitator"),
            shop.judge,
            shop.signer,
            shop.clock,
            self.metrics,
            MARGINS,
            transfers=Transfers(ChainReader(shop.world.rpc, NOBODY), shop.depth, CHAIN_ID) if chain else None,
            on_step=self._on_step,
            scan_s=0,
            **options,
        )

    async def turn(self, seconds: float = 1.0) -> None:
        """A turn of everybody, and a block."""
        await self.collector.step()
        await self.refunds.step()
        await self.shop.facilitator.turn()
        self.shop.clock.time += seconds

    def _on_step(self, run: str) -> None:
        self.told.append(run)
        self.refunds.watch(run)

    async def turns(self, count: int = 12, seconds: float = 1.0) -> None:
        """Several."""
        for _ in range(count):
            await self.turn(seconds)


def opening(run: str, **change: Any) -> Opening:
    """What a step needs of the run that it is about."""
    given: dict[str, Any] = {
        "run": run,
        "opened_at": time_encode(dt.datetime.fromtimestamp(START, dt.UTC)),
        "workspace": "tests",
        "endpoint": "chat.completions",
        "streamed": False,
        "settlement": "batch",
        "nonce": None,
        "parent_run": None,
        "request": REQUEST,
        "sent": REQUEST,
        "rewrites": (),
        "upstream": "stub",
        "reader": "00" * 32,
    }
    return Opening(**(given | change))


def opened(step: Step) -> PaymentDocument:
    """A step's document, once it and its statement fit each other."""
    statement = parse_statement(parse_envelope(step.envelope))
    assert statement.digest == step.digest
    assert parse_payment_document(step.document).event == step.event
    return verify_payment_document(statement, step.document, step.salt)
