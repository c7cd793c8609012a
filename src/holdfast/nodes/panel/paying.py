"""What the panel carries between a page and the gateway so that a turn can be paid for, and whom it would be paid to.

Rules:

* The page signs with a wallet of its reader; the panel holds no wallet, and passes on what was signed as it came.
* Only the headers named here cross, in either direction. What a header says is read by the page and by the gateway.
* The page is told whom the gateway's key document names to be paid, so that it can say whether whoever asks for money
  is the same.

Not covered: what a payment means (``spec/payments.md``), and what was paid for a run (its view and its bundle).
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from holdfast.core import canonical, x402
from holdfast.core.canonical import JSON
from holdfast.core.encoding import b64_decode
from holdfast.core.keys import parse_key_document
from holdfast.core.payments import NOT_EVIDENCE_OF
from holdfast.core.pricing import parse_decimal
from holdfast.core.statements import is_code
from holdfast.errors import HoldfastError, MalformedError, RefusedError

PAYMENT_REQUIRED_STATUS = 402
STATE = "x-holdfast-payment"
"""Of an answer: ``authorised`` (something was signed, nothing was taken yet) or ``credit``."""
ASKING = ("payment-signature", "x-upto-session")
"""What a page sends along with a question: a signed payment, or what an earlier one is known by."""
ANSWERED = ("payment-required", "payment-response", "x-upto-session", STATE)
"""What comes back with an answer, or instead of one."""
MAX_SESSION_CHARACTERS = 128
"""Longest name of a payment for several turns."""


def asking_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Of a page's headers, those that pay. Raises ``x402.header`` for one that no payment fits."""
    found = {name: headers[name] for name in ASKING if name in headers}
    for name, value in found.items():
        most = x402.MAX_HEADER_CHARACTERS if name == "payment-signature" else MAX_SESSION_CHARACTERS
        if len(value) > most or not value.isascii():
            raise MalformedError("x402.header", f"{name} has at most {most} characters of ASCII")
    return found


def answered_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Of the gateway's headers, those that a page may see."""
    return {name: headers[name] for name in ANSWERED if name in headers}


class _Told(NamedTuple):
    """Why a gateway refuses, in its words or in ours."""

    code: str
    message: str
    hint: str


def payment_refusal(raw: bytes) -> RefusedError:
    """Status 402 in the one error shape; why, where the gateway says so in x402's words or in ours."""
    said: object = None
    with contextlib.suppress(HoldfastError):
        said = canonical.decode_object(raw).get("error")
    members = said if isinstance(said, dict) else {"message": said}
    code, message, hint = (members.get(name) for name in ("code", "message", "hint"))
    told = _Told(
        code if isinstance(code, str) and is_code(code) else "payment.required",
        message if isinstance(message, str) and message else "this answer has to be paid for",
        hint if isinstance(hint, str) and hint else "pay with a wallet, or ask for credit",
    )
    return RefusedError(told.code, told.message, hint=told.hint, status=PAYMENT_REQUIRED_STATUS)


def key_document_of(identity: object) -> str:
    """The key document, in base64, of a gateway's ``/v1/identity``. Raises ``panel.shape``."""
    text = identity.get("key_document") if isinstance(identity, dict) else None
    if not isinstance(text, str):
        raise MalformedError("panel.shape", "an identity has a key document")
    return text


def payee_of(identity: object) -> str:
    """Whom the key document in a gateway's ``/v1/identity`` names to be paid; empty where it names nobody. Raises
    ``panel.shape``, ``keys.*`` or ``encoding.*``."""
    return parse_key_document(b64_decode(key_document_of(identity))).payment or ""


@dataclass(frozen=True, slots=True)
class Credit:
    """What a workspace may still ask for without a wallet; decimals of US dollars in strings."""

    left: str
    granted: str

    def to_json(self) -> dict[str, JSON]:
        return {"left": self.left, "granted": self.granted, "unit": "USD"}


def parse_credit(value: object) -> Credit:
    """``GET /v1/account`` of the gateway. Raises ``panel.shape`` or ``pricing.decimal``."""
    if not isinstance(value, dict):
        raise MalformedError("panel.shape", "an account is an object")
    for name in ("left", "granted"):
        parse_decimal(value.get(name))
    return Credit(value["left"], value["granted"])


def scope() -> list[str]:
    """What a payment is no evidence of, for pages and programs."""
    return list(NOT_EVIDENCE_OF)
