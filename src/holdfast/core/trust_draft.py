"""The next version of a trust document, before its root keys sign it (``spec/trust.md`` §6).

A draft is one DSSE envelope of a trust version with as many signatures as it has so far. ``Changes`` says what differs
from the version before; ``build_draft`` makes the envelope, ``add_signature`` signs on, ``adopt_draft`` appends it to
its chain once the thresholds of both versions are reached.

Not covered: where root keys live, and whether a change is wise.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from holdfast.core import canonical
from holdfast.core.encoding import b64_encode, time_encode
from holdfast.core.keys import KeyDocument, PublicKey, verify_signature
from holdfast.core.statements import pre_authentication_encoding
from holdfast.core.trust import (
    TRUST_PAYLOAD_TYPE,
    Trust,
    TrustVersion,
    build_trust_chain,
    parse_trust_version,
    verify_trust,
)
from holdfast.errors import ConflictError, RefusedError, UsageError


@dataclass(frozen=True, slots=True)
class Revoked:
    """A node that trust takes back: since when what it signed is suspect, and why (a code)."""

    node: str
    suspect_since: dt.datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Changes:
    """What the next version says differently."""

    admit: Sequence[tuple[KeyDocument, dt.datetime, dt.datetime]] = ()
    """Key documents, each with the span for which it holds."""
    end: Mapping[str, dt.datetime] = field(default_factory=dict)
    """Nodes (digests of key documents) that hold until another time than before: an orderly end."""
    revoke: Sequence[Revoked] = ()
    measurements: Sequence[Mapping[str, Any]] = ()
    """Reference values to add, each a whole entry (``trust.md`` §1)."""
    enclave_roots: Sequence[Mapping[str, Any]] = ()
    """Enclave roots to add, each a whole entry."""
    expires_at: dt.datetime | None = None
    """When the next version runs out; None: when the last one does."""


def build_draft(before: TrustVersion, changes: Changes, at: dt.datetime) -> bytes:
    """The envelope of the version after ``before``, without a signature.

    Raises ``trust_draft.unknown_node`` for a change of a node that is not admitted, ``trust_draft.admitted`` for a node
    that is, ``trust_draft.suspect_since`` for taking back a suspicion, and ``trust.*`` when the result would be
    malformed.
    """
    value = canonical.decode_signed(before.payload)
    value["version"] = before.version + 1
    value["issued_at"] = time_encode(at)
    if changes.expires_at is not None:
        value["expires_at"] = time_encode(changes.expires_at)
    places = {item.key_document.digest: place for place, item in enumerate(before.nodes)}
    for node, until in changes.end.items():
        _entry(value, places, node)["valid_until"] = time_encode(until)
    for revoked in changes.revoke:
        entry = _entry(value, places, revoked.node)
        earlier = before.nodes[places[revoked.node]].revoked
        if earlier is not None and revoked.suspect_since > earlier.suspect_since:
            raise RefusedError(
                "trust_draft.suspect_since",
                f"{revoked.node[:16]} is revoked, and suspect since {time_encode(earlier.suspect_since)}: not later",
            )
        entry["revoked"] = {
            "at": time_encode(at),
            "suspect_since": time_encode(revoked.suspect_since),
            "reason": revoked.reason,
        }
    for document, start, until in changes.admit:
        if document.digest in places:
            raise ConflictError("trust_draft.admitted", f"{document.name} is admitted already by this key document")
        value["nodes"].append(
            {
                "key_document": b64_encode(document.raw),
                "revoked": None,
                "valid_from": time_encode(start),
                "valid_until": time_encode(until),
            }
        )
    value["measurements"] += [dict(item) for item in changes.measurements]
    value["enclave_roots"] += [dict(item) for item in changes.enclave_roots]
    draft = _envelope(canonical.encode(value), ())
    parse_trust_version(canonical.decode_object(draft))
    return draft


def _entry(value: dict[str, Any], places: Mapping[str, int], node: str) -> dict[str, Any]:
    if node not in places:
        raise UsageError(
            "trust_draft.unknown_node",
            f"trust admits no node {node[:16]}",
            hint="'holdfast trust show' lists them by the digest of their key documents",
        )
    entry: dict[str, Any] = value["nodes"][places[node]]
    return entry


def parse_draft(raw: bytes) -> TrustVersion:
    """A draft to the version that it will be; raises ``trust.*`` and ``json.*``. Checks no signature."""
    return parse_trust_version(canonical.decode_object(raw))


def draft_message(draft: TrustVersion) -> bytes:
    """What a root key signs."""
    return pre_authentication_encoding(draft.payload, TRUST_PAYLOAD_TYPE)


def add_signature(draft: TrustVersion, key: PublicKey, signature: bytes) -> bytes:
    """The draft's envelope with one signature more. Signing again changes nothing.

    Raises ``signature.invalid`` for one that does not verify.
    """
    verify_signature(key, draft_message(draft), signature)
    others = [item for item in draft.signatures if item[0] != key.key_id]
    return _envelope(draft.payload, [*others, (key.key_id, signature)])


def adopt_draft(versions: Sequence[TrustVersion], draft: TrustVersion) -> tuple[bytes, Trust]:
    """The trust file with the draft as its last version, and what it says.

    Raises ``trust_draft.stale`` when the draft was made for another version, and ``trust.threshold`` while signatures
    are missing.
    """
    last = versions[-1]
    if draft.version != last.version + 1:
        raise RefusedError(
            "trust_draft.stale",
            f"the draft is of version {draft.version}; the one after this file's last is {last.version + 1}",
            hint="make the draft again from the newest trust file",
        )
    whole = [*versions, draft]
    found = verify_trust(whole, pin=versions[0].digest)
    return build_trust_chain([(item.payload, item.signatures) for item in whole]), found


def _envelope(payload: bytes, signatures: Sequence[tuple[str, bytes]]) -> bytes:
    return canonical.encode(
        {
            "payload": b64_encode(payload),
            "payloadType": TRUST_PAYLOAD_TYPE,
            "signatures": [{"keyid": key_id, "sig": b64_encode(signature)} for key_id, signature in signatures],
        }
    )
