"""Commands of payments, prices and settlement."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from holdfast.cli.conformance.arguments import Answer, Arguments, Refused, fields_of, integer
from holdfast.core import canonical, pricing, x402
from holdfast.core.encoding import sha256_hex
from holdfast.core.opengradient_settlement import build_batch, parse_row, row_id
from holdfast.errors import RefusedError, UsageError


def _parse_payment(arguments: Arguments) -> Answer:
    """``payments.md`` §1 and §2: the object again, as it is written here."""
    if not arguments.rest:
        raise UsageError("usage.kind", "which object?")
    kind, raw = arguments.rest.pop(0), arguments.file()
    parsers: dict[str, Callable[[Any], Any]] = {
        "payload": x402.parse_payload,
        "requirements": x402.parse_requirements,
        "required": x402.parse_payment_required,
        "verify-response": x402.parse_verify_response,
        "settle-response": x402.parse_settle_response,
    }
    name, _, form = kind.partition(":")
    if name not in parsers or form not in ("", "header"):
        raise UsageError("usage.kind", f"unknown kind {kind}")
    value = x402.parse_header(raw.decode("utf-8", "replace")) if form else canonical.decode_object(raw)
    return {"object": parsers[name](value).to_json()}


def _build_settlement(arguments: Arguments) -> Answer:
    """``opengradient.md`` §11(1 to 3): header values of rows to their batch."""
    batch = build_batch([parse_row(header) for header in fields_of(arguments.file(), "rows")["rows"]])
    return {
        "root": batch.root.hex(),
        "jobs": [row_id(row) for row in batch.rows],
        "document": canonical.decode(batch.document),
        "blob": sha256_hex(batch.document),
    }


def _charge(arguments: Arguments) -> Answer:
    """``pricing.md`` §4 and §5: what a request may cost, and what it costs."""
    value = fields_of(arguments.file(), "card", "model", "rate", "usage", "most")
    card, rate = pricing.parse_price_card(value["card"].encode()), pricing.parse_rate(value["rate"])
    prices, most, usage = card.prices(value["model"]), value["most"], value["usage"]
    cap = None
    if most is not None:
        asked = pricing.most_usage(prices, most["size"], most["output"], most["images"])
        cap = pricing.cap(prices, asked, rate)
    used = None if usage is None else pricing.Usage(**usage)
    return {
        "cap": None if cap is None else str(cap),
        "charge": pricing.charge(prices, used, rate, at_most=cap).to_json(),
    }


def _verify_payment(arguments: Arguments) -> Answer:
    """``payments.md`` §5(1 to 3); a refusal says x402's reason too."""
    at, facilitator = integer(arguments.one("at")), arguments.one("facilitator")
    charge = arguments.maybe("charge")
    value = fields_of(arguments.file(), "payload", "requirements")
    payload, asked = x402.parse_payload(value["payload"]), x402.parse_requirements(value["requirements"])
    if charge is not None:
        asked = dataclasses.replace(asked, amount=integer(charge))
    try:
        found = x402.verify_payment(payload, asked, at=at, facilitator=facilitator, settling=charge is not None)
    except RefusedError as error:
        raise Refused(error.code, {"reason": x402.reason_of(error.code, x402.method_of(payload))}) from error
    return {
        "method": found.method,
        "payer": found.payer,
        "amount": str(found.amount),
        "cap": str(found.cap),
        "identity": found.identity.hex(),
        "job": x402.job_id_of(found.identity),
        "sponsored": found.permit is not None,
    }


COMMANDS: Mapping[str, Callable[[Arguments], Answer]] = {
    "parse-payment": _parse_payment,
    "verify-payment": _verify_payment,
    "charge": _charge,
    "build-settlement": _build_settlement,
}
