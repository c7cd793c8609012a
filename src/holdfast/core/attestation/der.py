"""Strict DER (X.690): elements, and the few primitive types that certificates and revocation lists use.

Lengths and integers are minimal, booleans are 0x00 or 0xFF, tag numbers are below 31. What is well formed as BER only
is refused, so equal values have equal bytes.

Not covered: reals, sets in order, character sets: names are compared as bytes and never read.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass

from holdfast.errors import MalformedError

BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, NULL, OBJECT_IDENTIFIER = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06
ENUMERATED, UTC_TIME, GENERALIZED_TIME, SEQUENCE = 0x0A, 0x17, 0x18, 0x30
"""Tags (X.690 §8), as the first byte shows them."""
CONTEXT = 0xA0
"""First byte of a constructed context-specific element with number 0; add the number."""
MAX_INTEGER_BYTES = 1024
"""An RSA modulus of 8192 bits; longer integers are refused."""
_UTC = re.compile(rb"\d{12}Z\Z")
_GENERALIZED = re.compile(rb"\d{14}Z\Z")


@dataclass(frozen=True, slots=True)
class Element:
    """One element: its tag, its content, and all of its bytes."""

    tag: int
    content: bytes
    raw: bytes


def _read(data: bytes, at: int) -> tuple[Element, int]:
    size = len(data)
    if at + 2 > size:
        raise MalformedError("der.truncated", "the bytes end inside an element")
    tag, length, start = data[at], data[at + 1], at + 2
    if tag & 0x1F == 0x1F or tag == 0:
        raise MalformedError("der.tag", f"the tag {tag:#04x} is not used here")
    if length >= 0x80:
        width = length & 0x7F
        if not 1 <= width <= 3:
            raise MalformedError("der.length", "a length is definite and below 2^24")
        length = int.from_bytes(data[start : start + width], "big")
        if start + width > size:
            raise MalformedError("der.truncated", "the bytes end inside an element")
        if length < 0x80 or length >> (8 * (width - 1)) == 0:
            raise MalformedError("der.length", "a length is written longer than it needs to be")
        start += width
    end = start + length
    if end > size:
        raise MalformedError("der.truncated", "the bytes end inside an element")
    return Element(tag, data[start:end], data[at:end]), end


def elements(data: bytes) -> list[Element]:
    """The elements that fill ``data`` one after the other. Raises ``der.*``."""
    found, at = [], 0
    while at < len(data):
        element, at = _read(data, at)
        found.append(element)
    return found


def single(data: bytes, tag: int) -> Element:
    """The one element that fills ``data``. Raises ``der.*``."""
    element, end = _read(data, 0)
    if end != len(data):
        raise MalformedError("der.trailing", f"{len(data) - end} bytes follow the element")
    return expect(element, tag)


def expect(element: Element, tag: int) -> Element:
    """The element itself, when it has this tag; raises ``der.tag``."""
    if element.tag != tag:
        raise MalformedError("der.tag", f"expected tag {tag:#04x}, found {element.tag:#04x}")
    return element


def children(element: Element, least: int = 0, most: int | None = None) -> list[Element]:
    """The elements inside a sequence, at least and at most so many; raises ``der.count``."""
    found = elements(element.content)
    if len(found) < least or (most is not None and len(found) > most):
        raise MalformedError("der.count", f"a sequence has {len(found)} elements")
    return found


def sequence(element: Element, least: int = 0, most: int | None = None) -> list[Element]:
    """As :func:`children`, and the element is a sequence."""
    return children(expect(element, SEQUENCE), least, most)


def integer(element: Element) -> int:
    """A minimal integer; raises ``der.integer``."""
    return integer_content(expect(element, INTEGER).content)


def integer_content(content: bytes) -> int:
    """The content of a minimal integer; raises ``der.integer``."""
    if not 1 <= len(content) <= MAX_INTEGER_BYTES:
        raise MalformedError("der.integer", f"an integer has 1 to {MAX_INTEGER_BYTES} bytes")
    if len(content) > 1 and (content[0], content[1] >> 7) in ((0, 0), (0xFF, 1)):
        raise MalformedError("der.integer", "an integer is written longer than it needs to be")
    return int.from_bytes(content, "big", signed=True)


def boolean(element: Element) -> bool:
    """A boolean, 0x00 or 0xFF; raises ``der.boolean``."""
    content = expect(element, BOOLEAN).content
    if content not in (b"\x00", b"\xff"):
        raise MalformedError("der.boolean", "a boolean is 0x00 or 0xff")
    return content == b"\xff"


def octets(element: Element) -> bytes:
    """The content of an octet string."""
    return expect(element, OCTET_STRING).content


def bits(element: Element) -> bytes:
    """A bit string of whole bytes; raises ``der.bits``."""
    content = expect(element, BIT_STRING).content
    if content[:1] != b"\x00":
        raise MalformedError("der.bits", "a bit string has whole bytes here")
    return content[1:]


def named_bits(element: Element) -> frozenset[int]:
    """The numbers of the bits that are set in a bit string of named bits; raises ``der.bits``.

    DER would drop the zeros at its end; AMD's certificates keep them.
    """
    content = expect(element, BIT_STRING).content
    unused = content[0] if content else 8
    if unused > 7 or len(content) < 2 or content[-1] & ((1 << unused) - 1):
        raise MalformedError("der.bits", "unused bits are zero")
    return frozenset(
        8 * place + bit for place, byte in enumerate(content[1:]) for bit in range(8) if byte << bit & 0x80
    )


def identifier(element: Element) -> str:
    """An object identifier in dotted form; raises ``der.identifier``."""
    content = expect(element, OBJECT_IDENTIFIER).content
    arcs, number, begun = [], 0, False
    for byte in content:
        if not begun and byte == 0x80:
            raise MalformedError("der.identifier", "an arc is written longer than it needs to be")
        number, begun = number << 7 | byte & 0x7F, True
        if number >> 64:
            raise MalformedError("der.identifier", "an arc is out of bounds")
        if byte < 0x80:
            arcs.append(number)
            number, begun = 0, False
    if begun or not arcs:
        raise MalformedError("der.identifier", "an object identifier ends inside an arc")
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, [first, arcs[0] - 40 * first, *arcs[1:]]))


def time(element: Element) -> dt.datetime:
    """UTCTime or GeneralizedTime with seconds and ``Z`` (RFC 5280 §4.1.2.5); raises ``der.time``."""
    content = element.content
    if element.tag == UTC_TIME and _UTC.match(content):
        text = ("19" if content[:2] >= b"50" else "20") + content.decode("ascii")
    elif element.tag == GENERALIZED_TIME and _GENERALIZED.match(content):
        text = content.decode("ascii")
    else:
        raise MalformedError("der.time", "a time has seconds and ends in Z")
    numbers = [int(text[start:end]) for start, end in ((0, 4), (4, 6), (6, 8), (8, 10), (10, 12), (12, 14))]
    try:
        return dt.datetime(*numbers, tzinfo=dt.UTC)  # type: ignore[arg-type, misc]
    except ValueError as error:
        raise MalformedError("der.time", "no such moment") from error
