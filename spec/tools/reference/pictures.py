"""images.md: what may be asked, what an answer holds, and the containers of images. Cursors over bytes."""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from typing import Any

from .text import Number, SpecError

MOST, MOST_TOGETHER, LONGEST = 8_388_608, 11_534_336, 16_384


class ShortError(Exception):
    """The bytes are at an end too early, or too late."""


class Cursor:
    """Bytes that are taken from the front."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        if self.at + count > len(self.data):
            raise ShortError
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, count: int, order: str = "big") -> int:
        return int.from_bytes(self.take(count), order)  # type: ignore[arg-type]

    def over(self) -> bool:
        return self.at == len(self.data)


def need(holds: bool) -> None:
    if not holds:
        raise ShortError


def png(c: Cursor) -> tuple[int, int]:
    c.take(8)
    names, sides = [], (0, 0)
    while True:
        length = c.number(4)
        name = c.take(4)
        body = c.take(length)
        need(c.number(4) == zlib.crc32(name + body))
        names.append(name)
        if len(names) == 1:
            need(name == b"IHDR" and length == 13)
            sides = int.from_bytes(body[:4], "big"), int.from_bytes(body[4:8], "big")
        if name == b"IEND":
            break
    need(c.over() and b"IDAT" in names)
    return sides


def jpeg(c: Cursor) -> tuple[int, int]:
    need(c.data[-2:] == b"\xff\xd9")
    c.take(2)
    sides = None
    while True:
        need(c.take(1) == b"\xff")
        marker = c.number(1)
        while marker == 0xFF:
            marker = c.number(1)
        if marker == 1 or 0xD0 <= marker <= 0xD7:
            continue
        length = c.number(2)
        need(length >= 2)
        body = c.take(length - 2)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and length >= 8:
            sides = int.from_bytes(body[3:5], "big"), int.from_bytes(body[1:3], "big")
        if marker == 0xDA:
            if sides is None:
                raise ShortError
            return sides


def gif(c: Cursor) -> tuple[int, int]:
    def table(packed: int) -> None:
        if packed >= 128:
            c.take(3 * 2 ** (packed % 8 + 1))

    def blocks() -> None:
        while length := c.number(1):
            c.take(length)

    c.take(6)
    sides = c.number(2, "little"), c.number(2, "little")
    packed = c.number(1)
    c.take(2)
    table(packed)
    pictures = 0
    while (kind := c.take(1)) != b";":
        if kind == b"!":
            c.take(1)
        else:
            need(kind == b",")
            c.take(8)
            table(c.number(1))
            c.take(1)
            pictures += 1
        blocks()
    need(c.over() and pictures > 0)
    return sides


def webp(c: Cursor) -> tuple[int, int]:
    need(len(c.data) >= 30)
    c.take(4)
    need(c.number(4, "little") == len(c.data) - 8)
    c.take(4)
    first = None
    while not c.over():
        name = c.take(4)
        length = c.number(4, "little")
        c.take(length + length % 2)
        first = first or name
    body = c.data[20:]
    if first == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if first == b"VP8L":
        need(body[0] == 0x2F)
        bits = int.from_bytes(body[1:5], "little")
        return 1 + bits % 2**14, 1 + bits // 2**14 % 2**14
    need(first == b"VP8 " and body[3:6] == b"\x9d\x01\x2a")
    return int.from_bytes(body[6:8], "little") % 2**14, int.from_bytes(body[8:10], "little") % 2**14


KINDS = (
    ("png", re.compile(rb"\x89PNG\r\n\x1a\n"), png),
    ("jpeg", re.compile(rb"\xff\xd8\xff"), jpeg),
    ("gif", re.compile(rb"GIF8[79]a"), gif),
    ("webp", re.compile(rb"RIFF....WEBP", re.DOTALL), webp),
)


def read(data: bytes) -> dict[str, Any]:
    """§3."""
    if len(data) > MOST:
        raise SpecError("image.size")
    for kind, begins, walk in KINDS:
        if begins.match(data):
            try:
                width, height = walk(Cursor(data))
            except ShortError:
                raise SpecError("image.bytes") from None
            if not (1 <= width <= LONGEST and 1 <= height <= LONGEST):
                raise SpecError("image.sides")
            return {"kind": kind, "width": width, "height": height, "bytes": len(data)}
    raise SpecError("image.format")


def is_text(value: Any) -> bool:
    return isinstance(value, str) and not isinstance(value, Number)


def request(value: dict[str, Any]) -> dict[str, Any]:
    """§1."""
    prompt, size, wanted, count = (value.get(name) for name in ("prompt", "size", "response_format", "n"))
    if not is_text(prompt) or not 1 <= len(prompt) <= 32_000:
        raise SpecError("image.prompt")
    if size is not None and (not is_text(size) or not re.fullmatch("auto|[1-9][0-9]{0,4}x[1-9][0-9]{0,4}", size)):
        raise SpecError("image.sides")
    if wanted is not None and wanted != "b64_json":
        raise SpecError("image.url" if wanted == "url" else "image.response_format")
    if value.get("output_format") not in (None, "png", "jpeg", "webp"):
        raise SpecError("image.format")
    if count is not None and not (isinstance(count, Number) and str(count) in map(str, range(1, 11))):
        raise SpecError("image.count")
    return {"prompt": prompt, "count": 1 if count is None else int(count), "size": size or "auto"}


def decoded(text: Any) -> bytes:
    """§2(1): base64 in its one spelling. What is too long for any image is not decoded."""
    if not is_text(text):
        raise SpecError("image.base64")
    if len(text) > 4 * -(-MOST // 3):
        raise SpecError("image.size")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise SpecError("image.base64") from None
    if base64.b64encode(data).decode() != text:
        raise SpecError("image.base64")
    return data


def answer(value: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """§2."""
    data = value.get("data")
    if not isinstance(data, list) or not 1 <= len(data) <= count or not all(isinstance(item, dict) for item in data):
        raise SpecError("image.count")
    found = []
    for item in data:
        if item.get("url") is not None:
            raise SpecError("image.url")
        found.append(read(decoded(item.get("b64_json"))))
        if value.get("output_format") not in (None, found[-1]["kind"]):
            raise SpecError("image.format")
    if sum(image["bytes"] for image in found) > MOST_TOGETHER:
        raise SpecError("image.size")
    return found


def data_url(text: str) -> dict[str, Any]:
    """§4."""
    head = re.match("data:image/(png|jpeg|webp|gif);base64,", text)
    if head is None:
        raise SpecError("image.url")
    found = read(decoded(text[head.end() :]))
    if found["kind"] != head[1]:
        raise SpecError("image.format")
    return found


def counted(document: dict[str, Any]) -> int:
    """§5."""
    found = 0
    for item in document.get("data") or []:
        found += "b64_json" in item
    for choice in document.get("choices") or []:
        found += len((choice.get("message") or {}).get("images") or [])
    return found
