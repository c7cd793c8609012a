"""What a gateway asks a memory node for a run, and what comes back (``spec/recall.md`` §6).

Both are JSON objects of exactly their members; whoever reads one has checked nothing yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from holdfast.core import canonical
from holdfast.core.encoding import b64_decode, b64_encode, hex_decode
from holdfast.core.memory import MAX_CLAIM_BYTES, is_row_id, is_text
from holdfast.core.orders import Evidence, parse_evidence
from holdfast.core.recalls import KEY_BYTES, MAX_DOCUMENT_BYTES, MAX_QUERY, MAX_ROWS, SALT_BYTES
from holdfast.core.statements import is_nonce, is_run_id
from holdfast.errors import MalformedError

_ORDER = frozenset({"run", "user", "query", "key", "coarse", "nonce", "parent_run"})
_DELIVERY = frozenset({"envelope", "document", "salt", "claims", "attestation"})


@dataclass(frozen=True, slots=True)
class RecallOrder:
    """A search on behalf of a run."""

    run: str
    user: str
    """Whose rows: the owner's name at the node."""
    query: str
    key: bytes
    """What salts the digests, 32 bytes (``recall.md`` §3(1)); it opens nothing else of the run."""
    coarse: bool
    """Whether the statement tells the time by the minute only (``statement.md`` §3)."""
    nonce: str | None
    parent_run: str | None

    def to_json(self) -> dict[str, canonical.JSON]:
        return {
            "run": self.run,
            "user": self.user,
            "query": self.query,
            "key": self.key.hex(),
            "coarse": self.coarse,
            "nonce": self.nonce,
            "parent_run": self.parent_run,
        }


@dataclass(frozen=True, slots=True)
class RecallDelivery:
    """A signed recall, what opens it, and what each row says."""

    envelope: bytes
    document: bytes
    salt: bytes
    claims: Mapping[str, str]
    attestation: Evidence | None

    def to_json(self) -> dict[str, canonical.JSON]:
        return {
            "envelope": b64_encode(self.envelope),
            "document": self.document.decode(),
            "salt": self.salt.hex(),
            "claims": dict(self.claims),
            "attestation": self.attestation.to_json() if self.attestation else None,
        }


def parse_recall_order(value: object) -> RecallOrder:
    """JSON to a :class:`RecallOrder`; raises ``recall.order`` and ``encoding.hex``."""
    if not isinstance(value, dict) or value.keys() != _ORDER:
        raise _malformed(f"an order has exactly {', '.join(sorted(_ORDER))}")
    if not is_run_id(value["run"]) or not is_text(value["user"], 256) or not isinstance(value["coarse"], bool):
        raise _malformed("an order names a run and a user, and says whether times are coarse")
    query = value["query"]
    if not isinstance(query, str) or not 1 <= len(query) <= MAX_QUERY:
        raise _malformed(f"a query has 1 to {MAX_QUERY} characters")
    for name, fits in (("nonce", is_nonce), ("parent_run", is_run_id)):
        if value[name] is not None and not fits(value[name]):
            raise _malformed(f"{name} is none")
    key = hex_decode(value["key"], KEY_BYTES)
    return RecallOrder(value["run"], value["user"], query, key, value["coarse"], value["nonce"], value["parent_run"])


def parse_recall_delivery(value: object) -> RecallDelivery:
    """JSON to a :class:`RecallDelivery`; raises ``recall.order``, ``order.fields``, ``encoding.*``."""
    if not isinstance(value, dict) or value.keys() != _DELIVERY:
        raise _malformed(f"a delivery has exactly {', '.join(sorted(_DELIVERY))}")
    document, claims = value["document"], value["claims"]
    if not is_text(document, MAX_DOCUMENT_BYTES) or not isinstance(claims, dict) or len(claims) > MAX_ROWS:
        raise _malformed("a delivery has a document, and what each of its rows says")
    if not all(is_row_id(row) and is_text(claim, MAX_CLAIM_BYTES) for row, claim in claims.items()):
        raise _malformed(f"a claim is 1 to {MAX_CLAIM_BYTES} bytes of text, by its row's id")
    return RecallDelivery(
        b64_decode(value["envelope"]),
        document.encode(),
        hex_decode(value["salt"], SALT_BYTES),
        claims,
        parse_evidence(value["attestation"]),
    )


def _malformed(message: str) -> MalformedError:
    return MalformedError("recall.order", message)
