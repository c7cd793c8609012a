"""Strict text encodings, one spelling each (``spec/conventions.md`` §2).

Every decoder re-encodes and compares, so a second spelling of the same bytes is refused instead of normalised.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import hashlib
import re

from holdfast.errors import MalformedError

_HEX = re.compile(r"(?:[0-9a-f]{2})*\Z")
_CODE = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*\Z")
_MAX_CODE = 64
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T(?!24)\d{2}:\d{2}:\d{2}\.\d{3}Z\Z", re.ASCII)
"""Midnight has one spelling, which is not hour 24 of the day before; newer Pythons read that too."""


def is_code(value: object) -> bool:
    """Whether a value is a code (``conventions.md`` §4(4))."""
    return isinstance(value, str) and len(value) <= _MAX_CODE and _CODE.match(value) is not None


def hex_decode(text: object, size_bytes: int | None = None) -> bytes:
    """Lower-case hex without prefix to bytes. Raises ``encoding.hex``; ``size_bytes`` fixes the length."""
    if not isinstance(text, str) or _HEX.match(text) is None:
        raise MalformedError("encoding.hex", "expected lower-case hex without a prefix")
    value = bytes.fromhex(text)
    if size_bytes is not None and len(value) != size_bytes:
        raise MalformedError("encoding.hex", f"expected {size_bytes} bytes of hex, got {len(value)}")
    return value


def b64_encode(value: bytes) -> str:
    """Bytes to standard base64 with padding (RFC 4648 §4)."""
    return binascii.b2a_base64(value, newline=False).decode("ascii")


def b64_decode(text: object, size_bytes: int | None = None) -> bytes:
    """Standard padded base64 to bytes; any other spelling raises ``encoding.base64``."""
    if not isinstance(text, str):
        raise MalformedError("encoding.base64", "expected a base64 string")
    try:
        value = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedError("encoding.base64", "not standard base64") from error
    if b64_encode(value) != text:
        raise MalformedError("encoding.base64", "base64 with non-zero trailing bits")
    if size_bytes is not None and len(value) != size_bytes:
        raise MalformedError("encoding.base64", f"expected {size_bytes} bytes, got {len(value)}")
    return value


def time_encode(value: dt.datetime) -> str:
    """An aware datetime to RFC 3339 UTC with milliseconds, for example ``2026-01-01T00:00:00.000Z``."""
    if value.tzinfo is None:
        raise MalformedError("encoding.time", "times carry a zone")
    return value.astimezone(dt.UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def time_decode(text: object) -> dt.datetime:
    """The one spelling of a time (milliseconds, ``Z``) to an aware datetime; raises ``encoding.time``."""
    if not isinstance(text, str) or _TIME.match(text) is None:
        raise MalformedError("encoding.time", "expected RFC 3339 UTC with milliseconds, like 2026-01-01T00:00:00.000Z")
    try:
        return dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise MalformedError("encoding.time", "no such moment") from error


def sha256(data: bytes) -> bytes:
    """SHA-256, 32 bytes."""
    return hashlib.sha256(data).digest()


def sha256_hex(data: bytes) -> str:
    """SHA-256 as 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()
