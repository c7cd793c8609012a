"""A private key that signs, wherever it lives (file, enclave, hardware module)."""

from __future__ import annotations

from typing import Protocol

from holdfast.core.keys import PublicKey


class Signer(Protocol):
    """Signs with one private key; never shows it."""

    @property
    def key(self) -> PublicKey:
        """The public half and its use."""
        ...

    def sign(self, message: bytes) -> bytes:
        """A signature over ``message``: Ed25519 64 bytes, P-256 ``r ‖ s``; for secp256k1 ``message`` is the 32-byte
        digest and the result is ``r ‖ s ‖ v`` (65 bytes, v 27 or 28)."""
        ...
