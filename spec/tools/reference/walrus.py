"""Walrus' code, ids and quilts by their definitions (walrus.md): polynomials by Lagrange, one element at a time."""

from __future__ import annotations

import base64
import hashlib
from functools import cache

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

BASIS = [
    int(entry, 16)
    for entry in [
        "0001",
        "ACCA",
        "3C0E",
        "163E",
        "C582",
        "ED2E",
        "914C",
        "4012",
        "6C98",
        "10D8",
        "6A72",
        "B900",
        "FDB8",
        "FB34",
        "FF38",
        "991E",
    ]
]


@cache
def powers() -> tuple[list[int], dict[int, int]]:
    """x^i as a polynomial, and i by polynomial."""
    ups, value = [], 1
    for _ in range(65535):
        ups.append(value)
        value <<= 1
        if value >= 65536:
            value ^= 0x1002D
    return ups, {power: index for index, power in enumerate(ups)}


@cache
def numbering() -> tuple[list[int], dict[int, int]]:
    """The polynomial of each number, and the number of each polynomial (§2(1))."""
    polynomials = [0]
    for entry in BASIS:
        polynomials += [entry ^ before for before in polynomials]
    return polynomials, {polynomial: number for number, polynomial in enumerate(polynomials)}


def times(left: int, right: int) -> int:
    """A product of two numbered elements."""
    ups, logs = powers()
    polynomials, numbers = numbering()
    if not left or not right:
        return 0
    return numbers[ups[(logs[polynomials[left]] + logs[polynomials[right]]) % 65535]]


def over(left: int, right: int) -> int:
    """A quotient of two numbered elements."""
    ups, logs = powers()
    polynomials, numbers = numbering()
    return 0 if not left else numbers[ups[(logs[polynomials[left]] - logs[polynomials[right]]) % 65535]]


@cache
def share(points: tuple[int, ...], own: int, at: int) -> int:
    """What the value at the point ``own`` adds, times itself, to the value of the polynomial at ``at``."""
    found = 1
    for point in points:
        if point != own:
            found = over(times(found, at ^ point), own ^ point)
    return found


def two_power(count: int) -> int:
    """The smallest power of two not below."""
    power = 1
    while power < count:
        power *= 2
    return power


def matrix(originals: int, recovery: int) -> list[list[int]]:
    """What each original adds to each recovery symbol (§2(3))."""
    k, r = two_power(originals), two_power(recovery)
    rows = []
    for i in range(recovery):
        row = []
        for j in range(originals):
            if k <= r:
                row.append(share(tuple(range(k)), j, k + i))
            else:
                first = r * (j // r + 1)
                row.append(share(tuple(range(first, first + r)), first + j % r, i))
        rows.append(row)
    return rows


def elements(symbol: bytes) -> list[int]:
    """The numbers in a symbol (§2(2))."""
    found = []
    for begin in range(0, len(symbol), 64):
        block = symbol[begin : begin + 64]
        half = len(block) // 2
        found += [block[i] | block[half + i] << 8 for i in range(half)]
    return found


def symbol_of(numbers: list[int]) -> bytes:
    """The other way."""
    out = b""
    for begin in range(0, len(numbers), 32):
        block = numbers[begin : begin + 32]
        out += bytes(number & 255 for number in block) + bytes(number >> 8 for number in block)
    return out


def continued(line: list[list[int]], total: int) -> list[list[int]]:
    """A line of symbols continued to ``total``."""
    extra = []
    for row in matrix(len(line), total - len(line)):
        sums = [0] * len(line[0])
        for weight, symbol in zip(row, line, strict=True):
            for place, number in enumerate(symbol):
                sums[place] ^= times(weight, number)
        extra.append(sums)
    return line + extra


def shape(n: int) -> tuple[int, int]:
    """p and s."""
    f = (n - 1) // 3
    return n - 2 * f, n - f


def h(data: bytes) -> bytes:
    """BLAKE2b with 32 bytes."""
    return hashlib.blake2b(data, digest_size=32).digest()


def root(leaves: list[bytes]) -> bytes:
    """Root over leaf hashes (§4(2))."""
    if len(leaves) == 1:
        return leaves[0]
    if len(leaves) % 2:
        leaves = [*leaves, bytes(32)]
    return root([h(b"\x01" + leaves[i] + leaves[i + 1]) for i in range(0, len(leaves), 2)])


def blob_id(data: bytes, n: int) -> bytes:
    """§3 and §4."""
    p, s = shape(n)
    z = -(-max(len(data), 1) // (p * s))
    z += z % 2
    padded = data + bytes(p * s * z - len(data))
    rows = [[elements(padded[(r * s + c) * z : (r * s + c + 1) * z]) for c in range(s)] for r in range(p)]
    rows = [continued(row, n) for row in rows]
    columns = [continued([row[c] for row in rows], n) for c in range(n)]
    leaves = [[h(b"\x00" + symbol_of(columns[c][r])) for c in range(n)] for r in range(n)]
    pairs = [h(b"\x00" + root(leaves[i]) + root([leaves[r][n - 1 - i] for r in range(n)])) for i in range(n)]
    return h(b"\x01" + len(data).to_bytes(8, "little") + root(pairs))


def seal(secret: bytes, data: bytes) -> bytes:
    """A sealed blob (§6)."""
    digest = hashlib.sha256(data).digest()
    key = HKDF(SHA256(), 32, digest, b"holdfast/blob/v1").derive(secret)
    return b"\x01" + AESGCM(key).encrypt(bytes(12), data, b"\x01" + digest)


def text(raw: bytes) -> str:
    """URL-safe base64 without padding."""
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def string(value: str) -> bytes:
    """A short text in BCS."""
    raw = value.encode()
    return uleb(len(raw)) + raw


def uleb(number: int) -> bytes:
    """Unsigned LEB128."""
    return bytes([number]) if number < 128 else bytes([number % 128 + 128]) + uleb(number // 128)


def tag_map(tags: dict[str, str]) -> bytes:
    """A map in BCS."""
    lines = sorted(string(key) + string(tags[key]) for key in tags)
    return uleb(len(lines)) + b"".join(lines)


def quilt(
    patches: list[tuple[str, dict[str, str], bytes]], n: int, *, backwards: bool = False
) -> tuple[bytes, list[tuple[str, int, int]]]:
    """A quilt of (identifier, tags, data), and where its patches stand (§5); ``backwards`` puts the last name first."""
    p, s = shape(n)
    ordered = sorted(patches, key=lambda patch: patch[0].encode(), reverse=backwards)
    bodies = []
    for name, tags, data in ordered:
        inner = len(string(name)).to_bytes(2, "little") + string(name)
        if tags:
            inner += len(tag_map(tags)).to_bytes(2, "little") + tag_map(tags)
        inner += data
        bodies.append(b"\x01" + len(inner).to_bytes(4, "little") + bytes([1 if tags else 0]) + inner)

    def index(ends: list[int]) -> bytes:
        listed = uleb(len(ends)) + b"".join(
            end.to_bytes(2, "little") + string(name) + tag_map(tags)
            for end, (name, tags, _) in zip(ends, ordered, strict=True)
        )
        return b"\x01" + len(listed).to_bytes(4, "little") + listed

    z = 2
    while True:
        first = -(-len(index([0] * len(ordered))) // (p * z))
        ends = [first]
        for body in bodies:
            ends.append(ends[-1] + -(-len(body) // (p * z)))
        if first <= 10 and ends[-1] <= s:
            break
        z += 2
    grid = [[bytes(z)] * s for _ in range(p)]
    for column, body in zip([0, *ends], [index(ends[1:]), *bodies], strict=False):
        for at in range(0, len(body), z):
            grid[at // z % p][column + at // z // p] = body[at : at + z].ljust(z, b"\x00")
    placed = [(name, ends[i], ends[i + 1]) for i, (name, _, _) in enumerate(ordered)]
    return b"".join(b"".join(row) for row in grid), placed
