"""What a file is by its bytes, and the text of the kinds that need no program to read (``spec/files.md`` §2).

Names and declared types decide nothing but between kinds of text. Nothing here decodes pixels or opens an archive:
of an image its header is read, and everything else is for a contained extractor.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from typing import Literal, NamedTuple

from holdfast.errors import MalformedError, RefusedError

Kind = Literal["image", "office", "pdf", "text"]
MOST_EDGE = 16_384
"""Pixels of an image's longer edge (``files.md`` §2)."""
MOST_PIXELS = 40_000_000
_PDF_WITHIN = 1024
_DATA_URL = re.compile(r"data:([^;,]{0,127})(?:;[^;,]{0,127}){0,4};base64,")
_IMAGES = (
    ("image/png", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("image/jpeg", re.compile(rb"\xff\xd8\xff")),
    ("image/gif", re.compile(rb"GIF8[79]a")),
    ("image/webp", re.compile(rb"RIFF....WEBP", re.DOTALL)),
)
_ZIP, _COMPOUND = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""An archive, as office documents are; and what they were before, which an encrypted one is wrapped in still."""
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")
"""The stream of that name in a compound file (MS-OFFCRYPTO §2.3.4.4)."""
_CONTROLS = re.compile(r"[\x01-\x08\x0b\x0e-\x1f\x7f]")
_TEXT_TYPES = {
    "csv": "text/csv",
    "html": "text/html",
    "json": "application/json",
    "md": "text/markdown",
    "tsv": "text/tab-separated-values",
    "xml": "application/xml",
}
"""Kinds of text by the ending of a name: how a reader may show it."""


class Size(NamedTuple):
    """Width and height in pixels."""

    width: int
    height: int


def data_of(text: str) -> bytes | None:
    """The bytes of a ``file_data`` member: a data URL in base64, or base64 alone. None where it is neither."""
    found = _DATA_URL.match(text)
    try:
        return base64.b64decode(text[found.end() if found else 0 :], validate=True)  # noqa: TID251 (both spellings)
    except (binascii.Error, ValueError):
        return None


def image_type(data: bytes) -> str | None:
    """The media type of an image, by its signature."""
    return next((name for name, signature in _IMAGES if signature.match(data)), None)


def is_image(data: bytes) -> bool:
    """Whether bytes begin as an image does."""
    return image_type(data) is not None


def kind_of(data: bytes) -> Kind:
    """What a file is (``files.md`` §2). Raises ``file.empty`` and ``file.type``."""
    if not data:
        raise RefusedError("file.empty", "the file has no bytes", status=400)
    if is_image(data):
        return "image"
    if b"%PDF-" in data[:_PDF_WITHIN]:
        return "pdf"
    if data.startswith(_ZIP):
        return "office"
    if data.startswith(_COMPOUND):
        if _ENCRYPTED in data:
            raise RefusedError(
                "file.encrypted", "the document is encrypted", hint="take the password off first", status=422
            )
        raise RefusedError(
            "file.type", "a document of an older program", hint="save it as docx, xlsx, pptx or PDF", status=415
        )
    text, _ = decode_text(data, strict=False)
    if "\x00" in text or 100 * len(_CONTROLS.findall(text)) > len(text):
        raise RefusedError(
            "file.type",
            "no kind of file that is read here",
            hint="send PDF, docx, xlsx, pptx, text, CSV, JSON or an image",
            status=415,
        )
    return "text"


def decode_text(data: bytes, *, strict: bool = True) -> tuple[str, tuple[str, ...]]:
    """A text and notes on it (``files.md`` §2). Raises ``file.malformed`` for UTF-16 that is none, ``file.empty``."""
    notes: tuple[str, ...] = ()
    try:
        if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
            text, notes = data.decode("utf-16"), ("utf-16",)
        else:
            text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if data[:2] in (b"\xff\xfe", b"\xfe\xff") and strict:
            raise MalformedError("file.malformed", "the file begins as UTF-16 and is none") from error
        text, notes = data.decode("latin-1"), ("latin-1",)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if strict and not text.strip():
        raise RefusedError("file.empty", "there is no text in the file", status=400)
    return text, notes


def text_type(name: str) -> str:
    """The media type of a text, by the ending of its name."""
    return _TEXT_TYPES.get(name.rpartition(".")[2].casefold(), "text/plain")


def image_size(data: bytes) -> Size:
    """Width and height of an image, by its header. Raises ``file.malformed``, and ``file.too_large`` where decoding it
    would take more than it should."""
    try:
        size = _SIZES[image_type(data) or ""](data)
    except (KeyError, IndexError, struct.error) as error:
        raise MalformedError("file.malformed", "this begins as an image and has no header of one") from error
    if not (0 < size.width <= MOST_EDGE and 0 < size.height <= MOST_EDGE):
        raise RefusedError("file.too_large", f"an image has edges of 1 to {MOST_EDGE} pixels", status=413)
    if size.width * size.height > MOST_PIXELS:
        raise RefusedError("file.too_large", f"an image has at most {MOST_PIXELS} pixels", status=413)
    return size


def _png(data: bytes) -> Size:
    if data[12:16] != b"IHDR":
        raise IndexError
    return Size(*struct.unpack_from(">II", data, 16))


def _gif(data: bytes) -> Size:
    return Size(*struct.unpack_from("<HH", data, 6))


def _webp(data: bytes) -> Size:
    form = data[12:16]
    if form == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", data, 26)
        return Size(width & 0x3FFF, height & 0x3FFF)
    if form == b"VP8L" and data[20] == 0x2F:
        (bits,) = struct.unpack_from("<I", data, 21)
        return Size((bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1)
    if form == b"VP8X" and len(data) >= 30:
        return Size(int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1)
    raise IndexError


def _jpeg(data: bytes) -> Size:
    """The frame header, behind whatever segments stand before it (ITU-T T.81 B.2)."""
    place = 2
    while True:
        if data[place] != 0xFF:
            raise IndexError
        marker = data[place + 1]
        if marker == 0xFF:
            place += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD7:
            place += 2
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, place + 5)
            return Size(width, height)
        else:
            (length,) = struct.unpack_from(">H", data, place + 2)
            if length < 2:
                raise IndexError
            place += 2 + length


_SIZES = {"image/png": _png, "image/jpeg": _jpeg, "image/gif": _gif, "image/webp": _webp}
