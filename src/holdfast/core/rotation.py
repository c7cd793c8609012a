"""Succession of key documents: one node with other keys (``spec/statement.md`` §5.1).

A rotation is signed by the key that goes and by the key that comes. ``parse_rotation`` reads it, ``verify_rotation``
checks it against both documents, ``verify_lineage`` walks a node's documents back to its first, whose digest is the
node's lasting name. Whoever holds both keys makes one with ``rotation_payload`` and ``build_rotation``.

Not covered: whether the new document is believed, and until when the old one was. Trust says that (``core.trust``).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from holdfast.core import canonical
from holdfast.core.encoding import b64_decode, b64_encode, hex_decode, time_decode, time_encode
from holdfast.core.keys import KeyDocument, PublicKey, verify_signature
from holdfast.core.statements import is_code, pre_authentication_encoding
from holdfast.errors import MalformedError, RefusedError

ROTATION_TYPE = "urn:holdfast:rotation:v1"
"""``type`` of a rotation."""
ROTATION_PAYLOAD_TYPE = "application/vnd.holdfast.rotation+json"
"""DSSE payload type of a rotation."""
MAX_ROTATION_BYTES = 4096
"""Larger rotations are refused unread."""
ROUTINE = "routine"
"""The reason of a rotation that has none."""
SIGNING_USES = ("statement", "log", "cosignature")
"""The uses of which a document's first is its signing key (§5.1(2))."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """A parsed rotation; who signed it is claimed until :func:`verify_rotation` said so."""

    payload: bytes
    old: str
    """Digest (hex) of the document that goes."""
    new: str
    """Digest (hex) of the document that comes."""
    at: dt.datetime
    reason: str
    claimed_signatures: tuple[bytes, bytes]
    """By the old key and by the new one."""


def signing_key(document: KeyDocument) -> PublicKey:
    """The key by which a node hands over or takes over; raises ``rotation.signature`` when it has none."""
    found = next((key for use in SIGNING_USES if (key := document.key_for(use)) is not None), None)
    if found is None:
        raise RefusedError("rotation.signature", f"{document.name} has no key that could sign a rotation")
    return found


def rotation_payload(old: KeyDocument, new: KeyDocument, at: dt.datetime, reason: str = ROUTINE) -> bytes:
    """What both keys sign, in the pre-authentication encoding of ``ROTATION_PAYLOAD_TYPE``."""
    return canonical.encode(
        {"type": ROTATION_TYPE, "from": old.digest, "to": new.digest, "at": time_encode(at), "reason": reason}
    )


def rotation_message(payload: bytes) -> bytes:
    """The bytes under both signatures."""
    return pre_authentication_encoding(payload, ROTATION_PAYLOAD_TYPE)


def build_rotation(payload: bytes, old: PublicKey, old_signature: bytes, new: PublicKey, new_signature: bytes) -> bytes:
    """The envelope of a rotation; the result parses."""
    signed = ((old, old_signature), (new, new_signature))
    raw = canonical.encode(
        {
            "payload": b64_encode(payload),
            "payloadType": ROTATION_PAYLOAD_TYPE,
            "signatures": [{"keyid": key.key_id, "sig": b64_encode(signature)} for key, signature in signed],
        }
    )
    parse_rotation(raw)
    return raw


def parse_rotation(raw: bytes) -> Rotation:
    """Exact bytes to a :class:`Rotation`. Raises ``rotation.*``, ``json.*`` or ``encoding.*``; checks no signature."""
    if len(raw) > MAX_ROTATION_BYTES:
        raise MalformedError("rotation.size", f"a rotation has at most {MAX_ROTATION_BYTES} bytes")
    outer = canonical.decode_signed(raw)
    if outer.keys() != {"payload", "payloadType", "signatures"} or outer["payloadType"] != ROTATION_PAYLOAD_TYPE:
        raise MalformedError("rotation.fields", f"expected an envelope of {ROTATION_PAYLOAD_TYPE}")
    payload = b64_decode(outer["payload"])
    value = canonical.decode_signed(payload)
    if value.keys() != {"type", "from", "to", "at", "reason"} or value["type"] != ROTATION_TYPE:
        raise MalformedError("rotation.fields", f"not a {ROTATION_TYPE}")
    if not is_code(value["reason"]):
        raise MalformedError("rotation.fields", "the reason of a rotation is a code")
    old, new = hex_decode(value["from"], 32).hex(), hex_decode(value["to"], 32).hex()
    return Rotation(payload, old, new, time_decode(value["at"]), value["reason"], _signatures(outer["signatures"]))


def _signatures(listed: object) -> tuple[bytes, bytes]:
    if not isinstance(listed, list) or len(listed) != 2:
        raise MalformedError("rotation.fields", "a rotation has two signatures: by the old key and by the new one")
    found = []
    for item in listed:
        if not isinstance(item, dict) or item.keys() != {"keyid", "sig"}:
            raise MalformedError("rotation.fields", "a signature has exactly keyid and sig")
        hex_decode(item["keyid"], 32)
        found.append(b64_decode(item["sig"]))
    return found[0], found[1]


def verify_rotation(rotation: Rotation, old: KeyDocument, new: KeyDocument) -> None:
    """That one node handed over from ``old`` to ``new``; raises ``rotation.*``."""
    if (rotation.old, rotation.new) != (old.digest, new.digest):
        raise RefusedError("rotation.lineage", "the rotation is between two other key documents")
    if new.predecessor != old.digest:
        raise RefusedError("rotation.predecessor", "the new key document does not name the old one as its predecessor")
    if (old.name, old.roles) != (new.name, new.roles):
        raise RefusedError("rotation.identity", "a rotation changes neither the name nor the roles of a node")
    message = rotation_message(rotation.payload)
    for document, signature in zip((old, new), rotation.claimed_signatures, strict=True):
        try:
            verify_signature(signing_key(document), message, signature)
        except RefusedError as error:
            which = "old" if document is old else "new"
            raise RefusedError(
                "rotation.signature", f"the {which} key of {document.name} did not sign the rotation"
            ) from error


def verify_lineage(documents: Sequence[KeyDocument], rotations: Sequence[Rotation]) -> str:
    """A node's documents, oldest first, with a rotation between each two: its lasting name (hex), the digest of the
    first. Raises ``rotation.*``."""
    if not documents or len(rotations) != len(documents) - 1:
        raise RefusedError("rotation.lineage", "between each two key documents of a node lies one rotation")
    if documents[0].predecessor is not None:
        raise RefusedError("rotation.lineage", "the first key document of a lineage replaces none")
    for (old, new), rotation in zip(pairwise(documents), rotations, strict=True):
        verify_rotation(rotation, old, new)
    for before, after in pairwise(rotations):
        if after.at < before.at:
            raise RefusedError("rotation.lineage", "a node's rotations follow each other in time")
    return documents[0].digest
