"""Keys, signatures, envelopes and key documents (statement.md §1, §5), signed notes (checkpoint.md), EIP-712 (round.md).

Every key comes from a name; every signature scheme used here is deterministic (Ed25519, RFC 6979).
"""

from __future__ import annotations

from typing import Any

import coincurve
from Crypto.Hash import keccak
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from .text import b64, jcs, named, sha

STATEMENT_PAYLOAD = "application/vnd.in-toto+json"
TRUST_PAYLOAD = "application/vnd.holdfast.trust+json"


def keccak256(data: bytes) -> bytes:
    """Keccak-256 as the EVM uses it."""
    return keccak.new(digest_bits=256, data=data).digest()


class Ed25519:
    """An Ed25519 key that depends on its name."""

    algorithm = "ed25519"

    def __init__(self, name: str) -> None:
        self._key = ed25519.Ed25519PrivateKey.from_private_bytes(named("ed25519/" + name))
        self.public = self._key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)

    def sign(self, message: bytes) -> bytes:
        """RFC 8032."""
        return self._key.sign(message)


class P256:
    """A P-256 key that depends on its name; RFC 6979 nonces."""

    algorithm = "p256"

    def __init__(self, name: str) -> None:
        order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
        scalar = int.from_bytes(named("p256/" + name), "big") % (order - 1) + 1
        self._key = ec.derive_private_key(scalar, ec.SECP256R1())
        self.public = self._key.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint
        )

    def sign(self, message: bytes) -> bytes:
        """ECDSA with SHA-256 as r ‖ s."""
        der = self._key.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
        r, s = decode_dss_signature(der)
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


class Secp256k1:
    """A vote key that depends on its name."""

    algorithm = "secp256k1"

    def __init__(self, name: str) -> None:
        self._key = coincurve.PrivateKey(named("secp256k1/" + name))
        self.public = self._key.public_key.format(compressed=True)

    @property
    def address(self) -> str:
        """EVM address, lower case."""
        return "0x" + keccak256(self._key.public_key.format(compressed=False)[1:])[12:].hex()

    def sign_digest(self, digest: bytes) -> bytes:
        """r ‖ s ‖ v with v 27 or 28."""
        signature = self._key.sign_recoverable(digest, hasher=None)
        return signature[:64] + bytes([signature[64] + 27])


def key_id(algorithm: str, public: bytes) -> str:
    """statement.md §5."""
    return sha(algorithm.encode() + b"\x00" + public).hex()


def pae(payload_type: str, payload: bytes) -> bytes:
    """DSSE pre-authentication encoding."""
    return b"DSSEv1 %d %s %d %s" % (len(payload_type), payload_type.encode(), len(payload), payload)


def envelope(payload: bytes, keys: list[Any], payload_type: str = STATEMENT_PAYLOAD) -> dict[str, Any]:
    """A DSSE envelope."""
    message = pae(payload_type, payload)
    return {
        "payload": b64(payload),
        "payloadType": payload_type,
        "signatures": [{"keyid": key_id(key.algorithm, key.public), "sig": b64(key.sign(message))} for key in keys],
    }


class Node:
    """A node: its keys by use, its key document, its identity."""

    def __init__(
        self,
        name: str,
        roles: list[str],
        uses: list[str],
        *,
        p256: bool = False,
        members: dict[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.roles = roles
        self.keys: dict[str, Any] = {}
        for use in uses:
            if use == "vote":
                self.keys[use] = Secp256k1(f"{name}/{use}")
            elif use == "statement" and p256:
                self.keys[use] = P256(f"{name}/{use}")
            else:
                self.keys[use] = Ed25519(f"{name}/{use}")
        self.document = {
            "type": "urn:holdfast:key-document:v1",
            "name": name,
            "roles": sorted(roles),
            "software": "holdfast vectors",
            "keys": [
                {"use": use, "algorithm": key.algorithm, "public": b64(key.public)} for use, key in self.keys.items()
            ],
            **(members or {}),
        }
        self.raw = jcs(self.document)
        self.id = sha(self.raw).hex()

    @property
    def statement_key(self) -> Any:
        """The key that signs statements and marks."""
        return self.keys["statement"]
