"""Hybrid public key encryption with contexts (RFC 9180), as far as OHTTP needs it (``spec/ohttp.md`` §2).

Base mode, DHKEM(X25519, HKDF-SHA256) and HKDF-SHA256, with AES-128-GCM or ChaCha20-Poly1305. A context seals or opens
messages in order and exports secrets, which the single-shot HPKE of ``cryptography`` does not; curves and ciphers are
OpenSSL's through ``cryptography``. The ephemeral key is an argument: whoever calls draws it and uses it once.

Not covered: the other modes, KEMs and KDFs.
"""

from __future__ import annotations

import functools
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from holdfast.errors import MalformedError, RefusedError, UsageError

KEM_ID = 0x0020
"""DHKEM(X25519, HKDF-SHA256) (RFC 9180 §7.1)."""
KDF_ID = 0x0001
"""HKDF-SHA256 (RFC 9180 §7.2)."""
KEY_BYTES = 32
"""Npk, Nsk and Nenc of the KEM."""
NONCE_BYTES = 12
"""Nn of both AEADs."""
TAG_BYTES = 16
"""Nt of both AEADs."""
_KEM_SUITE = b"KEM" + KEM_ID.to_bytes(2, "big")
_MAX_SEQUENCE = (1 << (8 * NONCE_BYTES)) - 1
"""RFC 9180 §5.2: no context uses a nonce twice."""

Cipher: TypeAlias = AESGCM | ChaCha20Poly1305


@dataclass(frozen=True, slots=True)
class AEAD:
    """An authenticated cipher (RFC 9180 §7.3)."""

    id: int
    name: str
    key_bytes: int
    """Nk."""
    cipher: Callable[[bytes], Cipher] = field(repr=False)

    @property
    def suite(self) -> bytes:
        """``suite_id`` (RFC 9180 §5.1)."""
        return b"HPKE" + KEM_ID.to_bytes(2, "big") + KDF_ID.to_bytes(2, "big") + self.id.to_bytes(2, "big")


AES_128_GCM = AEAD(0x0001, "aes-128-gcm", 16, AESGCM)
CHACHA20_POLY1305 = AEAD(0x0003, "chacha20-poly1305", 32, ChaCha20Poly1305)


class Sealer:
    """Seals messages under one key; the nonce counts them."""

    __slots__ = ("_base", "_encrypt", "_sequence")

    def __init__(self, aead: AEAD, key: bytes, base_nonce: bytes) -> None:
        self._encrypt = aead.cipher(key).encrypt
        self._base = int.from_bytes(base_nonce, "big")
        self._sequence = 0

    def seal(self, plaintext: bytes, aad: bytes = b"") -> bytes:
        """The next message: ciphertext and tag."""
        sequence = self._sequence
        if sequence >= _MAX_SEQUENCE:
            raise UsageError("hpke.sequence", "this context has sealed as many messages as it may")
        self._sequence = sequence + 1
        return self._encrypt((self._base ^ sequence).to_bytes(NONCE_BYTES, "big"), plaintext, aad)


class Opener:
    """Opens what a :class:`Sealer` of the same key sealed, in the same order and nothing else."""

    __slots__ = ("_base", "_decrypt", "_sequence")

    def __init__(self, aead: AEAD, key: bytes, base_nonce: bytes) -> None:
        self._decrypt = aead.cipher(key).decrypt
        self._base = int.from_bytes(base_nonce, "big")
        self._sequence = 0

    def open(self, ciphertext: bytes | bytearray, aad: bytes = b"") -> bytes:
        """The next message. Raises ``hpke.open`` and then expects the same one again (RFC 9180 §5.2)."""
        sequence = self._sequence
        try:
            plaintext = self._decrypt((self._base ^ sequence).to_bytes(NONCE_BYTES, "big"), ciphertext, aad)
        except (InvalidTag, ValueError) as error:
            raise RefusedError(
                "hpke.open", "the message was changed, or is not the next one of this context"
            ) from error
        self._sequence = sequence + 1
        return plaintext


class Schedule:
    """What both sides of a context derive: the key and nonce of its messages, and secrets to export."""

    __slots__ = ("_exporter_secret", "_suite", "aead", "base_nonce", "key")

    def __init__(self, aead: AEAD, shared_secret: bytes, info: bytes) -> None:
        suite, context = _key_schedule_context(aead, info)
        secret = labeled_extract(suite, shared_secret, b"secret", b"")
        self.aead = aead
        self.key = labeled_expand(suite, secret, b"key", context, aead.key_bytes)
        self.base_nonce = labeled_expand(suite, secret, b"base_nonce", context, NONCE_BYTES)
        self._exporter_secret = labeled_expand(suite, secret, b"exp", context, 32)
        self._suite = suite

    def sealer(self) -> Sealer:
        """For the sender's messages, from the first on."""
        return Sealer(self.aead, self.key, self.base_nonce)

    def opener(self) -> Opener:
        """For the recipient, from the first message on."""
        return Opener(self.aead, self.key, self.base_nonce)

    def export(self, context: bytes, size_bytes: int) -> bytes:
        """A secret that both sides have (RFC 9180 §5.3)."""
        return labeled_expand(self._suite, self._exporter_secret, b"sec", context, size_bytes)


def setup_sender(aead: AEAD, recipient: bytes, ephemeral: bytes, info: bytes) -> tuple[bytes, Schedule]:
    """SetupBaseS: ``enc`` (32 bytes) and the context. ``ephemeral`` is an X25519 private key (32 random bytes).

    Raises ``hpke.key`` where the recipient's public key is none that can be used.
    """
    private, enc = _private(ephemeral)
    return enc, Schedule(aead, _shared(private, recipient, enc + recipient), info)


class RecipientKey:
    """A recipient's X25519 key pair."""

    __slots__ = ("_private", "public")

    def __init__(self, private: bytes) -> None:
        self._private, self.public = _private(private)

    def setup(self, aead: AEAD, enc: bytes, info: bytes) -> Schedule:
        """SetupBaseR for the encapsulated key of a sender. Raises ``hpke.key``."""
        return Schedule(aead, _shared(self._private, enc, enc + self.public), info)


def derive_key_pair(ikm: bytes) -> bytes:
    """DeriveKeyPair (RFC 9180 §7.1.3): an X25519 private key from at least 32 bytes of secret randomness."""
    if len(ikm) < KEY_BYTES:
        raise UsageError("hpke.key", f"a key is derived from at least {KEY_BYTES} random bytes")
    return labeled_expand(_KEM_SUITE, labeled_extract(_KEM_SUITE, b"", b"dkp_prk", ikm), b"sk", b"", KEY_BYTES)


def extract(salt: bytes, ikm: bytes) -> bytes:
    """HKDF-Extract with SHA-256 (RFC 5869)."""
    return hmac.digest(salt or bytes(32), ikm, "sha256")


def expand(prk: bytes, info: bytes, size_bytes: int) -> bytes:
    """HKDF-Expand with SHA-256 (RFC 5869), to at most 32 bytes: one block is all that is needed here."""
    if size_bytes > 32:
        raise UsageError("hpke.export", "at most 32 bytes are exported here")
    return hmac.digest(prk, info + b"\x01", "sha256")[:size_bytes]


def labeled_extract(suite: bytes, salt: bytes, label: bytes, ikm: bytes) -> bytes:
    """LabeledExtract (RFC 9180 §4)."""
    return extract(salt, b"HPKE-v1" + suite + label + ikm)


def labeled_expand(suite: bytes, prk: bytes, label: bytes, info: bytes, size_bytes: int) -> bytes:
    """LabeledExpand (RFC 9180 §4)."""
    return expand(prk, size_bytes.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info, size_bytes)


@functools.lru_cache(maxsize=64)
def _key_schedule_context(aead: AEAD, info: bytes) -> tuple[bytes, bytes]:
    """``suite_id`` and ``key_schedule_context`` of base mode (RFC 9180 §5.1). Public values, of few infos."""
    suite = aead.suite
    psk_id_hash = labeled_extract(suite, b"", b"psk_id_hash", b"")
    return suite, b"\x00" + psk_id_hash + labeled_extract(suite, b"", b"info_hash", info)


def _private(raw: bytes) -> tuple[X25519PrivateKey, bytes]:
    """A private key and its public half. A wrong size is the caller's mistake: these bytes never come from outside."""
    if len(raw) != KEY_BYTES:
        raise UsageError("hpke.key", f"an X25519 private key has {KEY_BYTES} bytes")
    private = X25519PrivateKey.from_private_bytes(raw)
    return private, private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def _shared(private: X25519PrivateKey, public: bytes, kem_context: bytes) -> bytes:
    """ExtractAndExpand over the exchange (RFC 9180 §4.1); a point of small order is refused (§7.1.4)."""
    try:
        exchanged = private.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError as error:
        raise MalformedError("hpke.key", "not an X25519 public key that can be used") from error
    prk = labeled_extract(_KEM_SUITE, b"", b"eae_prk", exchanged)
    return labeled_expand(_KEM_SUITE, prk, b"shared_secret", kem_context, 32)
