"""secp256k1 keys: vote keys, and the keys that pay for transactions on a chain.

A key is a file of 64 hex digits and a newline, mode 0600, as Ethereum tools read and write it. Signatures are
deterministic (RFC 6979) with a low ``s``; ``sign`` takes the 32-byte digest and returns ``r ‖ s ‖ v`` (65 bytes).
Rules: a file that others can read is refused; the private key is never shown, printed or logged.
Not covered: Ed25519 and P-256 (``adapters/signer_files.py``), keys in hardware.
"""

from __future__ import annotations

from pathlib import Path

from coincurve import PrivateKey

from holdfast.adapters.key_files import create_secret, read_secret
from holdfast.core import evm
from holdfast.core.encoding import hex_decode
from holdfast.core.keys import PublicKey
from holdfast.errors import MalformedError, UsageError

ALGORITHM = "secp256k1"


class Secp256k1Signer:
    """Signs 32-byte digests; implements ``ports.signer.Signer``."""

    __slots__ = ("_address", "_key", "_private")

    def __init__(self, private: bytes, use: str = "vote") -> None:
        """``private`` is the 32-byte scalar; raises ``signer.key`` if it is out of range."""
        try:
            self._private = PrivateKey(private)
        except ValueError as error:
            raise UsageError("signer.key", "not a secp256k1 private key") from error
        public = self._private.public_key.format(compressed=True)
        self._key = PublicKey(use, ALGORITHM, public)
        self._address = evm.address_of(public)

    @property
    def key(self) -> PublicKey:
        """The public half and its use."""
        return self._key

    @property
    def address(self) -> str:
        """The address of this key on any EVM chain."""
        return self._address

    def sign(self, message: bytes) -> bytes:
        """65 bytes ``r ‖ s ‖ v`` over a 32-byte digest; raises ``signer.digest`` for another length."""
        if len(message) != 32:
            raise UsageError("signer.digest", "secp256k1 signs a 32-byte digest")
        raw = self._private.sign_recoverable(message, hasher=None)
        return raw[:64] + bytes([raw[64] + 27])

    def __repr__(self) -> str:
        return f"Secp256k1Signer({self._address})"


def load_signer(path: Path, use: str = "vote") -> Secp256k1Signer:
    """Load a key. Raises ``signer.file``, ``signer.permissions`` or ``signer.key``."""
    text = read_secret(path)
    try:
        private = hex_decode(text.decode("ascii").strip().removeprefix("0x"), 32)
    except (MalformedError, UnicodeDecodeError) as error:
        raise UsageError("signer.key", f"{path} does not hold 64 hex digits") from error
    return Secp256k1Signer(private, use)


def load_or_create_signer(path: Path, use: str = "vote") -> Secp256k1Signer:
    """Load the key, or make one where there is none. Two processes that race for it end up with the same key."""
    if not path.exists():
        create_secret(path, PrivateKey().secret.hex().encode() + b"\n")
    return load_signer(path, use)
