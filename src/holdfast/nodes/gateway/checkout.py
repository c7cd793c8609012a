"""Paying over HTTP: what callers send to pay, what they are told to sign, and what they are told of it
(``spec/payments.md`` §10).

:func:`read_tender` reads the headers of a request; :meth:`Checkout.refuse` answers 402 with x402's ``PaymentRequired``
in a header and in the body, beside the one error shape; :func:`payment_headers` says of an answer how it is paid.

Rules: a header that does not parse is refused as such (400), never taken for none; an offer is signed by this node's
statement key; ``PAYMENT-RESPONSE`` is sent for no answer, because no transfer happens on the way of one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.core import canonical, offers, x402
from holdfast.core.encoding import b64_decode
from holdfast.core.opengradient import PLACEHOLDER_KEY
from holdfast.core.x402 import Method, PaymentRequired, PaymentRequirements
from holdfast.errors import HoldfastError, MalformedError, RefusedError
from holdfast.nodes.edge import Scope, Send
from holdfast.nodes.gateway.keys import Caller, Workspaces
from holdfast.nodes.gateway.opengradient import SETTLEMENT_HEADER
from holdfast.nodes.gateway.prices import format_nano, show_token, shown_prices
from holdfast.nodes.gateway.till import Tender, Till, Visit
from holdfast.ports.metrics import Metrics
from holdfast.ports.till_store import Account

SIGNATURE, LEGACY, SESSION = b"payment-signature", b"x-payment", b"x-upto-session"
"""What a caller pays with: a payment, the same under the name that it had in x402 version 1, or a session."""
REQUIRED = b"payment-required"
STATE = b"x-holdfast-payment"
"""Of an answer: ``authorised`` (something was signed, nothing was taken yet) or ``credit``."""
COARSE_NANO = 10**8
"""What is left of a relay's credit is told in steps of so many nano-dollars: 10 cents."""
WORKSPACE = "x402"
"""The workspace of callers without a key. Nobody reads it: each run by its capability alone."""
SELLER_REASONS: Mapping[str, str] = {
    "payment.required": "payment_required",
    "payment.credit": "insufficient_credit",
    "payment.session": "session_expired_or_exhausted",
    "payment.exhausted": "authorization_exhausted",
    "payment.closed": "authorization_closed",
    "payment.unknown": "authorization_unknown",
    "payment.exposure": "payer_exposure_exceeded",
    "payment.deadline": "authorization_too_short",
    "payment.resource": "resource_mismatch",
    "payment.untaken": "payments_not_taken",
    "payment.refused": "facilitator_refused",
}
"""Our code to the reason in ``error`` of a ``PaymentRequired``, where a seller refuses what no facilitator would."""
_SESSION = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")
_HOST = re.compile(r"[A-Za-z0-9.\-]{1,253}(?::[0-9]{1,5})?\Z|\[[0-9A-Fa-f:.]{2,45}\](?::[0-9]{1,5})?\Z")
_JSON = (b"content-type", b"application/json")
_HINT = "PAYMENT-REQUIRED says what may be signed for this"
_HINTS = {
    "payment.required": "send a workspace's key (authorization: Bearer KEY), or pay with an x402 client, such as "
    f"'holdfast chat --pay': {_HINT}",
    "payment.credit": "sign a payment (PAYMENT-REQUIRED says which), or have credit added: "
    "holdfast credit grant WORKSPACE DOLLARS",
    "payment.session": "ask again without x-upto-session and sign a new payment",
    "payment.replayed": "sign another one, with a nonce of its own",
    "payment.exposure": "wait until what was used before is captured",
}
_SPONSORING_SHAPE = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        name: {"type": "string"}
        for name in ("from", "asset", "spender", "amount", "nonce", "deadline", "signature", "version")
    },
    "required": ["from", "asset", "spender", "amount", "nonce", "deadline", "signature", "version"],
}


def read_tender(headers: Sequence[tuple[bytes, bytes]]) -> Tender:
    """What a request offers to pay with. Raises ``x402.*``, ``encoding.*``, ``json.*`` or ``payment.session``."""
    for name in (SIGNATURE, LEGACY):
        given = [value for key, value in headers if key == name]
        if len(given) > 1:
            raise MalformedError("x402.header", f"{name.decode()} comes once")
        if given:
            text = given[0].decode("latin-1")
            payment = x402.parse_payload(x402.parse_header(text))
            return Tender(payment, b64_decode(text))
    session = next((value.decode("latin-1") for key, value in headers if key == SESSION), None)
    if session is not None and _SESSION.match(session) is None:
        raise RefusedError("payment.session", "no session has such a name", status=402)
    return Tender(session=session)


def payment_headers(visit: Visit | None) -> list[tuple[bytes, bytes]]:
    """What an answer says of how it is paid."""
    if visit is None or visit.state is None:
        return []
    found = [(STATE, visit.state.encode())]
    if visit.session is not None:
        found.append((SESSION, visit.session.encode()))
    return found


class Checkout:
    """The till's counter: everything about it that is HTTP."""

    def __init__(
        self, till: Till, workspaces: Workspaces, metrics: Metrics, *, public_url: str | None, facilitator: str | None
    ) -> None:
        self._till = till
        self._workspaces = workspaces
        self._metrics = metrics
        self._public_url = public_url.rstrip("/") if public_url else None
        self._facilitator = facilitator

    def caller(self, authorization: bytes | None) -> tuple[Caller, str | None]:
        """Who asks, and whose credit pays. Without a key, or with the placeholder that OpenGradient's clients send,
        it is somebody with no account. Raises ``auth.wrong`` (401) for any other key that is not known."""
        if authorization is None:
            return Caller(WORKSPACE, None, shared=True), None
        try:
            caller = self._workspaces.caller(authorization)
        except RefusedError:
            if authorization.partition(b" ")[2].strip() == PLACEHOLDER_KEY.encode():
                return Caller(WORKSPACE, None, shared=True), None
            raise
        return caller, caller.workspace

    def visit(self, scope: Scope, account: str | None, *, sealed: bool) -> Visit:
        """A request on its way through the till. Raises what :func:`read_tender` raises."""
        headers = scope["headers"]
        path = scope["path"]
        resource = {
            "url": self._url(scope, path),
            "path": path,
            "description": "An answer with evidence of how it was made",
            "mimeType": "application/json",
        }
        theirs = not sealed and any(name == SETTLEMENT_HEADER for name, _ in headers)
        return self._till.visit(read_tender(headers), account=account, told=not sealed, resource=resource, og=theirs)

    def _url(self, scope: Scope, path: str) -> str:
        if self._public_url is not None:
            return self._public_url + path
        host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
        return f"{scope.get('scheme', 'http')}://{host if _HOST.match(host) else 'localhost'}{path}"

    async def refuse(self, send: Send, error: HoldfastError, visit: Visit | None) -> None:
        """Answer 402: why, and what may be signed."""
        self._metrics.count("holdfast_gateway_unpaid_total", error.code)
        hint = error.hint or _HINTS.get(error.code, _HINT)
        shape = HoldfastError(error.code, error.message, hint=hint, param=error.param).to_json()
        shape["error"]["type"] = error.kind
        asked = visit.offers() if visit is not None else {}
        headers: list[tuple[bytes, bytes]] = []
        value: dict[str, Any] = {}
        if visit is not None and asked:
            value = self.payment_required(visit, asked, error).to_json()
            headers.append((REQUIRED, x402.build_header(value).encode()))
        body = json.dumps(value | shape, ensure_ascii=False, separators=(",", ":")).encode()
        headers += [_JSON, (b"content-length", str(len(body)).encode()), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 402, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def payment_required(
        self, visit: Visit, asked: Mapping[Method, PaymentRequirements], error: HoldfastError
    ) -> PaymentRequired:
        """x402's object, with an offer for each entry."""
        extensions = offers.offers_extension([self._offer(visit.resource["url"], entry) for entry in asked.values()])
        if "permit2-exact" in asked or ("permit2-upto" in asked and len(asked) > 1):
            info = {"description": "The facilitator submits an EIP-2612 permit for Permit2", "version": "1"}
            extensions[x402.SPONSORING] = {"info": info, "schema": _SPONSORING_SHAPE}
        resource = {name: visit.resource[name] for name in ("url", "description", "mimeType")}
        return PaymentRequired(tuple(asked.values()), reason(error, visit), resource, extensions)

    def _offer(self, url: str, asked: PaymentRequirements) -> dict[str, Any]:
        until = int(self._till.clock.now().timestamp()) + asked.max_timeout_s
        offer = offers.Offer(url, asked.scheme, asked.network, asked.asset, asked.pay_to, str(asked.amount), until)
        signer = self._till.identity.signer
        message = offers.jws_input(offer, signer.key)
        return offers.build_jws(message, signer.sign(message))

    # What is shown

    def prices_of(self, model: str) -> Mapping[str, str] | None:
        """A model's prices for the list of models; None where it is not sold."""
        return shown_prices(self._till.selling.card, model)

    def prices(self) -> dict[str, Any]:
        """``GET /v1/prices``: the card, its digest, and how one can pay."""
        selling = self._till.selling
        return {
            "payments": "required" if selling.required else "optional",
            "price_card": canonical.decode_signed(selling.card.raw),
            "price_card_digest": selling.card.digest,
            "output_tokens": selling.output_tokens,
            "free_credit": "0" if selling.required else format_nano(selling.free_credit),
            "x402": show_token(selling.token, self._till.clock.now()) if selling.token is not None else None,
            "facilitator": self._facilitator,
            "submitter": self._till.submitter,
        }

    async def account(self, caller: Caller) -> dict[str, Any]:
        """``GET /v1/account``: the credit of the workspace whose key asks."""
        found = await self._till.account(caller.workspace)
        if caller.relay is not None:
            return show_coarsely(found)
        return {
            "account": found.name,
            "unit": "USD",
            "granted": format_nano(found.granted),
            "spent": format_nano(found.spent),
            "held": format_nano(found.held),
            "left": format_nano(found.left),
        }


def show_coarsely(account: Account) -> dict[str, Any]:
    """A relay's account as it is told: the difference between two exact answers would tell it what a request of one of
    its callers cost, and so how long question and answer were (``relay.md`` §6(3))."""
    left = max(0, account.left) // COARSE_NANO * COARSE_NANO
    granted = format_nano(account.granted)
    unsaid = {"spent": None, "held": None}
    return {"account": account.name, "unit": "USD", "granted": granted, **unsaid, "left": format_nano(left)}


def reason(error: HoldfastError, visit: Visit) -> str:
    """What x402's clients know a refusal by; our code where they know none."""
    if error.code in SELLER_REASONS:
        return SELLER_REASONS[error.code]
    if error.code in x402.REASONS and visit.method is not None:
        return x402.reason_of(error.code, visit.method)
    return error.code
