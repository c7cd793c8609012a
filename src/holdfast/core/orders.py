"""What a gateway hands to an inference node, and what comes back (``spec/inference.md`` §9).

An :class:`Order` is one run to be computed: the document as it is to be run and bound, and the pseudo-random key that
salts its parts. A :class:`Delivery` is the response document and the statement about it. Both are JSON objects of
exactly their members; whoever reads one has checked nothing yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from holdfast.core import canonical
from holdfast.core.encoding import b64_decode, b64_encode, hex_decode
from holdfast.core.statements import ENDPOINTS, is_code, is_nonce, is_run_id
from holdfast.errors import MalformedError

KEY_BYTES = 32
"""Size of a run's pseudo-random key (``parts.md`` §4)."""
_ORDER = frozenset({"run", "endpoint", "document", "text", "key", "coarse", "nonce", "parent_run"})
_DELIVERY = frozenset({"text", "envelope", "attestation"})
_CHECK = frozenset({"order", "text", "envelope"})
_PROOF = frozenset({"envelope", "document", "salt"})


@dataclass(frozen=True, slots=True)
class Order:
    """One run to be computed."""

    run: str
    endpoint: str
    """As the route will say: ``inference``, ``embeddings`` or ``classifications``."""
    document: str
    """``request`` where nothing was rewritten, else ``sent``: the name that its salts are made with."""
    text: bytes
    key: bytes
    """The run's pseudo-random key, 32 bytes."""
    coarse: bool
    """Whether statements tell the time by the minute only (``statement.md`` §3)."""
    nonce: str | None
    parent_run: str | None

    def to_json(self) -> dict[str, canonical.JSON]:
        return {
            "run": self.run,
            "endpoint": self.endpoint,
            "document": self.document,
            "text": self.text.decode(),
            "key": self.key.hex(),
            "coarse": self.coarse,
            "nonce": self.nonce,
            "parent_run": self.parent_run,
        }


@dataclass(frozen=True, slots=True)
class Evidence:
    """An attestation of the node's key document: its format and bytes (``attestation.md`` §2)."""

    format: str
    evidence: bytes

    def to_json(self) -> dict[str, canonical.JSON]:
        return {"format": self.format, "evidence": b64_encode(self.evidence)}


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a node computed, and its statement about it."""

    text: bytes
    """The response document."""
    envelope: bytes
    attestation: Evidence | None

    def to_json(self) -> dict[str, canonical.JSON]:
        return {
            "text": self.text.decode(),
            "envelope": b64_encode(self.envelope),
            "attestation": self.attestation.to_json() if self.attestation else None,
        }


@dataclass(frozen=True, slots=True)
class CheckOrder:
    """A run that another node computed, to be run again (``inference.md`` §6)."""

    order: Order
    text: bytes
    """The response document as it was bound."""
    envelope: bytes
    """The ``computed`` statement of the other node."""

    def to_json(self) -> dict[str, canonical.JSON]:
        return {"order": self.order.to_json(), "text": self.text.decode(), "envelope": b64_encode(self.envelope)}


@dataclass(frozen=True, slots=True)
class ProofDelivery:
    """A proof: the ``proved`` statement, and what opens its record (``inference.md`` §9(6))."""

    envelope: bytes
    document: bytes
    salt: bytes

    def to_json(self) -> dict[str, canonical.JSON]:
        return {
            "envelope": b64_encode(self.envelope),
            "document": self.document.decode(),
            "salt": self.salt.hex(),
        }


def parse_proof_delivery(value: object) -> ProofDelivery:
    """JSON to a :class:`ProofDelivery`; raises ``order.fields`` and ``encoding.*``."""
    if not isinstance(value, dict) or value.keys() != _PROOF or not isinstance(value["document"], str):
        raise _malformed(f"a proof has exactly {', '.join(sorted(_PROOF))}")
    salt = hex_decode(value["salt"], KEY_BYTES)
    return ProofDelivery(b64_decode(value["envelope"]), value["document"].encode(), salt)


def parse_order(value: object) -> Order:
    """JSON to an :class:`Order`; raises ``order.fields`` and ``encoding.hex``."""
    if not isinstance(value, dict) or value.keys() != _ORDER:
        raise _malformed(f"an order has exactly {', '.join(sorted(_ORDER))}")
    if (
        not is_run_id(value["run"])
        or value["endpoint"] not in ENDPOINTS
        or value["document"] not in ("request", "sent")
    ):
        raise _malformed("an order names a run, an endpoint and a document")
    if not isinstance(value["coarse"], bool) or not isinstance(value["text"], str):
        raise _malformed("coarse is a boolean and text a string")
    for name, fits in (("nonce", is_nonce), ("parent_run", is_run_id)):
        if value[name] is not None and not fits(value[name]):
            raise _malformed(f"{name} is none")
    return Order(
        value["run"],
        value["endpoint"],
        value["document"],
        value["text"].encode(),
        hex_decode(value["key"], KEY_BYTES),
        value["coarse"],
        value["nonce"],
        value["parent_run"],
    )


def parse_delivery(value: object) -> Delivery:
    """JSON to a :class:`Delivery`; raises ``order.fields`` and ``encoding.base64``."""
    if not isinstance(value, dict) or value.keys() != _DELIVERY or not isinstance(value["text"], str):
        raise _malformed(f"a delivery has exactly {', '.join(sorted(_DELIVERY))}")
    return Delivery(value["text"].encode(), b64_decode(value["envelope"]), parse_evidence(value["attestation"]))


def parse_evidence(value: Any) -> Evidence | None:
    """A presented attestation, or None; raises ``order.fields`` and ``encoding.base64``."""
    if value is None:
        return None
    if not isinstance(value, dict) or value.keys() != {"format", "evidence"} or not is_code(value["format"]):
        raise _malformed("an attestation has exactly format and evidence")
    return Evidence(value["format"], b64_decode(value["evidence"]))


def parse_check_order(value: object) -> CheckOrder:
    """JSON to a :class:`CheckOrder`; raises ``order.fields``, ``encoding.*``."""
    if not isinstance(value, dict) or value.keys() != _CHECK or not isinstance(value["text"], str):
        raise _malformed(f"an order to check has exactly {', '.join(sorted(_CHECK))}")
    return CheckOrder(parse_order(value["order"]), value["text"].encode(), b64_decode(value["envelope"]))


def _malformed(message: str) -> MalformedError:
    return MalformedError("order.fields", message)
