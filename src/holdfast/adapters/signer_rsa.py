"""RSA-2048 keys in files: OpenGradient's signing key (``spec/opengradient.md`` §4) behind ``ports/signer.py``.

A key file is as ``key_files`` says. What it signs is one of the hashes of ``core/opengradient.py``; a signature takes
about half a millisecond, so callers on an event loop use a thread.

Not covered: keys in enclaves or hardware, and RSA for anything else.
"""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from holdfast.adapters.key_files import create_private_key, read_private_key
from holdfast.core.keys import PublicKey
from holdfast.core.opengradient import KEY_BITS, KEY_EXPONENT, SALT_BYTES
from holdfast.errors import UsageError

USE, ALGORITHM = "opengradient", "rsa2048"
"""Use and algorithm in a key document (``spec/statement.md`` §5)."""
_PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=SALT_BYTES)


class RSASigner:
    """Signs with a key that was loaded from a file; never shows it."""

    __slots__ = ("_key", "_private")

    def __init__(self, private: rsa.RSAPrivateKey) -> None:
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        public = private.public_key().public_bytes(serialization.Encoding.DER, form)
        self._private = private
        self._key = PublicKey(USE, ALGORITHM, public)

    @property
    def key(self) -> PublicKey:
        """The public half, as DER SubjectPublicKeyInfo."""
        return self._key

    def sign(self, message: bytes) -> bytes:
        """RSASSA-PSS with SHA-256 and a salt of 32 bytes: 256 bytes, another one every time."""
        return self._private.sign(message, _PSS, hashes.SHA256())


def load_rsa_signer(path: Path) -> RSASigner:
    """Load a key. Raises ``signer.file``, ``signer.permissions`` or ``signer.key``."""
    private = read_private_key(path)
    if (
        not isinstance(private, rsa.RSAPrivateKey)
        or private.key_size != KEY_BITS
        or private.public_key().public_numbers().e != KEY_EXPONENT
    ):
        raise UsageError("signer.key", f"{path} is no RSA key of {KEY_BITS} bits with exponent {KEY_EXPONENT}")
    return RSASigner(private)


def load_or_create_rsa_signer(path: Path) -> RSASigner:
    """Load a key, making one first where there is none. Raises as :func:`load_rsa_signer`."""
    if not path.exists():
        create_private_key(path, rsa.generate_private_key(KEY_EXPONENT, KEY_BITS))
    return load_rsa_signer(path)
