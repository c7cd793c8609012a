"""What a memory node keeps, sealed (``spec/memory.md`` §8).

Rules: pure; nonces, salts and keys are arguments. Every value is bound to its place, so nothing opens where it was not
put. Lengths are hidden up to a multiple of 256 bytes.

Not covered: argon2id itself (``adapters/passwords_argon2``), and how many values one user has.
"""

from __future__ import annotations

import base64
import contextlib
import re
from collections.abc import Iterable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from holdfast.core.encoding import b64_decode
from holdfast.errors import MalformedError, RefusedError

KEY_BYTES = 32
"""Size of data keys, rows' keys and secrets."""
NONCE_BYTES = 12
SALT_BYTES = 16
WRAP_KINDS = ("api_key", "passphrase")
"""What a data key is wrapped for."""
API_KEY_PREFIX = "hfm_"
_VERSION = b"\x01"
_DOMAIN = b"holdfast/memory/v1\x00"
_WRAP = b"holdfast/memory/wrap/v1"
_BLOCK = 256
_STANDARD = str.maketrans("-_", "+/")
_API_KEY = re.compile(r"hfm_([0-9a-f]{16})\.([A-Za-z0-9_-]{43})\Z")


def seal(key: bytes, nonce: bytes, place: str, data: bytes) -> bytes:
    """``data`` encrypted for one place; ``nonce`` is 12 random bytes."""
    plain = len(data).to_bytes(4, "big") + data
    padded = plain + bytes(-len(plain) % _BLOCK)
    return _VERSION + nonce + AESGCM(key).encrypt(nonce, padded, _DOMAIN + place.encode())


def open_sealed(key: bytes, place: str, sealed: bytes) -> bytes:
    """What was sealed for this place. Raises ``memory.sealed``."""
    if sealed[:1] == _VERSION and len(sealed) > 1 + NONCE_BYTES:
        nonce, text = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
        try:
            plain = AESGCM(key).decrypt(nonce, text, _DOMAIN + place.encode())
        except InvalidTag:
            plain = b""
        size = int.from_bytes(plain[:4], "big")
        if 4 <= 4 + size <= len(plain):
            return plain[4 : 4 + size]
    raise RefusedError(
        "memory.sealed",
        "what is stored here does not open with this key",
        hint="the store was changed from outside, or another key sealed it; nothing was removed",
        status=500,
    )


def key_place(user: str, row: str) -> str:
    """The place of a row's key."""
    return f"key/{user}/{row}"


def event_place(user: str, row: str, previous: str | None) -> str:
    """The place of an event, after the one with digest ``previous``."""
    return f"event/{user}/{row}/{previous or 'first'}"


def beside_place(user: str, row: str, name: str) -> str:
    """The place of something that is kept beside a row."""
    return f"beside/{user}/{row}/{name}"


def wrap_place(user: str, wrap: str, kind: str, scopes: Iterable[str], expires_at: str | None) -> str:
    """The place of a wrapped data key."""
    return f"wrap/{user}/{wrap}/{kind}/{' '.join(sorted(scopes))}/{expires_at or 'never'}"


def wrapping_key(secret: bytes, salt: bytes) -> bytes:
    """The key of a wrap, from an API key's secret or from argon2id of a passphrase."""
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=salt, info=_WRAP).derive(secret)


def format_api_key(wrap: str, secret: bytes) -> str:
    """An API key as its owner keeps it."""
    return f"{API_KEY_PREFIX}{wrap}.{base64.urlsafe_b64encode(secret).rstrip(b'=').decode()}"


def parse_api_key(text: str) -> tuple[str, bytes]:
    """An API key to the wrap's id and the secret. Raises ``memory.api_key`` (401)."""
    match = _API_KEY.match(text)
    if match is not None:
        with contextlib.suppress(MalformedError):
            return match[1], b64_decode(match[2].translate(_STANDARD) + "=", KEY_BYTES)
    raise MalformedError(
        "memory.api_key",
        "this is no API key of a memory node",
        hint=f"it begins with {API_KEY_PREFIX} and goes into the header X-API-Key",
        status=401,
    )
