"""Reed-Solomon codes over GF(2^16) as Walrus uses them: recovery shards of original shards (``spec/walrus.md`` §2).

The code is the one of Leopard: field elements are written in a Cantor basis, so that polynomials which vanish on the
first 2^i points are sums of few powers, and a transform of *m* points needs *m/2 · log m* products with constants
(Lin, Chung and Han, "Novel polynomial basis and its application to Reed-Solomon erasure codes").

Rules: pure; the same originals give the same recovery shards for ever. A shard is two *planes*: the low bytes of all
its elements, and the high bytes. The product of a plane with a constant is two look-ups of each byte in a table,
which is what ``bytes.translate`` does; sums are exclusive ors (``core._planes``).

Not covered: decoding. What is fetched is whole, and is checked by encoding it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache

from holdfast.core._planes import Shard, Tables, Way, Work, way_of
from holdfast.errors import UsageError

POLYNOMIAL = 0x1002D
"""The field is GF(2)[x] modulo x^16 + x^5 + x^3 + x^2 + 1 (Leopard's ``LeopardFF16``)."""
CANTOR_BASIS = (
    *(0x0001, 0xACCA, 0x3C0E, 0x163E, 0xC582, 0xED2E, 0x914C, 0x4012),
    *(0x6C98, 0x10D8, 0x6A72, 0xB900, 0xFDB8, 0xFB34, 0xFF38, 0x991E),
)
"""Each β satisfies β² + β = the one before it (Leopard's ``kCantorBasis``). Bit i of an element stands for entry i."""
MAX_SHARDS = 1 << 15
"""Most originals, and most recovery shards."""


def _multiply_polynomials(left: int, right: int) -> int:
    """The product of two elements that are written as polynomials."""
    product = 0
    while right:
        if right & 1:
            product ^= left
        left <<= 1
        if left >> 16:
            left ^= POLYNOMIAL
        right >>= 1
    return product


def _coordinates(polynomial: int) -> int:
    """An element that is written as a polynomial, in the Cantor basis."""
    found = 0
    for leading, combination, members in _echelon():
        if polynomial >> leading & 1:
            polynomial ^= combination
            found ^= members
    return found


@cache
def _echelon() -> tuple[tuple[int, int, int], ...]:
    """The basis in echelon form, highest first: (leading bit, polynomial, which entries it is the sum of)."""
    rows: list[tuple[int, int, int]] = []
    for index, entry in enumerate(CANTOR_BASIS):
        value, members = entry, 1 << index
        for leading, combination, others in rows:
            if value >> leading & 1:
                value, members = value ^ combination, members ^ others
        rows.append((value.bit_length() - 1, value, members))
        rows.sort(reverse=True)
    return tuple(rows)


@cache
def _unit_products() -> tuple[tuple[int, ...], ...]:
    """Products of the basis with itself, in coordinates: entry [i][j] is β_i · β_j."""
    return tuple(
        tuple(_coordinates(_multiply_polynomials(left, right)) for right in CANTOR_BASIS) for left in CANTOR_BASIS
    )


def multiply(left: int, right: int) -> int:
    """The product of two elements in coordinates (0 to 65535)."""
    product = 0
    for i, row in enumerate(_unit_products()):
        if left >> i & 1:
            for j, entry in enumerate(row):
                if right >> j & 1:
                    product ^= entry
    return product


@lru_cache(maxsize=8192)
def _tables(constant: int) -> Tables:
    """Products of a constant with every low byte and every high byte: low and high bytes of each."""
    rows = [row for bit, row in enumerate(_unit_products()) if constant >> bit & 1]
    tables = []
    for first in (0, 8):
        products = [0]
        for bit in range(first, first + 8):
            unit = 0
            for row in rows:
                unit ^= row[bit]
            products += [product ^ unit for product in products]
        tables += [bytes(product & 0xFF for product in products), bytes(product >> 8 for product in products)]
    return tables[0], tables[1], tables[2], tables[3]


def _to_coefficients(way: Way[Work], values: Sequence[Shard], width: int, offset: int) -> list[Work]:
    """The polynomial of degree below ``width`` with these values at the points from ``offset`` on, then zeros."""
    work = [way.load(value) for value in values] + [way.zero] * (width - len(values))
    for layer in range(width.bit_length() - 1):
        distance = 1 << layer
        for begin in range(0, len(values), 2 * distance):
            constant = begin + offset >> layer
            tables = _tables(constant)
            for low in range(begin, begin + distance):
                work[low + distance] = way.add(work[low + distance], work[low])
                if constant:
                    work[low] = way.add_scaled(work[low], work[low + distance], tables)
    return work


def _to_values(way: Way[Work], work: list[Work], offset: int, wanted: int) -> list[Work]:
    """The first ``wanted`` values, at the points from ``offset`` on, of a polynomial whose coefficients are used up."""
    for layer in reversed(range(len(work).bit_length() - 1)):
        distance = 1 << layer
        for begin in range(0, wanted, 2 * distance):
            constant = begin + offset >> layer
            tables = _tables(constant)
            for low in range(begin, begin + distance):
                if constant:
                    work[low] = way.add_scaled(work[low], work[low + distance], tables)
                work[low + distance] = way.add(work[low + distance], work[low])
    return work[:wanted]


def encode(originals: Sequence[Shard], recovery: int) -> list[Shard]:
    """``recovery`` shards that, with the originals, make one code word in every element (``walrus.md`` §2(3)).

    All planes have one length. Raises ``walrus.shards``.
    """
    if not 0 < len(originals) <= MAX_SHARDS or not 0 < recovery <= MAX_SHARDS:
        raise UsageError("walrus.shards", "a code has 1 to 32768 original and as many recovery shards")
    size = len(originals[0][0])
    if any(len(plane) != size for shard in originals for plane in shard):
        raise UsageError("walrus.shards", "all planes of a code have one length")
    return _encode(way_of(size), originals, recovery)


def _encode(way: Way[Work], originals: Sequence[Shard], recovery: int) -> list[Shard]:
    """The same, in one way."""
    narrow, wide = _power_of_two(recovery), _power_of_two(len(originals))
    found: list[Work] = []
    if wide > narrow:  # many originals: their polynomials, chunk by chunk, add up to one at the first points
        total = [way.zero] * narrow
        for begin in range(0, len(originals), narrow):
            chunk = _to_coefficients(way, originals[begin : begin + narrow], narrow, begin + narrow)
            total = [way.add(left, right) for left, right in zip(total, chunk, strict=True)]
        found = _to_values(way, total, 0, recovery)
    else:  # few originals: one polynomial through them, continued at the points behind
        polynomial = _to_coefficients(way, originals, wide, 0)
        for begin in range(0, recovery, wide):
            found += _to_values(way, [way.copy(item) for item in polynomial], begin + wide, min(wide, recovery - begin))
    return [way.show(item) for item in found]


def _power_of_two(count: int) -> int:
    """The smallest power of two that is not below ``count``."""
    return 1 << (count - 1).bit_length()
