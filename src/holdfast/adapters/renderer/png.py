"""Write pixels as a PNG (W3C PNG §5, §11): eight bits, red, green and blue, the same bytes for the same pixels."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

_LEVEL = 6
_TRUECOLOUR = bytes([8, 2, 0, 0, 0])
"""Depth, colour type, and three methods of which each has one value."""


def write_png(pixels: NDArray[np.uint8]) -> bytes:
    """``pixels`` is height by width by 3. Each row is told as its difference from the one above it (filter 2)."""
    height, width, _ = pixels.shape
    above = np.vstack([np.zeros((1, width * 3), np.uint8), pixels.reshape(height, -1)])
    rows = np.empty((height, 1 + width * 3), np.uint8)
    rows[:, 0] = 2
    rows[:, 1:] = above[1:] - above[:-1]
    header = struct.pack(">II", width, height) + _TRUECOLOUR
    body = zlib.compress(rows.tobytes(), _LEVEL)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
