"""Variable-length integers of RFC 9000 §16: 1, 2, 4 or 8 bytes, of which two bits say how many.

Written in the least number of bytes; read in any, because RFC 9292 and chunked OHTTP allow it and nothing signs them.
"""

from __future__ import annotations

from holdfast.errors import UsageError

MAX_VARINT = (1 << 62) - 1
"""RFC 9000 §16: what eight bytes hold."""


def encode_varint(number: int) -> bytes:
    """A number in its shortest form. Raises ``varint.range`` outside 0 to 2^62 - 1."""
    if 0 <= number < 0x40:
        return bytes((number,))
    if 0 <= number < 0x4000:
        return (number | 0x4000).to_bytes(2, "big")
    if 0 <= number < 0x4000_0000:
        return (number | 0x8000_0000).to_bytes(4, "big")
    if not 0 <= number <= MAX_VARINT:
        raise UsageError("varint.range", "a variable-length integer holds 0 to 2^62 - 1")
    return (number | 0xC000_0000_0000_0000).to_bytes(8, "big")


def read_varint(data: bytes | bytearray, at: int) -> tuple[int, int] | None:
    """The number at a place and where it ends; None where its bytes are not all there."""
    if at >= len(data):
        return None
    first = data[at]
    end = at + (1 << (first >> 6))
    if end > len(data):
        return None
    if first < 0x40:
        return first, end
    return int.from_bytes(data[at:end], "big") & ((1 << (8 * (end - at) - 2)) - 1), end
