"""The dispute view of a run that was paid for, as a gateway shows it (``spec/collection.md`` §6)."""

from __future__ import annotations

from typing import Any

from holdfast.core.payments import NOT_EVIDENCE_OF, explain
from tests.helpers.payment_documents import ASSET, CHARGE, document

CHECKS = (
    ("seller", "yes", "The charge adds up.", "statement.md §4.6(5)", None),
    ("seller", "cannot_tell", "The price card that the charge names is not at hand.", "statement.md §4.6(7)", None),
    (
        "payer",
        "no",
        "It is not the payer's signature to these terms: <b>no</b>.",
        "payments.md §5",
        "payment.signature",
    ),
    ("chain", "yes", "The token's own event lies deep enough in the chain.", "payments.md §6(2)", None),
)


def step(event: str, **change: Any) -> dict[str, Any]:
    """One step, its document shown."""
    shown = document(event, **change)
    return {
        "event": event,
        "digest": "ab" * 32,
        "attester": "cd" * 32,
        "claimed_at": shown.to_json()["at"],
        "trusted_at": None,
        "refusal": None,
        "verdict": None,
        "document": shown.to_json(),
        "lines": explain(shown),
    }


def payment_view(run: str, *events: str, **change: Any) -> dict[str, Any]:
    """What both sides show once these steps happened; ``change`` replaces members."""
    whole = document("charged").to_json()
    names = ("timing", "scheme", "network", "asset", "payee", "asked", "price_card", "rate", "deadline")
    captured = {"amount": "70", "transaction": "0x" + "d4" * 32, "network": whole["network"], "receipt": None}
    return {
        "run": run,
        "lane": {},
        "steps": [step(event) for event in events],
        "offered": {**{name: whole[name] for name in names}, "model": "small-1", "prices": {"input": "2.5"}},
        "signed": {
            "payer": whole["payer"],
            "authorised": "500",
            "digest": whole["authorisation"],
            "payload": '{"x402Version":2,"note":"<script>hit()</script>"}',
        },
        "claimed": {"usage": {"prompt_tokens": "4", "completion_tokens": "6"}, "by": "the answer"},
        "charged": CHARGE.to_json() if "charged" in events else None,
        "captured": captured if "captured" in events else None,
        "refund": None,
        "checks": [
            {
                "number": number,
                "about": about,
                "answer": answer,
                "says": says,
                "spec": spec,
                "code": code,
                "lanes": ["payment"],
            }
            for number, (about, answer, says, spec, code) in enumerate(CHECKS, 1)
        ],
        "trouble": "",
        "not_evidence_of": list(NOT_EVIDENCE_OF),
        **change,
    }


COST = f"{CHARGE.usd} USD: 0.00007 of {ASSET[:8]}…{ASSET[-6:]}"
"""What the run cost, as a page says it."""
