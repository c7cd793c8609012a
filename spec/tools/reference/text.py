"""Texts and bytes as conventions.md says: strict JSON with numbers kept as written, canonical JSON, hex, base64, time.

The parser here is written by hand from RFC 8259 so that no library's tolerance leaks into the vectors.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import re
from typing import Any

NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
PLAIN = re.compile(r'[^"\\\x00-\x1f]+')
ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
SHORT = {8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}
QUOTED = {code: f"\\u{code:04x}" for code in range(32)} | SHORT


class SpecError(Exception):
    """The specification refuses this input, with this code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Number(str):
    """A number as the text it was written in."""

    __slots__ = ()


class Reader:
    """One pass over one JSON text (conventions.md §3.1)."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def space(self) -> None:
        while self.at < len(self.text) and self.text[self.at] in " \t\r\n":
            self.at += 1

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def take(self, literal: str) -> None:
        if not self.text.startswith(literal, self.at):
            raise SpecError("json.syntax")
        self.at += len(literal)

    def value(self, depth: int) -> Any:
        self.space()
        first = self.peek()
        if first in {"{", "["} and depth == 64:
            raise SpecError("json.depth")
        if first == "{":
            return self.object(depth + 1)
        if first == "[":
            return self.array(depth + 1)
        if first == '"':
            return self.string()
        for literal, meaning in (("true", True), ("false", False), ("null", None)):
            if self.text.startswith(literal, self.at):
                self.at += len(literal)
                return meaning
        if any(self.text.startswith(word, self.at) for word in ("NaN", "Infinity", "-Infinity")):
            raise SpecError("json.number")
        match = NUMBER.match(self.text, self.at)
        if match is None:
            raise SpecError("json.syntax")
        self.at = match.end()
        return Number(match.group())

    def object(self, depth: int) -> dict[str, Any]:
        self.take("{")
        found: dict[str, Any] = {}
        self.space()
        if self.peek() == "}":
            self.take("}")
            return found
        while True:
            self.space()
            name = self.string()
            if name in found:
                raise SpecError("json.duplicate_key")
            self.space()
            self.take(":")
            found[name] = self.value(depth)
            self.space()
            if self.peek() == ",":
                self.take(",")
                continue
            self.take("}")
            return found

    def array(self, depth: int) -> list[Any]:
        self.take("[")
        found: list[Any] = []
        self.space()
        if self.peek() == "]":
            self.take("]")
            return found
        while True:
            found.append(self.value(depth))
            self.space()
            if self.peek() == ",":
                self.take(",")
                continue
            self.take("]")
            return found

    def string(self) -> str:
        self.take('"')
        units: list[str] = []
        while True:
            plain = PLAIN.match(self.text, self.at)
            if plain is not None:
                units.append(plain.group())
                self.at = plain.end()
            char = self.peek()
            if char not in {'"', "\\"}:
                raise SpecError("json.syntax")
            self.at += 1
            if char == '"':
                break
            escape = self.peek()
            self.at += 1
            if escape == "u":
                digits = self.text[self.at : self.at + 4]
                if re.fullmatch(r"[0-9a-fA-F]{4}", digits) is None:
                    raise SpecError("json.syntax")
                self.at += 4
                units.append(chr(int(digits, 16)))
            elif escape in ESCAPES and escape:
                units.append(ESCAPES[escape])
            else:
                raise SpecError("json.syntax")
        joined = "".join(units).encode("utf-16-be", "surrogatepass")
        try:
            return joined.decode("utf-16-be")
        except UnicodeDecodeError:
            raise SpecError("json.surrogate") from None


def parse(data: bytes) -> Any:
    """JSON bytes to values, numbers as :class:`Number`."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise SpecError("json.utf8") from None
    reader = Reader(text)
    value = reader.value(0)
    reader.space()
    if reader.at != len(text):
        raise SpecError("json.syntax")
    return value


def quote(text: str) -> str:
    """A string as RFC 8785 §3.2.2.2 writes it."""
    return f'"{text.translate(QUOTED)}"'


def jcs_text(value: Any) -> str:
    """Canonical JSON text (conventions.md §3.2)."""
    if value is None:
        return "null"
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, int):
        if abs(value) > 2**53 - 1:
            raise SpecError("json.number")
        return str(value)
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, list):
        return "[" + ",".join(jcs_text(item) for item in value) + "]"
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return "{" + ",".join(quote(name) + ":" + jcs_text(value[name]) for name in names) + "}"
    raise TypeError(type(value))


def jcs(value: Any) -> bytes:
    """Canonical JSON bytes."""
    return jcs_text(value).encode("utf-8")


def exact_text(value: Any) -> str:
    """Compact JSON in member order, with numbers exactly as written."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, list):
        return "[" + ",".join(exact_text(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(quote(name) + ":" + exact_text(item) for name, item in value.items()) + "}"
    return jcs_text(value)


def sha(data: bytes) -> bytes:
    """SHA-256."""
    return hashlib.sha256(data).digest()


def b64(data: bytes) -> str:
    """Standard base64 with padding."""
    return base64.b64encode(data).decode("ascii")


def unb64(text: str) -> bytes:
    """Back again."""
    return base64.b64decode(text, validate=True)


def when(text: str, *, plus_ms: int = 0) -> str:
    """A time moved by some milliseconds, in the one spelling."""
    moment = dt.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z") + dt.timedelta(milliseconds=plus_ms)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def posix_ms(text: str) -> int:
    """Milliseconds since 1970."""
    moment = dt.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z")
    return round(moment.timestamp() * 1000)


def named(name: str, size: int = 32) -> bytes:
    """Bytes that look random and depend on their name alone: every key, salt and id of the vectors."""
    out, counter = b"", 0
    while len(out) < size:
        out += sha(f"holdfast vectors/{name}/{counter}".encode())
        counter += 1
    return out[:size]
