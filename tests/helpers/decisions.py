"""A panel's key, and decisions about the run of :mod:`tests.helpers.network`, made with the product's own functions."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from holdfast.adapters.wraps_hpke import FileRecipient
from holdfast.core import canonical
from holdfast.core.decisions import DecisionDocument, batch_of, path_in_batch, record_of
from holdfast.core.encoding import b64_encode, sha256_hex, time_encode
from holdfast.core.keys import build_key_document
from holdfast.core.statements import (
    DecisionBody,
    build_envelope,
    build_payload,
    decision_body,
    pre_authentication_encoding,
)
from holdfast.core.trust import Trust
from tests.helpers.network import FROM, RUN, UNTIL, Network, at, ed25519_signer

CASE = "6a0c1d5e-93a4-4c2e-8f0b-2d7c5e1a9b34"
OTHER_CASE = "b1e7f0a2-5c3d-4f6e-9a8b-7c6d5e4f3a2b"
LANES, POLICY = hashlib.sha256(b"lane vector").digest(), hashlib.sha256(b"queue policy").digest()
SALT = hashlib.sha256(b"decision salt").digest()
PANEL = ed25519_signer("panel", "statement")
RECIPIENT = FileRecipient(X25519PrivateKey.from_private_bytes(hashlib.sha256(b"panel hpke").digest()))
PANEL_DOCUMENT = build_key_document("panel", ["panel"], "test", [PANEL.key, RECIPIENT.key])


def admission(**change: Any) -> dict[str, Any]:
    """The panel's admission."""
    span = {"valid_from": time_encode(FROM), "valid_until": time_encode(UNTIL), "revoked": None}
    return {"key_document": b64_encode(PANEL_DOCUMENT.raw), **span, **change}


def trust_with_panel(network: Network | None = None, **change: Any) -> Trust:
    """The network's trust, and the panel. ``change`` is of the panel's admission."""
    network = network or Network()
    nodes = canonical.decode(network.trust_version())["nodes"]
    return network.trust(nodes=[*nodes, admission(**change)])


def document(**change: Any) -> DecisionDocument:
    """What a reviewer decided."""
    given: dict[str, Any] = {
        "case": CASE,
        "queue": "claims",
        "run": RUN,
        "person": "Ann Example",
        "role": "reviewer",
        "act": "approve",
        "reason": "The quote is in the file.",
        "until": None,
        "rule": "Two people read the source.",
        "threshold": "0.70",
        "framing": "The model was told to be brief.",
        "at": at(2),
    }
    return DecisionDocument(**(given | change))


class Made:
    """A decision statement: its payload, envelope, digest and what opens it."""

    def __init__(
        self,
        found: DecisionDocument | None = None,
        *,
        parents: Sequence[str] | None = None,
        cases: Sequence[str] | None = None,
        salt: bytes = SALT,
        body: dict[str, Any] | None = None,
        claimed_at: dt.datetime | None = None,
        signer: Any = PANEL,
        **statement: Any,
    ) -> None:
        self.document = found = found or document()
        self.salt, self.cases = salt, cases
        record = record_of(found.raw, salt)
        predicate = DecisionBody(found.act, found.case, LANES, POLICY, record, batch_of(cases) if cases else None)
        given: dict[str, Any] = {
            "run": RUN,
            "attester": PANEL_DOCUMENT.digest,
            "claimed_at": claimed_at or found.at,
            "parents": [sha256_hex(Network().execution())] if parents is None else parents,
            "subject": ("decision", record),
            "body": decision_body(predicate) | (body or {}),
        }
        self.payload = build_payload("decision", **(given | statement))
        signature = signer.sign(pre_authentication_encoding(self.payload))
        self.envelope = build_envelope(self.payload, PANEL.key.key_id, signature)
        self.digest = sha256_hex(self.payload)

    def statement_item(self, seconds: float = 5) -> dict[str, Any]:
        """The bundle item that holds the statement."""
        return {"kind": "statement", "at": time_encode(at(seconds)), "envelope": canonical.decode(self.envelope)}

    def opening_item(self, seconds: float = 5, **change: Any) -> dict[str, Any]:
        """The bundle item that opens it."""
        path = path_in_batch(self.cases, self.document.case).to_json() if self.cases else None
        item = {
            "kind": "decision",
            "at": time_encode(at(seconds)),
            "digest": self.digest,
            "document": self.document.raw.decode(),
            "salt": self.salt.hex(),
            "path": path,
        }
        return item | change

    def items(self) -> list[dict[str, Any]]:
        """Both."""
        return [self.statement_item(), self.opening_item()]
