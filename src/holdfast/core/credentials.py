"""Credentials of sources, sealed to the node that uses them (``spec/sources.md`` §4(4)).

:func:`open_credential` is the node's side; sealing takes randomness and is an adapter's (``adapters.wraps_hpke``). A
sealed credential opens with one key and under one name, so that whoever moves it to another source gains nothing.

Not covered: whether the node may use the source at all (``core.sources``).
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from holdfast.core.wraps import SUITE
from holdfast.errors import MalformedError, RefusedError

MAX_CREDENTIAL_BYTES = 4096
OVERHEAD_BYTES = 32 + 16
"""An encapsulated X25519 key and a GCM tag."""
_INFO = b"urn:holdfast:credential:v1\x00"


def credential_info(name: str) -> bytes:
    """``info`` of a sealed credential: it opens under this name and no other."""
    return _INFO + name.encode()


def open_credential(private: bytes, name: str, sealed: bytes) -> bytes:
    """The credential, with the X25519 private key (32 bytes) it was sealed to. Raises ``credential.size`` and
    ``credential.open``."""
    if not OVERHEAD_BYTES < len(sealed) <= MAX_CREDENTIAL_BYTES + OVERHEAD_BYTES:
        raise MalformedError("credential.size", f"a sealed credential holds 1 to {MAX_CREDENTIAL_BYTES} bytes")
    try:
        return SUITE.decrypt(sealed, X25519PrivateKey.from_private_bytes(private), info=credential_info(name))
    except (InvalidTag, ValueError) as error:
        raise RefusedError(
            "credential.open", f"this is no credential {name!r} sealed to this node, or it was changed"
        ) from error
