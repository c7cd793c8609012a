"""A paying client and a server that sells to it, for tests: the server reads strictly what ``core/x402.py`` reads.

:class:`Shop` asks, verifies as a facilitator would, and lies where a test tells it to (``alter`` maps ``required``,
``header``, ``body`` or ``response`` to a function that changes it on its way out). :class:`SellingGateway` sells the
answers of a gateway.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any

from holdfast.adapters.payment_contracts import TEST_TOKEN
from holdfast.adapters.spending_sqlite import SpendingRecord
from holdfast.client.paying import Payer, Wallet
from holdfast.core import canonical, x402
from holdfast.core.encoding import sha256
from holdfast.core.keys import PublicKey
from holdfast.core.offers import Offer, build_jws, jws_input, offers_extension
from holdfast.core.paying import AssetLimit, Limits, Seller
from holdfast.core.x402 import PaymentRequired, PaymentRequirements, SettleResponse, VerifiedPayment
from holdfast.ports.http import Answer
from holdfast.ports.http_stream import EventAnswer
from holdfast.ports.signer import Signer
from tests.helpers.attested import with_keys
from tests.helpers.network import Network
from tests.helpers.payments import DOMAIN, FACILITATOR, NETWORK, PAYEE, START, payer, requirements
from tests.helpers.signed_gateway import EventsShown, SignedGateway

PATH = "/v1/chat/completions"
URL = f"http://gateway.test{PATH}"
LIMIT = AssetLimit(NETWORK, TEST_TOKEN, 1000, 5000)
LIMITS = Limits((LIMIT,))
_DRAWN = itertools.count()
UPTO_EXTRA = {**DOMAIN, "assetTransferMethod": "permit2", "facilitatorAddress": FACILITATOR.address}


def upto(amount: int = 1000, **changes: Any) -> PaymentRequirements:
    """A way to pay by ``upto``."""
    return requirements(amount, scheme=x402.UPTO, extra=UPTO_EXTRA, **changes)


class StandingClock:
    """Stands where it is put."""

    def __init__(self, at: int = START) -> None:
        self.at = at

    def now(self) -> dt.datetime:
        return dt.datetime.fromtimestamp(self.at, dt.UTC)

    def monotonic(self) -> float:
        return float(self.at)

    async def sleep(self, seconds: float) -> None:
        del seconds


class FixedTokens:
    """Allowances and nonces as they are set."""

    def __init__(self, allowance: int = 0, nonce: int = 0) -> None:
        self.amount, self.nonce = allowance, nonce

    async def allowance(self, network: str, token: str, owner: str) -> int:
        del network, token, owner
        return self.amount

    async def permit_nonce(self, network: str, token: str, owner: str) -> int:
        del network, token, owner
        return self.nonce


def make_wallet(
    limits: Limits = LIMITS, *, record: SpendingRecord | None = None, clock: StandingClock | None = None, **more: Any
) -> Wallet:
    """The wallet of payer 1, with a record in memory and numbers that are never drawn twice."""
    return Wallet(
        payer(1),
        limits,
        record or SpendingRecord(":memory:"),
        clock or StandingClock(),
        random_bytes=lambda size: sha256(b"drawn %d" % next(_DRAWN))[:size],
        **more,
    )


def signed_offers(ways: Sequence[PaymentRequirements], signer: Signer, **change: Any) -> dict[str, Any]:
    """``extensions`` with an offer for each way, by an Ed25519 key; ``change`` replaces members before signing."""
    made = []
    for way in ways:
        members = {
            "resource_url": URL,
            "scheme": way.scheme,
            "network": way.network,
            "asset": way.asset,
            "pay_to": way.pay_to,
            "amount": str(way.amount),
            **change,
        }
        content = jws_input(Offer(**members), signer.key)
        made.append(build_jws(content, signer.sign(content)))
    return offers_extension(made)


class Shop:
    """Sells one resource."""

    def __init__(
        self, *ways: PaymentRequirements, sessions: bool = False, extensions: Any = None, **alter: Callable[[Any], Any]
    ) -> None:
        self.ways = ways or (requirements(1000),)
        self.extensions = extensions
        self.sessions = sessions
        self.alter = alter
        self.known: set[str] = set()
        """Sessions that are open."""
        self.paid: list[VerifiedPayment] = []
        self.payloads: list[Mapping[str, Any]] = []
        self.respond: Callable[[VerifiedPayment], SettleResponse | None] = lambda _: None
        self.refuses = False
        """Whether it takes no payment, whatever it is."""

    def _out(self, name: str, value: Any) -> Any:
        return self.alter[name](value) if name in self.alter else value

    def required(self, error: str | None = None) -> tuple[int, dict[str, str], bytes]:
        """The answer to somebody who has not paid."""
        resource = {"url": URL, "description": "an answer", "mimeType": "application/json"}
        asked = self._out("required", PaymentRequired(self.ways, error, resource, self.extensions).to_json())
        headers = {"payment-required": self._out("header", x402.build_header(asked))}
        return 402, headers, self._out("body", canonical.encode_exact(asked))

    def answer(self, headers: Mapping[str, str]) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of one request."""
        session = headers.get("x-upto-session")
        if session is not None:
            if session in self.known:
                return 200, {"x-upto-session": session}, b"{}"
            return 402, {}, b'{"error":"Session expired or exhausted"}'
        given = headers.get("payment-signature")
        if given is None:
            return self.required()
        value = x402.parse_header(given)
        payload = x402.parse_payload(value)
        self.payloads.append(value)
        way = next((way for way in self.ways if way.to_json() == payload.accepted.to_json()), None)
        if way is None or self.refuses:
            return self.required("it is not taken")
        payment = x402.verify_payment(payload, way, at=START, facilitator=FACILITATOR.address)
        self.paid.append(payment)
        shown: dict[str, str] = {}
        if self.sessions and payment.method == "permit2-upto":
            name = f"session-{len(self.paid)}"
            self.known.add(name)
            shown["x-upto-session"] = name
        response = self.respond(payment)
        if response is not None:
            shown["payment-response"] = self._out("response", x402.build_header(response.to_json()))
        return 200, shown, b"{}"


async def buy(
    payer_: Payer, shop: Shop, *, payee: str | None = PAYEE, key: PublicKey | None = None, run: str = "run"
) -> tuple[int, Any]:
    """Ask until there is an answer; how many requests it took, and what was paid."""
    attempt = payer_.attempt(URL, Seller(PATH, payee, key))
    for count in itertools.count(1):
        assert count < 10, "it goes round in circles"
        status, headers, body = shop.answer(attempt.headers)
        if not await attempt.again(status, headers, body):
            assert status == 200
            return count, await attempt.answered(headers, run)
    raise AssertionError


class SellingGateway(SignedGateway):
    """A gateway that answers questions for money; its key document says where it is paid."""

    def __init__(self, shop: Shop, *, payment: str | None = PAYEE, **alter: Callable[[Any], Any]) -> None:
        super().__init__(with_keys(Network(), payment=payment), **alter)
        self.shop = shop

    async def request(self, method: str, url: str, **options: Any) -> Answer:
        if method != "POST":
            return await super().request(method, url, **options)
        status, headers, body = self.shop.answer(options["headers"])
        if status != 200:
            self.requests.append((method, PATH, dict(options["headers"])))
            return Answer(status, body, headers)
        answer = await super().request(method, url, **options)
        return Answer(answer.status, answer.body, {**answer.headers, **headers})

    @contextlib.asynccontextmanager
    async def open(self, method: str, url: str, **options: Any) -> AsyncGenerator[EventAnswer]:
        status, headers, body = self.shop.answer(options["headers"]) if method == "POST" else (200, {}, b"")
        if status != 200:
            self.requests.append((method, PATH, dict(options["headers"])))
            yield EventsShown(status, [], body, headers)
            return
        async with super().open(method, url, **options) as answer:
            events = [event async for event in answer.events()]
            yield EventsShown(answer.status, events, b"", {**answer.headers, **headers})
