"""sealed.md: RFC 9180 base mode for one suite, from its sections, and the encryption of documents under a run secret."""

from __future__ import annotations

import hmac
import uuid

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEM, KDF, AEAD = 0x0020, 0x0001, 0x0002
"""RFC 9180 §7: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM."""


def _extract(salt: bytes, ikm: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), ikm, "sha256")


def _expand(prk: bytes, info: bytes, size: int) -> bytes:
    made, block, counter = b"", b"", 1
    while len(made) < size:
        block = hmac.digest(prk, block + info + bytes([counter]), "sha256")
        made, counter = made + block, counter + 1
    return made[:size]


def _labeled_extract(suite: bytes, salt: bytes, label: bytes, ikm: bytes) -> bytes:
    return _extract(salt, b"HPKE-v1" + suite + label + ikm)


def _labeled_expand(suite: bytes, prk: bytes, label: bytes, info: bytes, size: int) -> bytes:
    return _expand(prk, size.to_bytes(2) + b"HPKE-v1" + suite + label + info, size)


def public_of(private: bytes) -> bytes:
    """The X25519 public key, 32 bytes."""
    key = X25519PrivateKey.from_private_bytes(private).public_key()
    return key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def seal(recipient: bytes, ephemeral: bytes, info: bytes, plaintext: bytes, *, aead: int = AEAD) -> bytes:
    """``enc ‖ ct`` (RFC 9180 §4.1, §5.1, §5.2, §6.1) with a given ephemeral private key; ``aead`` 2 or 1."""
    enc = public_of(ephemeral)
    shared = X25519PrivateKey.from_private_bytes(ephemeral).exchange(X25519PublicKey.from_public_bytes(recipient))
    kem = b"KEM" + KEM.to_bytes(2)
    secret = _labeled_expand(kem, _labeled_extract(kem, b"", b"eae_prk", shared), b"shared_secret", enc + recipient, 32)
    suite = b"HPKE" + KEM.to_bytes(2) + KDF.to_bytes(2) + aead.to_bytes(2)
    context = b"\x00" + _labeled_extract(suite, b"", b"psk_id_hash", b"")
    context += _labeled_extract(suite, b"", b"info_hash", info)
    schedule = _labeled_extract(suite, secret, b"secret", b"")
    key = _labeled_expand(suite, schedule, b"key", context, 32 if aead == AEAD else 16)
    nonce = _labeled_expand(suite, schedule, b"base_nonce", context, 12)
    return enc + AESGCM(key).encrypt(nonce, plaintext, b"")


def wrap(recipient: bytes, ephemeral: bytes, run: str, secret: bytes, *, aead: int = AEAD) -> bytes:
    """sealed.md §2(1)."""
    return seal(recipient, ephemeral, b"urn:holdfast:wrap:v1\x00" + run.encode(), secret, aead=aead)


def seal_document(run: str, secret: bytes, document: str, text: bytes) -> bytes:
    """sealed.md §5(3)."""
    prk = hmac.digest(uuid.UUID(run).bytes, secret, "sha256")
    key = _expand(prk, b"holdfast/salt/v1/store/" + document.encode(), 32)
    return AESGCM(key).encrypt(bytes(12), text, document.encode())
