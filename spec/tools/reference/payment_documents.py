"""Payment documents, the records that commit to them, and charges (statement.md §4.6, pricing.md §4)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from decimal import ROUND_CEILING, Context, Decimal, Inexact
from typing import Any

from .signing import Node
from .text import jcs, named, when
from .world import GATEWAY, START, Statement, Turn, admit, statement, trust_value, usual_trust

FACILITATOR = Node("facilitator.example", ["facilitator"], ["statement"])
PAYER, PAYEE, ASSET = "0x" + "a1" * 20, "0x" + "b2" * 20, "0x" + "c3" * 20
NETWORK = "eip155:8453"
AUTHORISATION = named("signed payment payload").hex()
TRANSACTION = "0x" + named("transaction").hex()
REFUND = "0x" + named("refund").hex()
NOT_EVIDENCE_OF = ["artifact", "computation", "enclave", "inputs", "judgement", "privacy", "settlement"]
PRICES = {"input": "2.5", "output": "10"}
CARD = hashlib.sha256(
    jcs({"type": "urn:holdfast:price-card:v1", "unit": "USD", "models": {"small-1": PRICES}})
).hexdigest()
RATE = {
    "asset": ASSET,
    "network": NETWORK,
    "decimals": 6,
    "usd": "0.9998",
    "source": "configured",
    "at": when(START, plus_ms=-60_000),
}
AT = {
    "offered": -1000,
    "authorised": -500,
    "charged": 1_900,
    "captured": 2_100,
    "lapsed": 2_100,
    "failed": 2_100,
    "refund_due": 2_200,
    "refunded": 2_300,
}
"""When each step happens, in milliseconds from the question."""
_EXACT = Context(prec=400, traps=[Inexact])


def written(value: Decimal) -> str:
    """A decimal in its one spelling (pricing.md §1)."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def charge(input_tokens: int = 17, output_tokens: int = 3, rate: dict[str, Any] = RATE) -> dict[str, Any]:
    """pricing.md §4, with decimal arithmetic that refuses to round where nothing may be rounded."""
    lines, total = [], Decimal(0)
    for what, price, quantity in (
        ("input_tokens", PRICES["input"], input_tokens),
        ("output_tokens", PRICES["output"], output_tokens),
    ):
        usd = _EXACT.divide(_EXACT.multiply(Decimal(quantity), Decimal(price)), Decimal(1_000_000))
        total = _EXACT.add(total, usd)
        lines.append({"what": what, "quantity": quantity, "price": price, "per": 1_000_000, "usd": written(usd)})
    scaled = _EXACT.multiply(total, Decimal(10) ** rate["decimals"])
    whole = Context(prec=400).divide(scaled, Decimal(rate["usd"])).to_integral_value(rounding=ROUND_CEILING)
    return {"lines": lines, "usd": written(total), "amount": str(int(whole)), "capped": None}


def document(turn: Turn, event: str = "charged", **change: Any) -> dict[str, Any]:
    """One step of a payment by ``upto``."""
    moved = event in ("captured", "refund_due", "refunded")
    early = event in ("offered", "authorised")
    offered = event == "offered"
    answered = "response" in turn.bound and not early
    reasons = {"lapsed": "payment.lapsed", "failed": "payment.balance", "refund_due": "run.refuted"}
    value = {
        "type": "urn:holdfast:payment:v1",
        "run": turn.run,
        "event": event,
        "at": when(START, plus_ms=AT[event]),
        "timing": "on_answer",
        "scheme": "upto",
        "network": NETWORK,
        "asset": ASSET,
        "payer": None if offered else PAYER,
        "payee": PAYEE,
        "asked": "500",
        "authorised": None if offered else "500",
        "captured": charge()["amount"] if moved else None,
        "authorisation": None if offered else AUTHORISATION,
        "price_card": CARD,
        "rate": RATE,
        "charge": None if early else charge(),
        "transaction": (REFUND if event == "refunded" else TRANSACTION) if moved else None,
        "request": turn.bound["request"].named(),
        "response": turn.bound["response"].named() if answered else "undelivered",
        "deadline": when(START, plus_ms=3_600_000),
        "reason": reasons.get(event),
        "not_evidence_of": NOT_EVIDENCE_OF,
    }
    return {**value, **change}


CREDIT = {
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


def record(raw: bytes, salt: bytes) -> str:
    """§4.6(2)."""
    return hashlib.sha256(b"urn:holdfast:payment-record:v1" + b"\x00" + salt + raw).hexdigest()


class Payment:
    """A payment statement and what opens it. Every argument changes one thing."""

    def __init__(
        self,
        turn: Turn,
        event: str = "charged",
        name: str = "payment",
        *,
        after: Payment | None = None,
        node: Node = GATEWAY,
        signer: Any = None,
        parents: Sequence[str] | None = None,
        claimed_at: str | None = None,
        told_of: str | None = None,
        nonce: str | None = None,
        predicate: dict[str, Any] | None = None,
        **change: Any,
    ) -> None:
        self.value = document(turn, event, **{"run": told_of or turn.run, **change})
        self.raw = jcs(self.value)
        self.salt = named(f"payment salt/{name}/{event}")
        digest = record(self.raw, self.salt)
        usual = [] if event in ("offered", "authorised") else [turn.execution.digest]
        if after is not None:
            usual = [after.statement.digest, *usual] if event == "charged" else [after.statement.digest]
        self.statement: Statement = statement(
            "payment",
            node,
            run=turn.run,
            claimed_at=claimed_at or self.value["at"],
            parents=usual if parents is None else parents,
            subject=("payment", bytes.fromhex(digest)),
            body={"event": event, "record": digest, **(predicate or {})},
            nonce=nonce,
            signer=signer,
        )

    def opening(self, **change: Any) -> dict[str, Any]:
        """Members of the bundle item that opens it."""
        item = {"digest": self.statement.digest, "document": self.raw.decode(), "salt": self.salt.hex()}
        return {**item, **change}


def chain(turn: Turn, *events: str, **change: Any) -> list[Payment]:
    """Steps of one payment, each after the one before."""
    steps: list[Payment] = []
    for event in events:
        steps.append(Payment(turn, event, after=steps[-1] if steps else None, **change))
    return steps


def trust_with_facilitator(**change: Any) -> dict[str, Any]:
    """The usual trust, and a facilitator. ``change`` is of the facilitator's admission."""
    return usual_trust(nodes=[*trust_value(2)["nodes"], admit(FACILITATOR, **change)])
