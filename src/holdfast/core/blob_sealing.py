"""Blobs that are sealed before they are stored where anybody may read them (``spec/walrus.md`` §6).

Rules: pure. The key follows from the store's secret and the digest of the content, so the same content under the same
secret is one blob, and no key ever seals two contents. What opens is the content of that digest or nothing.

Not covered: hiding the size, or that two stores with one secret hold the same content.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from holdfast.core.encoding import sha256
from holdfast.errors import MalformedError, RefusedError, UsageError

SECRET_BYTES = 32
"""Size of a store's secret."""
VERSION = b"\x01"
"""First byte of a sealed blob."""
OVERHEAD_BYTES = 17
"""What sealing adds: the version, and the tag of AES-256-GCM."""
_PURPOSE = b"holdfast/blob/v1"
_NONCE = bytes(12)  # each key seals one content, so a counter of zero is never used twice under one key


def _cipher(secret: bytes, digest: bytes) -> AESGCM:
    if len(secret) != SECRET_BYTES:
        raise UsageError("blob.secret", f"the secret of a blob store has {SECRET_BYTES} bytes")
    return AESGCM(HKDF(algorithm=SHA256(), length=32, salt=digest, info=_PURPOSE).derive(secret))


def seal_blob(secret: bytes, data: bytes) -> bytes:
    """``data`` as it may be stored in public. Raises ``blob.secret``."""
    digest = sha256(data)
    return VERSION + _cipher(secret, digest).encrypt(_NONCE, data, VERSION + digest)


def open_blob(secret: bytes, digest: bytes, sealed: bytes) -> bytes:
    """The content with this SHA-256. Raises ``blob.version``, ``blob.sealed`` and ``blob.secret``."""
    if sealed[:1] != VERSION or len(sealed) < OVERHEAD_BYTES:
        raise MalformedError("blob.version", "these bytes are no sealed blob of a version that is known here")
    try:
        data = _cipher(secret, digest).decrypt(_NONCE, sealed[1:], VERSION + digest)
    except InvalidTag:
        data = None
    if data is None or sha256(data) != digest:
        raise RefusedError(
            "blob.sealed", "the blob does not open as this content", hint="is it the secret that it was sealed with?"
        )
    return data
