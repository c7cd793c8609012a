"""A gateway's OHTTP keys with what shows that everybody is shown the same ones (``spec/relay.md`` §4).

``parse_keys_proof`` makes a value that cannot exist malformed; ``build_keys_proof`` makes the bytes.
Not covered: whether it holds (``verifier.keys_proof``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from holdfast.core import canonical, merkle
from holdfast.core.encoding import b64_decode, b64_encode, hex_decode
from holdfast.core.keys import KeyDocument, parse_key_document
from holdfast.core.statements import Statement, parse_envelope, parse_statement
from holdfast.errors import MalformedError

KEYS_PROOF_TYPE = "urn:holdfast:keys-proof:v1"
"""``type`` of a keys proof (``relay.md`` §4)."""
MAX_KEYS_PROOF_BYTES = 1 << 20
"""Larger ones are refused unread: an attestation with its collateral is the largest thing in one."""
_MEMBERS = frozenset({"type", "key_document", "attestation", "statement", "index", "size", "proof", "checkpoint"})


@dataclass(frozen=True, slots=True)
class ShownAttestation:
    """Evidence as it came, with the name of its format."""

    format: str
    evidence: bytes


@dataclass(frozen=True, slots=True)
class KeysProof:
    """A parsed keys proof. Nothing in it is believed yet."""

    document: KeyDocument
    attestation: ShownAttestation | None
    statement: Statement
    index: int
    size: int
    proof: tuple[bytes, ...]
    checkpoint: str
    """The note's text with its signatures."""


def build_keys_proof(
    document: KeyDocument,
    attestation: ShownAttestation | None,
    envelope: bytes,
    *,
    index: int,
    size: int,
    proof: Sequence[bytes],
    checkpoint: bytes,
) -> bytes:
    """Canonical JSON bytes of a keys proof."""
    shown: canonical.JSON = None
    if attestation is not None:
        shown = {"format": attestation.format, "evidence": b64_encode(attestation.evidence)}
    return canonical.encode(
        {
            "type": KEYS_PROOF_TYPE,
            "key_document": b64_encode(document.raw),
            "attestation": shown,
            "statement": b64_encode(envelope),
            "index": index,
            "size": size,
            "proof": [step.hex() for step in proof],
            "checkpoint": checkpoint.decode(),
        }
    )


def parse_keys_proof(raw: bytes) -> KeysProof:
    """Bytes to a :class:`KeysProof`; raises ``keys_proof.*`` or the code of what it holds."""
    if len(raw) > MAX_KEYS_PROOF_BYTES:
        raise MalformedError("keys_proof.size", f"a keys proof has at most {MAX_KEYS_PROOF_BYTES} bytes")
    value = canonical.decode_signed(raw)
    if value.keys() != _MEMBERS or value["type"] != KEYS_PROOF_TYPE:
        raise MalformedError("keys_proof.fields", f"not a {KEYS_PROOF_TYPE}")
    index, size, proof = value["index"], value["size"], value["proof"]
    if not _is_count(index) or not _is_count(size) or not index < size:
        raise MalformedError("keys_proof.fields", "index and size say where an entry stands")
    if not isinstance(proof, list) or len(proof) > merkle.MAX_SIZE.bit_length():
        raise MalformedError("keys_proof.fields", "proof is a list of hashes")
    if not isinstance(value["checkpoint"], str):
        raise MalformedError("keys_proof.fields", "checkpoint is text")
    return KeysProof(
        document=parse_key_document(b64_decode(value["key_document"])),
        attestation=_attestation(value["attestation"]),
        statement=parse_statement(parse_envelope(b64_decode(value["statement"]))),
        index=index,
        size=size,
        proof=tuple(hex_decode(step, merkle.HASH_BYTES) for step in proof),
        checkpoint=value["checkpoint"],
    )


def _attestation(value: object) -> ShownAttestation | None:
    if value is None:
        return None
    if not isinstance(value, dict) or value.keys() != {"format", "evidence"} or not isinstance(value["format"], str):
        raise MalformedError("keys_proof.fields", "an attestation has exactly format and evidence")
    return ShownAttestation(value["format"], b64_decode(value["evidence"]))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= merkle.MAX_SIZE
