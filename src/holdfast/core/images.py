"""Images that models make: what may be asked, what an answer has to hold, and what counts as an image
(``spec/images.md``).

``parse_image`` walks the container of a PNG, JPEG, GIF or WebP from its first byte to its last and reads its sides; it
unpacks no pixel. ``parse_request`` and ``parse_answer`` read the documents of ``POST /v1/images/generations``.

Not covered: what a picture shows, and colours; a decoder may still refuse the pixels.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.core.canonical import NumberText
from holdfast.core.encoding import b64_decode
from holdfast.errors import MalformedError

MAX_IMAGE_BYTES = 8 << 20
"""Of one image (``images.md`` §2(3))."""
MAX_IMAGES_BYTES = 11 << 20
"""Of all images of an answer: in base64 they fit, with all that stands beside them, into one record of 16 MiB."""
MAX_PROMPT = 32_000
"""Characters."""
MAX_COUNT = 10
"""Most images of one request."""
MAX_SIDE = 16_384
"""Longest side, pixels."""
FORMATS = ("png", "jpeg", "webp")
"""What a request can ask for by ``output_format``."""
_SIZE = re.compile(r"(?:auto|[1-9][0-9]{0,4}x[1-9][0-9]{0,4})\Z")
_DATA_URL = re.compile(r"data:image/(png|jpeg|webp|gif);base64,")
_PNG, _WEBP_CHUNKS = b"\x89PNG\r\n\x1a\n", (b"VP8 ", b"VP8L", b"VP8X")
_BARE_MARKERS = frozenset({0x01, *range(0xD0, 0xD8)})
"""JPEG markers without a length: TEM and RST0 to RST7 (ITU-T T.81 §B.1.1.3)."""
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Start of frame, which tells the sides; the three are DHT, JPG and DAC (ITU-T T.81 table B.1)."""


@dataclass(frozen=True, slots=True)
class Image:
    """What the bytes of an image say of themselves. Sides are pixels."""

    kind: str
    """``png``, ``jpeg``, ``gif`` or ``webp``."""
    width: int
    height: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """What is asked; members that are not named here are the upstream's to read."""

    prompt: str
    count: int
    size: str
    """``auto``, or sides as ``WIDTHxHEIGHT``."""


def parse_image(data: bytes) -> Image:
    """The bytes of one image. Raises ``image.size``, ``image.format`` for what is none of the four kinds,
    ``image.bytes`` for a broken container and ``image.sides``."""
    if len(data) > MAX_IMAGE_BYTES:
        raise MalformedError("image.size", f"an image has at most {MAX_IMAGE_BYTES} bytes")
    if data.startswith(_PNG):
        kind, sides = "png", _png(data)
    elif data.startswith(b"\xff\xd8\xff"):
        kind, sides = "jpeg", _jpeg(data)
    elif data.startswith((b"GIF87a", b"GIF89a")):
        kind, sides = "gif", _gif(data)
    elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        kind, sides = "webp", _webp(data)
    else:
        raise MalformedError("image.format", "these bytes are no PNG, JPEG, GIF or WebP")
    if sides is None:
        raise MalformedError("image.bytes", f"these bytes begin as a {kind} and do not end as one")
    width, height = sides
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise MalformedError("image.sides", f"a side has 1 to {MAX_SIDE} pixels")
    return Image(kind, width, height, len(data))


def _png(data: bytes) -> tuple[int, int] | None:
    """W3C PNG §5: chunks with their checksums, IHDR first, some IDAT, IEND last, and nothing behind it."""
    at, seen = len(_PNG), []
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        end = at + 12 + length
        if end > len(data) or zlib.crc32(data[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end]):
            return None
        seen.append(data[at + 4 : at + 8])
        if len(seen) == 1 and (seen[0], length) != (b"IHDR", 13):
            return None
        at = end
        if seen[-1] == b"IEND":
            break
    if seen[-1:] != [b"IEND"] or b"IDAT" not in seen or at != len(data):
        return None
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _jpeg(data: bytes) -> tuple[int, int] | None:
    """ITU-T T.81 §B: segments up to the first scan, one of them a frame; EOI last."""
    at, sides = 2, None
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF or marker in _BARE_MARKERS:  # fill bytes, and markers that stand alone
            at += 1 if marker == 0xFF else 2
            continue
        length = int.from_bytes(data[at + 2 : at + 4])
        if length < 2 or at + 2 + length > len(data):
            return None
        if marker in _FRAMES and length >= 8:
            sides = int.from_bytes(data[at + 7 : at + 9]), int.from_bytes(data[at + 5 : at + 7])
        if marker == 0xDA:  # SOS: entropy-coded data follows
            return sides if data.endswith(b"\xff\xd9") else None
        at += 2 + length
    return None


def _gif(data: bytes) -> tuple[int, int] | None:
    """GIF89a §18 to §27: blocks up to the trailer, some of them an image, and nothing behind it."""
    if len(data) < 13:
        return None
    at, pictures = 13 + _gif_table(data[10]), 0
    while at < len(data):
        block = data[at]
        if block == 0x3B:
            sides = struct.unpack_from("<HH", data, 6)
            return (sides[0], sides[1]) if pictures and at + 1 == len(data) else None
        if block == 0x21:
            at += 2
        elif block == 0x2C and at + 10 < len(data):
            at, pictures = at + 11 + _gif_table(data[at + 9]), pictures + 1
        else:
            return None
        while at < len(data) and data[at]:
            at += 1 + data[at]
        at += 1
    return None


def _gif_table(packed: int) -> int:
    """Bytes of the colour table that a packed field announces."""
    return 3 << (packed & 7) + 1 if packed & 0x80 else 0


def _webp(data: bytes) -> tuple[int, int] | None:
    """RFC 9649 §2: a RIFF of chunks that fill it; the first says the sides."""
    if len(data) < 30 or int.from_bytes(data[4:8], "little") + 8 != len(data):
        return None
    at = 12
    while at + 8 <= len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + length + (length & 1)
    first, body = data[12:16], data[20:]
    if at != len(data) or first not in _WEBP_CHUNKS:
        return None
    if first == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if first == b"VP8L":
        packed = int.from_bytes(body[1:5], "little")
        return (1 + (packed & 0x3FFF), 1 + (packed >> 14 & 0x3FFF)) if body[0] == 0x2F else None
    if body[3:6] != b"\x9d\x01\x2a":
        return None
    return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF


def parse_data_url(text: str) -> tuple[Image, bytes]:
    """An image in a ``data:`` URL, as chat models give it (``images.md`` §4), and its bytes. Raises ``image.*``."""
    match = _DATA_URL.match(text)
    if match is None:
        raise MalformedError("image.url", "an image's bytes stand in a data URL with its kind, in base64")
    data = _bytes_of(text[match.end() :])
    found = parse_image(data)
    if found.kind != match[1]:
        raise MalformedError("image.format", f"this is called {match[1]} and is {found.kind}")
    return found, data


def _bytes_of(text: object) -> bytes:
    """Base64 in its one spelling; raises ``image.base64``."""
    if not isinstance(text, str) or isinstance(text, NumberText):
        raise MalformedError("image.base64", "an image is base64 in a string")
    if len(text) > (MAX_IMAGE_BYTES + 2) // 3 * 4:
        raise MalformedError("image.size", f"an image has at most {MAX_IMAGE_BYTES} bytes")
    try:
        return b64_decode(text)
    except MalformedError as error:
        raise MalformedError("image.base64", "an image is base64 in its one spelling") from error


def parse_request(value: Mapping[str, Any]) -> ImageRequest:
    """A request (``images.md`` §1), numbers as text. Raises ``image.*``."""
    prompt, size = value.get("prompt"), value.get("size")
    if not _is_text(prompt) or not 0 < len(str(prompt)) <= MAX_PROMPT:
        raise MalformedError("image.prompt", f"prompt is a text of 1 to {MAX_PROMPT} characters", param="prompt")
    if size is not None and not (_is_text(size) and _SIZE.match(size)):
        raise MalformedError("image.sides", "size is auto, or sides like 512x512", param="size")
    wanted = value.get("response_format")
    if wanted == "url":
        raise MalformedError(
            "image.url",
            "what lies behind a URL cannot be bound",
            hint="ask for response_format b64_json, or leave it out",
            param="response_format",
        )
    if wanted not in (None, "b64_json"):
        raise MalformedError("image.response_format", "response_format is b64_json", param="response_format")
    if value.get("output_format") not in (None, *FORMATS):
        raise MalformedError("image.format", f"output_format is one of {', '.join(FORMATS)}", param="output_format")
    return ImageRequest(str(prompt), _count(value.get("n")), size or "auto")


def _count(value: object) -> int:
    if value is None:
        return 1
    if not isinstance(value, NumberText) or re.fullmatch("[1-9][0-9]?", value) is None or int(value) > MAX_COUNT:
        raise MalformedError("image.count", f"n is a whole number from 1 to {MAX_COUNT}", param="n")
    return int(value)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and not isinstance(value, NumberText)


def parse_answer(value: Mapping[str, Any], count: int) -> tuple[Image, ...]:
    """The images of a response document (``images.md`` §2), at most ``count``. Raises ``image.*``: ``image.url`` where
    one is told by where it lies."""
    data = value.get("data")
    if not isinstance(data, list) or not 0 < len(data) <= count or not all(isinstance(item, dict) for item in data):
        raise MalformedError("image.count", f"data is a list of 1 to {count} images, as was asked")
    claimed_kind, images = value.get("output_format"), []
    for item in data:
        if item.get("url") is not None:
            raise MalformedError("image.url", "an image is told by a URL, and what lies behind one cannot be bound")
        image = parse_image(_bytes_of(item.get("b64_json")))
        if claimed_kind not in (None, image.kind):
            raise MalformedError("image.format", f"an image is called {claimed_kind!s:.16} and is {image.kind}")
        images.append(image)
    if sum(image.size_bytes for image in images) > MAX_IMAGES_BYTES:
        raise MalformedError("image.size", f"the images of an answer have together at most {MAX_IMAGES_BYTES} bytes")
    return tuple(images)


def count_images(document: Mapping[str, Any]) -> int:
    """How many images a response document holds, made at either endpoint (``pricing.md`` §4(1))."""
    data, choices = document.get("data"), document.get("choices")
    made = sum(isinstance(item, dict) and "b64_json" in item for item in data) if isinstance(data, list) else 0
    for choice in choices if isinstance(choices, list) else ():
        message = choice.get("message") if isinstance(choice, dict) else None
        images = message.get("images") if isinstance(message, dict) else None
        made += len(images) if isinstance(images, list) else 0
    return made
