"""Strict JSON: one decoder for bytes from outside, one encoder for bytes we sign (``spec/conventions.md`` §3).

``decode`` refuses what JSON parsers disagree about: duplicate keys, NaN, lone surrogates, a byte-order mark, bytes that
are not UTF-8. ``decode_exact`` keeps each number as the text it was written in. ``encode`` writes RFC 8785 for the
subset we use (no floats), so equal values have equal bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from holdfast.errors import MalformedError

MAX_DEPTH = 64
"""Nesting beyond this is refused before it can exhaust a parser's stack (``spec/conventions.md`` §3)."""

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"
"""What ``decode`` returns. ``encode`` takes the same without floats."""


class NumberText(str):
    """A JSON number kept as the exact text it was written in, for example ``1.0`` or ``1e3``."""

    __slots__ = ()


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        places = {key: place for place, (key, _) in enumerate(pairs)}
        twice = next(key for place, (key, _) in enumerate(pairs) if places[key] != place)
        raise MalformedError("json.duplicate_key", f"the key {twice!r} appears twice in one object")
    return value


def _no_constant(text: str) -> Any:
    raise MalformedError("json.number", f"{text} is not JSON")


MAX_INTEGER = 2**53 - 1
"""Largest integer magnitude in signed JSON: what every JSON reader keeps exactly (RFC 7493 §2.2)."""


def _signed_int(text: str) -> int:
    value = int(text)
    if abs(value) > MAX_INTEGER or text == "-0":
        raise MalformedError("json.number", "integers in signed JSON have a magnitude of at most 2^53 - 1")
    return value


def _no_float(_: str) -> Any:
    raise MalformedError("json.float", "signed JSON holds no floats; use an integer or a decimal string")


_SIGNED = json.JSONDecoder(
    object_pairs_hook=_no_duplicates, parse_constant=_no_constant, parse_int=_signed_int, parse_float=_no_float
)
_PLAIN = json.JSONDecoder(object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
_EXACT = json.JSONDecoder(
    object_pairs_hook=_no_duplicates, parse_constant=_no_constant, parse_int=NumberText, parse_float=NumberText
)


_BUT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")


def _check_depth(data: bytes) -> None:
    """Refuse deep nesting; counts brackets outside strings only when there are enough of them to matter."""
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return
    between_strings = data.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2]
    depth = 0
    for byte in b"".join(between_strings).translate(None, _BUT_BRACKETS):
        if byte in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise MalformedError("json.depth", f"nested deeper than {MAX_DEPTH} levels")
        else:
            depth -= 1


def _decode(data: bytes, decoder: json.JSONDecoder) -> Any:
    _check_depth(data)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedError("json.utf8", "not UTF-8") from error
    try:
        value = decoder.decode(text)
    except json.JSONDecodeError as error:
        raise MalformedError("json.syntax", f"{error.msg} at byte {error.pos}") from error
    except (RecursionError, ValueError) as error:
        raise MalformedError("json.number", "a number is too long") from error
    if "\\u" in text or "\\U" in text:
        _refuse_surrogates(value)
    return value


def _refuse_surrogates(value: Any) -> None:
    """A lone surrogate has no UTF-8 form, so it has no bytes to bind."""
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise MalformedError("json.surrogate", "a string holds a lone surrogate") from error


def decode(data: bytes) -> Any:
    """UTF-8 JSON bytes to Python values. Raises ``json.*`` :class:`MalformedError`."""
    return _decode(data, _PLAIN)


def decode_exact(data: bytes) -> Any:
    """As :func:`decode`, with every number as :class:`NumberText`."""
    return _decode(data, _EXACT)


def decode_object(data: bytes) -> dict[str, Any]:
    """As :func:`decode`, and the top level must be an object (``json.object``)."""
    value = decode(data)
    if not isinstance(value, dict):
        raise MalformedError("json.object", "expected a JSON object")
    return value


def decode_signed(data: bytes) -> dict[str, Any]:
    """Canonical JSON of one object; any other spelling of the same value raises ``json.spelling``."""
    value = _decode(data, _SIGNED)
    if not isinstance(value, dict):
        raise MalformedError("json.object", "expected a JSON object")
    if (encode_known(value) if data.isascii() else encode(value)) != data:
        raise MalformedError("json.spelling", "signed JSON has one spelling (RFC 8785)")
    return value


def encode_known(value: Any) -> bytes:
    """:func:`encode` for values that this program built itself: ASCII keys, no floats. Skips the checks."""
    return "".join(_encode_pieces(value, 0)).encode("utf-8")


def _piecewise() -> Callable[[Any, int], Iterable[str]]:
    """The encoder behind ``json.dumps``, made once: ``json`` makes a new one for every call, which costs more than most
    of what we encode."""
    plain = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False)
    make = getattr(json.encoder, "c_make_encoder", None)  # absent where the C accelerator is
    if make is None:
        return lambda value, _: plain.iterencode(value)
    made: Callable[[Any, int], Iterable[str]] = make(
        None,
        plain.default,
        json.encoder.encode_basestring,
        None,
        ":",
        ",",
        True,
        False,
        False,
    )
    return made


_encode_pieces = _piecewise()


def encode(value: JSON) -> bytes:
    """RFC 8785 bytes of a value without floats. Raises ``json.float`` for a float, ``json.key`` for a non-string key.

    Keys are sorted by UTF-16 code units as RFC 8785 §3.2.3 asks; the names this project defines are ASCII.
    """
    return json.dumps(_ordered(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8")


def _ordered(value: JSON) -> JSON:
    if isinstance(value, float):
        raise MalformedError("json.float", "signed JSON holds no floats; use an integer or a decimal string")
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise MalformedError("json.key", "object keys are strings")
        keys = sorted(value) if all(map(str.isascii, value)) else sorted(value, key=lambda key: key.encode("utf-16-be"))
        return {key: _ordered(value[key]) for key in keys}
    if isinstance(value, list | tuple):
        return [_ordered(item) for item in value]
    return value


_STRING = json.JSONEncoder(ensure_ascii=False)


def encode_exact(value: Any) -> bytes:
    """Compact JSON of a value from :func:`decode_exact`: member order and the text of each number are kept."""
    return _exact(value).encode("utf-8")


def _exact(value: Any) -> str:
    if isinstance(value, NumberText):
        return str.__str__(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{_STRING.encode(key)}:{_exact(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_exact, value)) + "]"
    return _STRING.encode(value)
