"""Images for tests: tiny ones, heavy ones, and answers that hold them."""

from __future__ import annotations

import json
import struct
import zlib
from typing import Any

from holdfast.core.encoding import b64_encode


def png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int = 2, height: int = 1, *, noise: int = 0) -> bytes:
    """A grey PNG; with a chunk of so many bytes that no decoder looks at."""

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" + bytes(width)) * height)
    extra = png_chunk(b"noIz", bytes(noise)) if noise else b""
    body = png_chunk(b"IHDR", head) + extra + png_chunk(b"IDAT", rows) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def image_answer(*images: bytes, **more: Any) -> bytes:
    """An upstream's answer with these images."""
    data = [{"b64_json": b64_encode(image)} for image in images or (png(),)]
    return json.dumps({"created": 1, "data": data, **more}).encode()


def data_url(image: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{b64_encode(image)}"
