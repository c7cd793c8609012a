"""Wraps over RFC 9180 (``spec/sealed.md`` §2, ``spec/artifacts.md`` §11(3)): made with this machine's randomness,
opened with a key in a file.

Making and opening are OpenSSL's through ``cryptography``. Anyone who can read a recipient's file can read every run
and every model that was wrapped to it (``docs/operate/keys-and-stores.md``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from holdfast.adapters.key_files import create_private_key, read_private_key
from holdfast.core.credentials import MAX_CREDENTIAL_BYTES, credential_info, open_credential
from holdfast.core.keys import PublicKey, parse_key_document
from holdfast.core.sealed_models import INFO, OpenedModel, open_files, open_model
from holdfast.core.wraps import SUITE, open_wrap, wrap_info
from holdfast.errors import MalformedError, UsageError


def wrap_secret(recipient: bytes, run: str, secret: bytes) -> bytes:
    """A run secret (32 bytes) wrapped for this run (id) to an X25519 public key (32 bytes): 80 bytes."""
    return SUITE.encrypt(secret, X25519PublicKey.from_public_bytes(recipient), info=wrap_info(run))


def wrap_model_key(recipient: bytes, opening: bytes) -> bytes:
    """What opens a sealed model (64 bytes) wrapped to an X25519 public key (32 bytes): 112 bytes."""
    return SUITE.encrypt(opening, X25519PublicKey.from_public_bytes(recipient), info=INFO)


def seal_credential(recipient: bytes, name: str, secret: bytes) -> bytes:
    """A credential sealed under its name to an X25519 public key (32 bytes); raises ``credential.size``."""
    if not 0 < len(secret) <= MAX_CREDENTIAL_BYTES:
        raise UsageError("credential.size", f"a credential has 1 to {MAX_CREDENTIAL_BYTES} bytes")
    return SUITE.encrypt(secret, X25519PublicKey.from_public_bytes(recipient), info=credential_info(name))


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

    def open_model(self, readers: bytes, index: bytes) -> OpenedModel:
        """A sealed model; raises what :func:`holdfast.core.sealed_models.open_model` raises."""
        return open_model(self._private, readers, index)

    def open_files(self, files: Mapping[str, bytes]) -> dict[str, bytes]:
        """The files of a sealed model; raises what :func:`holdfast.core.sealed_models.open_files` raises."""
        return open_files(self._private, files)

    def open_credential(self, name: str, sealed: bytes) -> bytes:
        """A source's credential; raises ``credential.size`` or ``credential.open``."""
        return open_credential(self._private, name, sealed)


def load_recipient(path: Path) -> FileRecipient:
    """Load a key. Raises ``signer.file``, ``signer.permissions`` or ``signer.key``."""
    private = read_private_key(path)
    if not isinstance(private, X25519PrivateKey):
        raise UsageError("signer.key", f"{path} is no X25519 key")
    return FileRecipient(private)


def read_reader(path: Path) -> PublicKey:
    """Whom to write to, from a file: a key document that names a key of use ``hpke``, or an X25519 key in PEM, of which
    the public half is taken. Raises ``sealed_model.key``."""
    raw = path.read_bytes() if path.is_file() else b""
    with contextlib.suppress(MalformedError):
        found = parse_key_document(raw).key_for("hpke")
        if found is not None:
            return found
    with contextlib.suppress(ValueError, TypeError):
        key = (
            serialization.load_pem_private_key(raw, None).public_key()
            if b"PRIVATE" in raw
            else serialization.load_pem_public_key(raw)
        )
        if isinstance(key, X25519PublicKey):
            return PublicKey("hpke", "x25519", key.public_bytes_raw())
    raise UsageError(
        "sealed_model.key",
        f"{path} holds no key that can be written to",
        hint="a key document with a key of use hpke, or an X25519 key in PEM: openssl genpkey -algorithm x25519",
    )


def load_or_create_recipient(path: Path) -> FileRecipient:
    """Load the key, or make one where there is none."""
    if not path.exists():
        create_private_key(path, X25519PrivateKey.generate())
    return load_recipient(path)
