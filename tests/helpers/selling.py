"""A gateway in front of the panel that sells its answers by x402 version 2, with so many of them free.

It reads payments as strictly as ours does (``core/x402.py``), and takes each authorization once. It captures nothing:
:attr:`SellingGateway.paid` holds what a facilitator could capture.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from holdfast.core import x402
from holdfast.core.x402 import PaymentRequired, PaymentRequirements, VerifiedPayment
from holdfast.errors import HoldfastError
from tests.helpers.fake_gateway import FakeGateway
from tests.helpers.payments import FACILITATOR


class SellingGateway(FakeGateway):
    """Asks for ``ways`` (none: for credit alone) once ``free`` answers were given. ``alter`` changes that."""

    def __init__(self, *ways: PaymentRequirements, free: int = 0, sponsors: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.ways = ways
        self.free = free
        self.sponsors = sponsors
        self.paid: list[VerifiedPayment] = []
        self.refuses = ""
        """Why it takes no payment, whatever it is."""
        self.sessions = False
        """Whether an ``upto`` payment pays for later questions too."""
        self.open: set[str] = set()
        """Sessions that last."""
        self.alter: Callable[[dict[str, Any]], dict[str, Any]] = lambda value: value

    def app(self) -> Starlette:
        app = super().app()
        app.routes.append(Route("/v1/account", self._account))
        return app

    async def _account(self, request: Request) -> Response:
        left = {"account": "test", "unit": "USD", "granted": "1", "spent": "0", "held": "0", "left": f"0.{self.free}1"}
        return self._refuse(request) or JSONResponse(left)

    async def _chat(self, request: Request) -> Response:
        if refused := self._refuse(request):
            return refused
        state, session = "authorised", request.headers.get("x-upto-session")
        if (given := request.headers.get("payment-signature")) is not None:
            try:
                payment = self._verify(given)
            except HoldfastError as error:
                return self._ask(error.code, error.message)
            self.paid.append(payment)
            session = f"session-{len(self.paid)}" if self.sessions and payment.method == "permit2-upto" else None
            self.open |= {session} if session else set()
        elif session is not None:
            if session not in self.open:
                return JSONResponse({"error": {"code": "payment.session", "message": "it is used up", "hint": ""}}, 402)
        elif self.free:
            self.free -= 1
            state = "credit"
        else:
            return self._ask("payment.credit", "the credit is used up")
        answer = await super()._chat(request)
        answer.headers["x-holdfast-payment"] = state
        if session is not None:
            answer.headers["x-upto-session"] = session
        return answer

    def _verify(self, header: str) -> VerifiedPayment:
        payload = x402.parse_payload(x402.parse_header(header))
        if self.refuses:
            raise HoldfastError("payment.balance", self.refuses)
        way = next((way for way in self.ways if way.to_json() == payload.accepted.to_json()), None)
        if way is None:
            raise HoldfastError("payment.scheme", "that is nothing that was asked for")
        payment = x402.verify_payment(payload, way, at=int(time.time()), facilitator=FACILITATOR.address)
        if any(other.identity == payment.identity for other in self.paid):
            raise HoldfastError("payment.replayed", "it was used before")
        return payment

    def _ask(self, code: str, message: str) -> Response:
        resource = {"url": "http://gateway.test/v1/chat/completions", "description": "an answer"}
        extensions = {x402.SPONSORING: {"info": {"version": "1"}, "schema": {}}} if self.sponsors else None
        asked = self.alter(PaymentRequired(self.ways, code, resource, extensions).to_json())
        body = asked | {"error": {"code": code, "message": message, "hint": "", "type": "refused", "param": None}}
        return JSONResponse(body, 402, headers={"payment-required": x402.build_header(asked)} if self.ways else {})
