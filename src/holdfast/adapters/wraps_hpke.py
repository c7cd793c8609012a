"""Wraps over RFC 9180 (``spec/sealed.md`` §2): made with this machine's randomness, opened with a key in a file.

Making and opening are OpenSSL's through ``cryptography``. Anyone who can read a recipient's file can read every run
that was wrapped to it (``docs/operate/keys-and-stores.md``).
"""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from holdfast.adapters.key_files import create_private_key, read_private_key
from holdfast.core.keys import PublicKey
from holdfast.core.wraps import SUITE, open_wrap, wrap_info
from holdfast.errors import UsageError


def wrap_secret(recipient: bytes, run: str, secret: bytes) -> bytes:
    """A run secret (32 bytes) wrapped for this run (id) to an X25519 public key (32 bytes): 80 bytes."""
    return SUITE.encrypt(secret, X25519PublicKey.from_public_bytes(recipient), info=wrap_info(run))


class FileRecipient:
    """Opens wraps with a key that was loaded from a file; never shows it."""

    __slots__ = ("_key", "_private")

    def __init__(self, private: X25519PrivateKey) -> None:
        raw = serialization.Encoding.Raw
        self._private = private.private_bytes(raw, serialization.PrivateFormat.Raw, serialization.NoEncryption())
        self._key = PublicKey("hpke", "x25519", private.public_key().public_bytes(raw, serialization.PublicFormat.Raw))

    @property
    def key(self) -> PublicKey:
        """The public half."""
        return self._key

    def open(self, run: str, wrap: bytes) -> bytes:
        """The run secret; raises ``wrap.size`` or ``wrap.open``."""
        return open_wrap(self._private, run, wrap)


def load_recipient(path: Path) -> FileRecipient:
    """Load a key. Raises ``signer.file``, ``signer.permissions`` or ``signer.key``."""
    private = read_private_key(path)
    if not isinstance(private, X25519PrivateKey):
        raise UsageError("signer.key", f"{path} is no X25519 key")
    return FileRecipient(private)


def load_or_create_recipient(path: Path) -> FileRecipient:
    """Load the key, or make one where there is none."""
    if not path.exists():
        create_private_key(path, X25519PrivateKey.generate())
    return load_recipient(path)
