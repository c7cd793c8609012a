"""Wraps: a run secret encrypted to the panel that reviews the run (``spec/sealed.md`` §2).

:func:`open_wrap` is the recipient's side. It is deterministic and so lives here; making a wrap takes randomness and is
an adapter's (``adapters.wraps_hpke``).

Not covered: who may be written to (trust), and what the secret opens (``core.parts``, ``core.sealing``).
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from holdfast.core.parts import SECRET_BYTES
from holdfast.errors import MalformedError, RefusedError

SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
"""RFC 9180 §7: 0x0020, 0x0001, 0x0002 (``sealed.md`` §2(1))."""
WRAP_BYTES = 32 + SECRET_BYTES + 16
"""An encapsulated X25519 key, the secret, and a GCM tag."""
_INFO = b"urn:holdfast:wrap:v1\x00"


def wrap_info(run: str) -> bytes:
    """``info`` of a wrap: it opens for this run (a run id) and for no other."""
    return _INFO + run.encode()


def open_wrap(private: bytes, run: str, wrap: bytes) -> bytes:
    """The run secret (32 bytes) of a wrap, with the X25519 private key (32 bytes, RFC 7748) it was made for.

    Raises ``wrap.size`` for what is no wrap and ``wrap.open`` for one of another run or key, or that was changed.
    """
    if len(wrap) != WRAP_BYTES:
        raise MalformedError("wrap.size", f"a wrap has {WRAP_BYTES} bytes")
    try:
        return SUITE.decrypt(wrap, X25519PrivateKey.from_private_bytes(private), info=wrap_info(run))
    except (InvalidTag, ValueError) as error:
        raise RefusedError("wrap.open", "this wrap is of another run or for another key, or it was changed") from error
