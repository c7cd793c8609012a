"""Private keys in files: Ed25519 and P-256 behind ``ports/signer.py``.

Files are as ``key_files`` says. Anyone who can read one can sign as the node; ``docs/operate/keys-and-stores.md`` says
what that means per key.

Not covered: keys in hardware or enclaves, encryption at rest, and secp256k1 (``adapters/signer_secp256k1.py``).
"""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from holdfast.adapters.key_files import create_private_key, read_private_key
from holdfast.core.keys import PublicKey
from holdfast.errors import UsageError

ALGORITHMS = ("ed25519", "p256")
"""What this adapter makes and loads."""
_P256_BYTES = 32

PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey


class FileSigner:
    """Signs with a key that was loaded from a file; never shows it."""

    __slots__ = ("_key", "_private")

    def __init__(self, private: PrivateKey, use: str) -> None:
        self._private = private
        self._key = PublicKey(use, *_public(private))

    @property
    def key(self) -> PublicKey:
        """The public half and its use."""
        return self._key

    def sign(self, message: bytes) -> bytes:
        """Ed25519: 64 bytes (RFC 8032). P-256: ECDSA with SHA-256, ``r ‖ s``, 64 bytes."""
        if isinstance(self._private, ed25519.Ed25519PrivateKey):
            return self._private.sign(message)
        r, s = decode_dss_signature(self._private.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(_P256_BYTES) + s.to_bytes(_P256_BYTES)


def load_signer(path: Path, use: str) -> FileSigner:
    """Load a key. Raises ``signer.file``, ``signer.permissions`` or ``signer.key``."""
    private = read_private_key(path)
    if isinstance(private, ec.EllipticCurvePrivateKey) and isinstance(private.curve, ec.SECP256R1):
        return FileSigner(private, use)
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return FileSigner(private, use)
    raise UsageError("signer.key", f"{path} is neither an Ed25519 nor a P-256 key")


def load_or_create_signer(path: Path, use: str, algorithm: str = "ed25519") -> FileSigner:
    """Load the key, or make one where there is none. Two processes that race for it end up with the same key."""
    if algorithm not in ALGORITHMS:
        raise UsageError("signer.algorithm", f"keys in files are {' or '.join(ALGORITHMS)}, not {algorithm}")
    if not path.exists():
        _create(path, algorithm)
    signer = load_signer(path, use)
    if signer.key.algorithm != algorithm:
        raise UsageError("signer.algorithm", f"{path} holds a {signer.key.algorithm} key, not {algorithm}")
    return signer


def _create(path: Path, algorithm: str) -> None:
    private: PrivateKey = (
        ed25519.Ed25519PrivateKey.generate() if algorithm == "ed25519" else ec.generate_private_key(ec.SECP256R1())
    )
    create_private_key(path, private)


def _public(private: PrivateKey) -> tuple[str, bytes]:
    public = private.public_key()
    if isinstance(public, ed25519.Ed25519PublicKey):
        return "ed25519", public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    point = public.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)
    return "p256", point
