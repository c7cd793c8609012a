"""Private keys in files: Ed25519 and P-256 behind ``ports/signer.py``.

A key is one unencrypted PKCS #8 PEM file with mode 0600, written whole or not at all. Anyone who can read the file can
sign as the node; ``docs/operate/keys-and-stores.md`` says what that means per key. Files that group or others may read
are refused, so that a careless copy does not go unnoticed.

Not covered: keys in hardware or enclaves, encryption at rest, and secp256k1 (``adapters/signer_secp256k1.py``).
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from holdfast.core.keys import PublicKey
from holdfast.errors import UnavailableError, UsageError

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
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            data = file.read(1 << 16)
    except OSError as error:
        raise UnavailableError("signer.file", f"cannot read the key {path}: {error.strerror}") from error
    if mode & 0o077:
        message = f"the key {path} is open to others (mode {mode:04o})"
        raise UsageError("signer.permissions", message, hint=f"chmod 600 {path}")
    try:
        private = serialization.load_pem_private_key(data, None)
    except (ValueError, TypeError) as error:
        raise UsageError("signer.key", f"{path} is not an unencrypted PKCS #8 key") from error
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
    """Write a new key under a temporary name, make it durable, then link it into place if nobody was first."""
    private: PrivateKey = (
        ed25519.Ed25519PrivateKey.generate() if algorithm == "ed25519" else ec.generate_private_key(ec.SECP256R1())
    )
    data = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(temporary, path)
            except FileExistsError:
                return  # somebody else was first; theirs is the key
        finally:
            temporary.unlink(missing_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise UnavailableError("signer.file", f"cannot write the key {path}: {error.strerror}") from error


def _public(private: PrivateKey) -> tuple[str, bytes]:
    public = private.public_key()
    if isinstance(public, ed25519.Ed25519PublicKey):
        return "ed25519", public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    point = public.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)
    return "p256", point
