"""The key that sealed requests are opened with, in a file (``spec/ohttp.md`` §3).

Whoever can read the file reads every request that was ever sealed to it and recorded: there is no forward secrecy on
the gateway's side of OHTTP (``docs/operate/keys-and-stores.md``).
"""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from holdfast.adapters.key_files import create_private_key, read_private_key
from holdfast.core.ohttp import GatewayKey
from holdfast.errors import UsageError

KEY_ID = 1
"""A gateway has one key configuration, for everybody (``ohttp.md`` §3(2))."""


def load_gateway_key(path: Path) -> GatewayKey:
    """Load a key. Raises ``signer.file``, ``signer.permissions`` or ``signer.key``."""
    private = read_private_key(path)
    if not isinstance(private, X25519PrivateKey):
        raise UsageError("signer.key", f"{path} is no X25519 key")
    raw = serialization.Encoding.Raw
    return GatewayKey(KEY_ID, private.private_bytes(raw, serialization.PrivateFormat.Raw, serialization.NoEncryption()))


def load_or_create_gateway_key(path: Path) -> GatewayKey:
    """Load the key, or make one where there is none."""
    if not path.exists():
        create_private_key(path, X25519PrivateKey.generate())
    return load_gateway_key(path)
