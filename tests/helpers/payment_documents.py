"""Payment documents and statements about the run of :mod:`tests.helpers.network`, made with the product's functions."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from holdfast.core import canonical, pricing
from holdfast.core.encoding import b64_encode, sha256_hex, time_encode
from holdfast.core.keys import build_key_document
from holdfast.core.payments import PaymentDocument, payment_record
from holdfast.core.statements import (
    PaymentBody,
    build_envelope,
    build_payload,
    payment_body,
    pre_authentication_encoding,
)
from holdfast.core.trust import Trust
from tests.helpers.network import FROM, RUN, UNTIL, Network, at, ed25519_signer

NETWORK = Network()
PAYER, PAYEE, ASSET = "0x" + "a1" * 20, "0x" + "b2" * 20, "0x" + "c3" * 20
CHAIN = "eip155:31337"
AUTHORISATION = hashlib.sha256(b"the signed payload").hexdigest()
TRANSACTION, REFUND = "0x" + "d4" * 32, "0x" + "e5" * 32
SALT = hashlib.sha256(b"payment salt").digest()
CARD = pricing.build_price_card({"small-1": {"input": "2.5", "output": "10"}})
RATE = pricing.Rate(ASSET, CHAIN, 6, "1", "configured", at(-60))
CHARGE = pricing.charge(CARD.prices("small-1"), pricing.Usage(4, 6), RATE, at_most=500)
"""Of the 4 and 6 tokens that the answer reports: 70 base units."""
FACILITATOR = ed25519_signer("facilitator", "statement")
FACILITATOR_DOCUMENT = build_key_document("facilitator", ["facilitator"], "test", [FACILITATOR.key])


def admission(**change: Any) -> dict[str, Any]:
    """The facilitator's admission."""
    span = {"valid_from": time_encode(FROM), "valid_until": time_encode(UNTIL), "revoked": None}
    return {"key_document": b64_encode(FACILITATOR_DOCUMENT.raw), **span, **change}


def trust_with_facilitator(network: Network | None = None, **change: Any) -> Trust:
    """The network's trust, and the facilitator. ``change`` is of the facilitator's admission."""
    network = network or Network()
    nodes = canonical.decode(network.trust_version())["nodes"]
    return network.trust(nodes=[*nodes, admission(**change)])


def document(event: str = "charged", **change: Any) -> PaymentDocument:
    """One step of a payment by ``upto``; ``change`` replaces members as they are, whatever follows."""
    moved = event in ("captured", "refund_due", "refunded")
    given = PaymentDocument(
        run=RUN,
        event=event,
        at=at({"charged": 2, "captured": 3, "lapsed": 3, "failed": 3, "refund_due": 4, "refunded": 5}.get(event, 0)),
        timing="on_answer",
        scheme="upto",
        network=CHAIN,
        asset=ASSET,
        payer=None if event == "offered" else PAYER,
        payee=PAYEE,
        asked=500,
        authorised=None if event == "offered" else 500,
        captured=CHARGE.amount if moved else None,
        authorisation=None if event == "offered" else AUTHORISATION,
        price_card=CARD.digest,
        rate=RATE,
        charge=None if event in ("offered", "authorised") else CHARGE,
        transaction=(REFUND if event == "refunded" else TRANSACTION) if moved else None,
        request=NETWORK.request_parts.tree,
        response="undelivered" if event in ("offered", "authorised") else NETWORK.response_parts.tree,
        deadline=at(3600),
        reason={"lapsed": "payment.lapsed", "failed": "payment.balance", "refund_due": "run.refuted"}.get(event),
    )
    return replace(given, **change)


CREDIT: dict[str, Any] = {
    "timing": "credit",
    "scheme": "credit",
    "payer": "claims",
    "payee": None,
    "asked": None,
    "authorised": None,
    "authorisation": None,
    "transaction": None,
    "deadline": None,
}
"""What makes any of these one that an account's credit pays."""


class Paid:
    """A payment statement: its payload, envelope, digest and what opens it."""

    def __init__(
        self,
        found: PaymentDocument | None = None,
        *,
        parents: Sequence[str] | None = None,
        salt: bytes = SALT,
        body: dict[str, Any] | None = None,
        claimed_at: dt.datetime | None = None,
        signer: Any = None,
        by_facilitator: bool = False,
        **statement: Any,
    ) -> None:
        self.document = found = found or document()
        self.salt = salt
        signer = signer or (FACILITATOR if by_facilitator else NETWORK.gateway)
        attester = FACILITATOR_DOCUMENT.digest if by_facilitator else NETWORK.gateway_document.digest
        record = payment_record(found.raw, salt)
        given: dict[str, Any] = {
            "run": RUN,
            "attester": attester,
            "claimed_at": claimed_at or found.at,
            "parents": [sha256_hex(NETWORK.execution())] if parents is None else parents,
            "subject": ("payment", record),
            "body": payment_body(PaymentBody(found.event, record)) | (body or {}),
        }
        self.payload = build_payload("payment", **(given | statement))
        signature = signer.sign(pre_authentication_encoding(self.payload))
        key = FACILITATOR.key if by_facilitator else NETWORK.gateway.key
        self.envelope = build_envelope(self.payload, key.key_id, signature)
        self.digest = sha256_hex(self.payload)

    def statement_item(self, seconds: float = 6) -> dict[str, Any]:
        """The bundle item that holds the statement."""
        return {"kind": "statement", "at": time_encode(at(seconds)), "envelope": canonical.decode(self.envelope)}

    def opening_item(self, seconds: float = 6, **change: Any) -> dict[str, Any]:
        """The bundle item that opens it."""
        item = {
            "kind": "payment",
            "at": time_encode(at(seconds)),
            "digest": self.digest,
            "document": self.document.raw.decode(),
            "salt": self.salt.hex(),
        }
        return item | change

    def items(self) -> list[dict[str, Any]]:
        """Both."""
        return [self.statement_item(), self.opening_item()]


def following(before: Paid, event: str, **change: Any) -> Paid:
    """The next step of a payment."""
    return Paid(document(event, **change), parents=[before.digest])
