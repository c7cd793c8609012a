"""The part of CBOR (RFC 8949) that attestation documents are made of, in one spelling (``spec/attestation.md`` §4.1).

Integers, byte strings, texts, arrays, maps and null. Lengths and integers are minimal, lengths definite, map keys are
integers or texts and occur once. Where the caller says so, a map at the top may be of indefinite length (the Nitro
security module writes its payload that way, inside what is signed), and booleans are read (it answers with them).

Not covered: tags, floats, undefined, chunked strings; each is refused.
"""

from __future__ import annotations

from typing import Any

from holdfast.errors import MalformedError

MAX_DEPTH = 4
"""Deeper nesting is refused; a Nitro document needs two levels."""
_WIDTHS = {24: 1, 25: 2, 26: 4, 27: 8}
_LEAST = {24: 24, 25: 1 << 8, 26: 1 << 16, 27: 1 << 32}
"""The least number that needs each width (RFC 8949 §4.2.1)."""
_INDEFINITE_MAP = 0xBF
_BREAK = 0xFF
_NULL = 0xF6
_BOOLEANS = {b"\xf4": False, b"\xf5": True}


def decode(data: bytes, *, indefinite: bool = False, booleans: bool = False) -> Any:
    """One value that fills ``data``: int, bytes, str, list, dict or None. Raises ``cbor.*``.

    ``indefinite`` lets a map at the top be of indefinite length; ``booleans`` lets true and false occur.
    """
    if indefinite and data[:1] == bytes([_INDEFINITE_MAP]):
        value, end = _map(data, 1, None, 1, booleans)
    else:
        value, end = _value(data, 0, 0, booleans)
    if end != len(data):
        raise MalformedError("cbor.trailing", f"{len(data) - end} bytes follow the value")
    return value


def encode(value: Any) -> bytes:
    """One value of int, bool, bytes, str, list, dict or None, in the spelling that :func:`decode` reads.

    Members of a map stand in the order of the mapping.
    """
    match value:
        case None:
            return bytes([_NULL])
        case bool():
            return b"\xf5" if value else b"\xf4"
        case int():
            return encode_head(0, value) if value >= 0 else encode_head(1, -1 - value)
        case bytes():
            return encode_bytes(value)
        case str():
            return encode_text(value)
        case dict():
            return encode_head(5, len(value)) + b"".join(encode(item) for pair in value.items() for item in pair)
        case _:
            return encode_head(4, len(value)) + b"".join(map(encode, value))


def encode_head(major: int, number: int) -> bytes:
    """The first bytes of an item of a major type: its number or length, minimal."""
    if number < _LEAST[24]:
        return bytes([major << 5 | number])
    code = next(code for code in (24, 25, 26, 27) if code == 27 or number < _LEAST[code + 1])
    return bytes([major << 5 | code]) + number.to_bytes(_WIDTHS[code], "big")


def encode_bytes(value: bytes) -> bytes:
    """A byte string."""
    return encode_head(2, len(value)) + value


def encode_text(value: str) -> bytes:
    """A text."""
    raw = value.encode()
    return encode_head(3, len(raw)) + raw


def _head(data: bytes, at: int) -> tuple[int, int, int]:
    """Major type, number, and where the item goes on."""
    if at >= len(data):
        raise MalformedError("cbor.truncated", "the bytes end inside a value")
    first = data[at]
    major, short = first >> 5, first & 31
    if major > 5:
        raise MalformedError("cbor.type", "tags, floats and simple values other than null do not occur here")
    if short < 24:
        return major, short, at + 1
    width = _WIDTHS.get(short)
    if width is None:
        raise MalformedError("cbor.type", f"the first byte {first:#04x} begins nothing that is allowed here")
    end = at + 1 + width
    if end > len(data):
        raise MalformedError("cbor.truncated", "the bytes end inside a value")
    number = int.from_bytes(data[at + 1 : end], "big")
    if number < _LEAST[short]:
        raise MalformedError("cbor.spelling", "a number is written longer than it needs to be")
    return major, number, end


def _value(data: bytes, at: int, depth: int, booleans: bool) -> tuple[Any, int]:
    if depth > MAX_DEPTH:
        raise MalformedError("cbor.depth", f"nested deeper than {MAX_DEPTH} levels")
    if data[at : at + 1] == bytes([_NULL]):
        return None, at + 1
    if booleans and data[at : at + 1] in _BOOLEANS:
        return _BOOLEANS[data[at : at + 1]], at + 1
    major, number, at = _head(data, at)
    match major:
        case 0:
            return number, at
        case 1:
            return -1 - number, at
        case 2 | 3:
            return _string(data, at, number, text=major == 3)
        case 4:
            items = []
            for _ in range(number):
                item, at = _value(data, at, depth + 1, booleans)
                items.append(item)
            return items, at
        case _:
            return _map(data, at, number, depth + 1, booleans)


def _string(data: bytes, at: int, size: int, *, text: bool) -> tuple[bytes | str, int]:
    raw = data[at : at + size]
    if len(raw) != size:
        raise MalformedError("cbor.truncated", "the bytes end inside a string")
    if not text:
        return raw, at + size
    try:
        return raw.decode("utf-8"), at + size
    except UnicodeDecodeError as error:
        raise MalformedError("cbor.utf8", "a text is not UTF-8") from error


def _map(data: bytes, at: int, pairs: int | None, depth: int, booleans: bool) -> tuple[dict[int | str, Any], int]:
    """``pairs`` of key and value, or up to the break byte when it is None."""
    found: dict[int | str, Any] = {}
    while pairs is None or len(found) < pairs:
        if pairs is None and data[at : at + 1] == bytes([_BREAK]):
            return found, at + 1
        key, at = _value(data, at, depth, booleans)
        if not isinstance(key, int | str) or isinstance(key, bool):
            raise MalformedError("cbor.type", "a map key is an integer or a text")
        if key in found:
            raise MalformedError("cbor.duplicate_key", f"the key {key!r} appears twice in one map")
        found[key], at = _value(data, at, depth, booleans)
    return found, at
